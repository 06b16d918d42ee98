/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of pod/'s rules as tables: what is asked -> what the spec says, or the refusal; records; filters; identity. */
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
#include "pod/net-counters.h"

enum { ARENA_MAX = 8 << 20 };

static char no_text[] = "";

/* --- builders ----------------------------------------------------------------------------------------------------- */

static CRI(PodSandboxConfig) * pod_config(struct arena *a) {
        CRI(PodSandboxConfig) *c = cri_make(a, PodSandboxConfig, pod_sandbox_config);

        c->metadata = cri_make(a, PodSandboxMetadata, pod_sandbox_metadata);
        c->metadata->name = arena_strdup(a, "web");
        c->metadata->namespace_ = arena_strdup(a, "default");
        c->metadata->uid = arena_strdup(a, "u1");
        c->linux = cri_make(a, LinuxPodSandboxConfig, linux_pod_sandbox_config);
        c->linux->security_context = cri_make(a, LinuxSandboxSecurityContext, linux_sandbox_security_context);
        c->linux->security_context->namespace_options = cri_make(a, NamespaceOption, namespace_option);
        return c;
}

static CRI(ContainerConfig) * container_config(struct arena *a) {
        CRI(ContainerConfig) *c = cri_make(a, ContainerConfig, container_config);

        c->metadata = cri_make(a, ContainerMetadata, container_metadata);
        c->metadata->name = arena_strdup(a, "app");
        c->image = cri_make(a, ImageSpec, image_spec);
        c->image->image = arena_strdup(a, "busybox");
        c->linux = cri_make(a, LinuxContainerConfig, linux_container_config);
        c->linux->security_context = cri_make(a, LinuxContainerSecurityContext, linux_container_security_context);
        return c;
}

static void *entries(struct arena *a, size_t n, const char *const *pairs) {
        CRI(PodSandboxConfig__LabelsEntry) **list = arena_array(a, CRI(PodSandboxConfig__LabelsEntry) *, n);

        for (size_t i = 0; i < n; i++) {
                list[i] = cri_make(a, PodSandboxConfig__LabelsEntry, pod_sandbox_config__labels_entry);
                list[i]->key = arena_strdup(a, pairs[2 * i]);
                list[i]->value = arena_strdup(a, pairs[2 * i + 1]);
        }
        return list;
}

static const char *const none[] = { NULL };

static struct image an_image(void) {
        static const char *entrypoint[] = { "/entry", "-e", NULL }, *cmd[] = { "a", "b", NULL },
                          *env[] = { "PATH=/bin", "X=1", NULL };

        return (struct image){ .id = "sha256:1234",
                               .config = { .entrypoint = entrypoint,
                                           .cmd = cmd,
                                           .env = env,
                                           .volumes = (const char **) none,
                                           .user = "",
                                           .working_dir = "",
                                           .stop_signal = "",
                                           .labels = (const char **) none } };
}

static CRI(Int64Value) * int64(struct arena *a, int64_t v) {
        CRI(Int64Value) *m = cri_make(a, Int64Value, int64_value);

        m->value = v;
        return m;
}

/* --- pure helpers ------------------------------------------------------------------------------------------------- */

static void test_quantities(void) {
        static const struct {
                const char *text;
                int64_t value; /* -1: refused */
        } cases[] = { { "1", 1 },      { "10k", 10000 },      { "1M", 1000000 }, { "1.5M", 1500000 },
                      { "1Ki", 1024 }, { "2Gi", 2147483648 }, { "500m", 1 },     { "1e3", 1000 },
                      { "", -1 },      { "-1", -1 },          { "+1", -1 },      { "x", -1 },
                      { "1x", -1 },    { "0x10", -1 },        { "inf", -1 },     { "nan", -1 },
                      { " 1", -1 },    { "1 ", -1 },          { "1e400", -1 },   { "99999E", -1 },
                      { ".5", -1 } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                int64_t v = -1;
                bool ok = quantity_parse(cases[i].text, &v);
                assert(ok == (cases[i].value >= 0));
                assert(!ok || v == cases[i].value);
        }
}

static void test_paths(void) {
        static const char *const cases[][2] = { { "/", "/" },           { "/a", "/a" },        { "/a/", "/a" },
                                                { "//a//b/", "/a/b" },  { "/a/./b", "/a/b" },  { "/a/../b", "/b" },
                                                { "/../../a", "/a" },   { "/a/b/../..", "/" }, { "/a/...", "/a/..." },
                                                { "/a/..b", "/a/..b" }, { "a", NULL },         { "", NULL } };
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert(str_eq(path_clean(a, cases[i][0]), cases[i][1]));
}

