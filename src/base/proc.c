/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"

#define FNV_BASIS 0xcbf29ce484222325
#define FNV_PRIME 0x100000001b3
#define IDENTITY_MASK 0x7ffffffffffff /* JSON's numbers are exact to 53 bits everywhere */

int proc_signal(int pidfd, int sig) {
        return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}

bool proc_wait_gone(int pidfd, int timeout_ms) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };
        uint64_t until = clock_monotonic_ns() / 1000000 + (uint64_t) timeout_ms, now;
        int r;

        for (;;) {
                r = poll(&p, 1, timeout_ms);
                if (r > 0)
                        return true;
                if (r == 0 || errno != EINTR)
                        return false;
                if (timeout_ms > 0) {
                        now = clock_monotonic_ns() / 1000000;
                        timeout_ms = now >= until ? 0 : (int) (until - now);
                }
        }
}

/* 0: no such process. @ret_state: field 3. Start time is field 22. */
static uint64_t read_stat(pid_t pid, char *ret_state) {
        char path[32], buf[1024], *p, *end;
        _cleanup_(fd_closep) int fd = -1;
        ssize_t n;

        (void) snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0;
        n = read(fd, buf, sizeof(buf) - 1);
        if (n <= 0)
                return 0;
        buf[n] = '\0';
        /* Field 2 is "(comm)" and may hold anything; the last ')' ends it. */
        p = strrchr(buf, ')');
        if (!p || p[1] != ' ')
                return 0;
        *ret_state = p[2];
        for (int field = 2; p && field < 22; field++)
                p = strchr(p + 1, ' ');
        return p ? strtoull(p + 1, &end, 10) : 0;
}

uint64_t proc_start_time(pid_t pid) {
        char state;

        return read_stat(pid, &state);
}

bool proc_is_alive(pid_t pid, uint64_t start_time) {
        char state = 'X';

        return pid > 0 && read_stat(pid, &state) == start_time && state != 'Z' && state != 'X';
}

#define PIDFS_MAGIC 0x50494446 /* <linux/magic.h>, since Linux 6.9 */

/* pidfs counts processes from each boot on, so the boot's id goes into it. */
static uint64_t boot_hash(void) {
        static uint64_t hash;
        _cleanup_(fd_closep) int fd = -1;
        char id[64];
        ssize_t n;

        if (hash)
                return hash;
        fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, id, sizeof(id));
        if (n <= 0)
                return 0;
        hash = FNV_BASIS;
        for (ssize_t i = 0; i < n; i++)
                hash = (hash ^ (unsigned char) id[i]) * FNV_PRIME;
        return hash;
}

static uint64_t identity_of(int pidfd) {
        uint64_t boot = boot_hash();
        struct stat st;

        if (boot == 0 || fstat(pidfd, &st) < 0)
                return 0;
        return (boot ^ st.st_ino) & IDENTITY_MASK;
}

uint64_t proc_identity(int pidfd) {
        struct statfs fs;

        return fstatfs(pidfd, &fs) == 0 && fs.f_type == PIDFS_MAGIC ? identity_of(pidfd) : 0;
}

bool proc_is_alive_by(pid_t pid, uint64_t start_time, uint64_t identity) {
        _cleanup_(fd_closep) int fd = identity && pid > 0 ? (int) syscall(SYS_pidfd_open, pid, 0) : -1;
        uint64_t now = fd < 0 ? 0 : identity_of(fd);

        if (identity && pid > 0 && fd < 0 && errno == ESRCH)
                return false;
        if (now == 0) /* can't be told: no such call, no descriptors left */
                return proc_is_alive(pid, start_time);
        return now == identity && !proc_wait_gone(fd, 0);
}

int proc_open(pid_t pid, uint64_t start_time) {
        _cleanup_(fd_closep) int fd = -1;

        if (pid <= 0 || start_time == 0) {
                errno = ESRCH;
                return -1;
        }
        fd = (int) syscall(SYS_pidfd_open, pid, 0);
        if (fd < 0)
                return -1;
        if (proc_start_time(pid) != start_time) {
                errno = ESRCH;
                return -1;
        }
        return TAKE_FD(fd);
}

struct child {
        pid_t pid;
        int pidfd, in, out, err_out;
};

/* A pipe whose child end @child_is_read says; both ends close on exec, posix_spawn dups the child's. */
static int make_pipe(int *ours, int *theirs, bool child_reads) {
        int p[2];

        if (pipe2(p, O_CLOEXEC) < 0)
                return -errno;
        *ours = p[child_reads ? 1 : 0];
        *theirs = p[child_reads ? 0 : 1];
        (void) fcntl(*ours, F_SETFL, O_NONBLOCK);
        return 0;
}

static const char *path_of(const struct proc_run_args *args) {
        return args->path ? args->path : args->argv[0];
}

