/* SPDX-License-Identifier: Apache-2.0 */
/* pause - the first process of a pod that shares its PID namespace: reaps, and ends on SIGTERM or SIGINT. */
#pragma once

__attribute__((noreturn)) void pause_run(void);
