/* SPDX-License-Identifier: Apache-2.0 */
/* layer-settle - steps of settling a layer against those below it. Private to layer-settle*. */
#pragma once
#include "image/layer-internal.h"
#include "image/unpack-path.h"

struct settle {
        int root_fd;  /* the layer; its paths have no symlinks of its own in them */
        int lower_fd; /* all layers below as a container would see them; -1: none */
        struct unpack_rest *rest;
};

/* A folder whose mtime stays what it is while things are made or removed in it. */
struct settle_dir {
        int fd; /* -1: no such folder */
        struct timespec mtime;
};
#define SETTLE_DIR ((struct settle_dir){ .fd = -1 })
void settle_dir_done(struct settle_dir *d); /* restores and closes */

/* The folder that holds the clean @path in the layer; fd stays -1 when it is not there. */
_must_use_ int settle_open_parent(struct settle *s, const char *path, struct settle_dir *ret, struct err *err);
/* As that, but made where it is missing, with the metadata it has below. */
_must_use_ int settle_make_parent(struct settle *s, const char *path, struct settle_dir *ret, struct err *err);
/* Where @path of the archive is by now: a folder above it may have moved to where the lower layers' symlinks lead. */
_must_use_ int settle_find(struct settle *s, const char *path, char ret[UNPACK_PATH_SIZE], struct err *err);
/* The folder of the lower layers that holds the clean @path, no symlinks followed: descriptor or -errno. */
_must_use_ int settle_open_lower_parent(struct settle *s, const char *path);
/* Does this layer hide what the lower ones have at @path, by an opaque folder above it? */
_must_use_ bool settle_is_hidden(struct settle *s, const char *path);

/* Move the folder @from, and all in it, to where the lower layers' symlink of that name leads, @to. */
_must_use_ int settle_move(struct settle *s, const char *from, const char *to, struct err *err);

_must_use_ int settle_links(struct settle *s, struct err *err);
_must_use_ int settle_implicit(struct settle *s, struct err *err);
_must_use_ int settle_whiteouts(struct settle *s, struct err *err);
