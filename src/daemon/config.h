/* SPDX-License-Identifier: Apache-2.0 */
/* config - the daemon's configuration: one table of keys from which come the YAML reader, the command-line flags,
 * `proxmox-lxcrid config default|check`, the help and the manual's text. A flag wins over the file, the file over the
 * default. Read once at start, immutable afterwards: any thread may read it. Strings live in the config's arena. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/log.h"
#include "image/image.h"
#include "pod/handlers.h"
#include "pod/route.h"
#include "runtime/proxmox/network.h"

enum config_type {
        CONFIG_PATH,       /* const char *, absolute */
        CONFIG_FILE,       /* const char *, absolute, or "": none */
        CONFIG_PATHS,      /* const char *const *, NULL-terminated; "a:b" or a YAML list */
        CONFIG_WORDS,      /* the same without "absolute"; "a,b" or a YAML list; may be empty */
        CONFIG_SOCKET,     /* const char *, absolute, short enough for a unix socket; "" until defaults are settled */
        CONFIG_ADDRESS,    /* const char *, an IP address */
        CONFIG_CGROUP,     /* const char *, absolute after settling */
        CONFIG_DRIVER,     /* const char *, "cgroupfs" */
        CONFIG_LOG_LEVEL,  /* enum log_level */
        CONFIG_LOG_FORMAT, /* enum log_format */
        CONFIG_BYTES,      /* uint64_t */
        CONFIG_NUMBER,     /* int64_t, between min and max */
        CONFIG_TIME,       /* uint64_t, seconds, between min and max; "1h30m" */
        CONFIG_BOOL,       /* bool */
        CONFIG_NAME,       /* const char * */
        CONFIG_REGISTRIES, /* struct config_registries */
        CONFIG_HANDLERS,   /* struct config_handlers */
        CONFIG_PROXMOX,    /* struct config_proxmox */
        CONFIG_ROUTES,     /* struct routes */
};

struct config_registries {
        const struct registry_conf *list;
        size_t n;
};

struct config_handlers {
        struct pod_handler *list; /* the built-in one among them */
        size_t n;
};

/* As in the file, with defaults; NULL: not said, and no default. */
struct config_proxmox {
        bool on; /* is there such a key? */
        const char *const *hosts, *const *fingerprints;
        const char *node, *ca_file;
        const char *token_id, *token_file, *user, *password_file;
        uint32_t vmid_first, vmid_last;
        unsigned warm_pool;
        const char *storage, *rootfs_size, *template_storage, *template_file, *pool;
        struct ct_network_conf network;
        struct config_layers {
                bool on;                        /* else writable layers are on the node */
                const char *storage, *size;     /* size as it stands there */
                uint64_t size_bytes, max_bytes; /* of all of a pod; size 0: no limit */
        } layers;
};

/* Where Podman, Skopeo and CRI-O look, too. */
#define HOST_SIGNATURE_POLICY "/etc/containers/policy.json"

