/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <config.h> /* the build's: SYSCONFDIR, LIBEXECDIR */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "daemon/config-keys.h"
#include "image/rewrite.h"
#include "base/yaml.h"

enum {
        FILE_MAX_BYTES = 1 << 20,
        ARENA_MAX = 32 << 20,
        PATH_LEN_MAX = 1024,
        PATHS_MAX = 32,
        WORDS_MAX = 64,
        WORD_LEN_MAX = 512,
        REGISTRIES_MAX = 256,
        MIRRORS_MAX = 32
};

const struct config_key config_keys[CONFIG_N_KEYS] = {
#define X(key, field, ctype, type, def, min, max, help)                                                                \
        { key, def, help, type, offsetof(struct config, field), min, max },
        CONFIG_KEYS(X)
#undef X
};
static_assert(CONFIG_N_KEYS <= ELEMENTSOF(((struct config_flags *) 0)->values), "config_flags.values is too short");

int config_bad(const struct config_place *p, struct err *err, const char *fmt, ...) {
        char text[512];
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        if (p->line)
                return err_set(err, ERR_INVALID, "%s:%u: %s: %s", p->where, p->line, p->key, text);
        return err_set(err, ERR_INVALID, "%s: %s", p->where, text);
}

const char *config_default_file(void) {
        return SYSCONFDIR "/config.yaml";
}

struct config *config_free(struct config *c) {
        if (c) {
                (void) arena_free(c->arena);
                free(c);
        }
        return NULL;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

int config_check_path(const struct config_place *p, const char *path, struct err *err) {
        if (path[0] != '/')
                return config_bad(p, err, "expected an absolute path, found '%.100s'", path);
        if (strlen(path) > PATH_LEN_MAX)
                return config_bad(p, err, "the path is longer than %d bytes", PATH_LEN_MAX);
        for (const char *s = path; *s; s++)
                if ((unsigned char) *s < ' ')
                        return config_bad(p, err, "the path holds a control character");
        return 0;
}

static int set_paths(struct config *c, const struct config_place *p, const char *text, const char *const **ret,
                     struct err *err) {
        const char **list = arena_array(c->arena, const char *, PATHS_MAX + 1);
        size_t n = 0;
        int r;

        for (const char *s = text; *s;) {
                size_t len = strcspn(s, ":");

                if (n == PATHS_MAX)
                        return config_bad(p, err, "more than %d folders", PATHS_MAX);
                list[n] = arena_strndup(c->arena, s, len);
                if ((r = config_check_path(p, list[n], err)) < 0)
                        return r;
                n++;
                s += len + (s[len] == ':');
        }
        if (n == 0)
                return config_bad(p, err, "expected at least one folder");
        *ret = list;
        return 0;
}

static int set_words(struct config *c, const struct config_place *p, const char *text, const char *const **ret,
                     struct err *err) {
        const char **list = arena_array(c->arena, const char *, WORDS_MAX + 1);
        size_t n = 0;

        for (const char *s = text; *s;) {
                size_t len = strcspn(s, ",");

                if (n == WORDS_MAX)
                        return config_bad(p, err, "more than %d entries", WORDS_MAX);
                if (len == 0 || len > WORD_LEN_MAX)
                        return config_bad(p, err, "an entry is empty, or longer than %d bytes", WORD_LEN_MAX);
                list[n++] = arena_strndup(c->arena, s, len);
                s += len + (s[len] == ',');
        }
        *ret = list;
        return 0;
}

/* A missing leading slash is forgiven: both forms are in use elsewhere. */
static int set_cgroup(struct config *c, const struct config_place *p, const char *text, const char **ret,
                      struct err *err) {
        const char *path = text[0] == '/' ? arena_strdup(c->arena, text) : arena_printf(c->arena, "/%.1024s", text);

