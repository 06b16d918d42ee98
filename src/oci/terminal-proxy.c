/* SPDX-License-Identifier: Apache-2.0 */
/* terminal-proxy - see terminal-proxy.h. A side is read only when what it sent before is written, and written only when
 * that does not block: a program that reads nothing can still be seen, and interrupted. */
#include "oci/terminal-proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { POLL_IN, POLL_OUT, POLL_MASTER };

static bool is_empty(const struct terminal_proxy_buffer *b) {
        return b->begin == b->end;
}

/* False: it has ended. */
static bool fill(struct terminal_proxy_buffer *b, int fd) {
        ssize_t n = read(fd, b->data, sizeof(b->data));

        b->begin = 0;
        b->end = n > 0 ? (size_t) n : 0;
        return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool flush(struct terminal_proxy_buffer *b, int fd) {
        ssize_t n = write(fd, b->data + b->begin, b->end - b->begin);

        if (n > 0)
                b->begin += (size_t) n;
        return n >= 0 || errno == EAGAIN || errno == EINTR;
}

void terminal_proxy_init(struct terminal_proxy *p, int master) {
        struct termios raw;
        int flags;

        p->master = master;
        p->tty = -1;
        p->out_fd = STDOUT_FILENO;
        p->in_ended = p->out_ended = false;
        p->in.begin = p->in.end = p->out.begin = p->out.end = 0;
        if (master < 0)
                return;
        flags = fcntl(master, F_GETFL);
        if (flags >= 0)
                (void) fcntl(master, F_SETFL, flags | O_NONBLOCK);
        terminal_proxy_resize(p);
        /* Opened once more: whether it blocks is a matter of its own then, and not of whoever else has it. */
        if (isatty(STDOUT_FILENO))
                p->out_fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (p->out_fd < 0)
                p->out_fd = STDOUT_FILENO;
        if (tcgetattr(STDIN_FILENO, &p->before) < 0)
                return;
        raw = p->before;
        cfmakeraw(&raw);
        if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0)
                p->tty = STDIN_FILENO;
}

void terminal_proxy_done(struct terminal_proxy *p) {
        if (p->master >= 0 && p->tty >= 0)
                (void) tcsetattr(p->tty, TCSANOW, &p->before);
        if (p->master >= 0 && p->out_fd != STDOUT_FILENO)
                (void) close(p->out_fd);
        p->master = p->tty = -1;
}

void terminal_proxy_size(uint16_t *rows, uint16_t *columns) {
        struct winsize size;

        for (int fd = 0; fd < 3; fd++)
                if (ioctl(fd, TIOCGWINSZ, &size) == 0) {
                        *rows = size.ws_row;
                        *columns = size.ws_col;
                        return;
                }
}

void terminal_proxy_resize(const struct terminal_proxy *p) {
        struct winsize size;

        if (p->master < 0)
                return;
        for (int fd = 0; fd < 3; fd++)
                if (ioctl(fd, TIOCGWINSZ, &size) == 0) {
                        (void) ioctl(p->master, TIOCSWINSZ, &size);
                        return;
                }
}

void terminal_proxy_prepare(const struct terminal_proxy *p, struct pollfd polls[TERMINAL_PROXY_POLLS]) {
        short master = 0;

        for (int i = 0; i < TERMINAL_PROXY_POLLS; i++)
                polls[i] = (struct pollfd){ .fd = -1 };
        if (p->master < 0)
                return;
        if (!p->in_ended && is_empty(&p->in))
                polls[POLL_IN] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
        if (!is_empty(&p->out))
                polls[POLL_OUT] = (struct pollfd){ .fd = p->out_fd, .events = POLLOUT };
        master |= is_empty(&p->out) ? POLLIN : 0;
        master |= is_empty(&p->in) ? 0 : POLLOUT;
        if (!p->out_ended && master)
                polls[POLL_MASTER] = (struct pollfd){ .fd = p->master, .events = master };
}

void terminal_proxy_move(struct terminal_proxy *p, const struct pollfd polls[TERMINAL_PROXY_POLLS]) {
        if (polls[POLL_IN].revents && !fill(&p->in, STDIN_FILENO))
                p->in_ended = true;
        if (polls[POLL_OUT].revents && !flush(&p->out, p->out_fd))
                p->out.begin = p->out.end; /* nobody looks any more: the program goes on all the same */
        if (polls[POLL_MASTER].revents & POLLOUT && !flush(&p->in, p->master))
                p->in.begin = p->in.end;
        /* EIO: nobody in there has the terminal open any more. */
        if (polls[POLL_MASTER].revents & (POLLIN | POLLHUP | POLLERR) && is_empty(&p->out) && !fill(&p->out, p->master))
                p->out_ended = true;
}

void terminal_proxy_drain(struct terminal_proxy *p) {
        if (p->master < 0)
                return;
        for (;;) {
                while (!is_empty(&p->out)) {
                        struct pollfd out = { .fd = p->out_fd, .events = POLLOUT };

                        if (poll(&out, 1, -1) > 0 && !flush(&p->out, p->out_fd))
                                return;
                }
                if (p->out_ended || !fill(&p->out, p->master) || is_empty(&p->out))
                        return;
        }
}
