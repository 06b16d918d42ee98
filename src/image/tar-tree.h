/* SPDX-License-Identifier: Apache-2.0 */
/* tar-tree - a folder and all below it as a tar archive (pax): names, kinds, modes, owners, times to the nanosecond,
 * hardlinks, devices, extended attributes with POSIX ACLs and capabilities, holes of sparse files. The same tree gives
 * the same bytes: names are sorted, nothing of the host or of now goes in.
 *
 * The tree may be anybody's: symlinks are never followed, nothing but plain files is opened for reading, other mounts
 * are not entered, and memory has a maximum. It may change meanwhile: what vanishes is left out, a file that shrinks is
 * filled up with zeros, one that grows is cut; a folder that is moved is ERR_ABORTED. Several threads may write at
 * once, each a tree of its own. Private to image/ and to the command line, which needs no store for it. */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "base/id-map.h"

enum tar_tree_kind {
        TAR_TREE_PLAIN, /* as it is */
        TAR_TREE_LAYER, /* for an image's layer: a name that begins with ".wh.", which would mean a removal, is
                           ERR_INVALID */
        TAR_TREE_UPPER, /* that of an overlay's upper folder: its whiteouts and opaque marks become .wh. names. Folders
                         * that overlay has moved, and files whose data is elsewhere (redirect_dir, metacopy), are
                         * ERR_PRECONDITION */
};

struct tar_tree_args {
        int root_fd; /* the folder, open for reading; borrowed */
        enum tar_tree_kind kind;
        const char *prefix; /* of each name: "./", or NULL: none. The root is "./" anyway */
        bool open_end;      /* without the end mark: more entries follow */
        /* The archive's bytes, in pieces of up to 256 KiB. Not 0: stops, and is returned. */
        int (*write)(const void *data, size_t len, void *userdata, struct err *err);
        /* A user namespace whose ids on disk are the host's: owners, ACLs and capabilities are told as seen inside,
         * what is nobody's there as 65534. NULL: as on disk. */
        const struct id_maps *owners;
        /* True: leave @path ("etc/passwd", relative to the root) out, with all below. NULL: nothing. */
        bool (*leave_out)(const char *path, void *userdata);
        /* What an archive can't hold, or what was gone: sockets, other mounts. NULL: nobody wants to know. */
        void (*skipped)(const char *path, const char *why, void *userdata);
        void *userdata;
};
/* ERR_EXHAUSTED: a folder, or the hardlinks, need more than 256 MiB of names. */
_must_use_ int tar_tree(const struct tar_tree_args *args, struct err *err);
