/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine is in the words of OCI (Go's GOOS, GOARCH, GOARM), and which of an image's builds runs best on it.
 */
#include "image/manifest.h"

#include <pthread.h>
#include <string.h>
#include "base/str.h"

#if defined(__x86_64__)
#define ARCH "amd64"
#elif defined(__aarch64__)
#define ARCH "arm64"
#elif defined(__arm__)
#define ARCH "arm"
#elif defined(__riscv)
#define ARCH "riscv64"
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCH "ppc64le"
#elif defined(__s390x__)
#define ARCH "s390x"
#elif defined(__loongarch64)
#define ARCH "loong64"
#elif defined(__i386__)
#define ARCH "386"
#else
#error "give this architecture its OCI name"
#endif

/* The variant: levels of x86-64 and versions of ARM, each of which runs what the lower ones run. */
static const char *host_variant(void) {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd") &&
            __builtin_cpu_supports("avx512dq"))
                return "v4";
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma"))
                return "v3";
        return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt") ? "v2" : "v1";
#elif defined(__aarch64__)
        return "v8";
#elif defined(__arm__) && __ARM_ARCH >= 7
        return "v7";
#elif defined(__arm__)
        return "v6";
#else
        return "";
#endif
}

static struct platform this_machine = { "linux", ARCH, "" };

static void find_variant(void) {
        this_machine.variant = host_variant();
}

const struct platform *platform_host(void) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void) pthread_once(&once, find_variant);
        return &this_machine;
}

/* "v3" is 3, "" the architecture's base line, others -1. */
static int level(const struct platform *p) {
        if (!*p->variant)
                return str_eq(p->arch, "arm64") ? 8 : str_eq(p->arch, "arm") ? 7 : 1;
        if (p->variant[0] != 'v' || p->variant[1] < '1' || p->variant[1] > '9' || p->variant[2])
                return -1;
        return p->variant[1] - '0';
}

int platform_score(const struct platform *p, const struct platform *host) {
        int theirs = level(p), ours = level(host);

        /* Entries that name nothing may be anything; the config will tell. Attestations are unknown/unknown. */
        if (!*p->os && !*p->arch)
                return 1;
        if ((*p->os && !str_eq(p->os, host->os)) || (*p->arch && !str_eq(p->arch, host->arch)))
                return 0;
        if (str_eq(p->variant, host->variant))
                return 100;
        return theirs < 0 || theirs > ours ? 0 : 10 + theirs;
}

static int no_platform(const char *text, struct err *err) {
        return err_set(err, ERR_INVALID, "\"%.100s\" is no platform: OS/ARCH or OS/ARCH/VARIANT, as linux/arm64", text);
}

int platform_parse(const char *text, struct arena *arena, struct platform *ret, struct err *err) {
        const char *words[3] = { "", "", "" };
        size_t n = 0;

        for (const char *at = text, *end; at && n < ELEMENTSOF(words); at = *end ? end + 1 : NULL) {
                size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_.-");

                end = at + len;
                if (len == 0 || (*end && (*end != '/' || n == ELEMENTSOF(words) - 1)))
                        return no_platform(text, err);
                words[n++] = arena_strndup(arena, at, len);
        }
        if (n < 2)
                return no_platform(text, err);
        *ret = (struct platform){ words[0], words[1], words[2] };
        return 0;
}

bool platform_runs(const struct platform *p, const struct platform *host) {
        return platform_score(p, host) > 0;
}
