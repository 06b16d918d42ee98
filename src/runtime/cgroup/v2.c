/* SPDX-License-Identifier: Apache-2.0 */
/* v2 - limits as cgroup v2 files. Kernel document: admin-guide/cgroup-v2. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "base/strbuf.h"
#include "runtime/cgroup/internal.h"

static void plan_limit(struct plan *p, unsigned flags, const char *field, const char *file, int64_t value) {
        if (value < 0)
                writes_text(p, flags, field, file, "max");
        else
                writes_number(p, flags, field, file, value);
}

/* What v2 has no file for. */
static int check_v1_only(const struct spec_resources *r, unsigned have, struct err *err) {
        const struct {
                bool is_asked;
                enum ctl ctl;
                const char *field;
        } fields[] = {
                { r->has_swappiness, CTL_MEMORY, "memory.swappiness" },
                { r->oom_kill_disable, CTL_MEMORY, "memory.disableOOMKiller" },
                { r->has_rt_runtime, CTL_CPU, "cpu.realtimeRuntime" },
                { r->rt_period_us > 0, CTL_CPU, "cpu.realtimePeriod" },
                { r->blkio_leaf_weight > 0, CTL_BLKIO, "blockIO.leafWeight" },
        };
        const char *field = NULL;

        for (size_t i = 0; i < ELEMENTSOF(fields) && !field; i++)
                if (fields[i].is_asked && have & 1U << fields[i].ctl)
                        field = fields[i].field;
        for (size_t i = 0; i < r->n_blkio_weights && have & 1U << CTL_BLKIO && !field; i++)
                if (r->blkio_weights[i].leaf_weight)
                        field = "blockIO.weightDevice.leafWeight";
        return field ? err_set(err, ERR_PRECONDITION, "%s: cgroup v2 has no such setting", field) : 0;
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
int v2_check_in_use(struct group *g, int h, int64_t limit, struct err *err) {
        char text[8192];
        int64_t current = read_limit(g, h, "memory.current");
        uint64_t file = 0, shmem = 0;
        int fd = group_fd(g, h);

        if (limit <= 0 || current <= limit)
                return 0;
        if (fd >= 0 && file_read_at(fd, "memory.stat", text, sizeof(text)) > 0) {
                (void) keyed_number(text, "file", &file);
                (void) keyed_number(text, "shmem", &shmem);
        }
        if (file > shmem)
                current -= (int64_t) MIN_OF(file - shmem, (uint64_t) current);
        if (current > limit)
                return err_set(err, ERR_PRECONDITION, "memory.limit: memory limit %lld is below the %lld bytes in use",
                               (long long) limit, (long long) current);
        return 0;
}

static int plan_memory(struct group *g, int h, const struct spec_resources *r, struct plan *p, struct err *err) {
        static const char swap_file[] = "memory.swap.max", swap_field[] = "memory.swap";
        int64_t limit = r->memory_limit_bytes, swap = r->memory_swap_limit_bytes;
        int res;

        if (r->check_before_update && !g->fresh[h] && (res = v2_check_in_use(g, h, limit, err)) < 0)
                return res;
        if (limit < 0 && !swap)
                swap = -1;
        if (swap > 0) {
                int64_t base = limit ? limit : g->fresh[h] ? -1 : read_limit(g, h, "memory.max");

                if (base < 0 || swap < base)
                        return err_set(err, ERR_INVALID,
                                       "memory.swap: a memory + swap limit needs a memory limit that is not above it");
                /* v2 limits swap alone. "No swap" where swap is not counted: best effort, as runc does. */
                writes_number(p, swap == base ? WRITE_OPTIONAL : 0, swap_field, swap_file, swap - base);
        } else if (swap < 0) {
                plan_limit(p, WRITE_OPTIONAL, swap_field, swap_file, -1);
        }
        if (limit)
                plan_limit(p, 0, "memory.limit", "memory.max", limit);
        if (r->memory_reservation_bytes)
                plan_limit(p, 0, "memory.reservation", "memory.low", r->memory_reservation_bytes);
        return 0;
}

static void plan_quota(struct group *g, int h, const struct spec_resources *r, struct plan *p) {
        struct planned_write *w;
        char text[64], quota[24];
        int fd = group_fd(g, h);

        if (!r->cpu_quota_us && !r->cpu_period_us)
                return;
        if (r->cpu_quota_us > 0)
                (void) snprintf(quota, sizeof(quota), "%lld", (long long) r->cpu_quota_us);
        else
                (void) snprintf(quota, sizeof(quota), "max");
        /* Only a period: the quota stays. */
        if (!r->cpu_quota_us && !g->fresh[h] && fd >= 0 && file_read_at(fd, "cpu.max", text, sizeof(text)) > 0)
                (void) snprintf(quota, sizeof(quota), "%.*s", (int) strcspn(text, " "), text);
        w = writes_add(p, 0, r->cpu_quota_us ? "cpu.quota" : "cpu.period", "cpu.max");
        if (r->cpu_period_us)
                writes_value(w, "%s %llu", quota, (unsigned long long) r->cpu_period_us);
        else
                writes_value(w, "%s", quota);
}

static void plan_cpu(struct group *g, int h, const struct spec_resources *r, struct plan *p) {
        static const char burst_file[] = "cpu.max.burst";
        int64_t burst = (int64_t) r->cpu_burst_us, now = 0;
        bool burst_first;

        /* The weight of an idle group can't be set. */
        if (r->has_cpu_idle && !r->cpu_idle)
                writes_number(p, 0, "cpu.idle", "cpu.idle", 0);
        if (r->cpu_shares)
                writes_number(p, 0, "cpu.shares", "cpu.weight", (int64_t) weight_from_shares(r->cpu_shares));
        /* A burst is at most the quota, at every moment. */
        if (r->has_cpu_burst && !g->fresh[h])
                now = read_limit(g, h, burst_file);
        burst_first = burst <= now;
        if (r->has_cpu_burst && burst_first)
                writes_number(p, 0, "cpu.burst", burst_file, burst);
        plan_quota(g, h, r, p);
        if (r->has_cpu_burst && !burst_first)
                writes_number(p, 0, "cpu.burst", burst_file, burst);
        if (r->has_cpu_idle && r->cpu_idle)
                writes_number(p, 0, "cpu.idle", "cpu.idle", 1);
}

/* --- block devices ----------------------------------------------------------------------------------------------- */

unsigned io_weight(uint64_t blkio_weight) {
        return (unsigned) (1 + (blkio_weight - 10) * 9999 / 990);
}

static void plan_weight(struct plan *p, const struct spec_device_limit *d) {
        static const char *const files[] = { "io.bfq.weight", "io.weight" };
        const unsigned values[] = { (unsigned) d->value, io_weight(d->value) };

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                struct planned_write *w =
                        writes_add(p, i == 0 ? WRITE_OR_NEXT : 0, "blockIO.weightDevice", "%s", files[i]);

                writes_value(w, "%lld:%lld %u", (long long) d->major, (long long) d->minor, values[i]);
                writes_unset(w, "%lld:%lld default", (long long) d->major, (long long) d->minor);
        }
}

