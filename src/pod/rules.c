/* SPDX-License-Identifier: Apache-2.0 */
/* rules - checks of pod and container configurations. */
#include "pod/rules.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"

enum { NAME_MAX_LEN = 1024, HOSTNAME_MAX = 64, PATH_MAX_LEN = 4095, MAX_PORTS = 4096, MAX_CONTAINER_ITEMS = 4096 };

bool quantity_parse(const char *s, int64_t *ret) {
        static const struct {
                const char *suffix;
                double factor;
        } suffixes[] = { { "", 1 },        { "m", 1e-3 },       { "k", 1e3 },           { "M", 1e6 },
                         { "G", 1e9 },     { "T", 1e12 },       { "P", 1e15 },          { "E", 1e18 },
                         { "Ki", 1024.0 }, { "Mi", 1048576.0 }, { "Gi", 1073741824.0 }, { "Ti", 1099511627776.0 },
                         { "Pi", 0x1p50 }, { "Ei", 0x1p60 } };
        size_t digits = strspn(s, "0123456789.");
        char *end;
        double v;

        /* strtod() knows more forms (hex, inf, signs) than a quantity may have. */
        if (!isdigit((unsigned char) s[0]) || digits > 30 || s[1] == 'x' || s[1] == 'X')
                return false;
        v = strtod(s, &end);
        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
                if (str_eq(end, suffixes[i].suffix)) {
                        v = ceil(v * suffixes[i].factor);
                        if (!(v >= 0 && v < 9.2e18))
                                return false;
                        *ret = (int64_t) v;
                        return true;
                }
        return false;
}

const char *path_clean(struct arena *arena, const char *path) {
        char *out = arena_xalloc(arena, strlen(path) + 2, 1), *to = out;

        if (*path != '/')
                return NULL;
        while (*path) {
                size_t n;

                path += strspn(path, "/");
                n = strcspn(path, "/");
                if (n == 2 && memcmp(path, "..", 2) == 0) {
                        while (to > out && *--to != '/')
                                ;
                } else if (n > 0 && !(n == 1 && *path == '.')) {
                        *to++ = '/';
                        memcpy(to, path, n);
                        to += n;
                }
                path += n;
        }
        if (to == out)
                *to++ = '/';
        *to = '\0';
        return out;
}

static int check_name(const char *what, const char *s, struct err *err) {
        if (str_empty(s))
                return err_set(err, ERR_INVALID, "%s is missing", what);
        if (strlen(s) > NAME_MAX_LEN)
                return err_set(err, ERR_INVALID, "%s is longer than %d bytes", what, NAME_MAX_LEN);
        return 0;
}

static int check_metadata(const CRI(PodSandboxConfig) * config, struct err *err) {
        const CRI(PodSandboxMetadata) *m = config->metadata;
        int r;

        if (!m)
                return err_set(err, ERR_INVALID, "config.metadata is missing");
        r = check_name("config.metadata.name", m->name, err);
        if (r == 0)
                r = check_name("config.metadata.namespace", m->namespace_, err);
        if (r == 0)
                r = check_name("config.metadata.uid", m->uid, err);
        return r;
}

static int check_hostname(const char *s, struct err *err) {
        if (strlen(s) > HOSTNAME_MAX)
                return err_set(err, ERR_INVALID, "hostname \"%.80s\" is longer than %d bytes", s, HOSTNAME_MAX);
        for (; *s; s++)
                if (!isalnum((unsigned char) *s) && *s != '-' && *s != '.' && *s != '_')
                        return err_set(err, ERR_INVALID, "hostname has a character that is not allowed in one");
        return 0;
}

/* --- namespaces --------------------------------------------------------------------------------------------------- */

static bool same_mapping(const CRI(IDMapping) * a, const CRI(IDMapping) * b) {
        return a->container_id == b->container_id && a->host_id == b->host_id && a->length == b->length;
}

