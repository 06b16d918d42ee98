/* SPDX-License-Identifier: Apache-2.0 */
/* test-seccomp-tree - small programs decide as the ones that they are made of: both are run here, for calls of every
 * number, architecture and argument that one of them compares with, and for their neighbours. */
#undef NDEBUG
#include <assert.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/attr.h"
#include "security/caps.h"
#include "security/seccomp-filter.h"
#include "security/seccomp-tree.h"

enum { X32_BIT = 0x40000000, NUMBERS = 1000, VALUES_MAX = 20000, TRIES = 50, PROGRAMS = 1500 };

static struct err err;
static uint64_t seed = 1;

static uint32_t any(uint32_t below) {
        assert(below > 0);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        return (uint32_t) (seed >> 33) % below;
}

/* --- the kernel's part ---------------------------------------------------------------------------------------------
 */

static bool holds(uint16_t op, uint32_t a, uint32_t k) {
        switch (op) {
        case BPF_JEQ:
                return a == k;
        case BPF_JGE:
                return a >= k;
        case BPF_JGT:
                return a > k;
        case BPF_JSET:
                return a & k;
        default:
                abort();
        }
}

/* The action; @looked: arguments or the instruction pointer were looked at. */
static uint32_t run(const struct sock_filter *insns, size_t n, const struct seccomp_data *d, bool *looked) {
        uint32_t a = 0;

        for (size_t pc = 0;; pc++) {
                const struct sock_filter *i = &insns[pc];

                assert(pc < n);
                if (i->code == (BPF_RET | BPF_K))
                        return i->k;
                if (i->code == (BPF_LD | BPF_W | BPF_ABS)) {
                        assert(i->k % 4 == 0 && i->k < sizeof(*d));
                        memcpy(&a, (const char *) d + i->k, sizeof(a));
                        *looked = *looked || i->k >= offsetof(struct seccomp_data, instruction_pointer);
                } else if (i->code == (BPF_ALU | BPF_AND | BPF_K)) {
                        a &= i->k;
                } else if (i->code == (BPF_JMP | BPF_JA)) {
                        pc += i->k;
                } else {
                        assert(BPF_CLASS(i->code) == BPF_JMP && BPF_SRC(i->code) == BPF_K);
                        pc += holds(BPF_OP(i->code), a, i->k) ? i->jt : i->jf;
                }
        }
}

/* --- comparing -----------------------------------------------------------------------------------------------------
 */

struct values {
        size_t n;
        uint32_t list[VALUES_MAX];
};

static int compare(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return x < y ? -1 : x > y;
}

static void add(struct values *v, uint32_t value) {
        assert(v->n < VALUES_MAX);
        v->list[v->n++] = value;
}

static void sort(struct values *v) {
        size_t n = 0;

        qsort(v->list, v->n, sizeof(v->list[0]), compare);
        for (size_t i = 0; i < v->n; i++)
                if (n == 0 || v->list[n - 1] != v->list[i])
                        v->list[n++] = v->list[i];
        v->n = n;
}

static void add_constants(struct values *v, const struct sock_filter *insns, size_t n, bool (*wanted)(uint32_t k)) {
        for (size_t i = 0; i < n; i++)
                for (uint32_t d = 0; d < 3 && BPF_CLASS(insns[i].code) != BPF_LD; d++)
                        if (!wanted || wanted(insns[i].k))
                                add(v, insns[i].k + d - 1);
}

struct programs {
        const struct sock_filter *old, *new;
        size_t n_old, n_new;
        struct values arches, numbers, parts; /* of arguments: half of one */
};

static void must_agree(const struct programs *p, const struct seccomp_data *d, bool *looked) {
        uint32_t was = run(p->old, p->n_old, d, looked), is = run(p->new, p->n_new, d, looked);

        if (was != is)
                (void) fprintf(stderr, "arch %x call %d args %llx %llx: %x, was %x\n", d->arch, d->nr,
                               (unsigned long long) d->args[0], (unsigned long long) d->args[1], is, was);
        assert(was == is);
}

static uint32_t some_part(const struct programs *p) {
        return any(4) == 0 ? any(UINT32_MAX) : p->parts.list[any((uint32_t) p->parts.n)];
}

