/* SPDX-License-Identifier: Apache-2.0 */
/* layer-internal - the folder of layers as its files share it. Private to layer*.
 *
 *   layers/N/                        a layer; N is a number, never used twice. Of overlay a lower folder, of the other
 *                                    snapshotters a whole tree; of ZFS an empty folder, its dataset being elsewhere
 *   layers/snapshotter               whose layers these are; overlay's when it is missing
 *   layers/by-chain/sha256-HEX       -> ../N; a layer exists once this does
 *   layers/tmp/N/                    being made or being removed; of no worth after a restart
 *   layers/unsynced/N                holds the boot id: what the layer holds may not be on disk yet
 *
 * Nothing waits for the disk: a layer may be used at once, and a thread syncs the file system a moment later and takes
 * the "unsynced" notes away. When the machine crashes before that, the notes of another boot tell which layers can't be
 * trusted; they are dropped at start and pulled again. A journal keeps the order: note, then name. */
#pragma once
#include <pthread.h>
#include <stdint.h>
#include "image/layer.h"
#include "image/unpack.h"

enum { LAYER_NAME_SIZE = 32, LAYER_CHAIN_NAME_SIZE = 72 };

struct layers {
        char *path; /* ".../layers" */
        struct snapshotter *how;
        int dirfd, chain_fd, tmp_fd, unsynced_fd;
        char boot_id[40];

        pthread_mutex_t lock;
        uint64_t next; /* number */

        struct { /* layer-sync.c; under lock */
                pthread_cond_t changed;
                pthread_t thread;
                bool running, stop;
                bool busy;         /* one sync at a time */
                uint64_t *pending; /* layers with a note */
                size_t n, cap;
                uint64_t *left_over; /* what tmp/ held at the start */
                size_t n_left_over;
        } sync;
};

uint64_t layers_take_number(struct layers *l);
/* What is under the short @name in tmp/. */
struct tree layer_tmp_tree(const struct layers *l, const char *name);
_must_use_ int layer_drop_tmp(struct layers *l, const char *name, struct err *err); /* missing is fine */
/* "sha256:HEX" -> "sha256-HEX". */
_must_use_ int layer_chain_name(const char *chain_id, char ret[LAYER_CHAIN_NAME_SIZE], struct err *err);

/* --- layer-sync.c --- */
_must_use_ int layer_sync_init(struct layers *l, struct err *err); /* drops the layers of another boot */
void layer_sync_start(struct layers *l);                           /* tidies up tmp/ */
void layer_sync_done(struct layers *l);                            /* syncs what is not yet */
_must_use_ int layer_sync_note(struct layers *l, uint64_t number, struct err *err);
void layer_sync_later(struct layers *l, uint64_t number); /* the layer that the note is about is in place */
void layer_sync_forget(struct layers *l, const char *name);

/* --- layer-settle.c --- */
/* What unpacking left open, against the layers below (short names, lowest first). */
_must_use_ int layer_settle(struct layers *l, int root_fd, struct unpack_rest *rest, const char *const *lower,
                            size_t n_lower, struct err *err);
