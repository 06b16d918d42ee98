/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/daemon.h"

#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/sock.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "cri/admin.h"
#include "cri/cri.h"
#include "grpc/server.h"
#include "image/image.h"
#include "net/net.h"
#include "pod/pod.h"
#include "pve/pve.h"
#include "rest/rest.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/engine.h"
#include "runtime/proxmox/check.h"
#include "runtime/proxmox/ct.h"
#include "security/caps.h"
#include "security/seccomp.h"
#include "store/store.h"

enum { MAX_METHODS = 128, MAX_QUEUE = 4096, MAX_STREAMS = 256, STOP_TIMEOUT_MS = 10000, PROXMOX_TIMEOUT_MS = 120000 };

struct daemon {
        const struct config *conf;
        sd_event *loop; /* borrowed */
        int root_lock, state_lock;
        struct store *store;
        struct images *images;
        struct cni *cni;
        struct cgroups *cgroups;
        struct pods *pods;
        struct engine *engine;
        struct pve *pve; /* NULL: not configured, as the next */
        struct cts *cts;
        struct pool *workers, *pullers, *streams;
        struct streaming *streaming;
        struct cri *cri;
        int cancel_fd; /* an eventfd: work in the background gives up */
        struct admin admin;
        char *config_json, *lxc_path;
        struct grpc_server *server;
        struct rest *rest; /* NULL: no Proxmox */
        sd_event_source *gc_timer;
        atomic_bool collecting;
};

/* Two daemons on one folder would undo each other's work. */
static int lock_folder(const char *path, mode_t mode, int *ret_fd, struct err *err) {
        char file[4096];
        int r;

        r = fs_mkdir_p(path, mode, err);
        if (r < 0)
                return r;
        if (snprintf(file, sizeof(file), "%s/lock", path) >= (int) sizeof(file))
                return err_sys(err, ENAMETOOLONG, "lock %s", path);
        *ret_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (*ret_fd < 0)
                return err_sys(err, errno, "open %s", file);
        if (flock(*ret_fd, LOCK_EX | LOCK_NB) < 0)
                return err_set(err, ERR_EXISTS,
                               "another proxmox-lxcrid uses %s; stop it, or give this one folders of its own (--root, "
                               "--state)",
                               path);
        return 0;
}

static int open_store(struct daemon *d, struct err *err) {
        char path[4096];

        (void) snprintf(path, sizeof(path), "%s/store.db", d->conf->root);
        return store_open(path, &d->store, err);
}

static int open_images(struct daemon *d, struct err *err) {
        const char *policy = str_empty(d->conf->signature_policy) ? HOST_SIGNATURE_POLICY : d->conf->signature_policy;
        struct images_args args = {
                .root = d->conf->root,
                .store = d->store,
                .registries = d->conf->registries.list,
                .n_registries = d->conf->registries.n,
                .auth_file = d->conf->auth_file,
                .signature_policy = policy,
                .signature_policy_optional = str_empty(d->conf->signature_policy),
                .max_layer_bytes = d->conf->max_layer_size,
                .max_parallel_layers = (unsigned) d->conf->max_parallel_layers,
                .snapshotter = { .name = d->conf->snapshotter,
                                 .zfs_dataset = d->conf->zfs_dataset,
                                 .quota_bytes = d->conf->container_quota,
                                 .idmap = d->conf->idmap },
                .discard_blobs = !d->conf->keep_layer_blobs,
                .gc = { .high_percent = (unsigned) d->conf->image_gc_high_threshold,
                        .low_percent = (unsigned) d->conf->image_gc_low_threshold,
                        .min_age_s = d->conf->image_minimum_gc_age,
                        .max_age_s = d->conf->image_maximum_gc_age,
                        .pinned = d->conf->pinned_images },
        };
        int r;

        r = images_new(&args, &d->images, err);
        return r < 0 ? r : images_reconcile(d->images, err);
}

