/* SPDX-License-Identifier: Apache-2.0 */
/* One layer: what of an archive comes out on disk, and what is refused. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zstd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/test-layer-kit.h"

static char root[64];
static struct kit_image image;
static struct strbuf tar = STRBUF(64 << 20), pax = STRBUF(4 << 20);

/* The archive is refused on its own, with @code and @message; nothing is left behind. */
static void refuse(enum err_code code, const char *message) {
        struct kit_image alone = { .layers = image.layers };
        struct err err = { 0 };

        (void) kit_try(&alone, &tar, &err);
        if (err.code != code || !strstr(err.msg, message))
                fprintf(stderr, "expected %s \"%s\", got %s \"%s\"\n", err_code_name(code), message,
                        err_code_name(err.code), err.msg);
        assert(err.code == code && strstr(err.msg, message));
        assert(kit_is_empty(layers_dirfd(image.layers), "tmp"));
}

/* Unpack as the only layer; descriptor of its folder. */
static int unpack(void) {
        struct err err;
        char top[128];
        int fd;

        for (; image.n; image.n--)
                assert(layer_remove(image.layers, image.chains[image.n - 1], &err) == 0);
        kit_push(&image, &tar);
        kit_top(&image, top);
        fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(fd >= 0);
        return fd;
}

static void test_kinds(void) {
        static const char cap[20] = { 1, 0, 0, 2, 0, 4, 0, 0, 0 };
        char value[64], path[64];
        struct stat st;
        int fd;

        KIT_DIR(&tar, .name = "./", .mode = 0711, .uid = 3, .gid = 4, .mtime = 5);
        KIT_DIR(&tar, .name = "d/", .mode = 02750, .uid = 7, .gid = 8, .mtime = 77);
        KIT_ADD(&tar, .type = '0', .name = "d/suid", .mode = 06755, .uid = 9, .gid = 10, .mtime = 99, .data = "hello");
        KIT_ADD(&tar, .type = '0', .name = "d/root", .mode = 04711, .data = "");
        kit_pax(&pax, "mtime", "1234.567891234", 14);
        kit_pax(&pax, "SCHILY.xattr.security.capability", cap, sizeof(cap));
        kit_pax(&pax, "SCHILY.xattr.trusted.overlay.opaque", "y", 1);
        kit_pax(&pax, "LIBARCHIVE.xattr.trusted.x%2fy", "aGkh", 4);
        kit_pax_end(&tar, &pax);
        KIT_ADD(&tar, .type = '0', .name = "d/cap", .mode = 0555, .uid = 1, .data = "x");
        KIT_ADD(&tar, .type = '2', .name = "d/sym", .link = "/etc/passwd", .uid = 11, .mtime = -5);
        KIT_ADD(&tar, .type = '1', .name = "hard", .link = "./d/suid");
        KIT_ADD(&tar, .type = '1', .name = "d/hardsym", .link = "/d/sym");
        KIT_ADD(&tar, .type = '3', .name = "d/null", .mode = 0666, .major = 1, .minor = 3);
        KIT_ADD(&tar, .type = '4', .name = "d/blk", .mode = 0660, .uid = 2, .major = 8, .minor = 0x12345);
        KIT_ADD(&tar, .type = '6', .name = "d/fifo", .mode = 0601);
        fd = unpack();

        st = kit_stat(fd, ".");
        assert((st.st_mode & 07777) == 0711 && st.st_uid == 3 && st.st_gid == 4 && st.st_mtime == 5);
        st = kit_stat(fd, "d");
        assert((st.st_mode & 07777) == 02750 && st.st_uid == 7 && st.st_gid == 8 && st.st_mtime == 77);
        st = kit_stat(fd, "d/suid");
        assert((st.st_mode & 07777) == 06755 && st.st_uid == 9 && st.st_gid == 10 && st.st_mtime == 99 &&
               st.st_nlink == 2);
        st = kit_stat(fd, "d/root"); /* its folder is setgid: that group is not taken */
        assert((st.st_mode & 07777) == 04711 && st.st_uid == 0 && st.st_gid == 0);
        assert(kit_stat(fd, "hard").st_ino == kit_stat(fd, "d/suid").st_ino);
        kit_expect_file(fd, "hard", "hello");
        st = kit_stat(fd, "d/cap");
        assert(st.st_mtim.tv_sec == 1234 && st.st_mtim.tv_nsec == 567891234);
        snprintf(path, sizeof(path), "/proc/self/fd/%d/d/cap", fd);
        assert(getxattr(path, "security.capability", value, sizeof(value)) == sizeof(cap));
        assert(getxattr(path, "trusted.overlay.opaque", value, sizeof(value)) < 0);
        assert(getxattr(path, "trusted.x/y", value, sizeof(value)) == 3 && memcmp(value, "hi!", 3) == 0);
        st = kit_stat(fd, "d/sym");
        assert(S_ISLNK(st.st_mode) && st.st_uid == 11 && st.st_nlink == 2);
        st = kit_stat(fd, "d/null");
        assert(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) && (st.st_mode & 07777) == 0666);
        st = kit_stat(fd, "d/blk");
        assert(S_ISBLK(st.st_mode) && st.st_rdev == makedev(8, 0x12345) && st.st_uid == 2);
        st = kit_stat(fd, "d/fifo");
        assert(S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0601);
        fd_close(fd);
}

