/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/task.h"

#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/upid.h"

enum {
        POLL_MS = 50,
        POLL_MAX_MS = 2000,
        POLL_TIMEOUT_MS = 10000, /* a status is answered at once, or by another host */
        SILENCE_MAX_S = 300,     /* nobody answers: given up */
        LOG_LINES = 6,
        LOG_PAGE = 50,
        PAGES_AT_ONCE = 20,
        LOG_TEXT_MAX = 400,
        STATUS_MAX = 400,
};

static int get(struct pve *p, const struct upid *u, const char *upid, const char *what, const struct pve_params *params,
               const struct pve_until *until, json_t **ret, struct err *err) {
        _cleanup_(freep) char *path = xprintf("/nodes/%s/tasks/%s/%s", u->node, upid, what);
        const struct pve_request req = {
                .path = path, .params = params, .timeout_ms = POLL_TIMEOUT_MS, .until = until
        };

        return pve_call(p, &req, ret, err);
}

/* A page of the log from line @start on, appended to @lines; @ret_total: how many there are. */
static int get_log(struct pve *p, const struct upid *u, const char *upid, uint64_t start, const struct pve_until *until,
                   json_t **ret, uint64_t *ret_total, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        int r;

        pve_param_u64(&params, "start", start);
        pve_param_u64(&params, "limit", LOG_PAGE);
        r = get(p, u, upid, "log", &params, until, ret, err);
        if (r == 0 && !pve_json_u64(*ret, "total", ret_total))
                *ret_total = json_array_size(json_object_get(*ret, "data"));
        return r;
}

/* The log's last lines, but for the one that repeats the status. Errors leave it empty: there is one already. */
static void log_tail(struct pve *p, const struct upid *u, const char *upid, const struct pve_until *until,
                     struct strbuf *to) {
        _cleanup_(json_unrefp) json_t *page = NULL, *last = NULL;
        uint64_t total = 0;
        struct err err;
        const json_t *lines;
        size_t n;

        if (get_log(p, u, upid, 0, until, &page, &total, &err) < 0)
                return;
        if (total > LOG_PAGE && get_log(p, u, upid, total - LOG_PAGE, until, &last, &total, &err) < 0)
                return;
        lines = json_object_get(last ?: page, "data");
        n = json_array_size(lines);
        for (size_t i = n > LOG_LINES ? n - LOG_LINES : 0; i < n; i++) {
                const char *line = pve_json_str(json_array_get(lines, i), "t");

                if (!str_empty(line) && !str_after(line, "TASK "))
                        strbuf_printf(to, "%s%.200s", to->len > 0 ? "; " : "", line);
        }
}

static int raise_failure(struct pve *p, const struct upid *u, const char *upid, const char *status,
                         const struct pve_until *until, struct err *err) {
        _cleanup_strbuf_ struct strbuf tail = STRBUF(LOG_LINES * 256);
        char why[STATUS_MAX];
        enum pve_kind kind = pve_kind_of(0, status);

        (void) snprintf(why, sizeof(why), "%s", status);
        pve_one_line(why, sizeof(why) - 1);
        /* What has a kind has said all. */
        if (kind == PVE_OTHER || kind == PVE_TASK_KILLED)
                log_tail(p, u, upid, until, &tail);
        if (tail.len > 0)
                pve_one_line(tail.data, tail.len);
        /* The end says most. */
        return pve_raise(err, kind, "%s%s%s on node %s: %s%s%s", u->type, *u->id ? " of " : "", u->id, u->node, why,
                         tail.len > 0 ? "; log: " : "",
                         tail.len > LOG_TEXT_MAX ? tail.data + tail.len - LOG_TEXT_MAX : strbuf_str(&tail));
}

