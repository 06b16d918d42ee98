/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "base/str.h"
#include "oci/creation.h"

/* Written down before it is made: whoever finds what is left of a creation that was killed knows where to look. And
 * again once it is known to be ours. */
int creation_make_cgroup(struct creation *c, struct err *err) {
        struct spec *spec = &c->config.spec;
        struct cgroup_place place;
        int r = cgroup_place_find(c->cgroups, c->config.cgroups_path, c->args->id, c->oci->systemd_cgroup,
                                  c->oci->arena, &place, err);

        if (r < 0)
                return r;
        c->state.cgroup_path = spec->cgroup_path = place.path;
        r = oci_state_write(&c->dir, &c->state, err);
        if (r == 0)
                r = cgroup_create_or_join(c->cgroups, place.path, &spec->resources, &c->state.cgroup_made, err);
        return r < 0 ? r : oci_state_write(&c->dir, &c->state, err);
}
