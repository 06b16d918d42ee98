/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cri.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"

#define RUNTIME "/runtime.v1.RuntimeService/"

int cri_pods(struct cli *cli, cri_pod ***ret, size_t *ret_n, struct err *err) {
        Runtime__V1__ListPodSandboxRequest req = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
        Runtime__V1__ListPodSandboxResponse *res;
        int r = cli_call(cli, RUNTIME "ListPodSandbox", &req.base, &runtime__v1__list_pod_sandbox_response__descriptor,
                         CLI_TIMEOUT_MS, &res, err);

        if (r < 0)
                return r;
        *ret = res->items;
        *ret_n = res->n_items;
        return 0;
}

int cri_containers(struct cli *cli, const char *pod_id, cri_container ***ret, size_t *ret_n, struct err *err) {
        Runtime__V1__ListContainersRequest req = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
        Runtime__V1__ContainerFilter filter = RUNTIME__V1__CONTAINER_FILTER__INIT;
        Runtime__V1__ListContainersResponse *res;
        int r;

        if (pod_id) {
                filter.pod_sandbox_id = (char *) (uintptr_t) pod_id;
                req.filter = &filter;
        }
        r = cli_call(cli, RUNTIME "ListContainers", &req.base, &runtime__v1__list_containers_response__descriptor,
                     CLI_TIMEOUT_MS, &res, err);
        if (r < 0)
                return r;
        *ret = res->containers;
        *ret_n = res->n_containers;
        return 0;
}

int cri_pod_status(struct cli *cli, const char *id, bool verbose, Runtime__V1__PodSandboxStatusResponse **ret,
                   struct err *err) {
        Runtime__V1__PodSandboxStatusRequest req = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;

        req.pod_sandbox_id = (char *) (uintptr_t) id;
        req.verbose = verbose;
        return cli_call(cli, RUNTIME "PodSandboxStatus", &req.base,
                        &runtime__v1__pod_sandbox_status_response__descriptor, CLI_TIMEOUT_MS, ret, err);
}

int cri_container_status(struct cli *cli, const char *id, bool verbose, Runtime__V1__ContainerStatusResponse **ret,
                         struct err *err) {
        Runtime__V1__ContainerStatusRequest req = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
        int r;

        req.container_id = (char *) (uintptr_t) id;
        req.verbose = verbose;
        r = cli_call(cli, RUNTIME "ContainerStatus", &req.base, &runtime__v1__container_status_response__descriptor,
                     CLI_TIMEOUT_MS, ret, err);
        if (r == 0 && !(*ret)->status)
                return err_set(err, ERR_INTERNAL, "the daemon gave no status of container %.64s", id);
        return r;
}

int cri_stop_container(struct cli *cli, const char *id, int64_t grace_s, struct err *err) {
        Runtime__V1__StopContainerRequest req = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
        Runtime__V1__StopContainerResponse *res;

        req.container_id = (char *) (uintptr_t) id;
        req.timeout = grace_s;
        return cli_call(cli, RUNTIME "StopContainer", &req.base, &runtime__v1__stop_container_response__descriptor,
                        CLI_TIMEOUT_MS + (uint64_t) grace_s * 1000, &res, err);
}

int cri_stop_pod(struct cli *cli, const char *id, struct err *err) {
        Runtime__V1__StopPodSandboxRequest req = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
        Runtime__V1__StopPodSandboxResponse *res;

        req.pod_sandbox_id = (char *) (uintptr_t) id;
        return cli_call(cli, RUNTIME "StopPodSandbox", &req.base, &runtime__v1__stop_pod_sandbox_response__descriptor,
                        CLI_TIMEOUT_MS, &res, err);
}

/* The folder that "pod run" made for this pod's logs, or NULL. Annotations are anybody's words: only a folder below the
 * daemon's own logs is one. */
