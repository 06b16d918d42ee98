/* SPDX-License-Identifier: Apache-2.0 */
/* status - PodSandboxStatus and ContainerStatus: built on the stack from what is in memory, packed into the answer
 * while the registry is locked for reading. */
#include <jansson.h>
#include "pod/lists.h"
#include "pod/signals.h"

enum { MAX_IPS = 64, MAX_MOUNTS = 4096, TAG_STATUS = 1, TAG_CONTAINERS_STATUSES = 3 };

/* One entry "info": a JSON object, as the other runtimes have it. Takes @json. */
static int add_info(CRI(PodSandboxStatusResponse__InfoEntry) * **ret, size_t *ret_n, json_t *json, struct arena *arena,
                    struct err *err) {
        char *text = json_dumps(json, JSON_COMPACT);
        CRI(PodSandboxStatusResponse__InfoEntry) * entry;

        json_decref(json);
        if (!text)
                return err_set(err, ERR_INTERNAL, "cannot write JSON");
        entry = cri_make(arena, PodSandboxStatusResponse__InfoEntry, pod_sandbox_status_response__info_entry);
        entry->key = arena_strdup(arena, "info");
        entry->value = arena_strdup(arena, text);
        free(text);
        *ret = arena_array(arena, CRI(PodSandboxStatusResponse__InfoEntry) *, 1);
        (*ret)[0] = entry;
        *ret_n = 1;
        return 0;
}

/* --- sandbox ------------------------------------------------------------------------------------------------------ */

/* The numbers that are set. */
static json_t *resources_json(const CRI(LinuxContainerResources) * r) {
        json_t *o = json_object();
        const struct {
                const char *name;
                int64_t value;
        } numbers[] = {
                { "cpuPeriod", r->cpu_period },
                { "cpuQuota", r->cpu_quota },
                { "cpuShares", r->cpu_shares },
                { "memoryLimitInBytes", r->memory_limit_in_bytes },
                { "memorySwapLimitInBytes", r->memory_swap_limit_in_bytes },
        };

        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                if (numbers[i].value != 0)
                        (void) json_object_set_new(o, numbers[i].name, json_integer(numbers[i].value));
        if (!str_empty(r->cpuset_cpus))
                (void) json_object_set_new(o, "cpusetCpus", json_string(r->cpuset_cpus));
        if (!str_empty(r->cpuset_mems))
                (void) json_object_set_new(o, "cpusetMems", json_string(r->cpuset_mems));
        return o;
}

static void add_pod_resources(json_t *o, const struct sandbox *s) {
        const CRI(LinuxPodSandboxConfig) *l = s->config->linux;
        const CRI(LinuxContainerResources) *overhead = s->overhead ? s->overhead : l ? l->overhead : NULL;
        const CRI(LinuxContainerResources) *resources = s->resources ? s->resources : l ? l->resources : NULL;

        if (overhead)
                (void) json_object_set_new(o, "overhead", resources_json(overhead));
        if (resources)
                (void) json_object_set_new(o, "resources", resources_json(resources));
}

static json_t *sandbox_info(const struct sandbox *s) {
        json_t *o = json_object(), *ns = json_object();
        const struct pods *p = s->pods;
        static const char *const names[] = { "net", "ipc", "uts", "user" };
        char path[4096];

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                (void) snprintf(path, sizeof(path), "%s/ns/%s/%s", p->state, s->id, names[i]);
                (void) json_object_set_new(ns, names[i], json_string(access(path, F_OK) == 0 ? path : ""));
        }
        (void) json_object_set_new(o, "pid", json_integer(s->in_ct ? s->ct.pid : s->pause_pid));
        (void) json_object_set_new(o, "cgroupParent", json_string(s->cgroup_parent));
        (void) json_object_set_new(o, "runtimeHandler",
                                   json_string(s->chosen_handler ? s->chosen_handler : s->handler));
        (void) json_object_set_new(o, "seccompProfile", json_string(s->seccomp_profile ? s->seccomp_profile : ""));
        (void) json_object_set_new(o, "privilegedWithoutHostDevices", json_boolean(s->without_host_devices));
        (void) json_object_set_new(o, "namespaces", ns);
        add_pod_resources(o, s);
        (void) snprintf(path, sizeof(path), "%s/pods/%s", p->state, s->id);
        (void) json_object_set_new(o, "files", json_string(path));
        return o;
}

