/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/events.h"

#include "pod/lists.h"

enum { TAG_POD_SANDBOX_STATUS = 4, TAG_CONTAINERS_STATUSES = 5, EVENT_ARENA_MAX = 32 << 20 };

void pods_set_event_fn(struct pods *p, pods_event_fn fn, void *userdata) {
        pthread_rwlock_wrlock(&p->lock);
        p->event = fn;
        p->event_userdata = userdata;
        pthread_rwlock_unlock(&p->lock);
}

void pods_listen(struct pods *p, bool listen) {
        atomic_store(&p->listened, listen);
}

static void tell(const char *id, const struct sandbox *s, CRI(ContainerEventType) type) {
        const struct pods *p = s->pods;
        CRI(ContainerEventResponse) event = CRI_(CONTAINER_EVENT_RESPONSE__INIT);
        struct err err = { 0 };
        struct arena *arena;

        if (!atomic_load(&p->listened) || !p->event)
                return;
        arena = arena_new(EVENT_ARENA_MAX);
        event.container_id = (char *) id;
        event.container_event_type = type;
        event.created_at = (int64_t) clock_realtime_ns();
        if (status_pack_all(s, TAG_POD_SANDBOX_STATUS, TAG_CONTAINERS_STATUSES, &event.base, arena, &err) == 0)
                p->event(&event, NULL, p->event_userdata);
        else
                p->event(NULL, &err, p->event_userdata);
        (void) arena_free(arena);
}

/* --- sandboxes ---------------------------------------------------------------------------------------------------- */

void event_sandbox_made(struct sandbox *s) {
        if (s->phase != SANDBOX_READY) {
                s->stop_told = true; /* taken up by a new daemon */
                return;
        }
        tell(s->id, s, CRI_(CONTAINER_EVENT_TYPE__CONTAINER_CREATED_EVENT));
        tell(s->id, s, CRI_(CONTAINER_EVENT_TYPE__CONTAINER_STARTED_EVENT));
}

void event_sandbox_phase(struct sandbox *s) {
        if (!s->visible || s->stop_told || (s->phase != SANDBOX_DEAD && s->phase != SANDBOX_STOPPED))
                return;
        s->stop_told = true;
        tell(s->id, s, CRI_(CONTAINER_EVENT_TYPE__CONTAINER_STOPPED_EVENT));
}

void event_sandbox_gone(struct sandbox *s) {
        if (s->visible)
                tell(s->id, s, CRI_(CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT));
}

/* --- containers --------------------------------------------------------------------------------------------------- */

void event_container_made(struct container *c) {
        tell(c->id, c->sandbox, CRI_(CONTAINER_EVENT_TYPE__CONTAINER_CREATED_EVENT));
        /* Its init died before anybody could find it. */
        event_container_phase(c);
}

void event_container_phase(struct container *c) {
        if (!c->visible)
                return;
        if (c->phase == CONTAINER_RUNNING)
                tell(c->id, c->sandbox, CRI_(CONTAINER_EVENT_TYPE__CONTAINER_STARTED_EVENT));
        else if (c->phase == CONTAINER_EXITED)
                tell(c->id, c->sandbox, CRI_(CONTAINER_EVENT_TYPE__CONTAINER_STOPPED_EVENT));
}

void event_container_gone(struct container *c) {
        if (c->visible)
                tell(c->id, c->sandbox, CRI_(CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT));
}
