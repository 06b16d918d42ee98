/* SPDX-License-Identifier: Apache-2.0 */
/* container-create - CreateContainer: intent, layer, spec, engine, result. */
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "pod/ct.h"
#include "pod/layer-usage.h"
#include "pod/own-layer.h"
#include "pod/operations.h"
#include "pod/record.h"
#include "pod/rules.h"
#include "pod/selinux.h"
#include "pod/specgen.h"
#include "pod/user-ns.h"

enum { WORK_ARENA_MAX = 64 << 20 };

/* --- what the image gives ----------------------------------------------------------------------------------------- */

static const char *first(const char *const *list) {
        return list && list[0] ? list[0] : NULL;
}

/* Names as people know them: kubelet asks for images by id, and shows what we answer. */
int image_traits_new(const CRI(ContainerConfig) * config, const char *asked, const struct image *image,
                     struct arena *arena, struct image_traits *ret, struct err *err) {
        const char *tag = first(image->repo_tags), *digest = first(image->repo_digests), *cwd;
        bool by_id = str_eq(asked, image->id) || str_after(asked, "sha256:") ||
                     str_after(image->id + strlen("sha256:"), asked);
        int r = process_cwd(config, image, arena, &cwd, err), stop_signal = 0;

        if (r == 0)
                r = process_stop_signal(config, image, &stop_signal, err);
        if (r < 0)
                return r;
        *ret = (struct image_traits){ .id = xstrdup(image->id),
                                      .name = xstrdup(!by_id   ? asked
                                                      : tag    ? tag
                                                      : digest ? digest
                                                               : asked),
                                      .digest = xstrdup(digest ? digest : image->id),
                                      .env = xstrv_copy((const char *const *) image->config.env),
                                      .cwd = xstrdup(cwd),
                                      .stop_signal = stop_signal };
        return 0;
}

void container_swap_traits(struct container *c, struct image_traits *t) {
        const struct image_traits old = c->from_image;

        pthread_rwlock_wrlock(&c->pods->lock);
        c->from_image = *t;
        pthread_rwlock_unlock(&c->pods->lock);
        *t = old;
}

static int take_log_path(struct container *c, struct arena *arena, struct err *err) {
        const char *dir = c->sandbox->config->log_directory, *name = c->config->log_path, *path;

        if (str_empty(dir) || str_empty(name)) {
                c->log_path = xstrdup("");
                return 0;
        }
        path = path_clean(arena, arena_printf(arena, "%s/%s", dir, name));
        if (!path || strlen(path) >= 4096)
                return err_set(err, ERR_INVALID, "log_path \"%.128s\" cannot be used", name);
        /* ".." must not lead out of the folder that the pod was given. */
        dir = path_clean(arena, dir);
        if (!str_after(path, dir) || (!str_eq(dir, "/") && path[strlen(dir)] != '/'))
                return err_set(err, ERR_INVALID, "log_path \"%.128s\" leads out of the pod's log_directory", name);
        c->log_path = xstrdup(path);
        return 0;
}

static int make_log_folder(const struct container *c, struct arena *arena, struct err *err) {
        const char *slash = strrchr(c->log_path, '/');

        return slash && slash != c->log_path
                       ? fs_mkdir_p(arena_strndup(arena, c->log_path, (size_t) (slash - c->log_path)), 0755, err)
                       : 0;
}

