/* SPDX-License-Identifier: Apache-2.0 */
/* walk - the processes of a group and of all below it, however deep a container made them: one folder is open at a
 * time, and "..", where nobody can move a group to another place, leads back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { GROUPS_MAX = 1 << 20, PROCS_TEXT_MAX = 4096, PIDS_MAX = 1 << 22 /* PID_MAX_LIMIT */ };

bool each_process_in(int dirfd, const struct cgroup_each_process *e) {
        _cleanup_(fd_closep) int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
        char text[PROCS_TEXT_MAX];
        long pid = 0;
        ssize_t n;

        while (fd >= 0 && ((n = read(fd, text, sizeof(text))) > 0 || (n < 0 && errno == EINTR)))
                for (ssize_t i = 0; i < n; i++) {
                        if (text[i] >= '0' && text[i] <= '9') {
                                pid = pid * 10 + (text[i] - '0');
                        } else {
                                /* 0: a process of a PID namespace that we can't see */
                                if (pid > 0 && !e->each((pid_t) pid, e->userdata))
                                        return false;
                                pid = 0;
                        }
                }
        return true;
}

/* A group on the way down, and which of those in it come next. */
struct level {
        char **names;
        size_t n, next;
};

struct walk {
        struct level *levels;
        size_t n, cap, groups;
        int at; /* the folder of the last level */
};

static void level_done(struct level *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->names[i]);
        free(l->names);
}

/* One level deeper: the names of what is in the folder. 0 or -errno. */
static int walk_list(struct walk *w) {
        int fd = openat(w->at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct level l = { 0 };
        struct dirent *e;
        size_t cap = 0;

        if (!dir) {
                int r = -errno;

                (void) fd_close(fd);
                return r;
        }
        while ((e = readdir(dir))) {
                if (e->d_type != DT_DIR || str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                if (w->groups++ == GROUPS_MAX) {
                        level_done(&l);
                        return -E2BIG;
                }
                xgrow(l.names, l.n, cap);
                l.names[l.n++] = xstrdup(e->d_name);
        }
        xgrow(w->levels, w->n, w->cap);
        w->levels[w->n++] = l;
        return 0;
}

/* To the next group: below, or beside one of those above. 1, or 0 when there is none, or -errno. */
static int walk_next(struct walk *w) {
        while (w->levels && w->n > 0) {
                struct level *l = &w->levels[w->n - 1];
                const char *to = l->next < l->n ? l->names[l->next++] : NULL;
                int fd;

                if (!to && w->n == 1)
                        return 0;
                fd = openat(w->at, to ? to : "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0 && to && errno == ENOENT)
                        continue; /* gone meanwhile */
                if (fd < 0)
                        return -errno;
                (void) close(w->at);
                w->at = fd;
                if (to)
                        return 1;
                level_done(l);
                w->n--;
        }
        return 0;
}

static int walk_once(int dirfd, const struct cgroup_each_process *e) {
        struct walk w = { .at = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
        int r = w.at < 0 ? -errno : 1;

        while (r > 0) {
                if (!each_process_in(w.at, e)) {
                        r = 0;
                        break;
                }
                r = walk_list(&w);
                if (r == 0)
                        r = walk_next(&w);
                else if (r == -ENOENT && w.n > 0) /* removed while we are in it; "..", too, is gone */
                        r = -ESTALE;
        }
        for (size_t i = 0; i < w.n; i++)
                level_done(&w.levels[i]);
        free(w.levels);
        (void) fd_close(w.at);
        return r == -ENOENT && w.n > 0 ? -ESTALE : r;
}

int each_process_below(int dirfd, const struct cgroup_each_process *e) {
        return walk_once(dirfd, e);
}

void cgroup_each_process(struct cgroups *c, const char *path, const struct cgroup_each_process *each) {
        struct group g;
        struct err ignored;
        int fd;

        if (path_check(path, &ignored) < 0)
                return;
        group_init(&g, c, path);
        fd = group_fd(&g, 0);
        if (fd >= 0)
                (void) each_process_in(fd, each);
        group_done(&g);
}

/* --- as a list ---------------------------------------------------------------------------------------------------- */

struct pids {
        pid_t *list;
        size_t n, cap;
        bool full;
};

static bool take_pid(pid_t pid, void *userdata) {
        struct pids *p = userdata;

        if (p->n == PIDS_MAX) {
                p->full = true;
                return false;
        }
        xgrow(p->list, p->n, p->cap);
        p->list[p->n++] = pid;
        return true;
}

static int compare_pids(const void *a, const void *b) {
        const pid_t *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

static void sort_unique(struct pids *p) {
        size_t n = 0;

        if (p->n > 0)
                qsort(p->list, p->n, sizeof(p->list[0]), compare_pids);
        for (size_t i = 0; i < p->n; i++)
                if (n == 0 || p->list[i] != p->list[n - 1])
                        p->list[n++] = p->list[i];
        p->n = n;
}

int cgroup_processes(struct cgroups *c, const char *path, pid_t **ret, size_t *ret_n, struct err *err) {
        struct pids pids = { 0 };
        const struct cgroup_each_process each = { take_pid, &pids };
        struct group g;
        int r = path_check(path, err), fd, e = -ESTALE;

        if (r < 0)
                return r;
        group_init(&g, c, path);
        fd = group_fd(&g, 0);
        for (int try = 0; fd >= 0 && e == -ESTALE && try < WALK_TRIES; try++) {
                pids.n = 0;
                e = each_process_below(fd, &each);
        }
        if (fd == -ENOENT || e == -ENOENT)
                r = err_set(err, ERR_NOT_FOUND, "no control group %s", path);
        else if (fd < 0 || e < 0)
                r = err_sys(err, fd < 0 ? -fd : -e, "list the processes of control group %s", path);
        else if (pids.full)
                r = err_set(err, ERR_EXHAUSTED, "control group %s has more than %d processes", path, PIDS_MAX);
        group_done(&g);
        if (r < 0) {
                free(pids.list);
                return r;
        }
        sort_unique(&pids);
        *ret = pids.list;
        *ret_n = pids.n;
        return 0;
}
