/* SPDX-License-Identifier: Apache-2.0 */
/* test-systemd - what systemd is told of units, on any host; and where it runs, real scopes, their properties as
 * systemctl shows them, and their files. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/str.h"
#include "runtime/cgroup/systemd.h"
#include "runtime/cgroup/test-common.h"

/* --- values --------------------------------------------------------------------------------------------------------
 */

static void show(const struct unit_prop *p, char *out, size_t size) {
        int n = snprintf(out, size, "%s=%s:", p->name ? p->name : "", p->type);

        if (str_eq(p->type, "a(ss)"))
                for (size_t i = 0; i < p->n_devices; i++)
                        n += snprintf(out + n, size - (size_t) n, "%s %s,", p->devices[i].path, p->devices[i].access);
        else if (str_eq(p->type, "as"))
                for (size_t i = 0; p->texts[i]; i++)
                        n += snprintf(out + n, size - (size_t) n, "%s,", p->texts[i]);
        else if (p->type[0] == 'a')
                for (size_t i = 0; i < p->n_bytes; i++)
                        n += snprintf(out + n, size - (size_t) n, "%02x", p->bytes[i]);
        else if (p->type[0] == 's' || p->type[0] == 'o')
                (void) snprintf(out + n, size - (size_t) n, "%s", p->text);
        else if (p->type[0] == 'd')
                (void) snprintf(out + n, size - (size_t) n, "%g", p->real);
        else
                (void) snprintf(out + n, size - (size_t) n, "%lld", (long long) p->number);
}

static void test_values(struct arena *a) {
        static const char *const table[][2] = {
                { "'a b'", "=s:a b" },
                { " \"it's\" ", "=s:it's" },
                { "'it\\'s\\n'", "=s:it's\n" },
                { "true", "=b:1" },
                { "false", "=b:0" },
                { "boolean true", "=b:1" },
                { "5", "=i:5" },
                { "-5", "=i:-5" },
                { "0x10", "=i:16" },
                { "uint64 18446744073709551615", "=t:-1" },
                { "@t 7", "=t:7" },
                { "byte 255", "=y:255" },
                { "int16 -32768", "=n:-32768" },
                { "1.5", "=d:1.5" },
                { "double 2", "=d:2" },
                { "['a', \"b\"]", "=as:a,b," },
                { "@as []", "=as:" },
                { "objectpath '/a'", "=o:/a" },
        };
        static const char *const bad[] = { "",          "a",        "'a",          "'a' b",      "true1",
                                           "uint32 -1", "byte 256", "int16 40000", "2147483648", "[1]",
                                           "['a' 'b'",  "['a'",     "@z 1",        "@as 'a'",    "uint64 'a'",
                                           "nan",       "1e999",    "--1",         "'\\q'",      "objectpath 'a'",
                                           "(1,2)",     "5 5",      NULL };
        struct unit_prop p;
        char got[256];

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                p = (struct unit_prop){ 0 };
                ok(unit_value_parse(table[i][0], a, &p, &err));
                show(&p, got, sizeof(got));
                if (!str_eq(got, table[i][1])) {
                        fprintf(stderr, "%s: expected %s, found %s\n", table[i][0], table[i][1], got);
                        abort();
                }
        }
        for (size_t i = 0; bad[i]; i++) {
                p = (struct unit_prop){ 0 };
                if (unit_value_parse(bad[i], a, &p, &err) != -ERR_INVALID) {
                        fprintf(stderr, "%s was taken\n", bad[i]);
                        abort();
                }
        }
}

static void expect_props(const struct unit_props *p, const char *want) {
        char got[4096] = "";
        size_t n = 0;

        for (size_t i = 0; i < p->n; i++) {
                show(&p->list[i], got + n, sizeof(got) - n);
                n += strlen(got + n);
                n += (size_t) snprintf(got + n, sizeof(got) - n, " ");
        }
        if (!str_eq(got, want)) {
                fprintf(stderr, "expected: %s\nfound:    %s\n", want, got);
                abort();
        }
}

