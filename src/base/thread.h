/* SPDX-License-Identifier: Apache-2.0 */
/* thread - a thread that takes no signals: these are the main thread's. */
#pragma once
#include <pthread.h>
#include <stddef.h>
#include "base/attr.h"

/* @stack_bytes 0: as large as usual. The errno of pthread_create(), or 0: join or detach @ret then. */
_must_use_ int thread_start(size_t stack_bytes, void *(*fn)(void *arg), void *arg, pthread_t *ret);
