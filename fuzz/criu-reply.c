/* SPDX-License-Identifier: Apache-2.0 */
/* criu-reply - any bytes as CRIU's answer. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "oci/criu-wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct arena *arena = arena_new(4 << 20);
        struct criu_reply reply;
        struct err err;

        if (criu_reply_decode(data, size, arena, &reply, &err) == 0)
                assert(reply.type && (!reply.script || strlen(reply.script) <= size));
        arena_free(arena);
        return 0;
}
