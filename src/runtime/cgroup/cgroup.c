/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup - making, removing and entering groups in every hierarchy. */
#include "runtime/cgroup/cgroup.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { REMOVE_TRIES = 60 };

ssize_t file_read_at(int dirfd, const char *file, char *buf, size_t size) {
        _cleanup_(fd_closep) int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return -errno;
        do
                n = read(fd, buf, size - 1);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        if (n > 0 && buf[n - 1] == '\n')
                n--;
        buf[n] = '\0';
        return n;
}

int file_write_at(int dirfd, const char *file, const char *value) {
        _cleanup_(fd_closep) int fd = openat(dirfd, file, O_WRONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return -errno;
        do
                n = write(fd, value, strlen(value));
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

int path_check(const char *path, struct err *err) {
        size_t levels = 0;

        if (!path || path[0] != '/' || !path[1])
                return err_set(err, ERR_INVALID, "control group path \"%s\" is not below the root", path ? path : "");
        if (strlen(path) > GROUP_PATH_MAX)
                return err_set(err, ERR_INVALID, "control group path is longer than %d bytes", GROUP_PATH_MAX);
        for (const char *p = path; *p; levels++) {
                size_t len = strcspn(++p, "/");

                if (len == 0 || len > 255 || (p[0] == '.' && (len == 1 || (len == 2 && p[1] == '.'))))
                        return err_set(err, ERR_INVALID,
                                       "control group path \"%s\" has an empty, too long, \".\" or \"..\" component",
                                       path);
                for (size_t i = 0; i < len; i++)
                        if ((unsigned char) p[i] < ' ' || p[i] == 0x7f)
                                return err_set(err, ERR_INVALID, "control group path has a control character");
                p += len;
        }
        if (levels > LEVEL_MAX)
                return err_set(err, ERR_INVALID, "control group path is deeper than %d", LEVEL_MAX);
        return 0;
}

void group_init(struct group *g, struct cgroups *c, const char *path) {
        memset(g, 0, sizeof(*g));
        g->c = c;
        g->path = path;
        for (size_t i = 0; i < HIER_MAX; i++)
                g->fds[i] = -1;
}

void group_done(struct group *g) {
        for (size_t i = 0; i < g->c->n; i++)
                g->fds[i] = fd_close(g->fds[i]);
}

int group_fd(struct group *g, int h) {
        if (g->fds[h] < 0) {
                g->fds[h] = openat(g->c->hiers[h].fd, g->path + 1, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (g->fds[h] < 0)
                        return -errno;
        }
        return g->fds[h];
}

/* Length of the path's part that ends with folder number @level (from 1); 0 when it has fewer. */
static size_t level_end(const char *path, unsigned level) {
        const char *p = path;

        while (level--) {
                if (!*p)
                        return 0;
                p += 1 + strcspn(p + 1, "/");
        }
        return (size_t) (p - path);
}

static unsigned level_count(const char *path) {
        unsigned n = 0;

        while (*path)
                n += *path++ == '/';
        return n;
}

static void prepare_made(struct group *g, int h, const char *rel) {
        char file[GROUP_PATH_MAX + 64];

        if (h != g->c->of[CTL_MEMORY] || !g->c->seed_hierarchy)
                return;
        (void) snprintf(file, sizeof(file), "%s/memory.use_hierarchy", rel);
        (void) file_write_at(g->c->hiers[h].fd, file, "1"); /* refused where the parent's holds already */
}

/* Make folder @level, noting that it is ours. 0, -EEXIST or another -errno. */
static int make_level(struct group *g, int h, unsigned level) {
        char rel[GROUP_PATH_MAX + 1];
        size_t len = level_end(g->path, level);

        memcpy(rel, g->path + 1, len - 1);
        rel[len - 1] = '\0';
        if (mkdirat(g->c->hiers[h].fd, rel, 0755) < 0)
                return -errno;
        if (g->first_level[h] == 0 || level < g->first_level[h])
                g->first_level[h] = (uint8_t) level;
        prepare_made(g, h, rel);
        return 0;
}

static bool is_made_in(const struct group *g, size_t h) {
        return !g->c->hiers[h].rare || g->c->hiers[h].controllers & g->wanted;
}

static int make_in(struct group *g, int h, struct err *err) {
        unsigned levels = level_count(g->path);
        int r = -ENOENT;

        /* Parents that another thread's clean-up takes away meanwhile are made again. */
        for (int tries = 0; r == -ENOENT && tries < 8; tries++) {
                r = make_level(g, h, levels);
                if (r != -ENOENT)
                        break;
                for (unsigned level = 1; level < levels; level++) {
                        r = make_level(g, h, level);
                        if (r < 0 && r != -EEXIST)
                                break;
                }
                r = -ENOENT;
        }
        if (r == -EEXIST)
                return 0;
        if (r < 0)
                return err_sys(err, -r, "make %s%s", g->c->hiers[h].mount, g->path);
        g->fresh[h] = true;
        return 0;
}

static void group_undo(struct group *g) {
        char rel[GROUP_PATH_MAX + 1];

        for (size_t h = g->c->n; h-- > 0;) {
                if (!g->first_level[h])
                        continue;
                for (unsigned level = level_count(g->path); level >= g->first_level[h]; level--) {
                        size_t len = level_end(g->path, level);

                        memcpy(rel, g->path + 1, len - 1);
                        rel[len - 1] = '\0';
                        if (unlinkat(g->c->hiers[h].fd, rel, AT_REMOVEDIR) < 0 && errno != ENOENT)
                                break; /* somebody else's group is below by now */
                }
        }
}

static int group_make(struct group *g, bool seed_last, struct err *err) {
        int cpuset = g->c->of[CTL_CPUSET], r;

        for (size_t h = 0; h < g->c->n; h++) {
                r = is_made_in(g, h) ? make_in(g, (int) h, err) : 0;
                if (r < 0)
                        return r;
        }
        if (cpuset < 0 || g->c->hiers[cpuset].v2)
                return 0;
        /* A new v1 cpuset is empty and lets no process in. */
        return v1_seed_cpuset(g, seed_last ? strlen(g->path) : level_end(g->path, level_count(g->path) - 1), err);
}

int cgroup_make(struct cgroups *c, const char *path, struct err *err) {
        struct group g;
        int r = path_check(path, err);

        if (r < 0)
                return r;
        group_init(&g, c, path);
        r = group_make(&g, true, err);
        if (r < 0)
                group_undo(&g);
        group_done(&g);
        return r;
}

static bool all_fresh(const struct group *g) {
        for (size_t h = 0; h < g->c->n; h++)
                if (!g->fresh[h] && is_made_in(g, h))
                        return false;
        return true;
}

/* Part of it may be there already, in one hierarchy or in all: then what is in it is somebody else's, too. */
static int create(struct group *g, const struct spec_resources *r, bool *ret_made, struct err *err) {
        bool own_cpuset = !str_empty(r->cpuset_cpus) && !str_empty(r->cpuset_mems);
        int res = group_make(g, !own_cpuset, err);

        if (res == 0 && ret_made) {
                *ret_made = all_fresh(g);
                if (!*ret_made && group_is_frozen(g))
                        res = err_set(err, ERR_PRECONDITION, "it is there already and frozen");
        }
        return res < 0 ? res : limits_apply(g, r, ret_made && !*ret_made ? LIMITS_UPDATE : LIMITS_CREATE, err);
}

static int create_or_join(struct cgroups *c, const char *path, const struct spec_resources *r, bool *ret_made,
                          struct err *err) {
        struct group g;
        int res = path_check(path, err);

        if (res < 0)
                return res;
        group_init(&g, c, path);
        g.wanted = resources_controllers(r);
        g.all_controllers = ret_made && c->mode == CGROUP_V2;
        res = create(&g, r, ret_made, err);
        if (res < 0) {
                group_undo(&g);
                res = err_wrap(err, "control group %s", path);
        }
        group_done(&g);
        return res;
}

int cgroup_create(struct cgroups *c, const char *path, const struct spec_resources *r, struct err *err) {
        return create_or_join(c, path, r, NULL, err);
}

int cgroup_create_or_join(struct cgroups *c, const char *path, const struct spec_resources *r, bool *ret_made,
                          struct err *err) {
        return create_or_join(c, path, r, ret_made, err);
}

int cgroup_update(struct cgroups *c, const char *path, const struct spec_resources *r, struct err *err) {
        struct group g;
        int res = path_check(path, err);

        if (res < 0)
                return res;
        group_init(&g, c, path);
        if (group_fd(&g, 0) < 0)
                res = err_set(err, ERR_NOT_FOUND, "no control group %s", path);
        else if ((res = limits_apply(&g, r, LIMITS_UPDATE, err)) < 0)
                res = err_wrap(err, "control group %s", path);
        group_done(&g);
        return res;
}

int cgroup_open_doors(struct cgroups *c, const char *path, bool to_clone, struct cgroup_door doors[CGROUP_MAX_DOORS],
                      struct err *err) {
        char file[GROUP_PATH_MAX + 32];
        int r = path_check(path, err), n = 0;

        if (r < 0)
                return r;
        for (size_t h = 0; h < c->n; h++) {
                bool v2 = c->hiers[h].v2, folder = v2 && to_clone;
                int e;

                (void) snprintf(file, sizeof(file), "%s/%s", path + 1, folder ? "." : v2 ? "cgroup.procs" : "tasks");
                doors[n].folder = folder;
                doors[n].fd = openat(c->hiers[h].fd, file, (folder ? O_PATH | O_DIRECTORY : O_WRONLY) | O_CLOEXEC);
                e = errno;
                if (doors[n].fd >= 0) {
                        n++;
                        continue;
                }
                if (e == ENOENT && c->hiers[h].rare)
                        continue;
                while (n-- > 0)
                        (void) close(doors[n].fd);
                return e == ENOENT ? err_set(err, ERR_NOT_FOUND, "no control group %s", path)
                                   : err_sys(err, e, "open the control group %s", path);
        }
        return n;
}

int cgroup_open_door_of(struct cgroups *c, const char *controller, const char *path, struct cgroup_door *ret,
                        struct err *err) {
        int ctl = ctl_find(controller, strlen(controller)), r = path_check(path, err);
        const struct hier *h = ctl >= 0 && c->of[ctl] >= 0 ? &c->hiers[c->of[ctl]] : NULL;
        char file[GROUP_PATH_MAX + 32];

        if (r < 0)
                return r;
        if (!h || h->v2)
                return err_set(err, ERR_INVALID, "this host has no cgroup v1 hierarchy of the controller %.64s",
                               controller);
        (void) snprintf(file, sizeof(file), "%s/tasks", path + 1);
        ret->folder = false;
        ret->fd = openat(h->fd, file, O_WRONLY | O_CLOEXEC);
        if (ret->fd >= 0)
                return 0;
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "no control group %s of %s", path, controller)
                               : err_sys(err, errno, "open the control group %s of %s", path, controller);
}

int cgroup_open_home(struct cgroups *c, int *ret, struct err *err) {
        char file[GROUP_PATH_MAX + 32];
        _cleanup_(freep) char *text = NULL;
        const char *line;
        int r;

        *ret = -1;
        if (c->unified < 0)
                return 0;
        r = fs_read_file(AT_FDCWD, "/proc/self/cgroup", 1 << 16, &text, NULL, err);
        if (r < 0)
                return r;
        line = strstr(text, "0::/");
        while (line && line != text && line[-1] != '\n')
                line = strstr(line + 1, "0::/");
        if (!line)
                return err_set(err, ERR_INTERNAL, "/proc/self/cgroup has no line for cgroup v2");
        line += strlen("0::/");
        if (snprintf(file, sizeof(file), "./%.*s/cgroup.procs", (int) strcspn(line, "\n"), line) >= (int) sizeof(file))
                return err_set(err, ERR_INVALID, "the path of our own control group is too long");
        *ret = openat(c->hiers[c->unified].fd, file, O_WRONLY | O_CLOEXEC);
        return *ret < 0 ? err_sys(err, errno, "open our own control group, %s%s", c->hiers[c->unified].mount, file + 1)
                        : 0;
}

/* What is empty in the group @at goes; @next: one that is not, "" when there is none. Number of those that went, or
 * -errno. */
static int remove_empty(int at, char next[NAME_MAX + 1]) {
        int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
        _cleanup_(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;

        next[0] = '\0';
        if (!dir) {
                n = -errno;
                (void) fd_close(fd);
                return n;
        }
        while ((e = readdir(dir))) {
                if (e->d_type != DT_DIR || str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                if (unlinkat(fd, e->d_name, AT_REMOVEDIR) == 0)
                        n++;
                else if (errno != ENOENT)
                        (void) snprintf(next, NAME_MAX + 1, "%s", e->d_name);
        }
        return n;
}

/* Remove the groups below @dirfd, deepest first. However deep a container made them, one is open at a time: "..", where
 * nobody can move a group to another place, leads back. 0 or -errno. */
static int remove_children(int dirfd) {
        _cleanup_(fd_closep) int at = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char next[NAME_MAX + 1];
        bool came_up = false;
        size_t depth = 0;
        int n, to;

        while (at >= 0) {
                n = remove_empty(at, next);
                if (n < 0)
                        return n;
                if (!next[0] && depth == 0)
                        return 0;
                if (next[0] && came_up && n == 0) /* what could be done below was done */
                        return -EBUSY;
                came_up = !next[0];
                depth += came_up ? (size_t) -1 : 1;
                to = openat(at, came_up ? ".." : next, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                (void) fd_close(at);
                at = to;
        }
        return -errno;
}

/* Processes that were killed leave their group a little after their parent could reap them: wait 0.1 ms, then longer.
 */
static void remove_pause(int try) {
        long ns = 100000L << (try < 7 ? try : 7);

        (void) nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

static int remove_in(const struct hier *h, const char *path, struct err *err) {
        int r = 0;

        for (int try = 0; try < REMOVE_TRIES; try++) {
                _cleanup_(fd_closep) int fd = -1;

                if (unlinkat(h->fd, path + 1, AT_REMOVEDIR) == 0 || errno == ENOENT)
                        return 0;
                r = errno;
                if (r != EBUSY && r != ENOTEMPTY)
                        break;
                if (try > 0)
                        remove_pause(try);
                fd = openat(h->fd, path + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd >= 0)
                        (void) remove_children(fd);
        }
        if (r == EBUSY)
                return err_set(err, ERR_PRECONDITION, "remove %s%s: processes still run in it", h->mount, path);
        return err_sys(err, r, "remove %s%s", h->mount, path);
}

bool cgroup_exists(struct cgroups *c, const char *path) {
        return path[0] == '/' && path[1] && faccessat(c->hiers[0].fd, path + 1, F_OK, 0) == 0;
}

int cgroup_remove(struct cgroups *c, const char *path, struct err *err) {
        int r = path_check(path, err), first = 0;
        struct err other;

        if (r < 0)
                return r;
        for (size_t h = c->n; h-- > 0;) {
                r = remove_in(&c->hiers[h], path, first == 0 ? err : &other);
                if (r < 0 && first == 0)
                        first = r;
        }
        return first;
}

int cgroup_each_child(struct cgroups *c, const char *path, int (*each)(const char *name, void *userdata),
                      void *userdata, struct err *err) {
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *e;
        int fd, r = path_check(path, err);

        if (r < 0)
                return r;
        fd = openat(c->hiers[0].fd, path + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : err_sys(err, errno, "open control group %s", path);
        dir = fdopendir(fd);
        if (!dir) {
                (void) close(fd);
                return err_sys(err, errno, "read control group %s", path);
        }
        while ((e = readdir(dir))) {
                if (e->d_type != DT_DIR || e->d_name[0] == '.')
                        continue;
                r = each(e->d_name, userdata);
                if (r != 0)
                        return r;
        }
        return 0;
}
