/* SPDX-License-Identifier: Apache-2.0 */
/* cri - the CRI calls that several verbs make, and finding pods and containers by what people type. Results live in the
 * cli's arena. */
#pragma once
#include "cli/cli.h"
#include "proto/admin.pb-c.h"
#include "proto/cri.pb-c.h"

typedef Runtime__V1__PodSandbox cri_pod;
typedef Runtime__V1__Container cri_container;

/* Annotation of pods made by "pod run": the folder of their logs, which goes with them. */
#define CRI_LOG_FOLDER_KEY "proxmox-lxcri/log-folder"

_must_use_ int cri_pods(struct cli *cli, cri_pod ***ret, size_t *ret_n, struct err *err);
_must_use_ int cri_containers(struct cli *cli, const char *pod_id, cri_container ***ret, size_t *ret_n,
                              struct err *err);
_must_use_ int cri_pod_status(struct cli *cli, const char *id, bool verbose,
                              Runtime__V1__PodSandboxStatusResponse **ret, struct err *err);
_must_use_ int cri_container_status(struct cli *cli, const char *id, bool verbose,
                                    Runtime__V1__ContainerStatusResponse **ret, struct err *err);
_must_use_ int cri_stop_container(struct cli *cli, const char *id, int64_t grace_s, struct err *err);
_must_use_ int cri_stop_pod(struct cli *cli, const char *id, struct err *err);
/* Stops it too; its log folder goes as well when it is one of "pod run"'s. */
_must_use_ int cri_remove_pod(struct cli *cli, const char *id, struct err *err);
_must_use_ int cri_info(struct cli *cli, Proxmoxlxcri__V1__InfoResponse **ret, struct err *err);
_must_use_ int cri_explain_route(struct cli *cli, const Proxmoxlxcri__V1__ExplainRouteRequest *req,
                                 Proxmoxlxcri__V1__ExplainRouteResponse **ret, struct err *err);

/* A pod by id, unique prefix of one, "name" or "namespace/name". ERR_NOT_FOUND; ERR_INVALID when several match. */
_must_use_ int cri_find_pod(struct cli *cli, const char *what, cri_pod **ret, struct err *err);
/* A container by id or unique prefix, by pod ("web", its only container) or "web/container", "namespace/web/container".
 * A pod's running container is preferred to those that have ended. */
_must_use_ int cri_find_container(struct cli *cli, const char *what, cri_container **ret, struct err *err);

const char *cri_pod_state(const cri_pod *p);                    /* "ready", "stopped" */
const char *cri_container_state(Runtime__V1__ContainerState s); /* "created", "running", "exited", "unknown" */
