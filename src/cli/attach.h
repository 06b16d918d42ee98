/* SPDX-License-Identifier: Apache-2.0 */
/* attach - this process's streams as a container's, for "pod attach" and "pod run -i". */
#pragma once
#include "cli/cri.h"

struct attach_args {
        const char *container_id;
        bool tty, interactive;
        /* The container is attached to; what comes now is seen. NULL: nothing to do then. */
        int (*ready)(void *userdata, struct err *err);
        void *userdata;
};

/* Until the container's streams have ended or ours have. */
_must_use_ int attach_run(struct cli *cli, const struct attach_args *args, struct err *err);
