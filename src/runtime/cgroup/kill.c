/* SPDX-License-Identifier: Apache-2.0 */
/* kill - end everything in a group: by cgroup.kill (kernel 5.14, v2 and the v2 tree of hybrid hosts), else by freezing
 * it, so that it can't fork away, and SIGKILL to each process, until it is empty. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { FREEZE_MS = 50, FREEZE_ALL_MS = 2000 };

static uint64_t now_ms(void) {
        return clock_monotonic_ns() / 1000000;
}

struct signalled {
        int sig; /* 0: only counted */
        size_t n;
};

static bool signal_one(pid_t pid, void *userdata) {
        struct signalled *s = userdata;

        s->n++;
        if (s->sig)
                (void) kill(pid, s->sig);
        return true;
}

/* Signals each process in the group and below. Number of processes seen. */
static size_t kill_each(int dirfd, int sig) {
        struct signalled s = { .sig = sig };

        for (int try = 0; try < WALK_TRIES; try++) {
                s.n = 0;
                if (each_process_below(dirfd, &(struct cgroup_each_process){ signal_one, &s }) != -ESTALE)
                        break;
        }
        return s.n;
}

static int deadline(const struct group *g, size_t left, struct err *err) {
        return err_set(err, ERR_DEADLINE, "%zu processes of control group %s did not end when killed", left, g->path);
}

static int kill_by_signals(struct group *g, int dirfd, uint64_t until_ms, struct err *err) {
        size_t left;

        if (kill_each(dirfd, 0) == 0)
                return 0;
        for (unsigned round = 0;; round++) {
                (void) group_freeze(g, true, FREEZE_MS);
                left = kill_each(dirfd, SIGKILL);
                (void) group_freeze(g, false, FREEZE_MS);
                if (left == 0)
                        return 0;
                if (now_ms() >= until_ms)
                        return deadline(g, left, err);
                (void) nanosleep(&(struct timespec){ .tv_nsec = 200000L << (round < 6 ? round : 6) }, NULL);
        }
}

static bool populated(int events) {
        char text[256];
        uint64_t n = 0;
        ssize_t len = pread(events, text, sizeof(text) - 1, 0);

        if (len <= 0)
                return false; /* removed meanwhile */
        text[len] = '\0';
        return keyed_number(text, "populated", &n) && n;
}

static int wait_empty(struct group *g, int dirfd, uint64_t until_ms, struct err *err) {
        _cleanup_(fd_closep) int events = openat(dirfd, "cgroup.events", O_RDONLY | O_CLOEXEC);

        if (events < 0)
                return errno == ENOENT ? 0 : err_sys(err, errno, "open cgroup.events of %s", g->path);
        while (populated(events)) {
                struct pollfd p = { .fd = events, .events = POLLPRI };
                uint64_t now = now_ms();

                if (now >= until_ms)
                        return deadline(g, kill_each(dirfd, 0), err);
                (void) poll(&p, 1, (int) MIN_OF(until_ms - now, 1000U));
        }
        return 0;
}

int cgroup_kill(struct cgroups *c, const char *path, unsigned timeout_ms, struct err *err) {
        uint64_t until_ms = now_ms() + timeout_ms;
        struct group g;
        int r = path_check(path, err), fd;

        if (r < 0)
                return r;
        group_init(&g, c, path);
        if (c->unified >= 0 && (fd = group_fd(&g, c->unified)) >= 0) {
                r = file_write_at(fd, "cgroup.kill", "1");
                r = r == 0 ? wait_empty(&g, fd, until_ms, err) : kill_by_signals(&g, fd, until_ms, err);
        }
        /* A process may be in some hierarchies only, when it or its parent was interrupted while entering them. */
        for (size_t h = 0; h < c->n && r == 0; h++)
                if (!c->hiers[h].v2 && (fd = group_fd(&g, (int) h)) >= 0)
                        r = kill_by_signals(&g, fd, until_ms, err);
        group_done(&g);
        return r;
}

/* Once each: with the group frozen none escapes by forking, and none that is new was missed. */
static int signal_listed(struct cgroups *c, const char *path, int sig, struct err *err) {
        _cleanup_(freep) pid_t *pids = NULL;
        size_t n = 0;
        int r = cgroup_processes(c, path, &pids, &n, err), e = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                if (pids[i] != getpid() && kill(pids[i], sig) < 0 && errno != ESRCH)
                        e = errno;
        return r < 0 || e == 0 ? r : err_sys(err, e, "send signal %d to all of control group %s", sig, path);
}

int cgroup_signal_all(struct cgroups *c, const char *path, int sig, struct err *err) {
        struct group g;
        bool was_frozen, frozen = false;
        int r = path_check(path, err), fd;

        if (r < 0)
                return r;
        group_init(&g, c, path);
        fd = group_fd(&g, 0);
        if (fd == -ENOENT)
                r = err_set(err, ERR_NOT_FOUND, "no control group %s", path);
        else if (fd < 0)
                r = err_sys(err, -fd, "open control group %s", path);
        else if (sig == SIGKILL && c->unified == 0 && !group_has_us(&g, 0) &&
                 file_write_at(fd, "cgroup.kill", "1") == 0)
                ; /* also what is frozen */
        else {
                was_frozen = group_is_frozen(&g);
                if (!was_frozen && sig != 0 && !group_has_us(&g, 0))
                        frozen = group_freeze(&g, true, FREEZE_ALL_MS) == 0;
                r = signal_listed(c, path, sig, err);
                /* In v1's freezer not even SIGKILL ends them. */
                if (frozen || (was_frozen && sig == SIGKILL))
                        (void) group_freeze(&g, false, FREEZE_ALL_MS);
        }
        group_done(&g);
        return r;
}
