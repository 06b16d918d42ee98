/* SPDX-License-Identifier: Apache-2.0 */
/* save-internal - what the files of a save share: save.c holds what is saved and writes OCI layouts, save-docker.c has
 * what is Docker's. Private to these. */
#pragma once
#include <openssl/evp.h>
#include "image/local.h"
#include "image/save.h"

enum { SAVE_BUFFER_BYTES = 256 * 1024 };

struct saved {
        const char *asked; /* first as */
        struct image *image;
        const char **names; /* that it is saved with; NULL-terminated */
        const char **blobs; /* held: documents, then layers' */
        struct local_manifest local;
        const char **diff_ids; /* of its layers, for Docker's archive */
};

struct saver {
        const struct pull_env *env;
        const struct image_save_args *args;
        struct arena *arena;
        struct saved *images;
        size_t n_images;
        size_t n_layers, layer; /* all of them, and the one on its way */
        uint64_t written;       /* into the archive */
        bool is_file;           /* where it goes, not a pipe */
        bool own_blobs;         /* the folder's "blobs" is ours */
        struct map *done;       /* digests */
        uint8_t *buffer;

        /* The member on its way. */
        int fd;
        EVP_MD_CTX *hash;
        const struct descriptor *blob; /* NULL: a small one */
        uint64_t done_bytes, reported_ns;
        struct save_plain *plain; /* what it is written into uncompressed; NULL: as it is */
};

_must_use_ int save_check_cancelled(const struct saver *s, struct err *err);
/* One member: its header or file, its bytes, what fills its last block. */
_must_use_ int save_begin(struct saver *s, const char *name, uint64_t size, struct err *err);
_must_use_ int save_put(struct saver *s, const void *data, size_t len, struct err *err);
_must_use_ int save_end(struct saver *s, uint64_t size, struct err *err);
_must_use_ int save_put_small(struct saver *s, const char *name, const void *data, size_t len, struct err *err);

/* save-docker.c: layers of Docker's archives are not compressed, and how long they are stands before them: they are
 * first written into a file without a name. @ret NULL: the layer is not compressed. */
_must_use_ int save_plain_new(struct saver *s, const struct descriptor *blob, struct save_plain **ret, struct err *err);
struct save_plain *save_plain_free(struct save_plain *p); /* NULL ok */
_must_use_ int save_plain_write(struct saver *s, struct save_plain *p, const void *data, size_t len, struct err *err);
/* All has come: into the archive with it, if it is @diff_id. */
_must_use_ int save_plain_end(struct saver *s, struct save_plain *p, const char *name, const char *diff_id,
                              struct err *err);
const char *save_docker_layer_name(struct saver *s, const char *diff_id);
const char *save_docker_config_name(struct saver *s, const char *id);
/* What leads to them. */
_must_use_ int save_docker_manifest(struct saver *s, struct err *err);
