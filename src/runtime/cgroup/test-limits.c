/* SPDX-License-Identifier: Apache-2.0 */
/* test-limits - what only the OCI runtime specification limits: v1 in real groups, v2 against a tree of plain files
 * (and in real groups where this host has it), device rules as lists and as they work. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "runtime/cgroup/test-common.h"

/* --- device rules as lists -----------------------------------------------------------------------------------------
 */

static const struct spec_device_rule deny_all = { false, 'a', -1, -1, "rwm" };

static void expect_state(const struct spec_device_rule *rules, size_t n, const char *text) {
        static struct device_state s;
        char got[512];
        int at = 0;

        s = (struct device_state){ .allow = true };
        if (device_state_add(&s, rules, n, &err) < 0) {
                (void) snprintf(got, sizeof(got), "error");
        } else {
                at = snprintf(got, sizeof(got), "%s", s.allow ? "all" : "none");
                for (size_t i = 0; i < s.n; i++)
                        at += snprintf(got + at, sizeof(got) - (size_t) at, ",%c%lld:%lld=%u", s.list[i].type,
                                       (long long) s.list[i].major, (long long) s.list[i].minor, s.list[i].access);
        }
        if (!str_eq(got, text)) {
                fprintf(stderr, "expected %s, found %s\n", text, got);
                abort();
        }
}
#define STATE(text, ...)                                                                                               \
        do {                                                                                                           \
                const struct spec_device_rule list[] = { __VA_ARGS__ };                                                \
                expect_state(list, ELEMENTSOF(list), text);                                                            \
        } while (0)

static void test_device_lists(void) {
        static struct device_state s;
        struct spec_device_rule rules[CGROUP_DEVICE_RULES_MORE + 1];
        const struct spec_device_rule own = { true, 'c', 10, 229, "rw" };
        static const char *const bad[] = { "x 1:3 r", "c1:3 r", "c 1 r", "c 1:x r", "c 1:3 ", "c 1:3 q", "c", NULL };

        STATE("none", deny_all);
        STATE("none,c1:3=3", deny_all, { true, 'c', 1, 3, "rw" });
        STATE("none,c1:3=7", deny_all, { true, 'c', 1, 3, "r" }, { true, 'c', 1, 3, "mw" });
        STATE("none,c1:3=1", deny_all, { true, 'c', 1, 3, "rwm" }, { false, 'c', 1, 3, "wm" });
        STATE("none", deny_all, { true, 'c', 1, 3, "rwm" }, { false, 'c', 1, -1, "rwm" });
        STATE("none,b1:3=7", deny_all, { true, 'a', 1, 3, "rwm" }, { false, 'c', -1, -1, "rwm" });
        STATE("none,c1:-1=7", { true, 'c', 8, 8, "r" }, deny_all, { true, 'c', 1, -1, "rwm" });
        STATE("error", deny_all, { true, 'c', 1, -1, "rwm" }, { false, 'c', 1, 3, "r" });
        STATE("error", deny_all, { true, 'c', 1, -1, "rwm" }, { false, 'c', -1, 3, "r" });
        STATE("none,c1:-1=4", deny_all, { true, 'c', 1, -1, "m" }, { false, 'c', 1, 3, "rw" });
        STATE("all,c1:3=7", { false, 'c', 1, 3, "rwm" });
        STATE("all", { false, 'c', 1, 3, "rwm" }, { true, 'c', 1, -1, "rwm" });
        STATE("all,c-1:-1=4,b-1:-1=4", { false, 'a', -1, -1, "m" });
        STATE("all", deny_all, { true, 'c', 1, 3, "rwm" }, { true, 'a', -1, -1, "rwm" });

        cgroup_device_rules(NULL, 0, rules);
        expect_state(rules, CGROUP_DEVICE_RULES_MORE,
                     "none,c-1:-1=4,b-1:-1=4,c1:3=7,c1:8=7,c1:7=7,c5:0=7,c1:5=7,c1:9=7,c136:-1=7,c5:2=7,c10:200=7");
        cgroup_device_rules(&own, 1, rules);
        expect_state(rules, 2, "none,c10:229=3");
        assert(rules[CGROUP_DEVICE_RULES_MORE].minor == 200);

        assert(device_state_parse("a *:* rwm", &s) && s.allow && s.n == 0);
        assert(device_state_parse("", &s) && !s.allow && s.n == 0);
        assert(device_state_parse("c 1:3 rw\nb *:* m\nc 136:* rwm\n", &s) && !s.allow && s.n == 3);
        assert(s.list[0].access == 3 && s.list[1].type == 'b' && s.list[1].major == -1 && s.list[2].major == 136);
        for (size_t i = 0; bad[i]; i++)
                assert(!device_state_parse(bad[i], &s));
}

