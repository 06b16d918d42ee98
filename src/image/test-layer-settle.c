/* SPDX-License-Identifier: Apache-2.0 */
/* Layers on top of each other: whiteouts, implicit folders, hardlinks and symlinks into lower layers, seen through a
 * mount; names across restarts; many layers; every way to mount. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/snapshot-mount.h"
#include "image/test-layer-kit.h"

static char root[64];
static struct kit_image image;
static struct strbuf tar = STRBUF(64 << 20), pax = STRBUF(1 << 20);

/* The lowest layer of most tests. */
static void push_base(void) {
        kit_image_init(&image, root);
        KIT_DIR(&tar, .name = ".", .mode = 0751, .uid = 21, .mtime = 111);
        KIT_DIR(&tar, .name = "usr", .mode = 0750, .uid = 1, .gid = 2, .mtime = 222);
        kit_pax(&pax, "SCHILY.xattr.trusted.note", "abc", 3);
        kit_pax_end(&tar, &pax);
        KIT_DIR(&tar, .name = "usr/bin", .mode = 0711, .uid = 3, .mtime = 333);
        KIT_ADD(&tar, .type = '0', .name = "usr/bin/sh", .mode = 04755, .uid = 4, .mtime = 444, .data = "shell");
        KIT_ADD(&tar, .type = '2', .name = "bin", .link = "usr/bin");
        KIT_DIR(&tar, .name = "d", .mtime = 555);
        KIT_FILE(&tar, "d/1", "one");
        KIT_FILE(&tar, "d/2", "two");
        KIT_FILE(&tar, "d/sub/3", "three");
        kit_push(&image, &tar);
}

static void done(int fd) {
        fd_close(fd);
        kit_image_done(&image);
}

static int mounted(void) {
        return kit_mount(&image, root, OVERLAY_ANY);
}

static void names_of(int dirfd, const char *path, char *ret, size_t size) {
        int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fdopendir(fd);
        struct dirent *e;
        char *list[64];
        size_t n = 0;

        assert(d);
        while ((e = readdir(d)))
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        list[n++] = xstrdup(e->d_name);
        closedir(d);
        ret[0] = '\0';
        for (char last[256] = ""; n;) {
                size_t best = 0;
                for (size_t i = 1; i < n; i++)
                        if (strcmp(list[i], list[best]) < 0)
                                best = i;
                snprintf(last, sizeof(last), "%s", list[best]);
                snprintf(ret + strlen(ret), size - strlen(ret), "%s%s", *ret ? " " : "", last);
                free(list[best]);
                list[best] = list[--n];
        }
}

static void expect_names(int fd, const char *path, const char *names) {
        char got[1000];

        names_of(fd, path, got, sizeof(got));
        if (!str_eq(got, names))
                fprintf(stderr, "%s: expected \"%s\", got \"%s\"\n", path, names, got);
        assert(str_eq(got, names));
}

static void test_whiteouts(void) {
        char top[128];
        int fd;

        push_base();
        KIT_FILE(&tar, "d/.wh.1", "");
        KIT_FILE(&tar, "d/new", "new");
        KIT_FILE(&tar, "d/.wh.new", "");     /* what this layer has stays */
        KIT_FILE(&tar, "d/.wh.nothing", ""); /* hides nothing: goes */
        KIT_FILE(&tar, "d/.wh.sub", "");     /* removed and made anew */
        KIT_FILE(&tar, "d/sub/4", "four");
        KIT_FILE(&tar, ".wh.usr", "");
        KIT_FILE(&tar, ".wh..wh.plnk/1", "");
        kit_push(&image, &tar);
        fd = mounted();
        expect_names(fd, ".", "bin d");
        expect_names(fd, "d", "2 new sub");
        expect_names(fd, "d/sub", "4");
        kit_top(&image, top);
        snprintf(top + strlen(top), 20, "/d");
        expect_names(AT_FDCWD, top, kit_is_whole(&image) ? "2 new sub" : "1 new sub"); /* 1: the whiteout */
        done(fd);

        for (int first = 0; first < 2; first++) {
                push_base();
                if (first)
                        KIT_FILE(&tar, "d/.wh..wh..opq", "");
                KIT_FILE(&tar, "d/1", "new");
                KIT_FILE(&tar, "d/.wh.2", "");
                if (!first)
                        KIT_FILE(&tar, "d/.wh..wh..opq", "");
                kit_push(&image, &tar);
                fd = mounted();
                expect_names(fd, "d", "1");
                kit_expect_file(fd, "d/1", "new");
                assert(kit_stat(fd, "d").st_mtime == 555); /* the folder itself is as it was */
                done(fd);

                push_base();
                if (first)
                        KIT_FILE(&tar, ".wh..wh..opq", "");
                KIT_FILE(&tar, "d/x", "new");
                KIT_FILE(&tar, "y", "new");
                if (!first)
                        KIT_FILE(&tar, ".wh..wh..opq", "");
                kit_push(&image, &tar);
                fd = mounted();
                expect_names(fd, ".", "d y");
                expect_names(fd, "d", "x");
                done(fd);
        }
        kit_image_init(&image, root); /* in the lowest layer markers mean nothing */
        KIT_FILE(&tar, "d/.wh.1", "");
        KIT_FILE(&tar, "d/.wh..wh..opq", "");
        kit_push(&image, &tar);
        fd = mounted();
        expect_names(fd, "d", "");
        done(fd);
}

