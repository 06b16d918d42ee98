/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/hub.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "grpc/call.h"

static int compare_paths(const void *a, const void *b) {
        const struct grpc_method *x = a, *y = b;
        return strcmp(x->path, y->path);
}

static void copy_methods(struct hub *h, const struct grpc_method *methods, size_t n) {
        h->methods = xcalloc(n ? n : 1, sizeof(*methods));
        h->n_methods = n;
        for (size_t i = 0; i < n; i++) {
                assert(!methods[i].unary != !methods[i].stream && !(methods[i].stream && methods[i].inline_call));
                h->methods[i] = methods[i];
                h->methods[i].path = xstrdup(methods[i].path);
        }
        if (n)
                qsort(h->methods, n, sizeof(*methods), compare_paths);
}

int hub_new(const struct grpc_server_args *args, struct hub **ret, struct err *err) {
        _cleanup_(hub_unrefp) struct hub *h = xnew(struct hub);

        atomic_init(&h->refs, 1);
        (void) pthread_mutex_init(&h->lock, NULL);
        h->ready_tail = &h->ready;
        h->pool = args->pool;
        h->max.message_bytes = args->max_message_bytes ? args->max_message_bytes : 16u << 20;
        h->max.connections = args->max_connections ? args->max_connections : 256;
        h->max.streams = args->max_streams ? args->max_streams : 1024;
        h->max.header_bytes = args->max_header_bytes ? args->max_header_bytes : 16u << 10;
        h->max.connection_bytes = args->max_connection_bytes ? args->max_connection_bytes : 64u << 20;
        copy_methods(h, args->methods, args->n_methods);
        h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (h->wake_fd < 0)
                return err_sys(err, errno, "create eventfd");
        *ret = TAKE_PTR(h);
        return 0;
}

struct hub *hub_ref(struct hub *h) {
        (void) atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
        return h;
}

struct hub *hub_unref(struct hub *h) {
        if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
                return NULL;
        assert(!h->ready);
        for (size_t i = 0; i < h->n_methods; i++)
                free((char *) (uintptr_t) h->methods[i].path);
        free(h->methods);
        h->wake_fd = fd_close(h->wake_fd);
        (void) pthread_mutex_destroy(&h->lock);
        free(h);
        return NULL;
}

const struct grpc_method *hub_find_method(const struct hub *h, const char *path) {
        struct grpc_method key = { .path = path };
        return bsearch(&key, h->methods, h->n_methods, sizeof(key), compare_paths);
}

void hub_post_locked(struct hub *h, struct grpc_call *call) {
        bool was_empty = !h->ready;
        uint64_t one = 1;

        if (call->is_ready)
                return;
        call->is_ready = true;
        call->next_ready = NULL;
        *h->ready_tail = call;
        h->ready_tail = &call->next_ready;
        if (was_empty)
                (void) !write(h->wake_fd, &one, sizeof(one));
}

static void take_locked(struct grpc_call *c, struct hub_item *ret) {
        *ret = (struct hub_item){ .call = c, .chunks = c->posted, .bytes = c->posted_bytes, .finished = c->finished };
        c->posted = NULL;
        c->posted_tail = &c->posted;
        c->posted_bytes = 0;
}

bool hub_take(struct hub *h, struct hub_item *ret) {
        struct grpc_call *c;

        (void) pthread_mutex_lock(&h->lock);
        c = h->ready;
        if (c) {
                h->ready = c->next_ready;
                if (!h->ready)
                        h->ready_tail = &h->ready;
                c->is_ready = false;
                take_locked(c, ret);
                if (ret->finished)
                        h->running--;
        }
        (void) pthread_mutex_unlock(&h->lock);
        return c != NULL;
}

void hub_take_inline(struct hub *h, struct grpc_call *call, struct hub_item *ret) {
        (void) pthread_mutex_lock(&h->lock);
        take_locked(call, ret);
        (void) pthread_mutex_unlock(&h->lock);
}

void hub_stop(struct hub *h) {
        (void) pthread_mutex_lock(&h->lock);
        h->stopping = true;
        (void) pthread_mutex_unlock(&h->lock);
}

void hub_close(struct hub *h) {
        struct hub_item item;

        (void) pthread_mutex_lock(&h->lock);
        h->closed = true;
        (void) pthread_mutex_unlock(&h->lock);
        while (hub_take(h, &item)) {
                (void) chunk_free(item.chunks);
                if (item.finished)
                        (void) call_unref(item.call);
        }
}
