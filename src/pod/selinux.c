/* SPDX-License-Identifier: Apache-2.0 */
/* selinux - see selinux.h. */
#include "pod/selinux.h"

#include "base/alloc.h"
#include "base/log.h"
#include "pod/specgen.h"
#include "security/selinux.h"

void pods_selinux_init(struct pods *p, bool wanted) {
        struct err err;

        if (!wanted || !selinux_enabled() || selinux_container_labels(&p->selinux_process, &p->selinux_file, &err) == 0)
                return;
        log_warn("containers run without SELinux labels of their own", "error", err.msg, NULL);
        p->selinux_missing = xstrdup(err.msg);
}

static struct selinux_options options_of(const CRI(SELinuxOption) * o) {
        return o ? (struct selinux_options){ .user = o->user, .role = o->role, .type = o->type, .level = o->level }
                 : (struct selinux_options){ 0 };
}

static bool asked(const struct selinux_options *o) {
        return !(str_empty(o->user) && str_empty(o->role) && str_empty(o->type) && str_empty(o->level));
}

/* Where SELinux is on and yet there are no labels, options can't be had; where it is off they mean nothing, as with the
 * other runtimes. */
static int no_labels(const struct pods *p, const struct selinux_options *o, struct err *err) {
        return p->selinux_missing && asked(o)
                       ? err_set(err, ERR_PRECONDITION, "SELinux options were asked for, but %s", p->selinux_missing)
                       : 0;
}

static const CRI(SELinuxOption) * asked_by_pod(const struct sandbox *s) {
        const CRI(LinuxPodSandboxConfig) *l = s->config->linux;

        return l && l->security_context ? l->security_context->selinux_options : NULL;
}

static const CRI(SELinuxOption) * asked_by_container(const struct container *c) {
        const CRI(LinuxContainerConfig) *l = c->config->linux;

        return l && l->security_context ? l->security_context->selinux_options : NULL;
}

/* Of any pod, or of a container that asked for it. The caller holds pods->lock. */
static bool is_taken(const char *level, void *userdata) {
        const struct pods *p = userdata;
        const char *key;
        void *value;

        for (size_t it = 0; map_next(p->sandboxes, &it, &key, &value);) {
                const struct sandbox *s = value;
                if (s->selinux_label && str_eq(selinux_level(s->selinux_label), level))
                        return true;
        }
        for (size_t it = 0; map_next(p->containers, &it, &key, &value);) {
                const CRI(SELinuxOption) *o = asked_by_container(value);
                if (o && str_eq(o->level, level))
                        return true;
        }
        return false;
}

int sandbox_choose_label(struct sandbox *s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 << 10);
        struct selinux_options o = options_of(asked_by_pod(s));
        bool choose = str_empty(o.level);
        struct pods *p = s->pods;
        char level[SELINUX_LABEL_MAX];
        const char *label;
        int r;

        if (!p->selinux_process)
                return no_labels(p, &o, err);
        choose = choose && *selinux_level(p->selinux_process);
        pthread_rwlock_wrlock(&p->lock);
        if (choose) {
                selinux_new_level(is_taken, p, level);
                o.level = level;
        }
        r = selinux_apply(p->selinux_process, &o, arena, &label, err);
        if (r == 0)
                s->selinux_label = xstrdup(label);
        pthread_rwlock_unlock(&p->lock);
        return r < 0 ? r : selinux_check(label, err);
}

/* No confinement: the type that policies have for it, without categories. By itself a process of ours would keep the
 * daemon's type. */
static int privileged_label(const char *label, struct arena *arena, const char **ret, struct err *err) {
        const struct selinux_options o = { .type = "spc_t", .level = *selinux_level(label) ? "s0" : NULL };

        return selinux_apply(label, &o, arena, ret, err);
}

/* The label of what a process labelled @process may use. */
static int file_label(const struct pods *p, const char *process, const char *user, struct arena *arena,
                      const char **ret, struct err *err) {
        const struct selinux_options o = { .user = user, .level = selinux_level(process) };

        return selinux_apply(p->selinux_file, &o, arena, ret, err);
}

int pause_labels(const struct sandbox *s, struct arena *arena, const char **ret_process, const char **ret_file,
                 struct err *err) {
        const CRI(LinuxPodSandboxConfig) *l = s->config->linux;
        const CRI(SELinuxOption) *o = asked_by_pod(s);
        int r;

        *ret_process = s->selinux_label;
        *ret_file = NULL;
        if (!s->selinux_label || !s->pods->selinux_file)
                return 0;
        r = file_label(s->pods, s->selinux_label, o ? o->user : NULL, arena, ret_file, err);
        if (r == 0 && l && l->security_context && l->security_context->privileged)
                r = privileged_label(s->pods->selinux_process, arena, ret_process, err);
        return r;
}

/* The pod's categories hold for its containers, too, unless they ask for others. */
int container_choose_labels(struct container *c, struct arena *arena, struct err *err) {
        const struct selinux_options o = options_of(asked_by_container(c));
        const struct pods *p = c->pods;
        const char *process, *file;
        int r;

        if (!p->selinux_process || !c->sandbox->selinux_label)
                return no_labels(p, &o, err);
        r = selinux_apply(c->sandbox->selinux_label, &o, arena, &process, err);
        if (r < 0)
                return r;
        r = file_label(p, process, o.user, arena, &file, err);
        if (r == 0) /* also of one that will not be used: an option that is wrong is an error */
                r = selinux_check(process, err);
        if (r == 0)
                r = selinux_check(file, err);
        if (r == 0 && container_is_privileged(c->config)) {
                r = privileged_label(p->selinux_process, arena, &process, err);
                if (r == 0)
                        r = selinux_check(process, err);
        }
        if (r < 0)
                return r;
        c->selinux_label = xstrdup(process);
        c->mount_label = xstrdup(file);
        return 0;
}

int container_label_files(const struct container *c, const char *const *paths, struct err *err) {
        int r = 0;

        for (; c->mount_label && *paths && r == 0; paths++)
                r = selinux_relabel(*paths, c->mount_label, err);
        return r;
}
