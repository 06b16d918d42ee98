/* SPDX-License-Identifier: Apache-2.0 */
#include "image/adopt.h"

#include <errno.h>
#include "base/alloc.h"
#include "image/assembly.h"
#include "image/collector.h"

static int read_document(struct assembly *a, const char *digest, size_t max, char **ret, size_t *ret_len,
                         struct err *err) {
        if (!content_read(a->env->content, digest, max, ret, ret_len))
                return err_set(err, ERR_PRECONDITION, "%.80s is not here, or damaged", digest);
        return assembly_keep(a, digest, *ret, *ret_len, err);
}

static int read_manifest(struct assembly *a, const char *digest, struct err *err) {
        _cleanup_(freep) char *data = NULL;
        size_t len;
        int r = read_document(a, digest, MANIFEST_BYTES_MAX, &data, &len, err);

        if (r == 0)
                r = manifest_parse(data, len, "", a->arena, &a->manifest, err);
        if (r == 0 && a->manifest.is_index)
                r = err_set(err, ERR_INVALID, "it is an index");
        return r < 0 ? err_wrap(err, "manifest") : 0;
}

static int read_config(struct assembly *a, struct err *err) {
        _cleanup_(freep) char *data = NULL;
        size_t len;
        int r = read_document(a, a->manifest.config.digest, CONFIG_BYTES_MAX, &data, &len, err);

        if (r == 0)
                r = config_parse(data, len, a->arena, &a->config, err);
        return r < 0 ? err_wrap(err, "config") : 0;
}

static int check_blobs(const struct assembly *a, struct err *err) {
        for (size_t i = 0; i < a->n_layers; i++) {
                const struct descriptor *d = a->layers[i].blob;

                if (!content_has(a->env->content, d->digest, d->size))
                        return err_set(err, ERR_PRECONDITION, "layer %s is not here, or not of %llu bytes", d->digest,
                                       (unsigned long long) d->size);
        }
        return 0;
}

static void ignore_progress(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata) {
        (void) p;
        (void) layer;
        (void) n_layers;
        (void) userdata;
}

/* Layers, then the record; again what is missing of it, when it is called again. */
static int bring(struct assembly *a, const struct adopt_args *args, struct err *err) {
        static const char *const no_names[] = { NULL };
        const struct pull_args pull = { .cancel_fd = args->cancel_fd,
                                        .progress = args->progress ?: ignore_progress,
                                        .userdata = args->userdata };
        int r = pull_layers(a->env, &pull, NULL, a->layers, a->n_layers, err);

        if (r == 0) /* a pull's would come again */
                r = layers_sync(a->env->layers, err);
        return r == 0 ? assembly_commit(a, args->names ?: no_names, err) : r;
}

int adopt_run(const struct pull_env *env, const struct adopt_args *args, struct arena *arena, const char **ret_id,
              struct err *err) {
        struct assembly a;
        int r;

        assembly_init(&a, env, arena);
        a.made = true;
        if (args->platform)
                a.platform = args->platform;
        r = read_manifest(&a, args->manifest, err);
        if (r == 0)
                r = read_config(&a, err);
        if (r == 0)
                r = assembly_plan(&a, err);
        if (r == 0)
                r = check_blobs(&a, err);
        if (r == 0)
                r = bring(&a, args, err);
        if (r == -ERR_EXHAUSTED && (err->sys_errno == ENOSPC || err->sys_errno == EDQUOT) &&
            collector_make_room(env->collector))
                r = bring(&a, args, err);
        if (r == 0)
                *ret_id = a.manifest.config.digest;
        assembly_let_go(&a, r < 0);
        return r;
}
