/* SPDX-License-Identifier: Apache-2.0 */
/* version - of this program and of the daemon. */
#include <config.h>
#include <stdio.h>
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/verbs.h"

static int run(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__VersionRequest req = RUNTIME__V1__VERSION_REQUEST__INIT;
        Runtime__V1__VersionResponse *res = NULL;
        struct err err;
        int r = cli_call(cli, "/runtime.v1.RuntimeService/Version", &req.base,
                         &runtime__v1__version_response__descriptor, CLI_TIMEOUT_MS, &res, &err);

        if (cli->json) {
                json_print(json_pack("{s:s s:o}", "client", PROJECT_VERSION, "daemon",
                                     r == 0 ? json_of_message(&res->base) : json_null()));
        } else {
                printf("client  proxmox-lxcri %s\n", PROJECT_VERSION);
                if (r == 0)
                        printf("daemon  %s %s (CRI %s)\n", res->runtime_name, res->runtime_version,
                               res->runtime_api_version);
                (void) fflush(stdout);
        }
        return r == 0 ? EXIT_FINE : cli_fail(&err);
}

const struct cli_verb verb_version = {
        .name = "version",
        .args = "",
        .help = "Show the versions of this program and of the daemon",
        .description = "Exits with 1 when the daemon does not answer. With -o json: {client, daemon: the CRI's "
                       "VersionResponse or null}.",
        .fn = run,
};
