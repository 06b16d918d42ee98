/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/crun/config-json.h"

#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>
#include "base/base64.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/spec/mount-options.h"
#include "runtime/spec/names.h"
#include "runtime/hooks/hooks.h"
#include "runtime/lxc/plan-writer.h"
#include "security/caps.h"

/* A document under way, and what of it can't be written. */
struct out {
        struct arena *arena;
        const char *bad; /* the first property whose value is no JSON: not UTF-8 */
};

static void set(struct out *o, json_t *object, const char *key, json_t *value) {
        if (json_object_set_new(object, key, value) < 0 && !o->bad)
                o->bad = key;
}

static void append(struct out *o, json_t *array, const char *what, const char *text) {
        if (json_array_append_new(array, json_string(text)) < 0 && !o->bad)
                o->bad = what;
}

static json_t *strings(struct out *o, const char *what, const char *const *list) {
        json_t *j = json_array();

        for (; list && *list; list++)
                append(o, j, what, *list);
        return j;
}

static json_t *number(uint64_t n) {
        return json_integer((json_int_t) n);
}

/* --- the process ---------------------------------------------------------------------------------------------------
 */

static json_t *user(struct out *o, const struct spec_process *p) {
        json_t *j = json_object(), *groups = json_array();

        set(o, j, "uid", number(p->user.uid));
        set(o, j, "gid", number(p->user.gid));
        for (size_t i = 0; i < p->user.n_additional_gids; i++)
                (void) json_array_append_new(groups, number(p->user.additional_gids[i]));
        set(o, j, "additionalGids", groups);
        if (p->has_umask)
                set(o, j, "umask", number(p->umask));
        return j;
}

static json_t *capability_set(uint64_t set_of) {
        json_t *j = json_array();

        for (int i = 0; i < 64; i++)
                if (set_of >> i & 1 && caps_name(i))
                        (void) json_array_append_new(j, json_string(caps_name(i)));
        return j;
}

static json_t *capabilities(struct out *o, const struct spec_caps *c) {
        json_t *j = json_object();

        set(o, j, "bounding", capability_set(c->bounding));
        set(o, j, "effective", capability_set(c->effective));
        set(o, j, "permitted", capability_set(c->permitted));
        set(o, j, "inheritable", capability_set(c->inheritable));
        set(o, j, "ambient", capability_set(c->ambient));
        return j;
}

static json_t *rlimits(struct out *o, const struct spec_process *p) {
        json_t *list = json_array(), *j;

        for (size_t i = 0; i < p->n_rlimits; i++) {
                j = json_object();
                set(o, j, "type", json_string(spec_rlimit_name(p->rlimits[i].resource)));
                set(o, j, "soft", number(p->rlimits[i].soft));
                set(o, j, "hard", number(p->rlimits[i].hard));
                (void) json_array_append_new(list, j);
        }
        return list;
}

static bool has_variable(const char *const *env, const char *name) {
        for (; env && *env; env++)
                if (str_after(*env, name))
                        return true;
        return false;
}

static json_t *environment(struct out *o, const struct spec_process *p) {
        json_t *j = strings(o, "process.env", p->env);

        if (p->terminal && !has_variable(p->env, "TERM="))
                append(o, j, "process.env", "TERM=xterm");
        return j;
}

static json_t *process(struct out *o, const struct spec *spec) {
        const struct spec_process *p = &spec->process;
        json_t *j = json_object();

        set(o, j, "terminal", json_boolean(p->terminal));
        if (p->terminal && p->rows && p->columns)
                set(o, j, "consoleSize", json_pack("{s:i, s:i}", "height", p->rows, "width", p->columns));
        set(o, j, "user", user(o, p));
        set(o, j, "args", strings(o, "process.args", p->args));
        set(o, j, "env", environment(o, p));
        set(o, j, "cwd", json_string(p->cwd ? p->cwd : "/"));
        set(o, j, "capabilities", capabilities(o, &p->caps));
        set(o, j, "rlimits", rlimits(o, p));
        set(o, j, "noNewPrivileges", json_boolean(p->no_new_privs));
        /* oomScoreAdj is set from outside (runtime/lxc/oom-score.h). */
        if (!str_empty(p->apparmor_profile))
                set(o, j, "apparmorProfile", json_string(p->apparmor_profile));
        if (!str_empty(p->selinux_label))
                set(o, j, "selinuxLabel", json_string(p->selinux_label));
        return j;
}

/* --- mounts --------------------------------------------------------------------------------------------------------
 */

static bool has_all(uint64_t bits, uint64_t wanted) {
        return wanted && (bits & wanted) == wanted;
}

