/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/crun/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "init/plan.h"
#include "init/process.h"
#include "init/sys.h"
#include "runtime/crun/bundle.h"
#include "runtime/crun/config-json.h"
#include "runtime/lxc/child.h"

enum {
        PATH_LEN = 512,
        LOG_MAX = 1 << 20,
        MOUNTINFO_MAX = 64 << 20,
        FDS_MAX = SOCK_MAX_FDS + CONTAINER_FD_MAX + 16,
        CONSOLE_TIMEOUT_MS = 5000
};

#define STATE_ROOT CRUN_FOLDER "/root"

static void settle_descriptors(const struct crun_monitor_args *args) {
        int keep[FDS_MAX];
        size_t n = 0;

        for (int i = 0; i < CONTAINER_FD_MAX; i++)
                keep[n++] = args->keep[i];
        for (size_t i = 0; i < args->n_mounts && i < SOCK_MAX_FDS; i++)
                keep[n++] = args->mounts[i];
        keep[n++] = STDERR_FILENO;
        keep[n++] = args->mount_ns;
        keep[n++] = args->net_ns;
        keep[n++] = args->rootfs_fd;
        keep[n++] = args->dirfd;
        keep[n++] = args->init_socket;
        keep[n++] = args->stdin_fd;
        keep[n++] = args->stdout_fd;
        keep[n++] = args->stderr_fd;
        keep[n++] = args->exec_fd;
        if (args->home_fd >= 0)
                keep[n++] = args->home_fd;
        child_settle_descriptors(args->init_socket, args->init_socket, keep, n);
        (void) fcntl(args->init_socket, F_SETFD, FD_CLOEXEC); /* crun is not to have it */
}

/* --- a place of its own --------------------------------------------------------------------------------------------
 */

/* The host's namespaces, as crun would be started in by anybody: the keeper's show neither cgroups nor all mounts. In a
 * copy of the mounts, to which the host's later ones still come, so that what is attached here is gone with us however
 * we end. */
