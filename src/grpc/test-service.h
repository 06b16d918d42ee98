/* SPDX-License-Identifier: Apache-2.0 */
/* test-service - a few CRI methods that do what tests ask of them. */
#pragma once
#include "grpc/server.h"

/* Version (inline): echoes the version.
 * Status: an empty answer from the pool.
 * ExecSync: container_id is a verb: "echo" (cmd[0] comes back), "fill" (timeout bytes), "count" (exit_code: bytes in
 *   cmd), "fail" (status: timeout, message: cmd[0]), "sleep" (timeout ms, ends when cancelled), "stubborn" (the same,
 *   but does not look), "cancels" (exit_code: how many "sleep" and GetContainerEvents were cancelled so far).
 * StreamImages: filter.image: image is how many, runtime_handler how many bytes in each, image_ref "fail" a failure
 *   after them.
 * GetContainerEvents: an event every five milliseconds, until cancelled. */
extern const struct grpc_method test_service[];
extern const size_t test_service_len;

int test_service_sleeping(void); /* how many "sleep" are at it, in this process */
