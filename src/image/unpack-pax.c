/* SPDX-License-Identifier: Apache-2.0 */
/* Extended headers: "LENGTH KEY=VALUE\n" records, and the number fields of plain headers. */
#include "image/unpack-pax.h"

#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"

bool tar_number(const uint8_t *field, size_t len, int64_t *ret) {
        size_t i = 0;

        if (len && (field[0] & 0x80)) { /* big endian two's complement; the marking bit is no part of it */
                bool negative = field[0] & 0x40;
                uint64_t v = negative ? UINT64_MAX : 0;

                for (i = 0; i < len; i++) {
                        uint8_t b = i == 0 ? (negative ? field[0] : field[0] & 0x7f) : field[i];

                        if (v >> 55 != (negative ? 0x1ff : 0))
                                return false;
                        v = v << 8 | b;
                }
                *ret = (int64_t) v;
                return true;
        }

        uint64_t v = 0;
        while (i < len && (field[i] == ' ' || field[i] == '\0'))
                i++;
        for (; i < len && field[i] >= '0' && field[i] <= '7'; i++) {
                if (v >> 60)
                        return false;
                v = v << 3 | (uint64_t) (field[i] - '0');
        }
        for (; i < len; i++)
                if (field[i] != ' ' && field[i] != '\0')
                        return false;
        *ret = (int64_t) v;
        return true;
}

int tar_map_add(struct tar_map *m, uint64_t offset, uint64_t len, struct err *err) {
        if (m->len >= TAR_MAX_EXTENTS)
                return err_set(err, ERR_INVALID, "sparse file of more than %d pieces", TAR_MAX_EXTENTS);
        xgrow(m->extents, m->len, m->cap);
        m->extents[m->len++] = (struct tar_extent){ offset, len };
        return 0;
}

int tar_map_check(const struct tar_map *m, uint64_t size, uint64_t stored, struct err *err) {
        uint64_t at = 0, sum = 0;

        if (size > INT64_MAX)
                return err_set(err, ERR_INVALID, "sparse file of an impossible size");
        for (size_t i = 0; i < m->len; i++) {
                const struct tar_extent *x = &m->extents[i];

                if (x->offset < at || x->offset > size || x->len > size - x->offset)
                        return err_set(err, ERR_INVALID, "sparse file whose map makes no sense");
                at = x->offset + x->len;
                sum += x->len;
        }
        return sum == stored ? 0 : err_set(err, ERR_INVALID, "sparse file whose map disagrees with its data");
}

/* "SECONDS[.FRACTION]", maybe negative. The fraction is cut to nanoseconds, towards the past. */
static bool parse_time(const char *s, int64_t *ret_s, uint32_t *ret_ns) {
        bool negative = *s == '-';
        char whole[24];
        uint64_t sec;
        uint32_t ns = 0, scale = 100000000;
        bool rest = false;
        const char *dot;

        s += negative;
        dot = strchrnul(s, '.');
        if ((size_t) (dot - s) >= sizeof(whole))
                return false;
        memcpy(whole, s, (size_t) (dot - s));
        whole[dot - s] = '\0';
        if (!str_to_u64(whole, &sec) || sec >= INT64_MAX)
                return false;
        for (const char *p = *dot ? dot + 1 : dot; *p; p++) {
                if (*p < '0' || *p > '9')
                        return false;
                rest = rest || (scale == 0 && *p != '0');
                ns += (uint32_t) (*p - '0') * scale;
                scale /= 10;
        }
        *ret_s = negative ? -(int64_t) sec : (int64_t) sec;
        if (negative && (ns || rest)) {
                ns += rest;
                *ret_s -= 1;
                ns = 1000000000 - ns;
        }
        *ret_ns = ns;
        return true;
}

/* libarchive writes names URL-encoded. In place. */
static void url_decode(char *s) {
        char *to = s;

        for (; *s; s++) {
                int byte = *s == '%' ? hex_decode_byte(s + 1) : -1;

                if (byte >= 0) {
                        *to++ = (char) byte;
                        s += 2;
                } else {
                        *to++ = *s;
                }
        }
        *to = '\0';
}

