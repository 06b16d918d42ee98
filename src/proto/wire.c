/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire.h"

#include <stdint.h>
#include <string.h>

/* The schema is not recursive, so that the schema bounds the depth; this guards against one that becomes so. */
enum { MAX_DEPTH = 32 };

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct reader {
        const uint8_t *p, *end;
};

static bool read_varint(struct reader *r, uint64_t *ret) {
        uint64_t v = 0;

        for (unsigned shift = 0; shift < 70 && r->p < r->end; shift += 7) {
                uint8_t b = *r->p++;
                if (shift < 64)
                        v |= (uint64_t) (b & 0x7f) << shift;
                if (!(b & 0x80)) {
                        *ret = v;
                        return true;
                }
        }
        return false;
}

static bool skip(struct reader *r, uint64_t n) {
        if (n > (uint64_t) (r->end - r->p))
                return false;
        r->p += n;
        return true;
}

/* Bytes of the sequence that starts at @p, 0 when it is not one. */
static size_t sequence_len(const uint8_t *p, size_t left) {
        uint32_t c;
        size_t n;

        if (p[0] < 0x80)
                return 1;
        if (p[0] >= 0xc2 && p[0] <= 0xdf) {
                n = 2;
                c = p[0] & 0x1fu;
        } else if ((p[0] & 0xf0) == 0xe0) {
                n = 3;
                c = p[0] & 0x0fu;
        } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
                n = 4;
                c = p[0] & 0x07u;
        } else {
                return 0;
        }
        if (left < n)
                return 0;
        for (size_t i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (p[i] & 0x3fu);
        }
        /* No overlong forms, no surrogates, nothing past the end of Unicode. */
        if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
                return 0;
        return n;
}

bool wire_utf8_is_valid(const void *data, size_t len) {
        const uint8_t *p = data;
        uint64_t word;
        size_t n;

        while (len) {
                /* Nearly all of it is ASCII: eight bytes at a time. */
                if (len >= sizeof(word)) {
                        memcpy(&word, p, sizeof(word));
                        if (!(word & UINT64_C(0x8080808080808080))) {
                                p += sizeof(word);
                                len -= sizeof(word);
                                continue;
                        }
                }
                n = sequence_len(p, len);
                if (!n)
                        return false;
                p += n;
                len -= n;
        }
        return true;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *desc, uint64_t id) {
        size_t low = 0, high = desc->n_fields;

        while (low < high) {
                size_t mid = (low + high) / 2;
                if (desc->fields[mid].id == id)
                        return &desc->fields[mid];
                if (desc->fields[mid].id < id)
                        low = mid + 1;
                else
                        high = mid;
        }
        return NULL;
}

static int check(const ProtobufCMessageDescriptor *desc, struct reader r, unsigned depth, struct err *err);

static int check_bytes(const ProtobufCMessageDescriptor *desc, const ProtobufCFieldDescriptor *f, struct reader r,
                       unsigned depth, struct err *err) {
        size_t len = (size_t) (r.end - r.p);

        if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
                return check(f->descriptor, r, depth + 1, err);
        if (!f || f->type != PROTOBUF_C_TYPE_STRING)
                return 0;
        if (len && memchr(r.p, 0, len))
                return err_set(err, ERR_INTERNAL, "%s.%s: string field contains a NUL", desc->name, f->name);
        if (!wire_utf8_is_valid(r.p, len))
                return err_set(err, ERR_INTERNAL, "%s.%s: string field contains invalid UTF-8", desc->name, f->name);
        return 0;
}

static int check(const ProtobufCMessageDescriptor *desc, struct reader r, unsigned depth, struct err *err) {
        uint64_t tag, n;
        int e;

        if (depth > MAX_DEPTH)
                return err_set(err, ERR_INTERNAL, "%s: messages nested too deeply", desc->name);
        while (r.p < r.end) {
                bool ok = read_varint(&r, &tag) && tag >> 3 != 0 && tag <= UINT32_MAX;
                switch (ok ? tag & 7 : 7) {
                case WIRE_VARINT:
                        ok = read_varint(&r, &n);
                        break;
                case WIRE_64:
                        ok = skip(&r, 8);
                        break;
                case WIRE_32:
                        ok = skip(&r, 4);
                        break;
                case WIRE_BYTES:
                        ok = read_varint(&r, &n) && skip(&r, n);
                        if (!ok)
                                break;
                        e = check_bytes(desc, find_field(desc, tag >> 3), (struct reader){ r.p - n, r.p }, depth, err);
                        if (e < 0)
                                return e;
                        break;
                default:
                        ok = false;
                }
                if (!ok)
                        return err_set(err, ERR_INTERNAL, "%s: malformed message", desc->name);
        }
        return 0;
}

int wire_check(const ProtobufCMessageDescriptor *desc, const void *data, size_t len, struct err *err) {
        const uint8_t *p = data;
        return len ? check(desc, (struct reader){ p, p + len }, 0, err) : 0;
}
