/* SPDX-License-Identifier: Apache-2.0 */
/* list-streams - the Stream* RPCs: what the List of the same name answers, in pieces that fit any client's limit. */
#include "base/str.h"
#include "cri/service.h"

enum { CHUNK_ITEMS = 128, CHUNK_BYTES = 1 << 20 };

#define REQUEST(type) const CRI(type) *req = (const CRI(type) *) request
#define PODS(userdata) (((struct cri *) (userdata))->args.pods)

/* The answers of the Lists and of the streams are one repeated field with tag 1 each: messages, or items that are
 * packed already (pod/lists.h), which protobuf-c keeps as unknown fields. */
struct items {
        ProtobufCMessage base;
        size_t n;
        ProtobufCMessage **list;
};
_Static_assert(sizeof(struct items) == sizeof(CRI(StreamImagesResponse)), "streams' answers share a shape");
_Static_assert(sizeof(struct items) == sizeof(CRI(StreamContainersResponse)), "streams' answers share a shape");
_Static_assert(sizeof(struct items) == sizeof(CRI(ListPodSandboxStatsResponse)), "lists' answers share a shape");

static size_t item_size(const struct items *all, size_t i) {
        return all->base.n_unknown_fields > 0 ? all->base.unknown_fields[i].len
                                              : protobuf_c_message_get_packed_size(all->list[i]);
}

/* @list: a List's answer. An empty one is a stream without any message. All is handed over at once, so that a slow
 * reader holds memory, as with the List, but no thread; the server ends the stream when nothing is taken for a minute.
 */
static int send_all(struct grpc_call *call, const ProtobufCMessage *list, const ProtobufCMessageDescriptor *desc,
                    struct err *err) {
        const struct items *all = (const struct items *) list;
        bool packed = list->n_unknown_fields > 0;
        size_t n = packed ? list->n_unknown_fields : all->n, end;
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i = end) {
                struct items chunk;
                size_t bytes = item_size(all, i);

                for (end = i + 1; end < n && end - i < CHUNK_ITEMS && bytes < CHUNK_BYTES; end++)
                        bytes += item_size(all, end);
                protobuf_c_message_init(desc, &chunk);
                if (packed) {
                        chunk.base.n_unknown_fields = (unsigned) (end - i);
                        chunk.base.unknown_fields = list->unknown_fields + i;
                } else {
                        chunk.n = end - i;
                        chunk.list = all->list + i;
                }
                r = grpc_call_post(call, &chunk.base, 0, err);
        }
        return r;
}

CRI_STREAM_HANDLER(StreamPodSandboxes) {
        REQUEST(StreamPodSandboxesRequest);
        CRI(ListPodSandboxResponse) * list;
        int r = pods_list_sandboxes(PODS(userdata), req->filter, grpc_call_arena(call), &list, err);

        return r < 0 ? r : send_all(call, &list->base, CRI_DESC(stream_pod_sandboxes_response), err);
}

CRI_STREAM_HANDLER(StreamContainers) {
        REQUEST(StreamContainersRequest);
        CRI(ListContainersResponse) * list;
        int r = pods_list_containers(PODS(userdata), req->filter, grpc_call_arena(call), &list, err);

        return r < 0 ? r : send_all(call, &list->base, CRI_DESC(stream_containers_response), err);
}

CRI_STREAM_HANDLER(StreamContainerStats) {
        REQUEST(StreamContainerStatsRequest);
        CRI(ListContainerStatsResponse) * list;
        int r = pods_list_container_stats(PODS(userdata), req->filter, grpc_call_arena(call), &list, err);

        return r < 0 ? r : send_all(call, &list->base, CRI_DESC(stream_container_stats_response), err);
}

CRI_STREAM_HANDLER(StreamPodSandboxStats) {
        REQUEST(StreamPodSandboxStatsRequest);
        CRI(ListPodSandboxStatsResponse) * list;
        int r = pods_list_sandbox_stats(PODS(userdata), req->filter, grpc_call_arena(call), &list, err);

        return r < 0 ? r : send_all(call, &list->base, CRI_DESC(stream_pod_sandbox_stats_response), err);
}

CRI_STREAM_HANDLER(StreamPodSandboxMetrics) {
        CRI(ListPodSandboxMetricsResponse) * list;
        int r = pods_list_sandbox_metrics(PODS(userdata), grpc_call_arena(call), &list, err);

        return r < 0 ? r : send_all(call, &list->base, CRI_DESC(stream_pod_sandbox_metrics_response), err);
}

CRI_STREAM_HANDLER(StreamImages) {
        REQUEST(StreamImagesRequest);
        CRI(ListImagesRequest) like = CRI_(LIST_IMAGES_REQUEST__INIT);
        ProtobufCMessage *list = NULL;
        int r;

        like.filter = req->filter;
        r = cri_handle_ListImages(call, &like.base, &list, userdata, err);
        return r < 0 ? r : send_all(call, list, CRI_DESC(stream_images_response), err);
}
