/* SPDX-License-Identifier: Apache-2.0 */
/* The tar dialects, through unpack.h alone. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/test-layer-kit.h"
#include "image/unpack.h"

static char root[64];
static struct strbuf tar = STRBUF(64 << 20), pax = STRBUF(4 << 20);

/* Into a fresh folder, in pieces of @chunk bytes; its descriptor, or -1 with @err. */
static int unpack(size_t chunk, struct err *err) {
        _cleanup_(unpack_freep) struct unpack *u = NULL;
        static unsigned count;
        char path[128];
        int fd, r;

        snprintf(path, sizeof(path), "%s/%u", root, ++count);
        assert(mkdir(path, 0755) == 0);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(fd >= 0);
        r = unpack_new(fd, 1000, &u, err);
        for (size_t at = 0, n; r == 0 && at < tar.len; at += n) {
                n = MIN_OF(chunk, tar.len - at);
                r = unpack_write(u, tar.data + at, n, err);
        }
        if (r == 0)
                r = unpack_end(u, err);
        return r == 0 ? fd : fd_close(fd);
}

static int must_unpack(size_t chunk) {
        struct err err = { 0 };
        int fd = unpack(chunk, &err);

        if (fd < 0)
                fprintf(stderr, "%s\n", err.msg);
        assert(fd >= 0);
        return fd;
}

static void refuse(const char *message) {
        struct err err = { 0 };

        assert(unpack(tar.len, &err) < 0);
        if (err.code != ERR_INVALID || !strstr(err.msg, message))
                fprintf(stderr, "expected \"%s\", got \"%s\"\n", message, err.msg);
        assert(err.code == ERR_INVALID && strstr(err.msg, message));
        tar.len = 0;
}

static void base256(char *field, size_t len, long long v) {
        /* cppcheck-suppress shiftNegativeLHS; gcc keeps the sign, which is what a field of 12 bytes wants */
        for (size_t i = len; i-- > 0; v >>= 8)
                field[i] = (char) v;
        field[0] = (char) (field[0] | 0x80);
}

static void put_number(char *field, unsigned long long v) {
        for (size_t i = 11; i-- > 0; v >>= 3)
                field[i] = (char) ('0' + (v & 7));
        field[11] = ' ';
}

enum { SPARSE_SIZE = 1 << 20, SPARSE_STORED = 612 };

/* Of the file: 512 A at 4096, 100 B at the end. */
static const char *sparse_data(void) {
        static char data[SPARSE_STORED];

        memset(data, 'A', 512);
        memset(data + 512, 'B', 100);
        return data;
}

static void pax_text(const char *key, const char *value) {
        kit_pax(&pax, key, value, strlen(value));
}

static void add_sparse(int kind) {
        char map[512 + SPARSE_STORED] = "2\n4096\n512\n1048476\n100\n", *h;

        if (kind == 0) {
                pax_text("GNU.sparse.size", "1048576");
                pax_text("GNU.sparse.numblocks", "2");
                pax_text("GNU.sparse.offset", "4096");
                pax_text("GNU.sparse.numbytes", "512");
                pax_text("GNU.sparse.offset", "1048476");
                pax_text("GNU.sparse.numbytes", "100");
                pax_text("GNU.sparse.name", "s");
        } else if (kind == 1) {
                pax_text("GNU.sparse.size", "1048576");
                pax_text("GNU.sparse.map", "4096,512,1048476,100");
                pax_text("GNU.sparse.name", "s");
        } else if (kind == 2) {
                pax_text("GNU.sparse.major", "1");
                pax_text("GNU.sparse.minor", "0");
                pax_text("GNU.sparse.name", "s");
                pax_text("GNU.sparse.realsize", "1048576");
                memcpy(map + 512, sparse_data(), SPARSE_STORED);
                kit_pax_end(&tar, &pax);
                KIT_ADD(&tar, .type = '0', .name = "GNUSparseFile.0/s", .data = map, .len = sizeof(map));
                return;
        } else {
                size_t at = tar.len;

                KIT_ADD(&tar, .type = 'S', .name = "s", .data = sparse_data(), .len = SPARSE_STORED);
                h = tar.data + at;
                memcpy(h + 257, "ustar  ", 8);
                put_number(h + 386, 4096);
                put_number(h + 398, 512);
                put_number(h + 410, 1048476);
                put_number(h + 422, 100);
                base256(h + 483, 12, SPARSE_SIZE);
                kit_checksum(h);
                return;
        }
        kit_pax_end(&tar, &pax);
        KIT_ADD(&tar, .type = '0', .name = "GNUSparseFile.0/s", .data = sparse_data(), .len = SPARSE_STORED);
}

