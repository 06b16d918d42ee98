/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: their life, what a crash leaves of them, image volumes, writable layers elsewhere. Of user namespaces:
 * test-snapshot-userns.c. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/mount.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/snapshot.h"
#include "image/test-snapshot-kit.h"

int umount2(const char *target, int flags);
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
enum { DETACH = 2 };

static struct images s;
static struct err err;

static size_t count(void) {
        const char **list;
        size_t n = 0;

        assert(snapshot_list(&s, s.arena, &list, &err) == 0);
        while (list[n])
                n++;
        return n;
}

static void test_life(void) {
        static const char *const bad[] = { "", ".", "..", "a/b", ".gone-x", "a:b", "a,b", "a\\b" };
        uint64_t bytes, inodes;
        struct stat st;
        char path[100];
        int fd;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert(snapshot_create(&s, bad[i], "sha256:image", NULL, &err) == -ERR_INVALID);
                assert(snapshot_mount(&s, bad[i], &(struct snapshot_args){ .userns_fd = -1 }, &fd, &err) < 0 &&
                       snapshot_remove(&s, bad[i], &err) == -ERR_INVALID);
        }
        assert(snapshot_create(&s, "a", "sha256:other", NULL, &err) == -ERR_NOT_FOUND);
        assert(snapshot_mount(&s, "a", &(struct snapshot_args){ .userns_fd = -1 }, &fd, &err) == -ERR_NOT_FOUND);
        assert(snapshot_usage(&s, "a", NULL, &bytes, &inodes, &err) == -ERR_NOT_FOUND);
        assert(count() == 0 && s.holds == 0);
        umask(077);
        assert(snapshot_create(&s, "a", "sha256:image", NULL, &err) == 0);
        assert(snapshot_create(&s, "a", "sha256:image", NULL, &err) == -ERR_EXISTS);
        assert(count() == 1 && s.holds == 1);

        fd = kit_mount_snapshot(&s, "a", -1);
        st = kit_stat(fd, ".");
        assert((st.st_mode & 07777) == 0751 && st.st_uid == 5 && st.st_gid == 6 && st.st_mtime == 77);
        kit_expect_file(fd, "file", "lower");
        kit_write_file(fd, "new", 100000);
        assert(unlinkat(fd, "other", 0) == 0);
        do /* ZFS counts when it writes to disk */
                assert(usleep(1000) == 0 && snapshot_usage(&s, "a", NULL, &bytes, &inodes, &err) == 0);
        while (layers_snapshotter(s.image.layers)->ops->elsewhere && bytes < 90000);
        assert(bytes >= 90000 && bytes < 200000 &&
               inodes ==
                       (kit_is_whole(&s.image) ? 0 : 3)); /* one file more, one less; or those, a mark and the folder */
        snprintf(path, sizeof(path), "%s/at", s.root);
        assert(mkdir(path, 0755) == 0);
        assert(syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) == 0);
        assert(kit_stat(AT_FDCWD, path).st_uid == 5 && umount2(path, 0) != 0); /* fd holds it */
        fd_close(fd);
        assert(umount2(path, 0) == 0 && rmdir(path) == 0);

        fd = kit_mount_snapshot(&s, "a", -1); /* again */
        assert(kit_stat(fd, "new").st_size == 100000 && kit_missing(fd, "other"));
        fd_close(fd);
        assert(snapshot_remove(&s, "a", &err) == 0 && snapshot_remove(&s, "a", &err) == 0);
        assert(count() == 0 && s.holds == 0);
        snprintf(path, sizeof(path), "%s/snapshots", s.root);
        assert(kit_is_empty(AT_FDCWD, path));
}

static int write_fails(void *userdata, struct err *e) {
        (void) userdata;
        return err_set(e, ERR_EXHAUSTED, "no room");
}

static void expect_written(void) {
        int fd = kit_mount_snapshot(&s, "a", -1);

        kit_expect_file(fd, "dir/inside", "mine");
        assert(kit_stat(fd, "new").st_size == 1000 && kit_missing(fd, "file") && kit_stat(fd, "to-dir").st_size == 4);
        assert(kit_stat(fd, "new").st_ino == kit_stat(fd, "dir/link").st_ino);
        fd_close(fd);
}

