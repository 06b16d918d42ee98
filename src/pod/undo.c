/* SPDX-License-Identifier: Apache-2.0 */
/* undo - pods that did not come up. Nobody outside knows them, so nobody else comes back to free what they hold. */
#include <time.h>
#include "base/log.h"
#include "pod/operations.h"
#include "pod/record.h"

enum { FIRST_PAUSE_MS = 1000, LAST_PAUSE_MS = 30000, NAP_MS = 50 };

int sandbox_undo(struct sandbox *s, struct err *err) {
        int r = sandbox_take_down(s, err);

        return r < 0 ? r : store_delete(s->pods->store, STORE_SANDBOX, s->id, err);
}

bool undo_rest(struct pods *p, uint64_t ms) {
        const struct timespec nap = { .tv_nsec = NAP_MS * 1000000 };

        for (; ms >= NAP_MS && !atomic_load(&p->stopping); ms -= NAP_MS)
                (void) nanosleep(&nap, NULL);
        return !atomic_load(&p->stopping);
}

/* One attempt, then to the end of the queue, as others wait there, too. */
static void try_again(void *arg) {
        struct sandbox *s = arg;
        struct pods *p = s->pods;
        struct err err;
        int r = -1;

        if (undo_rest(p, s->undo_pause_ms)) {
                pthread_mutex_lock(&s->lock);
                r = sandbox_undo(s, &err);
                pthread_mutex_unlock(&s->lock);
                if (r == 0)
                        log_info("a pod that failed is removed now", "sandbox", s->id, NULL);
                else
                        log_warn("a pod that failed still holds something", "sandbox", s->id, "error", err.msg, NULL);
        }
        if (r < 0)
                sandbox_undo_later(s);
        sandbox_unref(s);
}

void sandbox_undo_later(struct sandbox *s) {
        s->undo_pause_ms = s->undo_pause_ms ? MIN_OF(s->undo_pause_ms * 2, (uint64_t) LAST_PAUSE_MS) : FIRST_PAUSE_MS;
        sandbox_undo_soon(s);
}

void sandbox_undo_soon(struct sandbox *s) {
        if (!registry_undo(s->pods, try_again, sandbox_ref(s)))
                sandbox_unref(s); /* its record stays for the next start */
}