static void compare_call(const struct programs *p, uint32_t arch, uint32_t nr) {
        struct seccomp_data d = { .nr = (int) nr, .arch = arch };
        bool looked = false;

        must_agree(p, &d, &looked);
        /* Without a look at arguments this is so for all of them. */
        for (size_t i = 0; looked && i < p->parts.n; i++) {
                d.args[0] = p->parts.list[i];
                must_agree(p, &d, &looked);
                d.args[0] |= (uint64_t) some_part(p) << 32;
                must_agree(p, &d, &looked);
        }
        for (size_t i = 0; looked && i < TRIES; i++) {
                d.instruction_pointer = some_part(p);
                for (size_t k = 0; k < ELEMENTSOF(d.args); k++)
                        d.args[k] = (uint64_t) (any(2) ? 0 : some_part(p)) << 32 | some_part(p);
                must_agree(p, &d, &looked);
        }
}

static bool is_arch(uint32_t k) {
        return k & (__AUDIT_ARCH_64BIT | __AUDIT_ARCH_LE) && !(k & X32_BIT && k < X32_BIT + NUMBERS);
}

static void compare_programs(struct programs *p, bool (*wanted_arch)(uint32_t k)) {
        static const uint32_t arches[] = { AUDIT_ARCH_X86_64,  AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64,
                                           AUDIT_ARCH_RISCV64, AUDIT_ARCH_ARM,  0 };

        p->arches.n = p->numbers.n = p->parts.n = 0;
        for (size_t i = 0; i < ELEMENTSOF(arches); i++)
                add(&p->arches, arches[i]);
        add_constants(&p->arches, p->old, p->n_old, wanted_arch);
        add_constants(&p->numbers, p->old, p->n_old, NULL);
        add_constants(&p->parts, p->old, p->n_old, NULL);
        for (uint32_t i = 0; i < 64; i++)
                add(&p->parts, i);
        for (uint32_t i = 0; i < 32; i++)
                add(&p->parts, 1u << i);
        sort(&p->arches);
        sort(&p->numbers);
        sort(&p->parts);
        for (size_t a = 0; a < p->arches.n; a++)
                for (size_t i = 0; i < p->numbers.n; i++)
                        compare_call(p, p->arches.list[a], p->numbers.list[i]);
}

/* All numbers that a kernel may know, and past them, for architectures that matter. */
static void compare_numbers(struct programs *p) {
        static const uint32_t arches[] = { AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, 1 };

        for (size_t a = 0; a < ELEMENTSOF(arches); a++)
                for (uint32_t nr = 0; nr < NUMBERS; nr++) {
                        compare_call(p, arches[a], nr);
                        compare_call(p, arches[a], X32_BIT + nr);
                        compare_call(p, arches[a], UINT32_MAX - nr);
                }
}

/* --- the default profile -------------------------------------------------------------------------------------------
 */

/* @way: libseccomp's list (1) or its own tree (2). */
static void check_default(uint64_t caps, uint32_t way) {
        static struct programs p;
        const struct seccomp_filter *f = NULL;
        struct seccomp_program old;
        struct seccomp_newer newer;
        scmp_filter_ctx ctx;

        assert(seccomp_default(caps, &f, &err) == 0);
        assert(seccomp_default_build(caps, &ctx, &newer, &err) == 0);
        assert(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, way) == 0);
        assert(seccomp_program_compile(ctx, &newer, &old, &err) == 0);
        seccomp_release(ctx);
        p.old = old.insns;
        p.n_old = old.n;
        p.new = f->insns;
        p.n_new = f->n;
        assert(f->n < old.n / 2);
        compare_programs(&p, is_arch);
        compare_numbers(&p);
        printf("default profile, capabilities %llx: %zu instructions, %zu by libseccomp\n", (unsigned long long) caps,
               f->n, old.n);
        free(old.insns);
        f = seccomp_unref(f);
}

/* --- any program ---------------------------------------------------------------------------------------------------
 */

static const uint32_t constants[] = { 0,         1,  2,       3,           5,           8,
                                      38,        40, X32_BIT, X32_BIT + 1, X32_BIT + 2, UINT32_MAX - 1,
                                      UINT32_MAX };

static uint32_t some_constant(void) {
        return constants[any(ELEMENTSOF(constants))];
}

