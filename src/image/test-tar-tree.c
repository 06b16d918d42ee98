/* SPDX-License-Identifier: Apache-2.0 */
/* Trees into archives, and back by our unpacker, GNU tar and bsdtar (where it is there): the same again. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "image/tar-tree.h"
#include "image/test-layer-kit.h"
#include "image/tree-diff.h"
#include "image/unpack.h"

static const size_t archive_max = (size_t) 64 << 20;
static struct strbuf skipped;

/* --- kit ---------------------------------------------------------------------------------------------------------- */

static int take(const void *data, size_t len, void *userdata, struct err *err) {
        (void) err;
        strbuf_append(userdata, data, len);
        return 0;
}

static void note(const char *path, const char *why, void *userdata) {
        (void) userdata;
        strbuf_printf(&skipped, "%s: %s\n", path, why);
}

static int open_folder(const char *path) {
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        assert(fd >= 0);
        return fd;
}

static int try_pack(const char *path, struct tar_tree_args args, struct strbuf *ret, struct err *err) {
        _cleanup_(fd_closep) int fd = open_folder(path);
        int r;

        *ret = STRBUF(archive_max);
        args.root_fd = fd;
        args.write = args.write ?: take;
        args.skipped = note;
        args.userdata = ret;
        r = tar_tree(&args, err);
        assert(!ret->overflow);
        return r;
}

static void pack(const char *path, struct tar_tree_args args, struct strbuf *ret) {
        struct err err = { 0 };

        if (try_pack(path, args, ret, &err) != 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
        }
}
#define PACK(path, ret, ...) pack((path), (struct tar_tree_args){ __VA_ARGS__ }, (ret))

static void expect_same(const char *a, const char *b) {
        _cleanup_(fd_closep) int a_fd = open_folder(a), b_fd = open_folder(b);
        struct tree_diff diff;
        struct err err = { 0 };
        int r = tree_diff(a_fd, b_fd, NULL, &diff, &err);

        if (r < 0 || !diff.same)
                fprintf(stderr, "%s, %s: %s: %s %s\n", a, b, diff.path, diff.what, err.msg);
        assert(r == 0 && diff.same);
}

static void unpack_ours(const struct strbuf *tar, const char *path) {
        _cleanup_(unpack_freep) struct unpack *u = NULL;
        _cleanup_(fd_closep) int fd = -1;
        struct err err = { 0 };

        (void) umask(0);
        assert(mkdir(path, 0755) == 0);
        fd = open_folder(path);
        assert(unpack_new(fd, 1000000, &u, &err) == 0);
        if (unpack_write(u, tar->data, tar->len, &err) < 0 || unpack_end(u, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
        }
}

static int run(const char *const *argv) {
        _cleanup_strbuf_ struct strbuf said = STRBUF(4096);
        struct err err;
        int status = -1;

        if (proc_run(&(struct proc_run_args){ .argv = argv, .envp = (const char *const *) environ, .err_out = &said },
                     &status, &err) < 0)
                return -1;
        if (status != 0 || said.len > 0)
                fprintf(stderr, "%s: %s", argv[0], strbuf_str(&said));
        return status == 0 && said.len > 0 ? 1 : status; /* warnings, too */
}

static void make_file(int dir, const char *name, const void *data, size_t len, mode_t mode) {
        _cleanup_(fd_closep) int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        assert(fd >= 0 && fs_write_all(fd, data, len) == 0 && fchmod(fd, mode) == 0);
}

static void set_time(int dir, const char *name, int64_t s, long ns) {
        const struct timespec t[2] = { { .tv_sec = s, .tv_nsec = ns }, { .tv_sec = s, .tv_nsec = ns } };

        assert(utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW) == 0);
}

static void set_attr(int dir, const char *name, const char *key, const void *value, size_t len) {
        char path[400];

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
        assert(lsetxattr(path, key, value, len, 0) == 0);
}

/* --- round trips -------------------------------------------------------------------------------------------------- */

