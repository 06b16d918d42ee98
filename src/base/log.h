/* SPDX-License-Identifier: Apache-2.0 */
/* log - structured logging to stderr (text, JSON) or the journal. Thread-safe; the level can change at run time.
 * log_info("pulled image", "image", ref, "bytes", LOG_U64(n), NULL): message, then key/value string pairs, NULL last.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/attr.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNAL };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_set_format(enum log_format format);
/* For programs that have a log of their own: one line without a time or level goes to @sink instead. */
typedef void log_sink(enum log_level level, const char *text, void *userdata);
void log_set_sink(log_sink *sink, void *userdata);
/* log_set_format()'s own: @kv is keys and values in turn, @n of both. */
enum { LOG_FIELDS_MAX = 24, LOG_RECORD_MAX = 64 * 1024 };
typedef void log_writer(enum log_level level, const char *msg, const char **kv, size_t n);
void log_set_writer(enum log_format format, log_writer *journal);
_must_use_ bool log_level_from_name(const char *name, enum log_level *ret);
const char *log_level_name(enum log_level level);
_must_use_ bool log_format_from_name(const char *name, enum log_format *ret);
const char *log_format_name(enum log_format format);
enum log_format log_get_format(void);

void log_write(enum log_level level, const char *msg, ...) __attribute__((sentinel));
#define log_debug(...)                                                                                                 \
        do {                                                                                                           \
                if (log_get_level() <= LOG_LEVEL_DEBUG)                                                                \
                        log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                                       \
        } while (0)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)

/* Number as a value; lives until the end of the full expression's block. */
#define LOG_U64(v) log_u64((char[24]){ 0 }, (uint64_t) (v))
#define LOG_I64(v) log_i64((char[24]){ 0 }, (int64_t) (v))
const char *log_u64(char buf[24], uint64_t v);
const char *log_i64(char buf[24], int64_t v);
