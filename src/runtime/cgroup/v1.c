/* SPDX-License-Identifier: Apache-2.0 */
/* v1 - limits as cgroup v1 files. Kernel documents: admin-guide/cgroup-v1. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { PERIOD_DEFAULT_US = 100000, CPUSET_TEXT_MAX = 4096 };

/* --- cpuset ------------------------------------------------------------------------------------------------------ */

/* Length of the parent's part of a path that ends at @len. */
static size_t parent_end(const char *path, size_t len) {
        while (len > 0 && path[--len] != '/')
                ;
        return len;
}

static ssize_t read_cpuset(struct group *g, size_t len, const char *file, char *out, size_t size) {
        char name[GROUP_PATH_MAX + 32];

        (void) snprintf(name, sizeof(name), ".%.*s/%s", (int) len, g->path, file);
        return file_read_at(g->c->hiers[g->c->of[CTL_CPUSET]].fd, name, out, size);
}

static int seed_file(struct group *g, size_t len, const char *file, struct err *err) {
        char name[GROUP_PATH_MAX + 32], text[CPUSET_TEXT_MAX];
        ssize_t n = read_cpuset(g, len, file, text, sizeof(text));
        int r;

        if (n > 0)
                return 0;
        if (n == 0)
                n = read_cpuset(g, parent_end(g->path, len), file, text, sizeof(text));
        if (n == 0)
                return err_set(err, ERR_PRECONDITION, "%s of the parent of %.*s is empty", file, (int) len, g->path);
        (void) snprintf(name, sizeof(name), ".%.*s/%s", (int) len, g->path, file);
        r = n < 0 ? (int) n : file_write_at(g->c->hiers[g->c->of[CTL_CPUSET]].fd, name, text);
        return r < 0 ? err_sys(err, -r, "copy %s to %.*s", file, (int) len, g->path) : 0;
}

int v1_seed_cpuset(struct group *g, size_t len, struct err *err) {
        char text[CPUSET_TEXT_MAX];
        size_t ends[LEVEL_MAX + 1], n = 0;
        int r;

        /* Upwards to the first that has its processors (the root always does), then back down. */
        for (; len > 0 && n <= LEVEL_MAX; len = parent_end(g->path, len)) {
                if (read_cpuset(g, len, "cpuset.mems", text, sizeof(text)) > 0 &&
                    read_cpuset(g, len, "cpuset.cpus", text, sizeof(text)) > 0)
                        break;
                ends[n++] = len;
        }
        while (n-- > 0)
                if ((r = seed_file(g, ends[n], "cpuset.cpus", err)) < 0 ||
                    (r = seed_file(g, ends[n], "cpuset.mems", err)) < 0)
                        return r;
        return 0;
}

