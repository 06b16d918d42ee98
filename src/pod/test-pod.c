/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of pod/'s helpers, identity, filters and records. */
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
#include "pod/net-counters.h"

enum { ARENA_MAX = 8 << 20 };

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
        CRI(PodSandboxConfig) *c = test_pod_config(a);
        struct sandbox *s;
        struct err err;
        char id[ID_LEN + 1];

        c->metadata->name = arena_strdup(a, name);
        c->n_labels = 1;
        c->labels = test_entries(a, 1, (const char *const[]){ "app", label });
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
        f->label_selector = test_entries(a, 1, (const char *const[]){ "app", "x" });
        assert(count_sandboxes(p, f) == 2);
        f->id = one->id;
        assert(count_sandboxes(p, f) == 1);
        f->label_selector = test_entries(a, 1, (const char *const[]){ "app", "y" });
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
        CRI(ContainerConfig) *config = test_container_config(a);
        struct container *c, *other, *back;
        struct container_link link;
        char id[ID_LEN + 1];
        void *data;
        size_t len;
        struct err err;

        id_new(id);
        c = container_new(s, id, cri_dup(ContainerConfig, config));
        c->from_image.id = xstrdup("sha256:1");
        c->from_image.env = xcalloc(2, sizeof(char *));
        c->from_image.env[0] = xstrdup("A=b");
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
        assert(str_eq(back->from_image.env[0], "A=b") && str_eq(back->from_image.cwd, "") &&
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
        test_identity_and_lookup();
        test_lists();
        test_sandbox_record();
        test_container_record();
        test_net_counters();
        return 0;
}