/* What was written stays, and what it was written to does not. */
static void test_another_image(void) {
        char path[100];
        size_t len;
        void *note;
        int fd;

        assert(snapshot_create(&s, "a", "sha256:image", NULL, &err) == 0);
        fd = kit_mount_snapshot(&s, "a", -1);
        kit_write_file(fd, "new", 1000);
        assert(linkat(fd, "new", fd, "dir/link", 0) == 0 && unlinkat(fd, "file", 0) == 0);
        assert(fs_write_atomic(fd, "dir/inside", "mine", 4, 0644, false, &err) == 0);
        fd_close(fd);
        assert(snapshot_set_image(&s, "a", "sha256:other", kit_write_note, &s, &err) == -ERR_NOT_FOUND);
        assert(snapshot_set_image(&s, "a", "sha256:lower", write_fails, NULL, &err) == -ERR_EXHAUSTED);
        assert(store_get(s.store, STORE_META, "note", &note, &len, &err) == -ERR_NOT_FOUND && s.holds == 1);
        expect_written();
        kit_expect_one_tree(&s, "a");
        fd = kit_mount_snapshot(&s, "a", -1);
        kit_expect_file(fd, "other", "lower");
        fd_close(fd);
        assert(snapshot_set_image(&s, "a", "sha256:lower", kit_write_note, &s, &err) == 0 && s.holds == 1);
        assert(store_get(s.store, STORE_META, "note", &note, &len, &err) == 0);
        free(note);
        expect_written();
        kit_expect_one_tree(&s, "a");
        fd = kit_mount_snapshot(&s, "a", -1);
        assert(kit_missing(fd, "other"));
        fd_close(fd);
        assert(snapshot_set_image(&s, "a", "sha256:image", kit_write_note, &s, &err) == 0 && s.holds == 1);
        assert(snapshots_reconcile(&s, &err) == 0);
        expect_written();
        kit_expect_one_tree(&s, "a");
        fd = kit_mount_snapshot(&s, "a", -1);
        kit_expect_file(fd, "other", "lower");
        fd_close(fd);
        assert(snapshot_remove(&s, "a", &err) == 0 && s.holds == 0);
        snprintf(path, sizeof(path), "%s/snapshots", s.root);
        assert(kit_is_empty(AT_FDCWD, path));
}

/* The machine stopped while it was mounted: what it holds can't be trusted, also if the note of the boot is lost. */
static void test_crash(void) {
        char path[200];
        int fd;

        assert(snapshot_create(&s, "b", "sha256:image", NULL, &err) == 0);
        fd_close(kit_mount_snapshot(&s, "b", -1));
        snprintf(path, sizeof(path), "%s/snapshots/b/boot", s.root);
        assert(fs_write_atomic(AT_FDCWD, path, "another", 7, 0600, false, &err) == 0);
        for (int i = 0; i < 2; i++) {
                for (int tries = 0; tries < 2; tries++)
                        assert(snapshot_mount(&s, "b", &(struct snapshot_args){ .userns_fd = -1 }, &fd, &err) ==
                               -ERR_DATA_LOSS);
                assert(i || unlink(path) == 0);
        }
        assert(snapshot_remove(&s, "b", &err) == 0);
}

static void test_reconcile(void) {
        const char *root = s.root;
        char path[200];

        assert(snapshots_reconcile(&s, &err) == 0);
        assert(snapshot_create(&s, "kept", "sha256:image", NULL, &err) == 0);
        assert(snapshot_create(&s, "no-folder", "sha256:image", NULL, &err) == 0);
        assert(snapshot_create(&s, "no-record", "sha256:image", NULL, &err) == 0);
        assert(snapshot_create(&s, "torn", "sha256:image", NULL, &err) == 0);
        snprintf(path, sizeof(path), "%s/snapshots/no-folder", root);
        const struct tree tree = { open(path, O_RDONLY | O_CLOEXEC), "upper", "snapshot", "no-folder" };
        assert(layers_snapshotter(s.image.layers)->ops->remove(layers_snapshotter(s.image.layers), &tree, &err) == 0);
        fd_close(tree.dirfd);
        assert(fs_remove_tree(AT_FDCWD, path, &err) == 0);
        snprintf(path, sizeof(path), "%s/snapshots/.gone-x/upper", root);
        assert(fs_mkdir_p(path, 0755, &err) == 0);
        assert(store_delete(s.store, STORE_SNAPSHOT, "no-record", &err) == 0);
        assert(store_put(s.store, STORE_SNAPSHOT, "torn", "{\"lay", 5, &err) == 0);
        assert(snapshot_mount(&s, "torn", &(struct snapshot_args){ .userns_fd = -1 }, &(int){ 0 }, &err) ==
               -ERR_DATA_LOSS);
        assert(s.holds == 4 && snapshots_reconcile(&s, &err) == 0);
        assert(s.holds == 3); /* of no-record's hold the store knows nothing, so at a start it is not there */
        assert(count() == 2 && snapshot_remove(&s, "torn", &err) == 0);
        assert(snapshot_remove(&s, "kept", &err) == 0 && s.holds == 2);
        snprintf(path, sizeof(path), "%s/snapshots", root);
        assert(kit_is_empty(AT_FDCWD, path));
}

