/* SPDX-License-Identifier: Apache-2.0 */
/* ct - see ct.h. The calls of a pod's life: create, start; config, delete. With a warm pool: prepared.c. */
#include "runtime/proxmox/ct.h"

#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "pve/vmids.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/proxmox/ends.h"
#include "runtime/proxmox/cts.h"
#include "runtime/proxmox/isolation.h"
#include "runtime/proxmox/networks.h"
#include "runtime/proxmox/prepared.h"
#include "runtime/proxmox/process.h"
#include "runtime/proxmox/template.h"

enum { DESCRIPTION_MAX = 4096, MEMORY_MIN_MIB = 16, HOSTNAME_MAX = 63 };

int cts_new(const struct cts_args *args, struct cts **ret, struct err *err) {
        _cleanup_(cts_freep) struct cts *c = xnew(struct cts);
        int r;

        c->args = *args;
        pthread_mutex_init(&c->template_lock, NULL);
        c->networks = networks_new(&(struct networks_args){ .pve = args->pve,
                                                            .node = args->node,
                                                            .conf = &c->args.network,
                                                            .each = cts_each_network,
                                                            .userdata = c });
        c->isolation = isolation_new(args->pve, args->node, &c->args.network);
        r = vmids_new(args->vmid_first, args->vmid_last, &c->vmids, err);
        if (r == 0)
                r = ends_new(args->ended, args->userdata, &c->ends, err);
        if (r == 0)
                r = warm_new(args->warm_pool, &prepared_ops, c, &c->warm, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

struct cts *cts_free(struct cts *c) {
        if (!c)
                return NULL;
        (void) warm_free(c->warm); /* its threads use the rest */
        (void) ends_free(c->ends);
        (void) vmids_free(c->vmids);
        (void) networks_free(c->networks);
        (void) isolation_free(c->isolation);
        pthread_mutex_destroy(&c->template_lock);
        free(c->template_volume);
        free(c);
        return NULL;
}

bool cts_have_layers(const struct cts *c, uint64_t *ret_max_bytes) {
        if (ret_max_bytes)
                *ret_max_bytes = c->args.max_disk_bytes;
        return c->args.layers;
}

const char *ct_cgroup_path(uint32_t vmid, struct arena *arena) {
        return arena_printf(arena, "/lxc/%u", vmid);
}

struct pve_until cts_until(const struct cts *c, const struct ct_until *until) {
        uint64_t at_most = clock_monotonic_ns() + c->args.timeout_ms * 1000000;

        return (struct pve_until){ .cancel_fd = until->cancel_fd, .deadline_ns = MIN_OF(until->deadline_ns, at_most) };
}

/* --- whose ------------------------------------------------------------------------------------------------------- */

/* Of this node's daemon? */
static bool claims(const struct cts *c, const json_t *config, struct claim *ret) {
        return claim_read(pve_json_str(config, "description"), ret) && str_eq(ret->node, c->args.node);
}

int cts_read_claim(struct cts *c, const struct pve_ct *ct, const struct pve_until *until, struct claim *ret,
                   bool *ret_ours, json_t **ret_config, struct err *err) {
        _cleanup_(json_unrefp) json_t *config = NULL;
        int r = pve_ct_config(c->args.pve, ct, until, &config, err);

        *ret_ours = r == 0 && claims(c, config, ret);
        if (*ret_ours && ret_config)
                *ret_config = TAKE_PTR(config);
        return r < 0 && pve_kind(err) == PVE_MISSING ? 0 : r;
}

int cts_each(struct cts *c, const struct pve_until *until, cts_found_fn found, void *userdata, struct err *err) {
        _cleanup_(pve_ct_list_done) struct pve_ct_list cts = { 0 };
        struct claim claim;
        bool ours = false;
        int r = pve_ct_list(c->args.pve, until, &cts, err);

        for (size_t i = 0; r == 0 && i < cts.n; i++) {
                const struct pve_ct *ct = &cts.entries[i].ct;
                _cleanup_(json_unrefp) json_t *config = NULL;

                if (ct->vmid < c->args.vmid_first || ct->vmid > c->args.vmid_last ||
                    !claim_has_tag(cts.entries[i].status.tags))
                        continue;
                r = cts_read_claim(c, ct, until, &claim, &ours, &config, err);
                if (r == 0 && ours && found(ct, &claim, config, userdata))
                        return 0;
        }
        return r;
}

struct listing {
        struct cts *c;
        struct arena *arena;
        struct ct_owner *list;
        size_t n, cap;
        bool first; /* the pool has not begun: what it has of before is taken up */
        char recipe[PREPARED_RECIPE_MAX];
};

static bool add_to_list(const struct pve_ct *ct, const struct claim *claim, const json_t *config, void *userdata) {
        struct listing *l = userdata;

        if (claim->recipe[0] && l->first)
                prepared_found(l->c, ct, config, claim, l->recipe);
        if (claim->recipe[0])
                return false;
        xgrow(l->list, l->n, l->cap);
        l->list[l->n++] = (struct ct_owner){ ct->vmid, arena_strdup(l->arena, claim->pod_id) };
        return false;
}

/* Without a pool nothing that was prepared is of use, whatever it is made from. */
static int begin_listing(struct listing *l, const struct pve_until *until, struct err *err) {
        _cleanup_(freep) char *template = NULL;
        int r;

        l->first = !warm_has_begun(l->c->warm);
        if (!l->first || l->c->args.warm_pool == 0)
                return 0;
        r = cts_find_template(l->c, until, &template, err);
        if (r == 0)
                prepared_recipe(l->c, template, l->recipe);
        return r;
}

int cts_list(struct cts *c, const struct ct_until *until, struct arena *arena, struct ct_owner **ret, size_t *ret_n,
             struct err *err) {
        const struct pve_until pve_until = cts_until(c, until);
        struct listing l = { .c = c, .arena = arena };
        int r = begin_listing(&l, &pve_until, err);

        if (r == 0)
                r = cts_each(c, &pve_until, add_to_list, &l, err);
        if (r == 0) {
                warm_begin(c->warm);
                *ret = arena_memdup(arena, l.list, l.n * sizeof(*l.list));
                *ret_n = l.n;
        }
        free(l.list);
        return r < 0 ? err_wrap(err, "list the Proxmox containers of pods") : 0;
}

/* --- making ------------------------------------------------------------------------------------------------------ */

int cts_find_template(struct cts *c, const struct pve_until *until, char **ret, struct err *err) {
        const struct template_place place = { c->args.node, c->args.template_storage, c->args.template_file };
        int r = 0;

        pthread_mutex_lock(&c->template_lock);
        if (!c->template_volume)
                r = template_ensure(c->args.pve, &place, until, &c->template_volume, err);
        if (r == 0)
                *ret = xstrdup(c->template_volume);
        pthread_mutex_unlock(&c->template_lock);
        return r;
}

/* Somebody has removed it: the next pod looks again. */
static void forget_template(struct cts *c) {
        pthread_mutex_lock(&c->template_lock);
        free(c->template_volume);
        c->template_volume = NULL;
        pthread_mutex_unlock(&c->template_lock);
}

/* Proxmox takes DNS names; for others the CT keeps the name that it gives, and the pod sees its own all the same. */
static bool is_dns_label(const char *s) {
        size_t n = s ? strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") : 0;

        return n > 0 && n <= HOSTNAME_MAX && s[n] == '\0' && s[0] != '-' && s[n - 1] != '-';
}

const char *cts_hostname(const struct ct_pod *pod) {
        return is_dns_label(pod->hostname) ? pod->hostname : NULL;
}

static uint64_t mib(uint64_t bytes) {
        return (bytes + (1 << 20) - 1) >> 20;
}

static uint64_t node_memory(void) {
        return (uint64_t) sysconf(_SC_PHYS_PAGES) * (uint64_t) sysconf(_SC_PAGESIZE);
}

void cts_put_limits(const struct cts *c, const struct ct_limits *l, bool all, struct pve_params *to) {
        uint64_t memory = l->memory_bytes > 0 ? (uint64_t) l->memory_bytes : node_memory();

        pve_param_u64(to, "memory", MAX_OF(mib(memory), (uint64_t) MEMORY_MIN_MIB));
        pve_param_u64(to, "swap", mib((uint64_t) MAX_OF(l->swap_bytes, (int64_t) 0)));
        if (l->cpus > 0 || all)
                pve_param_printf(to, "cpulimit", "%.3f", l->cpus);
        if (l->cpu_shares > 0)
                pve_param_u64(to, "cpuunits", cgroups_cpu_units(c->args.cgroups, l->cpu_shares));
}

/* In GiB, which are whole MiB: Proxmox' own unit is KiB. */
static void put_rootfs(const struct cts *c, const struct ct_pod *pod, struct pve_params *to) {
        if (pod->disk_bytes > 0)
                pve_param_printf(to, "rootfs", "%s:%.15g", c->args.storage, (double) mib(pod->disk_bytes) / 1024);
        else
                pve_param_printf(to, "rootfs", "%s:%s", c->args.storage, c->args.rootfs_size);
}

struct creation {
        struct cts *c;
        const struct pve_ct_args *args;
};

static int create_as(struct pve *p, unsigned vmid, void *userdata, struct err *err) {
        const struct creation *x = userdata;

        return pve_ct_create(p, &(struct pve_ct){ x->c->args.node, vmid }, x->args, NULL, err);
}

static void put_claim(const struct cts *c, const struct ct_pod *pod, const char *template, struct pve_params *to) {
        _cleanup_strbuf_ struct strbuf description = STRBUF(DESCRIPTION_MAX);
        char recipe[PREPARED_RECIPE_MAX];

        if (pod->id) {
                claim_write(pod, c->args.node, &description);
        } else {
                prepared_recipe(c, template, recipe);
                claim_write_prepared(recipe, c->args.node, &description);
        }
        pve_param(to, "description", strbuf_str(&description));
}

static int make(struct cts *c, const struct ct_pod *pod, const struct pve_until *until, struct ct_card *ret_card,
                uint32_t *ret_vmid, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_ct_args args = { .params = &params, .storage = c->args.storage, .until = until };
        _cleanup_(freep) char *template = NULL;
        int r = cts_find_template(c, until, &template, err);

        if (r == 0)
                r = cts_put_network(c, pod, until, ret_card, &params, err);
        if (r < 0)
                return r;
        put_claim(c, pod, template, &params);
        pve_param(&params, "ostemplate", template);
        pve_param(&params, "ostype", "unmanaged");
        pve_param(&params, "unprivileged", "1");
        put_rootfs(c, pod, &params);
        pve_param(&params, "hostname", cts_hostname(pod));
        pve_param(&params, "tags", CLAIM_TAG);
        pve_param(&params, "pool", c->args.pool);
        pve_param(&params, "console", "0");
        pve_param(&params, "tty", "0");
        cts_put_limits(c, &pod->limits, false, &params);
        r = vmids_create(c->vmids, c->args.pve, until, create_as, &(struct creation){ c, &args }, ret_vmid, err);
        if (r < 0 && pve_kind(err) == PVE_NO_VOLUME)
                forget_template(c);
        return r;
}

/* --- its first process -------------------------------------------------------------------------------------------- */

/* That the start ended well does not mean that it runs. @err says that it doesn't, but not why. */
static int explain_absence(struct cts *c, uint32_t vmid, const struct pve_until *until, struct err *err) {
        _cleanup_(pve_ct_status_done) struct pve_ct_status status = { 0 };
        int r = pve_ct_status(c->args.pve, &(struct pve_ct){ c->args.node, vmid }, until, &status, err);

        if (r < 0)
                return r;
        return status.running && status.pid
                       ? err_set(err, ERR_PRECONDITION,
                                 "its first process, %llu, is not on this host: is this node %s (proxmox.node)?",
                                 (unsigned long long) status.pid, c->args.node)
                       : err_set(err, ERR_ABORTED, "it has been started, but does not run");
}

bool ct_has_ended(const struct ct *ct) {
        _cleanup_(fd_closep) int fd = ct_process_open(ct);

        return fd < 0;
}

bool cts_adopt(struct cts *c, const char *pod_id, const struct ct *ct) {
        struct err err;
        int fd = ct_process_open(ct);

        if (fd < 0)
                return false;
        if (ends_watch(c->ends, pod_id, fd, &err) < 0)
                log_warn("the end of a pod's Proxmox container will not be noticed", "sandbox", pod_id, "error",
                         err.msg, NULL);
        return true;
}

/* Starts @ct->vmid. */
static int start(struct cts *c, const struct pve_until *until, struct ct *ct, struct err *err) {
        const struct pve_ct_args args = { .until = until };
        int r = pve_ct_do(c->args.pve, &(struct pve_ct){ c->args.node, ct->vmid }, PVE_CT_START, &args, NULL, err);

        if (r < 0 && pve_kind(err) == PVE_ALREADY_RUNNING)
                r = 0;
        if (r < 0)
                return r;
        r = ct_process_find(c->args.cgroups, ct, err);
        return r == -ERR_ABORTED ? explain_absence(c, ct->vmid, until, err) : r;
}

static int adopt_new(struct cts *c, const char *pod_id, const struct ct *ct, struct err *err) {
        return cts_adopt(c, pod_id, ct) ? 0 : err_set(err, ERR_ABORTED, "container %u has ended already", ct->vmid);
}

int cts_start(struct cts *c, const char *pod_id, const struct ct_until *until, struct ct *ct, struct err *err) {
        const struct pve_until pve_until = cts_until(c, until);
        int r = start(c, &pve_until, ct, err);

        if (r < 0)
                return (void) not_a_lookup(err), err_wrap(err, "container %u", ct->vmid);
        return adopt_new(c, pod_id, ct, err);
}

int cts_make(struct cts *c, const struct ct_pod *pod, const struct pve_until *until, struct ct *ret, struct err *err) {
        struct ct_card card = { 0 };
        int r = make(c, pod, until, &card, &ret->vmid, err);

        if (r == 0)
                r = cts_isolate(c, pod, ret->vmid, &card, until, err);
        if (r == 0)
                r = start(c, until, ret, err);
        return r < 0 && ret->vmid ? err_wrap(err, "container %u", ret->vmid) : r;
}

static int make_for(struct cts *c, const struct ct_pod *pod, const struct pve_until *until, struct ct *ret,
                    struct err *err) {
        int r;

        atomic_fetch_add(&c->making, 1);
        r = cts_make(c, pod, until, ret, err);
        atomic_fetch_sub(&c->making, 1);
        return r < 0 ? r : adopt_new(c, pod->id, ret, err);
}

int cts_create(struct cts *c, const struct ct_pod *pod, const struct ct_until *until, struct ct *ret, struct err *err) {
        const struct pve_until pve_until = cts_until(c, until);
        struct ct ct = { 0 };
        bool prepared = prepared_take(c, pod, &pve_until, &ct);
        int r = prepared ? 0 : make_for(c, pod, &pve_until, &ct, err);

        /* Also of one that failed: whoever takes it down need not look for it. */
        *ret = ct;
        if (r < 0)
                return not_a_lookup(err);
        log_info("Proxmox container runs", "sandbox", pod->id, "vmid", LOG_U64(ct.vmid), "prepared",
                 prepared ? "yes" : "no", NULL);
        return 0;
}

struct ct_pool cts_pool(const struct cts *c) {
        struct warm_counts n = warm_count(c->warm);

        return (struct ct_pool){ .size = (unsigned) n.size, .ready = (unsigned) n.ready };
}

/* --- its limits --------------------------------------------------------------------------------------------------- */

int cts_set_limits(struct cts *c, const char *pod_id, uint32_t vmid, const struct ct_limits *limits,
                   const struct ct_until *until, struct err *err) {
        const struct pve_until pve_until = cts_until(c, until);
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_ct_args args = { .params = &params, .until = &pve_until };
        const struct pve_ct ct = { c->args.node, vmid };
        _cleanup_(json_unrefp) json_t *config = NULL;
        struct claim claim;
        int r = pve_ct_config(c->args.pve, &ct, &pve_until, &config, err);

        if (r == 0 && !(claims(c, config, &claim) && str_eq(claim.pod_id, pod_id)))
                return err_set(err, ERR_PRECONDITION, "container %u is somebody else's now", vmid);
        if (r == 0) {
                /* So that it still is what was looked at. */
                pve_param(&params, "digest", pve_json_str(config, "digest"));
                cts_put_limits(c, limits, true, &params);
                r = pve_ct_set(c->args.pve, &ct, &args, true, err);
        }
        return r < 0 ? (void) not_a_lookup(err), err_wrap(err, "set the limits of container %u", vmid) : 0;
}

/* --- the end ----------------------------------------------------------------------------------------------------- */

struct search {
        const char *pod_id;
        uint32_t vmid; /* 0: any */
        char node[CLAIM_NODE_MAX];
        uint32_t found; /* 0: not */
};

static bool is_the_pods(const struct pve_ct *ct, const struct claim *claim, const json_t *config, void *userdata) {
        struct search *s = userdata;

        (void) config;
        if (!str_eq(claim->pod_id, s->pod_id) || (s->vmid && s->vmid != ct->vmid) ||
            strlen(ct->node) >= sizeof(s->node))
                return false;
        s->found = ct->vmid;
        memcpy(s->node, ct->node, strlen(ct->node) + 1);
        return true;
}

/* Where we left it; else wherever in the cluster somebody has moved it. */
static int find_ours(struct cts *c, const struct pve_until *until, struct search *search, struct err *err) {
        const struct pve_ct here = { c->args.node, search->vmid };
        struct claim claim;
        bool ours = false;
        int r = 0;

        if (search->vmid)
                r = cts_read_claim(c, &here, until, &claim, &ours, NULL, err);
        if (r < 0 || (ours && is_the_pods(&here, &claim, NULL, search)))
                return r;
        r = cts_each(c, until, is_the_pods, search, err);
        if (r == 0 && search->vmid && !search->found)
                log_info("a pod's Proxmox container is gone already, or somebody else's now", "sandbox", search->pod_id,
                         "vmid", LOG_U64(search->vmid), NULL);
        return r;
}

int cts_destroy(struct cts *c, const struct pve_ct *ct, const struct pve_until *until, bool *ret_missing,
                struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_ct_args args = { .params = &params, .storage = c->args.storage, .until = until };
        int r;

        pve_param(&params, "force", "1"); /* its apps have ended */
        pve_param(&params, "purge", "1");
        r = pve_ct_do(c->args.pve, ct, PVE_CT_DELETE, &args, NULL, err);
        *ret_missing = r < 0 && pve_kind(err) == PVE_MISSING;
        if (*ret_missing)
                r = 0;
        if (r == 0)
                vmids_give_back(c->vmids, ct->vmid);
        return r;
}

int cts_remove(struct cts *c, const char *pod_id, uint32_t vmid, const struct ct_until *until, struct err *err) {
        const struct pve_until pve_until = cts_until(c, until);
        struct search search = { .pod_id = pod_id, .vmid = vmid };
        bool missing = true;
        int r = 0;

        ends_forget(c->ends, pod_id);
        /* Again when it was moved while its lock was waited for. */
        for (unsigned i = 0; r == 0 && missing && i < CTS_MOVES_MAX; i++) {
                search.found = 0;
                r = find_ours(c, &pve_until, &search, err);
                missing = false;
                if (r == 0 && search.found)
                        r = cts_destroy(c, &(struct pve_ct){ search.node, search.found }, &pve_until, &missing, err);
        }
        if (r < 0) {
                (void) not_a_lookup(err);
                return err_wrap(err, "remove the Proxmox container of pod %s", pod_id);
        }
        networks_forget(c->networks, pod_id);
        if (search.found)
                log_info("Proxmox container removed", "sandbox", pod_id, "vmid", LOG_U64(search.found), NULL);
        return 0;
}

void cts_discard(struct cts *c, const char *pod_id, uint32_t vmid) {
        warm_discard(c->warm, vmid, pod_id);
}
