/* SPDX-License-Identifier: Apache-2.0 */
/* ends - tells when first processes of CTs have ended, by a thread that waits for their pidfds. Thread-safe. */
#pragma once
#include "base/cleanup.h"
#include "base/err.h"

enum { ENDS_ID_MAX = 65 };

struct ends;

/* @ended: from the thread, once for each; must not block, may call the functions below. */
_must_use_ int ends_new(void (*ended)(const char *id, void *userdata), void *userdata, struct ends **ret,
                        struct err *err);
struct ends *ends_free(struct ends *e);
DEFINE_CLEANUP(struct ends *, ends_free)

/* Takes @pidfd in any case. One of the same id is replaced. */
_must_use_ int ends_watch(struct ends *e, const char *id, int pidfd, struct err *err);
/* Nothing is told of it that is not being told already. Unknown: fine. */
void ends_forget(struct ends *e, const char *id);
