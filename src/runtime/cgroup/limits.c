/* SPDX-License-Identifier: Apache-2.0 */
/* limits - check what is asked, plan the writes (v1.c, v2.c), carry them out, and put back what an update that failed
 * half-way had changed. Messages begin with the field, below linux.resources of the OCI runtime
 * specification. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { OLD_VALUE_MAX = 8192 };

static const char *value_of(const struct planned_write *w) {
        return w->value ? w->value : w->buf;
}

struct planned_write *writes_add(struct plan *p, unsigned flags, const char *field, const char *fmt, ...) {
        struct planned_write *w;
        va_list ap;
        int n;

        if (p->n == PLAN_MAX) {
                p->full = true; /* the last one is written over, none is carried out */
                p->n--;
        }
        xgrow(p->writes, p->n, p->cap);
        w = &p->writes[p->n++];
        *w = (struct planned_write){ .hier = (uint8_t) p->hier, .flags = (uint8_t) flags, .field = field };
        va_start(ap, fmt);
        n = vsnprintf(w->file, sizeof(w->file), fmt, ap);
        va_end(ap);
        if (n >= (int) sizeof(w->file))
                p->full = true;
        return w;
}

void writes_value(struct planned_write *w, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(w->buf, sizeof(w->buf), fmt, ap);
        va_end(ap);
}

void writes_unset(struct planned_write *w, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(w->unset, sizeof(w->unset), fmt, ap);
        va_end(ap);
}

void writes_text(struct plan *p, unsigned flags, const char *field, const char *file, const char *value) {
        writes_add(p, flags, field, "%s", file)->value = value;
}

void writes_number(struct plan *p, unsigned flags, const char *field, const char *file, int64_t value) {
        writes_value(writes_add(p, flags, field, "%s", file), "%lld", (long long) value);
}

void writes_done(struct plan *p) {
        for (size_t i = 0; i < p->n; i++)
                free(p->writes[i].old);
        free(p->writes);
}

unsigned resources_controllers(const struct spec_resources *r) {
        unsigned need = 0;

        if (r->memory_limit_bytes || r->memory_swap_limit_bytes || r->memory_reservation_bytes || r->has_swappiness ||
            r->oom_kill_disable)
                need |= 1U << CTL_MEMORY;
        if (r->cpu_shares || r->cpu_quota_us || r->cpu_period_us || r->has_cpu_burst || r->has_cpu_idle ||
            r->has_rt_runtime || r->rt_period_us)
                need |= 1U << CTL_CPU;
        if (!str_empty(r->cpuset_cpus) || !str_empty(r->cpuset_mems))
                need |= 1U << CTL_CPUSET;
        if (r->pids_limit)
                need |= 1U << CTL_PIDS;
        if (r->blkio_weight || r->blkio_leaf_weight || r->n_blkio_weights)
                need |= 1U << CTL_BLKIO;
        for (size_t k = 0; k < SPEC_THROTTLE_MAX; k++)
                if (r->n_throttles[k])
                        need |= 1U << CTL_BLKIO;
        if (r->n_hugepages)
                need |= 1U << CTL_HUGETLB;
        if (r->n_rdma)
                need |= 1U << CTL_RDMA;
        if (r->has_net_class_id)
                need |= 1U << CTL_NET_CLS;
        if (r->n_net_priorities)
                need |= 1U << CTL_NET_PRIO;
        return need;
}

/* Lifting a limit, or "no huge pages", asks nothing of a host that lacks the controller. */
static bool asks_nothing(const struct spec_resources *r, enum ctl ctl) {
        if (ctl == CTL_PIDS)
                return r->pids_limit < 0;
        if (ctl == CTL_HUGETLB) {
                for (size_t i = 0; i < r->n_hugepages; i++)
                        if (r->hugepages[i].limit_bytes > 0)
                                return false;
                return true;
        }
        return false;
}

static int check_host(struct cgroups *c, const struct spec_resources *r, unsigned need, struct err *err) {
        static const char *const fields[CTL_MAX] = {
                [CTL_CPU] = "cpu",       [CTL_CPUSET] = "cpu.cpus, cpu.mems", [CTL_MEMORY] = "memory",
                [CTL_BLKIO] = "blockIO", [CTL_PIDS] = "pids.limit",           [CTL_HUGETLB] = "hugepageLimits",
                [CTL_RDMA] = "rdma",     [CTL_NET_CLS] = "network.classID",   [CTL_NET_PRIO] = "network.priorities",
        };

        for (int ctl = 0; ctl < CTL_MAX; ctl++)
                if (need & 1U << ctl && c->of[ctl] < 0 && !asks_nothing(r, (enum ctl) ctl))
                        return err_set(err, ERR_PRECONDITION,
                                       "%s: this host has no \"%s\" controller (cgroup %s; see /proc/cgroups and the "
                                       "kernel's command line%s)",
                                       fields[ctl], ctl_name((enum ctl) ctl, c->mode == CGROUP_V2),
                                       cgroup_mode_name(c->mode),
                                       ctl == CTL_NET_CLS || ctl == CTL_NET_PRIO ? "; it is of cgroup v1 alone" : "");
        return 0;
}

