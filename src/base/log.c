/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/str.h"
#include "base/strbuf.h"

enum { MAX_FIELDS = LOG_FIELDS_MAX, MAX_RECORD = LOG_RECORD_MAX };

static _Atomic int current_level = LOG_LEVEL_INFO;
static _Atomic int current_format = LOG_FORMAT_TEXT;
static log_writer *_Atomic current_journal;
static log_sink *current_sink;
static void *sink_userdata;

static const char *const level_names[] = { "debug", "info", "warn", "error" };
static const char *const format_names[] = { "text", "json", "journal" };

static bool find_name(const char *const *names, size_t n, const char *name, int *ret) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(names[i], name)) {
                        *ret = (int) i;
                        return true;
                }
        return false;
}

void log_set_level(enum log_level level) {
        current_level = level;
}
enum log_level log_get_level(void) {
        return (enum log_level) current_level;
}
void log_set_sink(log_sink *sink, void *userdata) {
        current_sink = sink;
        sink_userdata = userdata;
}
void log_set_writer(enum log_format format, log_writer *journal) {
        current_journal = journal;
        current_format = format;
}
const char *log_level_name(enum log_level level) {
        return level_names[level];
}
const char *log_format_name(enum log_format format) {
        return format_names[format];
}

bool log_level_from_name(const char *name, enum log_level *ret) {
        int i;
        if (!find_name(level_names, ELEMENTSOF(level_names), name, &i))
                return false;
        *ret = (enum log_level) i;
        return true;
}

bool log_format_from_name(const char *name, enum log_format *ret) {
        int i;
        if (!find_name(format_names, ELEMENTSOF(format_names), name, &i))
                return false;
        *ret = (enum log_format) i;
        return true;
}

const char *log_u64(char buf[24], uint64_t v) {
        (void) snprintf(buf, 24, "%llu", (unsigned long long) v);
        return buf;
}
const char *log_i64(char buf[24], int64_t v) {
        (void) snprintf(buf, 24, "%lld", (long long) v);
        return buf;
}

static void put_escaped(struct strbuf *b, const char *s) {
        for (; *s; s++) {
                unsigned char c = (unsigned char) *s;
                if (c == '"' || c == '\\')
                        strbuf_printf(b, "\\%c", c);
                else if (c == '\n')
                        strbuf_puts(b, "\\n");
                else if (c < 0x20 || c == 0x7f)
                        strbuf_printf(b, "\\u%04x", c);
                else
                        strbuf_putc(b, (char) c);
        }
}

static void put_quoted(struct strbuf *b, const char *s) {
        strbuf_putc(b, '"');
        put_escaped(b, s);
        strbuf_putc(b, '"');
}

static void format_text(struct strbuf *b, enum log_level level, const char *msg, const char **kv, size_t n) {
        strbuf_printf(b, " %-5s ", level_names[level]);
        put_escaped(b, msg);
        for (size_t i = 0; i < n; i += 2) {
                strbuf_printf(b, " %s=", kv[i]);
                if (kv[i + 1][0] && !kv[i + 1][strcspn(kv[i + 1], " \"\\\n\t=")])
                        put_escaped(b, kv[i + 1]);
                else
                        put_quoted(b, kv[i + 1]);
        }
        strbuf_putc(b, '\n');
}

static void format_json(struct strbuf *b, enum log_level level, const char *msg, const char **kv, size_t n) {
        strbuf_printf(b, "\",\"level\":\"%s\",\"msg\":", level_names[level]);
        put_quoted(b, msg);
        for (size_t i = 0; i < n; i += 2) {
                strbuf_putc(b, ',');
                put_quoted(b, kv[i]);
                strbuf_putc(b, ':');
                put_quoted(b, kv[i + 1]);
        }
        strbuf_puts(b, "}\n");
}

static void put_time(struct strbuf *b) {
        struct timespec ts;
        struct tm tm;
        char day[32];

        (void) clock_gettime(CLOCK_REALTIME, &ts);
        (void) gmtime_r(&ts.tv_sec, &tm);
        (void) strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
        strbuf_printf(b, "%s.%03ldZ", day, ts.tv_nsec / 1000000);
}

static void write_sink(enum log_level level, const char *msg, const char **kv, size_t n) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(MAX_RECORD);

        strbuf_puts(&b, msg);
        for (size_t i = 0; i < n; i += 2)
                strbuf_printf(&b, "%s%s=%s", i > 0 ? " " : ": ", kv[i], kv[i + 1]);
        current_sink(level, strbuf_str(&b), sink_userdata);
}

void log_write(enum log_level level, const char *msg, ...) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(MAX_RECORD);
        const char *kv[MAX_FIELDS], *key, *value;
        enum log_format format = (enum log_format) current_format;
        size_t n = 0;
        va_list ap;

        if ((int) level < current_level)
                return;
        va_start(ap, msg);
        while (n + 2 <= MAX_FIELDS && (key = va_arg(ap, const char *))) {
                value = va_arg(ap, const char *);
                kv[n++] = key;
                kv[n++] = value ? value : "";
        }
        va_end(ap);

        if (current_sink) {
                write_sink(level, msg, kv, n);
                return;
        }
        if (format == LOG_FORMAT_JOURNAL && current_journal) {
                current_journal(level, msg, kv, n);
                return;
        }
        strbuf_puts(&b, format == LOG_FORMAT_JSON ? "{\"time\":\"" : "");
        put_time(&b);
        (format == LOG_FORMAT_JSON ? format_json : format_text)(&b, level, msg, kv, n);
        if (b.len && write(STDERR_FILENO, b.data, b.len) < 0) {
                /* nowhere left to report it */
        }
}

enum log_format log_get_format(void) {
        return (enum log_format) current_format;
}
