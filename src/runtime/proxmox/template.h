/* SPDX-License-Identifier: Apache-2.0 */
/* template - what pods' CTs are made from (init/make-template), on a storage of the cluster. Its name there has a
 * digest of it: another version of ours brings another template, and leaves those of others alone. */
#pragma once
#include "pve/pve.h"

struct template_place {
        const char *node, *storage;
        const char *file; /* here */
};

/* Uploads it unless it is there. @ret: "local:vztmpl/...", the caller frees it. */
_must_use_ int template_ensure(struct pve *p, const struct template_place *place, const struct pve_until *until,
                               char **ret, struct err *err);
