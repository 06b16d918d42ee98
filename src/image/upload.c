/* SPDX-License-Identifier: Apache-2.0 */
#include "image/upload.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "http/url.h"
#include "image/manifest.h"
#include "image/source.h"
#include "image/upload-address.h"

enum {
        CHUNK_BYTES = 64 << 20,      /* a larger blob goes in pieces of this */
        CHUNK_BYTES_LEAST = 1 << 20, /* smaller than that is no use where large ones are refused */
        STUCK_MAX = 5,               /* failures in a row that brought next to nothing */
        RESUME_MAX = 100,            /* failures of one blob in all */
        BEGIN_MAX = 3,               /* uploads that the registry has lost */
        PROGRESS_BYTES = 1 << 20,    /* what counts as bringing something */
        LOCATION_ARENA = 256 * 1024,
};

#define ABANDON_NS 2000000000ull

struct upload {
        struct source *source;
        const struct endpoint *to;
        const struct blob_reader *reader;
        const char *digest;
        uint64_t size;
        char *location;  /* where it goes on, a whole URL */
        uint64_t offset; /* what the registry has */
        uint64_t chunk, min_chunk;
        /* the request under way */
        uint64_t at, end;
        bool refused; /* the reader's error: no other try helps */
        /* what has been read */
        EVP_MD_CTX *hash;
        uint64_t hashed;
};

enum step { STEP_DONE, STEP_GO_ON, STEP_BEGIN_AGAIN }; /* or an error < 0 */

static const struct endpoint *registry_of(const struct source *s) {
        return &s->endpoints[s->n_endpoints - 1];
}

/* --- errors ----------------------------------------------------------------------------------------------------- */

static const char *advice(unsigned status) {
        switch (status) {
        case 401:
        case 403:
                return "; the credentials don't allow pushing there (\"image login\" gives others)";
        case 404:
                return "; there is no such repository, and this registry wants it made first";
        case 405:
                return "; this registry takes no uploads, as one that only mirrors another";
        case 413:
                return "; the registry, or a proxy before it, refuses bodies of this size: its limit has to be raised";
        case 429:
                return "; too many requests, try again later";
        case 507:
                return "; the registry's storage is full";
        default:
                return "";
        }
}

/* What a status that is no success means for a push. What is not there is no look-up's NOT_FOUND. */
static int refusal(const struct http_response *resp, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        int r = source_status_error(resp, arena, err);
        size_t len = strlen(err->msg);

        (void) snprintf(err->msg + len, sizeof(err->msg) - len, "%s", advice(resp->status));
        if (r == -ERR_NOT_FOUND || resp->status == 405 || resp->status == 413)
                err->code = resp->status == 413 ? ERR_EXHAUSTED : ERR_PRECONDITION;
        return -(int) err->code;
}

static bool gives_up(int r) {
        return r == -ERR_CANCELLED || r == -ERR_DEADLINE;
}

/* --- small requests --------------------------------------------------------------------------------------------- */

static int is_there(struct source *s, const char *kind, const char *name, bool *ret, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        const char *const headers[] = { arena_printf(arena, "Accept: %s", manifest_accept), NULL };
        struct http_request req = { .method = "HEAD", .headers = headers };
        struct http_response resp = { 0 };
        int r = source_request(s, registry_of(s), arena_printf(arena, "/%s/%s", kind, name), &req, &resp, err);

        *ret = r == 0 && resp.status == 200;
        if (r == 0 && resp.status != 200 && resp.status != 404 && resp.status != 405)
                r = refusal(&resp, err);
        http_response_done(&resp);
        return r < 0 ? err_wrap(err, "ask %s for %s", registry_of(s)->host, name) : 0;
}

int upload_has_blob(struct source *s, const char *digest, bool *ret, struct err *err) {
        return is_there(s, "blobs", digest, ret, err);
}

int upload_has_manifest(struct source *s, const char *reference, bool *ret, struct err *err) {
        return is_there(s, "manifests", reference, ret, err);
}

