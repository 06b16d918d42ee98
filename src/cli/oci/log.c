/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "base/strbuf.h"

enum { LINE_MAX_BYTES = 64 << 10 };

static const char *const level_names[] = { "error", "warning", "info", "debug" };

static int parse_level(const char *name, enum oci_log_level *ret) {
        for (size_t i = 0; i < ELEMENTSOF(level_names); i++)
                if (str_eq(name, level_names[i])) {
                        *ret = (enum oci_log_level) i;
                        return 0;
                }
        return -ERR_INVALID;
}

int oci_log_init(struct oci_log *log, const char *path, const char *format, const char *level, bool debug,
                 struct err *err) {
        *log = (struct oci_log){ .fd = -1, .json = str_eq(format, "json"), .level = OCI_LOG_WARNING };
        if (path) {
                log->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
                if (log->fd < 0)
                        return err_sys(err, errno, "open %.512s", path);
        }
        if (format && !log->json && !str_eq(format, "text"))
                return err_set(err, ERR_INVALID, "invalid log-format: %.64s", format);
        if (level && parse_level(level, &log->level) < 0)
                return err_set(err, ERR_INVALID, "invalid log-level: %.64s", level);
        if (debug)
                log->level = OCI_LOG_DEBUG;
        return 0;
}

/* How many bytes the UTF-8 character at @s has; 0: it is none. */
static size_t utf8_len(const char *s) {
        const unsigned char *u = (const unsigned char *) s;
        size_t n = u[0] < 0x80 ? 1 : u[0] < 0xc2 ? 0 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : u[0] < 0xf5 ? 4 : 0;

        for (size_t i = 1; i < n; i++)
                if ((u[i] & 0xc0) != 0x80)
                        return 0;
        if (n == 3 && ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f)))
                return 0;
        if (n == 4 && ((u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f)))
                return 0;
        return n;
}

/* Quoted, in a form that is right for JSON and, but for control characters, for Go's %q. */
static void put_quoted(struct strbuf *b, const char *s, bool json) {
        strbuf_putc(b, '"');
        while (*s) {
                size_t n = utf8_len(s);

                if (n == 0)
                        strbuf_puts(b, json ? "\\ufffd" : "\xef\xbf\xbd");
                else if (*s == '"' || *s == '\\')
                        strbuf_printf(b, "\\%c", *s);
                else if (*s == '\n')
                        strbuf_puts(b, "\\n");
                else if (*s == '\t')
                        strbuf_puts(b, "\\t");
                else if ((unsigned char) *s < 0x20 || *s == 0x7f)
                        strbuf_printf(b, json ? "\\u%04x" : "\\x%02x", (unsigned) (unsigned char) *s);
                else
                        strbuf_append(b, s, n);
                s += n ? n : 1;
        }
        strbuf_putc(b, '"');
}

/* logrus quotes only what needs it. */
static bool is_plain(const char *s) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+";

        return s[strspn(s, plain)] == '\0';
}

static void put_time(struct strbuf *b) {
        time_t now = time(NULL);
        struct tm tm;
        char text[32];

        if (gmtime_r(&now, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
                strbuf_puts(b, text);
}

void oci_log_write(const struct oci_log *log, enum oci_log_level level, const char *text) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(LINE_MAX_BYTES);

        if (level > log->level)
                return;
        if (log->json) {
                strbuf_printf(&b, "{\"level\":\"%s\",\"msg\":", level_names[level]);
                put_quoted(&b, text, true);
                strbuf_puts(&b, ",\"time\":\"");
                put_time(&b);
                strbuf_puts(&b, "\"}\n");
        } else {
                strbuf_puts(&b, "time=\"");
                put_time(&b);
                strbuf_printf(&b, "\" level=%s msg=", level_names[level]);
                if (is_plain(text))
                        strbuf_puts(&b, text);
                else
                        put_quoted(&b, text, false);
                strbuf_putc(&b, '\n');
        }
        if (fs_write_all(log->fd >= 0 ? log->fd : STDERR_FILENO, strbuf_str(&b), b.len) < 0)
                return; /* there is nowhere to tell it */
}

void oci_log_fail(const struct oci_log *log, const char *text) {
        oci_log_write(log, OCI_LOG_ERROR, text);
        if (log->fd >= 0)
                fprintf(stderr, "%s\n", text);
}
