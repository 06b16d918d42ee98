/* SPDX-License-Identifier: Apache-2.0 */
/* spdy-headers - SPDY/3.1's compressed header blocks: one zlib stream for a whole connection. No I/O. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"
#include "base/strbuf.h"

enum {
        SPDY_BLOCK_MAX = 16 * 1024, /* inflated */
        SPDY_HEADERS_MAX = 64,
        SPDY_DICTIONARY_LEN = 1423,
        SPDY_EMPTY_BLOCK_MAX = 20,
};

struct spdy_slice {
        const uint8_t *p;
        size_t n;
};

/* Borrowed from the inflated block. */
struct spdy_headers {
        struct {
                struct spdy_slice name, value;
        } pairs[SPDY_HEADERS_MAX];
        size_t n;
};

/* The first value of the header called @name (in lower case; the peer's may be mixed), as a string. False when there is
 * none, or it is empty, does not fit, or holds anything but printable ASCII. */
bool spdy_headers_get(const struct spdy_headers *h, const char *name, char *out, size_t out_size);

struct spdy_inflater; /* about 40 KiB */

struct spdy_inflater *spdy_inflater_new(void);
struct spdy_inflater *spdy_inflater_free(struct spdy_inflater *i);
DEFINE_CLEANUP(struct spdy_inflater *, spdy_inflater_free)

/* Inflate one block into @out (emptied first, at most SPDY_BLOCK_MAX). An error leaves the stream unusable: the
 * connection has to end. */
_must_use_ int spdy_inflate(struct spdy_inflater *i, const uint8_t *block, size_t len, struct strbuf *out,
                            struct err *err);

/* Take an inflated block apart. An error concerns this block only. */
_must_use_ int spdy_headers_parse(const struct strbuf *block, struct spdy_headers *ret, struct err *err);

/* An empty block as it goes over the wire: the only kind that a server sends. @first: the first one on its connection.
 * Returns its length. */
size_t spdy_empty_block(bool first, uint8_t out[SPDY_EMPTY_BLOCK_MAX]);

/* SPDY/3's preset dictionary. */
void spdy_dictionary(uint8_t out[SPDY_DICTIONARY_LEN]);
