/* SPDX-License-Identifier: Apache-2.0 */
/* systemd - what the files of the systemd driver share: properties of units, the connection. Private to runtime/cgroup
 * and its tests. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "runtime/cgroup/driver.h"
#include "runtime/cgroup/internal.h"

enum { UNIT_PROPS_MAX = 96, UNIT_TIMEOUT_MS = 30000 };

/* One property; the type is D-Bus' signature of its value. */
struct unit_prop {
        const char *name;
        char type[6]; /* b y n q i u x t d s o, as, ay, au, a(ss) */
        union {
                uint64_t number; /* of b y q u t; of n i x as two's complement */
                double real;
                const char *text;
                const char *const *texts; /* NULL-terminated */
                struct {
                        const uint8_t *bytes;
                        size_t n_bytes;
                };
                struct {
                        const struct unit_device { const char *path, *access; } * devices;
                        size_t n_devices;
                };
        };
};
struct unit_props {
        struct unit_prop list[UNIT_PROPS_MAX];
        size_t n;
};

/* A value as GVariant writes it: 'text', true, uint64 5, @t 5, ['a', 'b'] ... ERR_INVALID. */
_must_use_ int unit_value_parse(const char *text, struct arena *arena, struct unit_prop *ret, struct err *err);
/* Of the annotations; names that end in Sec are given in seconds. */
_must_use_ int unit_props_annotations(const struct spec_pair *list, size_t n, struct arena *arena, struct unit_props *p,
                                      struct err *err);
/* What makes the unit. */
_must_use_ int unit_props_start(const struct cgroup_place *place, pid_t pid, enum cgroup_mode mode, struct arena *arena,
                                struct unit_props *p, struct err *err);
/* What @r limits, as far as systemd knows it, so that it does not set it back at its next turn. @version of systemd;
 * @memory_now: the group's limit, 0 when it has none. */
struct unit_host {
        enum cgroup_mode mode;
        unsigned version;
        uint64_t memory_now;
};
_must_use_ int unit_props_limits(const struct unit_host *host, const struct spec_resources *r, struct arena *arena,
                                 struct unit_props *p, struct err *err);
/* "0-3,8" as systemd's mask of processors. */
_must_use_ int cpu_mask_parse(const char *list, struct arena *arena, const uint8_t **ret, size_t *ret_n,
                              struct err *err);

/* The connection. */
struct unit_bus;
_must_use_ int unit_bus_open(struct unit_bus **ret, struct err *err);
struct unit_bus *unit_bus_free(struct unit_bus *b);
DEFINE_CLEANUP(struct unit_bus *, unit_bus_free)
unsigned unit_bus_version(const struct unit_bus *b); /* 252 */
/* Waits until systemd is done. */
_must_use_ int unit_start(struct unit_bus *b, const char *unit, const struct unit_props *p, struct err *err);
_must_use_ int unit_stop(struct unit_bus *b, const char *unit, struct err *err);
/* With *ret_undo, when that is not NULL, the old values can be put back, once. */
struct unit_undo;
_must_use_ int unit_set(struct unit_bus *b, const char *unit, const struct unit_props *p, struct unit_undo **ret_undo,
                        struct err *err);
void unit_undo_apply(struct unit_bus *b, struct unit_undo *undo);
struct unit_undo *unit_undo_free(struct unit_undo *undo);
/* Its group, in @arena; "": none. */
_must_use_ int unit_group(struct unit_bus *b, const char *unit, struct arena *arena, const char **ret, struct err *err);
