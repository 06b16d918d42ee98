/* SPDX-License-Identifier: Apache-2.0 */
/* metrics - what monitoring wants to know of a group beyond what the kubelet counts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { IO_TEXT_MAX = 16384 };

/* --- block devices ------------------------------------------------------------------------------------------------ */

/* The device of a line that begins with "MAJOR:MINOR ", and what follows; NULL: another line, or too many devices. */
static struct cgroup_device_io *line_device(const char **line, struct cgroup_metrics *m) {
        unsigned long major, minor;
        char *end;

        if (**line < '0' || **line > '9')
                return NULL;
        major = strtoul(*line, &end, 10);
        if (*end != ':' || end[1] < '0' || end[1] > '9')
                return NULL;
        minor = strtoul(end + 1, &end, 10);
        if (*end != ' ')
                return NULL;
        *line = end + 1;
        for (size_t i = 0; i < m->n_devices; i++)
                if (m->devices[i].major == major && m->devices[i].minor == minor)
                        return &m->devices[i];
        if (m->n_devices == CGROUP_DEVICES_MAX)
                return NULL;
        m->devices[m->n_devices] = (struct cgroup_device_io){ .major = (unsigned) major, .minor = (unsigned) minor };
        return &m->devices[m->n_devices++];
}

static void take_number(const char *line, const char *key, uint64_t *ret) {
        const char *end = line + strcspn(line, "\n"), *at = strstr(line, key);

        if (at && at < end)
                *ret = strtoull(at + strlen(key), NULL, 10);
}

static const char *next_line(const char *line) {
        const char *end = strchr(line, '\n');

        return end ? end + 1 : NULL;
}

void io_parse_v2(const char *text, struct cgroup_metrics *m) {
        for (const char *line = text; line && *line; line = next_line(line)) {
                struct cgroup_device_io *d = line_device(&line, m);

                if (!d)
                        continue;
                take_number(line, "rbytes=", &d->read_bytes);
                take_number(line, "wbytes=", &d->write_bytes);
                take_number(line, "rios=", &d->reads);
                take_number(line, "wios=", &d->writes);
        }
}

void io_parse_v1(const char *text, bool bytes, struct cgroup_metrics *m) {
        for (const char *line = text; line && *line; line = next_line(line)) {
                struct cgroup_device_io *d = line_device(&line, m);

                if (!d)
                        continue;
                if (str_after(line, "Read "))
                        take_number(line, "Read ", bytes ? &d->read_bytes : &d->reads);
                else if (str_after(line, "Write "))
                        take_number(line, "Write ", bytes ? &d->write_bytes : &d->writes);
        }
}

static void io_metrics(struct group *g, struct cgroup_metrics *m) {
        int h = g->c->of[CTL_BLKIO], fd = h < 0 ? -1 : group_fd(g, h);
        char text[IO_TEXT_MAX];

        if (fd < 0)
                return;
        if (g->c->hiers[h].v2) {
                if (file_read_at(fd, "io.stat", text, sizeof(text)) > 0)
                        io_parse_v2(text, m);
                return;
        }
        if (file_read_at(fd, "blkio.throttle.io_service_bytes_recursive", text, sizeof(text)) > 0)
                io_parse_v1(text, true, m);
        if (file_read_at(fd, "blkio.throttle.io_serviced_recursive", text, sizeof(text)) > 0)
                io_parse_v1(text, false, m);
}

/* --- huge pages --------------------------------------------------------------------------------------------------- */

static void hugetlb_metrics(struct group *g, struct cgroup_metrics *m) {
        int h = g->c->of[CTL_HUGETLB], fd = h < 0 ? -1 : group_fd(g, h);
        const char *usage = h >= 0 && g->c->hiers[h].v2 ? "current" : "usage_in_bytes";

        for (size_t i = 0; fd >= 0 && i < g->c->n_page_sizes; i++) {
                struct cgroup_hugetlb *p = &m->hugetlb[m->n_hugetlb];
                char file[64];

                (void) snprintf(file, sizeof(file), "hugetlb.%s.%s", g->c->page_sizes[i], usage);
                if (!number_at(fd, file, &p->usage))
                        return; /* not counted in this group */
                memcpy(p->page_size, g->c->page_sizes[i], sizeof(p->page_size));
                p->max_usage = UINT64_MAX;
                (void) snprintf(file, sizeof(file), "hugetlb.%s.max_usage_in_bytes", p->page_size);
                if (!g->c->hiers[h].v2)
                        (void) number_at(fd, file, &p->max_usage);
                m->n_hugetlb++;
        }
}

