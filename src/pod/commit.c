/* SPDX-License-Identifier: Apache-2.0 */
/* commit - an image of a container as it is now. While its files are read it is frozen; a note in the store lets the
 * next start thaw it, should the daemon be killed meanwhile. Other operations on the pod go on: one that removes the
 * container makes the commit fail. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/proc.h"
#include "base/strbuf.h"
#include "pod/operations.h"
#include "pod/own-layer.h"
#include "pod/rules.h"

#define NOTE "commit-freezes/"

enum {
        WORK_ARENA_MAX = 64 << 20,
        FREEZE_MS = 10000,
        MOUNTINFO_MAX = 16 << 20,
        PATHS_MAX = 20000,
        CREATED_BY_MAX = 4096
};

struct commit {
        struct container *container;
        bool frozen;
};

/* --- frozen meanwhile, under the pod's lock ------------------------------------------------------------------------
 */

static const char *note_of(const char *id, char ret[sizeof(NOTE) + ID_LEN]) {
        (void) snprintf(ret, sizeof(NOTE) + ID_LEN, NOTE "%.64s", id);
        return ret;
}

static int freeze(struct container *c, struct err *err) {
        char note[sizeof(NOTE) + ID_LEN];
        struct err ignored;
        int r = 0;

        if (c->n_commits == 0) {
                r = store_put(c->pods->store, STORE_META, note_of(c->id, note), c->cgroup_path, strlen(c->cgroup_path),
                              err);
                if (r < 0)
                        return r;
                r = cgroup_freeze(c->pods->cgroups, c->cgroup_path, true, FREEZE_MS, err);
                if (r < 0)
                        (void) !store_delete(c->pods->store, STORE_META, note, &ignored);
        }
        c->n_commits += r == 0;
        return r < 0 ? err_wrap(err, "pause container %s (--pause=false does without)", c->id) : 0;
}

static void thaw(struct container *c) {
        char note[sizeof(NOTE) + ID_LEN];
        struct err err;
        int r;

        if (--c->n_commits > 0)
                return;
        r = cgroup_freeze(c->pods->cgroups, c->cgroup_path, false, FREEZE_MS, &err);
        if (r < 0 && r != -ERR_NOT_FOUND)
                log_error("a container stays frozen after a commit", "container", c->id, "error", err.msg, NULL);
        else if (store_delete(c->pods->store, STORE_META, note_of(c->id, note), &err) < 0)
                log_warn("cannot forget that a container was frozen", "container", c->id, "error", err.msg, NULL);
}

struct notes {
        struct map *groups; /* note -> path of the group */
};

static int take_note(const char *key, const void *value, size_t len, void *userdata) {
        struct notes *n = userdata;

        if (str_after(key, NOTE))
                (void) map_set(n->groups, key, xprintf("%.*s", (int) len, (const char *) value));
        return 0;
}

void commits_reconcile(struct pods *p) {
        _cleanup_(map_freep) struct map *groups = map_new();
        struct notes notes = { groups };
        struct err err;
        const char *key;
        void *path;

        if (store_each(p->store, STORE_META, take_note, &notes, &err) < 0)
                log_error("cannot look for containers that a commit has frozen", "error", err.msg, NULL);
        for (size_t it = 0; map_next(groups, &it, &key, &path);) {
                int r = cgroup_freeze(p->cgroups, path, false, FREEZE_MS, &err);

                if (r < 0 && r != -ERR_NOT_FOUND)
                        log_error("a container stays frozen after a commit", "cgroup", path, "error", err.msg, NULL);
                else if (store_delete(p->store, STORE_META, key, &err) < 0)
                        log_warn("cannot forget that a container was frozen", "cgroup", path, "error", err.msg, NULL);
                free(path);
        }
}

/* --- what is not the container's ---------------------------------------------------------------------------------- */

/* "\040" and the like, in place. */
static void unescape(char *s) {
        char *out = s;

        for (; *s; s++)
                if (*s == '\\' && s[1] >= '0' && s[1] <= '3' && isdigit((unsigned char) s[2]) &&
                    isdigit((unsigned char) s[3])) {
                        *out++ = (char) ((s[1] - '0') * 64 + (s[2] - '0') * 8 + s[3] - '0');
                        s += 3;
                } else {
                        *out++ = *s;
                }
        *out = '\0';
}

/* What is mounted in it now, however it was named: "ID PARENT MAJOR:MINOR ROOT PLACE ...". */
static size_t mounted(const struct container *c, struct arena *arena, const char **list, size_t max) {
        _cleanup_(freep) char *text = NULL;
        struct err ignored;
        size_t n = 0;
        char *rest;

        if (container_get_phase((struct container *) c) != CONTAINER_RUNNING || c->pid <= 0 ||
            fs_read_file(AT_FDCWD, arena_printf(arena, "/proc/%d/mountinfo", (int) c->pid), MOUNTINFO_MAX, &text, NULL,
                         &ignored) < 0 ||
            proc_start_time(c->pid) != c->start_time)
                return 0;
        rest = text;
        for (char *line; n < max && (line = strsep(&rest, "\n"));) {
                char *place = NULL;

                for (int i = 0; i < 5 && line; i++)
                        place = strsep(&line, " ");
                if (!place || *place != '/' || !place[1])
                        continue;
                unescape(place);
                list[n++] = arena_strdup(arena, place);
        }
        return n;
}

