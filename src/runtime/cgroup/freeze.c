/* SPDX-License-Identifier: Apache-2.0 */
/* freeze - stop everything in a group and let it go on: v1's freezer, v2's cgroup.freeze. Kernel documents:
 * admin-guide/cgroup-v1/freezer-subsystem, admin-guide/cgroup-v2. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { THAW_EVERY = 50, OWN_TEXT_MAX = 1 << 16 };

static int freezer_of(const struct cgroups *c) {
        return c->of[CTL_FREEZER] >= 0 ? c->of[CTL_FREEZER] : c->unified;
}

static void pause_ns(long ns) {
        (void) nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

/* The path of the calling process in hierarchy @h, from /proc/self/cgroup's lines "ID:CONTROLLERS:PATH". */
const char *own_path_in(const struct hier *h, char *text, size_t *ret_len) {
        for (char *line = text; line && *line; line = strchr(line, '\n')) {
                const char *names, *path;
                bool found;

                line += *line == '\n';
                names = strchr(line, ':');
                path = names ? strchr(names + 1, ':') : NULL;
                if (!path)
                        return NULL;
                if (h->v2)
                        found = names[1] == ':' && line[0] == '0';
                else if (h->controllers)
                        found = (controllers_in(names + 1, (size_t) (path - names - 1)) & h->controllers) != 0;
                else
                        found = str_after(names, ":name=systemd:") != NULL;
                if (!found)
                        continue;
                *ret_len = strcspn(++path, "\n");
                return path;
        }
        return NULL;
}

/* Freezing ourselves would be for ever. */
bool group_has_us(struct group *g, int h) {
        _cleanup_(freep) char *text = NULL;
        struct err ignored;
        const char *own;
        size_t len = 0, path_len = strlen(g->path);

        if (fs_read_file(AT_FDCWD, "/proc/self/cgroup", OWN_TEXT_MAX, &text, NULL, &ignored) < 0)
                return false;
        own = own_path_in(&g->c->hiers[h], text, &len);
        return own && len >= path_len && memcmp(own, g->path, path_len) == 0 &&
               (len == path_len || own[path_len] == '/');
}

/* --- v1 ---------------------------------------------------------------------------------------------------------- */

static int state_v1(int fd, char text[32]) {
        ssize_t n = file_read_at(fd, "freezer.state", text, 32);

        return n < 0 ? (int) n : 0;
}

/* A group in which processes come up all the time, or one that is being traced, may take several attempts: as runc does
 * it, it is let go now and then. */
static int freeze_v1(int fd, bool on, uint64_t until_ms) {
        const char *wanted = on ? "FROZEN" : "THAWED";
        char text[32];
        int r;

        for (unsigned try = 1;; try++) {
                r = file_write_at(fd, "freezer.state", wanted);
                if (r == 0)
                        r = state_v1(fd, text);
                if (r < 0 || str_eq(text, wanted))
                        return r;
                if (clock_monotonic_ns() / 1000000 >= until_ms)
                        return -ETIMEDOUT;
                if (on && try % THAW_EVERY == 0)
                        (void) file_write_at(fd, "freezer.state", "THAWED");
                pause_ns(try % THAW_EVERY == 0 ? 10000000 : 20000L << MIN_OF(try, 6U));
        }
}

/* --- v2 ---------------------------------------------------------------------------------------------------------- */

static int freeze_v2(int dirfd, bool on, uint64_t until_ms) {
        _cleanup_(fd_closep) int events = openat(dirfd, "cgroup.events", O_RDONLY | O_CLOEXEC);
        int r = events < 0 ? -errno : file_write_at(dirfd, "cgroup.freeze", on ? "1" : "0");

        while (r == 0 && on) {
                struct pollfd p = { .fd = events, .events = POLLPRI };
                uint64_t now = clock_monotonic_ns() / 1000000, frozen;
                char text[256];
                ssize_t n = pread(events, text, sizeof(text) - 1, 0);

                if (n < 0)
                        return -errno;
                text[n] = '\0';
                if (keyed_number(text, "frozen", &frozen) && frozen)
                        break;
                if (now >= until_ms)
                        return -ETIMEDOUT;
                (void) poll(&p, 1, (int) MIN_OF(until_ms - now, 100U));
        }
        return r;
}

/* ----------------------------------------------------------------------------------------------------------------- */

/* 0 or -errno; -EOPNOTSUPP: no freezer here. */
int group_freeze(struct group *g, bool on, unsigned timeout_ms) {
        uint64_t until_ms = clock_monotonic_ns() / 1000000 + timeout_ms;
        int h = freezer_of(g->c), fd = h < 0 ? -EOPNOTSUPP : group_fd(g, h), r;

        if (fd < 0)
                return fd;
        r = (g->c->hiers[h].v2 ? freeze_v2 : freeze_v1)(fd, on, until_ms);
        if (r < 0 && on) /* half frozen is worse */
                (void) file_write_at(fd, g->c->hiers[h].v2 ? "cgroup.freeze" : "freezer.state",
                                     g->c->hiers[h].v2 ? "0" : "THAWED");
        return r;
}

/* By the group's path, not by a descriptor of its folder: "list" asks for each container. */
static ssize_t read_of(const struct hier *h, const char *path, const char *file, char text[32]) {
        char rel[GROUP_PATH_MAX + 64];

        (void) snprintf(rel, sizeof(rel), "%s/%s", path + 1, file);
        return file_read_at(h->fd, rel, text, 32);
}

static bool is_frozen(const struct cgroups *c, const char *path) {
        const struct hier *h = freezer_of(c) < 0 ? NULL : &c->hiers[freezer_of(c)];
        char text[32];

        if (!h)
                return false;
        if (h->v2)
                return read_of(h, path, "cgroup.freeze", text) > 0 && str_eq(text, "1");
        /* Not by a group above. */
        if (read_of(h, path, "freezer.self_freezing", text) > 0)
                return str_eq(text, "1");
        return read_of(h, path, "freezer.state", text) > 0 && str_eq(text, "FROZEN");
}

bool group_is_frozen(struct group *g) {
        return is_frozen(g->c, g->path);
}

int cgroup_freeze(struct cgroups *c, const char *path, bool on, unsigned timeout_ms, struct err *err) {
        struct group g;
        int r = path_check(path, err), e;

        if (r < 0)
                return r;
        group_init(&g, c, path);
        if (on && freezer_of(c) >= 0 && group_has_us(&g, freezer_of(c)))
                r = err_set(err, ERR_PRECONDITION, "control group %s can't be frozen: this command itself runs in it",
                            path);
        else if ((e = group_freeze(&g, on, timeout_ms)) == -ENOENT)
                r = err_set(err, ERR_NOT_FOUND, "no control group %s", path);
        else if (e == -EOPNOTSUPP)
                r = err_set(err, ERR_PRECONDITION,
                            "this host can't freeze: neither cgroup v2 nor the v1 controller \"freezer\" is mounted");
        else if (e == -ETIMEDOUT)
                r = err_set(err, ERR_DEADLINE, "control group %s did not %s within %u ms", path, on ? "freeze" : "thaw",
                            timeout_ms);
        else if (e < 0)
                r = err_sys(err, -e, "%s control group %s", on ? "freeze" : "thaw", path);
        group_done(&g);
        return r;
}

bool cgroup_is_frozen(struct cgroups *c, const char *path) {
        struct err ignored;

        return path_check(path, &ignored) == 0 && is_frozen(c, path);
}
