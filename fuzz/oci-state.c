/* SPDX-License-Identifier: Apache-2.0 */
/* oci-state - any bytes as a container's state.json, as a disk that was full may leave it: refused with a reason, or a
 * state without holes that can be shown. What the scanner takes, jansson reads alike. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/str.h"
#include "oci/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_strings(const struct oci_state *s) {
        const char *const all[] = { s->id,          s->bundle, s->rootfs,   s->oci_version, s->created,
                                    s->cgroup_path, s->scope,  s->rdt_made, s->rdt_tasks };

        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                assert(all[i]);
        for (size_t i = 0; i < s->n_annotations; i++)
                assert(s->annotations[i].key && s->annotations[i].value);
}

static void check_scanner(const char *text, size_t size, struct arena *arena) {
        _cleanup_(freep) char *a = NULL, *b = NULL;
        struct oci_state scanned, loaded;
        struct err err;

        if (!oci_state_scan(text, size, "some-id", arena, &scanned))
                return;
        assert(oci_state_load(text, size, "some-id", arena, &loaded, &err) == 0);
        check_strings(&scanned);
        a = oci_state_text(&scanned);
        b = oci_state_text(&loaded);
        assert(a && str_eq(a, b));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        _cleanup_(json_unrefp) json_t *j = NULL;
        struct oci_state s;
        const char *text;
        struct err err;
        int r = oci_state_parse((const char *) bytes, size, "some-id", arena, &s, &err);

        check_scanner((const char *) bytes, size, arena);
        if (r < 0) {
                assert(err.msg[0] && r == -(int) err.code && r != -ERR_NOT_FOUND);
                return 0;
        }
        check_strings(&s);
        text = oci_state_json(&s, OCI_RUNNING, true, arena);
        assert(text && json_load_bounded(text, strlen(text), 200000, "state", &j, &err) == 0);
        assert(str_eq(json_string_value(json_object_get(j, "id")), "some-id"));
        return 0;
}