static void test_names(void) {
        char deep[3000] = "";
        int fd;

        KIT_FILE(&tar, "/abs/./x//y", "1");
        KIT_FILE(&tar, "./abs/x/y", "2"); /* the later one wins */
        KIT_FILE(&tar, "abs/...", "dots");
        fd = unpack();
        kit_expect_file(fd, "abs/x/y", "2");
        kit_expect_file(fd, "abs/...", "dots");
        fd_close(fd);

        KIT_FILE(&tar, "../x", "");
        refuse(ERR_INVALID, "\"..\"");
        KIT_FILE(&tar, "a/../../x", "");
        refuse(ERR_INVALID, "\"..\"");
        KIT_FILE(&tar, "a/..", "");
        refuse(ERR_INVALID, "\"..\"");
        KIT_FILE(&tar, ".", "");
        refuse(ERR_INVALID, "root");
        KIT_ADD(&tar, .type = '1', .name = "a", .link = "../../etc/passwd");
        refuse(ERR_INVALID, "\"..\"");
        KIT_ADD(&tar, .type = '1', .name = "a", .link = "/etc/passwd");
        refuse(ERR_INVALID, "does not exist");
        KIT_ADD(&tar, .type = '1', .name = "a", .link = "./a");
        refuse(ERR_INVALID, "itself");
        KIT_DIR(&tar, .name = "d");
        KIT_ADD(&tar, .type = '1', .name = "a", .link = "d");
        refuse(ERR_INVALID, "folder");
        KIT_FILE(&tar, "a", "");
        KIT_FILE(&tar, "a/b", "");
        refuse(ERR_INVALID, "no folder");
        KIT_ADD(&tar, .type = '2', .name = "a", .link = "");
        refuse(ERR_INVALID, "nothing");

        for (int i = 0; i < 300; i++)
                memcpy(deep + strlen(deep), "d/", sizeof("d/"));
        kit_pax(&pax, "path", deep, strlen(deep));
        kit_pax_end(&tar, &pax);
        KIT_DIR(&tar, .name = "x");
        refuse(ERR_INVALID, "too deep");
        memset(deep, 'n', 256);
        deep[256] = '\0';
        kit_pax(&pax, "path", deep, 256);
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "x", "");
        refuse(ERR_INVALID, "255");
        memcpy(deep, ".wh.", 4); /* and a whiteout of so long a name is nothing to link to or to be in */
        memset(deep + 4, 'n', 255);
        kit_pax(&pax, "linkpath", deep, 4 + 255);
        kit_pax_end(&tar, &pax);
        KIT_ADD(&tar, .type = '1', .name = "x", .link = "y");
        refuse(ERR_INVALID, "does not exist");
        memcpy(deep + 4 + 255, "/x", sizeof("/x"));
        kit_pax(&pax, "path", deep, strlen(deep));
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "x", "");
        refuse(ERR_INVALID, "below a whiteout");
        kit_pax(&pax, "path", "a\0b", 3);
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "x", "");
        refuse(ERR_INVALID, "NUL");
}

