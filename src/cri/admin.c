/* SPDX-License-Identifier: Apache-2.0 */
#include "cri/admin.h"

#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "proto/admin.pb-c.h"

static int set_log_level(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                         void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__SetLogLevelRequest *req = (const Proxmoxlxcri__V1__SetLogLevelRequest *) request;
        Proxmoxlxcri__V1__SetLogLevelResponse *res =
                arena_new_of(grpc_call_arena(call), Proxmoxlxcri__V1__SetLogLevelResponse);
        enum log_level level;

        if (!log_level_from_name(req->level, &level))
                return err_set(err, ERR_INVALID, "log level must be debug, info, warn or error, not '%.32s'",
                               req->level);
        proxmoxlxcri__v1__set_log_level_response__init(res);
        res->previous = arena_strdup(grpc_call_arena(call), log_level_name(log_get_level()));
        log_set_level(level);
        log_info("log level changed", "from", res->previous, "to", log_level_name(level), NULL);
        *ret = &res->base;
        return 0;
}

static char *copy(struct arena *arena, const char *s) {
        return arena_strdup(arena, s ? s : "");
}

static int info(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                struct err *err) {
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__InfoResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__InfoResponse);
        const struct admin *a = userdata;
        struct ct_pool pool;

        proxmoxlxcri__v1__info_response__init(res);
        res->version = copy(arena, a->version);
        res->lxc_version = copy(arena, a->lxc_version);
        res->pid = getpid();
        res->keeper_pid = a->keeper_pid ? a->keeper_pid(a->userdata) : 0;
        res->lxc_path = copy(arena, a->lxc_path);
        res->root = copy(arena, a->root);
        res->state = copy(arena, a->state);
        res->socket = copy(arena, a->socket);
        res->cgroup_mode = copy(arena, a->cgroup_mode);
        res->log_level = copy(arena, log_level_name(log_get_level()));
        res->started_at = (int64_t) a->started_at_ns;
        res->config = copy(arena, a->config_json);
        pool = a->warm_pool(a->userdata);
        res->warm_pool = pool.size;
        res->warm_pool_ready = pool.ready;
        res->snapshotter = copy(arena, images_snapshotter(a->images));
        res->idmap = copy(arena, images_idmap(a->images));
        *ret = &res->base;
        return 0;
}

void admin_methods(struct admin *admin, struct grpc_method ret[ADMIN_N_METHODS]) {
        const struct grpc_method methods[ADMIN_N_METHODS] = {
                { .path = "/proxmoxlxcri.v1.Admin/PullImage",
                  .request = &proxmoxlxcri__v1__pull_request__descriptor,
                  .stream = admin_pull_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/CopyImage",
                  .request = &proxmoxlxcri__v1__copy_request__descriptor,
                  .stream = admin_copy_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/ShowTrust",
                  .request = &proxmoxlxcri__v1__show_trust_request__descriptor,
                  .unary = admin_show_trust,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/TestTrust",
                  .request = &proxmoxlxcri__v1__test_trust_request__descriptor,
                  .unary = admin_test_trust,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/ImageUsage",
                  .request = &proxmoxlxcri__v1__image_usage_request__descriptor,
                  .unary = admin_image_usage,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/PruneImages",
                  .request = &proxmoxlxcri__v1__prune_images_request__descriptor,
                  .unary = admin_prune_images,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/VerifyImage",
                  .request = &proxmoxlxcri__v1__verify_image_request__descriptor,
                  .stream = admin_verify_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/SaveImages",
                  .request = &proxmoxlxcri__v1__save_images_request__descriptor,
                  .stream = admin_save_images,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/EditImage",
                  .request = &proxmoxlxcri__v1__edit_image_request__descriptor,
                  .stream = admin_edit_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/ImportImage",
                  .request = &proxmoxlxcri__v1__import_image_request__descriptor,
                  .stream = admin_import_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/LoadImages",
                  .request = &proxmoxlxcri__v1__load_images_request__descriptor,
                  .stream = admin_load_images,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/StartContainer",
                  .request = &proxmoxlxcri__v1__start_container_request__descriptor,
                  .unary = admin_start_container,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/SetContainerImage",
                  .request = &proxmoxlxcri__v1__set_container_image_request__descriptor,
                  .unary = admin_set_container_image,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/PushArtifact",
                  .request = &proxmoxlxcri__v1__push_artifact_request__descriptor,
                  .stream = admin_push_artifact,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/FetchBlobs",
                  .request = &proxmoxlxcri__v1__fetch_blobs_request__descriptor,
                  .stream = admin_fetch_blobs,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/InspectRemote",
                  .request = &proxmoxlxcri__v1__inspect_remote_request__descriptor,
                  .unary = admin_inspect_remote,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/CommitContainer",
                  .request = &proxmoxlxcri__v1__commit_container_request__descriptor,
                  .stream = admin_commit_container,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/LogIn",
                  .request = &proxmoxlxcri__v1__log_in_request__descriptor,
                  .unary = admin_log_in,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/TagImage",
                  .request = &proxmoxlxcri__v1__tag_image_request__descriptor,
                  .unary = admin_tag_image,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/MountImage",
                  .request = &proxmoxlxcri__v1__mount_image_request__descriptor,
                  .unary = admin_mount_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/UnmountImage",
                  .request = &proxmoxlxcri__v1__unmount_image_request__descriptor,
                  .unary = admin_unmount_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/ListMounts",
                  .request = &proxmoxlxcri__v1__list_mounts_request__descriptor,
                  .unary = admin_list_mounts,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/ListTags",
                  .request = &proxmoxlxcri__v1__list_tags_request__descriptor,
                  .unary = admin_list_tags,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/PushImage",
                  .request = &proxmoxlxcri__v1__push_request__descriptor,
                  .stream = admin_push_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/RemoveRemoteImage",
                  .request = &proxmoxlxcri__v1__remove_remote_image_request__descriptor,
                  .unary = admin_remove_remote_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/ListReferrers",
                  .request = &proxmoxlxcri__v1__list_referrers_request__descriptor,
                  .unary = admin_list_referrers,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/SetLogLevel",
                  .request = &proxmoxlxcri__v1__set_log_level_request__descriptor,
                  .unary = set_log_level,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/Info",
                  .request = &proxmoxlxcri__v1__info_request__descriptor,
                  .unary = info,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/ExplainRoute",
                  .request = &proxmoxlxcri__v1__explain_route_request__descriptor,
                  .unary = admin_explain_route,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/CheckProxmox",
                  .request = &proxmoxlxcri__v1__check_proxmox_request__descriptor,
                  .unary = admin_check_proxmox,
                  .userdata = admin },
        };

        memcpy(ret, methods, sizeof(methods));
}
