/* SPDX-License-Identifier: Apache-2.0 */
#include "image/referrers.h"

#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "http/url.h"
#include "image/json.h"
#include "image/manifest.h"
#include "image/source.h"

enum { ANNOTATIONS_MAX = 32, TEXT_MAX = 1024, PAGES_MAX = 100, ARENA_BYTES = 1 << 20 };

static const char index_type[] = "application/vnd.oci.image.index.v1+json";

/* --- documents -------------------------------------------------------------------------------------------------- */

static const char *text(const json_t *o, const char *key, struct arena *arena) {
        const char *s = json_string_value(json_object_get(o, key));

        return s ? arena_strndup(arena, s, MIN_OF(strlen(s), (size_t) TEXT_MAX)) : "";
}

static const char **annotations_of(const json_t *o, struct arena *arena) {
        const char **list = arena_array(arena, const char *, 2 * ANNOTATIONS_MAX + 1), *key;
        json_t *all = json_object_get(o, "annotations"), *value;
        size_t n = 0;

        json_object_foreach(all, key, value) if (json_is_string(value) && n < 2 * ANNOTATIONS_MAX) {
                list[n++] = arena_strndup(arena, key, MIN_OF(strlen(key), (size_t) TEXT_MAX));
                list[n++] = text(all, key, arena);
        }
        return list;
}

int referrers_parse(const char *data, size_t len, const char *artifact_type, struct arena *arena,
                    struct image_referrer *ret, size_t *n, struct err *err) {
        _cleanup_(json_unrefp) json_t *doc = NULL;
        const json_t *list = NULL, *o;
        size_t i;
        int r = json_parse(data, len, "the list of referrers", &doc, err);

        if (r == 0)
                r = json_get_array(doc, "manifests", REFERRERS_MAX, &list, err);
        if (r < 0)
                return r;
        json_array_foreach(list, i, o) {
                struct image_referrer one;
                struct err ignored;

                if (*n == REFERRERS_MAX || arena_used(arena) > REFERRERS_ARENA - ARENA_BYTES)
                        return err_set(err, ERR_EXHAUSTED,
                                       "there are more than %d referrers, or too much is said of them", REFERRERS_MAX);
                one = (struct image_referrer){ .digest = text(o, "digest", arena),
                                               .media_type = text(o, "mediaType", arena),
                                               .artifact_type = text(o, "artifactType", arena) };
                if (!digest_is_valid(one.digest) || json_get_u64(o, "size", &one.size_bytes, &ignored) < 0 ||
                    (artifact_type && !str_eq(one.artifact_type, artifact_type)))
                        continue;
                one.annotations = annotations_of(o, arena);
                ret[(*n)++] = one;
        }
        return 0;
}