static int open_network(struct daemon *d, struct err *err) {
        _cleanup_strbuf_ struct strbuf dirs = STRBUF(65536);
        int r;

        for (const char *const *p = d->conf->cni_bin_dir; *p; p++)
                strbuf_printf(&dirs, "%s%s", dirs.len ? ":" : "", *p);
        r = cni_new(d->conf->cni_conf_dir, strbuf_str(&dirs), &d->cni, err);
        if (r == 0 && !str_empty(d->conf->cni_conf_template))
                cni_set_template(d->cni, d->conf->cni_conf_template);
        return r;
}

/* Asks nobody: Proxmox may come later than we. */
static int open_proxmox(struct daemon *d, struct err *err) {
        const struct config_proxmox *x = &d->conf->proxmox;
        struct cts_args cts = {
                .cgroups = d->cgroups,
                .node = x->node,
                .storage = x->storage,
                .rootfs_size = x->rootfs_size,
                .layers = x->layers.on,
                .max_disk_bytes = x->layers.max_bytes,
                .template_file = x->template_file,
                .template_storage = x->template_storage,
                .pool = x->pool,
                .vmid_first = x->vmid_first,
                .vmid_last = x->vmid_last,
                .warm_pool = x->warm_pool,
                .timeout_ms = PROXMOX_TIMEOUT_MS,
                .network = x->network,
                .ended = pods_exited,
                .userdata = d->pods,
        };
        int r;

        if (!x->on)
                return 0;
        r = config_open_proxmox(x, &d->pve, err);
        if (r < 0)
                return err_wrap(err, "proxmox");
        cts.pve = d->pve;
        r = cts_new(&cts, &d->cts, err);
        if (r == 0)
                pods_set_cts(d->pods, d->cts);
        return r;
}

static int open_pods(struct daemon *d, struct err *err) {
        struct pods_args pods = {
                .root = d->conf->root,
                .state = d->conf->state,
                .store = d->store,
                .images = d->images,
                .cni = d->cni,
                .cgroups = d->cgroups,
                .cgroup_parent = d->conf->cgroup_parent,
                .pids_limit = d->conf->pids_limit,
                .selinux = d->conf->selinux,
                .handlers = d->conf->runtime_handlers.list,
                .n_handlers = d->conf->runtime_handlers.n,
                .default_handler = d->conf->default_runtime_handler,
                .routes = d->conf->routes,
        };
        struct engine_lxc_args engine = {
                .state_dir = d->conf->state,
                .keeper_path = d->conf->keeper_path,
                .init_path = d->conf->init_path,
                .cgroups = d->cgroups,
                .log_level = log_level_name(d->conf->log_level),
                .exited = pods_exited,
        };
        int r;

        r = pods_new(&pods, &d->pods, err);
        if (r < 0)
                return r;
        engine.userdata = d->pods;
        r = engine_lxc_new(&engine, &d->engine, err);
        if (r < 0)
                return r;
        pods_set_engine(d->pods, d->engine);
        r = open_proxmox(d, err);
        if (r < 0)
                return r;
        r = pods_reconcile(d->pods, err);
        return r < 0 ? err_wrap(err, "take up the pods that are there") : 0;
}

static pid_t keeper_pid(void *userdata) {
        struct daemon *d = userdata;

        return engine_lxc_keeper_pid(d->engine);
}

static struct ct_pool warm_pool(void *userdata) {
        struct daemon *d = userdata;

        return d->cts ? cts_pool(d->cts) : (struct ct_pool){ 0 };
}

static void describe(struct daemon *d) {
        d->config_json = config_to_json(d->conf);
        if (asprintf(&d->lxc_path, "%s/lxc", d->conf->state) < 0)
                abort();
        d->admin = (struct admin){
                .images = d->images,
                .pods = d->pods,
                .pinned_images = d->conf->pinned_images,
                .pull_pool = d->pullers,
                .version = PROJECT_VERSION,
                .lxc_version = LXC_VERSION,
                .lxc_path = d->lxc_path,
                .root = d->conf->root,
                .state = d->conf->state,
                .socket = d->conf->socket,
                .cgroup_mode = cgroup_mode_name(cgroups_mode(d->cgroups)),
                .config_json = d->config_json,
                .started_at_ns = clock_realtime_ns(),
                .keeper_pid = keeper_pid,
                .warm_pool = warm_pool,
                .userdata = d,
        };
}

