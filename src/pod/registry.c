/* SPDX-License-Identifier: Apache-2.0 */
/* registry - the maps of sandboxes and containers, identities, references. */
#include "pod/registry.h"

#include <assert.h>
#include <errno.h>
#include <time.h>
#include "base/alloc.h"
#include "pod/events.h"
#include "pod/rules.h"
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

/* --- objects ---------------------------------------------------------------------------------------------------- */

static char *identity_of(const CRI(PodSandboxConfig) * config) {
        const CRI(PodSandboxMetadata) *m = config->metadata;
        char *key;

        /* Lengths before the names: a name may hold any character, "_" included. */
        if (asprintf(&key, "%zu_%s_%zu_%s_%s_%u", strlen(m->name), m->name, strlen(m->namespace_), m->namespace_,
                     m->uid, m->attempt) < 0)
                abort();
        return key;
}

struct sandbox *sandbox_new(struct pods *p, const char *id, CRI(PodSandboxConfig) * config, const char *handler) {
        struct sandbox *s = xnew(struct sandbox);

        assert(strlen(id) == ID_LEN);
        atomic_init(&s->refs, 1);
        s->pods = p;
        memcpy(s->id, id, sizeof(s->id));
        s->config = config;
        s->name_key = identity_of(config);
        s->handler = xstrdup(handler);
        s->cgroup_parent = xstrdup("");
        s->created_at_ns = clock_realtime_ns();
        if (pod_user_ids(config, &s->user_range))
                sandbox_set_user_range(s, s->user_range);
        pthread_mutex_init(&s->lock, NULL);
        return s;
}

void sandbox_set_user_range(struct sandbox *s, struct id_map range) {
        s->user_range = range;
        s->user_ids = (struct id_maps){ &s->user_range, &s->user_range, 1, 1 };
}

struct sandbox *sandbox_ref(struct sandbox *s) {
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
        return s;
}

struct sandbox *sandbox_unref(struct sandbox *s) {
        if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
                return NULL;
        assert(s->n_containers == 0); /* each holds a reference to us */
        for (size_t i = 0; s->ips && s->ips[i]; i++)
                free(s->ips[i]);
        free(s->ips);
        free(s->seccomp_profile);
        free(s->name_key);
        cri_message_free(s->config);
        free(s->handler);
        free(s->chosen_handler);
        free(s->cgroup_parent);
        free(s->selinux_label);
        free(s->item);
        cri_message_free(s->overhead);
        cri_message_free(s->resources);
        free(s->containers);
        free(s->cni_cached);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
}

struct container *container_new(struct sandbox *s, const char *id, CRI(ContainerConfig) * config) {
        struct container *c = xnew(struct container);

        assert(strlen(id) == ID_LEN);
        atomic_init(&c->refs, 1);
        c->pods = s->pods;
        c->sandbox = sandbox_ref(s);
        memcpy(c->id, id, sizeof(c->id));
        c->config = config;
        c->reason = "";
        c->created_at_ns = clock_realtime_ns();
        pthread_mutex_init(&c->record, NULL);
        pthread_mutex_init(&c->sample.lock, NULL);
        return c;
}

struct container *container_ref(struct container *c) {
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
        return c;
}

void image_traits_done(struct image_traits *t) {
        free(t->id);
        free(t->name);
        free(t->digest);
        (void) strv_free(t->env);
        free(t->cwd);
}

struct container *container_unref(struct container *c) {
        if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
                return NULL;
        (void) strv_free(c->cdi_env);
        cri_message_free(c->config);
        cri_message_free(c->limits);
        image_traits_done(&c->from_image);
        free(c->log_path);
        free(c->cgroup_path);
        free(c->selinux_label);
        free(c->mount_label);
        free(c->groups);
        free(c->item);
        free(c->message);
        seccomp_unref(c->seccomp);
        pthread_mutex_destroy(&c->record);
        pthread_mutex_destroy(&c->sample.lock);
        sandbox_unref(c->sandbox);
        free(c);
        return NULL;
}

/* --- the maps --------------------------------------------------------------------------------------------------- */

