/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line asks about images and registries, but for pulls. */
#include "cri/admin.h"

#include "base/alloc.h"
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "proto/admin.pb-c.h"

enum { NAMES_MAX = 256, TRUST_ARENA_MAX = 32 << 20, TRUST_RULES_MAX = 1000 };

static struct image_remote remote_of(struct grpc_call *call, const char *name,
                                     const Proxmoxlxcri__V1__Credentials *creds, struct image_auth *auth) {
        if (creds)
                *auth = (struct image_auth){ .username = creds->username,
                                             .password = creds->password,
                                             .identity_token = creds->identity_token,
                                             .registry_token = creds->registry_token };
        return (struct image_remote){ .name = name,
                                      .auth = auth,
                                      .cancel_fd = grpc_call_cancel_fd(call),
                                      .deadline_ns = grpc_call_deadline_ns(call) };
}

int admin_log_in(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                 struct err *err) {
        const Proxmoxlxcri__V1__LogInRequest *req = (const Proxmoxlxcri__V1__LogInRequest *) request;
        Proxmoxlxcri__V1__LogInResponse *res = arena_new_of(grpc_call_arena(call), Proxmoxlxcri__V1__LogInResponse);
        struct image_auth auth = { 0 };
        const struct image_remote remote = remote_of(call, req->registry, req->credentials, &auth);
        const struct admin *a = userdata;

        proxmoxlxcri__v1__log_in_response__init(res);
        *ret = &res->base;
        return images_log_in(a->images, &remote, err);
}

int admin_tag_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                    struct err *err) {
        const Proxmoxlxcri__V1__TagImageRequest *req = (const Proxmoxlxcri__V1__TagImageRequest *) request;
        Proxmoxlxcri__V1__TagImageResponse *res =
                arena_new_of(grpc_call_arena(call), Proxmoxlxcri__V1__TagImageResponse);
        const char *names[NAMES_MAX + 1] = { 0 };
        const struct admin *a = userdata;

        if (req->n_names == 0 || req->n_names > NAMES_MAX)
                return err_set(err, ERR_INVALID, "1 to %d names are wanted", NAMES_MAX);
        for (size_t i = 0; i < req->n_names; i++)
                names[i] = req->names[i];
        proxmoxlxcri__v1__tag_image_response__init(res);
        *ret = &res->base;
        return str_empty(req->image) ? images_untag(a->images, names, err)
                                     : images_tag(a->images, req->image, names, err);
}

int admin_list_tags(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                    struct err *err) {
        const Proxmoxlxcri__V1__ListTagsRequest *req = (const Proxmoxlxcri__V1__ListTagsRequest *) request;
        Proxmoxlxcri__V1__ListTagsResponse *res =
                arena_new_of(grpc_call_arena(call), Proxmoxlxcri__V1__ListTagsResponse);
        struct image_auth auth = { 0 };
        const struct image_remote remote = remote_of(call, req->repository, req->credentials, &auth);
        const struct admin *a = userdata;
        const char **tags;
        int r = images_remote_tags(a->images, &remote, grpc_call_arena(call), &tags, err);

        if (r < 0)
                return r;
        proxmoxlxcri__v1__list_tags_response__init(res);
        res->tags = (char **) (uintptr_t) tags;
        while (tags[res->n_tags])
                res->n_tags++;
        *ret = &res->base;
        return 0;
}

static ProtobufCBinaryData binary(const char *data, size_t len) {
        return (ProtobufCBinaryData){ .data = (uint8_t *) (uintptr_t) data, .len = len };
}

int admin_inspect_remote(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                         void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__InspectRemoteRequest *req = (const Proxmoxlxcri__V1__InspectRemoteRequest *) request;
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__InspectRemoteResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__InspectRemoteResponse);
        struct image_auth auth = { 0 };
        const struct image_remote remote = remote_of(call, req->reference, req->credentials, &auth);
        const struct admin *a = userdata;
        struct image_remote_manifest m;
        int r = images_inspect_remote(a->images, &remote, req->image, arena, &m, err);

        if (r == 0 && req->trusted)
                r = images_check_trust(a->images, &remote, m.digest, err);
        if (r < 0)
                return r;
        proxmoxlxcri__v1__inspect_remote_response__init(res);
        res->digest = (char *) (uintptr_t) m.digest;
        res->media_type = (char *) (uintptr_t) m.media_type;
        res->manifest = binary(m.data, m.len);
        res->image_digest = (char *) (uintptr_t) m.image_digest;
        if (m.image_data != m.data)
                res->image_manifest = binary(m.image_data, m.image_len);
        res->config = binary(m.config, m.config_len);
        *ret = &res->base;
        return 0;
}

