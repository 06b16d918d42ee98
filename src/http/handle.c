/* SPDX-License-Identifier: Apache-2.0 */
#include "http/handle.h"

#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/str.h"
#include "http/url.h"

enum { BUFFER_BYTES = 256 * 1024, UPLOAD_BYTES = 256 * 1024, SLOW_BYTES_PER_S = 512, CONNECTIONS_MAX = 4 };

/* One exchange, seen by curl's callbacks. */
struct exchange {
        const struct http_request *req;
        struct http_response *resp;
        struct err *err;
        struct handle *handle;
        size_t gathered;   /* bytes that wait for the sink */
        uint64_t skip;     /* bytes of the body to drop: the server ignored Range */
        unsigned sends;    /* connections that it went out on */
        bool stopped;      /* by us: @err says why */
        bool is_foreign;   /* a server has named the URL */
        bool body_started; /* later header lines are trailers */
};

struct handle *handle_free(struct handle *handle) {
        if (!handle)
                return NULL;
        curl_easy_cleanup(handle->easy);
        (void) curl_multi_cleanup(handle->multi);
        free(handle->gathered);
        free(handle->origin);
        free(handle);
        return NULL;
}

static struct handle *handle_new(struct http *h) {
        struct handle *handle = xnew(struct handle);

        handle->http = h;
        handle->multi = curl_multi_init();
        handle->easy = curl_easy_init();
        if (!handle->multi || !handle->easy)
                abort();
        (void) curl_multi_setopt(handle->multi, CURLMOPT_MAXCONNECTS, (long) CONNECTIONS_MAX);
        (void) curl_easy_setopt(handle->easy, CURLOPT_SHARE, h->share);
        return handle;
}

/* "scheme://host:port" is all up to the first slash of the path. */
static char *origin_of(const char *url) {
        const char *host = strstr(url, "://");

        return host ? xstrndup(url, (size_t) (host + 3 + strcspn(host + 3, "/?#") - url)) : xstrdup(url);
}

struct handle *handle_take(struct http *h, const char *url) {
        _cleanup_(freep) char *origin = origin_of(url);
        struct handle *found = NULL;

        (void) pthread_mutex_lock(&h->lock);
        for (struct handle **at = &h->idle; *at; at = &(*at)->next) {
                if (str_eq((*at)->origin, origin) || (!(*at)->next && h->n_idle == HANDLES_IDLE_MAX)) {
                        found = *at;
                        *at = found->next;
                        h->n_idle--;
                        break;
                }
        }
        (void) pthread_mutex_unlock(&h->lock);
        if (!found)
                found = handle_new(h);
        free(found->origin);
        found->origin = TAKE_PTR(origin);
        return found;
}

void handle_give_back(struct http *h, struct handle *handle) {
        struct handle *extra = NULL;

        (void) pthread_mutex_lock(&h->lock);
        if (h->n_idle < HANDLES_IDLE_MAX) {
                handle->next = h->idle;
                h->idle = handle;
                h->n_idle++;
        } else {
                extra = handle;
        }
        (void) pthread_mutex_unlock(&h->lock);
        (void) handle_free(extra);
}

/* What quotes the peer is kept printable. */
static void make_printable(char *s) {
        for (; *s; s++)
                if (!isprint((unsigned char) *s))
                        *s = '?';
}

static void stop(struct exchange *x) {
        x->stopped = true;
        x->resp->failure = HTTP_FAILURE_OTHER;
}

/* A new status line: those of 1xx answers come before the one that counts. */
static void status_line(struct exchange *x, const char *line, size_t len) {
        const char *space = memchr(line, ' ', len);
        unsigned status = 0;

        const char *p = space ? space + 1 : line + len, *end = line + len;

        x->resp->headers.len = 0;
        for (; p < end && isdigit((unsigned char) *p); p++)
                status = status < 1000 ? status * 10 + (unsigned) (*p - '0') : status;
        x->resp->status = status;
        for (p += p<end && * p == ' '; end> p && isspace((unsigned char) end[-1]);)
                end--;
        (void) snprintf(x->resp->reason, sizeof(x->resp->reason), "%.*s", (int) (end - p), p);
        make_printable(x->resp->reason);
}

