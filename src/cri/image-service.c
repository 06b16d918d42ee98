/* SPDX-License-Identifier: Apache-2.0 */
/* image-service - images: pull, list, status, remove, disk usage. */
#include <time.h>
#include "base/json.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "cri/service.h"

#define IMAGES(userdata) (((struct cri *) (userdata))->args.images)

/* Config.User: the user's part as a number, else as a name; root when there is none. */
static void fill_user(CRI(Image) * m, const char *user, struct arena *a) {
        const char *name = arena_strndup(a, user, strcspn(user, ":"));
        int64_t uid = 0;

        if (*name && !str_to_i64(name, &uid)) {
                m->username = (char *) name;
                return;
        }
        m->uid = cri_make(a, Int64Value, int64_value);
        m->uid->value = uid;
}

static CRI(Image) * to_cri(const struct cri *c, const struct image *i, struct arena *a) {
        CRI(Image) *m = cri_make(a, Image, image);

        m->id = (char *) i->id;
        m->repo_tags = (char **) i->repo_tags;
        m->n_repo_tags = strv_len((const char *const *) i->repo_tags);
        m->repo_digests = (char **) i->repo_digests;
        m->n_repo_digests = strv_len((const char *const *) i->repo_digests);
        m->size = i->size_bytes;
        m->pinned = image_is_pinned(i, c->args.pinned_images);
        m->spec = cri_make(a, ImageSpec, image_spec);
        m->spec->image = (char *) i->id;
        fill_user(m, i->config.user, a);
        return m;
}

static const char *reference_of(const CRI(ImageSpec) * spec) {
        return spec && !str_empty(spec->image) ? spec->image : NULL;
}

static int no_reference(struct err *err) {
        return err_set(err, ERR_INVALID, "image.image is missing");
}

/* One image, or none: an unknown one is no error here. */
static int look_up(struct images *images, const char *ref, struct arena *a, struct image **ret, struct err *err) {
        int r = images_get(images, ref, a, ret, err);

        if (r == -ERR_NOT_FOUND) {
                *ret = NULL;
                return 0;
        }
        return r;
}

CRI_HANDLER(ListImages) {
        const CRI(ListImagesRequest) *req = (const CRI(ListImagesRequest) *) request;
        struct arena *a = grpc_call_arena(call);
        CRI(ListImagesResponse) *resp = cri_make(a, ListImagesResponse, list_images_response);
        const char *ref = req->filter ? reference_of(req->filter->image) : NULL;
        struct image **list, *one;
        size_t n;
        int r;

        if (ref) {
                r = look_up(IMAGES(userdata), ref, a, &one, err);
                list = &one;
                n = r == 0 && one;
        } else
                r = images_list(IMAGES(userdata), a, &list, &n, err);
        if (r < 0)
                return r;
        resp->images = arena_array(a, CRI(Image) *, n + 1);
        for (size_t i = 0; i < n; i++)
                resp->images[resp->n_images++] = to_cri(userdata, list[i], a);
        *ret = &resp->base;
        return 0;
}

