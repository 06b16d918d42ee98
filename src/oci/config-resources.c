/* SPDX-License-Identifier: Apache-2.0 */
/* config-resources - "linux.resources" of config.json, or of an update. */
#include <limits.h>
#include "base/str.h"
#include "oci/config-parts.h"
#include "runtime/cgroup/cgroup.h"

enum { MAX_CPU = 8191, MAX_NODE = 1023, WEIGHT_MIN = 10, WEIGHT_MAX = 1000 };

static void read_memory(const struct config_node *resources, struct spec_resources *r) {
        struct config_node n = config_object(resources, "memory");
        bool has_kernel, has_tcp;

        r->memory_limit_bytes = config_i64(&n, "limit", -1, INT64_MAX, NULL);
        r->memory_swap_limit_bytes = config_i64(&n, "swap", -1, INT64_MAX, NULL);
        r->memory_reservation_bytes = config_i64(&n, "reservation", -1, INT64_MAX, NULL);
        r->swappiness = config_u64(&n, "swappiness", 100, &r->has_swappiness);
        r->oom_kill_disable = config_bool(&n, "disableOOMKiller");
        r->check_before_update = config_bool(&n, "checkBeforeUpdate");
        if (r->memory_limit_bytes > 0 && r->memory_swap_limit_bytes > 0 &&
            r->memory_swap_limit_bytes < r->memory_limit_bytes)
                config_fail(&n, "swap", "is less than the memory's limit, which it includes");
        (void) config_bool(&n, "useHierarchy");
        (void) config_i64(&n, "kernel", -1, INT64_MAX, &has_kernel);
        (void) config_i64(&n, "kernelTCP", -1, INT64_MAX, &has_tcp);
        if (has_kernel || has_tcp) /* as runc */
                config_warn(&n, has_kernel ? "kernel" : "kernelTCP", "ignoring a limit that kernels no longer have");
}

static void read_cpu(const struct config_node *resources, struct spec_resources *r) {
        struct config_node n = config_object(resources, "cpu");

        r->cpu_shares = config_u64(&n, "shares", INT64_MAX, NULL);
        r->cpu_quota_us = config_i64(&n, "quota", INT64_MIN, INT64_MAX, NULL);
        if (r->cpu_quota_us < 0)
                r->cpu_quota_us = -1;
        r->cpu_period_us = config_u64(&n, "period", INT64_MAX, NULL);
        r->cpu_burst_us = config_u64(&n, "burst", INT64_MAX, &r->has_cpu_burst);
        r->cpu_idle = config_i64(&n, "idle", 0, 1, &r->has_cpu_idle);
        r->rt_runtime_us = config_i64(&n, "realtimeRuntime", -1, INT64_MAX, &r->has_rt_runtime);
        r->rt_period_us = config_u64(&n, "realtimePeriod", INT64_MAX, NULL);
        r->cpuset_cpus = config_list(&n, "cpus", MAX_CPU) ?: "";
        r->cpuset_mems = config_list(&n, "mems", MAX_NODE) ?: "";
        if (r->cpu_quota_us > 0 && r->cpu_burst_us > (uint64_t) r->cpu_quota_us)
                config_fail(&n, "burst", "is more than the quota");
}

static void read_pids(const struct config_node *resources, struct spec_resources *r) {
        struct config_node n = config_object(resources, "pids");

        r->pids_limit = config_i64(&n, "limit", INT64_MIN, INT64_MAX, NULL);
        if (r->pids_limit < 0)
                r->pids_limit = -1;
}

static uint16_t read_weight(const struct config_node *n, const char *key) {
        uint64_t weight = config_u64(n, key, WEIGHT_MAX, NULL);

        if (weight && weight < WEIGHT_MIN)
                config_fail(n, key, "is not between %d and %d", WEIGHT_MIN, WEIGHT_MAX);
        return (uint16_t) weight;
}

static void read_device_numbers(const struct config_node *n, struct spec_device_limit *ret) {
        config_need(n, "major");
        config_need(n, "minor");
        ret->major = config_i64(n, "major", 0, UINT32_MAX, NULL);
        ret->minor = config_i64(n, "minor", 0, UINT32_MAX, NULL);
}

