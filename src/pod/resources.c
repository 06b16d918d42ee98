/* SPDX-License-Identifier: Apache-2.0 */
/* resources - CRI's limits in the spec's terms, and merging an update into those that hold. */
#include "base/alloc.h"
#include "pod/specgen.h"

enum { MAX_UNIFIED = 256, MAX_HUGEPAGES = 64 };

static int check_numbers(const CRI(LinuxContainerResources) * r, struct err *err) {
        if (r->memory_limit_in_bytes < -1 || r->memory_swap_limit_in_bytes < -1)
                return err_set(err, ERR_INVALID, "a memory limit is negative");
        if (r->memory_swap_limit_in_bytes > 0 && r->memory_limit_in_bytes > r->memory_swap_limit_in_bytes)
                return err_set(err, ERR_INVALID, "the limit of memory and swap is below that of memory");
        if (r->cpu_shares < 0 || r->cpu_period < 0 || r->cpu_quota < -1)
                return err_set(err, ERR_INVALID, "a CPU limit is negative");
        return 0;
}

/* Names of cgroup files; they become paths. */
static bool is_cgroup_file(const char *s) {
        size_t n = strlen(s);

        return n > 0 && n < 64 && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n &&
               *s != '.' && strchr(s, '.') && !str_eq(s, "cgroup.procs") && !str_eq(s, "cgroup.threads");
}

static int take_unified(const CRI(LinuxContainerResources) * r, struct arena *arena, struct spec_resources *ret,
                        struct err *err) {
        struct spec_pair *pairs;

        if (r->n_unified > MAX_UNIFIED)
                return err_set(err, ERR_INVALID, "more than %d unified settings", MAX_UNIFIED);
        pairs = arena_array(arena, struct spec_pair, r->n_unified + 1);
        for (size_t i = 0; i < r->n_unified; i++) {
                if (!is_cgroup_file(r->unified[i]->key))
                        return err_set(err, ERR_INVALID, "\"%.64s\" is no cgroup setting", r->unified[i]->key);
                pairs[i] = (struct spec_pair){ arena_strdup(arena, r->unified[i]->key),
                                               arena_strdup(arena, r->unified[i]->value) };
        }
        ret->unified = pairs;
        ret->n_unified = r->n_unified;
        return 0;
}

static int take_hugepages(const CRI(LinuxContainerResources) * r, struct arena *arena, struct spec_resources *ret,
                          struct err *err) {
        struct spec_hugepage *pages;

        if (r->n_hugepage_limits > MAX_HUGEPAGES)
                return err_set(err, ERR_INVALID, "more than %d huge page limits", MAX_HUGEPAGES);
        pages = arena_array(arena, struct spec_hugepage, r->n_hugepage_limits + 1);
        for (size_t i = 0; i < r->n_hugepage_limits; i++) {
                const char *size = r->hugepage_limits[i]->page_size;
                size_t digits = strspn(size, "0123456789");

                if (digits == 0 || digits > 10 ||
                    !(str_eq(size + digits, "KB") || str_eq(size + digits, "MB") || str_eq(size + digits, "GB")))
                        return err_set(err, ERR_INVALID, "\"%.32s\" is no size of huge pages", size);
                pages[i] = (struct spec_hugepage){ arena_strdup(arena, size), r->hugepage_limits[i]->limit };
        }
        ret->hugepages = pages;
        ret->n_hugepages = r->n_hugepage_limits;
        return 0;
}

static int take_cpuset(const char *what, const char *set, struct arena *arena, const char **ret, struct err *err) {
        if (strspn(set, "0123456789,- ") != strlen(set))
                return err_set(err, ERR_INVALID, "%s \"%.64s\" is no list of numbers", what, set);
        *ret = arena_strdup(arena, set);
        return 0;
}

int resources_build(const CRI(LinuxContainerResources) * r, struct arena *arena, struct spec_resources *ret,
                    struct err *err) {
        struct spec_resources out = { .cpuset_cpus = "", .cpuset_mems = "" };
        int e;

        *ret = out;
        if (!r)
                return 0;
        e = check_numbers(r, err);
        if (e < 0)
                return e;
        out.memory_limit_bytes = r->memory_limit_in_bytes;
        out.memory_swap_limit_bytes = r->memory_swap_limit_in_bytes;
        out.cpu_shares = (uint64_t) r->cpu_shares;
        out.cpu_quota_us = r->cpu_quota;
        out.cpu_period_us = (uint64_t) r->cpu_period;
        e = take_cpuset("cpuset_cpus", r->cpuset_cpus, arena, &out.cpuset_cpus, err);
        if (e == 0)
                e = take_cpuset("cpuset_mems", r->cpuset_mems, arena, &out.cpuset_mems, err);
        if (e == 0)
                e = take_hugepages(r, arena, &out, err);
        if (e == 0)
                e = take_unified(r, arena, &out, err);
        if (e == 0)
                *ret = out;
        return e;
}

