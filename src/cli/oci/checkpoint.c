/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint - processes into files and back: checkpoint, restore. */
#include "oci/checkpoint.h"
#include <limits.h>
#include <string.h>
#include "base/str.h"
#include "cli/oci/runtime.h"
#include "cli/oci/values.h"

enum { PORT_MAX = 65535 };

static int parse_cgroups(const char *mode, enum criu_cgroups *ret, struct err *err) {
        static const struct {
                const char *name;
                enum criu_cgroups mode;
        } modes[] = { { "soft", CRIU_CGROUPS_SOFT },
                      { "full", CRIU_CGROUPS_FULL },
                      { "strict", CRIU_CGROUPS_STRICT },
                      { "ignore", CRIU_CGROUPS_IGNORE } };

        *ret = CRIU_CGROUPS_SOFT;
        for (size_t i = 0; mode && i < ELEMENTSOF(modes); i++)
                if (str_eq(modes[i].name, mode)) {
                        *ret = modes[i].mode;
                        return 0;
                }
        return mode ? err_set(err, ERR_INVALID,
                              "invalid manage-cgroups-mode: %.32s: it is soft, full, strict or ignore", mode)
                    : 0;
}

static int parse_page_server(const char *text, struct arena *arena, struct oci_criu_args *ret, struct err *err) {
        const char *colon = text ? strrchr(text, ':') : NULL;
        int64_t port;

        if (!text)
                return 0;
        if (!colon || !number_parse(colon + 1, 1, PORT_MAX, &port))
                return err_set(err, ERR_INVALID, "invalid page-server %.64s: use --page-server ADDRESS:PORT", text);
        ret->page_server = arena_strndup(arena, text, (size_t) (colon - text));
        ret->page_server_port = (int) port;
        return 0;
}

static int parse_status_fd(const char *text, int *ret, struct err *err) {
        int64_t fd = -1;

        if (text && !number_parse(text, 0, INT_MAX, &fd))
                return err_set(err, ERR_INVALID, "invalid status-fd: %.32s", text);
        *ret = (int) fd;
        return 0;
}

static int parse(const struct cli_args *args, struct arena *arena, struct oci_criu_args *ret, struct err *err) {
        const char *empty = args_value(args, "empty-ns");
        int r;

        *ret = (struct oci_criu_args){ .image_path = args_value(args, "image-path"),
                                       .work_path = args_value(args, "work-path"),
                                       .parent_path = args_value(args, "parent-path"),
                                       .leave_running = args_has(args, "leave-running"),
                                       .pre_dump = args_has(args, "pre-dump"),
                                       .tcp_established = args_has(args, "tcp-established"),
                                       .ext_unix_sk = args_has(args, "ext-unix-sk"),
                                       .shell_job = args_has(args, "shell-job"),
                                       .file_locks = args_has(args, "file-locks"),
                                       .auto_dedup = args_has(args, "auto-dedup"),
                                       .lazy_pages = args_has(args, "lazy-pages"),
                                       .empty_net = empty != NULL,
                                       .lsm_profile = args_value(args, "lsm-profile"),
                                       .lsm_mount_context = args_value(args, "lsm-mount-context") };
        if (empty && !str_eq(empty, "network"))
                return err_set(err, ERR_INVALID, "namespace %.32s is not supported: --empty-ns takes network", empty);
        r = parse_cgroups(args_value(args, "manage-cgroups-mode"), &ret->cgroups, err);
        if (r == 0)
                r = parse_status_fd(args_value(args, "status-fd"), &ret->status_fd, err);
        return r < 0 ? r : parse_page_server(args_value(args, "page-server"), arena, ret, err);
}

int oci_do_checkpoint(struct runtime *rt, const struct cli_args *args, struct err *err) {
        struct oci_criu_args criu;
        int r = parse(args, rt->arena, &criu, err);

        return r < 0 ? r : oci_checkpoint(&rt->oci, args->rest[0], &criu, err);
}

int oci_do_restore(struct runtime *rt, const struct cli_args *args, struct err *err) {
        struct oci_run_args run = { .create = { .id = args->rest[0],
                                                .bundle = args_value(args, "bundle"),
                                                .pid_file = args_value(args, "pid-file"),
                                                .console_socket = args_value(args, "console-socket"),
                                                .no_pivot = args_has(args, "no-pivot") },
                                    .detach = args_has(args, "detach"),
                                    .no_subreaper = args_has(args, "no-subreaper") };
        struct oci_criu_args criu;
        int status = 0, r = parse(args, rt->arena, &criu, err);

        if (r == 0)
                r = oci_restore(&rt->oci, &run, &criu, &status, err);
        return r < 0 ? r : status;
}
