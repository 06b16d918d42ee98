/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/programs.h"

#include <config.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

const char *program_path(const char *name, struct arena *arena) {
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        const char *path;
        char *slash;

        if (n > 0 && (size_t) n < sizeof(self) - 1) {
                self[n] = '\0';
                slash = strrchr(self, '/');
                if (slash) {
                        *slash = '\0';
                        path = arena_printf(arena, "%s/%s", self, name);
                        if (access(path, X_OK) == 0)
                                return path;
                        path = arena_printf(arena, "%s/%s/%s", self, LIBEXECDIR_FROM_BINDIR, name);
                        if (access(path, X_OK) == 0)
                                return path;
                }
        }
        return arena_printf(arena, "%s/%s", LIBEXECDIR, name);
}
