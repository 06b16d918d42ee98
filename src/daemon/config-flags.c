/* SPDX-License-Identifier: Apache-2.0 */
/* config-flags - the command line's side of the table of keys, and the texts made from it. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "daemon/config-keys.h"

const struct config_key *config_find_key(const char *name) {
        for (size_t i = 0; i < CONFIG_N_KEYS; i++)
                if (str_eq(config_keys[i].name, name))
                        return &config_keys[i];
        return NULL;
}

/* Edits (insert, delete, replace) that make one word the other; long words are not compared. */
static unsigned distance(const char *a, const char *b) {
        size_t la = strlen(a), lb = strlen(b);
        unsigned row[64];

        if (la >= ELEMENTSOF(row) || lb >= ELEMENTSOF(row))
                return 99;
        for (size_t j = 0; j <= lb; j++)
                row[j] = (unsigned) j;
        for (size_t i = 1; i <= la; i++) {
                unsigned diagonal = row[0];

                row[0] = (unsigned) i;
                for (size_t j = 1; j <= lb; j++) {
                        unsigned replaced = diagonal + (a[i - 1] != b[j - 1]);

                        diagonal = row[j];
                        row[j] = MIN_OF(replaced, MIN_OF(row[j], row[j - 1]) + 1);
                }
        }
        return row[lb];
}

const char *config_nearest_key(const char *name) {
        const char *best = NULL;
        unsigned least = 4; /* further off it is no typing error */

        for (size_t i = 0; i < CONFIG_N_KEYS; i++) {
                unsigned d = distance(name, config_keys[i].name);

                if (d < least && d < strlen(config_keys[i].name)) {
                        least = d;
                        best = config_keys[i].name;
                }
        }
        return best;
}

static int unknown_flag(const char *name, struct err *err) {
        const char *near = config_nearest_key(name);

        return err_set(err, ERR_INVALID, "unknown flag --%.64s%s%s%s; --help lists them", name,
                       near ? " (did you mean --" : "", near ? near : "", near ? "?)" : "");
}

int config_parse_flags(int argc, char *const *argv, struct config_flags *ret, struct err *err) {
        int i = 1;

        memset(ret, 0, sizeof(*ret));
        for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
                const char *name = argv[i] + 2, *value;
                const struct config_key *k;
                const char **to;
                char key[64];

                if (str_eq(argv[i], "-h") || str_eq(argv[i], "--help")) {
                        ret->help = true;
                        continue;
                }
                if (str_eq(argv[i], "--version")) {
                        ret->version = true;
                        continue;
                }
                if (str_eq(argv[i], "--")) {
                        i++;
                        break;
                }
                if (argv[i][1] != '-')
                        return err_set(err, ERR_INVALID, "unknown flag %.64s; --help lists them", argv[i]);
                value = strchr(name, '=');
                (void) snprintf(key, sizeof(key), "%.*s", value ? (int) MIN_OF(value - name, 63) : 63, name);
                k = config_find_key(key);
                to = str_eq(key, "config") ? &ret->file : k ? &ret->values[k - config_keys] : NULL;
                if (!to)
                        return unknown_flag(key, err);
                /* Given again, the last one counts: wrappers append. */
                if (!value && i + 1 >= argc)
                        return err_set(err, ERR_INVALID, "--%s needs a value", key);
                *to = value ? value + 1 : argv[++i];
        }
        ret->rest = argv + i;
        return 0;
}

/* --- texts ------------------------------------------------------------------------------------------------------- */

static void write_comment(FILE *out, const char *text, const char *prefix) {
        for (const char *line = text; *line;) {
                size_t len = strcspn(line, "\n");

                fprintf(out, "%s%.*s\n", prefix, (int) len, line);
                line += len + (line[len] == '\n');
        }
}

void config_write_default(FILE *out) {
        (void) fputs("# proxmox-lxcrid's configuration. Every key is optional; the values below are the defaults.\n"
                     "# Each key is a flag of the same name as well (--root ...), which wins over this file.\n"
                     "# \"proxmox-lxcrid config check FILE\" checks a file.\n",
                     out);
        for (size_t i = 0; i < CONFIG_N_KEYS; i++) {
                const struct config_key *k = &config_keys[i];

                (void) fputc('\n', out);
                write_comment(out, k->help, "# ");
                fprintf(out, "%s: %s\n", k->name, *k->def ? k->def : "\"\"");
        }
}

