/* SPDX-License-Identifier: Apache-2.0 */
/* test-fixture - a box with a spec that has the mounts every pod has, and room for more. For test-init*.c only. */
#pragma once
#include "base/cleanup.h"
#include "init/test-harness.h"

#define ALL_CAPS 0x1ffffffffffULL
#define DEFAULT_CAPS 0xa80425fbULL

enum { N_BASIC = 5, MAX_MOUNTS = 24 }; /* /dev, /dev/pts, /dev/mqueue, /proc, /sys */

struct fixture {
        struct box box;
        struct spec spec;
        struct spec_mount mounts[MAX_MOUNTS];
        const char *args[8];
};

extern struct plan_host host; /* no cgroups: most tests don't need them */

/* Runs @script in a shell. */
struct fixture *fixture_new(const char *script);
struct fixture *fixture_free(struct fixture *f);
DEFINE_CLEANUP(struct fixture *, fixture_free)
#define _cleanup_fixture_ _cleanup_(fixture_freep)

/* A recursive one. */
struct spec_mount *add_mount(struct fixture *f, const char *type, const char *source, const char *destination);

/* The exit code, or 128 + signal. */
int run(struct fixture *f);
/* Is @text in the output? */
void expect(const struct fixture *f, const char *text);
void expect_not(const struct fixture *f, const char *text);
/* Init refuses, with @text in its reason. */
void expect_error(struct fixture *f, const char *text);

/* 77 for who isn't root; else in a mount namespace of its own. */
int test_begin(void);

#define RUN(test)                                                                                                      \
        do {                                                                                                           \
                (void) fprintf(stderr, "%s\n", #test);                                                                 \
                test();                                                                                                \
        } while (0)
