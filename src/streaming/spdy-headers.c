/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/spdy-headers.h"

#include <string.h>
#include <strings.h>
#include <zlib.h>
#include "base/alloc.h"

struct spdy_inflater {
        z_stream z;
};

struct spdy_inflater *spdy_inflater_new(void) {
        struct spdy_inflater *i = xnew(struct spdy_inflater);

        if (inflateInit(&i->z) != Z_OK)
                abort(); /* out of memory */
        return i;
}

struct spdy_inflater *spdy_inflater_free(struct spdy_inflater *i) {
        if (!i)
                return NULL;
        (void) inflateEnd(&i->z);
        free(i);
        return NULL;
}

static int set_dictionary(struct spdy_inflater *i) {
        uint8_t dictionary[SPDY_DICTIONARY_LEN];

        spdy_dictionary(dictionary);
        return inflateSetDictionary(&i->z, dictionary, sizeof(dictionary));
}

int spdy_inflate(struct spdy_inflater *i, const uint8_t *block, size_t len, struct strbuf *out, struct err *err) {
        uint8_t piece[1024];
        int r;

        out->len = 0;
        i->z.next_in = (Bytef *) (uintptr_t) block;
        i->z.avail_in = (uInt) len;
        do {
                i->z.next_out = piece;
                i->z.avail_out = sizeof(piece);
                r = inflate(&i->z, Z_SYNC_FLUSH);
                if (r == Z_NEED_DICT) {
                        r = set_dictionary(i);
                        if (r == Z_OK)
                                continue;
                }
                /* Z_BUF_ERROR: all that came in is out. */
                if (r != Z_OK && r != Z_BUF_ERROR)
                        return err_set(err, ERR_INVALID, "spdy: broken header compression");
                strbuf_append(out, piece, sizeof(piece) - i->z.avail_out);
                if (out->overflow)
                        return err_set(err, ERR_EXHAUSTED, "spdy: headers of more than %d bytes", SPDY_BLOCK_MAX);
        } while (r == Z_OK && (i->z.avail_in || !i->z.avail_out));
        return 0;
}

static bool take_u32(struct spdy_slice *from, uint32_t *ret) {
        if (from->n < 4)
                return false;
        *ret = (uint32_t) from->p[0] << 24 | (uint32_t) from->p[1] << 16 | (uint32_t) from->p[2] << 8 | from->p[3];
        from->p += 4;
        from->n -= 4;
        return true;
}

static bool take_string(struct spdy_slice *from, struct spdy_slice *ret) {
        uint32_t n;

        if (!take_u32(from, &n) || n > from->n)
                return false;
        *ret = (struct spdy_slice){ from->p, n };
        from->p += n;
        from->n -= n;
        return true;
}

static bool slice_is(struct spdy_slice s, const char *name) {
        return s.n == strlen(name) && strncasecmp((const char *) s.p, name, s.n) == 0;
}

static bool is_forbidden(struct spdy_slice name) {
        static const char *const names[] = { "connection", "host", "keep-alive", "proxy-connection",
                                             "transfer-encoding" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (slice_is(name, names[i]))
                        return true;
        return false;
}

static int check_name(const struct spdy_headers *h, struct spdy_slice name, struct err *err) {
        if (!name.n)
                return err_set(err, ERR_INVALID, "spdy: header without a name");
        if (is_forbidden(name))
                return err_set(err, ERR_INVALID, "spdy: header that has no place here");
        for (size_t i = 0; i < h->n; i++)
                if (h->pairs[i].name.n == name.n &&
                    strncasecmp((const char *) h->pairs[i].name.p, (const char *) name.p, name.n) == 0)
                        return err_set(err, ERR_INVALID, "spdy: header twice");
        return 0;
}

int spdy_headers_parse(const struct strbuf *block, struct spdy_headers *ret, struct err *err) {
        struct spdy_slice rest = { (const uint8_t *) block->data, block->len };
        uint32_t count;
        int r;

        ret->n = 0;
        if (!take_u32(&rest, &count))
                return err_set(err, ERR_INVALID, "spdy: header block cut off");
        if (count > SPDY_HEADERS_MAX)
                return err_set(err, ERR_EXHAUSTED, "spdy: more than %d headers", SPDY_HEADERS_MAX);
        for (; count; count--) {
                struct spdy_slice name, value;

                if (!take_string(&rest, &name) || !take_string(&rest, &value))
                        return err_set(err, ERR_INVALID, "spdy: header block cut off");
                r = check_name(ret, name, err);
                if (r < 0)
                        return r;
                ret->pairs[ret->n].name = name;
                ret->pairs[ret->n++].value = value;
        }
        return rest.n ? err_set(err, ERR_INVALID, "spdy: more in a header block than it says") : 0;
}

bool spdy_headers_get(const struct spdy_headers *h, const char *name, char *out, size_t out_size) {
        for (size_t i = 0; i < h->n; i++) {
                struct spdy_slice v = h->pairs[i].value;
                const uint8_t *nul = v.n ? memchr(v.p, '\0', v.n) : NULL;

                if (!slice_is(h->pairs[i].name, name))
                        continue;
                if (nul)
                        v.n = (size_t) (nul - v.p);
                if (!v.n || v.n >= out_size)
                        return false;
                for (size_t k = 0; k < v.n; k++)
                        if (v.p[k] < ' ' || v.p[k] > '~')
                                return false;
                memcpy(out, v.p, v.n);
                out[v.n] = '\0';
                return true;
        }
        return false;
}

size_t spdy_empty_block(bool first, uint8_t out[SPDY_EMPTY_BLOCK_MAX]) {
        /* zlib's head: window of 32 KiB, best compression, preset dictionary, by its Adler-32. */
        static const uint8_t start[] = { 0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2 };
        /* Four bytes stored as they are (a count of 0), then the empty block that a sync flush makes. Since nothing
         * refers back, a deflater of 256 KiB a connection would say the same. */
        static const uint8_t block[] = { 0x00, 0x04, 0x00, 0xfb, 0xff, 0, 0, 0, 0, 0x00, 0x00, 0x00, 0xff, 0xff };
        size_t n = 0;

        if (first) {
                memcpy(out, start, sizeof(start));
                n = sizeof(start);
        }
        memcpy(out + n, block, sizeof(block));
        return n + sizeof(block);
}