/* --- CPU, memory, processes --------------------------------------------------------------------------------------- */

static void limit_at(int fd, const char *file, uint64_t *ret) {
        if (number_at(fd, file, ret) && *ret == UINT64_MAX)
                *ret = 0;
}

static void cpu_v1(struct group *g, struct cgroup_metrics *m) {
        int acct = group_fd(g, g->c->of[CTL_CPUACCT]), cpu = g->c->of[CTL_CPU];
        char text[1024];

        if (acct >= 0) {
                (void) number_at(acct, "cpuacct.usage_user", &m->cpu_user_ns);
                (void) number_at(acct, "cpuacct.usage_sys", &m->cpu_system_ns);
        }
        if (cpu < 0 || group_read(g, cpu, "cpu.stat", text, sizeof(text)) <= 0)
                return;
        (void) keyed_number(text, "nr_periods", &m->cfs_periods);
        (void) keyed_number(text, "nr_throttled", &m->cfs_throttled_periods);
        (void) keyed_number(text, "throttled_time", &m->cfs_throttled_ns);
}

static void memory_metrics(struct group *g, const struct cgroup_stats *s, struct cgroup_metrics *m) {
        int h = g->c->of[CTL_MEMORY], fd = h < 0 ? -1 : group_fd(g, h);
        char text[1024];

        if (fd < 0)
                return;
        if (!g->c->hiers[h].v2) {
                m->oom_kills = oom_kills_of(g);
                (void) number_at(fd, "memory.max_usage_in_bytes", &m->memory_max_usage);
                (void) number_at(fd, "memory.failcnt", &m->memory_failcnt);
                (void) number_at(fd, "memory.kmem.usage_in_bytes", &m->memory_kernel);
                limit_at(fd, "memory.soft_limit_in_bytes", &m->memory_reservation);
                return;
        }
        (void) number_at(fd, "memory.peak", &m->memory_max_usage);
        limit_at(fd, "memory.low", &m->memory_reservation);
        /* How often the limit stood in the way, which is what v1 calls failcnt. */
        m->oom_kills = 0;
        if (file_read_at(fd, "memory.events", text, sizeof(text)) > 0) {
                (void) keyed_number(text, "max", &m->memory_failcnt);
                (void) keyed_number(text, "oom_kill", &m->oom_kills);
        }
        m->own_page_faults = s->page_faults;
        m->own_major_page_faults = s->major_page_faults;
}

/* --- all of it -------------------------------------------------------------------------------------------------------
 */

void metrics_of(struct group *g, const struct cgroup_each_process *each, struct cgroup_stats *ret,
                struct cgroup_metrics *m) {
        int fd;

        if (m)
                *m = (struct cgroup_metrics){
                        .cpu_user_ns = UINT64_MAX,
                        .cpu_system_ns = UINT64_MAX,
                        .cfs_periods = UINT64_MAX,
                        .cfs_throttled_periods = UINT64_MAX,
                        .cfs_throttled_ns = UINT64_MAX,
                        .memory_cache = UINT64_MAX,
                        .memory_mapped = UINT64_MAX,
                        .memory_kernel = UINT64_MAX,
                        .memory_max_usage = UINT64_MAX,
                        .memory_failcnt = UINT64_MAX,
                        .memory_reservation = UINT64_MAX,
                        .own_page_faults = UINT64_MAX,
                        .own_major_page_faults = UINT64_MAX,
                        .oom_kills = UINT64_MAX,
                        .tasks = UINT64_MAX,
                        .pids_max = UINT64_MAX,
                };
        stats_of(g, ret, m);
        if (!m)
                return;
        if (g->c->of[CTL_CPUACCT] >= 0)
                cpu_v1(g, m);
        memory_metrics(g, ret, m);
        if (g->c->of[CTL_PIDS] >= 0 && (fd = group_fd(g, g->c->of[CTL_PIDS])) >= 0) {
                (void) number_at(fd, "pids.current", &m->tasks);
                limit_at(fd, "pids.max", &m->pids_max);
        }
        io_metrics(g, m);
        hugetlb_metrics(g, m);
        fd = group_fd(g, 0);
        if (each && fd >= 0)
                (void) each_process_in(fd, each);
}
