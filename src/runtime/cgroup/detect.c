/* SPDX-License-Identifier: Apache-2.0 */
/* detect - which control group hierarchies this host has, from /proc/self/mountinfo.
 * Groups are made only where something is limited, counted or killed by it: perf_event and other v1 hierarchies without
 * use to us are left alone, and net_cls, net_prio and rdma where nobody asks for them, as each costs a mkdir, a write
 * and a rmdir per container. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "runtime/cgroup/internal.h"

static const struct {
        const char *v1, *v2;
} ctl_names[CTL_MAX] = {
        [CTL_CPU] = { "cpu", "cpu" },
        [CTL_CPUACCT] = { "cpuacct", NULL },
        [CTL_CPUSET] = { "cpuset", "cpuset" },
        [CTL_MEMORY] = { "memory", "memory" },
        [CTL_DEVICES] = { "devices", NULL },
        [CTL_FREEZER] = { "freezer", NULL },
        [CTL_BLKIO] = { "blkio", "io" },
        [CTL_PIDS] = { "pids", "pids" },
        [CTL_HUGETLB] = { "hugetlb", "hugetlb" },
        [CTL_RDMA] = { "rdma", "rdma" },
        [CTL_MISC] = { "misc", "misc" },
        [CTL_NET_CLS] = { "net_cls", NULL },
        [CTL_NET_PRIO] = { "net_prio", NULL },
};

/* What makes a v1 hierarchy worth a group of ours. */
enum {
        V1_USED = 1 << CTL_CPU | 1 << CTL_CPUACCT | 1 << CTL_CPUSET | 1 << CTL_MEMORY | 1 << CTL_DEVICES |
                  1 << CTL_BLKIO | 1 << CTL_PIDS | 1 << CTL_HUGETLB,
        /* ... and what only for those who ask. */
        V1_RARE = 1 << CTL_RDMA | 1 << CTL_MISC | 1 << CTL_NET_CLS | 1 << CTL_NET_PRIO
};

const char *ctl_name(enum ctl ctl, bool v2) {
        return v2 && ctl_names[ctl].v2 ? ctl_names[ctl].v2 : ctl_names[ctl].v1;
}

static bool name_is(const char *name, const char *s, size_t len) {
        return name && strlen(name) == len && memcmp(name, s, len) == 0;
}

int ctl_find(const char *name, size_t len) {
        for (int i = 0; i < CTL_MAX; i++)
                if (name_is(ctl_names[i].v1, name, len) || name_is(ctl_names[i].v2, name, len))
                        return i;
        return -1;
}

unsigned controllers_in(const char *list, size_t size) {
        const char *end = list + size;
        unsigned mask = 0;

        while (list < end) {
                size_t len = MIN_OF(strcspn(list, ", \n"), (size_t) (end - list));
                int ctl = ctl_find(list, len);

                if (ctl >= 0)
                        mask |= 1U << ctl;
                list += len + 1;
        }
        return mask;
}

