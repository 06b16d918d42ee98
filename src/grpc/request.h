/* SPDX-License-Identifier: Apache-2.0 */
/* request - the headers of a request: collected one by one, judged at their end. No I/O. Private to grpc/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "grpc/hub.h"

enum request_encoding { REQUEST_IDENTITY, REQUEST_GZIP };

struct request {
        size_t header_bytes;                       /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
        char *path, *encoding_name, *content_type; /* copies, bounded by the header limit */
        bool is_post, is_timeout_bad, is_too_big;
        uint64_t timeout_ns; /* UINT64_MAX: none */
        enum request_encoding encoding;
        bool complete; /* END_STREAM has arrived */
};

void request_init(struct request *r);
void request_done(struct request *r);

void request_header(struct request *r, const struct hub *hub, const char *name, size_t name_len, const char *value,
                    size_t value_len);

/* All headers are there. On failure @ret_http_status goes with the gRPC status. */
_must_use_ int request_check(struct request *r, const struct hub *hub, const struct grpc_method **ret,
                             unsigned *ret_http_status, struct err *err);
