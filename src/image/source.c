/* SPDX-License-Identifier: Apache-2.0 */
#include "image/source.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "image/manifest.h"

enum {
        STUCK_MAX = 5,                /* broken transfers in a row that brought next to nothing */
        RESUME_MAX = 100,             /* broken transfers of one blob in all */
        PROGRESS_BYTES = 1024 * 1024, /* what counts as bringing something */
};

/* When one connection is too few (measured: bench/README.md): it was watched for so long, it is it that is waited for
 * and not who takes the bytes, and what is left is worth the trouble. */
enum { WATCH_MS = 500, PARTS_MIN_BYTES = 16 * 1024 * 1024, PARTS_MIN_MS = 2000 };

static bool gives_up(int r) {
        return r == -ERR_CANCELLED || r == -ERR_DEADLINE;
}

int source_log_in(struct source *s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        struct endpoint e = s->endpoints[s->n_endpoints - 1];
        struct http_request req = { .max_body = HTTP_ERROR_BODY_MAX };
        struct http_response resp = { 0 };
        int r;

        /* The API's root belongs to no repository, and what was remembered may be of others' making. */
        e.base = arena_strdup(arena, "/v2");
        e.auth_key = arena_printf(arena, "%s /v2/ %s", e.host, e.creds ? e.creds->fingerprint : "-");
        auth_cache_drop(s->registries->auth, e.auth_key);
        r = source_request(s, &e, "/", &req, &resp, err);
        if (r == 0 && resp.status != 200)
                r = source_status_error(&resp, arena, err);
        http_response_done(&resp);
        return r < 0 ? err_wrap(err, "log in to %s", e.host) : 0;
}

/* --- manifests -------------------------------------------------------------------------------------------------- */

static int check_manifest(const struct http_response *resp, const char *reference, struct err *err) {
        const char *said = http_response_header(resp, "docker-content-digest", NULL);
        char have[DIGEST_LEN + 1];

        digest_of(strbuf_str(&resp->body), resp->body.len, have);
        if (digest_is_valid(reference) && !str_eq(reference, have))
                return err_set(err, ERR_DATA_LOSS, "the manifest's digest is %s, not %s", have, reference);
        if (said && digest_is_valid(said) && !str_eq(said, have))
                return err_set(err, ERR_DATA_LOSS, "the manifest's digest is %s, but the registry says %s", have, said);
        return 0;
}

static int manifest_from(struct source *s, const struct endpoint *e, const char *reference, struct arena *arena,
                         struct strbuf *ret_body, const char **ret_type, struct err *err) {
        const char *const headers[] = { arena_printf(arena, "Accept: %s", manifest_accept), NULL };
        struct http_request req = { .headers = headers,
                                    .max_body = MANIFEST_BYTES_MAX,
                                    .attempts = e->is_mirror ? 2 : 0 };
        struct http_response resp = { 0 };
        int r;

        assert(reference);
        r = source_request(s, e, arena_printf(arena, "/manifests/%s", reference), &req, &resp, err);
        if (r == 0 && resp.status != 200)
                r = source_status_error(&resp, arena, err);
        if (r == 0)
                r = check_manifest(&resp, reference, err);
        if (r == 0) {
                *ret_type = arena_strdup(arena, http_response_header(&resp, "content-type", NULL) ?: "");
                *ret_body = resp.body;
                resp.body = STRBUF(0);
        }
        http_response_done(&resp);
        return r < 0 ? err_wrap(err, "fetch manifest from %s", e->host) : 0;
}

int source_get_manifest(struct source *s, const char *reference, struct arena *arena, struct strbuf *ret_body,
                        const char **ret_type, struct err *err) {
        int r = -1;

        for (size_t i = 0; i < s->n_endpoints; i++) {
                r = manifest_from(s, &s->endpoints[i], reference, arena, ret_body, ret_type, err);
                if (r == 0)
                        s->first = i;
                if (r == 0 || gives_up(r))
                        break;
                if (s->endpoints[i].is_mirror)
                        log_info("mirror passed over", "mirror", s->endpoints[i].host, "error", err->msg, NULL);
        }
        return r;
}

/* --- blobs ------------------------------------------------------------------------------------------------------ */

