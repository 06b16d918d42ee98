/* SPDX-License-Identifier: Apache-2.0 */
/* The preset dictionary of SPDY/3's header compression: words with their lengths, then text as it is. Every byte of it
 * is part of the protocol. */
#include "streaming/spdy-headers.h"

#include <assert.h>
#include <string.h>

static const char *const words[] = {
        "options",
        "head",
        "post",
        "put",
        "delete",
        "trace",
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "accept-ranges",
        "age",
        "allow",
        "authorization",
        "cache-control",
        "connection",
        "content-base",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expect",
        "expires",
        "from",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "last-modified",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "referer",
        "retry-after",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "method",
        "get",
        "status",
        "200 OK",
        "version",
        "HTTP/1.1",
        "url",
        "public",
        "set-cookie",
        "keep-alive",
        "origin",
};

static const char text[] =
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 No"
        "n-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403"
        " Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Fe"
        "b Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunke"
        "d,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/"
        "javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

void spdy_dictionary(uint8_t out[SPDY_DICTIONARY_LEN]) {
        uint8_t *to = out;

        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                size_t n = strlen(words[i]);

                /* The length is four bytes long; no word is longer than one of them says. */
                *to++ = 0;
                *to++ = 0;
                *to++ = 0;
                *to++ = (uint8_t) n;
                memcpy(to, words[i], n);
                to += n;
        }
        memcpy(to, text, sizeof(text) - 1);
        to += sizeof(text) - 1;
        assert(to - out == SPDY_DICTIONARY_LEN);
}
