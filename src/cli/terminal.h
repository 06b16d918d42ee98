/* SPDX-License-Identifier: Apache-2.0 */
/* terminal - the user's terminal, raw while a remote one is shown on it. One at a time, as there is one terminal. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Raw mode, when standard input is a terminal; false when it is none. Put back at exit, too. */
bool terminal_raw(void);
/* Without echo, for a password; the same. */
bool terminal_silent(void);
void terminal_restore(void);
/* Of standard input, else of standard output; false when neither is a terminal. */
bool terminal_size(uint16_t *ret_columns, uint16_t *ret_rows);
