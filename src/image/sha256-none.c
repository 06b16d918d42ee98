/* SPDX-License-Identifier: Apache-2.0 */
/* For CPUs of which sha256.h knows no instructions. */
#include <stdlib.h>
#include "image/sha256.h"

bool sha256_is_there(void) {
        return false;
}

void sha256_begin(struct sha256 *s) {
        abort();
}

void sha256_one(struct sha256 *s, const uint8_t *data, size_t n) {
        abort();
}

void sha256_two(struct sha256 *s, const uint8_t *data, struct sha256 *t, const uint8_t *other, size_t n) {
        abort();
}

void sha256_end(const struct sha256 *s, uint8_t ret[32]) {
        abort();
}
