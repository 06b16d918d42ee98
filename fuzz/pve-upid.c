/* SPDX-License-Identifier: Apache-2.0 */
/* pve-upid - any text as the name of a task: what is taken is made of its fields alone, and can stand in a path. */
#undef NDEBUG
#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "pve/upid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = xstrndup((const char *) data, size), *again = NULL;
        struct upid u;

        if (!upid_parse(text, &u))
                return 0;
        again = xprintf("UPID:%s:%08" PRIX64 ":%08" PRIX64 ":%08" PRIX64 ":%s:%s:%s:", u.node, u.pid, u.pstart,
                        u.starttime, u.type, u.id, u.user);
        /* Leading zeros of a nine-digit start are the only thing that may differ. */
        assert(strcasecmp(again, text) == 0 || strlen(again) + 1 == strlen(text));
        assert(!strpbrk(text, "/ \n\t\r") && strlen(text) <= UPID_MAX);
        return 0;
}
