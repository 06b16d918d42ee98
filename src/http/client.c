/* SPDX-License-Identifier: Apache-2.0 */
#include "http/client.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/str.h"
#include "config.h"
#include "http/handle.h"
#include "http/memory.h"
#include "http/tls.h"
#include "http/url.h"

enum { ATTEMPTS = 5, CONNECT_ATTEMPTS = 3, BACKOFF_MS = 200, BACKOFF_MAX_MS = 10000 };

static void global_init(void) {
        if (memory_global_init() != CURLE_OK)
                abort();
}

static void share_lock(CURL *c, curl_lock_data data, curl_lock_access access, void *userdata) {
        struct http *h = userdata;

        (void) pthread_mutex_lock(&h->share_locks[data]);
}

static void share_unlock(CURL *c, curl_lock_data data, void *userdata) {
        struct http *h = userdata;

        (void) pthread_mutex_unlock(&h->share_locks[data]);
}

static CURLSH *share_new(struct http *h) {
        CURLSH *share = curl_share_init();

        if (!share)
                abort();
        (void) curl_share_setopt(share, CURLSHOPT_LOCKFUNC, share_lock);
        (void) curl_share_setopt(share, CURLSHOPT_UNLOCKFUNC, share_unlock);
        (void) curl_share_setopt(share, CURLSHOPT_USERDATA, h);
        (void) curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
        (void) curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
        return share;
}

/* A folder of certificates by hash ("5ed36f99.0") costs nothing until a chain is looked up; the bundle costs 20 ms and
 * a megabyte for each connection. */
static bool has_hashed_certificates(void) {
        _cleanup_(closedirp) DIR *d = NULL;
        CURL *c = curl_easy_init();
        const char *folder = NULL;
        const struct dirent *e;
        bool found = false;

        if (!c)
                abort();
        if (curl_easy_getinfo(c, CURLINFO_CAPATH, &folder) == CURLE_OK && folder)
                d = opendir(folder);
        while (d && !found && (e = readdir(d)))
                found = strspn(e->d_name, "0123456789abcdef") == 8 && str_eq(e->d_name + 8, ".0");
        curl_easy_cleanup(c);
        return found;
}

int http_new(const struct http_args *args, struct http **ret, struct err *err) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        struct http *h;
        int r;

        (void) pthread_once(&once, global_init);
        h = xnew(struct http);
        (void) pthread_mutex_init(&h->lock, NULL);
        for (size_t i = 0; i < ELEMENTSOF(h->share_locks); i++)
                (void) pthread_mutex_init(&h->share_locks[i], NULL);
        h->share = share_new(h);
        h->user_agent = xstrdup(args->user_agent ?: "proxmox-lxcri/" PROJECT_VERSION);
        h->unix_socket = args->unix_socket ? xstrdup(args->unix_socket) : NULL;
        h->connect_timeout_ms = args->connect_timeout_ms ?: 15000;
        h->stall_timeout_s = args->stall_timeout_s ?: 60;
        h->use_ca_path = has_hashed_certificates();
        r = tls_parse_pins(args->fingerprints, &h->pins, &h->n_pins, err);
        if (r < 0) {
                (void) http_free(h);
                return r;
        }
        *ret = h;
        return 0;
}

void http_trim(struct http *h) {
        struct handle *list;

        (void) pthread_mutex_lock(&h->lock);
        list = h->idle;
        h->idle = NULL;
        h->n_idle = 0;
        (void) pthread_mutex_unlock(&h->lock);
        while (list) {
                struct handle *next = list->next;
                (void) handle_free(list);
                list = next;
        }
}

struct http *http_free(struct http *h) {
        if (!h)
                return NULL;
        http_trim(h);
        (void) curl_share_cleanup(h->share);
        for (size_t i = 0; i < ELEMENTSOF(h->share_locks); i++)
                (void) pthread_mutex_destroy(&h->share_locks[i]);
        (void) pthread_mutex_destroy(&h->lock);
        free(h->user_agent);
        free(h->unix_socket);
        free(h->pins);
        free(h);
        return NULL;
}

const char *http_response_header(const struct http_response *r, const char *name, const char *after) {
        const char *p = r->headers.data, *end = p ? p + r->headers.len : NULL;

        while (p < end) {
                const char *value = p + strlen(p) + 1;

                if ((!after || value > after) && str_eq(p, name))
                        return value;
                p = value + strlen(value) + 1;
        }
        return NULL;
}

int64_t http_response_date_s(const struct http_response *r) {
        const char *value = http_response_header(r, "date", NULL);

        return value ? MAX_OF((int64_t) curl_getdate(value, NULL), (int64_t) 0) : 0;
}

void http_response_done(struct http_response *r) {
        strbuf_done(&r->headers);
        strbuf_done(&r->body);
        free(r->url);
        *r = (struct http_response){ 0 };
}

static bool method_only_reads(const char *method) {
        return !method || str_eq(method, "GET") || str_eq(method, "HEAD");
}

