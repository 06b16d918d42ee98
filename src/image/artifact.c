/* SPDX-License-Identifier: Apache-2.0 */
/* Files to a registry as an artifact. */
#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/artifact-title.h"
#include "image/images.h"
#include "image/json.h"
#include "image/manifest.h"
#include "image/pull.h"
#include "image/referrers.h"
#include "image/send.h"

enum { FILES_MAX = LAYERS_MAX, ANNOTATIONS_MAX = 256, READ_BYTES = 256 * 1024, PARSE_ARENA = 64 << 20 };

static const char manifest_type[] = "application/vnd.oci.image.manifest.v1+json";
/* What stands where nothing is: image-spec, "Guidance for an Empty Descriptor". */
static const char empty_type[] = "application/vnd.oci.empty.v1+json", empty_data[] = "{}", empty_base64[] = "e30=";

struct artifact {
        const struct image_artifact_args *args;
        struct arena *arena;
        struct ref ref;
        struct source *to;
        struct send_blob *blobs;                  /* each once; of args->files, then the empty one */
        const struct image_artifact_file **files; /* of the blobs; NULL: the empty one */
        size_t n_blobs;
        json_t *layers, *subject;
};

/* --- what is wanted ---------------------------------------------------------------------------------------------- */

static int check_files(const struct image_artifact_args *args, struct err *err) {
        if (args->n_files > FILES_MAX)
                return err_set(err, ERR_EXHAUSTED, "there are more than %d files", FILES_MAX);
        for (size_t i = 0; i < args->n_files; i++) {
                const struct image_artifact_file *f = &args->files[i];

                if (!artifact_title_is_safe(f->title))
                        return err_set(err, ERR_INVALID, "\"%.200s\" is no name for a file below a folder", f->title);
                if (!media_type_is_valid(f->media_type))
                        return err_set(err, ERR_INVALID, "%.200s: \"%.100s\" is no media type", f->title,
                                       f->media_type);
                for (size_t k = 0; k < i; k++)
                        if (str_eq(args->files[k].title, f->title))
                                return err_set(err, ERR_INVALID, "two files are called \"%.200s\"", f->title);
        }
        return 0;
}

static int check_args(const struct image_artifact_args *args, struct err *err) {
        size_t n = strv_len(args->annotations);

        if (!media_type_is_valid(args->type))
                return err_set(err, ERR_INVALID, "the artifact's type \"%.100s\" is no media type", args->type);
        if (n % 2 || n > 2 * ANNOTATIONS_MAX)
                return err_set(err, ERR_INVALID, "there are more than %d annotations", ANNOTATIONS_MAX);
        for (size_t i = 0; i < n; i += 2)
                if (!*args->annotations[i])
                        return err_set(err, ERR_INVALID, "an annotation has no name");
        return check_files(args, err);
}

/* Of a name without tag and digest nothing tells the default from "latest". */
static bool has_tag(const struct image_artifact_args *args, const struct ref *ref) {
        return ref->tag && (!str_eq(ref->tag, "latest") || str_ends_with(args->to, ":latest"));
}

/* --- blobs ------------------------------------------------------------------------------------------------------- */

struct reader {
        int fd; /* -1: the empty blob */
        uint64_t at;
};

static int seek(uint64_t offset, void *userdata, struct err *err) {
        struct reader *r = userdata;

        r->at = offset;
        return 0;
}

static int read_some(void *data, size_t size, size_t *ret_len, void *userdata, struct err *err) {
        struct reader *r = userdata;
        ssize_t n;

        if (r->fd < 0) {
                *ret_len = MIN_OF(size, strlen(empty_data) - (size_t) r->at);
                memcpy(data, empty_data + r->at, *ret_len);
                r->at += *ret_len;
                return 0;
        }
        n = pread(r->fd, data, size, (off_t) r->at);
        if (n < 0)
                return err_sys(err, errno, "read the file");
        if (n == 0)
                return err_set(err, ERR_PRECONDITION, "the file has become shorter meanwhile");
        *ret_len = (size_t) n;
        r->at += (uint64_t) n;
        return 0;
}

static int open_blob(const struct send_blob *blob, struct blob_reader *ret, void *userdata, struct err *err) {
        const struct artifact *a = userdata;
        const struct image_artifact_file *f = a->files[blob - a->blobs];
        struct reader *r = xnew(struct reader);

        r->fd = f ? f->fd : -1;
        *ret = (struct blob_reader){ .seek = seek, .read = read_some, .userdata = r };
        return 0;
}

