/* SPDX-License-Identifier: Apache-2.0 */
/* image - the image service: pull from registries, content store, layers, overlay snapshots for containers.
 * Thread-safe. What is on disk is the truth for bytes (blobs/, layers/, snapshots/ under the root folder); names and
 * records are in the store. Sources: OCI image-spec 1.1, distribution-spec 1.1. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/id-map.h"
#include "store/store.h"

struct images;

/* struct err's kind, where its code says too little. */
enum image_err_kind {
        IMAGE_ERR_SIGNATURE = 1, /* ERR_DENIED: the signature policy refuses the image; the message begins with
                                    "SignatureValidationFailed", which the kubelet looks for */
};

struct registry_rewrite {
        const char *pattern, *to; /* POSIX extended regular expression; "$1" is its first group */
};

struct registry_conf {
        const char *host;           /* "registry.example:5000" as it stands in references; "*" is the default for all */
        const char *const *mirrors; /* NULL-terminated "host[:port][/prefix]" tried first in order; may be NULL */
        const struct registry_rewrite *rewrites; /* what repositories are called on the mirrors; the first that matches
                                                    counts; ends with a NULL pattern; may be NULL */
        bool insecure;                           /* plain HTTP allowed */
        const char *ca_file;                     /* PEM, NULL: the system's */
        const char *cert_file, *key_file;        /* PEM: our own certificate, both or neither */
};

struct snapshotter_conf {
        const char *name;        /* "overlay", "plain", "btrfs", "zfs"; "auto" or NULL: what fits the file system */
        const char *zfs_dataset; /* below which layers become datasets, "pool/name"; NULL or "": none */
        uint64_t quota_bytes;    /* of a container's writable layer, ZFS alone; 0: none */
        /* How files get a user namespace's owners: "mount", by idmapped mounts; "chown", each container by a copy of
         * the image; "auto" or NULL: the second where the first can't be had, see snapshots_check_idmap(). */
        const char *idmap;
};

#define SNAPSHOTTER_NAMES "overlay, zfs, btrfs or plain"
bool snapshotter_is_known(const char *name); /* one of those, or "auto" */
#define SNAPSHOTTER_IDMAP_NAMES "auto, mount or chown"
bool snapshotter_idmap_is_known(const char *name);

/* Garbage collection, in the kubelet's words. */
struct image_gc {
        unsigned high_percent,
                low_percent;       /* use of the file system from which on, and down to which; 100 or 0: never */
        uint64_t min_age_s;        /* younger images stay, for whoever pulled them */
        uint64_t max_age_s;        /* unused for longer: they go whatever room there is; 0: never */
        const char *const *pinned; /* as image_is_pinned(); borrowed, may be NULL */
};

struct images_args {
        const char *root; /* "/var/lib/proxmox-lxcri": blobs/, layers/, snapshots/, tmp/ live below */
        struct store *store;
        const struct registry_conf *registries;
        size_t n_registries;
        const char *auth_file;          /* credentials for pulls that bring none, and for mirrors; NULL or "": none */
        const char *signature_policy;   /* as containers-policy.json(5) says, read at each pull; NULL: all is taken */
        bool signature_policy_optional; /* nor is anything refused when that file is missing */
        uint64_t max_layer_bytes;       /* decompressed, per layer; 0: 64 GiB */
        uint64_t max_layer_entries;     /* 0: 10 million */
        unsigned max_parallel_layers;   /* 0: 4 per pull */
        struct snapshotter_conf snapshotter;
        bool discard_blobs; /* keep no layers' blobs beside what was unpacked of them */
        struct image_gc gc;
};

_must_use_ int images_new(const struct images_args *args, struct images **ret, struct err *err);
struct images *images_free(struct images *s);
DEFINE_CLEANUP(struct images *, images_free)
/* How layers are kept: "overlay", "zfs", "btrfs" or "plain". */
const char *images_snapshotter(const struct images *s);
/* How files of snapshots made now get a user namespace's owners: "mount" or "chown". */
const char *images_idmap(const struct images *s);
/* Removes half-written temporary files and layers and blobs no record names. Call once at start, before serving. */
_must_use_ int images_reconcile(struct images *s, struct err *err);

struct image_auth {
        const char *username, *password, *auth, *server_address, *identity_token,
                *registry_token; /* NULL or "" when absent */
};

