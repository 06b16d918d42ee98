/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/credentials.h"

#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "image/auth-file.h"
#include "image/ref.h"

static int from_creds(struct cli *cli, const char *creds, struct image_auth *ret, struct err *err) {
        const char *colon = strchr(creds, ':');

        ret->username = arena_strndup(cli->arena, creds, colon ? (size_t) (colon - creds) : strlen(creds));
        ret->password = colon ? colon + 1 : getenv("REGISTRY_PASSWORD");
        return ret->password ? 0 : err_set(err, ERR_INVALID, "credentials without a password: set REGISTRY_PASSWORD");
}

static int from_files(struct cli *cli, const char *file, const char *name, struct image_auth *ret, struct err *err) {
        struct ref ref;
        int r = ref_parse(name, cli->arena, &ref, err);

        if (r == 0)
                r = auth_files_find(auth_files_of_user(file, cli->arena), ref_name(&ref, cli->arena), cli->arena, ret,
                                    err);
        return r < 0 ? r : 0;
}

/* What a message's field takes: never NULL. */
static char *field(const char *s) {
        return (char *) (uintptr_t) (s ?: "");
}

int cli_credentials_from(struct cli *cli, const char *creds, const char *file, const char *name,
                         Proxmoxlxcri__V1__Credentials *ret, struct err *err) {
        struct image_auth auth = { 0 };
        int r = creds ? from_creds(cli, creds, &auth, err) : from_files(cli, file, name, &auth, err);

        proxmoxlxcri__v1__credentials__init(ret);
        ret->username = field(auth.username);
        ret->password = field(auth.password);
        ret->identity_token = field(auth.identity_token);
        ret->registry_token = field(auth.registry_token);
        return r;
}

int cli_credentials(struct cli *cli, const struct cli_args *args, const char *name, Proxmoxlxcri__V1__Credentials *ret,
                    struct err *err) {
        return cli_credentials_from(cli, args_value(args, "creds"), args_value(args, "authfile"), name, ret, err);
}
