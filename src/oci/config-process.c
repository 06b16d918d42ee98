/* SPDX-License-Identifier: Apache-2.0 */
/* config-process - "process" of config.json, or of an exec. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include "base/str.h"
#include "oci/config-parts.h"
#include "security/caps.h"

enum { MAX_CPU = 8191, MAX_CAPS = 256 };

static void read_rlimit(const struct config_node *n, struct spec_rlimit *all, size_t i) {
        struct spec_rlimit *limit = &all[i];

        config_need(n, "type");
        config_need(n, "soft");
        config_need(n, "hard");
        limit->resource = (int) config_enum(n, "type", spec_rlimit_names, n_spec_rlimit_names, NULL);
        limit->soft = config_u64(n, "soft", UINT64_MAX, NULL);
        limit->hard = config_u64(n, "hard", UINT64_MAX, NULL);
        if (limit->soft > limit->hard)
                config_fail(n, "soft", "is more than the hard limit");
        for (size_t j = 0; j < i; j++)
                if (all[j].resource == limit->resource)
                        config_fail(n, "type", "is there twice");
}

static void read_rlimits(const struct config_node *process, struct spec_process *ret) {
        struct config_node list = config_array(process, "rlimits", RLIM_NLIMITS);
        size_t n = config_count(&list);
        struct spec_rlimit *limits = config_array_of(&list, struct spec_rlimit, n);

        for (size_t i = 0; limits && i < n; i++) {
                struct config_node limit = config_item_object(&list, i);

                read_rlimit(&limit, limits, i);
        }
        ret->rlimits = limits;
        ret->n_rlimits = limits ? n : 0;
}

static uint64_t read_caps(const struct config_node *caps, const char *set) {
        struct config_node list = config_array(caps, set, MAX_CAPS);
        uint64_t sum = 0, all = caps_all();

        for (size_t i = 0; i < config_count(&list); i++) {
                struct config_node item = config_item(&list, i);
                const char *name = config_string_of(&item);
                int number;

                if (!name)
                        config_fail(&item, NULL, "must be a string");
                else if (caps_number(name, &number) && all & (1ull << number))
                        sum |= 1ull << number;
                else
                        config_warn(&item, NULL, "ignoring unknown or unavailable capability %.64s", name);
        }
        return sum;
}

static void read_user(const struct config_node *process, struct spec_process *ret) {
        struct config_node user = config_object(process, "user"),
                           groups = config_array(&user, "additionalGids", SPEC_MAX_GROUPS);
        size_t n = config_count(&groups);
        gid_t *gids = config_array_of(&groups, gid_t, n);

        ret->user.resolved = ret->user.has_gid = true;
        ret->user.uid = (uid_t) config_u64(&user, "uid", UINT32_MAX - 1, NULL);
        ret->user.gid = (gid_t) config_u64(&user, "gid", UINT32_MAX - 1, NULL);
        ret->umask = (mode_t) config_u64(&user, "umask", 07777, &ret->has_umask) & 0777;
        for (size_t i = 0; gids && i < n; i++) {
                struct config_node item = config_item(&groups, i);

                gids[i] = (gid_t) config_u64_of(&item, UINT32_MAX - 1);
        }
        ret->user.additional_gids = gids;
        ret->user.n_additional_gids = gids ? n : 0;
}

static const struct spec_name policies[] = {
        { "SCHED_OTHER", 0 }, { "SCHED_FIFO", 1 }, { "SCHED_RR", 2 },       { "SCHED_BATCH", 3 },
        { "SCHED_ISO", 4 },   { "SCHED_IDLE", 5 }, { "SCHED_DEADLINE", 6 },
};
enum { POLICY_FIFO = 1, POLICY_RR = 2, POLICY_ISO = 4, POLICY_DEADLINE = 6 };
static const struct spec_name scheduler_flags[] = {
        { "SCHED_FLAG_RESET_ON_FORK", 0x01 },  { "SCHED_FLAG_RECLAIM", 0x02 },
        { "SCHED_FLAG_DL_OVERRUN", 0x04 },     { "SCHED_FLAG_KEEP_POLICY", 0x08 },
        { "SCHED_FLAG_KEEP_PARAMS", 0x10 },    { "SCHED_FLAG_UTIL_CLAMP_MIN", 0x20 },
        { "SCHED_FLAG_UTIL_CLAMP_MAX", 0x40 },
};

/* What the kernel would take no notice of is an error, as with runc. */
static void check_scheduler(const struct config_node *n, const struct spec_scheduler *s) {
        bool realtime = s->policy == POLICY_FIFO || s->policy == POLICY_RR;

        if (s->policy == POLICY_ISO)
                config_fail(n, "policy", "no kernel has SCHED_ISO");
        if (s->priority && !realtime)
                config_fail(n, "priority", "can only be specified for SCHED_FIFO and SCHED_RR");
        if (!s->priority && realtime)
                config_fail(n, "priority", "must be from 1 to 99 for SCHED_FIFO and SCHED_RR");
        if (s->policy == POLICY_DEADLINE &&
            (!s->runtime_ns || s->runtime_ns > s->deadline_ns || (s->period_ns && s->deadline_ns > s->period_ns)))
                config_fail(n, NULL, "SCHED_DEADLINE needs runtime <= deadline <= period");
        if (s->policy != POLICY_DEADLINE && (s->runtime_ns || s->deadline_ns || s->period_ns))
                config_fail(n, NULL, "runtime, deadline and period can only be specified for SCHED_DEADLINE");
}

