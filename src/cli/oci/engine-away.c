/* SPDX-License-Identifier: Apache-2.0 */
/* engine-away - Proxmox as an engine, for the small program: another one speaks with it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "cli/oci/engine.h"
#include "cli/oci/programs.h"

int engine_open_proxmox(struct runtime *rt, struct err *err) {
        const char *path = program_path("proxmox-lxcri-ct", rt->arena);

        (void) execv(path, rt->argv);
        return err_set(err, ERR_UNAVAILABLE, "engine proxmox: %s: %s", path, strerror(errno));
}
