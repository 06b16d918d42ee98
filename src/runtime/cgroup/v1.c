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

static void plan_cpuset(const struct spec_resources *r, struct plan *p) {
        if (!str_empty(r->cpuset_cpus))
                writes_text(p, 0, "cpu.cpus", "cpuset.cpus", r->cpuset_cpus);
        if (!str_empty(r->cpuset_mems))
                writes_text(p, 0, "cpu.mems", "cpuset.mems", r->cpuset_mems);
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
static int plan_limit(struct group *g, int h, const struct spec_resources *r, struct plan *p, struct err *err) {
        static const char limit_file[] = "memory.limit_in_bytes", swap_file[] = "memory.memsw.limit_in_bytes";
        static const char limit_field[] = "memory.limit", swap_field[] = "memory.swap";
        int64_t limit = r->memory_limit_bytes, swap = r->memory_swap_limit_bytes, swap_now;
        unsigned swap_flags;

        if (!limit && !swap)
                return 0;
        swap_now = g->fresh[h] ? -1 : read_limit(g, h, swap_file);
        if (limit < 0 && !swap)
                swap = -1;
        if (!swap) {
                if (swap_now >= 0 && limit > swap_now)
                        return err_set(err, ERR_INVALID,
                                       "memory.swap: memory limit %lld is above the memory + swap limit %lld: give a "
                                       "new one as well",
                                       (long long) limit, (long long) swap_now);
                writes_number(p, 0, limit_field, limit_file, limit);
                return 0;
        }
        /* Without swap accounting (swapaccount=0) "no swap" and "no limit" are taken as best effort, as runc does. */
        swap_flags = swap < 0 || swap == limit ? WRITE_OPTIONAL : 0;
        if (limit && swap_now >= 0 && (limit < 0 || limit > swap_now)) {
                writes_number(p, swap_flags, swap_field, swap_file, swap);
                writes_number(p, 0, limit_field, limit_file, limit);
        } else {
                if (limit)
                        writes_number(p, 0, limit_field, limit_file, limit);
                writes_number(p, swap_flags, swap_field, swap_file, swap);
        }
        return 0;
}

static int plan_memory(struct group *g, int h, const struct spec_resources *r, struct plan *p, struct err *err) {
        int res = plan_limit(g, h, r, p, err);

        if (r->memory_reservation_bytes)
                writes_number(p, 0, "memory.reservation", "memory.soft_limit_in_bytes", r->memory_reservation_bytes);
        if (r->has_swappiness)
                writes_number(p, 0, "memory.swappiness", "memory.swappiness", (int64_t) r->swappiness);
        if (r->oom_kill_disable)
                writes_number(p, 0, "memory.disableOOMKiller", "memory.oom_control", 1);
        return res;
}

/* --- CPU --------------------------------------------------------------------------------------------------------- */

/* Quota / period must stay within the parent's share at every moment: what lowers it goes first. */
static void plan_quota(struct group *g, int h, const struct spec_resources *r, struct plan *p) {
        int64_t period_now = PERIOD_DEFAULT_US;
        bool quota_first;

        if (!g->fresh[h] && r->cpu_period_us && r->cpu_quota_us)
                period_now = read_limit(g, h, "cpu.cfs_period_us");
        quota_first = period_now > 0 && (int64_t) r->cpu_period_us < period_now;
        if (r->cpu_quota_us && quota_first)
                writes_number(p, 0, "cpu.quota", "cpu.cfs_quota_us", r->cpu_quota_us);
        if (r->cpu_period_us)
                writes_number(p, 0, "cpu.period", "cpu.cfs_period_us", (int64_t) r->cpu_period_us);
        if (r->cpu_quota_us && !quota_first)
                writes_number(p, 0, "cpu.quota", "cpu.cfs_quota_us", r->cpu_quota_us);
}

/* A burst is at most the quota, at every moment. */
static void plan_bandwidth(struct group *g, int h, const struct spec_resources *r, struct plan *p) {
        static const char file[] = "cpu.cfs_burst_us";
        int64_t burst = (int64_t) r->cpu_burst_us, now = 0;
        bool first;

        if (r->has_cpu_burst && !g->fresh[h])
                now = read_limit(g, h, file);
        first = burst <= now;
        if (r->has_cpu_burst && first)
                writes_number(p, 0, "cpu.burst", file, burst);
        plan_quota(g, h, r, p);
        if (r->has_cpu_burst && !first)
                writes_number(p, 0, "cpu.burst", file, burst);
}

/* As is a real-time runtime of its period. */
static void plan_real_time(struct group *g, int h, const struct spec_resources *r, struct plan *p) {
        int64_t now = r->rt_period_us && r->has_rt_runtime ? read_limit(g, h, "cpu.rt_period_us") : 0;
        bool runtime_first = (int64_t) r->rt_period_us < now;

        if (r->has_rt_runtime && runtime_first)
                writes_number(p, 0, "cpu.realtimeRuntime", "cpu.rt_runtime_us", r->rt_runtime_us);
        if (r->rt_period_us)
                writes_number(p, 0, "cpu.realtimePeriod", "cpu.rt_period_us", (int64_t) r->rt_period_us);
        if (r->has_rt_runtime && !runtime_first)
                writes_number(p, 0, "cpu.realtimeRuntime", "cpu.rt_runtime_us", r->rt_runtime_us);
}

static void plan_cpu(struct group *g, int h, const struct spec_resources *r, struct plan *p) {
        /* Shares of an idle group can't be set. */
        if (r->has_cpu_idle && !r->cpu_idle)
                writes_number(p, 0, "cpu.idle", "cpu.idle", 0);
        if (r->cpu_shares)
                writes_number(p, 0, "cpu.shares", "cpu.shares", (int64_t) MIN_OF(r->cpu_shares, 262144U));
        plan_bandwidth(g, h, r, p);
        plan_real_time(g, h, r, p);
        if (r->has_cpu_idle && r->cpu_idle)
                writes_number(p, 0, "cpu.idle", "cpu.idle", 1);
}

/* --- block devices ----------------------------------------------------------------------------------------------- */

static void plan_device(struct plan *p, unsigned flags, const char *field, const char *file,
                        const struct spec_device_limit *d, uint64_t value, const char *unset) {
        struct planned_write *w = writes_add(p, flags, field, "%s", file);

        writes_value(w, "%lld:%lld %llu", (long long) d->major, (long long) d->minor, (unsigned long long) value);
        writes_unset(w, "%lld:%lld %s", (long long) d->major, (long long) d->minor, unset);
}

static void plan_blkio(const struct spec_resources *r, struct plan *p) {
        static const char *const throttles[SPEC_THROTTLE_MAX][2] = {
                [SPEC_THROTTLE_READ_BPS] = { "blockIO.throttleReadBpsDevice", "blkio.throttle.read_bps_device" },
                [SPEC_THROTTLE_WRITE_BPS] = { "blockIO.throttleWriteBpsDevice", "blkio.throttle.write_bps_device" },
                [SPEC_THROTTLE_READ_IOPS] = { "blockIO.throttleReadIOPSDevice", "blkio.throttle.read_iops_device" },
                [SPEC_THROTTLE_WRITE_IOPS] = { "blockIO.throttleWriteIOPSDevice", "blkio.throttle.write_iops_device" },
        };
        static const char weight_field[] = "blockIO.weightDevice";

        if (r->blkio_weight) {
                writes_number(p, WRITE_OR_NEXT, "blockIO.weight", "blkio.bfq.weight", r->blkio_weight);
                writes_number(p, 0, "blockIO.weight", "blkio.weight", r->blkio_weight);
        }
        if (r->blkio_leaf_weight)
                writes_number(p, 0, "blockIO.leafWeight", "blkio.leaf_weight", r->blkio_leaf_weight);
        for (size_t i = 0; i < r->n_blkio_weights; i++) {
                const struct spec_device_limit *d = &r->blkio_weights[i];

                if (d->value) {
                        plan_device(p, WRITE_OR_NEXT, weight_field, "blkio.bfq.weight_device", d, d->value, "default");
                        plan_device(p, 0, weight_field, "blkio.weight_device", d, d->value, "default");
                }
                if (d->leaf_weight)
                        plan_device(p, 0, weight_field, "blkio.leaf_weight_device", d, d->leaf_weight, "default");
        }
        for (size_t k = 0; k < SPEC_THROTTLE_MAX; k++)
                for (size_t i = 0; i < r->n_throttles[k]; i++)
                        plan_device(p, 0, throttles[k][0], throttles[k][1], &r->throttles[k][i],
                                    r->throttles[k][i].value, "0");
}

/* --- the rest ---------------------------------------------------------------------------------------------------- */

static void plan_hugetlb(const struct spec_resources *r, struct plan *p) {
        for (size_t i = 0; i < r->n_hugepages; i++) {
                static const char *const kinds[] = { "rsvd.limit_in_bytes", "limit_in_bytes" };

                for (size_t k = 0; k < ELEMENTSOF(kinds); k++)
                        writes_value(writes_add(p, k == 0 ? WRITE_OPTIONAL : 0, "hugepageLimits", "hugetlb.%s.%s",
                                                r->hugepages[i].page_size, kinds[k]),
                                     "%llu",
                                     (unsigned long long) MIN_OF(r->hugepages[i].limit_bytes, (uint64_t) INT64_MAX));
        }
}

static void plan_pids(const struct spec_resources *r, struct plan *p) {
        if (r->pids_limit > 0)
                writes_number(p, 0, "pids.limit", "pids.max", r->pids_limit);
        else if (r->pids_limit < 0)
                writes_text(p, 0, "pids.limit", "pids.max", "max");
}

static void plan_net_cls(const struct spec_resources *r, struct plan *p) {
        if (r->has_net_class_id)
                writes_number(p, 0, "network.classID", "net_cls.classid", r->net_class_id);
}

static void plan_net_prio(const struct spec_resources *r, struct plan *p) {
        for (size_t i = 0; i < r->n_net_priorities; i++) {
                struct planned_write *w = writes_add(p, 0, "network.priorities", "net_prio.ifpriomap");

                writes_value(w, "%s %u", r->net_priorities[i].interface, r->net_priorities[i].priority);
        }
}

/* Of both versions. */
void plan_rdma(const struct spec_resources *r, struct plan *p) {
        for (size_t i = 0; i < r->n_rdma; i++) {
                const struct spec_rdma *d = &r->rdma[i];
                struct planned_write *w = writes_add(p, 0, "rdma", "rdma.max");
                char handles[32] = "", objects[32] = "";

                if (d->has_handles)
                        (void) snprintf(handles, sizeof(handles), " hca_handle=%u", d->handles);
                if (d->has_objects)
                        (void) snprintf(objects, sizeof(objects), " hca_object=%u", d->objects);
                writes_value(w, "%s%s%s", d->device, handles, objects);
                writes_unset(w, "%s hca_handle=max hca_object=max", d->device);
        }
}

int plan_v1(struct group *g, const struct spec_resources *r, struct plan *p, struct err *err) {
        static void (*const simple[CTL_MAX])(const struct spec_resources *, struct plan *) = {
                [CTL_CPUSET] = plan_cpuset,     [CTL_PIDS] = plan_pids, [CTL_BLKIO] = plan_blkio,
                [CTL_HUGETLB] = plan_hugetlb,   [CTL_RDMA] = plan_rdma, [CTL_NET_CLS] = plan_net_cls,
                [CTL_NET_PRIO] = plan_net_prio,
        };
        struct cgroups *c = g->c;
        int res = 0;

        for (int ctl = 0; ctl < CTL_MAX && res == 0; ctl++) {
                if (c->of[ctl] < 0 || c->hiers[c->of[ctl]].v2)
                        continue;
                p->hier = c->of[ctl];
                if (ctl == CTL_CPU)
                        plan_cpu(g, p->hier, r, p);
                else if (ctl == CTL_MEMORY)
                        res = plan_memory(g, p->hier, r, p, err);
                else if (simple[ctl])
                        simple[ctl](r, p);
        }
        return res;
}
