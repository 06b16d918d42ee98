/* SPDX-License-Identifier: Apache-2.0 */
/* spec - a config.json to begin with; features - what engines choose a runtime by. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "cli/oci/runtime.h"
#include "oci/default-bundle.h"
#include "oci/features.h"

int oci_do_spec(struct runtime *rt, const struct cli_args *args, struct err *err) {
        const char *bundle = args_value(args, "bundle"), *file = args_value(args, "file");
        const char *path = file ? file : "config.json", *text;
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (bundle && *path != '/')
                path = arena_printf(rt->arena, "%s/%s", bundle, path);
        text = oci_default_bundle(args_has(args, "rootless"), geteuid(), getegid(), rt->arena);
        /* Somebody's work is not overwritten. */
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno == EEXIST)
                return err_set(err, ERR_EXISTS, "File %s exists. Remove it first", path);
        if (fd < 0)
                return err_sys(err, errno, "open %s", path);
        r = fs_write_all(fd, text, strlen(text));
        return r < 0 ? err_sys(err, -r, "write %s", path) : 0;
}

int oci_do_features(struct runtime *rt, const struct cli_args *args, struct err *err) {
        return fputs(oci_features(rt->arena), stdout) < 0 ? err_sys(err, errno, "write to standard output") : 0;
}