/* RFC 3339; NULL: not known. */
static const char *time_text(uint64_t seconds, struct arena *a) {
        time_t s = (time_t) seconds;
        char text[32];
        struct tm tm;

        if (!seconds || !gmtime_r(&s, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
                return NULL;
        return arena_strdup(a, text);
}

static const char *or_null(const char *s) {
        return *s ? s : NULL;
}

/* As containerd has it; what is not UTF-8 is left out. */
static json_t *config_json(const struct image *i) {
        return json_pack("{s:s*,s:s*,s:s*,s:{s:o*,s:o*,s:o*,s:s*,s:s*,s:s*}}", "os", or_null(i->config.os),
                         "architecture", or_null(i->config.architecture), "variant", or_null(i->config.variant),
                         "config", "Entrypoint", json_from_strings(i->config.entrypoint), "Cmd",
                         json_from_strings(i->config.cmd), "Env", json_from_strings(i->config.env), "User",
                         i->config.user, "WorkingDir", i->config.working_dir, "StopSignal", i->config.stop_signal);
}

/* What the CRI has no fields for, for people. */
static void fill_info(CRI(ImageStatusResponse) * resp, const struct image *i, struct arena *a) {
        CRI(ImageStatusResponse__InfoEntry) *e =
                cri_make(a, ImageStatusResponse__InfoEntry, image_status_response__info_entry);
        json_t *info = json_pack("{s:b,s:s*,s:s*,s:o*}", "made", i->made, "pulled", time_text(i->pulled_s, a),
                                 "lastUsed", time_text(i->used_s, a), "imageSpec", config_json(i));

        e->key = (char *) "info";
        e->value = (char *) (uintptr_t) json_to_text(info, a);
        resp->info = arena_array(a, CRI(ImageStatusResponse__InfoEntry) *, 1);
        resp->info[resp->n_info++] = e;
}

CRI_HANDLER(ImageStatus) {
        const CRI(ImageStatusRequest) *req = (const CRI(ImageStatusRequest) *) request;
        struct arena *a = grpc_call_arena(call);
        CRI(ImageStatusResponse) *resp = cri_make(a, ImageStatusResponse, image_status_response);
        struct image *image;
        int r;

        if (!reference_of(req->image))
                return no_reference(err);
        r = look_up(IMAGES(userdata), req->image->image, a, &image, err);
        if (r < 0)
                return r;
        if (image) {
                resp->image = to_cri(userdata, image, a);
                /* What the asker said of the image comes back (annotations ...). */
                resp->image->spec->n_annotations = req->image->n_annotations;
                resp->image->spec->annotations = req->image->annotations;
                if (req->verbose)
                        fill_info(resp, image, a);
        }
        *ret = &resp->base;
        return 0;
}

CRI_HANDLER(PullImage) {
        const CRI(PullImageRequest) *req = (const CRI(PullImageRequest) *) request;
        struct arena *a = grpc_call_arena(call);
        CRI(PullImageResponse) *resp = cri_make(a, PullImageResponse, pull_image_response);
        struct image_auth auth = { 0 };
        struct image_pull_args args = { .reference = reference_of(req->image),
                                        .cancel_fd = grpc_call_cancel_fd(call),
                                        .deadline_ns = grpc_call_deadline_ns(call) };
        const char *id;
        int r;

        if (!args.reference)
                return no_reference(err);
        if (req->auth) {
                auth = (struct image_auth){ req->auth->username,       req->auth->password,
                                            req->auth->auth,           req->auth->server_address,
                                            req->auth->identity_token, req->auth->registry_token };
                args.auth = &auth;
        }
        r = images_pull(IMAGES(userdata), &args, a, &id, err);
        if (r < 0) {
                if (grpc_call_cancelled(call))
                        return grpc_call_cancel_err(call, err);
                /* Only behind this code does the kubelet find "RegistryUnavailable" and "SignatureValidationFailed",
                 * which the message begins with. */
                if (err->code == ERR_UNAVAILABLE || err->kind == IMAGE_ERR_SIGNATURE)
                        err->code = ERR_UNKNOWN;
                return -(int) err->code;
        }
        resp->image_ref = (char *) id;
        *ret = &resp->base;
        log_info("image pulled", "image", args.reference, "id", id, NULL);
        return 0;
}

CRI_HANDLER(RemoveImage) {
        const CRI(RemoveImageRequest) *req = (const CRI(RemoveImageRequest) *) request;

        if (!reference_of(req->image))
                return no_reference(err);
        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(remove_image_response));
        return images_remove(IMAGES(userdata), req->image->image, err);
}

CRI_HANDLER(ImageFsInfo) {
        struct arena *a = grpc_call_arena(call);
        CRI(ImageFsInfoResponse) *resp = cri_make(a, ImageFsInfoResponse, image_fs_info_response);
        CRI(FilesystemUsage) *u = cri_make(a, FilesystemUsage, filesystem_usage);
        struct image_fs_info info;
        int r = images_fs_info(IMAGES(userdata), a, &info, err);

        if (r < 0)
                return r;
        u->timestamp = (int64_t) clock_realtime_ns();
        u->fs_id = cri_make(a, FilesystemIdentifier, filesystem_identifier);
        u->fs_id->mountpoint = (char *) info.mountpoint;
        u->used_bytes = cri_make(a, UInt64Value, uint64_value);
        u->used_bytes->value = info.used_bytes;
        u->inodes_used = cri_make(a, UInt64Value, uint64_value);
        u->inodes_used->value = info.inodes_used;
        resp->image_filesystems = arena_array(a, CRI(FilesystemUsage) *, 1);
        resp->image_filesystems[0] = u;
        resp->n_image_filesystems = 1;
        /* Layers of containers live there, too. */
        resp->container_filesystems = resp->image_filesystems;
        resp->n_container_filesystems = 1;
        *ret = &resp->base;
        return 0;
}
