/* SPDX-License-Identifier: Apache-2.0 */
/* v2 - limits as cgroup v2 files, and the controllers that parents must hand down for them.
 * Kernel document: admin-guide/cgroup-v2. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "base/strbuf.h"
#include "runtime/cgroup/internal.h"

/* --- controllers ------------------------------------------------------------------------------------------------- */

static unsigned read_controllers(int dirfd, const char *file) {
        char text[512];
        unsigned mask = 0;

        if (file_read_at(dirfd, file, text, sizeof(text)) <= 0)
                return 0;
        for (const char *p = text; *p; p += *p == ' ') {
                size_t len = strcspn(p, " ");
                int ctl = ctl_find(p, len);

                if (ctl >= 0)
                        mask |= 1U << ctl;
                p += len;
        }
        return mask;
}

static int hand_down(int rootfd, const char *folder, unsigned mask) {
        char text[256], file[GROUP_PATH_MAX + 64];
        size_t n = 0;

        for (int ctl = 0; ctl < CTL_MAX; ctl++)
                if (mask & 1U << ctl)
                        n += (size_t) snprintf(text + n, sizeof(text) - n, "%s+%s", n ? " " : "",
                                               ctl_name((enum ctl) ctl, true));
        (void) snprintf(file, sizeof(file), "%s/cgroup.subtree_control", folder);
        return file_write_at(rootfd, file, text);
}

static int enable_in(struct group *g, const char *folder, unsigned need, unsigned want, struct err *err) {
        int rootfd = g->c->hiers[g->c->unified].fd, r;
        char file[GROUP_PATH_MAX + 64];
        unsigned have;

        (void) snprintf(file, sizeof(file), "%s/cgroup.subtree_control", folder);
        have = read_controllers(rootfd, file);
        if (((need | want) & ~have) == 0 || (r = hand_down(rootfd, folder, (need | want) & ~have)) == 0)
                return 0;
        if ((need & ~have) == 0 || (r = hand_down(rootfd, folder, need & ~have)) == 0)
                return 0;
        if (r == -EBUSY)
                return err_set(err, ERR_PRECONDITION,
                               "%s/%s holds processes of its own, so it can't hand controllers down to groups below it",
                               g->c->hiers[g->c->unified].mount, folder);
        return err_sys(err, -r, "enable controllers in %s/%s/cgroup.subtree_control", g->c->hiers[g->c->unified].mount,
                       folder);
}

int v2_enable(struct group *g, unsigned need, unsigned want, struct err *err) {
        char folder[GROUP_PATH_MAX + 2];
        size_t last = (size_t) (strrchr(g->path, '/') - g->path);
        int fd, r;

        if (!(need | want))
                return 0;
        fd = group_fd(g, g->c->unified);
        if (fd < 0)
                return err_sys(err, -fd, "open it");
        if (((need | want) & ~read_controllers(fd, "cgroup.controllers")) == 0)
                return 0;
        for (size_t end = 0;; end += 1 + strcspn(g->path + end + 1, "/")) {
                (void) snprintf(folder, sizeof(folder), ".%.*s", (int) end, g->path);
                r = enable_in(g, folder, need, want, err);
                if (r < 0)
                        return r;
                if (end >= last)
                        return 0;
        }
}

/* --- limits ------------------------------------------------------------------------------------------------------ */

/* The curve that runc (1.3.2), crun (1.23) and the kubelet agree on, through (2, 1), (1024, 100) and (262144, 10000):
 * weight = 10^((l^2 + 125 l) / 612 - 7/34) with l = log2(shares). The older line through (2, 1) and (262144, 10000)
 * gave one CPU's 1024 shares a weight of 39, less than a group without any. */
uint64_t weight_from_shares(uint64_t shares) {
        double l;

        if (shares <= 2)
                return 1;
        if (shares >= 262144)
                return 10000;
        l = log2((double) shares);
        return (uint64_t) ceil(pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0));
}

static void plan_limit(struct plan *p, int h, unsigned flags, const char *file, int64_t value) {
        if (value < 0)
                (void) plan_add(p, h, flags, "max", "%s", file);
        else
                plan_add_number(p, h, flags, file, value);
}

static int64_t read_limit(struct group *g, int h, const char *file) {
        char text[64];
        uint64_t value;
        int fd = group_fd(g, h);

        if (fd < 0 || file_read_at(fd, file, text, sizeof(text)) <= 0 || !str_to_u64(text, &value) || value > INT64_MAX)
                return -1;
        return (int64_t) value;
}

/* The kernel would take a limit below what is in use and kill for it. What it can drop (files' pages, save tmpfs) does
 * not count. */
static int check_in_use(struct group *g, int h, int64_t limit, struct err *err) {
        char text[8192];
        int64_t current = read_limit(g, h, "memory.current");
        uint64_t file = 0, shmem = 0;
        int fd = group_fd(g, h);

        if (limit < 0 || current <= limit)
                return 0;
        if (fd >= 0 && file_read_at(fd, "memory.stat", text, sizeof(text)) > 0) {
                (void) keyed_number(text, "file", &file);
                (void) keyed_number(text, "shmem", &shmem);
        }
        if (file > shmem)
                current -= (int64_t) MIN_OF(file - shmem, (uint64_t) current);
        if (current > limit)
                return err_set(err, ERR_PRECONDITION, "memory limit %lld is below the %lld bytes in use",
                               (long long) limit, (long long) current);
        return 0;
}