/* What kubelet gives: one range, the same for users and groups, root in it, and the host's root not. */
static int check_user_ids(const CRI(UserNamespace) * u, struct id_map *ret, struct err *err) {
        const CRI(IDMapping) * m;

        if (u->n_uids != 1 || u->n_gids != 1)
                return err_set(err, ERR_INVALID,
                               "userns_options must have exactly one mapping of uids and one of gids, not %zu and %zu",
                               u->n_uids, u->n_gids);
        m = u->uids[0];
        if (!same_mapping(m, u->gids[0]))
                return err_set(err, ERR_INVALID, "userns_options: the mappings of uids and gids differ");
        if (m->length == 0)
                return err_set(err, ERR_INVALID, "userns_options: the mapping has no length");
        if (m->container_id != 0)
                return err_set(err, ERR_INVALID, "userns_options: container_id 0 is not mapped");
        if (m->host_id == 0)
                return err_set(err, ERR_INVALID, "userns_options: host_id 0 would make the host's root the pod's");
        if (m->length > UINT32_MAX - m->host_id)
                return err_set(err, ERR_INVALID, "userns_options: host_id %u and length %u go past the last id",
                               m->host_id, m->length);
        *ret = (struct id_map){ .inside = 0, .outside = m->host_id, .length = m->length };
        return 0;
}

static bool is_pod_userns(const CRI(UserNamespace) * u) {
        return u && u->mode == CRI_(NAMESPACE_MODE__POD);
}

/* The kernel lets a user namespace have /proc and /sys only of namespaces that it owns. */
static int check_userns(const CRI(NamespaceOption) * o, struct pod_rules *ret, struct err *err) {
        const CRI(UserNamespace) *u = o->userns_options;

        if (!u || u->mode == CRI_(NAMESPACE_MODE__NODE))
                return 0;
        if (u->mode != CRI_(NAMESPACE_MODE__POD))
                return err_set(err, ERR_INVALID, "userns_options.mode must be POD or NODE");
        if (ret->host_network)
                return err_set(err, ERR_UNIMPLEMENTED,
                               "a pod with a user namespace of its own can't use the host's network (the feature "
                               "user_namespaces_host_network is not offered)");
        if (ret->host_ipc || o->pid == CRI_(NAMESPACE_MODE__NODE))
                return err_set(err, ERR_INVALID,
                               "a pod with a user namespace of its own can't use the host's %s namespace",
                               ret->host_ipc ? "IPC" : "PID");
        ret->own_user = true;
        return check_user_ids(u, &ret->user_ids, err);
}

bool pod_user_ids(const CRI(PodSandboxConfig) * config, struct id_map *ret) {
        const CRI(LinuxSandboxSecurityContext) *sc = config->linux ? config->linux->security_context : NULL;
        const CRI(UserNamespace) *u = sc && sc->namespace_options ? sc->namespace_options->userns_options : NULL;
        struct err err;

        return is_pod_userns(u) && check_user_ids(u, ret, &err) == 0;
}

static int check_same_userns(const CRI(UserNamespace) * u, const CRI(UserNamespace) * of_pod, struct err *err) {
        struct id_map ids, pod_ids;
        int r;

        if (u && u->mode != CRI_(NAMESPACE_MODE__POD) && u->mode != CRI_(NAMESPACE_MODE__NODE))
                return err_set(err, ERR_INVALID, "userns_options.mode must be POD or NODE");
        if (is_pod_userns(u) != is_pod_userns(of_pod))
                return err_set(err, ERR_INVALID, "the container's user namespace differs from its pod's");
        if (!is_pod_userns(u))
                return 0;
        r = check_user_ids(u, &ids, err);
        if (r == 0)
                r = check_user_ids(of_pod, &pod_ids, err);
        return r == 0 && memcmp(&ids, &pod_ids, sizeof(ids)) != 0
                       ? err_set(err, ERR_INVALID, "the ids of the container's user namespace differ from its pod's")
                       : r;
}

static int check_namespaces(const CRI(NamespaceOption) * o, struct pod_rules *ret, struct err *err) {
        if (!o)
                return 0;
        if (o->network != CRI_(NAMESPACE_MODE__POD) && o->network != CRI_(NAMESPACE_MODE__NODE))
                return err_set(err, ERR_INVALID, "namespace_options.network must be POD or NODE");
        if (o->ipc != CRI_(NAMESPACE_MODE__POD) && o->ipc != CRI_(NAMESPACE_MODE__NODE))
                return err_set(err, ERR_INVALID, "namespace_options.ipc must be POD or NODE");
        if (o->pid != CRI_(NAMESPACE_MODE__POD) && o->pid != CRI_(NAMESPACE_MODE__CONTAINER) &&
            o->pid != CRI_(NAMESPACE_MODE__NODE))
                return err_set(err, ERR_INVALID, "namespace_options.pid of a pod must be POD, CONTAINER or NODE");
        ret->host_network = o->network == CRI_(NAMESPACE_MODE__NODE);
        ret->host_ipc = o->ipc == CRI_(NAMESPACE_MODE__NODE);
        ret->shared_pid = o->pid == CRI_(NAMESPACE_MODE__POD);
        ret->host_pid = o->pid == CRI_(NAMESPACE_MODE__NODE);
        return check_userns(o, ret, err);
}