static const struct spec_device_limit *read_throttle(const struct config_node *block, const char *key, size_t *ret_n) {
        struct config_node list = config_array(block, key, CONFIG_MAX_DEVICES);
        size_t n = config_count(&list);
        struct spec_device_limit *limits = config_array_of(&list, struct spec_device_limit, n);

        for (size_t i = 0; limits && i < n; i++) {
                struct config_node limit = config_item_object(&list, i);

                read_device_numbers(&limit, &limits[i]);
                config_need(&limit, "rate");
                limits[i].value = config_u64(&limit, "rate", UINT64_MAX, NULL);
        }
        *ret_n = limits ? n : 0;
        return limits;
}

static const struct spec_device_limit *read_weights(const struct config_node *block, size_t *ret_n) {
        struct config_node list = config_array(block, "weightDevice", CONFIG_MAX_DEVICES);
        size_t n = config_count(&list);
        struct spec_device_limit *limits = config_array_of(&list, struct spec_device_limit, n);

        for (size_t i = 0; limits && i < n; i++) {
                struct config_node limit = config_item_object(&list, i);

                read_device_numbers(&limit, &limits[i]);
                limits[i].value = read_weight(&limit, "weight");
                limits[i].leaf_weight = read_weight(&limit, "leafWeight");
                if (!limits[i].value && !limits[i].leaf_weight)
                        config_fail(&limit, "weight", "is missing");
        }
        *ret_n = limits ? n : 0;
        return limits;
}

static void read_block_io(const struct config_node *resources, struct spec_resources *r) {
        static const char *const keys[SPEC_THROTTLE_MAX] = {
                [SPEC_THROTTLE_READ_BPS] = "throttleReadBpsDevice",
                [SPEC_THROTTLE_WRITE_BPS] = "throttleWriteBpsDevice",
                [SPEC_THROTTLE_READ_IOPS] = "throttleReadIOPSDevice",
                [SPEC_THROTTLE_WRITE_IOPS] = "throttleWriteIOPSDevice",
        };
        struct config_node n = config_object(resources, "blockIO");

        r->blkio_weight = read_weight(&n, "weight");
        r->blkio_leaf_weight = read_weight(&n, "leafWeight");
        r->blkio_weights = read_weights(&n, &r->n_blkio_weights);
        for (size_t i = 0; i < SPEC_THROTTLE_MAX; i++)
                r->throttles[i] = read_throttle(&n, keys[i], &r->n_throttles[i]);
}

/* "2MB", "1GB": as below /sys/kernel/mm/hugepages, but for humans. */
static bool is_page_size(const char *s) {
        size_t digits = strspn(s, "0123456789");

        return digits && digits < 16 && *s != '0' && strchr("KMG", s[digits]) && s[digits] &&
               str_eq(s + digits + 1, "B");
}

static void read_hugepages(const struct config_node *resources, struct spec_resources *r) {
        struct config_node list = config_array(resources, "hugepageLimits", CONFIG_MAX_PAIRS);
        size_t n = config_count(&list);
        struct spec_hugepage *pages = config_array_of(&list, struct spec_hugepage, n);

        for (size_t i = 0; pages && i < n; i++) {
                struct config_node page = config_item_object(&list, i);

                config_need(&page, "pageSize");
                config_need(&page, "limit");
                pages[i].page_size = config_string(&page, "pageSize");
                pages[i].limit_bytes = config_u64(&page, "limit", UINT64_MAX, NULL);
                if (pages[i].page_size && !is_page_size(pages[i].page_size))
                        config_fail(&page, "pageSize", "\"%.64s\" is not a size like \"2MB\"", pages[i].page_size);
        }
        r->hugepages = pages;
        r->n_hugepages = pages ? n : 0;
}

static void read_network(const struct config_node *resources, struct spec_resources *r) {
        struct config_node network = config_object(resources, "network"),
                           list = config_array(&network, "priorities", CONFIG_MAX_PAIRS);
        size_t n = config_count(&list);
        struct spec_net_priority *priorities = config_array_of(&list, struct spec_net_priority, n);

        r->net_class_id = (uint32_t) config_u64(&network, "classID", UINT32_MAX, &r->has_net_class_id);
        for (size_t i = 0; priorities && i < n; i++) {
                struct config_node item = config_item_object(&list, i);

                config_need(&item, "name");
                config_need(&item, "priority");
                priorities[i].interface = config_string(&item, "name");
                priorities[i].priority = (uint32_t) config_u64(&item, "priority", UINT32_MAX, NULL);
                if (str_eq(priorities[i].interface, "") ||
                    (priorities[i].interface && strpbrk(priorities[i].interface, "/ \t\n")))
                        config_fail(&item, "name", "is not the name of a network interface");
        }
        r->net_priorities = priorities;
        r->n_net_priorities = priorities ? n : 0;
}

