/* SPDX-License-Identifier: Apache-2.0 */
/* names - what config.json calls values of a spec: src/oci reads them, runtime/crun writes them. Pure, thread-safe.
 * Source: OCI runtime-spec 1.3, config-linux.md#namespaces, config.md#posix-process. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "runtime/spec/spec.h"

struct spec_name {
        const char *name;
        uint64_t value;
};

extern const char *const spec_namespace_names[SPEC_NS_MAX];
extern const struct spec_name spec_rlimit_names[]; /* values: RLIMIT_* */
extern const size_t n_spec_rlimit_names;
const char *spec_rlimit_name(int resource); /* NULL: none */
