/* SPDX-License-Identifier: Apache-2.0 */
/* send - the blobs of an image to a registry, several at once. Private to image/. */
#pragma once
#include "image/image.h"
#include "image/upload.h"

enum { SEND_BLOBS_MAX = 10000 };

struct send_blob {
        const char *digest;
        uint64_t size;
};

struct send_args {
        struct source *to;
        const struct send_blob *blobs;
        size_t n;
        const char *mount_from; /* a repository of that registry which may have them; NULL: none */
        unsigned max_parallel;
        int cancel_fd; /* an eventfd, that of @to, which the first failure writes to */
        /* The reader of one blob, called on its thread, and its end. */
        int (*open)(const struct send_blob *blob, struct blob_reader *ret, void *userdata, struct err *err);
        void (*close)(struct blob_reader *reader);
        /* What it read was not the blob: is there another reader for it? It is opened anew then. May be NULL. */
        bool (*damaged)(const struct send_blob *blob, const struct blob_reader *reader, void *userdata);
        void *userdata;
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *progress_userdata;
};

/* All of them, or the first error. */
_must_use_ int send_blobs(const struct send_args *args, struct err *err);
