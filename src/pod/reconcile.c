/* SPDX-License-Identifier: Apache-2.0 */
/* reconcile - at the daemon's start: records against what monitors run, what namespaces, files and layers exist. Each
 * object by itself: one that can't be settled is logged and the rest goes on, for a daemon that does not start helps
 * nobody. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "pod/ct.h"
#include "pod/files.h"
#include "pod/layer-usage.h"
#include "pod/operations.h"
#include "pod/record.h"

enum { BOOT_ID_MAX = 64, KILL_TIMEOUT_MS = 10000, CNI_PATIENCE_MS = 5000, WORK_ARENA_MAX = 256 << 20 };

struct reconcile {
        struct pods *pods;
        struct arena *arena;
        struct map *in_engine; /* ids the engine has state of; values mean nothing */
        bool rebooted;
        bool strangers_run; /* the engine runs containers that no record names */
};

/* --- loading ------------------------------------------------------------------------------------------------------ */

static int load_sandbox(const char *id, const void *value, size_t len, void *userdata) {
        struct reconcile *rc = userdata;
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        struct err err;

        if (sandbox_decode(rc->pods, id, value, len, &s, &err) < 0 || registry_add_sandbox(rc->pods, s, &err) < 0)
                log_error("a pod's record cannot be used; the pod is left alone", "sandbox", id, "error", err.msg,
                          NULL);
        return 0;
}

static int load_container(const char *id, const void *value, size_t len, void *userdata) {
        struct reconcile *rc = userdata;
        _cleanup_(container_unrefp) struct container *c = NULL;
        struct container_link link;
        struct sandbox *s;
        struct err err;
        int r = container_decode_link(value, len, &link, &err);

        if (r == 0) {
                s = map_get(rc->pods->sandboxes, link.sandbox_id);
                r = s ? container_decode(s, id, value, len, &c, &err)
                      : err_set(&err, ERR_DATA_LOSS, "its pod sandbox %s has no record", link.sandbox_id);
        }
        if (r == 0)
                r = registry_add_container(rc->pods, c, &err);
        if (r < 0)
                log_error("a container's record cannot be used; the container is left alone", "container", id, "error",
                          err.msg, NULL);
        return 0;
}

/* Has the host been started anew since the last time? Then nothing of what the records say runs any more. */
static int check_boot(struct reconcile *rc, struct err *err) {
        _cleanup_(freep) char *now = NULL;
        _cleanup_(freep) void *before = NULL;
        size_t len, before_len;
        int r;

        r = fs_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &now, &len, err);
        if (r < 0)
                return r;
        r = store_get(rc->pods->store, STORE_META, "boot-id", &before, &before_len, err);
        if (r < 0 && r != -ERR_NOT_FOUND)
                return r;
        rc->rebooted = r == 0 && !str_eq(before, now);
        return 0;
}

/* Last of all: a crash while reconciling after a reboot must find it still to be done. */
static int save_boot(struct reconcile *rc, struct err *err) {
        _cleanup_(freep) char *now = NULL;
        size_t len;
        int r = fs_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &now, &len, err);

        return r < 0 ? r : store_put(rc->pods->store, STORE_META, "boot-id", now, len, err);
}

/* --- containers --------------------------------------------------------------------------------------------------- */

/* Whatever a crash left of container or pause process @id, down to a cgroup that the engine had no time to write down.
 */
static int clear_engine(struct reconcile *rc, const char *id, const char *cgroup_path, struct err *err) {
        struct engine *e = rc->pods->engine;
        struct err ignored;
        int r;

        if (map_get(rc->in_engine, id))
                if (e->ops->adopt(e, id, cgroup_path, "", &ignored) == 0)
                        (void) !e->ops->kill(e, id, &ignored);
        r = e->ops->remove(e, id, err);
        if (r == 0)
                r = cgroup_kill(rc->pods->cgroups, cgroup_path, KILL_TIMEOUT_MS, err);
        return r < 0 ? r : cgroup_remove(rc->pods->cgroups, cgroup_path, err);
}

static int finish_removal(struct reconcile *rc, struct container *c, struct err *err) {
        int r = str_empty(c->cgroup_path) ? 0 : clear_engine(rc, c->id, c->cgroup_path, err);

        return r < 0 ? r : container_remove(c, err);
}

