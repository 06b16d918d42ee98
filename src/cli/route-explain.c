/* SPDX-License-Identifier: Apache-2.0 */
/* route explain - which runtime handler a pod gets that names none, and why. */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "pod/route.h"

enum { ENTRIES_MAX = 256 };

typedef Proxmoxlxcri__V1__ExplainRouteRequest request_t;
typedef Proxmoxlxcri__V1__ExplainRouteRequest__LabelsEntry label_t;
typedef Proxmoxlxcri__V1__ExplainRouteRequest__AnnotationsEntry annotation_t;

static bool split(struct cli *cli, const char *text, const char **ret_key, const char **ret_value) {
        const char *equals = strchr(text, '=');

        if (!equals || equals == text)
                return false;
        *ret_key = arena_strndup(cli->arena, text, (size_t) (equals - text));
        *ret_value = equals + 1;
        return true;
}

static bool add_label(struct cli *cli, const char *key, const char *value, request_t *req) {
        label_t *e = arena_new_of(cli->arena, label_t);

        if (req->n_labels == ENTRIES_MAX)
                return false;
        proxmoxlxcri__v1__explain_route_request__labels_entry__init(e);
        e->key = arena_strdup(cli->arena, key);
        e->value = arena_strdup(cli->arena, value);
        req->labels[req->n_labels++] = e;
        return true;
}

static bool add_annotation(struct cli *cli, const char *key, const char *value, request_t *req) {
        annotation_t *e = arena_new_of(cli->arena, annotation_t);

        if (req->n_annotations == ENTRIES_MAX)
                return false;
        proxmoxlxcri__v1__explain_route_request__annotations_entry__init(e);
        e->key = arena_strdup(cli->arena, key);
        e->value = arena_strdup(cli->arena, value);
        req->annotations[req->n_annotations++] = e;
        return true;
}

/* The lists have the same shape in both messages. */
static void take_pod(const cri_pod *pod, request_t *req) {
        req->namespace_ = pod->metadata->namespace_;
        req->name = pod->metadata->name;
        req->labels = (label_t **) pod->labels;
        req->n_labels = pod->n_labels;
        req->annotations = (annotation_t **) pod->annotations;
        req->n_annotations = pod->n_annotations;
}

/* NULL, or the one that is no KEY=VALUE, or one too many. */
static const char *take_options(struct cli *cli, const struct cli_args *args, request_t *req) {
        const char *text, *key, *value, *image = args_value(args, "image");

        req->labels = arena_array(cli->arena, label_t *, ENTRIES_MAX);
        req->annotations = arena_array(cli->arena, annotation_t *, ENTRIES_MAX);
        req->namespace_ = (char *) (uintptr_t) (args_value(args, "namespace") ?: "default");
        req->name = (char *) (uintptr_t) (args_value(args, "name") ?: "");
        for (size_t it = 0; (text = args_next(args, "label", &it));)
                if (!split(cli, text, &key, &value) || !add_label(cli, key, value, req))
                        return text;
        for (size_t it = 0; (text = args_next(args, "annotation", &it));)
                if (!split(cli, text, &key, &value) || !add_annotation(cli, key, value, req))
                        return text;
        return !image || add_annotation(cli, ROUTE_IMAGE_ANNOTATION, image, req) ? NULL : image;
}

static size_t decided_by(const Proxmoxlxcri__V1__ExplainRouteResponse *res) {
        size_t i = 0;

        while (i < res->n_rules && !str_empty(res->rules[i]->mismatch))
                i++;
        return i;
}

static void print_explanation(struct cli *cli, const Proxmoxlxcri__V1__ExplainRouteResponse *res) {
        size_t fired = decided_by(res);
        struct table t;

        if (fired < res->n_rules)
                printf("%s (engine %s), by route %zu of %s\n", res->handler, res->engine, fired,
                       res->rules[fired]->where);
        else
                printf("%s (engine %s), the default: %s\n", res->handler, res->engine,
                       res->n_rules > 0 ? "no route matches" : "there are no routes");
        if (res->n_rules == 0)
                return;
        table_init(&t, cli->arena, "ROUTE", "IF", "HANDLER", "RESULT", NULL);
        for (size_t i = 0; i < res->n_rules; i++) {
                const Proxmoxlxcri__V1__RouteRule *rule = res->rules[i];

                table_add(&t, arena_printf(cli->arena, "%zu", i), rule->conditions, rule->handler,
                          i == fired  ? "decides"
                          : i > fired ? "not looked at"
                                      : rule->mismatch,
                          NULL);
        }
        table_print(&t, stdout);
        table_done(&t);
}

static int explain(struct cli *cli, const struct cli_args *args) {
        request_t req = PROXMOXLXCRI__V1__EXPLAIN_ROUTE_REQUEST__INIT;
        Proxmoxlxcri__V1__ExplainRouteResponse *res;
        const char *bad;
        cri_pod *pod = NULL;
        struct err err;

        if (args->rest[0] && args->n_set > 0)
                return cli_usage(&verb_route_explain, "give either a pod that is there, or what one would be");
        if (args->rest[0] && cri_find_pod(cli, args->rest[0], &pod, &err) < 0)
                return cli_fail(&err);
        if (pod) {
                take_pod(pod, &req);
        } else if ((bad = take_options(cli, args, &req))) {
                return cli_usage(&verb_route_explain, "expected KEY=VALUE, at most %d of them, found \"%s\"",
                                 ENTRIES_MAX, bad);
        }
        if (cri_explain_route(cli, &req, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json) {
                json_print(json_of_message(&res->base));
                return EXIT_FINE;
        }
        if (pod && !str_empty(pod->runtime_handler))
                printf("%s: the pod names it itself. If it named none:\n", pod->runtime_handler);
        print_explanation(cli, res);
        return EXIT_FINE;
}

static const struct cli_option explain_options[] = {
        { 0, "namespace", "NAMESPACE", "of a pod that is not there (default: \"default\")" },
        { 0, "name", "NAME", "its name" },
        { 'l', "label", "KEY=VALUE", "a label; may be repeated" },
        { 0, "annotation", "KEY=VALUE", "an annotation; may be repeated" },
        { 0, "image", "IMAGE", "its image, as the annotation " ROUTE_IMAGE_ANNOTATION " tells it" },
        { 0 },
};

const struct cli_verb verb_route_explain = {
        .name = "route explain",
        .args = "[POD]",
        .help = "Show which runtime handler a pod gets that names none, and which route decides",
        .description = "Of a pod that is there, by the routes as they are now, or of one that options describe.\n"
                       "With -o json: handler, engine, default_handler and rules, each with conditions, where, handler "
                       "and mismatch.",
        .options = explain_options,
        .fn = explain,
        .max_args = 1,
};
