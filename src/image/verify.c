/* SPDX-License-Identifier: Apache-2.0 */
#include "image/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "image/blob-fetch.h"
#include "image/local.h"
#include "image/tree-diff.h"

enum { ARENA_MAX = 64 << 20, READ_BYTES = 256 * 1024 };

struct verify {
        const struct pull_env *env;
        const struct image_verify_args *args;
        struct pull_args pull; /* for pull_layer() */
        struct arena *arena;
        struct image *image;
        const char **blobs, **layers; /* held */
        struct manifest manifest;
        struct image_config config;
        struct ref origin_ref;
        struct credentials *creds;
        struct source *origin; /* NULL: there is none */
};

static void report(struct verify *v, const char *kind, const char *digest, enum image_check_state state,
                   const char *detail) {
        const struct image_check check = { v->image->id, kind, digest, state, detail };

        if (state != CHECK_SOUND)
                log_warn("image damaged", "image", v->image->id, "what", kind, "digest", digest, "detail", detail,
                         NULL);
        v->args->report(&check, v->args->userdata);
}

static bool is_cancelled(const struct verify *v) {
        struct pollfd p = { .fd = v->args->cancel_fd, .events = POLLIN };

        return v->args->cancel_fd >= 0 && poll(&p, 1, 0) > 0;
}

/* --- blobs ------------------------------------------------------------------------------------------------------ */

static int hash_file(const struct verify *v, int fd, char ret[DIGEST_LEN + 1], struct err *err) {
        _cleanup_(freep) char *buf = xcalloc(1, READ_BYTES);
        EVP_MD_CTX *c = EVP_MD_CTX_new();
        unsigned char md[EVP_MAX_MD_SIZE];
        unsigned len = 0;
        ssize_t n;

        if (!c || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1)
                abort();
        while ((n = read(fd, buf, READ_BYTES)) > 0 && !is_cancelled(v))
                if (EVP_DigestUpdate(c, buf, (size_t) n) != 1)
                        abort();
        if (EVP_DigestFinal_ex(c, md, &len) != 1)
                abort();
        EVP_MD_CTX_free(c);
        memcpy(ret, "sha256:", 7);
        hex_encode(md, len, ret + 7);
        if (n != 0 && is_cancelled(v))
                return err_set(err, ERR_CANCELLED, "cancelled");
        /* A disk that can't be read is damage, too: the digest is then of less. */
        return 0;
}

static int fetch(struct verify *v, const struct descriptor *d, struct err *err) {
        int r = v->origin ? blob_fetch(v->env->content, v->origin, d, err)
                          : err_set(err, ERR_NOT_FOUND, "nothing is known of where the image is from");

        records_recount_blob(v->env->records, d->digest);
        return r;
}

/* A layer's blob that is not kept is no damage. One that is damaged stays where it can't be had anew: what reads as
 * such now may be whole on the next try. */
static int check_blob(struct verify *v, const char *kind, const struct descriptor *d, bool needed, struct err *err) {
        char have[DIGEST_LEN + 1];
        const char *detail;
        struct err why;
        int fd, r = content_open(v->env->content, d->digest, d->size, &fd, &why);

        if (r < 0) {
                if (!needed)
                        return 0;
                detail = "missing, or of the wrong size";
        } else {
                r = hash_file(v, fd, have, err);
                (void) fd_close(fd);
                if (r < 0)
                        return r;
                if (str_eq(have, d->digest)) {
                        report(v, kind, d->digest, CHECK_SOUND, "");
                        return 0;
                }
                detail = arena_printf(v->arena, "its digest is %s", have);
        }
        if (v->args->repair && fetch(v, d, &why) == 0)
                report(v, kind, d->digest, CHECK_REPAIRED, detail);
        else
                report(v, kind, d->digest, CHECK_DAMAGED,
                       v->args->repair ? arena_printf(v->arena, "%s; fetching it anew: %s", detail, why.msg) : detail);
        return 0;
}