/* mountinfo writes blanks and backslashes as \ooo. */
static void unescape(char *s) {
        char *to = s;

        for (; *s; s++, to++) {
                if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
                    s[3] <= '7') {
                        *to = (char) ((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
                        s += 3;
                } else {
                        *to = *s;
                }
        }
        *to = '\0';
}

/* Kernels from 5.14 on kill and (from 5.2) freeze a v2 group by themselves; then v1's freezer has no use. */
static bool kernel_kills(void) {
        struct utsname u;
        char *end;
        unsigned long major;

        if (uname(&u) < 0)
                return false;
        major = strtoul(u.release, &end, 10);
        return major > 5 || (major == 5 && *end == '.' && strtoul(end + 1, NULL, 10) >= 14);
}

static int add_hier(struct cgroups *c, const char *mount, unsigned controllers, bool v2, struct err *err) {
        struct hier *h;
        char text[512];

        for (size_t i = 0; i < c->n; i++)
                if (c->hiers[i].v2 ? v2 : !v2 && c->hiers[i].controllers == controllers)
                        return 0; /* mounted a second time elsewhere: the first one stands */
        if (c->n == HIER_MAX)
                return err_set(err, ERR_EXHAUSTED, "more than %d control group hierarchies are mounted", HIER_MAX);
        h = &c->hiers[c->n];
        h->fd = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (h->fd < 0)
                return err_sys(err, errno, "open %s", mount);
        h->mount = xstrdup(mount);
        h->v2 = v2;
        c->n++;
        if (v2 && file_read_at(h->fd, "cgroup.controllers", text, sizeof(text)) >= 0)
                controllers = controllers_in(text, strlen(text));
        h->controllers = controllers;
        h->rare = !v2 && controllers && !(controllers & (V1_USED | 1U << CTL_FREEZER));
        return 0;
}

static int take_line(struct cgroups *c, char *line, struct err *err) {
        char *field[6], *tail, *fstype, *options = NULL;
        unsigned controllers;

        for (size_t i = 0; i < ELEMENTSOF(field); i++)
                field[i] = strsep(&line, " ");
        tail = line ? strstr(line, "- ") : NULL;
        if (!tail)
                return 0;
        tail += 2;
        fstype = strsep(&tail, " ");
        if (tail)
                (void) strsep(&tail, " ");
        options = tail;
        unescape(field[4]);
        if (str_eq(fstype, "cgroup2"))
                return add_hier(c, field[4], 0, true, err);
        if (!str_eq(fstype, "cgroup") || !options)
                return 0;
        controllers = controllers_in(options, strlen(options));
        if (controllers & (V1_USED | V1_RARE | 1 << CTL_FREEZER))
                return add_hier(c, field[4], controllers, false, err);
        /* systemd's own: processes that stay in the service's group there would count as its leftovers. */
        if (strstr(options, "name=systemd") && access("/run/systemd/system", F_OK) == 0)
                return add_hier(c, field[4], 0, false, err);
        return 0;
}

static void swap_hiers(struct cgroups *c, size_t a, size_t b) {
        struct hier h = c->hiers[a];

        c->hiers[a] = c->hiers[b];
        c->hiers[b] = h;
}

/* A freezer mounted alone is of no use beside a v2 tree on a kernel that kills by itself. */
static void drop_freezer(struct cgroups *c) {
        for (size_t i = 0; i < c->n; i++) {
                if (c->hiers[i].v2 || c->hiers[i].controllers != 1U << CTL_FREEZER)
                        continue;
                (void) close(c->hiers[i].fd);
                free(c->hiers[i].mount);
                c->hiers[i] = c->hiers[--c->n];
                return;
        }
}

static void settle(struct cgroups *c) {
        bool v1 = false, v2 = false;
        char text[16];

        for (size_t i = 0; i < c->n; i++) {
                v1 = v1 || (!c->hiers[i].v2 && !c->hiers[i].rare);
                v2 = v2 || c->hiers[i].v2;
        }
        c->mode = !v1 ? CGROUP_V2 : v2 ? CGROUP_HYBRID : CGROUP_V1;
        if (c->mode == CGROUP_HYBRID && kernel_kills())
                drop_freezer(c);
        for (size_t i = 0; i < c->n; i++)
                if (c->hiers[i].v2 || (!v2 && c->hiers[i].controllers & 1U << CTL_MEMORY))
                        swap_hiers(c, 0, i);
        for (size_t i = 0; i < c->n && c->hiers[0].rare; i++)
                swap_hiers(c, 0, i);
        c->unified = v2 ? 0 : -1;
        for (int ctl = 0; ctl < CTL_MAX; ctl++) {
                c->of[ctl] = -1;
                for (size_t i = 0; i < c->n; i++)
                        if (c->hiers[i].controllers & 1U << ctl)
                                c->of[ctl] = (int8_t) i;
        }
        c->seed_hierarchy =
                c->of[CTL_MEMORY] >= 0 && !c->hiers[c->of[CTL_MEMORY]].v2 &&
                file_read_at(c->hiers[c->of[CTL_MEMORY]].fd, "memory.use_hierarchy", text, sizeof(text)) > 0 &&
                text[0] == '0';
}

/* "hugepages-2048kB" is "2MB" in names of control files. */
static void take_page_size(struct cgroups *c, const char *folder) {
        const char *number = str_after(folder, "hugepages-");
        char *end;
        unsigned kib = number ? (unsigned) strtoul(number, &end, 10) : 0, steps = 0;

        if (kib == 0 || !str_eq(end, "kB") || c->n_page_sizes == CGROUP_HUGETLB_MAX)
                return;
        for (; kib >= 1024 && steps < 2; steps++)
                kib /= 1024;
        (void) snprintf(c->page_sizes[c->n_page_sizes++], sizeof(c->page_sizes[0]), "%u%cB", kib, "KMG"[steps]);
}

static void find_page_sizes(struct cgroups *c) {
        _cleanup_(closedirp) DIR *dir = opendir("/sys/kernel/mm/hugepages");
        struct dirent *e;

        while (dir && (e = readdir(dir)))
                take_page_size(c, e->d_name);
}

int cgroups_new_from(const char *mountinfo, struct cgroups **ret, struct err *err) {
        _cleanup_(cgroups_freep) struct cgroups *c = xnew(struct cgroups);
        _cleanup_strbuf_ struct strbuf mounts = STRBUF(1 << 20);
        _cleanup_(freep) char *text = NULL;
        char *rest, *line;
        int r;

        (void) pthread_mutex_init(&c->lock, NULL);
        for (size_t i = 0; i < DEVICE_CACHE_MAX; i++)
                c->programs[i].fd = -1;
        r = fs_read_file(AT_FDCWD, mountinfo, 16 << 20, &text, NULL, err);
        if (r < 0)
                return r;
        rest = text;
        while ((line = strsep(&rest, "\n"))) {
                if (!strstr(line, " - cgroup"))
                        continue;
                strbuf_puts(&mounts, line);
                strbuf_putc(&mounts, '\n');
                r = take_line(c, line, err);
                if (r < 0)
                        return err_wrap(err, "find control groups");
        }
        if (c->n == 0)
                return err_set(
                        err, ERR_PRECONDITION,
                        "no control groups are mounted: mount them, e.g. \"mount -t cgroup2 none /sys/fs/cgroup\"");
        c->mounts = strbuf_take(&mounts);
        settle(c);
        if (c->of[CTL_HUGETLB] >= 0)
                find_page_sizes(c);
        *ret = TAKE_PTR(c);
        return 0;
}

const char *cgroups_mounts(const struct cgroups *c) {
        return c->mounts;
}

int cgroups_new(struct cgroups **ret, struct err *err) {
        return cgroups_new_from("/proc/self/mountinfo", ret, err);
}

struct cgroups *cgroups_free(struct cgroups *c) {
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n; i++) {
                (void) close(c->hiers[i].fd);
                free(c->hiers[i].mount);
        }
        for (size_t i = 0; i < DEVICE_CACHE_MAX; i++) {
                (void) fd_close(c->programs[i].fd);
                free(c->programs[i].insns);
        }
        (void) pthread_mutex_destroy(&c->lock);
        free(c->mounts);
        free(c);
        return NULL;
}

enum cgroup_mode cgroups_mode(const struct cgroups *c) {
        return c->mode;
}

const char *cgroup_mode_name(enum cgroup_mode mode) {
        return mode == CGROUP_V1 ? "v1" : mode == CGROUP_HYBRID ? "hybrid" : "v2";
}

uint64_t cgroups_cpu_units(const struct cgroups *c, uint64_t shares) {
        return cgroups_mode(c) == CGROUP_V2 ? weight_from_shares(shares) : shares;
}

bool cgroups_has(const struct cgroups *c, const char *controller) {
        int ctl = ctl_find(controller, strlen(controller));

        if (ctl < 0)
                return false;
        if (c->of[ctl] >= 0)
                return true;
        /* Not controllers on v2, but always there: cpu.stat, BPF programs, cgroup.freeze. */
        if (ctl == CTL_FREEZER)
                return c->unified >= 0;
        return c->mode == CGROUP_V2 && (ctl == CTL_DEVICES || (ctl == CTL_CPUACCT && c->of[CTL_CPU] >= 0));
}
