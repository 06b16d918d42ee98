/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox-run - RunPodSandbox: intent, namespaces, network, files, result; and back again when a step fails. */
#include <assert.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "pod/ct.h"
#include "pod/ct-network.h"
#include "pod/files.h"
#include "pod/operations.h"
#include "pod/record.h"
#include "pod/rules.h"
#include "pod/selinux.h"
#include "pod/specgen.h"

enum { WORK_ARENA_MAX = 32 << 20 };

/* --- the pod's first process -------------------------------------------------------------------------------------- */

int pause_ensure(struct sandbox *s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = NULL;
        struct engine *e = s->pods->engine;
        _cleanup_(freep) struct engine_created *created = NULL;
        struct spec spec;
        int r;

        if (s->in_ct || s->pause_pid > 0)
                return 0;
        arena = arena_new(WORK_ARENA_MAX);
        created = xnew(struct engine_created);
        r = specgen_pause(s, arena, &spec, err);
        if (r < 0)
                return r;
        r = e->ops->create(e, &spec, &(struct engine_stdio){ .log_path = NULL }, created, err);
        if (r < 0)
                return err_wrap(err, "make the pod's first process");
        s->pause_pid = created->pid;
        s->pause_start_time = created->start_time;
        r = sandbox_save(s, err);
        if (r == 0)
                r = e->ops->start(e, s->id, err);
        if (r < 0) {
                struct err ignored;
                s->pause_pid = 0;
                s->pause_start_time = 0;
                if (e->ops->remove(e, s->id, &ignored) < 0)
                        log_error("cannot remove a pod's first process", "sandbox", s->id, "error", ignored.msg, NULL);
                return err_wrap(err, "start the pod's first process");
        }
        return 0;
}

/* --- network ------------------------------------------------------------------------------------------------------ */

static void fill_cni_pod(struct sandbox *s, const struct pod_rules *rules, struct arena *arena, struct cni_pod *ret) {
        const CRI(PodSandboxMetadata) *m = s->config->metadata;
        const CRI(DNSConfig) *dns = s->config->dns_config;

        *ret = (struct cni_pod){
                .id = s->id,
                .name = m->name,
                .pod_namespace = m->namespace_,
                .uid = m->uid,
                .netns_path = pod_ns_file(s, "net", false, arena),
                .cgroup_path = s->cgroup_parent,
                .ports = rules->ports,
                .n_ports = rules->n_ports,
                .ingress_rate = rules->ingress_rate,
                .egress_rate = rules->egress_rate,
        };
        if (dns) {
                const char **lists[3] = { arena_array(arena, const char *, dns->n_servers + 1),
                                          arena_array(arena, const char *, dns->n_searches + 1),
                                          arena_array(arena, const char *, dns->n_options + 1) };
                for (size_t i = 0; i < dns->n_servers; i++)
                        lists[0][i] = dns->servers[i];
                for (size_t i = 0; i < dns->n_searches; i++)
                        lists[1][i] = dns->searches[i];
                for (size_t i = 0; i < dns->n_options; i++)
                        lists[2][i] = dns->options[i];
                ret->dns_servers = lists[0];
                ret->dns_searches = lists[1];
                ret->dns_options = lists[2];
        }
}

static void publish_ips(struct sandbox *s, const char *const *ips) {
        size_t n = 0;
        char **copy;

        while (ips[n])
                n++;
        copy = xcalloc(n + 1, sizeof(*copy));
        for (size_t i = 0; i < n; i++)
                copy[i] = xstrdup(ips[i]);
        pthread_rwlock_wrlock(&s->pods->lock);
        assert(!s->ips);
        s->ips = copy;
        pthread_rwlock_unlock(&s->pods->lock);
}

/* Proxmox has made it with the container. */
static int take_own_network(struct sandbox *s, const struct pods_ctx *ctx, struct arena *arena, struct err *err) {
        const CRI(PodSandboxMetadata) *m = s->config->metadata;
        const char *const *ips;
        int r = ct_network_wait(s, ctx, arena, &ips, err);

        if (r < 0)
                return err_wrap(err, "network of pod %s/%s", m->namespace_, m->name);
        publish_ips(s, ips);
        return 0;
}

