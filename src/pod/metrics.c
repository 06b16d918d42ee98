/* SPDX-License-Identifier: Apache-2.0 */
/* metrics - ListMetricDescriptors and ListPodSandboxMetrics: what the kernel counts, read at the time. A number that
 * this host does not give is left out. Metrics of the network are the pod's, all others a container's. */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "base/alloc.h"
#include "pod/layer-usage.h"
#include "pod/own-layer.h"
#include "pod/metrics-table.h"
#include "pod/net-counters.h"

enum {
        BASE_LABELS = 5,
        EXTRA_LABELS_MAX = 4,
        PER_DEVICE = 6,
        PER_INTERFACE = 8,
        /* Past this many descriptors of one container they are not counted: each costs a system call. */
        DESCRIPTORS_MAX = 20000,
        NS_PER_S = 1000000000,
        DEFAULT_SHARES = 1024, /* the kernel's, as the next */
        DEFAULT_PERIOD_US = 100000,
};

static const struct {
        const char *name, *labels, *help;
        CRI(MetricType) type;
} table[METRIC_MAX] = {
#define ROW(id, n, t, l, h) [METRIC_##id] = { .name = (n), .labels = (l), .help = (h), .type = CRI_(METRIC_TYPE__##t) },
        METRICS(ROW)
#undef ROW
};

/* --- descriptors -------------------------------------------------------------------------------------------------- */

static CRI(MetricDescriptor) * descriptor(enum metric id, struct arena *a) {
        static const char *const base[BASE_LABELS] = { "id", "image", "namespace", "pod", "container" };
        CRI(MetricDescriptor) *m = cri_make(a, MetricDescriptor, metric_descriptor);

        m->name = arena_strdup(a, table[id].name);
        m->help = arena_strdup(a, table[id].help);
        m->label_keys = arena_array(a, char *, BASE_LABELS + EXTRA_LABELS_MAX);
        for (size_t i = 0; i < BASE_LABELS; i++)
                m->label_keys[m->n_label_keys++] = arena_strdup(a, base[i]);
        for (const char *at = table[id].labels; *at;) {
                size_t len = strcspn(at, ",");

                m->label_keys[m->n_label_keys++] = arena_strndup(a, at, len);
                at += len + (at[len] == ',');
        }
        return m;
}

