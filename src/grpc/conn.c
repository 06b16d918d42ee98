/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/conn.h"

#include <assert.h>
#include "base/alloc.h"
#include "base/log.h"
#include "grpc/response.h"

static const uint64_t HELLO_NS = UINT64_C(10000000000);   /* from connect to the client's SETTINGS */
static const uint64_t REQUEST_NS = UINT64_C(30000000000); /* from a request's headers to its end */

enum {
        STREAM_WINDOW_BYTES = 1 << 20,
        CONNECTION_WINDOW_BYTES = 4 << 20,
        /* Header lists that are so many times too long are an attack on our time, not a mistake. */
        HEADER_BOMB_FACTOR = 8,
        /* Resets by the client: this many at once, then this many a second (CVE-2023-44487). */
        RESET_BURST = 1000,
        RESETS_PER_SECOND = 100,
        MAX_CONTINUATIONS = 8,
        MAX_SETTINGS_ENTRIES = 32,
        MAX_UNSENT_ACKS = 1000,
};

static const struct err deadline_exceeded = { .code = ERR_DEADLINE, .msg = "context deadline exceeded" };
static const struct err request_too_slow = { .code = ERR_DEADLINE, .msg = "the request did not arrive in time" };
static const struct err going_away = { .code = ERR_UNAVAILABLE, .msg = "the server is shutting down" };
static const struct err out_of_memory = { .code = ERR_EXHAUSTED,
                                          .msg = "too many bytes are waiting on this connection" };

static void wake_by(struct conn *c, uint64_t ns) {
        c->wake_ns = MIN_OF(c->wake_ns, ns);
}

static void link_call(struct conn *c, struct grpc_call *call) {
        call->conn = c;
        call->next = c->calls;
        if (c->calls)
                c->calls->prev = call;
        c->calls = call;
        c->n_calls++;
}

static void release_request(struct grpc_call *call) {
        call->conn->held_bytes -= call->request_bytes;
        call->request_bytes = 0;
}

/* The call is over for this connection. */
static void unlink_call(struct grpc_call *call) {
        struct conn *c = call->conn;

        release_request(call);
        response_drop(call, false);
        if (call->prev)
                call->prev->next = call->next;
        else
                c->calls = call->next;
        if (call->next)
                call->next->prev = call->prev;
        c->n_calls--;
        call->conn = NULL;
        call->prev = call->next = NULL;
        (void) call_unref(call);
}

/* The handler, if it has not returned, works for nobody from here on. */
static void conclude(struct grpc_call *call, const struct err *verdict) {
        call->verdict = verdict;
        call->give_up_ns = call->conn->now_ns + CONN_ANSWER_NS;
        wake_by(call->conn, call->give_up_ns);
        if (verdict != &call->result)
                call_cancel(call, verdict == &deadline_exceeded ? ERR_DEADLINE : ERR_CANCELLED);
}

/* End a call that never got to its handler. The error is kept in the call, as a handler's would be. */
static int refuse(struct grpc_call *call, unsigned http_status) {
        release_request(call);
        frame_parser_done(&call->frame);
        conclude(call, &call->result);
        response_status(call, http_status, call->verdict);
        return 0;
}

/* End a call early by a status of ours. */
static void abort_call(struct grpc_call *call, const struct err *verdict) {
        response_drop(call, true);
        conclude(call, verdict);
        response_send(call);
}

static bool is_within_memory(const struct conn *c) {
        return c->held_bytes <= c->hub->max.connection_bytes;
}

static void take_item(struct grpc_call *call, struct hub_item *item) {
        struct conn *c = call->conn;

        if (item->finished)
                release_request(call);
        if (call->verdict || !call->stream_id) {
                item->chunks = chunk_free(item->chunks);
                call_sent(call, item->bytes);
                return;
        }
        if (item->chunks) {
                *call->out_tail = item->chunks;
                while (*call->out_tail)
                        call->out_tail = &(*call->out_tail)->next;
                call->held_bytes += item->bytes;
                c->held_bytes += item->bytes;
        }
        if (!is_within_memory(c)) {
                abort_call(call, &out_of_memory);
                return;
        }
        if (item->finished)
                conclude(call, &call->result);
        response_send(call);
}

