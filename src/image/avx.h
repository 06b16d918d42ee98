/* SPDX-License-Identifier: Apache-2.0 */
/* avx - for behind a call of ISA-L: its checksums (AVX-512) leave the upper halves of the vector registers in use.
 * Until these are cleared each SSE instruction waits for the one before that wrote its register: OpenSSL's and our
 * SHA-256 (1.35 to 1.7 times the time, measured on Zen 4), and much of ISA-L itself. */
#pragma once

void avx_clear_upper_halves(void);
