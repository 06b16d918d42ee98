/* SPDX-License-Identifier: Apache-2.0 */
/* ps - a container's processes: their numbers, or those lines of ps(1) that have one of them in the column PID. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "base/proc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "cli/oci/runtime.h"

enum { PS_OUTPUT_MAX = 32 << 20, PS_TIMEOUT_MS = 30000 };

static int compare_pids(const void *a, const void *b) {
        pid_t x = *(const pid_t *) a, y = *(const pid_t *) b;

        return (x > y) - (x < y);
}

/* The word @n of a line; *ret_len 0: there is none. */
static const char *word(const char *line, size_t n, size_t *ret_len) {
        for (;; n--) {
                line += strspn(line, " \t");
                *ret_len = strcspn(line, " \t");
                if (n == 0 || *ret_len == 0)
                        return line;
                line += *ret_len;
        }
}

static bool find_column(const char *title, size_t *ret) {
        size_t len;

        for (*ret = 0;; (*ret)++) {
                const char *w = word(title, *ret, &len);

                if (len == 0)
                        return false;
                if (len == 3 && memcmp(w, "PID", 3) == 0)
                        return true;
        }
}

static int print_lines(char *text, const pid_t *pids, size_t n, struct err *err) {
        char *line = strsep(&text, "\n");
        size_t column;

        if (!line || !find_column(line, &column))
                return err_set(err, ERR_INVALID, "couldn't find PID field in ps output");
        printf("%s\n", line);
        while ((line = strsep(&text, "\n"))) {
                size_t len;
                const char *w = word(line, column, &len);
                char *end;
                pid_t pid = (pid_t) strtol(w, &end, 10);

                if (len == 0)
                        continue;
                if (end != w + len)
                        return err_set(err, ERR_INVALID, "unable to parse pid \"%.32s\" of ps", w);
                if (n > 0 && bsearch(&pid, pids, n, sizeof(*pids), compare_pids))
                        printf("%s\n", line);
        }
        return 0;
}

static int run_ps(const char *const *options, size_t n_options, struct arena *arena, const pid_t *pids, size_t n,
                  struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(PS_OUTPUT_MAX), complaints = STRBUF(4096);
        const char **argv = arena_array(arena, const char *, n_options + 3);
        int status, r;

        argv[0] = "ps";
        argv[1] = "-ef";
        for (size_t i = 0; i < n_options; i++)
                argv[i + 1] = options[i];
        r = proc_run(&(struct proc_run_args){ .path = "/bin/ps",
                                              .argv = argv,
                                              .envp = (const char *const *) environ,
                                              .out = &out,
                                              .err_out = &complaints,
                                              .timeout_ms = PS_TIMEOUT_MS },
                     &status, err);
        if (r < 0)
                return err_wrap(err, "run ps");
        if (status != 0)
                return err_set(err, ERR_INVALID, "ps failed: %.512s", strbuf_str(&complaints));
        if (out.overflow)
                return err_set(err, ERR_EXHAUSTED, "ps: more than %d bytes", PS_OUTPUT_MAX);
        strbuf_putc(&out, '\0');
        return print_lines(out.data, pids, n, err);
}

int oci_do_ps(struct runtime *rt, const struct cli_args *args, struct err *err) {
        _cleanup_(freep) pid_t *pids = NULL;
        size_t n = 0;
        bool json;
        int r = runtime_format(args, &json, err);

        if (r == 0)
                r = oci_ps(&rt->oci, args->rest[0], &pids, &n, err);
        if (r < 0)
                return r;
        if (!json)
                return run_ps(args->rest + 1, args->n_rest - 1, rt->arena, pids, n, err);
        for (size_t i = 0; i < n; i++)
                printf("%s%d", i > 0 ? "," : "[", (int) pids[i]);
        printf("%s]\n", n > 0 ? "" : "[");
        return 0;
}
