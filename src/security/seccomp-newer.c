/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-newer - see seccomp-newer.h. */
#include "security/seccomp-newer.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdlib.h>
#include "base/attr.h"
#include "base/str.h"

enum {
        NUMBERS_END = 700,    /* no kernel gets there for years */
        X32_BIT = 0x40000000, /* x86-64's other calling convention numbers its calls from here */
};

/* Since 5.1 every architecture gives a new call the same number; only MIPS and Alpha start elsewhere. */
static const struct {
        const char *name;
        int nr;
} known[] = {
        { "cachestat", 451 },         { "fchmodat2", 452 },        { "map_shadow_stack", 453 },
        { "futex_wake", 454 },        { "futex_wait", 455 },       { "futex_requeue", 456 },
        { "statmount", 457 },         { "listmount", 458 },        { "lsm_get_self_attr", 459 },
        { "lsm_set_self_attr", 460 }, { "lsm_list_modules", 461 }, { "mseal", 462 },
        { "setxattrat", 463 },        { "getxattrat", 464 },       { "listxattrat", 465 },
        { "removexattrat", 466 },     { "open_tree_attr", 467 },   { "file_getattr", 468 },
        { "file_setattr", 469 },
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int first_unknown;

static void find_first_unknown(void) {
        for (int nr = NUMBERS_END; nr > 0 && first_unknown == 0; nr--) {
                char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), nr);

                if (name)
                        first_unknown = nr + 1;
                free(name);
        }
}

static int threshold(void) {
        (void) pthread_once(&once, find_first_unknown);
        return first_unknown;
}

int seccomp_newer_number(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (known[i].nr >= threshold() && str_eq(known[i].name, name))
                        return known[i].nr;
        return -1;
}

void seccomp_newer_add(struct seccomp_newer *s, int nr, uint32_t action) {
        for (size_t i = 0; i < s->n; i++)
                if (s->rules[i].nr == nr)
                        return;
        if (s->n < SECCOMP_NEWER_MAX) {
                s->rules[s->n].nr = nr;
                s->rules[s->n++].action = action;
        }
}

size_t seccomp_newer_compile(const struct seccomp_newer *s, struct sock_filter ret[SECCOMP_NEWER_INSNS_MAX]) {
        const unsigned char rest = (unsigned char) (2 * s->n + 1); /* from the second comparison to the filter */
        const uint32_t unsupported = SECCOMP_RET_ERRNO | ENOSYS;
        size_t i = 0;

#if !defined(__x86_64__) && !defined(__i386__) && !defined(__aarch64__) && !defined(__arm__) && !defined(__riscv) &&   \
        !defined(__s390x__) && !defined(__powerpc64__)
        return 0;
#endif
        if (threshold() == 0 || (s->n == 0 && !s->refuse))
                return 0;
        ret[i++] = (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* seccomp_data.nr */);
        ret[i++] = (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, (unsigned char) (rest + 1), 0);
        ret[i++] = (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t) threshold(), 0, rest);
        for (size_t k = 0; k < s->n; k++)
                ret[i++] = (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) s->rules[k].nr,
                                                         (unsigned char) s->n, 0);
        if (s->refuse)
                ret[i++] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, unsupported);
        else
                ret[i++] = (struct sock_filter) BPF_STMT(BPF_JMP | BPF_JA, (uint32_t) s->n);
        for (size_t k = 0; k < s->n; k++)
                ret[i++] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, s->rules[k].action);
        return i;
}
