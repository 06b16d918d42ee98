/* SPDX-License-Identifier: Apache-2.0 */
/* test-image-changes - options and instructions, and what they become. */
#undef NDEBUG
#include "cli/image-changes.h"

#include <assert.h>
#include <stdio.h>
#include "base/str.h"

static struct arena *arena;
static struct err err;

/* "label a=b; -label a; cmd [x][y z]" */
static const char *shown(const struct image_changes *c) {
        const char *text = "";

        for (size_t i = 0; i < c->n; i++) {
                const Proxmoxlxcri__V1__ImageChange *m = c->list[i];

                text = arena_printf(arena, "%s%s%s%s %s", text, i ? "; " : "", m->remove ? "-" : "", m->what, m->value);
                for (size_t k = 0; k < m->n_words; k++)
                        text = arena_printf(arena, "%s[%s]", text, m->words[k]);
        }
        return text;
}

static void check(const char *from, const char *is, const char *want) {
        if (!str_eq(is, want))
                (void) fprintf(stderr, "%s: \"%s\", not \"%s\"\n", from, is, want);
        assert(str_eq(is, want));
}

static void test_options(void) {
        static const struct cli_option options[] = { CLI_CHANGE_OPTIONS, { 0 } };
        static const struct {
                const char *option, *value, *is;
        } rows[] = {
                { "--label", "a=b-", "label a=b-" },
                { "--label", "a-", "-label a" },
                { "--env", "-", "-env " },
                { "--port", "80-", "-port 80" },
                { "--expose", "80-90", "port 80-90" },
                { "--volume", "/a", "volume /a" },
                { "--user", "", "-user " },
                { "--workdir", "/x", "workingdir /x" },
                { "--cmd", "a 'b c' \"d\\\"\"", "cmd [a][b c][d\"]" },
                { "--cmd", "grep \"\\.c$\" '\\.h' \\.y", "cmd [grep][\\.c$][\\.h][.y]" },
                { "--cmd", "[\"a\", \"b\"]", "cmd [a][b]" },
                { "--cmd", "", "-cmd " },
                { "--cmd", "[]", "-cmd " },
                { "--entrypoint", "a b", "entrypoint [/bin/sh][-c][a b]" },
                { "--entrypoint", "[\"a b\"]", "entrypoint [a b]" },
                { "--entrypoint", "", "-entrypoint " },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char *argv[] = { (char *) (uintptr_t) rows[i].option, (char *) (uintptr_t) rows[i].value, NULL };
                struct image_changes *c = arena_new_of(arena, struct image_changes);
                struct cli_args *args = arena_new_of(arena, struct cli_args);

                c->arena = arena;
                assert(args_parse(args, argv, options, NULL, false, &err) == 0);
                assert(changes_of_options(c, args, &err) == 0);
                check(rows[i].value, shown(c), rows[i].is);
        }
}

static void test_instructions(void) {
        static const struct {
                const char *line, *is; /* NULL: none */
        } rows[] = {
                { "CMD [\"a\",\"b c\"]", "cmd [a][b c]" },
                { "cmd a b", "cmd [/bin/sh][-c][a b]" },
                { "CMD=/bin/date", "cmd [/bin/sh][-c][/bin/date]" },
                { "CMD", "-cmd " },
                { "ENTRYPOINT []", "-entrypoint " },
                { "ENV A=1 B=\"2 3\"", "env A=1; env B=2 3" },
                { "ENV A 1 2", "env A=1 2" },
                { "LABEL a.b=c\\ d", "label a.b=c d" },
                { "ENV PS1=\"\\u@\\h:\\\\ \\$ \"", "env PS1=\\u@\\h:\\ $ " },
                { "EXPOSE 80/tcp 81", "port 80/tcp; port 81" },
                { "VOLUME [\"/a b\", \"/c-\"]", "volume /a b; volume /c-" },
                { "VOLUME /a /b", "volume /a; volume /b" },
                { "USER 1:2", "user 1:2" },
                { "WORKDIR /a b", "workingdir /a b" },
                { "STOPSIGNAL SIGINT", "stop-signal SIGINT" },
                { "ONBUILD RUN x", "onbuild RUN x" },
                { "MAINTAINER me", "author me" },
                { "RUN x", NULL },
                { "", NULL },
                { "ENV A=\"", NULL },
                { "CMDX a", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                struct image_changes *c = arena_new_of(arena, struct image_changes);
                int r;

                c->arena = arena;
                r = changes_of_instruction(c, rows[i].line, &err);
                assert((r == 0) == (rows[i].is != NULL));
                if (r == 0)
                        check(rows[i].line, shown(c), rows[i].is);
        }
}

int main(void) {
        arena = arena_new(256 << 20);
        test_options();
        test_instructions();
        (void) arena_free(arena);
        return 0;
}
