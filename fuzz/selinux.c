/* SPDX-License-Identifier: Apache-2.0 */
/* selinux - any text as a policy's file of containers' contexts, and any options over its label: what comes out is a
 * label of which only the asked parts have changed, or an error. */
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "base/str.h"
#include "security/selinux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Four options, one a line, before the file. */
static const char *next_line(struct arena *arena, const char **text) {
        size_t len = strcspn(*text, "\n");
        const char *line = arena_strndup(arena, *text, len);

        *text += len + ((*text)[len] == '\n');
        return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *arena = arena_new((size_t) 16 << 20);
        const char *text = size > 1 << 16 ? "" : arena_strndup(arena, (const char *) data, size), *label;
        _cleanup_(freep) char *process = NULL, *file = NULL;
        struct selinux_options o = { 0 };
        struct err err;

        o.user = next_line(arena, &text);
        o.role = next_line(arena, &text);
        o.type = next_line(arena, &text);
        o.level = next_line(arena, &text);
        if (!selinux_parse_contexts(text, &process, &file))
                return 0;
        assert(*process && *file && !strpbrk(process, "\" \n") && strlen(process) <= SELINUX_LABEL_MAX);
        if (selinux_apply(process, &o, arena, &label, &err) < 0)
                return 0;
        if (*o.level)
                assert(str_eq(selinux_level(label), o.level));
        else
                assert(str_eq(selinux_level(label), selinux_level(process)));
        return 0;
}
