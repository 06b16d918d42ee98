/* SPDX-License-Identifier: Apache-2.0 */
/* test-cgroup - the pure parts, v2 against a tree of plain files, and real groups of whatever this host has.
 * CGROUP_BENCH=1 prints times as well. Exit 77 (skipped) when real groups can't be made here. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"
#include "runtime/cgroup/test-common.h"

static void test_psi(void) {
        static const char *const bad[] = { "",
                                           "some",
                                           "some avg10=1.00",
                                           "full avg10=0.00 avg60=0.00 avg300=0.00 total=1",
                                           "some avg10=x avg60=0.00 avg300=0.00 total=1",
                                           "some avg10=0.00 avg60=0.00 avg300=0.00 total=-1",
                                           "some avg10=0.00 avg60=0.00 avg300=0.00 total=1x",
                                           "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull ",
                                           NULL };
        struct cgroup_psi psi;

        assert(psi_parse("some avg10=98.50 avg60=95.25 avg300=51.07 total=5398969446\n"
                         "full avg10=0.00 avg60=0.50 avg300=0.00 total=7",
                         &psi));
        assert(psi.has && psi.some.total_ns == 5398969446000 && psi.some.avg10 == 98.5 && psi.some.avg60 == 95.25);
        assert(psi.full.total_ns == 7000 && psi.full.avg60 == 0.5);
        assert(psi_parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=99999999999999999999", &psi) &&
               psi.some.total_ns == UINT64_MAX);
        for (size_t i = 0; bad[i]; i++)
                assert(!psi_parse(bad[i], &psi) && !psi.has);
}

static void test_io(void) {
        static struct cgroup_metrics m;

        io_parse_v2("8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n259:3 rbytes=5\nx\n7:1\n", &m);
        assert(m.n_devices == 2 && m.devices[0].major == 8 && m.devices[0].minor == 0 && m.devices[0].read_bytes == 10);
        assert(m.devices[0].write_bytes == 20 && m.devices[0].reads == 1 && m.devices[0].writes == 2);
        assert(m.devices[1].major == 259 && m.devices[1].read_bytes == 5 && m.devices[1].write_bytes == 0);
        memset(&m, 0, sizeof(m));
        io_parse_v1("8:0 Read 7\n8:0 Write 8\n8:0 Sync 9\n8:0 Total 15\nTotal 15", true, &m);
        io_parse_v1("8:0 Read 1\n8:0 Write 2\nTotal 3", false, &m);
        io_parse_v1("", false, &m);
        assert(m.n_devices == 1 && m.devices[0].read_bytes == 7 && m.devices[0].write_bytes == 8);
        assert(m.devices[0].reads == 1 && m.devices[0].writes == 2);
        for (int i = 0; i < 100; i++) {
                char line[32];

                (void) snprintf(line, sizeof(line), "9:%d rbytes=1", i);
                io_parse_v2(line, &m);
        }
        assert(m.n_devices == CGROUP_DEVICES_MAX);
}

static void test_pure(void) {
        static const char *const bad[] = {
                "", "a", "/", "//a", "/a/", "/a//b", "/a/../b", "/..", "/a/.", "/a\nb", NULL
        };
        uint64_t n;

        assert(weight_from_shares(2) == 1 && weight_from_shares(1024) == 100 && weight_from_shares(262144) == 10000);
        assert(weight_from_shares(0) == 1 && weight_from_shares(UINT64_MAX) == 10000);
        for (uint64_t s = 3; s < 262144; s++) {
                double l = log2((double) s);

                assert(weight_from_shares(s) == (uint64_t) ceil(pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0)));
        }
        for (size_t i = 0; bad[i]; i++)
                assert(path_check(bad[i], &err) == -ERR_INVALID);
        assert(path_check(NULL, &err) == -ERR_INVALID);
        ok(path_check("/kubepods/burstable/pod1/abc", &err));
        test_psi();
        test_io();
        assert(keyed_number("oom 3\noom_kill 7\nx 1", "oom_kill", &n) && n == 7);
        assert(!keyed_number("oom_kill_x 7", "oom_kill", &n) && !keyed_number("", "a", &n) &&
               !keyed_number("a b", "a", &n));
}

/* --- v2 on plain files ------------------------------------------------------------------------------------------- */