int status_pack_sandbox(const struct sandbox *s, unsigned tag, struct arena *arena, ProtobufCMessageUnknownField *ret,
                        struct err *err) {
        CRI(PodSandboxStatus) m = CRI_(POD_SANDBOX_STATUS__INIT);
        CRI(PodSandboxNetworkStatus) network = CRI_(POD_SANDBOX_NETWORK_STATUS__INIT);
        CRI(PodIP) ips[MAX_IPS], *more[MAX_IPS];
        CRI(LinuxPodSandboxStatus) l = CRI_(LINUX_POD_SANDBOX_STATUS__INIT);
        CRI(Namespace) namespaces = CRI_(NAMESPACE__INIT);

        m.id = (char *) s->id;
        m.metadata = s->config->metadata;
        m.state = s->phase == SANDBOX_READY ? CRI_(POD_SANDBOX_STATE__SANDBOX_READY)
                                            : CRI_(POD_SANDBOX_STATE__SANDBOX_NOTREADY);
        m.created_at = (int64_t) s->created_at_ns;
        m.n_labels = s->config->n_labels;
        m.labels = (CRI(PodSandboxStatus__LabelsEntry) **) s->config->labels;
        m.n_annotations = s->config->n_annotations;
        m.annotations = (CRI(PodSandboxStatus__AnnotationsEntry) **) s->config->annotations;
        m.runtime_handler = s->handler;
        m.network = &network;
        if (s->phase == SANDBOX_READY && s->ips && s->ips[0]) {
                network.ip = s->ips[0];
                network.additional_ips = more;
                for (size_t i = 0; i < MAX_IPS && s->ips[i + 1]; i++) {
                        runtime__v1__pod_ip__init(&ips[i]);
                        ips[i].ip = s->ips[i + 1];
                        more[network.n_additional_ips++] = &ips[i];
                }
        }
        if (s->config->linux && s->config->linux->security_context) {
                m.linux = &l;
                l.namespaces = &namespaces;
                namespaces.options = s->config->linux->security_context->namespace_options;
        }
        return lists_pack_field(ret, tag, &m.base, arena, err);
}

int status_pack_all(const struct sandbox *s, unsigned tag, unsigned containers_tag, ProtobufCMessage *to,
                    struct arena *arena, struct err *err) {
        ProtobufCMessageUnknownField *fields = arena_alloc(arena, (s->n_containers + 1) * sizeof(*fields));
        unsigned n = 0;
        int r;

        if (!fields)
                return err_set(err, ERR_EXHAUSTED, "the status of pod sandbox %s would be too large", s->id);
        r = status_pack_sandbox(s, tag, arena, &fields[n++], err);
        for (size_t i = 0; i < s->n_containers && r == 0; i++)
                if (s->containers[i]->visible)
                        r = status_pack_container(s->containers[i], containers_tag, arena, &fields[n++], err);
        to->n_unknown_fields = n;
        to->unknown_fields = fields;
        return r;
}

int pods_sandbox_status(struct pods *p, const char *id, bool verbose, struct arena *arena,
                        CRI(PodSandboxStatusResponse) * *ret, struct err *err) {
        CRI(PodSandboxStatusResponse) *resp = cri_make(arena, PodSandboxStatusResponse, pod_sandbox_status_response);
        json_t *info = NULL;
        struct sandbox *s;
        int r;

        pthread_rwlock_rdlock(&p->lock);
        s = registry_get_sandbox(p, id);
        r = s ? status_pack_all(s, TAG_STATUS, TAG_CONTAINERS_STATUSES, &resp->base, arena, err)
              : err_set(err, ERR_NOT_FOUND, "no pod sandbox \"%.128s\"", id);
        if (r == 0 && verbose)
                info = sandbox_info(s);
        resp->timestamp = (int64_t) clock_realtime_ns(); /* while nothing of it can change */
        pthread_rwlock_unlock(&p->lock);
        if (r == 0 && info)
                r = add_info(&resp->info, &resp->n_info, info, arena, err);
        if (r < 0)
                return r;
        *ret = resp;
        return 0;
}

/* --- container ---------------------------------------------------------------------------------------------------- */

