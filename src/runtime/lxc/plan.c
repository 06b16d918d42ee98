/* SPDX-License-Identifier: Apache-2.0 */
/* plan - see plan.h. The order of the records is what keeps it safe and working: who the user is comes from the image,
 * before any mount; sysctls before /proc/sys is read-only; links and devices once /dev is mounted; the working folder
 * once volumes are; what hides and forbids at the end. */
#include "runtime/lxc/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"
#include "init/sys.h"
#include "runtime/hooks/hooks.h"
#include "runtime/lxc/plan-writer.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

enum {
        MAX_STATE = 16 << 20,
        OVERFLOW_UID = 65534,
        PIDS_TO_BE_BORN = 8, /* monitor, its helpers, init */
};

void plan_done(struct plan *p) {
        p->fd = fd_close(p->fd);
        for (size_t i = 0; i < p->n_fds; i++)
                p->fds[i] = fd_close(p->fds[i]);
        p->n_fds = 0;
        p->cgroup_fd = fd_close(p->cgroup_fd);
}

/* --- the host ---------------------------------------------------------------------------------------------------- */

/* "rw,xattr,cpu,cpuacct" -> "cpu,cpuacct"; "rw,xattr,name=systemd" -> "none,name=systemd". */
static void choose_options(char *super, char *out, size_t size) {
        static const char *const not_chosen[] = {
                "rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode", "favordynmods"
        };
        char *option;
        size_t at = 0;

        out[0] = '\0';
        while ((option = strsep(&super, ","))) {
                bool skip = str_after(option, "release_agent=") != NULL;

                for (size_t i = 0; i < ELEMENTSOF(not_chosen); i++)
                        skip = skip || str_eq(option, not_chosen[i]);
                if (!skip && at + strlen(option) + 8 < size)
                        at += (size_t) snprintf(out + at, size - at, "%s%s%s", at ? "," : "",
                                                str_after(option, "name=") ? "none," : "", option);
        }
}

/* One line of mountinfo: id parent dev root mountpoint options [optional...] - type source super-options. */
static void add_hierarchy(struct plan_host *host, char *line) {
        struct plan_hierarchy *h = &host->hierarchies[host->n_hierarchies];
        char *separator = strstr(line, " - "), *field[5], *type, *super;

        if (!separator || host->n_hierarchies == PLAN_MAX_HIERARCHIES)
                return;
        *separator = '\0';
        separator += 3;
        for (size_t i = 0; i < ELEMENTSOF(field); i++)
                if (!(field[i] = strsep(&line, " ")))
                        return;
        type = strsep(&separator, " ");
        (void) strsep(&separator, " ");
        super = separator;
        if (!super || (!str_eq(type, "cgroup") && !str_eq(type, "cgroup2")) || !str_after(field[4], "/sys/fs/cgroup/"))
                return;
        if (strchr(field[4], '\\') || strlen(field[4]) >= sizeof(h->path) ||
            strlen(strrchr(field[4], '/')) > sizeof(h->name))
                return;
        (void) snprintf(h->path, sizeof(h->path), "%s", field[4]);
        (void) snprintf(h->name, sizeof(h->name), "%s", strrchr(field[4], '/') + 1);
        h->options[0] = '\0';
        if (str_eq(type, "cgroup")) {
                choose_options(super, h->options, sizeof(h->options));
                if (!h->options[0])
                        return;
        }
        host->n_hierarchies++;
}

void plan_host_init(struct plan_host *ret, struct cgroups *cgroups) {
        _cleanup_(freep) char *mounts = xstrdup(cgroups_mounts(cgroups));
        char *rest, *line;

        *ret = (struct plan_host){ .cgroups = cgroups, .mode = cgroups_mode(cgroups) };
        if (ret->mode == CGROUP_V2)
                return;
        for (rest = mounts; (line = strsep(&rest, "\n"));)
                add_hierarchy(ret, line);
}

/* --- parts ------------------------------------------------------------------------------------------------------- */

