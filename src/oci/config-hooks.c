/* SPDX-License-Identifier: Apache-2.0 */
/* config-hooks - "hooks" of config.json. */
#include <limits.h>
#include "base/str.h"
#include "oci/config-parts.h"
#include "runtime/hooks/hooks.h"

static void read_hook(const struct config_node *hook, struct spec_hook *ret) {
        config_need(hook, "path");
        ret->path = config_string(hook, "path");
        if (ret->path && *ret->path != '/')
                config_fail(hook, "path", "\"%.64s\" is not absolute", ret->path);
        ret->args = config_strings(hook, "args", CONFIG_MAX_STRINGS);
        ret->env = config_strings(hook, "env", CONFIG_MAX_STRINGS);
        ret->timeout_ms = 1000 * (uint64_t) config_i64(hook, "timeout", 1, INT_MAX / 1000, NULL);
}

void config_read_hooks(const struct config_node *root, struct spec_hooks *ret) {
        struct config_node hooks = config_object(root, "hooks");

        for (size_t kind = 0; kind < SPEC_HOOK_MAX; kind++) {
                struct config_node list = config_array(&hooks, hook_kind_name(kind), CONFIG_MAX_HOOKS);
                size_t n = config_count(&list);
                struct spec_hook *read = config_array_of(&list, struct spec_hook, n);

                for (size_t i = 0; read && i < n; i++) {
                        struct config_node hook = config_item_object(&list, i);

                        read_hook(&hook, &read[i]);
                }
                ret->list[kind] = read;
                ret->n[kind] = read ? n : 0;
        }
}
