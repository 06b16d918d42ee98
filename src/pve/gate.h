/* SPDX-License-Identifier: Apache-2.0 */
/* gate - how many operations may be under way at one place, a node or a storage, at a time: more of them only wait for
 * each other's locks there, and time out. Whoever is too many waits here, in the order of arrival. Thread-safe. Private
 * to pve/. */
#pragma once
#include "base/cleanup.h"
#include "base/err.h"

struct gates;
struct pve_until;

struct gates *gates_new(unsigned max_each);
struct gates *gates_free(struct gates *g); /* nobody may be inside */

/* @name: NULL is a place where there is room for all. ERR_CANCELLED, ERR_DEADLINE. */
_must_use_ int gate_enter(struct gates *g, const char *name, const struct pve_until *until, struct err *err);
void gate_leave(struct gates *g, const char *name);
