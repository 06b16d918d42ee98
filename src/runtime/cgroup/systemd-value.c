/* SPDX-License-Identifier: Apache-2.0 */
/* systemd-value - properties of units that annotations give, in GVariant's text format, of which systemd's properties
 * need texts, truth values, numbers and lists of texts. Source: developer.gnome.org, GVariant Text Format. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "runtime/cgroup/systemd.h"

enum { TEXT_MAX = 65536, LIST_MAX = 256, NAME_MAX_LEN = 64 };

static const struct {
        const char *keyword;
        char type;
} types[] = {
        { "boolean", 'b' }, { "byte", 'y' },   { "int16", 'n' },      { "uint16", 'q' },
        { "int32", 'i' },   { "uint32", 'u' }, { "int64", 'x' },      { "uint64", 't' },
        { "double", 'd' },  { "string", 's' }, { "objectpath", 'o' },
};

static const char *skip(const char *s) {
        return s + strspn(s, " \t\n");
}

/* The type that is written in front, "" when none is. NULL: not one that we have. */
static const char *take_type(const char *s, char type[6]) {
        size_t len;

        type[0] = '\0';
        if (*s == '@') {
                len = strcspn(++s, " \t\n");
                if (len == 2 && strncmp(s, "as", 2) == 0)
                        memcpy(type, "as", 3);
                else if (len == 1 && strchr("bynqiuxtdso", *s))
                        type[0] = *s;
                else
                        return NULL;
                return skip(s + len);
        }
        len = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789");
        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                if (strlen(types[i].keyword) == len && strncmp(s, types[i].keyword, len) == 0 &&
                    (s[len] == ' ' || s[len] == '\t')) {
                        type[0] = types[i].type;
                        return skip(s + len);
                }
        return s;
}

/* In single or double quotes. Returns what follows, NULL: it is none. */
static const char *take_text(const char *s, struct arena *arena, const char **ret) {
        char quote = *s++, *out = arena_xalloc(arena, 1, strlen(s) + 1), *to = out;

        for (; *s && *s != quote; s++) {
                if (*s != '\\') {
                        *to++ = *s;
                        continue;
                }
                switch (*++s) {
                case 'n':
                        *to++ = '\n';
                        break;
                case 't':
                        *to++ = '\t';
                        break;
                case '\\':
                case '\'':
                case '"':
                        *to++ = *s;
                        break;
                default:
                        return NULL;
                }
        }
        if (!*s)
                return NULL;
        *ret = out;
        return s + 1;
}

static const char *take_list(const char *s, struct arena *arena, struct unit_prop *ret) {
        const char **list = arena_array(arena, const char *, LIST_MAX + 1);
        size_t n = 0;

        s = skip(s + 1);
        while (*s != ']') {
                if (n == LIST_MAX || (*s != '\'' && *s != '"'))
                        return NULL;
                s = take_text(s, arena, &list[n++]);
                if (!s)
                        return NULL;
                s = skip(s);
                if (*s == ',')
                        s = skip(s + 1);
                else if (*s != ']')
                        return NULL;
        }
        ret->texts = list;
        return s + 1;
}

static bool unsigned_fits(char type, unsigned long long n) {
        return n <= (type == 'y' ? UINT8_MAX : type == 'q' ? UINT16_MAX : type == 'u' ? UINT32_MAX : UINT64_MAX);
}

static bool signed_fits(char type, long long n) {
        return type == 'n' ? n >= INT16_MIN && n <= INT16_MAX : type == 'i' ? n >= INT32_MIN && n <= INT32_MAX : true;
}

static const char *take_number(const char *s, struct unit_prop *ret) {
        size_t len = strspn(s, "0123456789abcdefABCDEFxX.+-");
        const char *digits = s + (*s == '-' || *s == '+');
        bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
        char *end;

        if (len == 0 || len > 40 || *digits < '0' || *digits > '9')
                return NULL;
        if (!ret->type[0])
                ret->type[0] = !hex && strcspn(s, ".eE") < len ? 'd' : 'i';
        errno = 0;
        if (ret->type[0] == 'd') {
                ret->real = strtod(s, &end);
                return errno || !isfinite(ret->real) ? NULL : end;
        }
        if (strchr("nix", ret->type[0])) {
                long long n = strtoll(s, &end, 0);

                ret->number = (uint64_t) n;
                return errno || !signed_fits(ret->type[0], n) ? NULL : end;
        }
        if (strchr("yqut", ret->type[0])) {
                unsigned long long n = strtoull(s, &end, 0);

                ret->number = n;
                return errno || *s == '-' || !unsigned_fits(ret->type[0], n) ? NULL : end;
        }
        return NULL;
}

