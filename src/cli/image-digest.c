/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image-digest.h"

#include <errno.h>
#include <stdio.h>
#include "cli/json.h"

int image_digest_tell(struct cli *cli, const struct cli_args *args, const char *reference, const char *digest) {
        const char *path = args_value(args, "digestfile");
        FILE *file = path ? fopen(path, "we") : NULL;
        struct err err;
        bool failed = path && !file;

        if (cli->json)
                json_print(json_pack("{s:s s:s}", "reference", reference, "digest", digest));
        else
                printf("%s\n", digest);
        if (file) {
                failed = fputs(digest, file) < 0;
                failed |= fclose(file) != 0;
        }
        if (!failed)
                return 0;
        (void) err_sys(&err, errno, "write the digest to %s", path);
        return cli_fail(&err);
}
