/* SPDX-License-Identifier: Apache-2.0 */
/* update - UpdateContainerResources: all or nothing, in the cgroup and in the record. */
#include "base/log.h"
#include "pod/operations.h"
#include "pod/record.h"
#include "pod/specgen.h"

enum { WORK_ARENA_MAX = 4 << 20 };

static CRI(LinuxContainerResources) * swap_limits(struct container *c, CRI(LinuxContainerResources) * limits) {
        CRI(LinuxContainerResources) * old;

        pthread_rwlock_wrlock(&c->pods->lock);
        old = c->limits;
        c->limits = limits;
        pthread_rwlock_unlock(&c->pods->lock);
        return old;
}

/* Under the pod's lock; c->limits changes only there. */
static int update(struct container *c, const CRI(LinuxContainerResources) * change, struct arena *arena,
                  struct err *err) {
        CRI(LinuxContainerResources) * merged, *old;
        struct spec_resources wanted, before;
        enum container_phase phase = container_get_phase(c);
        struct err ignored;
        int r;

        if (c->removed)
                return err_set(err, ERR_NOT_FOUND, "container %s is gone", c->id);
        if (phase != CONTAINER_RUNNING && phase != CONTAINER_CREATED)
                return err_set(err, ERR_PRECONDITION, "container %s has ended", c->id);
        r = resources_merge(c->limits, change, &merged, err);
        if (r < 0)
                return r;
        r = resources_build(merged, arena, &wanted, err);
        if (r == 0)
                r = resources_build(c->limits, arena, &before, err);
        if (r == 0)
                r = cgroup_update(c->pods->cgroups, c->cgroup_path, &wanted, err);
        if (r < 0) {
                cri_message_free(merged);
                return r;
        }
        pthread_mutex_lock(&c->record);
        old = swap_limits(c, merged);
        r = container_save(c, err);
        if (r < 0) {
                merged = swap_limits(c, old);
                old = merged;
                if (cgroup_update(c->pods->cgroups, c->cgroup_path, &before, &ignored) < 0)
                        log_warn("cannot put limits back", "container", c->id, "error", ignored.msg, NULL);
        }
        pthread_mutex_unlock(&c->record);
        cri_message_free(old);
        return r;
}

int pods_update_resources(struct pods *p, const struct pods_ctx *ctx, const CRI(UpdateContainerResourcesRequest) * req,
                          struct err *err) {
        _cleanup_(arena_freep) struct arena *work = NULL;
        _cleanup_(container_unrefp) struct container *c = NULL;
        int r;

        r = registry_find_container(p, req->container_id, &c, err);
        if (r < 0)
                return r;
        if (!req->linux)
                return req->windows ? err_set(err, ERR_INVALID, "this node runs Linux") : 0;
        r = sandbox_lock(c->sandbox, ctx, err);
        if (r < 0)
                return r;
        work = arena_new(WORK_ARENA_MAX);
        r = update(c, req->linux, work, err);
        pthread_mutex_unlock(&c->sandbox->lock);
        return r < 0 ? err_wrap(err, "update container %s", c->id) : 0;
}
