/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/checkpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "oci/creation.h"
#include "oci/criu-mounts.h"
#include "oci/criu.h"

enum { LINK_MAX_BYTES = 4096, STAT_MAX = 4096 };

/* --- what restore has, too ------------------------------------------------------------------------------------ */

void criu_folders_done(struct criu_folders *f) {
        f->images = fd_close(f->images);
}

static int open_folder(const char *path, const char *what, int *ret, struct err *err) {
        *ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return *ret < 0 ? err_set(err, ERR_INVALID, "open the %s %s: %s", what, path, strerror(errno)) : 0;
}

int criu_folders_open(const struct oci_criu_args *args, bool make, struct arena *arena, struct criu_folders *ret,
                      struct err *err) {
        const char *images = args->image_path ?: "checkpoint";
        int r = make ? fs_mkdir_p(images, 0700, err) : 0;

        ret->images_path = images;
        ret->work_path = args->work_path ?: images;
        if (r == 0 && args->work_path)
                r = fs_mkdir_p(args->work_path, 0700, err);
        return r < 0 ? r : open_folder(images, "images' folder", &ret->images, err);
}

struct criu_options criu_options_of(const struct oci_criu_args *args) {
        return (struct criu_options){ .parent_images = args->parent_path,
                                      .ext_unix_sk = args->ext_unix_sk,
                                      .tcp_established = args->tcp_established,
                                      .shell_job = args->shell_job,
                                      .file_locks = args->file_locks,
                                      .auto_dedup = args->auto_dedup,
                                      .lazy_pages = args->lazy_pages,
                                      .cgroups = args->cgroups,
                                      .empty_ns = args->empty_net ? CLONE_NEWNET : 0,
                                      .status_fd = args->status_fd,
                                      .page_server = args->page_server,
                                      .page_server_port = args->page_server_port,
                                      .lsm_profile = args->lsm_profile,
                                      .lsm_mount_context = args->lsm_mount_context,
                                      .orphan_terminal = true,
                                      .notify = true };
}

/* --- checkpoint ----------------------------------------------------------------------------------------------- */

struct checkpoint {
        const struct oci *oci;
        const struct oci_criu_args *args;
        struct oci_dir dir;
        struct oci_state state;
        struct oci_config config;
        struct cgroups *cgroups;
        struct criu_folders folders;
};

static void checkpoint_done(struct checkpoint *c) {
        criu_folders_done(&c->folders);
        c->cgroups = cgroups_free(c->cgroups);
        oci_dir_done(&c->dir);
}

static int check_parent(const struct oci_criu_args *args, const struct criu_folders *folders, struct err *err) {
        struct stat st;

        if (!args->parent_path)
                return 0;
        if (*args->parent_path == '/')
                return err_set(err, ERR_INVALID, "--parent-path %s must be relative to the image-path",
                               args->parent_path);
        if (fstatat(folders->images, args->parent_path, &st, 0) < 0)
                return err_set(err, ERR_INVALID, "--parent-path %s: %s", args->parent_path, strerror(errno));
        return 0;
}

static int open_all(struct checkpoint *c, const char *id, struct err *err) {
        enum oci_status status;
        int r = oci_dir_open(c->oci->root, id, true, &c->dir, err);

        if (r == 0)
                r = oci_state_read(&c->dir, c->oci->arena, &c->state, err);
        if (r == 0)
                r = cgroups_new(&c->cgroups, err);
        if (r < 0)
                return r;
        status = oci_dir_status(&c->dir, &c->state, c->cgroups);
        if (status != OCI_RUNNING && status != OCI_PAUSED)
                return err_set(err, ERR_PRECONDITION, "Container cannot be checkpointed in %s state",
                               oci_status_name(status));
        r = oci_read_stored(&c->dir, &c->state, c->oci->arena, &c->config, err);
        if (r == 0)
                r = criu_folders_open(c->args, true, c->oci->arena, &c->folders, err);
        return r < 0 ? r : check_parent(c->args, &c->folders, err);
}

/* What its streams are, for restore to put others in their place. */
static int write_descriptors(const struct checkpoint *c, struct err *err) {
        _cleanup_(json_unrefp) json_t *list = json_array();
        _cleanup_(freep) char *text = NULL;
        char path[64], target[LINK_MAX_BYTES];
        ssize_t n;

        for (int i = 0; i < 3; i++) {
                (void) snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int) c->state.pid, i);
                n = readlink(path, target, sizeof(target) - 1);
                target[n > 0 ? n : 0] = '\0'; /* it is closed */
                (void) json_array_append_new(list, json_string_nocheck(target));
        }
        text = json_dumps(list, JSON_COMPACT);
        if (!text)
                return err_set(err, ERR_INTERNAL, "a stream of the container has no name");
        return fs_write_atomic(c->folders.images, CRIU_DESCRIPTORS, text, strlen(text), 0600, false, err);
}

