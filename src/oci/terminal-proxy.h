/* SPDX-License-Identifier: Apache-2.0 */
/* terminal-proxy - a container's terminal shown on ours: what is typed goes to its master, what comes from there to
 * standard output. Ours is raw meanwhile, if it is a terminal at all, so that keys like ^C mean something in there
 * alone. One at a time, from one thread. */
#pragma once
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

enum { TERMINAL_PROXY_BUFFER = 4096, TERMINAL_PROXY_POLLS = 3 };

struct terminal_proxy_buffer {
        size_t begin, end;
        char data[TERMINAL_PROXY_BUFFER];
};

struct terminal_proxy {
        int master; /* borrowed; -1: nothing to show, all functions do nothing */
        int tty;    /* of ours that is raw; -1: none */
        int out_fd; /* standard output, which does not block us if it is a terminal */
        bool in_ended, out_ended;
        struct termios before;
        struct terminal_proxy_buffer in, out; /* for the container, from it */
};

/* Of our terminal; left alone when there is none. For a container's from its birth: the program may look at once. */
void terminal_proxy_size(uint16_t *rows, uint16_t *columns);
void terminal_proxy_init(struct terminal_proxy *p, int master);
/* Puts our terminal back as it was. */
void terminal_proxy_done(struct terminal_proxy *p);
/* Our terminal's size is the container's: at first, and on SIGWINCH. */
void terminal_proxy_resize(const struct terminal_proxy *p);
/* What to wait for. Always fills all of @polls. */
void terminal_proxy_prepare(const struct terminal_proxy *p, struct pollfd polls[TERMINAL_PROXY_POLLS]);
void terminal_proxy_move(struct terminal_proxy *p, const struct pollfd polls[TERMINAL_PROXY_POLLS]);
/* The program has ended: show what it has written by now, as soon as somebody looks. */
void terminal_proxy_drain(struct terminal_proxy *p);