static void keep_header(struct strbuf *b, const char *line, size_t len) {
        const char *colon = memchr(line, ':', len), *value, *end = line + len;

        if (!colon || memchr(line, '\0', len))
                return;
        for (const char *p = line; p < colon; p++)
                strbuf_putc(b, (char) tolower((unsigned char) *p));
        strbuf_putc(b, '\0');
        for (value = colon + 1; value < end && isspace((unsigned char) *value);)
                value++;
        while (end > value && isspace((unsigned char) end[-1]))
                end--;
        strbuf_append(b, value, (size_t) (end - value));
        strbuf_putc(b, '\0');
}

static size_t on_header(char *line, size_t size, size_t n, void *userdata) {
        struct exchange *x = userdata;
        size_t len = size * n;

        if (x->body_started)
                return len;
        if (len >= 5 && strncmp(line, "HTTP/", 5) == 0) {
                status_line(x, line, len);
                return len;
        }
        keep_header(&x->resp->headers, line, len);
        if (!x->resp->headers.overflow)
                return len;
        (void) err_set(x->err, ERR_EXHAUSTED, "the answer's headers are larger than %d bytes", HTTP_HEADERS_MAX);
        stop(x);
        return 0;
}

/* Settles what the body's first byte is, once the headers are complete. */
static int start_body(struct exchange *x) {
        const char *range = http_response_header(x->resp, "content-range", NULL), *first;
        _cleanup_(freep) char *number = NULL;
        uint64_t at;

        x->body_started = true;
        if (x->resp->status == 200 && x->req->length)
                return err_set(x->err, ERR_UNIMPLEMENTED, "asked for a range of it, the server sends all");
        if (x->resp->status == 200)
                x->skip = x->req->offset;
        if (x->resp->status != 206)
                return 0;
        first = range ? str_after(range, "bytes ") : NULL;
        number = first ? xstrndup(first, strspn(first, "0123456789")) : NULL;
        if (number && str_to_u64(number, &at) && at == x->req->offset)
                return 0;
        return err_set(x->err, ERR_DATA_LOSS, "asked for bytes from %llu on, got \"%.100s\"",
                       (unsigned long long) x->req->offset, range ?: "no Content-Range");
}

/* What was gathered, to the sink. */
static int flush(struct exchange *x) {
        size_t len = x->gathered;
        int r = 0;

        x->gathered = 0;
        if (len > 0)
                r = x->req->sink(x->handle->gathered, len, x->req->userdata, x->err);
        if (r == 0)
                x->resp->received += len;
        return r;
}

/* curl has 16 KiB at a time, whatever it has read. A sink that writes and inflates does so for much less of the CPU's
 * time in larger pieces, which is worth the copy. */
static int gather(struct exchange *x, const char *data, size_t len) {
        int r = 0;

        if (!x->handle->gathered)
                x->handle->gathered = xrealloc(NULL, HANDLE_GATHER_BYTES, 1);
        while (r == 0 && len > 0) {
                size_t n = MIN_OF(len, HANDLE_GATHER_BYTES - x->gathered);

                memcpy(x->handle->gathered + x->gathered, data, n);
                x->gathered += n;
                data += n;
                len -= n;
                if (x->gathered == HANDLE_GATHER_BYTES)
                        r = flush(x);
        }
        return r;
}

static int take_body(struct exchange *x, const char *data, size_t len) {
        struct strbuf *body = &x->resp->body;
        bool good = x->resp->status == 200 || x->resp->status == 206;
        size_t skip;

        if (!good) {
                strbuf_append(body, data,
                              MIN_OF(len, body->len < HTTP_ERROR_BODY_MAX ? HTTP_ERROR_BODY_MAX - body->len : 0));
                body->overflow = false;
                return 0;
        }
        skip = (size_t) MIN_OF((uint64_t) len, x->skip);
        x->skip -= skip;
        data += skip;
        len -= skip;
        if (len == 0)
                return 0;
        if (x->req->sink)
                return gather(x, data, len);
        if (body->len + len > x->req->max_body)
                return err_set(x->err, ERR_EXHAUSTED, "the answer is larger than %zu bytes", x->req->max_body);
        strbuf_append(body, data, len);
        return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata) {
        struct exchange *x = userdata;
        size_t len = size * n;

        if ((!x->body_started && start_body(x) < 0) || take_body(x, data, len) != 0) {
                stop(x);
                return CURL_WRITEFUNC_ERROR;
        }
        return len;
}