/* --- malformed -----------------------------------------------------------------------------------------------------
 */

static void test_malformed(struct cgroups *c) {
        const struct spec_device_limit number = { -1, 0, 5, 0 }, weight = { 8, 0, 9, 0 }, leaf = { 8, 0, 0, 1001 };
        const struct spec_net_priority no_name = { "", 1 }, long_name = { "0123456789abcdef", 1 }, line = { "a\nb", 1 };
        const struct spec_rdma rdma = { .device = "a b" };
        const struct {
                struct spec_resources r;
                const char *field;
        } bad[] = {
                { { .memory_reservation_bytes = -2 }, "memory" },
                { { .has_swappiness = true, .swappiness = 101 }, "memory.swappiness" },
                { { .has_cpu_idle = true, .cpu_idle = 2 }, "cpu.idle" },
                { { .has_cpu_burst = true, .cpu_burst_us = UINT64_MAX }, "cpu.burst" },
                { { .has_rt_runtime = true, .rt_runtime_us = -2 }, "cpu.realtimeRuntime" },
                { { .rt_period_us = UINT64_MAX }, "cpu.realtimePeriod" },
                { { .blkio_leaf_weight = 5 }, "blockIO.leafWeight" },
                { { .blkio_weights = &weight, .n_blkio_weights = 1 }, "blockIO.weightDevice" },
                { { .blkio_weights = &leaf, .n_blkio_weights = 1 }, "blockIO.weightDevice" },
                { { .blkio_weights = &number, .n_blkio_weights = 1 }, "blockIO" },
                { { .throttles = { &number }, .n_throttles = { 1 } }, "blockIO" },
                { { .throttles = { &number }, .n_throttles = { 1000 } }, "blockIO" },
                { { .net_priorities = &no_name, .n_net_priorities = 1 }, "network.priorities" },
                { { .net_priorities = &long_name, .n_net_priorities = 1 }, "network.priorities" },
                { { .net_priorities = &line, .n_net_priorities = 1 }, "network.priorities" },
                { { .rdma = &rdma, .n_rdma = 1 }, "rdma" },
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert(cgroup_create(c, path_of("bad"), &bad[i].r, &err) == -ERR_INVALID);
                assert(strstr(err.msg, bad[i].field));
        }
        assert(!exists_anywhere(c, path_of("bad")));
}

/* --- v2 on plain files ---------------------------------------------------------------------------------------------
 */

static char fake[] = "/tmp/test-limits-XXXXXX";

static void put(const char *file, const char *text) {
        char path[512];

        (void) snprintf(path, sizeof(path), "%s/%s", fake, file);
        ok(fs_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, &err));
}

static void expect(const char *file, const char *text) {
        char path[512], got[1024];

        (void) snprintf(path, sizeof(path), "%s/%s", fake, file);
        if (file_read_at(AT_FDCWD, path, got, sizeof(got)) < 0)
                (void) snprintf(got, sizeof(got), "(none)");
        if (!str_eq(got, text)) {
                fprintf(stderr, "%s: expected \"%s\", found \"%s\"\n", path, text, got);
                abort();
        }
}

static struct cgroups *fake_v2(void) {
        static const char *const empty[] = { "memory.max", "memory.low",    "memory.swap.max", "cpu.weight",
                                             "cpu.max",    "cpu.max.burst", "cpu.idle",        "io.weight",
                                             "io.max",     "rdma.max",      "hugetlb.2MB.max" };
        struct cgroups *c;
        char text[256];

