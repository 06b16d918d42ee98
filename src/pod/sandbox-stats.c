/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox-stats - PodSandboxStats and ListPodSandboxStats. CPU and memory are those of the pod's own control group,
 * when the kubelet made one for it, else the sums of its containers. */
#include "base/alloc.h"
#include "pod/net-counters.h"
#include "pod/stats.h"

/* --- network ------------------------------------------------------------------------------------------------------ */

static CRI(NetworkInterfaceUsage) * interface_usage(const struct net_interface *n, struct arena *a) {
        CRI(NetworkInterfaceUsage) *m = cri_make(a, NetworkInterfaceUsage, network_interface_usage);

        m->name = arena_strdup(a, n->name);
        m->rx_bytes = stats_u64(a, n->rx_bytes);
        m->rx_errors = stats_u64(a, n->rx_errors);
        m->tx_bytes = stats_u64(a, n->tx_bytes);
        m->tx_errors = stats_u64(a, n->tx_errors);
        return m;
}

/* The default interface, and the others. */
static CRI(NetworkUsage) * network_usage(const struct net_counters *c, struct arena *a) {
        CRI(NetworkUsage) *m = cri_make(a, NetworkUsage, network_usage);
        const struct net_interface *first = net_counters_find(c, DEFAULT_INTERFACE);

        m->timestamp = (int64_t) clock_realtime_ns();
        m->interfaces = arena_array(a, CRI(NetworkInterfaceUsage) *, c->n + 1);
        if (first)
                m->default_interface = interface_usage(first, a);
        for (size_t i = 0; i < c->n; i++)
                if (&c->list[i] != first)
                        m->interfaces[m->n_interfaces++] = interface_usage(&c->list[i], a);
        return m;
}

/* --- CPU and memory ----------------------------------------------------------------------------------------------- */

/* The kubelet's groups end in "pod<uid>", systemd's in "-pod<uid with _>.slice"; any other parent may be shared. That
 * of a Proxmox container is its pod's alone. */
static bool owns_cgroup_parent(const struct sandbox *s, struct arena *a) {
        const char *base = strrchr(s->cgroup_parent, '/');
        const CRI(PodSandboxMetadata) *meta = s->config->metadata;
        char *with_dashes, *with_underscores;

        if (s->in_ct)
                return true;
        if (!meta || str_empty(meta->uid))
                return false;
        base = base ? base + 1 : s->cgroup_parent;
        with_dashes = arena_printf(a, "pod%s", meta->uid);
        with_underscores = arena_printf(a, "-%s.slice", with_dashes);
        for (char *c = with_underscores + 1; *c; c++)
                if (*c == '-')
                        *c = '_';
        if (str_eq(base, with_dashes))
                return true;
        return strlen(base) > strlen(with_underscores) &&
               str_eq(base + strlen(base) - strlen(with_underscores), with_underscores);
}

/* Of a pod's containers. */
struct total {
        struct cgroup_stats used;
        uint64_t tasks, nano_cores;
        bool has_rate;
};

/* Pressure has no sum: without a group of its own a pod has none. */
static void add(struct cgroup_stats *sum, const struct cgroup_stats *st) {
        sum->cpu_usage_ns += st->cpu_usage_ns;
        sum->memory_usage_bytes += st->memory_usage_bytes;
        sum->memory_working_set_bytes += st->memory_working_set_bytes;
        sum->memory_rss_bytes += st->memory_rss_bytes;
        sum->page_faults += st->page_faults;
        sum->major_page_faults += st->major_page_faults;
}

/* The containers that run, one by one into @m, and their sum; of tasks only where the pod has no group that counts
 * them. */
static int add_containers(struct sandbox *s, bool has_group, CRI(LinuxPodSandboxStats) * m, struct total *sum,
                          struct arena *arena, struct err *err) {
        size_t n;
        struct container **list = registry_containers(s->pods, s, arena, &n);
        int r = 0;

        m->containers = arena_array(arena, CRI(ContainerStats) *, n + 1);
        for (size_t i = 0; i < n && r == 0; i++) {
                CRI(ContainerStats) *one = NULL;
                struct cgroup_stats st;

                if (container_get_phase(list[i]) != CONTAINER_RUNNING)
                        continue;
                r = stats_container(list[i], arena, &one, &st, err);
                if (r < 0)
                        break;
                m->containers[m->n_containers++] = one;
                add(&sum->used, &st);
                if (!has_group)
                        sum->tasks += cgroup_tasks(s->pods->cgroups, list[i]->cgroup_path);
                if (one->cpu && one->cpu->usage_nano_cores) {
                        sum->nano_cores += one->cpu->usage_nano_cores->value;
                        sum->has_rate = true;
                }
        }
        registry_unref_containers(list, n);
        return r;
}

