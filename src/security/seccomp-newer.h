/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-newer - system calls that are newer than the libseccomp we run with. It can't name them, so they would fall
 * to the default action; but EPERM makes libc give up where ENOSYS makes it take the older call. So a few instructions
 * go before the compiled filter: rules for the newer calls that we know by number, and ENOSYS for the rest where the
 * default is an error. Private to security/. */
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECCOMP_NEWER_MAX = 32 };

struct seccomp_newer {
        bool refuse; /* answer ENOSYS to those without a rule, instead of asking the filter */
        size_t n;
        struct {
                int nr;
                uint32_t action; /* SECCOMP_RET_* with data, which SCMP_ACT_* equals */
        } rules[SECCOMP_NEWER_MAX];
};

/* The number of a call that libseccomp can't name, or -1. Same number on all architectures that we build for. */
int seccomp_newer_number(const char *name);
/* The first rule for a call counts. */
void seccomp_newer_add(struct seccomp_newer *s, int nr, uint32_t action);

enum { SECCOMP_NEWER_INSNS_MAX = 4 + 2 * SECCOMP_NEWER_MAX };
/* The instructions to put before the filter; returns their number, 0 when there is nothing to do. */
size_t seccomp_newer_compile(const struct seccomp_newer *s, struct sock_filter ret[SECCOMP_NEWER_INSNS_MAX]);
