/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/hooks/hooks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"
#include "base/strbuf.h"

enum { OUTPUT_MAX = 64 << 10, TOLD_MAX = 400, TIMEOUT_MAX_S = 1 << 20 };

static const char *const names[SPEC_HOOK_MAX] = {
        [SPEC_HOOK_PRESTART] = "prestart",
        [SPEC_HOOK_CREATE_RUNTIME] = "createRuntime",
        [SPEC_HOOK_CREATE_CONTAINER] = "createContainer",
        [SPEC_HOOK_START_CONTAINER] = "startContainer",
        [SPEC_HOOK_POSTSTART] = "poststart",
        [SPEC_HOOK_POSTSTOP] = "poststop",
};

const char *hook_kind_name(enum spec_hook_kind kind) {
        return names[kind];
}

bool hook_kind_find(const char *name, enum spec_hook_kind *ret) {
        for (unsigned i = 0; i < SPEC_HOOK_MAX; i++)
                if (str_eq(name, names[i])) {
                        *ret = i;
                        return true;
                }
        return false;
}

bool hooks_are_empty(const struct spec_hooks *hooks) {
        for (unsigned i = 0; i < SPEC_HOOK_MAX; i++)
                if (hooks->n[i] > 0)
                        return false;
        return true;
}

uint64_t hooks_timeout_ms(const struct spec_hooks *hooks, enum spec_hook_kind kind) {
        uint64_t sum = 0;

        for (size_t i = 0; i < hooks->n[kind]; i++) {
                if (!hooks->list[kind][i].timeout_ms)
                        return 0;
                sum += hooks->list[kind][i].timeout_ms;
        }
        return sum;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

int hook_state_head(const struct hook_state *state, struct arena *arena, const char **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *j =
                json_pack("{s:s, s:s, s:s, s:s, s:{}}", "ociVersion", SPEC_OCI_VERSION, "id", state->id, "status",
                          state->status, "bundle", state->bundle, "annotations");
        json_t *annotations = json_object_get(j, "annotations");
        _cleanup_(freep) char *text = NULL;

        for (size_t i = 0; i < state->n_annotations; i++)
                if (json_object_set_new(annotations, state->annotations[i].key,
                                        json_string(state->annotations[i].value)) < 0)
                        return err_set(err, ERR_INVALID, "annotation %.128s is not UTF-8", state->annotations[i].key);
        text = j ? json_dumps(j, JSON_COMPACT) : NULL;
        if (!text)
                return err_set(err, ERR_INTERNAL, "cannot write the state for hooks");
        text[strlen(text) - 1] = '\0';
        *ret = arena_printf(arena, "%s,\"pid\":", text);
        return 0;
}

/* Its last words, in one line. */
static const char *last_words(struct strbuf *out) {
        char *text = out->data;
        size_t n = out->len;

        if (n == 0)
                return "";
        for (size_t i = 0; i < n; i++)
                if ((unsigned char) text[i] < ' ' || text[i] == 0x7f)
                        text[i] = ' ';
        while (n > 0 && text[n - 1] == ' ')
                text[--n] = '\0';
        return text + (n > TOLD_MAX ? n - TOLD_MAX : 0);
}

static int run_one(const struct spec_hook *hook, const char *state, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(OUTPUT_MAX), errors = STRBUF(OUTPUT_MAX);
        const char *const path_only[] = { hook->path, NULL };
        struct proc_run_args args = {
                .path = hook->path,
                .dir = "/",
                .argv = hook->args && hook->args[0] ? hook->args : path_only,
                .envp = hook->env,
                .input = state,
                .input_len = strlen(state),
                .out = &out,
                .err_out = &errors,
                .timeout_ms = hook->timeout_ms,
        };
        const char *words;
        int status = 0, r = proc_run(&args, &status, err);

        words = last_words(&errors);
        if (!*words)
                words = last_words(&out);
        if (r < 0) {
                const struct err why = *err;

                /* Its deadline is nobody else's. */
                return err_set(err, ERR_INTERNAL, "%.400s%s%s", why.msg, *words ? ": " : "", words);
        }
        if (WIFSIGNALED(status))
                return err_set(err, ERR_INTERNAL, "%s was ended by signal %d%s%s", hook->path, WTERMSIG(status),
                               *words ? ": " : "", words);
        if (status != 0)
                return err_set(err, ERR_INTERNAL, "%s failed with exit code %d%s%s", hook->path, WEXITSTATUS(status),
                               *words ? ": " : "", words);
        return 0;
}

static int run(const struct spec_hooks *hooks, enum spec_hook_kind kind, const struct hook_state *state, pid_t pid,
               bool all, struct err *err) {
        const struct sigaction ignore = { .sa_handler = SIG_IGN };
        _cleanup_(arena_freep) struct arena *arena = NULL;
        struct sigaction before;
        const char *text;
        int r;

        if (hooks->n[kind] == 0)
                return 0;
        arena = arena_new(16 << 20);
        r = hook_state_head(state, arena, &text, err);
        if (r < 0)
                return r;
        text = arena_printf(arena, "%s%d}", text, (int) pid);
        (void) sigaction(SIGPIPE, &ignore, &before); /* a hook need not read its state */
        r = 0;
        for (size_t i = 0; i < hooks->n[kind] && (r == 0 || all); i++) {
                r = run_one(&hooks->list[kind][i], text, err);
                if (r < 0 && !all)
                        r = err_wrap(err, "%s hook %zu", names[kind], i + 1);
                else if (r < 0)
                        log_warn("a hook failed", "container", state->id, "kind", names[kind], "error", err->msg, NULL);
        }
        (void) sigaction(SIGPIPE, &before, NULL);
        return all ? 0 : r;
}

int hooks_run(const struct spec_hooks *hooks, enum spec_hook_kind kind, const struct hook_state *state, pid_t pid,
              struct err *err) {
        return run(hooks, kind, state, pid, false, err);
}

void hooks_run_all(const struct spec_hooks *hooks, enum spec_hook_kind kind, const struct hook_state *state,
                   pid_t pid) {
        struct err err;

        if (run(hooks, kind, state, pid, true, &err) < 0)
                log_warn("hooks cannot be run", "container", state->id, "kind", names[kind], "error", err.msg, NULL);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static int read_strings(json_t *list, const char *what, struct arena *arena, const char *const **ret, struct err *err) {
        size_t n = json_array_size(list);
        const char **out;

        if (list && !json_is_array(list))
                return err_set(err, ERR_INVALID, "%s is not a list", what);
        if (n > HOOK_STRINGS_MAX)
                return err_set(err, ERR_INVALID, "%s has more than %d entries", what, HOOK_STRINGS_MAX);
        out = arena_array(arena, const char *, n + 1);
        for (size_t i = 0; i < n; i++) {
                const char *s = json_string_value(json_array_get(list, i));

                if (!s)
                        return err_set(err, ERR_INVALID, "%s has an entry that is no text", what);
                out[i] = arena_strdup(arena, s);
        }
        *ret = out;
        return 0;
}

static int read_hook(json_t *j, struct arena *arena, struct spec_hook *ret, struct err *err) {
        const char *path = json_string_value(json_object_get(j, "path"));
        json_t *timeout = json_object_get(j, "timeout");
        int r;

        if (!path || path[0] != '/')
                return err_set(err, ERR_INVALID, "path is not absolute");
        if (timeout && (!json_is_integer(timeout) || json_integer_value(timeout) <= 0 ||
                        json_integer_value(timeout) > TIMEOUT_MAX_S))
                return err_set(err, ERR_INVALID, "timeout is not a number of seconds from 1 to %d", TIMEOUT_MAX_S);
        ret->path = arena_strdup(arena, path);
        ret->timeout_ms = (uint64_t) json_integer_value(timeout) * 1000;
        r = read_strings(json_object_get(j, "args"), "args", arena, &ret->args, err);
        return r < 0 ? r : read_strings(json_object_get(j, "env"), "env", arena, &ret->env, err);
}

static int read_kind(json_t *list, struct arena *arena, const struct spec_hook **ret, size_t *ret_n, struct err *err) {
        size_t n = json_array_size(list);
        struct spec_hook *out;
        int r = 0;

        if (list && !json_is_null(list) && !json_is_array(list))
                return err_set(err, ERR_INVALID, "not a list");
        if (n > HOOKS_MAX)
                return err_set(err, ERR_INVALID, "more than %d", HOOKS_MAX);
        out = arena_array(arena, struct spec_hook, n + 1);
        for (size_t i = 0; i < n && r == 0; i++)
                r = read_hook(json_array_get(list, i), arena, &out[i], err);
        *ret = out;
        *ret_n = n;
        return r;
}

int hooks_from_json(json_t *object, struct arena *arena, struct spec_hooks *ret, struct err *err) {
        *ret = (struct spec_hooks){ 0 };
        if (object && !json_is_null(object) && !json_is_object(object))
                return err_set(err, ERR_INVALID, "hooks: not an object");
        for (unsigned i = 0; i < SPEC_HOOK_MAX; i++) {
                int r = read_kind(json_object_get(object, names[i]), arena, &ret->list[i], &ret->n[i], err);

                if (r < 0)
                        return err_wrap(err, "hooks.%s", names[i]);
        }
        return 0;
}

static json_t *hook_to_json(const struct spec_hook *h) {
        json_t *j = json_pack("{s:s, s:o, s:o}", "path", h->path, "args", json_from_strings(h->args), "env",
                              json_from_strings(h->env));

        if (j && h->timeout_ms)
                (void) !json_object_set_new(j, "timeout", json_integer((json_int_t) (h->timeout_ms + 999) / 1000));
        return j;
}

json_t *hooks_to_json(const struct spec_hooks *hooks) {
        json_t *j = json_object();

        for (unsigned i = 0; j && i < SPEC_HOOK_MAX; i++) {
                json_t *list = json_array();

                for (size_t k = 0; list && k < hooks->n[i]; k++)
                        if (json_array_append_new(list, hook_to_json(&hooks->list[i][k])) < 0)
                                list = json_unref(list);
                if (json_object_set_new(j, names[i], list) < 0)
                        j = json_unref(j);
        }
        return j;
}
