/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/response.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "grpc/status.h"

#define NV(n, v)                                                                                                       \
        { (uint8_t *) (uintptr_t) (n), (uint8_t *) (uintptr_t) (v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NO_COPY_NAME }

enum { MAX_STATUS_HEADERS = 3 };

struct status_text {
        char code[12];
        char message[GRPC_MESSAGE_MAX];
};

/* grpc-status and, when there is one, grpc-message. */
static size_t status_headers(const struct err *verdict, struct status_text *text, nghttp2_nv nv[2]) {
        (void) snprintf(text->code, sizeof(text->code), "%u", (unsigned) verdict->code);
        nv[0] = (nghttp2_nv) NV("grpc-status", text->code);
        if (verdict->code == ERR_OK || !*verdict->msg)
                return 1;
        (void) status_encode_message(verdict->msg, text->message);
        nv[1] = (nghttp2_nv) NV("grpc-message", text->message);
        return 2;
}

void response_status(struct grpc_call *call, unsigned http_status, const struct err *verdict) {
        struct status_text text;
        char http[12];
        nghttp2_nv nv[2 + MAX_STATUS_HEADERS];
        size_t n = 2;

        assert(!call->answered);
        call->answered = true;
        (void) snprintf(http, sizeof(http), "%u", http_status);
        nv[0] = (nghttp2_nv) NV(":status", http);
        nv[1] = (nghttp2_nv) NV("content-type", "application/grpc");
        n += status_headers(verdict, &text, nv + n);
        if (verdict->code == ERR_UNIMPLEMENTED)
                nv[n++] = (nghttp2_nv) NV("grpc-accept-encoding", "identity,gzip");
        (void) nghttp2_submit_response(call->conn->session, call->stream_id, nv, n, NULL);
}

static void submit_trailers(struct grpc_call *call) {
        struct status_text text;
        nghttp2_nv nv[2];
        size_t n = status_headers(call->verdict, &text, nv);

        (void) nghttp2_submit_trailer(call->conn->session, call->stream_id, nv, n);
}

static void account(struct grpc_call *call, size_t bytes) {
        assert(call->held_bytes >= bytes && call->conn->held_bytes >= bytes);
        call->held_bytes -= bytes;
        call->conn->held_bytes -= bytes;
        call_sent(call, bytes);
}

static ssize_t read_out(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length, uint32_t *flags,
                        nghttp2_data_source *source, void *userdata) {
        struct grpc_call *call = source->ptr;
        size_t n = 0;

        while (call->out && n < length) {
                struct chunk *k = call->out;
                size_t part = MIN_OF(k->len - k->sent, length - n);

                memcpy(buf + n, k->data + k->sent, part);
                n += part;
                k->sent += part;
                if (k->sent < k->len)
                        break;
                call->out = k->next;
                if (!call->out)
                        call->out_tail = &call->out;
                k->next = NULL;
                (void) chunk_free(k);
        }
        if (n)
                account(call, n);
        if (n && call->verdict)
                call->give_up_ns = call->conn->now_ns + CONN_ANSWER_NS;
        if (!call->out && call->verdict) {
                *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
                submit_trailers(call);
        } else if (n == 0) {
                return NGHTTP2_ERR_DEFERRED;
        }
        return (ssize_t) n;
}

void response_send(struct grpc_call *call) {
        nghttp2_data_provider provider = { .source.ptr = call, .read_callback = read_out };
        nghttp2_nv nv[] = { NV(":status", "200"), NV("content-type", "application/grpc") };

        if (!call->answered && !call->out && call->verdict) {
                response_status(call, 200, call->verdict);
        } else if (!call->answered) {
                call->answered = true;
                (void) nghttp2_submit_response(call->conn->session, call->stream_id, nv, ELEMENTSOF(nv), &provider);
        } else {
                (void) nghttp2_session_resume_data(call->conn->session, call->stream_id);
        }
}

void response_drop(struct grpc_call *call, bool keep_begun) {
        struct chunk *first = call->out, **from = &call->out;
        size_t bytes = 0;

        if (keep_begun && first && first->sent)
                from = &first->next;
        for (const struct chunk *k = *from; k; k = k->next)
                bytes += k->len - k->sent;
        *from = chunk_free(*from);
        call->out_tail = from;
        if (bytes)
                account(call, bytes);
}
