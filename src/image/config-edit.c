/* SPDX-License-Identifier: Apache-2.0 */
#include "image/config-edit.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/json-splice.h"

/* How a change is made to a member. */
enum form {
        FORM_TEXT,    /* a string */
        FORM_FOLDER,  /* the same, a path: a relative one goes on from what is there */
        FORM_WORDS,   /* an array of strings, exchanged as a whole */
        FORM_LIST,    /* the same, one is added */
        FORM_ENV,     /* the same, "KEY=VALUE", each key once */
        FORM_PAIRS,   /* an object of strings */
        FORM_PORTS,   /* the keys of an object */
        FORM_FOLDERS, /* the same */
};

static const struct rule {
        const char *what;
        enum form form;
        const char *path[3]; /* in the config; none: in the manifest */
} rules[] = {
        { "author", FORM_TEXT, { "author" } },
        { "arch", FORM_TEXT, { "architecture" } },
        { "os", FORM_TEXT, { "os" } },
        { "variant", FORM_TEXT, { "variant" } },
        { "user", FORM_TEXT, { "config", "User" } },
        { "workingdir", FORM_FOLDER, { "config", "WorkingDir" } },
        { "stop-signal", FORM_TEXT, { "config", "StopSignal" } },
        { "entrypoint", FORM_WORDS, { "config", "Entrypoint" } },
        { "cmd", FORM_WORDS, { "config", "Cmd" } },
        { "onbuild", FORM_LIST, { "config", "OnBuild" } },
        { "env", FORM_ENV, { "config", "Env" } },
        { "label", FORM_PAIRS, { "config", "Labels" } },
        { "port", FORM_PORTS, { "config", "ExposedPorts" } },
        { "volume", FORM_FOLDERS, { "config", "Volumes" } },
        { "annotation", FORM_PAIRS, { NULL } },
};

static const struct rule *rule_of(const char *what) {
        for (size_t i = 0; i < ELEMENTSOF(rules); i++)
                if (str_eq(rules[i].what, what))
                        return &rules[i];
        return NULL;
}

static int bad(const struct image_change *c, const char *why, struct err *err) {
        return err_set(err, ERR_INVALID, "%.32s \"%.200s\": %s", c->what, c->value, why);
}

/* jansson takes UTF-8 alone. */
static bool is_utf8(const char *s) {
        _cleanup_(json_unrefp) json_t *j = json_string(s);

        return j != NULL;
}

static int check(const struct image_change *c, const struct rule *rule, struct err *err) {
        size_t n = 0;

        if (!rule)
                return err_set(err, ERR_INVALID, "\"%.32s\" is nothing of an image that can be changed", c->what);
        for (const char *const *w = c->words; w && *w; w++)
                if (++n > CONFIG_STRINGS_MAX || !is_utf8(*w))
                        return bad(c, "it is not UTF-8, or too much", err);
        if (!is_utf8(c->value))
                return bad(c, "it is not UTF-8", err);
        if (c->remove || rule->form == FORM_TEXT || rule->form == FORM_WORDS)
                return 0;
        if (!*c->value)
                return bad(c, "it is empty", err);
        if ((rule->form == FORM_ENV || rule->form == FORM_PAIRS) && (!strchr(c->value, '=') || *c->value == '='))
                return bad(c, "KEY=VALUE is wanted", err);
        return rule->form == FORM_FOLDERS && *c->value != '/' ? bad(c, "it is no absolute path", err) : 0;
}

/* --- members: each takes the JSON that is there, and gives what it is to be; NULL: nothing -------------------------
 */

static json_t *folder_of(const json_t *old, const struct image_change *c, struct arena *arena) {
        const char *from = json_string_value(old) ?: "/";

        return json_string(*c->value == '/' ? c->value
                                            : arena_printf(arena, "%s/%s", str_eq(from, "/") ? "" : from, c->value));
}

static json_t *words_of(const struct image_change *c) {
        return c->remove || !c->words || !*c->words ? NULL : json_from_strings(c->words);
}

