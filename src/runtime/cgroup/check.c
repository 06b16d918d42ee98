/* SPDX-License-Identifier: Apache-2.0 */
/* check - is what is asked well-formed? What this host can't do comes out later. Messages begin with the field, below
 * linux.resources of the OCI runtime specification. */
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum {
        HUGEPAGE_SIZES_MAX = 16,
        UNIFIED_MAX = 32,
        UNIFIED_VALUE_MAX = 4096,
        DEVICES_MAX = 128,
        INTERFACES_MAX = 256,
        PERIOD_MAX_US = 1000000,
        RDMA_NAME_MAX = 63
};

static bool page_size_valid(const char *s) {
        size_t digits = s ? strspn(s, "0123456789") : 0;

        return digits > 0 && digits < 8 &&
               (str_eq(s + digits, "KB") || str_eq(s + digits, "MB") || str_eq(s + digits, "GB"));
}

/* A file of the group itself that sets something. The files that move processes or shape the tree are not limits. */
static bool unified_key_valid(const char *key) {
        size_t len = key ? strlen(key) : 0;

        if (len < 3 || len >= sizeof(((struct planned_write *) 0)->file) || !strchr(key, '.') || key[0] == '.')
                return false;
        if (strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != len)
                return false;
        return !str_after(key, "cgroup.") || str_after(key, "cgroup.max.") || str_eq(key, "cgroup.pressure");
}

static int check_list(const char *list, const char *field, struct err *err) {
        if (str_empty(list))
                return 0;
        if (strlen(list) > 4000 || strspn(list, "0123456789,-") != strlen(list))
                return err_set(err, ERR_INVALID, "%s must be a list like \"0-3,7\"", field);
        return 0;
}

static int check_memory(const struct spec_resources *r, struct err *err) {
        int64_t limit = r->memory_limit_bytes, swap = r->memory_swap_limit_bytes;

        if (limit < -1 || swap < -1 || r->memory_reservation_bytes < -1)
                return err_set(err, ERR_INVALID, "memory: a limit is negative");
        if (swap > 0 && limit > 0 && swap < limit)
                return err_set(err, ERR_INVALID, "memory.swap: memory + swap limit %lld is below the memory limit %lld",
                               (long long) swap, (long long) limit);
        if (swap > 0 && limit < 0)
                return err_set(err, ERR_INVALID, "memory.swap: a memory + swap limit needs a memory limit");
        if (r->has_swappiness && r->swappiness > 100)
                return err_set(err, ERR_INVALID, "memory.swappiness: %llu is not in 0..100",
                               (unsigned long long) r->swappiness);
        return 0;
}

static int check_cpu(const struct spec_resources *r, struct err *err) {
        int res;

        if (r->cpu_quota_us < -1 || r->cpu_period_us > PERIOD_MAX_US)
                return err_set(err, ERR_INVALID,
                               "cpu.quota, cpu.period: the CPU quota must be -1 or more, the period at most %d us",
                               PERIOD_MAX_US);
        if (r->has_cpu_burst && r->cpu_burst_us > INT64_MAX / 1000)
                return err_set(err, ERR_INVALID, "cpu.burst: too big");
        if (r->has_cpu_idle && r->cpu_idle != 0 && r->cpu_idle != 1)
                return err_set(err, ERR_INVALID, "cpu.idle: must be 0 or 1");
        if (r->has_rt_runtime && (r->rt_runtime_us < -1 || r->rt_runtime_us > INT64_MAX / 1000))
                return err_set(err, ERR_INVALID, "cpu.realtimeRuntime: out of range");
        if (r->rt_period_us > INT64_MAX / 1000)
                return err_set(err, ERR_INVALID, "cpu.realtimePeriod: out of range");
        if ((res = check_list(r->cpuset_cpus, "cpu.cpus", err)) < 0)
                return res;
        return check_list(r->cpuset_mems, "cpu.mems", err);
}

static bool weight_valid(uint64_t w) {
        return w == 0 || (w >= 10 && w <= 1000);
}