static void test_annotations(struct arena *a) {
        const struct spec_pair good[] = { { "org.systemd.property.TimeoutStopSec", "1.5" },
                                          { "other", "x" },
                                          { "org.systemd.property.CollectMode", "'inactive-or-failed'" },
                                          { "org.systemd.property.TimeoutStopUSec", "uint64 7" } },
                               bad[] = { { "org.systemd.property.", "1" },
                                         { "org.systemd.property.A_b", "1" },
                                         { "org.systemd.property.CollectMode", "inactive" },
                                         { "org.systemd.property.TimeoutStopSec", "'1'" },
                                         { "org.systemd.property.TimeoutStopSec", "-1" } };
        struct unit_props p = { 0 };

        ok(unit_props_annotations(good, ELEMENTSOF(good), a, &p, &err));
        expect_props(&p, "TimeoutStopUSec=t:1500000 CollectMode=s:inactive-or-failed TimeoutStopUSec=t:7 ");
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(unit_props_annotations(&bad[i], 1, a, &p, &err) == -ERR_INVALID &&
                       strstr(err.msg, "org.systemd.property."));
}

static void limits(const struct unit_host *host, const struct spec_resources *r, struct arena *a, const char *want) {
        struct unit_props p = { 0 };

        ok(unit_props_limits(host, r, a, &p, &err));
        expect_props(&p, want);
}

static void test_limits(struct arena *a) {
        static const struct unit_host v2 = { CGROUP_V2, 252, 0 }, old = { CGROUP_V2, 241, 1000 },
                                      v1 = { CGROUP_HYBRID, 252, 0 };
        static const struct spec_device_rule none[] = { { false, 'a', -1, -1, "rwm" }, { true, 'c', -1, -1, "m" } },
                                             all = { true, 'a', -1, -1, "rwm" };
        const struct spec_pair unified[] = { { "memory.high", "5" },      { "cpu.max", "max 50000" },
                                             { "memory.oom.group", "1" }, { "cpuset.mems", "0" },
                                             { "pids.max", "max" },       { "cpu.weight", "x" } };
        struct spec_resources r = { .memory_limit_bytes = 1000,
                                    .memory_swap_limit_bytes = 1500,
                                    .memory_reservation_bytes = 500,
                                    .cpu_shares = 1024,
                                    .cpu_quota_us = 33333,
                                    .cpu_period_us = 100000,
                                    .cpuset_cpus = "0-1,9",
                                    .cpuset_mems = "0",
                                    .pids_limit = -1,
                                    .blkio_weight = 1000 };

        limits(&v2, &r, a,
               "MemoryMax=t:1000 MemoryLow=t:500 MemorySwapMax=t:500 CPUWeight=t:100 CPUQuotaPeriodUSec=t:100000 "
               "CPUQuotaPerSecUSec=t:340000 IOWeight=t:10000 TasksMax=t:-1 AllowedCPUs=ay:0302 "
               "AllowedMemoryNodes=ay:01 ");
        limits(&v1, &r, a,
               "MemoryLimit=t:1000 CPUShares=t:1024 CPUQuotaPeriodUSec=t:100000 CPUQuotaPerSecUSec=t:340000 "
               "BlockIOWeight=t:1000 TasksMax=t:-1 AllowedCPUs=ay:0302 AllowedMemoryNodes=ay:01 ");
        r = (struct spec_resources){ .memory_swap_limit_bytes = 1500, .cpu_period_us = 1000, .cpuset_cpus = "0" };
        limits(&old, &r, a, "MemorySwapMax=t:500 ");
        r = (struct spec_resources){ .memory_limit_bytes = -1, .cpu_quota_us = -1 };
        limits(&v2, &r, a, "MemoryMax=t:-1 MemorySwapMax=t:-1 CPUQuotaPerSecUSec=t:-1 ");
        r = (struct spec_resources){ .devices = none, .n_devices = 2 };
        limits(&v2, &r, a, "DevicePolicy=s:strict DeviceAllow=a(ss): DeviceAllow=a(ss):char-* m, ");
        r.n_devices = 1;
        limits(&v2, &r, a, "DevicePolicy=s:strict DeviceAllow=a(ss): ");
        r.devices = &all;
        limits(&v2, &r, a, "DevicePolicy=s:auto DeviceAllow=a(ss): ");
        r = (struct spec_resources){ .unified = unified, .n_unified = ELEMENTSOF(unified) };
        limits(&v2, &r, a,
               "MemoryHigh=t:5 CPUQuotaPeriodUSec=t:50000 CPUQuotaPerSecUSec=t:-1 AllowedMemoryNodes=ay:01 "
               "TasksMax=t:-1 ");
}

static void test_cpu_mask(struct arena *a) {
        static const char *const bad[] = { "",  "a", "1-", "-1", "3-1", "1,", ",1", "1-2-3", "8192", "99999999999999",
                                           NULL };
        const uint8_t *mask;
        size_t n;

        ok(cpu_mask_parse("0,8-9,8191", a, &mask, &n, &err));
        assert(n == 1024 && mask[0] == 1 && mask[1] == 3 && mask[1023] == 0x80);
        for (size_t i = 0; bad[i]; i++)
                assert(cpu_mask_parse(bad[i], a, &mask, &n, &err) == -ERR_INVALID);
}