/* The mark and the name are longer together than a name may be. */
static void test_whiteout_of_longest_name(void) {
        char path[2 + 4 + 255 + 1] = "d/";
        int fd;

        push_base();
        memset(path + 2, 'n', 255);
        kit_pax(&pax, "path", path, strlen(path));
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "x", "x");
        kit_push(&image, &tar);
        snprintf(path, sizeof(path), "d/.wh.%0255d", 0);
        memset(path + 6, 'n', 255);
        kit_pax(&pax, "path", path, strlen(path));
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "x", "");
        kit_push(&image, &tar);
        fd = mounted();
        expect_names(fd, "d", "1 2 sub");
        done(fd);
}

static void test_implicit(void) {
        char value[8], path[64];
        struct stat st;
        int fd;

        push_base();
        KIT_FILE(&tar, "usr/bin/new", "new");
        KIT_FILE(&tar, "usr/lib/new", "new");
        kit_push(&image, &tar);
        KIT_FILE(&tar, "other", ""); /* and one more, so that lower means two layers */
        kit_push(&image, &tar);
        KIT_FILE(&tar, "usr/bin/newer", "new");
        kit_push(&image, &tar);
        fd = mounted();
        st = kit_stat(fd, "usr");
        assert((st.st_mode & 07777) == 0750 && st.st_uid == 1 && st.st_gid == 2 && st.st_mtime == 222);
        st = kit_stat(fd, "usr/bin");
        assert((st.st_mode & 07777) == 0711 && st.st_uid == 3 && st.st_mtime == 333);
        snprintf(path, sizeof(path), "/proc/self/fd/%d/usr/bin", fd);
        assert(getxattr(path, "trusted.note", value, sizeof(value)) == 3);
        st = kit_stat(fd, "usr/lib");
        assert((st.st_mode & 07777) == 0755 && st.st_uid == 0);
        expect_names(fd, "usr/bin", "new newer sh");
        done(fd);
}

static void test_root(void) {
        char top[128];
        struct stat st;

        push_base();
        KIT_FILE(&tar, "x", "");
        kit_push(&image, &tar);
        kit_top(&image, top);
        assert(stat(top, &st) == 0 && (st.st_mode & 07777) == 0751 && st.st_uid == 21 && st.st_mtime == 111);
        KIT_DIR(&tar, .name = "./", .mode = 0700, .mtime = 9);
        kit_push(&image, &tar);
        KIT_FILE(&tar, "y", "");
        kit_push(&image, &tar);
        kit_top(&image, top);
        assert(stat(top, &st) == 0 && (st.st_mode & 07777) == 0700 && st.st_uid == 0 && st.st_mtime == 9);
        done(-1);
}

