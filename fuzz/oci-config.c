/* SPDX-License-Identifier: Apache-2.0 */
/* oci-config - any bytes as a bundle's config.json, as an exec's process and as an update's resources: refused with a
 * reason, or a spec without holes. In a small arena, so that its end is met, too. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/str.h"
#include "oci/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_strings(const char *const *list) {
        assert(list);
        for (; *list; list++)
                assert(strlen(*list) < OCI_CONFIG_MAX_BYTES);
}

static void check_process(const struct spec_process *p) {
        check_strings(p->args);
        check_strings(p->env);
        assert(*p->args && p->cwd[0] == '/' && p->user.n_additional_gids <= SPEC_MAX_GROUPS);
        for (size_t i = 0; i < p->n_rlimits; i++)
                assert(p->rlimits[i].soft <= p->rlimits[i].hard);
}

static void check_resources(const struct spec_resources *r) {
        assert(r->memory_limit_bytes >= -1 && r->cpu_quota_us >= -1 && r->cpuset_cpus && r->cpuset_mems);
        for (size_t i = 0; i < r->n_devices; i++)
                assert(strspn(r->devices[i].access, "rwm") == strlen(r->devices[i].access));
        for (size_t i = 0; i < r->n_unified; i++)
                assert(r->unified[i].key[0] && !strchr(r->unified[i].key, '/') && r->unified[i].value);
        for (size_t i = 0; i < r->n_hugepages; i++)
                assert(str_ends_with(r->hugepages[i].page_size, "B"));
}

static void check_mount(const struct spec_mount *m) {
        assert(m->destination[0] == '/' && m->data && m->source_fd == -1);
        assert((m->recursive_set & m->recursive_clear & ~0x70ull) == 0 && !(m->flags & m->clear_flags));
        assert(strcmp(m->type ?: "", "bind") != 0 || m->source[0] == '/');
        assert(!m->owners || (m->owners->n_uids && m->owners->n_gids));
}

static void check_config(const struct oci_config *c) {
        assert(oci_version_is_known(c->oci_version) && c->root_path[0] == '/' && c->warnings);
        check_strings(c->spec.masked_paths);
        check_strings(c->spec.readonly_paths);
        check_resources(&c->spec.resources);
        if (c->has_process)
                check_process(&c->spec.process);
        for (size_t i = 0; i < c->spec.n_mounts; i++)
                check_mount(&c->spec.mounts[i]);
        for (size_t i = 0; i < c->spec.n_devices; i++)
                assert(strchr("cbp", c->spec.devices[i].type) && c->spec.devices[i].path[0] == '/');
        for (size_t i = 0; i < SPEC_NS_MAX; i++)
                assert(!c->spec.ns[i].create || !c->spec.ns[i].path);
        for (size_t kind = 0; kind < SPEC_HOOK_MAX; kind++)
                for (size_t i = 0; i < c->spec.hooks.n[kind]; i++)
                        assert(c->spec.hooks.list[kind][i].path[0] == '/');
}

/* The part's text is what jansson takes for the part. */
static void check_text(const char *text, const json_t *part) {
        _cleanup_(json_unrefp) json_t *j = NULL;
        struct err err;

        assert(!text == (!part || json_is_null(part)));
        if (text) {
                assert(json_load_bounded(text, strlen(text), 500000, "part", &j, &err) == 0);
                assert(json_equal(j, part));
        }
}

static void check_texts(const struct oci_config *c, const char *text, size_t size) {
        _cleanup_(json_unrefp) json_t *j = NULL;
        const json_t *lin;
        struct err err;

        assert(json_load_bounded(text, size, 500000, "config", &j, &err) == 0);
        lin = json_object_get(j, "linux");
        check_text(c->process_text, json_object_get(j, "process"));
        check_text(c->seccomp, json_object_get(lin, "seccomp"));
}

static void check_all(const struct oci_config *c, const char *text, size_t size) {
        check_config(c);
        check_texts(c, text, size);
}

static void check_error(int r, const struct err *err) {
        assert((r == -ERR_INVALID || r == -ERR_EXHAUSTED) && err->msg[0] && r == -(int) err->code);
}

/* --- mutations ------------------------------------------------------------------------------------------------------
 * Bytes changed anywhere make most often no JSON at all, and what is refused by jansson shows nothing new of ours:
 * every other time one value of the document is changed, and it stays one. */

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max, unsigned seed);

/* A place in a document: @parent has it by @key, or as its item @at. */
struct place {
        json_t *parent, *value;
        const char *key;
        size_t at;
};

static unsigned any(unsigned *seed, unsigned below) {
        return (unsigned) rand_r(seed) % below;
}