void config_write_flags(FILE *out) {
        fprintf(out, "  --%-22s configuration (default %s)\n", "config FILE", config_default_file());
        for (size_t i = 0; i < CONFIG_N_KEYS; i++) {
                const struct config_key *k = &config_keys[i];
                char name[64];

                (void) snprintf(name, sizeof(name), "%s %s", k->name,
                                k->type == CONFIG_PATH || k->type == CONFIG_FILE || k->type == CONFIG_SOCKET ? "PATH"
                                : k->type == CONFIG_NUMBER                                                   ? "N"
                                : k->type == CONFIG_BOOL  ? "true|false"
                                : k->type == CONFIG_BYTES ? "BYTES"
                                : k->type == CONFIG_TIME  ? "TIME"
                                : k->type == CONFIG_PATHS ? "PATH:PATH"
                                : k->type == CONFIG_WORDS ? "WORD,WORD"
                                : k->type == CONFIG_REGISTRIES || k->type == CONFIG_HANDLERS ||
                                                k->type == CONFIG_PROXMOX || k->type == CONFIG_ROUTES
                                        ? "YAML"
                                        : "WORD");
                fprintf(out, "  --%-22s %.*s", name, (int) strcspn(k->help, "\n"), k->help);
                fprintf(out, "%s%s%s\n", *k->def ? " [" : "", k->def, *k->def ? "]" : "");
        }
}

void config_write_docs(FILE *out) {
        (void) fputs("| key and flag | default | what |\n| --- | --- | --- |\n", out);
        for (size_t i = 0; i < CONFIG_N_KEYS; i++)
                fprintf(out, "| `%s` | `%s` | %.*s |\n", config_keys[i].name,
                        *config_keys[i].def ? config_keys[i].def : "\"\"", (int) strcspn(config_keys[i].help, "\n"),
                        config_keys[i].help);
}

static json_t *registries_json(const struct config_registries *r) {
        json_t *list = json_array();

        for (size_t i = 0; i < r->n; i++) {
                const struct registry_rewrite *w = r->list[i].rewrites;
                json_t *mirrors = json_array(), *rewrites = json_object();

                for (; w && w->pattern; w++)
                        (void) json_object_set_new(rewrites, w->pattern, json_string(w->to));
                for (size_t k = 0; r->list[i].mirrors && r->list[i].mirrors[k]; k++)
                        (void) json_array_append_new(mirrors, json_string(r->list[i].mirrors[k]));
                (void) json_array_append_new(list,
                                             json_pack("{s:s s:o s:o s:b s:s? s:s? s:s?}", "host", r->list[i].host,
                                                       "mirrors", mirrors, "rewrite", rewrites, "insecure",
                                                       r->list[i].insecure, "ca-file", r->list[i].ca_file, "cert-file",
                                                       r->list[i].cert_file, "key-file", r->list[i].key_file));
        }
        return list;
}

static json_t *handlers_json(const struct config_handlers *h) {
        json_t *map = json_object();

        for (size_t i = 0; i < h->n; i++)
                (void) json_object_set_new(map, h->list[i].name,
                                           json_pack("{s:s s:b s:s?}", "engine", h->list[i].engine,
                                                     "privileged-without-host-devices",
                                                     h->list[i].privileged_without_host_devices, "seccomp-profile",
                                                     h->list[i].seccomp_profile));
        return map;
}

/* What tells where pods go; names of files with secrets are no secrets. */
static json_t *proxmox_json(const struct config_proxmox *p) {
        if (!p->on)
                return json_object();
        return json_pack("{s:s s:s? s:s? s:s s:s s:s s:s? s:I s:I s:b s:i}", "node", p->node, "token-id", p->token_id,
                         "user", p->user, "storage", p->storage, "rootfs-size", p->rootfs_size, "template-storage",
                         p->template_storage, "pool", p->pool, "vmid-first", (json_int_t) p->vmid_first, "vmid-last",
                         (json_int_t) p->vmid_last, "writable-layers", p->layers.on, "warm-pool", (int) p->warm_pool);
}