int registry_add_sandbox(struct pods *p, struct sandbox *s, struct err *err) {
        struct sandbox *other;

        pthread_rwlock_wrlock(&p->lock);
        other = map_get(p->names, s->name_key);
        if (!other) {
                (void) map_set(p->names, s->name_key, s);
                (void) map_set(p->sandboxes, s->id, sandbox_ref(s));
        } else
                other = sandbox_ref(other);
        pthread_rwlock_unlock(&p->lock);
        if (!other)
                return 0;
        (void) err_set(err, ERR_EXISTS, "pod %s/%s (uid %s, attempt %u) is taken by sandbox %s",
                       s->config->metadata->namespace_, s->config->metadata->name, s->config->metadata->uid,
                       s->config->metadata->attempt, other->id);
        sandbox_unref(other);
        return -ERR_EXISTS;
}

void registry_drop_sandbox(struct pods *p, struct sandbox *s) {
        bool found;

        pthread_rwlock_wrlock(&p->lock);
        if (map_get(p->names, s->name_key) == s)
                (void) map_take(p->names, s->name_key);
        found = map_take(p->sandboxes, s->id) != NULL;
        event_sandbox_gone(s);
        s->visible = false;
        pthread_rwlock_unlock(&p->lock);
        if (found)
                sandbox_unref(s);
}

int registry_add_container(struct pods *p, struct container *c, struct err *err) {
        const CRI(ContainerMetadata) *want = c->config->metadata;
        struct sandbox *s = c->sandbox;
        const struct container *other = NULL;

        pthread_rwlock_wrlock(&p->lock);
        for (size_t i = 0; i < s->n_containers && !other; i++) {
                const CRI(ContainerMetadata) *have = s->containers[i]->config->metadata;
                if (have->attempt == want->attempt && str_eq(have->name, want->name))
                        other = s->containers[i];
        }
        if (other)
                (void) err_set(err, ERR_EXISTS, "container %s (attempt %u) of this pod exists: %s", want->name,
                               want->attempt, other->id);
        else {
                xgrow(s->containers, s->n_containers, s->cap_containers);
                s->containers[s->n_containers++] = container_ref(c);
                (void) map_set(p->containers, c->id, c); /* the sandbox's reference is the map's, too */
        }
        pthread_rwlock_unlock(&p->lock);
        return other ? -ERR_EXISTS : 0;
}

void registry_drop_container(struct pods *p, struct container *c) {
        struct sandbox *s = c->sandbox;
        bool found = false;

        pthread_rwlock_wrlock(&p->lock);
        (void) map_take(p->containers, c->id);
        for (size_t i = 0; i < s->n_containers; i++)
                if (s->containers[i] == c) {
                        memmove(s->containers + i, s->containers + i + 1,
                                (s->n_containers - i - 1) * sizeof(*s->containers));
                        s->n_containers--;
                        found = true;
                        break;
                }
        event_container_gone(c);
        c->visible = false;
        pthread_rwlock_unlock(&p->lock);
        if (found)
                container_unref(c);
}

static bool is_prefix(const char *id) {
        size_t n = strlen(id);

        return n > 0 && n < ID_LEN && strspn(id, "0123456789abcdef") == n;
}

struct sandbox *registry_get_sandbox(const struct pods *p, const char *id) {
        struct sandbox *s = map_get(p->sandboxes, id), *only = NULL;
        void *value;

        if (s)
                return s->visible ? s : NULL;
        if (!is_prefix(id))
                return NULL;
        for (size_t it = 0; map_next(p->sandboxes, &it, NULL, &value);) {
                s = value;
                if (!s->visible || !str_after(s->id, id))
                        continue;
                if (only)
                        return NULL;
                only = s;
        }
        return only;
}

struct container *registry_get_container(const struct pods *p, const char *id) {
        struct container *c = map_get(p->containers, id), *only = NULL;
        void *value;

        if (c)
                return c->visible ? c : NULL;
        if (!is_prefix(id))
                return NULL;
        for (size_t it = 0; map_next(p->containers, &it, NULL, &value);) {
                c = value;
                if (!c->visible || !str_after(c->id, id))
                        continue;
                if (only)
                        return NULL;
                only = c;
        }
        return only;
}

int registry_find_sandbox(struct pods *p, const char *id, struct sandbox **ret, struct err *err) {
        struct sandbox *s;

        pthread_rwlock_rdlock(&p->lock);
        s = registry_get_sandbox(p, id);
        if (s)
                sandbox_ref(s);
        pthread_rwlock_unlock(&p->lock);
        if (!s)
                return err_set(err, ERR_NOT_FOUND, "no pod sandbox \"%.128s\"", id);
        *ret = s;
        return 0;
}

