/* SPDX-License-Identifier: Apache-2.0 */
/* cni-template - see cni-template.h. One pass over the text that carries the actions out as it meets them; what an "if"
 * or an empty list leaves out is walked, too, so that its mistakes are found. */
#include "net/cni-template.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/attr.h"
#include "base/str.h"

enum {
        VARIABLES_MAX = 16,
        NAME_MAX_LEN = 32,
        DEPTH_MAX = 16,
        ACTIONS_MAX = 20000, /* carried out, over all rounds of all ranges */
};

/* --- ranges ------------------------------------------------------------------------------------------------------ */

static void clear_host_bits(unsigned char *address, size_t bytes, unsigned bits) {
        for (size_t i = 0; i < bytes; i++, bits -= MIN_OF(bits, 8U))
                if (bits < 8)
                        address[i] &= (unsigned char) (0xff00U >> bits);
}

static int parse_cidr(const char *text, size_t len, char ret[CNI_CIDR_MAX], int *ret_family) {
        unsigned char address[sizeof(struct in6_addr)];
        char copy[CNI_CIDR_MAX], *slash;
        uint64_t bits, max;

        if (len >= sizeof(copy))
                return -1;
        memcpy(copy, text, len);
        copy[len] = '\0';
        slash = strchr(copy, '/');
        if (!slash)
                return -1;
        *slash = '\0';
        *ret_family = strchr(copy, ':') ? AF_INET6 : AF_INET;
        max = *ret_family == AF_INET ? 32 : 128;
        if (inet_pton(*ret_family, copy, address) != 1 || !str_to_u64(slash + 1, &bits) || bits > max)
                return -1;
        clear_host_bits(address, max / 8, (unsigned) bits);
        if (!inet_ntop(*ret_family, address, copy, sizeof(copy)))
                return -1;
        (void) snprintf(ret, CNI_CIDR_MAX, "%.46s/%u", copy, (unsigned) bits);
        return 0;
}

