/* SPDX-License-Identifier: Apache-2.0 */
/* pods - the registry's making and end, and what the runtime can do. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "pod/ct-network.h"
#include "pod/registry.h"
#include "pod/selinux.h"
#include "pod/user-ns.h"
#include "security/apparmor.h"

enum { BACKGROUND_THREADS = 8, BACKGROUND_QUEUE = 65536, ARENA_MAX = 64 << 10 };

static char *join(const char *dir, const char *name) {
        char *path;

        if (asprintf(&path, "%s/%s", dir, name) < 0)
                abort();
        return path;
}

static int make_folders(const char *state, struct err *err) {
        static const char *const names[] = { "pods", "ns" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_(freep) char *path = join(state, names[i]);
                int r = fs_mkdir_p(path, 0711, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int find_mountpoint(struct pods *p, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        struct image_fs_info info;
        int r = images_fs_info(p->images, arena, &info, err);

        if (r == 0)
                p->image_mountpoint = xstrdup(info.mountpoint);
        return r;
}

/* Containers are confined where they can be; a host without AppArmor, or one that can't load the profile, is told once.
 */
static char *default_apparmor(const struct pods_args *args) {
        struct err err;

        if (args->apparmor_profile)
                return xstrdup(args->apparmor_profile);
        if (!apparmor_enabled())
                return xstrdup("");
        if (apparmor_load_default(&err) < 0) {
                log_warn("containers run without an AppArmor profile", "error", err.msg, NULL);
                return xstrdup("");
        }
        return xstrdup(APPARMOR_DEFAULT_PROFILE);
}

static void look_at_user_namespaces(struct pods *p) {
        struct err err;

        p->user_namespaces = user_ns_check(p->images, p->state, &err) == 0;
        if (!p->user_namespaces)
                log_info("pods with user namespaces are not offered", "reason", err.msg, NULL);
}

static void take_handlers(struct pods *p, const struct pods_args *args) {
        static const struct pod_handler only = { .name = HANDLER_DEFAULT, .engine = "lxc" };

        p->handlers = args->n_handlers > 0 ? args->handlers : &only;
        p->n_handlers = args->n_handlers > 0 ? args->n_handlers : 1;
        p->default_handler = args->default_handler ? args->default_handler : HANDLER_DEFAULT;
        p->routes = args->routes;
}

int pods_new(const struct pods_args *args, struct pods **ret, struct err *err) {
        _cleanup_(pods_freep) struct pods *p = xnew(struct pods);
        const char *parent = str_empty(args->cgroup_parent) ? "/proxmox-lxcri" : args->cgroup_parent;
        pthread_rwlockattr_t attr;
        int r;

        p->root = xstrdup(args->root);
        p->state = xstrdup(args->state);
        p->cgroup_parent = *parent == '/' ? xstrdup(parent) : join("", parent);
        p->apparmor_profile = default_apparmor(args);
        pods_selinux_init(p, args->selinux);
        p->pids_limit = args->pids_limit > 0 ? args->pids_limit : 0;
        take_handlers(p, args);
        p->store = args->store;
        p->images = args->images;
        p->cni = args->cni;
        p->cgroups = args->cgroups;
        pthread_mutex_init(&p->background_lock, NULL);
        pthread_rwlockattr_init(&attr);
        /* Changes of state must not starve behind a stream of lists. */
        (void) pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
        pthread_rwlock_init(&p->lock, &attr);
        pthread_rwlockattr_destroy(&attr);
        p->sandboxes = map_new();
        p->containers = map_new();
        p->names = map_new();
        p->background = pool_new("pod", BACKGROUND_THREADS, BACKGROUND_QUEUE);
        p->measuring = pool_new("layers", 1, BACKGROUND_QUEUE);
        p->undoing = pool_new("undo", 1, BACKGROUND_QUEUE);
        r = handlers_check(p, err);
        if (r == 0)
                r = make_folders(args->state, err);
        if (r == 0)
                r = cgroup_make(p->cgroups, p->cgroup_parent, err);
        if (r == 0)
                r = find_mountpoint(p, err);
        if (r < 0)
                return r;
        look_at_user_namespaces(p);
        *ret = TAKE_PTR(p);
        return 0;
}

