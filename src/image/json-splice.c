/* SPDX-License-Identifier: Apache-2.0 */
#include "image/json-splice.h"

#include <stdbool.h>
#include <string.h>
#include "base/json.h"
#include "base/str.h"

/* The document is valid: brackets match, strings end. */
static size_t skip_blanks(const struct strbuf *doc, size_t at) {
        while (at < doc->len && strchr(" \t\r\n", doc->data[at]))
                at++;
        return at;
}

static size_t skip_string(const struct strbuf *doc, size_t at) {
        for (at++; at < doc->len && doc->data[at] != '"'; at++)
                at += doc->data[at] == '\\';
        return at + 1;
}

static size_t skip_value(const struct strbuf *doc, size_t at) {
        size_t depth = 0;

        do {
                char c = doc->data[at];

                if (c == '"') {
                        at = skip_string(doc, at);
                        continue;
                }
                if (depth == 0 && strchr(",]} \t\r\n", c))
                        break;
                depth += c == '{' || c == '[';
                depth -= c == '}' || c == ']';
                at++;
                if (depth == 0 && (c == '}' || c == ']'))
                        break;
        } while (at < doc->len);
        return at;
}

static bool is_name(const struct strbuf *doc, size_t from, size_t to, const char *name) {
        _cleanup_(json_unrefp) json_t *s = json_loadb(doc->data + from, to - from, JSON_DECODE_ANY, NULL);

        return str_eq(json_string_value(s), name);
}

struct member {
        size_t start;    /* of its name */
        size_t from, to; /* its value */
        size_t end;      /* of the object that it is in, or would be: its bracket */
        bool found, alone;
};

/* In the object that begins at @at. */
static struct member find(const struct strbuf *doc, size_t at, const char *name) {
        struct member m = { .alone = true };
        size_t n = 0;

        for (at = skip_blanks(doc, at + 1); at < doc->len && doc->data[at] != '}'; n++) {
                size_t start = at, name_end = skip_string(doc, at), from, to;

                from = skip_blanks(doc, skip_blanks(doc, name_end) + 1); /* past the colon */
                to = skip_value(doc, from);
                if (is_name(doc, start, name_end, name)) {
                        m.found = true;
                        m.start = start;
                        m.from = from;
                        m.to = to;
                }
                at = skip_blanks(doc, to);
                if (at < doc->len && doc->data[at] == ',')
                        at = skip_blanks(doc, at + 1);
        }
        m.end = at;
        m.alone = n == (m.found ? 1 : 0);
        return m;
}

/* What is in [@from, @to) becomes @text. */
static void replace(struct strbuf *doc, size_t from, size_t to, const char *text) {
        struct strbuf b = STRBUF(doc->max);

        strbuf_append(&b, doc->data, from);
        strbuf_puts(&b, text);
        strbuf_append(&b, doc->data + to, doc->len - to);
        strbuf_done(doc);
        *doc = b;
}

/* With the comma after it or, of the last one, before it. */
static void cut(struct strbuf *doc, const struct member *m) {
        size_t from = m->start, to = skip_blanks(doc, m->to);

        if (doc->data[to] == ',')
                to = skip_blanks(doc, to + 1);
        else
                for (to = m->to; !m->alone && doc->data[from] != ',';)
                        from--;
        replace(doc, from, to, "");
}

static void add(struct strbuf *doc, const struct member *m, const char *name, const char *value) {
        _cleanup_(json_unrefp) json_t *s = json_string(name);
        _cleanup_(freep) char *quoted = json_dumps(s, JSON_ENCODE_ANY);
        _cleanup_strbuf_ struct strbuf text = STRBUF(doc->max);

        strbuf_printf(&text, "%s%s:", m->alone ? "" : ",", quoted ?: "");
        strbuf_puts(&text, value);
        doc->overflow |= text.overflow || !quoted;
        replace(doc, m->end, m->end, strbuf_str(&text));
}

/* The member behind @path; with @empty it is made where it is missing or null. False: there is none. */
static bool walk(struct strbuf *doc, const char *const *path, const char *empty, struct member *ret) {
        size_t at = skip_blanks(doc, 0);

        for (; !doc->overflow; path++) {
                const char *made = empty && path[1] ? "{}" : empty;

                *ret = find(doc, at, *path);
                if (made && !ret->found)
                        add(doc, ret, *path, made);
                else if (made && doc->data[ret->from] == 'n') /* null */
                        replace(doc, ret->from, ret->to, made);
                if (doc->overflow)
                        return false;
                *ret = find(doc, at, *path);
                if (!ret->found || !path[1])
                        return ret->found;
                if (doc->data[ret->from] != '{')
                        return false;
                at = ret->from;
        }
        return false;
}

void json_splice(struct strbuf *doc, const char *const *path, const char *value) {
        struct member m;

        if (!walk(doc, path, value ? "null" : NULL, &m))
                return;
        if (value)
                replace(doc, m.from, m.to, value);
        else
                cut(doc, &m);
}

void json_splice_append(struct strbuf *doc, const char *const *path, const char *value) {
        _cleanup_strbuf_ struct strbuf text = STRBUF(doc->max);
        struct member m;
        size_t last;

        if (!walk(doc, path, "[]", &m) || doc->data[m.from] != '[')
                return;
        last = m.to - 2; /* before the bracket */
        while (strchr(" \t\r\n", doc->data[last]))
                last--;
        if (last != m.from)
                strbuf_putc(&text, ',');
        strbuf_puts(&text, value);
        doc->overflow |= text.overflow;
        replace(doc, last + 1, last + 1, strbuf_str(&text));
}
