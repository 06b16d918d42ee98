/* SPDX-License-Identifier: Apache-2.0 */
/* plan-process - what the process is and may do, as records: of init and of an exec alike. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "runtime/lxc/plan-writer.h"

enum { MAX_FILTER = 4096 };

int plan_put_user(struct plan_writer *w, const struct spec_user *u, struct err *err) {
        const char *names[] = { u->username ? u->username : "", u->groupname ? u->groupname : "" };
        struct plan_record rec = { .op = PLAN_USER, .fd = -1, .a = u->uid, .b = u->gid };

        if (u->n_additional_gids > SPEC_MAX_GROUPS)
                return err_set(err, ERR_INVALID, "more than %d additional groups", SPEC_MAX_GROUPS);
        rec.flags |= u->resolved ? PLAN_USER_RESOLVED : 0;
        rec.flags |= *names[0] && !u->resolved ? PLAN_USER_BY_NAME : 0;
        rec.flags |= *names[1] && !u->resolved ? PLAN_USER_GROUP_BY_NAME : 0;
        rec.flags |= u->has_gid ? PLAN_USER_HAS_GID : 0;
        rec.flags |= u->strict_groups ? PLAN_USER_STRICT : 0;
        plan_put(w, rec, names, ELEMENTSOF(names), u->additional_gids, u->n_additional_gids * sizeof(gid_t));
        return 0;
}

/* --- where and how it runs ------------------------------------------------------------------------------------------
 */

/* "0-3,7" as bits; numbers from 0 to below 8 * @size. Returns how many bytes of @ret count, or -1. */
static ssize_t read_list(const char *list, unsigned char *ret, size_t size) {
        ssize_t used = 0;

        memset(ret, 0, size);
        for (const char *at = list; *at; at += *at == ',') {
                unsigned long first, last;
                char *end;

                if (*at < '0' || *at > '9')
                        return -1;
                first = last = strtoul(at, &end, 10);
                if (*end == '-') {
                        if (end[1] < '0' || end[1] > '9')
                                return -1;
                        last = strtoul(end + 1, &end, 10);
                }
                if ((*end && *end != ',') || (*end == ',' && !end[1]) || last < first || last >= size * 8)
                        return -1;
                for (unsigned long i = first; i <= last; i++)
                        ret[i / 8] |= (unsigned char) (1u << i % 8);
                used = MAX_OF(used, (ssize_t) (last / 8 + 1));
                at = end;
        }
        return used;
}

static int put_cpus(struct plan_writer *w, enum plan_op op, const char *what, const char *list, struct err *err) {
        unsigned char mask[PLAN_MAX_CPU_BYTES];
        ssize_t n;

        if (str_empty(list))
                return 0;
        n = read_list(list, mask, sizeof(mask));
        if (n <= 0)
                return err_set(err, ERR_INVALID, "process.execCPUAffinity.%s: \"%.100s\" is not a list of processors",
                               what, list);
        plan_put(w, (struct plan_record){ .op = op, .fd = -1 }, NULL, 0, mask, (size_t) n);
        return 0;
}

static void put_scheduling(struct plan_writer *w, const struct spec_process *p) {
        enum { CLASS_SHIFT = 13 };
        const struct spec_scheduler *s = p->scheduler;

        if (s) {
                const struct {
                        uint32_t size, policy;
                        uint64_t flags;
                        int32_t nice;
                        uint32_t priority;
                        uint64_t runtime, deadline, period;
                } attr = { PLAN_SCHED_ATTR_SIZE, s->policy,     s->flags,       s->nice,
                           s->priority,          s->runtime_ns, s->deadline_ns, s->period_ns };

                _Static_assert(sizeof(attr) == PLAN_SCHED_ATTR_SIZE, "the kernel's first version of it");
                plan_put(w, (struct plan_record){ .op = PLAN_SCHEDULER, .fd = -1 }, NULL, 0, &attr, sizeof(attr));
        }
        if (p->has_io_priority)
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_IO_PRIORITY,
                                                       .fd = -1,
                                                       .a = (uint64_t) p->io_priority_class << CLASS_SHIFT |
                                                            (uint64_t) p->io_priority }));
}

int plan_put_machine(struct plan_writer *w, const struct spec *spec, struct err *err) {
        const struct spec_memory_policy *m = spec->memory_policy;
        unsigned char nodes[PLAN_MAX_NODE_WORDS * sizeof(uint64_t)];
        struct plan_record rec = { .op = PLAN_MEMORY_POLICY, .fd = -1 };
        ssize_t n;

        if (spec->has_personality)
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_PERSONALITY, .fd = -1, .a = spec->personality }));
        if (!m)
                return 0;
        n = read_list(m->nodes ? m->nodes : "", nodes, sizeof(nodes));
        if (n < 0)
                return err_set(err, ERR_INVALID, "linux.memoryPolicy.nodes: \"%.100s\" is not a list of nodes",
                               m->nodes);
        rec.a = (uint64_t) (unsigned) m->mode | m->flags;
        plan_put(w, rec, NULL, 0, nodes, ((size_t) n + 7) / 8 * 8);
        return 0;
}

/* --- who and what ---------------------------------------------------------------------------------------------------
 */