/* Symlinks of the archive lead nowhere but inside. */
static void test_escapes(void) {
        char outside[128], path[200];
        struct stat st;
        int fd;

        snprintf(outside, sizeof(outside), "%s/outside", root);
        assert(mkdir(outside, 0755) == 0);
        KIT_ADD(&tar, .type = '2', .name = "up", .link = "../../../../../../../..");
        KIT_ADD(&tar, .type = '2', .name = "abs", .link = outside);
        KIT_FILE(&tar, "up/in/x", "in");
        KIT_FILE(&tar, "abs/y", "in");
        KIT_DIR(&tar, .name = "abs/sub", .mode = 0700, .mtime = 6);
        KIT_ADD(&tar, .type = '1', .name = "abs/z", .link = "up/in/x");
        KIT_ADD(&tar, .type = '2', .name = "far", .link = "far2");
        KIT_ADD(&tar, .type = '2', .name = "far2", .link = "/usr/../a/./b");
        KIT_FILE(&tar, "far/f", "in");
        fd = unpack();
        kit_expect_file(fd, "in/x", "in");
        snprintf(path, sizeof(path), "%s/y", outside + 1);
        kit_expect_file(fd, path, "in");
        snprintf(path, sizeof(path), "%s/z", outside + 1);
        kit_expect_file(fd, path, "in");
        snprintf(path, sizeof(path), "%s/sub", outside + 1);
        st = kit_stat(fd, path);
        assert((st.st_mode & 07777) == 0700 && st.st_mtime == 6);
        kit_expect_file(fd, "a/b/f", "in");
        assert(kit_is_empty(AT_FDCWD, outside));
        fd_close(fd);

        /* A folder whose time would be set at the end, replaced by a symlink out of the root meanwhile. */
        KIT_DIR(&tar, .name = "d/e", .mtime = 12345);
        KIT_FILE(&tar, "d/e/f", "");
        KIT_ADD(&tar, .type = '2', .name = "d", .link = outside);
        assert(stat(outside, &st) == 0 && st.st_mtime != 12345);
        fd = unpack();
        assert(S_ISLNK(kit_stat(fd, "d").st_mode));
        assert(kit_is_empty(AT_FDCWD, outside) && stat(outside, &st) == 0 && st.st_mtime != 12345);
        fd_close(fd);

        KIT_ADD(&tar, .type = '2', .name = "l", .link = "l");
        KIT_FILE(&tar, "l/x", "");
        refuse(ERR_INVALID, "symlinks");
        snprintf(path, sizeof(path), "%s/secret", outside);
        assert(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) == 0);
        KIT_ADD(&tar, .type = '2', .name = "l", .link = outside);
        KIT_ADD(&tar, .type = '1', .name = "steal", .link = "l/secret");
        refuse(ERR_INVALID, "does not exist");
        KIT_ADD(&tar, .type = '2', .name = "steal", .link = path);
        KIT_FILE(&tar, "steal", "overwritten"); /* replaces the symlink */
        fd = unpack();
        kit_expect_file(fd, "steal", "overwritten");
        assert(stat(path, &st) == 0 && st.st_size == 0 && st.st_nlink == 1);
        fd_close(fd);
        assert(unlink(path) == 0 && rmdir(outside) == 0);
}

static bool is_opaque(int fd, const char *path) {
        char self[128], v = 0;

        snprintf(self, sizeof(self), "/proc/self/fd/%d/%s", fd, path);
        return lgetxattr(self, "trusted.overlay.opaque", &v, 1) == 1 && v == 'y';
}