        for (const char *s = path; *s; s += strcspn(s, "/")) {
                size_t len = strcspn(++s, "/");

                if (len == 0 || len > 255 || (s[0] == '.' && (len == 1 || (len == 2 && s[1] == '.'))))
                        return config_bad(p, err, "expected a control group like /proxmox-lxcri, found '%.100s'", text);
        }
        *ret = path;
        return config_check_path(p, path, err);
}

static int set_driver(struct config *c, const struct config_place *p, const char *text, const char **ret,
                      struct err *err) {
        if (str_eq(text, "systemd"))
                return config_bad(
                        p, err,
                        "systemd is not supported yet: groups are made as folders (cgroupfs). A kubelet follows "
                        "what the runtime "
                        "says; set its cgroupDriver to cgroupfs where it does not");
        if (!str_eq(text, "cgroupfs"))
                return config_bad(p, err, "expected cgroupfs, found '%.100s'", text);
        *ret = arena_strdup(c->arena, text);
        return 0;
}

static int set_time(const struct config_key *k, const struct config_place *p, const char *text, uint64_t *ret,
                    struct err *err) {
        uint64_t ms;

        if (!str_to_duration(text, &ms) || ms / 1000 < (uint64_t) k->min || ms / 1000 > (uint64_t) k->max)
                return config_bad(p, err, "expected a time of %llds to %llds, like 90s or 1h30m, found '%.100s'",
                                  (long long) k->min, (long long) k->max, text);
        *ret = ms / 1000;
        return 0;
}

static int set_number(const struct config_key *k, const struct config_place *p, const char *text, int64_t *ret,
                      struct err *err) {
        if (!str_to_i64(text, ret) || *ret < k->min || *ret > k->max)
                return config_bad(p, err, "expected a number from %lld to %lld, found '%.100s'", (long long) k->min,
                                  (long long) k->max, text);
        return 0;
}

int config_set_bool(const struct config_place *p, const char *text, bool *ret, struct err *err) {
        *ret = str_eq(text, "true");
        return *ret || str_eq(text, "false") ? 0 : config_bad(p, err, "expected true or false, found '%.100s'", text);
}

static int set_bytes(const struct config_key *k, const struct config_place *p, const char *text, uint64_t *ret,
                     struct err *err) {
        if (!str_to_bytes(text, ret) || *ret < (uint64_t) k->min || *ret > (uint64_t) k->max)
                return config_bad(p, err, "expected bytes like 512M or 64G, at least %lld, found '%.100s'",
                                  (long long) k->min, text);
        return 0;
}

static int set_socket(struct config *c, const struct config_place *p, const char *text, const char **ret,
                      struct err *err) {
        const char *path = str_after(text, "unix://");

        path = path ? path : text;
        *ret = arena_strdup(c->arena, path);
        if (str_empty(path))
                return 0;
        if (strlen(path) >= sizeof(((struct sockaddr_un *) 0)->sun_path))
                return config_bad(p, err, "the path of a socket must be shorter than %zu bytes",
                                  sizeof(((struct sockaddr_un *) 0)->sun_path));
        return config_check_path(p, path, err);
}

static int set_address(struct config *c, const struct config_place *p, const char *text, const char **ret,
                       struct err *err) {
        unsigned char address[sizeof(struct in6_addr)];

        if (inet_pton(AF_INET, text, address) != 1 && inet_pton(AF_INET6, text, address) != 1)
                return config_bad(p, err, "expected an IP address, found '%.100s'", text);
        *ret = arena_strdup(c->arena, text);
        return 0;
}

/* A key's value from its text: of a flag, of the file, or its default. */
static int set_text(struct config *c, const struct config_key *k, const struct config_place *p, const char *text,
                    struct err *err) {
        void *field = (char *) c + k->offset;

