/* SPDX-License-Identifier: Apache-2.0 */
/* create - making containers: create, start, run. */
#include <limits.h>
#include "base/str.h"
#include "cli/oci/runtime.h"
#include "cli/oci/values.h"

int runtime_preserve_fds(const struct cli_args *args, unsigned *ret, struct err *err) {
        const char *value = args_value(args, "preserve-fds");
        int64_t n = 0;

        if (value && !number_parse(value, 0, RUNTIME_PRESERVE_FDS_MAX, &n))
                return err_set(err, ERR_INVALID, "invalid preserve-fds \"%.32s\": it is a number up to %d", value,
                               RUNTIME_PRESERVE_FDS_MAX);
        *ret = (unsigned) n;
        return 0;
}

static int create_args(const struct cli_args *args, struct oci_create_args *ret, struct err *err) {
        *ret = (struct oci_create_args){
                .id = args->rest[0],
                .bundle = args_value(args, "bundle"),
                .config = args_value(args, "config"),
                .pid_file = args_value(args, "pid-file"),
                .console_socket = args_value(args, "console-socket"),
                .no_pivot = args_has(args, "no-pivot"),
                .no_new_keyring = args_has(args, "no-new-keyring"),
        };
        return runtime_preserve_fds(args, &ret->preserve_fds, err);
}

int oci_do_create(struct runtime *rt, const struct cli_args *args, struct err *err) {
        struct oci_create_args create;
        int r = create_args(args, &create, err);

        if (r == 0)
                r = oci_create(&rt->oci, &create, err);
        return r < 0 ? err_wrap(err, "create failed") : r;
}

int oci_do_start(struct runtime *rt, const struct cli_args *args, struct err *err) {
        return oci_start(&rt->oci, args->rest[0], err);
}

int oci_do_run(struct runtime *rt, const struct cli_args *args, struct err *err) {
        struct oci_run_args run = { .detach = args_has(args, "detach"),
                                    .keep = args_has(args, "keep"),
                                    .no_subreaper = args_has(args, "no-subreaper") };
        int status = 0, r = create_args(args, &run.create, err);

        if (r == 0)
                r = oci_run(&rt->oci, &run, &status, err);
        return r < 0 ? err_wrap(err, "run failed") : status;
}