        assert(mkdtemp(fake));
        (void) snprintf(text, sizeof(text), "%s/ctr", fake);
        ok(fs_mkdir_p(text, 0755, &err));
        put("cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma\n");
        put("cgroup.subtree_control", "");
        put("ctr/cgroup.controllers", "");
        for (size_t i = 0; i < ELEMENTSOF(empty); i++) {
                (void) snprintf(text, sizeof(text), "ctr/%s", empty[i]);
                put(text, "");
        }
        (void) snprintf(text, sizeof(text), "30 1 0:26 / %s rw - cgroup2 cgroup2 rw\n", fake);
        put("mountinfo", text);
        (void) snprintf(text, sizeof(text), "%s/mountinfo", fake);
        ok(cgroups_new_from(text, &c, &err));
        return c;
}

static void test_fake_v2(void) {
        struct cgroups *c = fake_v2();
        bool made;
        const struct spec_device_limit d = { 8, 16, 1048576, 0 }, w = { 8, 0, 1000, 0 }, leaf = { 8, 0, 0, 20 };
        const struct spec_device_limit off = { 8, 16, 0, 0 };
        const struct spec_rdma rdma = { "mlx5_0", true, true, 2, 2000 };
        const struct spec_net_priority prio = { "lo", 1 };
        struct spec_resources r = { .memory_reservation_bytes = 4096,
                                    .has_cpu_burst = true,
                                    .cpu_burst_us = 1000,
                                    .has_cpu_idle = true,
                                    .cpu_idle = 1,
                                    .blkio_weights = &w,
                                    .n_blkio_weights = 1,
                                    .throttles[SPEC_THROTTLE_WRITE_IOPS] = &d,
                                    .n_throttles[SPEC_THROTTLE_WRITE_IOPS] = 1,
                                    .rdma = &rdma,
                                    .n_rdma = 1 };
        const struct {
                struct spec_resources r;
                const char *field;
        } absent[] = {
                { { .has_swappiness = true }, "memory.swappiness" },
                { { .oom_kill_disable = true }, "memory.disableOOMKiller" },
                { { .has_rt_runtime = true }, "cpu.realtimeRuntime" },
                { { .rt_period_us = 1 }, "cpu.realtimePeriod" },
                { { .blkio_leaf_weight = 20 }, "blockIO.leafWeight" },
                { { .blkio_weights = &leaf, .n_blkio_weights = 1 }, "blockIO.weightDevice.leafWeight" },
                { { .has_net_class_id = true }, "network.classID" },
                { { .net_priorities = &prio, .n_net_priorities = 1 }, "network.priorities" },
        };

        ok(cgroup_update(c, "/ctr", &r, &err));
        expect("ctr/memory.low", "4096");
        expect("ctr/cpu.max.burst", "1000");
        expect("ctr/cpu.idle", "1");
        expect("ctr/io.weight", "8:0 10000");
        expect("ctr/io.max", "8:16 wiops=1048576");
        expect("ctr/rdma.max", "mlx5_0 hca_handle=2 hca_object=2000");
        for (size_t i = 0; i < ELEMENTSOF(absent); i++) {
                assert(cgroup_update(c, "/ctr", &absent[i].r, &err) == -ERR_PRECONDITION);
                if (!strstr(err.msg, absent[i].field)) {
                        fprintf(stderr, "%s: %s\n", absent[i].field, err.msg);
                        abort();
                }
        }
        /* An OCI runtime's groups are counted by all controllers, a pod's by those that the kubelet asks for. */
        put("cgroup.subtree_control", "");
        r = (struct spec_resources){ 0 };
        ok(cgroup_create(c, "/ctr", &r, &err));
        expect("cgroup.subtree_control", "+cpu +memory +pids");
        put("cgroup.subtree_control", "");
        ok(cgroup_create_or_join(c, "/ctr", &r, &made, &err));
        assert(!made);
        expect("cgroup.subtree_control", "+cpu +cpuset +memory +io +pids +hugetlb +rdma");
        put("ctr/io.max", "");
        put("ctr/io.bfq.weight", "");
        r = (struct spec_resources){ .blkio_weights = &w,
                                     .n_blkio_weights = 1,
                                     .throttles[SPEC_THROTTLE_READ_BPS] = &off,
                                     .n_throttles[SPEC_THROTTLE_READ_BPS] = 1 };
        ok(cgroup_update(c, "/ctr", &r, &err));
        expect("ctr/io.bfq.weight", "8:0 1000");
        expect("ctr/io.weight", "8:0 10000");
        expect("ctr/io.max", "8:16 rbps=max");
        /* Without being asked to look, it takes a limit below what is in use. */
        put("ctr/memory.max", "");
        put("ctr/memory.current", "5000");
        r = (struct spec_resources){ .memory_limit_bytes = 3000, .check_before_update = true };
        assert(cgroup_update(c, "/ctr", &r, &err) == -ERR_PRECONDITION && strstr(err.msg, "memory.limit"));
        expect("ctr/memory.max", "");
        r.check_before_update = false;
        ok(cgroup_update(c, "/ctr", &r, &err));
        expect("ctr/memory.max", "3000");
        cgroups_free(c);
        ok(fs_remove_tree(AT_FDCWD, fake, &err));
}

