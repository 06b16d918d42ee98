/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-profile - any bytes as a profile: refused with INVALID_ARGUMENT or the like, or a filter the kernel's size.
 */
#include <assert.h>
#include <linux/filter.h>
#include <stdint.h>
#include "security/seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = NULL;
        struct err err;
        int r = seccomp_parse("fuzz", (const char *) data, size, 1, &f, &err);

        assert(r == 0 ? f && f->n > 0 && f->n <= BPF_MAXINSNS
                      : !f && (r == -ERR_INVALID || r == -ERR_EXHAUSTED || r == -ERR_UNIMPLEMENTED));
        return 0;
}
