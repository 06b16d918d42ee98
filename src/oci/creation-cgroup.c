/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "oci/creation.h"

struct cgroup_place oci_cgroup_place(const struct oci_state *s) {
        return (struct cgroup_place){ .path = s->cgroup_path, .unit = str_empty(s->scope) ? NULL : s->scope };
}

/* Written down before it is made: whoever finds what is left of a creation that was killed knows where to look. And
 * again once it is known to be ours. */
int creation_make_cgroup(struct creation *c, struct err *err) {
        struct spec *spec = &c->config.spec;
        struct cgroup_unit_args args = { .annotations = spec->annotations, .n_annotations = spec->n_annotations };
        struct cgroup_place place;
        int r;

        if (c->oci->no_cgroup)
                return oci_state_write(&c->dir, &c->state, err);
        r = cgroup_place_find(c->cgroups, c->config.cgroups_path, c->args->id, c->oci->systemd_cgroup, c->oci->arena,
                              &place, err);

        if (r < 0)
                return r;
        c->state.cgroup_path = spec->cgroup_path = place.path;
        c->state.scope = place.unit ?: "";
        c->state.cgroup_making = !cgroup_exists(c->cgroups, place.path);
        r = oci_state_write(&c->dir, &c->state, err);
        if (r == 0)
                r = cgroup_place_create(c->cgroups, &place, &args, &spec->resources, &c->cgroup, err);
        c->state.cgroup_made = c->cgroup.made;
        c->state.cgroup_making = false;
        return r < 0 ? r : oci_state_write(&c->dir, &c->state, err);
}

int creation_make_rdt(struct creation *c, struct err *err) {
        struct arena *arena = c->oci->arena;
        const char *root;
        int r;

        if (!c->config.intel_rdt)
                return 0;
        r = intel_rdt_find(arena, &root, err);
        if (r < 0)
                return r;
        r = intel_rdt_make(root, c->config.intel_rdt, c->args->id, arena, &c->state.rdt_made, &c->state.rdt_tasks, err);
        if (r < 0)
                return r;
        return oci_state_write(&c->dir, &c->state, err);
}