struct transfer {
        struct source *source;
        const struct blob_sink *sink;
        uint64_t size, done;
        bool refused; /* the sink's error, or too many bytes: no other try helps */
        bool whole;   /* parts were tried, and won't be again */
        struct {      /* the stream that is running */
                const struct http_response *resp;
                uint64_t began_ns, sink_ns, next_look_ns, from;
                unsigned parts; /* it ends, for so many connections to take over */
        } now;
};

static int pass_on(const void *data, size_t len, void *userdata, struct err *err) {
        struct transfer *t = userdata;
        int r;

        if (len > t->size - t->done) {
                t->refused = true;
                return err_set(err, ERR_DATA_LOSS, "the blob is larger than the %llu bytes that the manifest says",
                               (unsigned long long) t->size);
        }
        r = t->sink->write(data, len, t->sink->userdata, err);
        t->refused = r != 0;
        t->done += len;
        return r;
}

/* In bytes a second of waiting for it. */
static uint64_t speed(const struct transfer *t, uint64_t now) {
        uint64_t waited_us = (now - t->now.began_ns - t->now.sink_ns) / 1000;

        return (t->done - t->now.from) * 1000000 / MAX_OF(waited_us, (uint64_t) 1);
}

static bool parts_would_pay(struct transfer *t, uint64_t now) {
        uint64_t left = t->size - t->done;
        const char *ranges;

        if (t->whole || now < t->now.next_look_ns || left < PARTS_MIN_BYTES || t->source->one_stream)
                return false;
        t->now.next_look_ns = now + WATCH_MS * 1000000ull;
        ranges = http_response_header(t->now.resp, "accept-ranges", NULL);
        return !str_eq(ranges, "none") && t->now.sink_ns < (now - t->now.began_ns) / 2 &&
               left / PARTS_MIN_MS > speed(t, now) / 1000;
}

static int take_bytes(const void *data, size_t len, void *userdata, struct err *err) {
        struct transfer *t = userdata;
        uint64_t began = clock_monotonic_ns(), now;
        int r = pass_on(data, len, t, err);

        now = clock_monotonic_ns();
        if (!t->now.began_ns) { /* the answer's first bytes have waited for the registry */
                t->now.began_ns = now;
                t->now.next_look_ns = now + WATCH_MS * 1000000ull;
                t->now.from = t->done;
                return r;
        }
        t->now.sink_ns += now - began;
        if (r == 0 && parts_would_pay(t, now) && (t->now.parts = parts_reserve(t->source)) > 0)
                r = err_set(err, ERR_CANCELLED, "others take over");
        return r;
}

/* The rest of what @resp has begun. 0: complete; 1: one stream has to go on. */
static int transfer_parts(struct source *s, const struct endpoint *e, const char *path, struct transfer *t,
                          const struct http_response *resp, struct err *err) {
        const struct parts_args args = { .source = s,
                                         .endpoint = e,
                                         .path = resp->url ?: path,
                                         .etag = http_response_header(resp, "etag", NULL),
                                         .from = t->done,
                                         .size = t->size,
                                         .bytes_per_s = speed(t, clock_monotonic_ns()),
                                         .connections = t->now.parts,
                                         .take = pass_on,
                                         .userdata = t };
        int r;

        log_debug("a slow transfer goes on in parts", "registry", e->host, "done", LOG_U64(t->done), "size",
                  LOG_U64(t->size), "bytes_per_s", LOG_U64(args.bytes_per_s), "connections", LOG_U64(args.connections),
                  NULL);
        t->whole = true;
        r = parts_get(&args, err);
        parts_give_back(s, t->now.parts);
        return r;
}