/* A commit that was killed leaves what the container wrote, by names of its own choice: here those of our trees, more
 * than anybody wants to remember. */
static void test_killed_commit(void) {
        char path[200];
        int dir;

        snprintf(path, sizeof(path), "%s/snapshots/.changes-x", s.root);
        assert(fs_mkdir_p(path, 0700, &err) == 0);
        dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < 20000; i++) {
                snprintf(path, sizeof(path), "volume.%d %s", i, "with a name that no dataset can have");
                assert(mknodat(dir, path, S_IFREG | 0600, 0) == 0);
        }
        fd_close(dir);
        assert(snapshots_reconcile(&s, &err) == 0);
        snprintf(path, sizeof(path), "%s/snapshots", s.root);
        assert(kit_is_empty(AT_FDCWD, path));
}

/* What can't be removed at a start waits for the next, and keeps nothing else from being tidied up. */
static void test_left_over_in_use(void) {
        static const char *const names[] = { "1", ".gone-2", "3" };
        char path[200], in_use[250];

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                snprintf(path, sizeof(path), "%s/snapshots/%s", s.root, names[i]);
                snprintf(in_use, sizeof(in_use), "%s/volume.7/in-use", path);
                assert(fs_mkdir_p(i == 1 ? in_use : path, 0700, &err) == 0);
                assert(i != 1 || mount("tmpfs", in_use, "tmpfs", 0, "size=1m") == 0);
        }
        assert(store_put(s.store, STORE_SNAPSHOT, "2", "{}", 2, &err) == 0);
        assert(snapshots_reconcile(&s, &err) == 0 && count() == 0);
        snprintf(in_use, sizeof(in_use), "%s/snapshots/.gone-2/volume.7/in-use", s.root);
        assert(umount2(in_use, 0) == 0 && snapshots_reconcile(&s, &err) == 0);
        snprintf(path, sizeof(path), "%s/snapshots", s.root);
        assert(kit_is_empty(AT_FDCWD, path));
}

