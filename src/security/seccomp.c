/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp - see seccomp.h: the default profile, compiled and cached. */
#include "security/seccomp.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <malloc.h>
#include <pthread.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "security/seccomp-default.h"
#include "security/seccomp-filter.h"
#include "security/seccomp-tree.h"

enum { CACHE_MAX = 16 };

struct filter {
        struct seccomp_filter public; /* first */
        _Atomic int refs;
        struct sock_filter insns[];
};

const struct seccomp_filter *seccomp_unref(const struct seccomp_filter *f) {
        struct filter *filter = (struct filter *) (uintptr_t) f;

        if (filter && --filter->refs == 0)
                free(filter);
        return NULL;
}

int seccomp_program_compile(scmp_filter_ctx ctx, const struct seccomp_newer *newer, struct seccomp_program *ret,
                            struct err *err) {
        _cleanup_(fd_closep) int fd = memfd_create("seccomp", MFD_CLOEXEC);
        _cleanup_(freep) struct sock_filter *insns = NULL;
        struct sock_filter before[SECCOMP_NEWER_INSNS_MAX];
        size_t n_before = seccomp_newer_compile(newer, before), n;
        struct stat st;
        int r;

        if (fd < 0)
                return err_sys(err, errno, "create a memfd for a seccomp filter");
        r = seccomp_export_bpf(ctx, fd);
        if (r < 0)
                return err_sys(err, -r, "compile a seccomp filter");
        if (fstat(fd, &st) < 0)
                return err_sys(err, errno, "look at a compiled seccomp filter");
        n = (size_t) st.st_size / sizeof(struct sock_filter);
        insns = xcalloc(n_before + n, sizeof(*insns));
        memcpy(insns, before, n_before * sizeof(*insns));
        if (pread(fd, insns + n_before, n * sizeof(*insns), 0) != st.st_size)
                return err_sys(err, errno, "read a compiled seccomp filter");
        *ret = (struct seccomp_program){ n_before + n, TAKE_PTR(insns) };
        return 0;
}

int seccomp_filter_export(scmp_filter_ctx ctx, const struct seccomp_newer *newer, uint32_t flags,
                          const struct seccomp_filter **ret, struct err *err) {
        struct seccomp_program p;
        struct filter *f;
        size_t n;
        int r = seccomp_program_compile(ctx, newer, &p, err);

        if (r < 0)
                return r;
        f = xcalloc(1, sizeof(*f) + p.n * sizeof(*p.insns));
        n = seccomp_tree_compile(p.insns, p.n, f->insns);
        if (n == 0) {
                n = p.n;
                memcpy(f->insns, p.insns, n * sizeof(*p.insns));
        }
        free(p.insns);
        if (n > BPF_MAXINSNS) {
                free(f);
                return err_set(err, ERR_INVALID,
                               "the seccomp profile compiles to %zu instructions, and the kernel takes %d", n,
                               BPF_MAXINSNS);
        }
        f = xrealloc(f, 1, sizeof(*f) + n * sizeof(struct sock_filter));
        f->public.n = n;
        f->public.insns = f->insns;
        f->public.flags = flags;
        f->refs = 1;
        *ret = &f->public;
        return 0;
}

int seccomp_filter_optimize(scmp_filter_ctx ctx) {
        /* A binary tree instead of a list: half the time to load, a few comparisons per call. */
        return seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

/* --- the default profile
 * -------------------------------------------------------------------------------------------------- */

static bool has(uint64_t caps, int cap) {
        return caps >> cap & 1;
}

/* A name that this libseccomp does not know is of another architecture, or of a newer kernel. */
static int allow(scmp_filter_ctx ctx, struct seccomp_newer *newer, const char *const *names) {
        int nr, r;

        for (; *names; names++) {
                nr = seccomp_syscall_resolve_name(*names);
                if (nr == __NR_SCMP_ERROR) {
                        nr = seccomp_newer_number(*names);
                        if (nr >= 0)
                                seccomp_newer_add(newer, nr, SCMP_ACT_ALLOW);
                        continue;
                }
                r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
                if (r < 0 && r != -EEXIST)
                        return r;
        }
        return 0;
}

/* personality(2): the usual ones and "tell me"; not those that switch protections off. */
static int allow_personalities(scmp_filter_ctx ctx) {
        static const uint64_t values[] = { 0, PER_LINUX32, UNAME26, PER_LINUX32 | UNAME26, 0xffffffff };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(values); i++)
                r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, SCMP_A0(SCMP_CMP_EQ, values[i]));
        return r;
}

/* Every family but AF_VSOCK (40), which leads to the hypervisor and past all network namespaces, and AF_ALG (38), a way
 * into much kernel code that nobody needs. The kernel looks at the low 32 bits only and knows no family from 64 on, so
 * the low six decide; comparing the whole argument could be got around by setting high bits. 38 is 100110, 40 is
 * 101000: what differs from both in bit 5, 4 or 0, or in bits 3 to 1, is allowed. */
