/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml.h"

#include <assert.h>
#include <string.h>
#include <yaml.h>
#include "base/str.h"

enum { DEPTH_MAX = 16, NODES_MAX = 20000, TEXT_MAX = 1 << 20 };

struct reader {
        const char *name;
        yaml_parser_t parser;
        yaml_event_t event; /* the current one; valid until next_event() */
        bool has_event;
        struct arena *arena;
        size_t nodes;
        struct err *err;
};

const char *yaml_kind_name(enum yaml_kind kind) {
        return kind == YAML_SCALAR ? "a value" : kind == YAML_LIST ? "a list" : "a mapping";
}

static int next_event(struct reader *r) {
        if (r->has_event)
                yaml_event_delete(&r->event);
        r->has_event = false;
        if (!yaml_parser_parse(&r->parser, &r->event))
                return err_set(r->err, ERR_INVALID, "%s:%zu: %s%s%s", r->name, r->parser.problem_mark.line + 1,
                               r->parser.problem ? r->parser.problem : "not valid YAML", r->parser.context ? " " : "",
                               r->parser.context ? r->parser.context : "");
        r->has_event = true;
        return 0;
}

static unsigned line_of(const struct reader *r) {
        return (unsigned) r->event.start_mark.line + 1;
}

static int refuse(struct reader *r, const char *what) {
        return err_set(r->err, ERR_INVALID, "%s:%u: %s", r->name, line_of(r), what);
}

static int new_node(struct reader *r, enum yaml_kind kind, const yaml_char_t *anchor, const yaml_char_t *tag,
                    struct yaml_node **ret) {
        if (anchor)
                return refuse(r, "anchors are not allowed here");
        if (tag)
                return refuse(r, "tags are not allowed here");
        if (++r->nodes > NODES_MAX)
                return refuse(r, "too many entries");
        *ret = arena_alloc(r->arena, sizeof(**ret));
        if (!*ret)
                return refuse(r, "too large");
        (*ret)->kind = kind;
        (*ret)->line = line_of(r);
        (*ret)->text = "";
        return 0;
}

static int read_text(struct reader *r, const char **ret) {
        size_t len = r->event.data.scalar.length;
        const char *text = (const char *) r->event.data.scalar.value;
        char *copy;

        if (memchr(text, '\0', len))
                return refuse(r, "a value holds a NUL");
        copy = arena_alloc(r->arena, len + 1);
        if (!copy)
                return refuse(r, "too large");
        memcpy(copy, text, len);
        *ret = copy;
        return 0;
}

static int read_node(struct reader *r, unsigned depth, struct yaml_node **ret);

static int read_list(struct reader *r, unsigned depth, struct yaml_node *list) {
        struct yaml_node **end = &list->child;
        int res;

        while ((res = next_event(r)) == 0 && r->event.type != YAML_SEQUENCE_END_EVENT) {
                res = read_node(r, depth, end);
                if (res < 0)
                        return res;
                end = &(*end)->next;
        }
        return res;
}

static int read_map(struct reader *r, unsigned depth, struct yaml_node *map) {
        struct yaml_node **end = &map->child;
        int res;

        while ((res = next_event(r)) == 0 && r->event.type != YAML_MAPPING_END_EVENT) {
                const char *key = NULL;
                unsigned line = line_of(r);

                if (r->event.type != YAML_SCALAR_EVENT)
                        return refuse(r, "a key must be a plain word");
                if (r->event.data.scalar.anchor)
                        return refuse(r, "anchors are not allowed here");
                if ((res = read_text(r, &key)) < 0)
                        return res;
                for (struct yaml_node *n = map->child; n; n = n->next)
                        if (str_eq(n->key, key))
                                return err_set(r->err, ERR_INVALID,
                                               "%s:%u: key '%.64s' is given twice, first on line %u", r->name, line,
                                               key, n->line);
                if ((res = next_event(r)) < 0 || (res = read_node(r, depth, end)) < 0)
                        return res;
                assert(*end);
                (*end)->key = key;
                (*end)->line = line;
                end = &(*end)->next;
        }
        return res;
}

static int read_node(struct reader *r, unsigned depth, struct yaml_node **ret) {
        int res;

        if (depth > DEPTH_MAX)
                return refuse(r, "nested too deeply");
        switch (r->event.type) {
        case YAML_ALIAS_EVENT:
                return refuse(r, "aliases are not allowed here");
        case YAML_SCALAR_EVENT:
                res = new_node(r, YAML_SCALAR, r->event.data.scalar.anchor, r->event.data.scalar.tag, ret);
                return res < 0 ? res : read_text(r, &(*ret)->text);
        case YAML_SEQUENCE_START_EVENT:
                res = new_node(r, YAML_LIST, r->event.data.sequence_start.anchor, r->event.data.sequence_start.tag,
                               ret);
                return res < 0 ? res : read_list(r, depth + 1, *ret);
        case YAML_MAPPING_START_EVENT:
                res = new_node(r, YAML_MAP, r->event.data.mapping_start.anchor, r->event.data.mapping_start.tag, ret);
                return res < 0 ? res : read_map(r, depth + 1, *ret);
        default:
                return refuse(r, "not expected here");
        }
}

static int next_events(struct reader *r, unsigned n) {
        int res = 0;

        while (res == 0 && n-- > 0)
                res = next_event(r);
        return res;
}

static int read_stream(struct reader *r, struct yaml_node **ret) {
        int res;

        *ret = NULL;
        if ((res = next_events(r, 2)) < 0) /* start of the stream, then of a document */
                return res;
        if (r->event.type == YAML_STREAM_END_EVENT)
                return 0;
        if ((res = next_event(r)) < 0 || (res = read_node(r, 0, ret)) < 0)
                return res;
        if ((res = next_events(r, 2)) < 0) /* ends */
                return res;
        return r->event.type == YAML_STREAM_END_EVENT ? 0 : refuse(r, "more than one document");
}

int yaml_read(const char *name, const char *text, size_t len, struct arena *arena, struct yaml_node **ret,
              struct err *err) {
        struct reader r = { .name = name, .arena = arena, .err = err };
        int res;

        if (len > TEXT_MAX)
                return err_set(err, ERR_EXHAUSTED, "%s: larger than %d bytes", name, TEXT_MAX);
        if (!yaml_parser_initialize(&r.parser))
                abort();
        yaml_parser_set_input_string(&r.parser, (const unsigned char *) text, len);
        res = read_stream(&r, ret);
        if (r.has_event)
                yaml_event_delete(&r.event);
        yaml_parser_delete(&r.parser);
        return res;
}
