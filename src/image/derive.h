/* SPDX-License-Identifier: Apache-2.0 */
/* derive - an image that is made of one that is here: its layers, perhaps one more on top, its config with changes.
 * Ends by adopt.h. Blocks; one thread at a time. Private to image/. */
#pragma once
#include "image/config-edit.h"
#include "image/local.h"
#include "image/pull.h"

struct derive {
        const struct pull_env *env;
        struct arena *arena;
        int cancel_fd; /* readable: stop */
        uint64_t deadline_ns;
        struct image *image; /* the one below */
        struct local_manifest local;
        const char **held; /* its blobs */
        const char **more; /* held, too: its layers' that the record does not name, and the new ones */
        size_t n_more;
};

/* @ref: as images_get() takes it. @arena: as adopt_run() wants it. derive_done() in any case. */
_must_use_ int derive_begin(struct derive *d, const struct pull_env *env, const char *ref, struct arena *arena,
                            struct err *err);
/* Holds a blob until derive_done(). */
void derive_hold(struct derive *d, const char *digest);
struct derive_args {
        const char *const *names; /* full references, NULL-terminated */
        struct config_edit config;
        const struct descriptor *layer; /* on top, whose blob is here and held; NULL: none */
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
_must_use_ int derive_end(struct derive *d, const struct derive_args *args, const char **ret_id, struct err *err);
void derive_done(struct derive *d);

/* As images_commit(). @names: full references. */
_must_use_ int commit_run(struct images *s, const struct image_commit_args *args, const char *const *names,
                          struct arena *arena, const char **ret_id, struct err *err);
_must_use_ int edit_run(const struct pull_env *env, const struct image_edit_args *args, struct arena *arena,
                        const char **ret_id, struct err *err);
