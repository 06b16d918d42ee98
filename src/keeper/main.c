/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox-lxcri-keeper - one small process a node that forks monitors and exec helpers, reaps them and pumps output
 * into logs. Started by the daemon and outlives it; may itself be killed and started again at any time. See README.md
 * beside. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "keeper/keeper.h"

/* What the daemon hands over. */
enum { FD_LISTEN = 3, FD_NETNS = 4, IDLE_EXIT_MS = 2000 };

static void reap(struct keeper *k) {
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (!exec_reaped(k, pid, status))
                        container_reaped(k, pid, status);
}

static void on_signal(struct source *s, uint32_t events) {
        struct keeper *k = (struct keeper *) ((char *) s - offsetof(struct keeper, signal_source));
        struct signalfd_siginfo si[8];

        while (read(s->fd, si, sizeof(si)) > 0)
                ;
        reap(k);
}

/* glibc's posix_spawn leaves the two signals that it keeps for itself ignored, and that would go on to every container.
 */
static void reset_internal_signals(void) {
        struct {
                void (*handler)(int);
                unsigned long flags;
                void (*restorer)(void);
                unsigned long mask;
        } deflt = { 0 };

        for (int sig = 32; sig <= 33; sig++)
                (void) syscall(SYS_rt_sigaction, sig, &deflt, NULL, sizeof(deflt.mask));
}

/* Containers must survive whatever the service manager or a terminal sends us; only SIGKILL ends a keeper that is
 * needed. */
static int take_signals(struct keeper *k, struct err *err) {
        sigset_t set;
        int fd;

        reset_internal_signals();
        (void) signal(SIGPIPE, SIG_IGN);
        (void) signal(SIGHUP, SIG_IGN);
        (void) signal(SIGINT, SIG_IGN);
        (void) signal(SIGTERM, SIG_IGN);
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGCHLD);
        (void) sigprocmask(SIG_SETMASK, &set, NULL);
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0 || loop_add(&k->loop, &k->signal_source, fd, EPOLLIN, on_signal) < 0)
                return err_sys(err, errno, "watch signals");
        return 0;
}

static int prepare_folders(struct keeper *k, struct err *err) {
        char path[512];

        if (snprintf(k->lxc_path, sizeof(k->lxc_path), "%s/lxc", k->state_dir) >= (int) sizeof(k->lxc_path))
                return err_sys(err, ENAMETOOLONG, "use state folder %s", k->state_dir);
        (void) snprintf(k->rootfs_dir, sizeof(k->rootfs_dir), "%s/rootfs", k->state_dir);
        (void) snprintf(path, sizeof(path), "%s/containers", k->state_dir);
        /* liblxc goes through the first two as the root of a container's user namespace; they are empty. */
        if (fs_mkdir_p(k->lxc_path, 0711, err) < 0 || fs_mkdir_p(k->rootfs_dir, 0711, err) < 0 ||
            fs_mkdir_p(path, 0700, err) < 0)
                return -(int) err->code;
        k->containers_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return k->containers_fd < 0 ? err_sys(err, errno, "open %s", path) : 0;
}

static int start(struct keeper *k, const char *init_path, struct err *err) {
        struct rlimit files = { 1048576, 1048576 };
        int r;

        /* A process on its way into a container is a copy of us: who may trace there must not see into it. */
        if (prctl(PR_SET_DUMPABLE, 0) < 0)
                return err_sys(err, errno, "hide memory from tracers");
        /* Environment is inherited by monitors: liblxc would run newuidmap if it found it in PATH. */
        (void) clearenv();
        (void) setenv("PATH", "/nonexistent", 1);
        (void) setenv("LC_ALL", "C.UTF-8", 1);
        (void) fcntl(FD_LISTEN, F_SETFD, FD_CLOEXEC);
        (void) fcntl(FD_NETNS, F_SETFD, FD_CLOEXEC);
        (void) close_range(FD_NETNS + 1, ~0U, 0);
        r = fs_sealed_copy(init_path, "proxmox-lxcri-init", &k->init_fd, err);
        if (r < 0)
                return r;
        (void) setsid();
        if (chdir("/") < 0)
                return err_sys(err, errno, "change to /");
        (void) umask(0022);
        (void) setrlimit(RLIMIT_NOFILE, &files);

        k->containers = map_new();
        r = loop_init(&k->loop);
        if (r < 0)
                return err_sys(err, -r, "create the event loop");
        r = prepare_folders(k, err);
        if (r < 0)
                return r;
        r = keeper_isolate(k, FD_NETNS, err);
        if (r < 0)
                return r;
        (void) close(FD_NETNS);
        /* The folders again, through the new mount namespace's own mounts. */
        (void) close(k->containers_fd);
        r = prepare_folders(k, err);
        if (r < 0)
                return r;
        r = take_signals(k, err);
        if (r < 0)
                return r;
        container_take_over_all(k);
        return server_start(k, FD_LISTEN, err);
}

/* Nobody needs a keeper that has no container and no daemon. */
static bool is_over(struct keeper *k) {
        uint64_t now = clock_monotonic_ns();

        if (k->told_to_end)
                return true;
        if (k->connections || map_size(k->containers)) {
                k->idle_since_ns = 0;
                return false;
        }
        if (!k->idle_since_ns)
                k->idle_since_ns = now;
        return now - k->idle_since_ns >= IDLE_EXIT_MS * 1000000ull;
}

int main(int argc, char **argv) {
        static struct keeper keeper;
        enum log_level level;
        enum log_format format;
        struct err err = { 0 };
        int timeout;

        if (argc != 5 || !log_level_from_name(argv[3], &level) || !log_format_from_name(argv[4], &format)) {
                (void) fprintf(stderr, "proxmox-lxcri-keeper is started by proxmox-lxcrid, not by hand\n");
                return 2;
        }
        log_set_level(level);
        log_set_format(format);
        keeper.state_dir = argv[1];
        if (start(&keeper, argv[2], &err) < 0) {
                log_error("the keeper cannot start", "error", err.msg, NULL);
                return 1;
        }
        (void) malloc_trim(0);
        log_info("keeper started", "containers", LOG_U64(map_size(keeper.containers)), NULL);
        while (!is_over(&keeper)) {
                timeout = log_partial_timeout_ms();
                if (keeper.idle_since_ns && timeout < 0)
                        timeout = IDLE_EXIT_MS;
                loop_run_once(&keeper.loop, timeout);
                log_flush_partial();
        }
        log_info("keeper ends: no containers, no daemon", NULL);
        return 0;
}
