/* SPDX-License-Identifier: Apache-2.0 */
/* test-config - good and bad files and flags, and that the texts made from the table read back. */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "daemon/config-keys.h"

static struct err err;

static struct config *load(const char *text) {
        struct config *c = NULL;

        if (config_load_text("config.yaml", text, strlen(text), NULL, &c, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
        }
        return c;
}

static void test_defaults(void) {
        _cleanup_(config_freep) struct config *c = load(""), *again = NULL;
        _cleanup_(freep) char *text = NULL, *a = NULL, *b = NULL;
        size_t len;
        FILE *f;

        assert(str_eq(c->root, "/var/lib/proxmox-lxcri") && str_eq(c->socket, "/run/proxmox-lxcri/proxmox-lxcri.sock"));
        assert(str_eq(c->cni_bin_dir[0], "/opt/cni/bin") && str_eq(c->cni_bin_dir[1], "/usr/lib/cni") &&
               !c->cni_bin_dir[2]);
        assert(c->log_level == LOG_LEVEL_INFO && c->log_format == LOG_FORMAT_TEXT && c->max_parallel_layers == 4);
        assert(c->max_layer_size == 64ULL << 30 && c->pids_limit == -1 && c->registries.n == 0);
        assert(str_eq(c->cgroup_parent, "/proxmox-lxcri") && str_eq(c->cgroup_driver, "cgroupfs"));

        f = open_memstream(&text, &len);
        config_write_default(f);
        (void) fclose(f);
        again = load(text);
        a = config_to_json(c);
        b = config_to_json(again);
        assert(str_eq(a, b) && strstr(a, "\"stateDir\":\"/run/proxmox-lxcri\""));
        for (size_t i = 0; i < CONFIG_N_KEYS; i++)
                assert(strstr(text, config_keys[i].name));
}

static void test_good(void) {
        _cleanup_(config_freep) struct config *c = load("root: /a\n"
                                                        "state: \"/b\"\n"
                                                        "cni-bin-dir: [/x, /y]\n"
                                                        "log-level: debug\nlog-format: json\n"
                                                        "cgroup-parent: tests/one\n"
                                                        "max-layer-size: 1GiB\n"
                                                        "workers: 3\n"
                                                        "pinned-images: [a.b/c:1, \"d.e/*\"]\n"
                                                        "socket: unix:///s/ock\n"
                                                        "registries:\n"
                                                        "  - host: localhost:5000\n"
                                                        "    insecure: true\n"
                                                        "    mirrors: [\"a.b/c/d\", e:1]\n"
                                                        "  - {host: \"*\", ca-file: /ca.pem}\n");
        _cleanup_(config_freep) struct config *json =
                load("{\"root\": \"/a\", \"registries\": [{\"host\": \"127.0.0.1:5000\", \"insecure\": true}]}");

        assert(str_eq(c->root, "/a") && str_eq(c->state, "/b") && str_eq(c->socket, "/s/ock"));
        assert(str_eq(c->cni_bin_dir[0], "/x") && str_eq(c->cni_bin_dir[1], "/y") && !c->cni_bin_dir[2]);
        assert(c->log_level == LOG_LEVEL_DEBUG && c->log_format == LOG_FORMAT_JSON && c->workers == 3);
        assert(str_eq(c->cgroup_parent, "/tests/one") && c->max_layer_size == 1 << 30 && c->registries.n == 2);
        assert(str_eq(c->registries.list[0].host, "localhost:5000") && c->registries.list[0].insecure);
        assert(str_eq(c->registries.list[0].mirrors[0], "a.b/c/d") && str_eq(c->registries.list[0].mirrors[1], "e:1") &&
               !c->registries.list[0].mirrors[2]);
        assert(str_eq(c->registries.list[1].host, "*") && str_eq(c->registries.list[1].ca_file, "/ca.pem"));
        assert(str_eq(c->pinned_images[0], "a.b/c:1") && str_eq(c->pinned_images[1], "d.e/*") && !c->pinned_images[2]);
        assert(!json->pinned_images[0]);
        assert(str_eq(json->registries.list[0].host, "127.0.0.1:5000") && !json->registries.list[0].ca_file);
}

static void test_network(void) {
        _cleanup_(config_freep) struct config *none = load("proxmox: {token-id: \"cri@pve!node\", storage: zfs}"),
                                              *dhcp = load("proxmox: {token-id: \"cri@pve!node\", storage: zfs,\n"
                                                           "  network: {bridge: vnet1, address: dhcp}}"),
                                              *all = load("proxmox:\n"
                                                          "  token-id: a\n"
                                                          "  storage: s\n"
                                                          "  network:\n"
                                                          "    bridge: vmbr0\n"
                                                          "    vlan: 20\n"
                                                          "    mtu: 1450\n"
                                                          "    rate: 12.5\n"
                                                          "    firewall: true\n"
                                                          "    address: static\n"
                                                          "    addresses: [10.2.0.5-10.2.0.9/24, fd00::5-fd00::9/64]\n"
                                                          "    gateways: [10.2.0.1, fd00::1]\n"
                                                          "    isolate-namespaces: true\n"
                                                          "    accept-from: [10.2.0.0/28, fd00::/120]\n"
                                                          "    pods-may-choose:\n"
                                                          "      addresses: 10.2.0.0/24\n"
                                                          "      bridges: [vmbr1, vnet2]\n"
                                                          "      vlans: [30, 40-49]\n");
        const struct ct_network_conf *n = &all->proxmox.network;

        assert(none->proxmox.network.addressing == CT_ADDRESS_CNI);
        assert(dhcp->proxmox.network.addressing == CT_ADDRESS_DHCP && str_eq(dhcp->proxmox.network.bridge, "vnet1"));
        assert(n->addressing == CT_ADDRESS_STATIC && str_eq(n->bridge, "vmbr0") && n->vlan == 20 && n->mtu == 1450);
        assert(n->rate == 12.5 && n->firewall && n->ranges[CT_IPV4].last.bytes[3] == 9);
        assert(n->ranges[CT_IPV6].first.prefix == 64 && n->gateways[CT_IPV6].family == 6);
        assert(n->isolate && n->n_accept_from == 2 && n->accept_from[1].family == 6);
        assert(n->n_pod_networks == 1 && str_eq(n->pod_bridges[1], "vnet2") && !n->pod_bridges[2]);
        assert(n->n_pod_vlans == 2 && n->pod_vlans[0].last == 30 && n->pod_vlans[1].first == 40);
}

static void test_proxmox(void) {
        _cleanup_(config_freep) struct config *none = load(""),
                                              *least = load("proxmox: {token-id: \"cri@pve!node\", storage: zfs}"),
                                              *all = load("proxmox:\n"
                                                          "  hosts: [a, \"b:8007\"]\n"
                                                          "  node: pve1\n"
                                                          "  fingerprints: [\"AB:CD\"]\n"
                                                          "  user: cri@pve\n"
                                                          "  password-file: /p\n"
                                                          "  vmid-range: 700-799\n"
                                                          "  storage: s\n"
                                                          "  rootfs-size: 0\n"
                                                          "  template-storage: t\n"
                                                          "  pool: k8s\n"
                                                          "  warm-pool: 50\n"
                                                          "runtime-handlers: {ct: {engine: proxmox}}\n"
                                                          "default-runtime-handler: ct\n");

        assert(!none->proxmox.on);
        assert(least->proxmox.on && str_eq(least->proxmox.hosts[0], "localhost") && !least->proxmox.hosts[1]);
        assert(str_eq(least->proxmox.ca_file, "/etc/pve/pve-root-ca.pem") && !str_empty(least->proxmox.node));
        assert(least->proxmox.vmid_first == 50000 && least->proxmox.vmid_last == 59999);
        assert(least->runtime_handlers.n == 2 && str_eq(least->runtime_handlers.list[1].name, "proxmox"));
        assert(str_eq(all->proxmox.hosts[1], "b:8007") && str_eq(all->proxmox.fingerprints[0], "AB:CD"));
        assert(!all->proxmox.ca_file && all->proxmox.vmid_first == 700 && all->proxmox.vmid_last == 799);
        assert(!least->proxmox.layers.on && str_eq(least->proxmox.rootfs_size, "0.125"));
        assert(str_eq(all->proxmox.rootfs_size, "0") && str_eq(all->proxmox.pool, "k8s"));
        assert(least->proxmox.warm_pool == 0 && all->proxmox.warm_pool == 50);
        assert(all->runtime_handlers.n == 3);
}

static void test_routes(void) {
        _cleanup_(config_freep) struct config *c = load("routes:\n"
                                                        "- {namespace: kube-*, name: x?, handler: lxc}\n"
                                                        "- labels: {a: b, c: d*}\n"
                                                        "  annotations: {e/f: g}\n"
                                                        "  image: docker.io/*\n"
                                                        "  handler: fast\n"
                                                        "runtime-handlers: {fast: {engine: lxc}}\n");
        _cleanup_strbuf_ struct strbuf many = STRBUF(1 << 16);
        const struct route_rule *r = c->routes.list;
        _cleanup_(freep) char *json = config_to_json(c);
        struct config *no = NULL;

        assert(c->routes.n == 2 && str_eq(r[0].pod_namespace, "kube-*") && str_eq(r[0].name, "x?"));
        assert(str_eq(r[0].handler, "lxc") && !r[0].image && r[0].n_labels == 0 && strstr(r[0].where, ":2"));
        assert(r[1].n_labels == 2 && str_eq(r[1].labels[1].key, "c") && str_eq(r[1].labels[1].pattern, "d*"));
        assert(r[1].n_annotations == 1 && str_eq(r[1].image, "docker.io/*") && str_eq(r[1].handler, "fast"));
        assert(strstr(json, "{\"namespace\":\"kube-*\",\"name\":\"x?\",\"handler\":\"lxc\"}"));

        strbuf_puts(&many, "routes:\n");
        for (int i = 0; i < 257; i++)
                strbuf_printf(&many, "- {name: n%d, handler: lxc}\n", i);
        assert(config_load_text("c", many.data, many.len, NULL, &no, &err) == -ERR_INVALID &&
               strstr(err.msg, "more than 256 routes"));
}

static void test_layers(void) {
        _cleanup_(config_freep) struct config *least = load("proxmox: {token-id: t, storage: s, writable-layers: {}}"),
                                              *all = load(
                                                      "proxmox:\n"
                                                      "  token-id: t\n"
                                                      "  storage: s\n"
                                                      "  writable-layers: {storage: z, size: 0.125, max-size: 2}\n"),
                                              *large = load("proxmox: {token-id: t, storage: s, writable-layers: "
                                                            "{size: 300}}"),
                                              *free = load("proxmox: {token-id: t, writable-layers: "
                                                           "{storage: z, size: 0}}");

        assert(least->proxmox.layers.on && str_eq(least->proxmox.storage, "s"));
        assert(str_eq(least->proxmox.rootfs_size, "10") && least->proxmox.layers.size_bytes == 10ULL << 30);
        assert(least->proxmox.layers.max_bytes == 100ULL << 30);
        assert(str_eq(all->proxmox.storage, "z") && str_eq(all->proxmox.rootfs_size, "0.125"));
        assert(all->proxmox.layers.size_bytes == 128 << 20 && all->proxmox.layers.max_bytes == 2ULL << 30);
        assert(large->proxmox.layers.max_bytes == 300ULL << 30);
        assert(str_eq(free->proxmox.storage, "z") && free->proxmox.layers.size_bytes == 0);
}

static void test_handlers(void) {
        _cleanup_(config_freep) struct config *none = load(""),
                                              *own = load("default-runtime-handler: fast\n"
                                                          "runtime-handlers:\n"
                                                          "  fast: {engine: lxc}\n"
                                                          "  lxc:\n"
                                                          "    engine: lxc\n"
                                                          "    privileged-without-host-devices: true\n"
                                                          "    seccomp-profile: /s.json\n");
        _cleanup_(config_freep) struct config *more = load("runtime-handlers: {fast: {engine: lxc}}");
        _cleanup_strbuf_ struct strbuf many = STRBUF(1 << 16);
        struct config *c = NULL;

        assert(none->runtime_handlers.n == 1 && str_eq(none->runtime_handlers.list[0].name, "lxc"));
        assert(str_eq(none->default_runtime_handler, "lxc") && !none->runtime_handlers.list[0].seccomp_profile);
        assert(own->runtime_handlers.n == 2 && str_eq(own->runtime_handlers.list[1].seccomp_profile, "/s.json"));
        assert(own->runtime_handlers.list[1].privileged_without_host_devices);
        assert(!own->runtime_handlers.list[0].privileged_without_host_devices);
        assert(more->runtime_handlers.n == 2 && str_eq(more->runtime_handlers.list[1].name, "lxc"));

        strbuf_puts(&many, "runtime-handlers:\n");
        for (int i = 0; i < 64; i++)
                strbuf_printf(&many, " h%d: {engine: lxc}\n", i);
        (void) config_free(load(strbuf_str(&many)));
        strbuf_puts(&many, " h: {engine: lxc}\n");
        assert(config_load_text("c", many.data, many.len, NULL, &c, &err) == -ERR_INVALID &&
               strstr(err.msg, "more than 64 handlers"));
}

static const struct {
        const char *text, *error; /* the error's beginning */
} bad[] = {
        { "root: relative", "config.yaml:1: root: expected an absolute path, found 'relative'" },
        { "# x\n\nrooot: /a", "config.yaml:3: unknown key 'rooot' (did you mean 'root'?)" },
        { "completely-else: /a", "config.yaml:1: unknown key 'completely-else'" },
        { "root: /a\nroot: /b", "config.yaml:2: key 'root' is given twice, first on line 1" },
        { "root: [/a]", "config.yaml:1: root: expected a value, found a list" },
        { "workers: many", "config.yaml:1: workers: expected a number from 1 to 1024, found 'many'" },
        { "workers: 0", "config.yaml:1: workers: expected a number" },
        { "workers: 99999999999999999999", "config.yaml:1: workers: expected a number" },
        { "pids-limit: -2", "config.yaml:1: pids-limit: expected a number from -1" },
        { "workers:", "config.yaml:1: workers: expected a number" },
        { "log-level: loud", "config.yaml:1: log-level: expected debug, info, warn or error, found 'loud'" },
        { "log-format: xml", "config.yaml:1: log-format: expected text, json or journal" },
        { "cgroup-driver: systemd", "config.yaml:1: cgroup-driver: systemd is not supported yet" },
        { "cgroup-driver: other", "config.yaml:1: cgroup-driver: expected cgroupfs, found 'other'" },
        { "cgroup-parent: /a/../b", "config.yaml:1: cgroup-parent: expected a control group" },
        { "cgroup-parent: /", "config.yaml:1: cgroup-parent: expected a control group" },
        { "max-layer-size: big", "config.yaml:1: max-layer-size: expected bytes" },
        { "max-layer-size: 5", "config.yaml:1: max-layer-size: expected bytes like 512M or 64G, at least 1048576" },
        { "cni-bin-dir: /a:b", "config.yaml:1: cni-bin-dir: expected an absolute path, found 'b'" },
        { "cni-bin-dir: \"\"", "config.yaml:1: cni-bin-dir: expected at least one folder" },
        { "cni-bin-dir: [/a, '/b:c']", "config.yaml:1: cni-bin-dir: expected a list of values without ':'" },
        { "pinned-images: [a, '']", "config.yaml:1: pinned-images: expected a list of values without ','" },
        { "pinned-images: 'a,,b'", "config.yaml:1: pinned-images: an entry is empty" },
        { "pinned-images: {a: b}", "config.yaml:1: pinned-images: expected a value, found a mapping" },
        { "root: /x\nstate: /x", "root and state are the same folder" },
        { "streaming-address: 0.0.0.0", "streaming-address: on 0.0.0.0, which others can reach" },
        { "streaming-address: \"::\"", "streaming-address: on ::, which others can reach" },
        { "streaming-tls-cert: /c", "streaming-tls-cert and streaming-tls-key belong together: streaming-tls-key" },
        { "streaming-tls-key: /k", "streaming-tls-cert and streaming-tls-key belong together: streaming-tls-cert" },
        { "streaming-tls-key: k", "config.yaml:1: streaming-tls-key: expected an absolute path" },
        { "registries: yes", "config.yaml:1: registries: expected a list, found a value" },
        { "registries: [1]", "config.yaml:1: registries[0]: expected a mapping" },
        { "registries:\n - insecure: true", "config.yaml:2: registries[0]: host is missing" },
        { "registries:\n - host: a\n   insecure: maybe",
          "config.yaml:3: registries[0].insecure: expected true or false, found 'maybe'" },
        { "registries:\n - host: a\n - host: b c", "config.yaml:3: registries[1].host: expected host[:port]" },
        { "registries:\n - host: a\n - host: a", "config.yaml:3: registries[1]: host a is configured twice" },
        { "registries:\n - host: a\n   key-file: /k",
          "config.yaml:2: registries[0]: cert-file and key-file belong together" },
        { "registries:\n - host: a\n   cert-file: c",
          "config.yaml:3: registries[0].cert-file: expected an absolute path" },
        { "registries:\n - host: a\n   port: 5", "config.yaml:3: registries[0].port: unknown key" },
        { "registries:\n - host: a\n   mirrors: b", "config.yaml:3: registries[0].mirrors: expected a list" },
        { "registries:\n - host: a\n   mirrors:\n   - http://b",
          "config.yaml:4: registries[0].mirrors[0]: expected host" },
        { "registries:\n - host: a\n   ca-file: x", "config.yaml:3: registries[0].ca-file: expected an absolute path" },
        { "proxmox: [a]", "config.yaml:1: proxmox: expected a mapping with hosts" },
        { "proxmox: {token-id: a@b!c}", "proxmox: storage is missing" },
        { "proxmox: {storage: s}", "proxmox: give either token-id" },
        { "proxmox: {storage: s, token-id: a@b!c, user: a@b}", "proxmox: give either token-id" },
        { "proxmox: {storage: s, user: a@b}", "proxmox: password-file is missing" },
        { "proxmox: {storage: s, token-id: t, ca-file: /a, fingerprints: [b]}", "proxmox: give either ca-file or" },
        { "proxmox:\n storage: s\n hosts: a", "config.yaml:3: proxmox.hosts: expected a list" },
        { "proxmox:\n hosts: []", "config.yaml:2: proxmox.hosts: expected at least one entry" },
        { "proxmox:\n hosts: [[a]]", "config.yaml:2: proxmox.hosts: expected a value" },
        { "proxmox:\n storage: \"a b\"", "config.yaml:2: proxmox.storage: the value holds a blank" },
        { "proxmox:\n storage: \"\"", "config.yaml:2: proxmox.storage: expected 1 to" },
        { "proxmox:\n token-file: x", "config.yaml:2: proxmox.token-file: expected an absolute path" },
        { "proxmox:\n vmid-range: 5", "config.yaml:2: proxmox.vmid-range: expected two numbers" },
        { "proxmox:\n vmid-range: 99-200", "config.yaml:2: proxmox.vmid-range: expected two numbers" },
        { "proxmox:\n vmid-range: 300-200", "config.yaml:2: proxmox.vmid-range: expected two numbers" },
        { "proxmox:\n vmid-range: 300-2000000000", "config.yaml:2: proxmox.vmid-range: expected two numbers" },
        { "proxmox:\n writable-layers: s", "config.yaml:2: proxmox.writable-layers: expected a mapping" },
        { "proxmox:\n writable-layers:\n  sizes: 1",
          "config.yaml:3: proxmox.writable-layers.sizes: unknown key; writable-layers has storage, size and max-size" },
        { "proxmox:\n writable-layers:\n  storage: \"a:b\"",
          "config.yaml:3: proxmox.writable-layers.storage: expected the name of a storage" },
        { "proxmox:\n writable-layers: {storage: \"\"}",
          "config.yaml:2: proxmox.writable-layers.storage: expected the name" },
        { "proxmox:\n writable-layers: {size: [1]}", "config.yaml:2: proxmox.writable-layers.size: expected a value" },
        { "proxmox:\n writable-layers: {size: 10G}",
          "config.yaml:2: proxmox.writable-layers.size: expected GiB between 0.063 and 1048576" },
        { "proxmox:\n writable-layers: {size: -1}", "config.yaml:2: proxmox.writable-layers.size: expected GiB" },
        { "proxmox:\n writable-layers: {size: \"\"}", "config.yaml:2: proxmox.writable-layers.size: expected GiB" },
        { "proxmox:\n writable-layers: {size: 1.}", "config.yaml:2: proxmox.writable-layers.size: expected GiB" },
        { "proxmox:\n writable-layers: {size: 1.0001}", "config.yaml:2: proxmox.writable-layers.size: expected GiB" },
        { "proxmox:\n writable-layers: {size: 0.01}", "config.yaml:2: proxmox.writable-layers.size: expected GiB" },
        { "proxmox:\n writable-layers: {size: 99999999999999999999}",
          "config.yaml:2: proxmox.writable-layers.size: expected GiB" },
        { "proxmox:\n writable-layers: {max-size: 0}",
          "config.yaml:2: proxmox.writable-layers.max-size: 0 is no largest size" },
        { "proxmox:\n writable-layers: {size: 5, max-size: 4}",
          "config.yaml:2: proxmox.writable-layers: size is more than max-size" },
        { "proxmox: {token-id: t, writable-layers: {}}", "proxmox: storage is missing" },
        { "proxmox: {token-id: t, storage: s, rootfs-size: 1, writable-layers: {}}",
          "proxmox: give either rootfs-size or writable-layers" },
        { "proxmox:\n warm-pool: some", "config.yaml:2: proxmox.warm-pool: expected a number from 0 to 64" },
        { "proxmox:\n warm-pool: -1", "config.yaml:2: proxmox.warm-pool: expected a number" },
        { "proxmox:\n warm-pool: 65", "config.yaml:2: proxmox.warm-pool: expected a number" },
        { "proxmox:\n warm-pool: [1]", "config.yaml:2: proxmox.warm-pool: expected a value" },
        { "proxmox: {storage: s, token-id: t, network: {bridge: vmbr0, address: dhcp}, warm-pool: 1}",
          "proxmox: warm-pool is of no use with network" },
        { "proxmox: {storage: s, token-id: t, vmid-range: 500-509, warm-pool: 6}",
          "proxmox: warm-pool takes more than half" },
        { "proxmox:\n nodes: a", "config.yaml:2: proxmox.nodes: unknown key; proxmox has hosts" },
        { "proxmox:\n network: a", "config.yaml:2: proxmox.network: expected a mapping" },
        { "proxmox:\n network: {x: 1}", "config.yaml:2: proxmox.network.x: unknown key; network has bridge" },
        { "proxmox:\n network: {bridge: \"a,b\"}", "config.yaml:2: proxmox.network.bridge: expected the name" },
        { "proxmox:\n network: {bridge: a0123456789012345}",
          "config.yaml:2: proxmox.network.bridge: expected the name" },
        { "proxmox:\n network: {bridge: [a]}", "config.yaml:2: proxmox.network.bridge: expected a value" },
        { "proxmox:\n network: {vlan: 0}", "config.yaml:2: proxmox.network.vlan: expected 1 to 4094" },
        { "proxmox:\n network: {vlan: 4095}", "config.yaml:2: proxmox.network.vlan: expected 1 to 4094" },
        { "proxmox:\n network: {mtu: 100}", "config.yaml:2: proxmox.network.mtu: expected 576 to 65535" },
        { "proxmox:\n network: {rate: 0}", "config.yaml:2: proxmox.network.rate: expected megabytes" },
        { "proxmox:\n network: {rate: 1e3}", "config.yaml:2: proxmox.network.rate: expected megabytes" },
        { "proxmox:\n network: {rate: 1.2.3}", "config.yaml:2: proxmox.network.rate: expected megabytes" },
        { "proxmox:\n network: {firewall: 1}", "config.yaml:2: proxmox.network.firewall: expected true or false" },
        { "proxmox:\n network: {address: sdn}",
          "config.yaml:2: proxmox.network.address: for addresses from SDN's IPAM" },
        { "proxmox:\n network: {address: auto}",
          "config.yaml:2: proxmox.network.address: expected cni, dhcp or static" },
        { "proxmox:\n network: {address: dhcp}", "config.yaml:2: proxmox.network: bridge is missing" },
        { "proxmox:\n network: {bridge: vmbr0}", "config.yaml:2: proxmox.network: address is cni" },
        { "proxmox:\n network: {bridge: vmbr0, address: static}",
          "config.yaml:2: proxmox.network: addresses is missing" },
        { "proxmox:\n network: {addresses: 10.0.0.1-10.0.0.9}",
          "config.yaml:2: proxmox.network.addresses: expected first and last" },
        { "proxmox:\n network: {addresses: 10.0.0.9-10.0.0.1/24}",
          "config.yaml:2: proxmox.network.addresses: expected first" },
        { "proxmox:\n network: {addresses: 10.0.0.1-10.0.1.1/24}",
          "config.yaml:2: proxmox.network.addresses: expected first" },
        { "proxmox:\n network: {addresses: [10.0.0.1-10.0.0.2/24, 10.0.0.5-10.0.0.6/24]}",
          "config.yaml:2: proxmox.network.addresses: there is room for one range of IPv4" },
        { "proxmox:\n network: {bridge: a, address: dhcp, addresses: 10.0.0.1-10.0.0.2/24}",
          "config.yaml:2: proxmox.network: addresses is for address: static" },
        { "proxmox:\n network: {gateways: [10.0.0.1, 10.0.0.2]}",
          "config.yaml:2: proxmox.network.gateways: there is room for one" },
        { "proxmox:\n network: {gateways: 10.0.0.1/24}",
          "config.yaml:2: proxmox.network.gateways: expected an address" },
        { "proxmox:\n network: {bridge: a, address: static, addresses: 10.0.0.1-10.0.0.2/24, gateways: 10.0.1.1}",
          "config.yaml:2: proxmox.network: the gateway of IPv4 is not in the network" },
        { "proxmox:\n network: {bridge: a, address: dhcp, isolate-namespaces: true}",
          "config.yaml:2: proxmox.network: isolate-namespaces is done by Proxmox' firewall" },
        { "proxmox:\n network: {bridge: a, address: dhcp, firewall: true, isolate-namespaces: true}",
          "config.yaml:2: proxmox.network: isolate-namespaces needs accept-from" },
        { "proxmox:\n network: {bridge: a, address: dhcp, accept-from: 10.0.0.0/8}",
          "config.yaml:2: proxmox.network: accept-from is for isolate-namespaces" },
        { "proxmox:\n network: {accept-from: 10.0.0.0}",
          "config.yaml:2: proxmox.network.accept-from: expected a network" },
        { "proxmox:\n network: {pods-may-choose: [a]}",
          "config.yaml:2: proxmox.network.pods-may-choose: expected a mapping" },
        { "proxmox:\n network: {pods-may-choose: {mtu: 9}}",
          "config.yaml:2: proxmox.network.pods-may-choose.mtu: unknown key" },
        { "proxmox:\n network: {pods-may-choose: {addresses: x}}",
          "config.yaml:2: proxmox.network.pods-may-choose.addresses: expected a network" },
        { "proxmox:\n network: {pods-may-choose: {bridges: [\"a b\"]}}",
          "config.yaml:2: proxmox.network.pods-may-choose.bridges: expected the name" },
        { "proxmox:\n network: {pods-may-choose: {vlans: [20-10]}}",
          "config.yaml:2: proxmox.network.pods-may-choose.vlans: expected 20 to 4094" },
        { "proxmox:\n network: {pods-may-choose: {vlans: [x]}}",
          "config.yaml:2: proxmox.network.pods-may-choose.vlans: expected 1 to 4094" },
        { "routes: a", "config.yaml:1: routes: expected a list" },
        { "routes: [a]", "config.yaml:1: routes[0]: expected a mapping" },
        { "routes: [{namespace: a}]", "config.yaml:1: routes[0]: handler is missing" },
        { "routes:\n- handler: no", "routes[0] (config.yaml:2): handler 'no' is not among the runtime-handlers" },
        { "routes:\n- handler: [a]", "config.yaml:2: routes[0].handler: expected a value" },
        { "routes:\n- handler: lxc\n  ns: a", "config.yaml:3: routes[0].ns: unknown key; a route has handler" },
        { "routes:\n- handler: lxc\n  namespace: \"\"", "config.yaml:3: routes[0].namespace: expected a pattern" },
        { "routes:\n- handler: lxc\n  labels: a", "config.yaml:3: routes[0].labels: expected a mapping" },
        { "routes:\n- handler: lxc\n  labels: {}", "config.yaml:3: routes[0].labels: it is empty" },
        { "routes:\n- handler: lxc\n  labels:\n   x: [b]", "config.yaml:4: routes[0].labels.x: expected a value" },
        { "routes:\n- handler: lxc\n- namespace: a\n  handler: lxc", "config.yaml:3: routes[1]: no pod gets here" },
        { "runtime-handlers: {ct: {engine: proxmox}}", "runtime-handlers.ct: engine proxmox needs the key proxmox" },
        { "runtime-handlers: [a]", "config.yaml:1: runtime-handlers: expected a mapping like {fast" },
        { "runtime-handlers: a", "config.yaml:1: runtime-handlers: expected a mapping like" },
        { "runtime-handlers:\n a: lxc", "config.yaml:2: runtime-handlers.a: expected a mapping with engine" },
        { "runtime-handlers:\n a: {}", "config.yaml:2: runtime-handlers.a: engine is missing; there is: lxc" },
        { "runtime-handlers:\n a: {engine: crux}",
          "config.yaml:2: runtime-handlers.a.engine: no engine 'crux'; there is: lxc" },
        { "runtime-handlers:\n a: {engine: lxc}\n b: {engine: lxc}\n a: {engine: lxc}",
          "config.yaml:4: key 'a' is given twice, first on line 2" },
        { "runtime-handlers:\n A: {engine: lxc}", "config.yaml:2: runtime-handlers.A: a handler's name has" },
        { "runtime-handlers:\n a-: {engine: lxc}", "config.yaml:2: runtime-handlers.a-: a handler's name has" },
        { "runtime-handlers:\n \"\": {engine: lxc}", "config.yaml:2: runtime-handlers.: a handler's name has" },
        { "runtime-handlers:\n a0123456789012345678901234567890123456789012345678901234567890123: {engine: lxc}",
          "config.yaml:2: runtime-handlers.a01234" },
        { "runtime-handlers:\n a:\n  engine: lxc\n  runtime: x",
          "config.yaml:4: runtime-handlers.a.runtime: unknown key; a handler has engine" },
        { "runtime-handlers:\n a:\n  engine: [lxc]", "config.yaml:3: runtime-handlers.a.engine: expected a value" },
        { "runtime-handlers: {a: {engine: lxc, privileged-without-host-devices: 1}}",
          "config.yaml:1: runtime-handlers.a.privileged-without-host-devices: expected true or false" },
        { "runtime-handlers: {a: {engine: lxc, seccomp-profile: x.json}}",
          "config.yaml:1: runtime-handlers.a.seccomp-profile: expected an absolute path" },
        { "default-runtime-handler: fast", "default-runtime-handler: 'fast' is not among the runtime-handlers" },
        { "default-runtime-handler: \"\"", "default-runtime-handler: '' is not among the runtime-handlers" },
        { "root: &a /x", "config.yaml:1: anchors are not allowed" },
        { "root: *a", "config.yaml:1: aliases are not allowed" },
        { "root: !!str /a", "config.yaml:1: tags are not allowed" },
        { "root: /a\n---\nroot: /b", "config.yaml:2: more than one document" },
        { "root: \"/a", "config.yaml:" },
        { "\troot: /a", "config.yaml:1: " },
        { "- a", "config.yaml:1: expected \"key: value\" lines, found a list" },
        { "just words", "config.yaml:1: expected \"key: value\" lines, found a value" },
        { "? [a]\n: b", "config.yaml:1: a key must be a plain word" },
        { "root: \"/a\\0b\"", "config.yaml:1: a value holds a NUL" },
        { "registries: [[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]", "config.yaml:1: nested too deeply" },
};

static void test_bad(void) {
        char long_socket[256];

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                struct config *c = NULL;
                int r = config_load_text("config.yaml", bad[i].text, strlen(bad[i].text), NULL, &c, &err);

                if (r != -ERR_INVALID || !str_after(err.msg, bad[i].error)) {
                        fprintf(stderr, "for:\n%s\nexpected: %s\nfound %d: %s\n", bad[i].text, bad[i].error, r,
                                r < 0 ? err.msg : "");
                        abort();
                }
        }
        (void) snprintf(long_socket, sizeof(long_socket), "socket: /%0120d", 1);
        assert(config_load_text("c", long_socket, strlen(long_socket), NULL, &(struct config *){ 0 }, &err) ==
               -ERR_INVALID);
        (void) snprintf(long_socket, sizeof(long_socket), "state: /%0120d", 1);
        assert(config_load_text("c", long_socket, strlen(long_socket), NULL, &(struct config *){ 0 }, &err) ==
               -ERR_INVALID);
}