        switch (k->type) {
        case CONFIG_PATH:
                *(const char **) field = arena_strdup(c->arena, text);
                return config_check_path(p, text, err);
        case CONFIG_FILE:
                *(const char **) field = arena_strdup(c->arena, text);
                return *text ? config_check_path(p, text, err) : 0;
        case CONFIG_PATHS:
                return set_paths(c, p, text, field, err);
        case CONFIG_WORDS:
                return set_words(c, p, text, field, err);
        case CONFIG_SOCKET:
                return set_socket(c, p, text, field, err);
        case CONFIG_ADDRESS:
                return set_address(c, p, text, field, err);
        case CONFIG_CGROUP:
                return set_cgroup(c, p, text, field, err);
        case CONFIG_DRIVER:
                return set_driver(c, p, text, field, err);
        case CONFIG_LOG_LEVEL:
                return log_level_from_name(text, field)
                               ? 0
                               : config_bad(p, err, "expected debug, info, warn or error, found '%.100s'", text);
        case CONFIG_LOG_FORMAT:
                return log_format_from_name(text, field)
                               ? 0
                               : config_bad(p, err, "expected text, json or journal, found '%.100s'", text);
        case CONFIG_BYTES:
                return set_bytes(k, p, text, field, err);
        case CONFIG_NUMBER:
                return set_number(k, p, text, field, err);
        case CONFIG_TIME:
                return set_time(k, p, text, field, err);
        case CONFIG_BOOL:
                return config_set_bool(p, text, field, err);
        case CONFIG_NAME:
                *(const char **) field = arena_strdup(c->arena, text);
                return 0;
        case CONFIG_REGISTRIES:
        case CONFIG_HANDLERS:
        case CONFIG_PROXMOX:
        case CONFIG_ROUTES:
                break; /* never text */
        }
        return config_bad(p, err, "expected a list, found '%.100s'", text);
}

/* --- registries -------------------------------------------------------------------------------------------------- */

/* "host", "host:port", "[v6]:port", and for mirrors a "/prefix". */
static bool host_valid(const char *s, bool prefix) {
        static const char host[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";
        size_t len = strspn(s, host);

        if (len == 0 || len > 300 || s[len - 1] == ':')
                return false; /* "http://..." ends in a colon: no scheme here */
        if (s[len] == '\0')
                return true;
        return prefix && s[len] == '/' &&
               strspn(s + len, "abcdefghijklmnopqrstuvwxyz0123456789.-_/") == strlen(s + len);
}

int config_scalar_of(const struct yaml_node *n, const struct config_place *p, struct err *err) {
        return n->kind == YAML_SCALAR ? 0 : config_bad(p, err, "expected a value, found %s", yaml_kind_name(n->kind));
}

static int read_mirrors(struct config *c, const struct yaml_node *n, struct config_place *p, const char *const **ret,
                        struct err *err) {
        const char **list = arena_array(c->arena, const char *, MIRRORS_MAX + 1);
        size_t at = 0, prefix = strlen(p->key);

        if (n->kind != YAML_LIST)
                return config_bad(p, err, "expected a list, found %s", yaml_kind_name(n->kind));
        for (const struct yaml_node *m = n->child; m; m = m->next, at++) {
                p->line = m->line;
                (void) snprintf(p->key + prefix, sizeof(p->key) - prefix, "[%zu]", at);
                if (at == MIRRORS_MAX)
                        return config_bad(p, err, "more than %d mirrors", MIRRORS_MAX);
                if (m->kind != YAML_SCALAR || !host_valid(m->text, true))
                        return config_bad(p, err, "expected host[:port][/prefix], found %s%.100s",
                                          m->kind == YAML_SCALAR ? "" : "not a value", m->text);
                list[at] = m->text;
        }
        *ret = list;
        return 0;
}

/* "pattern: replacement", in the order in which they stand. Whether a pattern is one is found out with the registry. */
static int read_rewrites(struct config *c, const struct yaml_node *n, struct config_place *p,
                         const struct registry_rewrite **ret, struct err *err) {
        struct registry_rewrite *list = arena_array(c->arena, struct registry_rewrite, REWRITES_MAX + 1);
        _cleanup_(rewrites_freep) struct rewrites *tried = NULL;
        struct err why;
        size_t at = 0;

        if (n->kind != YAML_MAP)
                return config_bad(p, err, "expected a mapping of patterns to replacements, found %s",
                                  yaml_kind_name(n->kind));
        for (const struct yaml_node *m = n->child; m; m = m->next, at++) {
                p->line = m->line;
                if (at == REWRITES_MAX)
                        return config_bad(p, err, "more than %d rewrites", REWRITES_MAX);
                if (m->kind != YAML_SCALAR)
                        return config_bad(p, err, "expected a replacement for \"%.100s\", found %s", m->key,
                                          yaml_kind_name(m->kind));
                list[at] = (struct registry_rewrite){ m->key, m->text };
        }
        if (rewrites_new(list, &tried, &why) < 0)
                return config_bad(p, err, "%s", why.msg);
        *ret = list;
        return 0;
}

static int read_registry_key(struct config *c, const struct yaml_node *n, struct config_place *p,
                             struct registry_conf *reg, struct err *err) {
        const struct {
                const char *key, **to;
        } files[] = { { "ca-file", &reg->ca_file }, { "cert-file", &reg->cert_file }, { "key-file", &reg->key_file } };
        int r = str_eq(n->key, "mirrors") || str_eq(n->key, "rewrite") ? 0 : config_scalar_of(n, p, err);

        if (r < 0)
                return r;
        if (str_eq(n->key, "host")) {
                if (!str_eq(n->text, "*") && !host_valid(n->text, false))
                        return config_bad(p, err, "expected host[:port] or \"*\", found '%.100s'", n->text);
                reg->host = n->text;
                return 0;
        }
        if (str_eq(n->key, "mirrors"))
                return read_mirrors(c, n, p, &reg->mirrors, err);
        if (str_eq(n->key, "rewrite"))
                return read_rewrites(c, n, p, &reg->rewrites, err);
        if (str_eq(n->key, "insecure")) {
                return config_set_bool(p, n->text, &reg->insecure, err);
        }
        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                if (str_eq(n->key, files[i].key)) {
                        *files[i].to = n->text;
                        return config_check_path(p, n->text, err);
                }
        return config_bad(
                p, err, "unknown key; an entry has host, mirrors, rewrite, insecure, ca-file, cert-file and key-file");
}

static int read_registry(struct config *c, const struct yaml_node *n, struct config_place *p, struct registry_conf *reg,
                         struct err *err) {
        size_t prefix = strlen(p->key);
        int r;

        if (n->kind != YAML_MAP)
                return config_bad(p, err, "expected a mapping with host, mirrors, insecure, ca-file, found %s",
                                  yaml_kind_name(n->kind));
        for (const struct yaml_node *m = n->child; m; m = m->next) {
                p->line = m->line;
                (void) snprintf(p->key + prefix, sizeof(p->key) - prefix, ".%.64s", m->key);
                if ((r = read_registry_key(c, m, p, reg, err)) < 0)
                        return r;
        }
        p->key[prefix] = '\0';
        p->line = n->line;
        if (!reg->cert_file != !reg->key_file)
                return config_bad(p, err, "cert-file and key-file belong together");
        return reg->host ? 0 : config_bad(p, err, "host is missing");
}

static int read_registries(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err) {
        struct registry_conf *list;
        struct config_place at = *p;
        size_t count = 0;
        int r;

        if (n->kind != YAML_LIST)
                return config_bad(p, err, "expected a list, found %s", yaml_kind_name(n->kind));
        list = arena_array(c->arena, struct registry_conf, REGISTRIES_MAX);
        for (const struct yaml_node *m = n->child; m; m = m->next, count++) {
                at.line = m->line;
                (void) snprintf(at.key, sizeof(at.key), "registries[%zu]", count);
                if (count == REGISTRIES_MAX)
                        return config_bad(&at, err, "more than %d registries", REGISTRIES_MAX);
                if ((r = read_registry(c, m, &at, &list[count], err)) < 0)
                        return r;
                for (size_t i = 0; i < count; i++)
                        if (str_eq(list[i].host, list[count].host))
                                return config_bad(&at, err, "host %s is configured twice", list[count].host);
        }
        c->registries = (struct config_registries){ list, count };
        return 0;
}

/* --- file, flags, defaults --------------------------------------------------------------------------------------- */

/* A list as "a:b" or "a,b". */
static int join_list(struct config *c, const struct yaml_node *n, char separator, const struct config_place *p,
                     const char **ret, struct err *err) {
        const char *text = "";
        size_t count = 0;

        for (const struct yaml_node *m = n->child; m; m = m->next) {
                if (m->kind != YAML_SCALAR || str_empty(m->text) || strchr(m->text, separator) ||
                    strlen(m->text) > PATH_LEN_MAX)
                        return config_bad(p, err, "expected a list of values without '%c', none of them empty",
                                          separator);
                if (count++ == WORDS_MAX)
                        return config_bad(p, err, "more than %d entries", WORDS_MAX);
                text = arena_printf(c->arena, "%s%s%s", text, *text ? (char[]){ separator, '\0' } : "", m->text);
        }
        *ret = text;
        return 0;
}

/* Keys that are more than a value or a list of them. */
static bool is_tree(const struct config_key *k) {
        return k->type == CONFIG_REGISTRIES || k->type == CONFIG_HANDLERS || k->type == CONFIG_PROXMOX ||
               k->type == CONFIG_ROUTES;
}

static int read_tree(struct config *c, const struct config_key *k, const struct yaml_node *n,
                     const struct config_place *p, struct err *err) {
        return k->type == CONFIG_HANDLERS  ? config_read_handlers(c, n, p, err)
               : k->type == CONFIG_PROXMOX ? config_read_proxmox(c, n, p, err)
               : k->type == CONFIG_ROUTES  ? config_read_routes(c, n, p, err)
                                           : read_registries(c, n, p, err);
}

static int set_node(struct config *c, const struct config_key *k, const struct yaml_node *n,
                    const struct config_place *p, struct err *err) {
        const char *text = n->text;
        int r;

        if (is_tree(k))
                return read_tree(c, k, n, p, err);
        if (n->kind == YAML_LIST && (k->type == CONFIG_PATHS || k->type == CONFIG_WORDS))
                r = join_list(c, n, k->type == CONFIG_PATHS ? ':' : ',', p, &text, err);
        else
                r = config_scalar_of(n, p, err);
        return r < 0 ? r : set_text(c, k, p, text, err);
}

static int set_flag(struct config *c, const struct config_key *k, const char *text, struct err *err) {
        struct config_place p = { .where = arena_printf(c->arena, "--%s", k->name) };
        struct yaml_node *n;
        int r;

        if (!is_tree(k))
                return set_text(c, k, &p, text, err);
        r = yaml_read(p.where, text, strlen(text), c->arena, &n, err);
        if (r < 0)
                return r;
        if (!n)
                return config_bad(&p, err,
                                  k->type == CONFIG_HANDLERS ? "expected a mapping like {fast: {engine: lxc}}"
                                  : k->type == CONFIG_PROXMOX
                                          ? "expected a mapping like {token-id: \"cri@pve!node\", storage: local-lvm}"
                                  : k->type == CONFIG_ROUTES
                                          ? "expected a list like [{namespace: kube-system, handler: lxc}]"
                                          : "expected a list like [{host: registry.example, insecure: true}]");
        p.line = n->line;
        (void) snprintf(p.key, sizeof(p.key), "%s", k->name);
        return read_tree(c, k, n, &p, err);
}

static bool is_loopback(const char *address) {
        struct in6_addr v6;

        return str_after(address, "127.") != NULL ||
               (inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6));
}

static int settle_streaming(const struct config *c, struct err *err) {
        bool cert = !str_empty(c->streaming_tls_cert), key = !str_empty(c->streaming_tls_key);

        if (cert != key)
                return err_set(err, ERR_INVALID,
                               "streaming-tls-cert and streaming-tls-key belong together: %s is missing",
                               cert ? "streaming-tls-key" : "streaming-tls-cert");
        if (!cert && !is_loopback(c->streaming_address))
                return err_set(err, ERR_INVALID,
                               "streaming-address: on %s, which others can reach, exec and attach need TLS: set "
                               "streaming-tls-cert and streaming-tls-key, or use 127.0.0.1",
                               c->streaming_address);
        return 0;
}

static int settle_snapshotter(const struct config *c, struct err *err) {
        if (!snapshotter_is_known(c->snapshotter))
                return err_set(err, ERR_INVALID, "snapshotter: '%.64s': it is auto, %s", c->snapshotter,
                               SNAPSHOTTER_NAMES);
        if (!snapshotter_idmap_is_known(c->idmap))
                return err_set(err, ERR_INVALID, "idmap: '%.64s': it is %s", c->idmap, SNAPSHOTTER_IDMAP_NAMES);
        return 0;
}

static int settle_oci_engine(const struct config *c, struct err *err) {
        if (!str_eq(c->oci_engine, "lxc") && !str_eq(c->oci_engine, "crun") && !str_eq(c->oci_engine, "proxmox"))
                return err_set(err, ERR_INVALID, "oci-engine: '%.64s': it is lxc, crun or proxmox", c->oci_engine);
        return 0;
}

/* What holds between keys. */
static int settle(struct config *c, struct err *err) {
        int r;

        if (str_empty(c->socket)) {
                c->socket = arena_printf(c->arena, "%s/proxmox-lxcri.sock", c->state);
                if (strlen(c->socket) >= sizeof(((struct sockaddr_un *) 0)->sun_path))
                        return err_set(err, ERR_INVALID,
                                       "state: the path is too long for the socket in it; give a shorter --socket");
        }
        if (str_empty(c->api_socket)) /* no longer than the other one */
                c->api_socket = arena_printf(c->arena, "%s/api.sock", c->state);
        if (str_eq(c->api_socket, c->socket))
                return err_set(err, ERR_INVALID, "socket and api-socket are the same (%s)", c->socket);
        if (str_eq(c->root, c->state))
                return err_set(err, ERR_INVALID,
                               "root and state are the same folder (%s): state must not outlive a reboot", c->root);
        if (c->image_gc_high_threshold < 100 && c->image_gc_low_threshold >= c->image_gc_high_threshold)
                return err_set(err, ERR_INVALID, "image-gc-low-threshold is not below image-gc-high-threshold");
        r = config_settle_proxmox(c, err);
        if (r == 0)
                r = config_settle_handlers(c, err);
        if (r == 0)
                r = config_settle_routes(c, err);
        if (r == 0)
                r = settle_oci_engine(c, err);
        if (r == 0)
                r = settle_snapshotter(c, err);
        return r < 0 ? r : settle_streaming(c, err);
}

static int load_tree(struct config *c, const char *name, const struct yaml_node *root, bool seen[CONFIG_N_KEYS],
                     struct err *err) {
        int r;

