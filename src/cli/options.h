/* SPDX-License-Identifier: Apache-2.0 */
/* options - the options of a verb as a table, from which parser, help and completions are made. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

struct cli_option {
        char letter;      /* 0: none */
        const char *name; /* NULL ends a table */
        const char *arg;  /* what its value is called; NULL: it takes none */
        const char *help;
};
#define CLI_NO_OPTIONS ((const struct cli_option[]){ { 0 } })

enum { CLI_OPTIONS_MAX = 256, CLI_ARGS_MAX = 4096 };

struct cli_args {
        struct {
                const struct cli_option *option;
                const char *value;
        } set[CLI_OPTIONS_MAX];
        size_t n_set;
        const char *rest[CLI_ARGS_MAX + 1]; /* the arguments, NULL-terminated */
        size_t n_rest;
};

/* Parse @argv (NULL-terminated) by @options, then @more (may be NULL). With @stop, the first argument ends the options;
 * else they may be mixed. "--" ends them always. ERR_INVALID. */
_must_use_ int args_parse(struct cli_args *a, char *const *argv, const struct cli_option *options,
                          const struct cli_option *more, bool stop, struct err *err);
bool args_has(const struct cli_args *a, const char *name);
const char *args_value(const struct cli_args *a, const char *name); /* the last one given, or NULL */
/* Each value of an option that may be repeated: for (size_t it = 0; (v = args_next(a, "env", &it));) */
const char *args_next(const struct cli_args *a, const char *name, size_t *it);
