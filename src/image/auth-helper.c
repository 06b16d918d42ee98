/* SPDX-License-Identifier: Apache-2.0 */
#include "image/auth-helper.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/str.h"
#include "base/strbuf.h"

enum { ANSWER_MAX = 128 * 1024, ANSWER_VALUES_MAX = 64, TIMEOUT_MS = 30000, SHOWN_MAX = 300 };

static bool name_is_valid(const char *name) {
        size_t n = strlen(name);

        return n > 0 && n < 128 &&
               strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

/* Its first line, printable and short: helpers explain themselves on standard output. */
static const char *first_line(const struct strbuf *b, char out[SHOWN_MAX]) {
        size_t n = 0;

        for (const char *s = strbuf_str(b); *s && *s != '\n' && n < SHOWN_MAX - 1; s++)
                out[n++] = isprint((unsigned char) *s) ? *s : '?';
        out[n] = '\0';
        return out;
}

static void wipe(struct strbuf *b) {
        if (b->data)
                explicit_bzero(b->data, b->cap);
        strbuf_done(b);
}

/* Returns 1; 0 when it says that it has no such entry. */
static int ask(const char *name, const char *verb, const char *input, struct strbuf *out, struct err *err) {
        _cleanup_strbuf_ struct strbuf err_out = STRBUF(4096);
        char program[160], shown[SHOWN_MAX];
        const struct proc_run_args args = {
                .argv = (const char *const[]){ program, verb, NULL },
                .envp = (const char *const *) environ,
                .input = input,
                .input_len = strlen(input),
                .out = out,
                .err_out = &err_out,
                .timeout_ms = TIMEOUT_MS,
        };
        int r, status = 0;

        if (!name_is_valid(name))
                return err_set(err, ERR_INVALID, "\"%.100s\" is no name of a credential helper", name);
        (void) snprintf(program, sizeof(program), "docker-credential-%s", name);
        r = proc_run(&args, &status, err);
        if (r < 0) {
                if (err->code == ERR_INTERNAL)
                        err->code = ERR_UNAVAILABLE;
                return err_wrap(err, "credential helper %s %s", program, verb);
        }
        if (status == 0 && !out->overflow)
                return 1;
        if (strstr(strbuf_str(out), "credentials not found"))
                return 0;
        return err_set(err, ERR_UNAVAILABLE, "credential helper %s %s: %s", program, verb,
                       out->overflow         ? "it says too much"
                       : out->len > 0        ? first_line(out, shown)
                       : err_out.len > 0     ? first_line(&err_out, shown)
                       : WIFSIGNALED(status) ? "it was killed"
                                             : "it failed and does not say why");
}

int auth_helper_get(const char *name, const char *server, struct arena *arena, struct image_auth *ret,
                    struct err *err) {
        _cleanup_(wipe) struct strbuf out = STRBUF(ANSWER_MAX);
        _cleanup_(json_unrefp) json_t *answer = NULL;
        const char *username, *secret;
        int r = ask(name, "get", server, &out, err);

        if (r <= 0)
                return r;
        r = json_load_bounded(strbuf_str(&out), out.len, ANSWER_VALUES_MAX, "its answer", &answer, err);
        if (r < 0)
                return err_wrap(err, "credential helper docker-credential-%s", name);
        username = json_string_value(json_object_get(answer, "Username"));
        secret = json_string_value(json_object_get(answer, "Secret"));
        if (!username || !secret)
                return err_set(err, ERR_UNAVAILABLE,
                               "credential helper docker-credential-%s: its answer has no Username and Secret", name);
        if (str_eq(username, "<token>"))
                *ret = (struct image_auth){ .identity_token = arena_strdup(arena, secret) };
        else
                *ret = (struct image_auth){ .username = arena_strdup(arena, username),
                                            .password = arena_strdup(arena, secret) };
        return 1;
}

int auth_helper_store(const char *name, const char *server, const char *username, const char *secret, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(ANSWER_MAX);
        _cleanup_(json_unrefp) json_t *entry =
                json_pack("{s:s s:s s:s}", "ServerURL", server, "Username", username, "Secret", secret);
        char *input = entry ? json_dumps(entry, JSON_COMPACT) : NULL;
        int r;

        if (!input)
                return err_set(err, ERR_INVALID, "user name or password is not UTF-8");
        r = ask(name, "store", input, &out, err);
        explicit_bzero(input, strlen(input));
        free(input);
        if (r == 0)
                return err_set(err, ERR_UNAVAILABLE, "credential helper docker-credential-%s did not store them", name);
        return r < 0 ? r : 0;
}

int auth_helper_erase(const char *name, const char *server, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(ANSWER_MAX);

        return ask(name, "erase", server, &out, err);
}
