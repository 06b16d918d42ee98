/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/test-service.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include "base/str.h"
#include "proto/cri.h"

static atomic_int cancels, sleeping;

int test_service_sleeping(void) {
        return atomic_load(&sleeping);
}

/* Kept calls, and who ends them. */
static struct {
        pthread_mutex_t lock;
        struct grpc_call *calls[64];
        size_t n;
} kept = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void kept_cancelled(struct grpc_call *call, void *userdata) {
        struct err err;

        pthread_mutex_lock(&kept.lock);
        for (size_t i = 0; i < kept.n; i++)
                if (kept.calls[i] == call) {
                        kept.calls[i] = kept.calls[--kept.n];
                        (void) grpc_call_cancel_err(call, &err);
                        grpc_call_end(call, &err);
                        (void) atomic_fetch_add(&cancels, 1);
                        break;
                }
        pthread_mutex_unlock(&kept.lock);
}

static int keep(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        int r = 0;

        pthread_mutex_lock(&kept.lock);
        if (kept.n == ELEMENTSOF(kept.calls))
                r = err_set(err, ERR_EXHAUSTED, "too many");
        if (r == 0)
                r = grpc_call_keep(call, kept_cancelled, NULL, err);
        if (r == 0)
                kept.calls[kept.n++] = call;
        pthread_mutex_unlock(&kept.lock);
        return r;
}

/* A message of @bytes to all who are kept, or the end. */
static void publish(int64_t bytes, bool end, struct arena *arena) {
        Runtime__V1__Container container = RUNTIME__V1__CONTAINER__INIT, *list = &container;
        Runtime__V1__StreamContainersResponse a = RUNTIME__V1__STREAM_CONTAINERS_RESPONSE__INIT;
        struct err err;

        container.id = arena_xalloc(arena, 1, (size_t) bytes + 1);
        memset(container.id, 'c', (size_t) bytes);
        a.n_containers = 1;
        a.containers = &list;
        pthread_mutex_lock(&kept.lock);
        for (size_t i = kept.n; i-- > 0;) {
                struct grpc_call *call = kept.calls[i];
                int r = end ? 0 : grpc_call_post(call, &a.base, 1 << 20, &err);

                if (!end && r == 0)
                        continue;
                kept.calls[i] = kept.calls[--kept.n];
                grpc_call_end(call, r < 0 ? &err : NULL);
        }
        pthread_mutex_unlock(&kept.lock);
}

static int version(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                   struct err *err) {
        const Runtime__V1__VersionRequest *q = (const void *) request;
        Runtime__V1__VersionResponse *a = arena_new_of(grpc_call_arena(call), Runtime__V1__VersionResponse);

        runtime__v1__version_response__init(a);
        a->version = q->version;
        a->runtime_name = (char *) "test";
        a->runtime_api_version = (char *) "v1";
        *ret = &a->base;
        return 0;
}

static int status(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                  struct err *err) {
        Runtime__V1__StatusResponse *a = arena_new_of(grpc_call_arena(call), Runtime__V1__StatusResponse);

        runtime__v1__status_response__init(a);
        *ret = &a->base;
        return 0;
}

static int wait_or_cancel(struct grpc_call *call, int timeout_ms, struct err *err) {
        struct pollfd p = { .fd = grpc_call_cancel_fd(call), .events = POLLIN };

        (void) atomic_fetch_add(&sleeping, 1);
        (void) poll(&p, 1, timeout_ms);
        (void) atomic_fetch_sub(&sleeping, 1);
        if (!grpc_call_cancelled(call))
                return 0;
        (void) atomic_fetch_add(&cancels, 1);
        return grpc_call_cancel_err(call, err);
}