/* The record says that it lives, or should: what does the engine say? */
static int settle_live(struct reconcile *rc, struct container *c, struct err *err) {
        struct engine *e = rc->pods->engine;
        enum container_phase phase = container_get_phase(c);
        enum engine_state state = ENGINE_GONE;
        int r;

        c->engine_holds = true;
        if (!rc->rebooted) {
                r = e->ops->adopt(e, c->id, c->cgroup_path, c->log_path, err);
                if (r < 0 && r != -ERR_NOT_FOUND)
                        log_warn("cannot take up a container", "container", c->id, "error", err->msg, NULL);
                state = e->ops->get_state(e, c->id);
        }
        switch (state) {
        case ENGINE_GONE:
                r = exit_record_unknown(c, err);
                break;
        case ENGINE_CREATED:
                return phase == CONTAINER_STARTING ? container_save_phase(c, CONTAINER_CREATED, err) : 0;
        case ENGINE_RUNNING:
        case ENGINE_STOPPED:
        default:
                r = phase == CONTAINER_CREATED && state == ENGINE_RUNNING
                            ? container_save_phase(c, CONTAINER_STARTING, err)
                            : 0;
                if (r == 0 && container_get_phase(c) == CONTAINER_STARTING)
                        r = container_save_phase(c, CONTAINER_RUNNING, err);
                if (r == 0 && state == ENGINE_STOPPED)
                        r = exit_record(c, err);
                break;
        }
        if (r == 0)
                exit_release(c);
        return r;
}

static int settle_container(struct reconcile *rc, struct container *c, struct err *err) {
        switch (container_get_phase(c)) {
        case CONTAINER_CREATING:
        case CONTAINER_REMOVING:
                return finish_removal(rc, c, err);
        case CONTAINER_EXITED:
                return map_get(rc->in_engine, c->id) ? clear_engine(rc, c->id, c->cgroup_path, err) : 0;
        default:
                return settle_live(rc, c, err);
        }
}

static void settle_containers(struct reconcile *rc, struct sandbox *s) {
        size_t n;
        struct container **list = registry_containers(rc->pods, s, rc->arena, &n);
        struct err err;

        for (size_t i = 0; i < n; i++) {
                if (settle_container(rc, list[i], &err) < 0)
                        log_error("cannot settle a container", "container", list[i]->id, "error", err.msg, NULL);
                if (!list[i]->removed)
                        container_show(list[i]);
        }
        registry_unref_containers(list, n);
}

/* --- sandboxes ---------------------------------------------------------------------------------------------------- */

static bool namespaces_live(struct reconcile *rc, const struct sandbox *s) {
        const CRI(LinuxPodSandboxConfig) *l = s->config->linux;
        const CRI(NamespaceOption) *o = l && l->security_context ? l->security_context->namespace_options : NULL;

        /* Empty files are what is left of namespaces after a reboot with a state folder on disk. */
        if (!(o && o->network == CRI_(NAMESPACE_MODE__NODE)) &&
            !pod_ns_is_live(pod_ns_file(s, "net", false, rc->arena)))
                return false;
        if (sandbox_user_ids(s) && !pod_ns_is_live(pod_ns_file(s, "user", false, rc->arena)))
                return false;
        return (o && o->ipc == CRI_(NAMESPACE_MODE__NODE)) || pod_ns_is_live(pod_ns_file(s, "ipc", false, rc->arena));
}

static const char *pause_cgroup(struct reconcile *rc, const struct sandbox *s) {
        return arena_printf(rc->arena, "%s/%s", str_eq(s->cgroup_parent, "/") ? "" : s->cgroup_parent, s->id);
}

static bool pause_lives(struct reconcile *rc, struct sandbox *s, struct err *err) {
        struct engine *e = rc->pods->engine;

        /* One that was made, but not written down any more: nobody joined it yet. */
        if (s->pause_pid <= 0) {
                if (map_get(rc->in_engine, s->id) && clear_engine(rc, s->id, pause_cgroup(rc, s), err) < 0)
                        log_warn("cannot remove what is left of a pod's first process", "sandbox", s->id, "error",
                                 err->msg, NULL);
                return true;
        }
        if (e->ops->adopt(e, s->id, pause_cgroup(rc, s), "", err) < 0)
                return false;
        return e->ops->get_state(e, s->id) == ENGINE_RUNNING || e->ops->get_state(e, s->id) == ENGINE_CREATED;
}

