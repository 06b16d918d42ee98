/* SPDX-License-Identifier: Apache-2.0 */
/* stats - what a group uses, as the kubelet counts it, and how often the kernel killed in it for lack of memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { STAT_TEXT_MAX = 16384, OOM_DEPTH_MAX = 32 };

bool keyed_number(const char *text, const char *key, uint64_t *ret) {
        size_t len = strlen(key);

        for (const char *line = text; line && *line; line = strchr(line, '\n')) {
                char number[24];
                size_t digits;

                line += *line == '\n';
                if (strncmp(line, key, len) != 0 || line[len] != ' ')
                        continue;
                digits = strspn(line + len + 1, "0123456789");
                if (digits == 0 || digits >= sizeof(number))
                        return false;
                memcpy(number, line + len + 1, digits);
                number[digits] = '\0';
                return str_to_u64(number, ret);
        }
        return false;
}

static bool parse_number(const char *text, uint64_t *ret) {
        uint64_t value;

        if (str_eq(text, "max"))
                value = UINT64_MAX;
        else if (!str_to_u64(text, &value))
                return false;
        *ret = value >= 1ULL << 62 ? UINT64_MAX : value;
        return true;
}

bool number_at(int dirfd, const char *file, uint64_t *ret) {
        char text[64];

        return file_read_at(dirfd, file, text, sizeof(text)) > 0 && parse_number(text, ret);
}

ssize_t group_read(struct group *g, int h, const char *file, char *buf, size_t size) {
        char path[GROUP_PATH_MAX + 64];

        if (g->fds[h] >= 0)
                return file_read_at(g->fds[h], file, buf, size);
        (void) snprintf(path, sizeof(path), "%s/%s", g->path + 1, file);
        return file_read_at(g->c->hiers[h].fd, path, buf, size);
}

bool group_number(struct group *g, int h, const char *file, uint64_t *ret) {
        char text[64];

        return group_read(g, h, file, text, sizeof(text)) > 0 && parse_number(text, ret);
}

/* The same with 0 for no limit. */
static bool read_number(int dirfd, const char *file, uint64_t *ret) {
        uint64_t value;

        if (!number_at(dirfd, file, &value))
                return false;
        *ret = value == UINT64_MAX ? 0 : value;
        return true;
}

/* "avg10=0.12 avg60=... avg300=... total=MICROSECONDS" */
static bool psi_line(const char *at, struct cgroup_psi_line *ret) {
        static const char *const names[] = { "avg10=", "avg60=", "avg300=" };
        double *const values[] = { &ret->avg10, &ret->avg60, &ret->avg300 };
        unsigned long long us;
        char *end;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                at += strspn(at, " ");
                at = str_after(at, names[i]);
                if (!at || *at < '0' || *at > '9')
                        return false;
                *values[i] = strtod(at, &end);
                at = end;
        }
        at += strspn(at, " ");
        at = str_after(at, "total=");
        if (!at || *at < '0' || *at > '9')
                return false;
        us = strtoull(at, &end, 10);
        ret->total_ns = us > UINT64_MAX / 1000 ? UINT64_MAX : us * 1000;
        return *end == '\n' || *end == '\0';
}

bool psi_parse(const char *text, struct cgroup_psi *ret) {
        const char *full = strchr(text, '\n'), *some = str_after(text, "some ");

        *ret = (struct cgroup_psi){ 0 };
        full = full ? str_after(full + 1, "full ") : NULL;
        if (!some || !psi_line(some, &ret->some))
                return false;
        /* Linux before 5.13 has no "full" for the CPU. */
        if (full && !psi_line(full, &ret->full))
                return false;
        ret->has = true;
        return true;
}

static void read_psi(int dirfd, const char *file, struct cgroup_psi *ret) {
        char text[256];

        if (file_read_at(dirfd, file, text, sizeof(text)) <= 0 || !psi_parse(text, ret))
                ret->has = false;
}