int registry_find_container(struct pods *p, const char *id, struct container **ret, struct err *err) {
        struct container *c;

        pthread_rwlock_rdlock(&p->lock);
        c = registry_get_container(p, id);
        if (c)
                container_ref(c);
        pthread_rwlock_unlock(&p->lock);
        if (!c)
                return err_set(err, ERR_NOT_FOUND, "no container \"%.128s\"", id);
        *ret = c;
        return 0;
}

struct container **registry_containers(struct pods *p, struct sandbox *s, struct arena *arena, size_t *ret_n) {
        struct container **list;
        size_t n = 0;
        void *value;

        pthread_rwlock_rdlock(&p->lock);
        list = arena_array(arena, struct container *, (s ? s->n_containers : map_size(p->containers)) + 1);
        if (s)
                for (; n < s->n_containers; n++)
                        list[n] = container_ref(s->containers[n]);
        else
                for (size_t it = 0; map_next(p->containers, &it, NULL, &value);)
                        list[n++] = container_ref(value);
        pthread_rwlock_unlock(&p->lock);
        *ret_n = n;
        return list;
}

void registry_unref_containers(struct container **list, size_t n) {
        for (size_t i = 0; i < n; i++)
                container_unref(list[i]);
}

struct sandbox **registry_sandboxes(struct pods *p, struct arena *arena, size_t *ret_n) {
        struct sandbox **list;
        size_t n = 0;
        void *value;

        pthread_rwlock_rdlock(&p->lock);
        list = arena_array(arena, struct sandbox *, map_size(p->sandboxes) + 1);
        for (size_t it = 0; map_next(p->sandboxes, &it, NULL, &value);)
                list[n++] = sandbox_ref(value);
        pthread_rwlock_unlock(&p->lock);
        *ret_n = n;
        return list;
}

static bool stats_filter_matches(const struct sandbox *s, const CRI(PodSandboxStatsFilter) * f) {
        return !f ||
               ((str_empty(f->id) || str_after(s->id, f->id)) &&
                cri_entries_match(f->label_selector, f->n_label_selector, s->config->labels, s->config->n_labels));
}

struct sandbox **registry_ready_sandboxes(struct pods *p, const CRI(PodSandboxStatsFilter) * f, struct arena *arena,
                                          size_t *ret_n) {
        struct sandbox **list;
        size_t n = 0;
        void *value;

        pthread_rwlock_rdlock(&p->lock);
        list = arena_array(arena, struct sandbox *, map_size(p->sandboxes) + 1);
        for (size_t it = 0; map_next(p->sandboxes, &it, NULL, &value);) {
                struct sandbox *s = value;
                if (s->visible && s->phase == SANDBOX_READY && stats_filter_matches(s, f))
                        list[n++] = sandbox_ref(s);
        }
        pthread_rwlock_unlock(&p->lock);
        *ret_n = n;
        return list;
}

size_t pods_count_sandboxes(struct pods *p) {
        size_t n;

        pthread_rwlock_rdlock(&p->lock);
        n = map_size(p->sandboxes);
        pthread_rwlock_unlock(&p->lock);
        return n;
}

size_t pods_count_containers(struct pods *p) {
        size_t n;

        pthread_rwlock_rdlock(&p->lock);
        n = map_size(p->containers);
        pthread_rwlock_unlock(&p->lock);
        return n;
}

int sandbox_lock(struct sandbox *s, const struct pods_ctx *ctx, struct err *err) {
        struct timespec until = { .tv_sec = (time_t) (ctx->deadline_ns / 1000000000u),
                                  .tv_nsec = (long) (ctx->deadline_ns % 1000000000u) };
        int r;

        r = ctx->deadline_ns == UINT64_MAX ? pthread_mutex_lock(&s->lock)
                                           : pthread_mutex_clocklock(&s->lock, CLOCK_MONOTONIC, &until);
        if (r == ETIMEDOUT)
                return err_set(err, ERR_DEADLINE, "another operation on pod sandbox %s takes too long", s->id);
        assert(r == 0);
#ifdef __SANITIZE_THREAD__
        if (ctx->deadline_ns != UINT64_MAX) { /* TSan does not know pthread_mutex_clocklock() */
                __tsan_mutex_pre_lock(&s->lock, 0);
                __tsan_mutex_post_lock(&s->lock, 0, 0);
        }
#endif
        return 0;
}