static void enter_host(const struct crun_monitor_args *args) {
        if (setns(args->net_ns, CLONE_NEWNET) < 0)
                child_fail(args->init_socket, errno, "enter the host's network namespace");
        if (setns(args->mount_ns, CLONE_NEWNS) < 0 || unshare(CLONE_NEWNS) < 0)
                child_fail(args->init_socket, errno, "enter the host's mount namespace");
        if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
                child_fail(args->init_socket, errno, "make mounts slaves of the host's");
        (void) close(args->net_ns);
        (void) close(args->mount_ns);
        /* crun does v1 or v2, not both: of a hybrid host, the one that has the controllers. */
        if (access(CRUN_UNIFIED "/cgroup.procs", F_OK) == 0 &&
            mount("tmpfs", CRUN_UNIFIED, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k") < 0)
                child_fail(args->init_socket, errno, "hide " CRUN_UNIFIED " from crun");
}

static void attach(const struct crun_monitor_args *args, int tree, const char *name) {
        _cleanup_(fd_closep) int target = -1;
        char path[PATH_LEN];
        struct stat st;

        (void) snprintf(path, sizeof(path), "%s/%s", args->rootfs_dir, name);
        if (fstat(tree, &st) < 0)
                child_fail(args->init_socket, errno, "look at what is to be mounted as %s", name);
        if (S_ISDIR(st.st_mode) ? mkdir(path, 0755) : mknod(path, S_IFREG | 0644, 0))
                child_fail(args->init_socket, errno, "create %s", path);
        target = open(path, O_PATH | O_CLOEXEC);
        if (target < 0 || sys_move_mount(tree, target) < 0)
                child_fail(args->init_socket, errno, "attach %s", path);
        (void) close(tree);
}

/* crun (1.8) opens the binds of a container with a user namespace without what is mounted below them: it would be
 * missing without a word. */
static void check_mounts_below(const struct crun_monitor_args *args) {
        _cleanup_(freep) char *mountinfo = NULL;
        char prefix[PATH_LEN];
        struct err err = { 0 };
        const char *at;

        if (!args->user_ns)
                return;
        if (fs_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &mountinfo, NULL, &err) < 0)
                child_fail(args->init_socket, err.sys_errno, "read the mounts");
        (void) snprintf(prefix, sizeof(prefix), " %s/m", args->rootfs_dir);
        for (at = mountinfo; (at = strstr(at, prefix));) {
                at += strlen(prefix);
                if (at[strspn(at, "0123456789")] == '/')
                        child_fail(args->init_socket, 0,
                                   "the engine crun mounts no volume that has other mounts below it in a pod with a "
                                   "user namespace; the engine lxc does");
        }
}

static void attach_all(const struct crun_monitor_args *args) {
        char name[24];

        /* Of the container's root in a user namespace, too, who must be able to pass. */
        if (mount("tmpfs", args->rootfs_dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=711,size=1m") < 0)
                child_fail(args->init_socket, errno, "mount a tmpfs on %s", args->rootfs_dir);
        attach(args, args->rootfs_fd, "root");
        for (size_t i = 0; i < args->n_mounts; i++) {
                (void) snprintf(name, sizeof(name), "m%zu", i);
                attach(args, args->mounts[i], name);
        }
        check_mounts_below(args);
}

/* --- crun ----------------------------------------------------------------------------------------------------------
 */

/* What crun had to say last: "2026-01-01T00:00:00.000000Z: text". */
static void last_words(const struct crun_monitor_args *args, char *out, size_t size) {
        _cleanup_(freep) char *text = NULL;
        struct err err = { 0 };
        const char *line, *at;
        size_t len;

        (void) snprintf(out, size, "it did not say why");
        if (fs_read_file(args->dirfd, "crun.log", LOG_MAX, &text, &len, &err) < 0 || len == 0)
                return;
        while (len > 0 && text[len - 1] == '\n')
                text[--len] = '\0';
        line = strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text;
        at = strstr(line, "Z: ");
        (void) snprintf(out, size, "%s", at ? at + 3 : line);
}

/* The end of what hooks write while crun runs them: all of it is read, so that none has to wait. */
struct hooks_output {
        int fd; /* a pipe's, both ends: so it never ends */
        size_t len;
        char text[512];
};

static void open_output(const struct crun_monitor_args *args, struct hooks_output *ret) {
        char path[PATH_LEN];

        (void) snprintf(path, sizeof(path), "%s/" CRUN_HOOKS_OUTPUT, args->rootfs_dir);
        ret->fd = mkfifo(path, 0600) < 0 ? -1 : open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (ret->fd < 0)
                child_fail(args->init_socket, errno, "make the pipe %s", path);
}

/* False: there is no more for now. */
static bool read_output(struct hooks_output *o) {
        char piece[sizeof(o->text)];
        ssize_t n = read(o->fd, piece, sizeof(piece));
        size_t more, keep;

        if (n <= 0)
                return false;
        more = (size_t) n;
        keep = MIN_OF(o->len, sizeof(o->text) - more);
        memmove(o->text, o->text + o->len - keep, keep);
        memcpy(o->text + keep, piece, more);
        o->len = keep + more;
        return true;
}

/* Until crun has ended. */
static void read_hooks(pid_t crun, struct hooks_output *o) {
        _cleanup_(fd_closep) int pidfd = (int) syscall(SYS_pidfd_open, crun, 0);
        struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = o->fd, .events = POLLIN } };

        while (pidfd >= 0 && !p[0].revents) {
                if (poll(p, 2, -1) < 0 && errno != EINTR)
                        return;
                while (read_output(o))
                        ;
        }
}

/* "crun OPTIONS VERB ARGUMENTS" with @stdio. @output: of its hooks, is read meanwhile; NULL: not. The exit status as
 * waitpid's, or -1. */
static int run_crun(const struct crun_monitor_args *args, const char *verb, const char *const *more, const int stdio[3],
                    struct hooks_output *output) {
        static const char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
        char root[PATH_LEN], log[PATH_LEN];
        const char *argv[16] = { "crun", "--cgroup-manager=cgroupfs", root, log };
        int status, n = 4, fds[3];
        pid_t pid;

        (void) snprintf(root, sizeof(root), "--root=%s/" STATE_ROOT, args->state_dir);
        (void) snprintf(log, sizeof(log), "--log=file:%s/containers/%s/crun.log", args->state_dir, args->id);
        argv[n++] = verb;
        for (; *more; more++)
                argv[n++] = *more;
        argv[n++] = args->id;
        argv[n] = NULL;
        pid = fork();
        if (pid == 0) {
                for (int i = 0; i < 3; i++) /* above 2 first: they may be among themselves */
                        if ((fds[i] = fcntl(stdio[i], F_DUPFD_CLOEXEC, 3)) < 0)
                                _exit(127);
                for (int i = 0; i < 3; i++)
                        if (dup2(fds[i], i) < 0)
                                _exit(127);
                (void) execve(args->program, (char *const *) (uintptr_t) argv, (char *const *) (uintptr_t) env);
                _exit(127);
        }
        if (pid > 0 && output)
                read_hooks(pid, output);
        while (pid > 0 && waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -1;
        return pid < 0 ? -1 : status;
}

static int listen_for_console(const struct crun_monitor_args *args, char *path, size_t size) {
        struct sockaddr_un addr = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void) snprintf(path, size, "%s/console", args->rootfs_dir);
        if (strlen(path) >= sizeof(addr.sun_path))
                child_fail(args->init_socket, ENAMETOOLONG, "listen for the terminal on %s", path);
        memcpy(addr.sun_path, path, strlen(path) + 1);
        if (fd < 0 || bind(fd, (struct sockaddr *) &addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
                child_fail(args->init_socket, errno, "listen for the terminal on %s", path);
        return fd;
}

static int take_console(const struct crun_monitor_args *args, int listener) {
        struct pollfd p = { .fd = listener, .events = POLLIN };
        _cleanup_(fd_closep) int fd = -1;
        struct sock_msg m;
        char name[256];

        if (poll(&p, 1, CONSOLE_TIMEOUT_MS) == 1)
                fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || sock_recv(fd, name, sizeof(name), &m) < 0 || m.n_fds != 1)
                child_fail(args->init_socket, 0, "crun gave no terminal");
        return m.fds[0];
}

static pid_t read_pid(const struct crun_monitor_args *args) {
        _cleanup_(freep) char *text = NULL;
        struct err err = { 0 };
        long pid = 0;

        if (fs_read_file(args->dirfd, "pid", 32, &text, NULL, &err) == 0)
                pid = strtol(text, NULL, 10);
        if (pid <= 0)
                child_fail(args->init_socket, err.sys_errno, "crun did not say which process is the container's");
        return (pid_t) pid;
}

/* With all that is left of hooks that took too long: they are in our process group. */
static _noreturn_ void fail_create(const struct crun_monitor_args *args, struct hooks_output *output) {
        struct plan_error e = { .type = PLAN_MSG_ERROR };
        size_t len = output->len;
        char why[400];

        last_words(args, why, sizeof(why));
        for (size_t i = 0; i < len; i++)
                if ((unsigned char) output->text[i] < ' ')
                        output->text[i] = ' ';
        while (len > 0 && output->text[len - 1] == ' ')
                len--;
        (void) snprintf(e.text, sizeof(e.text), "crun create: %s%s%.*s", why, len ? ": " : "", (int) len, output->text);
        (void) !sock_send(args->init_socket, &e, sizeof(e), NULL, 0);
        (void) kill(0, SIGKILL);
        _exit(1);
}

/* Returns the container's first process, whose parent we are once crun has ended. @ret_terminal: its master, or -1. */
static pid_t create(const struct crun_monitor_args *args, int *ret_terminal) {
        const int stdio[3] = { args->stdin_fd, args->stdout_fd, args->stderr_fd };
        char bundle[PATH_LEN], pid_file[PATH_LEN], console[PATH_LEN];
        const char *more[] = { "--bundle", bundle, "--pid-file", pid_file, NULL, console, NULL };
        _cleanup_(fd_closep) int listener = -1;
        struct hooks_output output = { .fd = -1 };

        open_output(args, &output);
        (void) snprintf(bundle, sizeof(bundle), "%s/" CRUN_FOLDER "/bundles/%s", args->state_dir, args->id);
        (void) snprintf(pid_file, sizeof(pid_file), "%s/containers/%s/pid", args->state_dir, args->id);
        if (args->terminal) {
                listener = listen_for_console(args, console, sizeof(console));
                more[4] = "--console-socket";
        }
        if (run_crun(args, "create", more, stdio, &output) != 0)
                fail_create(args, &output);
        (void) close(output.fd);
        *ret_terminal = args->terminal ? take_console(args, listener) : -1;
        for (int i = 0; i < 3; i++)
                (void) close(stdio[i]);
        return read_pid(args);
}

/* --- in init's place -----------------------------------------------------------------------------------------------
 */

static void send_ready(const struct crun_monitor_args *args, pid_t init, int terminal) {
        struct plan_ready ready = { .type = PLAN_MSG_READY, .has_terminal = terminal >= 0 };
        struct ucred creds = { .pid = init, .uid = getuid(), .gid = getgid() };
        struct iovec iov = { .iov_base = &ready, .iov_len = offsetof(struct plan_ready, groups) };
        union {
                char bytes[CMSG_SPACE(sizeof(creds)) + CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = { 0 };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes };
        struct cmsghdr *c;

        msg.msg_controllen = CMSG_SPACE(sizeof(creds)) + (terminal >= 0 ? CMSG_SPACE(sizeof(int)) : 0);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_CREDENTIALS;
        c->cmsg_len = CMSG_LEN(sizeof(creds));
        memcpy(CMSG_DATA(c), &creds, sizeof(creds));
        if (terminal >= 0) {
                c = CMSG_NXTHDR(&msg, c);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &terminal, sizeof(terminal));
        }
        if (sendmsg(args->init_socket, &msg, MSG_NOSIGNAL) < 0)
                child_fail(args->init_socket, errno, "say that the container is made");
}

/* False: the container ended before. */
static bool wait_for_start(const struct crun_monitor_args *args, int pidfd) {
        struct pollfd p[2] = { { .fd = args->init_socket, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
        struct sock_msg m;
        char type = 0;

        while (type != PLAN_MSG_START) {
                if (poll(p, 2, -1) < 0 && errno != EINTR)
                        return false;
                if (p[1].revents)
                        return false;
                if (!p[0].revents)
                        continue;
                if (sock_recv(args->init_socket, &type, 1, &m) < 0 || m.len == 0)
                        return false;
                sock_msg_done(&m);
        }
        return true;
}

/* False: it failed, and the keeper was told. */
static bool start(const struct crun_monitor_args *args) {
        const char *const more[] = { NULL };
        const int stdio[3] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };
        struct exec_status e = { 0 };
        char why[400];

        if (run_crun(args, "start", more, stdio, NULL) == 0) {
                (void) close(args->exec_fd);
                return true;
        }
        last_words(args, why, sizeof(why));
        (void) snprintf(e.text, sizeof(e.text), "crun start: %s", why);
        (void) !write(args->exec_fd, &e, offsetof(struct exec_status, text) + strlen(e.text) + 1);
        (void) close(args->exec_fd);
        return false;
}

/* --- the end -------------------------------------------------------------------------------------------------------
 */

/* Also reaps what the container's processes leave to us. */
static int wait_for_end(pid_t init) {
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, __WALL)) != init)
                if (pid < 0 && errno != EINTR)
                        _exit(1); /* the keeper writes that it is lost */
        return status;
}

