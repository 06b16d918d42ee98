/* SPDX-License-Identifier: Apache-2.0 */
/* record - what the store keeps of a sandbox and a container: fields of our own as tag, length, value; CRI's
 * configuration packed as it came. Unknown tags are skipped, so that an older daemon can read what a newer one wrote.
 * Private to pod/. */
#pragma once
#include "pod/registry.h"

/* Writes the record as the object is now. The caller holds sandbox->lock, or container->record. */
_must_use_ int sandbox_save(struct sandbox *s, struct err *err);
_must_use_ int container_save(struct container *c, struct err *err);
/* A new phase, written; takes container->record itself. */
_must_use_ int container_save_phase(struct container *c, enum container_phase phase, struct err *err);

/* Decode into new objects (not in any map yet). ERR_DATA_LOSS when damaged. */
_must_use_ int sandbox_decode(struct pods *p, const char *id, const void *data, size_t len, struct sandbox **ret,
                              struct err *err);
struct container_link {
        char sandbox_id[ID_LEN + 1];
};
/* The sandbox that a container's record names. */
_must_use_ int container_decode_link(const void *data, size_t len, struct container_link *ret, struct err *err);
_must_use_ int container_decode(struct sandbox *s, const char *id, const void *data, size_t len, struct container **ret,
                                struct err *err);

/* The bytes, for sandbox_save, container_save and tests; caller frees. */
_must_use_ int sandbox_encode(struct sandbox *s, void **ret, size_t *ret_len, struct err *err);
_must_use_ int container_encode(struct container *c, void **ret, size_t *ret_len, struct err *err);
