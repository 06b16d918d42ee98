/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-profile - any bytes as a profile, of a file and of a bundle: refused with INVALID_ARGUMENT or the like, or a
 * filter the kernel's size.
 */
#include <assert.h>
#include <linux/filter.h>
#include <stdint.h>
#include "security/seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void); /* NOLINT: the sanitizer's name */

/* libseccomp 2.5.4 loses some nodes where several rules are about the same argument of a call, seccomp_release() or
 * not.
 */
const char *__lsan_default_suppressions(void) { /* NOLINT */
        return "leak:libseccomp.so";
}

static void check(int r, const struct seccomp_filter *f) {
        assert(r == 0 ? f && f->n > 0 && f->n <= BPF_MAXINSNS
                      : !f && (r == -ERR_INVALID || r == -ERR_EXHAUSTED || r == -ERR_UNIMPLEMENTED));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = NULL;
        struct err err;
        bool notify;
        int r = seccomp_parse("fuzz", (const char *) data, size, 1, &f, &err);

        check(r, f);
        f = seccomp_unref(f);
        r = seccomp_parse_oci((const char *) data, size, &f, &notify, &err);
        check(r, f);
        assert(r == 0 || !notify);
        return 0;
}
