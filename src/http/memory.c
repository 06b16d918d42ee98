/* SPDX-License-Identifier: Apache-2.0 */
#include "http/memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include "base/attr.h"

static void wipe_and_free(void *p) {
        if (p)
                explicit_bzero(p, malloc_usable_size(p));
        free(p);
}

/* Not realloc(), which leaves the old place as it was. */
static void *wipe_and_realloc(void *old, size_t size) {
        size_t old_size = old ? malloc_usable_size(old) : 0;
        void *p;

        if (old && size <= old_size && size > old_size / 2)
                return old;
        p = malloc(size ? size : 1);
        if (!p)
                return NULL;
        if (old)
                memcpy(p, old, MIN_OF(old_size, size));
        wipe_and_free(old);
        return p;
}

CURLcode memory_global_init(void) {
        return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_and_free, wipe_and_realloc, strdup, calloc);
}
