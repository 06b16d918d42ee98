/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-words - the words of seccomp profiles that we know, sorted, as X(name, value): the reader of profiles and
 * "features" are made from the same lists. The values are libseccomp's and stay unexpanded where only names are wanted,
 * so that this header needs no library. Source: OCI runtime-spec 1.3, config-linux.md#seccomp. */
#pragma once

#define SECCOMP_ACTIONS(X)                                                                                             \
        X("SCMP_ACT_ALLOW", SCMP_ACT_ALLOW)                                                                            \
        X("SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0))                                                                         \
        X("SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD)                                                                       \
        X("SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS)                                                              \
        X("SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD)                                                                \
        X("SCMP_ACT_LOG", SCMP_ACT_LOG)                                                                                \
        X("SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY)                                                                          \
        X("SCMP_ACT_TRACE", SCMP_ACT_TRACE(0))                                                                         \
        X("SCMP_ACT_TRAP", SCMP_ACT_TRAP)

#define SECCOMP_OPERATORS(X)                                                                                           \
        X("SCMP_CMP_EQ", SCMP_CMP_EQ)                                                                                  \
        X("SCMP_CMP_GE", SCMP_CMP_GE)                                                                                  \
        X("SCMP_CMP_GT", SCMP_CMP_GT)                                                                                  \
        X("SCMP_CMP_LE", SCMP_CMP_LE)                                                                                  \
        X("SCMP_CMP_LT", SCMP_CMP_LT)                                                                                  \
        X("SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ)                                                                    \
        X("SCMP_CMP_NE", SCMP_CMP_NE)

/* Those whose names libseccomp 2.5 lacks stand here by number; it says itself that it can't filter them. */
#define SECCOMP_ARCHES(X)                                                                                              \
        X("SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64)                                                                      \
        X("SCMP_ARCH_ARM", SCMP_ARCH_ARM)                                                                              \
        X("SCMP_ARCH_LOONGARCH64", 0xc0000102)                                                                         \
        X("SCMP_ARCH_M68K", 0x4)                                                                                       \
        X("SCMP_ARCH_MIPS", SCMP_ARCH_MIPS)                                                                            \
        X("SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64)                                                                        \
        X("SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32)                                                                  \
        X("SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL)                                                                        \
        X("SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64)                                                                    \
        X("SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32)                                                              \
        X("SCMP_ARCH_PARISC", SCMP_ARCH_PARISC)                                                                        \
        X("SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64)                                                                    \
        X("SCMP_ARCH_PPC", SCMP_ARCH_PPC)                                                                              \
        X("SCMP_ARCH_PPC64", SCMP_ARCH_PPC64)                                                                          \
        X("SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE)                                                                      \
        X("SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64)                                                                      \
        X("SCMP_ARCH_S390", SCMP_ARCH_S390)                                                                            \
        X("SCMP_ARCH_S390X", SCMP_ARCH_S390X)                                                                          \
        X("SCMP_ARCH_SH", 0x4000002a)                                                                                  \
        X("SCMP_ARCH_SHEB", 0x2a)                                                                                      \
        X("SCMP_ARCH_X32", SCMP_ARCH_X32)                                                                              \
        X("SCMP_ARCH_X86", SCMP_ARCH_X86)                                                                              \
        X("SCMP_ARCH_X86_64", SCMP_ARCH_X86_64)

/* SECCOMP_FILTER_FLAG_* of linux/seccomp.h. */
#define SECCOMP_FLAGS(X)                                                                                               \
        X("SECCOMP_FILTER_FLAG_LOG", 0x02)                                                                             \
        X("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 0x04)                                                                      \
        X("SECCOMP_FILTER_FLAG_TSYNC", 0x01)                                                                           \
        X("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0x20)