static int check_numbers(const struct spec_device_limit *list, size_t n, struct err *err) {
        if (n > DEVICES_MAX)
                return err_set(err, ERR_INVALID, "blockIO: more than %d devices", DEVICES_MAX);
        for (size_t i = 0; i < n; i++)
                if (list[i].major < 0 || list[i].major > UINT32_MAX || list[i].minor < 0 || list[i].minor > UINT32_MAX)
                        return err_set(err, ERR_INVALID, "blockIO: %lld:%lld is no device number",
                                       (long long) list[i].major, (long long) list[i].minor);
        return 0;
}

static int check_blkio(const struct spec_resources *r, struct err *err) {
        int res = check_numbers(r->blkio_weights, r->n_blkio_weights, err);

        for (size_t k = 0; k < SPEC_THROTTLE_MAX && res == 0; k++)
                res = check_numbers(r->throttles[k], r->n_throttles[k], err);
        if (res < 0)
                return res;
        if (!weight_valid(r->blkio_weight))
                return err_set(err, ERR_INVALID, "blockIO.weight: block I/O weight %u is not in 10..1000",
                               r->blkio_weight);
        if (!weight_valid(r->blkio_leaf_weight))
                return err_set(err, ERR_INVALID, "blockIO.leafWeight: %u is not in 10..1000", r->blkio_leaf_weight);
        for (size_t i = 0; i < r->n_blkio_weights; i++)
                if (!weight_valid(r->blkio_weights[i].value) || !weight_valid(r->blkio_weights[i].leaf_weight))
                        return err_set(err, ERR_INVALID, "blockIO.weightDevice: a weight is not in 10..1000");
        return 0;
}

static bool word_valid(const char *s, size_t max) {
        size_t len = s ? strlen(s) : 0;

        for (size_t i = 0; i < len; i++)
                if ((unsigned char) s[i] <= ' ' || s[i] == 0x7f)
                        return false;
        return len > 0 && len <= max;
}

static int check_net_rdma(const struct spec_resources *r, struct err *err) {
        if (r->n_net_priorities > INTERFACES_MAX || r->n_rdma > INTERFACES_MAX)
                return err_set(err, ERR_INVALID, "network.priorities, rdma: more than %d devices", INTERFACES_MAX);
        for (size_t i = 0; i < r->n_net_priorities; i++)
                if (!word_valid(r->net_priorities[i].interface, IF_NAMESIZE - 1))
                        return err_set(err, ERR_INVALID, "network.priorities: entry %zu has no name of an interface",
                                       i);
        for (size_t i = 0; i < r->n_rdma; i++)
                if (!word_valid(r->rdma[i].device, RDMA_NAME_MAX))
                        return err_set(err, ERR_INVALID, "rdma: entry %zu has no name of a device", i);
        return 0;
}

static int check_files(const struct spec_resources *r, struct err *err) {
        if (r->n_hugepages > HUGEPAGE_SIZES_MAX || r->n_unified > UNIFIED_MAX)
                return err_set(err, ERR_INVALID,
                               "hugepageLimits, unified: more than %d huge page limits or %d unified entries",
                               HUGEPAGE_SIZES_MAX, UNIFIED_MAX);
        for (size_t i = 0; i < r->n_hugepages; i++)
                if (!page_size_valid(r->hugepages[i].page_size))
                        return err_set(err, ERR_INVALID, "hugepageLimits: huge page size \"%.32s\" is not like \"2MB\"",
                                       r->hugepages[i].page_size ? r->hugepages[i].page_size : "");
        for (size_t i = 0; i < r->n_unified; i++) {
                const char *key = r->unified[i].key, *value = r->unified[i].value;

                if (!unified_key_valid(key))
                        return err_set(err, ERR_INVALID, "unified: \"%.64s\" is not a limit of a group",
                                       key ? key : "");
                if (!value || strlen(value) > UNIFIED_VALUE_MAX)
                        return err_set(err, ERR_INVALID, "unified: the value of %s is missing or too long", key);
        }
        return 0;
}

int resources_check(const struct spec_resources *r, struct err *err) {
        int res;

        if (r->pids_limit < -1)
                return err_set(err, ERR_INVALID, "pids.limit: the limit of processes is negative");
        if ((res = check_memory(r, err)) < 0 || (res = check_cpu(r, err)) < 0 || (res = check_blkio(r, err)) < 0 ||
            (res = check_net_rdma(r, err)) < 0 || (res = check_files(r, err)) < 0)
                return res;
        return devices_check(r->devices, r->n_devices, err);
}