static void close_blob(struct blob_reader *reader) {
        free(reader->userdata);
}

static bool is_cancelled(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0;
}

static int hash_file(const struct artifact *a, int fd, char ret[DIGEST_LEN + 1], uint64_t *ret_size, struct err *err) {
        _cleanup_(freep) uint8_t *buf = xcalloc(1, READ_BYTES);
        unsigned char md[EVP_MAX_MD_SIZE];
        EVP_MD_CTX *hash = EVP_MD_CTX_new();
        struct stat st;
        unsigned len = 0;
        ssize_t n = 0;
        int r = 0;

        if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
                abort();
        *ret_size = 0;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                r = err_set(err, ERR_INVALID, "it is no plain file");
        while (r == 0 && (n = pread(fd, buf, READ_BYTES, (off_t) *ret_size)) > 0) {
                if (EVP_DigestUpdate(hash, buf, (size_t) n) != 1)
                        abort();
                *ret_size += (uint64_t) n;
                if (is_cancelled(a->args->cancel_fd))
                        r = err_set(err, ERR_CANCELLED, "cancelled");
        }
        if (r == 0 && n < 0)
                r = err_sys(err, errno, "read it");
        if (EVP_DigestFinal_ex(hash, md, &len) != 1)
                abort();
        EVP_MD_CTX_free(hash);
        memcpy(ret, "sha256:", 8);
        hex_encode(md, len, ret + strlen("sha256:"));
        return r;
}

static void add_blob(struct artifact *a, const char *digest, uint64_t size, const struct image_artifact_file *file) {
        for (size_t i = 0; i < a->n_blobs; i++)
                if (str_eq(a->blobs[i].digest, digest))
                        return;
        a->files[a->n_blobs] = file;
        a->blobs[a->n_blobs++] = (struct send_blob){ arena_strdup(a->arena, digest), size };
}

static json_t *descriptor(const char *media_type, const char *digest, uint64_t size) {
        return json_pack("{s:s, s:s, s:I}", "mediaType", media_type, "digest", digest, "size", (json_int_t) size);
}

static json_t *empty_descriptor(void) {
        char digest[DIGEST_LEN + 1];
        json_t *d;

        digest_of(empty_data, strlen(empty_data), digest);
        d = descriptor(empty_type, digest, strlen(empty_data));
        (void) json_object_set_new(d, "data", json_string(empty_base64));
        return d;
}

static int plan_blobs(struct artifact *a, struct err *err) {
        const struct image_artifact_args *args = a->args;
        char digest[DIGEST_LEN + 1];
        uint64_t size;

        a->blobs = arena_array(a->arena, struct send_blob, args->n_files + 1);
        a->files = arena_array(a->arena, const struct image_artifact_file *, args->n_files + 1);
        a->layers = json_array();
        for (size_t i = 0; i < args->n_files; i++) {
                const struct image_artifact_file *f = &args->files[i];
                int r = hash_file(a, f->fd, digest, &size, err);
                json_t *layer;

                if (r < 0)
                        return err_wrap(err, "%.200s", f->title);
                layer = descriptor(f->media_type, digest, size);
                if (!layer || json_object_set_new(layer, "annotations",
                                                  json_pack("{s:s}", "org.opencontainers.image.title", f->title)) < 0) {
                        json_decref(layer);
                        return err_set(err, ERR_INVALID, "the name \"%.200s\" is not UTF-8", f->title);
                }
                (void) json_array_append_new(a->layers, layer);
                add_blob(a, digest, size, f);
        }
        if (args->n_files == 0)
                (void) json_array_append_new(a->layers, empty_descriptor());
        digest_of(empty_data, strlen(empty_data), digest);
        add_blob(a, digest, strlen(empty_data), NULL);
        return 0;
}

/* --- the manifest ------------------------------------------------------------------------------------------------ */

