/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/crun/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "runtime/crun/config-json.h"
#include "runtime/hooks/hooks.h"
#include "runtime/lxc/plan-writer.h"

enum { ARENA_MAX = 32 << 20, DELETE_TIMEOUT_MS = 60000, TEXT_MAX = 8192 };

const char *crun_program(void) {
        static const char *const places[] = { "/usr/bin/crun", "/usr/sbin/crun", "/usr/local/bin/crun" };

        for (size_t i = 0; i < ELEMENTSOF(places); i++)
                if (access(places[i], X_OK) == 0)
                        return places[i];
        return NULL;
}

int crun_check(struct err *err) {
        if (crun_program())
                return 0;
        return err_set(err, ERR_UNAVAILABLE,
                       "the engine crun: there is no crun in /usr/bin, /usr/sbin or /usr/local/bin; \"apt install "
                       "crun\" has it");
}

int crun_prepare(const char *state_dir, struct err *err) {
        static const char *const folders[] = { "root", "bundles" };
        char path[512];
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(folders) && r == 0; i++) {
                (void) snprintf(path, sizeof(path), "%s/" CRUN_FOLDER "/%s", state_dir, folders[i]);
                r = fs_mkdir_p(path, 0700, err);
        }
        return r;
}

/* --- mounts --------------------------------------------------------------------------------------------------------
 */

void crun_bundle_done(struct crun_bundle *b) {
        for (size_t i = 0; i < b->n_mounts; i++)
                (void) fd_close(b->mounts[i]);
        free(b->mounts);
        *b = CRUN_BUNDLE_EMPTY;
}

static int take_mount(const struct spec *spec, const struct spec_mount *m, struct crun_bundle *b, struct err *err) {
        int tree;

        if (!plan_is_bind(m)) {
                (void) fd_close(m->source_fd);
                return 0;
        }
        tree = plan_take_source(spec, m, err);
        if (tree < 0)
                return tree;
        b->mounts[b->n_mounts++] = tree;
        return 0;
}

static int take_mounts(const struct spec *spec, struct crun_bundle *b, struct err *err) {
        int r = 0;

        b->mounts = xcalloc(spec->n_mounts + 1, sizeof(*b->mounts));
        for (size_t i = 0; i < spec->n_mounts; i++) {
                if (r == 0)
                        r = take_mount(spec, &spec->mounts[i], b, err);
                else /* taken in any case */
                        (void) fd_close(spec->mounts[i].source_fd);
        }
        return r;
}

/* --- the bundle ----------------------------------------------------------------------------------------------------
 */

/* Namespaces that we hold open are ours for crun, too. */
static void name_namespaces(struct spec *spec, struct arena *arena) {
        for (size_t i = 0; i < ELEMENTSOF(spec->ns); i++) {
                const char *own = spec->ns[i].path ? str_after(spec->ns[i].path, "/proc/self/") : NULL;

                if (own)
                        spec->ns[i].path = arena_printf(arena, "/proc/%d/%s", (int) getpid(), own);
        }
}

static int write_config(const struct spec *spec, const char *state_dir, const char *dir, struct crun_bundle *b,
                        struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        const char *folder = arena_printf(arena, "%s/" CRUN_FOLDER "/bundles/%s", state_dir, spec->id), *text;
        _cleanup_(fd_closep) int fd = -1;
        struct spec resolved = *spec;
        int r;

        resolved.process.user = (struct spec_user){ .uid = b->user.uid,
                                                    .gid = b->user.gid,
                                                    .has_gid = true,
                                                    .resolved = true,
                                                    .additional_gids = b->user.groups,
                                                    .n_additional_gids = b->user.n_groups };
        name_namespaces(&resolved, arena);
        r = crun_config_json(&resolved, dir, arena, &text, err);
        if (r == 0)
                r = fs_mkdir_p(folder, 0700, err);
        if (r < 0)
                return r;
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return err_sys(err, errno, "open the bundle %s", folder);
        return fs_write_atomic(fd, "config.json", text, strlen(text), 0600, false, err);
}

