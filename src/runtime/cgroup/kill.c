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
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { KILL_DEPTH_MAX = 64 };

static uint64_t now_ms(void) {
        return clock_monotonic_ns() / 1000000;
}

/* Calls kill for each process in the group and below. Number of processes seen. */
static size_t kill_each(int dirfd, int sig, unsigned depth) {
        _cleanup_(closedirp) DIR *dir = NULL;
        _cleanup_(fclosep) FILE *f = NULL;
        struct dirent *e;
        size_t n = 0;
        char line[32];
        int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);

        f = fd < 0 ? NULL : fdopen(fd, "r");
        if (!f)
                (void) fd_close(fd);
        while (f && fgets(line, sizeof(line), f)) {
                uint64_t pid;

                line[strcspn(line, "\n")] = '\0';
                /* 0: a process of a PID namespace that we can't see */
                if (!str_to_u64(line, &pid) || pid == 0 || pid > INT32_MAX)
                        continue;
                n++;
                if (sig)
                        (void) kill((pid_t) pid, sig);
        }
        fd = depth < KILL_DEPTH_MAX ? openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir)
                (void) fd_close(fd);
        while (dir && (e = readdir(dir))) {
                _cleanup_(fd_closep) int child = -1;

                if (e->d_type != DT_DIR || str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                child = openat(fd, e->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (child >= 0)
                        n += kill_each(child, sig, depth + 1);
        }
        return n;
}

static void freeze(struct group *g, bool on) {
        int h = g->c->of[CTL_FREEZER], fd;

        if (h >= 0 && (fd = group_fd(g, h)) >= 0)
                (void) file_write_at(fd, "freezer.state", on ? "FROZEN" : "THAWED");
        else if (g->c->unified >= 0 && (fd = group_fd(g, g->c->unified)) >= 0)
                (void) file_write_at(fd, "cgroup.freeze", on ? "1" : "0");
}

static int deadline(const struct group *g, size_t left, struct err *err) {
        return err_set(err, ERR_DEADLINE, "%zu processes of control group %s did not end when killed", left, g->path);
}

static int kill_by_signals(struct group *g, int dirfd, uint64_t until_ms, struct err *err) {
        size_t left;

        if (kill_each(dirfd, 0, 0) == 0)
                return 0;
        for (unsigned round = 0;; round++) {
                freeze(g, true);
                left = kill_each(dirfd, SIGKILL, 0);
                freeze(g, false);
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
                        return deadline(g, kill_each(dirfd, 0, 0), err);
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
