/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots, over layers made here; the rest of struct images is this file's. */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/images.h"
#include "image/snapshot-mount.h"
#include "image/snapshot.h"
#include "image/test-layer-kit.h"
#include "image/unpack-path.h"

int umount2(const char *target, int flags);
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
enum { DETACH = 2 };

struct images {
        struct layers *layers;
        struct store *store;
        char root[64];
        int root_fd;
        int holds;
};

static struct images s;
static struct kit_image image;
static struct arena *arena;
static struct err err;

struct layers *images_layers(struct images *i) {
        return i->layers;
}
struct store *images_store(struct images *i) {
        return i->store;
}
const char *images_root(const struct images *i) {
        return i->root;
}
int images_rootfd(const struct images *i) {
        return i->root_fd;
}
int images_hold(struct images *i, const char *image_id, struct arena *a, const char ***ret, struct err *e) {
        size_t n_layers = image.n - str_eq(image_id, "sha256:lower"); /* without the highest layer */

        if (!str_eq(image_id, "sha256:image") && !str_eq(image_id, "sha256:lower"))
                return err_set(e, ERR_NOT_FOUND, "no image");
        *ret = arena_array(a, const char *, n_layers + 1);
        for (size_t n = 0; n < n_layers; n++)
                (*ret)[n] = image.chains[n];
        i->holds++;
        return 0;
}
void images_note_use(struct images *i, const char *image_id) {
}

int images_release(struct images *i, const char *const *layers, struct err *e) {
        size_t n = 0;

        for (; layers[n]; n++)
                assert(str_eq(layers[n], image.chains[n % image.n]));
        assert(n > 0 && (n % image.n == 0 || n == image.n - 1));
        i->holds -= n % image.n == 0 ? (int) (n / image.n) : 1;
        return 0;
}

/* Rights to bind low ports; of root, of user 7, of group 8 and others. */
static const unsigned char caps[XATTR_CAPS_SZ_2] = { 1, 0, 0, 2, 0, 4 };
static const unsigned char acl[] = { 2,  0, 0, 0, 1,   0,   6,   0,   255, 255, 255, 255, 2,   0,   6,   0,  7, 0,
                                     0,  0, 4, 0, 4,   0,   255, 255, 255, 255, 8,   0,   4,   0,   8,   0,  0, 0,
                                     16, 0, 6, 0, 255, 255, 255, 255, 32,  0,   4,   0,   255, 255, 255, 255 };

/* What changes with a change of owners. */
static void add_owned(struct strbuf *tar) {
        struct strbuf records = STRBUF(4096);

        kit_pax(&records, "SCHILY.xattr.security.capability", caps, sizeof(caps));
        kit_pax_end(tar, &records);
        KIT_ADD(tar, .type = '0', .name = "owned/suid", .mode = 06711, .uid = 7, .gid = 8, .data = "x");
        KIT_ADD(tar, .type = '1', .name = "owned/same", .link = "owned/suid");
        KIT_ADD(tar, .type = '2', .name = "owned/link", .link = "/etc/passwd", .uid = 9, .gid = 10);
        KIT_ADD(tar, .type = '3', .name = "owned/null", .mode = 0666, .uid = 11, .gid = 12, .major = 1, .minor = 3);
        KIT_ADD(tar, .type = '6', .name = "owned/fifo", .mode = 02600, .uid = 13, .gid = 14);
        kit_pax(&records, "SCHILY.xattr.system.posix_acl_access", acl, sizeof(acl));
        kit_pax_end(tar, &records);
        KIT_ADD(tar, .type = '0', .name = "owned/acl", .mode = 0664, .data = "x");
        KIT_ADD(tar, .type = '0', .name = "owned/high", .mode = 04755, .uid = 100007, .gid = 70000, .data = "x");
        KIT_DIR(tar, .name = "owned/dir", .mode = 03775, .uid = 65535, .gid = 1, .mtime = 88);
        strbuf_done(&records);
}