/* --- real groups, v1 -----------------------------------------------------------------------------------------------
 */

static void read_back(struct cgroups *c, const char *path, enum ctl ctl, const char *file, char text[1024]) {
        char name[512];

        (void) snprintf(name, sizeof(name), "%s/%s", path + 1, file);
        assert(file_read_at(c->hiers[c->of[ctl]].fd, name, text, 1024) >= 0);
}

static void is(struct cgroups *c, const char *path, enum ctl ctl, const char *file, const char *want) {
        char text[1024];

        read_back(c, path, ctl, file, text);
        if (!str_eq(text, want)) {
                fprintf(stderr, "%s%s: expected \"%s\", found \"%s\"\n", path, file, want, text);
                abort();
        }
}

static bool on_v1(struct cgroups *c, enum ctl ctl) {
        return c->of[ctl] >= 0 && !c->hiers[c->of[ctl]].v2;
}

static void test_v1_memory(struct cgroups *c) {
        const char *path = path_of("memory");
        struct spec_resources r = { .memory_limit_bytes = 64 << 20,
                                    .memory_reservation_bytes = 32 << 20,
                                    .has_swappiness = true,
                                    .swappiness = 7,
                                    .oom_kill_disable = true };
        char text[1024];
        uint64_t n;

        if (!on_v1(c, CTL_MEMORY))
                return;
        ok(cgroup_create(c, path, &r, &err));
        is(c, path, CTL_MEMORY, "memory.soft_limit_in_bytes", "33554432");
        is(c, path, CTL_MEMORY, "memory.swappiness", "7");
        read_back(c, path, CTL_MEMORY, "memory.oom_control", text);
        assert(keyed_number(text, "oom_kill_disable", &n) && n == 1);
        /* Only what is set changes; what fails changes nothing. */
        r = (struct spec_resources){ .has_swappiness = true, .swappiness = 0 };
        ok(cgroup_update(c, path, &r, &err));
        is(c, path, CTL_MEMORY, "memory.swappiness", "0");
        is(c, path, CTL_MEMORY, "memory.limit_in_bytes", "67108864");
        r = (struct spec_resources){ .memory_reservation_bytes = -1, .cpuset_cpus = "99999" };
        assert(cgroup_update(c, path, &r, &err) < 0);
        is(c, path, CTL_MEMORY, "memory.soft_limit_in_bytes", "33554432");
        ok(cgroup_remove(c, path, &err));
        r = (struct spec_resources){ 0 };
        ok(cgroup_create(c, path, &r, &err));
        r = (struct spec_resources){ .oom_kill_disable = true, .cpu_quota_us = 1 };
        assert(cgroup_update(c, path, &r, &err) < 0 && strstr(err.msg, "cpu.quota"));
        read_back(c, path, CTL_MEMORY, "memory.oom_control", text);
        assert(keyed_number(text, "oom_kill_disable", &n) && n == 0);
        ok(cgroup_remove(c, path, &err));
}

