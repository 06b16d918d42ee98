/* SPDX-License-Identifier: Apache-2.0 */
/* credentials - of a registry: from --creds, else from the user's files (image/auth-file.h). */
#pragma once
#include "cli/cli.h"
#include "proto/admin.pb-c.h"

/* The options of verbs that take them. */
#define CLI_CREDENTIALS_OPTIONS                                                                                        \
        { 0, "creds", "USER[:PASSWORD]", "for the registry; without PASSWORD it is taken from $REGISTRY_PASSWORD" }, { \
                0, "authfile", "FILE", "credentials (default: those of \"image login\", Podman and Docker)"            \
        }

/* From @creds, USER[:PASSWORD], else from @file or, where that is NULL, from the user's files. */
_must_use_ int cli_credentials_from(struct cli *cli, const char *creds, const char *file, const char *name,
                                    Proxmoxlxcri__V1__Credentials *ret, struct err *err);
/* By those options: for what @name, "host/path" with or without tag, is the name of; all empty when there are none. */
_must_use_ int cli_credentials(struct cli *cli, const struct cli_args *args, const char *name,
                               Proxmoxlxcri__V1__Credentials *ret, struct err *err);