static void test_volumes(void) {
        static const char *const missing[] = { "nothing", "file/below", "loop", "out/etc/passwd", "../x" };
        const int holds = s.holds;
        const size_t n = s.image.n;
        struct stat st;
        int fd;

        assert(snapshot_mount_volume(&s, "v", &(struct snapshot_volume){ "sha256:image", "", { .userns_fd = -1 } }, &fd,
                                     &err) == -ERR_NOT_FOUND &&
               s.holds == holds);
        assert(snapshot_create(&s, "v", "sha256:image", NULL, &err) == 0);
        assert(snapshot_mount_volume(&s, "v", &(struct snapshot_volume){ "sha256:other", "", { .userns_fd = -1 } }, &fd,
                                     &err) == -ERR_NOT_FOUND);
        assert(snapshot_remove(&s, "v", &err) == 0);
        for (s.image.n = 1; s.image.n <= n; s.image.n++) { /* one layer is bound, several are an overlay */
                assert(snapshot_create(&s, "v", "sha256:image", NULL, &err) == 0);
                fd = kit_mount_volume(&s, "v", "", -1);
                kit_expect_file(fd, "file", "lower");
                assert(kit_missing(fd, "other") == (s.image.n == 1));
                assert(openat(fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
                fd_close(fd);
                fd = kit_mount_volume(&s, "v", "to-dir", -1);
                kit_expect_file(fd, "inside", "deep");
                assert(openat(fd, "../file", O_RDONLY | O_CLOEXEC) < 0); /* the mount ends there */
                fd_close(fd);
                fd = kit_mount_volume(&s, "v", "/dir/../file", -1);
                assert(fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
                fd_close(fd);
                for (size_t i = 0; i < ELEMENTSOF(missing); i++)
                        assert(snapshot_mount_volume(
                                       &s, "v",
                                       &(struct snapshot_volume){ "sha256:image", missing[i], { .userns_fd = -1 } },
                                       &fd, &err) == -ERR_INVALID);
                assert(s.holds > 4 && snapshot_remove(&s, "v", &err) == 0 && s.holds == holds);
        }
        s.image.n = n;
}

/* The record of a snapshot that has so many image volumes of two layers. */
static void put_volumes(const char *id, size_t n) {
        _cleanup_strbuf_ struct strbuf json = STRBUF(8 << 20);

        strbuf_printf(&json, "{\"image\":\"sha256:image\",\"layers\":[\"%s\",\"%s\"],\"volumes\":[", s.image.chains[0],
                      s.image.chains[1]);
        for (size_t i = 0; i < n; i++)
                strbuf_printf(&json, "%s\"%s\",\"%s\"", i ? "," : "", s.image.chains[0], s.image.chains[1]);
        strbuf_printf(&json, "]}");
        assert(store_put(s.store, STORE_SNAPSHOT, id, json.data, json.len, &err) == 0);
}

/* A pod may ask for any number of volumes: there is an end, before anybody has too much to remember. */
static void test_many_volumes(void) {
        const struct snapshot_volume all = { "sha256:image", "", { .userns_fd = -1 } };
        const int holds = s.holds;
        int fd;

        assert(snapshot_create(&s, "v", "sha256:image", NULL, &err) == 0);
        put_volumes("v", 3999);
        s.holds += 3999;
        fd_close(kit_mount_volume(&s, "v", "", -1));
        assert(snapshot_mount_volume(&s, "v", &all, &fd, &err) == -ERR_EXHAUSTED && strstr(err.msg, "layers together"));
        assert(s.holds == holds + 1 + 4000);
        fd_close(kit_mount_snapshot(&s, "v", -1));
        put_volumes("v", 20000);
        assert(snapshot_mount(&s, "v", &(struct snapshot_args){ .userns_fd = -1 }, &fd, &err) == -ERR_DATA_LOSS);
        put_volumes("v", 4000);
        assert(snapshot_remove(&s, "v", &err) == 0 && s.holds == holds);
}

static void test_lost_layer(void) {
        char path[100];
        int fd;

        assert(snapshot_create(&s, "c", "sha256:image", NULL, &err) == 0);
        assert(layer_remove(s.image.layers, s.image.chains[0], &err) == 0);
        assert(snapshot_mount(&s, "c", &(struct snapshot_args){ .userns_fd = -1 }, &fd, &err) == -ERR_DATA_LOSS &&
               strstr(err.msg, "pull"));
        assert(snapshot_create(&s, "d", "sha256:image", NULL, &err) == -ERR_DATA_LOSS); /* and nothing is left of it */
        assert(count() == 1 && snapshot_remove(&s, "c", &err) == 0);
        snprintf(path, sizeof(path), "%s/snapshots", s.root);
        assert(kit_is_empty(AT_FDCWD, path));
}

static int clone_of(const char *path) {
        int fd = (int) syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

        assert(fd >= 0);
        return fd;
}

/* Its upper is on another file system, which belongs to somebody who is not to be trusted. */
static void test_at_home(void) {
        char other[100], home[120], upper[140], moved[140], path[160];
        struct snapshot_args args = { .userns_fd = -1 };
        const size_t before = count();
        const int holds = s.holds;
        int home_fd, fd;

        snprintf(other, sizeof(other), "%s/other", s.root);
        snprintf(home, sizeof(home), "%s/home", other);
        snprintf(upper, sizeof(upper), "%s/upper", home);
        snprintf(moved, sizeof(moved), "%s/moved", home);
        assert(mkdir(other, 0700) == 0 && mount("tmpfs", other, "tmpfs", 0, "size=1m") == 0);
        assert(mkdir(home, 0700) == 0 && chown(home, 1001, 1002) == 0);
        home_fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(snapshot_create_at(&s, "h", "sha256:image", NULL, home_fd, &err) == 0);
        assert(snapshot_create_at(&s, "i", "sha256:image", NULL, home_fd, &err) < 0); /* it is not empty */
        assert(count() == before + 1 && s.holds == holds + 1);
        for (int i = 0; i < 2; i++) { /* also once more */
                args.home_mount_fd = clone_of(home);
                if (snapshot_mount(&s, "h", &args, &fd, &err) < 0)
                        fprintf(stderr, "%s\n", err.msg);
                assert(fd >= 0);
                fd_close(args.home_mount_fd);
                kit_expect_file(fd, "file", i ? "xx" : "lower");
                kit_write_file(fd, "file", 2);
                assert(symlinkat("file", fd, i ? "link2" : "link1") == 0);
                kit_expect_file(fd, "link1", "xx");
                fd_close(fd);
        }
        snprintf(path, sizeof(path), "%s/file", upper);
        kit_expect_file(AT_FDCWD, path, "xx");
        kit_expect_owner(home_fd, "work", 1001, 1002);
        kit_expect_owner(home_fd, "work/work", 1001, 1002);
        snprintf(path, sizeof(path), "%s/snapshots/h/upper", s.root);
        assert(access(path, F_OK) < 0);
        /* A link instead of it is not followed. */
        assert(rename(upper, moved) == 0 && symlink(moved, upper) == 0);
        args.home_mount_fd = clone_of(home);
        assert(snapshot_mount(&s, "h", &args, &fd, &err) < 0 && strstr(err.msg, "symbolic link"));
        fd_close(args.home_mount_fd);
        assert(snapshot_remove(&s, "h", &err) == 0 && count() == before && s.holds == holds);
        assert(access(moved, F_OK) == 0); /* is its owner's to remove */
        fd_close(home_fd);
        assert(umount2(other, DETACH) == 0 && rmdir(other) == 0);
}

/* The configuration may not say another one as long as there is anything. */
static void test_choice(void) {
        const char *own = layers_snapshotter(s.image.layers)->ops->name;
        struct snapshotter_conf conf = kit_conf;
        struct layers *again;

        conf.name = "auto";
        assert(layers_new(s.root, &conf, &again, &err) == 0);
        assert(str_eq(layers_snapshotter(again)->ops->name, own));
        again = layers_free(again);
        for (const char *const *how = kit_snapshotters; *how; how++) {
                conf.name = *how;
                if (!str_eq(*how, own))
                        assert(layers_new(s.root, &conf, &again, &err) == -ERR_PRECONDITION && strstr(err.msg, own));
        }
        conf.name = own;
        conf.quota_bytes = 1;
        if (!str_eq(own, "zfs"))
                assert(layers_new(s.root, &conf, &again, &err) == -ERR_PRECONDITION && strstr(err.msg, "quota"));
}

/* ZFS: a writable layer has an end, and what nobody knows of is not kept. */
static void test_datasets(void) {
        struct snapshotter *how = layers_snapshotter(s.image.layers);
        const struct tree lost = { s.root_fd, "lost", "snapshot", "lost" };
        struct map *gone = how->waiting;
        char *data = xcalloc(1, 1 << 20);
        int mount_fd, fd;
        ssize_t n = 0;

        assert(map_size(gone) == 0);
        how->quota_bytes = 4 << 20;
        assert(snapshot_create(&s, "q", "sha256:image", NULL, &err) == 0);
        how->quota_bytes = 0;
        mount_fd = kit_mount_snapshot(&s, "q", -1);
        fd = openat(mount_fd, "big", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        for (int i = 0; i < 100 && n >= 0; i++) {
                n = write(fd, data, 1 << 20);
                assert(i < 99 && fsync(fd) == 0);
        }
        assert(errno == EDQUOT || errno == ENOSPC);
        fd_close(fd);
        fd_close(mount_fd);
        assert(snapshot_remove(&s, "q", &err) == 0);
        free(data);

        assert(how->ops->make(how, &lost, NULL, &err) == 0 && unlinkat(s.root_fd, "lost", AT_REMOVEDIR) == 0);
        s.image.layers = layers_free(s.image.layers);
        assert(layers_new(s.root, &kit_conf, &s.image.layers, &err) == 0);
        how = layers_snapshotter(s.image.layers);
        assert(how->ops->open(how, &lost, false, &fd, &err) < 0);
}

static void *open_often(void *name) {
        struct err e;

        for (int i = 0; i < 50; i++) {
                int fd;

                if (layer_open(s.image.layers, name, &fd, &e) < 0) {
                        (void) fprintf(stderr, "time %d: %s\n", i, e.msg);
                        abort();
                }
                fd_close(fd);
        }
        return NULL;
}

/* Whoever needs a layer opens it, also while another's mount of it begins or ends. */
static void test_opened_at_once(void) {
        pthread_t threads[4];
        char name[32];

        assert(layer_short_name(s.image.layers, s.image.chains[s.image.n - 1], name, &err) == 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                assert(pthread_create(&threads[i], NULL, open_often, name) == 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                assert(pthread_join(threads[i], NULL) == 0);
}

static void make_subvolume(int dir, const char *name) {
        struct btrfs_ioctl_vol_args args = { 0 };

        snprintf(args.name, sizeof(args.name), "%s", name);
        assert(ioctl(dir, BTRFS_IOC_SUBVOL_CREATE, &args) == 0);
}

/* Takes @dir. A folder @depth below it, deeper than a path can be long. */
static int go_down(int dir, int depth) {
        for (int i = 0; i < depth; i++) {
                int below;

                assert(mkdirat(dir, "a-folder-that-goes-on", 0755) == 0);
                below = openat(dir, "a-folder-that-goes-on", O_RDONLY | O_CLOEXEC);
                assert(below >= 0);
                fd_close(dir);
                dir = below;
        }
        return dir;
}

/* Whoever may write to a btrfs may make subvolumes there: a container's go with it, how deep ever they are, and though
 * they and what they are in can't be written to. */
static void test_subvolumes(void) {
        const uint64_t read_only = BTRFS_SUBVOL_RDONLY;
        int mount_fd, top, dir, outer, deep;

        assert(snapshot_create(&s, "s", "sha256:image", NULL, &err) == 0);
        mount_fd = kit_mount_snapshot(&s, "s", -1);
        top = openat(mount_fd, ".", O_RDONLY | O_CLOEXEC);
        make_subvolume(top, "first");
        make_subvolume(top, "outer");
        outer = openat(top, "outer", O_RDONLY | O_CLOEXEC);
        make_subvolume(outer, "inner");
        dir = openat(outer, "inner", O_RDONLY | O_CLOEXEC);
        kit_write_file(dir, "file", 10);
        dir = go_down(dir, 300);
        make_subvolume(dir, "deep");
        deep = openat(dir, "deep", O_RDONLY | O_CLOEXEC);
        kit_write_file(deep, "file", 10);
        assert(ioctl(deep, BTRFS_IOC_SUBVOL_SETFLAGS, &read_only) == 0);
        assert(ioctl(outer, BTRFS_IOC_SUBVOL_SETFLAGS, &read_only) == 0);
        assert(ioctl(top, BTRFS_IOC_SUBVOL_SETFLAGS, &read_only) == 0);
        fd_close(dir);
        fd_close(deep);
        fd_close(outer);
        fd_close(top);
        fd_close(mount_fd);
        if (snapshot_remove(&s, "s", &err) < 0)
                fprintf(stderr, "%s\n", err.msg);
        assert(count() == 0);
        assert(snapshots_reconcile(&s, &err) == 0);
        dir = openat(s.root_fd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(kit_is_empty(dir, "."));
        fd_close(dir);
}

static void test_all(void) {
        kit_images_init(&s, NULL);
        test_choice();
        test_life();
        test_opened_at_once();
        test_another_image();
        if (str_eq(layers_snapshotter(s.image.layers)->ops->name, "btrfs"))
                test_subvolumes();
        if (layers_snapshotter(s.image.layers)->ops->elsewhere)
                test_datasets();
        if (!kit_is_whole(&s.image))
                test_crash();
        test_reconcile();
        test_killed_commit();
        test_left_over_in_use();
        test_volumes();
        test_many_volumes();
        if (!layers_snapshotter(s.image.layers)->ops->elsewhere)
                test_at_home();
        test_lost_layer();
        kit_images_done(&s);
        kit_place_done(s.root);
}

int main(void) {
        for (const char *const *how = kit_snapshotters; *how; how++)
                if (kit_place(s.root, "48m", *how))
                        test_all();
        return 0;
}