static void set_up(void) {
        struct strbuf tar = STRBUF(1 << 20);
        char path[100];

        kit_image_init(&image, s.root);
        KIT_DIR(&tar, .name = ".", .mode = 0751, .uid = 5, .gid = 6, .mtime = 77);
        KIT_FILE(&tar, "file", "lower");
        KIT_DIR(&tar, .name = "dir", .mode = 0755);
        KIT_FILE(&tar, "dir/inside", "deep");
        KIT_ADD(&tar, .type = '2', .name = "to-dir", .link = "/dir");
        KIT_ADD(&tar, .type = '2', .name = "loop", .link = "loop");
        KIT_ADD(&tar, .type = '2', .name = "out", .link = "/../..");
        KIT_DIR(&tar, .name = "owned", .mode = 0755);
        add_owned(&tar);
        kit_push(&image, &tar);
        KIT_FILE(&tar, "other", "lower");
        kit_push(&image, &tar);
        strbuf_done(&tar);
        s.layers = image.layers;
        s.root_fd = open(s.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        snprintf(path, sizeof(path), "%s/store.db", s.root);
        assert(s.root_fd >= 0 && store_open(path, &s.store, &err) == 0);
        arena = arena_new(1 << 20);
}

static size_t count(void) {
        const char **list;
        size_t n = 0;

        assert(snapshot_list(&s, arena, &list, &err) == 0);
        while (list[n])
                n++;
        return n;
}

static int must_mount(const char *id) {
        int fd = -1;

        if (snapshot_mount(&s, id, &(struct snapshot_args){ .userns_fd = -1 }, &fd, &err) < 0)
                fprintf(stderr, "%s\n", err.msg);
        assert(fd >= 0);
        return fd;
}

static void write_file(int dirfd, const char *name, size_t size) {
        int fd = openat(dirfd, name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
        _cleanup_(freep) char *data = xcalloc(1, size);

        memset(data, 'x', size);
        assert(fd >= 0 && fs_write_all(fd, data, size) == 0);
        fd_close(fd);
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

        fd = must_mount("a");
        st = kit_stat(fd, ".");
        assert((st.st_mode & 07777) == 0751 && st.st_uid == 5 && st.st_gid == 6 && st.st_mtime == 77);
        kit_expect_file(fd, "file", "lower");
        write_file(fd, "new", 100000);
        assert(unlinkat(fd, "other", 0) == 0);
        do /* ZFS counts when it writes to disk */
                assert(usleep(1000) == 0 && snapshot_usage(&s, "a", NULL, &bytes, &inodes, &err) == 0);
        while (layers_snapshotter(s.layers)->ops->elsewhere && bytes < 90000);
        assert(bytes >= 90000 && bytes < 200000 &&
               inodes == (kit_is_whole(&image) ? 0 : 3)); /* one file more, one less; or those, a mark and the folder */
        snprintf(path, sizeof(path), "%s/at", s.root);
        assert(mkdir(path, 0755) == 0);
        assert(syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) == 0);
        assert(kit_stat(AT_FDCWD, path).st_uid == 5 && umount2(path, 0) != 0); /* fd holds it */
        fd_close(fd);
        assert(umount2(path, 0) == 0 && rmdir(path) == 0);

        fd = must_mount("a"); /* again */
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

static int write_note(void *userdata, struct err *e) {
        (void) userdata;
        return store_put(s.store, STORE_META, "note", "x", 1, e);
}

static void expect_written(void) {
        int fd = must_mount("a");

        kit_expect_file(fd, "dir/inside", "mine");
        assert(kit_stat(fd, "new").st_size == 1000 && kit_missing(fd, "file") && kit_stat(fd, "to-dir").st_size == 4);
        assert(kit_stat(fd, "new").st_ino == kit_stat(fd, "dir/link").st_ino);
        fd_close(fd);
}

static DIR *open_snapshot(void) {
        char path[100];

        snprintf(path, sizeof(path), "%s/snapshots/a", s.root);
        return opendir(path);
}

static void expect_one_tree(void) {
        DIR *d = open_snapshot();
        size_t n = 0;

        for (const struct dirent *e; d && (e = readdir(d));)
                n += str_after(e->d_name, "upper") != NULL;
        assert(n == 1 && closedir(d) == 0);
}

/* What was written stays, and what it was written to does not. */
static void test_another_image(void) {
        char path[100];
        size_t len;
        void *note;
        int fd;

        assert(snapshot_create(&s, "a", "sha256:image", NULL, &err) == 0);
        fd = must_mount("a");
        write_file(fd, "new", 1000);
        assert(linkat(fd, "new", fd, "dir/link", 0) == 0 && unlinkat(fd, "file", 0) == 0);
        assert(fs_write_atomic(fd, "dir/inside", "mine", 4, 0644, false, &err) == 0);
        fd_close(fd);
        assert(snapshot_set_image(&s, "a", "sha256:other", write_note, NULL, &err) == -ERR_NOT_FOUND);
        assert(snapshot_set_image(&s, "a", "sha256:lower", write_fails, NULL, &err) == -ERR_EXHAUSTED);
        assert(store_get(s.store, STORE_META, "note", &note, &len, &err) == -ERR_NOT_FOUND && s.holds == 1);
        expect_written();
        expect_one_tree();
        fd = must_mount("a");
        kit_expect_file(fd, "other", "lower");
        fd_close(fd);
        assert(snapshot_set_image(&s, "a", "sha256:lower", write_note, NULL, &err) == 0 && s.holds == 1);
        assert(store_get(s.store, STORE_META, "note", &note, &len, &err) == 0);
        free(note);
        expect_written();
        expect_one_tree();
        fd = must_mount("a");
        assert(kit_missing(fd, "other"));
        fd_close(fd);
        assert(snapshot_set_image(&s, "a", "sha256:image", write_note, NULL, &err) == 0 && s.holds == 1);
        assert(snapshots_reconcile(&s, &err) == 0);
        expect_written();
        expect_one_tree();
        fd = must_mount("a");
        kit_expect_file(fd, "other", "lower");
        fd_close(fd);
        assert(snapshot_remove(&s, "a", &err) == 0 && s.holds == 0);
        snprintf(path, sizeof(path), "%s/snapshots", s.root);
        assert(kit_is_empty(AT_FDCWD, path));
}

/* The machine stopped while it was mounted: what it holds can't be trusted. */
static void test_crash(void) {
        char path[200];
        int fd;

        assert(snapshot_create(&s, "b", "sha256:image", NULL, &err) == 0);
        fd_close(must_mount("b"));
        snprintf(path, sizeof(path), "%s/snapshots/b/boot", s.root);
        assert(fs_write_atomic(AT_FDCWD, path, "another", 7, 0600, false, &err) == 0);
        assert(snapshot_mount(&s, "b", &(struct snapshot_args){ .userns_fd = -1 }, &fd, &err) == -ERR_DATA_LOSS);
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
        assert(layers_snapshotter(s.layers)->ops->remove(layers_snapshotter(s.layers), &tree, &err) == 0);
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

static int must_mount_volume_of(const char *id, int userns) {
        const struct snapshot_volume all = { "sha256:image", "", { .userns_fd = userns } };
        int fd = -1;

        if (snapshot_mount_volume(&s, id, &all, &fd, &err) < 0)
                fprintf(stderr, "%s\n", err.msg);
        assert(fd >= 0);
        return fd;
}

static int must_mount_volume(const char *sub_path) {
        int fd = -1;

        if (snapshot_mount_volume(&s, "v", &(struct snapshot_volume){ "sha256:image", sub_path, { .userns_fd = -1 } },
                                  &fd, &err) < 0)
                fprintf(stderr, "%s\n", err.msg);
        assert(fd >= 0);
        return fd;
}

static void test_volumes(void) {
        static const char *const missing[] = { "nothing", "file/below", "loop", "out/etc/passwd", "../x" };
        const int holds = s.holds;
        const size_t n = image.n;
        struct stat st;
        int fd;

        assert(snapshot_mount_volume(&s, "v", &(struct snapshot_volume){ "sha256:image", "", { .userns_fd = -1 } }, &fd,
                                     &err) == -ERR_NOT_FOUND &&
               s.holds == holds);
        assert(snapshot_create(&s, "v", "sha256:image", NULL, &err) == 0);
        assert(snapshot_mount_volume(&s, "v", &(struct snapshot_volume){ "sha256:other", "", { .userns_fd = -1 } }, &fd,
                                     &err) == -ERR_NOT_FOUND);
        assert(snapshot_remove(&s, "v", &err) == 0);
        for (image.n = 1; image.n <= n; image.n++) { /* one layer is bound, several are an overlay */
                assert(snapshot_create(&s, "v", "sha256:image", NULL, &err) == 0);
                fd = must_mount_volume("");
                kit_expect_file(fd, "file", "lower");
                assert(kit_missing(fd, "other") == (image.n == 1));
                assert(openat(fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
                fd_close(fd);
                fd = must_mount_volume("to-dir");
                kit_expect_file(fd, "inside", "deep");
                assert(openat(fd, "../file", O_RDONLY | O_CLOEXEC) < 0); /* the mount ends there */
                fd_close(fd);
                fd = must_mount_volume("/dir/../file");
                assert(fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
                fd_close(fd);
                for (size_t i = 0; i < ELEMENTSOF(missing); i++)
                        assert(snapshot_mount_volume(
                                       &s, "v",
                                       &(struct snapshot_volume){ "sha256:image", missing[i], { .userns_fd = -1 } },
                                       &fd, &err) == -ERR_INVALID);
                assert(s.holds > 4 && snapshot_remove(&s, "v", &err) == 0 && s.holds == holds);
        }
        image.n = n;
}

static void test_lost_layer(void) {
        char path[100];
        int fd;

        assert(snapshot_create(&s, "c", "sha256:image", NULL, &err) == 0);
        assert(layer_remove(s.layers, image.chains[0], &err) == 0);
        assert(snapshot_mount(&s, "c", &(struct snapshot_args){ .userns_fd = -1 }, &fd, &err) == -ERR_DATA_LOSS &&
               strstr(err.msg, "pull"));
        assert(snapshot_create(&s, "d", "sha256:image", NULL, &err) == -ERR_DATA_LOSS); /* and nothing is left of it */
        assert(count() == 1 && snapshot_remove(&s, "c", &err) == 0);
        snprintf(path, sizeof(path), "%s/snapshots", s.root);
        assert(kit_is_empty(AT_FDCWD, path));
}

/* As net/userns.c does, which is not below us, but in one call: under TSan a forked child has a thread, and then the
 * kernel refuses to unshare. */
static int make_userns(void) {
        char path[64];
        pid_t pid;
        int fd;

        pid = (pid_t) syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
                for (;;)
                        (void) pause();
        assert(pid > 0);
        for (int i = 0; i < 2; i++) {
                snprintf(path, sizeof(path), "/proc/%d/%cid_map", (int) pid, "ug"[i]);
                assert(fs_write_existing(AT_FDCWD, path, "0 100000 65536\n", &err) == 0);
        }
        snprintf(path, sizeof(path), "/proc/%d/ns/user", (int) pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert(fd >= 0 && kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
        return fd;
}

static void expect_owner(int dirfd, const char *name, uid_t uid, gid_t gid) {
        struct stat st;

        assert(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        if (st.st_uid != uid || st.st_gid != gid)
                fprintf(stderr, "%s: %u:%u\n", name, st.st_uid, st.st_gid);
        assert(st.st_uid == uid && st.st_gid == gid);
}

/* Of the image in a user namespace: the same layers with other owners, by each way that a kernel may have. */
static void test_mapped_owners(void) {
        static const enum overlay_way ways[] = { OVERLAY_ANY, OVERLAY_STRING, OVERLAY_MOUNT };
        const struct id_map range = { 0, 100000, 65536 };
        const struct id_maps maps = { &range, &range, 1, 1 };
        const size_t n_all = image.n;
        int userns = make_userns(), fd;
        struct utsname u;
        char path[100];
        const char **chains, **names;
        size_t n;

        assert(uname(&u) == 0);
        layers_snapshotter(s.layers)->must_map = true;
        if (snapshots_check_idmap(&s, userns, &err) ==
                    -ERR_PRECONDITION && /* ZFS before 2.2, a tmpfs before Linux 6.3 */
            (layers_snapshotter(s.layers)->ops->elsewhere || strtod(u.release, NULL) < 6.25)) {
                fprintf(stderr, "skipped: %s\n", err.msg);
                layers_snapshotter(s.layers)->must_map = false;
                fd_close(userns);
                return;
        }
        if (snapshots_check_idmap(&s, userns, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
        }
        assert(snapshots_check_idmap(&s, s.root_fd, &err) < 0 && !atomic_load(&layers_snapshotter(s.layers)->shifts));
        layers_snapshotter(s.layers)->must_map = false;
        assert(snapshot_create(&s, "m", "sha256:image", &maps, &err) == 0);
        assert(snapshot_mount(&s, "m", &(struct snapshot_args){ .userns_fd = userns }, &fd, &err) == 0);
        expect_owner(fd, ".", 100005, 100006);
        expect_owner(fd, "file", 100000, 100000);
        kit_expect_file(fd, "file", "lower");
        /* Copied up with the owner that it is seen with, which its layer keeps; a whole tree has the image's. */
        assert(fchmodat(fd, "file", 0604, 0) == 0);
        if (!kit_is_whole(&image)) {
                snprintf(path, sizeof(path), "%s/snapshots/m/upper/file", s.root);
                expect_owner(AT_FDCWD, path, 100000, 100000);
        }
        fd_close(fd);
        fd = must_mount_volume_of("m", userns);
        expect_owner(fd, "dir", 100000, 100000);
        fd_close(fd);
        assert(snapshot_remove(&s, "m", &err) == 0);
        image.n = 1;
        assert(snapshot_create(&s, "m", "sha256:image", &maps, &err) == 0);
        fd = must_mount_volume_of("m", userns);
        expect_owner(fd, "dir", 100000, 100000);
        fd_close(fd);
        assert(snapshot_remove(&s, "m", &err) == 0);
        image.n = n_all;
        /* And nobody else's. */
        assert(snapshot_create(&s, "n", "sha256:image", NULL, &err) == 0);
        fd = must_mount("n");
        expect_owner(fd, "file", 0, 0);
        fd_close(fd);
        assert(snapshot_remove(&s, "n", &err) == 0);

        if (kit_is_whole(&image)) {
                fd_close(userns);
                return;
        }
        assert(images_hold(&s, "sha256:image", arena, &chains, &err) == 0);
        assert(layers_name(&s, chains, arena, &names, &n, &err) == 0);
        for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
                struct overlay_args args = { .layers_fd = layers_dirfd(s.layers),
                                             .layers_path = arena_printf(arena, "%s/layers", s.root),
                                             .layers = names,
                                             .n_layers = n,
                                             .way = ways[i],
                                             .userns_fd = userns };
                if (overlay_mount(&args, &fd, &err) < 0)
                        fprintf(stderr, "way %d: %s\n", (int) ways[i], err.msg);
                assert(fd >= 0);
                expect_owner(fd, "file", 100000, 100000);
                fd = fd_close(fd);
        }
        s.holds--;
        fd_close(userns);
}

/* --- owners on disk ------------------------------------------------------------------------------------------------
 */

static void expect_xattr(int dirfd, const char *path, const char *name, const void *value, size_t len) {
        char full[100], is[200];
        ssize_t n;

        snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", dirfd, path);
        n = lgetxattr(full, name, is, sizeof(is));
        if (n != (ssize_t) len || memcmp(is, value, len) != 0)
                fprintf(stderr, "%s: %s has %zd bytes\n", path, name, n);
        assert(n == (ssize_t) len && memcmp(is, value, len) == 0);
}

/* As an idmapped mount would show it. */
static void expect_shifted(int fd) {
        static const struct {
                const char *path;
                uid_t uid;
                gid_t gid;
                mode_t mode;
        } all[] = {
                { ".", 100005, 100006, S_IFDIR | 0751 },           { "file", 100000, 100000, S_IFREG | 0644 },
                { "dir/inside", 100000, 100000, S_IFREG | 0644 },  { "owned/suid", 100007, 100008, S_IFREG | 06711 },
                { "owned/link", 100009, 100010, S_IFLNK | 0777 },  { "owned/null", 100011, 100012, S_IFCHR | 0666 },
                { "owned/fifo", 100013, 100014, S_IFIFO | 02600 }, { "owned/acl", 100000, 100000, S_IFREG | 0664 },
                { "owned/high", 65534, 65534, S_IFREG | 04755 },   { "owned/dir", 165535, 100001, S_IFDIR | 03775 }
        };
        unsigned char caps_inside[XATTR_CAPS_SZ_3] = { 0 }, acl_inside[sizeof(acl)];

        for (size_t i = 0; i < ELEMENTSOF(all); i++) {
                struct stat st;

                if (i == 1 && kit_missing(fd, "file")) /* removed later */
                        continue;
                st = kit_stat(fd, all[i].path);
                expect_owner(fd, all[i].path, all[i].uid, all[i].gid);
                if (st.st_mode != all[i].mode)
                        fprintf(stderr, "%s: mode %o\n", all[i].path, st.st_mode);
                assert(st.st_mode == all[i].mode);
        }
        assert(kit_stat(fd, "owned/suid").st_ino == kit_stat(fd, "owned/same").st_ino);
        assert(kit_stat(fd, "owned/suid").st_nlink == 2 && kit_stat(fd, "owned/dir").st_mtime == 88);
        memcpy(caps_inside, caps, sizeof(caps));
        caps_inside[3] = 3; /* the version */
        memcpy(caps_inside + sizeof(caps), &(uint32_t){ 100000 }, 4);
        expect_xattr(fd, "owned/suid", "security.capability", caps_inside, sizeof(caps_inside));
        memcpy(acl_inside, acl, sizeof(acl));
        memcpy(acl_inside + 16, &(uint32_t){ 100007 }, 4);
        memcpy(acl_inside + 32, &(uint32_t){ 100008 }, 4);
        expect_xattr(fd, "owned/acl", "system.posix_acl_access", acl_inside, sizeof(acl_inside));
}

static int must_mount_in(const char *id, int userns) {
        int fd = -1;

        if (snapshot_mount(&s, id, &(struct snapshot_args){ .userns_fd = userns }, &fd, &err) < 0)
                fprintf(stderr, "%s\n", err.msg);
        assert(fd >= 0);
        return fd;
}

/* Only what was written is another, with the ids that it has on disk. */
static void expect_changes(const struct id_maps *maps) {
        struct snapshot_changes_args args = { .id = "a", .may_change = true, .cancel_fd = -1 };
        struct snapshot_changes changes;
        size_t n = 0;
        DIR *d;

        assert(snapshot_changes(&s, &args, arena, &changes, &err) == -ERR_PRECONDITION);
        args.may_change = false;
        assert(snapshot_changes(&s, &args, arena, &changes, &err) == 0);
        assert(changes.compared && id_maps_equal(changes.owners, maps));
        expect_owner(changes.fd, "new", 100001, 100002);
        assert(S_ISCHR(kit_stat(changes.fd, "file").st_mode) && kit_stat(changes.fd, "to-dir").st_uid == 100033);
        d = fdopendir(openat(changes.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)); /* it was opened before all that */
        for (const struct dirent *e; d && (e = readdir(d)); n++)
                if (e->d_name[0] != '.' && strcmp(e->d_name, "new") != 0 && strcmp(e->d_name, "file") != 0 &&
                    strcmp(e->d_name, "to-dir") != 0)
                        fprintf(stderr, "changed: %s\n", e->d_name);
        assert(n == 5 && closedir(d) == 0); /* those, ".", ".." */
        fd_close(changes.fd);
        snapshot_changes_done(&s, "a");
}

static void write_in_namespace(int fd) {
        write_file(fd, "new", 1000);
        assert(fchownat(fd, "new", 100001, 100002, 0) == 0 &&
               fchownat(fd, "to-dir", 100033, 100000, AT_SYMLINK_NOFOLLOW) == 0);
        assert(unlinkat(fd, "file", 0) == 0);
        fd_close(fd);
}

static void remove_notes(void) {
        DIR *d = open_snapshot();
        size_t n = 0;

        for (const struct dirent *e; d && (e = readdir(d));)
                if (str_after(e->d_name, "ready.")) {
                        assert(unlinkat(dirfd(d), e->d_name, 0) == 0);
                        n++;
                }
        assert(n == 1 && closedir(d) == 0);
}

/* So are volumes; also when a kill left one half-made. */
static void expect_shifted_volume(int userns) {
        int fd;

        for (int i = 0; i < 3; i++) {
                const struct snapshot_volume part = { "sha256:image", "owned", { .userns_fd = userns } };

                fd = must_mount_volume_of("a", userns);
                expect_shifted(fd);
                kit_expect_file(fd, "file", "lower");
                assert(openat(fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
                fd_close(fd);
                assert(snapshot_mount_volume(&s, "a", &part, &fd, &err) == 0);
                expect_owner(fd, "suid", 100007, 100008);
                fd_close(fd);
                if (i == 1)
                        remove_notes();
        }
}

/* Where there are no idmapped mounts: a copy with the user namespace's owners. */
static void test_shifted(void) {
        struct snapshotter *how = layers_snapshotter(s.layers);
        const struct id_map range = { 0, 100000, 65536 }, all_ids = { 0, 1, 0xfffffffe };
        const struct id_maps maps = { &range, &range, 1, 1 }, too_many = { &all_ids, &all_ids, 1, 1 };
        int userns = make_userns(), fd;
        uint64_t bytes, inodes;
        size_t n_all = image.n;

        atomic_store(&how->shifts, true);
        assert(snapshots_check_idmap(&s, userns, &err) == 0);
        assert(snapshot_create(&s, "t", "sha256:image", &too_many, &err) == -ERR_PRECONDITION &&
               strstr(err.msg, "65534"));
        for (image.n = 1; image.n <= n_all; image.n++) {
                assert(snapshot_create(&s, "a", "sha256:image", &maps, &err) == 0);
                atomic_store(&how->shifts, false); /* what is there stays as it is */
                fd = must_mount_in("a", userns);
                expect_shifted(fd);
                write_in_namespace(fd);
                expect_changes(&maps);
                expect_shifted_volume(userns);
                assert(snapshot_usage(&s, "a", NULL, &bytes, &inodes, &err) == 0 &&
                       (inodes == 0 || how->ops->elsewhere)); /* ZFS counts later */
                assert(snapshots_reconcile(&s, &err) == 0);
                expect_shifted(fd = must_mount_in("a", userns));
                fd_close(fd);
                expect_shifted_volume(userns);
                if (image.n > 1) {
                        assert(snapshot_set_image(&s, "a", "sha256:lower", write_note, NULL, &err) == 0);
                        fd = must_mount_in("a", userns);
                        assert(kit_missing(fd, "other"));
                        fd_close(fd);
                        assert(snapshot_set_image(&s, "a", "sha256:image", write_note, NULL, &err) == 0);
                        expect_one_tree();
                        fd = must_mount_in("a", userns);
                        expect_owner(fd, "other", 100000, 100000);
                        assert(kit_stat(fd, "new").st_size == 1000);
                        fd_close(fd);
                }
                expect_changes(&maps);
                assert(snapshots_reconcile(&s, &err) == 0);
                expect_one_tree();
                assert(snapshot_remove(&s, "a", &err) == 0);
                atomic_store(&how->shifts, true);
        }
        image.n = n_all;
        /* Nobody else gets a copy. */
        assert(snapshot_create(&s, "a", "sha256:image", NULL, &err) == 0);
        fd = must_mount("a");
        expect_owner(fd, "owned/suid", 7, 8);
        fd_close(fd);
        assert(snapshot_remove(&s, "a", &err) == 0);
        atomic_store(&how->shifts, false);
        fd_close(userns);
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
                write_file(fd, "file", 2);
                assert(symlinkat("file", fd, i ? "link2" : "link1") == 0);
                kit_expect_file(fd, "link1", "xx");
                fd_close(fd);
        }
        snprintf(path, sizeof(path), "%s/file", upper);
        kit_expect_file(AT_FDCWD, path, "xx");
        expect_owner(home_fd, "work", 1001, 1002);
        expect_owner(home_fd, "work/work", 1001, 1002);
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
        const char *own = layers_snapshotter(image.layers)->ops->name;
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
        struct snapshotter *how = layers_snapshotter(s.layers);
        const struct tree lost = { s.root_fd, "lost", "snapshot", "lost" };
        struct map *gone = how->waiting;
        char *data = xcalloc(1, 1 << 20);
        int mount_fd, fd;
        ssize_t n = 0;

        assert(map_size(gone) == 0);
        how->quota_bytes = 4 << 20;
        assert(snapshot_create(&s, "q", "sha256:image", NULL, &err) == 0);
        how->quota_bytes = 0;
        mount_fd = must_mount("q");
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
        s.layers = image.layers = layers_free(image.layers);
        assert(layers_new(s.root, &kit_conf, &image.layers, &err) == 0);
        s.layers = image.layers;
        how = layers_snapshotter(s.layers);
        assert(how->ops->open(how, &lost, false, &fd, &err) < 0);
}

/* Whoever may write to a btrfs may make subvolumes there: a container's go with it. */
static void test_subvolumes(void) {
        static const char *const names[] = { "outer", "dir/inner", "deep" };
        struct btrfs_ioctl_vol_args args = { 0 };
        int fd, dir;

        assert(snapshot_create(&s, "s", "sha256:image", NULL, &err) == 0);
        fd = must_mount("s");
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                dir = openat(fd, i == 0 ? "." : i == 1 ? "outer" : "outer/dir/inner", O_RDONLY | O_CLOEXEC);
                assert(dir >= 0 && (i != 1 || mkdirat(dir, "dir", 0755) == 0));
                snprintf(args.name, sizeof(args.name), "%s", unpack_path_base(names[i]));
                if (i == 1) {
                        fd_close(dir);
                        dir = openat(fd, "outer/dir", O_RDONLY | O_CLOEXEC);
                }
                assert(ioctl(dir, BTRFS_IOC_SUBVOL_CREATE, &args) == 0);
                write_file(dir, "file", 10);
                fd_close(dir);
        }
        fd_close(fd);
        if (snapshot_remove(&s, "s", &err) < 0)
                fprintf(stderr, "%s\n", err.msg);
        assert(count() == 0);
}

static void test_all(void) {
        s.holds = 0;
        set_up();
        test_choice();
        test_life();
        test_another_image();
        if (str_eq(layers_snapshotter(image.layers)->ops->name, "btrfs"))
                test_subvolumes();
        if (layers_snapshotter(image.layers)->ops->elsewhere)
                test_datasets();
        if (!kit_is_whole(&image))
                test_crash();
        test_reconcile();
        test_volumes();
        test_mapped_owners();
        test_shifted();
        if (!layers_snapshotter(image.layers)->ops->elsewhere)
                test_at_home();
        test_lost_layer();
        fd_close(s.root_fd);
        s.store = store_close(s.store);
        arena = arena_free(arena);
        kit_image_done(&image);
        kit_place_done(s.root);
}

int main(void) {
        for (const char *const *how = kit_snapshotters; *how; how++)
                if (kit_place(s.root, "48m", *how))
                        test_all();
        return 0;
}