static int write_error(const struct planned_write *w, int r, struct err *err) {
        switch (-r) {
        case ENOENT:
                return err_set(err, ERR_PRECONDITION, "%s: this host can't set %s = %.64s: no such file", w->field,
                               w->file, value_of(w));
        case EINVAL:
        case ERANGE:
        case ENODEV:
                return err_set(err, ERR_INVALID, "%s: %s = %.64s is refused by the kernel: %s", w->field, w->file,
                               value_of(w), strerror(-r));
        case EBUSY:
                return err_set(err, ERR_PRECONDITION, "%s: %s = %.64s: in use above that limit", w->field, w->file,
                               value_of(w));
        default:
                return err_sys(err, -r, "%s: write %.64s to %s", w->field, value_of(w), w->file);
        }
}

static void remember(struct planned_write *w, int dirfd) {
        char text[OLD_VALUE_MAX];
        uint64_t n;

        if (file_read_at(dirfd, w->file, text, sizeof(text)) < 0)
                return;
        if (str_eq(w->file, "memory.oom_control")) /* reads otherwise than it is written */
                w->old = xstrdup(keyed_number(text, "oom_kill_disable", &n) && n ? "1" : "0");
        else
                w->old = xstrdup(text);
}

/* Write back, line by line: files keyed by device take one line a write. A device that was not listed had no limit. */
static void put_back(struct group *g, struct planned_write *w) {
        int fd = group_fd(g, w->hier);
        char *rest = w->old, *line;

        if (!w->old || fd < 0)
                return;
        if (w->unset[0])
                (void) file_write_at(fd, w->file, w->unset);
        else if (!*rest)
                (void) file_write_at(fd, w->file, "\n"); /* an empty cpuset */
        while ((line = strsep(&rest, "\n")))
                if (*line)
                        (void) file_write_at(fd, w->file, line);
}

static void undo(struct group *g, struct plan *p, size_t n) {
        while (n-- > 0)
                put_back(g, &p->writes[n]);
}

static int carry_out(struct group *g, struct plan *p, bool with_undo, struct err *err) {
        for (size_t i = 0; i < p->n; i++) {
                struct planned_write *w = &p->writes[i];
                int fd = group_fd(g, w->hier), r;

                if (fd >= 0 && with_undo)
                        remember(w, fd);
                r = fd < 0 ? fd : file_write_at(fd, w->file, value_of(w));
                if (r == 0 && w->flags & WRITE_OR_NEXT)
                        i++;
                if (r == 0 || (r == -ENOENT && w->flags & (WRITE_OPTIONAL | WRITE_OR_NEXT)))
                        continue;
                r = write_error(w, r, err);
                if (with_undo)
                        undo(g, p, i);
                return r;
        }
        return 0;
}

static int apply_devices(struct group *g, const struct spec_resources *r, struct err *err) {
        struct cgroups *c = g->c;
        int h = c->of[CTL_DEVICES], fd;

        if (r->n_devices == 0)
                return 0;
        if (h < 0 && c->mode != CGROUP_V2)
                return err_set(err, ERR_PRECONDITION, "devices: this host has no \"devices\" controller mounted");
        fd = group_fd(g, h < 0 ? c->unified : h);
        if (fd < 0)
                return err_sys(err, -fd, "devices: open the group");
        return h < 0 ? devices_apply_v2(c, fd, g->fresh[c->unified], r->devices, r->n_devices, err)
                     : devices_apply_v1(fd, g->fresh[h], r->devices, r->n_devices, err);
}

static int enable(struct group *g, const struct spec_resources *r, struct err *err) {
        struct cgroups *c = g->c;
        unsigned need = resources_controllers(r), have;

        if (c->unified < 0)
                return 0;
        have = c->hiers[c->unified].controllers;
        for (size_t i = 0; i < r->n_unified; i++) {
                int ctl = ctl_find(r->unified[i].key, strcspn(r->unified[i].key, "."));

                need |= ctl < 0 ? 0 : 1U << ctl;
        }
        /* Counting (statistics, OOM kills) needs these even without a limit. */
        return v2_enable(g, need & have,
                         g->all_controllers ? have : (1U << CTL_CPU | 1U << CTL_MEMORY | 1U << CTL_PIDS) & have, err);
}

static int apply(struct group *g, const struct spec_resources *r, struct plan *p, enum limits_how how,
                 struct err *err) {
        bool with_undo = how != LIMITS_CREATE;
        int res;

        if ((res = resources_check(r, err)) < 0 || (res = check_host(g->c, r, resources_controllers(r), err)) < 0 ||
            (res = enable(g, r, err)) < 0 || (res = plan_v1(g, r, p, err)) < 0 || (res = plan_v2(g, r, p, err)) < 0)
                return res;
        if (p->full)
                return err_set(err, ERR_INVALID, "too many limits");
        res = carry_out(g, p, with_undo, err);
        if (res < 0)
                return res;
        res = apply_devices(g, r, err);
        if (res < 0 && with_undo)
                undo(g, p, p->n);
        return res;
}

int limits_apply(struct group *g, const struct spec_resources *r, enum limits_how how, struct err *err) {
        struct plan p = { 0 };
        int res = apply(g, r, &p, how, err);

        writes_done(&p);
        return res;
}