/* Whatever the kernel takes: @n instructions, of which the last ends the program. */
static void make_program(struct sock_filter *insns, size_t n) {
        static const uint16_t ops[] = { BPF_JEQ, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JSET };

        insns[0] = (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4 * any(3));
        for (size_t i = 1; i < n; i++) {
                const uint32_t room = (uint32_t) (n - i - 1), reach = room > 40 ? 40 : room, kind = any(20);

                if (room == 0 || kind == 0)
                        insns[i] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, any(4));
                else if (kind < 6)
                        insns[i] = (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, any(2) ? 0 : 4 * any(16));
                else if (kind == 6)
                        insns[i] = (struct sock_filter) BPF_STMT(BPF_JMP | BPF_JA, any(room));
                else if (kind == 7 && i > 1)
                        insns[i] = (struct sock_filter) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, some_constant());
                else
                        insns[i] = (struct sock_filter) BPF_JUMP((uint16_t) (BPF_JMP | BPF_K | ops[any(i % 2 ? 4 : 5)]),
                                                                 some_constant(), (uint8_t) any(reach),
                                                                 (uint8_t) any(reach));
        }
}

static void test_any_program(void) {
        static struct programs p;
        static struct sock_filter old[120], new[120];
        size_t smaller = 0;

        for (int i = 0; i < PROGRAMS; i++) {
                p.old = old;
                p.n_old = 1 + any(i % 2 ? 20 : ELEMENTSOF(old));
                make_program(old, p.n_old);
                p.new = new;
                p.n_new = seccomp_tree_compile(old, p.n_old, new);
                if (p.n_new == 0)
                        continue;
                assert(p.n_new < p.n_old);
                smaller++;
                compare_programs(&p, NULL);
        }
        printf("%zu of %d programs were made smaller\n", smaller, PROGRAMS);
        assert(smaller > PROGRAMS / 10);
}

static void test_masks(void) {
        static struct programs p;
        const struct sock_filter old[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16),
                BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 6),
                BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 3),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, 1),
                BPF_STMT(BPF_RET | BPF_K, 0),
        };
        struct sock_filter new[ELEMENTSOF(old)];

        p.old = old;
        p.n_old = ELEMENTSOF(old);
        p.new = new;
        p.n_new = seccomp_tree_compile(old, p.n_old, new);
        assert(p.n_new == 5);
        compare_programs(&p, is_arch);
}

/* Jumps beyond what one can reach. */
static void test_far(void) {
        static struct programs p;
        static struct sock_filter old[2002], new[2002];

        old[0] = (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
        for (uint32_t i = 0; i < 1000; i++) {
                old[1 + 2 * i] = (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2 * i, 0, 1);
                old[2 + 2 * i] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, i / 2 % 2);
        }
        old[2001] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, 2);
        p.old = old;
        p.n_old = ELEMENTSOF(old);
        p.new = new;
        p.n_new = seccomp_tree_compile(old, p.n_old, new);
        assert(p.n_new > 1000 && p.n_new < p.n_old);
        compare_programs(&p, is_arch);
}

/* What is unlike a filter is left alone. */
static void test_refused(void) {
        const struct sock_filter load = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), end = BPF_STMT(BPF_RET | BPF_K, 0);
        const struct sock_filter bad[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2),
                BPF_STMT(BPF_LD | BPF_W | BPF_IMM, 0),
                BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 1),
                BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
                BPF_STMT(BPF_RET | BPF_A, 0),
                BPF_STMT(BPF_JMP | BPF_JA, 3),
                BPF_STMT(BPF_JMP | BPF_JA, UINT32_MAX),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 3),
                BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 1),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1),
                BPF_STMT(BPF_MISC | BPF_TAX, 0),
        };
        struct sock_filter ret[5];

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                const struct sock_filter p[] = { load, load, bad[i], end, end };

                assert(seccomp_tree_compile(p, ELEMENTSOF(p), ret) == 0);
                assert(seccomp_tree_compile(p, 3, ret) == 0);
        }
        assert(seccomp_tree_compile(&end, 0, ret) == 0 && seccomp_tree_compile(&end, 1, ret) == 0);
        /* The accumulator without a load. */
        assert(seccomp_tree_compile(
                       (const struct sock_filter[]){ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), end, end }, 3,
                       ret) == 0);
        assert(seccomp_tree_compile((const struct sock_filter[]){ load, load, end, end, end }, 5, ret) == 1 &&
               ret[0].code == (BPF_RET | BPF_K));
}

int main(void) {
        test_refused();
        test_any_program();
        test_masks();
        test_far();
        for (uint32_t way = 1; way <= 2; way++) {
                check_default(caps_default(), way);
                check_default(0, way);
                check_default(caps_all(), way);
                check_default(caps_default() | 1ull << CAP_SYS_ADMIN | 1ull << CAP_SYS_CHROOT, way);
        }
        return 0;
}
