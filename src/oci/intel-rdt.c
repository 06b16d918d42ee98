/* SPDX-License-Identifier: Apache-2.0 */
/* intel-rdt - see intel-rdt.h. */
#include "oci/intel-rdt.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "base/strbuf.h"

enum { SCHEMATA_MAX = 64 << 10 };

int intel_rdt_find(struct arena *arena, const char **ret_root, struct err *err) {
        FILE *f = setmntent("/proc/self/mounts", "re");
        char buffer[8192];
        struct mntent m;

        *ret_root = NULL;
        while (f && !*ret_root && getmntent_r(f, &m, buffer, sizeof(buffer)))
                if (str_eq(m.mnt_type, "resctrl"))
                        *ret_root = arena_strdup(arena, m.mnt_dir);
        if (f)
                (void) endmntent(f);
        if (*ret_root)
                return 0;
        return err_set(err, ERR_PRECONDITION,
                       "linux.intelRdt: intelRdt is specified in config, but Intel RDT is not supported or enabled: "
                       "resctrl is not mounted");
}

/* One write: the kernel takes all of it or none. */
static int write_file(const char *folder, const char *name, const char *text, size_t len, struct err *err) {
        _cleanup_(fd_closep) int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;

        fd = dir < 0 ? -1 : openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_sys(err, errno, "open %s of %s", name, folder);
        if (write(fd, text, len) == (ssize_t) len)
                return 0;
        return errno == EINVAL
                       ? err_set(err, ERR_INVALID, "linux.intelRdt: the kernel refuses the %s: %.200s", name, text)
                       : err_sys(err, errno, "write %s of %s", name, folder);
}

static bool has_schemata(const struct oci_intel_rdt *rdt) {
        return rdt->l3_cache || rdt->bandwidth || *rdt->schemata;
}

static int write_schemata(const char *folder, const struct oci_intel_rdt *rdt, struct err *err) {
        _cleanup_strbuf_ struct strbuf text = STRBUF(SCHEMATA_MAX);

        if (!has_schemata(rdt))
                return 0;
        if (rdt->l3_cache)
                strbuf_printf(&text, "%s\n", rdt->l3_cache);
        if (rdt->bandwidth)
                strbuf_printf(&text, "%s\n", rdt->bandwidth);
        for (const char *const *line = rdt->schemata; *line; line++)
                strbuf_printf(&text, "%s\n", *line);
        if (text.overflow)
                return err_set(err, ERR_INVALID, "linux.intelRdt.schemata: more than %d bytes", SCHEMATA_MAX);
        return write_file(folder, "schemata", strbuf_str(&text), text.len, err);
}

/* A group that is named is made when there is something to write into it; without that it has to be there. */
static int make_named(const char *folder, const struct oci_intel_rdt *rdt, struct err *err) {
        if (str_eq(rdt->clos_id, "/") ||
            (has_schemata(rdt) ? mkdir(folder, 0755) == 0 || errno == EEXIST : access(folder, F_OK) == 0))
                return 0;
        if (errno == ENOENT)
                return err_set(err, ERR_INVALID,
                               "linux.intelRdt.closID: there is no group \"%s\", and no schemata to make one with",
                               rdt->clos_id);
        return err_sys(err, errno, "linux.intelRdt: make the group %s", folder);
}

static int make_own(const char *folder, const char **ret_made, struct err *err) {
        if (mkdir(folder, 0755) == 0) {
                *ret_made = folder;
                return 0;
        }
        if (errno == EEXIST)
                return err_set(err, ERR_EXISTS, "linux.intelRdt: there is a group %s already", folder);
        return err_sys(err, errno, "linux.intelRdt: make the group %s", folder);
}

int intel_rdt_make(const char *root, const struct oci_intel_rdt *rdt, const char *id, struct arena *arena,
                   const char **ret_made, const char **ret_tasks, struct err *err) {
        const char *folder = str_eq(rdt->clos_id, "/") ? arena_strdup(arena, root)
                                                       : arena_printf(arena, "%s/%s", root, rdt->clos_id ?: id),
                   *unused;
        int r;

        *ret_made = "";
        *ret_tasks = folder;
        r = rdt->clos_id ? make_named(folder, rdt, err) : make_own(folder, ret_made, err);
        if (r == 0)
                r = write_schemata(folder, rdt, err);
        if (r < 0 || !rdt->monitoring)
                return r;
        /* Below a group of the container's own it goes with that. */
        *ret_tasks = arena_printf(arena, "%s/mon_groups/%s", folder, id);
        return make_own(*ret_tasks, **ret_made ? &unused : ret_made, err);
}

int intel_rdt_update(const char *tasks, const struct oci_intel_rdt *rdt, struct arena *arena, struct err *err) {
        const char *monitored = strstr(tasks, "/mon_groups/"); /* which has no schemata of its own */

        return write_schemata(monitored ? arena_strndup(arena, tasks, (size_t) (monitored - tasks)) : tasks, rdt, err);
}

int intel_rdt_add(const char *tasks, pid_t pid, struct err *err) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%d\n", (int) pid);

        return write_file(tasks, "tasks", text, (size_t) len, err);
}

int intel_rdt_remove(const char *made, struct err *err) {
        if (str_empty(made) || rmdir(made) == 0 || errno == ENOENT)
                return 0;
        return err_sys(err, errno, "remove the group %s", made);
}