static int spawn(const struct proc_run_args *args, struct child *c, struct err *err) {
        _cleanup_(fd_closep) int in = -1, out = -1, err_out = -1;
        static const char *const no_env[] = { NULL };
        posix_spawn_file_actions_t fa;
        posix_spawnattr_t attr;
        sigset_t none, all;
        int r;

        if ((r = make_pipe(&c->in, &in, true)) < 0 || (r = make_pipe(&c->out, &out, false)) < 0 ||
            (r = make_pipe(&c->err_out, &err_out, false)) < 0)
                return err_sys(err, -r, "create pipes for %s", path_of(args));

        (void) posix_spawn_file_actions_init(&fa);
        (void) posix_spawn_file_actions_adddup2(&fa, in, 0);
        (void) posix_spawn_file_actions_adddup2(&fa, args->out_fd > 0 ? args->out_fd : out, 1);
        (void) posix_spawn_file_actions_adddup2(&fa, err_out, 2);
        (void) posix_spawn_file_actions_addclosefrom_np(&fa, 3); /* also what we were started with */
        if (args->dir)
                (void) posix_spawn_file_actions_addchdir_np(&fa, args->dir);
        (void) posix_spawnattr_init(&attr);
        (void) sigemptyset(&none);
        (void) sigfillset(&all);
        (void) posix_spawnattr_setsigmask(&attr, &none);
        (void) posix_spawnattr_setsigdefault(&attr, &all);
        (void) posix_spawnattr_setpgroup(&attr, 0);
        (void) posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        r = posix_spawnp(&c->pid, path_of(args), &fa, &attr, (char *const *) (uintptr_t) args->argv,
                         (char *const *) (uintptr_t) (args->envp ? args->envp : no_env));
        (void) posix_spawn_file_actions_destroy(&fa);
        (void) posix_spawnattr_destroy(&attr);
        if (r != 0)
                return err_sys(err, r, "run %s", path_of(args));
        c->pidfd = (int) syscall(SYS_pidfd_open, c->pid, 0);
        return 0;
}

static void drain(int *fd, struct strbuf *to) {
        char buf[16384];
        ssize_t n = read(*fd, buf, sizeof(buf));

        if (n > 0) {
                if (to)
                        strbuf_append(to, buf, (size_t) n);
        } else if (n == 0 || errno != EAGAIN) {
                *fd = fd_close(*fd);
        }
}

/* Whoever doesn't read its input must not end us by SIGPIPE, also where that isn't ignored. */
static ssize_t write_quietly(int fd, const char *data, size_t n) {
        static const struct timespec now;
        sigset_t pipe_only, before, pending;
        bool was_pending;
        ssize_t r;
        int saved;

        (void) sigemptyset(&pipe_only);
        (void) sigaddset(&pipe_only, SIGPIPE);
        (void) sigpending(&pending);
        was_pending = sigismember(&pending, SIGPIPE) > 0;
        (void) pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
        r = write(fd, data, n);
        saved = errno;
        if (r < 0 && saved == EPIPE && !was_pending)
                while (sigtimedwait(&pipe_only, NULL, &now) < 0 && errno == EINTR)
                        ;
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        errno = saved;
        return r;
}

static void feed(int *fd, const struct proc_run_args *args, size_t *sent) {
        ssize_t n = 0;

        if (*sent < args->input_len)
                n = write_quietly(*fd, args->input + *sent, args->input_len - *sent);
        if (n > 0)
                *sent += (size_t) n;
        if (*sent >= args->input_len || (n < 0 && errno != EAGAIN))
                *fd = fd_close(*fd);
}

static void child_done(struct child *c) {
        c->in = fd_close(c->in);
        c->out = fd_close(c->out);
        c->err_out = fd_close(c->err_out);
        c->pidfd = fd_close(c->pidfd);
}

int proc_run(const struct proc_run_args *args, int *ret_status, struct err *err) {
        _cleanup_(child_done) struct child c = { .pid = -1, .pidfd = -1, .in = -1, .out = -1, .err_out = -1 };
        uint64_t deadline = args->timeout_ms ? clock_monotonic_ns() + args->timeout_ms * 1000000 : UINT64_MAX, now;
        bool late = false;
        size_t sent = 0;
        int r, status = 0;

        r = spawn(args, &c, err);
        if (r < 0)
                return r;

        /* Its end is the end: a grandchild that keeps our pipes open must not hold us up. */
        for (;;) {
                struct pollfd p[] = {
                        { .fd = c.pidfd, .events = POLLIN },
                        { .fd = c.in, .events = POLLOUT },
                        { .fd = c.out, .events = POLLIN },
                        { .fd = c.err_out, .events = POLLIN },
                };
                now = clock_monotonic_ns();
                if (now >= deadline) {
                        late = true;
                        (void) kill(-c.pid, SIGKILL);
                        deadline = UINT64_MAX;
                }
                if (poll(p, 4, deadline == UINT64_MAX ? -1 : (int) ((deadline - now) / 1000000 + 1)) < 0 &&
                    errno != EINTR)
                        break;
                if (p[1].revents)
                        feed(&c.in, args, &sent);
                if (p[2].revents)
                        drain(&c.out, args->out);
                if (p[3].revents)
                        drain(&c.err_out, args->err_out);
                if (p[0].revents && !(p[2].revents & POLLIN) && !(p[3].revents & POLLIN))
                        break;
        }
        while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (late)
                return err_set(err, ERR_DEADLINE, "%s did not end within %llu ms and was killed", path_of(args),
                               (unsigned long long) args->timeout_ms);
        *ret_status = status;
        return 0;
}
