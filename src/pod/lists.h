/* SPDX-License-Identifier: Apache-2.0 */
/* lists - what List and Status answer. A list item is packed once, when its object changes; a list of 500 pods is then
 * 500 copies of bytes. They travel as "unknown fields" of an otherwise empty response: protobuf-c writes such fields
 * out as they are, so no message is built, walked or measured again. Private to pod/. */
#pragma once
#include "pod/registry.h"

/* The caller holds pods->lock. malloc'ed. */
struct packed_item *sandbox_pack_item(const struct sandbox *s);
struct packed_item *container_pack_item(const struct container *c);

bool sandbox_matches(const struct sandbox *s, const CRI(PodSandboxFilter) * f);
bool container_matches(const struct container *c, const CRI(ContainerFilter) * f);

/* @sub, packed, as the field @tag of some message. @sub may point to what changes once pods->lock is given up. */
_must_use_ int lists_pack_field(ProtobufCMessageUnknownField *ret, unsigned tag, const ProtobufCMessage *sub,
                                struct arena *arena, struct err *err);
/* Status of an object as the field @tag of some message. The caller holds pods->lock. */
_must_use_ int status_pack_sandbox(const struct sandbox *s, unsigned tag, struct arena *arena,
                                   ProtobufCMessageUnknownField *ret, struct err *err);
_must_use_ int status_pack_container(const struct container *c, unsigned tag, struct arena *arena,
                                     ProtobufCMessageUnknownField *ret, struct err *err);
/* The pod's status and those of its containers that can be found, as fields of @to under these tags. */
_must_use_ int status_pack_all(const struct sandbox *s, unsigned tag, unsigned containers_tag, ProtobufCMessage *to,
                               struct arena *arena, struct err *err);