static void write_exit(const struct crun_monitor_args *args, int status, bool started) {
        struct container_exit x = { .finished_at_ns = clock_realtime_ns() };
        struct err err = { 0 };

        if (!started && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
                x.code = 127; /* as init */
        } else if (WIFSIGNALED(status)) {
                x.signal = WTERMSIG(status);
                x.code = 128 + x.signal;
        } else {
                x.code = WEXITSTATUS(status);
        }
        if (container_exit_write(args->dirfd, &x, &err) < 0)
                (void) fprintf(stderr, "container %s: %s\n", args->id, err.msg);
}

void crun_monitor_run(const struct crun_monitor_args *args) {
        int terminal, pidfd, status;
        bool start_failed = false;
        char title[16];
        sigset_t none;
        pid_t init;

        (void) snprintf(title, sizeof(title), "crun-%.9s", args->id);
        (void) prctl(PR_SET_NAME, title);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) setsid();
        (void) umask(022);
        settle_descriptors(args);
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                child_fail(args->init_socket, errno, "become a subreaper");
        enter_host(args);
        attach_all(args);
        init = create(args, &terminal);
        if (args->home_fd >= 0) {
                (void) !write(args->home_fd, "0", 1); /* if not, it only counts there */
                (void) close(args->home_fd);
        }
        pidfd = (int) syscall(SYS_pidfd_open, init, 0);
        if (pidfd < 0)
                child_fail(args->init_socket, errno, "take hold of the container's process %d", (int) init);
        send_ready(args, init, terminal);
        (void) fd_close(terminal);
        if (wait_for_start(args, pidfd) && !start(args)) {
                start_failed = true;
                (void) kill(init, SIGKILL);
        }
        status = wait_for_end(init);
        write_exit(args, status, !start_failed);
        child_wait_until_read(args->keep + CONTAINER_FD_STDOUT, 2);
        _exit(0);
}