static json_t *route_entries_json(const struct route_entry *list, size_t n) {
        json_t *map = n > 0 ? json_object() : NULL;

        for (size_t i = 0; i < n; i++)
                (void) json_object_set_new(map, list[i].key, json_string(list[i].pattern));
        return map;
}

static json_t *routes_json(const struct routes *routes) {
        json_t *list = json_array();

        for (size_t i = 0; i < routes->n; i++) {
                const struct route_rule *r = &routes->list[i];

                (void) json_array_append_new(list, json_pack("{s:s* s:s* s:o* s:o* s:s* s:s}", "namespace",
                                                             r->pod_namespace, "name", r->name, "labels",
                                                             route_entries_json(r->labels, r->n_labels), "annotations",
                                                             route_entries_json(r->annotations, r->n_annotations),
                                                             "image", r->image, "handler", r->handler));
        }
        return list;
}

static json_t *key_json(const struct config *c, const struct config_key *k) {
        const void *field = (const char *) c + k->offset;
        json_t *list;

        switch (k->type) {
        case CONFIG_PATH:
        case CONFIG_FILE:
        case CONFIG_SOCKET:
        case CONFIG_ADDRESS:
        case CONFIG_CGROUP:
        case CONFIG_DRIVER:
        case CONFIG_NAME:
                return json_string(*(const char *const *) field);
        case CONFIG_PATHS:
        case CONFIG_WORDS:
                list = json_array();
                for (const char *const *s = *(const char *const *const *) field; *s; s++)
                        (void) json_array_append_new(list, json_string(*s));
                return list;
        case CONFIG_LOG_LEVEL:
                return json_string(log_level_name(*(const enum log_level *) field));
        case CONFIG_LOG_FORMAT:
                return json_string(log_format_name(*(const enum log_format *) field));
        case CONFIG_BYTES:
        case CONFIG_TIME:
                return json_integer((json_int_t) * (const uint64_t *) field);
        case CONFIG_NUMBER:
                return json_integer(*(const int64_t *) field);
        case CONFIG_BOOL:
                return json_boolean(*(const bool *) field);
        case CONFIG_REGISTRIES:
                return registries_json(field);
        case CONFIG_HANDLERS:
                return handlers_json(field);
        case CONFIG_PROXMOX:
                return proxmox_json(field);
        case CONFIG_ROUTES:
                return routes_json(field);
        }
        return json_null();
}

char *config_to_json(const struct config *c) {
        json_t *o = json_object();
        char *text;

        for (size_t i = 0; i < CONFIG_N_KEYS; i++)
                (void) json_object_set_new(o, config_keys[i].name, key_json(c, &config_keys[i]));
        (void) json_object_set_new(o, "rootDir", json_string(c->root));
        (void) json_object_set_new(o, "stateDir", json_string(c->state));
        text = json_dumps(o, JSON_COMPACT);
        json_decref(o);
        if (!text)
                abort();
        return text;
}

int config_command(char *const *args, const struct config_flags *flags) {
        struct config_flags use = flags ? *flags : (struct config_flags){ 0 };
        _cleanup_(config_freep) struct config *c = NULL;
        struct err err;

        if (args[0] && str_eq(args[0], "default") && !args[1]) {
                config_write_default(stdout);
                return 0;
        }
        if (args[0] && str_eq(args[0], "docs") && !args[1]) {
                config_write_docs(stdout);
                return 0;
        }
        if (args[0] && str_eq(args[0], "check") && (!args[1] || !args[2])) {
                if (args[1])
                        use.file = args[1];
                if (config_load(&use, &c, &err) < 0) {
                        fprintf(stderr, "%s\n", err.msg);
                        return 1;
                }
                printf("%s: fine\n", use.file ? use.file : config_default_file());
                return 0;
        }
        (void) fputs("usage: proxmox-lxcrid config default       print the defaults as a commented file\n"
                     "       proxmox-lxcrid config check [FILE]  check a file\n"
                     "       proxmox-lxcrid config docs          print the table of keys\n",
                     stderr);
        return 2;
}