/* 0: it runs; 1: it ended well; an error: it failed, or the answer makes no sense. */
static int judge(struct pve *p, const struct upid *u, const char *upid, const json_t *data,
                 const struct pve_until *until, unsigned *ret_warnings, struct err *err) {
        const char *state = pve_json_str(data, "status"), *status = pve_json_str(data, "exitstatus"), *number;
        uint64_t warnings = 0;

        if (str_eq(state, "running"))
                return 0;
        if (!str_eq(state, "stopped") || !status)
                return pve_raise(err, PVE_FOREIGN, "task %s: a status that is neither running nor stopped", upid);
        number = str_after(status, "WARNINGS: ");
        if (!str_eq(status, "OK") && !(number && str_to_u64(number, &warnings)))
                return raise_failure(p, u, upid, status, until, err);
        if (ret_warnings)
                *ret_warnings = (unsigned) MIN_OF(warnings, (uint64_t) UINT32_MAX);
        return 1;
}

/* --- progress ------------------------------------------------------------------------------------------------------
 */

struct reader {
        const struct pve_progress *progress;
        uint64_t next; /* line */
};

static void tell(const struct pve_progress *progress, const char *text) {
        char line[PVE_LINE_MAX + 1];

        (void) snprintf(line, sizeof(line), "%s", text);
        pve_one_line(line, sizeof(line) - 1);
        progress->line(line, progress->userdata);
}

/* The lines that have come since. "no content" is what an empty log says in place of its first line. */
static void read_on(struct pve *p, const struct upid *u, const char *upid, const struct pve_until *until,
                    struct reader *reader) {
        for (unsigned page = 0; reader->progress && page < PAGES_AT_ONCE && reader->next < PVE_LINES_MAX; page++) {
                _cleanup_(json_unrefp) json_t *answer = NULL;
                uint64_t total;
                struct err ignored;
                const json_t *lines, *one;
                size_t i;

                if (get_log(p, u, upid, reader->next, until, &answer, &total, &ignored) < 0)
                        return;
                lines = json_object_get(answer, "data");
                json_array_foreach(lines, i, one) {
                        const char *text = pve_json_str(one, "t");

                        if (reader->next == 0 && str_eq(text, "no content"))
                                return;
                        if (reader->next++ < PVE_LINES_MAX && text)
                                tell(reader->progress, text);
                }
                if (json_array_size(lines) < LOG_PAGE)
                        return;
        }
}

static bool is_silence(const struct err *err) {
        return pve_kind(err) == PVE_UNREACHABLE || pve_kind(err) == PVE_NODE_UNREACHABLE;
}

int pve_task_wait(struct pve *p, const char *upid, const struct pve_until *until, const struct pve_progress *progress,
                  unsigned *ret_warnings, struct err *err) {
        struct reader reader = { .progress = progress };
        uint64_t heard_ns = clock_monotonic_ns();
        unsigned ms = POLL_MS;
        struct upid u;
        int r;

        if (!upid_parse(upid, &u))
                return pve_raise(err, PVE_FOREIGN, "\"%.100s\" is not the UPID of a task", upid);
        for (;;) {
                _cleanup_(json_unrefp) json_t *answer = NULL;

                r = get(p, &u, upid, "status", NULL, until, &answer, err);
                if (r == 0) {
                        heard_ns = clock_monotonic_ns();
                        read_on(p, &u, upid, until, &reader);
                        r = judge(p, &u, upid, json_object_get(answer, "data"), until, ret_warnings, err);
                        if (r != 0)
                                return r < 0 ? r : 0;
                } else if (!is_silence(err) || clock_monotonic_ns() - heard_ns > SILENCE_MAX_S * 1000000000ull) {
                        return err_wrap(err, "wait for task %s", upid);
                }
                r = http_pause(until->cancel_fd, until->deadline_ns, ms, err);
                if (r < 0)
                        return err_wrap(err, "%s%s%s on node %s has not ended (task %s)", u.type, *u.id ? " of " : "",
                                        u.id, u.node, upid);
                ms = MIN_OF(ms + ms / 2, (unsigned) POLL_MAX_MS);
        }
}
