/* SPDX-License-Identifier: Apache-2.0 */
/* ct - see ct.h. */
#include "pod/ct.h"

#include <fcntl.h>
#include <string.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "pod/ct-network.h"
#include "pod/handlers.h"
#include "pod/operations.h"
#include "pod/own-layer.h"
#include "runtime/proxmox/check.h"
#include "security/apparmor.h"

enum { ARENA_MAX = 64 << 10, LABEL_MAX = 4096, SWEEP_ARENA_MAX = 64 << 20, SWEEP_PAUSE_MS = 10000 };

/* --- what it can't do --------------------------------------------------------------------------------------------- */

static const char *other_handler(const struct pods *p) {
        for (size_t i = 0; i < p->n_handlers; i++)
                if (str_eq(p->handlers[i].engine, HANDLER_ENGINE_LXC))
                        return p->handlers[i].name;
        return HANDLER_DEFAULT;
}

static const char own_namespaces[] = "the container has namespaces of its own";

static int refuse(const struct pods *p, const char *what, const char *why, struct err *err) {
        return err_set(err, ERR_UNIMPLEMENTED, "a pod in a Proxmox container can't %s: %s; runtime handler \"%s\" can",
                       what, why, other_handler(p));
}

int ct_rules_check(const struct pods *p, const CRI(PodSandboxConfig) * config, const struct pod_rules *rules,
                   struct err *err) {
        static const char unprivileged[] = "the container is unprivileged, which is all that an API token may make";
        uint64_t ignored;
        int r;

        if (!p->cts)
                return err_set(err, ERR_PRECONDITION,
                               "there is no connection to Proxmox VE: the configuration has no key proxmox");
        if (rules->privileged)
                return refuse(p, "be privileged", unprivileged, err);
        if (rules->host_network)
                return refuse(p, "use the host's network", own_namespaces, err);
        if (rules->host_ipc)
                return refuse(p, "use the host's IPC", own_namespaces, err);
        if (rules->host_pid)
                return refuse(p, "use the host's PID namespace", own_namespaces, err);
        if (rules->own_user)
                return refuse(p, "have ids of the kubelet's choice (hostUsers: false)",
                              "Proxmox has given it a user namespace with ids of its own already", err);
        r = own_layer_size(p, config, &ignored, err);
        return r < 0 ? r : ct_network_check(p, config, rules, err);
}

int ct_container_rules_check(const struct sandbox *s, const CRI(ContainerConfig) * config, struct err *err) {
        const CRI(LinuxContainerConfig) *l = config->linux;
        const CRI(NamespaceOption) *o = l && l->security_context ? l->security_context->namespace_options : NULL;

        if (o && o->pid == CRI_(NAMESPACE_MODE__NODE))
                return refuse(s->pods, "use the host's PID namespace", own_namespaces, err);
        if (config->n_devices > 0 || config->n_cdi_devices > 0)
                return refuse(s->pods, "use the host's devices",
                              "only root@pam, no API token, may pass them through to a container", err);
        return 0;
}

/* --- up and down -------------------------------------------------------------------------------------------------- */

/* All containers together, and what the pod itself needs: kubelet's sums, as they are now. */
static struct ct_limits limits_of(const struct sandbox *s) {
        const CRI(LinuxPodSandboxConfig) *l = s->config->linux;
        const CRI(LinuxContainerResources) *resources = s->resources ? s->resources : l ? l->resources : NULL;
        const CRI(LinuxContainerResources) *overhead = s->overhead ? s->overhead : l ? l->overhead : NULL;
        bool has_memory = resources && resources->memory_limit_in_bytes > 0;
        bool has_quota = resources && resources->cpu_quota > 0 && resources->cpu_period > 0;
        const CRI(LinuxContainerResources) * parts[] = { resources, overhead };
        struct ct_limits ret = { 0 };

        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                const CRI(LinuxContainerResources) *r = parts[i];