static json_t *list_of(json_t *old, const struct image_change *c) {
        json_t *list = json_is_array(old) ? json_copy(old) : json_array();

        if (c->remove)
                (void) json_array_clear(list);
        else
                (void) json_array_append_new(list, json_string(c->value));
        return list;
}

static bool has_key(const char *pair, const char *key, size_t len) {
        return strncmp(pair, key, len) == 0 && (pair[len] == '=' || !pair[len]);
}

/* In its old place. */
static json_t *env_of(json_t *old, const struct image_change *c) {
        json_t *list = json_is_array(old) ? json_copy(old) : json_array();
        size_t len = strcspn(c->value, "=");
        bool placed = c->remove;

        for (size_t i = 0; i < json_array_size(list);) {
                const char *s = json_string_value(json_array_get(list, i));

                if (!(c->remove && !*c->value) && !(s && has_key(s, c->value, len))) {
                        i++;
                } else if (placed) {
                        (void) json_array_remove(list, i);
                } else {
                        (void) json_array_set_new(list, i++, json_string(c->value));
                        placed = true;
                }
        }
        if (!placed)
                (void) json_array_append_new(list, json_string(c->value));
        return list;
}

static json_t *pairs_of(json_t *old, const struct image_change *c, struct arena *arena) {
        json_t *o = json_is_object(old) ? json_copy(old) : json_object();
        size_t len = strcspn(c->value, "=");

        if (c->remove && !*c->value)
                (void) json_object_clear(o);
        else if (c->remove)
                (void) json_object_del(o, c->value);
        else
                (void) json_object_set_new(o, arena_strndup(arena, c->value, len), json_string(c->value + len + 1));
        return o;
}

/* "80", "80-90", each with a protocol or without, which then is TCP, as Docker writes it. */
static const char *port_of(const char *s, struct arena *arena) {
        size_t n = strspn(s, "0123456789"), more = s[n] == '-' ? strspn(s + n + 1, "0123456789") : 0;
        const char *protocol = s + n + (more ? more + 1 : 0);

        if (n == 0 || n > 5 || more > 5 || (*protocol && *protocol != '/'))
                return NULL;
        if (!*protocol)
                return arena_printf(arena, "%s/tcp", s);
        return str_eq(protocol, "/tcp") || str_eq(protocol, "/udp") || str_eq(protocol, "/sctp") ? s : NULL;
}

static int keys_of(json_t *old, const struct image_change *c, bool ports, struct arena *arena, json_t **ret,
                   struct err *err) {
        const char *key = ports && *c->value ? port_of(c->value, arena) : c->value;
        json_t *o = json_is_object(old) ? json_copy(old) : json_object();

        *ret = o;
        if (!key)
                return bad(c, "a port is wanted, as \"80\", \"80/udp\" or \"80-90/tcp\"", err);
        if (c->remove && !*key)
                (void) json_object_clear(o);
        else if (c->remove)
                (void) (json_object_del(o, key) + json_object_del(o, c->value));
        else
                (void) json_object_set_new(o, key, json_object());
        return 0;
}

/* @ret: NULL: the member goes. */
static int change(json_t *old, const struct image_change *c, enum form form, struct arena *arena, json_t **ret,
                  struct err *err) {
        int r = 0;

        switch (form) {
        case FORM_TEXT:
                *ret = c->remove || !*c->value ? NULL : json_string(c->value);
                return 0;
        case FORM_FOLDER:
                *ret = c->remove ? NULL : folder_of(old, c, arena);
                return 0;
        case FORM_WORDS:
                *ret = words_of(c);
                return 0;
        case FORM_LIST:
                *ret = list_of(old, c);
                break;
        case FORM_ENV:
                *ret = env_of(old, c);
                break;
        case FORM_PAIRS:
                *ret = pairs_of(old, c, arena);
                break;
        case FORM_PORTS:
        case FORM_FOLDERS:
                r = keys_of(old, c, form == FORM_PORTS, arena, ret, err);
        }
        if (*ret && json_array_size(*ret) + json_object_size(*ret) == 0)
                *ret = json_unref(*ret);
        return r;
}

