/* SPDX-License-Identifier: Apache-2.0 */
/* runtime-service - sandboxes and containers. */
#include "cri/service.h"

/* Name, request and response types in place, the pods at hand. */
#define PODS(userdata) (((struct cri *) (userdata))->args.pods)
#define REQUEST(type) const CRI(type) *req = (const CRI(type) *) request

CRI_HANDLER(RunPodSandbox) {
        REQUEST(RunPodSandboxRequest);
        struct arena *arena = grpc_call_arena(call);
        CRI(RunPodSandboxResponse) *resp = cri_make(arena, RunPodSandboxResponse, run_pod_sandbox_response);
        const struct pods_ctx ctx = cri_ctx(call);
        const char *id;
        int r = pods_run_sandbox(PODS(userdata), &ctx, req, arena, &id, err);

        if (r < 0)
                return r;
        resp->pod_sandbox_id = (char *) id;
        *ret = &resp->base;
        return 0;
}

CRI_HANDLER(StopPodSandbox) {
        REQUEST(StopPodSandboxRequest);
        const struct pods_ctx ctx = cri_ctx(call);

        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(stop_pod_sandbox_response));
        return pods_stop_sandbox(PODS(userdata), &ctx, req->pod_sandbox_id, err);
}

CRI_HANDLER(RemovePodSandbox) {
        REQUEST(RemovePodSandboxRequest);
        const struct pods_ctx ctx = cri_ctx(call);

        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(remove_pod_sandbox_response));
        return pods_remove_sandbox(PODS(userdata), &ctx, req->pod_sandbox_id, err);
}

CRI_HANDLER(PodSandboxStatus) {
        REQUEST(PodSandboxStatusRequest);
        CRI(PodSandboxStatusResponse) *resp = NULL;
        int r = pods_sandbox_status(PODS(userdata), req->pod_sandbox_id, req->verbose, grpc_call_arena(call), &resp,
                                    err);

        *ret = (ProtobufCMessage *) resp;
        return r;
}

CRI_HANDLER(ListPodSandbox) {
        REQUEST(ListPodSandboxRequest);
        CRI(ListPodSandboxResponse) *resp = NULL;
        int r = pods_list_sandboxes(PODS(userdata), req->filter, grpc_call_arena(call), &resp, err);

        *ret = (ProtobufCMessage *) resp;
        return r;
}

CRI_HANDLER(CreateContainer) {
        REQUEST(CreateContainerRequest);
        struct arena *arena = grpc_call_arena(call);
        CRI(CreateContainerResponse) *resp = cri_make(arena, CreateContainerResponse, create_container_response);
        const struct pods_ctx ctx = cri_ctx(call);
        const char *id;
        int r = pods_create_container(PODS(userdata), &ctx, req, arena, &id, err);

        if (r < 0)
                return r;
        resp->container_id = (char *) id;
        *ret = &resp->base;
        return 0;
}

CRI_HANDLER(StartContainer) {
        REQUEST(StartContainerRequest);
        const struct pods_ctx ctx = cri_ctx(call);

        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(start_container_response));
        return pods_start_container(PODS(userdata), &ctx, req->container_id, err);
}

CRI_HANDLER(StopContainer) {
        REQUEST(StopContainerRequest);
        const struct pods_ctx ctx = cri_ctx(call);

        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(stop_container_response));
        return pods_stop_container(PODS(userdata), &ctx, req->container_id, req->timeout, err);
}

CRI_HANDLER(RemoveContainer) {
        REQUEST(RemoveContainerRequest);
        const struct pods_ctx ctx = cri_ctx(call);

        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(remove_container_response));
        return pods_remove_container(PODS(userdata), &ctx, req->container_id, err);
}

CRI_HANDLER(ContainerStatus) {
        REQUEST(ContainerStatusRequest);
        CRI(ContainerStatusResponse) *resp = NULL;
        int r = pods_container_status(PODS(userdata), req->container_id, req->verbose, grpc_call_arena(call), &resp,
                                      err);

        *ret = (ProtobufCMessage *) resp;
        return r;
}

