/* SPDX-License-Identifier: Apache-2.0 */
/* status - Version, Status and RuntimeConfig: what the runtime is and whether it works. UpdateRuntimeConfig: what the
 * kubelet tells it. */
#include "cri/service.h"

enum { MAX_INFO = 4 };

CRI_HANDLER(Version) {
        const struct cri *c = userdata;
        CRI(VersionResponse) *resp = cri_make(grpc_call_arena(call), VersionResponse, version_response);

        resp->version = (char *) "0.1.0"; /* kubelet refuses any other */
        resp->runtime_name = (char *) "proxmox-lxcri";
        resp->runtime_version = (char *) c->args.version;
        resp->runtime_api_version = (char *) "v1";
        *ret = &resp->base;
        return 0;
}

CRI_HANDLER(RuntimeConfig) {
        CRI(RuntimeConfigResponse) *resp =
                cri_make(grpc_call_arena(call), RuntimeConfigResponse, runtime_config_response);

        resp->linux = cri_make(grpc_call_arena(call), LinuxRuntimeConfiguration, linux_runtime_configuration);
        resp->linux->cgroup_driver = CRI_(CGROUP_DRIVER__CGROUPFS);
        *ret = &resp->base;
        return 0;
}

CRI_HANDLER(UpdateRuntimeConfig) {
        const CRI(UpdateRuntimeConfigRequest) *req = (const CRI(UpdateRuntimeConfigRequest) *) request;
        const struct cri *c = userdata;
        const CRI(NetworkConfig) *network = req->runtime_config ? req->runtime_config->network_config : NULL;

        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(update_runtime_config_response));
        return cni_set_pod_cidr(c->args.cni, network ? network->pod_cidr : NULL, err);
}

static CRI(RuntimeCondition) * condition(struct arena *a, const char *type, const char *reason, const char *message) {
        CRI(RuntimeCondition) *m = cri_make(a, RuntimeCondition, runtime_condition);

        m->type = (char *) type;
        m->status = !reason;
        m->reason = (char *) (reason ? reason : "");
        m->message = arena_strdup(a, message ? message : "");
        return m;
}

static CRI(RuntimeHandler) *
        handler(const struct cri *c, struct arena *a, const char *name, const struct pod_handler *h) {
        CRI(RuntimeHandler) *m = cri_make(a, RuntimeHandler, runtime_handler);

        m->name = (char *) name;
        m->features = cri_make(a, RuntimeHandlerFeatures, runtime_handler_features);
        m->features->recursive_read_only_mounts = pods_can_recursive_readonly();
        m->features->user_namespaces = pods_can_user_namespaces(c->args.pods, h);
        return m;
}

/* The default has the empty name, too. */
static void fill_handlers(const struct cri *c, CRI(StatusResponse) * resp, struct arena *a) {
        const struct pod_handler *list;
        size_t n = pods_handlers(c->args.pods, &list);

        resp->runtime_handlers = arena_array(a, CRI(RuntimeHandler) *, n + 1);
        resp->runtime_handlers[resp->n_runtime_handlers++] = handler(c, a, "", pods_default_handler(c->args.pods));
        for (size_t i = 0; i < n; i++)
                resp->runtime_handlers[resp->n_runtime_handlers++] = handler(c, a, list[i].name, &list[i]);
}

static void add_info(CRI(StatusResponse) * resp, struct arena *a, const char *key, const char *value) {
        CRI(StatusResponse__InfoEntry) *e = cri_make(a, StatusResponse__InfoEntry, status_response__info_entry);

        e->key = (char *) key;
        e->value = arena_strdup(a, value);
        resp->info[resp->n_info++] = e;
}

static int fill_info(const struct cri *c, CRI(StatusResponse) * resp, struct arena *a, struct err *err) {
        const char *network;
        int r = cni_describe(c->args.cni, a, &network, err);

        resp->info = arena_array(a, CRI(StatusResponse__InfoEntry) *, MAX_INFO);
        add_info(resp, a, "config", c->args.config_json ? c->args.config_json : "{}");
        add_info(resp, a, "keeper_pid",
                 arena_printf(a, "%d", c->args.keeper_pid ? c->args.keeper_pid(c->args.userdata) : 0));
        add_info(resp, a, "lxc_path", c->args.lxc_path ? c->args.lxc_path : "");
        /* No network configured is a condition, not a failure of Status. */
        if (r == 0)
                add_info(resp, a, "cniconfig", network);
        return 0;
}

CRI_HANDLER(Status) {
        const CRI(StatusRequest) *req = (const CRI(StatusRequest) *) request;
        const struct cri *c = userdata;
        struct arena *a = grpc_call_arena(call);
        CRI(StatusResponse) *resp = cri_make(a, StatusResponse, status_response);
        bool keeper_lost = c->args.keeper_pid && c->args.keeper_pid(c->args.userdata) <= 0;
        struct err network = { 0 };
        bool network_ok = !pods_need_cni(c->args.pods) || cni_status(c->args.cni, &network) == 0;

        resp->status = cri_make(a, RuntimeStatus, runtime_status);
        resp->status->conditions = arena_array(a, CRI(RuntimeCondition) *, 2);
        resp->status->n_conditions = 2;
        resp->status->conditions[0] =
                condition(a, "RuntimeReady", keeper_lost ? "KeeperNotRunning" : NULL,
                          keeper_lost ? "the keeper, which starts containers, does not run" : NULL);
        resp->status->conditions[1] = condition(a, "NetworkReady", network_ok ? NULL : "NetworkPluginNotReady",
                                                network_ok ? NULL : network.msg);
        fill_handlers(c, resp, a);
        resp->features = cri_make(a, RuntimeFeatures, runtime_features);
        resp->features->supplemental_groups_policy = true;
        *ret = &resp->base;
        return req->verbose ? fill_info(c, resp, a, err) : 0;
}