static void test_signals(void) {
        assert(signal_from_cri(CRI_(SIGNAL__RUNTIME_DEFAULT)) == 0);
        assert(signal_from_cri(CRI_(SIGNAL__SIGTERM)) == SIGTERM);
        assert(signal_from_cri(CRI_(SIGNAL__SIGRTMIN)) == 34);
        assert(signal_from_cri(CRI_(SIGNAL__SIGRTMINPLUS15)) == 49);
        assert(signal_from_cri(CRI_(SIGNAL__SIGRTMAXMINUS14)) == 50);
        assert(signal_from_cri(CRI_(SIGNAL__SIGRTMAX)) == 64);
        assert(signal_from_cri((CRI(Signal)) 66) == -1);
        assert(signal_to_cri(SIGKILL) == CRI_(SIGNAL__SIGKILL) && signal_to_cri(64) == CRI_(SIGNAL__SIGRTMAX));
        assert(signal_to_cri(37) == CRI_(SIGNAL__SIGRTMINPLUS3) && signal_to_cri(99) == CRI_(SIGNAL__RUNTIME_DEFAULT));
        assert(signal_from_name("SIGUSR1") == SIGUSR1 && signal_from_name("usr1") == SIGUSR1 &&
               signal_from_name("9") == 9);
        assert(signal_from_name("SIGRTMIN+3") == 37 && signal_from_name("RTMAX-1") == 63 &&
               signal_from_name("RTMIN") == 34);
        assert(signal_from_name("0") == -1 && signal_from_name("65") == -1 && signal_from_name("NOPE") == -1);
        assert(signal_from_name("RTMIN+31") == -1 && signal_from_name("") == -1);
}

static void test_peers(void) {
        static const char text[] = "21 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda rw\n"
                                   "22 21 0:21 / /sys rw - sysfs sysfs rw\n"
                                   "23 21 0:22 / /run rw shared:5 master:1 - tmpfs tmpfs rw\n"
                                   "24 21 0:23 / /x rw master:2 propagate_from:1 - tmpfs shared:9 rw\n";
        static const struct {
                uint64_t id;
                unsigned peers;
        } cases[] = { { 21, PEERS_SHARED }, { 22, 0 }, { 23, PEERS_SHARED | PEERS_SLAVE }, { 24, PEERS_SLAVE } };
        unsigned peers;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert(mount_peers_in(text, cases[i].id, &peers, &err) == 0 && peers == cases[i].peers);
        assert(mount_peers_in(text, 2, &peers, &err) < 0);
}

static void test_resolv_conf_and_hosts(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        _cleanup_strbuf_ struct strbuf b = STRBUF(4096), h = STRBUF(4096);
        CRI(DNSConfig) *d = cri_make(a, DNSConfig, dnsconfig);
        char one[] = "10.0.0.1", two[] = "10.0.0.2", x[] = "a.b", y[] = "c", o[] = "ndots:5";

        d->n_servers = 2;
        d->servers = (char *[]){ one, two };
        d->n_searches = 2;
        d->searches = (char *[]){ x, y };
        d->n_options = 1;
        d->options = (char *[]){ o };
        resolv_conf_write(d, &b);
        assert(str_eq(strbuf_str(&b), "search a.b c\nnameserver 10.0.0.1\nnameserver 10.0.0.2\noptions ndots:5\n"));
        hosts_write("web", (char *[]){ one, NULL }, &h);
        assert(strstr(strbuf_str(&h), "10.0.0.1\tweb\n") && strstr(strbuf_str(&h), "127.0.0.1\tlocalhost\n"));
}

/* --- pod rules ---------------------------------------------------------------------------------------------------- */

static int check_pod(const CRI(PodSandboxConfig) * c, struct arena *a, struct pod_rules *rules) {
        struct err err = { 0 };

        return pod_rules_check(c, "/fallback", a, rules, &err);
}

static void test_pod_identity_is_needed(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(PodSandboxConfig) *c = pod_config(a);
        struct pod_rules rules;

        assert(check_pod(NULL, a, &rules) == -ERR_INVALID);
        assert(check_pod(c, a, &rules) == 0 && str_eq(rules.cgroup_parent, "/fallback"));
        c->metadata->uid = no_text;
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
        c->metadata = NULL;
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
}

