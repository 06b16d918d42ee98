/* SPDX-License-Identifier: Apache-2.0 */
#include "image/records-index.h"

#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "image/record-json.h"

struct layer *index_layer(struct records *r, const char *chain_id) {
        struct layer *l = map_get(r->layers, chain_id);

        if (!l) {
                l = xnew(struct layer);
                (void) map_set(r->layers, chain_id, l);
        }
        return l;
}

struct blob *index_blob(struct records *r, const char *digest) {
        struct blob *b = map_get(r->blobs, digest);

        if (!b) {
                b = xnew(struct blob);
                (void) map_set(r->blobs, digest, b);
        }
        return b;
}

void index_layer_size(struct records *r, struct layer *l, uint64_t bytes, uint64_t inodes) {
        r->bytes += bytes - l->bytes;
        r->inodes += inodes - l->inodes;
        l->bytes = bytes;
        l->inodes = inodes;
}

/* A layer's blob has a size only where it is kept. */
void index_blob_size(struct records *r, struct blob *b, uint64_t size) {
        r->bytes += size - b->size;
        b->size = size;
}

static void add_blob(struct records *r, struct entry *e, const struct record_blob *blob) {
        struct blob *b = index_blob(r, blob->digest);

        if (!b->size)
                index_blob_size(r, b, blob->size);
        for (size_t i = 0; i < e->n_blobs; i++) {
                if (!str_eq(e->blobs[i].digest, blob->digest))
                        continue;
                e->blobs[i].size = blob->size;
                e->blobs[i].layer |= blob->layer;
                return;
        }
        e->blobs = xrealloc(e->blobs, e->n_blobs + 1, sizeof(*e->blobs));
        e->blobs[e->n_blobs++] = (struct record_blob){ xstrdup(blob->digest), blob->size, blob->layer };
        b->holds++;
}

struct entry *index_image(struct records *r, const struct image_record *image) {
        struct entry *e = map_get(r->images, image->id);

        if (!e) {
                e = xnew(struct entry);
                e->id = xstrdup(image->id);
                e->n_layers = image->n_layers;
                e->layers = xcalloc(image->n_layers + 1, sizeof(*e->layers));
                for (size_t i = 0; i < image->n_layers; i++) {
                        e->layers[i] = xstrdup(image->layers[i]);
                        index_layer(r, e->layers[i])->holds++;
                }
                (void) map_set(r->images, e->id, e);
        }
        for (size_t i = 0; i < image->n_blobs; i++)
                add_blob(r, e, &image->blobs[i]);
        e->made = image->made;
        e->pulled_s = image->pulled_s;
        e->used_s = image->used_s;
        return e;
}

static void drop_name(struct entry *e, const char *name) {
        for (size_t i = 0; i < e->n_names; i++) {
                if (!str_eq(e->names[i], name))
                        continue;
                free(e->names[i]);
                memmove(e->names + i, e->names + i + 1, (e->n_names - i - 1) * sizeof(*e->names));
                e->n_names--;
                return;
        }
}

void index_name(struct records *r, const char *name, struct entry *to) {
        struct entry *from = map_set(r->names, name, to);

        if (from == to)
                return;
        if (from)
                drop_name(from, name);
        xgrow(to->names, to->n_names, to->cap_names);
        to->names[to->n_names++] = xstrdup(name);
}

void index_unname(struct records *r, const char *name) {
        struct entry *from = map_take(r->names, name);

        if (from)
                drop_name(from, name);
}

void index_take_image(struct records *r, struct entry *e) {
        for (size_t i = 0; i < e->n_names; i++)
                (void) map_take(r->names, e->names[i]);
        (void) map_take(r->images, e->id);
}

struct entry *index_entry_free(struct entry *e) {
        if (!e)
                return NULL;
        for (size_t i = 0; i < e->n_layers; i++)
                free(e->layers[i]);
        for (size_t i = 0; i < e->n_names; i++)
                free(e->names[i]);
        for (size_t i = 0; i < e->n_blobs; i++)
                free((char *) e->blobs[i].digest);
        free(e->layers);
        free(e->names);
        free(e->blobs);
        free(e->id);
        free(e);
        return NULL;
}