/* --- the config ----------------------------------------------------------------------------------------------------
 */

static char *dump(const json_t *j) {
        char *s = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);

        if (!s)
                abort();
        return s;
}

/* @o: the document as it was, of which the member is kept up to date for the changes to come. */
static int apply(struct strbuf *doc, json_t *o, const struct image_change *c, const struct rule *rule,
                 struct arena *arena, struct err *err) {
        json_t *in = rule->path[1] ? json_object_get(o, rule->path[0]) : o, *value = NULL;
        const char *name = rule->path[1] ?: rule->path[0];
        _cleanup_(freep) char *text = NULL;
        int r;

        if (rule->path[1] && !json_is_object(in)) {
                in = json_object();
                (void) json_object_set_new(o, rule->path[0], in);
        }
        r = change(json_object_get(in, name), c, rule->form, arena, &value, err);
        if (r == 0) {
                text = value ? dump(value) : NULL;
                json_splice(doc, rule->path, text);
                if (value)
                        (void) json_object_set(in, name, value);
                else
                        (void) json_object_del(in, name);
        }
        json_decref(value);
        return r;
}

static const char *time_text(uint64_t ns, struct arena *arena) {
        time_t s = (time_t) (ns / 1000000000);
        char text[32] = "";
        struct tm tm;

        if (gmtime_r(&s, &tm))
                (void) strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        return arena_printf(arena, "%s.%09uZ", text, (unsigned) (ns % 1000000000));
}

static void set_text(struct strbuf *doc, const char *name, const char *value) {
        _cleanup_(json_unrefp) json_t *s = json_string(value);
        _cleanup_(freep) char *text = dump(s);

        json_splice(doc, (const char *const[]){ name, NULL }, text);
}

/* One that says nothing of its layers gets an empty entry for each: what is in it has to go with them. */
static void add_history(struct strbuf *doc, const json_t *o, const struct config_edit *e, struct arena *arena) {
        static const char *const history[] = { "history", NULL }, *const diff_ids[] = { "rootfs", "diff_ids", NULL };
        _cleanup_(json_unrefp) json_t *entry = json_object();
        _cleanup_(freep) char *text = NULL;

        (void) json_object_set_new(entry, "created", json_string(time_text(e->now_ns, arena)));
        (void) json_object_set_new(entry, "created_by", json_string(e->created_by));
        if (e->author)
                (void) json_object_set_new(entry, "author", json_string(e->author));
        if (e->comment)
                (void) json_object_set_new(entry, "comment", json_string(e->comment));
        if (!e->diff_id)
                (void) json_object_set_new(entry, "empty_layer", json_true());
        text = dump(entry);
        if (!json_is_array(json_object_get(o, "history")))
                for (size_t i = json_array_size(json_object_get(json_object_get(o, "rootfs"), "diff_ids")); i > 0; i--)
                        json_splice_append(doc, history, "{}");
        json_splice_append(doc, history, text);
        if (e->diff_id)
                json_splice_append(doc, diff_ids, arena_printf(arena, "\"%s\"", e->diff_id));
}