static const char *log_folder_of(struct cli *cli, const char *id) {
        Runtime__V1__PodSandboxStatusResponse *status;
        Proxmoxlxcri__V1__InfoResponse *info;
        const char *folder = NULL, *prefix;
        struct err err;

        if (cri_pod_status(cli, id, false, &status, &err) < 0 || !status->status || cri_info(cli, &info, &err) < 0)
                return NULL;
        for (size_t i = 0; i < status->status->n_annotations; i++)
                if (str_eq(status->status->annotations[i]->key, CRI_LOG_FOLDER_KEY))
                        folder = status->status->annotations[i]->value;
        if (!folder || str_empty(info->root))
                return NULL;
        prefix = arena_printf(cli->arena, "%s/logs/", info->root);
        folder = str_after(folder, prefix) ? folder : NULL;
        return folder && !strchr(folder + strlen(prefix), '/') && folder[strlen(prefix)] != '.' ? folder : NULL;
}

int cri_remove_pod(struct cli *cli, const char *id, struct err *err) {
        Runtime__V1__RemovePodSandboxRequest req = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
        Runtime__V1__RemovePodSandboxResponse *res;
        const char *folder = log_folder_of(cli, id);
        int r = cri_stop_pod(cli, id, err);

        if (r < 0)
                return r;
        req.pod_sandbox_id = (char *) (uintptr_t) id;
        r = cli_call(cli, RUNTIME "RemovePodSandbox", &req.base, &runtime__v1__remove_pod_sandbox_response__descriptor,
                     CLI_TIMEOUT_MS, &res, err);
        if (r == 0 && folder && (r = fs_remove_tree(AT_FDCWD, folder, err)) == 0)
                (void) rmdir(arena_strndup(cli->arena, folder,
                                           (size_t) (strrchr(folder, '/') - folder))); /* when it is the last */
        return r;
}

int cri_info(struct cli *cli, Proxmoxlxcri__V1__InfoResponse **ret, struct err *err) {
        Proxmoxlxcri__V1__InfoRequest req = PROXMOXLXCRI__V1__INFO_REQUEST__INIT;

        return cli_call(cli, "/proxmoxlxcri.v1.Admin/Info", &req.base, &proxmoxlxcri__v1__info_response__descriptor,
                        CLI_TIMEOUT_MS, ret, err);
}

int cri_explain_route(struct cli *cli, const Proxmoxlxcri__V1__ExplainRouteRequest *req,
                      Proxmoxlxcri__V1__ExplainRouteResponse **ret, struct err *err) {
        return cli_call(cli, "/proxmoxlxcri.v1.Admin/ExplainRoute", &req->base,
                        &proxmoxlxcri__v1__explain_route_response__descriptor, CLI_TIMEOUT_MS, ret, err);
}

/* --- finding ----------------------------------------------------------------------------------------------------- */

static const char *pod_name(const cri_pod *p) {
        return p->metadata && p->metadata->name ? p->metadata->name : "";
}

static const char *pod_namespace(const cri_pod *p) {
        return p->metadata && p->metadata->namespace_ ? p->metadata->namespace_ : "";
}

/* "name" or "namespace/name". */
static bool pod_is_called(const cri_pod *p, const char *what, size_t len) {
        const char *slash = memchr(what, '/', len);
        const char *name = slash ? slash + 1 : what;
        size_t name_len = len - (size_t) (name - what);

        if (strlen(pod_name(p)) != name_len || memcmp(pod_name(p), name, name_len) != 0)
                return false;
        return !slash || (strlen(pod_namespace(p)) == (size_t) (slash - what) &&
                          memcmp(pod_namespace(p), what, (size_t) (slash - what)) == 0);
}

static int ambiguous(const char *what, const char *one, const char *other, struct err *err) {
        return err_set(err, ERR_INVALID, "\"%.64s\" could be %.20s or %.20s: give more of the id", what, one, other);
}

/* The best of @pods: full id, then name (one that runs before one that does not), then prefix. */
static int pick_pod(cri_pod **pods, size_t n, const char *what, size_t len, cri_pod **ret, struct err *err) {
        cri_pod *named = NULL, *prefixed = NULL, *other_named = NULL, *other_prefixed = NULL;

        for (size_t i = 0; i < n; i++) {
                bool ready = pods[i]->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;

                if (strlen(pods[i]->id) == len && memcmp(pods[i]->id, what, len) == 0) {
                        *ret = pods[i];
                        return 0;
                }
                if (pod_is_called(pods[i], what, len)) {
                        bool named_ready = named && named->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;

                        other_named = named && ready == named_ready ? named : other_named;
                        if (!named || (ready && !named_ready)) {
                                other_named = NULL;
                                named = pods[i];
                        }
                }
                if (strncmp(pods[i]->id, what, len) == 0) {
                        other_prefixed = prefixed ? prefixed : other_prefixed;
                        prefixed = pods[i];
                }
        }
        if (named && other_named && named != other_named)
                return ambiguous(what, named->id, other_named->id, err);
        if (!named && prefixed && other_prefixed)
                return ambiguous(what, prefixed->id, other_prefixed->id, err);
        *ret = named ? named : prefixed;
        return 0;
}

