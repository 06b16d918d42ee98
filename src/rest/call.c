/* SPDX-License-Identifier: Apache-2.0 */
#include "rest/call.h"

#include <stdarg.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/operation.h"

enum { LOCK_WAIT_S = 30, LOCK_WAIT_MAX_S = 86400 };

/* Not all operations have it. */
static unsigned lock_wait_ms(const struct rest_call *c) {
        uint64_t s = LOCK_WAIT_S;
        const char *text = NULL;

        for (const struct rest_arg *a = c->values.op->args; a->name; a++)
                if (str_eq(a->name, "lock-wait"))
                        text = rest_get(&c->values, "lock-wait");
        if (text && !str_to_u64(text, &s))
                s = LOCK_WAIT_S;
        return (unsigned) MIN_OF(s, (uint64_t) LOCK_WAIT_MAX_S) * 1000 + 1;
}

struct pve_ct_args rest_ct_args(struct rest_call *c, const struct pve_params *params, const char *storage) {
        return (struct pve_ct_args){ .params = params,
                                     .storage = storage,
                                     .until = &c->until,
                                     .progress = &c->progress,
                                     .lock_wait_ms = lock_wait_ms(c) };
}

int rest_ct_do(struct rest_call *c, const struct owned *t, const struct rest_do *what, struct err *err) {
        struct pve_ct_args args = rest_ct_args(c, what->params, what->storage);
        unsigned warnings = 0;
        int r;

        args.item = what->item;
        r = pve_ct_do(c->pve, &(struct pve_ct){ t->node, t->vmid }, what->action, &args, &warnings, err);
        c->warnings += warnings;
        return r;
}

int rest_read(struct rest_call *c, json_type type, json_t **ret, struct err *err, const char *path, ...) {
        _cleanup_(json_unrefp) json_t *answer = NULL;
        _cleanup_(freep) char *text = NULL;
        struct pve_request req = { .until = &c->until };
        json_t *data;
        va_list ap;
        int r;

        va_start(ap, path);
        req.path = text = xvprintf(path, ap);
        va_end(ap);
        r = pve_call(c->pve, &req, &answer, err);
        if (r < 0)
                return r;
        data = json_object_get(answer, "data");
        if (!data || json_typeof(data) != type)
                return pve_raise(err, PVE_FOREIGN, "GET %s: not the answer that was expected", text);
        *ret = json_incref(data);
        return 0;
}

int rest_change(struct rest_call *c, const char *method, const struct pve_params *params, bool repeatable,
                struct err *err, const char *path, ...) {
        _cleanup_(freep) char *text = NULL;
        struct pve_operation op = { .method = method,
                                    .params = params,
                                    .repeatable = repeatable,
                                    .until = &c->until,
                                    .lock_wait_ms = lock_wait_ms(c) };
        va_list ap;

        va_start(ap, path);
        op.path = text = xvprintf(path, ap);
        va_end(ap);
        return pve_operate(c->pve, &op, NULL, err);
}

void rest_param(struct rest_call *c, struct pve_params *to, const char *name, const char *key) {
        pve_param(to, key, rest_get(&c->values, name));
}

json_t *rest_text(const char *text) {
        json_t *ret = json_string(text);
        _cleanup_(freep) char *plain = NULL;

        if (ret)
                return ret;
        plain = xstrdup(text);
        for (char *p = plain; *p; p++)
                if ((unsigned char) *p >= 0x80)
                        *p = '?';
        return json_string(plain);
}

void rest_put(json_t *o, const char *key, const char *text) {
        (void) json_object_set_new(o, key, rest_text(text));
}
