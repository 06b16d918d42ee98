/* SPDX-License-Identifier: Apache-2.0 */
/* stats - what a group uses, as the kubelet counts it, and how often the kernel killed in it for lack of memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
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

/* One number in a file; "max" and v1's "no limit" (2^63 in whole pages) are 0. */
static bool read_number(int dirfd, const char *file, uint64_t *ret) {
        char text[64];
        uint64_t value;

        if (file_read_at(dirfd, file, text, sizeof(text)) <= 0)
                return false;
        if (str_eq(text, "max"))
                value = 0;
        else if (!str_to_u64(text, &value))
                return false;
        *ret = value >= 1ULL << 62 ? 0 : value;
        return true;
}

static uint64_t less(uint64_t a, uint64_t b) {
        return a > b ? a - b : 0;
}

static void memory_v1(int fd, struct cgroup_stats *s) {
        char text[STAT_TEXT_MAX];
        uint64_t inactive = 0, memsw;

        (void) read_number(fd, "memory.usage_in_bytes", &s->memory_usage_bytes);
        (void) read_number(fd, "memory.limit_in_bytes", &s->memory_limit_bytes);
        if (file_read_at(fd, "memory.stat", text, sizeof(text)) > 0) {
                (void) keyed_number(text, "total_inactive_file", &inactive);
                (void) keyed_number(text, "total_rss", &s->memory_rss_bytes);
                (void) keyed_number(text, "total_pgfault", &s->page_faults);
                (void) keyed_number(text, "total_pgmajfault", &s->major_page_faults);
                s->has_swap = keyed_number(text, "total_swap", &s->swap_usage_bytes);
        }
        s->memory_working_set_bytes = less(s->memory_usage_bytes, inactive);
        if (s->has_swap && read_number(fd, "memory.memsw.limit_in_bytes", &memsw) && memsw)
                s->swap_limit_bytes = less(memsw, s->memory_limit_bytes);
}

static void memory_v2(int fd, struct cgroup_stats *s) {
        char text[STAT_TEXT_MAX];
        uint64_t inactive = 0;

        (void) read_number(fd, "memory.current", &s->memory_usage_bytes);
        (void) read_number(fd, "memory.max", &s->memory_limit_bytes);
        if (file_read_at(fd, "memory.stat", text, sizeof(text)) > 0) {
                (void) keyed_number(text, "inactive_file", &inactive);
                (void) keyed_number(text, "anon", &s->memory_rss_bytes);
                (void) keyed_number(text, "pgfault", &s->page_faults);
                (void) keyed_number(text, "pgmajfault", &s->major_page_faults);
        }
        s->memory_working_set_bytes = less(s->memory_usage_bytes, inactive);
        s->has_swap = read_number(fd, "memory.swap.current", &s->swap_usage_bytes);
        if (s->has_swap)
                (void) read_number(fd, "memory.swap.max", &s->swap_limit_bytes);
}

static void cpu_stats(struct group *g, struct cgroup_stats *s) {
        int h = g->c->of[CTL_CPUACCT], fd;
        char text[2048];
        uint64_t us;

        if (h >= 0) {
                if ((fd = group_fd(g, h)) >= 0)
                        (void) read_number(fd, "cpuacct.usage", &s->cpu_usage_ns);
                return;
        }
        /* v2 counts time in every group, with or without the controller. */
        if (g->c->unified >= 0 && (fd = group_fd(g, g->c->unified)) >= 0 &&
            file_read_at(fd, "cpu.stat", text, sizeof(text)) > 0 && keyed_number(text, "usage_usec", &us))
                s->cpu_usage_ns = us * 1000;
}

int cgroup_get_stats(struct cgroups *c, const char *path, struct cgroup_stats *ret, struct err *err) {
        struct group g;
        int r = path_check(path, err), fd;

        if (r < 0)
                return r;
        memset(ret, 0, sizeof(*ret));
        group_init(&g, c, path);
        fd = group_fd(&g, c->of[CTL_MEMORY] >= 0 ? c->of[CTL_MEMORY] : 0);
        if (fd == -ENOENT) {
                r = err_set(err, ERR_NOT_FOUND, "no control group %s", path);
        } else if (fd < 0) {
                r = err_sys(err, -fd, "open control group %s", path);
        } else {
                cpu_stats(&g, ret);
                if (c->of[CTL_MEMORY] >= 0)
                        (c->hiers[c->of[CTL_MEMORY]].v2 ? memory_v2 : memory_v1)(fd, ret);
                if (c->of[CTL_PIDS] >= 0 && (fd = group_fd(&g, c->of[CTL_PIDS])) >= 0)
                        (void) read_number(fd, "pids.current", &ret->pids);
        }
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

/* v1 counts in the victim's own group only. */
static uint64_t oom_kills_below(int dirfd, unsigned depth) {
        uint64_t n = oom_kills_in(dirfd, "memory.oom_control");
        int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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

uint64_t cgroup_oom_kills(struct cgroups *c, const char *path) {
        int h = c->of[CTL_MEMORY], fd;
        struct group g;
        struct err err;
        uint64_t n = 0;

        if (h < 0 || path_check(path, &err) < 0)
                return 0;
        group_init(&g, c, path);
        fd = group_fd(&g, h);
        if (fd >= 0)
                n = c->hiers[h].v2 ? oom_kills_in(fd, "memory.events") : oom_kills_below(fd, 0);
        group_done(&g);
        return n;
}