static int find_subject(struct artifact *a, struct err *err) {
        const char *subject = a->args->subject, *type, *reference = subject;
        _cleanup_(arena_freep) struct arena *arena = arena_new(PARSE_ARENA);
        _cleanup_strbuf_ struct strbuf body = { 0 };
        char digest[DIGEST_LEN + 1];
        struct manifest m = { 0 };
        struct ref ref;
        int r = 0;

        if (!subject)
                return 0;
        if (!digest_is_valid(subject)) {
                r = ref_parse(subject, arena, &ref, err);
                if (r == 0 && (!registry_is_same(ref.host, a->ref.host) || !str_eq(ref.path, a->ref.path)))
                        r = err_set(err, ERR_INVALID, "the subject is in another repository than the artifact, %s",
                                    ref_name(&a->ref, arena));
                if (r == 0)
                        reference = ref.digest ?: ref.tag;
        }
        if (r == 0)
                r = source_get_manifest(a->to, reference, arena, &body, &type, err);
        if (r == 0)
                r = manifest_parse_any(strbuf_str(&body), body.len, type, arena, &m, err);
        if (r != 0)
                return err_wrap(err, "subject %.200s", subject);
        digest_of(strbuf_str(&body), body.len, digest);
        a->subject = descriptor(m.media_type, digest, body.len);
        return 0;
}

static char *make_manifest(const struct artifact *a, struct err *err) {
        const char *const *annotations = a->args->annotations;
        json_t *doc = json_pack("{s:i, s:s, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType", manifest_type,
                                "artifactType", a->args->type, "config", empty_descriptor(), "layers", a->layers);
        json_t *values = json_object();
        bool good = doc != NULL;
        char *text = NULL;

        if (good && a->subject)
                (void) json_object_set(doc, "subject", a->subject);
        for (; good && annotations && *annotations; annotations += 2)
                good = json_object_set_new(values, annotations[0], json_string(annotations[1])) == 0;
        if (good && json_object_size(values) > 0)
                (void) json_object_set(doc, "annotations", values);
        if (good)
                text = json_dumps(doc, JSON_COMPACT);
        json_decref(values);
        json_decref(doc);
        if (!text)
                (void) err_set(err, ERR_INVALID, "an annotation is not UTF-8");
        else if (strlen(text) > MANIFEST_BYTES_MAX) {
                (void) err_set(err, ERR_EXHAUSTED, "the manifest gets larger than %d bytes", MANIFEST_BYTES_MAX);
                free(text);
                text = NULL;
        }
        return text;
}

static int put(struct artifact *a, unsigned max_parallel, const char **ret_digest, struct err *err) {
        const struct image_artifact_args *args = a->args;
        const struct send_args sending = { .to = a->to,
                                           .blobs = a->blobs,
                                           .n = a->n_blobs,
                                           .max_parallel = max_parallel,
                                           .cancel_fd = args->cancel_fd,
                                           .open = open_blob,
                                           .close = close_blob,
                                           .userdata = a,
                                           .progress = args->progress,
                                           .progress_userdata = args->userdata };
        _cleanup_(freep) char *text = make_manifest(a, err);
        struct upload_manifest m = { .data = text, .media_type = manifest_type };
        char digest[DIGEST_LEN + 1];
        int r;

        if (!text)
                return -(int) err->code;
        m.len = strlen(text);
        digest_of(text, m.len, digest);
        if (a->ref.digest && !str_eq(a->ref.digest, digest))
                return err_set(err, ERR_INVALID, "the artifact is %s; the name says another digest", digest);
        m.reference = a->ref.tag && (!args->subject || has_tag(args, &a->ref)) ? a->ref.tag : digest;
        r = send_blobs(&sending, err);
        if (r == 0)
                r = referrers_put(a->to, &m, err);
        *ret_digest = arena_strdup(a->arena, digest);
        return r;
}

int images_push_artifact(struct images *s, const struct image_artifact_args *args, struct arena *arena,
                         const char **ret_digest, struct err *err) {
        _cleanup_(credentials_freep) struct credentials *creds = NULL;
        _cleanup_(source_freep) struct source *to = NULL;
        struct artifact a = { .args = args, .arena = arena };
        struct source_args at = { .ref = &a.ref,
                                  .cancel_fd = args->cancel_fd,
                                  .deadline_ns = args->deadline_ns,
                                  .push = true,
                                  .no_mirrors = true };
        int r = check_args(args, err);

        if (r == 0)
                r = ref_parse(args->to, arena, &a.ref, err);
        if (r == 0)
                r = credentials_new(args->auth, &creds, err);
        if (r < 0)
                return r;
        at.creds = creds;
        a.to = to = source_new(images_pull_env(s)->registries, &at);
        r = find_subject(&a, err);
        if (r == 0)
                r = plan_blobs(&a, err);
        if (r == 0)
                r = put(&a, images_pull_env(s)->max_parallel_layers, ret_digest, err);
        json_decref(a.layers);
        json_decref(a.subject);
        return r < 0 ? err_wrap(err, "push artifact %s", ref_string(&a.ref, arena)) : 0;
}
