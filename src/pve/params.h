/* SPDX-License-Identifier: Apache-2.0 */
/* params - the parameters of a request, encoded as they are added: everything but letters, digits and "-._~" as %XX,
 * since pveproxy takes a bare ';' for a separator and '+' for a blank. Values may hold any bytes, NUL too (env is a
 * list that these separate). Not thread-safe. */
#pragma once
#include <inttypes.h>
#include "base/strbuf.h"

enum { PVE_PARAMS_MAX = 512 * 1024 }; /* past it the request that uses them is ERR_EXHAUSTED */

struct pve_params {
        struct strbuf encoded; /* "a=1&b=x%3Dy" */
};

#define PVE_PARAMS ((struct pve_params){ .encoded = STRBUF(PVE_PARAMS_MAX) })
#define _cleanup_params_ _cleanup_(pve_params_done)
void pve_params_done(struct pve_params *p); /* wipes */

/* NULL: not added. */
void pve_param(struct pve_params *p, const char *name, const char *value);
void pve_param_bytes(struct pve_params *p, const char *name, const void *value, size_t len);
void pve_param_u64(struct pve_params *p, const char *name, uint64_t value);
_printf_(3, 4) void pve_param_printf(struct pve_params *p, const char *name, const char *fmt, ...);
/* As they stand, encoded already. */
void pve_params_add(struct pve_params *p, const struct pve_params *more);

/* @s with all that may not stand in a path encoded; '/' stays. */
void pve_encode_path(struct strbuf *to, const char *s);
