/* SPDX-License-Identifier: Apache-2.0 */
/* response - a call's way back: headers, messages, trailers. Loop thread only. Private to grpc/. */
#pragma once
#include "grpc/conn.h"

/* Answer by a status without any message ("trailers-only"). */
void response_status(struct grpc_call *call, unsigned http_status, const struct err *verdict);
/* Send what is in the call's "out", and the trailers once there is a verdict. May be called again when there is more.
 */
void response_send(struct grpc_call *call);
/* Drop what has not been sent; with @keep_begun a message that is partly on its way stays, so that trailers can follow.
 */
void response_drop(struct grpc_call *call, bool keep_begun);
