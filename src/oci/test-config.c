/* SPDX-License-Identifier: Apache-2.0 */
/* test-config - every property that config.json may have arrives in the spec. test-config.json has them all. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/attr.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "oci/config.h"
#include "runtime/spec/mount-options.h"
#include "runtime/cgroup/cgroup.h"
#include "security/caps.h"

static bool strings_are(const char *const *list, const char *const *expected) {
        for (; *expected; list++, expected++)
                if (!str_eq(*list, *expected))
                        return false;
        return !*list;
}
#define STRINGS_ARE(list, ...) strings_are((list), (const char *const[]){ __VA_ARGS__, NULL })

static bool pair_is(const struct spec_pair *p, const char *key, const char *value) {
        return str_eq(p->key, key) && str_eq(p->value, value);
}

static bool map_is(const struct id_map *m, uint32_t inside, uint32_t outside, uint32_t length) {
        return m->inside == inside && m->outside == outside && m->length == length;
}

static void check_root(const struct oci_config *c) {
        const struct spec *s = &c->spec;

        assert(str_eq(c->oci_version, "1.2.1-rc.1+x") && str_eq(c->bundle, "/bundle"));
        assert(str_eq(c->root_path, "/bundle/rootfs") && s->readonly_rootfs && s->rootfs_mount_fd == -1);
        assert(str_eq(s->hostname, "h1") && str_eq(s->domainname, "d.example"));
        assert(s->n_annotations == 2 && pair_is(&s->annotations[0], "org.example.a", "1"));
        assert(pair_is(&s->annotations[1], "b", ""));
        assert(s->default_devices && s->outlives_parent);
}

static void check_process(const struct spec_process *p) {
        const uint64_t all = caps_all();

        assert(p->terminal && p->rows == 24 && p->columns == 80);
        assert(p->user.uid == 7 && p->user.gid == 8 && p->user.has_gid && p->user.resolved);
        assert(p->has_umask && p->umask == 022);
        assert(p->user.n_additional_gids == 2 && p->user.additional_gids[0] == 9 && p->user.additional_gids[1] == 10);
        assert(STRINGS_ARE(p->args, "sh", "-c", "true") && STRINGS_ARE(p->env, "A=1", "B=") && str_eq(p->cwd, "/tmp"));
        assert(p->caps.bounding == ((1ull << CAP_KILL | 1ull << CAP_CHOWN) & all));
        assert(p->caps.permitted == ((1ull << CAP_KILL) & all) && p->caps.effective == ((1ull << CAP_CHOWN) & all));
        assert(p->caps.inheritable == ((1ull << CAP_SETUID) & all) && p->caps.ambient == ((1ull << CAP_SETGID) & all));
        assert(p->n_rlimits == 2 && p->rlimits[0].resource == RLIMIT_NOFILE && p->rlimits[0].soft == 1024);
        assert(p->rlimits[0].hard == RLIM_INFINITY && p->rlimits[1].resource == RLIMIT_CORE);
        assert(p->rlimits[1].soft == 0 && p->rlimits[1].hard == 1ull << 63);
        assert(p->no_new_privs && p->has_oom_score_adj && p->oom_score_adj == -500);
        assert(str_eq(p->apparmor_profile, "prof") && str_eq(p->selinux_label, "u:r:t:s0"));
        assert(p->has_io_priority && p->io_priority_class == 2 && p->io_priority == 4);
        assert(p->scheduler->policy == 6 && p->scheduler->nice == 3 && p->scheduler->flags == (1 | 4));
        assert(p->scheduler->runtime_ns == 10 && p->scheduler->deadline_ns == 20 && p->scheduler->period_ns == 30);
        assert(str_eq(p->cpu_affinity_initial, "0-1,3") && str_eq(p->cpu_affinity_final, "2"));
}

static void check_mounts(const struct spec *s) {
        const struct spec_mount *m = s->mounts;

        assert(s->n_mounts == 5 && str_eq(m[3].type, "proc") && str_eq(m[3].source, "proc") && !*m[3].data);
        assert(m[3].source_fd == -1 && !m[3].owners && !m[3].flags);
        assert(str_eq(m[1].destination, "/rel") && str_eq(m[1].source, "/bundle/data") && str_eq(m[1].type, "bind"));
        assert(m[1].recursive && m[1].flags == MS_RDONLY && m[1].propagation == MS_SLAVE && !m[1].propagation_flat);
        assert(m[1].recursive_set == (0x2 | 0x20) && m[1].recursive_clear == 0x70);
        assert(str_eq(m[2].data, "mode=755,size=1m") && m[2].tmpcopyup && m[2].flags == MS_NOSUID);
        assert(m[2].clear_flags == MS_RDONLY && m[2].propagation == MS_SHARED && m[2].propagation_flat);
        assert(!m[0].recursive && m[0].copy_symlink && m[0].clear_flags == MS_NOEXEC);
        assert(m[0].owners->n_uids == 1 && map_is(m[0].owners->uids, 0, 5, 6) && map_is(m[0].owners->gids, 1, 7, 8));
        assert(m[0].owners_flat && !m[4].owners_flat && id_maps_equal(m[4].owners, &s->user_ids));
}

static void check_hooks(const struct spec_hooks *h) {
        const struct spec_hook *first = h->list[SPEC_HOOK_PRESTART];

        for (size_t kind = 0; kind < SPEC_HOOK_MAX; kind++)
                assert(h->n[kind] == (kind == SPEC_HOOK_CREATE_RUNTIME ? 2 : 1));
        assert(str_eq(first->path, "/h/prestart") && STRINGS_ARE(first->args, "prestart", "x"));
        assert(STRINGS_ARE(first->env, "K=V") && first->timeout_ms == 3000);
        assert(str_eq(h->list[SPEC_HOOK_CREATE_RUNTIME][1].path, "/h/second"));
        assert(!h->list[SPEC_HOOK_CREATE_RUNTIME][1].timeout_ms && !*h->list[SPEC_HOOK_CREATE_RUNTIME][1].args);
        assert(str_eq(h->list[SPEC_HOOK_CREATE_CONTAINER]->path, "/h/createContainer"));
        assert(str_eq(h->list[SPEC_HOOK_START_CONTAINER]->path, "/h/startContainer"));
        assert(str_eq(h->list[SPEC_HOOK_POSTSTART]->path, "/h/poststart"));
        assert(str_eq(h->list[SPEC_HOOK_POSTSTOP]->path, "/h/poststop"));
}

static void check_namespaces(const struct spec *s) {
        for (size_t i = 0; i < SPEC_NS_MAX; i++)
                assert(s->ns[i].create == (i != SPEC_NS_IPC));
        assert(str_eq(s->ns[SPEC_NS_IPC].path, "/run/ipc"));
        assert(s->user_ids.n_uids == 2 && map_is(&s->user_ids.uids[0], 0, 100000, 1000));
        assert(map_is(&s->user_ids.uids[1], 2000, 300000, 1));
        assert(s->user_ids.n_gids == 1 && map_is(s->user_ids.gids, 0, 200000, 1000));
        assert(s->monotonic.has && s->monotonic.seconds == -7 && s->monotonic.nanoseconds == 8);
        assert(s->boottime.has && s->boottime.seconds == 5 && s->boottime.nanoseconds == 6);
        assert(s->n_sysctls == 3 && pair_is(&s->sysctls[0], "net.ipv4.ip_forward", "1"));
        assert(pair_is(&s->sysctls[1], "net/ipv4/conf/eth0.1/forwarding", "0"));
        assert(s->n_net_devices == 2 && pair_is(&s->net_devices[0], "eth7", "eth0"));
        assert(pair_is(&s->net_devices[1], "eth8", "eth8"));
}

static void check_devices(const struct spec *s) {
        const struct spec_device *d = s->devices;

        assert(s->n_devices == 3 && d[0].type == 'c' && str_eq(d[0].path, "/dev/x") && d[0].major == 10);
        assert(d[0].minor == 200 && d[0].mode == 0600 && d[0].uid == 1 && d[0].gid == 2);
        assert(d[1].type == 'p' && str_eq(d[1].path, "/dev/fifo") && d[1].mode == 0666);
        assert(d[2].type == 'b' && d[2].mode == 0666); /* with the bits of the type, as Docker writes it */
}

