/* SPDX-License-Identifier: Apache-2.0 */
/* states - the life of a sandbox and of a container as tables of steps for assert(), and the list items of it. */
#include <assert.h>
#include "base/alloc.h"
#include "pod/events.h"
#include "pod/lists.h"
#include "pod/registry.h"

#define STEP(phase) (1u << (phase))

_unused_ static const unsigned sandbox_steps[SANDBOX_PHASE_MAX] = {
        [SANDBOX_CREATING] = STEP(SANDBOX_READY) | STEP(SANDBOX_STOPPING) | STEP(SANDBOX_DEAD),
        [SANDBOX_READY] = STEP(SANDBOX_DEAD) | STEP(SANDBOX_STOPPING),
        [SANDBOX_DEAD] = STEP(SANDBOX_STOPPING),
        [SANDBOX_STOPPING] = STEP(SANDBOX_STOPPING) | STEP(SANDBOX_STOPPED),
        [SANDBOX_STOPPED] = STEP(SANDBOX_REMOVING),
        [SANDBOX_REMOVING] = STEP(SANDBOX_REMOVING),
};

_unused_ static const unsigned container_steps[CONTAINER_PHASE_MAX] = {
        [CONTAINER_CREATING] = STEP(CONTAINER_CREATED) | STEP(CONTAINER_REMOVING),
        [CONTAINER_CREATED] = STEP(CONTAINER_STARTING) | STEP(CONTAINER_EXITED) | STEP(CONTAINER_REMOVING),
        /* back to CREATED: the daemon died before it let go of init; kubelet asks again */
        [CONTAINER_STARTING] = STEP(CONTAINER_RUNNING) | STEP(CONTAINER_EXITED) | STEP(CONTAINER_CREATED),
        [CONTAINER_RUNNING] = STEP(CONTAINER_EXITED),
        /* back to CREATED: an administrator starts it again */
        [CONTAINER_EXITED] = STEP(CONTAINER_CREATED) | STEP(CONTAINER_REMOVING),
        [CONTAINER_REMOVING] = STEP(CONTAINER_REMOVING),
};

void sandbox_set_phase(struct sandbox *s, enum sandbox_phase phase) {
        struct packed_item *old;

        pthread_rwlock_wrlock(&s->pods->lock);
        assert(sandbox_steps[s->phase] & STEP(phase));
        s->phase = phase;
        old = s->item;
        s->item = sandbox_pack_item(s);
        event_sandbox_phase(s);
        pthread_rwlock_unlock(&s->pods->lock);
        free(old);
}

void container_set_phase(struct container *c, enum container_phase phase) {
        struct packed_item *old;

        pthread_rwlock_wrlock(&c->pods->lock);
        assert(container_steps[c->phase] & STEP(phase));
        c->phase = phase;
        old = c->item;
        c->item = container_pack_item(c);
        event_container_phase(c);
        pthread_rwlock_unlock(&c->pods->lock);
        free(old);
}

enum sandbox_phase sandbox_get_phase(struct sandbox *s) {
        enum sandbox_phase phase;

        pthread_rwlock_rdlock(&s->pods->lock);
        phase = s->phase;
        pthread_rwlock_unlock(&s->pods->lock);
        return phase;
}

enum container_phase container_get_phase(struct container *c) {
        enum container_phase phase;

        pthread_rwlock_rdlock(&c->pods->lock);
        phase = c->phase;
        pthread_rwlock_unlock(&c->pods->lock);
        return phase;
}

void sandbox_show(struct sandbox *s) {
        pthread_rwlock_wrlock(&s->pods->lock);
        if (!s->item)
                s->item = sandbox_pack_item(s);
        s->visible = true;
        event_sandbox_made(s);
        pthread_rwlock_unlock(&s->pods->lock);
}

void container_show(struct container *c) {
        pthread_rwlock_wrlock(&c->pods->lock);
        if (!c->item)
                c->item = container_pack_item(c);
        c->visible = true;
        event_container_made(c);
        pthread_rwlock_unlock(&c->pods->lock);
}