static void unset_io_max(struct planned_write *w, const char *value) {
        writes_unset(w, "%.*s rbps=max wbps=max riops=max wiops=max", (int) MIN_OF(strcspn(value, " "), 48U), value);
}

static void plan_throttle(struct plan *p, const char *field, const char *key, const struct spec_device_limit *d) {
        struct planned_write *w = writes_add(p, 0, field, "io.max");

        if (d->value) /* v1 takes 0 for none */
                writes_value(w, "%lld:%lld %s=%llu", (long long) d->major, (long long) d->minor, key,
                             (unsigned long long) d->value);
        else
                writes_value(w, "%lld:%lld %s=max", (long long) d->major, (long long) d->minor, key);
        unset_io_max(w, w->buf);
}

static void plan_io(const struct spec_resources *r, struct plan *p) {
        static const char *const throttles[SPEC_THROTTLE_MAX][2] = {
                [SPEC_THROTTLE_READ_BPS] = { "blockIO.throttleReadBpsDevice", "rbps" },
                [SPEC_THROTTLE_WRITE_BPS] = { "blockIO.throttleWriteBpsDevice", "wbps" },
                [SPEC_THROTTLE_READ_IOPS] = { "blockIO.throttleReadIOPSDevice", "riops" },
                [SPEC_THROTTLE_WRITE_IOPS] = { "blockIO.throttleWriteIOPSDevice", "wiops" },
        };

        if (r->blkio_weight) {
                writes_number(p, WRITE_OR_NEXT, "blockIO.weight", "io.bfq.weight", r->blkio_weight);
                writes_number(p, 0, "blockIO.weight", "io.weight", io_weight(r->blkio_weight));
        }
        for (size_t i = 0; i < r->n_blkio_weights; i++)
                if (r->blkio_weights[i].value)
                        plan_weight(p, &r->blkio_weights[i]);
        for (size_t k = 0; k < SPEC_THROTTLE_MAX; k++)
                for (size_t i = 0; i < r->n_throttles[k]; i++)
                        plan_throttle(p, throttles[k][0], throttles[k][1], &r->throttles[k][i]);
}

