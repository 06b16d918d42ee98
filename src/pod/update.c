/* SPDX-License-Identifier: Apache-2.0 */
/* update - UpdateContainerResources: all or nothing, in the cgroup and in the record. UpdatePodSandboxResources: a note
 * of what the kubelet has set in the pod's own cgroup, which is its. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "pod/ct.h"
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

/* --- oom_score_adj ------------------------------------------------------------------------------------------------ */

struct rescore {
        const struct container *c;
        int from, to;
};

static bool rescore_one(pid_t pid, void *userdata) {
        const struct rescore *r = userdata;
        _cleanup_(fd_closep) int fd = -1;
        char path[64], text[16];
        int64_t score;
        ssize_t n;

        (void) snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int) pid);
        fd = open(path, O_RDWR | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return true; /* it has ended */
        text[n - (text[n - 1] == '\n')] = '\0';
        if (!str_to_i64(text, &score) || score != r->from)
                return true;
        n = snprintf(text, sizeof(text), "%d", r->to);
        if (pwrite(fd, text, (size_t) n, 0) != n && errno != ESRCH)
                log_warn("cannot set the oom_score_adj of a process", "container", r->c->id, "score", text, "error",
                         strerror(errno), NULL);
        return true;
}

void container_rescore(struct container *c, int from, int to) {
        struct rescore r = { c, from, to };
        const struct cgroup_each_process each = { rescore_one, &r };

        if (from != to)
                cgroup_each_process(c->pods->cgroups, c->cgroup_path, &each);
}

/* --- containers --------------------------------------------------------------------------------------------------- */

/* Under the pod's lock; c->limits changes only there. */
static int update(struct container *c, const CRI(LinuxContainerResources) * change, struct arena *arena,
                  struct err *err) {
        CRI(LinuxContainerResources) * merged, *old;
        struct spec_resources wanted, before;
        int score = 0, score_before = 0;
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
                wanted.check_before_update = true;
        if (r == 0)
                r = resources_oom_score(merged, &score, err);
        if (r == 0)
                r = resources_oom_score(c->limits, &score_before, err);
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
        if (r == 0 && phase == CONTAINER_RUNNING)
                container_rescore(c, score_before, score);
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

/* --- pods --------------------------------------------------------------------------------------------------------- */

static void exchange(CRI(LinuxContainerResources) * *a, CRI(LinuxContainerResources) * *b) {
        CRI(LinuxContainerResources) *t = *a;

        *a = *b;
        *b = t;
}

/* What is given replaces what was; @overhead and @resources (either may be NULL) are left with what is to be freed. */
static void swap_pod(struct sandbox *s, CRI(LinuxContainerResources) * *overhead,
                     CRI(LinuxContainerResources) * *resources, bool has_overhead, bool has_resources) {
        pthread_rwlock_wrlock(&s->pods->lock);
        if (has_overhead)
                exchange(&s->overhead, overhead);
        if (has_resources)
                exchange(&s->resources, resources);
        pthread_rwlock_unlock(&s->pods->lock);
}

/* Under the pod's lock. */
static int update_pod(struct sandbox *s, const struct pods_ctx *ctx, const CRI(UpdatePodSandboxResourcesRequest) * req,
                      struct err *err) {
        CRI(LinuxContainerResources) *overhead = NULL, *resources = NULL;
        int r;

        if (s->removed)
                return err_set(err, ERR_NOT_FOUND, "pod sandbox %s is gone", s->id);
        if (sandbox_get_phase(s) != SANDBOX_READY)
                return err_set(err, ERR_PRECONDITION, "pod sandbox %s is not ready", s->id);
        if (req->overhead)
                overhead = cri_dup(LinuxContainerResources, req->overhead);
        if (req->resources)
                resources = cri_dup(LinuxContainerResources, req->resources);
        swap_pod(s, &overhead, &resources, req->overhead, req->resources);
        /* Other pods' group is the kubelet's to limit. */
        r = s->in_ct ? ct_update_limits(s, ctx, err) : 0;
        if (r == 0)
                r = sandbox_save(s, err);
        if (r < 0)
                swap_pod(s, &overhead, &resources, req->overhead, req->resources);
        cri_message_free(overhead);
        cri_message_free(resources);
        return r;
}

int pods_update_sandbox(struct pods *p, const struct pods_ctx *ctx, const CRI(UpdatePodSandboxResourcesRequest) * req,
                        struct err *err) {
        _cleanup_(arena_freep) struct arena *work = arena_new(WORK_ARENA_MAX);
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        struct spec_resources ignored;
        int r;

        r = registry_find_sandbox(p, req->pod_sandbox_id, &s, err);
        if (r == 0)
                r = resources_build(req->overhead, work, &ignored, err);
        if (r == 0)
                r = resources_build(req->resources, work, &ignored, err);
        if (r == 0)
                r = sandbox_lock(s, ctx, err);
        if (r < 0)
                return r;
        r = update_pod(s, ctx, req, err);
        pthread_mutex_unlock(&s->lock);
        return r < 0 ? err_wrap(err, "update pod sandbox %s", s->id) : 0;
}
