/* SPDX-License-Identifier: Apache-2.0 */
/* cni-exec - runs one CNI plug-in: finds it, makes its environment, bounds its time and output, and turns its failure
 * into one of our errors. Private to net/. */
#pragma once
#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"
#include "net/net.h"

/* CNI's error codes that mean something to us. */
enum {
        CNI_CODE_UNKNOWN_CONTAINER = 3,
        CNI_CODE_TRY_LATER = 11,
        CNI_CODE_NOT_AVAILABLE = 50,
        CNI_CODE_LIMITED = 51,
};

struct cni_call {
        const char *bin_dirs; /* colon separated, becomes CNI_PATH */
        const char *command;  /* ADD, DEL, STATUS */
        const char *type;
        const struct cni_pod *pod; /* checked; NULL for STATUS */
        const char *netns;         /* "" on DEL when it is gone; NULL for STATUS */
        const char *ifname;
        const json_t *input;
        uint64_t timeout_ms;
};

/* An executable file @type in @bin_dirs, or ERR_PRECONDITION. */
_must_use_ int cni_find(const char *bin_dirs, const char *type, char ret[PATH_MAX], struct err *err);

/* @out: standard output of a plug-in that succeeded. @ret_code: on failure the plug-in's own code, 0 when it gave none.
 */
_must_use_ int cni_exec(const struct cni_call *call, struct strbuf *out, int *ret_code, struct err *err);

/* Pod identity that fits into environment and CNI_ARGS, ports that are ports. */
_must_use_ int cni_pod_check(const struct cni_pod *pod, struct err *err);
