/* SPDX-License-Identifier: Apache-2.0 */
/* container-stop - StopContainer and RemoveContainer. */
#include <limits.h>
#include "base/log.h"
#include "pod/own-layer.h"
#include "pod/operations.h"
#include "pod/record.h"

enum { MAX_GRACE_S = INT_MAX / 1000 - 1 };

/* --- steps, under the pod's lock ---------------------------------------------------------------------------------- */

int container_end(struct container *c, struct err *err) {
        struct engine *e = c->pods->engine;
        enum container_phase phase = container_get_phase(c);
        int r = 0;

        if (phase == CONTAINER_RUNNING) {
                r = e->ops->kill(e, c->id, err);
                /* The engine lost it (its state folder is gone): then it is not there to be killed. */
                if (r == -ERR_NOT_FOUND)
                        return exit_record_unknown(c, err);
                if (r < 0)
                        return err_wrap(err, "end container %s", c->id);
                r = exit_record(c, err);
        } else if (phase == CONTAINER_CREATED && c->engine_holds) {
                /* Never started: its init waits, and is not wanted any more. */
                r = e->ops->kill(e, c->id, err);
                if (r == -ERR_NOT_FOUND)
                        return exit_record_unknown(c, err);
                if (r == 0)
                        r = exit_record(c, err);
        }
        if (r == 0)
                exit_release(c);
        return r;
}

int container_remove(struct container *c, struct err *err) {
        struct engine *e = c->pods->engine;
        enum container_phase phase = container_get_phase(c);
        int r;

        if (c->removed)
                return 0;
        if (phase == CONTAINER_RUNNING || phase == CONTAINER_CREATED) {
                r = container_end(c, err);
                if (r < 0)
                        return r;
        }
        if (container_get_phase(c) != CONTAINER_REMOVING) {
                pthread_mutex_lock(&c->record);
                container_set_phase(c, CONTAINER_REMOVING);
                r = container_save(c, err);
                pthread_mutex_unlock(&c->record);
                if (r < 0)
                        return r;
        }
        /* The engine may know of one whose record says otherwise, after a crash. */
        r = e->ops->remove(e, c->id, err);
        if (r == 0)
                r = own_layer_remove(c, err);
        if (r == 0)
                r = store_delete(c->pods->store, STORE_CONTAINER, c->id, err);
        if (r < 0)
                return err_wrap(err, "remove container %s", c->id);
        c->removed = true;
        registry_drop_container(c->pods, c);
        return 0;
}

/* --- StopContainer ------------------------------------------------------------------------------------------------ */

/* One stop signal a container, however many calls: a second one would mean "hurry" to many programs. */
static int send_stop_signal(struct container *c, struct err *err) {
        struct engine *e = c->pods->engine;
        int r;

        if (atomic_exchange(&c->signalled, true))
                return 0;
        r = e->ops->signal(e, c->id, c->from_image.stop_signal, err);
        return r == -ERR_NOT_FOUND ? 0 : r;
}

static int cancelled(const struct pods_ctx *ctx, struct err *err) {
        bool late = ctx->deadline_ns != UINT64_MAX && clock_monotonic_ns() >= ctx->deadline_ns;

        return err_set(err, late ? ERR_DEADLINE : ERR_CANCELLED, "the call ended before the container did");
}

/* Without the pod's lock: wait for the grace time, while others may operate on the pod, or shorten the wait by killing.
 */
static bool wait_grace(struct container *c, const struct pods_ctx *ctx, int64_t timeout_s, bool *ret_cancelled) {
        struct engine *e = c->pods->engine;
        int64_t ms = MIN_OF(timeout_s, (int64_t) MAX_GRACE_S) * 1000;
        uint64_t until = clock_monotonic_ns() + (uint64_t) ms * 1000000;

        if (e->ops->wait(e, c->id, (int) ms, ctx->cancel_fd))
                return true;
        *ret_cancelled = clock_monotonic_ns() + 1000000 < until;
        return false;
}

static int stop_gracefully(struct container *c, const struct pods_ctx *ctx, int64_t timeout_s, bool *ret_ended,
                           struct err *err) {
        bool was_cancelled = false;
        int r;

        r = sandbox_lock(c->sandbox, ctx, err);
        if (r < 0)
                return r;
        *ret_ended = c->removed || container_get_phase(c) != CONTAINER_RUNNING;
        if (!*ret_ended)
                r = send_stop_signal(c, err);
        pthread_mutex_unlock(&c->sandbox->lock);
        if (r < 0 || *ret_ended)
                return r;
        if (!wait_grace(c, ctx, timeout_s, &was_cancelled))
                return was_cancelled ? cancelled(ctx, err) : 0;
        return 0;
}

static int stop_now(struct container *c, const struct pods_ctx *ctx, struct err *err) {
        int r = sandbox_lock(c->sandbox, ctx, err);

        if (r < 0)
                return r;
        /* One that ended within its time only gets recorded: the engine has nothing left to kill. */
        if (!c->removed && container_get_phase(c) == CONTAINER_RUNNING)
                r = container_end(c, err);
        pthread_mutex_unlock(&c->sandbox->lock);
        return r;
}

int pods_stop_container(struct pods *p, const struct pods_ctx *ctx, const char *id, int64_t timeout_s,
                        struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        bool ended = false;
        int r;

        r = registry_find_container(p, id, &c, err);
        if (r == -ERR_NOT_FOUND)
                return 0;
        if (r == 0 && timeout_s > 0)
                r = stop_gracefully(c, ctx, timeout_s, &ended, err);
        if (r < 0 || ended)
                return r;
        return stop_now(c, ctx, err);
}

int pods_remove_container(struct pods *p, const struct pods_ctx *ctx, const char *id, struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        int r;

        r = registry_find_container(p, id, &c, err);
        if (r == -ERR_NOT_FOUND)
                return 0;
        if (r == 0)
                r = sandbox_lock(c->sandbox, ctx, err);
        if (r < 0)
                return r;
        r = container_remove(c, err);
        pthread_mutex_unlock(&c->sandbox->lock);
        if (r == 0)
                log_info("container removed", "container", c->id, NULL);
        return r;
}