static void read_scheduler(const struct config_node *process, struct spec_process *ret) {
        struct config_node n = config_object(process, "scheduler");
        struct spec_scheduler *s;

        if (!config_has(&n))
                return;
        config_need(&n, "policy");
        s = config_array_of(&n, struct spec_scheduler, 1);
        if (!s)
                return;
        s->policy = (uint32_t) config_enum(&n, "policy", policies, ELEMENTSOF(policies), NULL);
        s->nice = (int32_t) config_i64(&n, "nice", -20, 19, NULL);
        s->priority = (uint32_t) config_i64(&n, "priority", 0, 99, NULL);
        s->flags = config_flags(&n, "flags", scheduler_flags, ELEMENTSOF(scheduler_flags));
        s->runtime_ns = config_u64(&n, "runtime", INT64_MAX, NULL);
        s->deadline_ns = config_u64(&n, "deadline", INT64_MAX, NULL);
        s->period_ns = config_u64(&n, "period", INT64_MAX, NULL);
        check_scheduler(&n, s);
        ret->scheduler = s;
}

static const struct spec_name io_classes[] = {
        { "IOPRIO_CLASS_RT", 1 },
        { "IOPRIO_CLASS_BE", 2 },
        { "IOPRIO_CLASS_IDLE", 3 },
};

static void read_io_priority(const struct config_node *process, struct spec_process *ret) {
        struct config_node n = config_object(process, "ioPriority");

        config_need(&n, "class");
        ret->has_io_priority = config_has(&n);
        ret->io_priority_class = (int) config_enum(&n, "class", io_classes, ELEMENTSOF(io_classes), NULL);
        ret->io_priority = (int) config_i64(&n, "priority", 0, 7, NULL);
}

static void read_console(const struct config_node *process, struct spec_process *ret) {
        struct config_node size = config_object(process, "consoleSize");

        ret->terminal = config_bool(process, "terminal");
        if (!ret->terminal)
                return;
        config_need(&size, "height");
        config_need(&size, "width");
        ret->rows = (uint16_t) config_u64(&size, "height", UINT16_MAX, NULL);
        ret->columns = (uint16_t) config_u64(&size, "width", UINT16_MAX, NULL);
}

static void read_command(const struct config_node *process, struct spec_process *ret) {
        struct config_node env = config_member(process, "env");

        config_need(process, "cwd");
        ret->args = config_strings(process, "args", CONFIG_MAX_STRINGS);
        ret->env = config_strings(process, "env", CONFIG_MAX_STRINGS);
        ret->cwd = config_string(process, "cwd");
        if (config_has(process) && !*ret->args)
                config_fail(process, "args", "must not be empty");
        if (ret->cwd && *ret->cwd != '/')
                config_fail(process, "cwd", "must be an absolute path");
        for (size_t i = 0; ret->env[i]; i++) {
                struct config_node item = config_item(&env, i);
                const char *equals = strchr(ret->env[i], '=');

                if (!equals || equals == ret->env[i])
                        config_fail(&item, NULL, "\"%.64s\" is not of the form NAME=VALUE", ret->env[i]);
        }
}

void config_read_process(const struct config_node *process, struct spec_process *ret) {
        struct config_node caps = config_object(process, "capabilities"),
                           affinity = config_object(process, "execCPUAffinity");

        read_command(process, ret);
        read_console(process, ret);
        read_user(process, ret);
        ret->caps = (struct spec_caps){
                .bounding = read_caps(&caps, "bounding"),
                .effective = read_caps(&caps, "effective"),
                .permitted = read_caps(&caps, "permitted"),
                .inheritable = read_caps(&caps, "inheritable"),
                .ambient = read_caps(&caps, "ambient"),
        };
        read_rlimits(process, ret);
        ret->no_new_privs = config_bool(process, "noNewPrivileges");
        ret->oom_score_adj = (int) config_i64(process, "oomScoreAdj", -1000, 1000, &ret->has_oom_score_adj);
        ret->apparmor_profile = config_text(process, "apparmorProfile");
        ret->selinux_label = config_text(process, "selinuxLabel");
        read_scheduler(process, ret);
        read_io_priority(process, ret);
        ret->cpu_affinity_initial = config_list(&affinity, "initial", MAX_CPU);
        ret->cpu_affinity_final = config_list(&affinity, "final", MAX_CPU);
}