static void test_v1_cpu(struct cgroups *c) {
        const char *path = path_of("cpu");
        struct spec_resources r = { .cpu_quota_us = 50000, .has_cpu_burst = true, .cpu_burst_us = 20000 };

        if (!on_v1(c, CTL_CPU) || faccessat(c->hiers[c->of[CTL_CPU]].fd, "cpu.cfs_burst_us", F_OK, 0) < 0)
                return;
        ok(cgroup_create(c, path, &r, &err));
        is(c, path, CTL_CPU, "cpu.cfs_burst_us", "20000");
        /* Both up, then both down: each needs its own order. */
        r = (struct spec_resources){ .cpu_quota_us = 90000, .has_cpu_burst = true, .cpu_burst_us = 80000 };
        ok(cgroup_update(c, path, &r, &err));
        is(c, path, CTL_CPU, "cpu.cfs_burst_us", "80000");
        r = (struct spec_resources){ .cpu_quota_us = 10000, .has_cpu_burst = true, .cpu_burst_us = 5000 };
        ok(cgroup_update(c, path, &r, &err));
        is(c, path, CTL_CPU, "cpu.cfs_burst_us", "5000");
        is(c, path, CTL_CPU, "cpu.cfs_quota_us", "10000");
        r = (struct spec_resources){ .cpu_shares = 77, .has_cpu_burst = true, .cpu_burst_us = 50000 };
        assert(cgroup_update(c, path, &r, &err) == -ERR_INVALID && strstr(err.msg, "cpu.burst"));
        is(c, path, CTL_CPU, "cpu.shares", "1024");
        if (faccessat(c->hiers[c->of[CTL_CPU]].fd, "cpu.idle", F_OK, 0) == 0) {
                r = (struct spec_resources){ .cpu_shares = 77, .has_cpu_idle = true, .cpu_idle = 1 };
                ok(cgroup_update(c, path, &r, &err));
                is(c, path, CTL_CPU, "cpu.idle", "1");
                r = (struct spec_resources){ .cpu_shares = 78, .has_cpu_idle = true, .cpu_idle = 0 };
                ok(cgroup_update(c, path, &r, &err));
                is(c, path, CTL_CPU, "cpu.idle", "0");
                is(c, path, CTL_CPU, "cpu.shares", "78");
        }
        if (faccessat(c->hiers[c->of[CTL_CPU]].fd, "cpu.rt_period_us", F_OK, 0) == 0) {
                r = (struct spec_resources){ .has_rt_runtime = true, .rt_runtime_us = 0, .rt_period_us = 500000 };
                ok(cgroup_update(c, path, &r, &err));
                is(c, path, CTL_CPU, "cpu.rt_period_us", "500000");
                is(c, path, CTL_CPU, "cpu.rt_runtime_us", "0");
        }
        ok(cgroup_remove(c, path, &err));
}

/* A disk of this host, to be limited. */
static bool find_disk(struct spec_device_limit *ret) {
        static const char *const names[] = { "vda", "sda", "nvme0n1", "loop0", NULL };
        char file[64], text[64];

        for (size_t i = 0; names[i]; i++) {
                unsigned long major;
                char *end;

                (void) snprintf(file, sizeof(file), "/sys/block/%s/dev", names[i]);
                if (file_read_at(AT_FDCWD, file, text, sizeof(text)) <= 0)
                        continue;
                major = strtoul(text, &end, 10);
                *ret = (struct spec_device_limit){ .major = (int64_t) major,
                                                   .minor = (int64_t) strtoul(end + 1, NULL, 10) };
                return true;
        }
        return false;
}

static void test_v1_blkio(struct cgroups *c) {
        static const char *const files[SPEC_THROTTLE_MAX] = { "blkio.throttle.read_bps_device",
                                                              "blkio.throttle.write_bps_device",
                                                              "blkio.throttle.read_iops_device",
                                                              "blkio.throttle.write_iops_device" };
        const char *path = path_of("blkio");
        struct spec_device_limit d, w, none = { 4095, 77, 5, 0 };
        struct spec_resources r = { 0 };
        char want[64];

        if (!on_v1(c, CTL_BLKIO) || !find_disk(&d))
                return;
        w = d;
        d.value = 1048576;
        for (size_t k = 0; k < SPEC_THROTTLE_MAX; k++) {
                r.throttles[k] = &d;
                r.n_throttles[k] = 1;
        }
        (void) snprintf(want, sizeof(want), "%lld:%lld 1048576", (long long) d.major, (long long) d.minor);
        ok(cgroup_create(c, path, &r, &err));
        for (size_t k = 0; k < SPEC_THROTTLE_MAX; k++)
                is(c, path, CTL_BLKIO, files[k], want);
        /* No such device: refused and named, and the limit that was changed before it is back. */
        r = (struct spec_resources){ .throttles = { [SPEC_THROTTLE_READ_BPS] = &w, [SPEC_THROTTLE_WRITE_IOPS] = &none },
                                     .n_throttles = { [SPEC_THROTTLE_READ_BPS] = 1, [SPEC_THROTTLE_WRITE_IOPS] = 1 } };
        w.value = 4096;
        assert(cgroup_update(c, path, &r, &err) == -ERR_INVALID && strstr(err.msg, "throttleWriteIOPSDevice"));
        is(c, path, CTL_BLKIO, files[0], want);
        w.value = 0;
        r.n_throttles[SPEC_THROTTLE_WRITE_IOPS] = 0;
        ok(cgroup_update(c, path, &r, &err));
        is(c, path, CTL_BLKIO, files[0], "");
        w.value = 4096;
        r.n_throttles[SPEC_THROTTLE_WRITE_IOPS] = 1;
        assert(cgroup_update(c, path, &r, &err) < 0);
        is(c, path, CTL_BLKIO, files[0], "");
        r = (struct spec_resources){ .blkio_weight = 500 };
        ok(cgroup_update(c, path, &r, &err));
        r = (struct spec_resources){ .blkio_leaf_weight = 500 };
        assert(cgroup_update(c, path, &r, &err) < 0 && strstr(err.msg, "blockIO.leafWeight"));
        ok(cgroup_remove(c, path, &err));
}