static void test_pod_namespaces(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(PodSandboxConfig) *c = pod_config(a);
        CRI(NamespaceOption) *o = c->linux->security_context->namespace_options;
        struct pod_rules rules;

        o->network = CRI_(NAMESPACE_MODE__NODE);
        o->ipc = CRI_(NAMESPACE_MODE__NODE);
        assert(check_pod(c, a, &rules) == 0 && rules.host_network && rules.host_ipc && rules.shared_pid);
        o->network = CRI_(NAMESPACE_MODE__CONTAINER);
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
        o->network = CRI_(NAMESPACE_MODE__POD);
        o->pid = CRI_(NAMESPACE_MODE__TARGET);
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
        o->pid = CRI_(NAMESPACE_MODE__CONTAINER);
        o->userns_options = cri_make(a, UserNamespace, user_namespace);
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
        o->userns_options->mode = CRI_(NAMESPACE_MODE__CONTAINER);
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
        o->userns_options->mode = CRI_(NAMESPACE_MODE__NODE);
        assert(check_pod(c, a, &rules) == 0 && !rules.shared_pid);
        c->linux->security_context->run_as_group = int64(a, 5);
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
}

static CRI(UserNamespace) * user_ns(struct arena *a, uint32_t inside, uint32_t outside, uint32_t length) {
        CRI(UserNamespace) *u = cri_make(a, UserNamespace, user_namespace);
        CRI(IDMapping) **list = arena_array(a, CRI(IDMapping) *, 2);

        list[0] = list[1] = cri_make(a, IDMapping, idmapping);
        list[0]->container_id = inside;
        list[0]->host_id = outside;
        list[0]->length = length;
        u->n_uids = u->n_gids = 1;
        u->uids = u->gids = list;
        return u;
}

static void test_user_namespaces(void) {
        static const struct {
                uint32_t inside, outside, length;
                size_t n_uids, n_gids;
                int code;
        } cases[] = {
                { 0, 65536, 65536, 1, 1, 0 },
                { 0, 1, 1, 1, 1, 0 },
                { 0, 1000, 100000, 1, 1, 0 },
                { 0, UINT32_MAX - 10, 10, 1, 1, 0 },
                { 0, UINT32_MAX - 10, 11, 1, 1, ERR_INVALID },
                { 0, 65536, UINT32_MAX, 1, 1, ERR_INVALID },
                { 0, 0, 65536, 1, 1, ERR_INVALID },
                { 1, 65536, 65536, 1, 1, ERR_INVALID },
                { 0, 65536, 0, 1, 1, ERR_INVALID },
                { 0, 65536, 65536, 2, 1, ERR_INVALID },
                { 0, 65536, 65536, 1, 2, ERR_INVALID },
                { 0, 65536, 65536, 0, 1, ERR_INVALID },
                { 0, 65536, 65536, 1, 0, ERR_INVALID },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
                CRI(PodSandboxConfig) *pod = pod_config(a);
                CRI(NamespaceOption) *o = pod->linux->security_context->namespace_options;
                CRI(ContainerConfig) *c = container_config(a);
                struct pod_rules rules;
                struct id_map ids;
                struct err err;

                o->pid = CRI_(NAMESPACE_MODE__CONTAINER);
                assert(!pod_user_ids(pod, &ids));
                o->userns_options = user_ns(a, cases[i].inside, cases[i].outside, cases[i].length);
                o->userns_options->n_uids = cases[i].n_uids;
                o->userns_options->n_gids = cases[i].n_gids;
                assert(check_pod(pod, a, &rules) == -cases[i].code);
                assert(pod_user_ids(pod, &ids) == (cases[i].code == 0));
                if (cases[i].code)
                        continue;
                assert(rules.own_user && ids.outside == cases[i].outside && ids.length == cases[i].length);
                /* Its containers must say the same. */
                assert(container_rules_check(c, pod, &err) == -ERR_INVALID);
                c->linux->security_context->namespace_options = cri_make(a, NamespaceOption, namespace_option);
                c->linux->security_context->namespace_options->userns_options =
                        user_ns(a, 0, cases[i].outside, cases[i].length);
                assert(container_rules_check(c, pod, &err) == 0);
                c->linux->security_context->namespace_options->userns_options->uids[0]->host_id ^= 1;
                assert(container_rules_check(c, pod, &err) == -ERR_INVALID);
                c->linux = NULL;
                assert(container_rules_check(c, pod, &err) == -ERR_INVALID);
                /* What belongs to the host can't be had. */
                o->network = CRI_(NAMESPACE_MODE__NODE);
                assert(check_pod(pod, a, &rules) == -ERR_UNIMPLEMENTED);
                o->network = CRI_(NAMESPACE_MODE__POD);
                o->ipc = CRI_(NAMESPACE_MODE__NODE);
                assert(check_pod(pod, a, &rules) == -ERR_INVALID);
                o->ipc = CRI_(NAMESPACE_MODE__POD);
                o->pid = CRI_(NAMESPACE_MODE__NODE);
                assert(check_pod(pod, a, &rules) == -ERR_INVALID);
        }
}