static void check_linux(const struct oci_config *c) {
        const struct spec *s = &c->spec;

        assert(str_eq(c->cgroups_path, "/a/b") && s->rootfs_propagation == (MS_SLAVE | MS_REC));
        assert(STRINGS_ARE(s->masked_paths, "/proc/kcore", "/sys/firmware"));
        assert(STRINGS_ARE(s->readonly_paths, "/proc/sys") && str_eq(s->mount_label, "u:r:m:s0"));
        assert(s->has_personality && s->personality == PER_LINUX32);
        assert(s->memory_policy->mode == MPOL_BIND && s->memory_policy->flags == MPOL_F_STATIC_NODES);
        assert(str_eq(s->memory_policy->nodes, "0-1"));
        assert(str_eq(s->seccomp_listener_path, "/run/l") && str_eq(s->seccomp_listener_metadata, "meta"));
        assert(str_after(c->seccomp, "{\"defaultAction\": \"SCMP_ACT_ERRNO\"") &&
               strstr(c->seccomp, "18446744073709551615"));
        assert(str_eq(c->intel_rdt->clos_id, "guaranteed") && STRINGS_ARE(c->intel_rdt->schemata, "L3:0=f"));
        assert(str_eq(c->intel_rdt->l3_cache, "L3:0=7f0;1=1f") && str_eq(c->intel_rdt->bandwidth, "MB:0=20;1=70"));
        assert(c->intel_rdt->monitoring && strstr(c->process_text, "\"cwd\": \"/tmp\""));
}

