/* SPDX-License-Identifier: Apache-2.0 */
/* test-tree-changes - what became of a tree, put onto a copy of the tree as it was, gives the tree as it is. As root.
 */
#undef NDEBUG
#include "image/tree-changes.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "image/layer-merge.h"
#include "image/tree-diff.h"

static struct err err;
static char top[] = "/tmp/test-tree-changes.XXXXXX";
static int top_fd;

static void sh(const char *script) {
        char command[8192];

        (void) snprintf(command, sizeof(command), "set -e; cd %s; %s", top, script);
        assert(system(command) == 0); // NOLINT(cert-env33-c,concurrency-mt-unsafe)
}

static int folder(const char *name, bool make) {
        int fd;

        assert(!make || mkdirat(top_fd, name, 0755) == 0);
        fd = openat(top_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(fd >= 0);
        return fd;
}

static void check_same(int a, int b) {
        struct tree_diff diff;

        assert(tree_diff(a, b, NULL, &diff, &err) == 0);
        if (!diff.same)
                (void) fprintf(stderr, "%s: %s\n", diff.path, diff.what);
        assert(diff.same);
}

static const char before[] =
        "mkdir -p a/same a/gone/deep a/file-to-be a/folder/keep; for f in same/1 gone/deep/2 folder/3 folder/keep/4 "
        "file-to-be/5 "
        "6 7 8 9 mode owner times; do echo $f >a/$f; done; ln a/6 a/folder/six; ln -s x a/link; mkfifo a/fifo; touch "
        "a/folder-to-be; ln a/9 a/nine; touch -d 2001-02-03 a/times";
static const char after[] =
        "rm -r b/gone b/file-to-be b/folder-to-be b/7; echo 5 >b/file-to-be; mkdir -p b/folder-to-be/new; echo n "
        ">b/folder-to-be/new/n; "
        "echo six >b/6; ln -sfn y b/link; chmod 4711 b/mode; chown 5:6 b/owner; touch -d 2002-02-03 b/times; echo new "
        ">b/new; ln b/new b/folder/new; mknod b/null c 1 3; echo 88 >b/8; touch -r a/8 b/8; rm b/nine; chmod 700 "
        "b/folder/keep; mkdir b/empty; rm b/fifo; mkfifo b/fifo; printf x | dd of=b/sparse bs=1 seek=1000000 "
        "2>/dev/null";

static void test_round_trip(int a, int b) {
        _cleanup_(fd_closep) int out = folder("out", true), c = folder("c", true);

        assert(tree_changes(a, b, out, NULL, -1, &err) == 0);
        sh("test ! -e out/same; test ! -e out/folder/3; test -c out/7; test -c out/gone; test -d out/folder; test -e "
           "out/nine; test ! -e out/folder/keep/4; test $(stat -c %i out/new) = $(stat -c %i out/folder/new)");
        assert(layer_merge(a, c, false, &err) == 0);
        check_same(a, c);
        assert(layer_merge(out, c, false, &err) == 0);
        check_same(b, c);
}

static void test_no_change(int a) {
        _cleanup_(fd_closep) int out = folder("none", true);

        assert(tree_changes(a, a, out, NULL, -1, &err) == 0);
        sh("test -z \"$(ls -A none)\"");
}

static void test_cancelled(int a, int b) {
        _cleanup_(fd_closep) int out = folder("cancelled", true), cancel = eventfd(1, EFD_CLOEXEC);

        assert(tree_changes(a, b, out, NULL, cancel, &err) == -ERR_CANCELLED);
}

static void test_depth(int a) {
        _cleanup_(fd_closep) int deep = folder("deep", true), out = folder("deep-out", true);
        int at = dup(deep);

        for (int i = 0; i < 1100; i++) {
                int next;

                assert(mkdirat(at, "d", 0755) == 0);
                next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert(next >= 0);
                (void) close(at);
                at = next;
        }
        (void) close(at);
        assert(tree_changes(a, deep, out, NULL, -1, &err) == -ERR_EXHAUSTED);
}

int main(void) {
        _cleanup_(fd_closep) int a = -1, b = -1;

        if (geteuid() != 0)
                return 77;
        (void) umask(022);
        assert(mkdtemp(top));
        top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        sh(before);
        sh("cp -a a b");
        sh(after);
        a = folder("a", false);
        b = folder("b", false);
        test_round_trip(a, b);
        test_no_change(a);
        test_cancelled(a, b);
        test_depth(a);
        assert(fs_remove_tree(AT_FDCWD, top, &err) == 0);
        (void) close(top_fd);
        return 0;
}
