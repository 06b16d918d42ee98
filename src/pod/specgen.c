/* SPDX-License-Identifier: Apache-2.0 */
/* specgen - the spec of a container, of an exec into it, and of a pod's pause process. */
#include "pod/specgen.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/proc.h"
#include "pod/cdi.h"
#include "pod/files.h"
#include "pod/selinux.h"
#include "pod/user-ns.h"

enum { PAUSE_ID = 65535, PAUSE_OOM_SCORE = -998 };

static const char *const no_strings[] = { NULL };

static const CRI(NamespaceOption) * namespace_options(const struct container *c) {
        const CRI(LinuxContainerConfig) *l = c->config->linux;

        return l && l->security_context ? l->security_context->namespace_options : NULL;
}

static void rules_of(const struct sandbox *s, struct pod_rules *ret) {
        const CRI(LinuxPodSandboxConfig) *l = s->config->linux;
        const CRI(NamespaceOption) *o = l && l->security_context ? l->security_context->namespace_options : NULL;

        *ret = (struct pod_rules){
                .host_network = o && o->network == CRI_(NAMESPACE_MODE__NODE),
                .host_ipc = o && o->ipc == CRI_(NAMESPACE_MODE__NODE),
        };
}

static void pod_namespaces(const struct sandbox *s, const struct pod_rules *rules, struct arena *arena,
                           struct spec *ret) {
        ret->ns[SPEC_NS_NET].path = pod_ns_file(s, "net", rules->host_network, arena);
        ret->ns[SPEC_NS_UTS].path = pod_ns_file(s, "uts", rules->host_network, arena);
        ret->ns[SPEC_NS_IPC].path = pod_ns_file(s, "ipc", rules->host_ipc, arena);
        ret->ns[SPEC_NS_MNT].create = true;
        if (sandbox_user_ids(s)) {
                ret->ns[SPEC_NS_USER].path = pod_ns_file(s, "user", false, arena);
                ret->user_ids = s->user_ids;
        }
}

/* --- pid ---------------------------------------------------------------------------------------------------------- */

/* The PID namespace of a process that is surely still the one that was recorded: a path through a descriptor, which the
 * caller closes once the engine has opened it. */
static int pid_namespace_of(pid_t pid, uint64_t start_time, const char *whose, struct arena *arena,
                            const char **ret_path, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int ns = -1;

        ns = open(arena_printf(arena, "/proc/%d/ns/pid", pid), O_RDONLY | O_CLOEXEC);
        /* Still alive after the opening: then it was that process' namespace. */
        if (ns < 0 || pid <= 0 || proc_start_time(pid) != start_time)
                return err_set(err, ERR_PRECONDITION, "the %s whose PID namespace is to be joined has ended", whose);
        *ret_path = arena_printf(arena, "/proc/self/fd/%d", ns);
        *ret_fd = TAKE_FD(ns);
        return 0;
}

static int target_of(struct container *c, const char *id, struct container **ret, struct err *err) {
        _cleanup_(container_unrefp) struct container *target = NULL;
        int r = registry_find_container(c->pods, id, &target, err);

        if (r < 0)
                return err_set(err, ERR_INVALID, "namespace_options.target_id: no container \"%.128s\"", id);
        if (target->sandbox != c->sandbox)
                return err_set(err, ERR_INVALID, "namespace_options.target_id: container %s is in another pod",
                               target->id);
        if (container_get_phase(target) != CONTAINER_RUNNING)
                return err_set(err, ERR_PRECONDITION, "namespace_options.target_id: container %s does not run",
                               target->id);
        *ret = TAKE_PTR(target);
        return 0;
}

