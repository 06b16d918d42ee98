/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot-mount - overlay mounts that are attached nowhere. Thread-safe. Kernels differ (asked once, at run time):
 *   OVERLAY_APPEND   lowerdir+ (6.7): each layer by its full path, any number of layers
 *   OVERLAY_STRING   fsconfig takes strings up to 255 bytes: short relative names, the folder of layers being the
 * working directory of a thread made for it OVERLAY_MOUNT    mount(2), where 4 KiB are the limit, in a mount namespace
 * of a thread made for it; then a clone */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

enum overlay_way { OVERLAY_ANY, OVERLAY_APPEND, OVERLAY_STRING, OVERLAY_MOUNT };

struct overlay_args {
        int layers_fd;
        const char *layers_path;   /* what layers_fd is */
        const char *const *layers; /* names in there, lowest first; at least two when there is no upper */
        size_t n_layers;
        const char *upper, *work; /* relative to layers_fd; NULL: read-only */
        /* A detached mount (borrowed) of the folder that they are in, and where it is to be attached meanwhile: for one
         * that is on another file system. Then it is not volatile. 0: none. */
        int upper_mount_fd;
        const char *upper_place;
        const char *label;    /* SELinux context of all files; NULL: none */
        enum overlay_way way; /* OVERLAY_ANY but in tests */
        /* A user namespace (borrowed): owners of files in the layers are taken as its ids, by idmapped mounts of them
         * (Linux 5.19). Not so upper's, which has the host's. 0: none. ERR_PRECONDITION: this kernel, or the file
         * system that layers are on, can't. */
        int userns_fd;
};

/* @ret_fd: the detached mount. */
_must_use_ int overlay_mount(const struct overlay_args *args, int *ret_fd, struct err *err);

/* Does this kernel have OVERLAY_APPEND? */
bool overlay_has_append(void);