static int exec_sync(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                     struct err *err) {
        const Runtime__V1__ExecSyncRequest *q = (const void *) request;
        Runtime__V1__ExecSyncResponse *a = arena_new_of(grpc_call_arena(call), Runtime__V1__ExecSyncResponse);
        struct timespec pause = { .tv_sec = q->timeout / 1000, .tv_nsec = q->timeout % 1000 * 1000000 };

        runtime__v1__exec_sync_response__init(a);
        *ret = &a->base;
        if (str_eq(q->container_id, "sleep"))
                return wait_or_cancel(call, (int) q->timeout, err);
        if (str_eq(q->container_id, "fail"))
                return err_set(err, (enum err_code) q->timeout, "%s", q->n_cmd ? q->cmd[0] : "");
        if (str_eq(q->container_id, "stubborn"))
                (void) nanosleep(&pause, NULL);
        if (str_eq(q->container_id, "echo") && q->n_cmd)
                a->stdout = (ProtobufCBinaryData){ strlen(q->cmd[0]), (uint8_t *) q->cmd[0] };
        if (str_eq(q->container_id, "fill"))
                a->stdout = (ProtobufCBinaryData){ (size_t) q->timeout,
                                                   arena_array(grpc_call_arena(call), uint8_t, (size_t) q->timeout) };
        if (str_eq(q->container_id, "publish") || str_eq(q->container_id, "end"))
                publish(q->timeout, *q->container_id == 'e', grpc_call_arena(call));
        if (str_eq(q->container_id, "cancels"))
                a->exit_code = atomic_load(&cancels);
        if (str_eq(q->container_id, "count"))
                for (size_t i = 0; i < q->n_cmd; i++)
                        a->exit_code += (int32_t) strlen(q->cmd[i]);
        return 0;
}

static int stream_images(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Runtime__V1__StreamImagesRequest *q = (const void *) request;
        const Runtime__V1__ImageSpec *spec = q->filter ? q->filter->image : NULL;
        Runtime__V1__StreamImagesResponse a = RUNTIME__V1__STREAM_IMAGES_RESPONSE__INIT;
        Runtime__V1__Image image = RUNTIME__V1__IMAGE__INIT, *images = &image;
        uint64_t n = 0, bytes = 0;
        int r;

        if (spec && (!str_to_u64(spec->image, &n) || !str_to_u64(spec->runtime_handler, &bytes)))
                return err_set(err, ERR_INVALID, "image and runtime_handler are numbers here");
        image.id = arena_xalloc(grpc_call_arena(call), 1, bytes + 1);
        memset(image.id, 'i', bytes);
        a.n_images = 1;
        a.images = &images;
        for (uint64_t i = 0; i < n; i++) {
                image.size = i;
                r = grpc_call_send(call, &a.base, err);
                if (r < 0)
                        return r;
        }
        return spec && str_eq(spec->image_ref, "fail") ? err_set(err, ERR_DATA_LOSS, "after %d", (int) n) : 0;
}

static int container_events(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        Runtime__V1__ContainerEventResponse a = RUNTIME__V1__CONTAINER_EVENT_RESPONSE__INIT;
        int r;

        a.container_id = (char *) "c";
        for (;;) {
                a.created_at++;
                r = grpc_call_send(call, &a.base, err);
                if (r < 0) {
                        (void) atomic_fetch_add(&cancels, 1);
                        return r;
                }
                r = wait_or_cancel(call, 5, err);
                if (r < 0)
                        return r;
        }
}

#define DESC(m) (&runtime__v1__##m##__descriptor)

const struct grpc_method test_service[] = {
        { "/runtime.v1.RuntimeService/Version", DESC(version_request), .unary = version, .inline_call = true },
        { "/runtime.v1.RuntimeService/Status", DESC(status_request), .unary = status },
        { "/runtime.v1.RuntimeService/ExecSync", DESC(exec_sync_request), .unary = exec_sync },
        { "/runtime.v1.RuntimeService/GetContainerEvents", DESC(get_events_request), .stream = container_events },
        { "/runtime.v1.RuntimeService/StreamContainers", DESC(stream_containers_request), .stream = keep },
        { "/runtime.v1.ImageService/StreamImages", DESC(stream_images_request), .stream = stream_images },
};
const size_t test_service_len = ELEMENTSOF(test_service);