static int pid_namespace(struct container *c, struct arena *arena, struct spec *spec, struct specgen_ns_fds *ret_ns,
                         struct err *err) {
        const CRI(NamespaceOption) *o = namespace_options(c);
        struct spec_namespace *ns = &spec->ns[SPEC_NS_PID];
        _cleanup_(container_unrefp) struct container *target = NULL;
        const struct sandbox *s = c->sandbox;
        int r = 0;

        if (s->in_ct)
                r = pid_namespace_of(s->ct.pid, s->ct.start_time, "pod's Proxmox container", arena, &spec->outer_pid_ns,
                                     &ret_ns->fds[0], err);
        if (r < 0)
                return r;
        switch (o ? o->pid : CRI_(NAMESPACE_MODE__POD)) {
        case CRI_(NAMESPACE_MODE__CONTAINER):
                ns->create = true;
                return 0;
        case CRI_(NAMESPACE_MODE__NODE):
                ns->path = "/proc/1/ns/pid";
                return 0;
        case CRI_(NAMESPACE_MODE__TARGET):
                r = target_of(c, o->target_id, &target, err);
                return r < 0 ? r
                             : pid_namespace_of(target->pid, target->start_time, "container", arena, &ns->path,
                                                &ret_ns->fds[1], err);
        case CRI_(NAMESPACE_MODE__POD):
        default:
                ns->path = spec->outer_pid_ns;
                return s->in_ct ? 0
                                : pid_namespace_of(s->pause_pid, s->pause_start_time, "pod's first process", arena,
                                                   &ns->path, &ret_ns->fds[1], err);
        }
}

/* --- containers --------------------------------------------------------------------------------------------------- */

static int take_process(struct container *c, const struct image *image, const struct pod_rules *rules,
                        struct arena *arena, struct spec_process *p, struct err *err) {
        const CRI(LinuxContainerConfig) *l = c->config->linux;
        int r;

        p->terminal = c->config->tty;
        r = process_args(c->config, image, arena, &p->args, err);
        if (r == 0)
                r = process_env(c->config, c->from_image.env, c->cdi_env,
                                pod_hostname(c->sandbox->config, rules->host_network, arena), arena, &p->env, err);
        if (r == 0)
                r = process_user(l ? l->security_context : NULL, image->config.user, arena, &p->user, err);
        if (r == 0)
                r = resources_oom_score(l ? l->resources : NULL, &p->oom_score_adj, err);
        /* Always said: else the keeper's own would be inherited. */
        p->has_oom_score_adj = true;
        p->cwd = c->from_image.cwd;
        return r < 0 ? r : security_process(c, arena, p, err);
}

static int take_mounts(struct container *c, const struct image *image, const struct pod_rules *rules,
                       const struct cdi_edits *devices, struct arena *arena, struct spec *spec, struct err *err) {
        struct pod_sources sources = {
                .hostname = pod_file(c->sandbox, "hostname", arena),
                .hosts = pod_file(c->sandbox, "hosts", arena),
                .resolv_conf = pod_file(c->sandbox, "resolv.conf", arena),
                .shm = rules->host_ipc ? "/dev/shm" : pod_file(c->sandbox, "shm", arena),
                .container = c,
                .label = c->mount_label,
                .user_ids = sandbox_user_ids(c->sandbox),
                .map_volumes = c->sandbox->in_ct,
                .more = devices->mounts,
                .n_more = devices->n_mounts,
        };
        const char *const own[] = { sources.hostname, sources.hosts, sources.resolv_conf,
                                    rules->host_ipc ? NULL : sources.shm, NULL };
        int r = container_label_files(c, own, err);

        if (r == 0)
                r = mounts_build(c->config, &sources, arena, spec, err);
        return r < 0 ? r : volumes_prepare((const char *const *) image->config.volumes, arena, spec, err);
}

/* Also kept for later: processes that join get the same environment. */
static int take_cdi(struct container *c, struct arena *arena, struct cdi_edits *ret, struct err *err) {
        int r = cdi_resolve(cdi_folders, c->config->cdi_devices, c->config->n_cdi_devices, arena, ret, err);

        if (r < 0)
                return r;
        c->cdi_env = strv_free(c->cdi_env); /* of a container that is made again */
        if (ret->n_env == 0)
                return 0;
        c->cdi_env = xcalloc(ret->n_env + 1, sizeof(*c->cdi_env));
        for (size_t i = 0; i < ret->n_env; i++)
                c->cdi_env[i] = xstrdup(ret->env[i]);
        return 0;
}