static void test_replace(void) {
        struct stat st;
        int fd;

        KIT_DIR(&tar, .name = "a", .mode = 0700, .uid = 5);
        KIT_FILE(&tar, "a/b/c/d", "1");
        KIT_FILE(&tar, "a", "file"); /* a folder with contents gives way */
        KIT_FILE(&tar, "f", "file");
        KIT_DIR(&tar, .name = "f", .mode = 0750, .mtime = 42);
        KIT_FILE(&tar, "f/x", "x");
        KIT_DIR(&tar, .name = "g", .mode = 0700, .uid = 5);
        KIT_FILE(&tar, "g/kept", "kept");
        KIT_DIR(&tar, .name = "g", .mode = 0711, .uid = 6, .mtime = 43);
        KIT_FILE(&tar, "g/kept2", "kept");
        KIT_ADD(&tar, .type = '2', .name = "l", .link = "g");
        KIT_DIR(&tar, .name = "l");
        KIT_FILE(&tar, "l/mine", "");
        KIT_FILE(&tar, "h", "");
        KIT_ADD(&tar, .type = '1', .name = "f/x", .link = "h");
        KIT_ADD(&tar, .type = '6', .name = "h");
        fd = unpack();
        kit_expect_file(fd, "a", "file");
        st = kit_stat(fd, "f");
        assert((st.st_mode & 07777) == 0750 && st.st_mtime == 42 && is_opaque(fd, "f"));
        kit_expect_file(fd, "f/x", "");
        st = kit_stat(fd, "g");
        assert((st.st_mode & 07777) == 0711 && st.st_uid == 6 && st.st_mtime == 43 && !is_opaque(fd, "g"));
        kit_expect_file(fd, "g/kept", "kept");
        assert(S_ISDIR(kit_stat(fd, "l").st_mode) && kit_missing(fd, "g/mine"));
        assert(S_ISFIFO(kit_stat(fd, "h").st_mode));
        fd_close(fd);
}

/* Of root, of user 7, of group 8 and others. */
static const unsigned char acl[] = { 2,  0, 0, 0, 1,   0,   6,   0,   255, 255, 255, 255, 2,   0,   6,   0,  7, 0,
                                     0,  0, 4, 0, 4,   0,   255, 255, 255, 255, 8,   0,   4,   0,   8,   0,  0, 0,
                                     16, 0, 6, 0, 255, 255, 255, 255, 32,  0,   4,   0,   255, 255, 255, 255 };

/* How long it is, -1 and ENODATA: has none. */
static ssize_t xattr_of(int fd, const char *name, const char *attribute) {
        char path[128];

        snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", fd, name);
        return lgetxattr(path, attribute, NULL, 0);
}

/* In a folder with a default ACL: what has none in the archive has none. */
static void test_inherited_acls(void) {
        static const char *const names[] = { "d/file", "d/folder", "d/folder/file", "d/fifo" };
        static const mode_t modes[] = { 0640, 0750, 0604, 0620 };
        int fd;

        kit_pax(&pax, "SCHILY.xattr.system.posix_acl_default", acl, sizeof(acl));
        kit_pax_end(&tar, &pax);
        KIT_DIR(&tar, .name = "d", .mode = 0755);
        KIT_ADD(&tar, .type = '0', .name = names[0], .mode = modes[0], .data = "x");
        KIT_DIR(&tar, .name = names[1], .mode = modes[1]);
        KIT_ADD(&tar, .type = '0', .name = names[2], .mode = modes[2], .data = "x");
        KIT_ADD(&tar, .type = '6', .name = names[3], .mode = modes[3]);
        kit_pax(&pax, "SCHILY.xattr.system.posix_acl_access", acl, sizeof(acl));
        kit_pax_end(&tar, &pax);
        KIT_ADD(&tar, .type = '0', .name = "d/own", .mode = 0664, .data = "x");
        fd = unpack();
        assert(xattr_of(fd, "d", "system.posix_acl_default") == (ssize_t) sizeof(acl));
        assert(xattr_of(fd, "d/own", "system.posix_acl_access") == (ssize_t) sizeof(acl));
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                assert((kit_stat(fd, names[i]).st_mode & 07777) == modes[i]);
                assert(xattr_of(fd, names[i], "system.posix_acl_access") < 0 && errno == ENODATA);
                assert(xattr_of(fd, names[i], "system.posix_acl_default") < 0 && errno == ENODATA);
        }
        fd_close(fd);
}

