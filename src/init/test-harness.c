/* SPDX-License-Identifier: Apache-2.0 */
/* test-harness - see test-harness.h. */
#undef NDEBUG
#include "init/test-harness.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/sock.h"
#include "init/process.h"
#include "runtime/lxc/config.h"

enum { STOP_AFTER_MS = 10000 };

const char *box_path(const struct box *b, const char *relative) {
        return arena_printf(b->arena, "%s/%s", b->dir, relative);
}

void box_write(const struct box *b, const char *relative, const char *text) {
        struct err err;

        assert(fs_write_atomic(AT_FDCWD, box_path(b, relative), text, strlen(text), 0644, false, &err) == 0);
}

void box_chown(const struct box *b) {
        char command[200];

        (void) snprintf(command, sizeof(command), "chown -Rh %d:%d %s", MAP_FIRST, MAP_FIRST, b->root);
        assert(system(command) == 0); /* NOLINT: a test's own path */
}

void box_init(struct box *b) {
        static const char *const folders[] = { "root",      "root/bin", "root/etc", "root/tmp",
                                               "root/proc", "root/sys", "root/dev", "root/root" };
        static const char *const links[] = { "sh",   "cat",  "ls",   "id",    "touch", "mkdir", "mount",    "umount",
                                             "stat", "tty",  "stty", "sleep", "true",  "false", "readlink", "env",
                                             "grep", "echo", "pwd",  "kill",  "test",  "dd" };

        memset(b, 0, sizeof(*b));
        b->arena = arena_new(1 << 20);
        b->sock = b->status_fd = b->out_fd = b->in_fd = b->master_fd = -1;
        (void) snprintf(b->dir, sizeof(b->dir), "/tmp/lxcri-init-XXXXXX");
        assert(mkdtemp(b->dir) && chmod(b->dir, 0755) == 0);
        (void) snprintf(b->root, sizeof(b->root), "%s/root", b->dir);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                assert(mkdir(box_path(b, folders[i]), 0755) == 0);
        assert(chmod(box_path(b, "root/tmp"), 01777) == 0);
        char command[256];
        (void) snprintf(command, sizeof(command), "cp /bin/busybox %s/bin/busybox", b->root);
        assert(system(command) == 0); /* NOLINT: a test's own path */
        for (size_t i = 0; i < ELEMENTSOF(links); i++) {
                char link[64];
                (void) snprintf(link, sizeof(link), "root/bin/%s", links[i]);
                assert(symlink("busybox", box_path(b, link)) == 0);
        }
        box_write(b, "root/etc/passwd",
                  "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001:U:/home/user:/bin/sh\nother:x:2000:2000::/:\n");
        box_write(b, "root/etc/group",
                  "root:x:0:\nuser:x:1001:\nextra:x:3000:user\nmany:x:3001:other,user,x\nnope:x:3002:users,use\n");
}

void box_done(struct box *b) {
        const pid_t pids[] = { b->pid, b->monitor_pid };
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(pids); i++)
                if (pids[i] > 0) {
                        (void) kill(pids[i], SIGKILL);
                        (void) waitpid(pids[i], NULL, 0);
                }
        (void) fd_close(b->sock);
        (void) fd_close(b->status_fd);
        (void) fd_close(b->out_fd);
        (void) fd_close(b->in_fd);
        (void) fd_close(b->master_fd);
        assert(fs_remove_tree(AT_FDCWD, b->dir, &err) == 0);
        b->arena = arena_free(b->arena);
}

static void open_program(char *out, size_t size) {
        char exe[400];
        ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

        assert(n > 0);
        exe[n] = '\0';
        *strrchr(exe, '/') = '\0';
        (void) snprintf(out, size, "%s/init/proxmox-lxcri-init", exe);
}

struct child {
        const struct box *box;
        int program_fd, sock, sync_fd;
        bool sys;
};

/* What liblxc does until it starts init. */
static _noreturn_ void enter_container(const struct child *c) {
        char program[64], sock[16], byte;
        const char *root = c->box->root;

        if (c->sync_fd >= 0)
                assert(read(c->sync_fd, &byte, 1) == 1 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0);
        assert(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0);
        assert(mount(root, root, NULL, MS_BIND | MS_REC, NULL) == 0);
        assert(chdir(root) == 0 && mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0);
        if (c->sys)
                assert(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0);
        assert(syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0);
        assert(sethostname("box", 3) == 0);
        assert(fcntl(c->program_fd, F_SETFD, 0) == 0 && fcntl(c->sock, F_SETFD, 0) == 0);
        (void) signal(SIGTERM, SIG_IGN);
        (void) snprintf(program, sizeof(program), "/proc/self/fd/%d", c->program_fd);
        (void) snprintf(sock, sizeof(sock), "%d", c->sock);
        (void) execl(program, program, sock, NULL);
        abort();
}

