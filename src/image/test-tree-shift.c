/* SPDX-License-Identifier: Apache-2.0 */
/* test-tree-shift - owners of trees that somebody else has made; and how long it takes, beside the bare calls. What it
 * does to modes, capabilities and ACLs: test-snapshot-userns.c. As root. */
#undef NDEBUG
#include "image/tree-shift.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/layer-merge.h"
#include "image/test-layer-kit.h"
#include "image/unpack-path.h"

enum { FOLDERS = 100, FILES = 100 };

static struct err err;
static char top[64];
static int top_fd;
static const struct id_map two[] = { { 0, 200000, 1000 }, { 1000, 500000, 10 } }, one = { 0, 300000, 65536 };
static const struct id_maps owners = { two, &one, 2, 1 };

static int folder(const char *name) {
        int fd;

        assert(mkdirat(top_fd, name, 0755) == 0);
        fd = openat(top_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(fd >= 0);
        return fd;
}

static void make_file(int dir, const char *name, uid_t uid, gid_t gid) {
        int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

        assert(fd >= 0 && fchown(fd, uid, gid) == 0);
        fd_close(fd);
}

static void expect_owner(int dir, const char *name, uid_t uid, gid_t gid) {
        struct stat st;

        assert(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        if (st.st_uid != uid || st.st_gid != gid)
                (void) fprintf(stderr, "%s: %u:%u\n", name, st.st_uid, st.st_gid);
        assert(st.st_uid == uid && st.st_gid == gid);
}

static void test_ids(void) {
        static const struct id_map takes_nobody = { 0, 65534, 2 };
        static const struct id_map takes_both[] = { { 0, 65534, 2 }, { 2, 0xfffffff0, 15 } };

        assert(tree_shift_id(two, 2, 0) == 200000 && tree_shift_id(two, 2, 999) == 200999);
        assert(tree_shift_id(two, 2, 1000) == 500000 && tree_shift_id(two, 2, 1009) == 500009);
        assert(tree_shift_id(two, 2, 1010) == 65534 && tree_shift_id(two, 2, 200000) == 65534);
        assert(tree_shift_id(two, 2, 0xfffffffe) == 65534);
        assert(tree_shift_id(&takes_nobody, 1, 2) == 0xfffffffe); /* not the pod's own 65534 */
        assert(tree_shift(top_fd, top_fd, &(struct id_maps){ takes_both, &one, 2, 1 }, &err) == -ERR_PRECONDITION);
        assert(tree_shift(top_fd, top_fd, &(struct id_maps){ &one, takes_both, 1, 2 }, &err) == -ERR_PRECONDITION);
}

/* Links out of the tree stay links; what they lead to is nobody's business. */
static void test_links(void) {
        int from = folder("links"), to = folder("links.copy");
        char outside[100];

        make_file(top_fd, "outside", 77, 78);
        (void) snprintf(outside, sizeof(outside), "%s/outside", top);
        assert(symlinkat(outside, from, "file") == 0 && symlinkat(top, from, "folder") == 0);
        assert(symlinkat("../outside", from, "relative") == 0 && symlinkat("loop", from, "loop") == 0);
        make_file(from, "own", 1005, 1005);
        make_file(from, "foreign", 2000, 70000);
        for (int i = 0; i < 3; i++) {
                char name[16];

                (void) snprintf(name, sizeof(name), "name%d", i);
                assert(linkat(from, "own", from, name, 0) == 0);
        }
        assert(layer_merge(from, to, false, &err) == 0);
        for (int i = 0; i < 2; i++) { /* twice is no harm */
                assert(tree_shift(from, to, &owners, &err) == 0);
                expect_owner(top_fd, "outside", 77, 78);
                expect_owner(to, "file", 200000, 300000);
                expect_owner(to, "folder", 200000, 300000);
                expect_owner(to, "loop", 200000, 300000);
                expect_owner(to, "name2", 500005, 301005);
                expect_owner(to, "foreign", 65534, 65534);
                expect_owner(to, ".", 200000, 300000);
                expect_owner(from, "own", 1005, 1005);
        }
        assert(unlinkat(to, "own", 0) == 0 && tree_shift(from, to, &owners, &err) < 0 && strstr(err.msg, "\"own\""));
        fd_close(from);
        fd_close(to);
}

static void test_deep(void) {
        int from = folder("deep"), to = folder("deep.copy"), at = dup(from), below;

        for (int i = 0; i < UNPACK_MAX_DEPTH; i++) {
                assert(mkdirat(at, "d", 0700) == 0);
                below = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                fd_close(at);
                at = below;
        }
        make_file(at, "end", 1, 1);
        fd_close(at);
        assert(layer_merge(from, to, false, &err) == 0 && tree_shift(from, to, &owners, &err) == 0);
        at = dup(to);
        for (int i = 0; i < UNPACK_MAX_DEPTH; i++) {
                below = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                fd_close(at);
                at = below;
        }
        expect_owner(at, "end", 200001, 300001);
        fd_close(at);
        fd_close(from);
        fd_close(to);
}

/* --- how long ----------------------------------------------------------------------------------------------------- */

static void make_many(int from) {
        char name[32];

        for (int i = 0; i < FOLDERS * FILES; i++) {
                (void) snprintf(name, sizeof(name), "%d", i / FILES);
                assert(i % FILES || mkdirat(from, name, 0755) == 0);
                (void) snprintf(name, sizeof(name), "%d/%d", i / FILES, i % FILES);
                make_file(from, name, (uid_t) i % 1000, 0);
        }
}

static uint64_t floor_ns(int to) {
        uint64_t start = clock_monotonic_ns();
        char name[32];

        for (int i = 0; i < FOLDERS; i++) {
                int dir;

                (void) snprintf(name, sizeof(name), "%d", i);
                dir = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                for (int j = 0; j < FILES; j++) {
                        (void) snprintf(name, sizeof(name), "%d", j);
                        assert(fchownat(dir, name, 9, 9, AT_SYMLINK_NOFOLLOW) == 0);
                }
                fd_close(dir);
        }
        return clock_monotonic_ns() - start;
}

static void test_many(void) {
        int from = folder("many"), to = folder("many.copy");
        uint64_t start, least, took;

        make_many(from);
        start = clock_monotonic_ns();
        assert(layer_merge(from, to, false, &err) == 0);
        took = clock_monotonic_ns() - start;
        (void) printf("%d files: copied in %.1f ms, ", FOLDERS * FILES, (double) took / 1e6);
        least = floor_ns(to);
        start = clock_monotonic_ns();
        assert(tree_shift(from, to, &owners, &err) == 0);
        took = clock_monotonic_ns() - start;
        (void) printf("shifted in %.1f ms; fchownat alone %.1f ms\n", (double) took / 1e6, (double) least / 1e6);
        expect_owner(to, "99/99", 200999, 300000);
        expect_owner(to, "7", 200000, 300000);
        fd_close(from);
        fd_close(to);
}

int main(void) {
        kit_tmpfs(top, "200m");
        top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        test_ids();
        test_links();
        test_deep();
        test_many();
        fd_close(top_fd);
        kit_place_done(top);
        return 0;
}
