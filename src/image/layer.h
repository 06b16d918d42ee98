/* SPDX-License-Identifier: Apache-2.0 */
/* layer - unpacked layers on disk as the snapshotter (snapshotter.h) wants them, and the one-pass sink that makes them:
 * bytes of the blob go in as they arrive, are hashed, decompressed (gzip by ISA-L, zstd, none), hashed again (DiffID)
 * and unpacked, all in one go and safely against hostile archives. Layers of one image are filled in parallel and
 * independent of each other; what needs the layers below (implicit parent folders, hardlinks into lower layers, paths
 * through lower symlinks) is settled by layer_sink_finish(), which is called lowest layer first. A sink belongs to one
 * thread at a time. Private to image/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "image/snapshotter.h"

struct layers; /* the folder of layers; thread-safe */
struct layer_sink;

/* @conf: NULL: overlay. */
_must_use_ int layers_new(const char *root, const struct snapshotter_conf *conf, struct layers **ret, struct err *err);
struct layers *layers_free(struct layers *l);
DEFINE_CLEANUP(struct layers *, layers_free)

struct snapshotter *layers_snapshotter(const struct layers *l); /* borrowed */

struct layer_sink_args {
        const char *digest;              /* expected sha256 of the blob, "sha256:..." */
        uint64_t size_bytes;             /* expected size of the blob */
        const char *media_type;          /* decides the compression; bytes that disagree are an error */
        const char *diff_id;             /* expected digest of the uncompressed tar */
        uint64_t max_bytes, max_entries; /* limits on what is unpacked */
};
_must_use_ int layer_sink_new(struct layers *l, const struct layer_sink_args *args, struct layer_sink **ret,
                              struct err *err);
/* Takes the blob's next bytes. Errors: ERR_INVALID hostile or malformed archive, ERR_EXHAUSTED limit or disk full. */
_must_use_ int layer_sink_write(struct layer_sink *s, const void *data, size_t len, struct err *err);
/* No more bytes, and no layer_sink_write() after it: checks size and both digests (ERR_DATA_LOSS when they differ).
 * Still invisible. */
_must_use_ int layer_sink_end(struct layer_sink *s, struct err *err);
/* Settle against the layers below (chain ids, lowest first), rename into place as @chain_id. When that layer exists by
 * now (another pull won), this one is dropped and that is no error. @ret_*: what it holds on disk, about. Does not wait
 * for the disk: the layer is synced behind the scenes, and dropped at the next start if the machine stopped before
 * that. */
_must_use_ int layer_sink_finish(struct layer_sink *s, const char *chain_id, const char *const *lower, size_t n_lower,
                                 uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *err);
struct layer_sink *layer_sink_free(struct layer_sink *s); /* removes what was not finished; NULL ok */
DEFINE_CLEANUP(struct layer_sink *, layer_sink_free)

/* What is in place by now is on disk when this returns, and stays whatever happens to the machine. */
_must_use_ int layers_sync(struct layers *l, struct err *err);
bool layer_exists(struct layers *l, const char *chain_id);
_must_use_ int layer_remove(struct layers *l, const char *chain_id, struct err *err); /* missing is fine */
/* What is @from becomes @chain_id, at once, and what was that goes. Nobody may use that one. */
_must_use_ int layer_replace(struct layers *l, const char *chain_id, const char *from, struct err *err);
_must_use_ int layer_list(struct layers *l, struct arena *arena, const char ***ret,
                          struct err *err); /* chain ids on disk */
/* Short name of the layer's folder, relative to layers_dir(), for overlay's lowerdir option. */
_must_use_ int layer_short_name(struct layers *l, const char *chain_id, char out[32], struct err *err);
int layers_dirfd(const struct layers *l); /* borrowed */
/* The layer of that short name. @name is borrowed. */
struct tree layer_tree(const struct layers *l, const char *name);
_must_use_ int layer_open(struct layers *l, const char *name, int *ret_fd, struct err *err); /* its folder */