static const char *take_truth(const char *s, struct unit_prop *ret) {
        const char *end = str_after(s, "true");

        ret->number = end != NULL;
        return end ? end : str_after(s, "false");
}

static bool set_type(struct unit_prop *ret, const char *type, bool also_path) {
        if (!ret->type[0])
                memcpy(ret->type, type, strlen(type) + 1);
        return str_eq(ret->type, type) || (also_path && str_eq(ret->type, "o"));
}

static const char *take_value(const char *s, struct arena *arena, struct unit_prop *ret) {
        if (*s == '\'' || *s == '"')
                return set_type(ret, "s", true) ? take_text(s, arena, &ret->text) : NULL;
        if (*s == '[')
                return set_type(ret, "as", false) ? take_list(s, arena, ret) : NULL;
        if (*s == 't' || *s == 'f')
                return set_type(ret, "b", false) ? take_truth(s, ret) : NULL;
        return take_number(s, ret);
}

int unit_value_parse(const char *text, struct arena *arena, struct unit_prop *ret, struct err *err) {
        const char *s;

        if (strlen(text) <= TEXT_MAX) {
                s = take_type(skip(text), ret->type);
                s = s ? take_value(s, arena, ret) : NULL;
                if (s && !*skip(s) && (ret->type[0] != 'o' || ret->text[0] == '/'))
                        return 0;
        }
        return err_set(
                err, ERR_INVALID,
                "\"%.100s\" is no text in quotes, true, false, number (with or without a type before it) or list "
                "of texts",
                text);
}

/* As runc: letters alone. */
static bool name_valid(const char *s) {
        size_t len = strlen(s);

        return len >= 3 && len <= NAME_MAX_LEN &&
               strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == len;
}

/* "TimeoutStopSec" is of systemd's files; on the bus it is TimeoutStopUSec, in microseconds. */
static bool to_usec(struct unit_prop *p, struct arena *arena) {
        size_t len = strlen(p->name);
        double seconds;

        if (!str_ends_with(p->name, "Sec") || str_ends_with(p->name, "USec"))
                return true;
        if (p->type[0] == 'd')
                seconds = p->real;
        else if (strchr("nix", p->type[0]))
                seconds = (double) (int64_t) p->number;
        else if (strchr("yqut", p->type[0]))
                seconds = (double) p->number;
        else
                return false;
        if (p->type[1] || seconds < 0 || seconds > (double) (UINT64_MAX / 2000000))
                return false;
        p->name = arena_printf(arena, "%.*sUSec", (int) (len - 3), p->name);
        p->number = (uint64_t) (seconds * 1000000);
        memcpy(p->type, "t", 2);
        return true;
}

int unit_props_annotations(const struct spec_pair *list, size_t n, struct arena *arena, struct unit_props *p,
                           struct err *err) {
        for (size_t i = 0; i < n; i++) {
                const char *name = str_after(list[i].key, "org.systemd.property.");
                struct unit_prop *prop = &p->list[p->n];

                if (!name)
                        continue;
                if (!name_valid(name))
                        return err_set(err, ERR_INVALID, "annotation %.200s: no name of a property", list[i].key);
                if (p->n == UNIT_PROPS_MAX)
                        return err_set(err, ERR_INVALID, "annotations: more than %d properties of systemd",
                                       UNIT_PROPS_MAX);
                *prop = (struct unit_prop){ .name = name };
                if (unit_value_parse(list[i].value, arena, prop, err) < 0)
                        return err_wrap(err, "annotation %s", list[i].key);
                if (!to_usec(prop, arena))
                        return err_set(err, ERR_INVALID, "annotation %s: \"%.100s\" is no number of seconds",
                                       list[i].key, list[i].value);
                p->n++;
        }
        return 0;
}
