/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-tree - see seccomp-tree.h. In three steps: numbers between which no comparison of the program lies get the
 * same answer, so one of each such interval is tried, for each architecture (ask_all); an answer is an action or, where
 * the program looks at arguments, the graph of those comparisons, in which equal parts are one (struct node); the graph
 * is written from its end, since jumps only lead forward (write_node). */
#include "security/seccomp-tree.h"

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/attr.h"
#include "base/cleanup.h"

enum {
        OFFSET_NR = offsetof(struct seccomp_data, nr),
        OFFSET_ARCH = offsetof(struct seccomp_data, arch),
        NODES_MAX = 8192,
        SLOTS = 2 * NODES_MAX, /* a power of two */
        DEPTH_MAX = 256,       /* comparisons of arguments, one after the other */
        STEPS_MAX = 4000000,   /* tens of milliseconds */
        FEW = 7,
        REACH = UINT8_MAX, /* of a jump with a condition */
};

/* What the accumulator holds. */
struct acc {
        uint32_t offset, mask; /* four bytes of struct seccomp_data, masked */
        uint32_t value;        /* where known */
        bool known, valid;
};

/* An action (BPF_RET), or a comparison and where it leads. */
struct node {
        uint16_t op;     /* BPF_RET, BPF_JEQ, BPF_JGE, BPF_JSET */
        uint32_t k;      /* what it compares with, or the action */
        uint32_t offset; /* what it compares, as in struct acc */
        uint32_t mask;
        int yes, no;
        bool used, needs_load;
        /* Instructions from its first one to the end of the program: with the load, without it. 0: not written yet. */
        size_t whole, loaded;
};

struct range {
        uint32_t first;
        int node;
};

struct tree {
        const struct sock_filter *insns;
        size_t n;
        uint32_t *edges[2]; /* where an interval begins: of numbers, of architectures */
        size_t n_edges[2];
        struct range *calls, *arches;
        struct node *nodes;
        size_t n_nodes;
        int *slots; /* hash table of nodes + 1 */
        size_t steps;
        struct sock_filter *out; /* filled from its end */
        size_t n_out;
        bool failed;
};

/* --- intervals -----------------------------------------------------------------------------------------------------
 */

enum { HOLDS_NR = 1, HOLDS_ARCH = 2, HOLDS_OTHER = 4 };

static void add_edge(struct tree *t, unsigned holds, uint64_t first) {
        for (unsigned i = 0; i < 2; i++)
                if (holds >> i & 1 && first <= UINT32_MAX)
                        t->edges[i][t->n_edges[i]++] = (uint32_t) first;
}

static bool add_edges(struct tree *t, const struct sock_filter *insn, unsigned holds) {
        switch (BPF_OP(insn->code)) {
        case BPF_JA:
                return true;
        case BPF_JEQ:
                add_edge(t, holds, insn->k);
                add_edge(t, holds, insn->k + 1ull);
                return true;
        case BPF_JGE:
                add_edge(t, holds, insn->k);
                return true;
        case BPF_JGT:
                add_edge(t, holds, insn->k + 1ull);
                return true;
        case BPF_JSET:
                return holds == HOLDS_OTHER;
        default:
                return false;
        }
}

/* Marks where a jump may lead. All jumps lead forward. */
static bool mark_targets(const struct tree *t, unsigned char *holds, size_t pc) {
        const struct sock_filter *insn = &t->insns[pc];
        uint64_t yes = pc + 1ull + insn->jt, no = pc + 1ull + insn->jf;

        if (BPF_OP(insn->code) == BPF_JA)
                yes = no = pc + 1ull + insn->k;
        if (yes >= t->n || no >= t->n)
                return false;
        holds[yes] |= holds[pc];
        holds[no] |= holds[pc];
        return true;
}

