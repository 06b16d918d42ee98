/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of what a container's configuration becomes in the spec: process, mounts, devices, limits; or the refusal. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "pod/files.h"
#include "pod/lists.h"
#include "pod/record.h"
#include "pod/rules.h"
#include "pod/signals.h"
#include "pod/specgen.h"
#include "pod/test-kit.h"

enum { ARENA_MAX = 8 << 20 };

/* --- process ------------------------------------------------------------------------------------------------------ */

static void test_args(void) {
        static const struct {
                const char *command, *args; /* one word each, NULL: test_none */
                const char *want;
        } cases[] = {
                { NULL, NULL, "/entry -e a b" }, { "c", NULL, "c" }, { NULL, "x", "/entry -e x" }, { "c", "x", "c x" }
        };
        const struct image image = test_image();
        struct image empty = test_image();
        const char *const *args;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
                _cleanup_strbuf_ struct strbuf b = STRBUF(4096);
                CRI(ContainerConfig) *c = test_container_config(a);
                char *command = arena_strdup(a, cases[i].command), *arg = arena_strdup(a, cases[i].args);

                c->n_command = command != NULL;
                c->command = &command;
                c->n_args = arg != NULL;
                c->args = &arg;
                assert(process_args(c, &image, a, &args, &err) == 0);
                for (; *args; args++)
                        strbuf_printf(&b, "%s%s", b.len ? " " : "", *args);
                assert(str_eq(strbuf_str(&b), cases[i].want));
        }
        empty.config.entrypoint = empty.config.cmd = (const char **) test_none;
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        assert(process_args(test_container_config(a), &empty, a, &args, &err) == -ERR_INVALID);
}

static const char *env_value(const char *const *env, const char *name) {
        const char *found = NULL;

        for (; *env; env++)
                if (str_after(*env, name) && (*env)[strlen(name)] == '=') {
                        assert(!found); /* each name once */
                        found = *env + strlen(name) + 1;
                }
        return found;
}

static void test_env(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(ContainerConfig) *c = test_container_config(a);
        CRI(KeyValue) * kv[3];
        char device[] = "DEVICE=cdi", *cdi_env[] = { device, NULL };
        char path[] = "PATH=/image", x[] = "X=1", bare[] = "BARE", *image_env[] = { path, x, bare, NULL },
             *no_env[] = { NULL };
        const char *const *env;
        struct err err;

        assert(process_env(c, no_env, NULL, "host", a, &env, &err) == 0);
        assert(env_value(env, "PATH") && str_after(env_value(env, "PATH"), "/usr/local/sbin:"));
        assert(str_eq(env_value(env, "HOSTNAME"), "host"));
        assert(!env_value(env, "TERM"));
        for (int i = 0; i < 3; i++) {
                kv[i] = cri_make(a, KeyValue, key_value);
                kv[i]->key = arena_strdup(a, i == 1 ? "NEW" : "X");
                kv[i]->value = (ProtobufCBinaryData){ 1, (uint8_t *) arena_strdup(a, i == 0   ? "2"
                                                                                     : i == 1 ? "n"
                                                                                              : "3") };
        }
        c->n_envs = 3;
        c->envs = kv;
        c->tty = true;
        assert(process_env(c, image_env, cdi_env, "host", a, &env, &err) == 0);
        assert(str_eq(env_value(env, "PATH"), "/image") && str_eq(env_value(env, "X"), "3") &&
               str_eq(env_value(env, "NEW"), "n"));
        assert(str_eq(env_value(env, "DEVICE"), "cdi"));
        assert(str_eq(env_value(env, "BARE"), "") && str_eq(env_value(env, "TERM"), "xterm"));
        kv[0]->key = arena_strdup(a, "A=B");
        assert(process_env(c, image_env, cdi_env, "host", a, &env, &err) == -ERR_INVALID);
        kv[0]->key = test_no_text;
        assert(process_env(c, image_env, cdi_env, "host", a, &env, &err) == -ERR_INVALID);
        kv[0]->key = arena_strdup(a, "OK");
        kv[0]->value = (ProtobufCBinaryData){ 3, (uint8_t *) arena_memdup(a, "a\0b", 3) };
        assert(process_env(c, image_env, cdi_env, "host", a, &env, &err) == -ERR_INVALID);
}

