/* SPDX-License-Identifier: Apache-2.0 */
/* load-internal - what the files of a load share: load.c holds blobs and adopts images, load-oci.c and load-docker.c
 * read what an archive says. Private to these. */
#pragma once
#include "image/archive.h"
#include "image/load.h"

enum { LOAD_NAMES_MAX = 1000, LOAD_BUFFER_BYTES = 256 * 1024 };

struct loading {
        const char *manifest; /* digest */
        const char **names;   /* full, NULL-terminated */
        size_t n_names;
        size_t n_layers;
};

struct load {
        const struct pull_env *env;
        const struct image_load_args *args;
        struct arena *arena; /* what is told in the end, and the index */
        struct arena *work;  /* of the image that is being read: its documents */
        struct archive *archive;
        struct platform platform;
        struct map *held; /* digests of blobs that are here, with a hold each */
        struct loading *images;
        size_t n_images, n_names;
        size_t n_layers, layer; /* of all images that are known by now, and the one on its way */
        size_t base;            /* of the image that is being unpacked, its first layer */
        uint8_t *buffer;
        uint64_t reported_ns;
};

/* A document of @len bytes, whose digest is known to be @digest, is held and kept. */
_must_use_ int load_put_document(struct load *l, const char *digest, const char *data, size_t len, struct err *err);
/* So is a layer, as it lies in the archive. ERR_DATA_LOSS when it has another digest. */
_must_use_ int load_put_layer(struct load *l, const struct archive_file *f, const char *digest, struct err *err);
_must_use_ int load_check_layer_size(const struct load *l, const struct archive_file *f, struct err *err);
_must_use_ int load_check_cancelled(const struct load *l, struct err *err);
/* What the archive says that it has, and has not, makes it no archive of an image: nothing that anybody looked up. */
static inline int load_missing(int r, struct err *err) {
        if (r != -ERR_NOT_FOUND)
                return r;
        err->code = ERR_INVALID;
        return -ERR_INVALID;
}

/* An image of that manifest; one that is known already is the same. */
_must_use_ int load_add_image(struct load *l, const char *manifest, size_t n_layers, struct loading **ret,
                              struct err *err);
_must_use_ int load_add_name(struct load *l, struct loading *image, const char *name, struct err *err);
/* In full; ERR_INVALID for what is no name of a tag. */
_must_use_ int load_full_name(const char *name, struct arena *arena, const char **ret, struct err *err);

/* All images of the archive. */
_must_use_ int load_oci(struct load *l, struct err *err);
_must_use_ int load_docker(struct load *l, struct err *err);