/* The v2 hierarchy has it in every group, with or without controllers, beside v1, too. */
static void pressure(struct group *g, struct cgroup_stats *s) {
        int fd = g->c->unified >= 0 ? group_fd(g, g->c->unified) : -1;

        if (fd < 0)
                return;
        read_psi(fd, "cpu.pressure", &s->cpu_psi);
        if (!s->cpu_psi.has)
                return; /* switched off, for this group (cgroup.pressure) or at boot: then all are */
        read_psi(fd, "memory.pressure", &s->memory_psi);
        read_psi(fd, "io.pressure", &s->io_psi);
}

static uint64_t less(uint64_t a, uint64_t b) {
        return a > b ? a - b : 0;
}

static void memory_v1(int fd, struct cgroup_stats *s, struct cgroup_metrics *more) {
        char text[STAT_TEXT_MAX];
        uint64_t inactive = 0, memsw;

        (void) read_number(fd, "memory.usage_in_bytes", &s->memory_usage_bytes);
        if (file_read_at(fd, "memory.stat", text, sizeof(text)) > 0) {
                (void) keyed_number(text, "total_inactive_file", &inactive);
                (void) keyed_number(text, "total_rss", &s->memory_rss_bytes);
                (void) keyed_number(text, "total_pgfault", &s->page_faults);
                (void) keyed_number(text, "total_pgmajfault", &s->major_page_faults);
                s->has_swap = keyed_number(text, "total_swap", &s->swap_usage_bytes);
                if (more) {
                        (void) keyed_number(text, "total_cache", &more->memory_cache);
                        (void) keyed_number(text, "total_mapped_file", &more->memory_mapped);
                        (void) keyed_number(text, "pgfault", &more->own_page_faults);
                        (void) keyed_number(text, "pgmajfault", &more->own_major_page_faults);
                }
        }
        s->memory_working_set_bytes = less(s->memory_usage_bytes, inactive);
        s->swap_limit_bytes = UINT64_MAX;
        if (more)
                return;
        (void) read_number(fd, "memory.limit_in_bytes", &s->memory_limit_bytes);
        if (s->has_swap && number_at(fd, "memory.memsw.limit_in_bytes", &memsw) && memsw != UINT64_MAX)
                s->swap_limit_bytes = less(memsw, s->memory_limit_bytes);
}

static void memory_v2(int fd, struct cgroup_stats *s, struct cgroup_metrics *more) {
        char text[STAT_TEXT_MAX];
        uint64_t inactive = 0;

        (void) read_number(fd, "memory.current", &s->memory_usage_bytes);
        if (file_read_at(fd, "memory.stat", text, sizeof(text)) > 0) {
                (void) keyed_number(text, "inactive_file", &inactive);
                (void) keyed_number(text, "anon", &s->memory_rss_bytes);
                (void) keyed_number(text, "pgfault", &s->page_faults);
                (void) keyed_number(text, "pgmajfault", &s->major_page_faults);
                if (more) {
                        (void) keyed_number(text, "file", &more->memory_cache);
                        (void) keyed_number(text, "file_mapped", &more->memory_mapped);
                        (void) keyed_number(text, "kernel", &more->memory_kernel);
                }
        }
        s->memory_working_set_bytes = less(s->memory_usage_bytes, inactive);
        s->swap_limit_bytes = UINT64_MAX;
        s->has_swap = read_number(fd, "memory.swap.current", &s->swap_usage_bytes);
        if (more)
                return;
        (void) read_number(fd, "memory.max", &s->memory_limit_bytes);
        if (s->has_swap)
                (void) number_at(fd, "memory.swap.max", &s->swap_limit_bytes);
}

static void cpu_stats(struct group *g, struct cgroup_stats *s, struct cgroup_metrics *more) {
        int h = g->c->of[CTL_CPUACCT], fd;
        char text[2048];
        uint64_t us;

        if (h >= 0) {
                if (more)
                        (void) group_fd(g, h); /* which more is read from */
                (void) group_number(g, h, "cpuacct.usage", &s->cpu_usage_ns);
                return;
        }
        /* v2 counts time in every group, with or without the controller. */
        if (g->c->unified < 0 || (fd = group_fd(g, g->c->unified)) < 0 ||
            file_read_at(fd, "cpu.stat", text, sizeof(text)) <= 0)
                return;
        if (keyed_number(text, "usage_usec", &us))
                s->cpu_usage_ns = us * 1000;
        if (!more)
                return;
        if (keyed_number(text, "user_usec", &us))
                more->cpu_user_ns = us * 1000;
        if (keyed_number(text, "system_usec", &us))
                more->cpu_system_ns = us * 1000;
        (void) keyed_number(text, "nr_periods", &more->cfs_periods);
        (void) keyed_number(text, "nr_throttled", &more->cfs_throttled_periods);
        if (keyed_number(text, "throttled_usec", &us))
                more->cfs_throttled_ns = us * 1000;
}