static bool look_at(struct tree *t, unsigned char *holds, size_t pc) {
        const struct sock_filter *insn = &t->insns[pc];

        switch (insn->code) {
        case BPF_LD | BPF_W | BPF_ABS:
                if (pc + 1 == t->n || insn->k % 4 != 0 || insn->k >= sizeof(struct seccomp_data))
                        return false;
                holds[pc + 1] |= insn->k == OFFSET_NR ? HOLDS_NR : insn->k == OFFSET_ARCH ? HOLDS_ARCH : HOLDS_OTHER;
                return true;
        case BPF_ALU | BPF_AND | BPF_K:
                if (pc + 1 == t->n || holds[pc] != HOLDS_OTHER)
                        return false;
                holds[pc + 1] |= HOLDS_OTHER;
                return true;
        case BPF_RET | BPF_K:
                return true;
        default:
                return BPF_CLASS(insn->code) == BPF_JMP && BPF_SRC(insn->code) == BPF_K &&
                       add_edges(t, insn, holds[pc]) && mark_targets(t, holds, pc);
        }
}

static int compare_numbers(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return x < y ? -1 : x > y;
}

static void sort_edges(struct tree *t, unsigned i) {
        uint32_t *list = t->edges[i];
        size_t n = 0;

        qsort(list, t->n_edges[i], sizeof(*list), compare_numbers);
        for (size_t k = 0; k < t->n_edges[i]; k++)
                if (n == 0 || list[n - 1] != list[k])
                        list[n++] = list[k];
        t->n_edges[i] = n;
}

/* False: an instruction that we don't know, or arithmetic with numbers or architectures. */
static bool find_edges(struct tree *t) {
        _cleanup_(freep) unsigned char *holds = xcalloc(t->n, 1);

        add_edge(t, HOLDS_NR | HOLDS_ARCH, 0);
        for (size_t pc = 0; pc < t->n; pc++)
                if (!look_at(t, holds, pc))
                        return false;
        sort_edges(t, 0);
        sort_edges(t, 1);
        return true;
}

/* --- the graph -----------------------------------------------------------------------------------------------------
 */

static bool same(const struct node *a, const struct node *b) {
        return a->op == b->op && a->k == b->k && a->offset == b->offset && a->mask == b->mask && a->yes == b->yes &&
               a->no == b->no;
}

static uint32_t hash(const struct node *n) {
        const uint32_t words[] = { n->op, n->k, n->offset, n->mask, (uint32_t) n->yes, (uint32_t) n->no };
        uint32_t h = 2166136261u;

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                h = (h ^ words[i]) * 16777619u;
        return h ^ h >> 15;
}

static int find_node(struct tree *t, const struct node *n) {
        uint32_t slot = hash(n) % SLOTS;

        while (t->slots[slot]) {
                if (same(&t->nodes[t->slots[slot] - 1], n))
                        return t->slots[slot] - 1;
                slot = (slot + 1) % SLOTS;
        }
        if (t->n_nodes == NODES_MAX) {
                t->failed = true;
                return 0;
        }
        t->nodes[t->n_nodes++] = *n;
        t->slots[slot] = (int) t->n_nodes;
        return (int) t->n_nodes - 1;
}

static int action(struct tree *t, uint32_t value) {
        return find_node(t, &(struct node){ .op = BPF_RET, .k = value });
}

static int comparison(struct tree *t, uint16_t op, uint32_t k, const struct acc *acc, int yes, int no) {
        struct node n = { .op = op, .k = k, .offset = acc->offset, .mask = acc->mask, .yes = yes, .no = no };

        return yes == no ? yes : find_node(t, &n);
}

static bool holds_true(uint16_t op, uint32_t value, uint32_t k) {
        return op == BPF_JA    ? true
               : op == BPF_JEQ ? value == k
               : op == BPF_JGE ? value >= k
               : op == BPF_JGT ? value > k
                               : value & k;
}

struct call {
        uint32_t nr, arch;
};

static int answer(struct tree *t, size_t pc, struct acc acc, const struct call *call, unsigned depth);

