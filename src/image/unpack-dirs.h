/* SPDX-License-Identifier: Apache-2.0 */
/* unpack-dirs - the folders from the root of a layer being unpacked down to where the last entry went, held open.
 * Archives go depth first, so that most entries find their folder on top; each step down is one openat(O_NOFOLLOW) of
 * one name, which can't lead anywhere else. A folder's mtime is put right when it is left, so nothing has to be
 * remembered until the end. Private to unpack. */
#pragma once
#include <stdbool.h>
#include <time.h>
#include "base/err.h"
#include "image/unpack-path.h"

enum { DIRS_MAX_OPEN = 32 }; /* folders held open; above that the upper ones are closed */

struct dir {
        int fd;
        size_t len; /* of its path, a prefix of dirs.path */
        struct timespec mtime;
        bool keep_mtime; /* restore mtime when it is left */
        bool touched;    /* something was made or removed in it */
        bool setgid;     /* what is made in it takes its group */
};

struct dirs {
        char path[UNPACK_PATH_SIZE]; /* of the folder on top; no symlink in it */
        struct dir open[DIRS_MAX_OPEN];
        size_t n; /* at least 1: the root */
        struct { /* a folder just made in the one on top: its mtime is set when it is clear that nothing goes into it */
                bool set;
                char name[256];
                struct timespec mtime;
                bool setgid;
        } fresh;
        /* Called when a folder on the way is missing and was made (mode 0755). @path: its path. */
        int (*made)(void *userdata, const char *path, struct err *err);
        void *userdata;
};

_must_use_ int dirs_init(struct dirs *d, int root_fd, struct err *err);
void dirs_done(struct dirs *d); /* closes; settles nothing */
/* Go to the folder @path (clean): symlinks on the way are followed inside the root, missing folders are made.
 * Afterwards dirs_top() is that folder and dirs.path its path. ERR_INVALID when something that is no folder is in the
 * way. */
_must_use_ int dirs_enter(struct dirs *d, const char *path, struct err *err);
/* Leave all but the root, settle the root's mtime too. */
_must_use_ int dirs_settle(struct dirs *d, struct err *err);
static inline struct dir *dirs_top(struct dirs *d) {
        return &d->open[d->n - 1];
}
/* The folder @name was just made in the one on top, or given this mtime anew. */
_must_use_ int dirs_fresh(struct dirs *d, const char *name, struct timespec mtime, bool setgid, struct err *err);

/* Overlay's marks. */
_must_use_ int overlay_set_opaque(int dir_fd, struct err *err);
_must_use_ bool overlay_is_whiteout(int dir_fd, const char *name);
