/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/status.h"

#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

size_t status_encode_message(const char *msg, char out[GRPC_MESSAGE_MAX]) {
        static const char hex[] = "0123456789ABCDEF";
        size_t n = 0;

        for (; *msg && n + 3 < GRPC_MESSAGE_MAX; msg++) {
                unsigned char c = (unsigned char) *msg;
                if (c >= 0x20 && c <= 0x7e && c != '%') {
                        out[n++] = (char) c;
                } else {
                        out[n++] = '%';
                        out[n++] = hex[c >> 4];
                        out[n++] = hex[c & 15];
                }
        }
        out[n] = '\0';
        return n;
}

void status_decode_message(const char *value, size_t len, char *out, size_t size) {
        size_t n = 0;

        for (size_t i = 0; i < len && n + 1 < size; i++) {
                unsigned char c = (unsigned char) value[i];
                int byte = c == '%' && i + 2 < len ? hex_decode_byte(value + i + 1) : -1;

                if (byte >= 0) {
                        c = (unsigned char) byte;
                        i += 2;
                }
                out[n++] = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : (char) c;
        }
        if (size)
                out[n] = '\0';
}

static const struct {
        char unit;
        uint64_t ns;
} units[] = {
        { 'n', 1 },
        { 'u', 1000 },
        { 'm', 1000000 },
        { 'S', UINT64_C(1000000000) },
        { 'M', UINT64_C(60000000000) },
        { 'H', UINT64_C(3600000000000) },
};

enum { TIMEOUT_DIGITS = 8, TIMEOUT_LIMIT = 100000000 };

bool status_parse_timeout(const char *value, size_t len, uint64_t *ret_ns) {
        uint64_t n = 0;

        if (len < 2 || len > TIMEOUT_DIGITS + 1)
                return false;
        for (size_t i = 0; i < len - 1; i++) {
                if (value[i] < '0' || value[i] > '9')
                        return false;
                n = n * 10 + (uint64_t) (value[i] - '0');
        }
        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                if (units[i].unit != value[len - 1])
                        continue;
                /* 99999999 hours do not fit: as good as for ever. */
                if (__builtin_mul_overflow(n, units[i].ns, ret_ns))
                        *ret_ns = UINT64_MAX;
                return true;
        }
        return false;
}

void status_format_timeout(uint64_t timeout_ns, char out[GRPC_TIMEOUT_MAX]) {
        uint64_t n = TIMEOUT_LIMIT - 1;
        char unit = 'H';

        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                uint64_t rounded = timeout_ns / units[i].ns + (timeout_ns % units[i].ns != 0);
                if (rounded < TIMEOUT_LIMIT) {
                        n = rounded;
                        unit = units[i].unit;
                        break;
                }
        }
        (void) snprintf(out, GRPC_TIMEOUT_MAX, "%" PRIu64 "%c", n, unit);
}

enum err_code status_from_http(unsigned http_status) {
        switch (http_status) {
        case 400:
                return ERR_INTERNAL;
        case 401:
                return ERR_UNAUTHENTICATED;
        case 403:
                return ERR_DENIED;
        case 404:
                return ERR_UNIMPLEMENTED;
        case 429:
        case 502:
        case 503:
        case 504:
                return ERR_UNAVAILABLE;
        default:
                return ERR_UNKNOWN;
        }
}

enum err_code status_from_h2_error(uint32_t h2_error) {
        switch (h2_error) {
        case NGHTTP2_REFUSED_STREAM:
                return ERR_UNAVAILABLE;
        case NGHTTP2_CANCEL:
                return ERR_CANCELLED;
        case NGHTTP2_ENHANCE_YOUR_CALM:
                return ERR_EXHAUSTED;
        case NGHTTP2_INADEQUATE_SECURITY:
                return ERR_DENIED;
        default:
                return ERR_INTERNAL;
        }
}
