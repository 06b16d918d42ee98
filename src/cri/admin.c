/* SPDX-License-Identifier: Apache-2.0 */
/* A pull runs in a thread of its own, so that the handler's can tell the client how it goes: a client that reads slowly
 * must not slow the pull down, so progress is sent from a snapshot and what came between two sends is left out. */
#include "cri/admin.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "proto/admin.pb-c.h"

enum { LAYERS_MAX = 1024, DIGEST_MAX = 160, SEND_EVERY_MS = 100 };

struct layer {
        char digest[DIGEST_MAX];
        uint64_t total_bytes, done_bytes;
        int state;
};

struct pull {
        struct admin *admin;
        struct image_pull_args args;
        struct image_auth auth;
        int cancel_fd; /* eventfds */
        int done_fd;
        pthread_mutex_t lock; /* for what follows */
        struct layer *layers;
        size_t n_layers;
        bool changed;
        int result; /* of images_pull(), when done */
        struct arena *arena;
        const char *image_id;
        struct err err;
};

static void ring(int fd) {
        uint64_t one = 1;

        while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
                ;
}

static void note_progress(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata) {
        struct pull *pull = userdata;

        if (n_layers > LAYERS_MAX || layer >= n_layers)
                return;
        (void) pthread_mutex_lock(&pull->lock);
        if (n_layers > pull->n_layers) {
                pull->layers = xrealloc(pull->layers, n_layers, sizeof(*pull->layers));
                memset(pull->layers + pull->n_layers, 0, (n_layers - pull->n_layers) * sizeof(*pull->layers));
                pull->n_layers = n_layers;
        }
        (void) snprintf(pull->layers[layer].digest, DIGEST_MAX, "%s", p->digest ? p->digest : "");
        pull->layers[layer].total_bytes = p->total_bytes;
        pull->layers[layer].done_bytes = p->done_bytes;
        pull->layers[layer].state = p->state == LAYER_WAITING       ? PROXMOXLXCRI__V1__LAYER_STATE__LAYER_WAITING
                                    : p->state == LAYER_DOWNLOADING ? PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DOWNLOADING
                                    : p->state == LAYER_DONE        ? PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DONE
                                                                    : PROXMOXLXCRI__V1__LAYER_STATE__LAYER_EXISTS;
        pull->changed = true;
        (void) pthread_mutex_unlock(&pull->lock);
}

static void *run_pull(void *userdata) {
        struct pull *pull = userdata;

        pull->result = images_pull(pull->admin->images, &pull->args, pull->arena, &pull->image_id, &pull->err);
        ring(pull->done_fd);
        return NULL;
}

/* One message with the layers as they are now. */
static int send_progress(struct grpc_call *call, struct pull *pull, const char *image_id, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        Proxmoxlxcri__V1__PullProgress m = PROXMOXLXCRI__V1__PULL_PROGRESS__INIT;

        (void) pthread_mutex_lock(&pull->lock);
        m.n_layers = pull->n_layers;
        m.layers = arena_array(arena, Proxmoxlxcri__V1__LayerProgress *, pull->n_layers);
        for (size_t i = 0; i < pull->n_layers; i++) {
                Proxmoxlxcri__V1__LayerProgress *l = m.layers[i] = arena_new_of(arena, Proxmoxlxcri__V1__LayerProgress);

                proxmoxlxcri__v1__layer_progress__init(l);
                l->digest = arena_strdup(arena, pull->layers[i].digest);
                l->total_bytes = pull->layers[i].total_bytes;
                l->done_bytes = pull->layers[i].done_bytes;
                l->state = (Proxmoxlxcri__V1__LayerState) pull->layers[i].state;
        }
        pull->changed = false;
        (void) pthread_mutex_unlock(&pull->lock);
        if (image_id)
                m.image_id = arena_strdup(arena, image_id);
        return grpc_call_send(call, &m.base, err);
}

static bool take_changed(struct pull *pull) {
        bool changed;

        (void) pthread_mutex_lock(&pull->lock);
        changed = pull->changed;
        (void) pthread_mutex_unlock(&pull->lock);
        return changed;
}

/* Until the pull has ended; a client that is gone cancels it. */
static void follow_pull(struct grpc_call *call, struct pull *pull) {
        struct pollfd p[2] = { { .fd = pull->done_fd, .events = POLLIN },
                               { .fd = grpc_call_cancel_fd(call), .events = POLLIN } };
        struct err ignored;

        for (;;) {
                (void) poll(p, 2, SEND_EVERY_MS);
                if (p[0].revents)
                        return;
                if (p[1].revents || (take_changed(pull) && send_progress(call, pull, NULL, &ignored) < 0)) {
                        ring(pull->cancel_fd);
                        p[1].fd = -1; /* then only wait for its end */
                        p[1].revents = 0;
                        (void) poll(p, 1, -1);
                }
        }
}

