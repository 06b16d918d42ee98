/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/ct-list.h"

#include "pod/operations.h"

static struct pod_in_ct describe(struct sandbox *s, struct arena *arena) {
        const CRI(PodSandboxMetadata) *m = s->config->metadata;
        struct pod_in_ct ret = { .id = arena_strdup(arena, s->id),
                                 .name = arena_strdup(arena, m->name),
                                 .pod_namespace = arena_strdup(arena, m->namespace_) };

        pthread_rwlock_rdlock(&s->pods->lock);
        ret.ready = s->phase == SANDBOX_READY;
        pthread_rwlock_unlock(&s->pods->lock);
        if (pthread_mutex_trylock(&s->lock) == 0) {
                ret.vmid = s->ct.vmid;
                pthread_mutex_unlock(&s->lock);
        }
        return ret;
}

void pods_list_cts(struct pods *p, struct arena *arena, struct pod_in_ct **ret, size_t *ret_n) {
        size_t n;
        struct sandbox **list = registry_sandboxes(p, arena, &n);

        *ret = arena_array(arena, struct pod_in_ct, n + 1);
        *ret_n = 0;
        for (size_t i = 0; i < n; i++) {
                if (list[i]->in_ct)
                        (*ret)[(*ret_n)++] = describe(list[i], arena);
                (void) sandbox_unref(list[i]);
        }
}
