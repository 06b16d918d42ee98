/* SPDX-License-Identifier: Apache-2.0 */
/* log-level - how much the daemon writes to its log, changed while it runs. */
#include <stdio.h>
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/verbs.h"

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__SetLogLevelRequest req = PROXMOXLXCRI__V1__SET_LOG_LEVEL_REQUEST__INIT;
        Proxmoxlxcri__V1__SetLogLevelResponse *res;
        Proxmoxlxcri__V1__InfoResponse *info;
        const char *level = args->rest[0];
        struct err err;

        if (!level) {
                if (cri_info(cli, &info, &err) < 0)
                        return cli_fail(&err);
                level = info->log_level;
        } else {
                req.level = (char *) (uintptr_t) level;
                if (cli_call(cli, "/proxmoxlxcri.v1.Admin/SetLogLevel", &req.base,
                             &proxmoxlxcri__v1__set_log_level_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                        return cli_fail(&err);
        }
        if (cli->json)
                json_print(json_pack("{s:s}", "level", level));
        else
                printf("%s\n", level);
        return EXIT_FINE;
}

const struct cli_verb verb_log_level = {
        .name = "log-level",
        .args = "[debug|info|warn|error]",
        .help = "Show or change the level of the daemon's log",
        .description = "Until the daemon ends; the configuration's log-level holds again when it starts.",
        .fn = run,
        .max_args = 1,
};
