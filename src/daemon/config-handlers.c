/* SPDX-License-Identifier: Apache-2.0 */
/* config-handlers - the key runtime-handlers. */
#include <string.h>
#include "base/str.h"
#include "daemon/config-keys.h"

enum { HANDLERS_MAX = 64, HANDLERS_BUILT_IN = 2 };

static int read_handler_key(const struct yaml_node *n, const struct config_place *p, struct pod_handler *h,
                            struct err *err) {
        int r = config_scalar_of(n, p, err);

        if (r < 0)
                return r;
        if (str_eq(n->key, "engine")) {
                h->engine = n->text;
                return handler_engine_known(n->text)
                               ? 0
                               : config_bad(p, err, "no engine '%.64s'; there is: %s", n->text, handler_engine_names);
        }
        if (str_eq(n->key, "privileged-without-host-devices"))
                return config_set_bool(p, n->text, &h->privileged_without_host_devices, err);
        if (str_eq(n->key, "seccomp-profile")) {
                h->seccomp_profile = n->text;
                return config_check_path(p, n->text, err);
        }
        return config_bad(p, err,
                          "unknown key; a handler has engine, privileged-without-host-devices and seccomp-profile");
}

static int read_handler(const struct yaml_node *n, struct config_place *p, struct pod_handler *h, struct err *err) {
        size_t prefix = strlen(p->key);
        int r;

        if (!handler_name_valid(n->key))
                return config_bad(p, err,
                                  "a handler's name has lower-case letters, digits and '-', at most 63, as in a "
                                  "RuntimeClass");
        if (n->kind != YAML_MAP)
                return config_bad(p, err, "expected a mapping with engine, found %s", yaml_kind_name(n->kind));
        h->name = n->key;
        for (const struct yaml_node *m = n->child; m; m = m->next) {
                p->line = m->line;
                (void) snprintf(p->key + prefix, sizeof(p->key) - prefix, ".%.40s", m->key);
                r = read_handler_key(m, p, h, err);
                if (r < 0)
                        return r;
        }
        p->key[prefix] = '\0';
        p->line = n->line;
        return h->engine ? 0 : config_bad(p, err, "engine is missing; there is: %s", handler_engine_names);
}

/* Names given twice are refused by the YAML reader. */
int config_read_handlers(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err) {
        struct config_place at = *p;
        struct pod_handler *list;
        size_t count = 0;
        int r;

        if (n->kind != YAML_MAP)
                return config_bad(p, err, "expected a mapping like {fast: {engine: lxc}}, found %s",
                                  yaml_kind_name(n->kind));
        list = arena_array(c->arena, struct pod_handler, HANDLERS_MAX + HANDLERS_BUILT_IN);
        for (const struct yaml_node *m = n->child; m; m = m->next, count++) {
                at.line = m->line;
                (void) snprintf(at.key, sizeof(at.key), "runtime-handlers.%.63s", m->key);
                if (count == HANDLERS_MAX)
                        return config_bad(&at, err, "more than %d handlers", HANDLERS_MAX);
                r = read_handler(m, &at, &list[count], err);
                if (r < 0)
                        return r;
        }
        c->runtime_handlers = (struct config_handlers){ list, count };
        return 0;
}

const struct pod_handler *config_find_handler(const struct config *c, const char *name) {
        for (size_t i = 0; i < c->runtime_handlers.n; i++)
                if (str_eq(c->runtime_handlers.list[i].name, name))
                        return &c->runtime_handlers.list[i];
        return NULL;
}

int config_settle_handlers(struct config *c, struct err *err) {
        struct config_handlers *h = &c->runtime_handlers;

        if (!h->list)
                h->list = arena_array(c->arena, struct pod_handler, HANDLERS_BUILT_IN);
        if (!config_find_handler(c, HANDLER_DEFAULT))
                h->list[h->n++] = (struct pod_handler){ .name = HANDLER_DEFAULT, .engine = HANDLER_ENGINE_LXC };
        if (c->proxmox.on && !config_find_handler(c, HANDLER_ENGINE_PROXMOX))
                h->list[h->n++] =
                        (struct pod_handler){ .name = HANDLER_ENGINE_PROXMOX, .engine = HANDLER_ENGINE_PROXMOX };
        for (size_t i = 0; i < h->n && !c->proxmox.on; i++)
                if (str_eq(h->list[i].engine, HANDLER_ENGINE_PROXMOX))
                        return err_set(err, ERR_INVALID,
                                       "runtime-handlers.%s: engine proxmox needs the key proxmox, which says where "
                                       "Proxmox VE is",
                                       h->list[i].name);
        if (config_find_handler(c, c->default_runtime_handler))
                return 0;
        return err_set(err, ERR_INVALID,
                       "default-runtime-handler: '%.64s' is not among the runtime-handlers; add it there, or use '%s'",
                       c->default_runtime_handler, HANDLER_DEFAULT);
}
