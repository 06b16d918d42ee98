/* SPDX-License-Identifier: Apache-2.0 */
/* pod - pod sandboxes and their containers: the only place where runtime, net, image and store meet. What cri/ (and
 * later the command line and REST) call; each operation is one RPC of the CRI's RuntimeService, in the CRI's own
 * messages. Thread-safe; operations marked "never waits" neither touch disk nor take a pod's lock and may run on the
 * loop thread, the others block and belong on a worker pool. Responses are built in the caller's arena and point to
 * nothing else. Errors: NOT_FOUND only for an id that is not there. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "image/image.h"
#include "net/net.h"
#include "pod/cri.h"
#include "pod/handlers.h"
#include "pod/route.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/engine.h"
#include "store/store.h"

struct pods;
struct cts;
struct check_sink;
struct pods_ctx;

struct pods_args {
        const char *root;    /* "/var/lib/proxmox-lxcri" */
        const char *state;   /* "/run/proxmox-lxcri": pods/ and ns/ live below */
        struct store *store; /* all of these are borrowed and outlive the pods */
        struct images *images;
        struct cni *cni;
        struct cgroups *cgroups;
        const char *cgroup_parent;    /* for pods that name none; NULL: "/proxmox-lxcri" */
        const char *apparmor_profile; /* RuntimeDefault; NULL: the one of security/, where it can be loaded; "": none */
        int64_t pids_limit;           /* of each container; 0 or -1: none */
        bool selinux;                 /* label pods where SELinux is on */
        const struct pod_handler *handlers; /* borrowed; NULL: only the default one */
        size_t n_handlers;
        const char *default_handler; /* of pods that name none and match no route; NULL: HANDLER_DEFAULT */
        struct routes routes;        /* borrowed; handlers are among those above */
};

_must_use_ int pods_new(const struct pods_args *args, struct pods **ret, struct err *err);
/* The engine is made after the pods, since it reports ends of containers to them (pods_exited). Once, before reconcile.
 */
void pods_set_engine(struct pods *p, struct engine *engine);
/* The same for Proxmox containers, of handlers whose engine is "proxmox". */
void pods_set_cts(struct pods *p, struct cts *cts);
/* Is Proxmox VE as pods need it? False: it is not configured. */
bool pods_check_proxmox(struct pods *p, const struct pods_ctx *ctx, const struct check_sink *to);
/* engine_lxc_args.exited, with the pods as userdata. Never waits. */
void pods_exited(const char *id, void *pods);
/* At start, before serving: takes up what the store says, compares it with what is there, finishes or undoes what a
 * crash left half done, and removes what no record names. Nothing alive is killed. */
_must_use_ int pods_reconcile(struct pods *p, struct err *err);
/* Before the engine is freed: waits for the work in the background, which uses it, and begins no more. NULL ok. */
void pods_stop_background(struct pods *p);
struct pods *pods_free(struct pods *p); /* containers live on; no operation may run */
DEFINE_CLEANUP(struct pods *, pods_free)

/* How long a call may take: everything that waits ends when it is cancelled. */
struct pods_ctx {
        int cancel_fd;        /* readable: give up, ERR_CANCELLED or ERR_DEADLINE; -1: none */
        uint64_t deadline_ns; /* CLOCK_MONOTONIC, UINT64_MAX: none */
};

/* --- sandboxes ------------------------------------------------------------------------------------------------------
 */

_must_use_ int pods_run_sandbox(struct pods *p, const struct pods_ctx *ctx, const CRI(RunPodSandboxRequest) * req,
                                struct arena *arena, const char **ret_id, struct err *err);
_must_use_ int pods_stop_sandbox(struct pods *p, const struct pods_ctx *ctx, const char *id,
                                 struct err *err); /* unknown: fine */
_must_use_ int pods_remove_sandbox(struct pods *p, const struct pods_ctx *ctx, const char *id,
                                   struct err *err); /* the same */
/* Never waits. */
_must_use_ int pods_sandbox_status(struct pods *p, const char *id, bool verbose, struct arena *arena,
                                   CRI(PodSandboxStatusResponse) * *ret, struct err *err);