/* Who is asked about what, for how long. */
struct image_remote {
        const char *name;              /* "host/path"; short names are normalised */
        const struct image_auth *auth; /* may be NULL */
        int cancel_fd;                 /* as in image_pull_args */
        uint64_t deadline_ns;
};

struct image_progress {
        const char *digest; /* layer's blob digest */
        uint64_t total_bytes, done_bytes;
        /* In a push: a blob is UPLOADING, there already (EXISTS), or MOUNTED from another repository. */
        enum {
                LAYER_WAITING,
                LAYER_DOWNLOADING,
                LAYER_DONE,
                LAYER_EXISTS,
                LAYER_MOUNTED,
                LAYER_UPLOADING,
                LAYER_COPYING,
                LAYER_UNPACKING
        } state; /* the last two in a load */
};

struct image_pull_args {
        const char *reference;         /* any form; short names are normalised to docker.io/library/... */
        const struct image_auth *auth; /* may be NULL */
        int cancel_fd;                 /* readable: stop, ERR_CANCELLED; -1: none */
        uint64_t deadline_ns;          /* CLOCK_MONOTONIC, UINT64_MAX: none; ERR_DEADLINE */
        /* Called from pulling threads, at most every 100 ms a layer and at each change of state; may be NULL. */
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};

/* Does the registry take these credentials? @remote's name is "host[:port]". ERR_UNAUTHENTICATED or ERR_DENIED when
 * not.
 */
_must_use_ int images_log_in(struct images *s, const struct image_remote *remote, struct err *err);

struct image_trust_rule {
        const char *transport, *scope, *type; /* as in the policy; of its default the first is "" */
        const char **keys;                    /* paths, or "keyData"; NULL-terminated, may be empty */
        const char *identity;                 /* "" where no signature is wanted */
};
/* The signature policy; @ret_file NULL: there is none. ERR_DENIED as a pull when it can't be obeyed. */
_must_use_ int images_trust(struct images *s, struct arena *arena, const char **ret_file, struct image_trust_rule **ret,
                            size_t *ret_n, struct err *err);
/* What it says of one image, without a pull. */
struct image_verdict {
        const char *policy, *scope; /* NULL: there is none */
        const char *digest;         /* of what the reference leads to */
        const char *signers;        /* "DIGEST by KEY, ..."; NULL: no signature is asked for */
};
/* ERR_DENIED with the kind IMAGE_ERR_SIGNATURE when it is refused. */
_must_use_ int images_trust_test(struct images *s, const struct image_remote *remote, struct arena *arena,
                                 struct image_verdict *ret, struct err *err);

/* What is known of an image. Lives in the arena it was asked into. */
struct image {
        const char *id;         /* "sha256:<hex of the config blob>" */
        const char **repo_tags; /* NULL-terminated, full names */
        const char **repo_digests;
        uint64_t size_bytes;       /* of the unpacked layers, manifest and config */
        bool made;                 /* here, and in no registry that is known */
        uint64_t pulled_s, used_s; /* when it last came or was made, and when a container or mount of it last began or
                                      ended: seconds of CLOCK_REALTIME; 0: not known, or never */
        struct {
                const char **entrypoint, **cmd, **env;        /* NULL-terminated, never NULL */
                const char **volumes;                         /* paths */
                const char *user, *working_dir, *stop_signal; /* "" when absent */
                const char **labels;                          /* key, value, key, value ..., NULL */
                const char *os, *architecture, *variant;      /* Go's words; "" when nobody has said */
        } config;
        const char **layers; /* chain ids, lowest first, NULL-terminated */
};

/* Pull; @ret_id gets the image's id ("sha256:..."). Concurrent pulls of one layer share one download. */
_must_use_ int images_pull(struct images *s, const struct image_pull_args *args, struct arena *arena,
                           const char **ret_id, struct err *err);
/* By id, id prefix (at least 4 hex digits), tag or digest reference. ERR_NOT_FOUND; ERR_INVALID for what is no
 * reference. */
_must_use_ int images_get(struct images *s, const char *ref, struct arena *arena, struct image **ret, struct err *err);
_must_use_ int images_list(struct images *s, struct arena *arena, struct image ***ret, size_t *ret_n, struct err *err);
/* Give the image behind @ref more names (NULL-terminated, as people write them; "nginx" becomes
 * "docker.io/library/nginx:latest"), which move here from other images: all or none of them. ERR_NOT_FOUND; ERR_INVALID
 * for what is no name of a tag. */
