/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/proxmox-show.h"

#include <stdio.h>
#include "base/str.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"

struct column {
        const char *title, *member, *unit;
};

/* "TITLE=member:unit ..." */
static size_t parse_columns(struct cli *cli, const char *spec, struct column ret[TABLE_COLUMNS_MAX]) {
        char *word = arena_strdup(cli->arena, spec), *next;
        size_t n = 0;

        for (; word && *word && n < TABLE_COLUMNS_MAX; word = next) {
                char *member, *unit;

                next = strchr(word, ' ');
                if (next)
                        *next++ = '\0';
                member = strchr(word, '=');
                if (!member)
                        continue;
                *member++ = '\0';
                unit = strchr(member, ':');
                if (unit)
                        *unit++ = '\0';
                ret[n++] = (struct column){ word, member, unit };
        }
        return n;
}

/* Proxmox has numbers as strings at times. */
static bool number_of(const json_t *v, uint64_t *ret) {
        if (json_is_string(v))
                return str_to_u64(json_string_value(v), ret);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
                return false;
        *ret = (uint64_t) json_integer_value(v);
        return true;
}

static const char *cell(struct cli *cli, const json_t *row, const struct column *c) {
        const json_t *v = json_object_get(row, c->member);
        uint64_t n;

        if (!v || json_is_null(v))
                return "";
        if (c->unit && number_of(v, &n)) {
                if (str_eq(c->unit, "bytes"))
                        return format_bytes(cli->arena, n);
                if (str_eq(c->unit, "seconds"))
                        return n ? format_seconds(cli->arena, n) : "";
                return format_age(cli->arena, (int64_t) n * 1000000000, clock_realtime_ns());
        }
        if (json_is_string(v)) {
                char *text = arena_strdup(cli->arena, json_string_value(v));

                while (*text && text[strlen(text) - 1] == '\n') /* Proxmox ends descriptions with one */
                        text[strlen(text) - 1] = '\0';
                for (char *p = text; *p; p++)
                        if ((unsigned char) *p < ' ' || *p == 0x7f)
                                *p = ' ';
                return text;
        }
        if (json_is_integer(v))
                return arena_printf(cli->arena, "%lld", (long long) json_integer_value(v));
        if (json_is_real(v))
                return arena_printf(cli->arena, "%.2f", json_real_value(v));
        return json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "...";
}

static void show_table(struct cli *cli, const struct column *c, size_t n, const json_t *rows) {
        const char *cells[TABLE_COLUMNS_MAX + 1] = { NULL };
        const json_t *row;
        struct table t;
        size_t i;

        for (i = 0; i < n; i++)
                cells[i] = c[i].title;
        table_init_list(&t, cli->arena, cells);
        json_array_foreach(rows, i, row) {
                for (size_t k = 0; k < n; k++)
                        cells[k] = cell(cli, row, &c[k]);
                table_add_list(&t, cells);
        }
        table_print(&t, stdout);
        table_done(&t);
}

void show_progress(const char *line) {
        fprintf(stderr, "%s\n", line);
}

void show_answer(struct cli *cli, const struct rest_operation *op, json_t *answer) {
        struct column columns[TABLE_COLUMNS_MAX];
        size_t n = parse_columns(cli, op->columns, columns);
        json_t *result = op->progress ? json_object_get(answer, "result") : answer;
        json_int_t warnings = json_integer_value(json_object_get(answer, "warnings"));

        if (op->progress && warnings > 0)
                fprintf(stderr, "proxmox-lxcri: Proxmox had %lld warnings\n", (long long) warnings);
        if (cli->json) {
                json_print(result ? json_incref(result) : json_object());
                return;
        }
        if (json_is_array(result)) {
                show_table(cli, columns, n, result);
                return;
        }
        for (size_t i = 0; result && i < n; i++)
                if (json_object_get(result, columns[i].member))
                        printf("%-*s%s\n", *columns[i].title ? 14 : 0, columns[i].title,
                               cell(cli, result, &columns[i]));
}