static void test_sparse(void) {
        static char got[SPARSE_SIZE];

        for (int kind = 0; kind < 4; kind++) {
                for (size_t chunk = 1; chunk < 5000; chunk = chunk * 7 + 1) {
                        _cleanup_(fd_closep) int fd = -1, file = -1;
                        struct stat st;

                        KIT_FILE(&tar, "before", "b");
                        add_sparse(kind);
                        KIT_FILE(&tar, "after", "a");
                        kit_end(&tar);
                        fd = must_unpack(chunk);
                        tar.len = 0;
                        st = kit_stat(fd, "s");
                        assert(st.st_size == SPARSE_SIZE && st.st_blocks <= 16);
                        kit_expect_file(fd, "before", "b");
                        kit_expect_file(fd, "after", "a");
                        file = openat(fd, "s", O_RDONLY | O_CLOEXEC);
                        assert(read(file, got, sizeof(got)) == SPARSE_SIZE);
                        for (int i = 0; i < SPARSE_SIZE; i++)
                                assert(got[i] == (i >= 4096 && i < 4608 ? 'A' : i >= 1048476 ? 'B' : 0));
                }
        }
        pax_text("GNU.sparse.size", "100");
        pax_text("GNU.sparse.map", "0,50,40,10");
        kit_pax_end(&tar, &pax);
        KIT_ADD(&tar, .type = '0', .name = "s", .data = sparse_data(), .len = 60);
        refuse("map");
        pax_text("GNU.sparse.size", "100");
        pax_text("GNU.sparse.map", "0,50");
        kit_pax_end(&tar, &pax);
        KIT_ADD(&tar, .type = '0', .name = "s", .data = sparse_data(), .len = 60);
        refuse("map");
        pax_text("GNU.sparse.map", "0,50,3");
        kit_pax_end(&tar, &pax);
        refuse("map");
        pax_text("GNU.sparse.size", "18446744073709551615");
        pax_text("GNU.sparse.map", "18446744073709551600,60");
        kit_pax_end(&tar, &pax);
        KIT_ADD(&tar, .type = '0', .name = "s", .data = sparse_data(), .len = 60);
        refuse("size");
        pax_text("GNU.sparse.major", "1");
        pax_text("GNU.sparse.realsize", "10");
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "s", "99999999\n");
        refuse("map");
}

static void test_gnu(void) {
        char name[300], link[200], path[300];
        _cleanup_(fd_closep) int fd = -1;
        struct stat st;
        size_t at;
        ssize_t n;

        memset(name, 'n', sizeof(name));
        name[100] = name[200] = '/';
        name[299] = '\0';
        memset(link, 'l', sizeof(link));
        link[199] = '\0';
        KIT_ADD(&tar, .type = 'L', .name = "././@LongLink", .data = name, .len = sizeof(name));
        KIT_ADD(&tar, .type = 'K', .name = "././@LongLink", .data = link, .len = sizeof(link));
        KIT_ADD(&tar, .type = '2', .name = "cut", .link = "cut");
        at = tar.len;
        KIT_FILE(&tar, "big", "");
        base256(tar.data + at + 108, 8, 3000000000);
        base256(tar.data + at + 136, 12, -1000);
        kit_checksum(tar.data + at);
        pax_text("path", "ignored");
        KIT_ADD(&tar, .type = 'g', .name = "global", .data = pax.data, .len = pax.len);
        pax.len = 0;
        KIT_ADD(&tar, .type = 'V', .name = "label");
        at = tar.len;
        KIT_ADD(&tar, .type = '\0', .name = "old/"); /* a folder, before there was a type for it */
        memset(tar.data + at + 257, 0, 8);
        kit_checksum(tar.data + at);
        at = tar.len;
        KIT_FILE(&tar, "file", "x");
        memcpy(tar.data + at + 345, "pre/fix", 7);
        kit_checksum(tar.data + at);
        pax_text("uid", "70000");
        pax_text("gid", "4294967294");
        pax_text("mtime", "-1.25");
        pax_text("path", "");
        kit_pax_end(&tar, &pax);
        KIT_FILE(&tar, "pax", "x");
        fd = must_unpack(tar.len); /* without an end mark */
        n = readlinkat(fd, name, path, sizeof(path));
        assert(n == 199 && memcmp(path, link, 199) == 0);
        st = kit_stat(fd, "big");
        assert(st.st_uid == 3000000000 && st.st_mtime == -1000);
        assert(S_ISDIR(kit_stat(fd, "old").st_mode) && kit_missing(fd, "label") && kit_missing(fd, "ignored"));
        kit_expect_file(fd, "pre/fix/file", "x");
        st = kit_stat(fd, "pax");
        assert(st.st_uid == 70000 && st.st_gid == 4294967294 && st.st_mtim.tv_sec == -2 &&
               st.st_mtim.tv_nsec == 750000000);
        tar.len = 0;
}

static void test_malformed(void) {
        static const char *const records[] = {
                "",        "5",       "5 a=",   "x a=b\n", "6 a=b\n7", "999999999999999999999 a=b\n",
                "4 a\n\n", "6 ab \n", "5 =b\n", "0 a=b\n", "6 a=bc"
        };
        static const char *const bad[][2] = { { "uid", "-1" },
                                              { "uid", "4294967295" },
                                              { "gid", "x" },
                                              { "size", "-5" },
                                              { "mtime", "1,5" },
                                              { "mtime", "99999999999999999999" },
                                              { "GNU.sparse.major", "2" } };

        for (size_t i = 1; i < ELEMENTSOF(records); i++) {
                KIT_ADD(&tar, .type = 'x', .name = "pax", .data = records[i]);
                KIT_FILE(&tar, "x", "");
                refuse("extended header");
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                pax_text(bad[i][0], bad[i][1]);
                kit_pax_end(&tar, &pax);
                KIT_FILE(&tar, "x", "");
                refuse("");
        }
        KIT_FILE(&tar, "x", "12345");
        tar.len = 700;
        refuse("cut off");
        pax_text("path", "x");
        kit_pax_end(&tar, &pax);
        refuse("cut off");
        KIT_FILE(&tar, "x", "");
        strbuf_append(&tar, (char[512]){ 0 }, 512);
        KIT_FILE(&tar, "y", "");
        refuse("behind its end");
        KIT_ADD(&tar, .type = '3', .name = "dev", .major = 0x1000);
        refuse("range");
        KIT_ADD(&tar, .type = '0', .name = "x");
        memcpy(tar.data + 124, "9", 1);
        kit_checksum(tar.data);
        refuse("number");
}

int main(void) {
        kit_tmpfs(root, "48m");
        umask(0);
        test_sparse();
        test_gnu();
        test_malformed();
        strbuf_done(&tar);
        strbuf_done(&pax);
        assert(umount2(root, MNT_DETACH) == 0 && rmdir(root) == 0);
        return 0;
}