/* "bin" is a symlink below: what a layer puts into it belongs to usr/bin. */
static void test_symlinks(void) {
        struct stat st;
        int fd;

        push_base();
        KIT_FILE(&tar, "bin/new", "new");
        KIT_FILE(&tar, "bin/sub/x", "x");
        KIT_FILE(&tar, "bin/.wh.sh", "");
        kit_push(&image, &tar);
        KIT_FILE(&tar, "usr/bin/more", "more");
        KIT_DIR(&tar, .name = "usr/bin/sub", .mode = 0700, .mtime = 8);
        KIT_FILE(&tar, "bin/sub/y", "y");
        KIT_FILE(&tar, "bin/new", "newer");
        KIT_ADD(&tar, .type = '1', .name = "hard", .link = "bin/sub/x");
        kit_push(&image, &tar);
        fd = mounted();
        assert(S_ISLNK(kit_stat(fd, "bin").st_mode));
        expect_names(fd, "usr/bin", "more new sub");
        expect_names(fd, "usr/bin/sub", "x y");
        kit_expect_file(fd, "usr/bin/new", "newer");
        kit_expect_file(fd, "hard", "x");
        st = kit_stat(fd, "usr/bin");
        assert((st.st_mode & 07777) == 0711 && st.st_uid == 3 && st.st_mtime == 333);
        st = kit_stat(fd, "usr/bin/sub");
        assert((st.st_mode & 07777) == 0700 && st.st_mtime == 8);
        assert(kit_stat(fd, "hard").st_ino == kit_stat(fd, "usr/bin/sub/x").st_ino);
        done(fd);

        push_base(); /* with an entry of its own, the folder takes the symlink's place */
        KIT_DIR(&tar, .name = "bin", .mode = 0700);
        KIT_FILE(&tar, "bin/new", "new");
        KIT_FILE(&tar, "bin/.wh.sh", "");
        KIT_FILE(&tar, "bin/deep/er", "new");
        kit_push(&image, &tar);
        fd = mounted();
        expect_names(fd, "bin", "deep new");
        expect_names(fd, "usr/bin", "sh");
        done(fd);

        kit_image_init(&image, root); /* links out of the root, round in circles, to where nothing is, over a file */
        KIT_ADD(&tar, .type = '2', .name = "out", .link = "../../../../target");
        KIT_ADD(&tar, .type = '2', .name = "loop", .link = "loop");
        KIT_ADD(&tar, .type = '2', .name = "top", .link = "/");
        KIT_FILE(&tar, "file", "file");
        kit_push(&image, &tar);
        KIT_FILE(&tar, "out/x", "x");
        KIT_FILE(&tar, "top/t", "t");
        KIT_FILE(&tar, "file/over", "over");
        kit_push(&image, &tar);
        fd = mounted();
        kit_expect_file(fd, "target/x", "x");
        kit_expect_file(fd, "t", "t");
        kit_expect_file(fd, "file/over", "over");
        fd_close(fd);
        KIT_FILE(&tar, "loop/x", "x");
        struct err err = { 0 };
        assert(kit_try(&image, &tar, &err) == -ERR_INVALID && strstr(err.msg, "symlinks"));
        done(-1);
}

static void test_hardlinks(void) {
        struct err err = { 0 };
        struct stat st;
        int fd;

        push_base();
        KIT_ADD(&tar, .type = '1', .name = "usr/bin/bash", .link = "bin/sh");
        KIT_ADD(&tar, .type = '1', .name = "usr/bin/dash", .link = "usr/bin/bash");
        KIT_ADD(&tar, .type = '1', .name = "b", .link = "bin");
        KIT_ADD(&tar, .type = '1', .name = "late", .link = "d/1");
        KIT_FILE(&tar, "late", "later wins");
        KIT_ADD(&tar, .type = '1', .name = "left1", .link = "d/2");
        KIT_ADD(&tar, .type = '1', .name = "left2", .link = "d/2");
        KIT_FILE(&tar, "d/.wh.2", "");
        kit_push(&image, &tar);
        fd = mounted();
        kit_expect_file(fd, "usr/bin/dash", "shell");
        st = kit_stat(fd, "usr/bin/sh");
        assert(st.st_nlink == 3 && (st.st_mode & 07777) == 04755 && st.st_uid == 4 && st.st_mtime == 444);
        assert(kit_stat(fd, "usr/bin/dash").st_ino == st.st_ino);
        assert(S_ISLNK(kit_stat(fd, "b").st_mode) && kit_stat(fd, "b").st_nlink == 2);
        st = kit_stat(fd, "usr/bin");
        assert((st.st_mode & 07777) == 0711 && st.st_mtime == 333);
        kit_expect_file(fd, "late", "later wins");
        assert(kit_missing(fd, "d/2") && kit_stat(fd, "left1").st_ino == kit_stat(fd, "left2").st_ino);
        kit_expect_file(fd, "left2", "two");
        fd_close(fd);
        KIT_ADD(&tar, .type = '1', .name = "x", .link = "not/there");
        assert(kit_try(&image, &tar, &err) == -ERR_INVALID && strstr(err.msg, "no file"));
        KIT_ADD(&tar, .type = '1', .name = "x", .link = "usr/bin");
        assert(kit_try(&image, &tar, &err) == -ERR_INVALID && strstr(err.msg, "no file"));
        KIT_FILE(&tar, "d/.wh.1", "");
        KIT_ADD(&tar, .type = '1', .name = "x", .link = "d/1");
        assert(kit_try(&image, &tar, &err) == -ERR_INVALID && strstr(err.msg, "removes"));
        done(-1);
}

