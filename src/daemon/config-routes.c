/* SPDX-License-Identifier: Apache-2.0 */
/* config-routes - the key routes. */
#include <string.h>
#include "base/str.h"
#include "daemon/config-keys.h"

enum { ROUTES_MAX = 256, ENTRIES_MAX = 32, PATTERN_MAX = 512 };

static int read_pattern(const struct yaml_node *n, const struct config_place *p, const char **ret, struct err *err) {
        int r = config_scalar_of(n, p, err);

        if (r < 0)
                return r;
        if (str_empty(n->text) || strlen(n->text) > PATTERN_MAX)
                return config_bad(p, err, "expected a pattern of 1 to %d bytes, like \"kube-*\"", PATTERN_MAX);
        *ret = n->text;
        return 0;
}

static int read_entries(struct config *c, const struct yaml_node *n, struct config_place *p,
                        const struct route_entry **ret, size_t *ret_n, struct err *err) {
        size_t prefix = strlen(p->key);
        struct route_entry *list;

        if (n->kind != YAML_MAP)
                return config_bad(p, err, "expected a mapping like {tier: \"front*\"}, found %s",
                                  yaml_kind_name(n->kind));
        list = arena_array(c->arena, struct route_entry, ENTRIES_MAX);
        for (const struct yaml_node *m = n->child; m; m = m->next) {
                int r;

                p->line = m->line;
                (void) snprintf(p->key + prefix, sizeof(p->key) - prefix, ".%.64s", m->key);
                if (*ret_n == ENTRIES_MAX)
                        return config_bad(p, err, "more than %d entries", ENTRIES_MAX);
                list[*ret_n].key = m->key;
                r = read_pattern(m, p, &list[*ret_n].pattern, err);
                if (r < 0)
                        return r;
                ++*ret_n;
        }
        p->key[prefix] = '\0';
        *ret = list;
        return *ret_n > 0 ? 0 : config_bad(p, err, "it is empty; leave it out to take any");
}

static int read_route_key(struct config *c, const struct yaml_node *n, struct config_place *p, struct route_rule *rule,
                          struct err *err) {
        int r;

        if (str_eq(n->key, "namespace"))
                return read_pattern(n, p, &rule->pod_namespace, err);
        if (str_eq(n->key, "name"))
                return read_pattern(n, p, &rule->name, err);
        if (str_eq(n->key, "image"))
                return read_pattern(n, p, &rule->image, err);
        if (str_eq(n->key, "labels"))
                return read_entries(c, n, p, &rule->labels, &rule->n_labels, err);
        if (str_eq(n->key, "annotations"))
                return read_entries(c, n, p, &rule->annotations, &rule->n_annotations, err);
        if (!str_eq(n->key, "handler"))
                return config_bad(
                        p, err, "unknown key; a route has handler, and namespace, name, labels, annotations or image");
        r = config_scalar_of(n, p, err);
        rule->handler = n->text;
        return r;
}

static int read_route(struct config *c, const struct yaml_node *n, struct config_place *p, struct route_rule *rule,
                      struct err *err) {
        size_t prefix = strlen(p->key);
        int r;

        if (n->kind != YAML_MAP)
                return config_bad(p, err, "expected a mapping like {namespace: kube-system, handler: lxc}, found %s",
                                  yaml_kind_name(n->kind));
        rule->where =
                p->line > 0 ? arena_printf(c->arena, "%s:%u", p->where, p->line) : arena_strdup(c->arena, p->where);
        for (const struct yaml_node *m = n->child; m; m = m->next) {
                p->line = m->line;
                (void) snprintf(p->key + prefix, sizeof(p->key) - prefix, ".%.40s", m->key);
                r = read_route_key(c, m, p, rule, err);
                if (r < 0)
                        return r;
        }
        p->key[prefix] = '\0';
        p->line = n->line;
        return rule->handler ? 0 : config_bad(p, err, "handler is missing: one of the runtime-handlers");
}

int config_read_routes(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err) {
        struct config_place at = *p;
        struct route_rule *list;
        size_t count = 0;
        int r;

        if (n->kind != YAML_LIST)
                return config_bad(p, err, "expected a list like [{namespace: kube-system, handler: lxc}], found %s",
                                  yaml_kind_name(n->kind));
        list = arena_array(c->arena, struct route_rule, ROUTES_MAX);
        for (const struct yaml_node *m = n->child; m; m = m->next, count++) {
                at.line = m->line;
                (void) snprintf(at.key, sizeof(at.key), "routes[%zu]", count);
                if (count == ROUTES_MAX)
                        return config_bad(&at, err, "more than %d routes", ROUTES_MAX);
                if (count > 0 && route_matches_all(&list[count - 1]))
                        return config_bad(&at, err,
                                          "no pod gets here: the route before it, without conditions, matches all");
                r = read_route(c, m, &at, &list[count], err);
                if (r < 0)
                        return r;
        }
        c->routes = (struct routes){ list, count };
        return 0;
}

int config_settle_routes(const struct config *c, struct err *err) {
        for (size_t i = 0; i < c->routes.n; i++)
                if (!config_find_handler(c, c->routes.list[i].handler))
                        return err_set(err, ERR_INVALID,
                                       "routes[%zu] (%s): handler '%.64s' is not among the runtime-handlers", i,
                                       c->routes.list[i].where, c->routes.list[i].handler);
        return 0;
}