/* What a tag leads to, as the registry itself says. */
static int digest_behind(struct source *s, const char *reference, char ret[DIGEST_LEN + 1], struct arena *arena,
                         struct err *err) {
        const char *const headers[] = { arena_printf(arena, "Accept: %s", manifest_accept), NULL };
        struct http_request req = { .method = "HEAD", .headers = headers };
        struct http_response resp = { 0 };
        const char *said;
        int r = source_request(s, registry_of(s), arena_printf(arena, "/manifests/%s", reference), &req, &resp, err);

        if (r == 0 && resp.status != 200)
                r = source_status_error(&resp, arena, err);
        said = r == 0 ? http_response_header(&resp, "docker-content-digest", NULL) : NULL;
        if (r == 0 && !(said && digest_is_valid(said)))
                r = err_set(err, ERR_UNIMPLEMENTED, "the registry does not tell what %s leads to: name its digest",
                            reference);
        if (r == 0)
                (void) snprintf(ret, DIGEST_LEN + 1, "%s", said);
        http_response_done(&resp);
        return r;
}

int upload_remove_manifest(struct source *s, const char *reference, char ret_digest[DIGEST_LEN + 1], struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        struct http_request req = { .method = "DELETE", .max_body = HTTP_ERROR_BODY_MAX };
        struct http_response resp = { 0 };
        int r = 0;

        if (digest_is_valid(reference))
                (void) snprintf(ret_digest, DIGEST_LEN + 1, "%s", reference);
        else
                r = digest_behind(s, reference, ret_digest, arena, err);
        if (r == 0)
                r = source_request(s, registry_of(s), arena_printf(arena, "/manifests/%s", ret_digest), &req, &resp,
                                   err);
        if (r == 0 && resp.status == 405)
                r = err_set(err, ERR_UNIMPLEMENTED,
                            "the registry does not allow it (HTTP 405; docker-registry: storage.delete.enabled)");
        else if (r == 0 && resp.status != 202 && resp.status != 200 && resp.status != 204)
                r = source_status_error(&resp, arena, err);
        http_response_done(&resp);
        return r;
}

int upload_manifest(struct source *s, const struct upload_manifest *m, bool *ret_subject_known, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        const char *const headers[] = { arena_printf(arena, "Content-Type: %.200s", m->media_type), NULL };
        struct http_request req = { .method = "PUT",
                                    .headers = headers,
                                    .body = m->data,
                                    .body_len = m->len,
                                    .max_body = HTTP_ERROR_BODY_MAX };
        struct http_response resp = { 0 };
        char digest[DIGEST_LEN + 1];
        const char *said;
        int r = source_request(s, registry_of(s), arena_printf(arena, "/manifests/%s", m->reference), &req, &resp, err);

        if (r == 0 && resp.status != 201 && resp.status != 200 && resp.status != 202)
                r = refusal(&resp, err);
        if (r == 0) {
                digest_of(m->data, m->len, digest);
                said = http_response_header(&resp, "docker-content-digest", NULL);
                if (said && digest_is_valid(said) && !str_eq(said, digest))
                        r = err_set(err, ERR_DATA_LOSS, "the registry has it as %s, it was %s", said, digest);
                if (ret_subject_known)
                        *ret_subject_known = http_response_header(&resp, "oci-subject", NULL) != NULL;
        }
        http_response_done(&resp);
        return r < 0 ? err_wrap(err, "put manifest %s to %s/%s", m->reference, registry_of(s)->host, s->repository) : 0;
}

/* --- the bytes -------------------------------------------------------------------------------------------------- */

static int rewind_piece(void *userdata, struct err *err) {
        struct upload *u = userdata;
        int r;

        u->at = u->offset;
        r = u->reader->seek(u->offset, u->reader->userdata, err);
        u->refused |= r < 0;
        return r;
}

/* Of what came for the first time. Raised before the last bytes go out, so that the upload can't be closed with them.
 */
