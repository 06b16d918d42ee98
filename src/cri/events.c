/* SPDX-License-Identifier: Apache-2.0 */
/* events - GetContainerEvents: what pod/ tells goes to all who listen. A stream is a kept call, without a thread. Who
 * reads too slowly loses his stream with RESOURCE_EXHAUSTED, so that he knows that he has missed something; nobody
 * waits for him. Lock order: pods->lock (held by who tells), events->lock, the server's own. */
#include <assert.h>
#include <pthread.h>
#include "base/alloc.h"
#include "cri/service.h"

enum {
        MAX_LISTENERS = 32,
        /* What one listener may leave unread: some hundred events of a pod with a few containers. */
        MAX_UNREAD_BYTES = 2 << 20,
};

struct events {
        struct pods *pods;
        pthread_mutex_t lock;
        struct grpc_call *listeners[MAX_LISTENERS];
        size_t n;
};

/* With the lock held: the call of listener @i is the caller's to end. */
static struct grpc_call *take_listener(struct events *e, size_t i) {
        struct grpc_call *call = e->listeners[i];

        e->listeners[i] = e->listeners[--e->n];
        if (e->n == 0)
                pods_listen(e->pods, false);
        return call;
}

static void on_event(const CRI(ContainerEventResponse) * event, const struct err *missed, void *userdata) {
        struct events *e = userdata;
        struct err err;

        pthread_mutex_lock(&e->lock);
        for (size_t i = e->n; i-- > 0;) {
                if (!event)
                        grpc_call_end(take_listener(e, i), missed);
                else if (grpc_call_post(e->listeners[i], &event->base, MAX_UNREAD_BYTES, &err) < 0)
                        grpc_call_end(take_listener(e, i), &err);
        }
        pthread_mutex_unlock(&e->lock);
}

static void on_cancelled(struct grpc_call *call, void *userdata) {
        struct events *e = userdata;
        struct err err;

        pthread_mutex_lock(&e->lock);
        for (size_t i = 0; i < e->n; i++)
                if (e->listeners[i] == call) {
                        (void) grpc_call_cancel_err(call, &err);
                        grpc_call_end(take_listener(e, i), &err);
                        break;
                }
        pthread_mutex_unlock(&e->lock);
}

struct events *events_new(struct pods *pods) {
        struct events *e = xnew(struct events);

        e->pods = pods;
        pthread_mutex_init(&e->lock, NULL);
        pods_set_event_fn(pods, on_event, e);
        return e;
}

struct events *events_free(struct events *e) {
        if (!e)
                return NULL;
        assert(e->n == 0); /* the server has cancelled all calls */
        pods_set_event_fn(e->pods, NULL, NULL);
        pthread_mutex_destroy(&e->lock);
        free(e);
        return NULL;
}

static int listen_to(struct events *e, struct grpc_call *call, struct err *err) {
        int r;

        if (e->n == MAX_LISTENERS)
                return err_set(err, ERR_EXHAUSTED, "%d clients listen to container events, which is the most; end one",
                               MAX_LISTENERS);
        r = grpc_call_keep(call, on_cancelled, e, err);
        if (r < 0)
                return r;
        e->listeners[e->n++] = call;
        pods_listen(e->pods, true);
        return 0;
}

CRI_STREAM_HANDLER(GetContainerEvents) {
        struct events *e = ((struct cri *) userdata)->events;
        int r;

        /* Under the lock, so that a cancellation that comes at once finds the call in the list. */
        pthread_mutex_lock(&e->lock);
        r = listen_to(e, call, err);
        pthread_mutex_unlock(&e->lock);
        return r;
}