static int open_streaming(struct daemon *d, struct err *err) {
        struct streaming_args args = {
                .loop = d->loop,
                .backend = cri_streaming_backend(d->pods),
                .address = d->conf->streaming_address,
                .port = (uint16_t) d->conf->streaming_port,
                .tls_cert = str_empty(d->conf->streaming_tls_cert) ? NULL : d->conf->streaming_tls_cert,
                .tls_key = str_empty(d->conf->streaming_tls_key) ? NULL : d->conf->streaming_tls_key,
        };

        /* Each exec holds a thread for as long as it runs. */
        d->streams = pool_new("stream", MAX_STREAMS, MAX_QUEUE);
        args.pool = d->streams;
        return streaming_new(&args, &d->streaming, err);
}

static int open_server(struct daemon *d, struct err *err) {
        struct grpc_method methods[MAX_METHODS];
        struct grpc_server_args args = { .loop = d->loop, .pool = d->workers, .methods = methods };
        struct cri_args cri = {
                .pods = d->pods,
                .images = d->images,
                .cni = d->cni,
                .streaming = d->streaming,
                .pull_pool = d->pullers,
                .version = PROJECT_VERSION,
                .config_json = d->config_json,
                .lxc_path = d->lxc_path,
                .pinned_images = d->conf->pinned_images,
                .keeper_pid = keeper_pid,
                .userdata = d,
        };
        int r;

        d->cri = cri_new(&cri);
        args.n_methods = cri_methods(d->cri, methods, MAX_METHODS - ADMIN_N_METHODS);
        admin_methods(&d->admin, methods + args.n_methods);
        args.n_methods += ADMIN_N_METHODS;
        r = sock_listen_unix(d->conf->socket, SOCK_STREAM | SOCK_NONBLOCK, 0660, &args.listen_fd, err);
        if (r < 0)
                return r;
        r = grpc_server_new(&args, &d->server, err);
        if (r < 0)
                (void) close(args.listen_fd);
        return r;
}

static int open_rest(struct daemon *d, struct err *err) {
        const struct config_proxmox *x = &d->conf->proxmox;
        const struct rest_args args = {
                .socket = d->conf->api_socket,
                .pve = d->pve,
                .pods = d->pods,
                .node = x->node,
                .storage = x->storage,
                .pool = x->pool,
                .vmid_first = x->vmid_first,
                .vmid_last = x->vmid_last,
        };

        return d->pve ? rest_new(&args, &d->rest, err) : 0;
}

/* The first container of most pods must not wait for the default seccomp profile to be compiled. */
static void warm_up(void) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = NULL;
        struct err err = { 0 };

        if (seccomp_default(caps_default(), &f, &err) < 0)
                log_warn("cannot compile the default seccomp profile", "error", err.msg, NULL);
}

static void log_finding(enum check_level level, const char *name, const char *text, const char *advice,
                        void *userdata) {
        if (level == CHECK_FAIL)
                log_warn("Proxmox VE is not as pods need it", "check", name, "found", text, "advice", advice, NULL);
        else
                log_debug("Proxmox VE", "check", name, "found", text, NULL);
}

/* What is missing is told now, not by the first pod; nobody waits for it. */
static void check_proxmox(void *arg) {
        struct daemon *d = arg;
        const struct pods_ctx ctx = { .cancel_fd = d->cancel_fd, .deadline_ns = UINT64_MAX };

        (void) pods_check_proxmox(d->pods, &ctx, &(struct check_sink){ log_finding, d });
}

static void collect(void *arg) {
        struct daemon *d = arg;
        struct err err;

        if (images_collect(d->images, &err) < 0)
                log_warn("images' garbage stays", "error", err.msg, NULL);
        atomic_store(&d->collecting, false);
}

