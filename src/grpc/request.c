/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/request.h"

#include "base/alloc.h"
#include "base/str.h"
#include "grpc/status.h"

enum { HEADER_OVERHEAD_BYTES = 32 }; /* RFC 9113, 6.5.2 */

void request_init(struct request *r) {
        *r = (struct request){ .timeout_ns = UINT64_MAX };
}

void request_done(struct request *r) {
        free(r->path);
        free(r->encoding_name);
        free(r->content_type);
        r->path = r->encoding_name = r->content_type = NULL;
}

static void keep(char **field, const char *value, size_t len) {
        free(*field);
        *field = xstrndup(value, len);
}

void request_header(struct request *r, const struct hub *hub, const char *name, size_t name_len, const char *value,
                    size_t value_len) {
        r->header_bytes += name_len + value_len + HEADER_OVERHEAD_BYTES;
        if (r->header_bytes > hub->max.header_bytes) {
                r->is_too_big = true;
                return;
        }
        /* nghttp2 terminates names with a NUL. */
        if (str_eq(name, ":path"))
                keep(&r->path, value, value_len);
        else if (str_eq(name, ":method"))
                r->is_post = value_len == 4 && memcmp(value, "POST", 4) == 0;
        else if (str_eq(name, "content-type"))
                keep(&r->content_type, value, value_len);
        else if (str_eq(name, "grpc-encoding"))
                keep(&r->encoding_name, value, value_len);
        else if (str_eq(name, "grpc-timeout"))
                r->is_timeout_bad |= !status_parse_timeout(value, value_len, &r->timeout_ns);
}

/* "application/grpc", alone, with "+proto", or with parameters. */
static bool content_type_is_ours(const char *value) {
        const char *rest = value ? str_after(value, "application/grpc") : NULL;
        const char *after;

        if (!rest)
                return false;
        after = str_after(rest, "+proto");
        if (after)
                rest = after;
        return *rest == '\0' || *rest == ';' || *rest == ' ';
}

static int unknown_method(const struct hub *hub, const char *path, struct err *err) {
        const char *slash = path && *path == '/' ? strrchr(path + 1, '/') : NULL;
        int len;

        if (!slash || slash == path + 1)
                return err_set(err, ERR_UNIMPLEMENTED, "malformed method name: \"%.200s\"", path ? path : "");
        len = (int) (slash - path) + 1;
        for (size_t i = 0; i < hub->n_methods; i++)
                if (strncmp(hub->methods[i].path, path, (size_t) len) == 0)
                        return err_set(err, ERR_UNIMPLEMENTED, "unknown method %.200s for service %.*s", slash + 1,
                                       MIN_OF(len - 2, 200), path + 1);
        return err_set(err, ERR_UNIMPLEMENTED, "unknown service %.*s (method %.200s)", MIN_OF(len - 2, 200), path + 1,
                       slash + 1);
}

static int check_encoding(struct request *r, struct err *err) {
        if (str_empty(r->encoding_name) || str_eq(r->encoding_name, "identity"))
                r->encoding = REQUEST_IDENTITY;
        else if (str_eq(r->encoding_name, "gzip"))
                r->encoding = REQUEST_GZIP;
        else
                return err_set(err, ERR_UNIMPLEMENTED,
                               "grpc: Decompressor is not installed for grpc-encoding \"%.200s\"", r->encoding_name);
        return 0;
}

/* HTTP and gRPC status pairs are grpc-go's. */
int request_check(struct request *r, const struct hub *hub, const struct grpc_method **ret, unsigned *ret_http_status,
                  struct err *err) {
        *ret_http_status = 431;
        if (r->is_too_big)
                return err_set(err, ERR_EXHAUSTED, "grpc: request headers larger than max %zu", hub->max.header_bytes);
        *ret_http_status = 415;
        if (!content_type_is_ours(r->content_type))
                return err_set(err, ERR_INVALID, "invalid gRPC request content-type \"%.200s\"",
                               r->content_type ? r->content_type : "");
        *ret_http_status = 405;
        if (!r->is_post)
                return err_set(err, ERR_INTERNAL, "grpc: the request's method should be POST");
        *ret_http_status = 400;
        if (r->is_timeout_bad)
                return err_set(err, ERR_INTERNAL, "malformed grpc-timeout");
        *ret_http_status = 200;
        *ret = r->path ? hub_find_method(hub, r->path) : NULL;
        if (!*ret)
                return unknown_method(hub, r->path, err);
        return check_encoding(r, err);
}