static size_t on_read(char *data, size_t size, size_t n, void *userdata) {
        struct exchange *x = userdata;
        const struct http_body *body = x->req->stream;
        size_t len = 0;

        if (body->read(data, size * n, &len, body->userdata, x->err) < 0) {
                stop(x);
                return CURL_READFUNC_ABORT;
        }
        return len;
}

/* Without a way back: curl must not begin anew by itself when a kept connection breaks on the way. */
static void set_stream(CURL *c, const struct http_request *req, struct exchange *x) {
        (void) curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        (void) curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t) req->body_len);
        (void) curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, (long) UPLOAD_BYTES);
        (void) curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
        (void) curl_easy_setopt(c, CURLOPT_READDATA, x);
}

/* Headers carry secrets. */
static void header_list_free(struct curl_slist *list) {
        for (struct curl_slist *at = list; at; at = at->next)
                explicit_bzero(at->data, strlen(at->data));
        curl_slist_free_all(list);
}

static struct curl_slist *append(struct curl_slist *list, const char *line) {
        struct curl_slist *more = curl_slist_append(list, line);

        if (!more)
                abort();
        return more;
}

static struct curl_slist *header_list(const struct http_request *req, bool with_authorization) {
        struct curl_slist *list = NULL;
        _cleanup_(freep) char *authorization = NULL;

        for (const char *const *h = req->headers; h && *h; h++)
                list = append(list, *h);
        /* curl would wait a second for servers that know no 100-continue. */
        if (req->body_len > 0 || req->parts)
                list = append(list, "Expect:");
        if (with_authorization && req->authorization) {
                authorization = xprintf("Authorization: %s", req->authorization);
                list = append(list, authorization);
                explicit_bzero(authorization, strlen(authorization));
        }
        return list;
}

static int fill_mime(curl_mime *mime, const struct http_part *parts, struct err *err) {
        for (const struct http_part *p = parts; p->name; p++) {
                curl_mimepart *part = curl_mime_addpart(mime);

                if (!part || curl_mime_name(part, p->name) != CURLE_OK)
                        abort();
                if (p->value) {
                        if (curl_mime_data(part, p->value, CURL_ZERO_TERMINATED) != CURLE_OK)
                                abort();
                        continue;
                }
                if (curl_mime_filedata(part, p->file) != CURLE_OK)
                        return err_set(err, ERR_INTERNAL, "can't read %.200s", p->file);
                if (curl_mime_filename(part, p->filename) != CURLE_OK)
                        abort();
        }
        return 0;
}

/* @ret_mime: curl_mime_free() it after the exchange. */
static int set_method(CURL *c, const struct http_request *req, struct exchange *x, curl_mime **ret_mime,
                      struct err *err) {
        bool put = str_eq(req->method, "PUT"), patch = str_eq(req->method, "PATCH");

        if (str_eq(req->method, "HEAD")) {
                (void) curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
        } else if (req->parts) {
                *ret_mime = curl_mime_init(c);
                (void) curl_easy_setopt(c, CURLOPT_MIMEPOST, *ret_mime);
                return fill_mime(*ret_mime, req->parts, err);
        } else if (req->stream) {
                set_stream(c, req, x);
        } else if (put || patch || str_eq(req->method, "POST")) {
                (void) curl_easy_setopt(c, CURLOPT_POST, 1L);
                (void) curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) req->body_len);
                (void) curl_easy_setopt(c, CURLOPT_POSTFIELDS, req->body ?: "");
        } else {
                (void) curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
        }
        if (put || patch || str_eq(req->method, "DELETE"))
                (void) curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, req->method);
        return 0;
}

/* A connection is there and the request goes out. curl by itself sends it again when a connection that it had kept
 * breaks before the answer; by then the server may have acted. */
static int on_send(void *userdata, char *ip, char *local_ip, int port, int local_port) {
        struct exchange *x = userdata;

        if (x->req->once && x->sends > 0)
                return CURL_PREREQFUNC_ABORT;
        x->sends++;
        x->resp->sent = true;
        return CURL_PREREQFUNC_OK;
}

/* The services of clouds and routers that live at such addresses are for this machine, not for whom it asks. */
static bool is_link_local(const struct sockaddr *a) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *) (const void *) a)->sin6_addr;
        const uint8_t *v4 = (const uint8_t *) &((const struct sockaddr_in *) (const void *) a)->sin_addr;

        if (a->sa_family == AF_INET6) {
                if (!IN6_IS_ADDR_V4MAPPED(v6))
                        return IN6_IS_ADDR_LINKLOCAL(v6);
                v4 = &v6->s6_addr[12];
        } else if (a->sa_family != AF_INET) {
                return false;
        }
        return v4[0] == 169 && v4[1] == 254;
}

