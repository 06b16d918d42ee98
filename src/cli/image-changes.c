/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image-changes.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include "base/json.h"
#include "base/str.h"
#include "base/strbuf.h"

enum { WORDS_MAX = 4096, WORD_BYTES_MAX = 1 << 20 };

static int add(struct image_changes *c, const char *what, const char *value, bool remove, const char **words,
               struct err *err) {
        Proxmoxlxcri__V1__ImageChange *m;

        if (c->n == IMAGE_CHANGES_MAX)
                return err_set(err, ERR_INVALID, "more than %d changes", IMAGE_CHANGES_MAX);
        m = c->list[c->n++] = arena_new_of(c->arena, Proxmoxlxcri__V1__ImageChange);
        proxmoxlxcri__v1__image_change__init(m);
        m->what = (char *) (uintptr_t) what;
        m->value = (char *) (uintptr_t) value;
        m->remove = remove;
        m->words = (char **) (uintptr_t) words;
        while (words && words[m->n_words])
                m->n_words++;
        return 0;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

/* NULL: it is none. */
static const char **json_words(struct image_changes *c, const char *text) {
        _cleanup_(json_unrefp) json_t *list = json_loads(text, 0, NULL);
        const char **words;
        json_t *word;
        size_t i;

        if (!json_is_array(list))
                return NULL;
        words = arena_array(c->arena, const char *, json_array_size(list) + 1);
        json_array_foreach(list, i, word) {
                if (!json_is_string(word))
                        return NULL;
                words[i] = arena_strdup(c->arena, json_string_value(word));
        }
        return words;
}

static const char **shell_words(struct image_changes *c, const char *line) {
        const char *const words[] = { "/bin/sh", "-c", arena_strdup(c->arena, line), NULL };

        return arena_memdup(c->arena, words, sizeof(words));
}

/* Does a backslash take the meaning from the next character, or stand for itself? */
static bool is_escape(char quote, char next) {
        return next && quote != '\'' && (quote != '"' || strchr("\"\\$`", next));
}

/* One word of a line as a shell would read it, without variables; the line from it on is @at. False: a quote is open.
 */
static bool take_word(const char **at, struct strbuf *word) {
        char quote = 0;

        for (; **at && (quote || !isspace((unsigned char) **at)); (*at)++) {
                char ch = **at;

                if (ch == quote) {
                        quote = 0;
                } else if (!quote && (ch == '"' || ch == '\'')) {
                        quote = ch;
                } else {
                        if (ch == '\\' && is_escape(quote, (*at)[1]))
                                ch = *++*at;
                        strbuf_putc(word, ch);
                }
        }
        return !quote;
}

static int split(struct image_changes *c, const char *line, const char ***ret, struct err *err) {
        const char **words = *ret = arena_array(c->arena, const char *, WORDS_MAX + 1), *at = line;

        for (;;) {
                _cleanup_strbuf_ struct strbuf word = STRBUF(WORD_BYTES_MAX);

                at += strspn(at, " \t\r\n");
                if (!*at)
                        return 0;
                if (words == *ret + WORDS_MAX)
                        return err_set(err, ERR_INVALID, "more than %d words", WORDS_MAX);
                if (!take_word(&at, &word) || word.overflow)
                        return err_set(err, ERR_INVALID, "a quote does not end in \"%.200s\"", line);
                *words++ = arena_strdup(c->arena, strbuf_str(&word));
        }
}

/* --- options ------------------------------------------------------------------------------------------------------ */

/* "-" for all, "KEY-" for one. */
static int add_entry(struct image_changes *c, const char *what, const char *value, struct err *err) {
        size_t len = strlen(value);

        if (len && value[len - 1] == '-' && !strchr(value, '='))
                return add(c, what, arena_strndup(c->arena, value, len - 1), true, NULL, err);
        return add(c, what, value, false, NULL, err);
}

static int add_command(struct image_changes *c, const char *what, const char *value, struct err *err) {
        const char **words = json_words(c, value);
        int r = 0;

        if (!words && *value && str_eq(what, "entrypoint"))
                words = shell_words(c, value);
        else if (!words)
                r = split(c, value, &words, err);
        return r < 0 ? r : add(c, what, "", !words || !*words, words, err);
}

int changes_of_options(struct image_changes *c, const struct cli_args *args, struct err *err) {
        static const struct {
                const char *option, *what;
                int (*add)(struct image_changes *c, const char *what, const char *value, struct err *err);
        } known[] = { { "annotation", "annotation", add_entry },
                      { "env", "env", add_entry },
                      { "label", "label", add_entry },
                      { "onbuild", "onbuild", add_entry },
                      { "port", "port", add_entry },
                      { "expose", "port", add_entry },
                      { "volume", "volume", add_entry },
                      { "cmd", "cmd", add_command },
                      { "entrypoint", "entrypoint", add_command },
                      { "arch", "arch", NULL },
                      { "author", "author", NULL },
                      { "os", "os", NULL },
                      { "stop-signal", "stop-signal", NULL },
                      { "user", "user", NULL },
                      { "variant", "variant", NULL },
                      { "workingdir", "workingdir", NULL },
                      { "workdir", "workingdir", NULL } };
        int r = 0;

        for (size_t i = 0; r == 0 && i < args->n_set; i++)
                for (size_t k = 0; r == 0 && k < ELEMENTSOF(known); k++)
                        if (str_eq(args->set[i].option->name, known[k].option))
                                r = known[k].add ? known[k].add(c, known[k].what, args->set[i].value, err)
                                                 : add(c, known[k].what, args->set[i].value, !*args->set[i].value, NULL,
                                                       err);
        return r;
}

/* --- instructions ------------------------------------------------------------------------------------------------- */

static int command(struct image_changes *c, const char *what, const char *rest, struct err *err) {
        const char **words = json_words(c, rest);

        if (!words && *rest)
                words = shell_words(c, rest);
        return add(c, what, "", !words || !*words, words, err);
}

/* "KEY=VALUE KEY2=VALUE2", or as Docker once had it "KEY VALUE". */
static int pairs(struct image_changes *c, const char *what, const char *rest, struct err *err) {
        size_t key = strcspn(rest, "= \t");
        const char **words;
        int r;

        if (rest[key] && rest[key] != '=')
                return add(c, what,
                           arena_printf(c->arena, "%.*s=%s", (int) key, rest, rest + key + strspn(rest + key, " \t")),
                           false, NULL, err);
        r = split(c, rest, &words, err);
        for (; r == 0 && *words; words++)
                r = add(c, what, *words, false, NULL, err);
        return r;
}

static int entries(struct image_changes *c, const char *what, const char *rest, struct err *err) {
        const char **words = json_words(c, rest);
        int r = words ? 0 : split(c, rest, &words, err);

        for (; r == 0 && *words; words++)
                r = add(c, what, *words, false, NULL, err);
        return r;
}

static int text(struct image_changes *c, const char *what, const char *rest, struct err *err) {
        return add(c, what, rest, !*rest, NULL, err);
}

int changes_of_instruction(struct image_changes *c, const char *line, struct err *err) {
        static const struct {
                const char *name, *what;
                int (*take)(struct image_changes *c, const char *what, const char *rest, struct err *err);
        } known[] = { { "CMD", "cmd", command },       { "ENTRYPOINT", "entrypoint", command },
                      { "ENV", "env", pairs },         { "LABEL", "label", pairs },
                      { "EXPOSE", "port", entries },   { "VOLUME", "volume", entries },
                      { "USER", "user", text },        { "WORKDIR", "workingdir", text },
                      { "ONBUILD", "onbuild", text },  { "STOPSIGNAL", "stop-signal", text },
                      { "MAINTAINER", "author", text } };
        size_t len = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
        const char *rest = line + len;

        if (*rest == '=')
                rest++;
        rest += strspn(rest, " \t");
        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (strlen(known[i].name) == len && strncasecmp(line, known[i].name, len) == 0)
                        return known[i].take(c, known[i].what, rest, err);
        return err_set(
                err, ERR_INVALID,
                "\"%.100s\" can't be applied: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, MAINTAINER, ONBUILD, STOPSIGNAL, "
                "USER, VOLUME and WORKDIR can",
                line);
}

int changes_zstd(const struct cli_args *args, protobuf_c_boolean *ret, struct err *err) {
        const char *how = args_value(args, "compression") ?: "gzip";

        *ret = str_eq(how, "zstd");
        return *ret || str_eq(how, "gzip")
                       ? 0
                       : err_set(err, ERR_INVALID, "--compression is gzip or zstd, not \"%.32s\"", how);
}
