/* SPDX-License-Identifier: Apache-2.0 */
/* oci-texts - the small texts that the OCI runtime reads: "hooks" of a bundle, what a container says to its notify
 * socket, the ids of a user namespace. The first byte chooses. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "oci/notify.h"
#include "oci/user-ids.h"
#include "runtime/hooks/hooks.h"

enum { MAX_VALUES = 10000, MAX_MAPS = 340 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_list(const char *const *list) {
        assert(list);
        while (*list)
                list++;
}

/* What is read is written, and read again, as the same. */
static void try_hooks(const char *text, size_t len, struct arena *arena) {
        _cleanup_(json_unrefp) json_t *j = NULL, *again = NULL, *twice = NULL;
        struct spec_hooks hooks, other;
        struct err err;

        if (json_load_bounded(text, len, MAX_VALUES, "hooks", &j, &err) < 0)
                return;
        if (hooks_from_json(j, arena, &hooks, &err) < 0) {
                assert(err.msg[0]);
                return;
        }
        for (size_t kind = 0; kind < SPEC_HOOK_MAX; kind++)
                for (size_t i = 0; i < hooks.n[kind]; i++) {
                        assert(hooks.list[kind][i].path[0] == '/');
                        check_list(hooks.list[kind][i].args);
                        check_list(hooks.list[kind][i].env);
                }
        again = hooks_to_json(&hooks);
        assert(again && hooks_from_json(again, arena, &other, &err) == 0);
        twice = hooks_to_json(&other);
        assert(twice && json_equal(again, twice));
}

static void try_notify(char *text) {
        const char *ready = notify_find_ready(text);

        assert(!ready || (strncmp(ready, "READY=", 6) == 0 && !strchr(ready, '\n')));
}

static void try_ids(char *text, struct arena *arena) {
        const struct id_map *maps = NULL;

        assert(user_ids_parse(text, arena, &maps) <= MAX_MAPS && maps);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(16 << 20);
        _cleanup_(freep) char *text = NULL;

        if (size < 1)
                return 0;
        text = xstrndup((const char *) bytes + 1, size - 1);
        if (bytes[0] == 'n')
                try_notify(text);
        else if (bytes[0] == 'u')
                try_ids(text, arena);
        else
                try_hooks((const char *) bytes + 1, size - 1, arena);
        return 0;
}