static void test_limits(void) {
        size_t len = 2 << 20;
        _cleanup_(freep) char *big = malloc(len + 1);
        struct config *c = NULL;

        assert(big);
        memset(big, '#', len);
        big[len] = '\0';
        assert(config_load_text("c", big, len, NULL, &c, &err) == -ERR_EXHAUSTED);
        memset(big, '[', 100000);
        assert(config_load_text("c", big, 100000, NULL, &c, &err) < 0);
        for (size_t i = 0; i < 400000; i += 4)
                memcpy(big + i, "- a\n", 4);
        assert(config_load_text("c", big, 400000, NULL, &c, &err) == -ERR_INVALID &&
               strstr(err.msg, "too many entries"));
        assert(config_load_text("c", "root: \xff\xfe", 8, NULL, &c, &err) < 0);
}

/* The list of @args may end its life before the flags that point into it. */
static int flags_of(struct config_flags *ret, const char *const *args) {
        static char *copy[32];
        int n = 0;

        for (; args[n]; n++)
                copy[n] = (char *) (uintptr_t) args[n];
        copy[n] = NULL;
        return config_parse_flags(n, copy, ret, &err);
}

static void test_flags(void) {
        struct config_flags f;
        struct config *c = NULL;

        assert(flags_of(&f, (const char *const[]){ "d", "--config", "/c", "--root=/r", "--log-level", "warn",
                                                   "--registries", "[{host: x, insecure: true}]", "config", "check",
                                                   NULL }) == 0);
        assert(str_eq(f.file, "/c") && str_eq(f.rest[0], "config") && str_eq(f.rest[1], "check") && !f.rest[2]);
        assert(config_load_text("c", "root: /file\nstate: /st", 22, &f, &c, &err) == 0);
        assert(str_eq(c->root, "/r") && str_eq(c->state, "/st") && c->log_level == LOG_LEVEL_WARN &&
               c->registries.n == 1);
        (void) config_free(c);
        assert(flags_of(&f, (const char *const[]){ "d", "--workers", "x", NULL }) == 0);
        assert(config_load_text("c", "", 0, &f, &c, &err) == -ERR_INVALID &&
               str_after(err.msg, "--workers: expected a number"));
        assert(flags_of(&f, (const char *const[]){ "d", "--rot", "/x", NULL }) == -ERR_INVALID &&
               strstr(err.msg, "--root?"));
        assert(flags_of(&f, (const char *const[]){ "d", "--root", NULL }) == -ERR_INVALID &&
               strstr(err.msg, "needs a value"));
        assert(flags_of(&f, (const char *const[]){ "d", "--log-level", "info", "--log-level", "debug", NULL }) == 0);
        assert(config_load_text("c", "", 0, &f, &c, &err) == 0 && c->log_level == LOG_LEVEL_DEBUG);
        c = config_free(c);
        assert(flags_of(&f, (const char *const[]){ "d", "-x", NULL }) == -ERR_INVALID);
        assert(flags_of(&f, (const char *const[]){ "d", "-h", "--version", "--", "--root", NULL }) == 0);
        assert(f.help && f.version && str_eq(f.rest[0], "--root"));
        assert(flags_of(&f, (const char *const[]){ "d", "--config", "/does/not/exist", NULL }) == 0);
        assert(config_load(&f, &c, &err) == -ERR_INTERNAL && strstr(err.msg, "/does/not/exist"));
}

int main(void) {
        test_defaults();
        test_good();
        test_proxmox();
        test_network();
        test_layers();
        test_handlers();
        test_routes();
        test_bad();
        test_limits();
        test_flags();
        return 0;
}
