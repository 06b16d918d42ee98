/* SPDX-License-Identifier: Apache-2.0 */
/* describe - the table of operations as JSON, for clients that look what there is: GET /v1. */
#pragma once
#include <jansson.h>

json_t *rest_describe(void); /* caller owns */
