/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/str.h"
#include "base/strbuf.h"

enum { CONNECTIONS = 32, IDLE_S = 30, GOODBYE_S = 1, HEAD_BYTES = 32 * 1024, PIECE_BYTES = 16 * 1024, NUMBER_MAX = 24 };

struct http_server {
        struct MHD_Daemon *mhd;
        pthread_mutex_t lock;
        pthread_cond_t fewer;
        size_t n_calls; /* under ->lock: asked, and not answered to the end */
        struct pool *pool;
        unsigned connections, idle_s;
        size_t max_body;
        void (*answer)(struct http_call *call, void *userdata);
        void *userdata;
};

/* Belongs to its connection, and to the thread that works on it. */
struct http_call {
        struct http_server *server;
        struct MHD_Connection *connection; /* only for the connection's thread */
        char *method, *path;
        struct {
                char *name, *value;
        } query[HTTP_QUERY_MAX];
        size_t n_query;
        struct strbuf body;

        pthread_mutex_t lock; /* for all below */
        pthread_cond_t changed;
        unsigned refs, status; /* status 0: not begun */
        const char *type;
        struct strbuf out;
        bool finished, gone;
};

/* --- a call --------------------------------------------------------------------------------------------------------
 */

static void call_unref(struct http_call *call) {
        bool last;

        pthread_mutex_lock(&call->lock);
        last = --call->refs == 0;
        pthread_mutex_unlock(&call->lock);
        if (!last)
                return;
        for (size_t i = 0; i < call->n_query; i++) {
                free(call->query[i].name);
                free(call->query[i].value);
        }
        free(call->method);
        free(call->path);
        strbuf_done(&call->body);
        strbuf_done(&call->out);
        pthread_cond_destroy(&call->changed);
        pthread_mutex_destroy(&call->lock);
        free(call);
}

static enum MHD_Result add_query(void *userdata, enum MHD_ValueKind kind, const char *name, const char *value) {
        struct http_call *call = userdata;

        if (call->n_query == HTTP_QUERY_MAX)
                return MHD_NO;
        call->query[call->n_query].name = xstrdup(name);
        call->query[call->n_query++].value = value ? xstrdup(value) : NULL;
        return MHD_YES;
}

static struct http_call *call_new(struct http_server *s, struct MHD_Connection *c, const char *method,
                                  const char *path) {
        struct http_call *call = xnew(struct http_call);

        pthread_mutex_lock(&s->lock);
        s->n_calls++;
        pthread_mutex_unlock(&s->lock);
        call->server = s;
        call->connection = c;
        call->method = xstrdup(method);
        call->path = xstrdup(path);
        call->body = STRBUF(s->max_body);
        call->out = STRBUF(HTTP_WRITE_MAX);
        call->refs = 1;
        pthread_mutex_init(&call->lock, NULL);
        pthread_cond_init(&call->changed, NULL);
        (void) MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, add_query, call);
        return call;
}

const char *http_call_method(const struct http_call *call) {
        return call->method;
}

const char *http_call_path(const struct http_call *call) {
        return call->path;
}

bool http_call_query(const struct http_call *call, size_t i, const char **ret_name, const char **ret_value) {
        if (i >= call->n_query)
                return false;
        *ret_name = call->query[i].name;
        *ret_value = call->query[i].value;
        return true;
}

const char *http_call_body(const struct http_call *call, size_t *ret_len) {
        *ret_len = call->body.len;
        return strbuf_str(&call->body);
}

void http_call_begin(struct http_call *call, unsigned status, const char *content_type) {
        pthread_mutex_lock(&call->lock);
        if (!call->status) {
                call->status = status;
                call->type = content_type;
        }
        pthread_cond_signal(&call->changed);
        pthread_mutex_unlock(&call->lock);
}

