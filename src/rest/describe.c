/* SPDX-License-Identifier: Apache-2.0 */
#include "rest/describe.h"

#include "base/str.h"
#include "rest/operations.h"

static const char *const kinds[] = { [REST_NAME] = "name",
                                     [REST_WORD] = "word",
                                     [REST_TEXT] = "text",
                                     [REST_NUMBER] = "number",
                                     [REST_BOOL] = "boolean" };

static json_t *describe_argument(const struct rest_operation *op, const struct rest_arg *a) {
        bool in_query = str_eq(op->method, "GET") || str_eq(op->method, "DELETE");

        return json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", a->name, "in",
                         rest_in_path(op, a->name) ? "path"
                         : in_query                ? "query"
                                                   : "body",
                         "type", kinds[a->kind], "required", a->required, "description", a->help);
}

json_t *rest_describe(void) {
        json_t *list = json_array();

        for (size_t i = 0; i < REST_OPERATIONS_N; i++) {
                const struct rest_operation *op = &rest_operations[i];
                json_t *arguments = json_array();

                for (const struct rest_arg *a = op->args; a->name; a++)
                        (void) json_array_append_new(arguments, describe_argument(op, a));
                (void) json_array_append_new(list,
                                             json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "method", op->method, "path",
                                                       op->path, "verb", op->verb, "description", op->help, "answer",
                                                       op->progress ? "application/x-ndjson" : "application/json",
                                                       "arguments", arguments));
        }
        return json_pack("{s:s, s:o}", "version", "v1", "operations", list);
}