static void test_restart(void) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        char top[128], name[32], path[200];
        const char **list;
        struct err err;
        struct kit_image first;

        push_base();
        KIT_FILE(&tar, "x", "x");
        kit_push(&image, &tar);
        assert(layer_short_name(image.layers, image.chains[1], name, &err) == 0);
        snprintf(path, sizeof(path), "%s/layers/tmp/9/sub", root);
        assert(fs_mkdir_p(path, 0755, &err) == 0);
        snprintf(path, sizeof(path), "%s/layers/77", root); /* put in place, not named */
        assert(mkdir(path, 0755) == 0);
        snprintf(path, sizeof(path), "%s/layers/by-chain/sha256-dangling", root);
        assert(symlink("../1000", path) == 0);
        image.layers = layers_free(image.layers);
        snprintf(path, sizeof(path), "%s/layers/unsynced", root);
        assert(kit_is_empty(AT_FDCWD, path)); /* synced at the end */
        first = image;
        fd_close(image.root_fd);
        kit_image_init(&image, root);
        first.root_fd = image.root_fd;
        first.layers = image.layers;
        image = first;
        assert(layer_short_name(image.layers, image.chains[1], top, &err) == 0 && str_eq(top, name));
        assert(layer_list(image.layers, arena, &list, &err) == 0 && list[0] && list[1] && !list[2]);
        image.layers = layers_free(image.layers); /* waits for the tidying up */
        snprintf(path, sizeof(path), "%s/layers/tmp", root);
        assert(kit_is_empty(AT_FDCWD, path));

        /* The machine stopped before the second one was on disk. */
        snprintf(path, sizeof(path), "%s/layers/unsynced/%s", root, name);
        assert(fs_write_atomic(AT_FDCWD, path, "another boot", 12, 0600, false, &err) == 0);
        assert(layers_new(root, &kit_conf, &image.layers, &err) == 0);
        assert(layer_exists(image.layers, image.chains[0]) && !layer_exists(image.layers, image.chains[1]));
        assert(layer_short_name(image.layers, image.chains[1], top, &err) == -ERR_NOT_FOUND);
        assert(layer_remove(image.layers, image.chains[1], &err) == 0);
        assert(layer_short_name(image.layers, "sha256:../../x", top, &err) == -ERR_INVALID);
        image.layers = layers_free(image.layers);
        assert(layers_new(root, &kit_conf, &image.layers, &err) == 0);
        image.n = 1;
        done(-1);
}

/* What comes into tmp/ after a start has somebody who removes it: two of them would fail each other. */
static void test_left_overs(void) {
        char old[256], new[256];
        struct err err;

        kit_image_init(&image, root);
        image.layers = layers_free(image.layers);
        snprintf(old, sizeof(old), "%s/layers/tmp/1000", root);
        snprintf(new, sizeof(new), "%s/layers/tmp/999", root);
        assert(mkdir(old, 0755) == 0 && layers_new(root, &kit_conf, &image.layers, &err) == 0);
        assert(mkdir(new, 0755) == 0);
        image.layers = layers_free(image.layers); /* waits for the tidying up */
        assert(access(old, F_OK) < 0 && rmdir(new) == 0);
        assert(layers_new(root, &kit_conf, &image.layers, &err) == 0);
        done(-1);
}