/* --- real scopes ---------------------------------------------------------------------------------------------------
 */

static struct cgroup_place place_of(struct cgroups *c, const char *name, struct arena *a) {
        struct cgroup_place p;

        ok(cgroup_place_find(c, arena_printf(a, "lxcritest-sub.slice:test:%s%d", name, (int) getpid()), "x", true, a,
                             &p, &err));
        return p;
}

/* systemctl show -p @property --value @unit */
static const char *property(const char *unit, const char *property, struct arena *a) {
        char text[4096] = "";
        ssize_t n = 0, got;
        int pipes[2];
        pid_t pid;

        assert(pipe(pipes) == 0);
        pid = fork();
        if (pid == 0) {
                assert(dup2(pipes[1], 1) == 1);
                (void) close(pipes[0]);
                (void) execlp("systemctl", "systemctl", "show", "-p", property, "--value", unit, (char *) NULL);
                _exit(127);
        }
        (void) close(pipes[1]);
        while ((got = read(pipes[0], text + n, sizeof(text) - 1 - (size_t) n)) > 0)
                n += got;
        (void) close(pipes[0]);
        assert(waitpid(pid, NULL, 0) == pid);
        if (n > 0 && text[n - 1] == '\n')
                text[n - 1] = '\0';
        return arena_strdup(a, text);
}

#define IS(unit, name, want)                                                                                           \
        do {                                                                                                           \
                const char *_got = property(unit, name, a);                                                            \
                if (!str_eq(_got, want)) {                                                                             \
                        fprintf(stderr, "%d: %s is %s, not %s\n", __LINE__, name, _got, want);                         \
                        abort();                                                                                       \
                }                                                                                                      \
        } while (0)

static void file_is(struct cgroups *c, const char *path, enum ctl ctl, const char *v1, const char *v2,
                    const char *want) {
        const struct hier *h = &c->hiers[c->of[ctl]];
        char name[512], text[256];

        (void) snprintf(name, sizeof(name), "%s/%s", path + 1, h->v2 ? v2 : v1);
        if (file_read_at(h->fd, name, text, sizeof(text)) < 0 || !str_eq(text, want)) {
                fprintf(stderr, "%s is %s, not %s\n", name, text, want);
                abort();
        }
}

static void reload(void) {
        pid_t pid = fork();

        if (pid == 0) {
                (void) execlp("systemctl", "systemctl", "daemon-reload", (char *) NULL);
                _exit(127);
        }
        assert(waitpid(pid, NULL, 0) == pid);
}