static void plan_cpuset(int h, const struct spec_resources *r, struct plan *p) {
        if (!str_empty(r->cpuset_cpus))
                (void) plan_add(p, h, 0, r->cpuset_cpus, "cpuset.cpus");
        if (!str_empty(r->cpuset_mems))
                (void) plan_add(p, h, 0, r->cpuset_mems, "cpuset.mems");
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

/* A value of the group now, -1 when unlimited or unreadable. */
static int64_t read_limit(struct group *g, int h, const char *file) {
        char text[64];
        uint64_t value;
        int fd = group_fd(g, h);

        if (fd < 0 || file_read_at(fd, file, text, sizeof(text)) <= 0 || !str_to_u64(text, &value) ||
            value >= 1ULL << 62)
                return -1;
        return (int64_t) value;
}

/* The kernel keeps limit <= memory + swap at every moment, so the order depends on which way it goes. */
static int plan_memory(struct group *g, int h, const struct spec_resources *r, struct plan *p, struct err *err) {
        static const char limit_file[] = "memory.limit_in_bytes", swap_file[] = "memory.memsw.limit_in_bytes";
        int64_t limit = r->memory_limit_bytes, swap = r->memory_swap_limit_bytes, swap_now;
        unsigned swap_flags;

        if (!limit && !swap)
                return 0;
        swap_now = g->fresh[h] ? -1 : read_limit(g, h, swap_file);
        if (limit < 0 && !swap)
                swap = -1;
        if (!swap) {
                if (swap_now >= 0 && limit > swap_now)
                        return err_set(
                                err, ERR_INVALID,
                                "memory limit %lld is above the memory + swap limit %lld: give a new one as well",
                                (long long) limit, (long long) swap_now);
                plan_add_number(p, h, 0, limit_file, limit);
                return 0;
        }
        /* Without swap accounting (swapaccount=0) "no swap" and "no limit" are taken as best effort, as runc does. */
        swap_flags = swap < 0 || swap == limit ? WRITE_OPTIONAL : 0;
        if (limit && swap_now >= 0 && (limit < 0 || limit > swap_now)) {
                plan_add_number(p, h, swap_flags, swap_file, swap);
                plan_add_number(p, h, 0, limit_file, limit);
        } else {
                if (limit)
                        plan_add_number(p, h, 0, limit_file, limit);
                plan_add_number(p, h, swap_flags, swap_file, swap);
        }
        return 0;
}

/* --- the rest ---------------------------------------------------------------------------------------------------- */

/* Quota / period must stay within the parent's share at every moment: what lowers it goes first. */
static void plan_cpu(struct group *g, int h, const struct spec_resources *r, struct plan *p) {
        int64_t period_now = PERIOD_DEFAULT_US;
        bool quota_first;

        if (r->cpu_shares)
                plan_add_number(p, h, 0, "cpu.shares", (int64_t) MIN_OF(r->cpu_shares, 262144U));
        if (!g->fresh[h] && r->cpu_period_us && r->cpu_quota_us)
                period_now = read_limit(g, h, "cpu.cfs_period_us");
        quota_first = period_now > 0 && (int64_t) r->cpu_period_us < period_now;
        if (r->cpu_quota_us && quota_first)
                plan_add_number(p, h, 0, "cpu.cfs_quota_us", r->cpu_quota_us);
        if (r->cpu_period_us)
                plan_add_number(p, h, 0, "cpu.cfs_period_us", (int64_t) r->cpu_period_us);
        if (r->cpu_quota_us && !quota_first)
                plan_add_number(p, h, 0, "cpu.cfs_quota_us", r->cpu_quota_us);
}

static void plan_hugetlb(int h, const struct spec_resources *r, struct plan *p) {
        for (size_t i = 0; i < r->n_hugepages; i++) {
                static const char *const kinds[] = { "rsvd.limit_in_bytes", "limit_in_bytes" };

                for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
                        struct planned_write *w = plan_add(p, h, k == 0 ? WRITE_OPTIONAL : 0, NULL, "hugetlb.%s.%s",
                                                           r->hugepages[i].page_size, kinds[k]);

                        (void) snprintf(w->buf, sizeof(w->buf), "%llu",
                                        (unsigned long long) MIN_OF(r->hugepages[i].limit_bytes, (uint64_t) INT64_MAX));
                        w->value = w->buf;
                }
        }
}

int plan_v1(struct group *g, const struct spec_resources *r, struct plan *p, struct err *err) {
        struct cgroups *c = g->c;
        int of[CTL_MAX], res = 0;

        for (int ctl = 0; ctl < CTL_MAX; ctl++)
                of[ctl] = c->of[ctl] >= 0 && !c->hiers[c->of[ctl]].v2 ? c->of[ctl] : -1;
        if (of[CTL_CPUSET] >= 0)
                plan_cpuset(of[CTL_CPUSET], r, p);
        if (of[CTL_MEMORY] >= 0)
                res = plan_memory(g, of[CTL_MEMORY], r, p, err);
        if (res < 0)
                return res;
        if (of[CTL_CPU] >= 0)
                plan_cpu(g, of[CTL_CPU], r, p);
        if (of[CTL_PIDS] >= 0 && r->pids_limit > 0)
                plan_add_number(p, of[CTL_PIDS], 0, "pids.max", r->pids_limit);
        else if (of[CTL_PIDS] >= 0 && r->pids_limit < 0)
                (void) plan_add(p, of[CTL_PIDS], 0, "max", "pids.max");
        if (of[CTL_BLKIO] >= 0 && r->blkio_weight) {
                plan_add_number(p, of[CTL_BLKIO], WRITE_OR_NEXT, "blkio.bfq.weight", r->blkio_weight);
                plan_add_number(p, of[CTL_BLKIO], 0, "blkio.weight", r->blkio_weight);
        }
        if (of[CTL_HUGETLB] >= 0)
                plan_hugetlb(of[CTL_HUGETLB], r, p);
        return 0;
}