_must_use_ int pods_list_sandboxes(struct pods *p, const CRI(PodSandboxFilter) * filter, struct arena *arena,
                                   CRI(ListPodSandboxResponse) * *ret, struct err *err);

/* --- containers -----------------------------------------------------------------------------------------------------
 */

_must_use_ int pods_create_container(struct pods *p, const struct pods_ctx *ctx,
                                     const CRI(CreateContainerRequest) * req, struct arena *arena, const char **ret_id,
                                     struct err *err);
_must_use_ int pods_start_container(struct pods *p, const struct pods_ctx *ctx, const char *id, struct err *err);
/* @timeout_s: grace between the stop signal and SIGKILL. A second call with a shorter one shortens it. Unknown: fine.
 */
_must_use_ int pods_stop_container(struct pods *p, const struct pods_ctx *ctx, const char *id, int64_t timeout_s,
                                   struct err *err);
_must_use_ int pods_remove_container(struct pods *p, const struct pods_ctx *ctx, const char *id,
                                     struct err *err); /* unknown: fine */
/* These two are no RPCs of the CRI: an administrator's, of a container whose end nobody else answers by a new one. */
/* An ended one runs again, on the layer that it has written, with its id and log; one that was never started is
 * started. ERR_PRECONDITION: it runs, or its pod is not ready any more. */
_must_use_ int pods_start_again(struct pods *p, const struct pods_ctx *ctx, const char *id, struct err *err);
/* Of an ended one: the image below its writable layer becomes @image (as images_get() takes it), and so does what it
 * has of its image where it does not say its own. @ret_id: the image's, in @arena. ERR_PRECONDITION: it has not ended.
 * A crash leaves the old or the new one. */
_must_use_ int pods_set_image(struct pods *p, const struct pods_ctx *ctx, const char *id, const char *image,
                              struct arena *arena, const char **ret_id, struct err *err);