static pid_t clone_child(const struct child *c, unsigned long flags) {
        pid_t pid = (pid_t) syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);

        if (pid == 0)
                enter_container(c);
        return pid;
}

static void write_map(pid_t pid, const char *file) {
        char path[64], map[64];
        struct err err;

        (void) snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, file);
        (void) snprintf(map, sizeof(map), "0 %d %d\n", MAP_FIRST, MAP_LENGTH);
        assert(fs_write_existing(AT_FDCWD, path, map, &err) == 0);
}

static void spawn(struct box *b, int sock, bool sys) {
        unsigned long flags =
                CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | (b->userns ? CLONE_NEWUSER : 0ul);
        struct child c = { .box = b, .sock = sock, .sync_fd = -1, .sys = sys };
        int sync[2], pids[2];
        char path[512];

        open_program(path, sizeof(path));
        c.program_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (c.program_fd < 0)
                (void) fprintf(stderr, "%s: %s\n", path, strerror(errno));
        assert(c.program_fd >= 0 && pipe2(sync, O_CLOEXEC) == 0 && pipe2(pids, O_CLOEXEC) == 0);
        if (b->userns)
                c.sync_fd = sync[0];
        if (b->monitored) {
                b->monitor_pid = fork();
                if (b->monitor_pid == 0) {
                        pid_t pid = clone_child(&c, flags);
                        assert(write(pids[1], &pid, sizeof(pid)) == sizeof(pid));
                        for (;;)
                                (void) pause();
                }
                assert(read(pids[0], &b->pid, sizeof(b->pid)) == sizeof(b->pid));
        } else
                b->pid = clone_child(&c, flags);
        assert(b->pid > 0);
        if (b->userns) {
                write_map(b->pid, "uid_map");
                write_map(b->pid, "gid_map");
                assert(write(sync[1], "x", 1) == 1);
        }
        (void) close(sync[0]);
        (void) close(sync[1]);
        (void) close(pids[0]);
        (void) close(pids[1]);
        (void) close(c.program_fd);
}

static void receive_answer(struct box *b) {
        union {
                struct plan_ready ready;
                struct plan_error error;
        } answer;
        struct sock_msg m;

        assert(sock_recv(b->sock, &answer, sizeof(answer), &m) == 0);
        if (m.len == 0) {
                (void) snprintf(b->error.text, sizeof(b->error.text), "init is gone");
                return;
        }
        if (answer.ready.type == PLAN_MSG_READY) {
                memcpy(&b->ready, &answer, (size_t) m.len);
                assert((size_t) m.len == offsetof(struct plan_ready, groups) + b->ready.n_groups * sizeof(uint32_t));
                assert(m.n_fds == b->ready.has_terminal);
                if (m.n_fds)
                        b->master_fd = TAKE_FD(m.fds[0]);
        } else
                memcpy(&b->error, &answer, (size_t) m.len);
        sock_msg_done(&m);
}

static void move_to(int cgroup_fd, pid_t pid) {
        char text[16];
        struct err err;

        (void) snprintf(text, sizeof(text), "%d", (int) pid);
        assert(fs_write_existing(cgroup_fd, "cgroup.procs", text, &err) == 0);
}

/* Of who lets init go by a socket. */
static void listen_for_start(struct box *b, struct spec *spec) {
        struct err err;

        (void) snprintf(b->start_path, sizeof(b->start_path), "%s/start.sock", b->dir);
        assert(sock_listen_unix(b->start_path, SOCK_SEQPACKET | SOCK_CLOEXEC, 0600, &spec->start_socket, &err) == 0);
}

bool box_start(struct box *b, const struct spec *box_spec, const struct plan_host *host) {
        int sv[2], in[2], out[2], status[2], all[SOCK_MAX_FDS];
        struct spec copy = *box_spec, *spec = &copy;
        struct plan plan = PLAN_EMPTY;
        struct err err = { 0 };

        if (spec->outlives_parent)
                listen_for_start(b, spec);
        if (plan_build_init(spec, host, &plan, &err) < 0) {
                (void) snprintf(b->error.text, sizeof(b->error.text), "%.500s", err.msg);
                return false;
        }
        assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == 0);
        assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(status, O_CLOEXEC) == 0);
        spawn(b, sv[1], lxc_mounted_sys(spec) == LXC_MOUNTED_NEW);
        if (plan.cgroup_fd >= 0)
                move_to(plan.cgroup_fd, b->pid);
        all[0] = plan.fd;
        all[1] = in[0];
        all[2] = all[3] = out[1];
        all[4] = status[1];
        memcpy(all + PLAN_FD_FIRST, plan.fds, plan.n_fds * sizeof(int));
        b->sock = sv[0];
        b->in_fd = in[1];
        b->out_fd = out[0];
        b->status_fd = status[0];
        (void) close(sv[1]);
        assert(sock_send(b->sock, "P", 1, all, PLAN_FD_FIRST + plan.n_fds) == 0);
        (void) close(in[0]);
        (void) close(out[1]);
        (void) close(status[1]);
        plan_done(&plan);
        if (spec->outlives_parent)
                (void) close(spec->start_socket);
        receive_answer(b);
        return b->ready.type == PLAN_MSG_READY;
}