                if (!r)
                        continue;
                if (has_memory && r->memory_limit_in_bytes > 0)
                        ret.memory_bytes += r->memory_limit_in_bytes;
                if (has_memory && r->memory_swap_limit_in_bytes > r->memory_limit_in_bytes)
                        ret.swap_bytes += r->memory_swap_limit_in_bytes - r->memory_limit_in_bytes;
                if (has_quota && r->cpu_quota > 0 && r->cpu_period > 0)
                        ret.cpus += (double) r->cpu_quota / (double) r->cpu_period;
                if (r->cpu_shares > 0)
                        ret.cpu_shares += (uint64_t) r->cpu_shares;
        }
        return ret;
}

static struct ct_until until_of(const struct pods_ctx *ctx) {
        return (struct ct_until){ .cancel_fd = ctx->cancel_fd, .deadline_ns = ctx->deadline_ns };
}

static int make(struct sandbox *s, const struct pods_ctx *ctx, const struct pod_rules *rules,
                const struct netns_args *namespaces, struct err *err) {
        const CRI(PodSandboxMetadata) *m = s->config->metadata;
        const struct ct_until until = until_of(ctx);
        struct ct_pod pod = { .id = s->id,
                              .name = m->name,
                              .pod_namespace = m->namespace_,
                              .uid = m->uid,
                              .hostname = namespaces->hostname,
                              .limits = limits_of(s),
                              .network = ct_network_wish(s->config, rules) };
        int r = own_layer_size(s->pods, s->config, &pod.disk_bytes, err);

        if (r < 0)
                return r;
        s->layers_in_ct = cts_have_layers(s->pods->cts, NULL);
        r = cts_create(s->pods->cts, &pod, &until, &s->ct, err);
        return r < 0 ? err_wrap(err, "make a Proxmox container for pod %s/%s", m->namespace_, m->name) : 0;
}

int ct_bring_up(struct sandbox *s, const struct pods_ctx *ctx, const struct pod_rules *rules,
                const struct netns_args *namespaces, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        const struct ct_until until = until_of(ctx);
        int r = s->ct.vmid ? cts_start(s->pods->cts, s->id, &until, &s->ct, err) : make(s, ctx, rules, namespaces, err);

        if (r < 0)
                return r;
        free(s->cgroup_parent);
        s->cgroup_parent = xstrdup(ct_cgroup_path(s->ct.vmid, arena));
        return netns_adopt(namespaces, s->ct.pid, s->ct.start_time, err);
}

int ct_update_limits(struct sandbox *s, const struct pods_ctx *ctx, struct err *err) {
        const struct ct_limits limits = limits_of(s);
        const struct ct_until until = until_of(ctx);

        return cts_set_limits(s->pods->cts, s->id, s->ct.vmid, &limits, &until, err);
}

int ct_take_down(struct sandbox *s, struct err *err) {
        static const struct ct_until for_ever = { .cancel_fd = -1, .deadline_ns = UINT64_MAX };
        int r;

        if (!s->pods->cts)
                return err_set(err, ERR_PRECONDITION,
                               "remove the pod's Proxmox container: the configuration has no key proxmox any more");
        if (s->ct_isolated) {
                r = cts_leave_namespace(s->pods->cts, s->id, s->config->metadata->namespace_, &for_ever, err);
                if (r < 0)
                        return r;
        }
        r = cts_remove(s->pods->cts, s->id, s->ct.vmid, &for_ever, err);
        if (r == 0)
                s->ct = (struct ct){ 0 };
        return r;
}

/* --- what no pod knows of ----------------------------------------------------------------------------------------- */

/* Under the pod's lock: is that its CT? Not one that it was to have before it got another. */
static bool has(struct sandbox *s, uint32_t vmid) {
        enum sandbox_phase phase = sandbox_get_phase(s);

        if (s->removed || phase == SANDBOX_CREATING)
                return true; /* whoever makes or undoes it sees to all that it has */
        return s->ct.vmid ? s->ct.vmid == vmid : phase != SANDBOX_STOPPED && phase != SANDBOX_REMOVING;
}

