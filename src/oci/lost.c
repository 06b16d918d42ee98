/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/lost.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "oci/creation.h"

enum { SMALL_FILE_MAX = 64 << 10 };

const char *lost_mark(const struct oci_dir *d, struct arena *arena) {
        struct stat st;

        if (fstat(d->fd, &st) < 0)
                return "lxcri-log";
        return arena_printf(arena, "lxcri-log-%llx-%llx", (unsigned long long) st.st_dev,
                            (unsigned long long) st.st_ino);
}

/* --- init ----------------------------------------------------------------------------------------------------------
 */

/* What the process holds a pidfd of; 0: of none. */
static pid_t held_by(int fdinfo, const char *number) {
        _cleanup_(freep) char *text = NULL;
        const char *line;
        struct err ignored;

        if (fs_read_file(fdinfo, number, SMALL_FILE_MAX, &text, NULL, &ignored) < 0)
                return 0;
        line = strstr(text, "\nPid:\t");
        return line ? (pid_t) strtol(line + 6, NULL, 10) : 0;
}

/* Is it the watcher whose log is called @mark? @ret_init: whom it waits for. */
static bool is_watcher(pid_t pid, const char *mark, pid_t *ret_init) {
        _cleanup_(closedirp) DIR *d = NULL;
        _cleanup_(fd_closep) int fdinfo = -1;
        char path[64], target[PATH_MAX];
        bool found = false;
        struct dirent *e;
        pid_t held;

        *ret_init = 0;
        (void) snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int) pid);
        fdinfo = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        (void) snprintf(path, sizeof(path), "/proc/%d/fd", (int) pid);
        d = opendir(path);
        while (d && fdinfo >= 0 && (e = readdir(d))) {
                ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);

                if (n < 0)
                        continue;
                target[n] = '\0';
                if (str_after(target, "/memfd:") && strncmp(target + 7, mark, strlen(mark)) == 0 &&
                    target[7 + strlen(mark)] == ' ')
                        found = true;
                held = held_by(fdinfo, e->d_name);
                if (held > 0)
                        *ret_init = held;
        }
        return found;
}

static bool is_called(int proc, const char *pid, const char *name) {
        _cleanup_(freep) char *text = NULL;
        char path[NAME_MAX + 8];
        struct err ignored;

        (void) snprintf(path, sizeof(path), "%s/comm", pid);
        return fs_read_file(proc, path, 64, &text, NULL, &ignored) == 0 && str_eq(text, name);
}

static void find_watcher(const struct oci_dir *d, struct arena *arena, struct oci_state *ret) {
        _cleanup_(closedirp) DIR *proc = opendir("/proc");
        const char *mark = lost_mark(d, arena);
        struct dirent *e;
        pid_t pid, init;

        while (proc && ret->watcher_pid <= 0 && (e = readdir(proc))) {
                pid = (pid_t) strtol(e->d_name, NULL, 10);
                if (pid <= 0 || !is_called(dirfd(proc), e->d_name, "lxcri-watch\n") || !is_watcher(pid, mark, &init))
                        continue;
                ret->watcher_pid = pid;
                ret->watcher_start = proc_start_time(pid);
                ret->pid = init;
        }
}

/* Who listens there was told to by create: init, of whatever that has become. */
static void find_waiting_init(const struct oci_dir *d, struct oci_state *ret) {
        _cleanup_(fd_closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address;
        struct ucred peer = { 0 };
        socklen_t len = sizeof(peer);

        (void) oci_start_socket_address(d, &address);
        if (fd < 0 || connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
                return;
        ret->pid = peer.pid;
}

/* --- its group -----------------------------------------------------------------------------------------------------
 */

static bool shares_our_mounts(pid_t pid) {
        struct stat ours, theirs;
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int) pid);
        if (stat(path, &theirs) < 0)
                return errno != ENOENT && errno != ESRCH; /* it has ended */
        return stat("/proc/self/ns/mnt", &ours) < 0 || (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev);
}

static bool is_the_containers(struct cgroups *cgroups, const char *path, const char *id) {
        _cleanup_(freep) pid_t *pids = NULL;
        struct err ignored;
        size_t n = 0;

        if (!strstr(path, id) || !cgroup_exists(cgroups, path))
                return false;
        if (cgroup_processes(cgroups, path, &pids, &n, &ignored) < 0)
                return false;
        for (size_t i = 0; i < n; i++)
                if (shares_our_mounts(pids[i]))
                        return false;
        return true;
}

