/* SPDX-License-Identifier: Apache-2.0 */
/* client - a blocking gRPC client over a unix socket, for the command line. One thread per client. */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"

struct grpc_client;

_must_use_ int grpc_client_new(const char *socket_path, struct grpc_client **ret, struct err *err);
struct grpc_client *grpc_client_free(struct grpc_client *c);
DEFINE_CLEANUP(struct grpc_client *, grpc_client_free)

/* One unary RPC. @timeout_ms 0: none (sent as grpc-timeout otherwise). @ret lives in @arena. The server's status and
 * message become @err. Interrupted by SIGINT (EINTR) it cancels the stream and returns ERR_CANCELLED. */
_must_use_ int grpc_client_call(struct grpc_client *c, const char *path, const ProtobufCMessage *request,
                                const ProtobufCMessageDescriptor *response, uint64_t timeout_ms, struct arena *arena,
                                ProtobufCMessage **ret, struct err *err);

/* One server-streaming RPC: @each is called for every message (return non-zero to cancel the stream and stop). */
_must_use_ int grpc_client_stream(struct grpc_client *c, const char *path, const ProtobufCMessage *request,
                                  const ProtobufCMessageDescriptor *response, uint64_t timeout_ms,
                                  int (*each)(const ProtobufCMessage *message, void *userdata), void *userdata,
                                  struct err *err);