static bool limit_is(const struct spec_device_limit *l, int64_t minor, uint64_t value, uint16_t leaf_weight) {
        return l->major == 8 && l->minor == minor && l->value == value && l->leaf_weight == leaf_weight;
}

static void check_block_io(const struct spec_resources *r) {
        assert(r->blkio_weight == 10 && r->blkio_leaf_weight == 1000 && r->n_blkio_weights == 1);
        assert(limit_is(r->blkio_weights, 0, 500, 300));
        for (size_t i = 0; i < SPEC_THROTTLE_MAX; i++)
                assert(r->n_throttles[i] == 1);
        assert(limit_is(r->throttles[SPEC_THROTTLE_READ_BPS], 1, 11, 0));
        assert(limit_is(r->throttles[SPEC_THROTTLE_WRITE_BPS], 2, 12, 0));
        assert(limit_is(r->throttles[SPEC_THROTTLE_READ_IOPS], 3, 13, 0));
        assert(limit_is(r->throttles[SPEC_THROTTLE_WRITE_IOPS], 4, 14, 0));
}

static void check_rules(const struct spec_device_rule *d) {
        assert(!d[0].allow && d[0].type == 'a' && d[0].major == -1 && d[0].minor == -1 && str_eq(d[0].access, "rwm"));
        assert(d[1].allow && d[1].type == 'c' && d[1].major == 1 && d[1].minor == 3 && str_eq(d[1].access, "rw"));
        assert(d[2].allow && d[2].type == 'b' && d[2].major == 7 && d[2].minor == -1 && str_eq(d[2].access, "m"));
}

static void check_resources(const struct spec_resources *r) {
        assert(r->memory_limit_bytes == 1 << 20 && r->memory_reservation_bytes == 1 << 19);
        assert(r->memory_swap_limit_bytes == 2 << 20 && r->has_swappiness && r->swappiness == 0);
        assert(r->oom_kill_disable && r->check_before_update);
        assert(r->cpu_shares == 512 && r->cpu_quota_us == 50000 && r->cpu_period_us == 100000);
        assert(r->has_cpu_burst && r->cpu_burst_us == 1000 && r->has_cpu_idle && r->cpu_idle == 1);
        assert(r->has_rt_runtime && r->rt_runtime_us == 950 && r->rt_period_us == 1000);
        assert(str_eq(r->cpuset_cpus, "0-3") && str_eq(r->cpuset_mems, "0") && r->pids_limit == 77);
        assert(r->n_hugepages == 2 && str_eq(r->hugepages[0].page_size, "2MB"));
        assert(r->hugepages[0].limit_bytes == 4 << 20 && str_eq(r->hugepages[1].page_size, "1GB"));
        assert(r->has_net_class_id && r->net_class_id == 1048577 && r->n_net_priorities == 1);
        assert(str_eq(r->net_priorities->interface, "eth0") && r->net_priorities->priority == 500);
        assert(r->n_rdma == 2 && str_eq(r->rdma[0].device, "mlx5_1") && r->rdma[0].handles == 3);
        assert(r->rdma[0].has_objects && r->rdma[0].objects == 10000 && !r->rdma[1].has_handles);
        assert(r->n_unified == 2 && pair_is(&r->unified[0], "memory.high", "100"));
        check_block_io(r);
        check_rules(r->devices + 1);
}