void http_call_write(struct http_call *call, const void *data, size_t len) {
        pthread_mutex_lock(&call->lock);
        if (!call->gone && call->out.len + len <= HTTP_WRITE_MAX)
                strbuf_append(&call->out, data, len);
        pthread_cond_signal(&call->changed);
        pthread_mutex_unlock(&call->lock);
}

size_t http_call_pending(struct http_call *call) {
        size_t len;

        pthread_mutex_lock(&call->lock);
        len = call->out.len;
        pthread_mutex_unlock(&call->lock);
        return len;
}

/* --- working on it ---------------------------------------------------------------------------------------------------
 */

static void work(void *arg) {
        struct http_call *call = arg;
        struct http_server *s = call->server;

        s->answer(call, s->userdata);
        http_call_begin(call, MHD_HTTP_INTERNAL_SERVER_ERROR, "text/plain");
        pthread_mutex_lock(&call->lock);
        call->finished = true;
        pthread_cond_signal(&call->changed);
        pthread_mutex_unlock(&call->lock);
        call_unref(call);
}

/* False: too many wait already, which the limit of connections should prevent. */
static bool start_work(struct http_call *call) {
        call->refs++; /* nobody else has it yet */
        if (pool_run(call->server->pool, work, call))
                return true;
        call->refs--;
        return false;
}

/* --- the connection's side -------------------------------------------------------------------------------------------
 */

/* While we make the answer the client has nothing to do: it is not idle. Turned on again, its time begins anew. */
static void count_idle(struct http_call *call, bool on) {
        (void) MHD_set_connection_option(call->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                         on ? call->server->idle_s : 0u);
}

static ssize_t on_read(void *userdata, uint64_t at, char *to, size_t max) {
        struct http_call *call = userdata;
        ssize_t n = MHD_CONTENT_READER_END_OF_STREAM;

        count_idle(call, false);
        pthread_mutex_lock(&call->lock);
        while (call->out.len == 0 && !call->finished)
                pthread_cond_wait(&call->changed, &call->lock);
        if (call->out.len > 0) {
                n = (ssize_t) MIN_OF(max, call->out.len);
                memcpy(to, call->out.data, (size_t) n);
                strbuf_consume(&call->out, (size_t) n);
        }
        pthread_mutex_unlock(&call->lock);
        count_idle(call, true);
        return n;
}

static void set_header(struct MHD_Response *response, const char *name, const char *value) {
        if (MHD_add_response_header(response, name, value) != MHD_YES)
                abort();
}

static enum MHD_Result queue(struct MHD_Connection *c, unsigned status, struct MHD_Response *response) {
        enum MHD_Result r;

        if (!response)
                return MHD_NO;
        set_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
        r = MHD_queue_response(c, status, response);
        MHD_destroy_response(response);
        return r;
}

/* What the server itself says, in the form of its answers. */
static enum MHD_Result refuse(struct MHD_Connection *c, unsigned status, const char *code, const char *message) {
        _cleanup_(freep) char *text = xprintf("{\"error\": {\"code\": \"%s\", \"message\": \"%s\"}}\n", code, message);
        struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);

        if (response)
                set_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
        return queue(c, status, response);
}

static enum MHD_Result answer(struct http_call *call) {
        struct MHD_Response *response;
        enum MHD_Result r;

        if (!start_work(call))
                return refuse(call->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "RESOURCE_EXHAUSTED",
                              "too many requests are worked on; try again later");
        count_idle(call, false);
        pthread_mutex_lock(&call->lock);
        while (!call->status)
                pthread_cond_wait(&call->changed, &call->lock);
        pthread_mutex_unlock(&call->lock);
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_BYTES, on_read, call, NULL);
        if (response)
                set_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, call->type);
        r = queue(call->connection, call->status, response);
        count_idle(call, true);
        return r;
}

/* False: it says that it is longer than we take. */
static bool is_length_fine(const struct http_server *s, struct MHD_Connection *c) {
        const char *text = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
        uint64_t n;

        return !text || (strnlen(text, NUMBER_MAX) < NUMBER_MAX && str_to_u64(text, &n) && n <= s->max_body);
}

