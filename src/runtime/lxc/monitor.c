/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lxc/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <lxc/lxccontainer.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/sock.h"
#include "base/str.h"
#include "runtime/lxc/child.h"
#include "runtime/lxc/files.h"

enum { MOVE_EVERY_NS = 250000000 };

static void settle_descriptors(const struct monitor_args *args) {
        int keep[CONTAINER_FD_MAX + MONITOR_CONFIG_FDS_MAX + 8], n = 0;

        for (int i = 0; i < CONTAINER_FD_MAX; i++)
                keep[n++] = args->keep[i];
        for (int i = 0; i < args->n_config_fds; i++)
                keep[n++] = args->config_fds[i];
        keep[n++] = STDERR_FILENO;
        keep[n++] = args->dirfd;
        keep[n++] = args->rootfs_fd;
        keep[n++] = args->init_fd;
        keep[n++] = args->init_socket;
        keep[n++] = args->home_fd;
        child_settle_descriptors(args->init_socket, args->init_fd, keep, (size_t) n);
}

/* The root file system is attached in a mount namespace of the monitor's own: nothing of it shows on the host, and it
 * is gone with the monitor however that ends. */
static void attach_rootfs(const struct monitor_args *args) {
        if (unshare(CLONE_NEWNS) < 0)
                child_fail(args->init_socket, errno, "unshare mount namespace");
        if (args->nested && mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
                child_fail(args->init_socket, errno, "mount /proc for the pod's PID namespace");
        child_attach_rootfs(args->init_socket, args->rootfs_fd, args->rootfs_dir);
}

static void write_exit(const struct monitor_args *args, int status) {
        struct container_exit x = { .finished_at_ns = clock_realtime_ns() };
        struct err err = { 0 };

        /* liblxc's form, not wait(2)'s: exit code << 8, or signal << 8 | 0x7f. */
        if ((status & 0xff) == 0x7f) {
                x.signal = status >> 8 & 0x7f;
                x.code = 128 + x.signal;
        } else {
                x.code = status >> 8 & 0xff;
        }
        if (container_exit_write(args->dirfd, &x, &err) < 0)
                (void) fprintf(stderr, "container %s: %s\n", args->id, err.msg);
}

/* --- the container's cgroup ----------------------------------------------------------------------------------------
 *
 * On v2 a process that changes its cgroup waits, and lets every fork of the host wait, for an RCU grace period: 5 to
 * 20 ms, which would be most of what a container's creation takes. So monitor and init are born in the container's
 * group, and the monitor goes back while nobody waits for it. */

/* Who moves while another's move is just over waits for no grace period of its own. So all monitors that go home do it
 * at the same moments. */
static void wait_for_others(void) {
        uint64_t at = (clock_monotonic_ns() / MOVE_EVERY_NS + 1) * MOVE_EVERY_NS;
        struct timespec t = { .tv_sec = (time_t) (at / 1000000000u), .tv_nsec = (long) (at % 1000000000u) };

        (void) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* In a process of its own, because liblxc refuses to start a container in one with threads. The keeper's child, which
 * reaps it. */
static _noreturn_ void go_home(const struct monitor_args *args, pid_t monitor) {
        int sock = fcntl(args->keep[CONTAINER_FD_SOCKET], F_DUPFD, 8), home = fcntl(args->home_fd, F_DUPFD, 8);
        struct pollfd p = { .fd = 3, .events = POLLIN };
        char text[16];
        int n = snprintf(text, sizeof(text), "%d", (int) monitor);

        /* Nothing else: whoever waits for the end of init or its pipes would wait for us. */
        if (dup2(sock, p.fd) < 0 || dup2(home, 4) < 0)
                _exit(1);
        (void) close_range(5, ~0U, 0);
        /* READY (or before it, that hooks are due): it is never taken out of the socket (keeper/container.c). */
        while (poll(&p, 1, -1) < 0 && errno == EINTR)
                ;
        wait_for_others();
        if (write(4, text, (size_t) n) != n && errno != ESRCH)
                (void) fprintf(stderr, "container %s: its monitor can't leave its cgroup: %s\n", args->id,
                               strerror(errno));
        _exit(0);
}

static void go_home_later(const struct monitor_args *args) {
        pid_t monitor = getpid();
        long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);

        if (pid == 0)
                go_home(args, monitor);
        if (pid < 0)
                child_fail(args->init_socket, errno, "fork");
}

void monitor_run(const struct monitor_args *args) {
        char program[64], sock[16], title[16];
        char *argv[] = { program, sock, NULL };
        struct lxc_container *c;
        sigset_t none;

        (void) snprintf(title, sizeof(title), "mon-%.10s", args->id);
        (void) prctl(PR_SET_NAME, title);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        /* A session of its own: a terminal's or service manager's signals to the keeper's group are not ours. */
        (void) setsid();
        settle_descriptors(args);
        attach_rootfs(args);

        if (args->home_fd >= 0)
                go_home_later(args);
        c = lxc_container_new(args->id, args->lxc_path);
        if (!c)
                child_fail(args->init_socket, errno, "lxc_container_new");
        child_configure(args->init_socket, args->config, c);
        (void) snprintf(program, sizeof(program), "/proc/self/fd/%d", args->init_fd);
        (void) snprintf(sock, sizeof(sock), "%d", args->init_socket);
        (void) c->want_daemonize(c, false);
        child_set_program(args->init_fd);
        if (!c->start(c, 0, argv))
                _exit(1); /* what liblxc had to say is in its log, which the keeper reads */
        write_exit(args, c->error_num);
        child_wait_until_read(args->keep + CONTAINER_FD_STDOUT, 2);
        _exit(0);
}
