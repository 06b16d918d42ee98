/* SPDX-License-Identifier: Apache-2.0 */
/* stats - ContainerStats and ListContainerStats, from cgroups read at the time, and layers as they were last measured.
 */
#include "pod/stats.h"

#include "base/alloc.h"
#include "pod/layer-usage.h"
#include "pod/own-layer.h"

enum { MIN_SAMPLE_MS = 1000 };

/* --- one container ------------------------------------------------------------------------------------------------ */

CRI(UInt64Value) * stats_u64(struct arena *a, uint64_t v) {
        CRI(UInt64Value) *m = cri_make(a, UInt64Value, uint64_value);

        m->value = v;
        return m;
}

/* CPU time per second between this call and the one before it that is long enough ago. */
static bool sample_cpu(struct container *c, uint64_t usage_ns, uint64_t *ret_nano_cores) {
        struct container_sample *s = &c->sample;
        uint64_t now = clock_monotonic_ns(), passed;
        bool has;

        pthread_mutex_lock(&s->lock);
        passed = now - s->cpu_at_ns;
        if (s->cpu_at_ns == 0 || passed >= (uint64_t) MIN_SAMPLE_MS * 1000000) {
                if (s->cpu_at_ns != 0 && usage_ns >= s->cpu_usage_ns) {
                        s->nano_cores = (uint64_t) ((double) (usage_ns - s->cpu_usage_ns) * 1e9 / (double) passed);
                        s->has_nano_cores = true;
                }
                s->cpu_at_ns = now;
                s->cpu_usage_ns = usage_ns;
        }
        has = s->has_nano_cores;
        *ret_nano_cores = s->nano_cores;
        pthread_mutex_unlock(&s->lock);
        return has;
}

static CRI(PsiData) * psi_data(const struct cgroup_psi_line *line, struct arena *a) {
        CRI(PsiData) *m = cri_make(a, PsiData, psi_data);

        m->total = line->total_ns;
        m->avg10 = line->avg10;
        m->avg60 = line->avg60;
        m->avg300 = line->avg300;
        return m;
}

CRI(PsiStats) * stats_psi(const struct cgroup_psi *psi, struct arena *a) {
        CRI(PsiStats) * m;

        if (!psi->has)
                return NULL;
        m = cri_make(a, PsiStats, psi_stats);
        m->some = psi_data(&psi->some, a);
        m->full = psi_data(&psi->full, a);
        return m;
}

CRI(IoUsage) * stats_io(const struct cgroup_stats *st, struct arena *a) {
        CRI(IoUsage) * m;

        if (!st->io_psi.has)
                return NULL;
        m = cri_make(a, IoUsage, io_usage);
        m->timestamp = (int64_t) clock_realtime_ns();
        m->psi = stats_psi(&st->io_psi, a);
        return m;
}

CRI(MemoryUsage) * stats_memory(const struct cgroup_stats *st, struct arena *a) {
        CRI(MemoryUsage) *m = cri_make(a, MemoryUsage, memory_usage);

        m->timestamp = (int64_t) clock_realtime_ns();
        m->usage_bytes = stats_u64(a, st->memory_usage_bytes);
        m->working_set_bytes = stats_u64(a, st->memory_working_set_bytes);
        m->rss_bytes = stats_u64(a, st->memory_rss_bytes);
        m->page_faults = stats_u64(a, st->page_faults);
        m->major_page_faults = stats_u64(a, st->major_page_faults);
        m->psi = stats_psi(&st->memory_psi, a);
        if (st->memory_limit_bytes > 0)
                m->available_bytes = stats_u64(a, st->memory_limit_bytes > st->memory_working_set_bytes
                                                          ? st->memory_limit_bytes - st->memory_working_set_bytes
                                                          : 0);
        return m;
}

static void fill_swap(const struct cgroup_stats *st, struct arena *a, CRI(ContainerStats) * m) {
        if (!st->has_swap)
                return;
        m->swap = cri_make(a, SwapUsage, swap_usage);
        m->swap->timestamp = (int64_t) clock_realtime_ns();
        m->swap->swap_usage_bytes = stats_u64(a, st->swap_usage_bytes);
        if (st->swap_limit_bytes != UINT64_MAX)
                m->swap->swap_available_bytes = stats_u64(a, st->swap_limit_bytes > st->swap_usage_bytes
                                                                     ? st->swap_limit_bytes - st->swap_usage_bytes
                                                                     : 0);
}

static void fill_cpu(struct container *c, const struct cgroup_stats *st, struct arena *a, CRI(ContainerStats) * m) {
        uint64_t nano_cores;

        m->cpu = cri_make(a, CpuUsage, cpu_usage);
        m->cpu->timestamp = (int64_t) clock_realtime_ns();
        m->cpu->usage_core_nano_seconds = stats_u64(a, st->cpu_usage_ns);
        m->cpu->psi = stats_psi(&st->cpu_psi, a);
        if (sample_cpu(c, st->cpu_usage_ns, &nano_cores))
                m->cpu->usage_nano_cores = stats_u64(a, nano_cores);
}