static void test_user(void) {
        static const struct {
                const char *image_user;
                int64_t uid, gid; /* -1: not given by CRI */
                const char *name; /* run_as_username */
                const char *want_user, *want_group;
                uint32_t want_uid, want_gid;
                bool want_has_gid;
        } cases[] = {
                { "", -1, -1, NULL, NULL, NULL, 0, 0, false },
                { "1000", -1, -1, NULL, NULL, NULL, 1000, 0, false },
                { "1000:2000", -1, -1, NULL, NULL, NULL, 1000, 2000, true },
                { "joe", -1, -1, NULL, "joe", NULL, 0, 0, false },
                { "joe:staff", -1, -1, NULL, "joe", "staff", 0, 0, false },
                { "5:staff", -1, -1, NULL, NULL, "staff", 5, 0, false },
                { "joe:7", -1, -1, NULL, "joe", NULL, 0, 7, true },
                { "joe:staff", 12, -1, NULL, NULL, NULL, 12, 0, false },
                { "joe", 12, 13, NULL, NULL, NULL, 12, 13, true },
                { "joe", -1, 9, "ann", "ann", NULL, 0, 9, true },
                { "4294967295", -1, -1, NULL, "4294967295", NULL, 0, 0, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
                CRI(LinuxContainerSecurityContext) *sc = test_container_config(a)->linux->security_context;
                struct spec_user u;
                struct err err;

                if (cases[i].uid >= 0)
                        sc->run_as_user = test_int64(a, cases[i].uid);
                if (cases[i].gid >= 0)
                        sc->run_as_group = test_int64(a, cases[i].gid);
                if (cases[i].name)
                        sc->run_as_username = arena_strdup(a, cases[i].name);
                assert(process_user(sc, cases[i].image_user, a, &u, &err) == 0);
                assert(str_eq(u.username, cases[i].want_user) && str_eq(u.groupname, cases[i].want_group));
                assert(u.uid == cases[i].want_uid && u.gid == cases[i].want_gid && u.has_gid == cases[i].want_has_gid);
        }
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(LinuxContainerSecurityContext) *sc = test_container_config(a)->linux->security_context;
        struct spec_user u;
        struct err err;
        sc->run_as_user = test_int64(a, -5);
        assert(process_user(sc, "", a, &u, &err) == -ERR_INVALID);
        sc->run_as_user = test_int64(a, INT64_C(1) << 32);
        assert(process_user(sc, "", a, &u, &err) == -ERR_INVALID);
}

static void test_stop_signal(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(ContainerConfig) *c = test_container_config(a);
        struct image image = test_image();
        struct err err;
        int sig;

        assert(process_stop_signal(c, &image, &sig, &err) == 0 && sig == SIGTERM);
        image.config.stop_signal = "SIGQUIT";
        assert(process_stop_signal(c, &image, &sig, &err) == 0 && sig == SIGQUIT);
        c->stop_signal = CRI_(SIGNAL__SIGUSR1);
        assert(process_stop_signal(c, &image, &sig, &err) == 0 && sig == SIGUSR1);
        c->stop_signal = 0;
        image.config.stop_signal = "SIGNOPE";
        assert(process_stop_signal(c, &image, &sig, &err) == -ERR_INVALID);
}

/* --- mounts and devices ------------------------------------------------------------------------------------------- */

static const struct pod_sources sources = { "/s/hostname", "/s/hosts", "/s/resolv.conf", "/s/shm" };

static const struct spec_mount *mount_at(const struct spec *spec, const char *path, size_t *ret_place) {
        const struct spec_mount *found = NULL;

        for (size_t i = 0; i < spec->n_mounts; i++)
                if (str_eq(spec->mounts[i].destination, path)) {
                        assert(!found);
                        found = &spec->mounts[i];
                        if (ret_place)
                                *ret_place = i;
                }
        return found;
}

static CRI(Mount) * a_mount(struct arena *a, const char *host, const char *inside) {
        CRI(Mount) *m = cri_make(a, Mount, mount);

        m->host_path = arena_strdup(a, host);
        m->container_path = arena_strdup(a, inside);
        return m;
}

static void test_own_mounts(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(ContainerConfig) *c = test_container_config(a);
        struct spec spec = { .readonly_rootfs = true };
        struct err err;

        assert(mounts_build(c, &sources, a, &spec, &err) == 0);
        assert(mount_at(&spec, "/sys", NULL)->flags & MS_RDONLY);
        assert(mount_at(&spec, "/etc/hosts", NULL)->flags & MS_RDONLY);
        assert(str_eq(mount_at(&spec, "/dev/shm", NULL)->source, "/s/shm"));
        assert(!(mount_at(&spec, "/dev/shm", NULL)->flags & MS_RDONLY));
        for (size_t i = 0; i < spec.n_mounts; i++)
                assert(spec.mounts[i].source_fd == -1);
        c->linux->security_context->privileged = true;
        spec = (struct spec){ 0 };
        assert(mounts_build(c, &sources, a, &spec, &err) == 0);
        assert(!(mount_at(&spec, "/sys", NULL)->flags & MS_RDONLY) &&
               !(mount_at(&spec, "/sys/fs/cgroup", NULL)->flags & MS_RDONLY));
        assert(!(mount_at(&spec, "/etc/hosts", NULL)->flags & MS_RDONLY));
}

static void test_cri_mounts(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(ContainerConfig) *c = test_container_config(a);
        CRI(Mount) * m[] = { a_mount(a, "/tmp", "/data/deep/x"), a_mount(a, "/etc", "/data/"),
                             a_mount(a, "/etc/passwd", "/etc//hosts") };
        struct spec spec = { 0 };
        size_t deep, shallow;
        struct err err;

        c->n_mounts = 3;
        c->mounts = m;
        m[0]->readonly = true;
        assert(mounts_build(c, &sources, a, &spec, &err) == 0);
        assert(mount_at(&spec, "/data/deep/x", &deep)->flags == MS_RDONLY &&
               mount_at(&spec, "/data", &shallow)->flags == 0);
        assert(shallow < deep && mount_at(&spec, "/data", NULL)->recursive);
        assert(str_eq(mount_at(&spec, "/etc/hosts", NULL)->source, "/etc/passwd"));
}

static void test_refused_mounts(void) {
        static const struct {
                const char *host, *inside;
                bool readonly, rro, ids;
                int propagation, code;
        } cases[] = {
                { "/tmp", "relative", false, false, false, 0, ERR_INVALID },
                { "/tmp", "/", false, false, false, 0, ERR_INVALID },
                { "/tmp", "/a/..", false, false, false, 0, ERR_INVALID },
                { "/no/such/source", "/a", false, false, false, 0, ERR_INVALID },
                { "tmp", "/a", false, false, false, 0, ERR_INVALID },
                { "", "/a", false, false, false, 0, ERR_INVALID },
                { "/tmp", "/a", false, true, false, 0, ERR_INVALID },
                { "/tmp", "/a", true, true, false, CRI_(MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER),
                  ERR_INVALID },
                { "/tmp", "/a", true, true, false, CRI_(MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL), ERR_INVALID },
                { "/proc/self/ns", "/a", false, false, false, 7, ERR_INVALID },
                { "/tmp", "/a", false, false, true, 0, ERR_INVALID },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
                CRI(ContainerConfig) *c = test_container_config(a);
                CRI(Mount) *m = a_mount(a, cases[i].host, cases[i].inside);
                CRI(IDMapping) *map = cri_make(a, IDMapping, idmapping);
                struct spec spec = { 0 };
                struct err err;

                m->readonly = cases[i].readonly;
                m->recursive_read_only = cases[i].rro;
                m->propagation = (CRI(MountPropagation)) cases[i].propagation;
                if (cases[i].ids) {
                        m->n_uidmappings = 1;
                        m->uidmappings = &map;
                }
                c->n_mounts = 1;
                c->mounts = &m;
                assert(mounts_build(c, &sources, a, &spec, &err) == -cases[i].code);
        }
}

static void test_mapped_mounts(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        static const struct id_map few = { 0, 7, 5 };
        const struct id_maps pod_ids = { &few, &few, 1, 1 };
        const struct pod_sources mapped = { .user_ids = &pod_ids };
        CRI(ContainerConfig) *c = test_container_config(a);
        CRI(Mount) *m = a_mount(a, "/tmp", "/a");
        CRI(UserNamespace) *u = test_user_ns(a, 0, 100000, 10);
        struct spec spec = { 0 };
        struct err err;

        m->n_uidmappings = m->n_gidmappings = 1;
        m->uidmappings = u->uids;
        m->gidmappings = u->gids;
        c->n_mounts = 1;
        c->mounts = &m;
        assert(mounts_build(c, &sources, a, &spec, &err) == 0);
        for (size_t i = 0; i < spec.n_mounts; i++) {
                const struct spec_mount *s = &spec.mounts[i];

                assert((s->owners != NULL) == str_eq(s->destination, "/a"));
                assert(!s->owners || (s->owners->n_uids == 1 && s->owners->gids[0].outside == 100000));
                assert(!str_eq(s->destination, "/dev/pts") || strstr(s->data, "gid=5"));
        }
        m->propagation = CRI_(MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL);
        assert(mounts_build(c, &mapped, a, &spec, &err) == -ERR_INVALID && strstr(err.msg, "bidirectional"));
        c->n_mounts = 0;
        assert(mounts_build(c, &mapped, a, &spec, &err) == 0);
        for (size_t i = 0; i < spec.n_mounts; i++)
                assert(!strstr(spec.mounts[i].data, "gid=5")); /* has no number in there */
}

static void test_refused_image_volumes(void) {
        static const struct {
                const char *host;
                bool readonly;
                int propagation;
        } cases[] = {
                { "", false, 0 },
                { "/tmp", true, 0 },
                { "", true, CRI_(MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER) },
                { "", true, 7 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
                CRI(ContainerConfig) *c = test_container_config(a);
                CRI(Mount) *m = a_mount(a, cases[i].host, "/a");
                struct err err;

                m->image = cri_make(a, ImageSpec, image_spec);
                m->image->image = arena_strdup(a, "x");
                m->readonly = cases[i].readonly;
                m->propagation = (CRI(MountPropagation)) cases[i].propagation;
                c->n_mounts = 1;
                c->mounts = &m;
                assert(image_volumes_resolve(NULL, c, a, &err) == -ERR_INVALID && image_volumes_failed(&err));
        }
}

static bool rule_allows(const struct spec *spec, char type, int64_t major, int64_t minor, char access) {
        bool allowed = true;

        for (size_t i = 0; i < spec->resources.n_devices; i++) {
                const struct spec_device_rule *r = &spec->resources.devices[i];
                if ((r->type == 'a' || r->type == type) && (r->major < 0 || r->major == major) &&
                    (r->minor < 0 || r->minor == minor) && strchr(r->access, access))
                        allowed = r->allow;
        }
        return allowed;
}

static void test_devices(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(ContainerConfig) *c = test_container_config(a);
        CRI(Device) *d = cri_make(a, Device, device);
        struct spec spec = { 0 };
        struct err err;
        size_t n_all;

        d->host_path = arena_strdup(a, "/dev/zero");
        d->container_path = arena_strdup(a, "/dev/mine");
        d->permissions = arena_strdup(a, "r");
        c->n_devices = 1;
        c->devices = &d;
        assert(devices_build(c, true, a, &spec, &err) == 0);
        assert(spec.n_devices == 7 && str_eq(spec.devices[0].path, "/dev/mine") && spec.devices[0].major == 1 &&
               spec.devices[0].minor == 5);
        assert(rule_allows(&spec, 'c', 1, 3, 'w') && rule_allows(&spec, 'b', 8, 0, 'm') &&
               !rule_allows(&spec, 'b', 8, 0, 'r'));
        c->linux->security_context->privileged = true;
        assert(devices_build(c, true, a, &spec, &err) == 0);
        assert(rule_allows(&spec, 'b', 8, 0, 'r'));
        n_all = spec.n_devices;
        /* Of a handler whose privileged containers get test_none of the host's: as if not privileged. */
        assert(devices_build(c, false, a, &spec, &err) == 0 && spec.n_devices == 7);
        assert(rule_allows(&spec, 'c', 1, 3, 'w') && !rule_allows(&spec, 'b', 8, 0, 'r'));
        spec.ns[SPEC_NS_USER].path = "/proc/self/ns/user";
        assert(devices_build(c, true, a, &spec, &err) == 0 && spec.n_devices >= 7 && spec.n_devices <= n_all);
        for (size_t i = 0; i < spec.n_devices; i++)
                assert((spec.devices[i].mode & 0006) == 0006);
        spec.ns[SPEC_NS_USER].path = NULL;
        c->linux->security_context->privileged = false;
        d->permissions = arena_strdup(a, "x");
        assert(devices_build(c, true, a, &spec, &err) == -ERR_INVALID);
        d->permissions = test_no_text;
        d->host_path = arena_strdup(a, "/etc/passwd");
        assert(devices_build(c, true, a, &spec, &err) == -ERR_INVALID);
        d->host_path = arena_strdup(a, "/dev/no-such-device");
        assert(devices_build(c, true, a, &spec, &err) == -ERR_INVALID);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static void test_resources(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(LinuxContainerResources) *r = cri_make(a, LinuxContainerResources, linux_container_resources), *change,
                                     *merged;
        CRI(HugepageLimit) *page = cri_make(a, HugepageLimit, hugepage_limit);
        struct spec_resources s;
        struct err err;

        assert(resources_build(NULL, a, &s, &err) == 0 && str_eq(s.cpuset_cpus, ""));
        r->memory_limit_in_bytes = 100;
        r->cpu_shares = 512;
        r->cpuset_cpus = arena_strdup(a, "0-1");
        r->n_unified = 1;
        r->unified = test_entries(a, 1, (const char *const[]){ "memory.oom.group", "1" });
        r->n_hugepage_limits = 1;
        r->hugepage_limits = &page;
        page->page_size = arena_strdup(a, "2MB");
        assert(resources_build(r, a, &s, &err) == 0 && s.memory_limit_bytes == 100 && s.n_unified == 1 &&
               s.n_hugepages == 1);

        change = cri_make(a, LinuxContainerResources, linux_container_resources);
        change->memory_limit_in_bytes = 200;
        change->n_unified = 2;
        change->unified = test_entries(a, 2, (const char *const[]){ "memory.oom.group", "0", "memory.high", "50" });
        assert(resources_merge(r, change, &merged, &err) == 0);
        assert(merged->memory_limit_in_bytes == 200 && merged->cpu_shares == 512 && str_eq(merged->cpuset_cpus, "0-1"));
        assert(merged->n_unified == 2 && str_eq(merged->unified[0]->value, "0") && merged->n_hugepage_limits == 1);
        cri_message_free(merged);
        assert(resources_merge(NULL, change, &merged, &err) == 0 && merged->memory_limit_in_bytes == 200);
        cri_message_free(merged);

        page->page_size = arena_strdup(a, "2 MB/..");
        assert(resources_build(r, a, &s, &err) == -ERR_INVALID);
        page->page_size = arena_strdup(a, "1GB");
        r->unified = test_entries(a, 1, (const char *const[]){ "../cgroup.procs", "1" });
        assert(resources_build(r, a, &s, &err) == -ERR_INVALID);
        r->n_unified = 0;
        r->cpuset_cpus = arena_strdup(a, "all");
        assert(resources_build(r, a, &s, &err) == -ERR_INVALID);
        r->cpuset_cpus = test_no_text;
        r->cpu_quota = -2;
        assert(resources_build(r, a, &s, &err) == -ERR_INVALID);
}

int main(void) {
        test_args();
        test_env();
        test_user();
        test_stop_signal();
        test_own_mounts();
        test_cri_mounts();
        test_refused_mounts();
        test_refused_image_volumes();
        test_mapped_mounts();
        test_devices();
        test_resources();
        return 0;
}
