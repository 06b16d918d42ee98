/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/str.h"
#include "oci/checkpoint.h"
#include "oci/console.h"
#include "oci/creation.h"
#include "oci/criu-mounts.h"
#include "oci/criu.h"
#include "runtime/hooks/hooks.h"

enum { DESCRIPTORS_MAX = 64 << 10, STREAMS = 3 };
#define ROOT_FOLDER "criu-root"

struct restore {
        struct creation *c;
        const struct oci_criu_args *args;
        struct criu_folders folders;
        struct criu_options options;
        struct criu_fd inherited[STREAMS + 2];
        struct criu_pair joined[SPEC_NS_MAX];
        int fds[SPEC_NS_MAX + 2]; /* that CRIU gets; ends with -1 */
        size_t n_fds;
};

static void restore_done(struct restore *s) {
        criu_folders_done(&s->folders);
        for (size_t i = 0; i < s->n_fds; i++)
                if (s->fds[i] != s->args->status_fd)
                        (void) fd_close(s->fds[i]);
}

/* --- what it comes with --------------------------------------------------------------------------------------- */

/* In the place of each pipe that was a stream comes our own stream. */
static int inherit_streams(struct restore *s, struct err *err) {
        _cleanup_(json_unrefp) json_t *list = NULL;
        _cleanup_(freep) char *text = NULL;
        size_t len;
        int r = fs_read_file(s->folders.images, CRIU_DESCRIPTORS, DESCRIPTORS_MAX, &text, &len, err);

        if (r < 0)
                return err_wrap(err, "read the images' list of streams");
        list = json_loadb(text, len, 0, NULL);
        for (size_t i = 0; i < STREAMS; i++) {
                const char *was = json_string_value(json_array_get(list, i));

                if (was && str_after(was, "pipe:"))
                        s->inherited[s->options.n_inherited++] =
                                (struct criu_fd){ arena_strdup(s->c->oci->arena, was), (int) i };
        }
        return 0;
}

static int open_namespace(struct restore *s, enum spec_ns ns, const char *name, struct err *err) {
        const char *path = s->c->config.spec.ns[ns].path;
        int fd;

        if (!path || str_eq(path, "/proc/self/ns/net")) /* the caller's own, which CRIU keeps */
                return 0;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return err_set(err, ERR_INVALID, "linux.namespaces: open %s: %s", path, strerror(errno));
        s->fds[s->n_fds++] = fd;
        s->inherited[s->options.n_inherited++] = (struct criu_fd){ name, fd };
        return 0;
}

/* Those of which CRIU has the content in its images, but joins them instead. */
static void join_namespaces(struct restore *s) {
        static const struct {
                enum spec_ns ns;
                const char *kind;
        } kinds[] = { { SPEC_NS_IPC, "ipc" }, { SPEC_NS_UTS, "uts" }, { SPEC_NS_TIME, "time" } };

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                const char *path = s->c->config.spec.ns[kinds[i].ns].path;

                if (path)
                        s->joined[s->options.n_joined++] = (struct criu_pair){ kinds[i].kind, path };
        }
}

static int prepare_options(struct restore *s, struct err *err) {
        struct criu_options *o = &s->options;
        int r;

        *o = criu_options_of(s->args);
        o->inherited = s->inherited;
        o->joined = s->joined;
        o->log_file = "restore.log";
        o->restore_sibling = true;
        o->cgroup_root = str_empty(s->c->state.cgroup_path) ? NULL : s->c->state.cgroup_path;
        r = inherit_streams(s, err);
        if (r == 0)
                r = open_namespace(s, SPEC_NS_NET, CRIU_NETWORK, err);
        if (r == 0)
                r = open_namespace(s, SPEC_NS_PID, CRIU_PIDS, err);
        if (r == 0)
                r = criu_mounts_of_config(&s->c->config, s->c->cgroups, s->c->oci->arena, &o->mounts, &o->n_mounts,
                                          err);
        if (r < 0)
                return r;
        join_namespaces(s);
        if (s->args->status_fd >= 0)
                s->fds[s->n_fds++] = s->args->status_fd;
        s->fds[s->n_fds] = -1;
        return 0;
}

/* --- while CRIU is at it -------------------------------------------------------------------------------------- */

static int run_hooks(struct creation *c, pid_t pid, struct err *err) {
        struct hook_state state = oci_hook_state(&c->state, "creating");
        int r = hooks_run(&c->config.spec.hooks, SPEC_HOOK_PRESTART, &state, pid, err);

        return r < 0 ? r : hooks_run(&c->config.spec.hooks, SPEC_HOOK_CREATE_RUNTIME, &state, pid, err);
}