static void test_pod_sysctls(void) {
        static const struct {
                const char *key;
                bool host_network, host_ipc, ok;
        } cases[] = { { "net.ipv4.ip_forward", false, true, true },
                      { "net.ipv4.ip_forward", true, false, false },
                      { "net/ipv4/ip_forward", false, false, true },
                      { "kernel.shm_rmid_forced", false, false, true },
                      { "kernel.shm_rmid_forced", true, true, false },
                      { "fs.mqueue.msg_max", false, false, true },
                      { "kernel.sem", false, true, false },
                      { "vm.swappiness", false, false, false },
                      { "kernel.panic", false, false, false },
                      { "net...", false, false, false },
                      { "net.ipv4/../../kernel/panic", false, false, false },
                      { "net.a b", false, false, false },
                      { "", false, false, false } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
                CRI(PodSandboxConfig) *c = pod_config(a);
                CRI(NamespaceOption) *o = c->linux->security_context->namespace_options;
                struct pod_rules rules;

                o->network = cases[i].host_network ? CRI_(NAMESPACE_MODE__NODE) : CRI_(NAMESPACE_MODE__POD);
                o->ipc = cases[i].host_ipc ? CRI_(NAMESPACE_MODE__NODE) : CRI_(NAMESPACE_MODE__POD);
                c->linux->n_sysctls = 1;
                c->linux->sysctls = entries(a, 1, (const char *const[]){ cases[i].key, "1" });
                assert((check_pod(c, a, &rules) == 0) == cases[i].ok);
        }
}

static void test_pod_ports_and_rates(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(PodSandboxConfig) *c = pod_config(a);
        CRI(PortMapping) *m = cri_make(a, PortMapping, port_mapping);
        struct pod_rules rules;

        c->n_port_mappings = 1;
        c->port_mappings = &m;
        m->container_port = 80;
        assert(check_pod(c, a, &rules) == 0 && rules.n_ports == 0);
        m->host_port = 8080;
        m->protocol = CRI_(PROTOCOL__UDP);
        assert(check_pod(c, a, &rules) == 0 && rules.n_ports == 1 && str_eq(rules.ports[0].protocol, "udp"));
        m->host_ip = arena_strdup(a, "127.0.0.300");
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
        m->host_ip = arena_strdup(a, "::1");
        assert(check_pod(c, a, &rules) == 0);
        m->host_port = 65536;
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
        c->n_port_mappings = 0;
        c->n_annotations = 1;
        c->annotations = entries(a, 1, (const char *const[]){ "kubernetes.io/ingress-bandwidth", "10M" });
        assert(check_pod(c, a, &rules) == 0 && rules.ingress_rate == 10000000);
        c->annotations = entries(a, 1, (const char *const[]){ "kubernetes.io/egress-bandwidth", "fast" });
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
}

static void test_pod_cgroup_parent(void) {
        static const char *const cases[][2] = {
                { "/kubepods/pod1", "/kubepods/pod1" }, { "x/y/", "/x/y" }, { "/../etc", NULL }, { "", "/fallback" }
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
                CRI(PodSandboxConfig) *c = pod_config(a);
                struct pod_rules rules;

                c->linux->cgroup_parent = arena_strdup(a, cases[i][0]);
                assert((check_pod(c, a, &rules) == 0) == (cases[i][1] != NULL));
                assert(!cases[i][1] || str_eq(rules.cgroup_parent, cases[i][1]));
        }
}

