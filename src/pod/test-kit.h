/* SPDX-License-Identifier: Apache-2.0 */
/* test-kit - configurations as the CRI has them, for pod/'s tests. Everything lives in the arena. */
#pragma once
#include "pod/specgen.h"

CRI(PodSandboxConfig) * test_pod_config(struct arena *a);
CRI(ContainerConfig) * test_container_config(struct arena *a);
/* @n entries of a map, from keys and values in turn. */
void *test_entries(struct arena *a, size_t n, const char *const *pairs);
struct image test_image(void);
CRI(Int64Value) * test_int64(struct arena *a, int64_t v);
/* Of a pod, with one range of as many uids as gids. */
CRI(UserNamespace) * test_user_ns(struct arena *a, uint32_t inside, uint32_t outside, uint32_t length);

extern const char *const test_none[]; /* an empty list */
extern char test_no_text[];           /* "" */