_must_use_ int images_tag(struct images *s, const char *ref, const char *const *names, struct err *err);
/* Take names from whatever images have them: all or none. An image without a name stays, to be had by its id.
 * ERR_NOT_FOUND when nothing has one of them. */
_must_use_ int images_untag(struct images *s, const char *const *names, struct err *err);
/* Which tags the registry has of a repository, "host/path" as people write it; sorted as the registry does.
 * ERR_NOT_FOUND; ERR_EXHAUSTED past 20000, which fit into 8 MiB of @arena. @ret: NULL-terminated. */
_must_use_ int images_remote_tags(struct images *s, const struct image_remote *remote, struct arena *arena,
                                  const char ***ret, struct err *err);
/* Remove from its registry the manifest that @remote's name leads to, with every tag that has it. @ret_digest: what it
 * was. ERR_NOT_FOUND; ERR_UNIMPLEMENTED where the registry does not allow it. */
_must_use_ int images_remote_remove(struct images *s, const struct image_remote *remote, struct arena *arena,
                                    const char **ret_digest, struct err *err);

struct image_referrer {
        const char *digest, *media_type, *artifact_type; /* "" when absent */
        uint64_t size_bytes;
        const char **annotations; /* key, value, key, value ..., NULL */
};
/* What refers to the manifest that @remote's name leads to, with tag or digest: signatures, SBOMs, other artifacts; of
 * @artifact_type alone, NULL: of all. ERR_NOT_FOUND: there is no such manifest. ERR_EXHAUSTED past 2000 of them. @arena
 * holds 8 MiB or more. */
_must_use_ int images_referrers(struct images *s, const struct image_remote *remote, const char *artifact_type,
                                struct arena *arena, struct image_referrer **ret, size_t *ret_n, struct err *err);

struct image_remote_manifest {
        const char *digest, *media_type, *data; /* what the name leads to: an index or a manifest */
        size_t len;
        const char *image_digest, *image_data; /* of an index the image for this machine, which need not be there; else
                                                  the same */
        size_t image_len;
        const char *config; /* of that image; NULL: none was asked for, or it is no image's but an artifact's */
        size_t config_len;
};
/* Manifest and config as the registry has them, digests checked; nothing is kept here. Without @with_image no more than
 * the manifest. Holds at most 16 MiB more of @arena. ERR_NOT_FOUND. */
_must_use_ int images_inspect_remote(struct images *s, const struct image_remote *remote, bool with_image,
                                     struct arena *arena, struct image_remote_manifest *ret, struct err *err);
/* Does the signature policy let in what @remote names, whose manifest is @digest? ERR_DENIED with the kind
 * IMAGE_ERR_SIGNATURE, or what went wrong in asking. */
_must_use_ int images_check_trust(struct images *s, const struct image_remote *remote, const char *digest,
                                  struct err *err);

struct image_fetch {
        const char *digest;
        uint64_t size_bytes;
        int fd; /* an empty file, borrowed */
};
/* Blobs of a registry into files, one after the other. Digests and sizes are checked: ERR_DATA_LOSS. */
_must_use_ int images_fetch_blobs(struct images *s, const struct image_remote *remote, const struct image_fetch *blobs,
                                  size_t n,
                                  void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers,
                                                   void *userdata),
                                  void *userdata, struct err *err);