void conn_deliver(struct hub_item *item, uint64_t now_ns) {
        struct grpc_call *call = item->call;

        if (call->conn) {
                call->conn->now_ns = now_ns;
                take_item(call, item);
                call->dispatched = !item->finished;
                if (item->finished && !call->stream_id)
                        unlink_call(call);
        } else {
                item->chunks = chunk_free(item->chunks);
                call_sent(call, item->bytes);
        }
        if (item->finished)
                (void) call_unref(call);
}

static int start_call(struct grpc_call *call) {
        struct hub_item item;
        bool done;

        if (!call->frame.complete) {
                (void) err_set(&call->result, ERR_INTERNAL, "grpc: the request ends before its message");
                return refuse(call, 200);
        }
        call->give_up_ns = UINT64_MAX;
        if (call_dispatch(call, &done, &call->result) < 0)
                return refuse(call, 200);
        call->dispatched = !done;
        if (done) {
                hub_take_inline(call->hub, call, &item);
                take_item(call, &item);
        }
        return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *userdata) {
        struct conn *c = userdata;
        struct grpc_call *call;

        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
                return 0;
        /* More than streams: a call whose stream was reset counts until its handler has returned. */
        if (c->n_calls >= c->hub->max.streams)
                return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                                 NGHTTP2_REFUSED_STREAM);
        call = call_new(c->hub);
        call->stream_id = frame->hd.stream_id;
        call->peer_pid = c->peer_pid;
        call->give_up_ns = c->now_ns + REQUEST_NS;
        wake_by(c, call->give_up_ns);
        link_call(c, call);
        return nghttp2_session_set_stream_user_data(session, call->stream_id, call);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *userdata) {
        struct conn *c = userdata;
        struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

        /* Trailers of a request say nothing to us, but count. */
        if (!call)
                return 0;
        if (call->request.header_bytes > HEADER_BOMB_FACTOR * c->hub->max.header_bytes)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
                request_header(&call->request, c->hub, (const char *) name, name_len, (const char *) value, value_len);
        else
                call->request.header_bytes += name_len + value_len;
        return 0;
}

static int on_headers_end(struct grpc_call *call) {
        unsigned http_status;

        if (request_check(&call->request, call->hub, &call->method, &http_status, &call->result) < 0)
                return refuse(call, http_status);
        if (call->request.timeout_ns == 0) {
                call->result = deadline_exceeded;
                return refuse(call, 200);
        }
        if (call->request.timeout_ns < UINT64_MAX - call->conn->now_ns) {
                call->deadline_ns = call->conn->now_ns + call->request.timeout_ns;
                wake_by(call->conn, call->deadline_ns);
        }
        request_done(&call->request);
        return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *userdata) {
        struct conn *c = userdata;
        struct grpc_call *call;

        if (frame->hd.type == NGHTTP2_SETTINGS)
                c->hello_by_ns = UINT64_MAX;
        if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
                return 0;
        call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (!call)
                return 0;
        if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST && !call->verdict)
                (void) on_headers_end(call);
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
                call->request.complete = true;
                if (!call->verdict)
                        return start_call(call);
        }
        return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len,
                   void *userdata) {
        struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
        struct conn *c = userdata;
        size_t used;

        if (!call || call->verdict)
                return 0;
        if (frame_feed(&call->frame, data, len, &used, &call->result) < 0)
                return refuse(call, 200);
        if (used < len) {
                (void) err_set(&call->result, ERR_INTERNAL, "grpc: more than one message in a request");
                return refuse(call, 200);
        }
        call->request_bytes += len;
        c->held_bytes += len;
        if (is_within_memory(c))
                return 0;
        call->result = out_of_memory;
        return refuse(call, 200);
}