/* Two pulls of one layer: the second one is dropped. */
static void test_race(void) {
        struct layer_sink *a, *b;
        uint64_t bytes, inodes;
        struct err err;
        char diff[80];

        kit_image_init(&image, root);
        KIT_FILE(&tar, "x", "x");
        kit_end(&tar);
        kit_sha256(tar.data, tar.len, diff);
        const struct kit_blob blob = { .data = tar.data, .len = tar.len };
        assert(kit_ingest(image.layers, &blob, &a, &err) == 0 && kit_ingest(image.layers, &blob, &b, &err) == 0);
        assert(layer_sink_finish(a, diff, NULL, 0, &bytes, &inodes, &err) == 0);
        assert(layer_sink_finish(b, diff, NULL, 0, &bytes, &inodes, &err) == 0);
        assert(bytes == 8192 && inodes == 2);
        a = layer_sink_free(a);
        b = layer_sink_free(b);
        tar.len = 0;
        memcpy(image.chains[0], diff, sizeof(diff));
        image.n = 1;
        done(-1);
}

/* Room that is made elsewhere would not help. */
static void test_attribute_too_large(void) {
        _cleanup_(freep) char *value = xcalloc(1, 60000);
        struct err err;

        kit_image_init(&image, root);
        kit_pax(&pax, "SCHILY.xattr.user.large", value, 60000);
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "x", "x");
        assert(kit_try(&image, &tar, &err) == -ERR_EXHAUSTED && err.sys_errno == 0 && strstr(err.msg, "user.large"));
        done(-1);
}

static void test_many(void) {
        char name[32];

        kit_image_init(&image, root);
        for (int i = 0; i < 127; i++) {
                snprintf(name, sizeof(name), "dir/%d", i);
                KIT_FILE(&tar, name, name);
                if (i > 0) {
                        snprintf(name, sizeof(name), "dir/.wh.%d", i - 1);
                        KIT_FILE(&tar, i % 2 ? name : "dir/same", "");
                }
                kit_push(&image, &tar);
        }
        /* As strings 127 names do not fit: that falls back by itself. */
        for (int way = OVERLAY_ANY; way <= OVERLAY_MOUNT; way++) {
                int fd, file;

                if (way == OVERLAY_APPEND && !overlay_has_append())
                        continue;
                fd = kit_mount(&image, root, way);
                kit_expect_file(fd, "dir/125", "dir/125");
                assert(kit_missing(fd, "dir/0"));
                file = openat(fd, "dir/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
                assert(file >= 0 && unlinkat(fd, "dir/1", 0) == 0 && kit_missing(fd, "dir/1"));
                fd_close(file);
                fd_close(fd);
        }
        kit_drop_mounts(&image);
        while (image.n > 20) { /* those fit */
                struct err err;
                image.n--;
                assert(layer_remove(image.layers, image.chains[image.n], &err) == 0);
        }
        for (int way = OVERLAY_ANY; way <= OVERLAY_MOUNT; way++) {
                int fd;

                if (way == OVERLAY_APPEND && !overlay_has_append())
                        continue;
                fd = kit_mount(&image, root, way);
                kit_expect_file(fd, "dir/19", "dir/19");
                fd_close(fd);
        }
        done(-1);
}

int main(void) {
        umask(077);
        for (const char *const *how = kit_snapshotters; *how; how++) {
                if (!kit_place(root, "64m", *how))
                        continue;
                test_whiteouts();
                test_whiteout_of_longest_name();
                test_implicit();
                test_root();
                test_symlinks();
                test_hardlinks();
                test_restart();
                test_race();
                test_left_overs();
                if (str_eq(*how, "btrfs"))
                        test_attribute_too_large();
                if (!str_eq(*how, "zfs")) /* takes minutes, and the number means nothing to it */
                        test_many();
                kit_place_done(root);
        }
        strbuf_done(&tar);
        strbuf_done(&pax);
        return 0;
}
