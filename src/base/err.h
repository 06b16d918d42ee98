/* SPDX-License-Identifier: Apache-2.0 */
/* err - one error value per call chain; code numbers equal gRPC status codes.
 * A function that can fail takes "struct err *" last and returns 0 or -code. Raise once, add context at each
 * module's border with err_wrap(), log once at the edge. */
#pragma once
#include "base/attr.h"

enum err_code {
        ERR_OK = 0,
        ERR_CANCELLED = 1,
        ERR_UNKNOWN = 2,
        ERR_INVALID = 3,
        ERR_DEADLINE = 4,
        ERR_NOT_FOUND = 5, /* only from a look-up: kubelet reads it as "already gone" */
        ERR_EXISTS = 6,
        ERR_DENIED = 7,
        ERR_EXHAUSTED = 8,
        ERR_PRECONDITION = 9,
        ERR_ABORTED = 10,
        ERR_OUT_OF_RANGE = 11,
        ERR_UNIMPLEMENTED = 12,
        ERR_INTERNAL = 13,
        ERR_UNAVAILABLE = 14,
        ERR_DATA_LOSS = 15,
        ERR_UNAUTHENTICATED = 16,
};

struct err {
        enum err_code code;
        int sys_errno;  /* 0 when no system call was at fault */
        int kind;       /* finer than @code, of an enum of the module that raised it (pve/error.h); 0: has none */
        char msg[1000]; /* inline: raising an error never allocates */
};

/* Raise. Return -code, so "return err_set(...)" is the idiom. @err is never NULL. */
_printf_(3, 4) int err_set(struct err *err, enum err_code code, const char *fmt, ...);
/* Raise from errno. Never yields ERR_NOT_FOUND: a stray ENOENT must not tell kubelet "already gone".
 * ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM become ERR_EXHAUSTED, the rest ERR_INTERNAL. */
_printf_(3, 4) int err_sys(struct err *err, int sys_errno, const char *fmt, ...);
/* Prefix "what we were doing: " and pass -code through. */
_printf_(2, 3) int err_wrap(struct err *err, const char *fmt, ...);

/* Compilers and analysers, which see no further than one file, are told that raising never returns 0. */
static inline int err_raised(int r) {
        if (r >= 0)
                __builtin_unreachable();
        return r;
}
#define err_set(...) err_raised(err_set(__VA_ARGS__))
#define err_sys(...) err_raised(err_sys(__VA_ARGS__))
#define err_wrap(...) err_raised(err_wrap(__VA_ARGS__))

/* "NOT_FOUND" and so on, the names of gRPC's status codes. */
const char *err_code_name(enum err_code code);