static int attach_network(struct sandbox *s, const struct pods_ctx *ctx, const struct pod_rules *rules,
                          struct arena *arena, struct err *err) {
        struct cni_result result;
        struct cni_pod pod;
        int r;

        if (rules->host_network)
                return 0;
        if (s->in_ct && ct_network_is_on(s->pods))
                return take_own_network(s, ctx, arena, err);
        fill_cni_pod(s, rules, arena, &pod);
        r = cni_add(s->pods->cni, &pod, arena, &result, err);
        if (r < 0) {
                s->network_held = result.held;
                return err_wrap(err, "network of pod %s/%s", pod.pod_namespace, pod.name);
        }
        s->cni_cached = result.cached ? xstrdup(result.cached) : NULL;
        publish_ips(s, result.ips);
        return 0;
}

static int detach_network(struct sandbox *s, struct arena *arena, struct err *err) {
        struct pod_rules rules;
        struct cni_pod pod;
        int r;

        if (!s->network_held)
                return 0;
        /* Checked when the pod was made; the port mappings must be told to DEL as they were to ADD. */
        r = pod_rules_check(s->config, s->pods->cgroup_parent, arena, &rules, err);
        if (r < 0)
                return r;
        fill_cni_pod(s, &rules, arena, &pod);
        r = cni_del(s->pods->cni, &pod, s->cni_cached, err);
        if (r < 0)
                return err_wrap(err, "free the network of pod %s/%s", pod.pod_namespace, pod.name);
        s->network_held = false;
        free(s->cni_cached);
        s->cni_cached = NULL;
        return 0;
}

/* --- up and down -------------------------------------------------------------------------------------------------- */

static int make_namespaces(struct sandbox *s, const struct pods_ctx *ctx, const struct pod_rules *rules,
                           struct arena *arena, struct err *err) {
        struct netns_args args = {
                .dir = pod_ns_dir(s, arena),
                .net = !rules->host_network,
                .uts = !rules->host_network,
                .ipc = !rules->host_ipc,
                .user = sandbox_user_ids(s),
                .hostname = pod_hostname(s->config, rules->host_network, arena),
                .sysctls = rules->sysctls,
        };

        if (s->in_ct)
                return ct_bring_up(s, ctx, rules, &args, err);
        return args.net || args.uts || args.ipc ? netns_create(&args, err) : 0;
}

static int bring_up(struct sandbox *s, const struct pods_ctx *ctx, const struct pod_rules *rules, struct arena *arena,
                    struct err *err) {
        int r = 0;

        if (!str_empty(s->config->log_directory))
                r = fs_mkdir_p(s->config->log_directory, 0755, err);
        if (r == 0)
                r = make_namespaces(s, ctx, rules, arena, err);
        if (r == 0)
                r = attach_network(s, ctx, rules, arena, err);
        return r < 0 ? r : pod_files_create(s, rules, s->ips, err);
}

static int free_network(struct sandbox *s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(WORK_ARENA_MAX);
        int r = detach_network(s, arena, err);

        return r < 0 ? r : netns_remove(pod_ns_dir(s, arena), err);
}

static int free_files(struct sandbox *s, struct err *err) {
        int r = pod_files_remove(s->pods, s->id, err);
        char **ips;

        if (r < 0)
                return r;
        pthread_rwlock_wrlock(&s->pods->lock);
        ips = TAKE_PTR(s->ips);
        pthread_rwlock_unlock(&s->pods->lock);
        for (size_t i = 0; ips && ips[i]; i++)
                free(ips[i]);
        free(ips);
        return 0;
}

int sandbox_leave_ct(struct sandbox *s, struct err *err) {
        int r = free_network(s, err);

        return r < 0 ? r : free_files(s, err);
}

int sandbox_return_to_ct(struct sandbox *s, const struct pods_ctx *ctx, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(WORK_ARENA_MAX);
        struct pod_rules rules;
        int r = pod_rules_check(s->config, s->pods->cgroup_parent, arena, &rules, err);

        if (r < 0)
                return r;
        s->network_held = !ct_network_is_on(s->pods);
        r = sandbox_save(s, err);
        return r < 0 ? r : bring_up(s, ctx, &rules, arena, err);
}

