/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/resize.h"

#include <string.h>
#include <strings.h>
#include "base/json.h"

static bool number(const json_t *j, uint16_t *ret) {
        json_int_t v = json_integer_value(j);

        if (!json_is_integer(j) || v < 0 || v > UINT16_MAX)
                return false;
        *ret = (uint16_t) v;
        return true;
}

/* False when it is no object of the kind; a missing number is 0. */
static bool parse_object(const struct resize_parser *p, uint16_t *ret_width, uint16_t *ret_height) {
        _cleanup_(json_unrefp) json_t *object = NULL;
        const char *key;
        json_t *value;
        struct err ignored;

        *ret_width = *ret_height = 0;
        if (json_load_bounded(p->object, p->len, 32, "terminal size", &object, &ignored) < 0)
                return false;
        json_object_foreach(object, key, value) {
                if (strcasecmp(key, "Width") == 0 && !number(value, ret_width))
                        return false;
                if (strcasecmp(key, "Height") == 0 && !number(value, ret_height))
                        return false;
        }
        return true;
}

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* True when @c ends an object. */
static bool take_char(struct resize_parser *p, char c) {
        if (p->depth == 0 && is_space(c))
                return false;
        if ((p->depth == 0 && c != '{') || p->len == sizeof(p->object)) {
                p->is_broken = true;
                return false;
        }
        p->object[p->len++] = c;
        if (p->in_string) {
                if (p->escaped)
                        p->escaped = false;
                else if (c == '\\')
                        p->escaped = true;
                else if (c == '"')
                        p->in_string = false;
                return false;
        }
        if (c == '"')
                p->in_string = true;
        else if (c == '{')
                p->depth++;
        else if (c == '}')
                p->depth--;
        return p->depth == 0;
}

bool resize_feed(struct resize_parser *p, const uint8_t *data, size_t len, uint16_t *ret_width, uint16_t *ret_height) {
        uint16_t width, height;
        bool found = false;

        for (size_t i = 0; i < len && !p->is_broken; i++) {
                if (!take_char(p, (char) data[i]))
                        continue;
                if (!parse_object(p, &width, &height)) {
                        p->is_broken = true;
                } else if (width && height) {
                        *ret_width = width;
                        *ret_height = height;
                        found = true;
                }
                p->len = 0;
        }
        return found;
}
