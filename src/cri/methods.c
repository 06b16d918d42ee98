/* SPDX-License-Identifier: Apache-2.0 */
/* methods - the table of RPCs. */
#include <assert.h>
#include "base/alloc.h"
#include "cri/service.h"

struct cri *cri_new(const struct cri_args *args) {
        struct cri *c = xnew(struct cri);

        c->args = *args;
        c->events = events_new(args->pods);
        return c;
}

struct cri *cri_free(struct cri *c) {
        if (c)
                c->events = events_free(c->events);
        free(c);
        return NULL;
}

size_t cri_methods(struct cri *c, struct grpc_method *out, size_t max) {
        struct pool *const DEFAULT = NULL, *const PULL = c->args.pull_pool;
        const struct grpc_method table[] = {
#define ROW(service, method, desc, which, is_inline)                                                                   \
        { .path = "/runtime.v1." #service "/" #method,                                                                 \
          .request = CRI_DESC(desc),                                                                                   \
          .unary = cri_handle_##method,                                                                                \
          .pool = (which),                                                                                             \
          .userdata = c,                                                                                               \
          .inline_call = (is_inline) },
                CRI_METHODS(ROW)
#undef ROW
#define ROW(service, method, desc)                                                                                     \
        { .path = "/runtime.v1." #service "/" #method,                                                                 \
          .request = CRI_DESC(desc),                                                                                   \
          .stream = cri_handle_##method,                                                                               \
          .userdata = c },
                        CRI_STREAMS(ROW)
#undef ROW
        };

        assert(max >= ELEMENTSOF(table));
        memcpy(out, table, sizeof(table));
        return ELEMENTSOF(table);
}
