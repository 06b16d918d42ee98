/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests, indexes and configs: the first byte chooses. What parses holds what its header promises. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "image/manifest.h"
#include "image/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const char *text, size_t len, struct arena *arena) {
        struct image_config c;
        struct err err;

        if (config_parse(text, len, arena, &c, &err) < 0)
                return;
        assert(c.entrypoint && c.cmd && c.env && c.volumes && c.labels && c.user && c.working_dir && c.stop_signal);
        assert(c.n_diff_ids <= LAYERS_MAX);
        for (size_t i = 0; i < c.n_diff_ids; i++)
                assert(digest_is_valid(c.diff_ids[i]));
        (void) platform_runs(&c.platform, platform_host());
}

static void check_manifest(const char *text, size_t len, const char *type, struct arena *arena) {
        const struct descriptor *d;
        struct manifest m;
        struct err err;

        if (manifest_parse(text, len, type, arena, &m, &err) < 0)
                return;
        assert(m.n_layers <= LAYERS_MAX && m.n_entries <= INDEX_ENTRIES_MAX);
        for (size_t i = 0; i < m.n_layers; i++)
                assert(digest_is_valid(m.layers[i].digest));
        if (!m.is_index)
                assert(digest_is_valid(m.config.digest) && m.config.size <= CONFIG_BYTES_MAX);
        else if (manifest_choose(&m, platform_host(), &d, &err) == 0)
                assert(digest_is_valid(d->digest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const types[] = { "", "application/vnd.oci.image.index.v1+json",
                                             "application/vnd.oci.image.manifest.v1+json; charset=utf-8" };
        struct arena *arena;

        if (size == 0)
                return 0;
        arena = arena_new(64 * 1024 * 1024);
        if (data[0] % 4 == 3)
                check_config((const char *) data + 1, size - 1, arena);
        else
                check_manifest((const char *) data + 1, size - 1, types[data[0] % 4], arena);
        (void) arena_free(arena);
        return 0;
}