/* The address is the one that a name has led to: a check of the URL alone would not do. */
static curl_socket_t on_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *a) {
        struct exchange *x = userdata;

        (void) purpose;
        if (x->is_foreign && is_link_local(&a->addr)) {
                (void) err_set(x->err, ERR_PRECONDITION, "it leads to a link-local address, which is refused");
                stop(x);
                return CURL_SOCKET_BAD;
        }
        return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void set_transfer(CURL *c, const struct http *h, struct exchange *x, const char *url, char *error) {
        char range[48];

        (void) curl_easy_setopt(c, CURLOPT_URL, url);
        (void) curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        (void) curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
        (void) curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        /* Else who gives up waits for the name servers none the less. The thread that asks them ends by itself. */
        (void) curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
        (void) curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
        (void) curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long) BUFFER_BYTES);
        (void) curl_easy_setopt(c, CURLOPT_USERAGENT, h->user_agent);
        (void) curl_easy_setopt(c, CURLOPT_HEADEROPT, (long) CURLHEADER_SEPARATE);
        (void) curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        (void) curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long) h->connect_timeout_ms);
        (void) curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long) SLOW_BYTES_PER_S);
        (void) curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long) h->stall_timeout_s);
        (void) curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error);
        (void) curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
        (void) curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
        (void) curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        (void) curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
        (void) curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
        (void) curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, x);
        (void) curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_send);
        (void) curl_easy_setopt(c, CURLOPT_PREREQDATA, x);
        if (h->unix_socket)
                (void) curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, h->unix_socket);
        if (x->req->offset || x->req->length) {
                int n = snprintf(range, sizeof(range), "%llu-", (unsigned long long) x->req->offset);

                if (x->req->length)
                        (void) snprintf(range + n, sizeof(range) - (size_t) n, "%llu",
                                        (unsigned long long) (x->req->offset + x->req->length - 1));
                (void) curl_easy_setopt(c, CURLOPT_RANGE, range);
        }
}

/* The variable of the environment that names a proxy for @url; NULL: none. As with Go's clients, whose unit files
 * people copy, a proxy is of no use for what is on this machine, and HTTP_PROXY counts, too, which curl reads in small
 * letters only (in a CGI program it is a header of the client's; we are none). */
static const char *proxy_variable(const char *url) {
        static const char *const names[] = { "http_proxy",  "HTTP_PROXY", "https_proxy",
                                             "HTTPS_PROXY", "all_proxy",  "ALL_PROXY" };
        const char *rest = str_after(url, "https://");
        size_t first = rest ? 2 : 0;

        rest = rest ?: str_after(url, "http://");
        if (!rest || url_host_is_loopback(rest))
                return NULL;
        for (size_t i = first; i < ELEMENTSOF(names); i += i == 1 ? 3 : 1)
                if (!str_empty(getenv(names[i])))
                        return names[i];
        return NULL;
}

/* NO_PROXY is curl's to read. */
static void set_proxy(CURL *c, const char *url) {
        const char *variable = proxy_variable(url);

        (void) curl_easy_setopt(c, CURLOPT_PROXY, variable ? getenv(variable) : "");
}

/* Milliseconds to wait at most, at @now; 0 when the deadline has passed. */
static int wait_ms(uint64_t deadline_ns) {
        uint64_t now = clock_monotonic_ns();

        if (deadline_ns == UINT64_MAX)
                return 1000;
        return now >= deadline_ns ? 0 : (int) MIN_OF((deadline_ns - now) / 1000000 + 1, (uint64_t) 1000);
}

