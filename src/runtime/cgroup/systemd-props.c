/* SPDX-License-Identifier: Apache-2.0 */
/* systemd-props - what systemd is told of a container's unit: the properties that runc sets, so that systemd knows the
 * limits too and does not set them back. What it has no property for is left to the files. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "runtime/cgroup/systemd.h"

enum { CPU_MAX = 8192, PERIOD_DEFAULT_US = 100000, VERSION_PERIOD = 242, VERSION_CPUS = 244, VERSION_IDLE = 252 };

static struct unit_prop *add(struct unit_props *p, const char *name, const char *type) {
        struct unit_prop *prop;

        assert(p->n < UNIT_PROPS_MAX); /* our own are few, and those of the outside are counted */
        prop = &p->list[p->n++];

        *prop = (struct unit_prop){ .name = name };
        memcpy(prop->type, type, strlen(type) + 1);
        return prop;
}

static void add_number(struct unit_props *p, const char *name, uint64_t value) {
        add(p, name, "t")->number = value;
}

static void add_truth(struct unit_props *p, const char *name, bool value) {
        add(p, name, "b")->number = value;
}

static void add_text(struct unit_props *p, const char *name, const char *value) {
        add(p, name, "s")->text = value;
}

static void add_bytes(struct unit_props *p, const char *name, const void *bytes, size_t n, const char *type) {
        struct unit_prop *prop = add(p, name, type);

        prop->bytes = bytes;
        prop->n_bytes = n;
}

/* Room for what follows is kept by the limit on annotations: they come first. */
int unit_props_start(const struct cgroup_place *place, pid_t pid, enum cgroup_mode mode, struct arena *arena,
                     struct unit_props *p, struct err *err) {
        bool slice = str_ends_with(place->unit, ".slice");
        uint32_t *pids;

        if (p->n > UNIT_PROPS_MAX / 2)
                return err_set(err, ERR_INVALID, "annotations: more than %d properties of systemd", UNIT_PROPS_MAX / 2);
        add_text(p, "Description", arena_printf(arena, "libcontainer container %s", place->unit));
        if (slice) {
                const char **wants = arena_array(arena, const char *, 2);

                wants[0] = place->slice;
                add(p, "Wants", "as")->texts = wants;
        } else {
                add_text(p, "Slice", place->slice);
                add_truth(p, "Delegate", true);
                pids = arena_array(arena, uint32_t, 1);
                pids[0] = (uint32_t) pid;
                add_bytes(p, "PIDs", pids, sizeof(*pids), "au");
        }
        add_truth(p, "MemoryAccounting", true);
        add_truth(p, "CPUAccounting", true);
        add_truth(p, mode == CGROUP_V2 ? "IOAccounting" : "BlockIOAccounting", true);
        add_truth(p, "TasksAccounting", true);
        add_truth(p, "DefaultDependencies", false);
        return 0;
}

/* --- processors ----------------------------------------------------------------------------------------------------
 */

static bool take_cpu(const char **at, unsigned long *ret) {
        char *end;

        if (**at < '0' || **at > '9')
                return false;
        *ret = strtoul(*at, &end, 10);
        *at = end;
        return *ret < CPU_MAX;
}

int cpu_mask_parse(const char *list, struct arena *arena, const uint8_t **ret, size_t *ret_n, struct err *err) {
        uint8_t *mask = arena_array(arena, uint8_t, CPU_MAX / 8);
        size_t n = 0;

        for (const char *s = list;;) {
                unsigned long first, last;

                if (!take_cpu(&s, &first))
                        break;
                last = first;
                if (*s == '-' && (s++, !take_cpu(&s, &last)))
                        break;
                for (unsigned long i = first; i <= last; i++) {
                        mask[i / 8] |= (uint8_t) (1U << i % 8);
                        n = MAX_OF(n, i / 8 + 1);
                }
                if (first > last || (*s && *s != ','))
                        break;
                if (!*s) {
                        *ret = mask;
                        *ret_n = n;
                        return 0;
                }
                s++;
        }
        return err_set(err, ERR_INVALID, "cpu.cpus, cpu.mems: \"%.100s\" is no list like \"0-3,7\"", list);
}

static int add_cpus(struct unit_props *p, const char *name, const char *list, const struct unit_host *host,
                    struct arena *arena, struct err *err) {
        const uint8_t *mask;
        size_t n;
        int r;

        if (str_empty(list) || host->version < VERSION_CPUS)
                return 0;
        r = cpu_mask_parse(list, arena, &mask, &n, err);
        if (r == 0)
                add_bytes(p, name, mask, n, "ay");
        return r;
}

