/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots for pods with a user namespace: owners by idmapped mounts, and where there are none in copies. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/id-map.h"
#include "base/str.h"
#include "image/snapshot.h"
#include "image/test-snapshot-kit.h"

static struct images s;
static struct err err;

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

/* --- idmapped mounts ---------------------------------------------------------------------------------------------- */

/* Not on ZFS before 2.2, nor on a tmpfs before Linux 6.3. */
static bool have_idmapped_mounts(int userns) {
        struct snapshotter *how = layers_snapshotter(s.image.layers);
        struct utsname u;
        bool have;

        how->must_map = true;
        have = snapshots_check_idmap(&s, userns, &err) == 0;
        if (!have)
                fprintf(stderr, "skipped: %s\n", err.msg);
        assert(uname(&u) == 0 &&
               (have || (err.code == ERR_PRECONDITION && (how->ops->elsewhere || strtod(u.release, NULL) < 6.25))));
        if (have) /* what is no user namespace can't be tried */
                assert(snapshots_check_idmap(&s, s.root_fd, &err) < 0 && !atomic_load(&how->shifts));
        how->must_map = false;
        return have;
}

static void expect_mapped_volume(const struct id_maps *maps, int userns) {
        int fd;

        assert(snapshot_create(&s, "m", "sha256:image", maps, &err) == 0);
        fd = kit_mount_volume(&s, "m", "", userns);
        kit_expect_owner(fd, "dir", 100000, 100000);
        fd_close(fd);
        assert(snapshot_remove(&s, "m", &err) == 0);
}

/* Each way that a kernel may have. */
static void expect_mapped_each_way(int userns) {
        static const enum overlay_way ways[] = { OVERLAY_ANY, OVERLAY_STRING, OVERLAY_MOUNT };
        const char **chains, **names;
        size_t n;

        assert(images_hold(&s, "sha256:image", s.arena, &chains, &err) == 0);
        assert(layers_name(&s, chains, s.arena, &names, &n, &err) == 0);
        for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
                struct overlay_args args = { .layers_fd = layers_dirfd(s.image.layers),
                                             .layers_path = arena_printf(s.arena, "%s/layers", s.root),
                                             .layers = names,
                                             .n_layers = n,
                                             .way = ways[i],
                                             .userns_fd = userns };
                int fd = -1;

                if (overlay_mount(&args, &fd, &err) < 0)
                        fprintf(stderr, "way %d: %s\n", (int) ways[i], err.msg);
                assert(fd >= 0);
                kit_expect_owner(fd, "file", 100000, 100000);
                fd_close(fd);
        }
        assert(images_release(&s, chains, &err) == 0);
}

/* The same layers with other owners, and nobody else's. */
static void test_mapped(int userns) {
        const struct id_map range = { 0, 100000, 65536 };
        const struct id_maps maps = { &range, &range, 1, 1 };
        const size_t n_all = s.image.n;
        char path[100];
        int fd;

        if (!have_idmapped_mounts(userns))
                return;
        assert(snapshot_create(&s, "m", "sha256:image", &maps, &err) == 0);
        fd = kit_mount_snapshot(&s, "m", userns);
        kit_expect_owner(fd, ".", 100005, 100006);
        kit_expect_owner(fd, "file", 100000, 100000);
        kit_expect_file(fd, "file", "lower");
        /* Copied up with the owner that it is seen with, which its layer keeps; a whole tree has the image's. */
        assert(fchmodat(fd, "file", 0604, 0) == 0);
        if (!kit_is_whole(&s.image)) {
                snprintf(path, sizeof(path), "%s/snapshots/m/upper/file", s.root);
                kit_expect_owner(AT_FDCWD, path, 100000, 100000);
        }
        fd_close(fd);
        assert(snapshot_remove(&s, "m", &err) == 0);
        for (s.image.n = 1; s.image.n <= n_all; s.image.n++)
                expect_mapped_volume(&maps, userns);
        s.image.n = n_all;
        assert(snapshot_create(&s, "n", "sha256:image", NULL, &err) == 0);
        fd = kit_mount_snapshot(&s, "n", -1);
        kit_expect_owner(fd, "file", 0, 0);
        fd_close(fd);
        assert(snapshot_remove(&s, "n", &err) == 0);
        if (!kit_is_whole(&s.image))
                expect_mapped_each_way(userns);
}

/* --- copies: owners on disk
 * ----------------------------------------------------------------------------------------------- */

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
                kit_expect_owner(fd, all[i].path, all[i].uid, all[i].gid);
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

