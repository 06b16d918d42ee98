/* SPDX-License-Identifier: Apache-2.0 */
/* test-layer-kit - archives built in memory, and layers made of them, for the tests of layers and snapshots. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/strbuf.h"
#include "image/layer.h"

/* A tmpfs of our own at *ret (in a mount namespace of our own); exits 77 where that can't be had. @size: "64m". */
void kit_tmpfs(char ret[64], const char *size);

/* Such a place on a file system that @snapshotter wants: for btrfs one of its own in a loop device, for ZFS
 * a pool. False, and said
 * why, where it can't be had. Layers made by kit_image_init() are @snapshotter's from then on. */
bool kit_place(char ret[64], const char *size, const char *snapshotter);
void kit_place_done(const char *place);
extern const char *const kit_snapshotters[]; /* all, NULL-terminated */
extern struct snapshotter_conf kit_conf;

/* --- archives --- */
struct kit_entry {
        char type; /* '0'... */
        const char *name, *link;
        unsigned mode, uid, gid; /* mode 0: 0755 for a folder, else 0644 */
        long long mtime;         /* 0: 1000000000 */
        const char *data;
        size_t len; /* of data; 0: strlen */
        unsigned major, minor;
};
void kit_add(struct strbuf *tar, const struct kit_entry *e);
#define KIT_ADD(tar, ...) kit_add((tar), &(struct kit_entry){ __VA_ARGS__ })
#define KIT_DIR(tar, ...) kit_add((tar), &(struct kit_entry){ .type = '5', __VA_ARGS__ })
#define KIT_FILE(tar, path, text) KIT_ADD((tar), .type = '0', .name = (path), .data = (text))
/* One record of an extended header; kit_pax_end() puts the header before the next entry. */
void kit_pax(struct strbuf *records, const char *key, const void *value, size_t len);
void kit_pax_end(struct strbuf *tar, struct strbuf *records);
void kit_end(struct strbuf *tar);
/* Fix the checksum of the header at @at. */
void kit_checksum(char *header);

void kit_gzip(struct strbuf *to, const void *data, size_t len);
void kit_sha256(const void *data, size_t len, char ret[80]);

/* --- layers --- */
struct kit_image {
        struct layers *layers;
        char chains[200][80];
        const char *list[200];
        size_t n;
        char writables[16][32]; /* in its root: those of kit_mount(), where layers are whole */
        size_t n_writables;
        int root_fd, top_fd; /* top_fd: of kit_top(); 0: none */
};
struct kit_blob {
        const void *data;
        size_t len;
        const char *media_type; /* NULL: plain tar */
        const char *diff_id;    /* NULL: the digest of data */
        size_t chunk;           /* 0: all at once */
        uint64_t max_bytes, max_entries;
};
/* Through a sink, up to layer_sink_end(). */
int kit_ingest(struct layers *l, const struct kit_blob *b, struct layer_sink **ret, struct err *err);
/* Unpack @tar (which gets its end mark) as the image's next layer. */
int kit_try(struct kit_image *image, struct strbuf *tar, struct err *err);
void kit_push(struct kit_image *image, struct strbuf *tar); /* must work */
/* Path of the image's top layer folder, by /proc/self/fd. */
void kit_top(struct kit_image *image, char ret[128]);
/* Descriptor of a mount of the whole image, with a writable layer below @root. */
int kit_mount(struct kit_image *image, const char *root, int way);
/* Remove what kit_mount() made of whole layers; nothing of it may be mounted any more. */
void kit_drop_mounts(struct kit_image *image);
void kit_image_init(struct kit_image *image, const char *root);
void kit_image_done(struct kit_image *image);

bool kit_is_empty(int dirfd, const char *path);
/* As "snapshotter" in the configuration: kit_conf's are whole trees. */
bool kit_is_whole(const struct kit_image *image);
/* fstatat's result must be there. */
struct stat kit_stat(int dirfd, const char *path);
void kit_expect_file(int dirfd, const char *path, const char *text);
bool kit_missing(int dirfd, const char *path);