/* systemd keeps whole percents of a processor: rounded up, so that what is set by file fits in. */
static void add_quota(struct unit_props *p, const struct unit_host *host, int64_t quota, uint64_t period) {
        uint64_t per_second = UINT64_MAX;

        if (period && host->version >= VERSION_PERIOD)
                add_number(p, "CPUQuotaPeriodUSec", period);
        if (!quota && !period)
                return;
        if (quota > 0) {
                unsigned __int128 n = (unsigned __int128) quota * 1000000 / (period ? period : PERIOD_DEFAULT_US);

                per_second = n > UINT64_MAX / 2 ? UINT64_MAX : ((uint64_t) n + 9999) / 10000 * 10000;
        }
        /* Only a period: the quota, which is not known here, stays by file. */
        if (quota)
                add_number(p, "CPUQuotaPerSecUSec", per_second);
}

/* --- unified -------------------------------------------------------------------------------------------------------
 */

static bool number_or_max(const char *text, size_t len, uint64_t *ret) {
        char number[24];

        if (len == 3 && strncmp(text, "max", 3) == 0) {
                *ret = UINT64_MAX;
                return true;
        }
        if (len == 0 || len >= sizeof(number))
                return false;
        memcpy(number, text, len);
        number[len] = '\0';
        return str_to_u64(number, ret);
}

static void add_cpu_max(struct unit_props *p, const struct unit_host *host, const char *value) {
        size_t len = strcspn(value, " ");
        uint64_t quota, period = 0;

        if (!number_or_max(value, len, &quota) ||
            (value[len] && (!number_or_max(value + len + 1, strlen(value + len + 1), &period) || period > 1000000)))
                return; /* the file will say so */
        add_quota(p, host, quota > INT64_MAX ? -1 : (int64_t) quota, period);
}

static int add_unified(struct unit_props *p, const struct unit_host *host, const struct spec_pair *u,
                       struct arena *arena, struct err *err) {
        static const struct {
                const char *file, *property;
        } numbers[] = {
                { "cpu.weight", "CPUWeight" },   { "memory.min", "MemoryMin" }, { "memory.low", "MemoryLow" },
                { "memory.high", "MemoryHigh" }, { "memory.max", "MemoryMax" }, { "memory.swap.max", "MemorySwapMax" },
                { "pids.max", "TasksMax" },
        };
        uint64_t n;

        if (str_eq(u->key, "cpu.max"))
                add_cpu_max(p, host, u->value);
        if (str_eq(u->key, "cpu.idle") && str_eq(u->value, "1") && host->version >= VERSION_IDLE)
                add_number(p, "CPUWeight", 0);
        if (str_eq(u->key, "cpuset.cpus"))
                return add_cpus(p, "AllowedCPUs", u->value, host, arena, err);
        if (str_eq(u->key, "cpuset.mems"))
                return add_cpus(p, "AllowedMemoryNodes", u->value, host, arena, err);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                if (str_eq(u->key, numbers[i].file) && number_or_max(u->value, strlen(u->value), &n))
                        add_number(p, numbers[i].property, n);
        return 0;
}

/* --- devices -------------------------------------------------------------------------------------------------------
 */

/* systemd names all devices of a number by the driver of /proc/devices. */
static const char *driver_of(char type, int64_t major, struct arena *arena) {
        _cleanup_(fclosep) FILE *f = fopen("/proc/devices", "re");
        char line[256];
        bool here = false;

        while (f && fgets(line, sizeof(line), f)) {
                char *name;
                unsigned long n;

                if (str_ends_with(line, "devices:\n"))
                        here = line[0] == (type == 'b' ? 'B' : 'C');
                n = strtoul(line, &name, 10);
                if (!here || name == line || *name != ' ' || (int64_t) n != major)
                        continue;
                return arena_strndup(arena, name + 1, strcspn(name + 1, "\n"));
        }
        return NULL;
}

