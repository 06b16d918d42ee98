/* SPDX-License-Identifier: Apache-2.0 */
/* state-text - state.json's text, to and fro. "list" reads one for each container, and jansson takes longer for it than
 * the kernel for all else, so the usual text is read by a scanner that knows just that, and leaves the rest to jansson.
 */
#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/str.h"
#include "oci/state.h"

enum { STATE_VALUES_MAX = 200000, SCAN_DIGITS_MAX = 18, SCAN_ANNOTATIONS_MAX = 64 };

enum kind { TEXT, INT, BIG, FLAG }; /* const char *, 32 bits, 64 bits, bool */

#define F(name, kind, member)                                                                                          \
        { name, sizeof(name) - 1, kind, offsetof(struct oci_state, member) }
static const struct field {
        const char *name;
        size_t len;
        enum kind kind;
        size_t offset;
} fields[] = {
        F("id", TEXT, id), /* written for people: the folder's name is the id */
        F("bundle", TEXT, bundle),
        F("rootfs", TEXT, rootfs),
        F("ociVersion", TEXT, oci_version),
        F("created", TEXT, created),
        F("pid", INT, pid),
        F("startTime", BIG, start_time),
        F("identity", BIG, identity),
        F("watcherPid", INT, watcher_pid),
        F("watcherStartTime", BIG, watcher_start),
        F("cgroupPath", TEXT, cgroup_path),
        F("cgroupMade", FLAG, cgroup_made),
        F("cgroupMaking", FLAG, cgroup_making),
        F("scope", TEXT, scope),
        F("engine", TEXT, engine),
        F("vmid", INT, vmid),
        F("volume", TEXT, volume),
        F("rdtMade", TEXT, rdt_made),
        F("rdtTasks", TEXT, rdt_tasks),
        F("ownPidNamespace", FLAG, own_pid_ns),
        F("ownKeyring", FLAG, own_keyring),
};
#undef F
_Static_assert(ELEMENTSOF(fields) < 64, "oci_state_scan() has a bit for each, and one for annotations");

#define ANNOTATIONS "annotations"

/* --- writing ------------------------------------------------------------------------------------------------------ */

static json_t *value_json(const struct field *f, const void *value) {
        if (f->kind == TEXT)
                return json_string(*(const char *const *) value);
        if (f->kind == FLAG)
                return json_boolean(*(const bool *) value);
        return json_integer(f->kind == INT ? *(const int *) value : (json_int_t) * (const uint64_t *) value);
}

json_t *oci_annotations_json(const struct oci_state *s) {
        json_t *o = json_object();

        for (size_t i = 0; i < s->n_annotations; i++)
                (void) json_object_set_new_nocheck(o, s->annotations[i].key,
                                                   json_string_nocheck(s->annotations[i].value));
        return o;
}

char *oci_state_text(const struct oci_state *s) {
        _cleanup_(json_unrefp) json_t *o = json_object();

        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                if (json_object_set_new(o, fields[i].name,
                                        value_json(&fields[i], (const char *) s + fields[i].offset)) < 0)
                        return NULL;
        if (json_object_set_new(o, ANNOTATIONS, oci_annotations_json(s)) < 0)
                return NULL;
        return json_dumps(o, JSON_COMPACT);
}

/* --- reading, by jansson ------------------------------------------------------------------------------------------ */

static void put_number(const struct field *f, struct oci_state *s, int64_t n) {
        void *to = (char *) s + f->offset;

        if (f->kind == INT)
                *(int *) to = (int) n;
        else
                *(uint64_t *) to = (uint64_t) n;
}

static void load_field(const struct field *f, const json_t *o, struct arena *arena, struct oci_state *s) {
        const json_t *v = json_object_get(o, f->name);
        void *to = (char *) s + f->offset;

        if (f->kind == TEXT && json_is_string(v))
                *(const char **) to = arena_strdup(arena, json_string_value(v));
        else if (f->kind == FLAG)
                *(bool *) to = json_is_true(v);
        else if (f->kind != TEXT)
                put_number(f, s, json_integer_value(v));
}

static void load_annotations(json_t *o, struct arena *arena, struct oci_state *ret) {
        size_t n = json_object_size(o), i = 0;
        struct spec_pair *pairs = arena_array(arena, struct spec_pair, n + 1);
        const char *key;
        json_t *value;

        json_object_foreach(o, key, value) if (json_is_string(value)) pairs[i++] =
                (struct spec_pair){ .key = arena_strdup(arena, key),
                                    .value = arena_strdup(arena, json_string_value(value)) };
        ret->annotations = pairs;
        ret->n_annotations = i;
}

int oci_state_load(const char *text, size_t len, const char *id, struct arena *arena, struct oci_state *ret,
                   struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        int r = json_load_bounded(text, len, STATE_VALUES_MAX, "state.json", &o, err);

        if (r < 0)
                return r;
        *ret = OCI_STATE_EMPTY("");
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                load_field(&fields[i], o, arena, ret);
        ret->id = arena_strdup(arena, id);
        load_annotations(json_object_get(o, ANNOTATIONS), arena, ret);
        return 0;
}