static Proxmoxlxcri__V1__Referrer *referrer_message(const struct image_referrer *from, struct arena *arena) {
        Proxmoxlxcri__V1__Referrer *m = arena_new_of(arena, Proxmoxlxcri__V1__Referrer);
        size_t n = 0;

        proxmoxlxcri__v1__referrer__init(m);
        m->digest = (char *) (uintptr_t) from->digest;
        m->media_type = (char *) (uintptr_t) from->media_type;
        m->artifact_type = (char *) (uintptr_t) from->artifact_type;
        m->size_bytes = from->size_bytes;
        while (from->annotations[2 * n])
                n++;
        m->annotations = arena_array(arena, Proxmoxlxcri__V1__Referrer__AnnotationsEntry *, n + 1);
        for (m->n_annotations = 0; m->n_annotations < n; m->n_annotations++) {
                Proxmoxlxcri__V1__Referrer__AnnotationsEntry *e = m->annotations[m->n_annotations] =
                        arena_new_of(arena, Proxmoxlxcri__V1__Referrer__AnnotationsEntry);

                proxmoxlxcri__v1__referrer__annotations_entry__init(e);
                e->key = (char *) (uintptr_t) from->annotations[2 * m->n_annotations];
                e->value = (char *) (uintptr_t) from->annotations[2 * m->n_annotations + 1];
        }
        return m;
}

int admin_list_referrers(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                         void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__ListReferrersRequest *req = (const Proxmoxlxcri__V1__ListReferrersRequest *) request;
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__ListReferrersResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__ListReferrersResponse);
        struct image_auth auth = { 0 };
        const struct image_remote remote = remote_of(call, req->reference, req->credentials, &auth);
        const struct admin *a = userdata;
        struct image_referrer *list;
        size_t n;
        int r = images_referrers(a->images, &remote, str_empty(req->artifact_type) ? NULL : req->artifact_type, arena,
                                 &list, &n, err);

        if (r < 0)
                return r;
        proxmoxlxcri__v1__list_referrers_response__init(res);
        res->referrers = arena_array(arena, Proxmoxlxcri__V1__Referrer *, n + 1);
        for (size_t i = 0; i < n; i++)
                res->referrers[res->n_referrers++] = referrer_message(&list[i], arena);
        *ret = &res->base;
        return 0;
}

static char *text(const char *s) {
        return (char *) (uintptr_t) (s ?: "");
}

int admin_show_trust(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                     struct err *err) {
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__ShowTrustResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__ShowTrustResponse);
        _cleanup_(arena_freep) struct arena *own = arena_new(TRUST_ARENA_MAX);
        const struct admin *a = userdata;
        struct image_trust_rule *rules;
        const char *file;
        size_t n;
        int r = images_trust(a->images, own, &file, &rules, &n, err);

        if (r < 0)
                return r;
        if (n > TRUST_RULES_MAX)
                return err_set(err, ERR_EXHAUSTED, "%s has more than %d requirements: too many to be shown", file,
                               TRUST_RULES_MAX);
        proxmoxlxcri__v1__show_trust_response__init(res);
        res->policy = text(file);
        res->rules = arena_array(arena, Proxmoxlxcri__V1__TrustRule *, n + 1);
        for (; res->n_rules < n; res->n_rules++) {
                Proxmoxlxcri__V1__TrustRule *m = arena_new_of(arena, Proxmoxlxcri__V1__TrustRule);
                const struct image_trust_rule *from = &rules[res->n_rules];
                size_t n_keys = strv_len(from->keys);

                proxmoxlxcri__v1__trust_rule__init(m);
                m->transport = text(from->transport);
                m->scope = arena_strdup(arena, from->scope);
                m->type = text(from->type);
                m->identity = arena_strdup(arena, from->identity);
                m->keys = arena_array(arena, char *, n_keys + 1);
                for (; m->n_keys < n_keys; m->n_keys++)
                        m->keys[m->n_keys] = arena_strdup(arena, from->keys[m->n_keys]);
                res->rules[res->n_rules] = m;
        }
        *ret = &res->base;
        return 0;
}

int admin_test_trust(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                     struct err *err) {
        const Proxmoxlxcri__V1__TestTrustRequest *req = (const Proxmoxlxcri__V1__TestTrustRequest *) request;
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__TestTrustResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__TestTrustResponse);
        struct image_auth auth = { 0 };
        const struct image_remote remote = remote_of(call, req->reference, req->credentials, &auth);
        const struct admin *a = userdata;
        struct image_verdict verdict;
        int r = images_trust_test(a->images, &remote, arena, &verdict, err);

        if (r < 0)
                return r;
        proxmoxlxcri__v1__test_trust_response__init(res);
        res->policy = text(verdict.policy);
        res->scope = text(verdict.scope);
        res->digest = text(verdict.digest);
        res->signers = text(verdict.signers);
        *ret = &res->base;
        return 0;
}

