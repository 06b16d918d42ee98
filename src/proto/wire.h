/* SPDX-License-Identifier: Apache-2.0 */
/* wire - a look at a message's bytes before they are decoded, for what protobuf-c does not look at. */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

/* 0, or ERR_INTERNAL: broken framing, a string that is not UTF-8, a string with a NUL inside. */
_must_use_ int wire_check(const ProtobufCMessageDescriptor *desc, const void *data, size_t len, struct err *err);

_must_use_ bool wire_utf8_is_valid(const void *data, size_t len);
