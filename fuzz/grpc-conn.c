/* SPDX-License-Identifier: Apache-2.0 */
/* grpc-conn - a server connection without a socket. Input: pieces of (length byte, bytes) after the preface; a length
 * of 0 lets ten seconds pass. The methods take any message of two types and run on the spot. */
#include <stdlib.h>
#include "grpc/conn.h"
#include "proto/cri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FRAME_BYTES = 16384 };
static const uint64_t PAUSE_NS = UINT64_C(10000000000);

static int unary(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                 struct err *err) {
        const Runtime__V1__VersionRequest *q = (const void *) request;
        Runtime__V1__VersionResponse *a = arena_new_of(grpc_call_arena(call), Runtime__V1__VersionResponse);

        if (*q->version == 'e')
                return err_set(err, ERR_NOT_FOUND, "%s", q->version);
        runtime__v1__version_response__init(a);
        a->version = q->version;
        *ret = &a->base;
        return 0;
}

static int stream(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        Runtime__V1__StreamImagesResponse a = RUNTIME__V1__STREAM_IMAGES_RESPONSE__INIT;

        for (int i = 0; i < 3; i++)
                if (grpc_call_send(call, &a.base, err) < 0)
                        return -(int) err->code;
        return 0;
}

static const struct grpc_method methods[] = {
        { "/u", &runtime__v1__version_request__descriptor, .unary = unary },
        { "/s", &runtime__v1__stream_images_request__descriptor, .stream = stream },
};

static bool exchange(struct conn *c, const uint8_t *data, size_t len, uint64_t now) {
        struct hub_item item;
        const uint8_t *out;
        ssize_t n;

        if (!(len ? conn_feed(c, data, len, now) : conn_tick(c, now)))
                return false;
        while (hub_take(c->hub, &item))
                conn_deliver(&item, now);
        while ((n = conn_pull(c, now, &out)) > 0)
                continue;
        if (c->held_bytes > c->hub->max.connection_bytes + MAX_FRAME_BYTES)
                abort();
        return n == 0 && !conn_is_over(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
        struct grpc_server_args args = { .methods = methods,
                                         .n_methods = ELEMENTSOF(methods),
                                         .max_streams = 20,
                                         .max_message_bytes = 4096,
                                         .max_connection_bytes = 16384,
                                         .max_header_bytes = 1024 };
        struct hub *hub;
        struct conn *c;
        struct err err;
        uint64_t now = PAUSE_NS;
        bool alive;

        if (hub_new(&args, &hub, &err) < 0 || conn_new(hub, now, &c, &err) < 0)
                abort();
        alive = exchange(c, (const uint8_t *) preface, sizeof(preface), now);
        while (alive && size) {
                size_t n = MIN_OF((size_t) data[0], size - 1);

                if (!data[0])
                        now += PAUSE_NS;
                alive = exchange(c, data + 1, n, now);
                data += 1 + n;
                size -= 1 + n;
        }
        (void) conn_free(c);
        hub_close(hub);
        if (atomic_load(&hub->refs) != 1)
                abort();
        (void) hub_unref(hub);
        return 0;
}