static void test_container_rules(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(PodSandboxConfig) *pod = pod_config(a);
        CRI(ContainerConfig) *c = container_config(a);
        CRI(LinuxContainerSecurityContext) *sc = c->linux->security_context;
        struct err err = { 0 };

        assert(container_rules_check(c, pod, &err) == 0);
        sc->privileged = true;
        assert(container_rules_check(c, pod, &err) == -ERR_INVALID);
        pod->linux->security_context->privileged = true;
        assert(container_rules_check(c, pod, &err) == 0);
        sc->namespace_options = cri_make(a, NamespaceOption, namespace_option);
        sc->namespace_options->network = CRI_(NAMESPACE_MODE__NODE);
        assert(container_rules_check(c, pod, &err) == -ERR_INVALID);
        sc->namespace_options->network = CRI_(NAMESPACE_MODE__POD);
        sc->run_as_group = int64(a, 7);
        assert(container_rules_check(c, pod, &err) == -ERR_INVALID);
        sc->run_as_username = arena_strdup(a, "nobody");
        assert(container_rules_check(c, pod, &err) == 0);
        c->image->image = no_text;
        assert(container_rules_check(c, pod, &err) == -ERR_INVALID);
        assert(container_rules_check(NULL, pod, &err) == -ERR_INVALID);
}

/* --- process ------------------------------------------------------------------------------------------------------ */

static void test_args(void) {
        static const struct {
                const char *command, *args; /* one word each, NULL: none */
                const char *want;
        } cases[] = {
                { NULL, NULL, "/entry -e a b" }, { "c", NULL, "c" }, { NULL, "x", "/entry -e x" }, { "c", "x", "c x" }
        };
        const struct image image = an_image();
        struct image empty = an_image();
        const char *const *args;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
                _cleanup_strbuf_ struct strbuf b = STRBUF(4096);
                CRI(ContainerConfig) *c = container_config(a);
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
        empty.config.entrypoint = empty.config.cmd = (const char **) none;
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        assert(process_args(container_config(a), &empty, a, &args, &err) == -ERR_INVALID);
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
        CRI(ContainerConfig) *c = container_config(a);
        CRI(KeyValue) * kv[3];
        char device[] = "DEVICE=cdi", *cdi_env[] = { device, NULL };
        char path[] = "PATH=/image", x[] = "X=1", bare[] = "BARE", *image_env[] = { path, x, bare, NULL },
             *no_env[] = { NULL };
        const char *const *env;
        struct err err;

        assert(process_env(c, no_env, NULL, "host", a, &env, &err) == 0);
        assert(str_after(env_value(env, "PATH"), "/usr/local/sbin:") && str_eq(env_value(env, "HOSTNAME"), "host"));
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
        kv[0]->key = no_text;
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
                CRI(LinuxContainerSecurityContext) *sc = container_config(a)->linux->security_context;
                struct spec_user u;
                struct err err;

                if (cases[i].uid >= 0)
                        sc->run_as_user = int64(a, cases[i].uid);
                if (cases[i].gid >= 0)
                        sc->run_as_group = int64(a, cases[i].gid);
                if (cases[i].name)
                        sc->run_as_username = arena_strdup(a, cases[i].name);
                assert(process_user(sc, cases[i].image_user, a, &u, &err) == 0);
                assert(str_eq(u.username, cases[i].want_user) && str_eq(u.groupname, cases[i].want_group));
                assert(u.uid == cases[i].want_uid && u.gid == cases[i].want_gid && u.has_gid == cases[i].want_has_gid);
        }
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(LinuxContainerSecurityContext) *sc = container_config(a)->linux->security_context;
        struct spec_user u;
        struct err err;
        sc->run_as_user = int64(a, -5);
        assert(process_user(sc, "", a, &u, &err) == -ERR_INVALID);
        sc->run_as_user = int64(a, INT64_C(1) << 32);
        assert(process_user(sc, "", a, &u, &err) == -ERR_INVALID);
}

