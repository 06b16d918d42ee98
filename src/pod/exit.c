/* SPDX-License-Identifier: Apache-2.0 */
/* exit - how a container ended: from the engine's word to its record. Comes from three sides (the engine's notice, an
 * operation that waited for the end, reconciling), each as often as it likes: the first one writes. */
#include <assert.h>
#include "base/alloc.h"
#include "base/log.h"
#include "pod/operations.h"
#include "pod/record.h"

static const char *reason_of(struct container *c, const struct engine_exit *x) {
        if (x->exit_code != 0 && cgroup_oom_kills(c->pods->cgroups, c->cgroup_path) > 0)
                return "OOMKilled";
        if (str_eq(x->reason, "MonitorLost"))
                return "MonitorLost";
        return x->exit_code == 0 ? "Completed" : "Error";
}

/* Under ->record. */
static int write_exit(struct container *c, int exit_code, uint64_t finished_at_ns, const char *reason,
                      const char *message, struct err *err) {
        char *old;

        pthread_rwlock_wrlock(&c->pods->lock);
        c->exit_code = exit_code;
        c->finished_at_ns = MAX_OF(finished_at_ns, MAX_OF(c->started_at_ns, c->created_at_ns));
        c->reason = reason;
        old = c->message;
        c->message = message ? xstrdup(message) : NULL;
        pthread_rwlock_unlock(&c->pods->lock);
        free(old);
        container_set_phase(c, CONTAINER_EXITED);
        log_info("container ended", "container", c->id, "exit_code", LOG_I64(exit_code), "reason", reason, NULL);
        c->exit_unsaved = true;
        if (container_save(c, err) < 0)
                return -(int) err->code;
        c->exit_unsaved = false;
        return 0;
}

static bool is_over(enum container_phase phase) {
        return phase == CONTAINER_EXITED || phase == CONTAINER_REMOVING;
}

static int record_locked(struct container *c, struct err *err) {
        enum container_phase phase = container_get_phase(c);
        struct engine *e = c->pods->engine;
        struct engine_exit x;
        int r;

        /* Not visible yet, or at the very start: who is at work there looks at the engine's state after. */
        if (is_over(phase) || phase == CONTAINER_CREATING || phase == CONTAINER_STARTING || atomic_load(&c->restarting))
                return 0;
        r = e->ops->get_exit(e, c->id, &x, err);
        if (r == -ERR_PRECONDITION)
                return 0;
        if (r < 0)
                return err_wrap(err, "learn how container %s ended", c->id);
        return write_exit(
                c, x.exit_code, x.finished_at_ns, reason_of(c, &x),
                str_eq(x.reason, "MonitorLost") ? "its monitor was killed, so nobody saw its exit status" : NULL, err);
}

int exit_record(struct container *c, struct err *err) {
        int r;

        pthread_mutex_lock(&c->record);
        r = record_locked(c, err);
        pthread_mutex_unlock(&c->record);
        return r;
}

int exit_record_unknown(struct container *c, struct err *err) {
        int r = 0;

        pthread_mutex_lock(&c->record);
        if (!is_over(container_get_phase(c)))
                r = write_exit(c, 137, clock_realtime_ns(), "ContainerStatusUnknown",
                               "it ended while the node or its runtime was down, so nobody saw its exit status", err);
        pthread_mutex_unlock(&c->record);
        return r;
}

void exit_release(struct container *c) {
        struct engine *e = c->pods->engine;
        bool unsaved;
        struct err err;

        if (!c->engine_holds || c->removed || container_get_phase(c) != CONTAINER_EXITED)
                return;
        /* Not before the store knows: until then the engine's exit record is the only one. */
        pthread_mutex_lock(&c->record);
        if (c->exit_unsaved && container_save(c, &err) == 0)
                c->exit_unsaved = false;
        unsaved = c->exit_unsaved;
        pthread_mutex_unlock(&c->record);
        /* RemoveContainer tries again and reports. */
        if (unsaved || e->ops->remove(e, c->id, &err) < 0)
                log_warn("cannot release an ended container", "container", c->id, "error", err.msg, NULL);
        else
                c->engine_holds = false;
}

/* --- the engine's notice ------------------------------------------------------------------------------------------ */

struct notice {
        struct pods *pods;
        char id[ID_LEN + 1];
};

static void on_container_exit(struct container *c) {
        static const struct pods_ctx for_ever = { .cancel_fd = -1, .deadline_ns = UINT64_MAX };
        struct sandbox *s = c->sandbox;
        struct err err;

        if (exit_record(c, &err) < 0)
                log_error("cannot record the end of a container", "container", c->id, "error", err.msg, NULL);
        if (sandbox_lock(s, &for_ever, &err) < 0)
                return;
        exit_release(c);
        pthread_mutex_unlock(&s->lock);
}

/* Whether of a shared PID namespace, or of a Proxmox container. */
static bool first_process_ended(const struct sandbox *s) {
        struct engine *e = s->pods->engine;

        if (s->in_ct)
                return s->ct.vmid && ct_has_ended(&s->ct);
        return s->pause_pid > 0 && e->ops->get_state(e, s->id) == ENGINE_STOPPED;
}

/* The first process of a pod is gone, and all in its PID namespace with it. */
static void on_first_process_exit(struct sandbox *s) {
        static const struct pods_ctx for_ever = { .cancel_fd = -1, .deadline_ns = UINT64_MAX };
        struct err err;

        if (sandbox_lock(s, &for_ever, &err) < 0)
                return;
        if (!s->removed && sandbox_get_phase(s) == SANDBOX_READY && first_process_ended(s)) {
                log_warn(s->in_ct ? "the Proxmox container of a pod ended; the pod is not ready any more"
                                  : "the first process of a pod ended; the pod is not ready any more",
                         "sandbox", s->id, NULL);
                sandbox_set_phase(s, SANDBOX_DEAD);
                if (sandbox_save(s, &err) < 0)
                        log_error("cannot save a pod's record", "sandbox", s->id, "error", err.msg, NULL);
        }
        pthread_mutex_unlock(&s->lock);
}

static void handle(void *arg) {
        _cleanup_(freep) struct notice *n = arg;
        struct pods *p = n->pods;
        struct container *c;
        struct sandbox *s;

        pthread_rwlock_rdlock(&p->lock);
        c = map_get(p->containers, n->id);
        if (c)
                container_ref(c);
        s = c ? NULL : map_get(p->sandboxes, n->id);
        if (s)
                sandbox_ref(s);
        pthread_rwlock_unlock(&p->lock);
        if (c)
                on_container_exit(c);
        else if (s)
                on_first_process_exit(s);
        container_unref(c);
        sandbox_unref(s);
}

void pods_exited(const char *id, void *pods) {
        struct notice *n;

        if (strlen(id) != ID_LEN)
                return;
        n = xnew(struct notice);
        n->pods = pods;
        memcpy(n->id, id, sizeof(n->id));
        if (!registry_background(n->pods, handle, n)) {
                log_debug("the end of a container is left to the next start", "container", id, NULL);
                free(n);
        }
}
