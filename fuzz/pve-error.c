/* SPDX-License-Identifier: Apache-2.0 */
/* pve-error - any text as the reason or message of an answer, or as what a task ended with: one kind, whatever follows
 * the first line, and an error that is printable. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "pve/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const unsigned statuses[] = { 0, 500, 400, 401, 403, 404, 501, 502, 595, 599, 600, 302, 1 };
        _cleanup_(freep) char *text = NULL, *longer = NULL;
        enum pve_kind kind;
        struct err err;
        unsigned status;

        if (size == 0)
                return 0;
        status = statuses[data[0] % ELEMENTSOF(statuses)];
        text = xstrndup((const char *) data + 1, size - 1);
        kind = pve_kind_of(status, text);
        assert(kind != PVE_NONE);
        longer = xprintf("%s\nCT is locked (backup)", text);
        assert(pve_kind_of(status, longer) == kind);
        pve_one_line(text, 600);
        assert(strlen(text) <= 600);
        assert(pve_raise(&err, kind, "%s", text) < 0 && pve_kind(&err) == kind);
        for (const char *p = err.msg; *p; p++)
                assert((unsigned char) *p >= ' ' && *p != 0x7f);
        return 0;
}