static void test_stop_signal(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(ContainerConfig) *c = container_config(a);
        struct image image = an_image();
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
        CRI(ContainerConfig) *c = container_config(a);
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
        CRI(ContainerConfig) *c = container_config(a);
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
                CRI(ContainerConfig) *c = container_config(a);
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
        CRI(ContainerConfig) *c = container_config(a);
        CRI(Mount) *m = a_mount(a, "/tmp", "/a");
        CRI(UserNamespace) *u = user_ns(a, 0, 100000, 10);
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
                CRI(ContainerConfig) *c = container_config(a);
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
        CRI(ContainerConfig) *c = container_config(a);
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
        /* Of a handler whose privileged containers get none of the host's: as if not privileged. */
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
        d->permissions = no_text;
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
        r->unified = entries(a, 1, (const char *const[]){ "memory.oom.group", "1" });
        r->n_hugepage_limits = 1;
        r->hugepage_limits = &page;
        page->page_size = arena_strdup(a, "2MB");
        assert(resources_build(r, a, &s, &err) == 0 && s.memory_limit_bytes == 100 && s.n_unified == 1 &&
               s.n_hugepages == 1);

        change = cri_make(a, LinuxContainerResources, linux_container_resources);
        change->memory_limit_in_bytes = 200;
        change->n_unified = 2;
        change->unified = entries(a, 2, (const char *const[]){ "memory.oom.group", "0", "memory.high", "50" });
        assert(resources_merge(r, change, &merged, &err) == 0);
        assert(merged->memory_limit_in_bytes == 200 && merged->cpu_shares == 512 && str_eq(merged->cpuset_cpus, "0-1"));
        assert(merged->n_unified == 2 && str_eq(merged->unified[0]->value, "0") && merged->n_hugepage_limits == 1);
        cri_message_free(merged);
        assert(resources_merge(NULL, change, &merged, &err) == 0 && merged->memory_limit_in_bytes == 200);
        cri_message_free(merged);

        page->page_size = arena_strdup(a, "2 MB/..");
        assert(resources_build(r, a, &s, &err) == -ERR_INVALID);
        page->page_size = arena_strdup(a, "1GB");
        r->unified = entries(a, 1, (const char *const[]){ "../cgroup.procs", "1" });
        assert(resources_build(r, a, &s, &err) == -ERR_INVALID);
        r->n_unified = 0;
        r->cpuset_cpus = arena_strdup(a, "all");
        assert(resources_build(r, a, &s, &err) == -ERR_INVALID);
        r->cpuset_cpus = no_text;
        r->cpu_quota = -2;
        assert(resources_build(r, a, &s, &err) == -ERR_INVALID);
}

/* --- registry, records, lists ------------------------------------------------------------------------------------- */

static struct pods *bare_pods(void) {
        struct pods *p = xnew(struct pods);

        pthread_rwlock_init(&p->lock, NULL);
        pthread_mutex_init(&p->background_lock, NULL);
        p->sandboxes = map_new();
        p->containers = map_new();
        p->names = map_new();
        p->state = xstrdup("/nowhere");
        return p;
}

static struct sandbox *add_sandbox(struct pods *p, struct arena *a, const char *name, const char *label) {
        CRI(PodSandboxConfig) *c = pod_config(a);
        struct sandbox *s;
        struct err err;
        char id[ID_LEN + 1];

        c->metadata->name = arena_strdup(a, name);
        c->n_labels = 1;
        c->labels = entries(a, 1, (const char *const[]){ "app", label });
        id_new(id);
        s = sandbox_new(p, id, cri_dup(PodSandboxConfig, c), "lxc");
        if (registry_add_sandbox(p, s, &err) < 0)
                return sandbox_unref(s);
        sandbox_set_phase(s, SANDBOX_READY);
        sandbox_show(s);
        return s;
}

static void test_identity_and_lookup(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        struct pods *p = bare_pods();
        struct sandbox *one = add_sandbox(p, a, "one", "x"), *two = add_sandbox(p, a, "two", "y"), *found;
        struct err err;
        char prefix[ID_LEN + 1];

        assert(one && two && !add_sandbox(p, a, "one", "z"));
        memcpy(prefix, one->id, sizeof(prefix));
        prefix[32] = '\0';
        assert(registry_find_sandbox(p, one->id, &found, &err) == 0 && found == one);
        sandbox_unref(found);
        assert(registry_find_sandbox(p, prefix, &found, &err) == 0 && found == one);
        sandbox_unref(found);
        assert(registry_find_sandbox(p, "", &found, &err) == -ERR_NOT_FOUND);
        assert(registry_find_sandbox(p, "zz", &found, &err) == -ERR_NOT_FOUND);
        registry_drop_sandbox(p, one);
        assert(registry_find_sandbox(p, prefix, &found, &err) == -ERR_NOT_FOUND);
        sandbox_unref(one);
        one = add_sandbox(p, a, "one", "x");
        assert(one);
        sandbox_unref(one);
        sandbox_unref(two);
        pods_free(p);
}