/* A namespace that was there before: "net[4026532000]:extRootNetNS". */
static int add_external(const struct checkpoint *c, enum spec_ns ns, const char *kind, const char *name,
                        struct criu_options *o, const char **list, struct err *err) {
        const char *path;
        struct stat st;

        if (!c->config.spec.ns[ns].path)
                return 0;
        path = arena_printf(c->oci->arena, "/proc/%d/ns/%s", (int) c->state.pid, kind);
        if (stat(path, &st) < 0)
                return err_sys(err, errno, "look at %s", path);
        list[o->n_external++] = arena_printf(c->oci->arena, "%s[%llu]:%s", kind, (unsigned long long) st.st_ino, name);
        o->external = list;
        return 0;
}

/* All processes stop at once, also those that fork meanwhile. */
static const char *freezer_of(const struct checkpoint *c) {
        struct cgroup_folder folders[CGROUP_MAX_DOORS];
        size_t n;

        if (!c->state.cgroup_made || str_empty(c->state.cgroup_path))
                return NULL;
        n = cgroup_list_folders(c->cgroups, c->state.cgroup_path, c->oci->arena, folders);
        for (size_t i = 0; i < n; i++)
                if (folders[i].freezer)
                        return folders[i].path;
        return NULL;
}

/* --- programs of exec ----------------------------------------------------------------------------------------- */

/* -1: it has ended. */
static pid_t parent_of(pid_t pid) {
        _cleanup_(freep) char *text = NULL;
        struct err ignored;
        char path[64];
        const char *p;

        (void) snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        if (fs_read_file(AT_FDCWD, path, STAT_MAX, &text, NULL, &ignored) < 0)
                return -1;
        p = strrchr(text, ')'); /* ") S ppid" */
        return p && strlen(p) > 4 ? (pid_t) strtol(p + 4, NULL, 10) : -1;
}

static bool is_below(pid_t pid, pid_t above) {
        while (pid > 0 && pid != above)
                pid = parent_of(pid);
        return pid != 0;
}

/* CRIU saves what is below the container's first process. What is not (it came by exec) would end with the checkpoint,
 * unsaved, and of that CRIU only warns in its log. */
static int check_processes(const struct checkpoint *c, struct err *err) {
        _cleanup_(freep) pid_t *pids = NULL;
        size_t n = 0;
        int r = 0;

        if (c->state.cgroup_made && !str_empty(c->state.cgroup_path))
                r = cgroup_processes(c->cgroups, c->state.cgroup_path, &pids, &n, err);
        for (size_t i = 0; r == 0 && i < n; i++)
                if (pids[i] != c->state.watcher_pid && !is_below(pids[i], c->state.pid))
                        r = err_set(err, ERR_PRECONDITION,
                                    "process %d came into the container by exec, so it could not be restored: end it, "
                                    "then make the checkpoint",
                                    (int) pids[i]);
        return r;
}

/* Before anything is done; and when all are stopped, so that none has come since. */
static int notified(const char *script, int pid _unused_, int fd _unused_, void *userdata, struct err *err) {
        const struct checkpoint *c = userdata;

        return str_eq(script, "pre-dump") || str_eq(script, "post-dump") ? check_processes(c, err) : 0;
}

/* --- in order ------------------------------------------------------------------------------------------------- */

static int dump(struct checkpoint *c, struct err *err) {
        struct criu_options o = criu_options_of(c->args);
        struct criu_call call = { .type = c->args->pre_dump ? CRIU_PRE_DUMP : CRIU_DUMP,
                                  .options = &o,
                                  .images_path = c->folders.images_path,
                                  .work_path = c->folders.work_path,
                                  .notified = c->args->pre_dump ? NULL : notified,
                                  .userdata = c,
                                  .arena = c->oci->arena };
        int keep[] = { c->args->status_fd, -1 }, r, ignored;
        const char *external[2];

        call.keep_fds = keep;
        call.log_path = arena_printf(c->oci->arena, "%s/dump.log", c->folders.work_path);
        o.log_file = "dump.log";
        o.pid = c->state.pid;
        o.root = c->state.rootfs;
        o.leave_running = c->args->leave_running;
        o.track_memory = c->args->pre_dump;
        o.freeze_cgroup = freezer_of(c);
        r = add_external(c, SPEC_NS_NET, "net", CRIU_NETWORK, &o, external, err);
        if (r == 0)
                r = add_external(c, SPEC_NS_PID, "pid", CRIU_PIDS, &o, external, err);
        if (r == 0 && !c->args->pre_dump)
                r = criu_mounts_of_process(c->state.pid, &c->config, c->oci->arena, &o.mounts, &o.n_mounts, err);
        return r < 0 ? r : criu_run(&call, &ignored, err);
}

int oci_checkpoint(const struct oci *o, const char *id, const struct oci_criu_args *args, struct err *err) {
        _cleanup_(checkpoint_done) struct checkpoint c = {
                .oci = o, .args = args, .dir = OCI_DIR_EMPTY, .folders = CRIU_FOLDERS_EMPTY
        };
        int r = open_all(&c, id, err);

        if (r == 0 && !args->pre_dump)
                r = write_descriptors(&c, err);
        if (r == 0)
                r = dump(&c, err);
        if (r < 0 || args->pre_dump || args->leave_running)
                return r;
        return oci_destroy(o, &c.dir, &c.state, c.cgroups, err);
}