struct pods_commit_args {
        const char *container;
        bool pause;               /* while its files are read, if it runs */
        const char *const *names; /* these as of image_commit_args */
        const struct image_change *changes;
        size_t n_changes;
        const char *author, *message;
        bool zstd;
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
/* An image of what it is now, in any state: its image's config with @changes, and its layer without mounts and what is
 * in folders that its image calls volumes. @ret_id in @arena. Takes the pod's lock only at its beginning and end. */
_must_use_ int pods_commit(struct pods *p, const struct pods_ctx *ctx, const struct pods_commit_args *args,
                           struct arena *arena, const char **ret_id, struct err *err);
_must_use_ int pods_reopen_log(struct pods *p, const struct pods_ctx *ctx, const char *id, struct err *err);
/* Keeps what the kubelet has set in the pod's own cgroup, for PodSandboxStatus(verbose): limits and overhead each
 * replace what was said before; one that is absent stays. The cgroup is the kubelet's and not touched, unless the pod
 * is a Proxmox container. */
_must_use_ int pods_update_sandbox(struct pods *p, const struct pods_ctx *ctx,
                                   const CRI(UpdatePodSandboxResourcesRequest) * req, struct err *err);
_must_use_ int pods_update_resources(struct pods *p, const struct pods_ctx *ctx,
                                     const CRI(UpdateContainerResourcesRequest) * req, struct err *err);
/* Runs @req's command to its end. Output past 16 MiB is dropped. Takes no pod's lock. */
_must_use_ int pods_exec_sync(struct pods *p, const struct pods_ctx *ctx, const CRI(ExecSyncRequest) * req,
                              struct arena *arena, CRI(ExecSyncResponse) * *ret, struct err *err);
/* Never waits. */
_must_use_ int pods_container_status(struct pods *p, const char *id, bool verbose, struct arena *arena,
                                     CRI(ContainerStatusResponse) * *ret, struct err *err);
_must_use_ int pods_list_containers(struct pods *p, const CRI(ContainerFilter) * filter, struct arena *arena,
                                    CRI(ListContainersResponse) * *ret, struct err *err);

/* --- streams --------------------------------------------------------------------------------------------------------
 */

/* What Exec, Attach and PortForward are checked for before a URL is handed out. ERR_NOT_FOUND, ERR_PRECONDITION. */
_must_use_ int pods_check_running(struct pods *p, const char *container_id, struct err *err);
_must_use_ int pods_check_attachable(struct pods *p, const char *container_id, struct err *err); /* created, too */
_must_use_ int pods_check_ready(struct pods *p, const char *sandbox_id, struct err *err);

struct pods_exec_args {
        const char *container_id;
        const char *const *argv; /* NULL ends it */
        bool tty;
        int stdin_fd, stdout_fd, stderr_fd; /* borrowed; -1: none */
        int terminal_socket;                /* with tty instead of them: see struct engine_exec_args */
        int cancel_fd;
};
/* Returns when the command has ended. */
_must_use_ int pods_exec(struct pods *p, const struct pods_exec_args *args, int *ret_code, struct err *err);

struct pods_attach_args {
        const char *container_id;
        bool tty, in, out, errs;
};
_must_use_ int pods_attach(struct pods *p, const struct pods_attach_args *args, struct engine_attached *ret,
                           struct err *err);
/* A connected, non-blocking socket to @port of localhost in the pod's network namespace; IPv4, then IPv6. */
_must_use_ int pods_port_forward(struct pods *p, const char *sandbox_id, uint16_t port, int cancel_fd, int *ret_fd,
                                 struct err *err);

/* --- events ---------------------------------------------------------------------------------------------------------
 */

/* Whoever passes events on. @event is valid during the call only; NULL when it could not be built, with @err: then
 * those who listen have missed one. Called in the order of the changes, from any thread, with the registry locked: it
 * must neither wait nor call any operation of this header but pods_listen(). NULL: nobody, from when this returns. */
typedef void (*pods_event_fn)(const CRI(ContainerEventResponse) * event, const struct err *err, void *userdata);
void pods_set_event_fn(struct pods *p, pods_event_fn fn, void *userdata);
/* Events are built only while somebody listens. Never waits, may be called from anywhere. */
void pods_listen(struct pods *p, bool listen);

/* --- stats ----------------------------------------------------------------------------------------------------------
 */

_must_use_ int pods_container_stats(struct pods *p, const char *id, struct arena *arena, CRI(ContainerStats) * *ret,
                                    struct err *err);
/* Those that run. */
_must_use_ int pods_list_container_stats(struct pods *p, const CRI(ContainerStatsFilter) * filter, struct arena *arena,
                                         CRI(ListContainerStatsResponse) * *ret, struct err *err);
_must_use_ int pods_sandbox_stats(struct pods *p, const char *id, struct arena *arena, CRI(PodSandboxStats) * *ret,
                                  struct err *err);
/* Those that are ready. */
_must_use_ int pods_list_sandbox_stats(struct pods *p, const CRI(PodSandboxStatsFilter) * filter, struct arena *arena,
                                       CRI(ListPodSandboxStatsResponse) * *ret, struct err *err);

/* Every metric that the next one may have. Never waits. */
void pods_metric_descriptors(struct arena *arena, CRI(ListMetricDescriptorsResponse) * *ret);
/* Of pods that are ready and of their containers that run. */
_must_use_ int pods_list_sandbox_metrics(struct pods *p, struct arena *arena, CRI(ListPodSandboxMetricsResponse) * *ret,
                                         struct err *err);

/* --- what the runtime can -------------------------------------------------------------------------------------------
 */

size_t pods_handlers(const struct pods *p, const struct pod_handler **ret);
bool pods_can_recursive_readonly(void); /* mount_setattr(2), Linux 5.12 */
/* Of pods that name none and match no route. */
const struct pod_handler *pods_default_handler(const struct pods *p);
/* Have pods that name no handler a network of CNI? Not those in Proxmox containers with networks of Proxmox' own. */
bool pods_need_cni(const struct pods *p);
const struct pod_handler *pods_handler_named(const struct pods *p, const char *name); /* NULL: none */
const struct routes *pods_routes(const struct pods *p);
/* Pods with a user namespace of the kubelet's choice; looked at once, by pods_new(). */
bool pods_can_user_namespaces(const struct pods *p, const struct pod_handler *h);
size_t pods_count_sandboxes(struct pods *p);
size_t pods_count_containers(struct pods *p);