/* How whoever reads the plan comes into its v2 group: by a move, by being cloned into it, or it was born there. */
enum entry { ENTRY_MOVE, ENTRY_CLONE, ENTRY_BORN };

static int put_cgroups(struct plan_writer *w, struct cgroups *cgroups, const char *path, enum entry entry,
                       struct err *err) {
        struct cgroup_door doors[CGROUP_MAX_DOORS];
        int n, index, r = 0;

        if (str_empty(path))
                return 0;
        n = cgroup_open_doors(cgroups, path, entry != ENTRY_MOVE, doors, err);
        for (int i = 0; i < n; i++) {
                if (r < 0) {
                        (void) fd_close(doors[i].fd);
                        continue;
                }
                if (doors[i].folder && entry == ENTRY_BORN) {
                        w->plan->cgroup_fd = doors[i].fd;
                        continue;
                }
                index = plan_put_fd(w, doors[i].fd, err);
                if (index < 0)
                        r = index;
                else
                        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_CGROUP_JOIN,
                                                               .flags = doors[i].folder ? PLAN_CGROUP_FOLDER : 0,
                                                               .fd = index }));
        }
        return n < 0 ? n : r;
}

/* --- hooks -------------------------------------------------------------------------------------------------------- */

static int put_hook_list(struct plan_writer *w, const struct spec *spec, enum spec_hook_kind kind, const char *state,
                         struct err *err) {
        for (size_t i = 0; i < spec->hooks.n[kind]; i++) {
                const struct spec_hook *h = &spec->hooks.list[kind][i];
                size_t n_args = MAX_OF(plan_count(h->args), (size_t) 1), n_env = plan_count(h->env);
                _cleanup_(freep) const char **strings = xcalloc(2 + n_args + n_env, sizeof(*strings));
                struct plan_record rec = { .op = PLAN_HOOK, .fd = -1, .a = n_args, .b = h->timeout_ms };

                if (n_args + n_env + 2 > PLAN_MAX_STRINGS)
                        return err_set(err, ERR_EXHAUSTED, "hook %.256s has too many arguments", h->path);
                rec.flags = kind == SPEC_HOOK_START_CONTAINER ? PLAN_HOOK_AT_START : 0;
                strings[0] = h->path;
                strings[1] = state;
                strings[2] = h->path;
                for (size_t k = 0; k < plan_count(h->args); k++)
                        strings[2 + k] = h->args[k];
                for (size_t k = 0; k < n_env; k++)
                        strings[2 + n_args + k] = h->env[k];
                plan_put(w, rec, strings, 2 + n_args + n_env, NULL, 0);
        }
        return 0;
}

struct host_root {
        int fd, sys_errno;
};

/* Out of a mount namespace for a moment: a new one leaves out the mounts that hold mount namespaces (snapd has such),
 * which no younger namespace may have. As slave: what is unmounted on the host later does not stay busy, what a hook
 * mounts stays here. */
static void *clone_host_root(void *arg) {
        struct sys_mount_attr slave = { .propagation = MS_SLAVE };
        struct host_root *ret = arg;

        if (unshare(CLONE_NEWNS) == 0)
                ret->fd = sys_open_tree(AT_FDCWD, "/", SYS_OPEN_TREE_CLONE | SYS_OPEN_TREE_CLOEXEC | SYS_AT_RECURSIVE);
        if (ret->fd < 0 || sys_mount_setattr(ret->fd, SYS_AT_RECURSIVE, &slave) < 0) {
                ret->sys_errno = errno;
                ret->fd = fd_close(ret->fd);
        }
        return NULL;
}

static int put_host_root(struct plan_writer *w, const struct plan_host *host, struct err *err) {
        struct host_root root = { .fd = -1 };
        pthread_t thread;
        int fd, r = pthread_create(&thread, NULL, clone_host_root, &root);

        if (r != 0)
                return err_sys(err, r, "start a thread to take hold of the host's root for hooks");
        (void) pthread_join(thread, NULL);
        if (root.fd < 0)
                return err_sys(err, root.sys_errno, "take hold of the host's root for hooks");
        fd = plan_put_fd(w, root.fd, err);
        if (fd < 0)
                return fd;
        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_HOOKS, .fd = fd }), host->hooks_root);
        return 0;
}

