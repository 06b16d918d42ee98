/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proxmox/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "runtime/cgroup/cgroup.h"

enum { PROC_FILE_MAX = 16384 };

const struct id_map ct_id_range = { .inside = 0, .outside = 100000, .length = 65536 };

static int read_proc(pid_t pid, const char *name, char **ret, struct err *err) {
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, name);
        return fs_read_file(AT_FDCWD, path, PROC_FILE_MAX, ret, NULL, err);
}

/* --- its ids ------------------------------------------------------------------------------------------------------ */

/* "         0     100000      65536" */
static bool is_ct_range(const char *map) {
        const unsigned long want[] = { ct_id_range.inside, ct_id_range.outside, ct_id_range.length };
        char *end;

        for (size_t i = 0; i < ELEMENTSOF(want); i++, map = end)
                if (strtoul(map, &end, 10) != want[i] || end == map)
                        return false;
        return str_eq(map, "\n");
}

/* Are its ids as Proxmox documents them? All of the pod's files depend on it. */
static int check_ids(pid_t pid, struct err *err) {
        static const char *const files[] = { "uid_map", "gid_map" };

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_(freep) char *text = NULL;
                int r = read_proc(pid, files[i], &text, err);

                if (r < 0)
                        return r;
                if (!is_ct_range(text))
                        return err_set(err, ERR_PRECONDITION,
                                       "its %s is \"%.60s\", not 0 100000 65536: /etc/subuid and /etc/subgid of this "
                                       "node must be as Proxmox ships them",
                                       files[i], text);
        }
        return 0;
}

/* --- which it is -------------------------------------------------------------------------------------------------- */

/* Number 1 in the PID namespace below ours: not what an administrator has entered it with, nor an app's. */
static bool is_first(pid_t pid) {
        _cleanup_(freep) char *status = NULL;
        const char *line;
        char *end;
        struct err ignored;

        if (read_proc(pid, "status", &status, &ignored) < 0)
                return false;
        line = strstr(status, "\nNSpid:");
        return line && strtol(line + strlen("\nNSpid:"), &end, 10) == pid && strtol(end, &end, 10) == 1 && *end == '\n';
}

static bool found(pid_t pid, void *userdata) {
        struct ct *ct = userdata;

        ct->start_time = proc_start_time(pid);
        ct->pid = ct->start_time && is_first(pid) ? pid : 0;
        return ct->pid == 0;
}

int ct_process_find(const struct cgroups *cgroups, struct ct *ret, struct err *err) {
        /* Where liblxc has a CT's own processes by Proxmox' configuration; apps are beside. */
        _cleanup_(freep) char *group = xprintf("/lxc/%u/ns", ret->vmid);
        struct ct ct = { .vmid = ret->vmid };
        const struct cgroup_each_process each = { found, &ct };
        int r;

        cgroup_each_process((struct cgroups *) cgroups, group, &each);
        if (!ct.pid)
                return err_set(err, ERR_ABORTED, "it has no first process on this host");
        r = check_ids(ct.pid, err);
        if (r == 0)
                *ret = ct;
        return r;
}

int ct_process_open(const struct ct *ct) {
        int fd = proc_open(ct->pid, ct->start_time);

        return fd >= 0 && proc_wait_gone(fd, 0) ? fd_close(fd) : fd;
}