static void take_annotations(const CRI(ContainerConfig) * config, struct arena *arena, struct spec *ret) {
        struct spec_pair *list = arena_array(arena, struct spec_pair, config->n_annotations + 1);

        for (size_t i = 0; i < config->n_annotations; i++)
                list[i] = (struct spec_pair){ config->annotations[i]->key, config->annotations[i]->value };
        ret->annotations = list;
        ret->n_annotations = config->n_annotations;
}

int specgen_container(struct container *c, const struct image *image, int rootfs_fd, struct arena *arena,
                      struct spec *ret, struct specgen_ns_fds *ret_ns, struct err *err) {
        const CRI(LinuxContainerConfig) *l = c->config->linux;
        bool privileged = container_is_privileged(c->config);
        struct cdi_edits devices;
        struct pod_rules rules;
        int r;

        rules_of(c->sandbox, &rules);
        *ret = (struct spec){
                .id = c->id,
                .by_crun = c->sandbox->by_crun,
                .rootfs_mount_fd = rootfs_fd,
                .readonly_rootfs = l && l->security_context && l->security_context->readonly_rootfs,
                .cgroup_path = c->cgroup_path,
                .mount_label = c->mount_label,
        };
        pod_namespaces(c->sandbox, &rules, arena, ret);
        /* Privileged containers are to see the host's cgroups, as with the other runtimes; not those that have no right
         * to them, in a user namespace. */
        ret->ns[SPEC_NS_CGROUP].create = !privileged || SPEC_HAS_USER_NS(ret);
        ret->ns[SPEC_NS_CGROUP].path = ret->ns[SPEC_NS_CGROUP].create ? NULL : "/proc/1/ns/cgroup";
        r = pid_namespace(c, arena, ret, ret_ns, err);
        if (r == 0)
                r = take_cdi(c, arena, &devices, err);
        if (r == 0)
                r = resources_build(l ? l->resources : NULL, arena, &ret->resources, err);
        ret->resources.pids_limit = c->pods->pids_limit;
        if (r == 0)
                r = devices_build(c->config, !c->sandbox->without_host_devices, arena, ret, err);
        if (r == 0)
                r = take_process(c, image, &rules, arena, &ret->process, err);
        if (r == 0)
                r = security_paths(c->config, arena, ret, err);
        take_annotations(c->config, arena, ret);
        if (r == 0)
                r = cdi_apply(&devices, arena, ret, err);
        return r < 0 ? r : take_mounts(c, image, &rules, &devices, arena, ret, err);
}

void specgen_close(struct spec *spec) {
        spec->rootfs_mount_fd = fd_close(spec->rootfs_mount_fd);
        for (size_t i = 0; i < spec->n_mounts; i++)
                (void) fd_close(spec->mounts[i].source_fd);
        spec->n_mounts = 0;
}

/* As last updated. */
static int oom_score_now(struct container *c, int *ret, struct err *err) {
        int r;

        pthread_rwlock_rdlock(&c->pods->lock);
        r = resources_oom_score(c->limits, ret, err);
        pthread_rwlock_unlock(&c->pods->lock);
        return r;
}

int specgen_exec(struct container *c, char *const *args, size_t n_args, struct arena *arena, struct spec_process *ret,
                 struct err *err) {
        struct spec_process p = { .cwd = c->from_image.cwd, .has_oom_score_adj = true };
        const char **argv;
        struct pod_rules rules;
        int r;

        if (n_args == 0 || str_empty(args[0]))
                return err_set(err, ERR_INVALID, "cmd is missing");
        argv = arena_array(arena, const char *, n_args + 1);
        for (size_t i = 0; i < n_args; i++)
                argv[i] = args[i];
        p.args = argv;
        pthread_rwlock_rdlock(&c->pods->lock);
        p.user =
                (struct spec_user){ .uid = c->uid,
                                    .gid = c->gid,
                                    .has_gid = true,
                                    .resolved = true,
                                    .additional_gids = arena_memdup(arena, c->groups, c->n_groups * sizeof(*c->groups)),
                                    .n_additional_gids = c->n_groups };
        pthread_rwlock_unlock(&c->pods->lock);
        rules_of(c->sandbox, &rules);
        r = process_env(c->config, c->from_image.env, c->cdi_env,
                        pod_hostname(c->sandbox->config, rules.host_network, arena), arena, &p.env, err);
        if (r == 0)
                r = oom_score_now(c, &p.oom_score_adj, err);
        if (r == 0)
                r = security_process(c, arena, &p, err);
        if (r == 0)
                *ret = p;
        return r;
}