static int fill_linux(struct sandbox *s, CRI(LinuxPodSandboxStats) * m, struct arena *arena, struct err *err) {
        struct cgroups *c = s->pods->cgroups;
        struct total sum = { 0 };
        struct cgroup_stats own;
        struct err ignored;
        bool has_group = owns_cgroup_parent(s, arena);
        int r = add_containers(s, has_group, m, &sum, arena, err);

        if (r < 0)
                return r;
        /* After its containers, or it could have used less than they. */
        if (has_group && cgroup_get_stats(c, s->cgroup_parent, &own, &ignored) == 0) {
                sum.used = own;
                sum.tasks = cgroup_tasks(c, s->cgroup_parent);
        }
        m->cpu = cri_make(arena, CpuUsage, cpu_usage);
        m->cpu->timestamp = (int64_t) clock_realtime_ns();
        m->cpu->usage_core_nano_seconds = stats_u64(arena, sum.used.cpu_usage_ns);
        if (sum.has_rate)
                m->cpu->usage_nano_cores = stats_u64(arena, sum.nano_cores);
        m->cpu->psi = stats_psi(&sum.used.cpu_psi, arena);
        m->memory = stats_memory(&sum.used, arena);
        m->io = stats_io(&sum.used, arena);
        m->process = cri_make(arena, ProcessUsage, process_usage);
        m->process->timestamp = m->cpu->timestamp;
        m->process->process_count = stats_u64(arena, sum.tasks);
        return 0;
}

/* --- one pod, many pods ------------------------------------------------------------------------------------------- */

static int copy_attributes(const struct sandbox *s, struct arena *a, CRI(PodSandboxAttributes) * *ret,
                           struct err *err) {
        CRI(PodSandboxAttributes) m = CRI_(POD_SANDBOX_ATTRIBUTES__INIT);
        ProtobufCMessage *copy;
        int r;

        m.id = (char *) s->id;
        m.metadata = s->config->metadata;
        m.n_labels = s->config->n_labels;
        m.labels = (CRI(PodSandboxAttributes__LabelsEntry) **) s->config->labels;
        m.n_annotations = s->config->n_annotations;
        m.annotations = (CRI(PodSandboxAttributes__AnnotationsEntry) **) s->config->annotations;
        r = proto_copy(&m.base, a, &copy, err);
        if (r == 0)
                *ret = (CRI(PodSandboxAttributes) *) copy;
        return r;
}

static int sandboxes_stats(struct sandbox **list, size_t n, struct arena *arena, CRI(PodSandboxStats) * *out,
                           struct err *err) {
        struct net_counters *networks = arena_array(arena, struct net_counters, n + 1);
        int r = net_counters_read(list, n, arena, networks, err);

        for (size_t i = 0; i < n && r == 0; i++) {
                CRI(PodSandboxStats) *m = out[i] = cri_make(arena, PodSandboxStats, pod_sandbox_stats);

                m->linux = cri_make(arena, LinuxPodSandboxStats, linux_pod_sandbox_stats);
                r = copy_attributes(list[i], arena, &m->attributes, err);
                if (r == 0)
                        r = fill_linux(list[i], m->linux, arena, err);
                if (r == 0 && networks[i].n > 0)
                        m->linux->network = network_usage(&networks[i], arena);
        }
        return r;
}

int pods_sandbox_stats(struct pods *p, const char *id, struct arena *arena, CRI(PodSandboxStats) * *ret,
                       struct err *err) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        int r = registry_find_sandbox(p, id, &s, err);

        return r < 0 ? r : sandboxes_stats(&s, 1, arena, ret, err);
}

int pods_list_sandbox_stats(struct pods *p, const CRI(PodSandboxStatsFilter) * filter, struct arena *arena,
                            CRI(ListPodSandboxStatsResponse) * *ret, struct err *err) {
        CRI(ListPodSandboxStatsResponse) *resp =
                cri_make(arena, ListPodSandboxStatsResponse, list_pod_sandbox_stats_response);
        size_t n;
        struct sandbox **list = registry_ready_sandboxes(p, filter, arena, &n);
        int r;

        resp->stats = arena_array(arena, CRI(PodSandboxStats) *, n + 1);
        r = sandboxes_stats(list, n, arena, resp->stats, err);
        resp->n_stats = r == 0 ? n : 0;
        for (size_t i = 0; i < n; i++)
                sandbox_unref(list[i]);
        if (r == 0)
                *ret = resp;
        return r;
}