/* X(key, field, C type, enum config_type, default, min, max, help). The first line of a help is its summary. */
#define CONFIG_KEYS(X)                                                                                                 \
        X("root", root, const char *, CONFIG_PATH, "/var/lib/proxmox-lxcri", 0, 0,                                     \
          "Folder for what outlives a reboot: images, snapshots, the store.")                                          \
        X("state", state, const char *, CONFIG_PATH, "/run/proxmox-lxcri", 0, 0,                                       \
          "Folder for what does not: sockets, monitors, exit records. On a tmpfs.\n"                                   \
          "Daemons that run side by side need a root and a state each.")                                               \
        X("socket", socket, const char *, CONFIG_SOCKET, "", 0, 0,                                                     \
          "Unix socket of the CRI services. Empty: proxmox-lxcri.sock in the state folder.")                           \
        X("api-socket", api_socket, const char *, CONFIG_SOCKET, "", 0, 0,                                             \
          "Unix socket of the REST API for operations on Proxmox containers, for root; see proxmox below, without\n"   \
          "which there is none. Empty: api.sock in the state folder.")                                                 \
        X("cni-conf-dir", cni_conf_dir, const char *, CONFIG_PATH, "/etc/cni/net.d", 0, 0,                             \
          "Folder of CNI configurations; the first by name is used, and changes are seen at once.")                    \
        X("cni-bin-dir", cni_bin_dir, const char *const *, CONFIG_PATHS, "/opt/cni/bin:/usr/lib/cni", 0, 0,            \
          "Folders of CNI plug-ins, searched in order; separated by colons, or a list.")                               \
        X("cni-conf-template", cni_conf_template, const char *, CONFIG_FILE, "", 0, 0,                                 \
          "Template of a CNI configuration, for nodes without a network add-on. Empty: none.\n"                        \
          "Once the kubelet tells the node's pod ranges it is filled in and written into cni-conf-dir as\n"            \
          "10-proxmox-lxcri.conflist, unless there is another configuration. Templates for containerd work:\n"         \
          "{{.PodCIDR}}, {{if}} and {{range}} over .PodCIDRRanges and .Routes.")                                       \
        X("log-level", log_level, enum log_level, CONFIG_LOG_LEVEL, "info", 0, 0, "debug, info, warn or error.")       \
        X("log-format", log_format, enum log_format, CONFIG_LOG_FORMAT, "text", 0, 0,                                  \
          "text or json (on standard error), or journal.")                                                             \
        X("keeper-path", keeper_path, const char *, CONFIG_PATH, LIBEXECDIR "/proxmox-lxcri-keeper", 0, 0,             \
          "The keeper: the program that starts and watches containers.")                                               \
        X("init-path", init_path, const char *, CONFIG_PATH, LIBEXECDIR "/proxmox-lxcri-init", 0, 0,                   \
          "The program that sets a container up from inside.")                                                         \
        X("cgroup-parent", cgroup_parent, const char *, CONFIG_CGROUP, "/proxmox-lxcri", 0, 0,                         \
          "Control group for pods that name none, below the root of every hierarchy.")                                 \
        X("cgroup-driver", cgroup_driver, const char *, CONFIG_DRIVER, "cgroupfs", 0, 0,                               \
          "How control groups are made. Only cgroupfs so far; the kubelet is told, and follows.")                      \
        X("max-parallel-layers", max_parallel_layers, int64_t, CONFIG_NUMBER, "4", 1, 64,                              \
          "Layers of one image that are fetched at the same time.")                                                    \
        X("max-layer-size", max_layer_size, uint64_t, CONFIG_BYTES, "64G", 1 << 20, INT64_MAX,                         \
          "Largest layer, unpacked; units k, M, G, T are powers of 1024. Stops archive bombs.")                        \
        X("snapshotter", snapshotter, const char *, CONFIG_NAME, "auto", 0, 0,                                         \
          "How layers and containers' file systems lie on disk: overlay, zfs (datasets and clones), btrfs\n"           \
          "(subvolumes and snapshots), plain (whole copies, which share their blocks where the file system\n"          \
          "can), or auto: overlay where it works, tried at the first start, else what the file system of root\n"       \
          "has. Only to be changed while there are no images and containers.")                                         \
        X("zfs-dataset", zfs_dataset, const char *, CONFIG_NAME, "", 0, 0,                                             \
          "ZFS dataset, \"pool/name\", for snapshotter zfs alone; it is made when it is missing. Empty:\n"             \
          "\"proxmox-lxcri\" below the one that root is on.")                                                          \
        X("container-quota", container_quota, uint64_t, CONFIG_BYTES, "0", 0, INT64_MAX,                               \
          "How much a container may write into its own file system, by snapshotter zfs; with others only 0:\n"         \
          "no limit.")                                                                                                 \
        X("idmap", idmap, const char *, CONFIG_NAME, "auto", 0, 0,                                                     \
          "How files of images get the owners of a pod with a user namespace: mount (idmapped mounts, nothing is\n"    \
          "copied), chown (each container by a copy of its image with other owners), or auto: chown where kernel\n"    \
          "or file system has no idmapped mounts, tried at each start. Containers that are there stay as they are.")   \
        X("keep-layer-blobs", keep_layer_blobs, bool, CONFIG_BOOL, "true", 0, 0,                                       \
          "Keep layers as they came, compressed, beside what was unpacked of them, as containerd does: pushing and\n"  \
          "saving an image need them, and a pull goes on where a killed one stopped. They take about a third more\n"   \
          "disk.")                                                                                                     \
        X("pinned-images", pinned_images, const char *const *, CONFIG_WORDS, "", 0, 0,                                 \
          "Images that the kubelet's garbage collection is to leave: names in full, * and ? allowed.\n"                \
          "A list, or separated by commas, like registry.example/tools/*,docker.io/library/busybox:1.36.\n"            \
          "Whoever asks for the removal of one gets it.")                                                              \
        X("image-gc-high-threshold", image_gc_high_threshold, int64_t, CONFIG_NUMBER, "100", 1, 100,                   \
          "From how many percent of the images' file system in use on images are to go; 100: never, as is right\n"     \
          "where a kubelet does so by its own thresholds. Kept layers' blobs go first, then images that no\n"          \
          "container uses, least recently used first, never pinned ones. When a pull finds the disk full, blobs go\n"  \
          "whatever this says.")                                                                                       \
        X("image-gc-low-threshold", image_gc_low_threshold, int64_t, CONFIG_NUMBER, "80", 0, 99,                       \
          "Down to how many percent.")                                                                                 \
        X("image-minimum-gc-age", image_minimum_gc_age, uint64_t, CONFIG_TIME, "2m", 0, 31536000,                      \
          "How long an image stays at least after its pull.")                                                          \
        X("image-maximum-gc-age", image_maximum_gc_age, uint64_t, CONFIG_TIME, "0s", 0, 31536000,                      \
          "After how long without a container an image goes whatever room there is, like 720h; 0s: never.")            \
        X("image-gc-period", image_gc_period, uint64_t, CONFIG_TIME, "5m", 1, 86400, "How often is looked for that.")  \
        X("workers", workers, int64_t, CONFIG_NUMBER, "32", 1, 1024,                                                   \
          "Requests that are worked on at the same time; further ones wait.")                                          \
        X("pull-workers", pull_workers, int64_t, CONFIG_NUMBER, "8", 1, 256,                                           \
          "Image pulls at the same time; they have threads of their own, so that they delay no pod.")                  \
        X("streaming-address", streaming_address, const char *, CONFIG_ADDRESS, "127.0.0.1", 0, 0,                     \
          "IP address on which exec, attach and port-forward are served.")                                             \
        X("streaming-port", streaming_port, int64_t, CONFIG_NUMBER, "0", 0, 65535,                                     \
          "Port for them. 0: any that is free.")                                                                       \
        X("streaming-tls-cert", streaming_tls_cert, const char *, CONFIG_FILE, "", 0, 0,                               \
          "Certificate (PEM, with those that signed it) to serve them over TLS. Empty: plain HTTP.\n"                  \
          "Needed where streaming-address is not a loopback one. Read again when the file has changed; its names\n"    \
          "must cover the streaming address (127.0.0.1 or ::1 for \"all addresses\").")                                \
        X("streaming-tls-key", streaming_tls_key, const char *, CONFIG_FILE, "", 0, 0,                                 \
          "The certificate's private key (PEM, without a passphrase).")                                                \
        X("pids-limit", pids_limit, int64_t, CONFIG_NUMBER, "-1", -1, 4194304,                                         \
          "Processes a container may have. -1: no limit of its own (the kubelet limits the pod).")                     \
        X("selinux", selinux, bool, CONFIG_BOOL, "true", 0, 0,                                                         \
          "Give pods labels of their own where SELinux is on; needs a policy for containers.\n"                        \
          "With false their SELinux options are ignored.")                                                             \
        X("default-runtime-handler", default_runtime_handler, const char *, CONFIG_NAME, HANDLER_DEFAULT, 0, 0,        \
          "RuntimeClass handler of pods that name none and match no route.")                                           \
        X("runtime-handlers", runtime_handlers, struct config_handlers, CONFIG_HANDLERS, "{}", 0, 0,                   \
          "RuntimeClass handlers, by name; pods that name another are refused. lxc is always there.\n"                 \
          "A pod keeps what its handler said when the pod was made.\n"                                                 \
          "Each entry:\n"                                                                                              \
          "  builder:\n"                                                                                               \
          "    engine: lxc                             # or crun, Debian's program; or proxmox, see there\n"           \
          "    privileged-without-host-devices: false  # true: privileged containers get no devices of the host's\n"   \
          "    seccomp-profile: /etc/builder.json      # RuntimeDefault's, instead of the built-in one")               \
        X("routes", routes, struct routes, CONFIG_ROUTES, "[]", 0, 0,                                                  \
          "Which handler pods get that name none: the first route that matches, else the default one.\n"               \
          "All that a route names must match; '*' is any text, '?' one character. Each entry:\n"                       \
          "  - namespace: kube-*\n"                                                                                    \
          "    name: web-?\n"                                                                                          \
          "    labels: {tier: front*}            # the same for annotations\n"                                         \
          "    image: docker.io/library/*        # of the annotation " ROUTE_IMAGE_ANNOTATION "\n"                     \
          "    handler: proxmox                  # one of the runtime-handlers\n"                                      \
          "\"proxmox-lxcri route explain\" tells which one a pod gets, and why.")                                      \
        X("oci-engine", oci_engine, const char *, CONFIG_NAME, "lxc", 0, 0,                                            \
          "Who makes containers of the OCI command line that names no --engine: lxc, crun or proxmox. Where this\n"    \
          "key stands the routes are asked first, about name (the container's id), annotations (the bundle's) and\n"   \
          "image: the engine of the handler that they give.")                                                          \
        X("proxmox", proxmox, struct config_proxmox, CONFIG_PROXMOX, "{}", 0, 0,                                       \
          "Proxmox VE: with it there is a handler proxmox, whose pods are Proxmox containers of this node.\n"          \
          "  hosts: [localhost]                   # of the cluster, tried in order; \":8006\" may be left out\n"       \
          "  node: pve1                           # this one; left out: the host's name\n"                             \
          "  ca-file: /etc/pve/pve-root-ca.pem    # trusted besides the system's; or instead:\n"                       \
          "  fingerprints: [\"AB:CD:...\"]          # SHA-256 of the hosts' certificates (pvenode cert info)\n"        \
          "  token-id: cri@pve!node               # an API token, its secret in\n"                                     \
          "  token-file: " SYSCONFDIR "/proxmox-token\n"                                                               \
          "  user: cri@pve                        # or a user, the password in password-file\n"                        \
          "  vmid-range: 50000-59999              # numbers that nobody else uses\n"                                   \
          "  storage: local-lvm                   # of the containers' root file systems; no default\n"                \
          "  rootfs-size: 0.125                   # in GiB; 0: a folder, on a storage of that kind\n"                  \
          "  writable-layers:                     # where containers write; left out: on the node\n"                   \
          "    storage: local-zfs                 # left out: as above\n"                                              \
          "    size: 10                           # in GiB, of a pod; 0: as rootfs-size\n"                             \
          "    max-size: 100                      # that pods' annotations may ask for\n"                              \
          "  template-storage: local              # where our template is put\n"                                       \
          "  pool: kubernetes                     # left out: none\n"                                                  \
          "  warm-pool: 0                         # containers made and started ahead, so that pods need not wait\n"   \
          "  network:                             # of Proxmox' own; left out: CNI plug-ins, as with lxc\n"            \
          "    bridge: vmbr0                      # or a vnet of SDN\n"                                                \
          "    vlan: 20                           # left out: none; the next three: as the bridge, no limit, no\n"     \
          "    mtu: 1450\n"                                                                                            \
          "    rate: 12.5                         # megabytes a second, each way\n"                                    \
          "    firewall: true                     # Proxmox' firewall looks at the pods' cards\n"                      \
          "    address: static                    # or dhcp; cni: as if the key network was left out\n"                \
          "    addresses: [10.20.0.100-10.20.0.199/24, \"fd00:20::100-fd00:20::1ff/64\"]  # this node's alone\n"       \
          "    gateways: [10.20.0.1, \"fd00:20::1\"]\n"                                                                \
          "    isolate-namespaces: true           # pods are reached by those of their namespace alone, and\n"         \
          "    accept-from: [10.20.0.0/28]        # by these: at least the nodes, for probes\n"                        \
          "    pods-may-choose:                   # by annotations proxmox-lxcri.io/address and so on\n"               \
          "      addresses: [10.20.0.0/24]        # besides those of addresses\n"                                      \
          "      bridges: [vmbr1]\n"                                                                                   \
          "      vlans: [30, 40-49]")                                                                                  \
        X("registries", registries, struct config_registries, CONFIG_REGISTRIES, "[]", 0, 0,                           \
          "How registries are reached, by the host as it stands in image names (\"*\": all others).\n"                 \
          "Each entry:\n"                                                                                              \
          "  - host: registry.example:5000\n"                                                                          \
          "    mirrors: [mirror.example/prefix]  # tried first, in order\n"                                            \
          "    rewrite:                          # what repositories are called there: the first that matches\n"       \
          "      \"^library/(.*)\": \"hub/$1\"\n"                                                                      \
          "    insecure: false                   # true: plain HTTP is allowed\n"                                      \
          "    ca-file: /etc/ssl/example.pem     # certificates to trust besides the system's\n"                       \
          "    cert-file: /etc/ssl/node.pem      # our own certificate, where the registry wants one, and\n"           \
          "    key-file: /etc/ssl/node.key       # its private key, without a passphrase")                             \
        X("auth-file", auth_file, const char *, CONFIG_FILE, "", 0, 0,                                                 \
          "Credentials of registries, in the form of Podman's auth.json or Docker's config.json, for pulls that\n"     \
          "bring none and for mirrors; whoever may run pods on this node can pull with them. Empty: none.\n"           \
          "\"proxmox-lxcri image login --authfile\" writes it; it is read again at each pull.")                        \
        X("signature-policy", signature_policy, const char *, CONFIG_FILE, "", 0, 0,                                   \
          "Which images may be pulled, signed by whom: a file as containers-policy.json(5) says. Empty: the host's\n"  \
          "" HOST_SIGNATURE_POLICY                                                                                     \
          ", where there is one, else all. It is read at each pull; one that can't be read or\n"                       \
          "obeyed lets no image in. \"proxmox-lxcri image trust\" shows it and tries it.")