static void fill_layer(struct container *c, struct arena *a, CRI(ContainerStats) * m) {
        struct layer_usage u;

        layer_usage_refresh(c);
        if (!layer_usage_get(c, &u))
                return;
        m->writable_layer = cri_make(a, FilesystemUsage, filesystem_usage);
        m->writable_layer->timestamp = (int64_t) u.at_ns;
        m->writable_layer->fs_id = cri_make(a, FilesystemIdentifier, filesystem_identifier);
        m->writable_layer->fs_id->mountpoint = (char *) own_layer_mountpoint(c, a);
        m->writable_layer->used_bytes = stats_u64(a, u.bytes);
        m->writable_layer->inodes_used = stats_u64(a, u.inodes);
}

static int copy_attributes(struct container *c, struct arena *a, CRI(ContainerAttributes) * *ret, struct err *err) {
        CRI(ContainerAttributes) m = CRI_(CONTAINER_ATTRIBUTES__INIT);
        ProtobufCMessage *copy;
        int r;

        m.id = c->id;
        m.metadata = c->config->metadata;
        m.n_labels = c->config->n_labels;
        m.labels = (CRI(ContainerAttributes__LabelsEntry) **) c->config->labels;
        m.n_annotations = c->config->n_annotations;
        m.annotations = (CRI(ContainerAttributes__AnnotationsEntry) **) c->config->annotations;
        r = proto_copy(&m.base, a, &copy, err);
        if (r == 0)
                *ret = (CRI(ContainerAttributes) *) copy;
        return r;
}

int stats_container(struct container *c, struct arena *arena, CRI(ContainerStats) * *ret, struct cgroup_stats *ret_used,
                    struct err *err) {
        CRI(ContainerStats) *m = cri_make(arena, ContainerStats, container_stats);
        enum container_phase phase = container_get_phase(c);
        struct cgroup_stats st = { 0 };
        int r = copy_attributes(c, arena, &m->attributes, err);

        if (r < 0)
                return r;
        if (phase == CONTAINER_RUNNING || phase == CONTAINER_CREATED || phase == CONTAINER_STARTING) {
                r = cgroup_get_stats(c->pods->cgroups, c->cgroup_path, &st, err);
                if (r == 0) {
                        fill_cpu(c, &st, arena, m);
                        m->memory = stats_memory(&st, arena);
                        fill_swap(&st, arena, m);
                        m->io = stats_io(&st, arena);
                }
                /* Its group is gone: it has ended this moment. */
                if (r < 0 && r != -ERR_NOT_FOUND)
                        return r;
        }
        fill_layer(c, arena, m);
        if (ret_used)
                *ret_used = st;
        *ret = m;
        return 0;
}

int pods_container_stats(struct pods *p, const char *id, struct arena *arena, CRI(ContainerStats) * *ret,
                         struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        int r = registry_find_container(p, id, &c, err);

        if (r < 0)
                return r;
        return stats_container(c, arena, ret, NULL, err);
}

static bool matches(const struct container *c, const CRI(ContainerStatsFilter) * f) {
        return !f ||
               ((str_empty(f->id) || str_after(c->id, f->id)) &&
                (str_empty(f->pod_sandbox_id) || str_after(c->sandbox->id, f->pod_sandbox_id)) &&
                cri_entries_match(f->label_selector, f->n_label_selector, c->config->labels, c->config->n_labels));
}

/* References to those that run and match. */
static struct container **running(struct pods *p, const CRI(ContainerStatsFilter) * f, struct arena *arena,
                                  size_t *ret_n) {
        struct container **list;
        size_t n = 0;
        void *value;

        pthread_rwlock_rdlock(&p->lock);
        list = arena_array(arena, struct container *, map_size(p->containers) + 1);
        for (size_t it = 0; map_next(p->containers, &it, NULL, &value);) {
                struct container *c = value;
                if (c->visible && c->phase == CONTAINER_RUNNING && matches(c, f))
                        list[n++] = container_ref(c);
        }
        pthread_rwlock_unlock(&p->lock);
        *ret_n = n;
        return list;
}

int pods_list_container_stats(struct pods *p, const CRI(ContainerStatsFilter) * filter, struct arena *arena,
                              CRI(ListContainerStatsResponse) * *ret, struct err *err) {
        CRI(ListContainerStatsResponse) *resp =
                cri_make(arena, ListContainerStatsResponse, list_container_stats_response);
        size_t n;
        struct container **list = running(p, filter, arena, &n);
        int r = 0;

        resp->stats = arena_array(arena, CRI(ContainerStats) *, n + 1);
        for (size_t i = 0; i < n && r == 0; i++) {
                r = stats_container(list[i], arena, &resp->stats[resp->n_stats], NULL, err);
                if (r == 0)
                        resp->n_stats++;
        }
        registry_unref_containers(list, n);
        if (r == 0)
                *ret = resp;
        return r;
}