static void make_deep(int dir, int levels) {
        int fd = dup(dir);

        for (int i = 0; i < levels; i++) {
                int next;

                assert(mkdirat(fd, "deep", 0750) == 0);
                make_file(fd, "file", "x", 1, 0644);
                next = openat(fd, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert(next >= 0);
                (void) close(fd);
                fd = next;
        }
        (void) close(fd);
}

static void make_sparse(int dir) {
        _cleanup_(fd_closep) int fd = openat(dir, "sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert(fd >= 0 && pwrite(fd, "begin", 5, 0) == 5 && pwrite(fd, "middle", 6, (off_t) 100 << 20) == 6 &&
               pwrite(fd, "near", 4, ((off_t) 100 << 20) + 20000) == 4 && ftruncate(fd, (off_t) 300 << 20) == 0);
        (void) close(fd);
        fd = openat(dir, "hole", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert(fd >= 0 && ftruncate(fd, (off_t) 200 << 20) == 0);
}

static void make_tree(const char *path, bool odd) {
        static const struct vfs_cap_data caps = { .magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
                                                  .data[0] = { 1 << CAP_NET_RAW, 0 } };
        char name[256], big[3000], link[600],
                acl[] = "\2\0\0\0\1\0\6\0\377\377\377\377\2\0\4\0\350\3\0\0"
                        "\4\0\4\0\377\377\377\377\20\0\4\0\377\377\377\377\40\0\0\0\377\377\377\377";
        _cleanup_(fd_closep) int dir = -1;

        assert(mkdir(path, 0711) == 0);
        dir = open_folder(path);
        make_file(dir, "empty", "", 0, 0600);
        make_file(dir, "caps", "program", 7, 0755);
        set_attr(dir, "caps", "security.capability", &caps, sizeof(caps));
        make_file(dir, "suid", "s", 1, 06755);
        assert(fchownat(dir, "suid", 4000000000U, 3000000000U, 0) == 0 && fchmodat(dir, "suid", 06755, 0) == 0);
        memset(big, '=', sizeof(big));
        memcpy(big + 100, "\0\n 12 binary", 12);
        make_file(dir, "attributes", big, sizeof(big), 0644);
        set_attr(dir, "attributes", "trusted.binary", big, sizeof(big));
        set_attr(dir, "attributes", "trusted.empty", "", 0);
        set_attr(dir, "attributes", "system.posix_acl_access", acl, sizeof(acl) - 1);
        assert(linkat(dir, "attributes", dir, "zz-link", 0) == 0);
        assert(mkdirat(dir, "etc", 0755) == 0 && symlinkat("../../nowhere", dir, "etc/up") == 0);
        assert(linkat(dir, "etc/up", dir, "up-again", 0) == 0);
        set_attr(dir, "etc/up", "trusted.of-a-link", "1", 1);
        memset(link, 'l', sizeof(link) - 1);
        link[sizeof(link) - 1] = '\0';
        assert(symlinkat(link, dir, "long-link") == 0);
        memset(name, 'n', 255);
        name[255] = '\0';
        assert(mkdirat(dir, name, 01777) == 0);
        memset(name, 'h', 100); /* just what ustar holds */
        name[100] = '\0';
        make_file(dir, name, "100", 3, 0644);
        name[99] = '\0';
        make_file(dir, name, "99", 2, 0644);
        assert(mkfifoat(dir, "fifo", 0622) == 0 && mknodat(dir, "null", S_IFCHR | 0666, makedev(1, 3)) == 0);
        assert(mknodat(dir, "disk", S_IFBLK | 0660, makedev(259, 0xfffff)) == 0);
        if (odd) {
                make_file(dir, "odd \n\t\\\"\xff\xfe*", "odd", 3, 0644);
                make_file(dir, "caf\xc3\xa9", "utf-8", 5, 0644);
        }
        make_file(dir, ".wh.plain", "no whiteout here", 16, 0644);
        make_deep(dir, 100);
        make_sparse(dir);
        set_time(dir, "suid", 1234567890, 123456789);
        set_time(dir, "caps", -2, 750000000);
        set_time(dir, "empty", -3, 0);
        set_time(dir, "null", 8589934592 + 5, 1);
        set_time(dir, "long-link", 77, 700000000);
        set_time(dir, "etc", 99, 900000001);
        set_time(dir, ".", 55, 5);
}

static void unpack_by(const char *const *argv, const struct strbuf *tar, const char *file, const char *to) {
        make_file(AT_FDCWD, file, tar->data, tar->len, 0600);
        assert(mkdir(to, 0700) == 0 && run(argv) == 0);
        assert(unlink(file) == 0);
}

static void test_round_trips(const char *place) {
        _cleanup_strbuf_ struct strbuf tar = STRBUF(0), again = STRBUF(0);
        char from[100], to[100], file[160];
        const char *const gnu[] = { "tar",
                                    "--warning=no-timestamp",
                                    "--numeric-owner",
                                    "--xattrs",
                                    "--xattrs-include=*",
                                    "-xpf",
                                    file,
                                    "-C",
                                    to,
                                    NULL };
        struct stat a, b;

        (void) snprintf(from, sizeof(from), "%s/from", place);
        (void) snprintf(file, sizeof(file), "%s/tar", place);
        (void) snprintf(to, sizeof(to), "%s/to-tar", place);
        make_tree(from, true);
        PACK(from, &tar, .kind = TAR_TREE_PLAIN);
        assert(tar.len < 1 << 20); /* holes are none of it */
        PACK(from, &again, .kind = TAR_TREE_PLAIN);
        assert(tar.len == again.len && memcmp(tar.data, again.data, tar.len) == 0);
        unpack_by(gnu, &tar, file, to);
        expect_same(from, to);
        (void) snprintf(to, sizeof(to), "%s/to-ours", place);
        (void) snprintf(file, sizeof(file), "%s/.wh.plain", from); /* ours takes it as what it is called */
        assert(unlink(file) == 0);
        strbuf_done(&again);
        PACK(from, &again, .prefix = "./");
        unpack_ours(&again, to);
        expect_same(from, to);
        for (const char *const *name = (const char *const[]){ "", "/etc", "/deep", NULL }; *name; name++) {
                (void) snprintf(file, sizeof(file), "%s%s", from, *name);
                assert(stat(file, &a) == 0);
                (void) snprintf(file, sizeof(file), "%s%s", to, *name);
                assert(stat(file, &b) == 0);
                assert(a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec);
        }
        (void) snprintf(file, sizeof(file), "%s/to-ours/sparse", place);
        assert(stat(file, &a) == 0 && a.st_size == (off_t) 300 << 20 && a.st_blocks < 1000);
}

/* By those who take ACLs in tar's own form alone, as Proxmox VE does of a template; and what has none gets none of its
 * folder's. */
static void test_acls(const char *place) {
        _cleanup_strbuf_ struct strbuf tar = STRBUF(0), layer = STRBUF(0);
        char acl[] = "\2\0\0\0\1\0\6\0\377\377\377\377\2\0\4\0\350\3\0\0\4\0\4\0\377\377\377\377\10\0\7\0\7\0\0\0"
                     "\20\0\7\0\377\377\377\377\40\0\0\0\377\377\377\377",
             from[100], to[100], file[100];
        const char *const gnu[] = { "tar", "--numeric-owner", "--acls", "-xpf", file, "-C", to, NULL };
        _cleanup_(fd_closep) int dir = -1;

        (void) snprintf(from, sizeof(from), "%s/acls", place);
        (void) snprintf(file, sizeof(file), "%s/tar", place);
        (void) snprintf(to, sizeof(to), "%s/acls-by-tar", place);
        assert(mkdir(from, 0755) == 0 && (dir = open_folder(from)) >= 0 && mkdirat(dir, "folder", 0770) == 0);
        make_file(dir, "folder/none", "", 0, 0640);
        make_file(dir, "folder/own", "", 0, 0640);
        assert(mkdirat(dir, "folder/none-either", 0700) == 0);
        for (const char *const *name = (const char *const[]){ "folder", "folder/own", NULL }; *name; name++)
                set_attr(dir, *name, "system.posix_acl_access", acl, sizeof(acl) - 1);
        set_attr(dir, "folder", "system.posix_acl_default", acl, sizeof(acl) - 1);
        PACK(from, &tar, .kind = TAR_TREE_PLAIN);
        unpack_by(gnu, &tar, file, to);
        expect_same(from, to);
        PACK(from, &layer, .kind = TAR_TREE_LAYER);
        assert(!memmem(layer.data, layer.len, "SCHILY.acl", 10));
        (void) snprintf(to, sizeof(to), "%s/acls-by-us", place);
        unpack_ours(&layer, to);
        expect_same(from, to);
}

/* bsdtar writes holes as zeros, rounds times before 1970 in its own way, loses attributes that are empty, and takes
 * ACLs in its own form alone. */
static bool not_for_bsdtar(const char *path, void *userdata) {
        (void) userdata;
        return str_eq(path, "sparse") || str_eq(path, "hole");
}

static void test_bsdtar(const char *place) {
        _cleanup_strbuf_ struct strbuf tar = STRBUF(0);
        char from[100], to[100], file[160];
        const char *const bsd[] = { "bsdtar", "--numeric-owner", "--xattrs", "-xpf", file, "-C", to, NULL };

        if (access("/usr/bin/bsdtar", X_OK) < 0)
                return;
        (void) snprintf(from, sizeof(from), "%s/from", place);
        (void) snprintf(to, sizeof(to), "%s/to-bsdtar", place);
        (void) snprintf(file, sizeof(file), "%s/attributes", from);
        assert(removexattr(file, "trusted.empty") == 0 && removexattr(file, "system.posix_acl_access") == 0);
        (void) snprintf(file, sizeof(file), "%s/caps", from);
        set_time(AT_FDCWD, file, 2, 750000000);
        (void) snprintf(file, sizeof(file), "%s/tar", place);
        PACK(from, &tar, .leave_out = not_for_bsdtar);
        unpack_by(bsd, &tar, file, to);
        for (const char *const *name = (const char *const[]){ "sparse", "hole", NULL }; *name; name++) {
                (void) snprintf(file, sizeof(file), "%s/%s", from, *name);
                assert(unlink(file) == 0);
        }
        expect_same(from, to);
}

/* --- layers ------------------------------------------------------------------------------------------------------- */

static void test_upper(const char *place) {
        _cleanup_strbuf_ struct strbuf tar = STRBUF(0), none = STRBUF(0);
        _cleanup_(fd_closep) int dir = -1;
        char from[100], to[100], path[160], value[2];
        struct stat st;
        struct err err;

        (void) snprintf(from, sizeof(from), "%s/upper", place);
        (void) snprintf(to, sizeof(to), "%s/upper-again", place);
        assert(mkdir(from, 0755) == 0);
        dir = open_folder(from);
        assert(mkdirat(dir, "new", 0755) == 0 && mkdirat(dir, "new/below", 0700) == 0);
        set_attr(dir, "new", "trusted.overlay.opaque", "y", 1);
        set_attr(dir, "new", "trusted.overlay.origin", "host", 4);
        set_attr(dir, "new", "trusted.own", "kept", 4);
        assert(mknodat(dir, "gone", S_IFCHR, 0) == 0 && linkat(dir, "gone", dir, "new/gone too", 0) == 0);
        PACK(from, &tar, .kind = TAR_TREE_UPPER);
        assert(memmem(tar.data, tar.len, ".wh.gone", 8) && memmem(tar.data, tar.len, "new/.wh..wh..opq", 16) &&
               memmem(tar.data, tar.len, "new/.wh.gone too", 16) && !memmem(tar.data, tar.len, "overlay", 7));
        unpack_ours(&tar, to);
        (void) snprintf(path, sizeof(path), "%s/gone", to);
        assert(lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0);
        (void) snprintf(path, sizeof(path), "%s/new/gone too", to);
        assert(lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0);
        (void) snprintf(path, sizeof(path), "%s/new", to);
        assert(getxattr(path, "trusted.overlay.opaque", value, 2) == 1 && getxattr(path, "trusted.own", NULL, 0) == 4);
        make_file(dir, ".wh.really", "", 0, 0600);
        assert(try_pack(from, (struct tar_tree_args){ .kind = TAR_TREE_LAYER }, &none, &err) == -ERR_INVALID &&
               strstr(err.msg, ".wh.really"));
        strbuf_done(&none);
        assert(unlinkat(dir, ".wh.really", 0) == 0);
        set_attr(dir, "new/below", "trusted.overlay.redirect", "/old", 4);
        assert(try_pack(from, (struct tar_tree_args){ .kind = TAR_TREE_UPPER }, &none, &err) == -ERR_PRECONDITION &&
               strstr(err.msg, "new/below"));
}

static bool no_logs(const char *path, void *userdata) {
        (void) userdata;
        return str_eq(path, "var/log");
}

static void test_owners_and_left_out(const char *place) {
        static const struct id_map uids[] = { { 0, 100000, 65536 } }, gids[] = { { 0, 200000, 65536 } };
        static const struct id_maps owners = { uids, gids, 1, 1 };
        static const struct vfs_ns_cap_data caps = { .magic_etc = VFS_CAP_REVISION_3, .rootid = 100000 };
        static const struct vfs_cap_data expected = { .magic_etc = VFS_CAP_REVISION_2 };
        _cleanup_strbuf_ struct strbuf tar = STRBUF(0);
        _cleanup_(fd_closep) int dir = -1;
        char from[100], to[100], path[160], value[64];
        struct stat st;

        (void) snprintf(from, sizeof(from), "%s/owned", place);
        (void) snprintf(to, sizeof(to), "%s/owned-inside", place);
        assert(mkdir(from, 0755) == 0 && chown(from, 100000, 200000) == 0);
        dir = open_folder(from);
        assert(mkdirat(dir, "var", 0755) == 0 && mkdirat(dir, "var/log", 0755) == 0 &&
               mkdirat(dir, "var/logs", 0755) == 0);
        make_file(dir, "var/log/messages", "m", 1, 0644);
        make_file(dir, "theirs", "t", 1, 0644);
        assert(fchownat(dir, "theirs", 101000, 202000, 0) == 0);
        set_attr(dir, "theirs", "security.capability", &caps, sizeof(caps));
        make_file(dir, "nobody's", "n", 1, 0644); /* the host's root */
        PACK(from, &tar, .owners = &owners, .leave_out = no_logs);
        unpack_ours(&tar, to);
        assert(stat(to, &st) == 0 && st.st_uid == 0 && st.st_gid == 0);
        (void) snprintf(path, sizeof(path), "%s/theirs", to);
        assert(stat(path, &st) == 0 && st.st_uid == 1000 && st.st_gid == 2000);
        assert(getxattr(path, "security.capability", value, sizeof(value)) == sizeof(expected) &&
               memcmp(value, &expected, sizeof(expected)) == 0);
        (void) snprintf(path, sizeof(path), "%s/nobody's", to);
        assert(stat(path, &st) == 0 && st.st_uid == 65534 && st.st_gid == 65534);
        (void) snprintf(path, sizeof(path), "%s/var/logs", to);
        assert(stat(path, &st) == 0);
        (void) snprintf(path, sizeof(path), "%s/var/log", to);
        assert(stat(path, &st) < 0 && errno == ENOENT);
}

/* --- what an archive can't hold, and what changes ------------------------------------------------------------------
 */

static void test_skipped(const char *place) {
        _cleanup_strbuf_ struct strbuf tar = STRBUF(0);
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char from[100], path[160];

        (void) snprintf(from, sizeof(from), "%s/skip", place);
        (void) snprintf(path, sizeof(path), "%s/mount", from);
        (void) snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/socket", from);
        assert(mkdir(from, 0755) == 0 && mkdir(path, 0755) == 0 && mount("tmpfs", path, "tmpfs", 0, "") == 0);
        assert(s >= 0 && bind(s, (struct sockaddr *) &sa, sizeof(sa)) == 0);
        (void) close(s);
        (void) snprintf(path, sizeof(path), "%s/mount/hidden", from);
        make_file(AT_FDCWD, path, "", 0, 0600);
        skipped.len = 0;
        PACK(from, &tar, .kind = TAR_TREE_PLAIN);
        assert(strstr(skipped.data, "socket: a socket\n") && strstr(skipped.data, "mount: another file system"));
        assert(!memmem(tar.data, tar.len, "hidden", 6) && memmem(tar.data, tar.len, "mount/", 6));
        (void) snprintf(path, sizeof(path), "%s/mount", from);
        assert(umount(path) == 0);
}

static char changing[100];

/* At the first bytes: the big file is shorter, the last one gone. */
static int change(const void *data, size_t len, void *userdata, struct err *err) {
        char path[160];

        (void) snprintf(path, sizeof(path), "%s/big", changing);
        assert(truncate(path, 400000) == 0);
        (void) snprintf(path, sizeof(path), "%s/last", changing);
        (void) unlink(path);
        return take(data, len, userdata, err);
}

static void test_changes(const char *place) {
        _cleanup_strbuf_ struct strbuf tar = STRBUF(0);
        _cleanup_(freep) char *data = xcalloc(1, 1000000);
        char path[160], to[100];
        struct stat st;

        (void) snprintf(changing, sizeof(changing), "%s/changing", place);
        (void) snprintf(to, sizeof(to), "%s/changed", place);
        assert(mkdir(changing, 0755) == 0);
        memset(data, 'd', 1000000);
        (void) snprintf(path, sizeof(path), "%s/big", changing);
        make_file(AT_FDCWD, path, data, 1000000, 0644);
        (void) snprintf(path, sizeof(path), "%s/last", changing);
        make_file(AT_FDCWD, path, data, 10, 0644);
        skipped.len = 0;
        PACK(changing, &tar, .write = change);
        assert(strstr(skipped.data, "last: it vanished meanwhile\n"));
        unpack_ours(&tar, to);
        (void) snprintf(path, sizeof(path), "%s/big", to);
        assert(stat(path, &st) == 0 && st.st_size == 1000000);
}

static atomic_bool race_over;

/* A folder, and a file, in turns what they are and symlinks to what nobody may see. */
static void *race(void *arg) {
        int dir = *(int *) arg;

        while (!atomic_load(&race_over)) {
                assert(renameat(dir, "folder", dir, "kept") == 0 && symlinkat("../secret", dir, "folder") == 0);
                assert(renameat(dir, "file", dir, "kept-file") == 0 && symlinkat("../secret/word", dir, "file") == 0);
                assert(unlinkat(dir, "folder", 0) == 0 && renameat(dir, "kept", dir, "folder") == 0);
                assert(unlinkat(dir, "file", 0) == 0 && renameat(dir, "kept-file", dir, "file") == 0);
        }
        return NULL;
}

static void test_races(const char *place) {
        char from[100], secret[120];
        struct err err;
        pthread_t thread;
        int dir;

        (void) snprintf(secret, sizeof(secret), "%s/secret", place);
        assert(mkdir(secret, 0700) == 0);
        (void) snprintf(secret, sizeof(secret), "%s/secret/word", place);
        make_file(AT_FDCWD, secret, "swordfish", 9, 0600);
        (void) snprintf(from, sizeof(from), "%s/racing", place);
        assert(mkdir(from, 0755) == 0);
        dir = open_folder(from);
        assert(mkdirat(dir, "folder", 0755) == 0);
        make_file(dir, "file", "mine", 4, 0644);
        make_file(dir, "folder/word", "mine", 4, 0644);
        assert(pthread_create(&thread, NULL, race, &dir) == 0);
        for (int i = 0; i < 3000; i++) {
                _cleanup_strbuf_ struct strbuf tar = STRBUF(0);
                int r = try_pack(from, (struct tar_tree_args){ .kind = TAR_TREE_PLAIN }, &tar, &err);

                assert(r == 0 || r == -ERR_ABORTED);
                assert(!tar.data || !memmem(tar.data, tar.len, "swordfish", 9));
        }
        atomic_store(&race_over, true);
        assert(pthread_join(thread, NULL) == 0);
        (void) close(dir);
}

static int refuse(const void *data, size_t len, void *userdata, struct err *err) {
        (void) data;
        (void) len;
        (void) userdata;
        return err_set(err, ERR_CANCELLED, "enough");
}

int main(void) {
        _cleanup_strbuf_ struct strbuf none = STRBUF(0);
        struct err err;
        char place[64];

        skipped = STRBUF(1 << 20);
        kit_tmpfs(place, "200m");
        test_round_trips(place);
        test_acls(place);
        test_bsdtar(place);
        test_upper(place);
        test_owners_and_left_out(place);
        test_skipped(place);
        test_changes(place);
        test_races(place);
        assert(try_pack(place, (struct tar_tree_args){ .write = refuse }, &none, &err) == -ERR_CANCELLED);
        strbuf_done(&skipped);
        assert(umount2(place, MNT_DETACH) == 0 && rmdir(place) == 0);
        return 0;
}
