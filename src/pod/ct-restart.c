/* SPDX-License-Identifier: Apache-2.0 */
/* ct-restart - see ct-restart.h. A crash in between leaves a pod whose recorded CT has ended: the next start finds it
 * not ready and its containers ended. */
#include "pod/ct-restart.h"

#include "base/log.h"
#include "pod/ct.h"
#include "pod/own-layer.h"
#include "pod/operations.h"
#include "pod/record.h"

enum { WORK_ARENA_MAX = 64 << 20 };

struct lives {
        struct container **list; /* those that run, or wait to be started; counted */
        size_t n;
};

static bool lives(struct container *c) {
        enum container_phase phase = container_get_phase(c);

        return !c->removed && (phase == CONTAINER_RUNNING || phase == CONTAINER_CREATED);
}

/* From now on nobody records their ends. */
static struct lives take_lives(struct sandbox *s, struct arena *arena) {
        struct lives ret = { 0 };
        size_t n;
        struct container **all = registry_containers(s->pods, s, arena, &n);

        ret.list = all;
        for (size_t i = 0; i < n; i++) {
                if (lives(all[i])) {
                        atomic_store(&all[i]->restarting, true);
                        ret.list[ret.n++] = all[i];
                } else
                        (void) container_unref(all[i]);
        }
        return ret;
}

static void release_lives(const struct lives *l) {
        for (size_t i = 0; i < l->n; i++)
                atomic_store(&l->list[i]->restarting, false);
}

/* All ended with the CT; what the engine keeps of them goes, so that they can be made again. */
static int clear_containers(const struct lives *l, struct err *err) {
        int r = 0;

        for (size_t i = 0; i < l->n && r == 0; i++) {
                struct engine *e = l->list[i]->pods->engine;

                r = e->ops->kill(e, l->list[i]->id, err);
                if (r == 0 || r == -ERR_NOT_FOUND)
                        r = e->ops->remove(e, l->list[i]->id, err);
        }
        return r;
}

static int make_again(struct container *c, struct arena *arena, struct err *err) {
        bool runs = container_get_phase(c) == CONTAINER_RUNNING;
        struct engine *e = c->pods->engine;
        int r = own_layer_renew(c, err);

        if (r == 0)
                r = container_make_again(c, arena, err);
        if (r == 0 && runs)
                r = e->ops->start(e, c->id, err);
        pthread_mutex_lock(&c->record);
        if (r == 0)
                r = container_save(c, err);
        pthread_mutex_unlock(&c->record);
        return r < 0 ? err_wrap(err, "start container %s again", c->config->metadata->name) : 0;
}

/* Whoever asked for it may have gone: what was stopped is brought back all the same. */
static int bring_back(struct sandbox *s, const struct lives *l, struct arena *arena, struct err *err) {
        static const struct pods_ctx for_ever = { .cancel_fd = -1, .deadline_ns = UINT64_MAX };
        int r = clear_containers(l, err);

        if (r == 0)
                r = sandbox_leave_ct(s, err);
        if (r == 0)
                r = sandbox_return_to_ct(s, &for_ever, err);
        if (r == 0)
                r = own_layer_sweep(s, arena, err);
        /* A rollback brings old limits back, too. */
        if (r == 0 && (s->resources || s->overhead))
                r = ct_update_limits(s, &for_ever, err);
        for (size_t i = 0; i < l->n && r == 0; i++)
                r = make_again(l->list[i], arena, err);
        /* Not before all is there: until then a new daemon takes the pod for one whose CT has ended. */
        return r < 0 ? r : sandbox_save(s, err);
}

/* As when the CT had ended by itself. */
static void give_up(struct sandbox *s, const struct lives *l) {
        struct err err;

        for (size_t i = 0; i < l->n; i++) {
                struct container *c = l->list[i];
                struct engine *e = s->pods->engine;

                if (e->ops->get_state(e, c->id) == ENGINE_GONE)
                        (void) !exit_record_unknown(c, &err);
                else if (container_end(c, &err) < 0)
                        log_error("cannot end a container", "container", c->id, "error", err.msg, NULL);
                exit_release(c);
        }
        sandbox_set_phase(s, SANDBOX_DEAD);
        if (sandbox_save(s, &err) < 0)
                log_error("cannot save a pod's record", "sandbox", s->id, "error", err.msg, NULL);
}

static bool can_restart(struct sandbox *s) {
        return s->layers_in_ct && sandbox_get_phase(s) == SANDBOX_READY;
}

static int restart(struct sandbox *s, const struct ct_restart *how, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(WORK_ARENA_MAX);
        struct err later;
        struct lives l;
        int r, back = 0;

        if (s->removed || !can_restart(s))
                return err_set(err, ERR_PRECONDITION,
                               "pod sandbox %s is not ready, or what it writes is not in its Proxmox container", s->id);
        l = take_lives(s, arena);
        r = how->act(how->userdata, err);
        if (ct_has_ended(&s->ct))
                back = bring_back(s, &l, arena, r < 0 ? &later : err);
        release_lives(&l);
        if (back < 0)
                give_up(s, &l);
        if (back < 0 && r < 0)
                log_warn("a pod could not be brought back", "sandbox", s->id, "error", later.msg, NULL);
        registry_unref_containers(l.list, l.n);
        return r < 0 ? r : back;
}

bool pods_can_restart_ct(struct pods *p, const char *id, uint32_t vmid) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        struct err ignored;
        bool can;

        if (registry_find_sandbox(p, id, &s, &ignored) < 0 || pthread_mutex_trylock(&s->lock) != 0)
                return false;
        can = can_restart(s) && s->ct.vmid == vmid;
        pthread_mutex_unlock(&s->lock);
        return can;
}

int pods_restart_ct(struct pods *p, const struct pods_ctx *ctx, const char *id, const struct ct_restart *how,
                    struct err *err) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        int r = registry_find_sandbox(p, id, &s, err);

        if (r == 0)
                r = sandbox_lock(s, ctx, err);
        if (r < 0)
                return r;
        r = restart(s, how, err);
        pthread_mutex_unlock(&s->lock);
        if (r == 0)
                log_info("a pod goes on after its Proxmox container was stopped and started", "sandbox", s->id, NULL);
        return r;
}