/* First with the head, then with each piece of the body, then without one. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *data, size_t *len, void **state) {
        struct http_server *s = userdata;
        struct http_call *call = *state;

        if (!call) {
                if (!is_length_fine(s, c))
                        return refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "RESOURCE_EXHAUSTED", "the body is too long");
                *state = call_new(s, c, method, path);
                return MHD_YES;
        }
        if (*len == 0)
                return answer(call);
        strbuf_append(&call->body, data, *len);
        *len = 0;
        return call->body.overflow ? MHD_NO : MHD_YES;
}

static void on_completed(void *userdata, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why) {
        struct http_server *s = userdata;
        struct http_call *call = *state;

        if (!call)
                return;
        *state = NULL;
        pthread_mutex_lock(&s->lock);
        s->n_calls--;
        pthread_cond_signal(&s->fewer);
        pthread_mutex_unlock(&s->lock);
        pthread_mutex_lock(&call->lock);
        call->gone = true;
        call->out.len = 0;
        pthread_mutex_unlock(&call->lock);
        call_unref(call);
}

/* Paths and queries stay as they are: a "/" that was encoded is none that separates. */
static size_t leave_escaped(void *userdata, struct MHD_Connection *c, char *text) {
        return strlen(text);
}

_printf_(2, 0) static void on_log(void *userdata, const char *fmt, va_list ap) {
        _cleanup_(freep) char *text = xvprintf(fmt, ap);

        text[strcspn(text, "\r\n")] = '\0';
        log_debug("http server", "says", text, NULL);
}

static struct MHD_Daemon *listen_on(struct http_server *s, const struct http_server_args *args) {
        sigset_t all, old;
        struct MHD_Daemon *mhd;

        (void) sigfillset(&all); /* signals are the loop thread's */
        (void) pthread_sigmask(SIG_SETMASK, &all, &old);
        mhd = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                                       MHD_USE_ERROR_LOG | MHD_USE_ITC,
                               0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                               MHD_OPTION_LISTEN_SOCKET, args->listen_fd, MHD_OPTION_CONNECTION_LIMIT, s->connections,
                               MHD_OPTION_CONNECTION_TIMEOUT, s->idle_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                               (size_t) HEAD_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                               MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL, MHD_OPTION_END);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        return mhd;
}

int http_server_new(const struct http_server_args *args, struct http_server **ret, struct err *err) {
        struct http_server *s = xnew(struct http_server);

        s->connections = args->connections ?: CONNECTIONS;
        s->idle_s = args->idle_s ?: IDLE_S;
        s->max_body = args->max_body;
        s->answer = args->answer;
        s->userdata = args->userdata;
        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->fewer, NULL);
        s->pool = pool_new("http", s->connections, s->connections);
        s->mhd = listen_on(s, args);
        if (!s->mhd) {
                (void) close(args->listen_fd);
                (void) http_server_free(s);
                return err_set(err, ERR_INTERNAL, "libmicrohttpd does not start");
        }
        *ret = s;
        return 0;
}

/* Nobody is accepted any more; those who read get the end of their answers. */
static void let_go(struct http_server *s) {
        MHD_socket fd = MHD_quiesce_daemon(s->mhd);
        struct timespec until;

        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += GOODBYE_S;
        pthread_mutex_lock(&s->lock);
        while (s->n_calls > 0 && pthread_cond_timedwait(&s->fewer, &s->lock, &until) == 0)
                ;
        pthread_mutex_unlock(&s->lock);
        MHD_stop_daemon(s->mhd);
        if (fd != MHD_INVALID_SOCKET)
                (void) close(fd);
}

struct http_server *http_server_free(struct http_server *s) {
        if (!s)
                return NULL;
        if (s->mhd)
                let_go(s);
        (void) pool_free(s->pool);
        pthread_cond_destroy(&s->fewer);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
}
