/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox-stop - StopPodSandbox and RemovePodSandbox. */
#include <signal.h>
#include "base/log.h"
#include "pod/operations.h"
#include "pod/record.h"

enum { WORK_ARENA_MAX = 4 << 20 };

static int end_all(struct sandbox *s, struct arena *arena, struct err *err) {
        size_t n;
        struct container **list = registry_containers(s->pods, s, arena, &n);
        struct engine *e = s->pods->engine;
        struct err ignored;
        int r = 0;

        /* All at once first, so that they end side by side. */
        for (size_t i = 0; i < n && n > 1; i++)
                if (container_get_phase(list[i]) == CONTAINER_RUNNING)
                        (void) !e->ops->signal(e, list[i]->id, SIGKILL, &ignored);
        for (size_t i = 0; i < n && r == 0; i++)
                r = container_end(list[i], err);
        registry_unref_containers(list, n);
        return r;
}

int sandbox_stop(struct sandbox *s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = NULL;
        enum sandbox_phase phase = sandbox_get_phase(s);
        int r;

        if (phase == SANDBOX_STOPPED || phase == SANDBOX_REMOVING)
                return 0;
        arena = arena_new(WORK_ARENA_MAX);
        if (phase != SANDBOX_STOPPING) {
                sandbox_set_phase(s, SANDBOX_STOPPING);
                r = sandbox_save(s, err);
                if (r < 0)
                        return r;
        }
        r = end_all(s, arena, err);
        if (r == 0)
                r = sandbox_take_down(s, err);
        if (r < 0)
                return r;
        sandbox_set_phase(s, SANDBOX_STOPPED);
        return sandbox_save(s, err);
}

static int remove_all(struct sandbox *s, struct arena *arena, struct err *err) {
        size_t n;
        struct container **list = registry_containers(s->pods, s, arena, &n);
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++)
                r = container_remove(list[i], err);
        registry_unref_containers(list, n);
        return r;
}

static int sandbox_remove(struct sandbox *s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(WORK_ARENA_MAX);
        int r = sandbox_stop(s, err);

        if (r < 0)
                return r;
        if (sandbox_get_phase(s) != SANDBOX_REMOVING) {
                sandbox_set_phase(s, SANDBOX_REMOVING);
                r = sandbox_save(s, err);
        }
        if (r == 0)
                r = remove_all(s, arena, err);
        if (r == 0)
                r = store_delete(s->pods->store, STORE_SANDBOX, s->id, err);
        if (r < 0)
                return r;
        s->removed = true;
        registry_drop_sandbox(s->pods, s);
        return 0;
}

/* The pod named @id, locked; nothing when it is not there (any more). */
static int take_pod(struct pods *p, const struct pods_ctx *ctx, const char *id, struct sandbox **ret, struct err *err) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        int r = registry_find_sandbox(p, id, &s, err);

        if (r == -ERR_NOT_FOUND)
                return 0;
        if (r == 0)
                r = sandbox_lock(s, ctx, err);
        if (r < 0)
                return r;
        if (s->removed) {
                pthread_mutex_unlock(&s->lock);
                return 0;
        }
        *ret = TAKE_PTR(s);
        return 0;
}

int pods_stop_sandbox(struct pods *p, const struct pods_ctx *ctx, const char *id, struct err *err) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        int r = take_pod(p, ctx, id, &s, err);

        if (r < 0 || !s)
                return r;
        r = sandbox_stop(s, err);
        pthread_mutex_unlock(&s->lock);
        if (r < 0)
                return err_wrap(err, "stop pod sandbox %s", s->id);
        log_info("pod sandbox stopped", "sandbox", s->id, NULL);
        return 0;
}

int pods_remove_sandbox(struct pods *p, const struct pods_ctx *ctx, const char *id, struct err *err) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        int r = take_pod(p, ctx, id, &s, err);

        if (r < 0 || !s)
                return r;
        r = sandbox_remove(s, err);
        pthread_mutex_unlock(&s->lock);
        if (r < 0)
                return err_wrap(err, "remove pod sandbox %s", s->id);
        log_info("pod sandbox removed", "sandbox", s->id, NULL);
        return 0;
}