/* --- layers ----------------------------------------------------------------------------------------------------- */

static int open_layer(struct verify *v, const char *chain_id, int *ret_fd, struct err *err) {
        char name[32];
        int r = layer_short_name(v->env->layers, chain_id, name, err);

        return r == 0 ? layer_open(v->env->layers, name, ret_fd, err) : r;
}

static int compare(struct verify *v, const char *chain_id, const char *anew, struct tree_diff *ret, struct err *err) {
        _cleanup_(fd_closep) int a = -1, b = -1;
        int r = open_layer(v, anew, &b, err);

        if (r == 0 && open_layer(v, chain_id, &a, err) < 0) {
                *ret = (struct tree_diff){ .path = "/", .what = "the layer's folder is missing" };
                return 0;
        }
        return r == 0 ? tree_diff(b, a, NULL, ret, err) : r;
}

static void repair_layer(struct verify *v, const char *chain_id, const char *anew, const char *detail) {
        struct err err;

        if (!v->args->repair) {
                report(v, "layer", chain_id, CHECK_DAMAGED, detail);
        } else if (!records_freeze_layer(v->env->records, chain_id)) {
                report(v, "layer", chain_id, CHECK_DAMAGED,
                       arena_printf(v->arena, "%s; containers use it: remove them first", detail));
        } else {
                /* On disk before the other goes: of an image that was made here it could not be pulled again. */
                bool done = layers_sync(v->env->layers, &err) == 0 &&
                            layer_replace(v->env->layers, chain_id, anew, &err) == 0;

                records_thaw_layer(v->env->records, chain_id);
                report(v, "layer", chain_id, done ? CHECK_REPAIRED : CHECK_DAMAGED,
                       done ? detail : arena_printf(v->arena, "%s; %s", detail, err.msg));
        }
}

/* Unpacked anew under a name that no image has, which a start after a crash removes. */
static int check_layer(struct verify *v, const struct pull_layer *l, size_t number, struct err *err) {
        const char *text = arena_printf(v->arena, "to be compared with %s", l->chain_id);
        struct tree_diff diff = { .same = true };
        struct layer_sink *sink = NULL;
        uint64_t bytes, inodes;
        char anew[DIGEST_LEN + 1];
        struct err later;
        int r = pull_layer(v->env, &v->pull, v->origin, l, &sink, err);

        digest_of(text, strlen(text), anew);
        if (r == 0)
                r = layer_sink_finish(sink, anew, v->layers, number, &bytes, &inodes, err);
        (void) layer_sink_free(sink);
        records_recount_blob(v->env->records, l->blob->digest); /* it may have come for this */
        if (r == -ERR_CANCELLED || r == -ERR_DEADLINE)
                return r;
        if (r < 0) {
                report(v, "layer", l->chain_id, CHECK_UNKNOWN,
                       arena_printf(v->arena, "it can't be unpacked anew: %s", err->msg));
                return 0;
        }
        r = compare(v, l->chain_id, anew, &diff, err);
        if (r == 0 && diff.same)
                report(v, "layer", l->chain_id, CHECK_SOUND, "");
        else if (r == 0)
                repair_layer(v, l->chain_id, anew, arena_printf(v->arena, "%s: %s", diff.path, diff.what));
        if (layer_remove(v->env->layers, anew, &later) < 0)
                log_warn("a layer stays behind until the next start", "layer", anew, "error", later.msg, NULL);
        return r;
}

static int check_layers(struct verify *v, struct err *err) {
        char text[2 * DIGEST_LEN + 2];
        struct pull_layer l, below = { 0 };
        int r = 0;

        for (size_t i = 0; r == 0 && i < v->manifest.n_layers; i++) {
                l = (struct pull_layer){ .blob = &v->manifest.layers[i], .diff_id = v->config.diff_ids[i] };
                (void) snprintf(text, sizeof(text), "%s %s", below.chain_id, l.diff_id);
                if (i == 0)
                        (void) snprintf(l.chain_id, sizeof(l.chain_id), "%s", l.diff_id);
                else
                        digest_of(text, strlen(text), l.chain_id);
                if (!claims_take(v->env->claims, l.chain_id, v->args->cancel_fd))
                        return err_set(err, ERR_CANCELLED, "cancelled");
                r = check_layer(v, &l, i, err);
                claims_drop(v->env->claims, l.chain_id);
                below = l;
        }
        return r;
}