static int check_security(const CRI(LinuxSandboxSecurityContext) * sc, struct pod_rules *ret, struct err *err) {
        if (!sc) {
                ret->shared_pid = true; /* POD is the enum's zero */
                return 0;
        }
        ret->shared_pid = !sc->namespace_options;
        if (sc->run_as_group && !sc->run_as_user)
                return err_set(err, ERR_INVALID, "run_as_group is set without run_as_user");
        ret->privileged = sc->privileged;
        return check_namespaces(sc->namespace_options, ret, err);
}

/* --- sysctls ------------------------------------------------------------------------------------------------------ */

static bool is_ipc_sysctl(const char *key) {
        static const char *const keys[] = { "kernel.msgmax",      "kernel.msgmnb",          "kernel.msgmni",
                                            "kernel.sem",         "kernel.shmall",          "kernel.shmmax",
                                            "kernel.shmmni",      "kernel.shm_rmid_forced", "kernel.auto_msgmni",
                                            "kernel.shm_next_id", "kernel.sem_next_id",     "kernel.msg_next_id" };

        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (str_eq(key, keys[i]))
                        return true;
        return str_after(key, "fs.mqueue.") != NULL;
}

/* Dots for slashes ("net/ipv4/x" is allowed, too); no way out of /proc/sys. */
static const char *sysctl_key(struct arena *arena, const char *key) {
        char *out = arena_strdup(arena, key);
        bool slashes = strcspn(key, "/") < strcspn(key, ".");

        for (char *c = out; *c; c++) {
                if (!isalnum((unsigned char) *c) && !strchr("._-/", *c))
                        return NULL;
                if (slashes && (*c == '/' || *c == '.'))
                        *c = *c == '/' ? '.' : '/';
        }
        return *out && *out != '.' && *out != '/' && !strstr(out, "..") && !strstr(out, "//") &&
                               !str_ends_with(out, ".")
                       ? out
                       : NULL;
}

static int check_sysctls(const CRI(LinuxPodSandboxConfig) * l, struct arena *arena, struct pod_rules *ret,
                         struct err *err) {
        const char **list;

        if (l->n_sysctls > MAX_CONTAINER_ITEMS)
                return err_set(err, ERR_INVALID, "more than %d sysctls", MAX_CONTAINER_ITEMS);
        list = arena_array(arena, const char *, 2 * l->n_sysctls + 1);
        for (size_t i = 0; i < l->n_sysctls; i++) {
                const char *key = sysctl_key(arena, l->sysctls[i]->key);

                if (!key)
                        return err_set(err, ERR_INVALID, "sysctl \"%.128s\" is not a valid name", l->sysctls[i]->key);
                if (str_after(key, "net.")) {
                        if (ret->host_network)
                                return err_set(err, ERR_INVALID,
                                               "sysctl %s can't be set in a pod that uses the host's network", key);
                } else if (is_ipc_sysctl(key)) {
                        if (ret->host_ipc)
                                return err_set(err, ERR_INVALID,
                                               "sysctl %s can't be set in a pod that uses the host's IPC", key);
                } else if (str_eq(key, "kernel.domainname") || str_eq(key, "kernel.hostname")) {
                        if (ret->host_network)
                                return err_set(err, ERR_INVALID,
                                               "sysctl %s can't be set in a pod that uses the host's network", key);
                } else
                        return err_set(err, ERR_INVALID, "sysctl %s belongs to no namespace of the pod", key);
                list[2 * i] = key;
                list[2 * i + 1] = arena_strdup(arena, l->sysctls[i]->value);
        }
        ret->sysctls = list;
        return 0;
}

/* --- network ------------------------------------------------------------------------------------------------------ */