static int on_gc_timer(sd_event_source *source, uint64_t now_us, void *userdata) {
        struct daemon *d = userdata;

        if (!atomic_exchange(&d->collecting, true) && !pool_run(d->workers, collect, d))
                atomic_store(&d->collecting, false); /* all are busy: another time */
        (void) sd_event_source_set_time_relative(source, d->conf->image_gc_period * 1000000);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int start_gc(struct daemon *d, struct err *err) {
        int r = sd_event_add_time_relative(d->loop, &d->gc_timer, CLOCK_MONOTONIC, d->conf->image_gc_period * 1000000,
                                           0, on_gc_timer, d);

        return r < 0 ? err_sys(err, -r, "add a timer") : 0;
}

static int assemble(struct daemon *d, struct err *err) {
        int r;

        r = lock_folder(d->conf->root, 0711, &d->root_lock, err);
        if (r == 0)
                r = lock_folder(d->conf->state, 0711, &d->state_lock, err);
        if (r == 0)
                r = open_store(d, err);
        if (r == 0)
                r = cgroups_new(&d->cgroups, err);
        if (r == 0)
                r = open_images(d, err);
        if (r == 0)
                r = open_network(d, err);
        if (r == 0)
                r = open_pods(d, err);
        if (r < 0)
                return r;
        d->workers = pool_new("worker", (size_t) d->conf->workers, MAX_QUEUE);
        d->pullers = pool_new("pull", (size_t) d->conf->pull_workers, MAX_QUEUE);
        warm_up();
        describe(d);
        r = open_streaming(d, err);
        if (r == 0)
                r = open_rest(d, err);
        if (r == 0)
                r = open_server(d, err);
        if (r == 0)
                r = start_gc(d, err);
        if (r == 0 && d->cts)
                (void) pool_run(d->workers, check_proxmox, d);
        return r;
}

int daemon_new(const struct config *conf, sd_event *loop, struct daemon **ret, struct err *err) {
        _cleanup_(daemon_freep) struct daemon *d = xnew(struct daemon);
        int r;

        d->conf = conf;
        d->loop = loop;
        d->root_lock = d->state_lock = -1;
        d->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (d->cancel_fd < 0)
                return err_sys(err, errno, "make an eventfd");
        r = assemble(d, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(d);
        return 0;
}

static void on_stopped(void *userdata) {
        struct daemon *d = userdata;

        (void) sd_event_exit(d->loop, 0);
}

void daemon_stop(struct daemon *d) {
        /* Whoever comes now finds no socket, rather than one that does not answer. */
        (void) unlink(d->conf->socket);
        grpc_server_shutdown(d->server, STOP_TIMEOUT_MS, on_stopped, d);
}

struct daemon *daemon_free(struct daemon *d) {
        if (!d)
                return NULL;
        (void) sd_event_source_unref(d->gc_timer);
        (void) rest_free(d->rest);
        (void) grpc_server_free(d->server);
        if (d->cancel_fd >= 0)
                (void) eventfd_write(d->cancel_fd, 1);
        (void) pool_free(d->workers);
        (void) pool_free(d->pullers);
        (void) streaming_free(d->streaming);
        (void) pool_free(d->streams);
        (void) cri_free(d->cri);
        free(d->config_json);
        free(d->lxc_path);
        /* Pods and engine call each other: first the pods' background work ends, then the engine. */
        pods_stop_background(d->pods);
        (void) engine_free(d->engine);
        (void) cts_free(d->cts);
        (void) pve_free(d->pve);
        (void) pods_free(d->pods);
        (void) cgroups_free(d->cgroups);
        (void) cni_free(d->cni);
        (void) images_free(d->images);
        (void) store_close(d->store);
        (void) fd_close(d->state_lock);
        (void) fd_close(d->root_lock);
        (void) fd_close(d->cancel_fd);
        free(d);
        return NULL;
}
