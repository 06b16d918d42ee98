/* SPDX-License-Identifier: Apache-2.0 */
/* config-raw - see config-raw.h. */
#include "oci/config-raw.h"

#include <string.h>

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_blanks(struct config_raw in, size_t at) {
        while (at < in.len && is_blank(in.text[at]))
                at++;
        return at;
}

/* From the opening quote to behind the closing one. */
static size_t skip_string(struct config_raw in, size_t at) {
        for (at++; at < in.len && in.text[at] != '"'; at++)
                at += in.text[at] == '\\';
        return at + 1;
}

static size_t skip_value(struct config_raw in, size_t at) {
        size_t depth = 0;

        while (at < in.len) {
                char c = in.text[at];

                if (depth == 0 && (c == ',' || c == '}' || is_blank(c)))
                        return at;
                depth += c == '{' || c == '[';
                depth -= c == '}' || c == ']';
                at = c == '"' ? skip_string(in, at) : at + 1;
        }
        return at;
}

bool config_raw_member(struct config_raw in, const char *key, struct config_raw *ret) {
        size_t at = skip_blanks(in, 0) + 1, key_len = strlen(key); /* behind the brace */

        *ret = (struct config_raw){ 0 };
        for (;;) {
                size_t name, name_len, value;

                at = skip_blanks(in, at);
                if (at >= in.len || in.text[at] != '"')
                        return true;
                name = at + 1;
                at = skip_string(in, at);
                name_len = at - 1 - name;
                if (at > in.len || memchr(in.text + name, '\\', name_len))
                        return false;
                value = skip_blanks(in, skip_blanks(in, at) + 1); /* behind the colon */
                at = skip_value(in, value);
                if (value >= in.len || at > in.len)
                        return false;
                if (name_len == key_len && memcmp(in.text + name, key, key_len) == 0)
                        *ret = (struct config_raw){ in.text + value, at - value };
                at = skip_blanks(in, at);
                at += at < in.len && in.text[at] == ',';
        }
}
