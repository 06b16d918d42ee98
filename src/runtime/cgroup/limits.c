/* SPDX-License-Identifier: Apache-2.0 */
/* limits - check what is asked, plan the writes (v1.c, v2.c), carry them out, and put back what an update that failed
 * half-way had changed. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { HUGEPAGE_SIZES_MAX = 16, UNIFIED_MAX = 32, UNIFIED_VALUE_MAX = 4096, OLD_VALUE_MAX = 8192 };

struct planned_write *plan_add(struct plan *p, int hier, unsigned flags, const char *value, const char *fmt, ...) {
        struct planned_write *w = &p->writes[p->n]; /* one more than PLAN_MAX: written to, never carried out */
        va_list ap;
        int n;

        if (p->n == PLAN_MAX)
                p->full = true;
        else
                p->n++;
        va_start(ap, fmt);
        n = vsnprintf(w->file, sizeof(w->file), fmt, ap);
        va_end(ap);
        if (n >= (int) sizeof(w->file))
                p->full = true;
        w->hier = (uint8_t) hier;
        w->flags = (uint8_t) flags;
        w->value = value;
        w->old = NULL;
        return w;
}

void plan_add_number(struct plan *p, int hier, unsigned flags, const char *file, int64_t value) {
        struct planned_write *w = plan_add(p, hier, flags, NULL, "%s", file);

        (void) snprintf(w->buf, sizeof(w->buf), "%lld", (long long) value);
        w->value = w->buf;
}

static bool page_size_valid(const char *s) {
        size_t digits = s ? strspn(s, "0123456789") : 0;

        return digits > 0 && digits < 8 &&
               (str_eq(s + digits, "KB") || str_eq(s + digits, "MB") || str_eq(s + digits, "GB"));
}

/* A file of the group itself that sets something. The files that move processes or shape the tree are not limits. */
static bool unified_key_valid(const char *key) {
        size_t len = key ? strlen(key) : 0;

        if (len < 3 || len >= sizeof(((struct planned_write *) 0)->file) || !strchr(key, '.') || key[0] == '.')
                return false;
        if (strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != len)
                return false;
        return !str_after(key, "cgroup.") || str_after(key, "cgroup.max.") || str_eq(key, "cgroup.pressure");
}

static int check_list(const char *list, const char *what, struct err *err) {
        if (str_empty(list))
                return 0;
        if (strlen(list) > 4000 || strspn(list, "0123456789,-") != strlen(list))
                return err_set(err, ERR_INVALID, "%s must be a list like \"0-3,7\"", what);
        return 0;
}

static int check_memory(const struct spec_resources *r, struct err *err) {
        int64_t limit = r->memory_limit_bytes, swap = r->memory_swap_limit_bytes;

        if (limit < -1 || swap < -1)
                return err_set(err, ERR_INVALID, "a memory limit is negative");
        if (swap > 0 && limit > 0 && swap < limit)
                return err_set(err, ERR_INVALID, "memory + swap limit %lld is below the memory limit %lld",
                               (long long) swap, (long long) limit);
        if (swap > 0 && limit < 0)
                return err_set(err, ERR_INVALID, "a memory + swap limit needs a memory limit");
        return 0;
}

static int check(const struct spec_resources *r, struct err *err) {
        int res = check_memory(r, err);

        if (res < 0)
                return res;
        if (r->cpu_quota_us < -1 || r->cpu_period_us > 1000000)
                return err_set(err, ERR_INVALID, "CPU quota must be -1 or more, the period at most 1000000 us");
        if (r->pids_limit < -1)
                return err_set(err, ERR_INVALID, "the limit of processes is negative");
        if (r->blkio_weight && (r->blkio_weight < 10 || r->blkio_weight > 1000))
                return err_set(err, ERR_INVALID, "block I/O weight %u is not in 10..1000", r->blkio_weight);
        if ((res = check_list(r->cpuset_cpus, "cpuset cpus", err)) < 0 ||
            (res = check_list(r->cpuset_mems, "cpuset mems", err)) < 0)
                return res;
        if (r->n_hugepages > HUGEPAGE_SIZES_MAX || r->n_unified > UNIFIED_MAX)
                return err_set(err, ERR_INVALID, "more than %d huge page limits or %d unified entries",
                               HUGEPAGE_SIZES_MAX, UNIFIED_MAX);
        for (size_t i = 0; i < r->n_hugepages; i++)
                if (!page_size_valid(r->hugepages[i].page_size))
                        return err_set(err, ERR_INVALID, "huge page size \"%.32s\" is not like \"2MB\"",
                                       r->hugepages[i].page_size ? r->hugepages[i].page_size : "");
        for (size_t i = 0; i < r->n_unified; i++) {
                const char *key = r->unified[i].key, *value = r->unified[i].value;

                if (!unified_key_valid(key))
                        return err_set(err, ERR_INVALID, "unified: \"%.64s\" is not a limit of a group",
                                       key ? key : "");
                if (!value || strlen(value) > UNIFIED_VALUE_MAX)
                        return err_set(err, ERR_INVALID, "unified: the value of %s is missing or too long", key);
        }
        return devices_check(r->devices, r->n_devices, err);
}

