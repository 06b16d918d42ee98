/* SPDX-License-Identifier: Apache-2.0 */
/* grpc-message - the request of every RPC of the CRI, and some answers, from outside bytes; what was read can be copied
 * and is then the same. The first byte chooses the type. */
#include <stdlib.h>
#include <string.h>
#include "cri/service.h"
#include "proto/cri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DESC(m) &runtime__v1__##m##__descriptor

static const ProtobufCMessageDescriptor *const types[] = {
        DESC(run_pod_sandbox_request),    DESC(create_container_request), DESC(pull_image_request),
        DESC(list_pod_sandbox_request),   DESC(exec_sync_request),        DESC(update_container_resources_request),
        DESC(container_status_response),  DESC(restore_pod_request),      DESC(list_pod_sandbox_metrics_response),
#define ROW(service, method, desc, ...) CRI_DESC(desc),
        CRI_METHODS(ROW) CRI_STREAMS(ROW)
#undef ROW
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(4 << 20), *b = arena_new(16 << 20);
        ProtobufCMessage *m, *copy;
        struct err err;

        if (!size || proto_unpack(types[data[0] % ELEMENTSOF(types)], data + 1, size - 1, a, 2 << 20, &m, &err) < 0)
                return 0;
        if (proto_copy(m, b, &copy, &err) < 0)
                return 0;
        if (protobuf_c_message_get_packed_size(m) != protobuf_c_message_get_packed_size(copy))
                abort();
        return 0;
}