static bool is_redirect(unsigned status) {
        return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* One attempt: the request and the redirects that it meets. */
static int follow(struct handle *handle, const struct http_request *req, struct arena *arena, struct http_response *ret,
                  struct err *err) {
        const char *url, *location;
        int r = url_normalize(req->url, arena, &url, err);
        const char *first = url;

        for (unsigned hop = 0; r == 0; hop++) {
                if (!url_is_https(url) && !req->allow_http)
                        return err_set(err, ERR_PRECONDITION, "plain http to %s is not allowed", url_host(url, arena));
                if (req->stream && (r = req->stream->rewind(req->stream->userdata, err)) < 0)
                        return r;
                free(ret->url);
                ret->url = hop > 0 ? xstrdup(url) : NULL;
                r = handle_exchange(handle, req, url, url_same_origin(first, url), ret, err);
                if (r < 0 || !is_redirect(ret->status) || req->no_redirects)
                        return r;
                location = http_response_header(ret, "location", NULL);
                ret->failure = HTTP_FAILURE_OTHER;
                if (!location)
                        return err_set(err, ERR_UNAVAILABLE, "%s: HTTP %u without Location", url_host(url, arena),
                                       ret->status);
                if (hop == HTTP_REDIRECTS_MAX)
                        return err_set(err, ERR_UNAVAILABLE, "%s: more than %d redirects", url_host(first, arena),
                                       HTTP_REDIRECTS_MAX);
                /* A form with secrets goes nowhere but where it was meant to go. */
                if (!method_only_reads(req->method))
                        return err_set(err, ERR_PRECONDITION, "%s: redirect of a %s refused", url_host(url, arena),
                                       req->method);
                r = url_redirect(url, location, arena, &url, err);
        }
        return r;
}

/* A number or a date. */
unsigned http_retry_after_s(const struct http_response *resp) {
        const char *value = http_response_header(resp, "retry-after", NULL);
        uint64_t seconds;
        time_t when, now = time(NULL);

        if (!value)
                return 0;
        if (!str_to_u64(value, &seconds)) {
                when = curl_getdate(value, NULL);
                seconds = when > now ? (uint64_t) (when - now) : 0;
        }
        return (unsigned) MIN_OF(seconds, (uint64_t) UINT32_MAX / 1000);
}

int http_pause(int cancel_fd, uint64_t deadline_ns, unsigned ms, struct err *err) {
        struct pollfd p = { .fd = cancel_fd, .events = POLLIN };
        uint64_t now = clock_monotonic_ns(), until = now + ms * 1000000ull;
        int r;

        while (now < until) {
                if (now >= deadline_ns)
                        return err_set(err, ERR_DEADLINE, "deadline exceeded");
                r = poll(&p, cancel_fd >= 0, (int) ((MIN_OF(until, deadline_ns) - now) / 1000000 + 1));
                if (r > 0)
                        return err_set(err, ERR_CANCELLED, "cancelled");
                if (r < 0 && errno != EINTR)
                        return err_sys(err, errno, "poll");
                now = clock_monotonic_ns();
        }
        return 0;
}

/* Exponential, with half of it random so that many clients don't come back together. */
unsigned http_backoff_ms(unsigned attempt) {
        unsigned ms = MIN_OF((unsigned) BACKOFF_MS << MIN_OF(attempt, 10u), (unsigned) BACKOFF_MAX_MS);

        return ms / 2 + arc4random_uniform(ms / 2 + 1);
}

/* A server that wants to be left alone for long is: its answer goes to the caller, who may come back later. */
static bool worth_another_try(const struct http_response *resp, unsigned attempt, unsigned attempts) {
        switch (resp->failure) {
        case HTTP_FAILURE_NONE:
                return attempt + 1 < attempts && http_retry_after_s(resp) <= HTTP_RETRY_AFTER_MAX_S &&
                       (resp->status == 429 || resp->status == 408 || (resp->status >= 500 && resp->status != 501));
        case HTTP_FAILURE_CONNECT:
        case HTTP_FAILURE_TLS:
        case HTTP_FAILURE_BROKEN:
                return attempt + 1 < MIN_OF(attempts, (unsigned) CONNECT_ATTEMPTS) && resp->received == 0;
        default:
                return false;
        }
}

int http_perform(struct http *h, const struct http_request *req, struct http_response *ret, struct err *err) {
        unsigned attempts = req->attempts ?: ATTEMPTS, ms;
        struct handle *handle = handle_take(h, req->url);
        int r;

        *ret = (struct http_response){ 0 };
        for (unsigned attempt = 0;; attempt++) {
                _cleanup_(arena_freep) struct arena *arena = arena_new((HTTP_REDIRECTS_MAX + 2) * 16 * URL_MAX);

                ret->failure = HTTP_FAILURE_OTHER;
                r = follow(handle, req, arena, ret, err);
                if ((req->once && ret->sent) || !worth_another_try(ret, attempt, attempts))
                        break;
                ms = MAX_OF(http_backoff_ms(attempt), http_retry_after_s(ret) * 1000);
                log_debug("request will be tried again", "url", url_for_people(req->url, arena), "status",
                          LOG_U64(ret->status), "wait_ms", LOG_U64(ms), "error", r < 0 ? err->msg : "", NULL);
                r = http_pause(req->cancel_fd, req->deadline_ns, ms, err);
                if (r < 0) {
                        ret->failure = HTTP_FAILURE_OTHER;
                        break;
                }
        }
        handle_give_back(h, handle);
        return r;
}