/* All that is known before anything is made. */
static int prepare(struct container *c, const struct image *image, struct arena *arena, struct err *err) {
        const CRI(LinuxContainerConfig) *l = c->config->linux;
        const char *parent = c->sandbox->cgroup_parent;
        struct image_traits traits;
        int r = image_traits_new(c->config, c->config->image->image, image, arena, &traits, err);

        if (r < 0)
                return r;
        container_swap_traits(c, &traits);
        image_traits_done(&traits);
        r = take_log_path(c, arena, err);
        if (r == 0)
                r = container_choose_labels(c, arena, err);
        if (r < 0)
                return r;
        c->cgroup_path = xstrdup(arena_printf(arena, "%s/%s", str_eq(parent, "/") ? "" : parent, c->id));
        if (l && l->resources) {
                c->limits = cri_dup(LinuxContainerResources, l->resources);
                if (!c->limits)
                        return err_set(err, ERR_EXHAUSTED, "the limits cannot be copied");
        }
        return 0;
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static bool joins_pod_pid(const struct container *c) {
        const CRI(LinuxContainerConfig) *l = c->config->linux;
        const CRI(NamespaceOption) *o = l && l->security_context ? l->security_context->namespace_options : NULL;

        return !o || o->pid == CRI_(NAMESPACE_MODE__POD);
}

/* One that is made again (ct-restart.h) may be looked at meanwhile. */
static void take_created(struct container *c, const struct engine_created *created) {
        pthread_rwlock_wrlock(&c->pods->lock);
        c->pid = created->pid;
        c->start_time = created->start_time;
        c->uid = created->uid;
        c->gid = created->gid;
        c->n_groups = created->n_groups;
        free(c->groups);
        c->groups = xcalloc(created->n_groups + 1, sizeof(*c->groups));
        memcpy(c->groups, created->groups, created->n_groups * sizeof(*c->groups));
        pthread_rwlock_unlock(&c->pods->lock);
}

static int make_in_engine(struct container *c, const struct image *image, struct arena *arena, struct err *err) {
        struct engine *e = c->pods->engine;
        struct engine_created *created = arena_new_of(arena, struct engine_created);
        struct engine_stdio io = { .log_path = c->log_path,
                                   .open_stdin = c->config->stdin,
                                   .stdin_once = c->config->stdin_once };
        _cleanup_(specgen_ns_fds_done) struct specgen_ns_fds ns = { { -1, -1 } };
        _cleanup_(fd_closep) int userns = -1;
        struct spec *spec = arena_new_of(arena, struct spec);
        int rootfs = -1, r;

        r = user_ns_open(c->sandbox, &userns, err);
        if (r == 0)
                r = own_layer_mount(c, userns, &rootfs, err);
        if (r < 0)
                return r;
        r = specgen_container(c, image, rootfs, arena, spec, &ns, err);
        if (r < 0) {
                specgen_close(spec);
                return r;
        }
        c->engine_holds = true;
        r = e->ops->create(e, spec, &io, created, err);
        if (r < 0) {
                c->engine_holds = false;
                return r;
        }
        take_created(c, created);
        return 0;
}

int container_make_again(struct container *c, struct arena *arena, struct err *err) {
        struct image *image;
        int r = images_get(c->pods->images, c->from_image.id, arena, &image, err);

        if (r == 0 && joins_pod_pid(c))
                r = pause_ensure(c->sandbox, err);
        if (r == -ERR_NOT_FOUND)
                return err_set(err, ERR_PRECONDITION, "image %s is not on this node any more", c->from_image.name);
        return r < 0 ? r : make_in_engine(c, image, arena, err);
}

static int make(struct container *c, const struct image *image, struct arena *arena, struct err *err) {
        int r = 0;

        if (joins_pod_pid(c))
                r = pause_ensure(c->sandbox, err);
        if (r == 0)
                r = make_log_folder(c, arena, err);
        if (r == 0)
                r = own_layer_create(c, image->id, err);
        if (r == 0)
                r = make_in_engine(c, image, arena, err);
        return r;
}

/* Intent, act, result. What failed to be made leaves nothing. */
static int create(struct container *c, const struct image *image, struct arena *arena, struct err *err) {
        struct err e;
        int r;

        pthread_mutex_lock(&c->record);
        r = container_save(c, err);
        pthread_mutex_unlock(&c->record);
        if (r == 0)
                r = make(c, image, arena, err);
        if (r == 0) {
                pthread_mutex_lock(&c->record);
                container_set_phase(c, CONTAINER_CREATED);
                r = container_save(c, err);
                pthread_mutex_unlock(&c->record);
        }
        if (r == 0) {
                container_show(c);
                layer_usage_refresh(c); /* so that the first stats have it */
                return 0;
        }
        if (container_remove(c, &e) < 0) {
                log_error("a container that failed left something; the next start of the daemon removes it",
                          "container", c->id, "error", e.msg, NULL);
                registry_drop_container(c->pods, c);
        }
        return r;
}

static int create_in_pod(struct sandbox *s, struct container *c, const struct image *image, struct arena *arena,
                         struct err *err) {
        int r;

        if (s->removed)
                return err_set(err, ERR_NOT_FOUND, "pod sandbox %s is gone", s->id);
        if (sandbox_get_phase(s) != SANDBOX_READY)
                return err_set(err, ERR_PRECONDITION, "pod sandbox %s is not ready", s->id);
        r = s->in_ct ? ct_container_rules_check(s, c->config, err) : 0;
        if (r == 0)
                r = prepare(c, image, arena, err);
        if (r == 0)
                r = registry_add_container(s->pods, c, err);
        if (r < 0)
                return r;
        r = create(c, image, arena, err);
        if (r < 0)
                return image_volumes_failed(err) ? r : err_wrap(err, "create container %s", c->config->metadata->name);
        /* An init that died this early was reported while the container could not be found. */
        if (s->pods->engine->ops->get_state(s->pods->engine, c->id) == ENGINE_STOPPED)
                return exit_record(c, err);
        return 0;
}

int pods_create_container(struct pods *p, const struct pods_ctx *ctx, const CRI(CreateContainerRequest) * req,
                          struct arena *arena, const char **ret_id, struct err *err) {
        _cleanup_(arena_freep) struct arena *work = arena_new(WORK_ARENA_MAX);
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        _cleanup_(container_unrefp) struct container *c = NULL;
        CRI(ContainerConfig) * config;
        struct image *image;
        char id[ID_LEN + 1];
        int r;

        r = registry_find_sandbox(p, req->pod_sandbox_id, &s, err);
        if (r == 0)
                r = container_rules_check(req->config, s->config, err);
        if (r < 0)
                return r;
        r = images_get(p->images, req->config->image->image, work, &image, err);
        if (r == -ERR_NOT_FOUND)
                return err_set(err, ERR_NOT_FOUND, "image %.512s is not on this node; pull it first",
                               req->config->image->image);
        if (r == 0)
                r = image_volumes_resolve(p->images, req->config, work, err);
        if (r < 0)
                return r;
        config = cri_dup(ContainerConfig, req->config);
        if (!config)
                return err_set(err, ERR_EXHAUSTED, "the container's configuration cannot be copied");
        id_new(id);
        c = container_new(s, id, config);
        r = sandbox_lock(s, ctx, err);
        if (r < 0)
                return r;
        r = create_in_pod(s, c, image, work, err);
        pthread_mutex_unlock(&s->lock);
        if (r < 0)
                return r;
        *ret_id = arena_strdup(arena, id);
        log_info("container created", "container", id, "name", config->metadata->name, "sandbox", s->id, NULL);
        return 0;
}