static int plan_memory(struct group *g, int h, const struct spec_resources *r, struct plan *p, struct err *err) {
        int64_t limit = r->memory_limit_bytes, swap = r->memory_swap_limit_bytes;
        int res;

        if (limit && !g->fresh[h] && (res = check_in_use(g, h, limit, err)) < 0)
                return res;
        if (limit < 0 && !swap)
                swap = -1;
        if (swap > 0) {
                int64_t base = limit ? limit : g->fresh[h] ? -1 : read_limit(g, h, "memory.max");

                if (base < 0 || swap < base)
                        return err_set(err, ERR_INVALID,
                                       "a memory + swap limit needs a memory limit that is not above it");
                /* v2 limits swap alone. "No swap" where swap is not counted: best effort, as runc does. */
                plan_add_number(p, h, swap == base ? WRITE_OPTIONAL : 0, "memory.swap.max", swap - base);
        } else if (swap < 0) {
                plan_limit(p, h, WRITE_OPTIONAL, "memory.swap.max", -1);
        }
        if (limit)
                plan_limit(p, h, 0, "memory.max", limit);
        return 0;
}

static void plan_cpu(struct group *g, int h, const struct spec_resources *r, struct plan *p) {
        struct planned_write *w;
        char text[64], quota[24];
        int fd = group_fd(g, h);

        if (r->cpu_shares)
                plan_add_number(p, h, 0, "cpu.weight", (int64_t) weight_from_shares(r->cpu_shares));
        if (!r->cpu_quota_us && !r->cpu_period_us)
                return;
        if (r->cpu_quota_us > 0)
                (void) snprintf(quota, sizeof(quota), "%lld", (long long) r->cpu_quota_us);
        else
                (void) snprintf(quota, sizeof(quota), "max");
        /* Only a period: the quota stays. */
        if (!r->cpu_quota_us && !g->fresh[h] && fd >= 0 && file_read_at(fd, "cpu.max", text, sizeof(text)) > 0)
                (void) snprintf(quota, sizeof(quota), "%.*s", (int) strcspn(text, " "), text);
        w = plan_add(p, h, 0, NULL, "cpu.max");
        if (r->cpu_period_us)
                (void) snprintf(w->buf, sizeof(w->buf), "%s %llu", quota, (unsigned long long) r->cpu_period_us);
        else
                (void) snprintf(w->buf, sizeof(w->buf), "%s", quota);
        w->value = w->buf;
}

static void plan_hugetlb(int h, const struct spec_resources *r, struct plan *p) {
        for (size_t i = 0; i < r->n_hugepages; i++) {
                static const char *const kinds[] = { "rsvd.max", "max" };

                for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
                        struct planned_write *w = plan_add(p, h, k == 0 ? WRITE_OPTIONAL : 0, NULL, "hugetlb.%s.%s",
                                                           r->hugepages[i].page_size, kinds[k]);

                        (void) snprintf(w->buf, sizeof(w->buf), "%llu",
                                        (unsigned long long) r->hugepages[i].limit_bytes);
                        w->value = w->buf;
                }
        }
}

static int plan_unified(struct group *g, const struct spec_resources *r, struct plan *p, struct err *err) {
        struct cgroups *c = g->c;

        for (size_t i = 0; i < r->n_unified; i++) {
                const char *key = r->unified[i].key;
                int ctl = ctl_find(key, strcspn(key, "."));

                if (c->unified < 0 || (ctl >= 0 && c->of[ctl] != c->unified))
                        return err_set(err, ERR_PRECONDITION,
                                       "unified: this host can't set %s: it needs its controller on cgroup v2, but "
                                       "this is cgroup %s",
                                       key, cgroup_mode_name(c->mode));
                (void) plan_add(p, c->unified, 0, r->unified[i].value, "%s", key);
        }
        return 0;
}

int plan_v2(struct group *g, const struct spec_resources *r, struct plan *p, struct err *err) {
        struct cgroups *c = g->c;
        int h = c->unified, res = 0;
        unsigned have = h < 0 ? 0 : c->hiers[h].controllers;

        for (int ctl = 0; ctl < CTL_MAX; ctl++)
                if (c->of[ctl] != h)
                        have &= ~(1U << ctl);
        if (have & 1U << CTL_CPUSET && !str_empty(r->cpuset_cpus))
                (void) plan_add(p, h, 0, r->cpuset_cpus, "cpuset.cpus");
        if (have & 1U << CTL_CPUSET && !str_empty(r->cpuset_mems))
                (void) plan_add(p, h, 0, r->cpuset_mems, "cpuset.mems");
        if (have & 1U << CTL_MEMORY)
                res = plan_memory(g, h, r, p, err);
        if (res < 0)
                return res;
        if (have & 1U << CTL_CPU)
                plan_cpu(g, h, r, p);
        if (have & 1U << CTL_PIDS && r->pids_limit)
                plan_limit(p, h, 0, "pids.max", r->pids_limit);
        if (have & 1U << CTL_BLKIO && r->blkio_weight) {
                plan_add_number(p, h, WRITE_OR_NEXT, "io.bfq.weight", r->blkio_weight);
                plan_add_number(p, h, 0, "io.weight", 1 + (r->blkio_weight - 10) * 9999 / 990);
        }
        if (have & 1U << CTL_HUGETLB)
                plan_hugetlb(h, r, p);
        return plan_unified(g, r, p, err);
}