static int check_bytes(struct upload *u, const char *data, size_t len, struct err *err) {
        char have[DIGEST_LEN + 1] = "sha256:";
        uint64_t known = u->hashed > u->at ? u->hashed - u->at : 0;
        unsigned char sum[32];

        assert(u->at <= u->hashed);
        if (known >= len)
                return 0;
        if (EVP_DigestUpdate(u->hash, data + known, len - known) != 1)
                return err_set(err, ERR_INTERNAL, "sha256 failed");
        u->hashed += len - known;
        if (u->hashed < u->size)
                return 0;
        if (EVP_DigestFinal_ex(u->hash, sum, NULL) != 1)
                return err_set(err, ERR_INTERNAL, "sha256 failed");
        hex_encode(sum, sizeof(sum), have + 7);
        if (!str_eq(have, u->digest))
                return err_set(err, ERR_DATA_LOSS, "what is to be sent has the digest %s", have);
        return 0;
}

static int read_piece(void *data, size_t size, size_t *ret_len, void *userdata, struct err *err) {
        struct upload *u = userdata;
        int r;

        if (u->at == u->end) {
                *ret_len = 0;
                return 0;
        }
        r = u->reader->read(data, (size_t) MIN_OF((uint64_t) size, u->end - u->at), ret_len, u->reader->userdata, err);
        if (r == 0)
                r = check_bytes(u, data, *ret_len, err);
        if (r < 0) {
                u->refused = true;
                return r;
        }
        u->at += *ret_len;
        if (u->reader->sent)
                u->reader->sent(u->at, u->reader->userdata);
        return 0;
}

/* --- an upload -------------------------------------------------------------------------------------------------- */

static int take_location(struct upload *u, const char *base, const struct http_response *resp, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(LOCATION_ARENA);
        const char *url;
        int r = upload_location(base, http_response_header(resp, "location", NULL), arena, &url, err);

        if (r < 0)
                return r;
        free(u->location);
        u->location = xstrdup(url);
        return 0;
}

/* STEP_DONE: mounted. */
static int begin(struct upload *u, const char *mount_from, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(LOCATION_ARENA);
        static const char *const headers[] = { "Content-Type: application/octet-stream", NULL };
        const char *path = "/blobs/uploads/";
        struct http_request req = { .method = "POST", .headers = headers, .max_body = HTTP_ERROR_BODY_MAX };
        struct http_response resp = { 0 };
        int r;

        if (mount_from)
                path = arena_printf(arena, "%s?mount=%s&from=%s", path, url_encode(u->digest, arena),
                                    url_encode(mount_from, arena));
        u->offset = 0;
        r = source_request(u->source, u->to, path, &req, &resp, err);
        if (r == 0 && resp.status == 201 && mount_from) {
                http_response_done(&resp);
                return STEP_DONE;
        }
        if (r == 0 && resp.status != 202)
                r = refusal(&resp, err);
        if (r == 0)
                r = take_location(u, source_url(u->source, u->to, "/blobs/uploads/", arena), &resp, err);
        u->min_chunk = upload_min_chunk(http_response_header(&resp, "oci-chunk-min-length", NULL));
        u->chunk = MAX_OF(u->chunk, u->min_chunk);
        http_response_done(&resp);
        return r < 0 ? err_wrap(err, "begin an upload") : STEP_GO_ON;
}

/* How much has it? @misfit: it has refused what should go on there. */
static int ask_progress(struct upload *u, bool misfit, struct err *err) {
        struct http_request req = { .max_body = HTTP_ERROR_BODY_MAX };
        struct http_response resp = { 0 };
        int r = source_request(u->source, u->to, u->location, &req, &resp, err), step = STEP_GO_ON;
        uint64_t had = u->offset;
        struct err ignored;

        if (r == 0 && resp.status != 204 && resp.status != 200 && resp.status != 202)
                step = STEP_BEGIN_AGAIN; /* it has lost it, or does not tell */
        else if (r == 0 && !upload_range(http_response_header(&resp, "range", NULL), u->size, &u->offset))
                step = STEP_BEGIN_AGAIN;
        else if (r == 0 && (u->offset > u->hashed || (misfit && u->offset == had)))
                step = STEP_BEGIN_AGAIN; /* more than it was given, or other than it says */
        else if (r == 0 && http_response_header(&resp, "location", NULL))
                (void) take_location(u, u->location, &resp, &ignored);
        http_response_done(&resp);
        return r < 0 ? r : step;
}

