/* SPDX-License-Identifier: Apache-2.0 */
/* admin - the service proxmoxlxcri.v1.Admin: what the command line needs beyond the CRI. Handlers run on the pools
 * given. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/pool.h"
#include "grpc/server.h"
#include "image/image.h"
#include "pod/pod.h"
#include "runtime/proxmox/ct.h"

/* What Info tells and the methods use; borrowed, must outlive the server. */
struct admin {
        struct images *images;
        struct pods *pods;
        const char *const *pinned_images; /* patterns of names; NULL-terminated, or NULL */
        struct pool *pull_pool;           /* for PullImage: the same one as the CRI's */
        const char *version, *lxc_version, *lxc_path, *root, *state, *socket, *cgroup_mode;
        const char *config_json; /* the configuration in force */
        uint64_t started_at_ns;
        pid_t (*keeper_pid)(void *userdata); /* NULL: none */
        struct ct_pool (*warm_pool)(void *userdata);
        void *userdata;
};

enum { ADMIN_N_METHODS = 30 };
/* Fills @ret with the service's methods. */
void admin_methods(struct admin *admin, struct grpc_method ret[ADMIN_N_METHODS]);

/* Private to cri/: methods in files of their own. */
int admin_explain_route(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                        struct err *err);
int admin_pull_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_push_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_save_images(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_push_artifact(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_fetch_blobs(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_inspect_remote(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                         void *userdata, struct err *err);
int admin_edit_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_import_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_load_images(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_commit_container(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_copy_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_image_usage(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                      struct err *err);
int admin_prune_images(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                       struct err *err);
int admin_verify_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);
int admin_log_in(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                 struct err *err);
int admin_tag_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                    struct err *err);
int admin_list_tags(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                    struct err *err);
int admin_remove_remote_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                              void *userdata, struct err *err);
int admin_list_referrers(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                         void *userdata, struct err *err);
int admin_show_trust(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                     struct err *err);
int admin_test_trust(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                     struct err *err);
int admin_check_proxmox(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                        struct err *err);
int admin_mount_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                      struct err *err);
int admin_unmount_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                        struct err *err);
int admin_list_mounts(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                      struct err *err);
int admin_start_container(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                          void *userdata, struct err *err);
int admin_set_container_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                              void *userdata, struct err *err);
