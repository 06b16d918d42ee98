/* SPDX-License-Identifier: Apache-2.0 */
/* service - what the handlers of cri/ share. Private to cri/. */
#pragma once
#include "cri/cri.h"
#include "pod/cri.h"

struct events;

struct cri {
        struct cri_args args;
        struct events *events;
};

/* Every RPC that there is: X(service, method, request descriptor, pool, inline).
 * Inline: answered from memory on the loop thread. */
#define CRI_METHODS(X)                                                                                                 \
        X(RuntimeService, Version, version_request, DEFAULT, true)                                                     \
        X(RuntimeService, Status, status_request, DEFAULT, false)                                                      \
        X(RuntimeService, RuntimeConfig, runtime_config_request, DEFAULT, true)                                        \
        X(RuntimeService, UpdateRuntimeConfig, update_runtime_config_request, DEFAULT, false)                          \
        X(RuntimeService, RunPodSandbox, run_pod_sandbox_request, DEFAULT, false)                                      \
        X(RuntimeService, StopPodSandbox, stop_pod_sandbox_request, DEFAULT, false)                                    \
        X(RuntimeService, RemovePodSandbox, remove_pod_sandbox_request, DEFAULT, false)                                \
        X(RuntimeService, PodSandboxStatus, pod_sandbox_status_request, DEFAULT, true)                                 \
        X(RuntimeService, ListPodSandbox, list_pod_sandbox_request, DEFAULT, true)                                     \
        X(RuntimeService, CreateContainer, create_container_request, DEFAULT, false)                                   \
        X(RuntimeService, StartContainer, start_container_request, DEFAULT, false)                                     \
        X(RuntimeService, StopContainer, stop_container_request, DEFAULT, false)                                       \
        X(RuntimeService, RemoveContainer, remove_container_request, DEFAULT, false)                                   \
        X(RuntimeService, ListContainers, list_containers_request, DEFAULT, true)                                      \
        X(RuntimeService, ContainerStatus, container_status_request, DEFAULT, true)                                    \
        X(RuntimeService, UpdateContainerResources, update_container_resources_request, DEFAULT, false)                \
        X(RuntimeService, UpdatePodSandboxResources, update_pod_sandbox_resources_request, DEFAULT, false)             \
        X(RuntimeService, ReopenContainerLog, reopen_container_log_request, DEFAULT, false)                            \
        X(RuntimeService, ExecSync, exec_sync_request, DEFAULT, false)                                                 \
        X(RuntimeService, Exec, exec_request, DEFAULT, true)                                                           \
        X(RuntimeService, Attach, attach_request, DEFAULT, true)                                                       \
        X(RuntimeService, PortForward, port_forward_request, DEFAULT, true)                                            \
        X(RuntimeService, ContainerStats, container_stats_request, DEFAULT, false)                                     \
        X(RuntimeService, ListContainerStats, list_container_stats_request, DEFAULT, false)                            \
        X(RuntimeService, PodSandboxStats, pod_sandbox_stats_request, DEFAULT, false)                                  \
        X(RuntimeService, ListPodSandboxStats, list_pod_sandbox_stats_request, DEFAULT, false)                         \
        X(RuntimeService, ListMetricDescriptors, list_metric_descriptors_request, DEFAULT, true)                       \
        X(RuntimeService, ListPodSandboxMetrics, list_pod_sandbox_metrics_request, DEFAULT, false)                     \
        X(ImageService, ListImages, list_images_request, DEFAULT, false)                                               \
        X(ImageService, ImageStatus, image_status_request, DEFAULT, false)                                             \
        X(ImageService, PullImage, pull_image_request, PULL, false)                                                    \
        X(ImageService, RemoveImage, remove_image_request, DEFAULT, false)                                             \
        X(ImageService, ImageFsInfo, image_fs_info_request, DEFAULT, false)

/* Those that answer with a stream: X(service, method, request descriptor). */
#define CRI_STREAMS(X)                                                                                                 \
        X(RuntimeService, StreamPodSandboxes, stream_pod_sandboxes_request)                                            \
        X(RuntimeService, StreamContainers, stream_containers_request)                                                 \
        X(RuntimeService, StreamContainerStats, stream_container_stats_request)                                        \
        X(RuntimeService, StreamPodSandboxStats, stream_pod_sandbox_stats_request)                                     \
        X(RuntimeService, StreamPodSandboxMetrics, stream_pod_sandbox_metrics_request)                                 \
        X(RuntimeService, GetContainerEvents, get_events_request)                                                      \
        X(ImageService, StreamImages, stream_images_request)

#define CRI_STREAM_HANDLER(method)                                                                                     \
        int cri_handle_##method(struct grpc_call *call, const ProtobufCMessage *request, void *userdata,               \
                                struct err *err)

/* A handler: struct grpc_unary_fn's arguments, the request in its own type. */
#define CRI_HANDLER(method)                                                                                            \
        int cri_handle_##method(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,       \
                                void *userdata, struct err *err)

#define DECLARE(service, method, desc, pool, inline_call) CRI_HANDLER(method);
CRI_METHODS(DECLARE)
#undef DECLARE
#define DECLARE(service, method, desc) CRI_STREAM_HANDLER(method);
CRI_STREAMS(DECLARE)
#undef DECLARE

/* events.c: those who listen to GetContainerEvents. */
struct events *events_new(struct pods *pods);
struct events *events_free(struct events *e);

static inline struct pods_ctx cri_ctx(struct grpc_call *call) {
        return (struct pods_ctx){ .cancel_fd = grpc_call_cancel_fd(call), .deadline_ns = grpc_call_deadline_ns(call) };
}
