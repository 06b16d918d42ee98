/* SPDX-License-Identifier: Apache-2.0 */
/* libseccomp's functions for the OCI runtime's program, which is to need no library but the C library when it starts:
 * the real ones are loaded by the first call, which is seccomp_version() (oci/seccomp.c), when a filter has to be
 * compiled that isn't cached. Linked into that program alone; all others link libseccomp. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stddef.h>

#define LIBSECCOMP "libseccomp.so.2"

enum { ARGS_MAX = 6 };

/* Return type, name, parameters, arguments, and what it returns where the library is not there. */
#define FUNCTIONS(X)                                                                                                   \
        X(const struct scmp_version *, seccomp_version, (void), (), NULL)                                              \
        X(scmp_filter_ctx, seccomp_init, (uint32_t action), (action), NULL)                                            \
        X(int, seccomp_arch_add, (scmp_filter_ctx ctx, uint32_t token), (ctx, token), -ENOSYS)                         \
        X(uint32_t, seccomp_arch_native, (void), (), 0)                                                                \
        X(int, seccomp_attr_set, (scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value),                    \
          (ctx, attr, value), -ENOSYS)                                                                                 \
        X(int, seccomp_rule_add_array,                                                                                 \
          (scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int n, const struct scmp_arg_cmp *args),        \
          (ctx, action, syscall, n, args), -ENOSYS)                                                                    \
        X(int, seccomp_export_bpf, (scmp_filter_ctx ctx, int fd), (ctx, fd), -ENOSYS)                                  \
        X(int, seccomp_syscall_resolve_name, (const char *name), (name), __NR_SCMP_ERROR)                              \
        X(char *, seccomp_syscall_resolve_num_arch, (uint32_t token, int num), (token, num), NULL)

#define POINTER(type, name, parameters, arguments, missing) type(*name) parameters;
static struct {
        FUNCTIONS(POINTER)
        void (*seccomp_release)(scmp_filter_ctx ctx);
} real;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
        void *lib = dlopen(LIBSECCOMP, RTLD_NOW | RTLD_LOCAL);

        if (!lib)
                return;
#define FIND(type, name, parameters, arguments, missing) real.name = (type(*) parameters) dlsym(lib, #name);
        FUNCTIONS(FIND)
        real.seccomp_release = (void (*)(scmp_filter_ctx)) dlsym(lib, "seccomp_release");
}

#define FORWARD(type, name, parameters, arguments, missing)                                                            \
        type name parameters {                                                                                         \
                (void) pthread_once(&once, load);                                                                      \
                return real.name ? real.name arguments : missing;                                                      \
        }
FUNCTIONS(FORWARD)

void seccomp_release(scmp_filter_ctx ctx) {
        if (real.seccomp_release)
                real.seccomp_release(ctx);
}

/* Of the pods' default profile, which this program does not have; but the linker asks before it leaves that out. */
int seccomp_rule_add(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int n, ...) {
        struct scmp_arg_cmp args[ARGS_MAX];
        va_list ap;

        if (n > ARGS_MAX)
                return -EINVAL;
        va_start(ap, n);
        for (unsigned i = 0; i < n; i++)
                args[i] = va_arg(ap, struct scmp_arg_cmp);
        va_end(ap);
        return seccomp_rule_add_array(ctx, action, syscall, n, args);
}