/* Where clients keep the index of @digest's referrers. */
static const char *tag_of(const char *digest, struct arena *arena) {
        return arena_printf(arena, "sha256-%s", digest + strlen("sha256:"));
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

/* One page: 0, or 1 where the registry has no such API. @address: "" for the first; then that of the next. */
static int list_page(struct source *s, const char *path, const char *artifact_type, struct image_referrer *ret,
                     size_t *n, struct arena *arena, const char **address, struct err *err) {
        static const char *const headers[] = { "Accept: application/vnd.oci.image.index.v1+json", NULL };
        const struct endpoint *e = &s->endpoints[s->n_endpoints - 1];
        _cleanup_(arena_freep) struct arena *own = arena_new(512 * 1024);
        struct http_request req = { .headers = headers, .max_body = MANIFEST_BYTES_MAX };
        struct http_response resp = { 0 };
        const char *next;
        int r = source_request(s, e, *address ? *address : path, &req, &resp, err);

        if (r == 0 && (resp.status == 404 || resp.status == 405) && !*address)
                r = 1;
        else if (r == 0 && resp.status != 200)
                r = source_status_error(&resp, own, err);
        if (r == 0)
                r = referrers_parse(strbuf_str(&resp.body), resp.body.len, artifact_type, arena, ret, n, err);
        if (r == 0) {
                next = source_next_page(&resp, *address ? *address : source_url(s, e, path, own), own);
                *address = next ? arena_strdup(arena, next) : NULL;
        }
        http_response_done(&resp);
        return r;
}

/* The document under the tag; empty when there is none. */
static int get_kept_index(struct source *s, const char *digest, struct strbuf *ret_body, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(512 * 1024);
        const char *type;
        int r = source_get_manifest(s, tag_of(digest, arena), arena, ret_body, &type, err);

        return r == -ERR_NOT_FOUND ? 0 : r;
}

int referrers_list(struct source *s, const char *digest, const char *artifact_type, struct arena *arena,
                   struct image_referrer *ret, size_t *ret_n, struct err *err) {
        _cleanup_strbuf_ struct strbuf body = { 0 };
        const char *address = NULL,
                   *path = arena_printf(arena, "/referrers/%s%s%s", digest, artifact_type ? "?artifactType=" : "",
                                        artifact_type ? url_encode(artifact_type, arena) : "");
        int r = 0;

        *ret_n = 0;
        for (unsigned page = 0; r == 0 && page < PAGES_MAX; page++) {
                r = list_page(s, path, artifact_type, ret, ret_n, arena, &address, err);
                if (!address)
                        break;
        }
        if (r == 1) {
                r = get_kept_index(s, digest, &body, err);
                if (r == 0 && body.len)
                        r = referrers_parse(strbuf_str(&body), body.len, artifact_type, arena, ret, ret_n, err);
        }
        return r;
}

/* --- pushing ---------------------------------------------------------------------------------------------------- */

/* The manifest as an entry of that index. */
static json_t *entry_of(const struct upload_manifest *m, const json_t *doc, const char *digest) {
        const char *type = json_string_value(json_object_get(doc, "artifactType"));
        json_t *annotations = json_object_get(doc, "annotations"),
               *entry = json_pack("{s:s, s:s, s:I}", "mediaType", m->media_type, "digest", digest, "size",
                                  (json_int_t) m->len);

        if (!type)
                type = json_string_value(json_object_get(json_object_get(doc, "config"), "mediaType"));
        if (type)
                (void) json_object_set_new(entry, "artifactType", json_string(type));
        if (json_is_object(annotations))
                (void) json_object_set(entry, "annotations", annotations);
        return entry;
}

/* @index gets @entry; false when it has it. */
static bool add_entry(json_t *index, json_t *entry) {
        json_t *list = json_object_get(index, "manifests"), *o;
        size_t i;

        json_array_foreach(list, i, o) if (json_equal(json_object_get(o, "digest"),
                                                      json_object_get(entry, "digest"))) return false;
        (void) json_array_append(list, entry);
        return true;
}

static int note(struct source *s, const char *subject, json_t *entry, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        _cleanup_strbuf_ struct strbuf body = { 0 };
        _cleanup_(json_unrefp) json_t *index = NULL;
        struct upload_manifest put = { .reference = tag_of(subject, arena), .media_type = index_type };
        char *data;
        int r = get_kept_index(s, subject, &body, err);

        if (r == 0 && body.len)
                r = json_parse(strbuf_str(&body), body.len, "the index of referrers", &index, err);
        if (r < 0)
                return r;
        if (!index)
                index = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", index_type, "manifests");
        if (!json_is_array(json_object_get(index, "manifests")))
                return err_set(err, ERR_INVALID, "what %s has is no index", put.reference);
        if (!add_entry(index, entry))
                return 0;
        data = json_dumps(index, JSON_COMPACT);
        if (!data || strlen(data) > MANIFEST_BYTES_MAX) {
                free(data);
                return err_set(err, ERR_EXHAUSTED, "the index of referrers grows larger than %d bytes",
                               MANIFEST_BYTES_MAX);
        }
        put.data = data;
        put.len = strlen(data);
        r = upload_manifest(s, &put, NULL, err);
        free(data);
        return r;
}

int referrers_put(struct source *s, const struct upload_manifest *m, struct err *err) {
        _cleanup_(json_unrefp) json_t *doc = NULL, *entry = NULL;
        char digest[DIGEST_LEN + 1];
        const char *subject;
        bool known = false;
        int r = upload_manifest(s, m, &known, err);

        if (r == 0)
                r = json_parse(m->data, m->len, "the manifest", &doc, err);
        subject = r == 0 ? json_string_value(json_object_get(json_object_get(doc, "subject"), "digest")) : NULL;
        if (r < 0 || known || !subject || !digest_is_valid(subject))
                return r;
        digest_of(m->data, m->len, digest);
        entry = entry_of(m, doc, digest);
        r = note(s, subject, entry, err);
        return r < 0 ? err_wrap(err, "note it among the referrers of %s", subject) : 0;
}