/* --- pause -------------------------------------------------------------------------------------------------------- */

/* A root file system with nothing but the folders that mounts need. */
static int make_pause_root(const struct sandbox *s, const char *label, int *ret_fd, struct err *err) {
        static const char *const folders[] = { "proc", "sys", "dev" };
        _cleanup_(fd_closep) int fs = fsopen("tmpfs", FSOPEN_CLOEXEC), mnt = -1;
        uint32_t uid, gid;

        user_ns_root(s, &uid, &gid);
        if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "size", "64k", 0) < 0 ||
            fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
            (label && fsconfig(fs, FSCONFIG_SET_STRING, "context", label, 0) < 0) ||
            fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return err_sys(err, errno, "make a tmpfs for the pod's first process");
        mnt = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
        if (mnt < 0)
                return err_sys(err, errno, "mount a tmpfs for the pod's first process");
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                if (mkdirat(mnt, folders[i], 0755) < 0 || fchownat(mnt, folders[i], uid, gid, 0) < 0)
                        return err_sys(err, errno, "make /%s for the pod's first process", folders[i]);
        if (fchownat(mnt, ".", uid, gid, 0) < 0)
                return err_sys(err, errno, "give away the root of the pod's first process");
        *ret_fd = TAKE_FD(mnt);
        return 0;
}

int specgen_pause(struct sandbox *s, struct arena *arena, struct spec *ret, struct err *err) {
        static const char *const env[] = { "PATH=/", NULL };
        struct pod_rules rules;
        struct spec_mount *mounts = arena_array(arena, struct spec_mount, 1);
        const char *label, *file_label;
        int rootfs = -1, r = pause_labels(s, arena, &label, &file_label, err);
        uint32_t id = s->user_range.length ? MIN_OF((uint32_t) PAUSE_ID, s->user_range.length - 1) : PAUSE_ID;

        if (r == 0)
                r = make_pause_root(s, file_label, &rootfs, err);
        if (r < 0)
                return r;
        rules_of(s, &rules);
        mounts[0] = (struct spec_mount){ .destination = "/proc",
                                         .type = "proc",
                                         .source = "proc",
                                         .data = "",
                                         .flags = MS_NOSUID | MS_NOEXEC | MS_NODEV,
                                         .source_fd = -1 };
        *ret = (struct spec){
                .id = s->id,
                .rootfs_mount_fd = rootfs,
                .readonly_rootfs = true,
                .cgroup_path =
                        arena_printf(arena, "%s/%s", str_eq(s->cgroup_parent, "/") ? "" : s->cgroup_parent, s->id),
                .mounts = mounts,
                .n_mounts = 1,
                .masked_paths = no_strings,
                .readonly_paths = no_strings,
                .process = { .args = no_strings,
                             .env = env,
                             .cwd = "/",
                             .no_new_privs = true,
                             .has_oom_score_adj = true,
                             .oom_score_adj = PAUSE_OOM_SCORE,
                             .selinux_label = label,
                             .user = { .uid = id, .gid = id, .has_gid = true, .resolved = true } },
        };
        ret->resources.cpuset_cpus = ret->resources.cpuset_mems = "";
        pod_namespaces(s, &rules, arena, ret);
        ret->ns[SPEC_NS_PID].create = true;
        ret->ns[SPEC_NS_CGROUP].create = true;
        r = security_pause(arena, &ret->process, err);
        if (r < 0)
                specgen_close(ret);
        return r;
}
