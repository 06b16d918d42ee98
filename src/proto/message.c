/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message.h"

#include <stdbool.h>
#include <stdint.h>
#include "proto/wire.h"

static void *allocate(void *data, size_t size) {
        struct proto_allocator *a = data;
        void *p = size <= a->left ? arena_alloc(a->arena, size) : NULL;

        if (p)
                a->left -= size;
        else
                a->exhausted = true;
        return p;
}

static void keep(void *data _unused_, void *pointer _unused_) {
}

void proto_allocator_init(struct proto_allocator *a, struct arena *arena, size_t max_bytes) {
        *a = (struct proto_allocator){
                .base = { .alloc = allocate, .free = keep, .allocator_data = a },
                .arena = arena,
                .left = max_bytes,
        };
}

int proto_unpack(const ProtobufCMessageDescriptor *desc, const void *data, size_t len, struct arena *arena,
                 size_t max_bytes, ProtobufCMessage **ret, struct err *err) {
        struct proto_allocator a;
        ProtobufCMessage *m;
        int r;

        r = wire_check(desc, data, len, err);
        if (r < 0)
                return r;
        proto_allocator_init(&a, arena, max_bytes);
        m = protobuf_c_message_unpack(desc, &a.base, len, data);
        if (!m && a.exhausted)
                return err_set(err, ERR_EXHAUSTED, "%s: takes more than %zu bytes of memory", desc->name, max_bytes);
        if (!m)
                return err_set(err, ERR_INTERNAL, "%s: malformed message", desc->name);
        *ret = m;
        return 0;
}

int proto_copy(const ProtobufCMessage *message, struct arena *arena, ProtobufCMessage **ret, struct err *err) {
        size_t n = protobuf_c_message_get_packed_size(message);
        struct proto_allocator a;
        uint8_t *wire;

        proto_allocator_init(&a, arena, SIZE_MAX);
        wire = arena_alloc(arena, n ? n : 1);
        if (!wire)
                return err_set(err, ERR_EXHAUSTED, "copy %s: out of room", message->descriptor->name);
        (void) protobuf_c_message_pack(message, wire);
        *ret = protobuf_c_message_unpack(message->descriptor, &a.base, n, wire);
        if (!*ret)
                return err_set(err, ERR_EXHAUSTED, "copy %s: out of room", message->descriptor->name);
        return 0;
}
