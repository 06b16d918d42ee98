/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool is_changed;

void terminal_restore(void) {
        if (is_changed)
                (void) tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
        is_changed = false;
}

static bool change(void (*how)(struct termios *t)) {
        static bool registered;
        struct termios t;

        if (is_changed)
                return true;
        if (tcgetattr(STDIN_FILENO, &before) < 0)
                return false;
        if (!registered && atexit(terminal_restore) != 0)
                return false;
        registered = true;
        t = before;
        how(&t);
        is_changed = tcsetattr(STDIN_FILENO, TCSADRAIN, &t) == 0;
        return is_changed;
}

bool terminal_raw(void) {
        return change(cfmakeraw);
}

static void without_echo(struct termios *t) {
        t->c_lflag &= ~(tcflag_t) ECHO;
}

bool terminal_silent(void) {
        return change(without_echo);
}

bool terminal_size(uint16_t *ret_columns, uint16_t *ret_rows) {
        struct winsize size;

        if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
                return false;
        *ret_columns = size.ws_col;
        *ret_rows = size.ws_row;
        return size.ws_col && size.ws_row;
}