/* Is it there after all? A registry may have closed the upload and its answer been lost. */
static bool has_it(struct upload *u) {
        struct err ignored;
        bool has;

        return upload_has_blob(u->source, u->digest, &has, &ignored) == 0 && has;
}

/* After a request that failed. */
static int recover(struct upload *u, const struct http_response *resp, bool closing, unsigned wait_ms,
                   struct err *err) {
        int r = http_pause(u->source->cancel_fd, u->source->deadline_ns, wait_ms, err);

        if (r < 0)
                return r;
        if (closing && has_it(u))
                return STEP_DONE;
        return ask_progress(u, resp->status == 416, err);
}

/* A smaller one, where it may help. */
static bool shrink_chunk(struct upload *u) {
        uint64_t least = MAX_OF((uint64_t) CHUNK_BYTES_LEAST, u->min_chunk), now = MIN_OF(u->chunk, u->end - u->offset);

        if (now <= least)
                return false;
        u->chunk = MAX_OF(now / 4, least);
        return true;
}

static bool may_pass(const struct http_response *resp) {
        return resp->status == 408 || resp->status == 416 || resp->status == 429 ||
               (resp->status >= 500 && resp->status != 501 && resp->status != 507);
}

/* What became of the request that sent bytes up to u->end, or that closed the upload. */
static int judge(struct upload *u, const struct http_response *resp, int r, bool closing, unsigned *stuck,
                 struct err *err) {
        /* Who hangs up with that is sent no more. */
        bool early = r == 0 && resp->status < 300 && u->at < u->end;
        unsigned wait_ms;

        if (u->refused || gives_up(r))
                return r;
        if (early)
                r = err_set(err, ERR_UNAVAILABLE, "the registry answered HTTP %u before it had read all", resp->status);
        if (r == 0 && closing && (resp->status == 201 || resp->status == 200 || resp->status == 204))
                return STEP_DONE;
        if (r == 0 && !closing && (resp->status == 202 || resp->status == 201 || resp->status == 204)) {
                u->offset = u->end;
                *stuck = 0;
                return take_location(u, u->location, resp, err) < 0 ? -(int) err->code : STEP_GO_ON;
        }
        if (r < 0 && !early && resp->failure != HTTP_FAILURE_BROKEN && resp->failure != HTTP_FAILURE_CONNECT)
                return r;
        if (r == 0) {
                r = refusal(resp, err);
                if (resp->status == 404 || (closing && resp->status == 400))
                        return has_it(u) ? STEP_DONE : STEP_BEGIN_AGAIN;
                if (resp->status == 413 && shrink_chunk(u))
                        return recover(u, resp, false, 0, err);
                if (!may_pass(resp) || http_retry_after_s(resp) > HTTP_RETRY_AFTER_MAX_S)
                        return r;
        }
        /* Proxies that find a body too large may break the connection rather than say so. */
        if (*stuck > 0)
                (void) shrink_chunk(u);
        log_debug("upload broke off, will go on", "registry", u->to->host, "digest", u->digest, "had",
                  LOG_U64(u->offset), "error", err->msg, NULL);
        wait_ms = http_backoff_ms((*stuck)++);
        wait_ms = MAX_OF(wait_ms, http_retry_after_s(resp) * 1000);
        return *stuck >= STUCK_MAX ? r : recover(u, resp, closing, wait_ms, err);
}

