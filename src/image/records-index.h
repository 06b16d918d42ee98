/* SPDX-License-Identifier: Apache-2.0 */
/* records-index - the index in memory behind records.h. Private to records; the lock is held by who calls. */
#pragma once
#include <pthread.h>
#include "base/map.h"
#include "image/records.h"

struct layer {
        unsigned holds;
        bool removing, done;
        uint64_t bytes, inodes;
};

struct blob {
        unsigned holds;
        uint64_t size; /* 0 until an image names it */
};

struct entry {
        char *id;
        char **layers, **names;
        struct record_blob *blobs;
        size_t n_layers, n_names, cap_names, n_blobs;
        bool made, use_unwritten;
        uint64_t pulled_s, used_s;
};

struct records {
        struct store *store;
        struct layers *layers_on_disk;
        struct content *content;
        pthread_mutex_t lock;
        pthread_cond_t removed;
        struct map *images; /* id -> struct entry */
        struct map *names;  /* full reference -> struct entry */
        struct map *layers; /* chain id -> struct layer */
        struct map *blobs;  /* digest -> struct blob */
        uint64_t bytes, inodes;
};

struct layer *index_layer(struct records *r, const char *chain_id); /* made when missing */
struct blob *index_blob(struct records *r, const char *digest);     /* made when missing */
void index_blob_size(struct records *r, struct blob *b, uint64_t size);
void index_layer_size(struct records *r, struct layer *l, uint64_t bytes, uint64_t inodes);
/* Adds the image or what is new of its blobs, with holds. */
struct entry *index_image(struct records *r, const struct image_record *image);
void index_name(struct records *r, const char *name, struct entry *to);
void index_unname(struct records *r, const char *name);
/* Takes @e and its names out; its holds stay to be released. */
void index_take_image(struct records *r, struct entry *e);
struct entry *index_entry_free(struct entry *e);
/* records-blobs.c: layers' blobs as they are on disk. */
void records_recount_blobs(struct records *r);
/* records-df.c: the highest layers of what is mounted for containers and on the host, which tell their images, into
 * @tops (value: a count, as a pointer), and all their layers into @layers (may be NULL). */
_must_use_ int records_users(struct records *r, struct map *tops, struct map *layers, struct err *err);