CRI_HANDLER(ListContainers) {
        REQUEST(ListContainersRequest);
        CRI(ListContainersResponse) *resp = NULL;
        int r = pods_list_containers(PODS(userdata), req->filter, grpc_call_arena(call), &resp, err);

        *ret = (ProtobufCMessage *) resp;
        return r;
}

CRI_HANDLER(UpdateContainerResources) {
        REQUEST(UpdateContainerResourcesRequest);
        const struct pods_ctx ctx = cri_ctx(call);

        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(update_container_resources_response));
        return pods_update_resources(PODS(userdata), &ctx, req, err);
}

CRI_HANDLER(UpdatePodSandboxResources) {
        REQUEST(UpdatePodSandboxResourcesRequest);
        const struct pods_ctx ctx = cri_ctx(call);

        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(update_pod_sandbox_resources_response));
        return pods_update_sandbox(PODS(userdata), &ctx, req, err);
}

CRI_HANDLER(ReopenContainerLog) {
        REQUEST(ReopenContainerLogRequest);
        const struct pods_ctx ctx = cri_ctx(call);

        *ret = cri_message_new(grpc_call_arena(call), CRI_DESC(reopen_container_log_response));
        return pods_reopen_log(PODS(userdata), &ctx, req->container_id, err);
}

CRI_HANDLER(ExecSync) {
        REQUEST(ExecSyncRequest);
        const struct pods_ctx ctx = cri_ctx(call);
        CRI(ExecSyncResponse) *resp = NULL;
        int r = pods_exec_sync(PODS(userdata), &ctx, req, grpc_call_arena(call), &resp, err);

        *ret = (ProtobufCMessage *) resp;
        return r;
}

CRI_HANDLER(ContainerStats) {
        REQUEST(ContainerStatsRequest);
        struct arena *arena = grpc_call_arena(call);
        CRI(ContainerStatsResponse) *resp = cri_make(arena, ContainerStatsResponse, container_stats_response);

        *ret = &resp->base;
        return pods_container_stats(PODS(userdata), req->container_id, arena, &resp->stats, err);
}

CRI_HANDLER(ListContainerStats) {
        REQUEST(ListContainerStatsRequest);
        CRI(ListContainerStatsResponse) *resp = NULL;
        int r = pods_list_container_stats(PODS(userdata), req->filter, grpc_call_arena(call), &resp, err);

        *ret = (ProtobufCMessage *) resp;
        return r;
}

CRI_HANDLER(PodSandboxStats) {
        REQUEST(PodSandboxStatsRequest);
        struct arena *arena = grpc_call_arena(call);
        CRI(PodSandboxStatsResponse) *resp = cri_make(arena, PodSandboxStatsResponse, pod_sandbox_stats_response);

        *ret = &resp->base;
        return pods_sandbox_stats(PODS(userdata), req->pod_sandbox_id, arena, &resp->stats, err);
}

CRI_HANDLER(ListPodSandboxStats) {
        REQUEST(ListPodSandboxStatsRequest);
        CRI(ListPodSandboxStatsResponse) *resp = NULL;
        int r = pods_list_sandbox_stats(PODS(userdata), req->filter, grpc_call_arena(call), &resp, err);

        *ret = (ProtobufCMessage *) resp;
        return r;
}

CRI_HANDLER(ListMetricDescriptors) {
        CRI(ListMetricDescriptorsResponse) * resp;

        pods_metric_descriptors(grpc_call_arena(call), &resp);
        *ret = &resp->base;
        return 0;
}

CRI_HANDLER(ListPodSandboxMetrics) {
        CRI(ListPodSandboxMetricsResponse) *resp = NULL;
        int r = pods_list_sandbox_metrics(PODS(userdata), grpc_call_arena(call), &resp, err);

        *ret = (ProtobufCMessage *) resp;
        return r;
}
