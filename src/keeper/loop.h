/* SPDX-License-Identifier: Apache-2.0 */
/* loop - the keeper's event loop: epoll and nothing else, so that a forked monitor carries little. Single-threaded. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct loop {
        int epoll_fd;
};

struct source {
        int fd; /* -1: not registered */
        void (*fn)(struct source *s, uint32_t events);
};

int loop_init(struct loop *l); /* 0 or -errno */
int loop_add(struct loop *l, struct source *s, int fd, uint32_t events,
             void (*fn)(struct source *s, uint32_t events)); /* 0 or -errno; does not own @fd */
void loop_remove(struct loop *l, struct source *s);
/* Dispatches what is ready; waits at most @timeout_ms (-1: for ever). A source removed meanwhile is not called. */
void loop_run_once(struct loop *l, int timeout_ms);
