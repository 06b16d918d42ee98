/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>
#include "base/str.h"

static const struct cli_option *find_name(const struct cli_option *options, const char *name, size_t len) {
        for (const struct cli_option *o = options; o && o->name; o++)
                if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
                        return o;
        return NULL;
}

static const struct cli_option *find_letter(const struct cli_option *options, char letter) {
        for (const struct cli_option *o = options; o && o->name; o++)
                if (o->letter == letter)
                        return o;
        return NULL;
}

static int add(struct cli_args *a, const struct cli_option *o, const char *value, struct err *err) {
        if (a->n_set == CLI_OPTIONS_MAX)
                return err_set(err, ERR_INVALID, "more than %d options", CLI_OPTIONS_MAX);
        a->set[a->n_set].option = o;
        a->set[a->n_set++].value = value;
        return 0;
}

/* "--name", "--name=value", "--name value". Returns how many further words it took, or -code. */
static int parse_long(struct cli_args *a, const char *word, const char *next, const struct cli_option *options,
                      const struct cli_option *more, struct err *err) {
        const char *value = strchr(word, '=');
        size_t len = value ? (size_t) (value - word) : strlen(word);
        const struct cli_option *o = find_name(options, word, len);
        int r;

        o = o ? o : find_name(more, word, len);
        if (!o)
                return err_set(err, ERR_INVALID, "unknown option --%.*s", (int) MIN_OF(len, 64U), word);
        if (value && !o->arg) {
                /* Engines write flags so, too. */
                if (str_eq(value, "=false"))
                        return 0;
                if (!str_eq(value, "=true"))
                        return err_set(err, ERR_INVALID, "--%s takes no value", o->name);
        }
        if (o->arg && !value && !next)
                return err_set(err, ERR_INVALID, "--%s needs a value (%s)", o->name, o->arg);
        r = add(a, o, !o->arg ? NULL : value ? value + 1 : next, err);
        return r < 0 ? r : o->arg && !value;
}

/* "-a", "-abc", "-oVALUE", "-o VALUE". */
static int parse_short(struct cli_args *a, const char *letters, const char *next, const struct cli_option *options,
                       const struct cli_option *more, struct err *err) {
        for (; *letters; letters++) {
                const struct cli_option *o = find_letter(options, *letters);
                int r;

                o = o ? o : find_letter(more, *letters);
                if (!o)
                        return err_set(err, ERR_INVALID, "unknown option -%c",
                                       *letters >= ' ' && *letters < 0x7f ? *letters : '?');
                if (!o->arg) {
                        if ((r = add(a, o, NULL, err)) < 0)
                                return r;
                        continue;
                }
                if (!letters[1] && !next)
                        return err_set(err, ERR_INVALID, "-%c needs a value (%s)", o->letter, o->arg);
                r = add(a, o, letters[1] ? letters + 1 : next, err);
                return r < 0 ? r : !letters[1];
        }
        return 0;
}

/* "-name", as programs in Go take it and are called. */
static bool is_long(const char *word, const struct cli_option *options, const struct cli_option *more) {
        size_t len = strcspn(word, "=");

        return len > 1 && (find_name(options, word, len) || find_name(more, word, len));
}

int args_parse(struct cli_args *a, char *const *argv, const struct cli_option *options, const struct cli_option *more,
               bool stop, struct err *err) {
        bool ended = false;
        int r;

        a->n_set = a->n_rest = 0;
        for (; *argv; argv++) {
                const char *word = *argv;

                if (!ended && str_eq(word, "--")) {
                        ended = true;
                } else if (!ended && word[0] == '-' && word[1]) {
                        if (word[1] == '-')
                                r = parse_long(a, word + 2, argv[1], options, more, err);
                        else if (is_long(word + 1, options, more))
                                r = parse_long(a, word + 1, argv[1], options, more, err);
                        else
                                r = parse_short(a, word + 1, argv[1], options, more, err);
                        if (r < 0)
                                return r;
                        argv += r;
                } else if (a->n_rest == CLI_ARGS_MAX) {
                        return err_set(err, ERR_INVALID, "more than %d arguments", CLI_ARGS_MAX);
                } else {
                        a->rest[a->n_rest++] = word;
                        ended = ended || stop;
                }
        }
        a->rest[a->n_rest] = NULL;
        return 0;
}

bool args_has(const struct cli_args *a, const char *name) {
        for (size_t i = 0; i < a->n_set; i++)
                if (str_eq(a->set[i].option->name, name))
                        return true;
        return false;
}

const char *args_value(const struct cli_args *a, const char *name) {
        const char *value = NULL;

        for (size_t i = 0; i < a->n_set; i++)
                if (str_eq(a->set[i].option->name, name))
                        value = a->set[i].value;
        return value;
}

const char *args_next(const struct cli_args *a, const char *name, size_t *it) {
        while (*it < a->n_set) {
                size_t i = (*it)++;

                if (str_eq(a->set[i].option->name, name))
                        return a->set[i].value;
        }
        return NULL;
}
