/* SPDX-License-Identifier: Apache-2.0 */
/* container-start - StartContainer and ReopenContainerLog. */
#include "base/alloc.h"
#include "base/log.h"
#include "pod/operations.h"
#include "pod/record.h"
#include "pod/specgen.h"

/* The program could not be run: the container has ended without having started. */
static void record_start_error(struct container *c, const char *message) {
        struct err e;
        char *old;

        pthread_mutex_lock(&c->record);
        pthread_rwlock_wrlock(&c->pods->lock);
        c->exit_code = 128;
        c->reason = "StartError";
        old = c->message;
        c->message = xstrdup(message);
        c->started_at_ns = 0;
        c->finished_at_ns = clock_realtime_ns();
        pthread_rwlock_unlock(&c->pods->lock);
        free(old);
        container_set_phase(c, CONTAINER_EXITED);
        if (container_save(c, &e) < 0)
                log_error("cannot save a container's record", "container", c->id, "error", e.msg, NULL);
        pthread_mutex_unlock(&c->record);
        exit_release(c);
}

/* The process was made with what its configuration says; an update may have come since. */
static void rescore(struct container *c) {
        const CRI(LinuxContainerConfig) *l = c->config->linux;
        int was, is;
        struct err ignored;

        if (resources_oom_score(l ? l->resources : NULL, &was, &ignored) == 0 &&
            resources_oom_score(c->limits, &is, &ignored) == 0)
                container_rescore(c, was, is);
}

int container_start(struct container *c, struct err *err) {
        struct engine *e = c->pods->engine;
        int r;

        if (c->removed)
                return err_set(err, ERR_NOT_FOUND, "container %s is gone", c->id);
        if (container_get_phase(c) != CONTAINER_CREATED)
                return err_set(err, ERR_PRECONDITION, "container %s was started already, or has ended", c->id);
        if (sandbox_get_phase(c->sandbox) != SANDBOX_READY)
                return err_set(err, ERR_PRECONDITION, "pod sandbox %s is not ready", c->sandbox->id);
        pthread_rwlock_wrlock(&c->pods->lock);
        c->started_at_ns = clock_realtime_ns();
        pthread_rwlock_unlock(&c->pods->lock);
        r = container_save_phase(c, CONTAINER_STARTING, err);
        if (r == 0)
                r = e->ops->start(e, c->id, err);
        if (r < 0) {
                record_start_error(c, err->msg);
                /* A look-up's word that init did not speak. */
                if (err->code == ERR_NOT_FOUND)
                        err->code = ERR_UNKNOWN;
                return err_wrap(err, "start container %s", c->id);
        }
        /* It runs, whatever the store says; should this be lost, the intent and the engine tell the next daemon. */
        if (container_save_phase(c, CONTAINER_RUNNING, err) < 0)
                log_warn("cannot save a container's record", "container", c->id, "error", err->msg, NULL);
        rescore(c);
        /* It may have ended already, and been reported while it was starting. */
        if (e->ops->get_state(e, c->id) == ENGINE_STOPPED && exit_record(c, err) == 0)
                exit_release(c);
        return 0;
}

/* Find and lock; the caller unlocks the pod. */
static int take_container(struct pods *p, const struct pods_ctx *ctx, const char *id, struct container **ret,
                          struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        int r = registry_find_container(p, id, &c, err);

        if (r == 0)
                r = sandbox_lock(c->sandbox, ctx, err);
        if (r == 0)
                *ret = TAKE_PTR(c);
        return r;
}

int pods_start_container(struct pods *p, const struct pods_ctx *ctx, const char *id, struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        int r = take_container(p, ctx, id, &c, err);

        if (r != 0)
                return r;
        r = container_start(c, err);
        pthread_mutex_unlock(&c->sandbox->lock);
        if (r == 0)
                log_info("container started", "container", c->id, NULL);
        return r;
}

int pods_reopen_log(struct pods *p, const struct pods_ctx *ctx, const char *id, struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        int r = take_container(p, ctx, id, &c, err);

        if (r != 0)
                return r;
        if (c->removed)
                r = err_set(err, ERR_NOT_FOUND, "container %s is gone", c->id);
        else if (container_get_phase(c) != CONTAINER_RUNNING)
                r = err_set(err, ERR_PRECONDITION, "container %s does not run", c->id);
        else if (!str_empty(c->log_path))
                r = p->engine->ops->reopen_log(p->engine, c->id, c->log_path, err);
        pthread_mutex_unlock(&c->sandbox->lock);
        return r;
}
