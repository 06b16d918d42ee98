/* SPDX-License-Identifier: Apache-2.0 */
/* mounts - what is mounted in a container, from the mountinfo of its first process (proc_pid_mountinfo(5)). */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/oci/runtime.h"
#include "cli/table.h"

enum { MOUNTINFO_MAX = 64 << 20 };

struct mount {
        const char *root, *target, *options, *propagation, *type, *source, *super_options;
};

/* "\040" is a blank. In place. */
static const char *unescape(char *s) {
        char *out = s;

        for (const char *p = s; *p; p++)
                if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' &&
                    p[3] <= '7') {
                        *out++ = (char) ((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
                        p += 3;
                } else
                        *out++ = *p;
        *out = '\0';
        return s;
}

/* False: it is none. */
static bool parse_line(char *line, struct arena *arena, struct mount *ret) {
        char *field[6], *last[3], *word;
        const char *propagation = "";

        for (size_t i = 0; i < ELEMENTSOF(field); i++)
                if (!(field[i] = strsep(&line, " ")))
                        return false;
        while ((word = strsep(&line, " ")) && !str_eq(word, "-"))
                propagation = arena_printf(arena, "%s%s%s", propagation, *propagation ? "," : "", word);
        for (size_t i = 0; i < ELEMENTSOF(last); i++)
                if (!(last[i] = strsep(&line, " ")))
                        return false;
        *ret = (struct mount){ .root = unescape(field[3]),
                               .target = unescape(field[4]),
                               .options = field[5],
                               .propagation = *propagation ? propagation : "private",
                               .type = last[0],
                               .source = unescape(last[1]),
                               .super_options = last[2] };
        return true;
}

/* Paths may be no UTF-8: then they are shown with '?'. */
static json_t *text(const char *s, struct arena *arena) {
        json_t *j = json_string(s);
        char *copy;

        if (j)
                return j;
        copy = arena_strdup(arena, s);
        for (char *p = copy; *p; p++)
                if ((unsigned char) *p >= 0x80)
                        *p = '?';
        return json_string(copy);
}

static json_t *json_of(const struct mount *m, struct arena *arena) {
        return json_pack("{s:o s:o s:o s:o s:s s:s s:o}", "target", text(m->target, arena), "source",
                         text(m->source, arena), "type", text(m->type, arena), "root", text(m->root, arena), "options",
                         m->options, "propagation", m->propagation, "superOptions", text(m->super_options, arena));
}

int oci_do_mounts(struct runtime *rt, const struct cli_args *args, struct err *err) {
        _cleanup_(runtime_container_done) struct runtime_container c = { .dir = OCI_DIR_EMPTY };
        _cleanup_(json_unrefp) json_t *list = json_array();
        _cleanup_(table_done) struct table table;
        _cleanup_(freep) char *all = NULL;
        char *rest, *line;
        bool json;
        int r = runtime_format(args, &json, err);

        table_init(&table, rt->arena, "TARGET", "SOURCE", "TYPE", "OPTIONS", "PROPAGATION", NULL);
        if (r == 0)
                r = runtime_open(rt, args->rest[0], &c, err);
        if (r == 0 && (c.status == OCI_STOPPED || c.status == OCI_CREATING))
                r = err_set(err, ERR_PRECONDITION, "container not running");
        if (r == 0)
                r = fs_read_file(AT_FDCWD, arena_printf(rt->arena, "/proc/%d/mountinfo", (int) c.state.pid),
                                 MOUNTINFO_MAX, &all, NULL, err);
        if (r < 0)
                return r;
        for (rest = all; (line = strsep(&rest, "\n"));) {
                struct mount m;

                if (!parse_line(line, rt->arena, &m))
                        continue;
                (void) json_array_append_new(list, json_of(&m, rt->arena));
                table_add(&table, m.target, m.source, m.type, m.options, m.propagation, NULL);
        }
        if (json)
                (void) json_dumpf(list, stdout, JSON_INDENT(2));
        else
                table_print(&table, stdout);
        if (json)
                (void) putchar('\n');
        return 0;
}
