/* SPDX-License-Identifier: Apache-2.0 */
/* What bundles say of control groups in words of their own: the value of a unit's property (first byte 0), a list of
 * processors (1), cgroupsPath (2: cgroupfs, 3: systemd), and a list of devices as the kernel gives it (4). */
#include <assert.h>
#include <string.h>
#include "base/str.h"
#include "runtime/cgroup/systemd.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_value(const char *text, struct arena *arena) {
        struct unit_prop p = { 0 };
        struct err err;

        if (unit_value_parse(text, arena, &p, &err) < 0)
                return;
        if (str_eq(p.type, "as"))
                assert(p.texts);
        else
                assert(p.type[0] && !p.type[1] && strchr("bynqiuxtdso", p.type[0]));
        if (p.type[0] == 's' || p.type[0] == 'o')
                assert(strlen(p.text) < strlen(text));
}

static void check_place(const char *text, bool systemd, struct arena *arena) {
        static struct cgroups c = { .mode = CGROUP_V2 };
        struct cgroup_place p;
        struct err err;

        if (cgroup_place_find(&c, text, "id", systemd, arena, &p, &err) < 0)
                return;
        assert(path_check(p.path, &err) == 0 && !p.unit == !systemd);
        if (systemd)
                assert(!strchr(p.unit, '/') && str_ends_with(p.path, p.unit) && str_ends_with(p.slice, ".slice"));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        _cleanup_(arena_freep) struct arena *arena = arena_new((size_t) 16 << 20);
        static struct device_state state;
        const uint8_t *mask;
        const char *text;
        size_t n = 0;
        struct err err;

        if (size < 1 || size > 1 << 16)
                return 0;
        text = arena_strndup(arena, (const char *) bytes + 1, size - 1);
        if (bytes[0] == 0)
                check_value(text, arena);
        else if (bytes[0] == 1)
                assert(cpu_mask_parse(text, arena, &mask, &n, &err) < 0 || (n > 0 && n <= 1024 && mask[n - 1]));
        else if (bytes[0] == 4)
                (void) device_state_parse(text, &state);
        else
                check_place(text, bytes[0] == 3, arena);
        return 0;
}