int sandbox_take_down(struct sandbox *s, struct err *err) {
        struct engine *e = s->pods->engine;
        int r = 0;

        /* Its end is waited for: removing while the keeper still writes its exit record would trip over that. */
        if (s->pause_pid > 0)
                r = e->ops->kill(e, s->id, err);
        if (r < 0 && r != -ERR_NOT_FOUND)
                return r;
        /* Asked even if no pause process is recorded: a crash may have come between its making and the record. */
        r = e->ops->remove(e, s->id, err);
        if (r < 0)
                return r;
        s->pause_pid = 0;
        s->pause_start_time = 0;
        r = free_network(s, err);
        if (r == 0 && s->in_ct)
                r = ct_take_down(s, err);
        return r < 0 ? r : free_files(s, err);
}

/* --- the operation ------------------------------------------------------------------------------------------------ */

/* What failed to come up leaves nothing; if even that fails it is tried again, and its record stays as CREATING for the
 * next start. */
static void give_up(struct sandbox *s) {
        struct err e;

        s->removed = true;
        if (sandbox_undo(s, &e) < 0) {
                log_warn("a pod that failed holds something; it is tried again", "sandbox", s->id, "error", e.msg,
                         NULL);
                sandbox_undo_later(s);
        }
        registry_drop_sandbox(s->pods, s);
}

static int run(struct sandbox *s, const struct pods_ctx *ctx, const struct pod_rules *rules, struct arena *arena,
               struct err *err) {
        int r = sandbox_choose_label(s, err);

        if (r == 0)
                r = sandbox_save(s, err);
        if (r < 0) {
                registry_drop_sandbox(s->pods, s);
                s->removed = true;
                return r;
        }
        r = bring_up(s, ctx, rules, arena, err);
        if (r == 0) {
                sandbox_set_phase(s, SANDBOX_READY);
                r = sandbox_save(s, err);
        }
        if (r < 0) {
                give_up(s);
                return r;
        }
        sandbox_show(s);
        return 0;
}

int pods_run_sandbox(struct pods *p, const struct pods_ctx *ctx, const CRI(RunPodSandboxRequest) * req,
                     struct arena *arena, const char **ret_id, struct err *err) {
        _cleanup_(arena_freep) struct arena *work = arena_new(WORK_ARENA_MAX);
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        _cleanup_sandbox_lock_ struct sandbox *locked = NULL;
        CRI(PodSandboxConfig) * config;
        const struct pod_handler *handler;
        struct pod_rules rules;
        char id[ID_LEN + 1];
        int r;

        r = pod_rules_check(req->config, p->cgroup_parent, work, &rules, err);
        if (r < 0)
                return r;
        r = handlers_find(p, str_empty(req->runtime_handler) ? handlers_choose(p, req->config) : req->runtime_handler,
                          &handler, err);
        if (r == 0 && str_eq(handler->engine, HANDLER_ENGINE_PROXMOX))
                r = ct_rules_check(p, req->config, &rules, err);
        if (r < 0)
                return r;
        config = cri_dup(PodSandboxConfig, req->config);
        if (!config)
                return err_set(err, ERR_EXHAUSTED, "the pod's configuration cannot be copied");
        id_new(id);
        s = sandbox_new(p, id, config, req->runtime_handler);
        sandbox_take_handler(s, handler);
        free(s->cgroup_parent);
        s->cgroup_parent = xstrdup(s->in_ct ? "" : rules.cgroup_parent);
        s->ct_isolated = s->in_ct && ct_network_isolates(p);
        s->network_held = !rules.host_network && !(s->in_ct && ct_network_is_on(p));
        pthread_mutex_lock(&s->lock); /* nobody else knows it yet */
        locked = s;
        r = registry_add_sandbox(p, s, err);
        if (r < 0)
                return r;
        r = run(s, ctx, &rules, work, err);
        if (r < 0)
                return r;
        *ret_id = arena_strdup(arena, id);
        log_info("pod sandbox runs", "sandbox", id, "pod", config->metadata->name, "namespace",
                 config->metadata->namespace_, "handler", handler->name, NULL);
        return 0;
}