struct image_artifact_file {
        int fd; /* a plain file, borrowed */
        const char *title, *media_type;
};
struct image_artifact_args {
        const char *to;                /* a reference of a registry; with @subject and without a tag it gets none */
        const struct image_auth *auth; /* may be NULL */
        const char *type;              /* a media type */
        const struct image_artifact_file *files;
        size_t n_files;
        const char *subject; /* what it is about: a reference or digest in the same repository; NULL: nothing */
        const char *const *annotations; /* key, value, key, value ..., NULL */
        int cancel_fd;                  /* these four as in image_copy_args */
        uint64_t deadline_ns;
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
/* Files to a registry as an artifact (image-spec 1.1, "Guidelines for artifact usage"): one layer each, an empty
 * config. The same input gives the same digest. Where the registry keeps no list of referrers, the subject's is
 * updated. ERR_INVALID says which file, title, type or annotation is none. */
_must_use_ int images_push_artifact(struct images *s, const struct image_artifact_args *args, struct arena *arena,
                                    const char **ret_digest, struct err *err);

struct image_copy_args {
        const char *from, *to;                        /* references of registries, as people write them */
        const struct image_auth *from_auth, *to_auth; /* may be NULL */
        bool all;                                     /* an index with all its builds, else this machine's */
        int cancel_fd;        /* an eventfd: readable: stop, ERR_CANCELLED; a part that fails stops the others by it */
        uint64_t deadline_ns; /* CLOCK_MONOTONIC, UINT64_MAX: none */
        /* As image_pull_args; counts blobs. May be NULL. */
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
/* From one registry to another, byte for byte: digests stay what they are. @ret_digest: of what @to now names. Nothing
 * is kept here. ERR_DENIED with the kind IMAGE_ERR_SIGNATURE: the signature policy lets @from, or with @all one of its
 * builds, not in; then nothing was sent. */
_must_use_ int images_copy(struct images *s, const struct image_copy_args *args, struct arena *arena,
                           const char **ret_digest, struct err *err);
struct image_push_args {
        const char *image;                    /* one that is here */
        const char *to;                       /* a reference of a registry */
        const struct image_auth *auth;        /* for @to; may be NULL */
        const char *origin;                   /* a repository that has its layers, should one be wanted that is not
                                                 kept here; NULL: where the image came from */
        const struct image_auth *origin_auth; /* may be NULL */
        int cancel_fd;                        /* these four as in image_copy_args */
        uint64_t deadline_ns;
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
/* An image to a registry, as it was pulled or made: the manifest is the same, byte for byte. What the registry has of
 * it, there or in a repository that the image came from, is not sent; a layer that is not kept here comes from where
 * the image came from. ERR_PRECONDITION: a layer is to be had nowhere. @ret_digest: the manifest's. */
_must_use_ int images_push(struct images *s, const struct image_push_args *args, struct arena *arena,
                           const char **ret_digest, struct err *err);
struct image_save_args {
        const char *const *images; /* as images_get() takes them, NULL-terminated */
        /* An OCI image layout in a tar archive, or a folder; or what Docker saves and loads. */
        enum { IMAGE_SAVE_ARCHIVE, IMAGE_SAVE_FOLDER, IMAGE_SAVE_DOCKER } format;
        int fd;               /* borrowed: where the archive is written to, a file or a pipe; or an empty folder */
        int cancel_fd;        /* readable: stop, ERR_CANCELLED */
        uint64_t deadline_ns; /* CLOCK_MONOTONIC, UINT64_MAX: none */
        /* As image_pull_args. May be NULL. */
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
/* Byte for byte as they came: digests stay what they are; in Docker's archive ids, and layers uncompressed. Each with
 * the tags by which it was asked for; by id or digest, all. A folder is empty again when it fails. ERR_NOT_FOUND;
 * ERR_PRECONDITION: the bytes of a layer are not kept here, and no registry is known that has them. */
_must_use_ int images_save(struct images *s, const struct image_save_args *args, struct err *err);
/* One change of an image's config, in Buildah's words: "author", "arch", "os", "variant", "user", "workingdir",
 * "stop-signal", "entrypoint", "cmd", "onbuild", "env", "label", "port", "volume"; or, in its manifest, "annotation".
 */
struct image_change {
        const char *what;
        const char *value;        /* "KEY=VALUE" of env, label, annotation; "": none */
        bool remove;              /* the key or entry @value; "": all of them */
        const char *const *words; /* of entrypoint and cmd; NULL-terminated, or NULL: none */
};

struct image_edit_args {
        const char *image;        /* as images_get() takes it */
        const char *const *names; /* of the new one, NULL-terminated, as people write them; they move here from others.
                                     NULL: the tag that @image is, if it is one */
        const struct image_change *changes;
        size_t n_changes;
        int cancel_fd; /* these four as in image_copy_args */
        uint64_t deadline_ns;
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
/* Another image with the same layers; the old one stays. Layers' blobs that are not kept here come from where the old
 * one came from. ERR_INVALID says which change is none; ERR_PRECONDITION: a layer is to be had nowhere. */
_must_use_ int images_edit(struct images *s, const struct image_edit_args *args, struct arena *arena,
                           const char **ret_id, struct err *err);

struct image_load_args {
        int fd;                   /* borrowed: an archive in a file or a pipe, or a folder */
        const char *const *names; /* more names, as people write them, for the one image that is in it; NULL: none */
        const char *platform;     /* that images are to be for, OS/ARCH or OS/ARCH/VARIANT; NULL: this machine's */
        int cancel_fd;            /* readable: stop, ERR_CANCELLED */
        /* As image_pull_args. May be NULL. */
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
struct image_loaded {
        const char *id, *digest; /* its manifest's: for Docker's archives one that is made here */
        const char **names;      /* that it got, full; NULL-terminated */
};
/* Images from an OCI image layout (an archive, or a folder), or from what `docker save` and Podman's docker-archive
 * are; archives may be compressed with gzip or zstd. Of what is there for several platforms that of @args. They get the
 * names that they have there, which move here from other images. Each image by itself is made durably or not at all;
 * when one fails, those before it stay, and @ret says which. ERR_INVALID: it is nothing of that kind; ERR_DATA_LOSS: a
 * part has another digest than it should; ERR_NOT_FOUND: an image is for another platform; ERR_DENIED with the kind
 * IMAGE_ERR_SIGNATURE: the signature policy. @arena must allow 64 MiB. */
_must_use_ int images_load(struct images *s, const struct image_load_args *args, struct arena *arena,
                           struct image_loaded **ret, size_t *ret_n, struct err *err);
struct image_commit_args {
        const char *snapshot; /* the container's, whose image is still here */
        int upper_fd;         /* of snapshot_create_at(): the folder "upper" in its home, borrowed; -1: it has none */
        const struct id_maps *owners;       /* that it was made with; NULL: none */
        bool may_change;                    /* somebody may write to it meanwhile */
        const char *const *leave_out;       /* paths from "/" on that are not taken, with all below; NULL-terminated */
        const char *const *leave_out_below; /* the same, but that they themselves are */
        /* All has been read: the container may go on. What it fails with is what images_commit() fails with. */
        int (*was_read)(void *read_userdata, struct err *err);
        void *read_userdata;
        const char *const *names; /* as of image_edit_args; NULL: none */
        const struct image_change *changes;
        size_t n_changes;
        const char *author, *message; /* NULL: none */
        const char *created_by;       /* what has run in it */
        bool zstd;                    /* the new layer, not gzip */
        int cancel_fd;                /* these four as in image_copy_args */
        uint64_t deadline_ns;
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
/* Another image: a snapshot's, with what was written above it as one more layer. Neither mounts nor sockets are in it.
 * ERR_PRECONDITION: its image is not here any more; ERR_ABORTED: what was to be read moved meanwhile. */
_must_use_ int images_commit(struct images *s, const struct image_commit_args *args, struct arena *arena,
                             const char **ret_id, struct err *err);

struct image_import_args {
        int fd; /* borrowed: a folder, or an archive of one (tar, perhaps with gzip or zstd) in a file or a pipe */
        const char *const *exclude; /* paths in the folder to leave out, with all below; NULL-terminated, or NULL.
                                       Of an archive nothing can be left out: ERR_INVALID */
        const char *const *names;   /* as people write them, NULL-terminated; they move here from other images */
        const struct image_change *changes; /* of an empty config */
        size_t n_changes;
        const char *comment; /* in its history; NULL: none */
        bool zstd;           /* the layer, not gzip */
        int cancel_fd;       /* these three as in image_load_args */
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
/* An image of one layer, with those files. The same folder, or archive, is the same layer, byte for byte. ERR_INVALID:
 * it is no archive, or cut off, or has a file that no layer can have; ERR_EXHAUSTED past the limits of pulls;
 * ERR_DENIED with the kind IMAGE_ERR_SIGNATURE: the signature policy (transport "tarball"). */
_must_use_ int images_import(struct images *s, const struct image_import_args *args, struct arena *arena,
                             const char **ret_id, struct err *err);
/* Remove the image behind @ref with all its names; missing is fine. Layers that a snapshot or another image uses stay.
 */
_must_use_ int images_remove(struct images *s, const char *ref, struct err *err);

/* Has it a tag that one of the patterns (fnmatch(3)) matches? @patterns: NULL-terminated, or NULL. */
bool image_is_pinned(const struct image *image, const char *const *patterns);

/* When it was pulled or used last; 0: not known. */
uint64_t image_last_use_s(const struct image *image);

struct image_prune_args {
        /* Is it to go? Asked of images that no container and no mount uses, with a lock held: it calls nothing here. */
        bool (*pick)(const struct image *image, void *userdata);
        void *userdata;
        bool dry_run;        /* only tell which */
        bool oldest_first;   /* by image_last_use_s() */
        uint64_t want_bytes; /* stop when so many are free; 0: no */
};
/* Remove unused images. @ret: those that went, in @arena; @ret_bytes: by how much the store got smaller. */
_must_use_ int images_prune(struct images *s, const struct image_prune_args *args, struct arena *arena,
                            struct image ***ret, size_t *ret_n, uint64_t *ret_bytes, struct err *err);

/* Remove layers' blobs that are kept of images that came from a registry: of which there were how many, of how many
 * bytes. Whoever needs one fetches it. */
_must_use_ int images_prune_blobs(struct images *s, bool dry_run, size_t *ret_n, uint64_t *ret_bytes, struct err *err);

/* Collect garbage as images_args.gc says: images unused for too long; and where the file system is too full, kept
 * layers' blobs, then images, those least recently used first. Also notes in the store when images were used. To be
 * called every few minutes. A pull that finds the disk full does it by itself, and then, also without thresholds, gives
 * up kept blobs. Blocks; thread-safe, one at a time. */
_must_use_ int images_collect(struct images *s, struct err *err);
struct image_collected {
        uint64_t runs, images, blobs, bytes; /* since images_new(); runs: of those that removed something */
};
struct image_collected images_collected(struct images *s);

struct image_df_entry {
        const struct image *image;
        uint64_t shared_bytes; /* of its size, layers that other images have, too */
        size_t n_users;        /* containers and mounts */
};
struct image_df {
        struct image_df_entry *images;
        size_t n_images;
        uint64_t layer_bytes, unused_layer_bytes; /* unpacked; the second: no container or mount needs them */
        size_t n_layers, n_unused_layers;
        uint64_t blob_bytes, unused_blob_bytes; /* as they came: kept layers, manifests, configs */
        size_t n_blobs, n_unused_blobs;
        uint64_t writable_bytes; /* of containers and mounts; walks them */
        size_t n_writable;
};
/* What takes how much room, in @arena. */
_must_use_ int images_df(struct images *s, struct arena *arena, struct image_df *ret, struct err *err);

/* --- images mounted on the host (image-mount.c) ----------------------------------------------------------------- */

struct image_mount_args {
        const char *image; /* as images_get() takes it */
        int target_fd;     /* the folder to mount at, borrowed; -1: a new one of ours */
        const char *path;  /* what target_fd is called */
        bool writable;     /* what is written stays as long as the mount does */
};
/* Mount it in the mount namespace that we are in. Its layers stay until it is unmounted, also when we start anew. */
_must_use_ int images_mount(struct images *s, const struct image_mount_args *args, struct arena *arena,
                            const char **ret_path, struct err *err);
/* Unmount the one at @what, a path from "/" on; or all of an image, as images_get() takes it; NULL: all. @ret_n: how
 * many. ERR_NOT_FOUND: none is; ERR_PRECONDITION: in use. */
_must_use_ int images_unmount(struct images *s, const char *what, size_t *ret_n, struct err *err);
struct image_mount {
        const char *image_id, *path;
        bool writable;
        bool mounted; /* else somebody else has unmounted it; images_unmount() forgets it, as the next start does */
};
_must_use_ int images_mounts(struct images *s, struct arena *arena, struct image_mount **ret, size_t *ret_n,
                             struct err *err);
/* Is the snapshot @id one of theirs? Then it is no container's. */
bool snapshot_is_mounted_image(const char *id);

enum image_check_state {
        CHECK_SOUND,
        CHECK_DAMAGED,
        CHECK_REPAIRED, /* was damaged */
        CHECK_UNKNOWN,  /* can't be checked */
};
struct image_check {
        const char *image, *kind; /* id; "manifest", "config", "blob" (of a layer, as far as it is kept) or "layer" */
        const char *digest;       /* of a layer its chain id */
        enum image_check_state state;
        const char *detail; /* what is wrong; "" */
};
struct image_verify_args {
        const char *reference; /* as images_get takes it */
        const struct image_auth *auth;
        bool repair; /* fetch and unpack anew what is damaged; a layer that containers use is only reported */
        int cancel_fd;
        /* Called for each thing that was checked, on the caller's thread. */
        void (*report)(const struct image_check *check, void *userdata);
        void *userdata;
};
/* Hash an image's blobs, and compare its layers' folders with what their archives hold. Needs the room of one unpacked
 * layer. What is found is reported; an error is one that ended the look. */
_must_use_ int images_verify(struct images *s, const struct image_verify_args *args, struct err *err);

struct image_fs_info {
        const char *mountpoint; /* where the root folder's file system is mounted */
        uint64_t used_bytes, inodes_used;
};
/* From sums kept in the store: never walks the tree. */
_must_use_ int images_fs_info(struct images *s, struct arena *arena, struct image_fs_info *ret, struct err *err);

/* --- snapshots: a container's writable layer on top of an image ------------------------------------------------- */

/* Make the snapshot @id of image @image_id. @maps: the ids of the user namespace whose root shall own it; NULL: the
 * host's. Where their owners can't be mapped by mounts the whole image is copied. ERR_EXISTS, ERR_NOT_FOUND. */
_must_use_ int snapshot_create(struct images *s, const char *id, const char *image_id, const struct id_maps *maps,
                               struct err *err);
/* The same with its upper and work folder elsewhere: in @home_fd (borrowed), an empty folder of whoever shall own what
 * is in it. That one is the caller's to remove, and to give to snapshot_mount() each time. */
_must_use_ int snapshot_create_at(struct images *s, const char *id, const char *image_id, const struct id_maps *maps,
                                  int home_fd, struct err *err);
struct snapshot_args {
        int userns_fd;     /* the user namespace that it was made for, in which owners of the image's files are what the
                              image says; -1: none */
        const char *label; /* SELinux context of all its files; NULL: none */
        int home_mount_fd; /* of snapshot_create_at(): a detached mount (borrowed) of that folder; 0: none */
};
/* A detached mount (fsmount) of the snapshot, to be placed by move_mount(2); nothing appears in this mount namespace.
 * ERR_PRECONDITION: idmapped layers can't be had here, which it was made for. */
_must_use_ int snapshot_mount(struct images *s, const char *id, const struct snapshot_args *args, int *ret_mount_fd,
                              struct err *err);
/* Of one made by snapshot_create_at() all but its home. */
_must_use_ int snapshot_remove(struct images *s, const char *id, struct err *err); /* missing is fine */
/* The image below it becomes @image_id (full id), what was written above stays; nothing has it mounted. @write is
 * called within the transaction that does it, for what is to change with it in the store, and may fail. Durable. Where
 * a layer is a copy of the image, another copy is made, which takes its time and room. */
_must_use_ int snapshot_set_image(struct images *s, const char *id, const char *image_id,
                                  int (*write)(void *userdata, struct err *err), void *userdata, struct err *err);
struct snapshot_volume {
        const char *image_id;
        const char *sub_path; /* only this part of it; "": all */
        struct snapshot_args args;
};
/* An image, or a part of it, as a detached read-only mount for the snapshot's container. Its layers stay until the
 * snapshot is removed. ERR_INVALID: no such sub path. For one caller at a time per snapshot. */
_must_use_ int snapshot_mount_volume(struct images *s, const char *id, const struct snapshot_volume *volume,
                                     int *ret_fd, struct err *err);
/* Can snapshots be made for user namespaces? Tried with @userns_fd, any, before the first is made: where kernel or file
 * system has no idmapped mounts, snapshots made from now on are copies with other owners, or, when snapshotter_conf's
 * idmap is "mount", it is ERR_PRECONDITION. */
_must_use_ int snapshots_check_idmap(struct images *s, int userns_fd, struct err *err);
/* Bytes and inodes of the writable layer. Walks it, see fs_usage(). */
_must_use_ int snapshot_usage(struct images *s, const char *id, const atomic_bool *give_up, uint64_t *ret_bytes,
                              uint64_t *ret_inodes, struct err *err);
/* Every snapshot on disk, for reconciling: NULL-terminated. */
_must_use_ int snapshot_list(struct images *s, struct arena *arena, const char ***ret, struct err *err);