int cni_ranges_parse(const char *text, struct cni_ranges *ret, struct err *err) {
        int families[CNI_CIDRS_MAX];
        size_t n = 0;

        memset(ret, 0, sizeof(*ret));
        for (const char *p = text;; p++) {
                size_t len = strcspn(p, ",");

                if (n == CNI_CIDRS_MAX)
                        return err_set(err, ERR_INVALID, "pod_cidr '%.100s' names more than %d ranges", text,
                                       CNI_CIDRS_MAX);
                if (parse_cidr(p, len, ret->text[n], &families[n]) < 0)
                        return err_set(err, ERR_INVALID,
                                       "pod_cidr: '%.*s' is not a range of addresses like 10.244.1.0/24",
                                       (int) MIN_OF(len, (size_t) 100), p);
                ret->cidrs[n] = ret->text[n];
                ret->routes[n] = families[n] == AF_INET ? "0.0.0.0/0" : "::/0";
                n++;
                p += len;
                if (!*p)
                        break;
        }
        if (n == 2 && families[0] == families[1])
                return err_set(err, ERR_INVALID, "pod_cidr '%.100s': two ranges must be one of IPv4 and one of IPv6",
                               text);
        return 0;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

enum value_kind { VALUE_NONE, VALUE_DATA, VALUE_TEXT, VALUE_LIST, VALUE_NUMBER };

struct value {
        enum value_kind kind;
        const char *text;
        const char *const *list; /* NULL-terminated */
        size_t number;
};

struct variable {
        char name[NAME_MAX_LEN]; /* without the "$" */
        struct value value;
};

struct filler {
        const struct cni_ranges *data;
        const char *begin, *at, *end;
        struct strbuf *out;
        struct value dot;
        struct variable variables[VARIABLES_MAX];
        size_t n_variables;
        unsigned depth, actions;
        struct err *err;
};

/* What a block ended with. */
enum stop { STOP_END, STOP_ELSE, STOP_ELSE_IF, STOP_TEXT };

/* An action's words: what is between the braces, without blanks and dashes at its ends. */
struct action {
        const char *p, *end;
        const char *where; /* for errors */
};

_printf_(3, 4) static int bad(struct filler *f, const char *where, const char *fmt, ...) {
        unsigned line = 1;
        char text[300];
        va_list ap;

        for (const char *p = f->begin; p < where; p++)
                line += *p == '\n';
        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        return err_set(f->err, ERR_INVALID, "line %u: %s", line, text);
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blanks(struct action *a) {
        while (a->p < a->end && is_blank(*a->p))
                a->p++;
}

static bool take_char(struct action *a, const char *what) {
        size_t n = strlen(what);

        skip_blanks(a);
        if ((size_t) (a->end - a->p) < n || memcmp(a->p, what, n) != 0)
                return false;
        a->p += n;
        return true;
}

/* Letters, digits and "_"; empty when there are none. */
static int take_name(struct filler *f, struct action *a, char ret[NAME_MAX_LEN]) {
        size_t n = 0;

        while (a->p + n < a->end && (isalnum((unsigned char) a->p[n]) || a->p[n] == '_'))
                n++;
        if (n >= NAME_MAX_LEN)
                return bad(f, a->where, "the name '%.*s...' is too long", NAME_MAX_LEN, a->p);
        memcpy(ret, a->p, n);
        ret[n] = '\0';
        a->p += n;
        return 0;
}

static int field(struct filler *f, const struct action *a, const struct value *of, const char *name, bool run,
                 struct value *ret) {
        if (!run)
                return 0; /* what "." is can't be known */
        if (of->kind != VALUE_DATA)
                return bad(f, a->where, "there is no .%s in it; inside a range use $.%s", name, name);
        if (str_eq(name, "PodCIDR"))
                *ret = (struct value){ .kind = VALUE_TEXT, .text = f->data->cidrs[0] };
        else if (str_eq(name, "PodCIDRRanges"))
                *ret = (struct value){ .kind = VALUE_LIST, .list = f->data->cidrs };
        else if (str_eq(name, "Routes"))
                *ret = (struct value){ .kind = VALUE_LIST, .list = f->data->routes };
        else
                return bad(f, a->where, ".%s is unknown; there are .PodCIDR, .PodCIDRRanges and .Routes", name);
        return 0;
}

static int variable(struct filler *f, const struct action *a, const char *name, struct value *ret) {
        if (!*name) {
                *ret = (struct value){ .kind = VALUE_DATA };
                return 0;
        }
        for (size_t i = f->n_variables; i > 0; i--) {
                if (str_eq(f->variables[i - 1].name, name)) {
                        *ret = f->variables[i - 1].value;
                        return 0;
                }
        }
        return bad(f, a->where, "the variable $%s is unknown", name);
}

/* ".", ".Name", "$", "$name", "$.Name": all that is left of the action. */
static int take_value(struct filler *f, struct action *a, bool run, struct value *ret) {
        struct value base = f->dot;
        char name[NAME_MAX_LEN];
        int r = 0;

        *ret = (struct value){ 0 };
        skip_blanks(a);
        if (a->p < a->end && *a->p == '$') {
                a->p++;
                r = take_name(f, a, name);
                if (r == 0)
                        r = variable(f, a, name, &base);
        } else if (a->p == a->end || *a->p != '.') {
                return bad(f, a->where, "expected .Name or $name, found '%.*s'",
                           (int) MIN_OF(a->end - a->p, (ptrdiff_t) 40), a->p);
        }
        if (r < 0)
                return r;
        *ret = base;
        if (a->p < a->end && *a->p == '.') {
                a->p++;
                r = take_name(f, a, name);
                if (r == 0 && *name)
                        r = field(f, a, &base, name, run, ret);
        }
        if (r < 0)
                return r;
        skip_blanks(a);
        if (a->p != a->end)
                return bad(f, a->where, "'%.*s' is not understood here", (int) MIN_OF(a->end - a->p, (ptrdiff_t) 40),
                           a->p);
        return 0;
}

static bool is_true(const struct value *v) {
        switch (v->kind) {
        case VALUE_TEXT:
                return *v->text != '\0';
        case VALUE_LIST:
                return v->list[0] != NULL;
        case VALUE_NUMBER:
                return v->number != 0;
        case VALUE_DATA:
                return true;
        case VALUE_NONE:
                break;
        }
        return false;
}

static int put_value(struct filler *f, const struct action *a, const struct value *v) {
        switch (v->kind) {
        case VALUE_TEXT:
                strbuf_puts(f->out, v->text);
                return 0;
        case VALUE_NUMBER:
                strbuf_printf(f->out, "%zu", v->number);
                return 0;
        case VALUE_LIST:
        case VALUE_DATA:
        case VALUE_NONE:
                break;
        }
        return bad(f, a->where, "a list can't be put into the text; use range");
}

/* --- text and actions -------------------------------------------------------------------------------------------- */

/* Text up to the next action, which is taken, or to the end: then @a->p is NULL. */
static int next_action(struct filler *f, bool run, struct action *a) {
        const char *open = memmem(f->at, (size_t) (f->end - f->at), "{{", 2), *text_end = open ? open : f->end, *close;
        bool trims = open && f->end - open > 3 && open[2] == '-' && is_blank(open[3]);

        *a = (struct action){ .where = text_end };
        while (trims && text_end > f->at && is_blank(text_end[-1]))
                text_end--;
        if (run)
                strbuf_append(f->out, f->at, (size_t) (text_end - f->at));
        f->at = f->end;
        if (!open)
                return 0;
        a->p = open + (trims ? 3 : 2);
        close = memmem(a->p, (size_t) (f->end - a->p), "}}", 2);
        if (!close)
                return bad(f, a->where, "the action has no }}");
        f->at = close + 2;
        a->end = close;
        if (close - a->p >= 2 && close[-1] == '-' && is_blank(close[-2])) {
                a->end--;
                while (f->at < f->end && is_blank(*f->at))
                        f->at++;
        }
        skip_blanks(a);
        while (a->end > a->p && is_blank(a->end[-1]))
                a->end--;
        if (++f->actions > ACTIONS_MAX || f->out->overflow)
                return bad(f, a->where, "the result is too large");
        return 0;
}

/* A whole word at the beginning. */
static bool take_word(struct action *a, const char *word) {
        size_t n = strlen(word);

        if ((size_t) (a->end - a->p) < n || memcmp(a->p, word, n) != 0 || (a->p + n < a->end && !is_blank(a->p[n])))
                return false;
        a->p += n;
        skip_blanks(a);
        return true;
}

static int block(struct filler *f, bool run, enum stop *ret_stop, struct action *ret_stop_action);

/* A block that has to be closed. */
static int inner_block(struct filler *f, const struct action *opened, bool run, enum stop *ret_stop,
                       struct action *ret_action) {
        int r;

        if (++f->depth > DEPTH_MAX)
                return bad(f, opened->where, "blocks are nested more than %d deep", DEPTH_MAX);
        r = block(f, run, ret_stop, ret_action);
        f->depth--;
        if (r == 0 && *ret_stop == STOP_TEXT)
                return bad(f, opened->where, "the block has no {{end}}");
        return r;
}

static int do_if(struct filler *f, struct action *a, bool run) {
        bool done = false;
        enum stop stop = STOP_ELSE_IF;
        struct action at = *a, next;

        while (stop == STOP_ELSE_IF) {
                struct value v;
                bool take;
                int r = take_value(f, &at, run && !done, &v);

                if (r < 0)
                        return r;
                take = run && !done && is_true(&v);
                done = done || take;
                r = inner_block(f, a, take, &stop, &next);
                if (r < 0)
                        return r;
                at = next;
                if (stop != STOP_ELSE)
                        continue;
                r = inner_block(f, a, run && !done, &stop, &next);
                if (r < 0)
                        return r;
                if (stop != STOP_END)
                        return bad(f, next.where, "after {{else}} comes {{end}}");
        }
        return 0;
}

/* "$x := " or "$i, $x := ", if there. @names: room for two. */
static int take_declared(struct filler *f, struct action *a, char names[2][NAME_MAX_LEN], size_t *ret_n) {
        struct action look = *a;

        *ret_n = 0;
        while (*ret_n < 2 && take_char(&look, "$")) {
                int r = take_name(f, &look, names[*ret_n]);

                if (r < 0)
                        return r;
                if (!*names[*ret_n])
                        break;
                (*ret_n)++;
                if (take_char(&look, ":=")) {
                        *a = look;
                        return 0;
                }
                if (!take_char(&look, ","))
                        break;
        }
        *ret_n = 0; /* just a value */
        return 0;
}

static int declare(struct filler *f, const struct action *a, char names[2][NAME_MAX_LEN], size_t n, size_t i,
                   const char *element) {
        const struct value values[] = { { .kind = VALUE_NUMBER, .number = i },
                                        { .kind = VALUE_TEXT, .text = element ? element : "" } };

        if (f->n_variables + n > VARIABLES_MAX)
                return bad(f, a->where, "more than %d variables at once", VARIABLES_MAX);
        for (size_t k = 0; k < n; k++) {
                struct variable *v = &f->variables[f->n_variables++];

                memcpy(v->name, names[k], sizeof(v->name));
                v->value = values[n == 1 ? 1 : k];
        }
        return 0;
}

/* One round of a range, or none: the body is walked all the same. */
static int round_of(struct filler *f, const struct action *a, char names[2][NAME_MAX_LEN], size_t n, size_t i,
                    const char *element, enum stop *ret_stop, struct action *ret_action) {
        struct value dot = f->dot;
        size_t before = f->n_variables;
        int r = declare(f, a, names, n, i, element);

        f->dot = element ? (struct value){ .kind = VALUE_TEXT, .text = element } : (struct value){ 0 };
        if (r == 0)
                r = inner_block(f, a, element != NULL, ret_stop, ret_action);
        f->dot = dot;
        f->n_variables = before;
        return r;
}

static int do_range(struct filler *f, struct action *a, bool run) {
        static const char *const none[] = { NULL };
        char names[2][NAME_MAX_LEN];
        const char *body = f->at;
        struct action last = { 0 };
        struct value v;
        enum stop stop = STOP_TEXT;
        size_t n, i = 0;
        int r = take_declared(f, a, names, &n);

        if (r == 0)
                r = take_value(f, a, run, &v);
        if (r < 0)
                return r;
        if (run && v.kind != VALUE_LIST)
                return bad(f, a->where, "range needs a list: .PodCIDRRanges or .Routes");
        if (!run)
                v.list = none;
        do {
                f->at = body;
                r = round_of(f, a, names, n, i, v.list[i], &stop, &last);
                if (r < 0)
                        return r;
        } while (v.list[i] && v.list[++i]);
        if (stop == STOP_ELSE) {
                r = inner_block(f, a, run && !v.list[0], &stop, &last);
                if (r < 0)
                        return r;
        }
        return stop == STOP_END ? 0 : bad(f, last.where, "after {{else}} comes {{end}}");
}

static bool is_comment(const struct action *a) {
        size_t n = (size_t) (a->end - a->p);

        return n >= 4 && a->p[0] == '/' && a->p[1] == '*' && a->p[n - 2] == '*' && a->p[n - 1] == '/';
}

/* Text and actions up to one that ends the block. */
static int block(struct filler *f, bool run, enum stop *ret_stop, struct action *ret_stop_action) {
        for (;;) {
                struct value v;
                struct action a;
                int r = next_action(f, run, &a);

                if (r < 0)
                        return r;
                *ret_stop_action = a;
                if (!a.p) {
                        *ret_stop = STOP_TEXT;
                        return 0;
                }
                if (is_comment(&a))
                        continue;
                if (take_word(&a, "end") && a.p == a.end) {
                        *ret_stop = STOP_END;
                        return 0;
                }
                if (take_word(&a, "else")) {
                        *ret_stop = take_word(&a, "if") ? STOP_ELSE_IF : STOP_ELSE;
                        *ret_stop_action = a;
                        if (*ret_stop == STOP_ELSE && a.p != a.end)
                                return bad(f, a.where, "{{else}} takes nothing but if");
                        return 0;
                }
                if (take_word(&a, "if"))
                        r = do_if(f, &a, run);
                else if (take_word(&a, "range"))
                        r = do_range(f, &a, run);
                else if ((r = take_value(f, &a, run, &v)) == 0 && run)
                        r = put_value(f, &a, &v);
                if (r < 0)
                        return r;
        }
}

int cni_template_fill(const char *text, size_t len, const struct cni_ranges *data, struct strbuf *out,
                      struct err *err) {
        struct filler f = { .data = data, .begin = text, .at = text, .end = text + len, .out = out, .err = err };
        struct action last;
        enum stop stop;
        int r;

        f.dot = (struct value){ .kind = VALUE_DATA };
        r = block(&f, true, &stop, &last);
        if (r == 0 && stop != STOP_TEXT)
                r = bad(&f, last.where, "{{%s}} without a block", stop == STOP_END ? "end" : "else");
        if (r == 0 && out->overflow)
                r = bad(&f, f.end, "the result is too large");
        return r;
}