static void test_full(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        _cleanup_(freep) char *text = NULL;
        struct oci_config c;
        struct err err;
        size_t len;

        assert(fs_read_file(AT_FDCWD, "src/oci/test-config.json", 1 << 20, &text, &len, &err) == 0);
        assert(oci_config_parse(text, len, "/bundle", a, &c, &err) == 0);
        check_root(&c);
        check_process(&c.spec.process);
        check_mounts(&c.spec);
        check_hooks(&c.spec.hooks);
        check_namespaces(&c.spec);
        check_devices(&c.spec);
        check_linux(&c);
        check_resources(&c.spec.resources);
        /* All is denied, but for what the bundle says and the devices that each container has. */
        assert(c.spec.resources.n_devices == 3 + CGROUP_DEVICE_RULES_MORE && c.spec.resources.devices[6].minor == 3);
        assert(strstr(c.warnings[0], "linux.resources.memory.kernel: ignoring"));
        assert(str_eq(c.warnings[1], "process.capabilities.bounding[2]: ignoring unknown or unavailable capability "
                                     "CAP_FUTURE") &&
               !c.warnings[2]);
}

/* What is absent or null is left as it is. */
static void test_empty(void) {
        static const char text[] =
                "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"/r\",\"readonly\":null},\"mounts\":null,"
                "\"process\":null,\"linux\":{\"resources\":{\"memory\":null}},\"hooks\":{}}";
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        struct oci_config c;
        struct err err;

        assert(oci_config_parse(text, strlen(text), "/bundle", a, &c, &err) == 0);
        assert(str_eq(c.root_path, "/r") && !c.has_process && !c.process_text && !c.seccomp && !c.intel_rdt);
        assert(!c.cgroups_path && !*c.warnings && !c.spec.hostname && !c.spec.n_mounts && !c.spec.n_devices);
        assert(!*c.spec.process.args && !*c.spec.process.env && !*c.spec.masked_paths && !*c.spec.readonly_paths);
        assert(!c.spec.rootfs_propagation && !c.spec.has_personality && !c.spec.memory_policy &&
               !SPEC_HAS_USER_NS(&c.spec));
        assert(!c.spec.resources.memory_limit_bytes && !c.spec.resources.has_swappiness);
        assert(c.spec.resources.n_devices == CGROUP_DEVICE_RULES_MORE && !c.spec.resources.devices[0].allow);
        assert(str_eq(c.spec.resources.cpuset_cpus, "") && !c.spec.resources.has_cpu_idle);
}

/* Which would end a part that is kept as text. */
static void test_nul(void) {
        static const char text[] = "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"/r\"},\"annotations\":{},\"n\":1\0}";
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        struct oci_config c;
        struct err err;

        assert(oci_config_parse(text, sizeof(text) - 1, "/bundle", a, &c, &err) == -ERR_INVALID);
        assert(strstr(err.msg, "NUL"));
}

static void test_load(void) {
        static const char config[] = "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"}}";
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        char folder[] = "/tmp/test-config.XXXXXX", link[64], file[64], root[64];
        struct oci_config c;
        struct err err;

        assert(mkdtemp(folder));
        (void) snprintf(file, sizeof(file), "%s/config.json", folder);
        (void) snprintf(link, sizeof(link), "%s/link", folder);
        (void) snprintf(root, sizeof(root), "%s/r", folder);
        assert(oci_config_load(folder, a, &c, &err) == -ERR_INVALID && strstr(err.msg, "config.json not found"));
        assert(oci_config_load("/none/such", a, &c, &err) == -ERR_INVALID && strstr(err.msg, "No such file"));
        assert(fs_write_atomic(AT_FDCWD, file, config, strlen(config), 0600, false, &err) == 0);
        assert(symlink(folder, link) == 0 && oci_config_load(link, a, &c, &err) == 0);
        assert(str_eq(c.bundle, folder) && str_eq(c.root_path, root));
        assert(fs_remove_tree(AT_FDCWD, folder, &err) == 0);
}