static Proxmoxlxcri__V1__DiskUse *disk_use(struct arena *arena, const char *kind, size_t total, size_t active,
                                           uint64_t bytes, uint64_t reclaimable) {
        Proxmoxlxcri__V1__DiskUse *m = arena_new_of(arena, Proxmoxlxcri__V1__DiskUse);

        proxmoxlxcri__v1__disk_use__init(m);
        m->kind = (char *) (uintptr_t) kind;
        m->total = total;
        m->active = active;
        m->bytes = bytes;
        m->reclaimable_bytes = reclaimable;
        return m;
}

static Proxmoxlxcri__V1__ImageUse *image_use(const struct image_df_entry *e, struct arena *arena) {
        Proxmoxlxcri__V1__ImageUse *m = arena_new_of(arena, Proxmoxlxcri__V1__ImageUse);
        const char **names = e->image->repo_tags[0] ? e->image->repo_tags : e->image->repo_digests;

        proxmoxlxcri__v1__image_use__init(m);
        m->id = (char *) (uintptr_t) e->image->id;
        m->names = (char **) (uintptr_t) names;
        m->n_names = strv_len(names);
        m->bytes = e->image->size_bytes;
        m->shared_bytes = e->shared_bytes;
        m->users = e->n_users;
        m->made = e->image->made;
        m->pulled = e->image->pulled_s;
        m->used = e->image->used_s;
        return m;
}

static Proxmoxlxcri__V1__Collected *collected(struct arena *arena, struct image_collected sum) {
        Proxmoxlxcri__V1__Collected *m = arena_new_of(arena, Proxmoxlxcri__V1__Collected);

        proxmoxlxcri__v1__collected__init(m);
        m->runs = sum.runs;
        m->images = sum.images;
        m->blobs = sum.blobs;
        m->bytes = sum.bytes;
        return m;
}

int admin_image_usage(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                      struct err *err) {
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__ImageUsageResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__ImageUsageResponse);
        const struct admin *a = userdata;
        struct image_df df;
        size_t n_used = 0;
        int r = images_df(a->images, arena, &df, err);

        if (r < 0)
                return r;
        proxmoxlxcri__v1__image_usage_response__init(res);
        res->n_images = df.n_images;
        res->images = arena_array(arena, Proxmoxlxcri__V1__ImageUse *, df.n_images + 1);
        for (size_t i = 0; i < df.n_images; i++) {
                res->images[i] = image_use(&df.images[i], arena);
                n_used += df.images[i].n_users > 0;
        }
        res->n_kinds = 4;
        res->kinds = arena_array(arena, Proxmoxlxcri__V1__DiskUse *, res->n_kinds);
        res->kinds[0] = disk_use(arena, "images", df.n_images, n_used, df.layer_bytes + df.blob_bytes,
                                 df.unused_layer_bytes + df.unused_blob_bytes);
        res->kinds[1] = disk_use(arena, "layers", df.n_layers, df.n_layers - df.n_unused_layers, df.layer_bytes,
                                 df.unused_layer_bytes);
        res->kinds[2] = disk_use(arena, "blobs", df.n_blobs, df.n_blobs - df.n_unused_blobs, df.blob_bytes,
                                 df.unused_blob_bytes);
        res->collected = collected(arena, images_collected(a->images));
        res->kinds[3] = disk_use(arena, "containers", df.n_writable, df.n_writable, df.writable_bytes, 0);
        *ret = &res->base;
        return 0;
}

/* "KEY" or "KEY=VALUE". */
static bool has_label(const struct image *image, const char *wanted) {
        const char *value = strchr(wanted, '=');
        size_t len = value ? (size_t) (value - wanted) : strlen(wanted);

        for (const char **l = image->config.labels; *l; l += 2)
                if (strncmp(l[0], wanted, len) == 0 && !l[0][len] && (!value || str_eq(l[1], value + 1)))
                        return true;
        return false;
}

struct prune {
        const Proxmoxlxcri__V1__PruneImagesRequest *request;
        const char *const *pinned;
};

static bool is_to_go(const struct image *image, void *userdata) {
        const struct prune *p = userdata;

        if ((image->repo_tags[0] && !p->request->all) || (p->request->until && image->pulled_s >= p->request->until) ||
            image_is_pinned(image, p->pinned))
                return false;
        for (size_t i = 0; i < p->request->n_labels; i++) {
                const char *label = p->request->labels[i];

                if (*label == '!' ? has_label(image, label + 1) : !has_label(image, label))
                        return false;
        }
        return true;
}