unsigned resources_controllers(const struct spec_resources *r) {
        unsigned need = 0;

        if (r->memory_limit_bytes || r->memory_swap_limit_bytes)
                need |= 1U << CTL_MEMORY;
        if (r->cpu_shares || r->cpu_quota_us || r->cpu_period_us)
                need |= 1U << CTL_CPU;
        if (!str_empty(r->cpuset_cpus) || !str_empty(r->cpuset_mems))
                need |= 1U << CTL_CPUSET;
        if (r->pids_limit)
                need |= 1U << CTL_PIDS;
        if (r->blkio_weight)
                need |= 1U << CTL_BLKIO;
        for (size_t i = 0; i < r->n_hugepages; i++)
                need |= 1U << CTL_HUGETLB;
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
        for (int ctl = 0; ctl < CTL_MAX; ctl++)
                if (need & 1U << ctl && c->of[ctl] < 0 && !asks_nothing(r, (enum ctl) ctl))
                        return err_set(err, ERR_PRECONDITION,
                                       "a %s limit is asked, but this host has no \"%s\" controller (cgroup %s; see "
                                       "/proc/cgroups "
                                       "and the kernel's command line)",
                                       ctl_name((enum ctl) ctl, c->mode == CGROUP_V2),
                                       ctl_name((enum ctl) ctl, c->mode == CGROUP_V2), cgroup_mode_name(c->mode));
        return 0;
}

static int write_error(const struct planned_write *w, int r, struct err *err) {
        switch (-r) {
        case ENOENT:
                return err_set(err, ERR_PRECONDITION, "this host can't set %s = %.64s: no such file", w->file,
                               w->value);
        case EINVAL:
        case ERANGE:
                return err_set(err, ERR_INVALID, "%s = %.64s is refused by the kernel: %s", w->file, w->value,
                               strerror(-r));
        case EBUSY:
                return err_set(err, ERR_PRECONDITION, "%s = %.64s: in use above that limit", w->file, w->value);
        default:
                return err_sys(err, -r, "write %.64s to %s", w->value, w->file);
        }
}

static void remember(struct planned_write *w, int dirfd) {
        char text[OLD_VALUE_MAX];

        if (file_read_at(dirfd, w->file, text, sizeof(text)) >= 0)
                w->old = xstrdup(text);
}

/* Write back, line by line: files keyed by device take one line a write. A device that io.max did not list had no
 * limit. */
static void put_back(struct group *g, struct planned_write *w) {
        int fd = group_fd(g, w->hier);
        char *rest = w->old, *line;

        if (!w->old || fd < 0)
                return;
        if (str_eq(w->file, "io.max")) {
                char none[128];

                (void) snprintf(none, sizeof(none), "%.*s rbps=max wbps=max riops=max wiops=max",
                                (int) strcspn(w->value, " "), w->value);
                (void) file_write_at(fd, w->file, none);
        }
        if (!*rest)
                (void) file_write_at(fd, w->file, "\n"); /* an empty cpuset */
        while ((line = strsep(&rest, "\n")))
                if (*line)
                        (void) file_write_at(fd, w->file, line);
}

static int carry_out(struct group *g, struct plan *p, bool undo, struct err *err) {
        size_t i;
        int r = 0;

        for (i = 0; i < p->n; i++) {
                struct planned_write *w = &p->writes[i];
                int fd = group_fd(g, w->hier);

                if (fd >= 0 && undo)
                        remember(w, fd);
                r = fd < 0 ? fd : file_write_at(fd, w->file, w->value);
                if (r == -ENOENT && w->flags & (WRITE_OPTIONAL | WRITE_OR_NEXT))
                        r = 0;
                else if (r == 0 && w->flags & WRITE_OR_NEXT)
                        i++;
                if (r < 0) {
                        r = write_error(w, r, err);
                        break;
                }
        }
        if (r < 0 && undo)
                while (i-- > 0)
                        put_back(g, &p->writes[i]);
        return r;
}

static int apply_devices(struct group *g, const struct spec_resources *r, struct err *err) {
        struct cgroups *c = g->c;
        int h = c->of[CTL_DEVICES], fd;

        if (r->n_devices == 0)
                return 0;
        if (h < 0 && c->mode != CGROUP_V2)
                return err_set(err, ERR_PRECONDITION,
                               "device rules are asked, but this host has no \"devices\" controller mounted");
        fd = group_fd(g, h < 0 ? c->unified : h);
        if (fd < 0)
                return err_sys(err, -fd, "open it");
        return h < 0 ? devices_apply_v2(c, fd, g->fresh[c->unified], r->devices, r->n_devices, err)
                     : devices_apply_v1(fd, r->devices, r->n_devices, err);
}

int limits_apply(struct group *g, const struct spec_resources *r, enum limits_how how, struct err *err) {
        struct cgroups *c = g->c;
        unsigned need = resources_controllers(r);
        struct plan p;
        int res;

        p.n = 0;
        p.full = false;
        if ((res = check(r, err)) < 0 || (res = check_host(c, r, need, err)) < 0)
                return res;
        if (c->unified >= 0) {
                unsigned v2_need = need;

                for (size_t i = 0; i < r->n_unified; i++) {
                        int ctl = ctl_find(r->unified[i].key, strcspn(r->unified[i].key, "."));

                        v2_need |= ctl < 0 ? 0 : 1U << ctl;
                }
                /* Counting (statistics, OOM kills) needs these even without a limit. */
                res = v2_enable(g, v2_need & c->hiers[c->unified].controllers,
                                (1U << CTL_CPU | 1U << CTL_MEMORY | 1U << CTL_PIDS) & c->hiers[c->unified].controllers,
                                err);
                if (res < 0)
                        return res;
        }
        if ((res = plan_v1(g, r, &p, err)) < 0 || (res = plan_v2(g, r, &p, err)) < 0)
                return res;
        if (p.full)
                return err_set(err, ERR_INVALID, "too many limits");
        res = carry_out(g, &p, how != LIMITS_CREATE, err);
        if (res == 0 && how != LIMITS_UPDATE && (res = apply_devices(g, r, err)) < 0 && how == LIMITS_JOIN)
                for (size_t i = p.n; i-- > 0;)
                        put_back(g, &p.writes[i]);
        for (size_t i = 0; i < p.n; i++)
                free(p.writes[i].old);
        return res;
}