static bool is_address(const char *s) {
        struct in6_addr any;

        return inet_pton(AF_INET, s, &any) == 1 || inet_pton(AF_INET6, s, &any) == 1;
}

static int check_ports(const CRI(PodSandboxConfig) * config, struct arena *arena, struct pod_rules *ret,
                       struct err *err) {
        static const char *const protocols[] = { "tcp", "udp", "sctp" };
        struct cni_port *ports;

        if (config->n_port_mappings > MAX_PORTS)
                return err_set(err, ERR_INVALID, "more than %d port mappings", MAX_PORTS);
        ports = arena_array(arena, struct cni_port, config->n_port_mappings + 1);
        for (size_t i = 0; i < config->n_port_mappings; i++) {
                const CRI(PortMapping) *m = config->port_mappings[i];

                if (m->host_port < 0 || m->host_port > 65535 || m->container_port < 0 || m->container_port > 65535)
                        return err_set(err, ERR_INVALID, "port mapping %zu: a port is out of range", i);
                if ((unsigned) m->protocol >= ELEMENTSOF(protocols))
                        return err_set(err, ERR_INVALID, "port mapping %zu: unknown protocol %d", i, (int) m->protocol);
                if (m->host_port == 0 || ret->host_network)
                        continue;
                if (m->container_port == 0)
                        return err_set(err, ERR_INVALID, "port mapping %zu: container_port is missing", i);
                if (!str_empty(m->host_ip) && !is_address(m->host_ip))
                        return err_set(err, ERR_INVALID, "port mapping %zu: host_ip \"%.64s\" is no address", i,
                                       m->host_ip);
                ports[ret->n_ports++] = (struct cni_port){
                        .protocol = protocols[m->protocol],
                        .container_port = m->container_port,
                        .host_port = m->host_port,
                        .host_ip = m->host_ip,
                };
        }
        ret->ports = ports;
        return 0;
}

static int check_rate(const CRI(PodSandboxConfig) * config, const char *key, int64_t *ret, struct err *err) {
        const char *s = cri_entries_get(config->annotations, config->n_annotations, key);

        /* kubelet's limits for it: 1k to 1P bits/s */
        if (s && (!quantity_parse(s, ret) || *ret < 1000 || *ret > 1000000000000000))
                return err_set(err, ERR_INVALID, "annotation %s: \"%.64s\" is no rate between 1k and 1P", key, s);
        return 0;
}

static int check_dns(const CRI(DNSConfig) * d, struct err *err) {
        char **lists[] = { d->servers, d->searches, d->options };
        size_t counts[] = { d->n_servers, d->n_searches, d->n_options };

        for (size_t k = 0; k < ELEMENTSOF(lists); k++) {
                if (counts[k] > MAX_CONTAINER_ITEMS)
                        return err_set(err, ERR_INVALID, "dns_config has more than %d entries", MAX_CONTAINER_ITEMS);
                for (size_t i = 0; i < counts[k]; i++)
                        if (strpbrk(lists[k][i], " \t\r\n") || strlen(lists[k][i]) > NAME_MAX_LEN)
                                return err_set(err, ERR_INVALID, "dns_config has an entry that is not one word");
        }
        return 0;
}

static int check_log_directory(const char *dir, struct err *err) {
        if (!str_empty(dir) && (*dir != '/' || strlen(dir) > PATH_MAX_LEN / 2))
                return err_set(err, ERR_INVALID, "log_directory must be an absolute path of sane length");
        return 0;
}

static int check_cgroup_parent(const CRI(LinuxPodSandboxConfig) * l, const char *fallback, struct arena *arena,
                               struct pod_rules *ret, struct err *err) {
        const char *given = l && !str_empty(l->cgroup_parent) ? l->cgroup_parent : fallback;

        if (strlen(given) > PATH_MAX_LEN - ID_LEN - 2)
                return err_set(err, ERR_INVALID, "cgroup_parent is too long");
        if (strstr(given, ".."))
                return err_set(err, ERR_INVALID, "cgroup_parent must not contain \"..\"");
        ret->cgroup_parent = path_clean(arena, *given == '/' ? given : arena_printf(arena, "/%s", given));
        return 0;
}