/* Places of mounts, as far as they are known of one that doesn't run: files and folders are made there for them. */
static const char *const *left_out(const struct container *c, struct arena *arena) {
        static const char *const own[] = { "/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf" };
        const CRI(ContainerConfig) *config = c->config;
        const char **list = arena_array(arena, const char *, ELEMENTSOF(own) + config->n_mounts + PATHS_MAX + 1);
        size_t n = 0;

        for (; n < ELEMENTSOF(own); n++)
                list[n] = own[n];
        for (size_t i = 0; i < config->n_mounts; i++) {
                const char *path = path_clean(arena, config->mounts[i]->container_path);

                if (path && path[1])
                        list[n++] = path;
        }
        n += mounted(c, arena, list + n, PATHS_MAX);
        list[n] = NULL;
        return list;
}

static const char *const *volumes_of(const struct image *image, struct arena *arena) {
        const char **list = arena_array(arena, const char *, strv_len(image->config.volumes) + 1);
        size_t n = 0;

        for (const char **v = image->config.volumes; *v; v++) {
                const char *path = path_clean(arena, *v);

                if (path && path[1])
                        list[n++] = path;
        }
        return list;
}

/* What has run in it. */
static const char *created_by(const struct container *c, const struct image *image, struct arena *arena) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(CREATED_BY_MAX);
        const CRI(ContainerConfig) *config = c->config;

        for (size_t i = 0; i < config->n_command; i++)
                strbuf_printf(&b, "%s%s", b.len ? " " : "", config->command[i]);
        for (const char **w = image->config.entrypoint; config->n_command == 0 && *w; w++)
                strbuf_printf(&b, "%s%s", b.len ? " " : "", *w);
        for (size_t i = 0; i < config->n_args; i++)
                strbuf_printf(&b, "%s%s", b.len ? " " : "", config->args[i]);
        for (const char **w = image->config.cmd; config->n_command + config->n_args == 0 && *w; w++)
                strbuf_printf(&b, "%s%s", b.len ? " " : "", *w);
        return arena_strndup(arena, strbuf_str(&b), b.len);
}

/* --- the commit --------------------------------------------------------------------------------------------------- */

static int check(struct container *c, struct err *err) {
        enum container_phase phase = container_get_phase(c);

        if (c->removed || phase == CONTAINER_REMOVING || phase == CONTAINER_CREATING)
                return err_set(err, ERR_NOT_FOUND, "container %s is gone", c->id);
        return 0;
}

/* What was read while it was removed is not all. */
static int was_read(void *userdata, struct err *err) {
        static const struct pods_ctx for_ever = { .cancel_fd = -1, .deadline_ns = UINT64_MAX };
        struct commit *commit = userdata;
        struct container *c = commit->container;
        int r = sandbox_lock(c->sandbox, &for_ever, err);

        if (r < 0)
                return r;
        if (commit->frozen)
                thaw(c);
        commit->frozen = false;
        r = check(c, err);
        pthread_mutex_unlock(&c->sandbox->lock);
        return r;
}

/* Under the pod's lock. */
static int begin(struct commit *commit, const struct pods_commit_args *args, struct image_commit_args *how,
                 struct arena *arena, struct err *err) {
        struct container *c = commit->container;
        struct image *image;
        bool runs;
        int r = check(c, err);

        if (r == 0)
                r = images_get(c->pods->images, c->from_image.id, arena, &image, err);
        if (r == -ERR_NOT_FOUND && !c->removed)
                return err_set(err, ERR_PRECONDITION, "its image %s is not on this node any more: pull it again",
                               c->from_image.name);
        if (r == 0)
                r = own_layer_open_upper(c, &how->upper_fd, err);
        if (r < 0)
                return r;
        how->leave_out = left_out(c, arena);
        how->leave_out_below = volumes_of(image, arena);
        how->created_by = created_by(c, image, arena);
        runs = container_get_phase(c) == CONTAINER_RUNNING || container_get_phase(c) == CONTAINER_STARTING;
        how->may_change = runs && !args->pause;
        r = runs && args->pause ? freeze(c, err) : 0;
        commit->frozen = runs && args->pause && r == 0;
        return r;
}

static int commit_container(struct commit *commit, const struct pods_ctx *ctx, const struct pods_commit_args *args,
                            struct arena *arena, const char **ret_id, struct err *err) {
        _cleanup_(arena_freep) struct arena *work = arena_new(WORK_ARENA_MAX);
        struct container *c = commit->container;
        struct image_commit_args how = { .snapshot = c->id,
                                         .upper_fd = -1,
                                         .owners = sandbox_user_ids(c->sandbox),
                                         .was_read = was_read,
                                         .read_userdata = commit,
                                         .names = args->names,
                                         .changes = args->changes,
                                         .n_changes = args->n_changes,
                                         .author = args->author,
                                         .message = args->message,
                                         .zstd = args->zstd,
                                         .cancel_fd = ctx->cancel_fd,
                                         .deadline_ns = ctx->deadline_ns,
                                         .progress = args->progress,
                                         .userdata = args->userdata };
        struct err ignored;
        int r = sandbox_lock(c->sandbox, ctx, err);

        if (r < 0)
                return r;
        r = begin(commit, args, &how, work, err);
        pthread_mutex_unlock(&c->sandbox->lock);
        if (r == 0)
                r = images_commit(c->pods->images, &how, arena, ret_id, err);
        if (commit->frozen)
                (void) !was_read(commit, &ignored);
        (void) fd_close(how.upper_fd);
        return r;
}

int pods_commit(struct pods *p, const struct pods_ctx *ctx, const struct pods_commit_args *args, struct arena *arena,
                const char **ret_id, struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        struct commit commit = { 0 };
        int r = registry_find_container(p, args->container, &c, err);

        if (r < 0)
                return r;
        commit.container = c;
        r = commit_container(&commit, ctx, args, arena, ret_id, err);
        if (r == 0)
                log_info("container committed", "container", c->id, "image", *ret_id, NULL);
        return r < 0 ? err_wrap(err, "commit container %s", c->id) : 0;
}