int config_edit(const char *data, size_t len, const struct config_edit *e, struct arena *arena, const char **ret,
                size_t *ret_len, struct err *err) {
        _cleanup_strbuf_ struct strbuf doc = STRBUF(CONFIG_BYTES_MAX);
        _cleanup_(json_unrefp) json_t *o = NULL;
        struct image_config parsed;
        int r = json_load_unique(data, len, JSON_VALUES_MAX, "the image config", &o, err);

        if (r == 0 && !(is_utf8(e->created_by) && is_utf8(e->author ?: "") && is_utf8(e->comment ?: "")))
                r = err_set(err, ERR_INVALID, "author or comment is not UTF-8");
        strbuf_append(&doc, data, len);
        for (size_t i = 0; r == 0 && i < e->n_changes; i++) {
                const struct rule *rule = rule_of(e->changes[i].what);

                r = check(&e->changes[i], rule, err);
                if (r == 0 && rule->path[0])
                        r = apply(&doc, o, &e->changes[i], rule, arena, err);
        }
        if (r < 0)
                return r;
        if (e->author)
                set_text(&doc, "author", e->author);
        set_text(&doc, "created", time_text(e->now_ns, arena));
        add_history(&doc, o, e, arena);
        if (doc.overflow)
                return err_set(err, ERR_EXHAUSTED, "the image config gets larger than %d bytes", CONFIG_BYTES_MAX);
        *ret = arena_memdup(arena, strbuf_str(&doc), doc.len);
        *ret_len = doc.len;
        return config_parse(*ret, *ret_len, arena, &parsed, err);
}

/* --- the manifest ------------------------------------------------------------------------------------------------- */

static const char *const oci_types[][2] = {
        { "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json" },
        { "application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json" },
        { "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar+gzip" },
        { "application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.oci.image.layer.v1.tar+zstd" },
        { "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar" },
};

/* From Docker's word (@from 0) to OCI's, or back. */
static void translate(json_t *o, int from) {
        const char *type = json_string_value(json_object_get(o, "mediaType"));

        for (size_t i = 0; type && i < ELEMENTSOF(oci_types); i++)
                if (str_eq(type, oci_types[i][from])) {
                        (void) json_object_set_new(o, "mediaType", json_string(oci_types[i][!from]));
                        return;
                }
}

static bool is_docker(const json_t *o) {
        return str_eq(json_string_value(json_object_get(o, "mediaType")), oci_types[0][0]);
}

static void make_oci(json_t *o) {
        json_t *layer;
        size_t i;

        translate(o, 0);
        translate(json_object_get(o, "config"), 0);
        json_array_foreach(json_object_get(o, "layers"), i, layer) translate(layer, 0);
}

static int annotate(json_t *o, const struct image_change *c, struct arena *arena, struct err *err) {
        const struct rule *rule = rule_of(c->what);
        json_t *value = NULL;
        int r = check(c, rule, err);

        if (r < 0 || rule->path[0])
                return r;
        if (is_docker(o))
                make_oci(o);
        r = change(json_object_get(o, "annotations"), c, rule->form, arena, &value, err);
        if (value)
                (void) json_object_set_new(o, "annotations", value);
        else
                (void) json_object_del(o, "annotations");
        return r;
}

static void add_layer(json_t *o, const struct descriptor *layer) {
        json_t *d = json_pack("{s:s s:s s:I}", "mediaType", layer->media_type, "digest", layer->digest, "size",
                              (json_int_t) layer->size);

        if (is_docker(o))
                translate(d, 1);
        (void) json_array_append_new(json_object_get(o, "layers"), d);
}

int manifest_edit(const char *data, size_t len, const struct manifest_edit *e, struct arena *arena, const char **ret,
                  size_t *ret_len, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        _cleanup_(freep) char *text = NULL;
        struct manifest parsed;
        json_t *config;
        int r = json_load_unique(data, len, JSON_VALUES_MAX, "the manifest", &o, err);

        for (size_t i = 0; r == 0 && i < e->n_changes; i++)
                r = annotate(o, &e->changes[i], arena, err);
        if (r < 0)
                return r;
        config = json_object_get(o, "config");
        (void) json_object_set_new(config, "digest", json_string(e->config_digest));
        (void) json_object_set_new(config, "size", json_integer((json_int_t) e->config_size));
        (void) json_object_del(config, "data"); /* the old one, if it was in there itself */
        if (e->layer)
                add_layer(o, e->layer);
        text = dump(o);
        *ret_len = strlen(text);
        *ret = arena_memdup(arena, text, *ret_len);
        return manifest_parse(*ret, *ret_len, "", arena, &parsed, err);
}
