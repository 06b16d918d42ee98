/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "base/str.h"
#include "cli/oci/runtime.h"

/* All values of a repeatable option, each split at commas when @commas. */
static const char *const *values_of(struct arena *arena, const struct cli_args *args, const char *name, bool commas) {
        size_t n = 1, it = 0;
        const char *v, **list;

        while ((v = args_next(args, name, &it)))
                for (n++; commas && (v = strchr(v, ',')); v++)
                        n++;
        list = arena_array(arena, const char *, n);
        n = it = 0;
        while ((v = args_next(args, name, &it))) {
                char *rest = arena_strdup(arena, v), *one;

                while ((one = commas ? strsep(&rest, ",") : rest)) {
                        list[n++] = one;
                        if (!commas)
                                break;
                }
        }
        return list;
}

int oci_do_exec(struct runtime *rt, const struct cli_args *args, struct err *err) {
        struct oci_exec_args exec = {
                .id = args->rest[0],
                .process_path = args_value(args, "process"),
                .argv = args->n_rest > 1 ? args->rest + 1 : NULL,
                .env = values_of(rt->arena, args, "env", false),
                .caps = values_of(rt->arena, args, "cap", true),
                .groups = values_of(rt->arena, args, "additional-gids", true),
                .cwd = args_value(args, "cwd"),
                .user = args_value(args, "user"),
                .apparmor = args_value(args, "apparmor"),
                .label = args_value(args, "process-label"),
                .cgroups = values_of(rt->arena, args, "cgroup", false),
                .tty = args_has(args, "tty"),
                .detach = args_has(args, "detach"),
                .no_new_privs = args_has(args, "no-new-privs"),
                .ignore_paused = args_has(args, "ignore-paused"),
                .pid_file = args_value(args, "pid-file"),
                .console_socket = args_value(args, "console-socket"),
        };
        int status = 0, r = runtime_preserve_fds(args, &exec.preserve_fds, err);

        if (r < 0)
                return r;
        if (!exec.process_path && !exec.argv)
                return err_set(err, ERR_INVALID, "process args cannot be empty");
        if (exec.process_path && exec.argv)
                rt->oci.warn("exec: the command is ignored, since there is --process", rt->oci.userdata);
        if (exec.process_path)
                exec.argv = NULL;
        r = oci_exec(&rt->oci, &exec, &status, err);
        return r < 0 ? r : status;
}