static size_t count_sandboxes(struct pods *p, const CRI(PodSandboxFilter) * f) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(ListPodSandboxResponse) * resp, *decoded;
        uint8_t *buf;
        struct err err;
        size_t n, len;

        /* Through the wire: the packed items must be a valid message. */
        assert(pods_list_sandboxes(p, f, a, &resp, &err) == 0);
        len = protobuf_c_message_get_packed_size(&resp->base);
        buf = arena_xalloc(a, len + 1, 1);
        assert(protobuf_c_message_pack(&resp->base, buf) == len);
        decoded = (void *) protobuf_c_message_unpack(CRI_DESC(list_pod_sandbox_response), NULL, len, buf);
        assert(decoded && decoded->base.n_unknown_fields == 0);
        n = decoded->n_items;
        for (size_t i = 0; i < n; i++)
                assert(decoded->items[i]->metadata && strlen(decoded->items[i]->id) == ID_LEN &&
                       decoded->items[i]->n_labels == 1);
        cri_message_free(decoded);
        return n;
}

static void test_lists(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        struct pods *p = bare_pods();
        struct sandbox *one = add_sandbox(p, a, "one", "x"), *two = add_sandbox(p, a, "two", "x");
        CRI(PodSandboxFilter) *f = cri_make(a, PodSandboxFilter, pod_sandbox_filter);

        assert(count_sandboxes(p, NULL) == 2 && count_sandboxes(p, f) == 2);
        f->n_label_selector = 1;
        f->label_selector = entries(a, 1, (const char *const[]){ "app", "x" });
        assert(count_sandboxes(p, f) == 2);
        f->id = one->id;
        assert(count_sandboxes(p, f) == 1);
        f->label_selector = entries(a, 1, (const char *const[]){ "app", "y" });
        assert(count_sandboxes(p, f) == 0);
        f->n_label_selector = 0;
        f->state = cri_make(a, PodSandboxStateValue, pod_sandbox_state_value);
        f->state->state = CRI_(POD_SANDBOX_STATE__SANDBOX_NOTREADY);
        assert(count_sandboxes(p, f) == 0);
        sandbox_set_phase(one, SANDBOX_DEAD);
        assert(count_sandboxes(p, f) == 1);
        f->id = arena_strdup(a, "nothing");
        assert(count_sandboxes(p, f) == 0);
        sandbox_unref(one);
        sandbox_unref(two);
        pods_free(p);
}

static void test_sandbox_record(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        struct pods *p = bare_pods();
        struct sandbox *s = add_sandbox(p, a, "one", "x"), *back;
        void *data;
        size_t len;
        struct err err;

        s->pause_pid = 77;
        s->pause_start_time = 1234567890123;
        s->network_held = true;
        s->cni_cached = xstrdup("{\"a\": 1}");
        s->ips = xcalloc(3, sizeof(char *));
        s->ips[0] = xstrdup("10.0.0.2");
        s->ips[1] = xstrdup("fd00::2");
        free(s->cgroup_parent);
        s->cgroup_parent = xstrdup("/kubepods");
        sandbox_take_handler(s, &(struct pod_handler){ .name = "lxc",
                                                       .engine = "lxc",
                                                       .seccomp_profile = "/s.json",
                                                       .privileged_without_host_devices = true });
        assert(sandbox_encode(s, &data, &len, &err) == 0);
        assert(sandbox_decode(p, s->id, data, len, &back, &err) == 0);
        assert(back->phase == SANDBOX_READY && back->pause_pid == 77 && back->pause_start_time == 1234567890123 &&
               back->network_held);
        assert(str_eq(back->cni_cached, s->cni_cached) && str_eq(back->ips[1], "fd00::2") && !back->ips[2]);
        assert(str_eq(back->name_key, s->name_key) && str_eq(back->cgroup_parent, "/kubepods") &&
               back->created_at_ns == s->created_at_ns);
        assert(str_eq(back->handler, "lxc") && str_eq(back->seccomp_profile, "/s.json") && back->without_host_devices);
        sandbox_unref(back);
        /* Cut anywhere it is damaged or (behind the configuration) incomplete, never read past its end. */
        for (size_t cut = 0; cut < len; cut++) {
                uint8_t *part = malloc(cut + 1);
                memcpy(part, data, cut);
                if (sandbox_decode(p, s->id, part, cut, &back, &err) == 0)
                        sandbox_unref(back);
                free(part);
        }
        free(data);
        sandbox_unref(s);
        pods_free(p);
}