struct config {
        struct arena *arena;
#define X(key, field, ctype, type, def, min, max, help) ctype field;
        CONFIG_KEYS(X)
#undef X
};

struct config *config_free(struct config *c); /* NULL ok; returns NULL */
DEFINE_CLEANUP(struct config *, config_free)

/* What the command line said. Borrows argv. */
struct config_flags {
        const char *file; /* --config; NULL: the default file, which may be missing */
        bool help, version;
        const char *values[48]; /* by number of the key; NULL: not given */
        char *const *rest;      /* arguments from the first that is no flag, NULL-terminated */
};
_must_use_ int config_parse_flags(int argc, char *const *argv, struct config_flags *ret, struct err *err);

/* File, flags, defaults, and the checks between keys. @flags may be NULL. Errors name file, line and key. */
_must_use_ int config_load(const struct config_flags *flags, struct config **ret, struct err *err);
/* The same from text; @name stands for the file in errors. */
_must_use_ int config_load_text(const char *name, const char *text, size_t len, const struct config_flags *flags,
                                struct config **ret, struct err *err);

struct pve;
/* A client for the cluster that the configuration names; asks nobody yet. */
_must_use_ int config_open_proxmox(const struct config_proxmox *x, struct pve **ret, struct err *err);

const char *config_default_file(void);
void config_write_default(FILE *out); /* commented YAML; reads back as the defaults */
void config_write_flags(FILE *out);   /* for --help */
void config_write_docs(FILE *out);    /* Markdown table of the keys */
/* The values in force as JSON: Status' verbose "config", which critest reads (stateDir). Caller frees. */
char *config_to_json(const struct config *c);

/* `proxmox-lxcrid config default | check [FILE] | docs`: @args behind "config". The exit status. */
int config_command(char *const *args, const struct config_flags *flags);
