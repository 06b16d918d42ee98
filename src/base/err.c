/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef err_set
#undef err_sys
#undef err_wrap

int err_set(struct err *err, enum err_code code, const char *fmt, ...) {
        va_list ap;

        assert(err && code != ERR_OK);
        err->code = code;
        err->sys_errno = err->kind = 0;
        va_start(ap, fmt);
        (void) vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
        va_end(ap);
        return -(int) code;
}

static enum err_code code_of_errno(int sys_errno) {
        switch (sys_errno) {
        case ENOSPC:
        case EDQUOT:
        case EMFILE:
        case ENFILE:
        case ENOMEM:
                return ERR_EXHAUSTED;
        default:
                return ERR_INTERNAL;
        }
}

int err_sys(struct err *err, int sys_errno, const char *fmt, ...) {
        char what[640];
        va_list ap;

        assert(err);
        va_start(ap, fmt);
        (void) vsnprintf(what, sizeof(what), fmt, ap);
        va_end(ap);
        (void) err_set(err, code_of_errno(sys_errno), "%s: %s", what, strerrordesc_np(sys_errno) ?: "unknown error");
        err->sys_errno = sys_errno;
        return -(int) err->code;
}

int err_wrap(struct err *err, const char *fmt, ...) {
        char what[320], old[sizeof(err->msg)];
        va_list ap;

        assert(err && err->code != ERR_OK);
        va_start(ap, fmt);
        (void) vsnprintf(what, sizeof(what), fmt, ap);
        va_end(ap);
        memcpy(old, err->msg, sizeof(old));
        (void) snprintf(err->msg, sizeof(err->msg), "%s: %.*s", what, (int) (sizeof(err->msg) - sizeof(what) - 2), old);
        return -(int) err->code;
}

const char *err_code_name(enum err_code code) {
        static const char *const names[] = {
                "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
                "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
                "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
                "DATA_LOSS", "UNAUTHENTICATED",
        };
        return (unsigned) code < ELEMENTSOF(names) ? names[code] : "UNKNOWN";
}