size_t pods_handlers(const struct pods *p, const struct pod_handler **ret) {
        *ret = p->handlers;
        return p->n_handlers;
}

static bool run_on(struct pods *p, struct pool *const *pool, void (*fn)(void *arg), void *arg) {
        bool ok;

        pthread_mutex_lock(&p->background_lock);
        ok = *pool && pool_run(*pool, fn, arg);
        pthread_mutex_unlock(&p->background_lock);
        return ok;
}

bool registry_background(struct pods *p, void (*fn)(void *arg), void *arg) {
        return run_on(p, &p->background, fn, arg);
}

bool registry_undo(struct pods *p, void (*fn)(void *arg), void *arg) {
        return run_on(p, &p->undoing, fn, arg);
}

bool registry_measure(struct pods *p, void (*fn)(void *arg), void *arg) {
        return run_on(p, &p->measuring, fn, arg);
}

void pods_stop_background(struct pods *p) {
        struct pool *background, *measuring, *undoing;

        if (!p)
                return;
        atomic_store(&p->stopping, true);
        pthread_mutex_lock(&p->background_lock);
        background = TAKE_PTR(p->background);
        measuring = TAKE_PTR(p->measuring);
        undoing = TAKE_PTR(p->undoing);
        pthread_mutex_unlock(&p->background_lock);
        pool_free(background);
        pool_free(measuring);
        pool_free(undoing);
}

void pods_set_engine(struct pods *p, struct engine *engine) {
        assert(!p->engine);
        p->engine = engine;
}

void pods_set_cts(struct pods *p, struct cts *cts) {
        assert(!p->cts);
        p->cts = cts;
}

static int found_child(const char *name, void *userdata) {
        return 1;
}

/* Made at the start; goes with the last pod, unless another daemon uses it, too. */
static void drop_cgroup_parent(struct pods *p) {
        struct err ignored;

        if (p->cgroups && map_size(p->sandboxes) == 0 && map_size(p->containers) == 0 &&
            cgroup_each_child(p->cgroups, p->cgroup_parent, found_child, NULL, &ignored) == 0)
                (void) !cgroup_remove(p->cgroups, p->cgroup_parent, &ignored);
}

struct pods *pods_free(struct pods *p) {
        const char *key;
        void *value;
        size_t it;

        if (!p)
                return NULL;
        pods_stop_background(p); /* its jobs use all of the rest */
        drop_cgroup_parent(p);
        for (it = 0; map_next(p->containers, &it, &key, &value); it = 0)
                registry_drop_container(p, value);
        for (it = 0; map_next(p->sandboxes, &it, &key, &value); it = 0)
                registry_drop_sandbox(p, value);
        assert(map_size(p->names) == 0);
        map_free(p->sandboxes);
        map_free(p->containers);
        map_free(p->names);
        pthread_rwlock_destroy(&p->lock);
        pthread_mutex_destroy(&p->background_lock);
        free(p->root);
        free(p->state);
        free(p->cgroup_parent);
        free(p->apparmor_profile);
        free(p->selinux_process);
        free(p->selinux_file);
        free(p->selinux_missing);
        free(p->image_mountpoint);
        free(p);
        return NULL;
}

const struct pod_handler *pods_handler_named(const struct pods *p, const char *name) {
        for (size_t i = 0; i < p->n_handlers; i++)
                if (str_eq(p->handlers[i].name, name))
                        return &p->handlers[i];
        return NULL;
}

const struct pod_handler *pods_default_handler(const struct pods *p) {
        return pods_handler_named(p, p->default_handler);
}

const struct routes *pods_routes(const struct pods *p) {
        return &p->routes;
}

bool pods_need_cni(const struct pods *p) {
        const struct pod_handler *h = pods_default_handler(p);

        return !h || !str_eq(h->engine, HANDLER_ENGINE_PROXMOX) || !ct_network_is_on(p);
}

bool pods_can_user_namespaces(const struct pods *p, const struct pod_handler *h) {
        return p->user_namespaces && h && !str_eq(h->engine, HANDLER_ENGINE_PROXMOX);
}

bool pods_can_recursive_readonly(void) {
        struct mount_attr attr = { 0 };

        /* A kernel that has the call does nothing, or refuses the descriptor, but not the call. */
        return mount_setattr(-1, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0 || errno != ENOSYS;
}
