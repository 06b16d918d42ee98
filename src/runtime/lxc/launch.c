/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lxc/launch.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/magic.h>
#include <lxc/lxccontainer.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "runtime/lxc/child.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x4
#endif

#define LIBLXC "liblxc.so.1"

enum { MOVE_EVERY_NS = 250000000, LAUNCH_ORDER_MAX = 64 << 10 };

/* Of the process in which liblxc starts a container, then of its watcher; NULL in every other. */
static const struct launch_args *launching;
static int program_fd = -1, init_pidfd = -1;
static bool is_watcher;

/* --- a place of its own --------------------------------------------------------------------------------------------
 */

static int open_netns(void) {
        int fd = open(LAUNCH_NETNS, O_RDONLY | O_CLOEXEC);
        struct statfs fs;

        if (fd >= 0 && (fstatfs(fd, &fs) < 0 || fs.f_type != NSFS_MAGIC))
                fd = fd_close(fd);
        return fd;
}

/* Two launchers may make one each; the later one hides the earlier one's, which goes when its watcher ends. */
static void enter_netns(const struct launch_args *args) {
        _cleanup_(fd_closep) int fd = open_netns(), file = -1;

        if (fd >= 0) {
                if (setns(fd, CLONE_NEWNET) < 0)
                        child_fail(args->init_socket, errno, "enter the network namespace " LAUNCH_NETNS);
                return;
        }
        if (unshare(CLONE_NEWNET) < 0)
                child_fail(args->init_socket, errno, "make a network namespace for liblxc's sockets");
        /* One that can't be kept is as good, for this container. */
        file = open(LAUNCH_NETNS, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (file >= 0)
                (void) mount("/proc/self/ns/net", LAUNCH_NETNS, NULL, MS_BIND, NULL);
}

static void attach_copy(const struct launch_args *args, int tree, const char *target) {
        if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                child_fail(args->init_socket, errno, "attach a copy of /%s", target);
}

/* A root with the few mounts that liblxc needs: each of the host's would be copied once more for the container, and a
 * thousand of them cost milliseconds. Without cgroup mounts in sight liblxc leaves cgroups alone; /run, where it keeps
 * locks, is its own. Pivoted, so that nothing of the host's is below the container's root. */
static void make_root(const struct launch_args *args) {
        static const char *const kept[] = { "proc", "sys", "dev", "usr", "lib", "lib64", "etc" };
        struct stat root, here;
        struct err err;
        int fd, tree;

        if (chdir("/") < 0 || stat("/", &root) < 0 ||
            (fd = (int) syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | O_CLOEXEC)) < 0)
                child_fail(args->init_socket, errno, "take a copy of the root");
        attach_copy(args, fd, "run");
        for (size_t i = 0; i < ELEMENTSOF(kept); i++) {
                if (stat(kept[i], &here) < 0 || here.st_dev == root.st_dev)
                        continue;
                tree = (int) syscall(SYS_open_tree, AT_FDCWD, kept[i], OPEN_TREE_CLONE | O_CLOEXEC);
                if (tree < 0 || fchdir(fd) < 0)
                        child_fail(args->init_socket, errno, "take a copy of /%s", kept[i]);
                attach_copy(args, tree, kept[i]);
                if (chdir("/") < 0)
                        child_fail(args->init_socket, errno, "go to /");
                (void) close(tree);
        }
        if (fchdir(fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                child_fail(args->init_socket, errno, "pivot to a copy of the root");
        (void) close(fd);
        if (mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m") < 0 ||
            mkdir(LAUNCH_ROOTFS_DIR, 0755) < 0)
                child_fail(args->init_socket, errno, "mount a /run for liblxc");
        if (fs_mkdir_p(args->lxc_path, 0755, &err) < 0)
                child_fail(args->init_socket, err.sys_errno, "make a folder for liblxc: %s", err.msg);
}

static void isolate(const struct launch_args *args) {
        enter_netns(args);
        if (unshare(CLONE_NEWNS) < 0)
                child_fail(args->init_socket, errno, "unshare the mount namespace");
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                child_fail(args->init_socket, errno, "make mounts private");
        make_root(args);
}

/* --- the watcher
 * ------------------------------------------------------------------------------------------------------- */

/* On cgroup v2 a process that changes its group waits, and lets every fork of the host wait, for an RCU grace period.
 * Whoever moves while another's move is just over waits for none: so all that go home do it at the same moments. */
static int ms_until_move(void) {
        uint64_t now = clock_monotonic_ns();

        return (int) ((MOVE_EVERY_NS - now % MOVE_EVERY_NS) / 1000000u) + 1;
}

static void go_home(void) {
        (void) !write(launching->home_fd, "0", 1);
        (void) close(launching->home_fd);
}

/* The runtime knows which process is init, and tells; who has gone before will never tell. */
static void learn_init(void) {
        struct sock_msg msg;
        char byte;

        if (sock_recv(launching->watcher_socket, &byte, 1, &msg) < 0 || msg.len == 0 || msg.n_fds != 1)
                _exit(1);
        init_pidfd = msg.fds[0];
        (void) close(launching->watcher_socket);
}

/* True: something is in liblxc's loop. */
static bool watch(const struct launch_args *args, int epfd, int timeout_ms) {
        static bool at_home;
        int home_ms = !at_home && args->home_fd >= 0 ? ms_until_move() : -1;
        struct pollfd p[2] = { { .fd = epfd, .events = POLLIN }, { .fd = init_pidfd, .events = POLLIN } };
        int n = poll(p, 2, home_ms >= 0 && (timeout_ms < 0 || home_ms < timeout_ms) ? home_ms : timeout_ms);

        if (n == 0 && home_ms >= 0) {
                go_home();
                at_home = true;
        }
        if (p[1].revents)
                _exit(0);
        return n > 0 && p[0].revents;
}

static void become_watcher(void) {
        static const char hello = 'W';

        is_watcher = true;
        (void) prctl(PR_SET_NAME, "lxcri-watch");
        (void) close(program_fd);
        (void) close(launching->init_socket);
        if (sock_send(launching->watcher_socket, &hello, 1, NULL, 0) < 0)
                _exit(1);
        learn_init();
}

/* liblxc's: it is called through this name when its loop begins, from wherever it was loaded. */
__attribute__((visibility("default"))) int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms) {
        pid_t pid;

        if (launching && !is_watcher) {
                pid = fork();
                if (pid < 0)
                        child_fail(launching->init_socket, errno, "fork the container's watcher");
                if (pid > 0)
                        _exit(0); /* init goes to who adopts our children */
                become_watcher();
        }
        if (launching && is_watcher)
                while (!watch(launching, epfd, timeout_ms))
                        if (timeout_ms >= 0)
                                return 0;
        return (int) syscall(SYS_epoll_pwait, epfd, events, max, timeout_ms, NULL, 0);
}

/* liblxc's, too: it leaves for a cgroup namespace of its own accord when the container joins any other namespace.
 * Whether there is to be one is init's matter, once it is in its group. */
__attribute__((visibility("default"))) int unshare(int flags) {
        if (launching && flags == CLONE_NEWCGROUP)
                return 0;
        return (int) syscall(SYS_unshare, flags);
}

/* --- liblxc
 * -------------------------------------------------------------------------------------------------------------- */

/* Text that was relocated is not what the file has. */
static bool is_relocated(const struct dl_phdr_info *info) {
        const ElfW(Dyn) *dyn = NULL;

        for (size_t i = 0; i < info->dlpi_phnum; i++)
                if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
                        dyn = (const ElfW(Dyn) *) (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        for (; dyn && dyn->d_tag != DT_NULL; dyn++)
                if (dyn->d_tag == DT_TEXTREL || (dyn->d_tag == DT_FLAGS && dyn->d_un.d_val & DF_TEXTREL))
                        return true;
        return false;
}

static int let_go(struct dl_phdr_info *info, size_t size, void *userdata) {
        const uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE);

        if (is_relocated(info))
                return 0;
        for (size_t i = 0; i < info->dlpi_phnum; i++) {
                const ElfW(Phdr) *h = &info->dlpi_phdr[i];
                uintptr_t from = (info->dlpi_addr + h->p_vaddr) & ~(page - 1);

                if (h->p_type == PT_LOAD && !(h->p_flags & PF_W))
                        (void) madvise((void *) from, info->dlpi_addr + h->p_vaddr + h->p_memsz - from, MADV_DONTNEED);
        }
        return 0;
}

/* To link seven libraries their symbols are read; text is mapped with it that nobody needs any more, an eighth of this
 * process' peak. They are clean pages of files; what is needed once more comes by itself. */
static void let_go_of_text(void) {
        (void) dl_iterate_phdr(let_go, NULL);
}

static struct lxc_container *new_container(const struct launch_args *args) {
        void *lib = dlopen(LIBLXC, RTLD_NOW | RTLD_GLOBAL);
        struct lxc_container *(*new)(const char *, const char *) = NULL;
        struct lxc_container *c;

        if (lib)
                *(void **) &new = dlsym(lib, "lxc_container_new");
        if (!new)
                child_fail(args->init_socket, 0, "load liblxc: %s; install the package liblxc1", dlerror());
        let_go_of_text();
        c = new (args->id, args->lxc_path);
        if (!c)
                child_fail(args->init_socket, errno, "lxc_container_new");
        return c;
}

static void settle_descriptors(const struct launch_args *args) {
        int keep[] = { args->init_socket, args->watcher_socket, args->log_fd, args->home_fd };

        child_settle_descriptors(args->init_socket, args->init_socket, keep, ELEMENTSOF(keep));
}

/* --- the order
 * ---------------------------------------------------------------------------------------------------------- */

/* "@3@" -> "/proc/self/fd/17". */
static void expand(const struct launch_args *args, const char *p, const struct sock_msg *msg, struct strbuf *out) {
        const size_t n_fds = msg->n_fds - LAUNCH_FD_CONFIG;
        unsigned long n;
        char *end;

        while (*p) {
                n = *p == '@' ? strtoul(p + 1, &end, 10) : n_fds;
                if (n >= n_fds || *end != '@') {
                        strbuf_putc(out, *p++);
                        continue;
                }
                strbuf_printf(out, "/proc/self/fd/%d", msg->fds[LAUNCH_FD_CONFIG + n]);
                p = end + 1;
        }
        if (out->overflow)
                child_fail(args->init_socket, 0, "the container's configuration for liblxc is too long");
}

/* Whoever has gone before saying what to start says no more why. */
static void take_order(const struct launch_args *args, struct lxc_container *c) {
        static char text[LAUNCH_ORDER_MAX];
        _cleanup_strbuf_ struct strbuf config = STRBUF(2 * LAUNCH_ORDER_MAX);
        struct sock_msg msg;
        int r = sock_recv(args->watcher_socket, text, sizeof(text) - 1, &msg);

        if (r == 0 && msg.len == 0)
                _exit(1);
        if (r < 0 || msg.n_fds < LAUNCH_FD_CONFIG)
                child_fail(args->init_socket, -r, "hear what to start");
        expand(args, text, &msg, &config);
        program_fd = msg.fds[LAUNCH_FD_INIT];
        if (fcntl(program_fd, F_SETFD, 0) < 0)
                child_fail(args->init_socket, errno, "let init inherit its program");
        child_attach_rootfs(args->init_socket, msg.fds[LAUNCH_FD_ROOTFS], LAUNCH_ROOTFS_DIR);
        child_configure(args->init_socket, strbuf_str(&config), c);
}

void launch_run(const struct launch_args *args) {
        char program[64], sock[16];
        char *argv[] = { program, sock, NULL };
        struct lxc_container *c;
        sigset_t none;

        (void) prctl(PR_SET_NAME, "lxcri-launch");
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        /* A terminal's or service manager's signals to the caller's group are not the watcher's. */
        (void) setsid();
        (void) umask(022);
        settle_descriptors(args);
        /* Without newuidmap in sight liblxc writes maps of ids by itself, as root may. */
        (void) setenv("PATH", "/nonexistent", 1);
        isolate(args);
        c = new_container(args);
        take_order(args, c);
        (void) snprintf(program, sizeof(program), "/proc/self/fd/%d", program_fd);
        (void) snprintf(sock, sizeof(sock), "%d", args->init_socket);
        (void) c->want_daemonize(c, false);
        child_set_program(program_fd);
        launching = args;
        (void) c->start(c, 0, argv);
        /* Before its loop: it failed, and what it had to say is in its log. After it: the container has ended. */
        _exit(is_watcher ? 0 : 1);
}
