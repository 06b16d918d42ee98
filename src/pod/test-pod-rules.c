/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of pod/'s rules as tables: what is asked of a pod -> what is taken, or the refusal. */
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

/* --- pod rules ---------------------------------------------------------------------------------------------------- */

static int check_pod(const CRI(PodSandboxConfig) * c, struct arena *a, struct pod_rules *rules) {
        struct err err = { 0 };

        return pod_rules_check(c, "/fallback", a, rules, &err);
}

static void test_pod_identity_is_needed(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(PodSandboxConfig) *c = test_pod_config(a);
        struct pod_rules rules;

        assert(check_pod(NULL, a, &rules) == -ERR_INVALID);
        assert(check_pod(c, a, &rules) == 0 && str_eq(rules.cgroup_parent, "/fallback"));
        c->metadata->uid = test_no_text;
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
        c->metadata = NULL;
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
}

static void test_pod_namespaces(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(PodSandboxConfig) *c = test_pod_config(a);
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
        c->linux->security_context->run_as_group = test_int64(a, 5);
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
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
                CRI(PodSandboxConfig) *pod = test_pod_config(a);
                CRI(NamespaceOption) *o = pod->linux->security_context->namespace_options;
                CRI(ContainerConfig) *c = test_container_config(a);
                struct pod_rules rules;
                struct id_map ids;
                struct err err;

                o->pid = CRI_(NAMESPACE_MODE__CONTAINER);
                assert(!pod_user_ids(pod, &ids));
                o->userns_options = test_user_ns(a, cases[i].inside, cases[i].outside, cases[i].length);
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
                        test_user_ns(a, 0, cases[i].outside, cases[i].length);
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
                CRI(PodSandboxConfig) *c = test_pod_config(a);
                CRI(NamespaceOption) *o = c->linux->security_context->namespace_options;
                struct pod_rules rules;

                o->network = cases[i].host_network ? CRI_(NAMESPACE_MODE__NODE) : CRI_(NAMESPACE_MODE__POD);
                o->ipc = cases[i].host_ipc ? CRI_(NAMESPACE_MODE__NODE) : CRI_(NAMESPACE_MODE__POD);
                c->linux->n_sysctls = 1;
                c->linux->sysctls = test_entries(a, 1, (const char *const[]){ cases[i].key, "1" });
                assert((check_pod(c, a, &rules) == 0) == cases[i].ok);
        }
}

static void test_pod_ports_and_rates(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(PodSandboxConfig) *c = test_pod_config(a);
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
        c->annotations = test_entries(a, 1, (const char *const[]){ "kubernetes.io/ingress-bandwidth", "10M" });
        assert(check_pod(c, a, &rules) == 0 && rules.ingress_rate == 10000000);
        c->annotations = test_entries(a, 1, (const char *const[]){ "kubernetes.io/egress-bandwidth", "fast" });
        assert(check_pod(c, a, &rules) == -ERR_INVALID);
}

static void test_pod_cgroup_parent(void) {
        static const char *const cases[][2] = {
                { "/kubepods/pod1", "/kubepods/pod1" }, { "x/y/", "/x/y" }, { "/../etc", NULL }, { "", "/fallback" }
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
                CRI(PodSandboxConfig) *c = test_pod_config(a);
                struct pod_rules rules;

                c->linux->cgroup_parent = arena_strdup(a, cases[i][0]);
                assert((check_pod(c, a, &rules) == 0) == (cases[i][1] != NULL));
                assert(!cases[i][1] || str_eq(rules.cgroup_parent, cases[i][1]));
        }
}

static void test_container_rules(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(ARENA_MAX);
        CRI(PodSandboxConfig) *pod = test_pod_config(a);
        CRI(ContainerConfig) *c = test_container_config(a);
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
        sc->run_as_group = test_int64(a, 7);
        assert(container_rules_check(c, pod, &err) == -ERR_INVALID);
        sc->run_as_username = arena_strdup(a, "nobody");
        assert(container_rules_check(c, pod, &err) == 0);
        c->image->image = test_no_text;
        assert(container_rules_check(c, pod, &err) == -ERR_INVALID);
        assert(container_rules_check(NULL, pod, &err) == -ERR_INVALID);
}

int main(void) {
        test_pod_identity_is_needed();
        test_pod_namespaces();
        test_pod_sysctls();
        test_pod_ports_and_rates();
        test_pod_cgroup_parent();
        test_container_rules();
        test_user_namespaces();
        return 0;
}
