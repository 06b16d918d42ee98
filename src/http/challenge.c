/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of challenges and lists of parameters are both separated by commas; what follows a comma is a parameter when it
 * is "token =" and a new challenge when it is "token" and then a blank, a comma or the end. */
#include "http/challenge.h"

#include <ctype.h>
#include <string.h>
#include "base/str.h"

static bool is_token_char(char c) {
        return isalnum((unsigned char) c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_blanks(const char *p) {
        while (*p == ' ' || *p == '\t')
                p++;
        return p;
}

static const char *skip_separators(const char *p) {
        while (*p == ' ' || *p == '\t' || *p == ',')
                p++;
        return p;
}

static const char *token_end(const char *p) {
        while (is_token_char(*p))
                p++;
        return p;
}

static char *lower_copy(struct arena *arena, const char *from, const char *to) {
        char *s = arena_strndup(arena, from, (size_t) (to - from));

        for (char *p = s; *p; p++)
                *p = (char) tolower((unsigned char) *p);
        return s;
}

/* "..." with backslash escapes; @p is behind the opening quote. Returns what follows the closing one, NULL without it.
 */
static const char *quoted(const char *p, struct arena *arena, const char **ret) {
        const char *end = p;
        char *out, *to;

        while (*end && *end != '"')
                end += *end == '\\' && end[1] ? 2 : 1;
        out = to = arena_xalloc(arena, (size_t) (end - p) + 1, 1);
        for (; *p && *p != '"'; p++) {
                if (*p == '\\' && p[1])
                        p++;
                *to++ = *p;
        }
        *ret = out;
        return *p == '"' ? p + 1 : NULL;
}

/* name = value, where @p is at the name and @name_end behind it. Returns what follows, or NULL. */
static const char *parameter(const char *p, const char *name_end, struct arena *arena, struct challenge_param *ret) {
        const char *end;

        ret->name = lower_copy(arena, p, name_end);
        p = skip_blanks(skip_blanks(name_end) + 1);
        if (*p == '"')
                return quoted(p + 1, arena, &ret->value);
        /* Unquoted values are tokens by the grammar; real servers send URLs unquoted, which does no harm. */
        end = p + strcspn(p, " \t,\"");
        ret->value = arena_strndup(arena, p, (size_t) (end - p));
        return end;
}

/* The rest of a token68 ("=" padding of "Negotiate abc=="), which carries nothing for us. */
static const char *skip_token68(const char *p) {
        const char *end = p;

        while (isalnum((unsigned char) *end) || (*end && strchr("-._~+/", *end)))
                end++;
        while (*end == '=')
                end++;
        return end;
}

static bool at_parameter(const char *p, const char **ret_name_end) {
        const char *end = token_end(p), *next = skip_blanks(end);

        *ret_name_end = end;
        /* "abc==" is padding, not a parameter; "a=," is an empty value, kept. */
        return end > p && *next == '=' && next[1] != '=';
}

static int one_challenge(const char **at, struct arena *arena, struct challenges *ret, struct err *err) {
        const char *p = *at, *end = token_end(p);
        struct challenge *c;

        if (end == p)
                return err_set(err, ERR_INVALID, "malformed WWW-Authenticate header");
        if (ret->n == CHALLENGE_MAX)
                return err_set(err, ERR_EXHAUSTED, "more than %d challenges in WWW-Authenticate", CHALLENGE_MAX);
        c = &ret->list[ret->n];
        *c = (struct challenge){ .scheme = lower_copy(arena, p, end) };
        p = skip_blanks(end);
        if (p == end && *p && *p != ',')
                return err_set(err, ERR_INVALID, "malformed WWW-Authenticate header");
        if (p > end && *p && *p != ',' && !at_parameter(p, &end))
                p = skip_token68(p);
        for (;;) {
                const char *next = skip_separators(p);

                if (!at_parameter(next, &end)) {
                        p = next;
                        break;
                }
                if (c->n_params == CHALLENGE_PARAMS_MAX)
                        return err_set(err, ERR_EXHAUSTED, "more than %d parameters in WWW-Authenticate",
                                       CHALLENGE_PARAMS_MAX);
                p = parameter(next, end, arena, &c->params[c->n_params++]);
                if (!p)
                        return err_set(err, ERR_INVALID, "unterminated quote in WWW-Authenticate header");
        }
        ret->n++;
        *at = p;
        return 0;
}

int challenge_parse(const char *value, struct arena *arena, struct challenges *ret, struct err *err) {
        const char *p = skip_separators(value);
        int r;

        if (strlen(value) > CHALLENGE_BYTES_MAX)
                return err_set(err, ERR_EXHAUSTED, "WWW-Authenticate header is larger than %d bytes",
                               CHALLENGE_BYTES_MAX);
        while (*p) {
                r = one_challenge(&p, arena, ret, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

const struct challenge *challenge_find(const struct challenges *c, const char *scheme) {
        for (size_t i = 0; i < c->n; i++)
                if (str_eq(c->list[i].scheme, scheme))
                        return &c->list[i];
        return NULL;
}

const char *challenge_param(const struct challenge *c, const char *name) {
        for (size_t i = 0; i < c->n_params; i++)
                if (str_eq(c->params[i].name, name))
                        return c->params[i].value;
        return NULL;
}