/* libarchive writes values in base64, mostly without padding. In place. */
static bool base64_decode(char *s, size_t len, size_t *ret_len) {
        uint32_t acc = 0;
        unsigned bits = 0;
        size_t out = 0;

        while (len && s[len - 1] == '=')
                len--;
        for (size_t i = 0; i < len; i++) {
                char c = s[i];
                uint32_t v;

                if (c >= 'A' && c <= 'Z')
                        v = (uint32_t) (c - 'A');
                else if (c >= 'a' && c <= 'z')
                        v = (uint32_t) (c - 'a' + 26);
                else if (c >= '0' && c <= '9')
                        v = (uint32_t) (c - '0' + 52);
                else if (c == '+' || c == '/')
                        v = c == '+' ? 62 : 63;
                else
                        return false;
                acc = acc << 6 | v;
                bits += 6;
                if (bits >= 8) {
                        bits -= 8;
                        s[out++] = (char) (acc >> bits);
                }
        }
        *ret_len = out;
        return true;
}

static int add_xattr(struct pax *p, const char *name, const char *value, size_t len, struct err *err) {
        if (!*name || strlen(name) > 255 || len > TAR_MAX_XATTR_VALUE)
                return err_set(err, ERR_INVALID, "extended attribute with a bad name or a value above 64 KiB");
        for (size_t i = 0; i < p->n_xattrs; i++) /* bsdtar writes each in both forms */
                if (str_eq(p->xattrs[i].name, name)) {
                        p->xattrs[i] = (struct tar_xattr){ name, value, len };
                        return 0;
                }
        if (p->n_xattrs >= TAR_MAX_XATTRS)
                return err_set(err, ERR_INVALID, "more than %d extended attributes", TAR_MAX_XATTRS);
        xgrow(p->xattrs, p->n_xattrs, p->cap_xattrs);
        p->xattrs[p->n_xattrs++] = (struct tar_xattr){ name, value, len };
        return 0;
}

/* "offset,length,offset,length..." of format 0.1; the field is changed. */
static int parse_map(struct pax *p, char *value, struct err *err) {
        uint64_t pair[2];
        unsigned n = 0;
        int r;

        p->sparse.map.len = 0;
        for (char *at = value, *next; at; at = next) {
                next = strchr(at, ',');
                if (next)
                        *next++ = '\0';
                if (!str_to_u64(at, &pair[n]))
                        return err_set(err, ERR_INVALID, "sparse file with a bad map");
                if (++n < 2)
                        continue;
                n = 0;
                r = tar_map_add(&p->sparse.map, pair[0], pair[1], err);
                if (r < 0)
                        return r;
        }
        return n ? err_set(err, ERR_INVALID, "sparse file with a bad map") : 0;
}

/* GNU.sparse.@key */
static int take_sparse(struct pax *p, const char *key, char *value, struct err *err) {
        uint64_t n = 0;

        p->sparse.any = true;
        if (str_eq(key, "name")) {
                p->sparse.name = value;
                return 0;
        }
        if (str_eq(key, "map"))
                return parse_map(p, value, err);
        if (!str_to_u64(value, &n))
                return err_set(err, ERR_INVALID, "GNU.sparse.%.20s is no number", key);
        if (str_eq(key, "size") || str_eq(key, "realsize")) {
                p->sparse.has_size = true;
                p->sparse.size = n;
        } else if (str_eq(key, "offset")) {
                p->sparse.has_offset = true;
                p->sparse.offset = n;
        } else if (str_eq(key, "numbytes")) {
                if (!p->sparse.has_offset)
                        return err_set(err, ERR_INVALID, "sparse file with a bad map");
                p->sparse.has_offset = false;
                return tar_map_add(&p->sparse.map, p->sparse.offset, n, err);
        } else if (str_eq(key, "major")) {
                p->sparse.major = (unsigned) MIN_OF(n, 99U);
        } else if (str_eq(key, "minor")) {
                p->sparse.minor = (unsigned) MIN_OF(n, 99U);
        }
        return 0;
}