static int answer_jump(struct tree *t, size_t pc, const struct acc *acc, const struct call *call, unsigned depth) {
        const struct sock_filter *insn = &t->insns[pc];
        int yes, no;

        if (depth == DEPTH_MAX || !acc->valid) {
                t->failed = true;
                return 0;
        }
        yes = answer(t, pc + 1 + insn->jt, *acc, call, depth + 1);
        no = answer(t, pc + 1 + insn->jf, *acc, call, depth + 1);
        return comparison(t, BPF_OP(insn->code), insn->k, acc, yes, no);
}

static struct acc load(uint32_t offset, const struct call *call) {
        return (struct acc){ .offset = offset,
                             .mask = UINT32_MAX,
                             .value = offset == OFFSET_NR ? call->nr : call->arch,
                             .known = offset == OFFSET_NR || offset == OFFSET_ARCH,
                             .valid = true };
}

/* What the program does about a call, from instruction @pc on. */
static int answer(struct tree *t, size_t pc, struct acc acc, const struct call *call, unsigned depth) {
        while (!t->failed && ++t->steps < STEPS_MAX) {
                const struct sock_filter *insn = &t->insns[pc];
                uint16_t op = BPF_OP(insn->code);

                if (insn->code == (BPF_RET | BPF_K))
                        return action(t, insn->k);
                if (insn->code == (BPF_LD | BPF_W | BPF_ABS)) {
                        acc = load(insn->k, call);
                        pc++;
                } else if (insn->code == (BPF_ALU | BPF_AND | BPF_K)) {
                        acc.mask &= insn->k;
                        pc++;
                } else if (op == BPF_JA) {
                        pc += 1 + insn->k;
                } else if (acc.known) {
                        pc += 1 + (holds_true(op, acc.value, insn->k) ? insn->jt : insn->jf);
                } else {
                        return answer_jump(t, pc, &acc, call, depth);
                }
        }
        t->failed = true;
        return 0;
}

static size_t add_range(struct range *list, size_t n, uint32_t first, int node) {
        if (n > 0 && list[n - 1].node == node)
                return n;
        list[n] = (struct range){ first, node };
        return n + 1;
}

/* A number that alone differs from both its neighbours; 0: none. */
static size_t find_single(const struct range *r, size_t n) {
        for (size_t i = 1; i + 1 < n; i++)
                if (r[i - 1].node == r[i + 1].node && r[i + 1].first == r[i].first + 1)
                        return i;
        return 0;
}

/* A tree over @n ranges. Where few are left, a single number takes one comparison, and two as the end of a range. */
static int range_tree(struct tree *t, const struct range *r, size_t n, uint32_t offset) {
        const struct acc acc = { .offset = offset, .mask = UINT32_MAX };
        size_t half = n / 2, single = n <= FEW ? find_single(r, n) : 0, n_rest = 0;
        struct range rest[FEW];

        if (n == 1)
                return r[0].node;
        if (single == 0)
                return comparison(t, BPF_JGE, r[half].first, &acc, range_tree(t, r + half, n - half, offset),
                                  range_tree(t, r, half, offset));
        for (size_t i = 0; i < n; i++)
                if (i != single)
                        n_rest = add_range(rest, n_rest, r[i].first, r[i].node);
        return comparison(t, BPF_JEQ, r[single].first, &acc, r[single].node, range_tree(t, rest, n_rest, offset));
}

static int ask_arch(struct tree *t, uint32_t arch) {
        size_t n = 0;

        for (size_t i = 0; i < t->n_edges[0]; i++) {
                const struct call call = { t->edges[0][i], arch };

                n = add_range(t->calls, n, call.nr, answer(t, 0, (struct acc){ 0 }, &call, 0));
        }
        return range_tree(t, t->calls, n, OFFSET_NR);
}

static int ask_all(struct tree *t) {
        size_t n = 0;

        for (size_t i = 0; i < t->n_edges[1]; i++)
                n = add_range(t->arches, n, t->edges[1][i], ask_arch(t, t->edges[1][i]));
        return range_tree(t, t->arches, n, OFFSET_ARCH);
}

/* --- the program ---------------------------------------------------------------------------------------------------
 */