int cri_find_pod(struct cli *cli, const char *what, cri_pod **ret, struct err *err) {
        cri_pod **pods;
        size_t n;
        int r = cri_pods(cli, &pods, &n, err);

        if (r < 0)
                return r;
        *ret = NULL;
        if (*what && (r = pick_pod(pods, n, what, strlen(what), ret, err)) < 0)
                return r;
        if (!*ret)
                return err_set(err, ERR_NOT_FOUND, "no pod is called \"%.64s\": \"proxmox-lxcri pod ls\" lists them",
                               what);
        return 0;
}

static bool is_running(const cri_container *c) {
        return c->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
}

/* One of a pod's: by name when given, else the only one, else the only one that runs. Restarts share a name: the
 * latest. */
static int pick_in_pod(cri_container **list, size_t n, const cri_pod *pod, const char *name, cri_container **ret,
                       struct err *err) {
        cri_container *best = NULL;
        bool several = false;

        for (size_t i = 0; i < n; i++) {
                cri_container *c = list[i];
                const char *c_name = c->metadata ? c->metadata->name : "";

                if (!str_eq(c->pod_sandbox_id, pod->id) || (name && !str_eq(c_name, name)))
                        continue;
                if (best && best->metadata && !str_eq(best->metadata->name, c_name) &&
                    is_running(best) == is_running(c))
                        several = true;
                if (!best || is_running(c) > is_running(best) ||
                    (is_running(c) == is_running(best) && c->created_at > best->created_at)) {
                        if (best && is_running(c) > is_running(best))
                                several = false;
                        best = c;
                }
        }
        if (!best)
                return err_set(err, ERR_NOT_FOUND, "pod %s has no container%s%.64s", pod_name(pod),
                               name ? " called " : "", name ? name : "");
        if (several)
                return err_set(err, ERR_INVALID,
                               "pod %s has several containers: say which one, \"%s/NAME\" (\"pod ps -a\" lists them)",
                               pod_name(pod), pod_name(pod));
        *ret = best;
        return 0;
}

int cri_find_container(struct cli *cli, const char *what, cri_container **ret, struct err *err) {
        const char *slash = strrchr(what, '/');
        cri_container **list, *found = NULL;
        size_t n, n_pods;
        cri_pod **pods, *pod = NULL;
        int r;

        if ((r = cri_containers(cli, NULL, &list, &n, err)) < 0 || (r = cri_pods(cli, &pods, &n_pods, err)) < 0)
                return r;
        for (size_t i = 0; i < n && *what; i++) {
                if (!str_after(list[i]->id, what))
                        continue;
                if (found)
                        return ambiguous(what, found->id, list[i]->id, err);
                found = list[i];
        }
        if (*what && (r = pick_pod(pods, n_pods, what, strlen(what), &pod, err)) < 0)
                return r;
        /* A name is meant before the beginning of an id. */
        if (pod && !(found && !pod_is_called(pod, what, strlen(what))))
                return pick_in_pod(list, n, pod, NULL, ret, err);
        if (!found && slash) {
                if ((r = pick_pod(pods, n_pods, what, (size_t) (slash - what), &pod, err)) < 0)
                        return r;
                if (pod)
                        return pick_in_pod(list, n, pod, slash + 1, ret, err);
        }
        if (!found)
                return err_set(err, ERR_NOT_FOUND,
                               "no pod or container is called \"%.64s\": \"proxmox-lxcri pod ps -a\" lists them", what);
        *ret = found;
        return 0;
}

const char *cri_pod_state(const cri_pod *p) {
        return p->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY ? "ready" : "stopped";
}

const char *cri_container_state(Runtime__V1__ContainerState s) {
        switch (s) {
        case RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED:
                return "created";
        case RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING:
                return "running";
        case RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED:
                return "exited";
        default:
                return "unknown";
        }
}