int resources_oom_score(const CRI(LinuxContainerResources) * r, int *ret, struct err *err) {
        *ret = 0;
        if (!r)
                return 0;
        if (r->oom_score_adj < -1000 || r->oom_score_adj > 1000)
                return err_set(err, ERR_INVALID, "oom_score_adj %lld is out of range", (long long) r->oom_score_adj);
        *ret = (int) r->oom_score_adj;
        return 0;
}

/* --- merging ------------------------------------------------------------------------------------------------------ */

/* What an update says of one key replaces what held for it; other keys stay. Both lists are in heap messages. */
static void merge_unified(CRI(LinuxContainerResources) * to, CRI(LinuxContainerResources) * from) {
        for (size_t i = 0; i < from->n_unified; i++) {
                CRI(LinuxContainerResources__UnifiedEntry) *entry = TAKE_PTR(from->unified[i]), **slot = NULL;

                for (size_t k = 0; k < to->n_unified && !slot; k++)
                        if (str_eq(to->unified[k]->key, entry->key))
                                slot = &to->unified[k];
                if (slot)
                        cri_message_free(*slot);
                else {
                        to->unified = xrealloc(to->unified, to->n_unified + 1,
                                               sizeof(CRI(LinuxContainerResources__UnifiedEntry) *));
                        slot = &to->unified[to->n_unified++];
                }
                *slot = entry;
        }
        from->n_unified = 0;
        free(from->unified);
        from->unified = NULL;
}

static void merge_hugepages(CRI(LinuxContainerResources) * to, CRI(LinuxContainerResources) * from) {
        for (size_t i = 0; i < from->n_hugepage_limits; i++) {
                CRI(HugepageLimit) *limit = TAKE_PTR(from->hugepage_limits[i]), **slot = NULL;

                for (size_t k = 0; k < to->n_hugepage_limits && !slot; k++)
                        if (str_eq(to->hugepage_limits[k]->page_size, limit->page_size))
                                slot = &to->hugepage_limits[k];
                if (slot)
                        cri_message_free(*slot);
                else {
                        to->hugepage_limits =
                                xrealloc(to->hugepage_limits, to->n_hugepage_limits + 1, sizeof(CRI(HugepageLimit) *));
                        slot = &to->hugepage_limits[to->n_hugepage_limits++];
                }
                *slot = limit;
        }
        from->n_hugepage_limits = 0;
        free(from->hugepage_limits);
        from->hugepage_limits = NULL;
}

static void swap_if_set(char **to, char **from) {
        char *t = *to;

        if (str_empty(*from))
                return;
        *to = *from;
        *from = t;
}

int resources_merge(const CRI(LinuxContainerResources) * base, const CRI(LinuxContainerResources) * change,
                    CRI(LinuxContainerResources) * *ret, struct err *err) {
        static const CRI(LinuxContainerResources) nothing = CRI_(LINUX_CONTAINER_RESOURCES__INIT);
        CRI(LinuxContainerResources) *to = cri_dup(LinuxContainerResources, base ? base : &nothing);
        CRI(LinuxContainerResources) *from = cri_dup(LinuxContainerResources, change);

        if (!to || !from) {
                cri_message_free(to);
                cri_message_free(from);
                return err_set(err, ERR_INVALID, "the limits cannot be copied");
        }
        struct {
                int64_t *to, from;
        } numbers[] = {
                { &to->cpu_period, from->cpu_period },
                { &to->cpu_quota, from->cpu_quota },
                { &to->cpu_shares, from->cpu_shares },
                { &to->memory_limit_in_bytes, from->memory_limit_in_bytes },
                { &to->memory_swap_limit_in_bytes, from->memory_swap_limit_in_bytes },
                { &to->oom_score_adj, from->oom_score_adj },
        };
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                if (numbers[i].from != 0)
                        *numbers[i].to = numbers[i].from;
        swap_if_set(&to->cpuset_cpus, &from->cpuset_cpus);
        swap_if_set(&to->cpuset_mems, &from->cpuset_mems);
        merge_unified(to, from);
        merge_hugepages(to, from);
        cri_message_free(from);
        *ret = to;
        return 0;
}
