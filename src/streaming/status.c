/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/status.h"

#include <stdint.h>
#include <string.h>

/* The length of the UTF-8 sequence at @p, or 0 when it is none. */
static size_t utf8_len(const uint8_t *p, size_t left) {
        uint32_t c;
        size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;

        if (n == 0 || n > left)
                return 0;
        if (n == 1)
                return 1;
        c = p[0] & (0xffu >> (n + 1));
        for (size_t i = 1; i < n; i++) {
                if (p[i] >> 6 != 2)
                        return 0;
                c = c << 6 | (p[i] & 0x3f);
        }
        if ((n == 2 && c < 0x80) || (n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) ||
            (n == 4 && (c < 0x10000 || c > 0x10ffff)))
                return 0;
        return n;
}

static void put_string(struct strbuf *out, const char *s) {
        const uint8_t *p = (const uint8_t *) s;

        strbuf_putc(out, '"');
        for (size_t left = strlen(s), n; left; p += n, left -= n) {
                n = utf8_len(p, left);
                if (n == 0) {
                        strbuf_puts(out, "\xef\xbf\xbd"); /* the replacement character */
                        n = 1;
                } else if (*p == '"' || *p == '\\') {
                        strbuf_printf(out, "\\%c", *p);
                } else if (*p < 0x20 || *p == 0x7f) {
                        strbuf_printf(out, "\\u%04x", *p);
                } else {
                        strbuf_append(out, p, n);
                }
        }
        strbuf_putc(out, '"');
}

/* Clients parse it as eight bits without sign. */
static int code_for_clients(int code) {
        return code < 0 || code > 255 ? 255 : code;
}

static void message(struct strbuf *out, int code, const struct err *err) {
        if (err)
                strbuf_printf(out, "Internal error occurred: %s", err->msg);
        else
                strbuf_printf(out, "command terminated with non-zero exit code: exit status %d",
                              code_for_clients(code));
}

void status_json(struct strbuf *out, int code, const struct err *err) {
        _cleanup_strbuf_ struct strbuf text = STRBUF(STATUS_MAX);

        if (!err && code == 0) {
                strbuf_puts(out, "{\"metadata\":{},\"status\":\"Success\"}");
                return;
        }
        message(&text, code, err);
        strbuf_puts(out, "{\"metadata\":{},\"status\":\"Failure\",\"message\":");
        put_string(out, strbuf_str(&text));
        if (err) {
                strbuf_puts(out, ",\"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":");
                put_string(out, err->msg);
                strbuf_puts(out, "}]},\"code\":500}");
                return;
        }
        strbuf_printf(out,
                      ",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\","
                      "\"message\":\"%d\"}]}}",
                      code_for_clients(code));
}

void status_text(struct strbuf *out, int code, const struct err *err) {
        if (err || code != 0)
                message(out, code, err);
}
