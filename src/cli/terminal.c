/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool is_raw;

void terminal_restore(void) {
        if (is_raw)
                (void) tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
        is_raw = false;
}

bool terminal_raw(void) {
        static bool registered;
        struct termios raw;

        if (is_raw)
                return true;
        if (tcgetattr(STDIN_FILENO, &before) < 0)
                return false;
        if (!registered && atexit(terminal_restore) != 0)
                return false;
        registered = true;
        raw = before;
        cfmakeraw(&raw);
        is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
        return is_raw;
}

bool terminal_size(uint16_t *ret_columns, uint16_t *ret_rows) {
        struct winsize size;

        if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
                return false;
        *ret_columns = size.ws_col;
        *ret_rows = size.ws_row;
        return size.ws_col && size.ws_row;
}