void stats_of(struct group *g, struct cgroup_stats *ret, struct cgroup_metrics *more) {
        int h = g->c->of[CTL_MEMORY], fd;

        cpu_stats(g, ret, more);
        if (h >= 0 && (fd = group_fd(g, h)) >= 0)
                (g->c->hiers[h].v2 ? memory_v2 : memory_v1)(fd, ret, more);
        pressure(g, ret);
}

int cgroup_get_stats(struct cgroups *c, const char *path, struct cgroup_stats *ret, struct err *err) {
        return cgroup_get_metrics(c, path, NULL, ret, NULL, err);
}

uint64_t cgroup_tasks(struct cgroups *c, const char *path) {
        struct group g;
        struct err ignored;
        uint64_t n = 0;

        if (c->of[CTL_PIDS] < 0 || path_check(path, &ignored) < 0)
                return 0;
        group_init(&g, c, path);
        (void) group_number(&g, c->of[CTL_PIDS], "pids.current", &n);
        group_done(&g);
        return n;
}

int cgroup_get_metrics(struct cgroups *c, const char *path, const struct cgroup_each_process *each,
                       struct cgroup_stats *ret, struct cgroup_metrics *more, struct err *err) {
        struct group g;
        int r = path_check(path, err), fd;

        if (r < 0)
                return r;
        memset(ret, 0, sizeof(*ret));
        group_init(&g, c, path);
        fd = group_fd(&g, c->of[CTL_MEMORY] >= 0 ? c->of[CTL_MEMORY] : 0);
        if (fd == -ENOENT)
                r = err_set(err, ERR_NOT_FOUND, "no control group %s", path);
        else if (fd < 0)
                r = err_sys(err, -fd, "open control group %s", path);
        else
                metrics_of(&g, each, ret, more);
        group_done(&g);
        return r;
}

static uint64_t oom_kills_in(int dirfd, const char *file) {
        char text[1024];
        uint64_t n = 0;

        if (file_read_at(dirfd, file, text, sizeof(text)) > 0)
                (void) keyed_number(text, "oom_kill", &n);
        return n;
}

/* A control group's folder has a link for each group below, so that there is nothing to list in most. */
static bool has_children(int dirfd) {
        struct stat st;

        return fstat(dirfd, &st) < 0 || st.st_nlink != 2;
}

/* v1 counts in the victim's own group only. */
static uint64_t oom_kills_below(int dirfd, unsigned depth) {
        uint64_t n = oom_kills_in(dirfd, "memory.oom_control");
        int fd = has_children(dirfd) ? openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        _cleanup_(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;

        if (!dir)
                (void) fd_close(fd);
        while (dir && depth < OOM_DEPTH_MAX && (e = readdir(dir))) {
                _cleanup_(fd_closep) int child = -1;

                if (e->d_type != DT_DIR || str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                child = openat(fd, e->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (child >= 0)
                        n += oom_kills_below(child, depth + 1);
        }
        return n;
}

uint64_t oom_kills_of(struct group *g) {
        int h = g->c->of[CTL_MEMORY], fd = h < 0 ? -1 : group_fd(g, h);

        if (fd < 0)
                return 0;
        return g->c->hiers[h].v2 ? oom_kills_in(fd, "memory.events") : oom_kills_below(fd, 0);
}

uint64_t cgroup_oom_kills(struct cgroups *c, const char *path) {
        struct group g;
        struct err err;
        uint64_t n;

        if (path_check(path, &err) < 0)
                return 0;
        group_init(&g, c, path);
        n = oom_kills_of(&g);
        group_done(&g);
        return n;
}
