/* SPDX-License-Identifier: Apache-2.0 */
/* oom - waiting until a group runs out of memory: v1 by an eventfd on memory.oom_control, v2 by changes of
 * memory.events. Kernel documents: admin-guide/cgroup-v1/memory, admin-guide/cgroup-v2. */
#include "runtime/cgroup/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "base/str.h"
#include "runtime/cgroup/internal.h"

void oom_watch_done(struct oom_watch *w) {
        w->event_fd = fd_close(w->event_fd);
        w->dir_fd = fd_close(w->dir_fd);
}

static bool read_kills(const struct oom_watch *w, uint64_t *ret) {
        char text[1024];

        *ret = 0;
        if (file_read_at(w->dir_fd, w->v2 ? "memory.events" : "memory.oom_control", text, sizeof(text)) < 0)
                return false;
        (void) keyed_number(text, "oom_kill", ret);
        return true;
}

static int watch_v1(struct oom_watch *w, struct err *err) {
        _cleanup_(fd_closep) int control = openat(w->dir_fd, "memory.oom_control", O_RDONLY | O_CLOEXEC);
        char text[64];
        int r;

        w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (control < 0 || w->event_fd < 0)
                return err_sys(err, errno, "watch memory.oom_control");
        (void) snprintf(text, sizeof(text), "%d %d", w->event_fd, control);
        r = file_write_at(w->dir_fd, "cgroup.event_control", text);
        return r < 0 ? err_sys(err, -r, "watch memory.oom_control by cgroup.event_control") : 0;
}

static int watch_v2(struct oom_watch *w, struct err *err) {
        char file[64];

        (void) snprintf(file, sizeof(file), "/proc/self/fd/%d/memory.events", w->dir_fd);
        w->event_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (w->event_fd < 0 || inotify_add_watch(w->event_fd, file, IN_MODIFY) < 0)
                return err_sys(err, errno, "watch memory.events");
        return 0;
}

int oom_watch_open(struct cgroups *c, const char *path, struct oom_watch *ret, struct err *err) {
        int h = c->of[CTL_MEMORY], r = path_check(path, err);

        *ret = OOM_WATCH_EMPTY;
        if (r < 0)
                return r;
        if (h < 0)
                return err_set(err, ERR_PRECONDITION, "this host has no \"memory\" controller");
        ret->v2 = c->hiers[h].v2;
        ret->dir_fd = openat(c->hiers[h].fd, path + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (ret->dir_fd < 0)
                return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "no control group %s", path)
                                       : err_sys(err, errno, "open control group %s", path);
        r = ret->v2 ? watch_v2(ret, err) : watch_v1(ret, err);
        if (r == 0)
                (void) read_kills(ret, &ret->kills);
        else
                oom_watch_done(ret);
        return r;
}

/* What came, of either kind of descriptor, is taken out. v1: how often it was out of memory. */
static uint64_t drain(const struct oom_watch *w) {
        _Alignas(struct inotify_event) char buf[4096];
        uint64_t n = 0;

        if (!w->v2)
                return read(w->event_fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
        while (read(w->event_fd, buf, sizeof(buf)) > 0)
                ;
        return 0;
}

int oom_watch_wait(struct oom_watch *w, int cancel_fd, int timeout_ms, struct err *err) {
        struct pollfd p[2] = { { .fd = w->event_fd, .events = POLLIN }, { .fd = cancel_fd, .events = POLLIN } };
        uint64_t times, kills;
        int r;

        do
                r = poll(p, 2, timeout_ms);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return err_sys(err, errno, "wait for lack of memory");
        if (!p[0].revents)
                return 0;
        times = drain(w);
        /* v1 tells of the end of a group, too. */
        if (!read_kills(w, &kills))
                return err_set(err, ERR_NOT_FOUND, "the control group is gone");
        if (w->v2)
                times = kills > w->kills ? kills - w->kills : 0;
        w->kills = kills;
        return (int) MIN_OF(times, 1000U);
}