static int undo_creation(struct reconcile *rc, struct sandbox *s, struct err *err) {
        int r = s->in_ct ? 0 : clear_engine(rc, s->id, pause_cgroup(rc, s), err);

        s->removed = true;
        /* The daemon's start does not wait for Proxmox. */
        if (r == 0 && s->in_ct)
                sandbox_undo_soon(s);
        else if (r == 0 && (r = sandbox_undo(s, err)) < 0)
                sandbox_undo_later(s);
        registry_drop_sandbox(s->pods, s);
        return r;
}

static int settle_sandbox(struct reconcile *rc, struct sandbox *s, struct err *err) {
        enum sandbox_phase phase = sandbox_get_phase(s);
        int r;

        if (s->network_held && !rc->rebooted && (phase == SANDBOX_CREATING || phase == SANDBOX_STOPPING))
                cni_end_strays(s->id, CNI_PATIENCE_MS);
        switch (phase) {
        case SANDBOX_CREATING:
                return undo_creation(rc, s, err);
        case SANDBOX_READY:
                if (!rc->rebooted && namespaces_live(rc, s) && (s->in_ct ? ct_lives(s) : pause_lives(rc, s, err)))
                        return 0;
                sandbox_set_phase(s, SANDBOX_DEAD);
                return sandbox_save(s, err);
        case SANDBOX_STOPPING:
                if (s->in_ct)
                        return 0; /* whoever asked for it asks again */
                r = clear_engine(rc, s->id, pause_cgroup(rc, s), err);
                return r < 0 ? r : sandbox_stop(s, err);
        case SANDBOX_DEAD: /* until someone asks to stop it */
                return s->in_ct ? 0 : clear_engine(rc, s->id, pause_cgroup(rc, s), err);
        case SANDBOX_STOPPED:
        case SANDBOX_REMOVING:
        default:
                return 0;
        }
}

static void settle_sandboxes(struct reconcile *rc) {
        static const struct pods_ctx ctx = { .cancel_fd = -1, .deadline_ns = UINT64_MAX };
        size_t n;
        struct sandbox **list = registry_sandboxes(rc->pods, rc->arena, &n);
        struct err err;

        for (size_t i = 0; i < n; i++) {
                struct sandbox *s = list[i];
                bool removing = sandbox_get_phase(s) == SANDBOX_REMOVING;

                pthread_mutex_lock(&s->lock);
                settle_containers(rc, s);
                if (settle_sandbox(rc, s, &err) < 0)
                        log_error("cannot settle a pod", "sandbox", s->id, "error", err.msg, NULL);
                if (!s->removed)
                        sandbox_show(s);
                pthread_mutex_unlock(&s->lock);
                if (removing && pods_remove_sandbox(rc->pods, &ctx, s->id, &err) < 0)
                        log_error("cannot finish the removal of a pod", "sandbox", s->id, "error", err.msg, NULL);
                sandbox_unref(s);
        }
}

/* --- what no record names ----------------------------------------------------------------------------------------- */

static bool is_known(struct reconcile *rc, const char *id) {
        return map_get(rc->pods->sandboxes, id) || map_get(rc->pods->containers, id);
}

static bool has_record(struct reconcile *rc, enum store_table table, const char *id) {
        _cleanup_(freep) void *value = NULL;
        struct err err;
        size_t len;

        /* In doubt it has one: what a damaged record names is not ours to throw away. */
        return store_get(rc->pods->store, table, id, &value, &len, &err) != -ERR_NOT_FOUND;
}

static void sweep_engine(struct reconcile *rc) {
        struct engine *e = rc->pods->engine;
        const char *id;
        void *value;
        struct err ignored;

        for (size_t it = 0; map_next(rc->in_engine, &it, &id, &value);) {
                const char *cgroup = arena_printf(rc->arena, "%s/%s", rc->pods->cgroup_parent, id);
                enum engine_state state;

                if (is_known(rc, id) || has_record(rc, STORE_CONTAINER, id) || has_record(rc, STORE_SANDBOX, id))
                        continue;
                (void) !e->ops->adopt(e, id, cgroup, "", &ignored);
                state = e->ops->get_state(e, id);
                if (state == ENGINE_RUNNING || state == ENGINE_CREATED) {
                        rc->strangers_run = true;
                        log_warn("a container runs that no record names; it is left alone", "container", id, NULL);
                } else if (e->ops->remove(e, id, &ignored) < 0)
                        log_warn("cannot remove what is left of a container", "container", id, "error", ignored.msg,
                                 NULL);
        }
}