/* We have answered before the request was complete: tell the client to stop sending it. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *userdata) {
        struct grpc_call *call;

        if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
                return 0;
        call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (call && !call->request.complete)
                return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
        return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *userdata) {
        struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);

        if (!call)
                return 0;
        call->stream_id = 0;
        call->give_up_ns = UINT64_MAX;
        response_drop(call, false);
        call_cancel(call, ERR_CANCELLED);
        if (!call->dispatched)
                unlink_call(call);
        return 0;
}

static int new_session(struct conn *c) {
        nghttp2_session_callbacks *cb;
        nghttp2_option *option;
        int r;

        if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&option) != 0)
                abort();
        nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
        nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
        /* We check what we use; HTTP's own rules would refuse the ":authority" of clients that put a path there. */
        nghttp2_option_set_no_http_messaging(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_outbound_ack(option, MAX_UNSENT_ACKS);
        nghttp2_option_set_max_settings(option, MAX_SETTINGS_ENTRIES);
        nghttp2_option_set_stream_reset_rate_limit(option, RESET_BURST, RESETS_PER_SECOND);
        nghttp2_option_set_max_continuations(option, MAX_CONTINUATIONS);
        r = nghttp2_session_server_new2(&c->session, cb, c, option);
        nghttp2_option_del(option);
        nghttp2_session_callbacks_del(cb);
        return r;
}

int conn_new(struct hub *hub, uint64_t now_ns, struct conn **ret, struct err *err) {
        _cleanup_(conn_freep) struct conn *c = xnew(struct conn);
        nghttp2_settings_entry settings[] = {
                { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t) hub->max.streams },
                { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES },
                { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t) hub->max.header_bytes },
        };

        c->hub = hub_ref(hub);
        c->now_ns = now_ns;
        c->hello_by_ns = c->wake_ns = now_ns + HELLO_NS;
        if (new_session(c) != 0 ||
            nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ELEMENTSOF(settings)) != 0 ||
            nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES) != 0)
                return err_set(err, ERR_EXHAUSTED, "grpc: no memory for a connection");
        *ret = TAKE_PTR(c);
        return 0;
}

struct conn *conn_free(struct conn *c) {
        if (!c)
                return NULL;
        while (c->calls) {
                call_cancel(c->calls, ERR_CANCELLED);
                unlink_call(c->calls);
        }
        assert(c->n_calls == 0 && c->held_bytes == 0);
        nghttp2_session_del(c->session);
        (void) hub_unref(c->hub);
        free(c);
        return NULL;
}

bool conn_feed(struct conn *c, const void *data, size_t len, uint64_t now_ns) {
        ssize_t n;

        c->now_ns = now_ns;
        n = nghttp2_session_mem_recv(c->session, data, len);
        if (n < 0)
                log_debug("grpc connection failed", "reason", nghttp2_strerror((int) n), NULL);
        return n >= 0;
}

ssize_t conn_pull(struct conn *c, uint64_t now_ns, const uint8_t **ret) {
        ssize_t n;

        c->now_ns = now_ns;
        n = nghttp2_session_mem_send(c->session, ret);
        return n < 0 ? -1 : n;
}

bool conn_is_over(struct conn *c) {
        return !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session);
}

static void tick_call(struct grpc_call *call) {
        struct conn *c = call->conn;

        if (!call->verdict && call->deadline_ns <= c->now_ns) {
                abort_call(call, &deadline_exceeded);
        } else if (call->give_up_ns <= c->now_ns && !call->verdict) {
                call->result = request_too_slow;
                (void) refuse(call, 200);
        } else if (call->give_up_ns <= c->now_ns) {
                call->give_up_ns = UINT64_MAX;
                (void) nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
        }
        wake_by(c, call->give_up_ns);
        if (!call->verdict)
                wake_by(c, call->deadline_ns);
}

bool conn_tick(struct conn *c, uint64_t now_ns) {
        c->now_ns = now_ns;
        if (c->hello_by_ns <= now_ns)
                return false;
        c->wake_ns = c->hello_by_ns;
        for (struct grpc_call *call = c->calls; call; call = call->next)
                if (call->stream_id)
                        tick_call(call);
        return true;
}

void conn_go_away(struct conn *c) {
        (void) nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->session),
                                     NGHTTP2_NO_ERROR, NULL, 0);
        for (struct grpc_call *call = c->calls; call; call = call->next)
                if (call->stream_id && !call->verdict && call_is_kept(call))
                        abort_call(call, &going_away);
}