static int put_preserved(struct plan_writer *w, const struct spec_process *p, struct err *err) {
        int fd, index;

        for (size_t i = 0; i < p->n_fds; i++) {
                fd = fcntl(p->fds[i], F_DUPFD_CLOEXEC, 3);
                if (fd < 0)
                        return err_sys(err, errno, "take descriptor %d for the container", p->fds[i]);
                index = plan_put_fd(w, fd, err);
                if (index < 0)
                        return index;
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_PRESERVE, .fd = index }));
        }
        return 0;
}

/* Records of an exec and of init alike. */
int plan_put_early(struct plan_writer *w, const struct spec_process *p, struct err *err) {
        int r;

        if (!p->cwd || p->cwd[0] != '/')
                return err_set(err, ERR_INVALID, "the working directory \"%s\" is not absolute", p->cwd ? p->cwd : "");
        PLAN_PUT(w, PLAN_CWD, p->cwd);
        if (p->has_oom_score_adj)
                PLAN_PUT_REC(w,
                             ((struct plan_record){
                                     .op = PLAN_OOM_SCORE_ADJ, .fd = -1, .a = (uint64_t) (int64_t) p->oom_score_adj }));
        r = put_cpus(w, PLAN_CPU_AFFINITY_INITIAL, "initial", p->cpu_affinity_initial, err);
        return r < 0 ? r : put_preserved(w, p, err);
}

void plan_put_terminal(struct plan_writer *w, const struct spec_process *p) {
        if (p->terminal)
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_TERMINAL, .fd = -1, .a = p->rows, .b = p->columns }));
}

static int put_rlimits(struct plan_writer *w, const struct spec_process *p, struct err *err) {
        for (size_t i = 0; i < p->n_rlimits; i++) {
                const struct spec_rlimit *l = &p->rlimits[i];

                for (size_t j = 0; j < i; j++)
                        if (p->rlimits[j].resource == l->resource)
                                return err_set(err, ERR_INVALID, "rlimit %d is given twice", l->resource);
                if (l->soft > l->hard)
                        return err_set(err, ERR_INVALID, "rlimit %d: soft limit above the hard one", l->resource);
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_RLIMIT,
                                                       .fd = -1,
                                                       .a = (uint64_t) l->resource,
                                                       .b = l->soft,
                                                       .c = l->hard }));
        }
        return 0;
}

size_t plan_count(const char *const *list) {
        size_t n = 0;

        while (list && list[n])
                n++;
        return n;
}

/* Of variables that are there several times the last counts, in its place: programs disagree on which one they take. */
static int put_env(struct plan_writer *w, const struct spec_process *p, struct err *err) {
        size_t n = plan_count(p->env), first = n + 1;
        _cleanup_(map_freep) struct map *seen = map_new();
        _cleanup_(freep) const char **out = NULL;

        if (n >= PLAN_MAX_STRINGS)
                return err_set(err, ERR_EXHAUSTED, "more than %d environment variables", PLAN_MAX_STRINGS);
        out = xcalloc(n + 2, sizeof(*out));
        for (size_t i = n; i > 0; i--) {
                const char *entry = p->env[i - 1];
                _cleanup_(freep) char *key = xstrndup(entry, strcspn(entry, "="));

                if (*key && !map_set(seen, key, (void *) (uintptr_t) 1))
                        out[--first] = entry;
        }
        if (p->terminal && !map_get(seen, "TERM"))
                out[--first] = "TERM=xterm";
        plan_put(w, (struct plan_record){ .op = PLAN_ENV, .fd = -1 }, out + first, n + 1 - first, NULL, 0);
        return 0;
}

int plan_put_process(struct plan_writer *w, const struct spec_process *p, struct err *err) {
        const struct spec_caps *c = &p->caps;
        const uint64_t caps[5] = { c->bounding, c->effective, c->permitted, c->inheritable, c->ambient };
        const size_t instruction = sizeof(p->seccomp[0]);
        int r = put_rlimits(w, p, err);

        if (r < 0)
                return r;
        if (p->n_seccomp > MAX_FILTER)
                return err_set(err, ERR_INVALID, "the seccomp filter has more than %d instructions", MAX_FILTER);
        if (p->has_umask)
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_UMASK, .fd = -1, .a = p->umask }));
        plan_put(w, (struct plan_record){ .op = PLAN_CAPS, .fd = -1 }, NULL, 0, caps, sizeof(caps));
        if (p->no_new_privs)
                PLAN_PUT(w, PLAN_NO_NEW_PRIVS);
        if (!str_empty(p->apparmor_profile))
                PLAN_PUT(w, PLAN_APPARMOR, p->apparmor_profile);
        if (!str_empty(p->selinux_label))
                PLAN_PUT(w, PLAN_SELINUX, p->selinux_label);
        if (p->seccomp && p->n_seccomp)
                plan_put(w,
                         (struct plan_record){ .op = PLAN_SECCOMP,
                                               .fd = -1,
                                               .flags = p->seccomp_notify ? PLAN_SECCOMP_NOTIFY : 0,
                                               .a = p->seccomp_flags },
                         NULL, 0, p->seccomp, p->n_seccomp * instruction);
        r = put_env(w, p, err);
        plan_put(w, (struct plan_record){ .op = PLAN_ARGS, .fd = -1 }, p->args, plan_count(p->args), NULL, 0);
        put_scheduling(w, p);
        return r < 0 ? r : put_cpus(w, PLAN_CPU_AFFINITY, "final", p->cpu_affinity_final, err);
}