static bool has_option(const struct spec_mount *m, const struct mount_option *option) {
        switch (option->kind) {
        case MOUNT_OPTION_FLAG:
                return has_all(option->clear ? m->clear_flags : m->flags, option->value);
        case MOUNT_OPTION_RECURSIVE:
                return has_all(option->clear ? m->recursive_clear : m->recursive_set, option->value);
        case MOUNT_OPTION_PROPAGATION:
                return m->propagation && option->value == ((m->propagation & ~(unsigned long) MS_REC) |
                                                           (m->propagation_flat ? 0 : MS_REC));
        case MOUNT_OPTION_BIND:
                return plan_is_bind(m) && m->recursive == (option->value == MS_REC);
        case MOUNT_OPTION_TMPCOPYUP:
                return m->tmpcopyup;
        case MOUNT_OPTION_COPY_SYMLINK:
                return m->copy_symlink;
        case MOUNT_OPTION_OWNERS: /* the monitor's trees are mapped already */
        default:
                return false;
        }
}

static json_t *options(struct out *o, const struct spec_mount *m) {
        const char *data = m->data ? m->data : "";
        json_t *j = json_array();

        for (size_t i = 0; i < n_mount_options; i++)
                if (has_option(m, &mount_options[i]))
                        append(o, j, "mounts.options", mount_options[i].name);
        if (m->recursive_readonly && !(m->recursive_set & MOUNT_ATTR_RDONLY))
                append(o, j, "mounts.options", "rro");
        for (size_t n; *data; data += n + (data[n] == ',')) {
                n = strcspn(data, ",");
                if (n > 0)
                        append(o, j, "mounts.options", arena_strndup(o->arena, data, n));
        }
        return j;
}

static json_t *mount_json(struct out *o, const struct spec_mount *m, size_t n_before, const char *dir) {
        bool bind = plan_is_bind(m);
        json_t *j = json_object();

        set(o, j, "destination", json_string(m->destination));
        set(o, j, "type", json_string(bind ? "bind" : m->type));
        set(o, j, "source",
            json_string(bind                   ? arena_printf(o->arena, "%s/m%zu", dir, n_before)
                        : str_empty(m->source) ? m->type
                                               : m->source));
        set(o, j, "options", options(o, m));
        return j;
}

static json_t *mounts(struct out *o, const struct spec *spec, const char *dir) {
        json_t *list = json_array();

        for (size_t i = 0, n_binds = 0; i < spec->n_mounts; i++) {
                (void) json_array_append_new(list, mount_json(o, &spec->mounts[i], n_binds, dir));
                n_binds += plan_is_bind(&spec->mounts[i]);
        }
        return list;
}

/* As containerd and CRI-O say it: a container's root must let through what its mounts are to share. */
static const char *root_propagation(const struct spec *spec) {
        unsigned long all = spec->rootfs_propagation;

        for (size_t i = 0; i < spec->n_mounts; i++)
                all |= spec->mounts[i].propagation;
        return all & MS_SHARED ? "rshared" : all & MS_SLAVE ? "rslave" : "rprivate";
}

/* --- linux ---------------------------------------------------------------------------------------------------------
 */

static json_t *namespaces(struct out *o, const struct spec *spec) {
        json_t *list = json_array(), *j;

        for (int i = 0; i < SPEC_NS_MAX; i++) {
                const struct spec_namespace *ns = &spec->ns[i];

                if (!ns->create && !ns->path && i != SPEC_NS_MNT)
                        continue;
                j = json_object();
                set(o, j, "type", json_string(spec_namespace_names[i]));
                if (!ns->create && ns->path)
                        set(o, j, "path", json_string(ns->path));
                (void) json_array_append_new(list, j);
        }
        return list;
}

static json_t *id_maps(struct out *o, const struct id_map *list, size_t n) {
        json_t *all = json_array(), *j;

        for (size_t i = 0; i < n; i++) {
                j = json_object();
                set(o, j, "containerID", number(list[i].inside));
                set(o, j, "hostID", number(list[i].outside));
                set(o, j, "size", number(list[i].length));
                (void) json_array_append_new(all, j);
        }
        return all;
}

static json_t *devices(struct out *o, const struct spec *spec) {
        json_t *list = json_array(), *j;

        for (size_t i = 0; i < spec->n_devices; i++) {
                const struct spec_device *d = &spec->devices[i];

                j = json_object();
                set(o, j, "path", json_string(d->path));
                set(o, j, "type", json_string((const char[]){ d->type, '\0' }));
                if (d->type != 'p') {
                        set(o, j, "major", number(d->major));
                        set(o, j, "minor", number(d->minor));
                }
                set(o, j, "fileMode", number(d->mode & 07777));
                set(o, j, "uid", number(d->uid));
                set(o, j, "gid", number(d->gid));
                (void) json_array_append_new(list, j);
        }
        return list;
}

static json_t *pairs(struct out *o, const struct spec_pair *list, size_t n) {
        json_t *j = json_object();

        for (size_t i = 0; i < n; i++)
                set(o, j, list[i].key, json_string(list[i].value));
        return j;
}

