/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/stats.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/json.h"
#include "base/str.h"

enum { TEXT_MAX = 64 << 10, LIST_MAX = 8192 };

/* The group whose files are read; @text is the last one. */
struct source {
        struct cgroups *c;
        const char *path;
        char text[TEXT_MAX];
};

static bool read_text(struct source *s, const char *controller, const char *file) {
        return cgroup_read(s->c, s->path, controller, file, s->text, sizeof(s->text)) >= 0;
}

/* "max" is 2^64 - 1, as runc has it. */
static bool read_number(struct source *s, const char *controller, const char *file, uint64_t *ret) {
        if (!read_text(s, controller, file))
                return false;
        if (!str_eq(s->text, "max"))
                return str_to_u64(s->text, ret);
        *ret = UINT64_MAX;
        return true;
}

/* jansson's integers have a sign. */
static void put(json_t *o, const char *key, uint64_t value) {
        (void) json_object_set_new(o, key,
                                   value > INT64_MAX ? json_real((double) value) : json_integer((json_int_t) value));
}

static void put_file(struct source *s, const char *controller, const char *file, json_t *o, const char *key) {
        uint64_t value;

        if (read_number(s, controller, file, &value))
                put(o, key, value);
}

/* Lines "key number" of the text, all of them into @o. */
static void put_all(struct source *s, json_t *o) {
        char *rest = s->text, *line;

        while ((line = strsep(&rest, "\n"))) {
                char *blank = strchr(line, ' ');
                uint64_t value;

                if (!blank)
                        continue;
                *blank = '\0';
                if (str_to_u64(blank + 1, &value))
                        put(o, line, value);
        }
}

static uint64_t get(const json_t *o, const char *key) {
        return (uint64_t) json_integer_value(json_object_get(o, key));
}

/* --- each controller ------------------------------------------------------------------------------------------------
 */

static json_t *numbers(char *text) {
        json_t *list = json_array();
        char *word;

        while ((word = strsep(&text, " \n"))) {
                uint64_t value;

                if (str_to_u64(word, &value))
                        (void) json_array_append_new(list, json_integer((json_int_t) value));
        }
        return list;
}

static json_t *cpu_v2(struct source *s) {
        _cleanup_(json_unrefp) json_t *stat = json_object();

        if (read_text(s, "cpu", "cpu.stat"))
                put_all(s, stat);
        return json_pack(
                "{s:{s:I s:I s:I} s:{s:I s:I s:I}}", "usage", "total", (json_int_t) get(stat, "usage_usec") * 1000,
                "kernel", (json_int_t) get(stat, "system_usec") * 1000, "user",
                (json_int_t) get(stat, "user_usec") * 1000, "throttling", "periods",
                (json_int_t) get(stat, "nr_periods"), "throttledPeriods", (json_int_t) get(stat, "nr_throttled"),
                "throttledTime", (json_int_t) get(stat, "throttled_usec") * 1000);
}

static json_t *cpu_v1(struct source *s) {
        _cleanup_(json_unrefp) json_t *stat = json_object();
        json_int_t tick_ns = 1000000000 / sysconf(_SC_CLK_TCK);
        json_t *usage = json_object();

        put_file(s, "cpuacct", "cpuacct.usage", usage, "total");
        if (read_text(s, "cpuacct", "cpuacct.usage_percpu"))
                (void) json_object_set_new(usage, "percpu", numbers(s->text));
        if (read_text(s, "cpuacct", "cpuacct.stat"))
                put_all(s, stat);
        (void) json_object_set_new(usage, "kernel", json_integer((json_int_t) get(stat, "system") * tick_ns));
        (void) json_object_set_new(usage, "user", json_integer((json_int_t) get(stat, "user") * tick_ns));
        if (read_text(s, "cpu", "cpu.stat"))
                put_all(s, stat);
        return json_pack("{s:o s:{s:I s:I s:I}}", "usage", usage, "throttling", "periods",
                         (json_int_t) get(stat, "nr_periods"), "throttledPeriods",
                         (json_int_t) get(stat, "nr_throttled"), "throttledTime",
                         (json_int_t) get(stat, "throttled_time"));
}

static json_t *memory_files(struct source *s, const char *const files[4]) {
        static const char *const keys[] = { "limit", "usage", "max", "failcnt" };
        json_t *o = json_object();

        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (files[i])
                        put_file(s, "memory", files[i], o, keys[i]);
        return o;
}

/* How often the limit stood in the way. */
static void put_failcnt(struct source *s, const char *events, json_t *o) {
        _cleanup_(json_unrefp) json_t *counts = json_object();

        if (read_text(s, "memory", events))
                put_all(s, counts);
        put(o, "failcnt", get(counts, "max"));
}

static json_t *memory_v2(struct source *s) {
        json_t *usage = memory_files(s, (const char *[]){ "memory.max", "memory.current", "memory.peak", NULL });
        json_t *swap =
                memory_files(s, (const char *[]){ "memory.swap.max", "memory.swap.current", "memory.swap.peak", NULL });
        json_t *raw = json_object(), *o = json_object();

        if (read_text(s, "memory", "memory.stat"))
                put_all(s, raw);
        put(o, "cache", get(raw, "file"));
        put_failcnt(s, "memory.events", usage);
        (void) json_object_set_new(o, "usage", usage);
        put_failcnt(s, "memory.swap.events", swap);
        (void) json_object_set_new(o, "swap", swap);
        /* The kernel's own memory has no limit of its own there, which is what runc says, too. */
        (void) json_object_set_new(o, "kernel", json_pack("{s:i s:i}", "limit", 0, "failcnt", 0));
        (void) json_object_set_new(o, "kernelTCP", json_pack("{s:i s:i}", "limit", 0, "failcnt", 0));
        (void) json_object_set_new(o, "raw", raw);
        return o;
}