int pod_rules_check(const CRI(PodSandboxConfig) * config, const char *default_cgroup_parent, struct arena *arena,
                    struct pod_rules *ret, struct err *err) {
        static const char *const none[] = { NULL };
        struct pod_rules rules = { .sysctls = none };
        int r;

        if (!config)
                return err_set(err, ERR_INVALID, "config is missing");
        r = check_metadata(config, err);
        if (r == 0)
                r = check_hostname(config->hostname, err);
        if (r == 0)
                r = check_log_directory(config->log_directory, err);
        if (r == 0)
                r = check_security(config->linux ? config->linux->security_context : NULL, &rules, err);
        if (r == 0 && config->linux)
                r = check_sysctls(config->linux, arena, &rules, err);
        if (r == 0)
                r = check_ports(config, arena, &rules, err);
        if (r == 0)
                r = check_rate(config, "kubernetes.io/ingress-bandwidth", &rules.ingress_rate, err);
        if (r == 0)
                r = check_rate(config, "kubernetes.io/egress-bandwidth", &rules.egress_rate, err);
        if (r == 0 && config->dns_config)
                r = check_dns(config->dns_config, err);
        if (r == 0)
                r = check_cgroup_parent(config->linux, default_cgroup_parent, arena, &rules, err);
        if (r == 0)
                *ret = rules;
        return r;
}

/* --- containers --------------------------------------------------------------------------------------------------- */

static bool same_mode(CRI(NamespaceMode) container, bool pod_is_node) {
        return (container == CRI_(NAMESPACE_MODE__NODE)) == pod_is_node;
}

static int check_container_security(const CRI(LinuxContainerSecurityContext) * sc,
                                    const CRI(LinuxSandboxSecurityContext) * pod, struct err *err) {
        const CRI(NamespaceOption) *o = sc->namespace_options, *of_pod = pod ? pod->namespace_options : NULL;

        if (sc->privileged && !(pod && pod->privileged))
                return err_set(err, ERR_INVALID, "a privileged container needs a privileged pod sandbox");
        if (sc->run_as_group && !sc->run_as_user && str_empty(sc->run_as_username))
                return err_set(err, ERR_INVALID, "run_as_group is set without run_as_user or run_as_username");
        if ((unsigned) sc->supplemental_groups_policy > CRI_(SUPPLEMENTAL_GROUPS_POLICY__Strict))
                return err_set(err, ERR_INVALID, "unknown supplemental_groups_policy");
        if (o) {
                if (!same_mode(o->network, of_pod && of_pod->network == CRI_(NAMESPACE_MODE__NODE)))
                        return err_set(err, ERR_INVALID, "the container's network namespace differs from its pod's");
                if (!same_mode(o->ipc, of_pod && of_pod->ipc == CRI_(NAMESPACE_MODE__NODE)))
                        return err_set(err, ERR_INVALID, "the container's IPC namespace differs from its pod's");
                if ((unsigned) o->pid > CRI_(NAMESPACE_MODE__TARGET))
                        return err_set(err, ERR_INVALID, "unknown mode of namespace_options.pid");
        }
        return check_same_userns(o ? o->userns_options : NULL, of_pod ? of_pod->userns_options : NULL, err);
}

/* It has fields that CRI has replaced. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static const CRI(LinuxContainerSecurityContext) no_context = CRI_(LINUX_CONTAINER_SECURITY_CONTEXT__INIT);
#pragma GCC diagnostic pop

int container_rules_check(const CRI(ContainerConfig) * config, const CRI(PodSandboxConfig) * pod, struct err *err) {
        const CRI(LinuxContainerConfig) * l;
        int r;

        if (!config)
                return err_set(err, ERR_INVALID, "config is missing");
        r = check_name("config.metadata.name", config->metadata ? config->metadata->name : NULL, err);
        if (r < 0)
                return r;
        if (!config->image || str_empty(config->image->image))
                return err_set(err, ERR_INVALID, "config.image is missing");
        if (config->n_mounts > MAX_CONTAINER_ITEMS || config->n_devices > MAX_CONTAINER_ITEMS)
                return err_set(err, ERR_INVALID, "more than %d mounts or devices", MAX_CONTAINER_ITEMS);
        l = config->linux;
        return check_container_security(l && l->security_context ? l->security_context : &no_context,
                                        pod->linux ? pod->linux->security_context : NULL, err);
}
