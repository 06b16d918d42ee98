/* SPDX-License-Identifier: Apache-2.0 */
/* message - protobuf messages of the outside, read into an arena: bounded memory, checked strings, nothing to free one
 * by one. Thread-safe as far as the arena is. */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

/* protobuf-c's allocator over an arena. Past @left bytes, or the arena's own maximum, it refuses and sets @exhausted.
 * Must not move while in use. */
struct proto_allocator {
        ProtobufCAllocator base;
        struct arena *arena;
        size_t left;
        bool exhausted;
};

void proto_allocator_init(struct proto_allocator *a, struct arena *arena, size_t max_bytes);

/* @ret lives in @arena and takes at most @max_bytes of it: a few bytes on the wire can ask for a hundred in memory.
 * ERR_INTERNAL when @data is not a message of type @desc (what gRPC servers answer), or when one of its strings is not
 * UTF-8 or holds a NUL, which C would silently cut; ERR_EXHAUSTED past the maximum. */
_must_use_ int proto_unpack(const ProtobufCMessageDescriptor *desc, const void *data, size_t len, struct arena *arena,
                            size_t max_bytes, ProtobufCMessage **ret, struct err *err);

/* A deep copy in @arena. ERR_EXHAUSTED past the arena's maximum. */
_must_use_ int proto_copy(const ProtobufCMessage *message, struct arena *arena, ProtobufCMessage **ret,
                          struct err *err);
