/* SPDX-License-Identifier: Apache-2.0 */
/* Images mounted on the host. */
#include "base/str.h"
#include "cri/admin.h"
#include "proto/admin.pb-c.h"

int admin_mount_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                      struct err *err) {
        const Proxmoxlxcri__V1__MountImageRequest *req = (const Proxmoxlxcri__V1__MountImageRequest *) request;
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__MountImageResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__MountImageResponse);
        _cleanup_(fd_closep) int folder = -1;
        struct image_mount_args args = { .image = req->image, .path = req->path, .writable = req->writable };
        const struct admin *a = userdata;
        const char *path = NULL;
        int r = str_empty(req->path) ? 0 : grpc_call_take_fd(call, req->folder, &folder, err);

        args.target_fd = folder;
        if (r == 0)
                r = images_mount(a->images, &args, arena, &path, err);
        proxmoxlxcri__v1__mount_image_response__init(res);
        res->path = arena_strdup(arena, path);
        *ret = &res->base;
        return r;
}

int admin_unmount_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                        struct err *err) {
        const Proxmoxlxcri__V1__UnmountImageRequest *req = (const Proxmoxlxcri__V1__UnmountImageRequest *) request;
        Proxmoxlxcri__V1__UnmountImageResponse *res =
                arena_new_of(grpc_call_arena(call), Proxmoxlxcri__V1__UnmountImageResponse);
        const struct admin *a = userdata;
        size_t n;
        int r = images_unmount(a->images, str_empty(req->what) ? NULL : req->what, &n, err);

        proxmoxlxcri__v1__unmount_image_response__init(res);
        res->unmounted = (uint32_t) n;
        *ret = &res->base;
        return r;
}

int admin_list_mounts(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                      struct err *err) {
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__ListMountsResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__ListMountsResponse);
        const struct admin *a = userdata;
        struct image_mount *list;
        size_t n;
        int r = images_mounts(a->images, arena, &list, &n, err);

        (void) request;
        if (r < 0)
                return r;
        proxmoxlxcri__v1__list_mounts_response__init(res);
        res->mounts = arena_array(arena, Proxmoxlxcri__V1__ImageMount *, n + 1);
        for (; res->n_mounts < n; res->n_mounts++) {
                const struct image_mount *from = &list[res->n_mounts];
                Proxmoxlxcri__V1__ImageMount *m = res->mounts[res->n_mounts] =
                        arena_new_of(arena, Proxmoxlxcri__V1__ImageMount);

                proxmoxlxcri__v1__image_mount__init(m);
                m->image_id = arena_strdup(arena, from->image_id);
                m->path = arena_strdup(arena, from->path);
                m->writable = from->writable;
                m->mounted = from->mounted;
        }
        *ret = &res->base;
        return 0;
}