/* How systemd names it, NULL: not at all; the filter that is set behind it knows. */
static const char *device_name(const struct device_exception *e, struct arena *arena) {
        const char *kind = e->type == 'b' ? "block" : "char", *path, *driver;

        if (e->major < 0)
                return e->minor < 0 ? arena_printf(arena, "%s-*", kind) : NULL;
        if (e->minor < 0) {
                driver = driver_of(e->type, e->major, arena);
                return driver ? arena_printf(arena, "%s-%s", kind, driver) : NULL;
        }
        path = arena_printf(arena, "/dev/%s/%lld:%lld", kind, (long long) e->major, (long long) e->minor);
        return access(path, F_OK) == 0 ? path : NULL;
}

static const char *access_name(unsigned access) {
        static const char *const names[] = { "", "r", "w", "rw", "m", "rm", "wm", "rwm" };

        return names[access & DEVICE_ALL];
}

static int add_devices(struct unit_props *p, const struct spec_resources *r, struct arena *arena, struct err *err) {
        struct device_state *s = arena_new_of(arena, struct device_state);
        struct unit_device *list = arena_array(arena, struct unit_device, ELEMENTSOF(s->list));
        struct unit_prop *prop;
        size_t n = 0;
        int res;

        s->allow = true;
        res = device_state_add(s, r->devices, r->n_devices, err);
        if (res < 0) {
                /* v2's filter can do what this can't: systemd gets the strictest, the filter replaces its own. */
                s->allow = false;
                s->n = 0;
        }
        add_text(p, "DevicePolicy", s->allow && s->n == 0 ? "auto" : "strict");
        (void) add(p, "DeviceAllow", "a(ss)");
        for (size_t i = 0; !s->allow && i < s->n; i++) {
                const char *name = device_name(&s->list[i], arena);

                if (name)
                        list[n++] = (struct unit_device){ name, access_name(s->list[i].access) };
        }
        if (n > 0) {
                prop = add(p, "DeviceAllow", "a(ss)");
                prop->devices = list;
                prop->n_devices = n;
        }
        return 0;
}

/* --- all -----------------------------------------------------------------------------------------------------------
 */

static uint64_t or_max(int64_t n) {
        return n < 0 ? UINT64_MAX : (uint64_t) n;
}

static void add_memory_v2(struct unit_props *p, const struct unit_host *host, const struct spec_resources *r) {
        int64_t limit = r->memory_limit_bytes, swap = r->memory_swap_limit_bytes;
        uint64_t base = limit > 0 ? (uint64_t) limit : host->memory_now;

        if (limit)
                add_number(p, "MemoryMax", or_max(limit));
        if (r->memory_reservation_bytes)
                add_number(p, "MemoryLow", or_max(r->memory_reservation_bytes));
        if (swap < 0 || (limit < 0 && !swap))
                add_number(p, "MemorySwapMax", UINT64_MAX);
        else if (swap > 0 && base > 0 && (uint64_t) swap >= base)
                add_number(p, "MemorySwapMax", (uint64_t) swap - base);
}

int unit_props_limits(const struct unit_host *host, const struct spec_resources *r, struct arena *arena,
                      struct unit_props *p, struct err *err) {
        bool v2 = host->mode == CGROUP_V2;
        int res = resources_check(r, err);

        if (res < 0)
                return res;
        if (r->n_devices > 0 && (res = add_devices(p, r, arena, err)) < 0)
                return res;
        if (v2)
                add_memory_v2(p, host, r);
        else if (r->memory_limit_bytes)
                add_number(p, "MemoryLimit", or_max(r->memory_limit_bytes));
        if (r->cpu_shares)
                add_number(p, v2 ? "CPUWeight" : "CPUShares", v2 ? weight_from_shares(r->cpu_shares) : r->cpu_shares);
        if (v2 && r->has_cpu_idle && r->cpu_idle && host->version >= VERSION_IDLE)
                add_number(p, "CPUWeight", 0);
        add_quota(p, host, r->cpu_quota_us, r->cpu_period_us);
        if (r->blkio_weight)
                add_number(p, v2 ? "IOWeight" : "BlockIOWeight",
                           v2 ? io_weight(r->blkio_weight) : (uint64_t) r->blkio_weight);
        if (r->pids_limit)
                add_number(p, "TasksMax", or_max(r->pids_limit));
        if ((res = add_cpus(p, "AllowedCPUs", r->cpuset_cpus, host, arena, err)) < 0 ||
            (res = add_cpus(p, "AllowedMemoryNodes", r->cpuset_mems, host, arena, err)) < 0)
                return res;
        for (size_t i = 0; v2 && i < r->n_unified; i++)
                if ((res = add_unified(p, host, &r->unified[i], arena, err)) < 0)
                        return res;
        return 0;
}
