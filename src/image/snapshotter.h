/* SPDX-License-Identifier: Apache-2.0 */
/* snapshotter - how layers and containers' writable layers lie on disk: a table of functions for each way. Two
 * families: overlay keeps each layer as the difference to those below and stacks them at mount time; the others
 * ("whole") keep each layer as the whole tree that a container would see, made from a copy of the one below, and a
 * container's writable layer is such a copy, too: by btrfs' and ZFS' snapshots, or file by file. Thread-safe. Private
 * to image/. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/map.h"
#include "image/image.h"

struct layers;
struct snapshotter;

/* A tree of files: a layer, or a container's writable layer. */
struct tree {
        int dirfd;        /* the folder that it is in, or, for ZFS, where an empty folder stands for it */
        const char *name; /* in there */
        const char *kind; /* "layer" or "snapshot"; with id its name among all trees of the store */
        const char *id;
};

/* A container's writable layer. */
struct writable {
        const char *id;
        int dirfd; /* snapshots/ID/ */
        struct tree tree;
        const char *const *layers; /* short names, as layers_name() gives them */
        size_t n_layers;
        const struct id_maps *maps;    /* when it is made; may be NULL */
        int home_fd;                   /* likewise, of snapshot_create_at(); -1: none */
        const struct id_maps *shifted; /* it is a whole tree, and on disk its files have these ids; NULL: the image's */
};

struct snapshotter_ops {
        const char *name;
        bool whole;
        bool elsewhere; /* a tree's folder is empty: only open() and mount() lead to it */
        /* Can the store be here? ERR_PRECONDITION says why not. May be NULL. */
        int (*start)(struct snapshotter *s, int root_fd, struct err *err);

        void (*stop)(struct snapshotter *s); /* may be NULL */

        /* --- trees --- */
        /* Make @what: a copy of @from, which is sealed, or empty (NULL). Its root may be anybody's, with any mode. */
        int (*make)(struct snapshotter *s, const struct tree *what, const struct tree *from, struct err *err);
        /* The folder behind it, open for reading, which is enough to work in it. */
        int (*open)(struct snapshotter *s, const struct tree *what, bool sealed, int *ret_fd, struct err *err);
        /* A detached mount of it. @label: SELinux context of all files, or NULL. */
        int (*mount)(struct snapshotter *s, const struct tree *what, bool sealed, const char *label, int *ret_fd,
                     struct err *err);
        /* It is in its place, and changes no more. NULL: nothing to do. */
        int (*seal)(struct snapshotter *s, const struct tree *what, struct err *err);
        /* Missing is fine. */
        int (*remove)(struct snapshotter *s, const struct tree *what, struct err *err);

        /* --- writable layers --- */
        int (*writable_make)(struct images *s, const struct writable *w, struct err *err);
        int (*writable_mount)(struct images *s, const struct writable *w, const struct snapshot_args *how, int *ret_fd,
                              struct err *err);
        int (*writable_usage)(struct images *s, const struct writable *w, const atomic_bool *give_up,
                              uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *err);
        /* Can the owners of files be mapped by idmapped mounts? Tried with @userns_fd. */
        int (*check_idmap)(struct images *s, int userns_fd, struct err *err);
};

struct snapshotter {
        const struct snapshotter_ops *ops;
        char *dataset;        /* ZFS: below which the trees' datasets are */
        uint64_t quota_bytes; /* of a writable layer; 0: none */
        bool must_map;        /* user namespaces: by idmapped mounts or not at all */
        atomic_bool shifts;   /* new writable layers for user namespaces are whole trees with other owners */
        pthread_mutex_t lock;
        struct map *waiting; /* ZFS: datasets to be removed once their clones are; under lock */
};

extern const struct snapshotter_ops snapshotter_overlay, snapshotter_plain, snapshotter_btrfs, snapshotter_zfs;

/* The one for the store in the open folder @root_fd, which has, or is to have, layers of it. */
_must_use_ int snapshotter_new(const struct snapshotter_conf *conf, int root_fd, struct snapshotter **ret,
                               struct err *err);
struct snapshotter *snapshotter_free(struct snapshotter *s);
DEFINE_CLEANUP(struct snapshotter *, snapshotter_free)

/* --- for several of them --- */
/* Folders as trees. */
_must_use_ int tree_folder_open(struct snapshotter *s, const struct tree *what, bool sealed, int *ret_fd,
                                struct err *err);
_must_use_ int tree_folder_mount(struct snapshotter *s, const struct tree *what, bool sealed, const char *label,
                                 int *ret_fd, struct err *err);
/* A detached mount shows owners as ids of that user namespace. ERR_PRECONDITION: the file system can't. */
_must_use_ int whole_map_owners(int mount_fd, int userns_fd, struct err *err);
/* snapshot-whole.c; check_idmap is for trees that are folders */
_must_use_ int whole_check_idmap(struct images *s, int userns_fd, struct err *err);
/* The image below @w as one folder, for reading. */
_must_use_ int whole_image_open(struct images *s, const struct writable *w, int *ret_fd, struct err *err);
/* A detached mount of the tree, which may be one of a snapshotter that has none else. */
_must_use_ int whole_tree_mount(struct images *s, const struct tree *tree, const char *label, int *ret_fd,
                                struct err *err);
/* A copy of the image, of whatever snapshotter, with the owners of @w->shifted. */
_must_use_ int whole_writable_make(struct images *s, const struct writable *w, struct err *err);
_must_use_ int whole_writable_mount(struct images *s, const struct writable *w, const struct snapshot_args *how,
                                    int *ret_fd, struct err *err);
_must_use_ int whole_writable_usage(struct images *s, const struct writable *w, const atomic_bool *give_up,
                                    uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *err);
