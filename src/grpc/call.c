/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/call.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "proto/message.h"

enum {
        /* What a streaming handler may have under way before it waits, and for how long. */
        STREAM_BUFFER_BYTES = 256 * 1024,
        STREAM_WAIT_S = 60,
        /* A request that is longer is not decoded on the loop thread, however cheap its method. */
        INLINE_REQUEST_BYTES = 64 * 1024,
        /* A decoded request may take this much and so many times the largest message; an arena, with what the handler
         * adds, more. */
        REQUEST_BYTES = 1 << 20,
        REQUEST_FACTOR = 4,
        ARENA_FACTOR = 8,
};

struct chunk *chunk_free(struct chunk *c) {
        while (c) {
                struct chunk *next = c->next;
                free(c);
                c = next;
        }
        return NULL;
}

struct grpc_call *call_new(struct hub *hub) {
        struct grpc_call *c = xnew(struct grpc_call);
        pthread_condattr_t attr;

        atomic_init(&c->refs, 1);
        atomic_init(&c->cancelled, ERR_OK);
        c->hub = hub_ref(hub);
        c->deadline_ns = c->give_up_ns = UINT64_MAX;
        request_init(&c->request);
        c->cancel_fd = -1;
        c->posted_tail = &c->posted;
        c->out_tail = &c->out;
        (void) pthread_condattr_init(&attr);
        (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void) pthread_cond_init(&c->room, &attr);
        (void) pthread_condattr_destroy(&attr);
        frame_parser_init(&c->frame, hub->max.message_bytes);
        return c;
}

struct grpc_call *call_ref(struct grpc_call *c) {
        (void) atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
        return c;
}

struct grpc_call *call_unref(struct grpc_call *c) {
        if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
                return NULL;
        assert(!c->conn && !c->is_ready);
        c->posted = chunk_free(c->posted);
        c->out = chunk_free(c->out);
        c->arena = arena_free(c->arena);
        c->cancel_fd = fd_close(c->cancel_fd);
        frame_parser_done(&c->frame);
        (void) pthread_cond_destroy(&c->room);
        request_done(&c->request);
        (void) hub_unref(c->hub);
        free(c);
        return NULL;
}

void call_cancel(struct grpc_call *c, enum err_code why) {
        grpc_cancelled_fn tell = NULL;
        int none = ERR_OK;
        uint64_t one = 1;

        if (!atomic_compare_exchange_strong(&c->cancelled, &none, (int) why))
                return;
        (void) pthread_mutex_lock(&c->hub->lock);
        if (c->cancel_fd >= 0)
                (void) !write(c->cancel_fd, &one, sizeof(one));
        (void) pthread_cond_broadcast(&c->room);
        if (c->kept && !c->ended)
                tell = c->on_cancelled;
        (void) pthread_mutex_unlock(&c->hub->lock);
        if (tell)
                tell(c, c->cancelled_userdata);
}

bool call_is_kept(struct grpc_call *c) {
        bool kept;

        (void) pthread_mutex_lock(&c->hub->lock);
        kept = c->kept;
        (void) pthread_mutex_unlock(&c->hub->lock);
        return kept;
}

void call_sent(struct grpc_call *c, size_t bytes) {
        /* Nobody waits behind a unary answer. */
        if (!c->method->stream)
                return;
        (void) pthread_mutex_lock(&c->hub->lock);
        c->queued_bytes -= bytes;
        (void) pthread_cond_signal(&c->room);
        (void) pthread_mutex_unlock(&c->hub->lock);
}

/* Pack @message behind its prefix. */
static int pack(struct grpc_call *c, const ProtobufCMessage *message, struct chunk **ret, struct err *err) {
        size_t n = protobuf_c_message_get_packed_size(message);
        struct chunk *k;

        if (n > c->hub->max.message_bytes)
                return err_set(err, ERR_EXHAUSTED, "grpc: trying to send message larger than max (%zu vs. %zu)", n,
                               c->hub->max.message_bytes);
        k = malloc(sizeof(*k) + FRAME_HEAD_BYTES + n);
        if (!k)
                return err_set(err, ERR_EXHAUSTED, "grpc: no memory for a message of %zu bytes", n);
        k->next = NULL;
        k->sent = 0;
        k->len = FRAME_HEAD_BYTES + n;
        frame_head(k->data, (uint32_t) n);
        (void) protobuf_c_message_pack(message, k->data + FRAME_HEAD_BYTES);
        *ret = k;
        return 0;
}

static void post_chunk_locked(struct grpc_call *c, struct chunk *k) {
        *c->posted_tail = k;
        c->posted_tail = &k->next;
        c->posted_bytes += k->len;
        c->queued_bytes += k->len;
}

static size_t request_bytes(const struct grpc_call *c) {
        return REQUEST_BYTES + c->hub->max.message_bytes * REQUEST_FACTOR;
}

