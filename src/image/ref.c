/* SPDX-License-Identifier: Apache-2.0 */
#include "image/ref.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

static bool is_alnum(char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* */
static bool component_is_valid(const char *s, size_t len) {
        size_t i = 0;

        for (;;) {
                size_t start = i, sep;

                while (i < len && is_alnum(s[i]))
                        i++;
                if (i == start)
                        return false;
                if (i == len)
                        return true;
                sep = i;
                if (s[i] == '-') {
                        while (i < len && s[i] == '-')
                                i++;
                } else if (s[i] == '_') {
                        while (i < len && s[i] == '_' && i - sep < 2)
                                i++;
                } else if (s[i] == '.') {
                        i++;
                } else {
                        return false;
                }
        }
}

bool path_is_valid(const char *path) {
        for (;;) {
                size_t len = strcspn(path, "/");

                if (!component_is_valid(path, len))
                        return false;
                if (!path[len])
                        return true;
                path += len + 1;
        }
}

/* A label of a domain name: letters, digits, inner dashes. */
static bool label_is_valid(const char *s, size_t len) {
        if (len == 0 || len > 63 || s[0] == '-' || s[len - 1] == '-')
                return false;
        for (size_t i = 0; i < len; i++)
                if (!isalnum((unsigned char) s[i]) && s[i] != '-')
                        return false;
        return true;
}

/* "name", "1.2.3.4" or "[v6]", then perhaps ":port". */
static bool host_is_valid(const char *host) {
        const char *p = host, *end;
        uint64_t port;

        if (*p == '[') {
                end = p + 1 + strspn(p + 1, "0123456789abcdefABCDEF:.");
                if (*end != ']' || end == p + 1)
                        return false;
                p = end + 1;
        } else {
                for (;; p++) {
                        size_t len = strcspn(p, ".:");

                        if (!label_is_valid(p, len))
                                return false;
                        p += len;
                        if (*p != '.')
                                break;
                }
        }
        if (!*p)
                return true;
        return *p == ':' && str_to_u64(p + 1, &port) && port > 0 && port <= 65535 && strlen(p + 1) <= 5;
}

bool tag_is_valid(const char *tag) {
        size_t len = strlen(tag);

        if (len == 0 || len > REF_TAG_MAX || *tag == '.' || *tag == '-')
                return false;
        for (; *tag; tag++)
                if (!isalnum((unsigned char) *tag) && !strchr("._-", *tag))
                        return false;
        return true;
}

bool digest_is_valid(const char *s) {
        const char *hex = s ? str_after(s, "sha256:") : NULL;

        return hex && id_is_valid(hex);
}

void digest_of(const void *data, size_t len, char out[DIGEST_LEN + 1]) {
        unsigned char md[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        if (EVP_Digest(data, len, md, &n, EVP_sha256(), NULL) != 1 || n != 32)
                abort();
        memcpy(out, "sha256:", 7);
        hex_encode(md, n, out + 7);
}

static int bad(struct err *err, const char *s, const char *why) {
        return err_set(err, ERR_INVALID, "invalid image reference \"%.200s\": %s", s, why);
}

/* Only printable ASCII may be quoted back. */
static int check_bytes(const char *s, struct err *err) {
        if (!*s)
                return err_set(err, ERR_INVALID, "invalid image reference: it is empty");
        if (strlen(s) > REF_MAX)
                return err_set(err, ERR_INVALID, "invalid image reference: longer than %d bytes", REF_MAX);
        for (const char *p = s; *p; p++)
                if ((unsigned char) *p <= ' ' || (unsigned char) *p >= 0x7f)
                        return err_set(err, ERR_INVALID, "invalid image reference: it holds blanks or other odd bytes");
        return 0;
}

/* The first component is a host when it could be no path on Docker Hub. */
static const char *split_host(char *name, const char **ret_host) {
        char *slash = strchr(name, '/');

        if (slash) {
                *slash = '\0';
                if (strpbrk(name, ".:[") || str_eq(name, "localhost")) {
                        *ret_host = str_eq(name, "index.docker.io") ? "docker.io" : name;
                        return slash + 1;
                }
                *slash = '/';
        }
        *ret_host = "docker.io";
        return name;
}

/* Cuts "@digest" and ":tag" off @name. */
static int split_suffixes(const char *s, char *name, struct ref *ret, struct err *err) {
        char *at = strchr(name, '@'), *slash, *colon;

        if (at) {
                *at = '\0';
                if (!digest_is_valid(at + 1))
                        return bad(err, s, "the digest is not sha256: and 64 lower-case hex digits");
                ret->digest = at + 1;
        }
        slash = strrchr(name, '/');
        colon = strchr(slash ? slash : name, ':');
        if (colon) {
                *colon = '\0';
                if (!tag_is_valid(colon + 1))
                        return bad(err, s, "the tag is not 1 to 128 letters, digits, \".\", \"_\" and \"-\"");
                ret->tag = colon + 1;
        }
        return 0;
}

int ref_parse(const char *s, struct arena *arena, struct ref *ret, struct err *err) {
        struct ref ref = { 0 };
        char *name;
        int r;

        r = check_bytes(s, err);
        if (r < 0)
                return r;
        if (strstr(s, "://"))
                return bad(err, s, "it is a URL; leave out the scheme");
        name = arena_strdup(arena, s);
        r = split_suffixes(s, name, &ref, err);
        if (r < 0)
                return r;
        ref.path = split_host(name, &ref.host);
        if (!host_is_valid(ref.host))
                return bad(err, s, "malformed registry host");
        if (strpbrk(ref.path, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
                return bad(err, s, "the repository must be in lower case");
        if (!path_is_valid(ref.path))
                return bad(err, s, "malformed repository");
        if (id_is_valid(name))
                return bad(err, s, "64 hex digits are an image id, not a name");
        if (str_eq(ref.host, "docker.io") && !strchr(ref.path, '/'))
                ref.path = arena_printf(arena, "library/%s", ref.path);
        if (strlen(ref.host) + 1 + strlen(ref.path) > REF_NAME_MAX)
                return bad(err, s, "host and repository are longer than 255 bytes");
        if (ref.digest)
                ref.tag = NULL;
        else if (!ref.tag)
                ref.tag = "latest";
        *ret = ref;
        return 0;
}

const char *ref_name(const struct ref *r, struct arena *arena) {
        return arena_printf(arena, "%s/%s", r->host, r->path);
}

const char *ref_string(const struct ref *r, struct arena *arena) {
        return r->digest ? ref_with_digest(r, r->digest, arena)
                         : arena_printf(arena, "%s/%s:%s", r->host, r->path, r->tag);
}

const char *ref_with_digest(const struct ref *r, const char *digest, struct arena *arena) {
        return arena_printf(arena, "%s/%s@%s", r->host, r->path, digest);
}