static void nothing(void) {
}

/*
 * net_cls and net_prio are mounted by the test where nobody has done it. Only in a guest that is thrown away: the
 * hierarchy stays in the kernel after umount, in every process' /proc/PID/cgroup.
 */
static void test_v1_net(struct cgroups *host) {
        char dir[] = "/tmp/test-net-XXXXXX", text[1024];
        const struct spec_net_priority prio = { "lo", 5 }, gone = { "nosuchif", 5 };
        struct spec_resources r = { .has_net_class_id = true,
                                    .net_class_id = 0x100001,
                                    .net_priorities = &prio,
                                    .n_net_priorities = 1 },
                              none = { 0 };
        const char *path = path_of("net"), *other = path_of("other");
        struct cgroups *c;
        pid_t pid;

        if (!getenv("LXCRI_TEST_GUEST") || host->of[CTL_NET_CLS] >= 0 || unshare(CLONE_NEWNS) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !mkdtemp(dir))
                return;
        if (mount("cgroup", dir, "cgroup", MS_NOSUID, "net_cls,net_prio") < 0) {
                (void) rmdir(dir);
                return;
        }
        ok(cgroups_new(&c, &err));
        assert(c->of[CTL_NET_CLS] > 0 && c->of[CTL_NET_PRIO] == c->of[CTL_NET_CLS] &&
               cgroups_mode(c) == cgroups_mode(host));
        ok(cgroup_create(c, path, &r, &err));
        is(c, path, CTL_NET_CLS, "net_cls.classid", "1048577");
        read_back(c, path, CTL_NET_PRIO, "net_prio.ifpriomap", text);
        assert(strstr(text, "lo 5"));
        pid = spawn_in(c, path, sleep_for_ever);
        (void) snprintf(text, sizeof(text), "/proc/%d/cgroup", (int) pid);
        assert(file_read_at(AT_FDCWD, text, text, sizeof(text)) > 0 && strstr(text, "net_cls,net_prio:"));
        assert(strstr(strstr(text, "net_cls,net_prio:"), path) == strstr(text, "net_cls,net_prio:") + 17);
        r.net_priorities = &gone;
        r.net_class_id = 5;
        assert(cgroup_update(c, path, &r, &err) < 0 && strstr(err.msg, "network.priorities"));
        is(c, path, CTL_NET_CLS, "net_cls.classid", "1048577");
        ok(cgroup_kill(c, path, 5000, &err));
        assert(waitpid(pid, NULL, 0) == pid);
        ok(cgroup_remove(c, path, &err));
        assert(!exists_anywhere(c, path));
        /* Who does not ask has no group there. */
        ok(cgroup_create(c, other, &none, &err));
        assert(faccessat(c->hiers[c->of[CTL_NET_CLS]].fd, other + 1, F_OK, 0) < 0);
        assert(waitpid(spawn_in(c, other, nothing), NULL, 0) > 0);
        assert(cgroup_update(c, other, &r, &err) == -ERR_PRECONDITION);
        ok(cgroup_remove(c, other, &err));
        ok(cgroup_remove(c, parent, &err));
        ok(cgroup_make(host, parent, &err));
        cgroups_free(c);
        assert(umount(dir) == 0 && rmdir(dir) == 0);
}