static int decode(struct grpc_call *c, ProtobufCMessage **ret, struct err *err) {
        _cleanup_strbuf_ struct strbuf plain = STRBUF(c->hub->max.message_bytes);
        struct strbuf *body = &c->frame.body;
        int r;

        if (c->frame.compressed) {
                if (c->request.encoding == REQUEST_IDENTITY)
                        return err_set(err, ERR_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
                r = frame_gunzip(body->data, body->len, &plain, err);
                strbuf_done(body);
                if (r < 0)
                        return r;
                body = &plain;
        }
        r = proto_unpack(c->method->request, body->data, body->len, c->arena, request_bytes(c), ret, err);
        strbuf_done(&c->frame.body);
        if (r < 0)
                return err_wrap(err, "grpc: error unmarshalling request");
        return 0;
}

/* A handler that says "failed" without saying how is our mistake, but the peer must still see a failure. */
static int checked(int r, struct err *err) {
        if (r == 0)
                return 0;
        if (err->code == ERR_OK)
                return err_set(err, ERR_INTERNAL, "the handler failed without a reason");
        return -(int) err->code;
}

static int serve(struct grpc_call *c, struct chunk **ret, struct err *err) {
        ProtobufCMessage *request = NULL, *response = NULL;
        int r;

        if (grpc_call_cancelled(c))
                return grpc_call_cancel_err(c, err);
        c->arena = arena_new(request_bytes(c) * ARENA_FACTOR);
        r = decode(c, &request, err);
        if (r < 0)
                return r;
        if (c->method->stream)
                return checked(c->method->stream(c, request, c->method->userdata, err), err);
        r = checked(c->method->unary(c, request, &response, c->method->userdata, err), err);
        if (r < 0)
                return r;
        if (!response)
                return err_set(err, ERR_INTERNAL, "the handler gave no response");
        return pack(c, response, ret, err);
}

/* Returns the answer to post, NULL when there is none. */
static struct chunk *run(struct grpc_call *c) {
        struct chunk *answer = NULL;

        c->result = (struct err){ 0 };
        if (serve(c, &answer, &c->result) == 0)
                c->result.code = ERR_OK;
        c->arena = arena_free(c->arena);
        return answer;
}

static void finish_locked(struct grpc_call *c, struct chunk *answer) {
        if (answer)
                post_chunk_locked(c, answer);
        if (c->kept)
                c->result = c->end;
        c->finished = true;
}

/* Takes the lock, and gives it back. Gives the run's reference to the call to the loop with the result, and the one to
 * the hub away: the loop may free the call before we unlock. */
static void finish_and_unlock(struct grpc_call *c, struct chunk *answer) {
        struct hub *h = c->hub;
        bool closed = h->closed;

        finish_locked(c, answer);
        if (!closed)
                hub_post_locked(h, c);
        (void) pthread_mutex_unlock(&h->lock);
        if (closed)
                (void) call_unref(c);
        (void) hub_unref(h);
}

/* Owns a reference to the call and one to the hub. */
static void run_as_job(void *arg) {
        struct grpc_call *c = arg;
        struct chunk *answer = run(c);

        (void) pthread_mutex_lock(&c->hub->lock);
        c->returned = true;
        if (c->kept && !c->ended)
                (void) pthread_mutex_unlock(&c->hub->lock);
        else
                finish_and_unlock(c, answer);
}

int call_dispatch(struct grpc_call *c, bool *ret_done, struct err *err) {
        struct pool *pool = c->method->pool ? c->method->pool : c->hub->pool;
        bool is_small = !c->frame.compressed && c->frame.body.len <= INLINE_REQUEST_BYTES;
        struct chunk *answer;

        *ret_done = c->method->unary && (!pool || (c->method->inline_call && is_small));
        if (*ret_done) {
                answer = run(c);
                (void) pthread_mutex_lock(&c->hub->lock);
                finish_locked(c, answer);
                (void) pthread_mutex_unlock(&c->hub->lock);
                return 0;
        }
        (void) call_ref(c);
        (void) hub_ref(c->hub);
        c->hub->running++;
        if (!pool) {
                run_as_job(c);
                return 0;
        }
        if (pool_run(pool, run_as_job, c))
                return 0;
        c->hub->running--;
        (void) hub_unref(c->hub);
        (void) call_unref(c);
        return err_set(err, ERR_EXHAUSTED, "too many calls are being served; try again");
}

struct arena *grpc_call_arena(struct grpc_call *call) {
        return call->arena;
}

bool grpc_call_cancelled(struct grpc_call *call) {
        return atomic_load_explicit(&call->cancelled, memory_order_acquire) != ERR_OK;
}

int grpc_call_cancel_err(struct grpc_call *call, struct err *err) {
        if (atomic_load_explicit(&call->cancelled, memory_order_acquire) == ERR_DEADLINE)
                return err_set(err, ERR_DEADLINE, "context deadline exceeded");
        return err_set(err, ERR_CANCELLED, "context canceled");
}

int grpc_call_cancel_fd(struct grpc_call *call) {
        int fd;

        (void) pthread_mutex_lock(&call->hub->lock);
        if (call->cancel_fd < 0)
                call->cancel_fd = eventfd(grpc_call_cancelled(call) ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
        fd = call->cancel_fd;
        (void) pthread_mutex_unlock(&call->hub->lock);
        return fd;
}

int grpc_call_take_fd(struct grpc_call *call, int number, int *ret, struct err *err) {
        _cleanup_(fd_closep) int pidfd = -1;

        if (call->peer_pid <= 0)
                return err_set(err, ERR_PRECONDITION,
                               "it isn't known which process asks: are its pids others than ours?");
        pidfd = (int) syscall(SYS_pidfd_open, call->peer_pid, 0);
        if (pidfd < 0)
                return err_sys(err, errno, "open process %d, which asks", (int) call->peer_pid);
        *ret = (int) syscall(SYS_pidfd_getfd, pidfd, number, 0);
        if (*ret >= 0)
                return 0;
        return errno == EBADF
                       ? err_set(err, ERR_INVALID, "process %d has no descriptor %d", (int) call->peer_pid, number)
                       : err_sys(err, errno, "take descriptor %d of process %d", number, (int) call->peer_pid);
}

uint64_t grpc_call_deadline_ns(struct grpc_call *call) {
        return call->deadline_ns;
}

static int no_room(const struct grpc_call *call, struct err *err) {
        return err_set(err, ERR_EXHAUSTED,
                       "%s: the client reads too slowly, %zu bytes wait for it; call again and read on",
                       call->method->path, call->queued_bytes);
}

/* Until the peer has taken enough, a minute passed or it went away. */
static int wait_for_room_locked(struct grpc_call *call, struct err *err) {
        struct timespec until;

        (void) clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += STREAM_WAIT_S;
        while (call->queued_bytes >= STREAM_BUFFER_BYTES && !grpc_call_cancelled(call))
                if (pthread_cond_timedwait(&call->room, &call->hub->lock, &until) != 0)
                        return no_room(call, err);
        return 0;
}

/* Takes @k. @wait: for room, else @max_bytes is all there may be. */
static int send_chunk(struct grpc_call *call, struct chunk *k, bool wait, size_t max_bytes, struct err *err) {
        struct hub *h = call->hub;
        int r = 0;

        (void) pthread_mutex_lock(&h->lock);
        if (wait)
                r = wait_for_room_locked(call, err);
        else if (call->queued_bytes > 0 && call->queued_bytes + k->len > max_bytes)
                r = no_room(call, err);
        if (grpc_call_cancelled(call))
                r = grpc_call_cancel_err(call, err);
        if (r == 0)
                post_chunk_locked(call, k);
        if (r == 0 && !h->closed)
                hub_post_locked(h, call);
        (void) pthread_mutex_unlock(&h->lock);
        if (r < 0)
                (void) chunk_free(k);
        return r;
}

int grpc_call_send(struct grpc_call *call, const ProtobufCMessage *message, struct err *err) {
        struct chunk *k;
        int r;

        assert(call->method->stream);
        r = pack(call, message, &k, err);
        return r < 0 ? r : send_chunk(call, k, true, 0, err);
}

int grpc_call_post(struct grpc_call *call, const ProtobufCMessage *message, size_t max_bytes, struct err *err) {
        struct chunk *k;
        int r;

        assert(call->method->stream);
        r = pack(call, message, &k, err);
        if (r < 0)
                return r;
        return send_chunk(call, k, false, max_bytes ? max_bytes : call->hub->max.connection_bytes, err);
}

int grpc_call_keep(struct grpc_call *call, grpc_cancelled_fn cancelled, void *userdata, struct err *err) {
        struct hub *h = call->hub;
        int r = 0;

        assert(call->method->stream && !call->kept);
        (void) pthread_mutex_lock(&h->lock);
        if (grpc_call_cancelled(call)) {
                r = grpc_call_cancel_err(call, err);
        } else if (h->stopping || h->closed) {
                r = err_set(err, ERR_UNAVAILABLE, "the server is shutting down");
        } else {
                call->kept = true;
                call->on_cancelled = cancelled;
                call->cancelled_userdata = userdata;
                hub_post_locked(h, call);
        }
        (void) pthread_mutex_unlock(&h->lock);
        return r;
}

void grpc_call_end(struct grpc_call *call, const struct err *verdict) {
        (void) pthread_mutex_lock(&call->hub->lock);
        assert(call->kept && !call->ended);
        call->ended = true;
        if (verdict)
                call->end = *verdict;
        if (call->returned)
                finish_and_unlock(call, NULL);
        else
                (void) pthread_mutex_unlock(&call->hub->lock);
}