/* Of "slice:prefix:name" systemd makes a scope, of a path the cgroupfs driver a group, whatever this command was told.
 */
static bool is_for_systemd(const char *cgroups_path) {
        const char *colon = strchr(cgroups_path, ':');

        return *cgroups_path != '/' && colon && strchr(colon + 1, ':');
}

static void place_by_config(const struct oci *o, const struct oci_config *config, struct cgroups *cgroups,
                            struct oci_state *ret) {
        const char *given = config->cgroups_path ?: "";
        bool systemd = str_empty(given) ? o->systemd_cgroup : is_for_systemd(given);
        struct cgroup_place place;
        struct err ignored;

        if (cgroup_place_find(cgroups, given, ret->id, systemd, o->arena, &place, &ignored) < 0 ||
            !is_the_containers(cgroups, place.path, ret->id))
                return;
        ret->cgroup_path = place.path;
        ret->scope = place.unit ?: "";
        ret->cgroup_made = true;
}

/* The group, or one above it, that is a scope of the container's. Without its unit systemd may never see that it has
 * ended, and then nobody can make another of that name. */
static bool place_by_scope(const struct oci *o, struct cgroups *cgroups, const char *group, struct oci_state *ret) {
        char *path = arena_strdup(o->arena, group), *end;
        struct cgroup_place place;

        for (; strstr(path, ret->id) && (end = strrchr(path, '/')); *end = '\0') {
                cgroup_place_by_path(path, o->arena, &place);
                if (!place.unit || !strstr(place.unit, ret->id) || !is_the_containers(cgroups, place.path, ret->id))
                        continue;
                ret->cgroup_path = place.path;
                ret->scope = place.unit;
                return true;
        }
        return false;
}

/* "5:pids:/some/group", in which it is all the way down. */
static void place_by_init(const struct oci *o, struct cgroups *cgroups, struct oci_state *ret) {
        _cleanup_(freep) char *text = NULL;
        struct err ignored;
        char path[64], *rest, *line, *group;

        (void) snprintf(path, sizeof(path), "/proc/%d/cgroup", (int) ret->pid);
        if (ret->pid <= 0 || fs_read_file(AT_FDCWD, path, SMALL_FILE_MAX, &text, NULL, &ignored) < 0)
                return;
        for (rest = text; (line = strsep(&rest, "\n"));) {
                group = strchr(line, ':');
                group = group ? strchr(group + 1, ':') : NULL;
                if (!group || !is_the_containers(cgroups, group + 1, ret->id))
                        continue;
                if (!place_by_scope(o, cgroups, group + 1, ret))
                        ret->cgroup_path = arena_strdup(o->arena, group + 1);
                ret->cgroup_made = true;
                return;
        }
}

/* --- all of it -----------------------------------------------------------------------------------------------------
 */

/* Another engine's, which knows its own by what the claim says: with the container end its processes. */
static void find_claimed(const struct oci *o, const struct oci_dir *d, struct oci_state *ret) {
        ret->is_lost = true;
        o->warn(arena_printf(o->arena, "container %s: found without its state: it is of the engine %s", d->id,
                             ret->engine),
                o->userdata);
}

void lost_find(const struct oci *o, const struct oci_dir *d, struct cgroups *cgroups, struct oci_state *ret) {
        struct oci_config config = { 0 };
        struct err err;
        const char *group;

        if (oci_claim_read(d, o->arena, ret, &err) == 0) {
                find_claimed(o, d, ret);
                return;
        }
        *ret = OCI_STATE_EMPTY(arena_strdup(o->arena, d->id));
        find_watcher(d, o->arena, ret);
        if (ret->pid <= 0)
                find_waiting_init(d, ret);
        ret->start_time = ret->pid > 0 ? proc_start_time(ret->pid) : 0;
        if (oci_read_stored(d, ret, o->arena, &config, &err) == 0)
                place_by_config(o, &config, cgroups, ret);
        else
                o->warn(arena_printf(o->arena, "container %s: %s: its hooks are not run", d->id, err.msg), o->userdata);
        if (str_empty(ret->cgroup_path))
                place_by_init(o, cgroups, ret);
        group = str_empty(ret->cgroup_path) ? "no control group of its own" : ret->cgroup_path;
        if (ret->pid > 0)
                o->warn(arena_printf(o->arena, "container %s: found without its state: process %d, %s", d->id,
                                     (int) ret->pid, group),
                        o->userdata);
        else
                o->warn(arena_printf(o->arena, "container %s: found without its state: no first process, %s", d->id,
                                     group),
                        o->userdata);
}