/* --- the rest ---------------------------------------------------------------------------------------------------- */

static void plan_hugetlb(const struct spec_resources *r, struct plan *p) {
        for (size_t i = 0; i < r->n_hugepages; i++) {
                static const char *const kinds[] = { "rsvd.max", "max" };

                for (size_t k = 0; k < ELEMENTSOF(kinds); k++)
                        writes_value(writes_add(p, k == 0 ? WRITE_OPTIONAL : 0, "hugepageLimits", "hugetlb.%s.%s",
                                                r->hugepages[i].page_size, kinds[k]),
                                     "%llu", (unsigned long long) r->hugepages[i].limit_bytes);
        }
}

static int plan_unified(struct group *g, const struct spec_resources *r, struct plan *p, struct err *err) {
        struct cgroups *c = g->c;

        for (size_t i = 0; i < r->n_unified; i++) {
                const char *key = r->unified[i].key;
                int ctl = ctl_find(key, strcspn(key, "."));
                struct planned_write *w;

                if (c->unified < 0 || (ctl >= 0 && c->of[ctl] != c->unified))
                        return err_set(err, ERR_PRECONDITION,
                                       "unified: this host can't set %s: it needs its controller on cgroup v2, but "
                                       "this is cgroup %s",
                                       key, cgroup_mode_name(c->mode));
                w = writes_add(p, 0, "unified", "%s", key);
                w->value = r->unified[i].value;
                if (str_eq(key, "io.max"))
                        unset_io_max(w, w->value);
        }
        return 0;
}

static void plan_cpuset(const struct spec_resources *r, struct plan *p) {
        if (!str_empty(r->cpuset_cpus))
                writes_text(p, 0, "cpu.cpus", "cpuset.cpus", r->cpuset_cpus);
        if (!str_empty(r->cpuset_mems))
                writes_text(p, 0, "cpu.mems", "cpuset.mems", r->cpuset_mems);
}

int plan_v2(struct group *g, const struct spec_resources *r, struct plan *p, struct err *err) {
        struct cgroups *c = g->c;
        int h = c->unified, res;
        unsigned have = h < 0 ? 0 : c->hiers[h].controllers;

        for (int ctl = 0; ctl < CTL_MAX; ctl++)
                if (c->of[ctl] != h)
                        have &= ~(1U << ctl);
        p->hier = h;
        if ((res = check_v1_only(r, have, err)) < 0)
                return res;
        if (have & 1U << CTL_CPUSET)
                plan_cpuset(r, p);
        if (have & 1U << CTL_MEMORY && (res = plan_memory(g, h, r, p, err)) < 0)
                return res;
        if (have & 1U << CTL_CPU)
                plan_cpu(g, h, r, p);
        if (have & 1U << CTL_PIDS && r->pids_limit)
                plan_limit(p, 0, "pids.limit", "pids.max", r->pids_limit);
        if (have & 1U << CTL_BLKIO)
                plan_io(r, p);
        if (have & 1U << CTL_HUGETLB)
                plan_hugetlb(r, p);
        if (have & 1U << CTL_RDMA)
                plan_rdma(r, p);
        return plan_unified(g, r, p, err);
}