/* The @left-th value below @parent; counts down to it. */
static bool find(json_t *parent, unsigned *left, struct place *ret) {
        const char *key;
        json_t *v;
        size_t i;

        json_object_foreach(parent, key, v) {
                *ret = (struct place){ .parent = parent, .value = v, .key = key };
                if ((*left)-- == 0 || find(v, left, ret))
                        return true;
        }
        json_array_foreach(parent, i, v) {
                *ret = (struct place){ .parent = parent, .value = v, .at = i };
                if ((*left)-- == 0 || find(v, left, ret))
                        return true;
        }
        return false;
}

static bool find_any(json_t *root, unsigned *seed, struct place *ret) {
        unsigned all = UINT_MAX, which;

        (void) find(root, &all, ret);
        all = UINT_MAX - all;
        which = all ? any(seed, all) : 0;
        return all && find(root, &which, ret);
}

static json_t *edge(unsigned *seed) {
        static const json_int_t numbers[] = {
                -1, 0, 1, 2, 3, 1000, 65535, INT32_MAX, UINT32_MAX, INT64_MAX, INT64_MIN
        };
        static const char *const words[] = {
                "", "/", ".", "..", "a", "0", "-1", "0-1,3", "18446744073709551616", "host"
        };

        switch (any(seed, 8)) {
        case 0:
                return json_object();
        case 1:
                return json_array();
        case 2:
                return json_boolean(any(seed, 2));
        case 3:
                return json_null();
        case 4:
                return json_string(words[any(seed, sizeof(words) / sizeof(words[0]))]);
        default:
                return json_integer(numbers[any(seed, sizeof(numbers) / sizeof(numbers[0]))]);
        }
}

/* As bytes are, or a long one. */
static json_t *other_string(const json_t *old, unsigned *seed) {
        uint8_t text[PATH_MAX + 64];
        size_t n = json_string_length(old);

        if (any(seed, 16) == 0) {
                memset(text, 'a', sizeof(text));
                text[0] = '/';
                return json_stringn((const char *) text, sizeof(text));
        }
        if (n > 256)
                return json_stringn(json_string_value(old), any(seed, (unsigned) n));
        memcpy(text, json_string_value(old), n);
        n = LLVMFuzzerMutate(text, n, 300);
        return json_stringn((const char *) text, n); /* NULL: no UTF-8 */
}

static void put(const struct place *p, json_t *value) {
        if (value && p->key)
                (void) json_object_set_new(p->parent, p->key, value);
        else if (value)
                (void) json_array_set_new(p->parent, p->at, value);
}

static void change(json_t *root, unsigned *seed) {
        struct place p, other;

        if (!find_any(root, seed, &p) || !find_any(root, seed, &other))
                return;
        switch (any(seed, 6)) {
        case 0:
                (void) (p.key ? json_object_del(p.parent, p.key) : json_array_remove(p.parent, p.at));
                return;
        case 1:
                put(&p, edge(seed));
                return;
        case 2: /* one like another */
                put(&p, json_deep_copy(other.value));
                return;
        case 3: /* one more */
                if (json_is_array(other.parent))
                        (void) json_array_append_new(other.parent, json_deep_copy(other.value));
                else if (json_is_object(p.value))
                        (void) json_object_set_new(p.value, other.key, json_deep_copy(other.value));
                return;
        default:
                put(&p, json_is_string(p.value) ? other_string(p.value, seed) : edge(seed));
        }
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max, unsigned seed) {
        _cleanup_(json_unrefp) json_t *root = any(&seed, 2) ? NULL : json_loadb((const char *) bytes, size, 0, NULL);
        size_t n;

        if (!root)
                return LLVMFuzzerMutate(bytes, size, max);
        for (unsigned times = 1 + any(&seed, 3); times > 0; times--)
                change(root, &seed);
        n = json_dumpb(root, (char *) bytes, max, JSON_COMPACT);
        return n <= max ? n : LLVMFuzzerMutate(bytes, size, max);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 << 10);
        const char *text = (const char *) bytes;
        struct oci_config config;
        struct spec_process process;
        struct spec_resources resources;
        struct err err;
        int r = oci_config_parse(text, size, "/bundle", arena, &config, &err);

        if (r == 0)
                check_all(&config, text, size);
        else
                check_error(r, &err);
        r = oci_process_parse(text, size, arena, &process, &err);
        if (r == 0)
                check_process(&process);
        else
                check_error(r, &err);
        r = oci_resources_parse(text, size, arena, &resources, &err);
        if (r == 0)
                check_resources(&resources);
        else
                check_error(r, &err);
        return 0;
}