static json_t *linux_json(struct out *o, const struct spec *spec) {
        json_t *j = json_object();

        set(o, j, "namespaces", namespaces(o, spec));
        if (spec->ns[SPEC_NS_USER].create) {
                set(o, j, "uidMappings", id_maps(o, spec->user_ids.uids, spec->user_ids.n_uids));
                set(o, j, "gidMappings", id_maps(o, spec->user_ids.gids, spec->user_ids.n_gids));
        }
        set(o, j, "devices", devices(o, spec));
        set(o, j, "sysctl", pairs(o, spec->sysctls, spec->n_sysctls));
        set(o, j, "maskedPaths", strings(o, "linux.maskedPaths", spec->masked_paths));
        set(o, j, "readonlyPaths", strings(o, "linux.readonlyPaths", spec->readonly_paths));
        set(o, j, "rootfsPropagation", json_string(root_propagation(spec)));
        if (!str_empty(spec->cgroup_path))
                set(o, j, "cgroupsPath", json_string(spec->cgroup_path));
        if (!str_empty(spec->mount_label))
                set(o, j, "mountLabel", json_string(spec->mount_label));
        return j;
}

/* --- annotations ---------------------------------------------------------------------------------------------------
 */

/* Some steer the runtime, past all that the node allows: a pod's must not. */
static bool steers(const char *key) {
        static const char *const prefixes[] = { "run.oci.", "org.systemd.", "org.criu.", "module.wasm." };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if (str_after(key, prefixes[i]))
                        return true;
        return false;
}

/* Those that run once crun has started it are ours to run, so that they do also when crun was killed. */
static struct spec_hooks hooks_of_crun(const struct spec *spec) {
        struct spec_hooks h = spec->hooks;

        h.n[SPEC_HOOK_POSTSTART] = h.n[SPEC_HOOK_POSTSTOP] = 0;
        return h;
}

static json_t *annotations(struct out *o, const struct spec *spec, const char *dir) {
        const struct spec_process *p = &spec->process;
        json_t *j = json_object();

        for (size_t i = 0; i < spec->n_annotations; i++)
                if (!steers(spec->annotations[i].key))
                        set(o, j, spec->annotations[i].key, json_string(spec->annotations[i].value));
        /* Compiled already; crun takes that as it is. */
        if (p->seccomp && p->n_seccomp) {
                size_t size = p->n_seccomp * sizeof(p->seccomp[0]);
                char *text = arena_alloc(o->arena, BASE64_LEN(size) + 1);

                text[base64_encode(p->seccomp, size, text)] = '\0';
                set(o, j, "run.oci.seccomp_bpf_data", json_string(text));
        }
        /* Else what they write goes to the container's log. Those of startContainer write when nobody reads it here. */
        if (!hooks_are_empty(&spec->hooks) && spec->hooks.n[SPEC_HOOK_START_CONTAINER] == 0) {
                set(o, j, "run.oci.hooks.stdout", json_string(arena_printf(o->arena, "%s/" CRUN_HOOKS_OUTPUT, dir)));
                set(o, j, "run.oci.hooks.stderr", json_string(arena_printf(o->arena, "%s/" CRUN_HOOKS_OUTPUT, dir)));
        }
        return j;
}

/* --- all of it -----------------------------------------------------------------------------------------------------
 */

static int check(const struct spec *spec, struct err *err) {
        const struct spec_process *p = &spec->process;
        const char *what = spec->outer_pid_ns      ? "a PID namespace inside another"
                           : p->seccomp_notify     ? "a seccomp filter with SCMP_ACT_NOTIFY"
                           : p->scheduler          ? "process.scheduler"
                           : p->has_io_priority    ? "process.ioPriority"
                           : p->n_fds              ? "descriptors handed on"
                           : spec->memory_policy   ? "linux.memoryPolicy"
                           : spec->n_net_devices   ? "linux.netDevices"
                           : spec->domainname      ? "domainname"
                           : spec->has_personality ? "linux.personality"
                                                   : NULL;

        return what ? err_set(err, ERR_UNIMPLEMENTED, "the engine crun has no %s; the engine lxc has", what) : 0;
}

int crun_config_json(const struct spec *spec, const char *dir, struct arena *arena, const char **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *j = json_object();
        struct out o = { .arena = arena };
        struct spec_hooks hooks;
        int r = check(spec, err);

        if (r < 0)
                return r;
        set(&o, j, "ociVersion", json_string("1.0.2"));
        set(&o, j, "root",
            json_pack("{s:o, s:b}", "path", json_string(arena_printf(arena, "%s/root", dir)), "readonly",
                      spec->readonly_rootfs));
        if (spec->hostname)
                set(&o, j, "hostname", json_string(spec->hostname));
        set(&o, j, "process", process(&o, spec));
        set(&o, j, "mounts", mounts(&o, spec, dir));
        set(&o, j, "linux", linux_json(&o, spec));
        set(&o, j, "annotations", annotations(&o, spec, dir));
        hooks = hooks_of_crun(spec);
        if (!hooks_are_empty(&hooks))
                set(&o, j, "hooks", hooks_to_json(&hooks));
        if (o.bad)
                return err_set(err, ERR_INVALID,
                               "%s is not UTF-8, as the config.json that the engine crun reads must be; the engine "
                               "lxc takes any bytes",
                               o.bad);
        *ret = json_to_text(json_incref(j), arena);
        return 0;
}
