/* SPDX-License-Identifier: Apache-2.0 */
/* test-intel-rdt - groups of resctrl, in a plain folder: what would be written to the kernel stays in files. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/attr.h"
#include "base/fs.h"
#include "base/str.h"
#include "oci/intel-rdt.h"

static char root[] = "/tmp/test-intel-rdt.XXXXXX";
static const char *const none[] = { NULL }, *const lines[] = { "L2:0=3", "L3:1=f", NULL };
static struct arena *arena;
static struct err err;

static bool file_is(const char *name, const char *expected) {
        _cleanup_(freep) char *text = NULL;
        const char *path = arena_printf(arena, "%s/%s", root, name);

        assert(fs_read_file(AT_FDCWD, path, 4096, &text, NULL, &err) == 0);
        return str_eq(text, expected);
}

static bool is_there(const char *name) {
        return access(arena_printf(arena, "%s/%s", root, name), F_OK) == 0;
}

/* Files of resctrl are no hindrance to rmdir, those of a plain folder are. */
static void clear(const char *name) {
        (void) unlink(arena_printf(arena, "%s/%s/schemata", root, name));
        (void) unlink(arena_printf(arena, "%s/%s/tasks", root, name));
}

/* Without a name it is the container's, and goes with it. */
static void test_own(void) {
        const struct oci_intel_rdt rdt = { .l3_cache = "L3:0=7f0", .bandwidth = "MB:0=20", .schemata = lines };
        const char *made, *tasks;

        assert(intel_rdt_make(root, &rdt, "c1", arena, &made, &tasks, &err) == 0);
        assert(str_ends_with(made, "/c1") && str_eq(made, tasks));
        assert(file_is("c1/schemata", "L3:0=7f0\nMB:0=20\nL2:0=3\nL3:1=f\n"));
        assert(intel_rdt_add(tasks, 77, &err) == 0 && file_is("c1/tasks", "77\n"));
        clear("c1");
        assert(intel_rdt_update(tasks, &(struct oci_intel_rdt){ .l3_cache = "L3:0=3", .schemata = none }, arena,
                                &err) == 0);
        assert(file_is("c1/schemata", "L3:0=3\n"));
        clear("c1");
        /* Of that id there is one already: it stays. */
        assert(intel_rdt_make(root, &rdt, "c1", arena, &tasks, &tasks, &err) == -ERR_EXISTS && is_there("c1"));
        assert(intel_rdt_remove(made, &err) == 0 && !is_there("c1"));
        assert(intel_rdt_remove(made, &err) == 0 && intel_rdt_remove("", &err) == 0);
}

static void test_named(void) {
        struct oci_intel_rdt rdt = { .clos_id = "gold", .schemata = none };
        const char *made, *tasks;

        assert(intel_rdt_make(root, &rdt, "c2", arena, &made, &tasks, &err) == -ERR_INVALID);
        assert(strstr(err.msg, "linux.intelRdt.closID: there is no group \"gold\"") && !*made && !is_there("gold"));
        rdt.bandwidth = "MB:0=20";
        assert(intel_rdt_make(root, &rdt, "c2", arena, &made, &tasks, &err) == 0 && !*made);
        assert(str_ends_with(tasks, "/gold") && file_is("gold/schemata", "MB:0=20\n"));
        /* Now that it is there, it may be joined; what belongs to the container alone is its monitoring. */
        assert(mkdir(arena_printf(arena, "%s/gold/mon_groups", root), 0755) == 0);
        rdt = (struct oci_intel_rdt){ .clos_id = "gold", .schemata = none, .monitoring = true };
        assert(intel_rdt_make(root, &rdt, "c2", arena, &made, &tasks, &err) == 0);
        assert(str_ends_with(made, "/gold/mon_groups/c2") && str_eq(made, tasks));
        assert(intel_rdt_remove(made, &err) == 0 && !is_there("gold/mon_groups/c2") && is_there("gold"));
}

static void test_default_group(void) {
        const struct oci_intel_rdt rdt = { .clos_id = "/", .schemata = none };
        const char *made, *tasks;

        assert(intel_rdt_make(root, &rdt, "c3", arena, &made, &tasks, &err) == 0);
        assert(!*made && str_eq(tasks, root) && !is_there("c3"));
}

/* Where the kernel has no resctrl, a bundle that wants it is refused. */
static void test_find(void) {
        const char *found;
        int r = intel_rdt_find(arena, &found, &err);

        assert(r == 0 ? *found == '/' : r == -ERR_PRECONDITION && strstr(err.msg, "Intel RDT is not supported"));
}

int main(void) {
        arena = arena_new(1 << 20);
        assert(mkdtemp(root));
        test_own();
        test_named();
        test_default_group();
        test_find();
        assert(fs_remove_tree(AT_FDCWD, root, &err) == 0);
        arena = arena_free(arena);
        return 0;
}