        if (root && root->kind != YAML_MAP)
                return err_set(err, ERR_INVALID, "%s:%u: expected \"key: value\" lines, found %s", name, root->line,
                               yaml_kind_name(root->kind));
        for (const struct yaml_node *n = root ? root->child : NULL; n; n = n->next) {
                const struct config_key *k = config_find_key(n->key);
                struct config_place p = { .where = name, .line = n->line };

                if (!k) {
                        const char *near = config_nearest_key(n->key);

                        return err_set(err, ERR_INVALID, "%s:%u: unknown key '%.64s'%s%s%s", name, n->line, n->key,
                                       near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
                }
                (void) snprintf(p.key, sizeof(p.key), "%s", k->name);
                if ((r = set_node(c, k, n, &p, err)) < 0)
                        return r;
                seen[k - config_keys] = true;
        }
        return 0;
}

int config_load_text(const char *name, const char *text, size_t len, const struct config_flags *flags,
                     struct config **ret, struct err *err) {
        _cleanup_(config_freep) struct config *c = xnew(struct config);
        bool seen[CONFIG_N_KEYS] = { false };
        struct yaml_node *root;
        int r;

        c->arena = arena_new(ARENA_MAX);
        if ((r = yaml_read(name, text, len, c->arena, &root, err)) < 0 || (r = load_tree(c, name, root, seen, err)) < 0)
                return r;
        for (size_t i = 0; i < CONFIG_N_KEYS; i++) {
                const struct config_key *k = &config_keys[i];

                r = 0;
                if (flags && flags->values[i])
                        r = set_flag(c, k, flags->values[i], err);
                else if (!seen[i] && !is_tree(k))
                        r = set_flag(c, k, k->def, err);
                if (r < 0)
                        return r;
        }
        if ((r = settle(c, err)) < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

int config_load(const struct config_flags *flags, struct config **ret, struct err *err) {
        const char *file = flags && flags->file ? flags->file : config_default_file();
        _cleanup_(freep) char *text = NULL;
        size_t len = 0;
        int r = fs_read_file(AT_FDCWD, file, FILE_MAX_BYTES, &text, &len, err);

        if (r < 0 && !(flags && flags->file) && err->sys_errno == ENOENT)
                return config_load_text(file, "", 0, flags, ret, err);
        if (r < 0)
                return err_wrap(err, "read the configuration");
        return config_load_text(file, text, len, flags, ret, err);
}