static Proxmoxlxcri__V1__PrunedImage *pruned(const struct image *image, struct arena *arena) {
        Proxmoxlxcri__V1__PrunedImage *m = arena_new_of(arena, Proxmoxlxcri__V1__PrunedImage);
        const char **names = image->repo_tags[0] ? image->repo_tags : image->repo_digests;

        proxmoxlxcri__v1__pruned_image__init(m);
        m->id = (char *) (uintptr_t) image->id;
        m->names = (char **) (uintptr_t) names;
        m->n_names = strv_len(names);
        m->bytes = image->size_bytes;
        return m;
}

int admin_prune_images(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                       struct err *err) {
        const Proxmoxlxcri__V1__PruneImagesRequest *req = (const Proxmoxlxcri__V1__PruneImagesRequest *) request;
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__PruneImagesResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__PruneImagesResponse);
        const struct admin *a = userdata;
        struct prune p = { req, a->pinned_images };
        const struct image_prune_args args = { .pick = is_to_go, .userdata = &p, .dry_run = req->dry_run };
        struct image **list = NULL;
        uint64_t bytes = 0;
        size_t n = 0, n_blobs = 0;
        int r;

        if (req->blobs && (req->all || req->until || req->n_labels))
                return err_set(err, ERR_INVALID, "blobs go of all images or none");
        r = req->blobs ? images_prune_blobs(a->images, req->dry_run, &n_blobs, &bytes, err)
                       : images_prune(a->images, &args, arena, &list, &n, &bytes, err);
        if (r == 0 && n_blobs && !req->dry_run)
                log_info("layers' blobs removed", "blobs", arena_printf(arena, "%zu", n_blobs), "freed_bytes",
                         arena_printf(arena, "%llu", (unsigned long long) bytes), NULL);
        for (size_t i = 0; i < n && !req->dry_run; i++)
                log_info("image removed, since unused", "image", list[i]->id, "name",
                         list[i]->repo_tags[0] ?: list[i]->repo_digests[0] ?: "", NULL);
        if (r < 0)
                return r;
        proxmoxlxcri__v1__prune_images_response__init(res);
        res->freed_bytes = bytes;
        res->blobs = n_blobs;
        res->n_images = n;
        res->images = arena_array(arena, Proxmoxlxcri__V1__PrunedImage *, n + 1);
        for (size_t i = 0; i < n; i++)
                res->images[i] = pruned(list[i], arena);
        *ret = &res->base;
        return 0;
}

struct verify_call {
        struct grpc_call *call;
        struct err err; /* the client is gone */
};

static void send_check(const struct image_check *check, void *userdata) {
        Proxmoxlxcri__V1__ImageCheck m = PROXMOXLXCRI__V1__IMAGE_CHECK__INIT;
        struct verify_call *v = userdata;

        m.image = (char *) (uintptr_t) check->image;
        m.kind = (char *) (uintptr_t) check->kind;
        m.digest = (char *) (uintptr_t) check->digest;
        m.state = (Proxmoxlxcri__V1__CheckState) check->state;
        m.detail = (char *) (uintptr_t) check->detail;
        if (!v->err.code)
                (void) !grpc_call_send(v->call, &m.base, &v->err);
}

int admin_verify_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__VerifyImageRequest *req = (const Proxmoxlxcri__V1__VerifyImageRequest *) request;
        struct image_auth auth = { 0 };
        const struct image_remote remote = remote_of(call, NULL, req->credentials, &auth);
        struct verify_call v = { .call = call };
        const struct admin *a = userdata;
        const struct image_verify_args args = { .reference = req->image,
                                                .auth = &auth,
                                                .repair = req->repair,
                                                .cancel_fd = remote.cancel_fd,
                                                .report = send_check,
                                                .userdata = &v };

        return images_verify(a->images, &args, err);
}

int admin_remove_remote_image(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                              void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__RemoveRemoteImageRequest *req =
                (const Proxmoxlxcri__V1__RemoveRemoteImageRequest *) request;
        Proxmoxlxcri__V1__RemoveRemoteImageResponse *res =
                arena_new_of(grpc_call_arena(call), Proxmoxlxcri__V1__RemoveRemoteImageResponse);
        struct image_auth auth = { 0 };
        const struct image_remote remote = remote_of(call, req->reference, req->credentials, &auth);
        const struct admin *a = userdata;
        const char *digest = NULL;
        int r = images_remote_remove(a->images, &remote, grpc_call_arena(call), &digest, err);

        if (r < 0)
                return r;
        proxmoxlxcri__v1__remove_remote_image_response__init(res);
        res->digest = (char *) (uintptr_t) digest;
        *ret = &res->base;
        return 0;
}
