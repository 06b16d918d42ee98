/* SPDX-License-Identifier: Apache-2.0 */
#include "image/avx.h"

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx"))) static void clear(void) {
        _mm256_zeroupper();
}

void avx_clear_upper_halves(void) {
        if (__builtin_cpu_supports("avx"))
                clear();
}
#else
void avx_clear_upper_halves(void) {
}
#endif