static int put_hooks(struct plan_writer *w, const struct spec *spec, const struct plan_host *host, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = NULL;
        const struct spec_hooks *h = &spec->hooks;
        struct hook_state state = { .id = spec->id,
                                    .annotations = spec->annotations,
                                    .n_annotations = spec->n_annotations };
        const char *text;
        int r = 0;

        if (hooks_are_empty(h))
                return 0;
        arena = arena_new(MAX_STATE);
        state.bundle = host->bundle ?: arena_printf(arena, "%s/%s", host->bundles, spec->id);
        state.status = "creating";
        r = hook_state_head(&state, arena, &text, err);
        if (r == 0)
                r = put_hook_list(w, spec, SPEC_HOOK_CREATE_CONTAINER, text, err);
        if (r == 0 && (h->n[SPEC_HOOK_PRESTART] || h->n[SPEC_HOOK_CREATE_RUNTIME] || h->n[SPEC_HOOK_CREATE_CONTAINER]))
                r = put_host_root(w, host, err);
        state.status = "created";
        if (r == 0)
                r = hook_state_head(&state, arena, &text, err);
        return r < 0 ? r : put_hook_list(w, spec, SPEC_HOOK_START_CONTAINER, text, err);
}

/* While they run, the host's root is in the container's mount namespace: processes of a neighbour, in the same user and
 * PID namespace and with the right to trace, could look into it there. */
static int check_hooks(const struct spec *spec, struct err *err) {
        const struct spec_hooks *h = &spec->hooks;

        if (SPEC_HAS_USER_NS(spec) && !spec->ns[SPEC_NS_PID].create &&
            (h->n[SPEC_HOOK_PRESTART] || h->n[SPEC_HOOK_CREATE_RUNTIME] || h->n[SPEC_HOOK_CREATE_CONTAINER]))
                return err_set(
                        err, ERR_INVALID,
                        "hooks (prestart, createRuntime, createContainer) are not run for a container with a "
                        "user namespace that shares its PID namespace: its neighbours could see the host's files "
                        "meanwhile; set shareProcessNamespace or hostUsers otherwise");
        return 0;
}

/* --- whole plans ------------------------------------------------------------------------------------------------- */

static int put_init(struct plan_writer *w, const struct spec *spec, const struct plan_host *host, struct err *err) {
        int r = plan_put_mounts(w, spec, host, err);

        if (r == 0)
                r = plan_put_devices(w, spec, err);
        if (r == 0)
                r = plan_put_early(w, &spec->process, err);
        /* The root can be written to by them, and nothing is hidden yet. */
        if (r == 0)
                r = put_hooks(w, spec, host, err);
        if (r < 0)
                return r;
        plan_put_terminal(w, &spec->process);
        plan_put_protection(w, spec);
        r = plan_put_process(w, &spec->process, err);
        return r < 0 ? r : plan_put_machine(w, spec, err);
}

/* The kernel refuses what is born in a group that is full, but not what is moved there. */
static bool has_few_pids(const struct spec_resources *r) {
        int64_t limit = r->pids_limit;

        for (size_t i = 0; i < r->n_unified; i++)
                if (str_eq(r->unified[i].key, "pids.max"))
                        limit = strtol(r->unified[i].value, NULL, 10); /* "max": 0 */
        return limit > 0 && limit < PIDS_TO_BE_BORN;
}

static int put_uts(struct plan_writer *w, const struct spec *spec, struct err *err) {
        const char *host = spec->hostname ? spec->hostname : "", *domain = spec->domainname ? spec->domainname : "";
        bool has_ns = spec->ns[SPEC_NS_UTS].create || spec->ns[SPEC_NS_UTS].path;

        if (!*host && !*domain)
                return 0;
        if (!has_ns)
                return err_set(err, ERR_INVALID, "unable to set %s without a private UTS namespace",
                               *host ? "hostname" : "domainname");
        PLAN_PUT(w, PLAN_UTS, host, domain);
        return 0;
}