/* All of it is there, and waits for us to let it go. */
static int take_process(struct creation *c, pid_t pid, struct err *err) {
        c->state.pid = pid;
        c->state.start_time = proc_start_time(pid);
        c->pidfd = proc_open(pid, c->state.start_time);
        if (c->pidfd < 0)
                return err_set(err, ERR_INTERNAL, "container %s: its restored process ended at once", c->args->id);
        c->state.identity = proc_identity(c->pidfd);
        return creation_write_result(c, err);
}

static int take_terminal(struct creation *c, int fd, struct err *err) {
        if (fd < 0)
                return err_set(err, ERR_INTERNAL, "CRIU has not handed over the container's terminal");
        if (c->console >= 0)
                return console_send(c->console, fd, err);
        c->master = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return c->master < 0 ? err_sys(err, errno, "keep the container's terminal") : 0;
}

static int notified(const char *script, int pid, int fd, void *userdata, struct err *err) {
        struct restore *s = userdata;

        if (str_eq(script, "setup-namespaces"))
                return run_hooks(s->c, pid, err);
        if (str_eq(script, "orphan-pts-master"))
                return take_terminal(s->c, fd, err);
        if (str_eq(script, "post-restore"))
                return take_process(s->c, pid, err);
        return 0;
}

/* --- in order ------------------------------------------------------------------------------------------------- */

/* In a user namespace CRIU reads images as the root of that, whom nobody else's folder lets in. They are what it has in
 * its memory anyway. */
static int let_in(const struct restore *s, struct err *err) {
        const struct spec *spec = &s->c->config.spec;
        struct stat st;
        uint32_t gid;

        if (!spec->ns[SPEC_NS_USER].create || !id_map_find(spec->user_ids.gids, spec->user_ids.n_gids, 0, &gid))
                return 0;
        if (fstat(s->folders.images, &st) < 0)
                return err_sys(err, errno, "look at %s", s->folders.images_path);
        if (st.st_mode & S_IXOTH)
                return 0;
        if (fchown(s->folders.images, (uid_t) -1, gid) < 0 ||
            fchmod(s->folders.images, (st.st_mode & 07777) | S_IXGRP) < 0)
                return err_sys(err, errno, "let group %u, the container's root's, into %s", gid,
                               s->folders.images_path);
        return 0;
}

static int run_criu(struct restore *s, struct err *err) {
        struct creation *c = s->c;
        const char *root = arena_printf(c->oci->arena, "%s/%s/" ROOT_FOLDER, c->dir.root, c->args->id);
        struct criu_call call = { .type = CRIU_RESTORE,
                                  .options = &s->options,
                                  .images_path = s->folders.images_path,
                                  .work_path = s->folders.work_path,
                                  .keep_fds = s->fds,
                                  .bind_source = c->config.root_path,
                                  .bind_target = root,
                                  .notified = notified,
                                  .userdata = s,
                                  .arena = c->oci->arena };
        int r, pid;

        call.log_path = arena_printf(c->oci->arena, "%s/restore.log", s->folders.work_path);
        s->options.root = root;
        if (mkdir(root, 0700) < 0 && errno != EEXIST)
                return err_sys(err, errno, "make %s", root);
        r = criu_run(&call, &pid, err);
        (void) rmdir(root);
        if (r == 0 && c->state.pid <= 0)
                return err_set(err, ERR_INTERNAL, "CRIU has restored container %s without saying so", c->args->id);
        return r;
}

static int make(struct creation *c, void *userdata, struct err *err) {
        _cleanup_(restore_done) struct restore s = { .c = c, .args = userdata, .folders = CRIU_FOLDERS_EMPTY };
        int r = creation_read(c, err);

        if (r == 0)
                r = creation_connect_console(c, err);
        if (r == 0)
                r = criu_folders_open(s.args, false, c->oci->arena, &s.folders, err);
        if (r == 0)
                r = creation_make_cgroup(c, err);
        if (r == 0)
                r = criu_mounts_make_targets(&c->config, err);
        if (r == 0)
                r = prepare_options(&s, err);
        if (r == 0)
                r = let_in(&s, err);
        if (r == 0)
                r = run_criu(&s, err);
        cgroup_holder_end(&c->cgroup);
        return r;
}

int oci_restore(const struct oci *o, const struct oci_run_args *run, const struct oci_criu_args *args, int *ret_status,
                struct err *err) {
        return oci_run_by(o, run, &(struct creation_maker){ make, (void *) args, true }, ret_status, err);
}
