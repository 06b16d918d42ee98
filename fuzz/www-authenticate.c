/* SPDX-License-Identifier: Apache-2.0 */
/* WWW-Authenticate headers. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "http/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct arena *arena = arena_new(1024 * 1024);
        char *text = xstrndup((const char *) data, size);
        struct challenges c = { 0 };
        struct err err;

        (void) !challenge_parse(text, arena, &c, &err);
        assert(c.n <= CHALLENGE_MAX);
        for (size_t i = 0; i < c.n; i++) {
                assert(c.list[i].scheme[0] && c.list[i].n_params <= CHALLENGE_PARAMS_MAX);
                for (size_t k = 0; k < c.list[i].n_params; k++)
                        assert(c.list[i].params[k].name[0] && strlen(c.list[i].params[k].value) <= size);
        }
        free(text);
        (void) arena_free(arena);
        return 0;
}
