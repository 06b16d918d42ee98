/* SPDX-License-Identifier: Apache-2.0 */
/* log-journal - apart, so that programs which choose no format don't load libsystemd. */
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include "base/log.h"
#include "base/strbuf.h"

static void write_journal(enum log_level level, const char *msg, const char **kv, size_t n) {
        static const int priorities[] = { 7, 6, 4, 3 };
        struct iovec iov[LOG_FIELDS_MAX / 2 + 2];
        _cleanup_strbuf_ struct strbuf b = STRBUF(LOG_RECORD_MAX);
        size_t ends[LOG_FIELDS_MAX / 2 + 2], count = 0, start = 0;

        strbuf_printf(&b, "PRIORITY=%d", priorities[level]);
        ends[count++] = b.len;
        strbuf_printf(&b, "MESSAGE=%s", msg);
        for (size_t i = 0; i < n; i += 2)
                strbuf_printf(&b, " %s=%s", kv[i], kv[i + 1]);
        ends[count++] = b.len;
        for (size_t i = 0; i < n; i += 2) {
                for (const char *k = kv[i]; *k; k++)
                        strbuf_putc(&b, (char) (*k >= 'a' && *k <= 'z' ? *k - 32 : *k == '-' || *k == '.' ? '_' : *k));
                strbuf_printf(&b, "=%s", kv[i + 1]);
                ends[count++] = b.len;
        }
        if (b.overflow)
                return;
        for (size_t i = 0; i < count; start = ends[i++])
                iov[i] = (struct iovec){ .iov_base = b.data + start, .iov_len = ends[i] - start };
        (void) sd_journal_sendv(iov, (int) count);
}

void log_set_format(enum log_format format) {
        log_set_writer(format, write_journal);
}