static void put(const char *dir, const char *file, const char *text) {
        char path[512];
        int fd;

        (void) snprintf(path, sizeof(path), "%s/%s", dir, file);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert(fd >= 0 && fs_write_all(fd, text, strlen(text)) == 0);
        (void) close(fd);
}

static void expect(const char *dir, const char *file, const char *text) {
        char path[512], got[1024];
        (void) snprintf(path, sizeof(path), "%s/%s", dir, file);
        if (file_read_at(AT_FDCWD, path, got, sizeof(got)) < 0)
                (void) snprintf(got, sizeof(got), "(none)");
        if (!str_eq(got, text)) {
                fprintf(stderr, "%s: expected \"%s\", found \"%s\"\n", path, text, got);
                abort();
        }
}

static void test_fake_v2(void) {
        char root[] = "/tmp/test-cgroup-XXXXXX", info[64], group[64];
        static const char *const empty[] = { "memory.max",  "memory.swap.max", "cpu.weight",      "cpu.max",
                                             "cpuset.cpus", "cpuset.mems",     "pids.max",        "io.weight",
                                             "memory.high", "hugetlb.2MB.max", "memory.oom.group" };
        struct spec_hugepage huge = { "2MB", 4194304 };
        struct spec_pair unified[] = { { "memory.high", "900" }, { "memory.oom.group", "1" } };
        struct spec_pair evil = { "cgroup.procs", "1" }, unknown = { "memory.nonsense", "1" };
        struct spec_resources r = {
                .memory_limit_bytes = 1000,
                .memory_swap_limit_bytes = 1500,
                .cpu_shares = 1024,
                .cpu_quota_us = 50000,
                .cpu_period_us = 100000,
                .cpuset_cpus = "0-1",
                .cpuset_mems = "0",
                .pids_limit = -1,
                .blkio_weight = 1000,
                .hugepages = &huge,
                .n_hugepages = 1,
                .unified = unified,
                .n_unified = 2,
        };
        struct cgroup_stats s;
        struct cgroups *c;
        char line[256];

        assert(mkdtemp(root));
        (void) snprintf(group, sizeof(group), "%s/pod/ctr", root);
        ok(fs_mkdir_p(group, 0755, &err));
        put(root, "cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
        put(root, "cgroup.subtree_control", "cpu");
        put(root, "pod/cgroup.subtree_control", "");
        put(group, "cgroup.controllers", "cpu");
        for (size_t i = 0; i < ELEMENTSOF(empty); i++)
                put(group, empty[i], "");
        (void) snprintf(line, sizeof(line), "30 1 0:26 / %s rw - cgroup2 cgroup2 rw\n", root);
        put(root, "mountinfo", line);
        (void) snprintf(info, sizeof(info), "%s/mountinfo", root);
        ok(cgroups_new_from(info, &c, &err));
        assert(cgroups_mode(c) == CGROUP_V2 && cgroups_has(c, "memory") && cgroups_has(c, "blkio") &&
               cgroups_has(c, "io") && cgroups_has(c, "devices") && cgroups_has(c, "freezer") &&
               cgroups_has(c, "cpuacct") && !cgroups_has(c, "rdma") && !cgroups_has(c, "nonsense"));
        ok(cgroup_create(c, "/pod/ctr", &r, &err));
        expect(root, "cgroup.subtree_control", "+cpuset +memory +io +pids +hugetlb");
        expect(group, "memory.max", "1000");
        expect(group, "memory.swap.max", "500");
        expect(group, "cpu.weight", "100");
        expect(group, "cpu.max", "50000 100000");
        expect(group, "cpuset.cpus", "0-1");
        expect(group, "pids.max", "max");
        expect(group, "io.weight", "10000");
        expect(group, "hugetlb.2MB.max", "4194304");
        expect(group, "memory.high", "900");
        expect(group, "memory.oom.group", "1");

        /* Below what is in use: refused, nothing changed. */
        put(group, "memory.current", "5000\n");
        put(group, "memory.stat", "anon 3000\nfile 1500\nshmem 500\ninactive_file 700\npgfault 9\npgmajfault 2\n");
        r = (struct spec_resources){ .memory_limit_bytes = 3999, .cpu_shares = 2, .check_before_update = true };
        assert(cgroup_update(c, "/pod/ctr", &r, &err) == -ERR_PRECONDITION && strstr(err.msg, "4000 bytes in use"));
        expect(group, "cpu.weight", "100");
        /* A unified key that the kernel lacks: what was written before is put back. */
        for (size_t i = 0; i < ELEMENTSOF(empty); i++)
                put(group, empty[i], "");
        put(group, "cpu.weight", "7");
        r = (struct spec_resources){ .cpu_shares = 262143, .unified = &unknown, .n_unified = 1 };
        assert(cgroup_update(c, "/pod/ctr", &r, &err) == -ERR_PRECONDITION && strstr(err.msg, "memory.nonsense"));
        expect(group, "cpu.weight", "70000"); /* 10000, then 7 over its first byte: these files are not cut */
        r = (struct spec_resources){ .unified = &evil, .n_unified = 1 };
        assert(cgroup_update(c, "/pod/ctr", &r, &err) == -ERR_INVALID && strstr(err.msg, "cgroup.procs"));

        put(group, "memory.max", "max\n");
        put(group, "cpu.stat", "usage_usec 1234\nuser_usec 1\n");
        put(group, "memory.swap.current", "11\n");
        put(group, "memory.swap.max", "22\n");
        put(group, "pids.current", "3\n");
        put(group, "cpu.pressure",
            "some avg10=1.00 avg60=2.00 avg300=3.00 total=4\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2\n");
        put(group, "io.pressure",
            "some avg10=1.00 avg60=2.00 avg300=3.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=8\n");
        put(group, "memory.events", "low 0\noom 2\noom_kill 2\n");
        ok(cgroup_get_stats(c, "/pod/ctr", &s, &err));
        assert(s.cpu_usage_ns == 1234000 && s.memory_usage_bytes == 5000 && s.memory_working_set_bytes == 4300 &&
               s.memory_rss_bytes == 3000 && s.memory_limit_bytes == 0 && s.page_faults == 9 &&
               s.major_page_faults == 2 && s.has_swap && s.swap_usage_bytes == 11 && s.swap_limit_bytes == 22 &&
               cgroup_tasks(c, "/pod/ctr") == 3 && cgroup_tasks(c, "/pod/none") == 0);
        assert(s.cpu_psi.has && s.cpu_psi.some.total_ns == 4000 && s.cpu_psi.full.total_ns == 2000 &&
               !s.memory_psi.has && s.io_psi.full.total_ns == 8000);
        put(group, "memory.swap.max", "0\n");
        ok(cgroup_get_stats(c, "/pod/ctr", &s, &err));
        assert(s.swap_limit_bytes == 0);
        put(group, "memory.swap.max", "max\n");
        ok(cgroup_get_stats(c, "/pod/ctr", &s, &err));
        assert(s.swap_limit_bytes == UINT64_MAX);
        assert(cgroup_oom_kills(c, "/pod/ctr") == 2 && cgroup_oom_kills(c, "/pod/none") == 0);
        assert(cgroup_get_stats(c, "/pod/none", &s, &err) == -ERR_NOT_FOUND);
        cgroups_free(c);
        ok(fs_remove_tree(AT_FDCWD, root, &err));
}

static void test_invalid(struct cgroups *c) {
        struct spec_pair pair = { "../memory.max", "1" };
        struct spec_hugepage page = { "../2MB", 1 };
        struct spec_device_rule rule = { true, 'x', 1, 1, "rwm" }, rule2 = { true, 'c', 1, 1, "rx" };
        const struct spec_resources bad[] = {
                { .memory_limit_bytes = -2 },
                { .memory_limit_bytes = 100, .memory_swap_limit_bytes = 50 },
                { .memory_limit_bytes = -1, .memory_swap_limit_bytes = 50 },
                { .cpu_quota_us = -5 },
                { .cpu_period_us = 1000001 },
                { .pids_limit = -2 },
                { .blkio_weight = 9 },
                { .blkio_weight = 1001 },
                { .cpuset_cpus = "0\n1" },
                { .cpuset_mems = "all" },
                { .unified = &pair, .n_unified = 1 },
                { .unified = &pair, .n_unified = 1000 },
                { .hugepages = &page, .n_hugepages = 1 },
                { .devices = &rule, .n_devices = 1 },
                { .devices = &rule2, .n_devices = 1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(cgroup_create(c, path_of("bad"), &bad[i], &err) == -ERR_INVALID);
        assert(cgroup_create(c, "/../x", &bad[0], &err) == -ERR_INVALID);
}

/* --- real groups ------------------------------------------------------------------------------------------------- */

static void value_of(struct cgroups *c, const char *path, enum ctl ctl, const char *v1, const char *v2, char out[128]) {
        char file[512];
        const struct hier *h = &c->hiers[c->of[ctl]];

        (void) snprintf(file, sizeof(file), "%s/%s", path + 1, h->v2 ? v2 : v1);
        assert(file_read_at(h->fd, file, out, 128) >= 0);
}

static void expect_memory(struct cgroups *c, const char *path, const char *bytes) {
        char text[128];
        value_of(c, path, CTL_MEMORY, "memory.limit_in_bytes", "memory.max", text);
        assert(str_eq(text, bytes));
}

static void expect_pids(struct cgroups *c, const char *path, const char *n) {
        char text[128];
        value_of(c, path, CTL_PIDS, "pids.max", "pids.max", text);
        assert(str_eq(text, n));
}

static void eat_memory(void) {
        for (size_t i = 0; i < 64; i++) {
                char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                assert(p != MAP_FAILED);
                memset(p, 1, 1 << 20);
        }
}

static void test_real_limits(struct cgroups *c) {
        const char *path = path_of("pod1/ctr");
        struct spec_resources r = { .memory_limit_bytes = 64 << 20,
                                    .memory_swap_limit_bytes = 64 << 20,
                                    .cpu_shares = 512,
                                    .cpu_quota_us = 50000,
                                    .cpu_period_us = 100000,
                                    .pids_limit = 32 };
        struct cgroup_stats s;
        pid_t pid;

        ok(cgroup_create(c, path, &r, &err));
        expect_memory(c, path, "67108864");
        expect_pids(c, path, "32");
        pid = spawn_in(c, path, family);
        ok(cgroup_get_stats(c, path, &s, &err));
        assert(s.memory_limit_bytes == 64 << 20 && cgroup_tasks(c, path) >= 1 && s.memory_usage_bytes > 0 &&
               s.swap_limit_bytes == 0);

        /* Up and down again; both need their own order on v1. */
        r = (struct spec_resources){ .memory_limit_bytes = 256 << 20, .memory_swap_limit_bytes = 256 << 20 };
        ok(cgroup_update(c, path, &r, &err));
        expect_memory(c, path, "268435456");
        r = (struct spec_resources){ .memory_limit_bytes = 32 << 20,
                                     .memory_swap_limit_bytes = 48 << 20,
                                     .cpu_quota_us = 20000,
                                     .cpu_period_us = 50000,
                                     .pids_limit = -1 };
        ok(cgroup_update(c, path, &r, &err));
        expect_memory(c, path, "33554432");
        expect_pids(c, path, "max");
        ok(cgroup_get_stats(c, path, &s, &err));
        assert(!s.has_swap || s.swap_limit_bytes == 16 << 20);

        /* All or nothing: memory and pids are fine, the processors do not exist. */
        r = (struct spec_resources){ .memory_limit_bytes = 40 << 20,
                                     .memory_swap_limit_bytes = 40 << 20,
                                     .pids_limit = 7,
                                     .cpuset_cpus = "99999" };
        assert(cgroup_update(c, path, &r, &err) < 0 && strstr(err.msg, "cpuset.cpus"));
        expect_memory(c, path, "33554432");
        expect_pids(c, path, "max");
        r = (struct spec_resources){ .cpu_quota_us = 1,
                                     .memory_limit_bytes = 40 << 20,
                                     .memory_swap_limit_bytes = 40 << 20 };
        assert(cgroup_update(c, path, &r, &err) == -ERR_INVALID);
        expect_memory(c, path, "33554432");
        r = (struct spec_resources){ .memory_limit_bytes = -1 };
        ok(cgroup_update(c, path, &r, &err));
        ok(cgroup_get_stats(c, path, &s, &err));
        assert(s.memory_limit_bytes == 0);

        assert(cgroup_remove(c, path, &err) == -ERR_PRECONDITION);
        ok(cgroup_kill(c, path, 5000, &err));
        assert(waitpid(pid, NULL, 0) == pid);
        ok(cgroup_remove(c, path, &err));
        ok(cgroup_remove(c, path, &err));
        ok(cgroup_kill(c, path, 1000, &err));
        assert(!exists_anywhere(c, path) && exists_anywhere(c, path_of("pod1")));
        r = (struct spec_resources){ 0 };
        assert(cgroup_update(c, path, &r, &err) == -ERR_NOT_FOUND);
        assert(cgroup_get_stats(c, path, &s, &err) == -ERR_NOT_FOUND);
}

static int count_child(const char *name, void *userdata) {
        *(int *) userdata += strlen(name) > 0;
        return 0;
}

/* A create that fails leaves neither the group nor parents that it made. */
static void test_real_failure(struct cgroups *c) {
        struct spec_resources r = { .memory_limit_bytes = 64 << 20, .cpuset_cpus = "99999", .cpuset_mems = "0" };
        int n = 0;

        assert(cgroup_create(c, path_of("deep/er/ctr"), &r, &err) < 0 && strstr(err.msg, "cpuset"));
        assert(!exists_anywhere(c, path_of("deep")));
        ok(cgroup_make(c, path_of("pod2"), &err));
        ok(cgroup_make(c, path_of("pod2"), &err));
        assert(cgroup_create(c, path_of("pod2/ctr"), &r, &err) < 0);
        assert(exists_anywhere(c, path_of("pod2")) && !exists_anywhere(c, path_of("pod2/ctr")));
        ok(cgroup_make(c, path_of("pod2/a"), &err));
        ok(cgroup_make(c, path_of("pod2/b/c/d"), &err));
        ok(cgroup_each_child(c, path_of("pod2"), count_child, &n, &err));
        assert(n == 2);
        ok(cgroup_each_child(c, path_of("nothing"), count_child, &n, &err));
        assert(n == 2);
        ok(cgroup_remove(c, path_of("pod2"), &err));
        assert(!exists_anywhere(c, path_of("pod2")));
}

/* A container that may make groups makes them as deep as it likes. */
static void test_real_depth(struct cgroups *c) {
        enum { DEPTH = 300 };
        struct rlimit old, few;
        int at, next;

        ok(cgroup_make(c, path_of("nested"), &err));
        at = openat(c->hiers[0].fd, path_of("nested") + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < DEPTH; i++) {
                assert(at >= 0 && mkdirat(at, "a", 0755) == 0 && (i % 100 || mkdirat(at, "b", 0755) == 0));
                next = openat(at, "a", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                (void) close(at);
                at = next;
        }
        (void) close(at);
        assert(getrlimit(RLIMIT_NOFILE, &old) == 0);
        few = (struct rlimit){ 60, old.rlim_max };
        assert(setrlimit(RLIMIT_NOFILE, &few) == 0);
        ok(cgroup_remove(c, path_of("nested"), &err));
        assert(setrlimit(RLIMIT_NOFILE, &old) == 0);
        assert(!exists_anywhere(c, path_of("nested")));
}

static void test_real_oom(struct cgroups *c) {
        struct spec_resources r = { .memory_limit_bytes = 16 << 20, .memory_swap_limit_bytes = 16 << 20 }, none = { 0 };
        const char *path = path_of("oom"), *child = path_of("oom/inner");
        int status;
        pid_t pid;

        ok(cgroup_create(c, path, &r, &err));
        assert(cgroup_oom_kills(c, path) == 0);
        /* On v2 the outer group hands its controllers down, so it holds no processes. */
        ok(cgroup_create(c, child, &none, &err));
        pid = spawn_in(c, child, eat_memory);
        assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert(cgroup_oom_kills(c, path) >= 1);
        ok(cgroup_remove(c, path, &err));
}

static void test_real_kill(struct cgroups *c) {
        const char *path = path_of("kill"), *child = path_of("kill/a/b");
        pid_t pid, inner;

        ok(cgroup_make(c, child, &err));
        inner = spawn_in(c, child, family);
        ok(cgroup_kill(c, path, 5000, &err));
        assert(waitpid(inner, NULL, 0) == inner);
        ok(cgroup_remove(c, path, &err));

        /* The same without cgroup.kill. */
        if (c->mode != CGROUP_V2) {
                struct cgroups v1 = *c;

                v1.unified = -1;
                ok(cgroup_make(c, child, &err));
                pid = spawn_in(c, child, family);
                ok(cgroup_kill(&v1, path, 5000, &err));
                assert(waitpid(pid, NULL, 0) == pid);
                ok(cgroup_remove(c, path, &err));
        }
}

static void use_devices(void) {
        bool null_ok = open("/dev/null", O_RDWR | O_CLOEXEC) >= 0;
        bool zero_read = open("/dev/zero", O_RDONLY | O_CLOEXEC) >= 0,
             zero_write = open("/dev/zero", O_WRONLY | O_CLOEXEC) >= 0;
        bool full = open("/dev/full", O_RDONLY | O_CLOEXEC) >= 0;

        _exit(null_ok | zero_read << 1 | zero_write << 2 | full << 3);
}

static void test_real_devices(struct cgroups *c) {
        const struct spec_device_rule rules[] = {
                { false, 'a', -1, -1, "rwm" }, { true, 'c', 1, 3, "rw" },  { true, 'c', 1, 5, "rw" },
                { false, 'c', 1, 5, "w" },     { true, 'b', -1, -1, "m" }, { true, 'c', 1, 7, "w" },
        };
        struct spec_resources r = { .devices = rules, .n_devices = ELEMENTSOF(rules) };
        const char *path = path_of("devices");
        int status;
        pid_t pid;

        if (!cgroups_has(c, "devices"))
                return;
        ok(cgroup_create(c, path, &r, &err));
        pid = spawn_in(c, path, use_devices);
        assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        assert(WEXITSTATUS(status) == 3); /* null, and zero for reading */
        ok(cgroup_remove(c, path, &err));
        if (c->mode != CGROUP_HYBRID)
                return;
        /* The v2 filter is tried on hybrid hosts too: their v2 tree takes it. */
        ok(cgroup_make(c, path, &err));
        for (int i = 0; i < 3; i++) {
                struct group g;

                group_init(&g, c, path);
                assert(group_fd(&g, c->unified) >= 0);
                ok(devices_apply_v2(c, group_fd(&g, c->unified), i == 0, rules, i == 1 ? 1 : ELEMENTSOF(rules), &err));
                group_done(&g);
                pid = spawn_in(c, path, use_devices);
                assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
                assert(WEXITSTATUS(status) == (i == 1 ? 0 : 3));
        }
        ok(cgroup_remove(c, path, &err));
}

static void test_real_unified(struct cgroups *c) {
        struct spec_pair high = { "memory.high", "1000000" };
        struct spec_hugepage huge = { "2MB", 2 << 20 };
        struct spec_resources r = { .hugepages = &huge, .n_hugepages = 1 };
        const char *path = path_of("unified/ctr");
        char text[128];

        if (c->of[CTL_HUGETLB] >= 0) {
                ok(cgroup_create(c, path, &r, &err));
                value_of(c, path, CTL_HUGETLB, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max", text);
                assert(str_eq(text, "2097152"));
                huge.page_size = "3MB";
                assert(cgroup_update(c, path, &r, &err) == -ERR_PRECONDITION && strstr(err.msg, "hugetlb.3MB"));
                ok(cgroup_remove(c, path, &err));
        }
        if (c->mode != CGROUP_V2) {
                r = (struct spec_resources){ .unified = &high, .n_unified = 1 };
                assert(cgroup_create(c, path, &r, &err) == -ERR_PRECONDITION && strstr(err.msg, "memory.high"));
                assert(!exists_anywhere(c, path));
        }
        ok(cgroup_remove(c, path_of("unified"), &err));
}

static void *race(void *arg) {
        struct spec_resources r = { .memory_limit_bytes = 64 << 20, .pids_limit = 5 };
        struct cgroups *c = arg;
        char path[128];
        struct err e;

        for (int i = 0; i < 200; i++) {
                (void) snprintf(path, sizeof(path), "%s/race/%d-%lx", parent, i, (unsigned long) pthread_self());
                if (cgroup_create(c, path, &r, &e) < 0 || cgroup_remove(c, path, &e) < 0) {
                        fprintf(stderr, "%s\n", e.msg);
                        abort();
                }
        }
        return NULL;
}

static void test_real_threads(struct cgroups *c) {
        pthread_t t[4];

        for (size_t i = 0; i < ELEMENTSOF(t); i++)
                assert(pthread_create(&t[i], NULL, race, c) == 0);
        for (size_t i = 0; i < ELEMENTSOF(t); i++)
                assert(pthread_join(t[i], NULL) == 0);
        ok(cgroup_remove(c, path_of("race"), &err));
}

static int compare_u64(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;
        return *x < *y ? -1 : *x > *y;
}

static void bench(struct cgroups *c) {
        enum { N = 200, MIDDLE = N / 2 };
        static uint64_t create[N], procs[N], stats[N], removal[N];
        static const struct spec_device_rule rules[] = {
                { false, 'a', -1, -1, "rwm" }, { true, 'c', 1, 3, "rwm" }, { true, 'c', 1, 5, "rwm" },
                { true, 'c', 1, 7, "rwm" },    { true, 'c', 1, 8, "rwm" }, { true, 'c', 1, 9, "rwm" },
                { true, 'c', 5, 0, "rwm" },    { true, 'c', 5, 2, "rwm" }, { true, 'c', 136, -1, "rwm" },
                { true, 'c', -1, -1, "m" },    { true, 'b', -1, -1, "m" },
        };
        struct spec_resources r = { .memory_limit_bytes = 64 << 20,
                                    .memory_swap_limit_bytes = 64 << 20,
                                    .cpu_shares = 512,
                                    .cpu_quota_us = 50000,
                                    .cpu_period_us = 100000,
                                    .pids_limit = 32,
                                    .devices = rules,
                                    .n_devices = ELEMENTSOF(rules) };
        struct cgroup_stats s;

        for (int i = 0; i < N; i++) {
                struct cgroup_door doors[CGROUP_MAX_DOORS];
                int n;
                uint64_t t = clock_monotonic_ns(), u;

                ok(cgroup_create(c, path_of("bench/ctr"), &r, &err));
                create[i] = (u = clock_monotonic_ns()) - t;
                n = cgroup_open_doors(c, path_of("bench/ctr"), true, doors, &err);
                procs[i] = (t = clock_monotonic_ns()) - u;
                for (int k = 0; k < n; k++)
                        (void) close(doors[k].fd);
                u = clock_monotonic_ns();
                ok(cgroup_get_stats(c, path_of("bench/ctr"), &s, &err));
                stats[i] = (t = clock_monotonic_ns()) - u;
                ok(cgroup_remove(c, path_of("bench/ctr"), &err));
                removal[i] = clock_monotonic_ns() - t;
        }
        qsort(create, N, sizeof(create[0]), compare_u64);
        qsort(procs, N, sizeof(procs[0]), compare_u64);
        qsort(stats, N, sizeof(stats[0]), compare_u64);
        qsort(removal, N, sizeof(removal[0]), compare_u64);
        printf("us, median of %d: create + limits %.1f, open doors %.1f, stats %.1f, remove %.1f (%zu hierarchies)\n",
               N, (double) create[MIDDLE] / 1e3, (double) procs[MIDDLE] / 1e3, (double) stats[MIDDLE] / 1e3,
               (double) removal[MIDDLE] / 1e3, c->n);
        ok(cgroup_remove(c, path_of("bench"), &err));
}

static void test_real(struct cgroups *c) {
        test_invalid(c);
        test_real_limits(c);
        test_real_failure(c);
        test_real_depth(c);
        test_real_oom(c);
        test_real_kill(c);
        test_real_devices(c);
        test_real_unified(c);
        test_real_threads(c);
        if (getenv("CGROUP_BENCH"))
                bench(c);
}

int main(void) {
        test_pure();
        test_fake_v2();
        return run_with_groups("test-cgroup", test_real);
}