static void put(struct tree *t, struct sock_filter insn) {
        if (t->n_out == t->n)
                t->failed = true;
        else
                t->out[t->n - ++t->n_out] = insn;
}

static bool same_load(const struct node *a, const struct node *b) {
        return b->op != BPF_RET && a->offset == b->offset && a->mask == b->mask;
}

/* A node was made after those that it leads to. */
static void mark_used(struct tree *t, int root) {
        t->nodes[root].used = t->nodes[root].needs_load = true;
        for (int i = root; i >= 0; i--) {
                const struct node *n = &t->nodes[i];

                for (int k = 0; k < 2 && n->used && n->op != BPF_RET; k++) {
                        struct node *to = &t->nodes[k ? n->yes : n->no];

                        to->used = true;
                        to->needs_load = to->needs_load || !same_load(n, to);
                }
        }
}

/* Where a jump from @n to @to leads, brought within its reach. */
static size_t *target(struct tree *t, const struct node *n, struct node *to) {
        size_t *place = same_load(n, to) ? &to->loaded : &to->whole;

        if (t->n_out - *place <= REACH)
                return place;
        if (to->op == BPF_RET)
                put(t, (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, to->k));
        else
                put(t, (struct sock_filter) BPF_STMT(BPF_JMP | BPF_JA, (uint32_t) (t->n_out - *place)));
        *place = t->n_out;
        return place;
}

static void write_comparison(struct tree *t, struct node *n) {
        struct node *yes = &t->nodes[n->yes], *no = &t->nodes[n->no];
        size_t *to_yes, *to_no, before;

        /* What brings one into reach may move the other out of it. */
        do {
                before = t->n_out;
                to_yes = target(t, n, yes);
                to_no = target(t, n, no);
        } while (t->n_out != before && !t->failed);
        put(t, (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_K | n->op, n->k, (uint8_t) (t->n_out - *to_yes),
                                             (uint8_t) (t->n_out - *to_no)));
        n->loaded = t->n_out;
        if (!n->needs_load)
                return;
        if (n->mask != UINT32_MAX)
                put(t, (struct sock_filter) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, n->mask));
        put(t, (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, n->offset));
        n->whole = t->n_out;
}

static void write_node(struct tree *t, int id) {
        struct node *n = &t->nodes[id];

        if (t->failed || n->whole || n->loaded)
                return;
        if (n->op == BPF_RET) {
                put(t, (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, n->k));
                n->whole = t->n_out;
                return;
        }
        write_node(t, n->yes);
        write_node(t, n->no);
        write_comparison(t, n);
}

/* --- all of it -----------------------------------------------------------------------------------------------------
 */

static void tree_init(struct tree *t, const struct sock_filter *insns, size_t n) {
        *t = (struct tree){ .insns = insns, .n = n };
        for (size_t i = 0; i < 2; i++)
                t->edges[i] = xcalloc(2 * n + 1, sizeof(*t->edges[i]));
        t->calls = xcalloc(2 * n + 1, sizeof(*t->calls));
        t->arches = xcalloc(2 * n + 1, sizeof(*t->arches));
        t->nodes = xcalloc(NODES_MAX, sizeof(*t->nodes));
        t->slots = xcalloc(SLOTS, sizeof(*t->slots));
        t->out = xcalloc(n, sizeof(*t->out));
}

static void tree_done(struct tree *t) {
        free(t->edges[0]);
        free(t->edges[1]);
        free(t->calls);
        free(t->arches);
        free(t->nodes);
        free(t->slots);
        free(t->out);
}

size_t seccomp_tree_compile(const struct sock_filter *insns, size_t n, struct sock_filter *ret) {
        struct tree t;
        size_t len = 0;
        int root;

        if (n == 0)
                return 0;
        tree_init(&t, insns, n);
        if (find_edges(&t)) {
                root = ask_all(&t);
                mark_used(&t, root);
                write_node(&t, root);
                len = t.failed || t.n_out >= n ? 0 : t.n_out;
                memcpy(ret, t.out + n - len, len * sizeof(*ret));
        }
        tree_done(&t);
        return len;
}