int crun_bundle_write(const struct spec *spec, const char *state_dir, const char *dir, struct crun_bundle *ret,
                      struct err *err) {
        struct crun_bundle b = CRUN_BUNDLE_EMPTY;
        int r;

        /* Before anything is mounted, in the image's files. */
        r = plan_resolve_user(&spec->process.user, spec->rootfs_mount_fd, &b.user, err);
        /* What is a bind shows in the spec as long as its descriptors are there. */
        if (r == 0)
                r = write_config(spec, state_dir, dir, &b, err);
        if (r == 0)
                r = take_mounts(spec, &b, err);
        else
                for (size_t i = 0; i < spec->n_mounts; i++)
                        (void) fd_close(spec->mounts[i].source_fd);
        if (r < 0) {
                crun_bundle_done(&b);
                return r;
        }
        *ret = b;
        return 0;
}

static bool is_of(const struct spec_hooks *hooks, enum spec_hook_kind kind, const char *quoted) {
        for (size_t i = 0; i < hooks->n[kind]; i++)
                if (strncmp(quoted, hooks->list[kind][i].path, strlen(hooks->list[kind][i].path)) == 0 &&
                    quoted[strlen(hooks->list[kind][i].path)] == '`')
                        return true;
        return false;
}

void crun_explain(const struct spec_hooks *hooks, struct err *err) {
        static const enum spec_hook_kind kinds[] = { SPEC_HOOK_PRESTART, SPEC_HOOK_CREATE_RUNTIME,
                                                     SPEC_HOOK_CREATE_CONTAINER };
        _cleanup_strbuf_ struct strbuf names = STRBUF(256);
        const char *words = strstr(err->msg, "error executing hook `") ?: strstr(err->msg, "timeout expired for `");

        if (!words)
                return;
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (is_of(hooks, kinds[i], strchr(words, '`') + 1))
                        strbuf_printf(&names, "%s%s", names.len ? " or " : "", hook_kind_name(kinds[i]));
        err->code = ERR_INTERNAL;
        if (names.len)
                (void) err_wrap(err, "%s hook", strbuf_str(&names));
}

#define HIDE_UNIFIED "mount -t tmpfs tmpfs /sys/fs/cgroup/unified && exec \"$@\"" /* CRUN_UNIFIED */

static int run_delete(const char *root, const char *id, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(TEXT_MAX);
        const char *const argv[] = { crun_program(), "--root", root, "delete", "--force", id, NULL };
        /* The same in a mount namespace like that of the monitor. */
        const char *const hybrid[] = { "/usr/bin/unshare", "--mount", "/bin/sh", "-c",      HIDE_UNIFIED, "sh", argv[0],
                                       "--root",           root,      "delete",  "--force", id,           NULL };
        bool is_hybrid = access(CRUN_UNIFIED "/cgroup.procs", F_OK) == 0;
        const char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
        int status, r = crun_check(err);

        if (r < 0)
                return r;
        r = proc_run(&(struct proc_run_args){ .argv = is_hybrid ? hybrid : argv,
                                              .envp = env,
                                              .err_out = &out,
                                              .timeout_ms = DELETE_TIMEOUT_MS },
                     &status, err);
        if (r == 0 && status != 0)
                r = err_set(err, ERR_INTERNAL, "crun delete --force %s: %.400s", id, strbuf_str(&out));
        return r;
}

int crun_bundle_remove(const char *state_dir, const char *id, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        char root[512], path[1024];
        struct err problem = { 0 };

        (void) snprintf(root, sizeof(root), "%s/" CRUN_FOLDER "/root", state_dir);
        (void) snprintf(path, sizeof(path), "%s/%s", root, id);
        /* What crun can't delete (it was killed while it made it) is only files: processes and cgroup are gone. */
        if (access(path, F_OK) == 0 && run_delete(root, id, &problem) < 0)
                log_warn("crun could not delete a container; its files are removed", "container", id, "error",
                         problem.msg, NULL);
        fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && fs_remove_tree(fd, id, err) < 0)
                return -(int) err->code;
        (void) fd_close(TAKE_FD(fd));
        (void) snprintf(path, sizeof(path), "%s/" CRUN_FOLDER "/bundles", state_dir);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : err_sys(err, errno, "open %s", path);
        return fs_remove_tree(fd, id, err);
}
