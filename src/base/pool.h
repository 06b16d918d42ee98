/* SPDX-License-Identifier: Apache-2.0 */
/* pool - a bounded pool of worker threads, started as needed, for straight-line code that may block.
 * pool_run() may be called from any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct pool;

/* At most @max_threads threads and @max_queue waiting jobs. Threads end after being idle for ten seconds. */
struct pool *pool_new(const char *name, size_t max_threads, size_t max_queue);
/* Waits for the jobs that run and for those that wait; no job may be added meanwhile. */
struct pool *pool_free(struct pool *p);
/* False when the queue is full: the caller answers RESOURCE_EXHAUSTED. */
bool pool_run(struct pool *p, void (*fn)(void *arg), void *arg);