/* --- all -------------------------------------------------------------------------------------------------------- */

static int read_config(struct verify *v, struct err *err) {
        char *data;
        size_t len;
        int r;

        if (!content_read(v->env->content, v->manifest.config.digest, CONFIG_BYTES_MAX, &data, &len))
                return err_set(err, ERR_DATA_LOSS, "its config is missing or damaged");
        r = config_parse(data, len, v->arena, &v->config, err);
        free(data);
        if (r == 0 && v->config.n_diff_ids != v->manifest.n_layers)
                r = err_set(err, ERR_DATA_LOSS, "config and manifest disagree about its layers");
        return r;
}

static int check_all(struct verify *v, struct err *err) {
        struct local_manifest local;
        struct err why;
        int r = local_manifest(v->env->content, v->image->id, v->blobs, v->arena, &local, &why);

        if (r < 0) {
                report(v, "manifest", v->image->id, CHECK_DAMAGED, why.msg);
                return 0;
        }
        v->manifest = local.manifest;
        report(v, "manifest", local.digest, CHECK_SOUND, "");
        r = check_blob(v, "config", &v->manifest.config, true, err);
        if (r == 0 && read_config(v, err) < 0)
                return 0; /* that was reported */
        for (size_t i = 0; r == 0 && i < v->manifest.n_layers; i++)
                r = check_blob(v, "blob", &v->manifest.layers[i], false, err);
        return r == 0 ? check_layers(v, err) : r;
}

static int open_origin(struct verify *v, struct err *err) {
        int r = credentials_new(v->args->auth, &v->creds, err);

        if (r == 0 && v->image->repo_digests[0] &&
            ref_parse(v->image->repo_digests[0], v->arena, &v->origin_ref, err) == 0)
                v->origin = source_new(v->env->registries, &(struct source_args){ .ref = &v->origin_ref,
                                                                                  .creds = v->creds,
                                                                                  .cancel_fd = v->args->cancel_fd,
                                                                                  .deadline_ns = UINT64_MAX });
        return r;
}

static void no_progress(const struct image_progress *p, size_t layer, size_t n, void *userdata) {
}

static void let_go(struct verify *v) {
        struct err err;

        for (const char **l = v->layers; l && *l; l++)
                if (records_release_layer(v->env->records, *l, &err) < 0)
                        log_warn("a layer stays behind until the next start", "layer", *l, "error", err.msg, NULL);
        for (const char **b = v->blobs; b && *b; b++)
                records_release_blob(v->env->records, *b);
        (void) source_free(v->origin);
        (void) credentials_free(v->creds);
        (void) arena_free(v->arena);
}

int verify_run(const struct pull_env *env, const struct image_verify_args *args, struct err *err) {
        struct verify v = { .env = env, .args = args, .arena = arena_new(ARENA_MAX) };
        int r = records_get(env->records, args->reference, v.arena, &v.image, err);

        v.pull = (struct pull_args){ .cancel_fd = args->cancel_fd, .progress = no_progress };
        if (r == 0)
                r = records_hold_image(env->records, v.image->id, v.arena, &v.layers, err);
        if (r == 0)
                r = records_hold_blobs(env->records, v.image->id, v.arena, &v.blobs, err);
        if (r == 0)
                r = open_origin(&v, err);
        if (r == 0)
                r = check_all(&v, err);
        let_go(&v);
        return r < 0 ? err_wrap(err, "verify image %.200s", args->reference) : 0;
}
