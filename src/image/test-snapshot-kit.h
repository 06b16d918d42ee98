/* SPDX-License-Identifier: Apache-2.0 */
/* test-snapshot-kit - what the tests of snapshots have for struct images: "sha256:image", made here of two layers, and
 * "sha256:lower", the same without the upper one; holds are only counted. */
#pragma once
#include <dirent.h>
#include <sys/types.h>
#include "image/images.h"
#include "image/test-layer-kit.h"

struct images {
        struct kit_image image; /* with image.n 1 both have the lowest layer alone */
        struct store *store;
        struct arena *arena;
        char root[64]; /* kit_place()'s */
        int root_fd, holds;
};

/* @more: adds to the lowest layer; may be NULL. */
void kit_images_init(struct images *s, void (*more)(struct strbuf *tar));
void kit_images_done(struct images *s);

/* Descriptors of mounts, which must work. @userns: -1: none. */
int kit_mount_snapshot(struct images *s, const char *id, int userns);
int kit_mount_volume(struct images *s, const char *id, const char *sub_path, int userns);
DIR *kit_open_snapshot(struct images *s, const char *id); /* its folder */
void kit_expect_one_tree(struct images *s, const char *id);
/* For snapshot_set_image(): puts "note" into the store. @userdata: the images. */
int kit_write_note(void *userdata, struct err *err);

void kit_write_file(int dirfd, const char *name, size_t size); /* of so many "x" */
void kit_expect_owner(int dirfd, const char *name, uid_t uid, gid_t gid);