static struct sandbox *find_owner(struct pods *p, const char *id) {
        struct sandbox *s;

        pthread_rwlock_rdlock(&p->lock);
        s = map_get(p->sandboxes, id);
        if (s)
                s = sandbox_ref(s);
        pthread_rwlock_unlock(&p->lock);
        return s;
}

/* A pod is in the registry before it has a CT, and until it has none. */
static int settle(struct pods *p, const struct ct_owner *o, const struct ct_until *until, struct err *err) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = find_owner(p, o->pod_id);
        bool its;

        if (!s)
                return cts_remove(p->cts, o->pod_id, o->vmid, until, err);
        pthread_mutex_lock(&s->lock);
        its = has(s, o->vmid);
        pthread_mutex_unlock(&s->lock);
        if (!its)
                cts_discard(p->cts, o->pod_id, o->vmid);
        return 0;
}

static bool is_known(const char *pod_id, void *userdata) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = find_owner(userdata, pod_id);

        return s != NULL;
}

static int sweep(struct pods *p, struct err *err) {
        static const struct ct_until for_ever = { .cancel_fd = -1, .deadline_ns = UINT64_MAX };
        _cleanup_(arena_freep) struct arena *arena = arena_new(SWEEP_ARENA_MAX);
        struct ct_owner *list;
        size_t n;
        int r = cts_list(p->cts, &for_ever, arena, &list, &n, err);

        for (size_t i = 0; r == 0 && i < n; i++)
                r = settle(p, &list[i], &for_ever, err);
        return r < 0 ? r : cts_sweep_namespaces(p->cts, is_known, p, &for_ever, err);
}

static void sweep_until_done(void *arg) {
        struct pods *p = arg;
        struct err err;

        if (sweep(p, &err) == 0)
                return;
        log_warn("cannot look for Proxmox containers that no pod has; it is tried again", "error", err.msg, NULL);
        if (undo_rest(p, SWEEP_PAUSE_MS))
                (void) registry_undo(p, sweep_until_done, p);
}

void ct_sweep(struct pods *p) {
        ct_network_note(p);
        if (p->cts)
                (void) registry_undo(p, sweep_until_done, p);
}

bool ct_lives(struct sandbox *s) {
        return s->pods->cts && s->ct.vmid && cts_adopt(s->pods->cts, s->id, &s->ct);
}

/* --- AppArmor ----------------------------------------------------------------------------------------------------- */

/* The CT's own: Proxmox generates a profile for each, inside of which it has a namespace for what it stacks. A profile
 * of another name would keep the CT's first process from sending signals to the app. */
int ct_apparmor_profile(const struct sandbox *s, struct arena *arena, const char **ret, struct err *err) {
        _cleanup_(freep) char *label = NULL;
        char path[64];
        int r;

        *ret = NULL;
        if (!apparmor_enabled())
                return 0;
        (void) snprintf(path, sizeof(path), "/proc/%d/attr/current", (int) s->ct.pid);
        r = fs_read_file(AT_FDCWD, path, LABEL_MAX, &label, NULL, err);
        if (r < 0)
                return err_wrap(err, "read the AppArmor label of the pod's Proxmox container");
        label[strcspn(label, "\n")] = '\0';
        if (str_ends_with(label, ")") && strrchr(label, ' ')) /* "name (enforce)" */
                *strrchr(label, ' ') = '\0';
        if (!str_eq(label, "unconfined"))
                *ret = arena_strdup(arena, label);
        return 0;
}

bool pods_check_proxmox(struct pods *p, const struct pods_ctx *ctx, const struct check_sink *to) {
        const struct ct_until until = { ctx->cancel_fd, ctx->deadline_ns };

        if (p->cts)
                cts_check(p->cts, &until, to);
        return p->cts;
}