static void test_scope(struct cgroups *c, struct arena *a) {
        struct cgroup_place p = place_of(c, "a", a);
        const struct spec_pair annotation = { "org.systemd.property.TimeoutStopSec", "7" };
        const struct cgroup_unit_args args = { .annotations = &annotation, .n_annotations = 1 };
        struct spec_device_rule rules[CGROUP_DEVICE_RULES_MORE];
        struct spec_resources r = { .memory_limit_bytes = 64 << 20,
                                    .cpu_quota_us = 33333,
                                    .pids_limit = 32,
                                    .cpuset_cpus = "0" },
                              bad = { .pids_limit = 5, .memory_limit_bytes = 32 << 20, .cpuset_mems = "63" };
        bool v2 = c->mode == CGROUP_V2;
        struct cgroup_made made;
        pid_t pid, *pids;
        size_t n;
        int status;

        cgroup_device_rules(NULL, 0, rules);
        r.devices = rules;
        r.n_devices = ELEMENTSOF(rules);
        ok(cgroup_place_create(c, &p, &args, &r, &made, &err));
        assert(made.made && made.holder > 0 && str_ends_with(p.path, p.unit));
        IS(p.unit, "ActiveState", "active");
        IS(p.unit, "Slice", "lxcritest-sub.slice");
        IS(p.unit, "Delegate", "yes");
        IS(p.unit, "ControlGroup", p.path);
        IS(p.unit, "TimeoutStopUSec", "7s");
        IS(p.unit, "TasksMax", "32");
        IS(p.unit, v2 ? "MemoryMax" : "MemoryLimit", "67108864");
        IS(p.unit, "CPUQuotaPerSecUSec", "340ms");
        IS(p.unit, "AllowedCPUs", "0");
        IS(p.unit, "DevicePolicy", "strict");
        IS(p.unit, "MemoryAccounting", "yes");
        assert(strstr(property(p.unit, "DeviceAllow", a), "/dev/char/1:3 rwm"));
        file_is(c, p.path, CTL_MEMORY, "memory.limit_in_bytes", "memory.max", "67108864");
        file_is(c, p.path, CTL_PIDS, "pids.max", "pids.max", "32");
        pid = spawn_in(c, p.path, sleep_for_ever);
        cgroup_holder_end(&made);
        IS(p.unit, "ActiveState", "active");
        ok(cgroup_processes(c, p.path, &pids, &n, &err));
        assert(n == 1 && pids[0] == pid);
        free(pids);

        /* Once more: it is taken. */
        assert(cgroup_place_create(c, &p, NULL, &r, &made, &err) == -ERR_EXISTS && !made.made && !made.holder);
        IS(p.unit, "ActiveState", "active");

        r = (struct spec_resources){ .pids_limit = 77, .memory_limit_bytes = 96 << 20 };
        ok(cgroup_place_update(c, &p, &r, &err));
        IS(p.unit, "TasksMax", "77");
        file_is(c, p.path, CTL_MEMORY, "memory.limit_in_bytes", "memory.max", "100663296");
        assert(cgroup_place_update(c, &p, &bad, &err) < 0);
        IS(p.unit, "TasksMax", "77");
        IS(p.unit, v2 ? "MemoryMax" : "MemoryLimit", "100663296");
        file_is(c, p.path, CTL_PIDS, "pids.max", "pids.max", "77");
        reload();
        file_is(c, p.path, CTL_PIDS, "pids.max", "pids.max", "77");
        file_is(c, p.path, CTL_MEMORY, "memory.limit_in_bytes", "memory.max", "100663296");
        if (v2)
                file_is(c, p.path, CTL_CPUSET, "", "cpuset.cpus", "0");

        ok(cgroup_place_remove(c, &p, &err));
        assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        IS(p.unit, "ActiveState", "inactive");
        assert(!exists_anywhere(c, p.path));
        ok(cgroup_place_remove(c, &p, &err));
}

/* What fails leaves no unit. */
static void test_scope_fails(struct cgroups *c, struct arena *a) {
        struct cgroup_place p = place_of(c, "b", a);
        const struct spec_pair wrong = { "org.systemd.property.NoSuchThing", "true" };
        const struct cgroup_unit_args args = { .annotations = &wrong, .n_annotations = 1 };
        struct spec_resources none = { 0 }, bad = { .cpuset_mems = "63" };
        struct cgroup_made made;

        assert(cgroup_place_create(c, &p, &args, &none, &made, &err) < 0 && strstr(err.msg, "NoSuchThing"));
        assert(!made.made && !made.holder);
        assert(cgroup_place_create(c, &p, NULL, &bad, &made, &err) < 0 && !made.made && !made.holder);
        IS(p.unit, "ActiveState", "inactive");
        assert(!exists_anywhere(c, p.path));
        p.unit = arena_printf(a, "a\x01.scope");
        assert(cgroup_place_create(c, &p, NULL, &none, &made, &err) < 0);
}

static void test_real(struct cgroups *c) {
        struct arena *a = arena_new(4 << 20);
        struct cgroup_place p = place_of(c, "c", a);
        struct spec_resources none = { 0 };
        struct cgroup_made made;

        if (access("/run/systemd/system", F_OK) == 0) {
                test_scope(c, a);
                test_scope_fails(c, a);
        } else {
                assert(cgroup_place_create(c, &p, NULL, &none, &made, &err) == -ERR_PRECONDITION);
                assert(strstr(err.msg, "systemd not running") && !made.made && !made.holder);
        }
        /* The other driver. */
        p = (struct cgroup_place){ .path = path_of("files") };
        ok(cgroup_place_create(c, &p, NULL, &none, &made, &err));
        assert(made.made && !made.holder);
        ok(cgroup_place_update(c, &p, &none, &err));
        ok(cgroup_place_create(c, &p, NULL, &none, &made, &err));
        assert(!made.made);
        ok(cgroup_place_remove(c, &p, &err));
        assert(!exists_anywhere(c, p.path));
        arena_free(a);
}

int main(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(16 << 20);

        test_values(a);
        test_annotations(a);
        test_limits(a);
        test_cpu_mask(a);
        return run_with_groups("test-systemd", test_real);
}