/* Only what was written is another, with the ids that it has on disk. */
static void expect_changes(const struct id_maps *maps) {
        struct snapshot_changes_args args = { .id = "a", .may_change = true, .cancel_fd = -1 };
        struct snapshot_changes changes;
        size_t n = 0;
        DIR *d;

        assert(snapshot_changes(&s, &args, s.arena, &changes, &err) == -ERR_PRECONDITION);
        args.may_change = false;
        assert(snapshot_changes(&s, &args, s.arena, &changes, &err) == 0);
        assert(changes.compared && id_maps_equal(changes.owners, maps));
        kit_expect_owner(changes.fd, "new", 100001, 100002);
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
        kit_write_file(fd, "new", 1000);
        assert(fchownat(fd, "new", 100001, 100002, 0) == 0 &&
               fchownat(fd, "to-dir", 100033, 100000, AT_SYMLINK_NOFOLLOW) == 0);
        assert(unlinkat(fd, "file", 0) == 0);
        fd_close(fd);
}

static void remove_notes(void) {
        DIR *d = kit_open_snapshot(&s, "a");
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

                fd = kit_mount_volume(&s, "a", "", userns);
                expect_shifted(fd);
                kit_expect_file(fd, "file", "lower");
                assert(openat(fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
                fd_close(fd);
                assert(snapshot_mount_volume(&s, "a", &part, &fd, &err) == 0);
                kit_expect_owner(fd, "suid", 100007, 100008);
                fd_close(fd);
                if (i == 1)
                        remove_notes();
        }
}

/* The copy is made again of another image, with what was written to the first. */
static void expect_shifted_anew(int userns) {
        int fd;

        assert(snapshot_set_image(&s, "a", "sha256:lower", kit_write_note, &s, &err) == 0);
        fd = kit_mount_snapshot(&s, "a", userns);
        assert(kit_missing(fd, "other"));
        fd_close(fd);
        assert(snapshot_set_image(&s, "a", "sha256:image", kit_write_note, &s, &err) == 0);
        kit_expect_one_tree(&s, "a");
        fd = kit_mount_snapshot(&s, "a", userns);
        kit_expect_owner(fd, "other", 100000, 100000);
        assert(kit_stat(fd, "new").st_size == 1000);
        fd_close(fd);
}

static void expect_copy(const struct id_maps *maps, int userns) {
        struct snapshotter *how = layers_snapshotter(s.image.layers);
        uint64_t bytes, inodes;
        int fd;

        assert(snapshot_create(&s, "a", "sha256:image", maps, &err) == 0);
        atomic_store(&how->shifts, false); /* what is there stays as it is */
        fd = kit_mount_snapshot(&s, "a", userns);
        expect_shifted(fd);
        write_in_namespace(fd);
        expect_changes(maps);
        expect_shifted_volume(userns);
        assert(snapshot_usage(&s, "a", NULL, &bytes, &inodes, &err) == 0 &&
               (inodes == 0 || how->ops->elsewhere)); /* ZFS counts later */
        assert(snapshots_reconcile(&s, &err) == 0);
        fd = kit_mount_snapshot(&s, "a", userns);
        expect_shifted(fd);
        fd_close(fd);
        expect_shifted_volume(userns);
        if (s.image.n > 1)
                expect_shifted_anew(userns);
        expect_changes(maps);
        assert(snapshots_reconcile(&s, &err) == 0);
        kit_expect_one_tree(&s, "a");
        assert(snapshot_remove(&s, "a", &err) == 0);
        atomic_store(&how->shifts, true);
}

/* Where there are no idmapped mounts: a copy with the user namespace's owners, and nobody else gets one. */
static void test_copies(int userns) {
        struct snapshotter *how = layers_snapshotter(s.image.layers);
        const struct id_map range = { 0, 100000, 65536 }, all_ids = { 0, 1, 0xfffffffe };
        const struct id_maps maps = { &range, &range, 1, 1 }, too_many = { &all_ids, &all_ids, 1, 1 };
        const size_t n_all = s.image.n;
        int fd;

        atomic_store(&how->shifts, true);
        assert(snapshots_check_idmap(&s, userns, &err) == 0);
        assert(snapshot_create(&s, "t", "sha256:image", &too_many, &err) == -ERR_PRECONDITION &&
               strstr(err.msg, "65534"));
        for (s.image.n = 1; s.image.n <= n_all; s.image.n++)
                expect_copy(&maps, userns);
        s.image.n = n_all;
        assert(snapshot_create(&s, "a", "sha256:image", NULL, &err) == 0);
        fd = kit_mount_snapshot(&s, "a", -1);
        kit_expect_owner(fd, "owned/suid", 7, 8);
        fd_close(fd);
        assert(snapshot_remove(&s, "a", &err) == 0);
        atomic_store(&how->shifts, false);
}

static void test_all(void) {
        int userns = make_userns();

        kit_images_init(&s, add_owned);
        test_mapped(userns);
        test_copies(userns);
        assert(s.holds == 0);
        kit_images_done(&s);
        kit_place_done(s.root);
        fd_close(userns);
}

int main(void) {
        umask(077);
        for (const char *const *how = kit_snapshotters; *how; how++)
                if (kit_place(s.root, "48m", *how))
                        test_all();
        return 0;
}