static int take_id(const char *value, bool *ret_has, uint32_t *ret, struct err *err) {
        uint64_t n;

        if (!str_to_u64(value, &n) || n >= UINT32_MAX) /* all ones: chown's "leave it" */
                return err_set(err, ERR_INVALID, "impossible user or group id");
        *ret_has = true;
        *ret = (uint32_t) n;
        return 0;
}

static int take_record(struct pax *p, char *key, char *value, size_t len, struct err *err) {
        const char *rest;
        char *name;

        if ((rest = str_after(key, "SCHILY.xattr.")))
                return add_xattr(p, rest, value, len, err);
        if (str_after(key, "LIBARCHIVE.xattr.")) {
                name = key + strlen("LIBARCHIVE.xattr.");
                url_decode(name);
                for (size_t i = 0; i < p->n_xattrs; i++)
                        if (str_eq(p->xattrs[i].name, name))
                                return 0;
                if (!base64_decode(value, len, &len))
                        return err_set(err, ERR_INVALID, "extended attribute that is no base64");
                return add_xattr(p, name, value, len, err);
        }
        if (len == 0) /* an empty value takes back what was said before, of which there is nothing */
                return 0;
        if (strlen(value) != len)
                return str_eq(key, "path") || str_eq(key, "linkpath") || str_after(key, "GNU.sparse.")
                               ? err_set(err, ERR_INVALID, "NUL in a name")
                               : 0;
        if ((rest = str_after(key, "GNU.sparse.")))
                return take_sparse(p, rest, value, err);
        if (str_eq(key, "path"))
                p->path = value;
        else if (str_eq(key, "linkpath"))
                p->linkpath = value;
        else if (str_eq(key, "uid"))
                return take_id(value, &p->has_uid, &p->uid, err);
        else if (str_eq(key, "gid"))
                return take_id(value, &p->has_gid, &p->gid, err);
        else if (str_eq(key, "size")) {
                if (!str_to_u64(value, &p->size) || p->size > INT64_MAX)
                        return err_set(err, ERR_INVALID, "size that is no number");
                p->has_size = true;
        } else if (str_eq(key, "mtime")) {
                if (!parse_time(value, &p->mtime, &p->mtime_ns))
                        return err_set(err, ERR_INVALID, "mtime that is no time");
                p->has_mtime = true;
        }
        return 0;
}

int pax_parse(struct pax *p, char *body, size_t len, struct err *err) {
        char *at = body, *end = body + len;
        int r;

        while (at < end) {
                size_t n = 0;
                char *s = at, *eq;

                for (; s < end && *s >= '0' && *s <= '9' && n <= len; s++)
                        n = n * 10 + (size_t) (*s - '0');
                if (s == at || s == end || *s != ' ' || n > (size_t) (end - at) || n < (size_t) (s - at) + 3 ||
                    at[n - 1] != '\n')
                        return err_set(err, ERR_INVALID, "malformed extended header");
                s++;
                eq = memchr(s, '=', (size_t) (at + n - 1 - s));
                if (!eq || eq == s)
                        return err_set(err, ERR_INVALID, "malformed extended header");
                *eq = '\0';
                at[n - 1] = '\0';
                r = take_record(p, s, eq + 1, (size_t) (at + n - 1 - (eq + 1)), err);
                if (r < 0)
                        return r;
                at += n;
        }
        if (p->sparse.major > 1 || (p->sparse.major == 1 && p->sparse.minor > 0))
                return err_set(err, ERR_INVALID, "sparse format %u.%u is unknown", p->sparse.major, p->sparse.minor);
        p->sparse.in_data = p->sparse.major == 1;
        return 0;
}

void pax_done(struct pax *p) {
        struct tar_map map = p->sparse.map;
        struct tar_xattr *xattrs = p->xattrs;
        size_t cap = p->cap_xattrs;

        if (map.cap > 1024) { /* keep small ones: this runs once an entry */
                free(map.extents);
                map = (struct tar_map){ 0 };
        }
        map.len = 0;
        *p = (struct pax){ .xattrs = xattrs, .cap_xattrs = cap, .sparse.map = map };
}