/* The parts by themselves. */
static void test_parts(void) {
        static const char process[] = "{\"args\":[\"a\"],\"cwd\":\"/\",\"user\":{\"uid\":4294967294}}",
                          bad[] = "{\"args\":[\"a\"],\"cwd\":\"/\",\"user\":{\"uid\":4294967295}}",
                          resources[] =
                                  "{\"memory\":{\"limit\":-1},\"pids\":{\"limit\":-5},\"devices\":[{\"allow\":true}]}";
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        struct spec_resources r = { .cpu_shares = 5 };
        struct spec_process p = { .terminal = true };
        struct err err;

        assert(oci_process_parse(process, strlen(process), a, &p, &err) == 0);
        assert(!p.terminal && p.user.uid == 4294967294 && !p.has_umask && !p.has_oom_score_adj && !p.n_rlimits);
        assert(oci_process_parse(bad, strlen(bad), a, &p, &err) == -ERR_INVALID);
        assert(str_eq(err.msg, "user.uid: is more than 4294967294") && p.user.uid == 4294967294);
        assert(oci_resources_parse(resources, strlen(resources), a, &r, &err) == 0);
        assert(!r.cpu_shares && r.memory_limit_bytes == -1 && r.pids_limit == -1 && r.n_devices == 1);
}

/* Hostile sizes end in an error, not in an abort. */
static void test_limits(void) {
        _cleanup_(arena_freep) struct arena *small = arena_new(4 << 10);
        _cleanup_(freep) char *text = NULL;
        char deep[2000];
        struct oci_config c;
        struct err err;
        size_t len;

        assert(fs_read_file(AT_FDCWD, "src/oci/test-config.json", 1 << 20, &text, &len, &err) == 0);
        assert(oci_config_parse(text, len, "/bundle", small, &c, &err) == -ERR_EXHAUSTED);
        memset(deep, '[', sizeof(deep));
        assert(oci_config_parse(deep, sizeof(deep), "/bundle", small, &c, &err) == -ERR_EXHAUSTED);
        assert(oci_config_parse(text, len / 2, "/bundle", small, &c, &err) == -ERR_INVALID);
        assert(strstr(err.msg, "config.json is not valid JSON"));
}

/* The text of a part is what jansson takes it for, however its name is written and repeated. */
static void test_raw(void) {
        static const struct {
                const char *linux, *seccomp;
        } cases[] = {
                { "{\"seccomp\":{\"a\":\"}\\\"\"} , \"x\":[1,{}]}", "{\"a\":\"}\\\"\"}" },
                { " { \"x\" : null ,\n\t\"seccomp\" : { } } ", "{ }" },
                { "{\"seccomp\":{\"a\":1},\"seccomp\":{\"b\":2}}", "{\"b\":2}" },
                { "{\"seccomp\":{\"a\":1},\"sec\\u0063omp\":{\"b\":18446744073709551615}}",
                  "{\"b\":\"18446744073709551615\"}" },
                { "{\"sec\\u0063omp\":{\"b\":3}}", "{\"b\":3}" },
                { "{\"seccomp\":{\"b\":2},\"seccomp\":null}", NULL },
                { "{}", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
                const char *text = arena_printf(a, "{\"linux\":%s,\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"/\"}}",
                                                cases[i].linux);
                struct oci_config c;
                struct err err;

                assert(oci_config_parse(text, strlen(text), "/b", a, &c, &err) == 0);
                assert(str_eq(c.seccomp, cases[i].seccomp));
        }
}

static void test_options(void) {
        for (size_t i = 0; i < n_mount_options; i++) {
                assert(i == 0 || strcmp(mount_options[i - 1].name, mount_options[i].name) < 0);
                assert(mount_option_find(mount_options[i].name) == &mount_options[i]);
        }
        assert(!mount_option_find("mode=755") && !mount_option_propagation("ro"));
        assert(mount_option_propagation("unbindable") == MS_UNBINDABLE);
}

static void test_version(void) {
        static const char *const known[] = { "1.0.0", "1.0.2-dev", "1.1.0+x", "1.2.10", "1.3.0", "1.3.1-rc1" },
                                 *const unknown[] = {
                                         "",        "1",      "1.0",    "1.4.0",  "2.0.0",           "0.9.0",
                                         "1.0.0.0", "01.0.0", "1.0.0x", "1.-1.0", "1.99999999999.0", "v1.0.0"
                                 };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                assert(oci_version_is_known(known[i]));
        for (size_t i = 0; i < ELEMENTSOF(unknown); i++)
                assert(!oci_version_is_known(unknown[i]));
}

int main(void) {
        test_options();
        test_version();
        test_full();
        test_empty();
        test_nul();
        test_load();
        test_parts();
        test_limits();
        test_raw();
        return 0;
}
