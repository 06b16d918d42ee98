/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line does with containers beyond the CRI. */
#include "cri/admin.h"
#include "cri/service.h"
#include "proto/admin.pb-c.h"

int admin_start_container(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                          void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__StartContainerRequest *req = (const Proxmoxlxcri__V1__StartContainerRequest *) request;
        Proxmoxlxcri__V1__StartContainerResponse *res =
                arena_new_of(grpc_call_arena(call), Proxmoxlxcri__V1__StartContainerResponse);
        const struct pods_ctx ctx = cri_ctx(call);
        const struct admin *a = userdata;

        proxmoxlxcri__v1__start_container_response__init(res);
        *ret = &res->base;
        return pods_start_again(a->pods, &ctx, req->container, err);
}

int admin_set_container_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                              void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__SetContainerImageRequest *req =
                (const Proxmoxlxcri__V1__SetContainerImageRequest *) request;
        Proxmoxlxcri__V1__SetContainerImageResponse *res =
                arena_new_of(grpc_call_arena(call), Proxmoxlxcri__V1__SetContainerImageResponse);
        const struct pods_ctx ctx = cri_ctx(call);
        const struct admin *a = userdata;
        const char *id = NULL;
        int r = pods_set_image(a->pods, &ctx, req->container, req->image, grpc_call_arena(call), &id, err);

        proxmoxlxcri__v1__set_container_image_response__init(res);
        res->image_id = arena_strdup(grpc_call_arena(call), id);
        *ret = &res->base;
        return r;
}