/* --- device rules at work ------------------------------------------------------------------------------------------
 */

static void use_devices(void) {
        bool null_ok = open("/dev/null", O_RDWR | O_CLOEXEC) >= 0;
        bool zero_read = open("/dev/zero", O_RDONLY | O_CLOEXEC) >= 0,
             zero_write = open("/dev/zero", O_WRONLY | O_CLOEXEC) >= 0;
        bool full = open("/dev/full", O_RDONLY | O_CLOEXEC) >= 0;

        _exit(null_ok | zero_read << 1 | zero_write << 2 | full << 3);
}

static int what_works(struct cgroups *c, const char *path) {
        int status;
        pid_t pid = spawn_in(c, path, use_devices);

        assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        return WEXITSTATUS(status);
}

enum { NULL_OK = 1, ZERO_READ = 2, ZERO_WRITE = 4, FULL = 8 };

static void test_device_update(struct cgroups *c) {
        const char *path = path_of("update");
        const struct spec_device_rule first[] = { deny_all, { true, 'c', 1, 3, "rwm" }, { true, 'c', 1, 5, "r" } },
                                      second[] = { deny_all, { true, 'c', 1, 3, "rw" }, { true, 'c', 1, 7, "rwm" } },
                                      all[] = { { true, 'a', -1, -1, "rwm" }, { false, 'c', 1, 5, "w" } };
        struct spec_resources r = { .devices = first, .n_devices = 3 }, other = { .pids_limit = 99 };

        if (!cgroups_has(c, "devices"))
                return;
        ok(cgroup_create(c, path, &r, &err));
        assert(what_works(c, path) == (NULL_OK | ZERO_READ));
        ok(cgroup_update(c, path, &other, &err)); /* leaves them */
        assert(what_works(c, path) == (NULL_OK | ZERO_READ));
        r.devices = second;
        ok(cgroup_update(c, path, &r, &err));
        assert(what_works(c, path) == (NULL_OK | FULL));
        r = (struct spec_resources){ .devices = all, .n_devices = 2 };
        ok(cgroup_update(c, path, &r, &err));
        assert(what_works(c, path) == (NULL_OK | ZERO_READ | FULL));
        r = (struct spec_resources){ .devices = first, .n_devices = 3, .cpu_quota_us = 1 };
        assert(cgroup_update(c, path, &r, &err) < 0);
        assert(what_works(c, path) == (NULL_OK | ZERO_READ | FULL));
        r.cpu_quota_us = 0;
        ok(cgroup_update(c, path, &r, &err));
        assert(what_works(c, path) == (NULL_OK | ZERO_READ));
        ok(cgroup_remove(c, path, &err));
}

/* The v2 filter works in the v2 tree of hybrid hosts, too. Replaced, it does not add up. */
static void test_filter_replaced(struct cgroups *c) {
        const char *path = path_of("filter");
        const struct spec_device_rule rules[][2] = { { deny_all, { true, 'c', 1, 3, "rw" } },
                                                     { deny_all, { true, 'c', 1, 7, "r" } },
                                                     { deny_all, { true, 'c', 1, 5, "rw" } } };
        const int works[] = { NULL_OK, FULL, ZERO_READ | ZERO_WRITE };
        struct group g;

        if (c->unified < 0)
                return;
        ok(cgroup_make(c, path, &err));
        group_init(&g, c, path);
        assert(group_fd(&g, c->unified) >= 0);
        for (size_t i = 0; i < ELEMENTSOF(works); i++)
                for (int twice = 0; twice < 2; twice++) {
                        ok(devices_apply_v2(c, g.fds[c->unified], false, rules[i], 2, &err));
                        assert(what_works(c, path) == works[i]);
                }
        group_done(&g);
        ok(cgroup_remove(c, path, &err));
}

static void test_real(struct cgroups *c) {
        test_malformed(c);
        test_v1_memory(c);
        test_v1_cpu(c);
        test_v1_blkio(c);
        test_v1_net(c);
        test_device_update(c);
        test_filter_replaced(c);
}

int main(void) {
        test_device_lists();
        test_fake_v2();
        return run_with_groups("test-limits", test_real);
}
