/* SPDX-License-Identifier: Apache-2.0 */
/* engine-away - Proxmox as an engine, for the small program: another one speaks with it, and reads the configuration.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "cli/oci/engine.h"
#include "cli/oci/programs.h"

enum { CONFIG_MAX = 1 << 20, ARGS_MAX = 65536 };

/* Its argv[0] is where we are, so that it can come back. */
static int become_other(struct runtime *rt, struct err *err) {
        const char *path = program_path("proxmox-lxcri-ct", rt->arena), **argv;
        char *self = arena_array(rt->arena, char, PATH_MAX);
        ssize_t len = readlink("/proc/self/exe", self, PATH_MAX - 1);
        size_t n = 0;

        while (rt->argv[n])
                n++;
        argv = arena_array(rt->arena, const char *, n + 1);
        memcpy(argv, rt->argv, (n + 1) * sizeof(*argv));
        if (len > 0)
                argv[0] = self;
        (void) execv(path, (char *const *) (uintptr_t) argv);
        return err_set(err, ERR_UNAVAILABLE, "%s, which knows Proxmox and the configuration: %s", path,
                       strerror(errno));
}

int engine_open_proxmox(struct runtime *rt, struct err *err) {
        return become_other(rt, err) < 0 ? err_wrap(err, "engine proxmox") : 0;
}

/* A key of YAML's begins a line, or stands behind a brace. Found where it is none: the other program decides all the
 * same. */
static bool has_key(const char *text) {
        return strstr(text, "oci-engine") != NULL;
}

int engine_by_config(struct runtime *rt, const struct cli_args *args, enum engine *ret, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        int r = fs_read_file(AT_FDCWD, SYSCONFDIR "/config.yaml", CONFIG_MAX, &text, NULL, err);

        if (r < 0)
                return err->sys_errno == ENOENT ? 0 : err_wrap(err, "choose the engine");
        return has_key(text) ? become_other(rt, err) : 0;
}
