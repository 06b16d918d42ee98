/* SPDX-License-Identifier: Apache-2.0 */
/* test-common - what the tests of control groups share: groups below one of the test's own, and processes in them. */
#pragma once
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include "base/err.h"
#include "runtime/cgroup/internal.h"

extern struct err err;
extern char parent[64]; /* the test's own group */

#define ok(expr)                                                                                                       \
        do {                                                                                                           \
                int _r = (expr);                                                                                       \
                if (_r < 0) {                                                                                          \
                        fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #expr, err.msg);                        \
                        abort();                                                                                       \
                }                                                                                                      \
        } while (0)

/* Of a group below the test's own; valid for a few calls. */
const char *path_of(const char *name);
/* What cgroups_new() finds where no v2 tree is mounted. */
int cgroups_new_v1(struct cgroups **ret, struct err *err);
bool exists_anywhere(struct cgroups *c, const char *path);
/* A child in the group that runs fn; returns when it is in. */
pid_t spawn_in(struct cgroups *c, const char *path, void (*fn)(void));
_Noreturn void sleep_for_ever(void);
void family(void); /* eleven of those */
/* The test's own group, @fn in a process of its own, so that a failed assertion leaves no groups either. Exit status
 * of the test; 77 where there can't be groups. */
int run_with_groups(const char *name, void (*fn)(struct cgroups *c));