/* One go. 0: complete; > 0: broken off, may go on; < 0: this endpoint will not do. */
static int transfer_once(struct source *s, const struct endpoint *e, const char *path, struct transfer *t,
                         struct arena *arena, struct err *err) {
        struct http_request req = {
                .sink = take_bytes, .userdata = t, .offset = t->done, .attempts = e->is_mirror ? 2 : 0
        };
        struct http_response resp = { 0 };
        int r;

        memset(&t->now, 0, sizeof(t->now));
        t->now.resp = &resp;
        r = source_request(s, e, path, &req, &resp, err);
        if (t->now.parts > 0) {
                r = transfer_parts(s, e, path, t, &resp, err);
        } else if (r == 0 && resp.status != 200 && resp.status != 206) {
                r = resp.status == 416 ? err_set(err, ERR_DATA_LOSS,
                                                 "the blob is smaller than the %llu bytes that the manifest says",
                                                 (unsigned long long) t->size)
                                       : source_status_error(&resp, arena, err);
                /* The manifest is there, so this is no look-up that failed: its parts are missing. */
                if (r == -ERR_NOT_FOUND) {
                        err->code = ERR_DATA_LOSS;
                        r = -ERR_DATA_LOSS;
                }
        } else if (r == 0 && t->done < t->size) {
                (void) err_set(err, ERR_UNAVAILABLE, "only %llu of %llu bytes came", (unsigned long long) t->done,
                               (unsigned long long) t->size);
                r = 1;
        } else if (r == -ERR_UNAVAILABLE && resp.failure == HTTP_FAILURE_BROKEN && resp.received > 0) {
                r = 1;
        }
        http_response_done(&resp);
        return r;
}

static int blob_from(struct source *s, const struct endpoint *e, const char *path, struct transfer *t,
                     struct err *err) {
        unsigned stuck = 0;
        int r = 0;

        for (unsigned n = 0; n < RESUME_MAX && stuck < STUCK_MAX; n++) {
                _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
                uint64_t before = t->done;

                r = transfer_once(s, e, path, t, arena, err);
                if (r <= 0)
                        break;
                stuck = t->done - before >= PROGRESS_BYTES ? 0 : stuck + 1;
                log_debug("transfer broke off, will go on", "registry", e->host, "done", LOG_U64(t->done), "size",
                          LOG_U64(t->size), "error", err->msg, NULL);
                r = http_pause(s->cancel_fd, s->deadline_ns, http_backoff_ms(stuck), err);
                if (r < 0)
                        break;
                r = err_set(err, ERR_UNAVAILABLE, "the transfer broke off too often (%llu of %llu bytes came)",
                            (unsigned long long) t->done, (unsigned long long) t->size);
        }
        return r < 0 ? err_wrap(err, "from %s", e->host) : 0;
}

int source_get_blob(struct source *s, const char *digest, uint64_t size, const struct blob_sink *sink, bool no_mirrors,
                    struct err *err) {
        struct transfer t = { .source = s, .sink = sink, .size = size, .done = sink->have };
        char path[16 + DIGEST_LEN];
        size_t first = no_mirrors ? s->n_endpoints - 1 : s->first;
        int r = 0;

        if (size == sink->have)
                return 0;
        (void) snprintf(path, sizeof(path), "/blobs/%s", digest);
        /* The one that served the manifest, then those behind it: the last is the registry itself. */
        for (size_t i = first; i < s->n_endpoints; i++) {
                r = blob_from(s, &s->endpoints[i], path, &t, err);
                if (r == 0 || t.refused || gives_up(r))
                        break;
        }
        return r;
}

/* --- small ones ------------------------------------------------------------------------------------------------- */

static int append(const void *data, size_t len, void *userdata, struct err *err) {
        strbuf_append(userdata, data, len);
        return 0;
}

static int get_document(struct source *s, const char *digest, uint64_t size, struct strbuf *ret, bool no_mirrors,
                        struct err *err) {
        const struct blob_sink sink = { append, ret };
        char have[DIGEST_LEN + 1];
        int r;

        ret->len = 0;
        r = source_get_blob(s, digest, size, &sink, no_mirrors, err);
        if (r < 0)
                return r;
        digest_of(strbuf_str(ret), ret->len, have);
        return str_eq(have, digest) ? 0 : err_set(err, ERR_DATA_LOSS, "its digest is %s, not %s", have, digest);
}

int source_get_document(struct source *s, const char *digest, uint64_t size, size_t max, struct strbuf *ret,
                        struct err *err) {
        struct strbuf body = STRBUF(max);
        int r;

        if (size > max)
                return err_set(err, ERR_EXHAUSTED, "it is larger than %zu bytes", max);
        r = get_document(s, digest, size, &body, false, err);
        if (r == -ERR_DATA_LOSS && source_has_mirrors(s))
                r = get_document(s, digest, size, &body, true, err);
        if (r == 0)
                *ret = body;
        else
                strbuf_done(&body);
        return r;
}