static void test_limits(void) {
        char value[70000];

        memset(value, 'v', sizeof(value));
        kit_pax(&pax, "SCHILY.xattr.user.x", value, sizeof(value));
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "x", "");
        refuse(ERR_INVALID, "extended attribute");
        for (int i = 0; i < 300; i++) {
                snprintf(value, sizeof(value), "SCHILY.xattr.user.%d", i);
                kit_pax(&pax, value, "", 0);
        }
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "x", "");
        refuse(ERR_INVALID, "extended attributes");
        for (int i = 0; i < 17; i++)
                kit_pax(&pax, "comment", value, 65536);
        kit_pax_end(&tar, &pax);
        refuse(ERR_INVALID, "1 MiB");
        KIT_ADD(&tar, .type = '0', .name = "x", .uid = 1);
        memcpy(tar.data + 108, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
        kit_checksum(tar.data);
        refuse(ERR_INVALID, "range");
        KIT_ADD(&tar, .type = 'Z', .name = "x");
        refuse(ERR_INVALID, "unknown type");
        KIT_FILE(&tar, "x", "");
        tar.data[0] = 'y';
        refuse(ERR_INVALID, "checksum");
}

/* max_bytes and max_entries, and what a disk that is full leaves. */
static void test_bombs(void) {
        _cleanup_strbuf_ struct strbuf z = STRBUF(1 << 20);
        struct kit_blob b = { .media_type = "application/vnd.oci.image.layer.v1.tar+gzip", .diff_id = "sha256:" };
        _cleanup_(freep) char *zeros = xcalloc(1, 60 << 20);
        struct layer_sink *s;
        struct err err;
        char diff[80];

        KIT_ADD(&tar, .type = '0', .name = "x", .data = zeros, .len = 60 << 20);
        kit_end(&tar);
        kit_gzip(&z, tar.data, tar.len);
        kit_sha256(tar.data, tar.len, diff);
        tar.len = 0;
        b.data = z.data;
        b.len = z.len;
        b.diff_id = diff;
        b.max_bytes = 1 << 20;
        assert(kit_ingest(image.layers, &b, &s, &err) == -ERR_EXHAUSTED && strstr(err.msg, "1048576 bytes"));
        b.max_bytes = 0; /* the disk has 48 MiB */
        assert(kit_ingest(image.layers, &b, &s, &err) == -ERR_EXHAUSTED && err.sys_errno == ENOSPC);
        assert(kit_is_empty(layers_dirfd(image.layers), "tmp"));
        for (int i = 0; i < 10; i++) {
                snprintf(diff, sizeof(diff), "a%d/b", i);
                KIT_FILE(&tar, diff, "");
        }
        b = (struct kit_blob){ .data = tar.data, .len = tar.len, .max_entries = 15 };
        assert(kit_ingest(image.layers, &b, &s, &err) == -ERR_EXHAUSTED && strstr(err.msg, "15"));
        b.max_entries = 9;
        assert(kit_ingest(image.layers, &b, &s, &err) == -ERR_EXHAUSTED && strstr(err.msg, "9"));
        assert(kit_is_empty(layers_dirfd(image.layers), "tmp"));
        tar.len = 0;
}