static int list_engine(struct reconcile *rc, struct err *err) {
        struct engine *e = rc->pods->engine;
        const char **list;
        int r = e->ops->list(e, rc->arena, &list, err);

        for (; r == 0 && *list; list++)
                (void) map_set(rc->in_engine, *list, rc);
        return r;
}

static int sweep_snapshots(struct reconcile *rc, struct err *err) {
        const char **list;
        struct err ignored;
        int r = snapshot_list(rc->pods->images, rc->arena, &list, err);

        for (; r == 0 && *list; list++)
                if (!snapshot_is_mounted_image(*list) && !is_known(rc, *list) &&
                    !has_record(rc, STORE_CONTAINER, *list) && snapshot_remove(rc->pods->images, *list, &ignored) < 0)
                        log_warn("cannot remove a layer that no container has", "snapshot", *list, "error", ignored.msg,
                                 NULL);
        return r;
}

static void remove_ns(struct reconcile *rc, const char *id) {
        struct err err;

        if (netns_remove(arena_printf(rc->arena, "%s/ns/%s", rc->pods->state, id), &err) < 0)
                log_warn("cannot remove namespaces that no pod has", "sandbox", id, "error", err.msg, NULL);
}

static void remove_files(struct reconcile *rc, const char *id) {
        struct err err;

        if (pod_files_remove(rc->pods, id, &err) < 0)
                log_warn("cannot remove files that no pod has", "sandbox", id, "error", err.msg, NULL);
}

static void sweep_folder(struct reconcile *rc, const char *name, void (*remove)(struct reconcile *rc, const char *id)) {
        _cleanup_(closedirp) DIR *dir = opendir(arena_printf(rc->arena, "%s/%s", rc->pods->state, name));
        struct dirent *e;

        while (dir && (e = readdir(dir)))
                if (id_is_valid(e->d_name) && !map_get(rc->pods->sandboxes, e->d_name) &&
                    !has_record(rc, STORE_SANDBOX, e->d_name))
                        remove(rc, e->d_name);
}

static void measure_all(struct reconcile *rc) {
        size_t n;
        struct container **list = registry_containers(rc->pods, NULL, rc->arena, &n);

        for (size_t i = 0; i < n; i++)
                layer_usage_refresh(list[i]);
        registry_unref_containers(list, n);
}

int pods_reconcile(struct pods *p, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(WORK_ARENA_MAX);
        _cleanup_(map_freep) struct map *in_engine = map_new();
        struct reconcile rc = { .pods = p, .arena = arena, .in_engine = in_engine };
        int r;

        r = check_boot(&rc, err);
        if (r == 0)
                r = list_engine(&rc, err);
        if (r == 0)
                r = store_each(p->store, STORE_SANDBOX, load_sandbox, &rc, err);
        if (r == 0)
                r = store_each(p->store, STORE_CONTAINER, load_container, &rc, err);
        if (r < 0)
                return err_wrap(err, "load the records of pods");
        if (rc.rebooted)
                log_info("the host was started anew since the last time", NULL);
        commits_reconcile(p);
        settle_sandboxes(&rc);
        sweep_engine(&rc);
        r = sweep_snapshots(&rc, err);
        if (r == 0 && !rc.strangers_run) {
                /* Of which pods the strangers are is not known; so nothing of any is taken away. */
                sweep_folder(&rc, "ns", remove_ns);
                sweep_folder(&rc, "pods", remove_files);
        }
        if (r == 0)
                r = save_boot(&rc, err);
        if (r < 0)
                return err_wrap(err, "compare the records of pods with what is there");
        measure_all(&rc);
        ct_sweep(p);
        log_info("pods taken up", "sandboxes", LOG_U64(pods_count_sandboxes(p)), "containers",
                 LOG_U64(pods_count_containers(p)), NULL);
        return 0;
}