/* Drives the transfer to its end. Returns curl's verdict; when stopped for cancel or deadline x->stopped is set. */
static CURLcode drive(struct handle *handle, struct exchange *x) {
        struct curl_waitfd cancel = { .fd = x->req->cancel_fd, .events = CURL_WAIT_POLLIN };
        unsigned n_extra = x->req->cancel_fd >= 0;
        CURLMsg *msg;
        int running, left, timeout;

        for (;;) {
                if (curl_multi_perform(handle->multi, &running) != CURLM_OK)
                        return CURLE_FAILED_INIT;
                if (!x->stopped && flush(x) != 0) /* nothing waits here while more is on its way */
                        break;
                while ((msg = curl_multi_info_read(handle->multi, &left)))
                        if (msg->msg == CURLMSG_DONE)
                                return msg->data.result;
                timeout = wait_ms(x->req->deadline_ns);
                if (timeout == 0) {
                        (void) err_set(x->err, ERR_DEADLINE, "deadline exceeded");
                        break;
                }
                cancel.revents = 0;
                if (curl_multi_poll(handle->multi, &cancel, n_extra, timeout, NULL) != CURLM_OK)
                        return CURLE_FAILED_INIT;
                if (cancel.revents) {
                        (void) err_set(x->err, ERR_CANCELLED, "cancelled");
                        break;
                }
        }
        stop(x);
        return CURLE_ABORTED_BY_CALLBACK;
}

static enum http_failure failure_of(CURLcode code) {
        switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_CONNECT:
                return HTTP_FAILURE_CONNECT;
        case CURLE_SSL_CONNECT_ERROR:
                return HTTP_FAILURE_TLS;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
                return HTTP_FAILURE_CERT;
        default:
                return HTTP_FAILURE_BROKEN;
        }
}

static int report(CURLcode code, char *error, const char *url, const struct handle *handle, struct exchange *x) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(4 * URL_MAX);
        const char *host = url_host(url, arena) ?: "?", *variable;

        if (x->stopped)
                return -(int) x->err->code;
        if (code == CURLE_OK) {
                x->resp->failure = HTTP_FAILURE_NONE;
                return 0;
        }
        make_printable(error);
        x->resp->failure = failure_of(code);
        if (code == CURLE_SSL_CACERT_BADFILE)
                return err_set(x->err, ERR_PRECONDITION, "can't use CA file %s: %s", x->req->ca_file ?: "of the system",
                               *error ? error : curl_easy_strerror(code));
        if (code == CURLE_SSL_CERTPROBLEM)
                return err_set(x->err, ERR_PRECONDITION, "can't use the certificate %s with its key: %s",
                               x->req->cert_file ?: "", *error ? error : curl_easy_strerror(code));
        if (handle->met_other)
                return err_set(x->err, ERR_UNAVAILABLE, "%s: the certificate shown has another fingerprint: %s", host,
                               tls_pin_text(&handle->met, arena));
        if (code == CURLE_ABORTED_BY_CALLBACK)
                return err_set(x->err, ERR_UNAVAILABLE, "%s: the connection broke before the answer", host);
        variable = failure_of(code) == HTTP_FAILURE_CONNECT ? proxy_variable(url) : NULL;
        return err_set(x->err, ERR_UNAVAILABLE, "%s: %s%s%s%s", host, *error ? error : curl_easy_strerror(code),
                       variable ? " (the environment names a proxy: " : "", variable ?: "", variable ? ")" : "");
}

int handle_exchange(struct handle *handle, const struct http_request *req, const char *url, bool is_first_origin,
                    struct http_response *ret, struct err *err) {
        struct exchange x = {
                .req = req, .resp = ret, .err = err, .handle = handle, .is_foreign = req->is_foreign || !is_first_origin
        };
        struct curl_slist *headers = header_list(req, is_first_origin);
        char error[CURL_ERROR_SIZE] = "";
        curl_mime *mime = NULL;
        int r;

        ret->status = 0;
        ret->reason[0] = '\0';
        ret->sent = false;
        ret->headers.len = ret->body.len = 0;
        ret->headers.max = HTTP_HEADERS_MAX;
        ret->body.max = MAX_OF(req->max_body, (size_t) HTTP_ERROR_BODY_MAX);
        curl_easy_reset(handle->easy);
        (void) curl_easy_setopt(handle->easy, CURLOPT_HTTPHEADER, headers);
        set_transfer(handle->easy, handle->http, &x, url, error);
        set_proxy(handle->easy, url);
        tls_set(handle, req, is_first_origin);
        r = set_method(handle->easy, req, &x, &mime, err);
        if (r == 0) {
                if (curl_multi_add_handle(handle->multi, handle->easy) != CURLM_OK)
                        abort();
                r = report(drive(handle, &x), error, url, handle, &x);
                (void) curl_multi_remove_handle(handle->multi, handle->easy);
        }
        curl_mime_free(mime);
        header_list_free(headers);
        return r;
}