/* The same archive packed in every way and fed in pieces of every size. */
static void test_compression(void) {
        _cleanup_strbuf_ struct strbuf z = STRBUF(1 << 20);
        char diff[80], frame[4096];
        struct kit_blob b = { .diff_id = diff };
        struct layer_sink *s;
        struct err err;
        size_t n, half;

        kit_pax(&pax, "path", "a/long/name", 11);
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "x", "some text");
        KIT_FILE(&tar, "y", "");
        kit_end(&tar);
        kit_sha256(tar.data, tar.len, diff);
        half = 700;
        kit_gzip(&z, tar.data, half);
        kit_gzip(&z, "", 0);
        kit_gzip(&z, tar.data + half, tar.len - half);
        for (int kind = 0; kind < 4; kind++) {
                b.media_type = kind == 3   ? "application/vnd.oci.image.layer.v1.tar"
                               : kind == 2 ? "application/vnd.docker.image.rootfs.diff.tar.zstd"
                                           : "application/vnd.docker.image.rootfs.diff.tar.gzip";
                if (kind == 1)
                        strbuf_append(&z, (char[600]){ 0 }, 600);
                if (kind >= 2)
                        z.len = 0;
                if (kind == 2) {
                        n = ZSTD_compress(frame, sizeof(frame), tar.data, half, 3);
                        strbuf_append(&z, frame, n);
                        strbuf_append(&z, "\x50\x2a\x4d\x18\x03\x00\x00\x00skp", 11);
                        n = ZSTD_compress(frame, sizeof(frame), tar.data + half, tar.len - half, 3);
                        strbuf_append(&z, frame, n);
                } else if (kind == 3) {
                        strbuf_append(&z, tar.data, tar.len);
                }
                b.data = z.data;
                for (size_t cut = 0; cut < 3; cut++) {
                        b.len = z.len;
                        b.chunk = cut == 0 ? 0 : cut == 1 ? 1 : 700;
                        if (kit_ingest(image.layers, &b, &s, &err) < 0) {
                                fprintf(stderr, "kind %d: %s\n", kind, err.msg);
                                abort();
                        }
                        s = layer_sink_free(s);
                }
                for (b.len = 1; b.len < z.len && kind != 1; b.len++) /* cut off anywhere */
                        assert(kit_ingest(image.layers, &b, &s, &err) < 0 &&
                               (err.code == ERR_INVALID || err.code == ERR_DATA_LOSS));
        }
        b.len = z.len; /* plain tar */
        b.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        assert(kit_ingest(image.layers, &b, &s, &err) == -ERR_INVALID && strstr(err.msg, "media type"));
        b.media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
        assert(kit_ingest(image.layers, &b, &s, &err) == -ERR_INVALID && strstr(err.msg, "zstd"));
        b.media_type = "application/vnd.oci.image.config.v1+json";
        assert(kit_ingest(image.layers, &b, &s, &err) == -ERR_INVALID && strstr(err.msg, "media type"));
        z.len = 0;
        kit_gzip(&z, tar.data, tar.len);
        b.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        b.data = z.data;
        b.len = z.len;
        z.data[z.len - 6] ^= 1;
        assert(kit_ingest(image.layers, &b, &s, &err) == -ERR_INVALID && strstr(err.msg, "checksum"));
        z.data[z.len - 6] ^= 1;
        strbuf_puts(&z, "junk");
        b.data = z.data;
        b.len = z.len;
        assert(kit_ingest(image.layers, &b, &s, &err) == -ERR_INVALID);
        assert(kit_is_empty(layers_dirfd(image.layers), "tmp"));
        tar.len = 0;
}

static void test_digests(void) {
        struct layer_sink_args args = { .media_type = "application/vnd.oci.image.layer.v1.tar",
                                        .max_bytes = 1 << 20,
                                        .max_entries = 10 };
        char good[80], bad[80];
        uint64_t bytes, inodes;
        struct err err;

        KIT_FILE(&tar, "x", "text");
        kit_end(&tar);
        kit_sha256(tar.data, tar.len, good);
        kit_sha256("", 0, bad);
        for (int i = 0; i < 4; i++) {
                _cleanup_(layer_sink_freep) struct layer_sink *s = NULL;

                args.digest = i == 0 ? bad : good;
                args.diff_id = i == 1 ? bad : good;
                args.size_bytes = tar.len + (i == 2) - (i == 3);
                assert(layer_sink_new(image.layers, &args, &s, &err) == 0);
                if (i == 3)
                        assert(layer_sink_write(s, tar.data, tar.len, &err) == -ERR_DATA_LOSS);
                else
                        assert(layer_sink_write(s, tar.data, tar.len, &err) == 0);
                assert(layer_sink_end(s, &err) == -ERR_DATA_LOSS);
                assert(layer_sink_finish(s, good, NULL, 0, &bytes, &inodes, &err) == -ERR_DATA_LOSS);
        }
        args.digest = "sha512:00";
        struct layer_sink *s;
        assert(layer_sink_new(image.layers, &args, &s, &err) == -ERR_INVALID);
        assert(kit_is_empty(layers_dirfd(image.layers), "tmp") && !layer_exists(image.layers, good));
        tar.len = 0;
}

int main(void) {
        kit_tmpfs(root, "48m");
        kit_image_init(&image, root);
        umask(077); /* must not matter */
        test_kinds();
        test_names();
        test_escapes();
        test_replace();
        test_inherited_acls();
        test_limits();
        test_bombs();
        test_compression();
        test_digests();
        kit_image_done(&image);
        strbuf_done(&tar);
        strbuf_done(&pax);
        assert(umount2(root, MNT_DETACH) == 0 && rmdir(root) == 0);
        return 0;
}