static int pull_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__PullRequest *req = (const Proxmoxlxcri__V1__PullRequest *) request;
        struct pull pull = { .admin = userdata, .lock = PTHREAD_MUTEX_INITIALIZER };
        _cleanup_(fd_closep) int cancel = eventfd(0, EFD_CLOEXEC), done = eventfd(0, EFD_CLOEXEC);
        pthread_t thread;
        int r;

        if (str_empty(req->reference))
                return err_set(err, ERR_INVALID, "no image named");
        if (cancel < 0 || done < 0)
                return err_sys(err, errno, "eventfd");
        pull.cancel_fd = cancel;
        pull.done_fd = done;
        pull.auth = (struct image_auth){ .username = req->username,
                                         .password = req->password,
                                         .identity_token = req->identity_token,
                                         .registry_token = req->registry_token };
        pull.args = (struct image_pull_args){ .reference = req->reference,
                                              .auth = &pull.auth,
                                              .cancel_fd = cancel,
                                              .deadline_ns = grpc_call_deadline_ns(call),
                                              .progress = note_progress,
                                              .userdata = &pull };
        pull.arena = arena_new(1 << 20);
        r = thread_start(0, run_pull, &pull, &thread);
        if (r != 0) {
                (void) arena_free(pull.arena);
                return err_sys(err, r, "start a thread");
        }
        follow_pull(call, &pull);
        (void) pthread_join(thread, NULL);
        if (pull.result < 0) {
                *err = pull.err;
                r = pull.result;
        } else {
                r = send_progress(call, &pull, pull.image_id, err);
        }
        free(pull.layers);
        (void) arena_free(pull.arena);
        (void) pthread_mutex_destroy(&pull.lock);
        return r;
}

static int set_log_level(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                         void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__SetLogLevelRequest *req = (const Proxmoxlxcri__V1__SetLogLevelRequest *) request;
        Proxmoxlxcri__V1__SetLogLevelResponse *res =
                arena_new_of(grpc_call_arena(call), Proxmoxlxcri__V1__SetLogLevelResponse);
        enum log_level level;

        if (!log_level_from_name(req->level, &level))
                return err_set(err, ERR_INVALID, "log level must be debug, info, warn or error, not '%.32s'",
                               req->level);
        proxmoxlxcri__v1__set_log_level_response__init(res);
        res->previous = arena_strdup(grpc_call_arena(call), log_level_name(log_get_level()));
        log_set_level(level);
        log_info("log level changed", "from", res->previous, "to", log_level_name(level), NULL);
        *ret = &res->base;
        return 0;
}

static char *copy(struct arena *arena, const char *s) {
        return arena_strdup(arena, s ? s : "");
}

static int info(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                struct err *err) {
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__InfoResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__InfoResponse);
        const struct admin *a = userdata;
        struct ct_pool pool;

        proxmoxlxcri__v1__info_response__init(res);
        res->version = copy(arena, a->version);
        res->lxc_version = copy(arena, a->lxc_version);
        res->pid = getpid();
        res->keeper_pid = a->keeper_pid ? a->keeper_pid(a->userdata) : 0;
        res->lxc_path = copy(arena, a->lxc_path);
        res->root = copy(arena, a->root);
        res->state = copy(arena, a->state);
        res->socket = copy(arena, a->socket);
        res->cgroup_mode = copy(arena, a->cgroup_mode);
        res->log_level = copy(arena, log_level_name(log_get_level()));
        res->started_at = (int64_t) a->started_at_ns;
        res->config = copy(arena, a->config_json);
        pool = a->warm_pool(a->userdata);
        res->warm_pool = pool.size;
        res->warm_pool_ready = pool.ready;
        *ret = &res->base;
        return 0;
}

void admin_methods(struct admin *admin, struct grpc_method ret[ADMIN_N_METHODS]) {
        const struct grpc_method methods[ADMIN_N_METHODS] = {
                { .path = "/proxmoxlxcri.v1.Admin/PullImage",
                  .request = &proxmoxlxcri__v1__pull_request__descriptor,
                  .stream = pull_image,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/LogIn",
                  .request = &proxmoxlxcri__v1__log_in_request__descriptor,
                  .unary = admin_log_in,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/TagImage",
                  .request = &proxmoxlxcri__v1__tag_image_request__descriptor,
                  .unary = admin_tag_image,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/ListTags",
                  .request = &proxmoxlxcri__v1__list_tags_request__descriptor,
                  .unary = admin_list_tags,
                  .pool = admin->pull_pool,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/SetLogLevel",
                  .request = &proxmoxlxcri__v1__set_log_level_request__descriptor,
                  .unary = set_log_level,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/Info",
                  .request = &proxmoxlxcri__v1__info_request__descriptor,
                  .unary = info,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/ExplainRoute",
                  .request = &proxmoxlxcri__v1__explain_route_request__descriptor,
                  .unary = admin_explain_route,
                  .userdata = admin },
                { .path = "/proxmoxlxcri.v1.Admin/CheckProxmox",
                  .request = &proxmoxlxcri__v1__check_proxmox_request__descriptor,
                  .unary = admin_check_proxmox,
                  .userdata = admin },
        };

        memcpy(ret, methods, sizeof(methods));
}