int box_connect(struct box *b) {
        struct err err;
        int fd, r = sock_connect_unix(b->start_path, SOCK_SEQPACKET | SOCK_CLOEXEC, &fd, &err);

        return r < 0 ? r : fd;
}

static void start_by_socket(struct box *b) {
        int status[2], sock = box_connect(b);

        assert(sock >= 0 && pipe2(status, O_CLOEXEC) == 0 && sock_send(sock, "S", 1, &status[1], 1) == 0);
        (void) close(status[1]);
        (void) close(b->status_fd);
        (void) fd_close(b->sock);
        b->status_fd = status[0];
        b->sock = sock;
}

void box_send_start(struct box *b) {
        if (b->start_path[0]) {
                start_by_socket(b);
                return;
        }
        assert(sock_send(b->sock, "S", 1, NULL, 0) == 0);
}

/* Until the end of it, or until nothing comes for long. */
static void read_all(int fd, char *out, size_t size) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        size_t at = 0;
        ssize_t n = 1;

        while (n > 0 && poll(&p, 1, STOP_AFTER_MS) > 0) {
                n = read(fd, out + at, size - 1 - at);
                at += n > 0 ? (size_t) n : 0;
        }
        out[at] = '\0';
}

static int exit_code(int status) {
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int box_finish(struct box *b) {
        b->in_fd = fd_close(b->in_fd);
        memset(&b->failure, 0, sizeof(b->failure));
        assert(read(b->status_fd, &b->failure, sizeof(b->failure) - 1) >= 0);
        read_all(b->master_fd >= 0 ? b->master_fd : b->out_fd, b->output, sizeof(b->output));
        assert(waitpid(b->pid, &b->status, 0) == b->pid);
        b->pid = 0;
        return exit_code(b->status);
}

int box_run(struct box *b) {
        box_send_start(b);
        return box_finish(b);
}

struct exec_pipes {
        int out[2], status[2], terminal[2];
};

/* In the child: as the keeper's helper. */
static _noreturn_ void exec_in(const struct plan *plan, pid_t pid, const struct exec_pipes *p) {
        int ns = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC,
            pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC), status, folder;
        struct plan_error e;
        struct reader r;
        pid_t child;

        assert(null_fd >= 0 && pidfd >= 0 && reader_map(&r, plan->fd, plan->n_fds, &e) == 0);
        assert(process_join_cgroups(&r, plan->fds, &folder, &e) == 0 && setns(pidfd, ns) == 0);
        child = fork();
        if (child == 0) {
                assert(folder < 0 || process_join_cgroup(folder, true, &e) == 0);
                assert(dup2(null_fd, 0) == 0 && dup2(p->out[1], 1) == 1 && dup2(p->out[1], 2) == 2);
                process_run_exec(&r, plan->fds, p->status[1], p->terminal[1]);
        }
        assert(waitpid(child, &status, 0) == child);
        _exit(exit_code(status));
}

int box_exec(struct box *b, const struct spec_process *process) {
        struct plan plan = PLAN_EMPTY;
        struct exec_pipes p;
        struct err err = { 0 };
        int status, *ends;
        pid_t pid;

        assert(plan_build_exec(process, NULL, NULL, &plan, &err) == 0);
        assert(pipe2(p.out, O_CLOEXEC) == 0 && pipe2(p.status, O_CLOEXEC) == 0);
        assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p.terminal) == 0);
        pid = fork();
        if (pid == 0)
                exec_in(&plan, b->pid, &p);
        (void) close(p.out[1]);
        (void) close(p.status[1]);
        (void) close(p.terminal[1]);
        memset(&b->failure, 0, sizeof(b->failure));
        assert(read(p.status[0], &b->failure, sizeof(b->failure) - 1) >= 0);
        if (process->terminal) {
                struct sock_msg m;
                char byte;

                assert(sock_recv(p.terminal[0], &byte, 1, &m) == 0 && byte == PLAN_MSG_READY && m.n_fds == 1);
                (void) close(p.out[0]);
                p.out[0] = TAKE_FD(m.fds[0]);
        }
        read_all(p.out[0], b->output, sizeof(b->output));
        assert(waitpid(pid, &status, 0) == pid);
        ends = (int[]){ p.out[0], p.status[0], p.terminal[0] };
        for (int i = 0; i < 3; i++)
                (void) close(ends[i]);
        plan_done(&plan);
        return exit_code(status);
}
