/* SPDX-License-Identifier: Apache-2.0 */
/* cri - the generated CRI messages together with what everybody does with them. */
#pragma once
#include "proto/cri.pb-c.h" /* IWYU pragma: export */
#include "proto/message.h"  /* IWYU pragma: export */
