/* SPDX-License-Identifier: Apache-2.0 */
/* cni-template - any bytes as a template of a network configuration, and as pod ranges. */
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "net/cni-template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(10000);
        _cleanup_(freep) char *text = xstrndup((const char *) data, MIN_OF(size, (size_t) 200));
        struct cni_ranges ranges, again;
        struct err err;

        /* What a range becomes is one, and stays the same. */
        if (cni_ranges_parse(text, &ranges, &err) == 0)
                assert(cni_ranges_parse(ranges.cidrs[0], &again, &err) == 0 &&
                       strcmp(ranges.cidrs[0], again.cidrs[0]) == 0);
        assert(cni_ranges_parse("10.1.2.0/24,fd00::/64", &ranges, &err) == 0);
        if (cni_template_fill((const char *) data, size, &ranges, &out, &err) == 0)
                assert(!out.overflow);
        return 0;
}
