/* SPDX-License-Identifier: Apache-2.0 */
/* status - how gRPC writes errors and timeouts into headers. No I/O, thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

/* Every byte of a message may become three. */
enum { GRPC_MESSAGE_MAX = 3 * sizeof(((struct err *) 0)->msg) + 1 };

/* Percent-encode @msg for grpc-message: all but printable ASCII, and '%'. Returns the length; @out is terminated. */
size_t status_encode_message(const char *msg, char out[GRPC_MESSAGE_MAX]);

/* The reverse, lenient as the specification asks: what isn't an escape stays as it is. Cut to @size - 1 bytes, control
 * characters become '?', since people will see it on terminals. */
void status_decode_message(const char *value, size_t len, char *out, size_t size);

/* grpc-timeout: up to eight digits and a unit (H M S m u n). False when it is anything else. */
_must_use_ bool status_parse_timeout(const char *value, size_t len, uint64_t *ret_ns);

/* The reverse, rounded up; @out holds at most nine characters. */
enum { GRPC_TIMEOUT_MAX = 16 };
void status_format_timeout(uint64_t timeout_ns, char out[GRPC_TIMEOUT_MAX]);

/* What an HTTP status means where grpc-status is missing. */
enum err_code status_from_http(unsigned http_status);

/* What ended a stream without trailers (HTTP/2 error code of RST_STREAM). */
enum err_code status_from_h2_error(uint32_t h2_error);
