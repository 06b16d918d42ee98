/* SPDX-License-Identifier: Apache-2.0 */
/* rest-request - any bytes as a request: "METHOD PATH\nBODY". What is taken is what a client would send for it again,
 * and what may stand in a path of Proxmox' is no way to another one. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "rest/operations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_values(const struct rest_values *v) {
        for (size_t i = 0; v->op->args[i].name; i++)
                if (v->value[i] && v->op->args[i].kind == REST_NAME)
                        assert(!strpbrk(v->value[i], "/?#% ") && *v->value[i] != '.');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = xstrndup((const char *) data, size), *again = NULL;
        char *body = strchr(text, '\n'), *path = strchr(text, ' ');
        _cleanup_rest_values_ struct rest_values v = { 0 }, w = { 0 };
        struct err err;

        if (!body || !path || path > body)
                return 0;
        *body++ = '\0';
        *path++ = '\0';
        if (rest_match(text, path, &v, &err) < 0)
                return 0;
        check_values(&v);
        again = rest_path(&v);
        assert(rest_match(text, again, &w, &err) == 0 && w.op == v.op);
        for (size_t i = 0; v.op->args[i].name; i++)
                assert(str_eq(v.value[i], w.value[i]));
        if (rest_set_body(&v, body, strlen(body), &err) == 0)
                check_values(&v);
        return 0;
}
