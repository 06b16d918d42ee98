/* SPDX-License-Identifier: Apache-2.0 */
/* admin-route - ExplainRoute: every rule with what it says of a pod. */
#include "cri/admin.h"

#include "base/str.h"
#include "base/strbuf.h"
#include "pod/cri.h"
#include "pod/route.h"
#include "proto/admin.pb-c.h"

enum { CONDITIONS_MAX = 64 * 1024 };

_Static_assert(sizeof(struct cri_entry) == sizeof(Proxmoxlxcri__V1__ExplainRouteRequest__LabelsEntry),
               "map entries share a shape");

static void put(struct strbuf *to, const char *what, const char *key, const char *pattern) {
        if (pattern)
                strbuf_printf(to, "%s%s%s%s%s%s", to->len > 0 ? ", " : "", what, *what ? " " : "", key ?: "",
                              key ? "=" : "", pattern);
}

static char *conditions(const struct route_rule *rule, struct arena *arena) {
        _cleanup_strbuf_ struct strbuf text = STRBUF(CONDITIONS_MAX);

        put(&text, "namespace", NULL, rule->pod_namespace);
        put(&text, "name", NULL, rule->name);
        for (size_t i = 0; i < rule->n_labels; i++)
                put(&text, "label", rule->labels[i].key, rule->labels[i].pattern);
        for (size_t i = 0; i < rule->n_annotations; i++)
                put(&text, "annotation", rule->annotations[i].key, rule->annotations[i].pattern);
        put(&text, "image", NULL, rule->image);
        return arena_strdup(arena, text.len > 0 ? strbuf_str(&text) : "any pod");
}

static Proxmoxlxcri__V1__RouteRule *describe(const struct route_rule *rule, const struct route_pod *pod,
                                             struct arena *arena) {
        Proxmoxlxcri__V1__RouteRule *m = arena_new_of(arena, Proxmoxlxcri__V1__RouteRule);
        const char *mismatch = route_mismatch(rule, pod, arena);

        proxmoxlxcri__v1__route_rule__init(m);
        m->conditions = conditions(rule, arena);
        m->where = (char *) rule->where;
        m->handler = (char *) rule->handler;
        m->mismatch = arena_strdup(arena, mismatch ?: "");
        return m;
}

int admin_explain_route(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                        struct err *err) {
        const Proxmoxlxcri__V1__ExplainRouteRequest *req = (const Proxmoxlxcri__V1__ExplainRouteRequest *) request;
        const struct admin *a = userdata;
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__ExplainRouteResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__ExplainRouteResponse);
        const struct routes *routes = pods_routes(a->pods);
        const struct route_pod pod = {
                .pod_namespace = req->namespace_,
                .name = req->name,
                .image = cri_entries_get(req->annotations, req->n_annotations, ROUTE_IMAGE_ANNOTATION),
                .labels = req->labels,
                .n_labels = req->n_labels,
                .annotations = req->annotations,
                .n_annotations = req->n_annotations,
        };
        const struct route_rule *rule = route_find(routes, &pod);
        const struct pod_handler *handler =
                rule ? pods_handler_named(a->pods, rule->handler) : pods_default_handler(a->pods);

        if (!handler)
                return err_set(err, ERR_INTERNAL, "the handler of a route is not there");
        proxmoxlxcri__v1__explain_route_response__init(res);
        res->handler = (char *) handler->name;
        res->engine = (char *) handler->engine;
        res->default_handler = (char *) pods_default_handler(a->pods)->name;
        res->rules = arena_array(arena, Proxmoxlxcri__V1__RouteRule *, routes->n + 1);
        for (size_t i = 0; i < routes->n; i++)
                res->rules[res->n_rules++] = describe(&routes->list[i], &pod, arena);
        *ret = &res->base;
        return 0;
}
