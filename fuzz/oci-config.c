/* SPDX-License-Identifier: Apache-2.0 */
/* oci-config - any bytes as a bundle's config.json, as an exec's process and as an update's resources: refused with a
 * reason, or a spec without holes. In a small arena, so that its end is met, too. */
#include <assert.h>
#include <limits.h>
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