static json_t *memory_v1(struct source *s) {
        static const struct {
                const char *key, *prefix;
        } kinds[] = { { "usage", "memory" },
                      { "swap", "memory.memsw" },
                      { "kernel", "memory.kmem" },
                      { "kernelTCP", "memory.kmem.tcp" } };
        static const char *const suffixes[] = { "limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt" };
        json_t *raw = json_object(), *o = json_object();
        char names[ELEMENTSOF(suffixes)][64];

        if (read_text(s, "memory", "memory.stat"))
                put_all(s, raw);
        put(o, "cache", get(raw, "cache"));
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                for (size_t k = 0; k < ELEMENTSOF(suffixes); k++)
                        (void) snprintf(names[k], sizeof(names[k]), "%s.%s", kinds[i].prefix, suffixes[k]);
                (void) json_object_set_new(o, kinds[i].key,
                                           memory_files(s, (const char *[]){ names[0], names[1], names[2], names[3] }));
        }
        (void) json_object_set_new(o, "raw", raw);
        return o;
}

static json_t *pids(struct source *s) {
        json_t *o = json_object();
        uint64_t limit;

        put_file(s, "pids", "pids.current", o, "current");
        if (read_number(s, "pids", "pids.max", &limit) && limit != UINT64_MAX)
                put(o, "limit", limit);
        return o;
}

/* "0-2,7" as [0,1,2,7]. */
static json_t *list_of(const char *text) {
        json_t *list = json_array();

        while (isdigit((unsigned char) *text)) {
                char *end;
                unsigned long from = strtoul(text, &end, 10), to = from;

                if (*end == '-')
                        to = strtoul(end + 1, &end, 10);
                for (; from <= to && json_array_size(list) < LIST_MAX; from++)
                        (void) json_array_append_new(list, json_integer((json_int_t) from));
                text = *end == ',' ? end + 1 : end;
        }
        return list;
}

static json_t *cpuset(struct source *s) {
        static const char *const names[] = { "cpus", "mems" };
        bool v2 = cgroups_is_v2(s->c, "cpuset");
        json_t *o = json_object();
        char file[64];

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                (void) snprintf(file, sizeof(file), "cpuset.%s%s", names[i], v2 ? ".effective" : "");
                if (read_text(s, "cpuset", file))
                        (void) json_object_set_new(o, names[i], list_of(s->text));
        }
        return o;
}

static json_t *io_entry(const struct cgroup_device_io *d, const char *op, uint64_t value) {
        return json_pack("{s:i s:i s:s s:I}", "major", (int) d->major, "minor", (int) d->minor, "op", op, "value",
                         (json_int_t) value);
}

static json_t *blkio(const struct cgroup_metrics *m) {
        json_t *bytes = json_array(), *serviced = json_array();

        for (size_t i = 0; i < m->n_devices; i++) {
                const struct cgroup_device_io *d = &m->devices[i];

                (void) json_array_append_new(bytes, io_entry(d, "Read", d->read_bytes));
                (void) json_array_append_new(bytes, io_entry(d, "Write", d->write_bytes));
                (void) json_array_append_new(serviced, io_entry(d, "Read", d->reads));
                (void) json_array_append_new(serviced, io_entry(d, "Write", d->writes));
        }
        return json_pack("{s:o s:o}", "ioServiceBytesRecursive", bytes, "ioServicedRecursive", serviced);
}

static json_t *hugetlb(const struct cgroup_metrics *m) {
        json_t *o = json_object();

        for (size_t i = 0; i < m->n_hugetlb; i++) {
                json_t *one = json_object();

                put(one, "usage", m->hugetlb[i].usage);
                if (m->hugetlb[i].max_usage != UINT64_MAX)
                        put(one, "max", m->hugetlb[i].max_usage);
                (void) json_object_set_new(o, m->hugetlb[i].page_size, one);
        }
        return o;
}

static json_t *psi_line(const struct cgroup_psi_line *l) {
        return json_pack("{s:f s:f s:f s:I}", "avg10", l->avg10, "avg60", l->avg60, "avg300", l->avg300, "total",
                         (json_int_t) (l->total_ns / 1000));
}

static void put_psi(json_t *o, const struct cgroup_psi *psi) {
        if (psi->has)
                (void) json_object_set_new(
                        o, "psi", json_pack("{s:o s:o}", "some", psi_line(&psi->some), "full", psi_line(&psi->full)));
}

json_t *stats_json(struct cgroups *c, const char *path) {
        static struct cgroup_metrics metrics;
        static struct source s;
        struct cgroup_stats stats;
        json_t *o, *cpu, *memory, *io;
        struct err err;

        s = (struct source){ .c = c, .path = path };
        if (cgroup_get_metrics(c, path, NULL, &stats, &metrics, &err) < 0)
                return NULL;
        cpu = cgroups_is_v2(c, "cpu") ? cpu_v2(&s) : cpu_v1(&s);
        memory = cgroups_is_v2(c, "memory") ? memory_v2(&s) : memory_v1(&s);
        io = blkio(&metrics);
        put_psi(cpu, &stats.cpu_psi);
        put_psi(memory, &stats.memory_psi);
        put_psi(io, &stats.io_psi);
        o = json_pack("{s:o s:o s:o}", "cpu", cpu, "cpuset", cpuset(&s), "memory", memory);
        (void) json_object_set_new(o, "pids", pids(&s));
        (void) json_object_set_new(o, "blkio", io);
        (void) json_object_set_new(o, "hugetlb", hugetlb(&metrics));
        (void) json_object_set_new(o, "intel_rdt", json_object());
        (void) json_object_set_new(o, "network_interfaces", json_null());
        return o;
}