/* --- reading, by the scanner -------------------------------------------------------------------------------------- */

struct scan {
        const char *p, *end;
        struct arena *arena;
};

static bool take(struct scan *s, char c) {
        bool is = s->p < s->end && *s->p == c;

        s->p += is;
        return is;
}

static bool take_word(struct scan *s, const char *word) {
        size_t n = strlen(word);
        bool is = (size_t) (s->end - s->p) >= n && memcmp(s->p, word, n) == 0;

        s->p += is ? n : 0;
        return is;
}

/* ASCII; of the escapes those of one letter. */
static bool take_text(struct scan *s, const char **ret) {
        static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        const char *p = s->p + 1, *quote = p, *escape;
        size_t n = 0;
        char *out;

        if (!take(s, '"'))
                return false;
        while (quote < s->end && *quote != '"')
                quote += *quote == '\\' ? 2 : 1;
        if (quote >= s->end)
                return false;
        out = arena_xalloc(s->arena, 1, (size_t) (quote - p) + 1);
        for (; p < quote; p++) {
                char c = *p;

                if ((unsigned char) c < ' ' || !isascii((unsigned char) c))
                        return false;
                if (c == '\\') {
                        escape = memchr(escapes, *++p, sizeof(escapes) - 1);
                        if (!escape)
                                return false;
                        c = meant[escape - escapes];
                }
                out[n++] = c;
        }
        s->p = quote + 1;
        *ret = out;
        return true;
}

static bool take_number(struct scan *s, int64_t *ret) {
        const char *first = s->p;

        *ret = 0;
        while (s->p < s->end && isdigit((unsigned char) *s->p) && s->p - first < SCAN_DIGITS_MAX)
                *ret = *ret * 10 + (*s->p++ - '0');
        return s->p > first && (*first != '0' || s->p == first + 1);
}

static bool take_flag(struct scan *s, bool *ret) {
        *ret = take_word(s, "true");
        return *ret || take_word(s, "false");
}

static bool take_value(struct scan *s, const struct field *f, struct oci_state *ret) {
        void *to = (char *) ret + f->offset;
        int64_t number;

        if (f->kind == TEXT)
                return take_text(s, to);
        if (f->kind == FLAG)
                return take_flag(s, to);
        if (!take_number(s, &number))
                return false;
        put_number(f, ret, number);
        return true;
}

/* The field whose name comes next; most often it is @likely, since they are written in order. */
static const struct field *take_name(struct scan *s, const struct field *likely) {
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                const struct field *f = &fields[((size_t) (likely - fields) + i) % ELEMENTSOF(fields)];
                struct scan at = *s;

                if (take(&at, '"') && take_word(&at, f->name) && take(&at, '"')) {
                        s->p = at.p;
                        return f;
                }
        }
        return NULL;
}

/* A name that comes twice is a matter for jansson. */
static bool take_annotations(struct scan *s, struct oci_state *ret) {
        struct spec_pair pairs[SCAN_ANNOTATIONS_MAX];
        size_t n = 0;

        if (!take(s, '{'))
                return false;
        while (!take(s, '}')) {
                if (n == ELEMENTSOF(pairs) || (n > 0 && !take(s, ',')) || !take_text(s, &pairs[n].key) ||
                    !take(s, ':') || !take_text(s, &pairs[n].value))
                        return false;
                for (size_t i = 0; i < n; i++)
                        if (str_eq(pairs[i].key, pairs[n].key))
                                return false;
                n++;
        }
        ret->annotations = n ? arena_memdup(s->arena, pairs, n * sizeof(*pairs)) : NULL;
        ret->n_annotations = n;
        return true;
}

bool oci_state_scan(const char *text, size_t len, const char *id, struct arena *arena, struct oci_state *ret) {
        struct scan s = { .p = text, .end = text + len, .arena = arena };
        const struct field *f = fields;
        uint64_t seen = 0, bit;
        bool ok = take(&s, '{');

        *ret = OCI_STATE_EMPTY("");
        for (bool first = true; ok && !take(&s, '}'); first = false) {
                ok = first || take(&s, ',');
                if (ok && take_word(&s, "\"" ANNOTATIONS "\":")) {
                        bit = 1ULL << ELEMENTSOF(fields);
                        ok = take_annotations(&s, ret);
                } else if (ok && (f = take_name(&s, f))) {
                        bit = 1ULL << (f - fields);
                        ok = take(&s, ':') && take_value(&s, f, ret);
                        f++;
                } else
                        return false;
                ok = ok && !(seen & bit);
                seen |= bit;
        }
        ret->id = arena_strdup(arena, id);
        return ok && s.p == s.end;
}

int oci_state_parse(const char *text, size_t len, const char *id, struct arena *arena, struct oci_state *ret,
                    struct err *err) {
        return oci_state_scan(text, len, id, arena, ret) ? 0 : oci_state_load(text, len, id, arena, ret, err);
}