static int allow_sockets(scmp_filter_ctx ctx) {
        static const struct {
                uint64_t mask, value;
        } differs[] = {
                { 0x20, 0x00 }, { 0x10, 0x10 }, { 0x01, 0x01 }, { 0x0e, 0x00 }, { 0x0e, 0x02 },
                { 0x0e, 0x04 }, { 0x0e, 0x0a }, { 0x0e, 0x0c }, { 0x0e, 0x0e },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(differs); i++)
                r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                     SCMP_A0(SCMP_CMP_MASKED_EQ, differs[i].mask, differs[i].value));
        return r;
}

/* Processes and threads, but no new namespaces. clone3's flags are in memory, where a filter can't look: ENOSYS makes
 * libc use clone. */
static int allow_clone(scmp_filter_ctx ctx) {
        const uint64_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                    CLONE_NEWPID | CLONE_NEWNET;
        int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));

        if (r >= 0)
                r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        return r;
}

static int add_default_rules(scmp_filter_ctx ctx, struct seccomp_newer *newer, uint64_t caps) {
        int r = allow(ctx, newer, seccomp_default_always);

        for (size_t i = 0; r >= 0 && i < seccomp_default_n_groups; i++)
                if (has(caps, seccomp_default_groups[i].cap))
                        r = allow(ctx, newer, seccomp_default_groups[i].names);
        if (r >= 0)
                r = allow_personalities(ctx);
        if (r >= 0)
                r = allow_sockets(ctx);
        if (r >= 0 && !has(caps, CAP_SYS_ADMIN))
                r = allow_clone(ctx);
        return r;
}

static int add_native_arches(scmp_filter_ctx ctx) {
        int r = 0;

        /* 32-bit programs run on a 64-bit kernel, and must be filtered as well. */
#if defined(__x86_64__)
        r = seccomp_arch_add(ctx, SCMP_ARCH_X86);
        if (r == 0 || r == -EEXIST)
                r = seccomp_arch_add(ctx, SCMP_ARCH_X32);
#elif defined(__aarch64__)
        r = seccomp_arch_add(ctx, SCMP_ARCH_ARM);
#endif
        return r == -EEXIST ? 0 : r;
}

int seccomp_default_build(uint64_t caps, scmp_filter_ctx *ret_ctx, struct seccomp_newer *ret_newer, struct err *err) {
        scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        int r;

        if (!ctx)
                return err_set(err, ERR_EXHAUSTED, "no memory for a seccomp filter");
        *ret_newer = (struct seccomp_newer){ .refuse = true };
        r = add_native_arches(ctx);
        if (r >= 0)
                r = seccomp_filter_optimize(ctx);
        if (r >= 0)
                r = add_default_rules(ctx, ret_newer, caps);
        if (r < 0) {
                seccomp_release(ctx);
                return err_sys(err, -r, "build the default seccomp profile");
        }
        *ret_ctx = ctx;
        return 0;
}

static int compile_default(uint64_t caps, const struct seccomp_filter **ret, struct err *err) {
        struct seccomp_newer newer;
        scmp_filter_ctx ctx;
        int r = seccomp_default_build(caps, &ctx, &newer, err);

        if (r < 0)
                return r;
        r = seccomp_filter_export(ctx, &newer, 0, ret, err);
        seccomp_release(ctx);
        /* libseccomp leaves hundreds of KiB of free heap behind. */
        (void) malloc_trim(0);
        return r;
}

/* --- the cache
 * --------------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
        uint64_t caps;
        const struct seccomp_filter *filter;
} cache[CACHE_MAX];
static size_t cache_next;

static uint64_t relevant(uint64_t caps) {
        uint64_t mask = 0;

        for (size_t i = 0; i < seccomp_default_n_groups; i++)
                mask |= 1ull << seccomp_default_groups[i].cap;
        return caps & mask;
}

static const struct seccomp_filter *ref(const struct seccomp_filter *f) {
        ((struct filter *) (uintptr_t) f)->refs++;
        return f;
}

int seccomp_default(uint64_t caps, const struct seccomp_filter **ret, struct err *err) {
        int r = 0;

        caps = relevant(caps);
        (void) pthread_mutex_lock(&cache_lock);
        *ret = NULL;
        for (size_t i = 0; i < CACHE_MAX && !*ret; i++)
                if (cache[i].filter && cache[i].caps == caps)
                        *ret = ref(cache[i].filter);
        if (!*ret) {
                r = compile_default(caps, ret, err);
                if (r == 0) {
                        (void) seccomp_unref(cache[cache_next].filter);
                        cache[cache_next].caps = caps;
                        cache[cache_next].filter = ref(*ret);
                        cache_next = (cache_next + 1) % CACHE_MAX;
                }
        }
        (void) pthread_mutex_unlock(&cache_lock);
        return r;
}
