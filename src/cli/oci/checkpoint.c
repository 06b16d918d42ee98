/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/runtime.h"

/* Engines ask for them by --help and "features"; what they call must fail, and leave the container as it is. */
static int refuse(const char *what, struct err *err) {
        return err_set(err, ERR_UNIMPLEMENTED,
                       "%s: containers of this runtime can't be checkpointed or restored; \"features\" says so", what);
}

int oci_do_checkpoint(struct runtime *rt, const struct cli_args *args, struct err *err) {
        _cleanup_(runtime_container_done) struct runtime_container c = { .dir = OCI_DIR_EMPTY };
        int r = runtime_open(rt, args->rest[0], &c, err);

        return r < 0 ? r : refuse("checkpoint", err);
}

int oci_do_restore(struct runtime *rt, const struct cli_args *args, struct err *err) {
        return refuse("restore", err);
}