/* One request: all of the blob, the next piece, or the end behind the last piece. */
static int send_once(struct upload *u, unsigned *stuck, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(LOCATION_ARENA);
        const struct http_body body = { rewind_piece, read_piece, u };
        uint64_t len = MIN_OF(u->chunk, u->size - u->offset);
        bool whole = u->offset == 0 && len == u->size, closing = whole || len == 0;
        const char *const headers[] = { "Content-Type: application/octet-stream",
                                        closing ? NULL
                                                : arena_printf(arena, "Content-Range: %llu-%llu",
                                                               (unsigned long long) u->offset,
                                                               (unsigned long long) (u->offset + len - 1)),
                                        NULL };
        struct http_request req = { .method = closing ? "PUT" : "PATCH",
                                    .headers = headers,
                                    .stream = len > 0 ? &body : NULL,
                                    .body_len = len,
                                    .attempts = 1,
                                    .max_body = HTTP_ERROR_BODY_MAX };
        struct http_response resp = { 0 };
        uint64_t had = u->offset;
        int r;

        u->at = u->offset;
        u->end = u->offset + len;
        r = source_request(u->source, u->to, closing ? upload_closing(u->location, u->digest, arena) : u->location,
                           &req, &resp, err);
        r = judge(u, &resp, r, closing, stuck, err);
        if (r == STEP_GO_ON && u->offset >= had + PROGRESS_BYTES)
                *stuck = 0;
        http_response_done(&resp);
        if (r < 0 && !u->refused)
                return closing && !len ? err_wrap(err, "close the upload")
                                       : err_wrap(err, "send bytes %llu to %llu of %llu", (unsigned long long) had,
                                                  (unsigned long long) u->end, (unsigned long long) u->size);
        return r;
}

static int send_all(struct upload *u, struct err *err) {
        unsigned stuck = 0, failures = 0, before;
        int r;

        do {
                before = stuck;
                r = send_once(u, &stuck, err);
                failures += stuck > before;
        } while (r == STEP_GO_ON && failures < RESUME_MAX);
        return r == STEP_GO_ON ? err_set(err, ERR_UNAVAILABLE, "it broke off too often") : r;
}

/* So that the registry need not keep what came for nothing; also of what was cancelled, if that takes no time. */
static void abandon(struct upload *u) {
        struct source now = *u->source;
        struct http_request req = { .method = "DELETE", .attempts = 1, .max_body = HTTP_ERROR_BODY_MAX };
        struct http_response resp = { 0 };
        struct err ignored;

        now.cancel_fd = -1;
        now.deadline_ns = clock_monotonic_ns() + ABANDON_NS;
        if (u->location && source_request(&now, u->to, u->location, &req, &resp, &ignored) < 0)
                log_debug("upload left behind", "registry", u->to->host, "error", ignored.msg, NULL);
        http_response_done(&resp);
}

static int run(struct upload *u, const char *mount_from, enum upload_outcome *ret, struct err *err) {
        int r = STEP_BEGIN_AGAIN;

        for (unsigned n = 0; r == STEP_BEGIN_AGAIN && n < BEGIN_MAX; n++) {
                r = begin(u, n == 0 ? mount_from : NULL, err);
                /* Whoever may not look into the other repository sends it. */
                if (r < 0 && n == 0 && mount_from && !gives_up(r))
                        r = begin(u, NULL, err);
                else if (r == STEP_DONE)
                        *ret = UPLOAD_MOUNTED;
                if (r == STEP_GO_ON)
                        r = send_all(u, err);
                if (r == STEP_BEGIN_AGAIN)
                        abandon(u);
        }
        if (r == STEP_BEGIN_AGAIN)
                r = err_wrap(err, "given up after %d uploads", BEGIN_MAX);
        if (r < 0)
                abandon(u);
        return r;
}

int upload_blob(struct source *s, const char *digest, uint64_t size, const char *mount_from,
                const struct blob_reader *reader, enum upload_outcome *ret, struct err *err) {
        struct upload u = { .source = s,
                            .to = registry_of(s),
                            .reader = reader,
                            .digest = digest,
                            .size = size,
                            .chunk = CHUNK_BYTES,
                            .hash = EVP_MD_CTX_new() };
        bool exists;
        int r = upload_has_blob(s, digest, &exists, err);

        if (!u.hash || EVP_DigestInit_ex(u.hash, EVP_sha256(), NULL) != 1)
                abort();
        *ret = exists ? UPLOAD_EXISTS : UPLOAD_SENT;
        if (r == 0 && !exists)
                r = run(&u, mount_from, ret, err);
        EVP_MD_CTX_free(u.hash);
        free(u.location);
        return r < 0 ? err_wrap(err, "blob %s to %s/%s", digest, u.to->host, s->repository) : 0;
}