static int put_time_ns(struct plan_writer *w, const struct spec *spec, struct err *err) {
        const struct spec_namespace *ns = &spec->ns[SPEC_NS_TIME];
        int fd, index;

        if (ns->create)
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_TIME_NS_NEW,
                                                       .fd = -1,
                                                       .a = (uint64_t) spec->monotonic.seconds,
                                                       .b = spec->monotonic.nanoseconds,
                                                       .c = (uint64_t) spec->boottime.seconds,
                                                       .d = spec->boottime.nanoseconds }));
        if (ns->create || !ns->path)
                return 0;
        fd = open(ns->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWTIME) {
                (void) fd_close(fd);
                return err_set(err, ERR_INVALID, "%s is not a namespace of type time", ns->path);
        }
        index = plan_put_fd(w, fd, err);
        if (index < 0)
                return index;
        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_TIME_NS, .fd = index }));
        return 0;
}

/* What our uid looks like from the container's user namespace. */
static uint32_t uid_inside(const struct spec *spec) {
        const struct id_maps *ids = &spec->user_ids;
        _cleanup_(freep) char *text = NULL;
        uint32_t uid = geteuid();
        struct err ignored;

        if (!SPEC_HAS_USER_NS(spec))
                return uid;
        for (size_t i = 0; i < ids->n_uids; i++)
                if (uid >= ids->uids[i].outside && uid - ids->uids[i].outside < ids->uids[i].length)
                        return ids->uids[i].inside + (uid - ids->uids[i].outside);
        if (fs_read_file(AT_FDCWD, "/proc/sys/kernel/overflowuid", 64, &text, NULL, &ignored) < 0)
                return OVERFLOW_UID;
        return (uint32_t) strtoul(text, NULL, 10);
}

/* For whom the container's processes are to be found by: its user, or with a user namespace everybody in it. */
static void put_keyring(struct plan_writer *w, const struct spec *spec) {
        enum { USER_SEARCH = 0x80000, OTHER_SEARCH = 0x8 };
        char name[256];

        (void) snprintf(name, sizeof(name), "_ses.%.200s", spec->id);
        PLAN_PUT_REC(w,
                     ((struct plan_record){
                             .op = PLAN_KEYRING, .fd = -1, .a = SPEC_HAS_USER_NS(spec) ? OTHER_SEARCH : USER_SEARCH }),
                     name);
}

static int put_life(struct plan_writer *w, const struct spec *spec, struct err *err) {
        int fd, index;

        if (spec->session_keyring)
                put_keyring(w, spec);
        if (!spec->outlives_parent)
                return 0;
        PLAN_PUT(w, PLAN_OUTLIVES_PARENT);
        fd = fcntl(spec->start_socket, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return err_sys(err, errno, "the socket on which start is waited for");
        index = plan_put_fd(w, fd, err);
        if (index < 0)
                return index;
        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_START_SOCKET, .fd = index, .a = uid_inside(spec) }));
        return 0;
}

static int put_start(struct plan_writer *w, const struct spec *spec, const struct plan_host *host, struct err *err) {
        enum entry entry = has_few_pids(&spec->resources) ? ENTRY_MOVE : ENTRY_BORN;
        int r = put_cgroups(w, host->cgroups, spec->cgroup_path, entry, err);
        unsigned long propagation = MS_PRIVATE | MS_REC;

        if (r == 0)
                r = put_life(w, spec, err);
        if (r == 0)
                r = put_uts(w, spec, err);
        if (r == 0)
                r = put_time_ns(w, spec, err);
        if (r < 0)
                return r;
        if (spec->ns[SPEC_NS_CGROUP].create)
                PLAN_PUT(w, PLAN_CGROUP_NS);
        /* As runc, what the host mounts below the root later shows, unless that was asked to be private. */
        if (spec->is_bundle && !(spec->rootfs_propagation & MS_PRIVATE))
                propagation = MS_SLAVE | MS_REC;
        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_ROOT_PROPAGATION, .fd = -1, .a = propagation }));
        r = plan_put_user(w, &spec->process.user, err);
        for (size_t i = 0; i < spec->n_sysctls && r == 0; i++)
                PLAN_PUT(w, PLAN_SYSCTL, spec->sysctls[i].key, spec->sysctls[i].value);
        return r;
}