static json_t *container_info(const struct container *c) {
        json_t *o = json_object(), *env = json_array();

        for (size_t i = 0; c->from_image.env[i]; i++)
                (void) json_array_append_new(env, json_string(c->from_image.env[i]));
        (void) json_object_set_new(o, "sandboxID", json_string(c->sandbox->id));
        (void) json_object_set_new(
                o, "pid", json_integer(c->phase == CONTAINER_RUNNING || c->phase == CONTAINER_CREATED ? c->pid : 0));
        (void) json_object_set_new(o, "runtimeType", json_string(c->pods->engine->ops->name));
        (void) json_object_set_new(o, "cgroupPath", json_string(c->cgroup_path));
        (void) json_object_set_new(o, "snapshotKey", json_string(c->id));
        (void) json_object_set_new(o, "imageEnv", env);
        (void) json_object_set_new(o, "workingDir", json_string(c->from_image.cwd));
        return o;
}

static CRI(ContainerState) state_of(const struct container *c) {
        return c->phase == CONTAINER_RUNNING ? CRI_(CONTAINER_STATE__CONTAINER_RUNNING)
               : c->phase == CONTAINER_EXITED || c->phase == CONTAINER_REMOVING
                       ? CRI_(CONTAINER_STATE__CONTAINER_EXITED)
                       : CRI_(CONTAINER_STATE__CONTAINER_CREATED);
}

static void fill_user(const struct container *c, CRI(LinuxContainerUser) * u, struct arena *arena) {
        u->uid = c->uid;
        u->gid = c->gid;
        u->supplemental_groups = arena_array(arena, int64_t, c->n_groups + 1);
        for (size_t i = 0; i < c->n_groups; i++)
                u->supplemental_groups[u->n_supplemental_groups++] = c->groups[i];
}

int status_pack_container(const struct container *c, unsigned tag, struct arena *arena,
                          ProtobufCMessageUnknownField *ret, struct err *err) {
        CRI(ContainerStatus) m = CRI_(CONTAINER_STATUS__INIT);
        CRI(ImageSpec) image = *c->config->image;
        CRI(ContainerResources) resources = CRI_(CONTAINER_RESOURCES__INIT);
        CRI(ContainerUser) user = CRI_(CONTAINER_USER__INIT);
        CRI(LinuxContainerUser) linux_user = CRI_(LINUX_CONTAINER_USER__INIT);

        m.id = (char *) c->id;
        m.metadata = c->config->metadata;
        m.state = state_of(c);
        m.created_at = (int64_t) c->created_at_ns;
        if (c->phase != CONTAINER_STARTING)
                m.started_at = (int64_t) c->started_at_ns;
        m.finished_at = (int64_t) c->finished_at_ns;
        m.exit_code = c->exit_code;
        image.image = c->from_image.name;
        m.image = &image;
        m.image_ref = c->from_image.digest;
        m.image_id = c->from_image.id;
        m.reason = (char *) c->reason;
        m.message = c->message ? c->message : (char *) "";
        m.n_labels = c->config->n_labels;
        m.labels = (CRI(ContainerStatus__LabelsEntry) **) c->config->labels;
        m.n_annotations = c->config->n_annotations;
        m.annotations = (CRI(ContainerStatus__AnnotationsEntry) **) c->config->annotations;
        m.n_mounts = c->config->n_mounts;
        m.mounts = c->config->mounts;
        m.log_path = c->log_path;
        m.stop_signal = signal_to_cri(c->from_image.stop_signal);
        if (c->limits) {
                resources.linux = c->limits;
                m.resources = &resources;
        }
        fill_user(c, &linux_user, arena);
        user.linux = &linux_user;
        m.user = &user;
        return lists_pack_field(ret, tag, &m.base, arena, err);
}

int pods_container_status(struct pods *p, const char *id, bool verbose, struct arena *arena,
                          CRI(ContainerStatusResponse) * *ret, struct err *err) {
        CRI(ContainerStatusResponse) *resp = cri_make(arena, ContainerStatusResponse, container_status_response);
        ProtobufCMessageUnknownField *status = arena_new_of(arena, ProtobufCMessageUnknownField);
        json_t *info = NULL;
        struct container *c;
        int r;

        pthread_rwlock_rdlock(&p->lock);
        c = registry_get_container(p, id);
        r = c ? status_pack_container(c, 1, arena, status, err)
              : err_set(err, ERR_NOT_FOUND, "no container \"%.128s\"", id);
        if (r == 0 && verbose)
                info = container_info(c);
        pthread_rwlock_unlock(&p->lock);
        if (r == 0 && info)
                r = add_info((CRI(PodSandboxStatusResponse__InfoEntry) ***) &resp->info, &resp->n_info, info, arena,
                             err);
        if (r < 0)
                return r;
        resp->base.n_unknown_fields = 1;
        resp->base.unknown_fields = status;
        *ret = resp;
        return 0;
}