void pods_metric_descriptors(struct arena *arena, CRI(ListMetricDescriptorsResponse) * *ret) {
        CRI(ListMetricDescriptorsResponse) *resp =
                cri_make(arena, ListMetricDescriptorsResponse, list_metric_descriptors_response);

        resp->descriptors = arena_array(arena, CRI(MetricDescriptor) *, METRIC_MAX);
        for (unsigned id = 0; id < METRIC_MAX; id++)
                resp->descriptors[resp->n_descriptors++] = descriptor((enum metric) id, arena);
        *ret = resp;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

/* Metrics of one pod or container on their way into a message. */
struct sink {
        struct arena *arena;
        char *base[BASE_LABELS];
        int64_t now;
        CRI(Metric) * *list;
        size_t n, cap;
};

static void sink_init(struct sink *s, struct arena *a, const struct sandbox *pod, size_t cap) {
        const CRI(PodSandboxMetadata) *meta = pod->config->metadata;

        *s = (struct sink){ .arena = a, .now = (int64_t) clock_realtime_ns(), .cap = cap };
        s->base[0] = arena_strdup(a, pod->id);
        s->base[1] = arena_strdup(a, "");
        s->base[2] = arena_strdup(a, meta->namespace_);
        s->base[3] = arena_strdup(a, meta->name);
        s->base[4] = s->base[1];
        s->list = arena_array(a, CRI(Metric) *, cap);
}

/* With the values of the metric's own labels, which must live as long as the arena. UINT64_MAX: unknown. */
static void put_labelled(struct sink *s, enum metric id, uint64_t value, size_t n, const char *const *labels) {
        CRI(Metric) * m;

        if (value == UINT64_MAX)
                return;
        assert(s->n < s->cap && n <= EXTRA_LABELS_MAX);
        m = cri_make(s->arena, Metric, metric);
        m->name = (char *) table[id].name;
        m->timestamp = s->now;
        m->metric_type = table[id].type;
        m->value = cri_make(s->arena, UInt64Value, uint64_value);
        m->value->value = value;
        m->n_label_values = BASE_LABELS + n;
        m->label_values = s->base;
        if (n > 0) {
                m->label_values = arena_array(s->arena, char *, BASE_LABELS + n);
                memcpy(m->label_values, s->base, sizeof(s->base));
                memcpy(m->label_values + BASE_LABELS, labels, n * sizeof(*labels));
        }
        s->list[s->n++] = m;
}

static void put(struct sink *s, enum metric id, uint64_t value) {
        put_labelled(s, id, value, 0, NULL);
}

static void put1(struct sink *s, enum metric id, uint64_t value, const char *label) {
        put_labelled(s, id, value, 1, &label);
}

static uint64_t seconds(uint64_t ns) {
        return ns == UINT64_MAX ? ns : ns / NS_PER_S;
}

static void put_cpu(struct sink *s, const struct cgroup_stats *st, const struct cgroup_metrics *m) {
        put1(s, METRIC_CPU_USAGE, seconds(st->cpu_usage_ns), "total");
        put(s, METRIC_CPU_USER, seconds(m->cpu_user_ns));
        put(s, METRIC_CPU_SYSTEM, seconds(m->cpu_system_ns));
        put(s, METRIC_CFS_PERIODS, m->cfs_periods);
        put(s, METRIC_CFS_THROTTLED, m->cfs_throttled_periods);
        put(s, METRIC_CFS_THROTTLED_TIME, seconds(m->cfs_throttled_ns));
}

static void put_memory(struct sink *s, const struct cgroup_stats *st, const struct cgroup_metrics *m) {
        const char *const fault[] = { "pgfault", "container" }, *const major[] = { "pgmajfault", "container" };
        const char *const fault_all[] = { "pgfault", "hierarchy" }, *const major_all[] = { "pgmajfault", "hierarchy" };

        put(s, METRIC_MEMORY_USAGE, st->memory_usage_bytes);
        put(s, METRIC_MEMORY_WORKING_SET, st->memory_working_set_bytes);
        put(s, METRIC_MEMORY_RSS, st->memory_rss_bytes);
        if (st->has_swap)
                put(s, METRIC_MEMORY_SWAP, st->swap_usage_bytes);
        put(s, METRIC_MEMORY_CACHE, m->memory_cache);
        put(s, METRIC_MEMORY_MAPPED, m->memory_mapped);
        put(s, METRIC_MEMORY_KERNEL, m->memory_kernel);
        put(s, METRIC_MEMORY_MAX, m->memory_max_usage);
        put(s, METRIC_MEMORY_FAILCNT, m->memory_failcnt);
        put(s, METRIC_OOM_EVENTS, m->oom_kills);
        put_labelled(s, METRIC_MEMORY_FAILURES, m->own_page_faults, 2, fault);
        put_labelled(s, METRIC_MEMORY_FAILURES, m->own_major_page_faults, 2, major);
        put_labelled(s, METRIC_MEMORY_FAILURES, st->page_faults, 2, fault_all);
        put_labelled(s, METRIC_MEMORY_FAILURES, st->major_page_faults, 2, major_all);
        for (size_t i = 0; i < m->n_hugetlb; i++) {
                const char *size = arena_strdup(s->arena, m->hugetlb[i].page_size);

                put1(s, METRIC_HUGETLB_USAGE, m->hugetlb[i].usage, size);
                put1(s, METRIC_HUGETLB_MAX, m->hugetlb[i].max_usage, size);
        }
}

static void put_pressure_of(struct sink *s, const struct cgroup_psi *psi, enum metric some, enum metric full) {
        if (!psi->has)
                return;
        put(s, some, seconds(psi->some.total_ns));
        put(s, full, seconds(psi->full.total_ns));
}

static void put_pressure(struct sink *s, const struct cgroup_stats *st) {
        put_pressure_of(s, &st->cpu_psi, METRIC_PSI_CPU_SOME, METRIC_PSI_CPU_FULL);
        put_pressure_of(s, &st->memory_psi, METRIC_PSI_MEMORY_SOME, METRIC_PSI_MEMORY_FULL);
        put_pressure_of(s, &st->io_psi, METRIC_PSI_IO_SOME, METRIC_PSI_IO_FULL);
}

/* "/dev/sda", or "8:0" when it is not there any more. */
static const char *device_name(const struct cgroup_device_io *d, struct arena *a) {
        const char *link = arena_printf(a, "/sys/dev/block/%u:%u", d->major, d->minor), *base;
        char target[512];
        ssize_t n = readlink(link, target, sizeof(target) - 1);

        if (n <= 0)
                return arena_printf(a, "%u:%u", d->major, d->minor);
        target[n] = '\0';
        base = strrchr(target, '/');
        return arena_printf(a, "/dev/%s", base ? base + 1 : target);
}

static void put_devices(struct sink *s, const struct cgroup_metrics *m) {
        for (size_t i = 0; i < m->n_devices; i++) {
                const struct cgroup_device_io *d = &m->devices[i];
                const char *name = device_name(d, s->arena);
                const char *labels[EXTRA_LABELS_MAX] = { name, arena_printf(s->arena, "%u", d->major),
                                                         arena_printf(s->arena, "%u", d->minor), "Read" };

                put_labelled(s, METRIC_BLKIO_USAGE, d->read_bytes, EXTRA_LABELS_MAX, labels);
                labels[3] = "Write";
                put_labelled(s, METRIC_BLKIO_USAGE, d->write_bytes, EXTRA_LABELS_MAX, labels);
                put1(s, METRIC_FS_READ_BYTES, d->read_bytes, name);
                put1(s, METRIC_FS_READS, d->reads, name);
                put1(s, METRIC_FS_WRITE_BYTES, d->write_bytes, name);
                put1(s, METRIC_FS_WRITES, d->writes, name);
        }
}

static void put_layer(struct sink *s, struct container *c, const struct statvfs *fs) {
        struct layer_usage u;
        struct statvfs own;

        if (own_layer_fs(c, &own))
                fs = &own;
        if (fs->f_frsize > 0) {
                put(s, METRIC_FS_LIMIT, (uint64_t) fs->f_blocks * fs->f_frsize);
                put(s, METRIC_FS_INODES, fs->f_files);
                put(s, METRIC_FS_INODES_FREE, fs->f_ffree);
        }
        layer_usage_refresh(c);
        if (!layer_usage_get(c, &u))
                return;
        put(s, METRIC_FS_USAGE, u.bytes);
        s->list[s->n - 1]->timestamp = (int64_t) u.at_ns;
}

/* --- processes ---------------------------------------------------------------------------------------------------- */

struct processes {
        uint64_t n, descriptors, sockets;
};

static bool count_process(pid_t pid, void *userdata) {
        struct processes *p = userdata;
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *e;
        char path[32], target[16];

        p->n++;
        (void) snprintf(path, sizeof(path), "/proc/%d/fd", (int) pid);
        dir = p->descriptors <= DESCRIPTORS_MAX ? opendir(path) : NULL;
        while (dir && (e = readdir(dir)) && p->descriptors <= DESCRIPTORS_MAX) {
                ssize_t len;

                if (e->d_name[0] == '.')
                        continue;
                p->descriptors++;
                len = readlinkat(dirfd(dir), e->d_name, target, sizeof(target));
                p->sockets += len > 7 && memcmp(target, "socket:", 7) == 0;
        }
        return true;
}

static void put_processes(struct sink *s, struct container *c, const struct processes *p,
                          const struct cgroup_metrics *m) {
        struct rlimit files;

        put(s, METRIC_PROCESSES, p->n);
        put(s, METRIC_THREADS, m->tasks);
        put(s, METRIC_THREADS_MAX, m->pids_max);
        if (p->descriptors <= DESCRIPTORS_MAX) {
                put(s, METRIC_FILE_DESCRIPTORS, p->descriptors);
                put(s, METRIC_SOCKETS, p->sockets);
        }
        if (prlimit(c->pid, RLIMIT_NOFILE, NULL, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
                put1(s, METRIC_ULIMITS_SOFT, files.rlim_cur, "max_open_files");
}

/* --- what was asked for ------------------------------------------------------------------------------------------- */

static uint64_t positive(int64_t n, uint64_t otherwise) {
        return n > 0 ? (uint64_t) n : otherwise;
}

static void put_spec(struct sink *s, struct container *c, const struct cgroup_metrics *m) {
        CRI(LinuxContainerResources) l = CRI_(LINUX_CONTAINER_RESOURCES__INIT);
        uint64_t started_at_ns;

        pthread_rwlock_rdlock(&c->pods->lock);
        if (c->limits)
                l = *c->limits; /* of which only numbers are used */
        started_at_ns = c->started_at_ns;
        pthread_rwlock_unlock(&c->pods->lock);
        put(s, METRIC_SPEC_CPU_SHARES, positive(l.cpu_shares, DEFAULT_SHARES));
        put(s, METRIC_SPEC_CPU_PERIOD, positive(l.cpu_period, DEFAULT_PERIOD_US));
        put(s, METRIC_SPEC_CPU_QUOTA, positive(l.cpu_quota, UINT64_MAX));
        put(s, METRIC_SPEC_MEMORY_LIMIT, positive(l.memory_limit_in_bytes, 0));
        put(s, METRIC_SPEC_SWAP_LIMIT, positive(l.memory_swap_limit_in_bytes, 0));
        put(s, METRIC_SPEC_MEMORY_RESERVATION, m->memory_reservation);
        put(s, METRIC_START_TIME, seconds(started_at_ns));
        put(s, METRIC_LAST_SEEN, seconds((uint64_t) s->now));
}

/* --- a container, a pod, all -------------------------------------------------------------------------------------- */

static int container_metrics(struct container *c, const struct statvfs *fs, struct arena *a,
                             CRI(ContainerMetrics) * *ret, struct err *err) {
        CRI(ContainerMetrics) *m = cri_make(a, ContainerMetrics, container_metrics);
        struct processes processes = { 0 };
        const struct cgroup_each_process each = { count_process, &processes };
        struct cgroup_metrics more;
        struct cgroup_stats st;
        struct sink s;
        int r = cgroup_get_metrics(c->pods->cgroups, c->cgroup_path, &each, &st, &more, err);

        if (r < 0)
                return r;
        sink_init(&s, a, c->sandbox, METRIC_MAX + 4 + PER_DEVICE * more.n_devices + 2 * more.n_hugetlb);
        s.base[0] = arena_strdup(a, c->id);
        pthread_rwlock_rdlock(&c->pods->lock);
        s.base[1] = arena_strdup(a, c->from_image.name ? c->from_image.name : "");
        pthread_rwlock_unlock(&c->pods->lock);
        s.base[4] = arena_strdup(a, c->config->metadata->name);
        put_cpu(&s, &st, &more);
        put_memory(&s, &st, &more);
        put_pressure(&s, &st);
        put_devices(&s, &more);
        put_layer(&s, c, fs);
        put_processes(&s, c, &processes, &more);
        put_spec(&s, c, &more);
        m->container_id = s.base[0];
        m->metrics = s.list;
        m->n_metrics = s.n;
        *ret = m;
        return 0;
}

static void network_metrics(const struct net_counters *net, struct sink *s) {
        for (size_t i = 0; i < net->n; i++) {
                const struct net_interface *n = &net->list[i];

                put1(s, METRIC_NET_RX_BYTES, n->rx_bytes, n->name);
                put1(s, METRIC_NET_RX_PACKETS, n->rx_packets, n->name);
                put1(s, METRIC_NET_RX_ERRORS, n->rx_errors, n->name);
                put1(s, METRIC_NET_RX_DROPPED, n->rx_dropped, n->name);
                put1(s, METRIC_NET_TX_BYTES, n->tx_bytes, n->name);
                put1(s, METRIC_NET_TX_PACKETS, n->tx_packets, n->name);
                put1(s, METRIC_NET_TX_ERRORS, n->tx_errors, n->name);
                put1(s, METRIC_NET_TX_DROPPED, n->tx_dropped, n->name);
        }
}

static int sandbox_metrics(struct sandbox *pod, const struct net_counters *net, const struct statvfs *fs,
                           struct arena *a, CRI(PodSandboxMetrics) * *ret, struct err *err) {
        CRI(PodSandboxMetrics) *m = cri_make(a, PodSandboxMetrics, pod_sandbox_metrics);
        size_t n;
        struct container **list = registry_containers(pod->pods, pod, a, &n);
        struct sink s;
        int r = 0;

        sink_init(&s, a, pod, PER_INTERFACE * net->n + 1);
        network_metrics(net, &s);
        m->pod_sandbox_id = s.base[0];
        m->metrics = s.list;
        m->n_metrics = s.n;
        m->container_metrics = arena_array(a, CRI(ContainerMetrics) *, n + 1);
        for (size_t i = 0; i < n && r == 0; i++) {
                if (container_get_phase(list[i]) != CONTAINER_RUNNING)
                        continue;
                r = container_metrics(list[i], fs, a, &m->container_metrics[m->n_container_metrics], err);
                if (r == 0)
                        m->n_container_metrics++;
                else if (r == -ERR_NOT_FOUND)
                        r = 0; /* it has ended this moment */
        }
        registry_unref_containers(list, n);
        *ret = m;
        return r;
}

int pods_list_sandbox_metrics(struct pods *p, struct arena *arena, CRI(ListPodSandboxMetricsResponse) * *ret,
                              struct err *err) {
        CRI(ListPodSandboxMetricsResponse) *resp =
                cri_make(arena, ListPodSandboxMetricsResponse, list_pod_sandbox_metrics_response);
        size_t n;
        struct sandbox **list = registry_ready_sandboxes(p, NULL, arena, &n);
        struct net_counters *net = arena_array(arena, struct net_counters, n + 1);
        struct statvfs fs = { 0 };
        int r = net_counters_read(list, n, arena, net, err);

        (void) !statvfs(p->root, &fs); /* left out then */
        resp->pod_metrics = arena_array(arena, CRI(PodSandboxMetrics) *, n + 1);
        for (size_t i = 0; i < n && r == 0; i++)
                r = sandbox_metrics(list[i], &net[i], &fs, arena, &resp->pod_metrics[resp->n_pod_metrics++], err);
        for (size_t i = 0; i < n; i++)
                sandbox_unref(list[i]);
        if (r == 0)
                *ret = resp;
        return r;
}
