/* SPDX-License-Identifier: Apache-2.0 */
#include "image/derive.h"

#include <errno.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "image/adopt.h"
#include "image/blob-fetch.h"

enum { CREATED_BY_MAX = 4096, HELD_MAX = LAYERS_MAX + 3 };

int derive_begin(struct derive *d, const struct pull_env *env, const char *ref, struct arena *arena, struct err *err) {
        int r;

        *d = (struct derive){ .env = env, .arena = arena, .cancel_fd = -1, .deadline_ns = UINT64_MAX };
        d->more = arena_array(arena, const char *, HELD_MAX);
        r = records_get(env->records, ref, arena, &d->image, err);
        if (r == 0)
                r = records_hold_blobs(env->records, d->image->id, arena, &d->held, err);
        return r == 0 ? local_manifest(env->content, d->image->id, d->held, arena, &d->local, err) : r;
}

void derive_hold(struct derive *d, const char *digest) {
        records_hold_blob(d->env->records, digest);
        d->more[d->n_more++] = digest;
}

void derive_done(struct derive *d) {
        for (const char **digest = d->held; digest && *digest; digest++)
                records_release_blob(d->env->records, *digest);
        while (d->n_more > 0)
                records_release_blob(d->env->records, d->more[--d->n_more]);
}

/* --- the layers' blobs -------------------------------------------------------------------------------------------- */

/* From the first of its repositories that has it. */
static int fetch(struct derive *d, const struct descriptor *blob, struct err *err) {
        int r = err_set(err, ERR_PRECONDITION, "it is not kept here, and no registry is known that has it");

        for (const char **name = d->image->repo_digests; *name && r < 0; name++) {
                _cleanup_(credentials_freep) struct credentials *creds = NULL;
                _cleanup_(source_freep) struct source *source = NULL;
                struct ref ref;

                r = ref_parse(*name, d->arena, &ref, err);
                if (r == 0)
                        r = credentials_new(NULL, &creds, err);
                if (r < 0)
                        return r;
                source = source_new(d->env->registries, &(struct source_args){ .ref = &ref,
                                                                               .creds = creds,
                                                                               .cancel_fd = d->cancel_fd,
                                                                               .deadline_ns = d->deadline_ns });
                r = blob_fetch(d->env->content, source, blob, err);
        }
        return r;
}

/* What was a cache of a registry's is the only one from now on. */
static int keep_layer(struct derive *d, const struct descriptor *blob, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r;

        derive_hold(d, blob->digest);
        if (!content_is_sound(d->env->content, blob->digest, blob->size)) {
                r = fetch(d, blob, err);
                return r < 0 ? err_wrap(err, "layer %s", blob->digest) : 0;
        }
        r = content_open(d->env->content, blob->digest, blob->size, &fd, err);
        if (r == 0 && (fdatasync(fd) < 0 || fsync(content_dirfd(d->env->content)) < 0))
                r = err_sys(err, errno, "sync layer %s", blob->digest);
        return r;
}

/* --- documents ---------------------------------------------------------------------------------------------------- */

static int put_document(struct derive *d, const char *data, size_t len, const char **ret_digest, struct err *err) {
        char digest[DIGEST_LEN + 1];

        digest_of(data, len, digest);
        *ret_digest = arena_strdup(d->arena, digest);
        derive_hold(d, *ret_digest);
        return content_put(d->env->content, *ret_digest, data, len, err);
}

int derive_end(struct derive *d, const struct derive_args *args, const char **ret_id, struct err *err) {
        struct manifest_edit manifest = { .changes = args->config.changes,
                                          .n_changes = args->config.n_changes,
                                          .layer = args->layer };
        struct adopt_args adopt = {
                .names = args->names, .cancel_fd = d->cancel_fd, .progress = args->progress, .userdata = args->userdata
        };
        _cleanup_(freep) char *old = NULL;
        struct image_config below = { 0 };
        const char *data;
        size_t len;
        int r;

        if (!content_read(d->env->content, d->image->id, CONFIG_BYTES_MAX, &old, &len))
                return err_set(err, ERR_DATA_LOSS, "its config is missing or damaged: pull it again");
        r = config_parse(old, len, d->arena, &below, err);
        if (r == 0 && !platform_runs(&below.platform, platform_host())) /* it was loaded as such: it stays so */
                adopt.platform = &below.platform;
        if (r == 0)
                r = config_edit(old, len, &args->config, d->arena, &data, &len, err);
        if (r == 0)
                r = put_document(d, data, len, &manifest.config_digest, err);
        manifest.config_size = len;
        if (r == 0)
                r = manifest_edit(d->local.raw, d->local.len, &manifest, d->arena, &data, &len, err);
        if (r == 0)
                r = put_document(d, data, len, &adopt.manifest, err);
        for (size_t i = 0; r == 0 && i < d->local.manifest.n_layers; i++)
                r = keep_layer(d, &d->local.manifest.layers[i], err);
        return r == 0 ? adopt_run(d->env, &adopt, d->arena, ret_id, err) : r;
}

/* --- edit --------------------------------------------------------------------------------------------------------- */

static const char *created_by(const struct image_edit_args *args, struct arena *arena) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(CREATED_BY_MAX);

        strbuf_puts(&b, "proxmox-lxcri image edit");
        for (size_t i = 0; i < args->n_changes; i++) {
                const struct image_change *c = &args->changes[i];

                strbuf_printf(&b, " --%s=%s%s", c->what, c->value, c->remove ? "-" : "");
                for (const char *const *w = c->words; w && *w; w++)
                        strbuf_printf(&b, "%s%s", w == c->words ? "" : " ", *w);
        }
        return arena_strndup(arena, strbuf_str(&b), b.len);
}

int edit_run(const struct pull_env *env, const struct image_edit_args *args, struct arena *arena, const char **ret_id,
             struct err *err) {
        struct derive_args how = { .config = { .changes = args->changes,
                                               .n_changes = args->n_changes,
                                               .now_ns = clock_realtime_ns(),
                                               .created_by = created_by(args, arena) },
                                   .names = args->names,
                                   .progress = args->progress,
                                   .userdata = args->userdata };
        const char *tag[2] = { NULL };
        struct derive d;
        int r = derive_begin(&d, env, args->image, arena, err);

        d.cancel_fd = args->cancel_fd;
        d.deadline_ns = args->deadline_ns;
        if (r == 0 && !how.names) {
                tag[0] = local_tag(d.image, args->image, arena);
                how.names = tag;
        }
        if (r == 0)
                r = derive_end(&d, &how, ret_id, err);
        derive_done(&d);
        return r < 0 ? err_wrap(err, "edit image %.300s", args->image) : 0;
}
