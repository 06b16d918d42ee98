/* SPDX-License-Identifier: Apache-2.0 */
/* A CDI specification's edits, and their way into a container's spec. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "pod/cdi.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(16 << 20);
        static const char *env[CDI_MAX_ITEMS + 1];
        static struct cdi_node nodes[CDI_MAX_ITEMS];
        static struct spec_mount mounts[CDI_MAX_ITEMS];
        static gid_t gids[SPEC_MAX_GROUPS];
        static struct spec_hook hooks[SPEC_HOOK_MAX][CDI_MAX_HOOKS];
        struct cdi_edits edits = { .env = env, .nodes = nodes, .mounts = mounts, .gids = gids };
        struct yaml_node *root = NULL;
        struct spec spec = { 0 };
        struct err err;

        for (size_t i = 0; i < SPEC_HOOK_MAX; i++)
                edits.hooks[i] = hooks[i];
        if (yaml_read("fuzz", (const char *) bytes, size, arena, &root, &err) < 0)
                return 0;
        if (cdi_add_edits("fuzz", cdi_member(root, "containerEdits"), arena, &edits, &err) == 0 &&
            cdi_apply(&edits, arena, &spec, &err) == 0 &&
            (spec.resources.n_devices > edits.n_nodes || spec.process.user.n_additional_gids != edits.n_gids))
                abort();
        return 0;
}