static void read_rdma(const struct config_node *resources, struct spec_resources *r) {
        struct config_node map = config_object(resources, "rdma");
        size_t n = config_count(&map), i = 0;
        struct spec_rdma *rdma = n <= CONFIG_MAX_PAIRS ? config_array_of(&map, struct spec_rdma, n) : NULL;

        if (n > CONFIG_MAX_PAIRS)
                config_fail(&map, NULL, "has more than %d entries", CONFIG_MAX_PAIRS);
        for (struct config_node v = config_first(&map); rdma && config_has(&v); v = config_next(&v), i++) {
                if (!json_is_object(v.json))
                        config_fail(&v, NULL, "must be an object");
                if (!*v.key || strpbrk(v.key, " \t\n"))
                        config_fail(&v, NULL, "is not the name of a device");
                rdma[i].device = config_printf(&v, "%s", v.key);
                rdma[i].handles = (uint32_t) config_u64(&v, "hcaHandles", UINT32_MAX, &rdma[i].has_handles);
                rdma[i].objects = (uint32_t) config_u64(&v, "hcaObjects", UINT32_MAX, &rdma[i].has_objects);
        }
        r->rdma = rdma;
        r->n_rdma = i;
}

static void read_unified(const struct config_node *resources, struct spec_resources *r) {
        struct config_node map = config_object(resources, "unified");

        r->unified = config_pairs(resources, "unified", CONFIG_MAX_PAIRS, &r->n_unified);
        for (struct config_node v = config_first(&map); config_has(&v); v = config_next(&v))
                if (strchr(v.key, '/') || str_eq(v.key, ".") || str_eq(v.key, "..") || strlen(v.key) > NAME_MAX)
                        config_fail(&v, NULL, "unified resource \"%.64s\" must be a file name (no slashes)", v.key);
}

static void read_rule(const struct config_node *n, struct spec_device_rule *rule) {
        const char *type = config_text(n, "type");
        bool has_major, has_minor;

        config_need(n, "allow");
        rule->allow = config_bool(n, "allow");
        if (type && (strlen(type) != 1 || !strchr("abc", *type)))
                config_fail(n, "type", "invalid cgroup device type \"%.16s\"", type);
        rule->type = type ? *type : 'a';
        rule->major = config_i64(n, "major", -1, UINT32_MAX, &has_major);
        rule->minor = config_i64(n, "minor", -1, UINT32_MAX, &has_minor);
        if (!has_major)
                rule->major = -1;
        if (!has_minor)
                rule->minor = -1;
        rule->access = config_text(n, "access") ?: "rwm"; /* as crun; runc wants it */
        if (strspn(rule->access, "rwm") != strlen(rule->access) || strlen(rule->access) > 3)
                config_fail(n, "access", "\"%.16s\" is not of r, w and m", rule->access);
}

static void read_rules(const struct config_node *resources, struct spec_resources *r) {
        struct config_node list = config_array(resources, "devices", CONFIG_MAX_DEVICES);
        size_t n = config_count(&list);
        struct spec_device_rule *rules = config_array_of(&list, struct spec_device_rule, n);

        for (size_t i = 0; rules && i < n; i++) {
                struct config_node rule = config_item_object(&list, i);

                read_rule(&rule, &rules[i]);
        }
        r->devices = rules;
        r->n_devices = rules ? n : 0;
}

void config_read_resources(const struct config_node *resources, struct spec_resources *ret) {
        read_memory(resources, ret);
        read_cpu(resources, ret);
        read_pids(resources, ret);
        read_block_io(resources, ret);
        read_hugepages(resources, ret);
        read_network(resources, ret);
        read_rdma(resources, ret);
        read_unified(resources, ret);
        read_rules(resources, ret);
}

void config_add_default_rules(const struct config_node *resources, struct spec_resources *r) {
        struct spec_device_rule *all =
                config_array_of(resources, struct spec_device_rule, r->n_devices + CGROUP_DEVICE_RULES_MORE);

        if (!all)
                return;
        cgroup_device_rules(r->devices, r->n_devices, all);
        r->devices = all;
        r->n_devices += CGROUP_DEVICE_RULES_MORE;
}