static void test_container_record(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        struct pods *p = bare_pods();
        struct sandbox *s = add_sandbox(p, a, "one", "x");
        CRI(ContainerConfig) *config = container_config(a);
        struct container *c, *other, *back;
        struct container_link link;
        char id[ID_LEN + 1];
        void *data;
        size_t len;
        struct err err;

        id_new(id);
        c = container_new(s, id, cri_dup(ContainerConfig, config));
        c->image_id = xstrdup("sha256:1");
        c->image_env = xcalloc(2, sizeof(char *));
        c->image_env[0] = xstrdup("A=b");
        c->cdi_env = xcalloc(3, sizeof(char *));
        c->cdi_env[0] = xstrdup("C=d");
        c->cdi_env[1] = xstrdup("E=f");
        c->uid = 1000;
        c->groups = xcalloc(2, sizeof(gid_t));
        c->groups[0] = 5;
        c->groups[1] = 6;
        c->n_groups = 2;
        c->limits = cri_dup(LinuxContainerResources, cri_make(a, LinuxContainerResources, linux_container_resources));
        c->limits->memory_limit_in_bytes = 4096;
        assert(registry_add_container(p, c, &err) == 0);
        id_new(id);
        other = container_new(s, id, cri_dup(ContainerConfig, config));
        assert(registry_add_container(p, other, &err) == -ERR_EXISTS);
        other->config->metadata->attempt = 1;
        assert(registry_add_container(p, other, &err) == 0);
        container_set_phase(c, CONTAINER_CREATED);
        container_set_phase(c, CONTAINER_STARTING);
        container_set_phase(c, CONTAINER_RUNNING);
        container_set_phase(c, CONTAINER_EXITED);
        c->exit_code = 137;
        c->reason = "OOMKilled";
        assert(container_encode(c, &data, &len, &err) == 0);
        assert(container_decode_link(data, len, &link, &err) == 0 && str_eq(link.sandbox_id, s->id));
        assert(container_decode(s, c->id, data, len, &back, &err) == 0);
        assert(back->phase == CONTAINER_EXITED && back->exit_code == 137 && str_eq(back->reason, "OOMKilled") &&
               back->uid == 1000);
        assert(back->n_groups == 2 && back->groups[1] == 6 && back->limits->memory_limit_in_bytes == 4096);
        assert(str_eq(back->cdi_env[0], "C=d") && str_eq(back->cdi_env[1], "E=f") && !back->cdi_env[2]);
        assert(str_eq(back->image_env[0], "A=b") && str_eq(back->cwd, "") &&
               str_eq(back->config->image->image, "busybox"));
        free(data);
        container_unref(back);
        container_unref(c);
        container_unref(other);
        sandbox_unref(s);
        pods_free(p);
}

static void test_net_counters(void) {
        const char *text = "Inter-|   Receive\n face |bytes packets\n"
                           "    lo:  1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
                           " eth01: 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7\n"
                           "  eth0:18446744073709551615 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
                           "  eth2: 1 2\n";
        struct net_interface found[4];
        struct net_counters c = { found, net_counters_parse(text, found, ELEMENTSOF(found)) };
        const struct net_interface *n = net_counters_find(&c, "eth0");

        assert(n && n->rx_bytes == UINT64_MAX && n->rx_packets == 2 && n->rx_errors == 3 && n->rx_dropped == 4);
        assert(n->tx_bytes == 9 && n->tx_packets == 10 && n->tx_errors == 11 && n->tx_dropped == 12);
        assert(!net_counters_find(&c, "eth") && !net_counters_find(&c, "eth2") && !net_counters_find(&c, "lo"));
        assert(net_counters_parse("", found, 4) == 0 && net_counters_parse(text, found, 0) == 0);
        assert(net_counters_parse("no colon\nx: 1\n:\n", found, 4) == 0);
}

int main(void) {
        test_quantities();
        test_paths();
        test_signals();
        test_peers();
        test_resolv_conf_and_hosts();
        test_pod_identity_is_needed();
        test_pod_namespaces();
        test_pod_sysctls();
        test_pod_ports_and_rates();
        test_pod_cgroup_parent();
        test_container_rules();
        test_args();
        test_env();
        test_user();
        test_stop_signal();
        test_own_mounts();
        test_cri_mounts();
        test_refused_mounts();
        test_refused_image_volumes();
        test_user_namespaces();
        test_mapped_mounts();
        test_devices();
        test_resources();
        test_identity_and_lookup();
        test_lists();
        test_sandbox_record();
        test_container_record();
        test_net_counters();
        return 0;
}