static int finish(struct plan_writer *w, struct plan *plan, struct plan *ret, struct err *err) {
        int r = plan_writer_finish(w, err);

        if (r < 0)
                return r;
        *ret = *plan;
        *plan = PLAN_EMPTY;
        return 0;
}

int plan_build_init(const struct spec *spec, const struct plan_host *host, struct plan *ret, struct err *err) {
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        _cleanup_(plan_writer_done) struct plan_writer w;
        int r;

        plan_writer_init(&w, &plan);
        r = check_hooks(spec, err);
        if (r == 0)
                r = put_start(&w, spec, host, err);
        if (r < 0)
                for (size_t i = 0; i < spec->n_mounts; i++)
                        (void) fd_close(spec->mounts[i].source_fd);
        else
                r = put_init(&w, spec, host, err);
        return r < 0 ? r : finish(&w, &plan, ret, err);
}

int plan_build_program(const struct spec *spec, struct plan *ret, struct err *err) {
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        _cleanup_(plan_writer_done) struct plan_writer w;
        int r;

        plan_writer_init(&w, &plan);
        r = put_life(&w, spec, err);
        if (r == 0)
                r = plan_put_user(&w, &spec->process.user, err);
        if (r == 0)
                r = plan_put_early(&w, &spec->process, err);
        if (r < 0)
                return r;
        plan_put_terminal(&w, &spec->process);
        if (spec->readonly_rootfs)
                PLAN_PUT(&w, PLAN_ROOT_READONLY);
        r = plan_put_process(&w, &spec->process, err);
        if (r == 0)
                r = plan_put_machine(&w, spec, err);
        return r < 0 ? r : finish(&w, &plan, ret, err);
}

int plan_build_exec(const struct spec_process *process, struct cgroups *cgroups, const char *cgroup_path,
                    struct plan *ret, struct err *err) {
        const struct plan_groups groups = { .cgroups = cgroups, .path = cgroup_path };

        return plan_build_exec_in(NULL, process, &groups, ret, err);
}

static int put_subgroup(struct plan_writer *w, struct cgroups *cgroups, const struct plan_subgroup *sub,
                        struct err *err) {
        struct cgroup_door door;
        int index, r = cgroup_open_door_of(cgroups, sub->controller, sub->path, &door, err);

        if (r < 0)
                return r;
        index = plan_put_fd(w, door.fd, err);
        if (index < 0)
                return index;
        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_CGROUP_JOIN, .fd = index }));
        return 0;
}

int plan_build_exec_in(const struct spec *container, const struct spec_process *process,
                       const struct plan_groups *groups, struct plan *ret, struct err *err) {
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        _cleanup_(plan_writer_done) struct plan_writer w;
        int r;

        plan_writer_init(&w, &plan);
        if (!process->user.resolved || plan_count(process->args) == 0)
                return err_set(err, ERR_INVALID, "an exec needs a resolved user and a command");
        r = put_cgroups(&w, groups->cgroups, groups->path, ENTRY_CLONE, err);
        for (size_t i = 0; i < groups->n_subgroups && r == 0; i++)
                r = put_subgroup(&w, groups->cgroups, &groups->subgroups[i], err);
        if (r == 0)
                r = plan_put_user(&w, &process->user, err);
        if (r == 0)
                r = plan_put_early(&w, process, err);
        if (r < 0)
                return r;
        if (process->session_keyring)
                PLAN_PUT(&w, PLAN_KEYRING, process->session_keyring);
        plan_put_terminal(&w, process);
        r = plan_put_process(&w, process, err);
        if (r == 0 && container)
                r = plan_put_machine(&w, container, err);
        return r < 0 ? r : finish(&w, &plan, ret, err);
}
