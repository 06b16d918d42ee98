/* SPDX-License-Identifier: Apache-2.0 */
/* user-ids - see user-ids.h. */
#include "oci/user-ids.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"

enum { MAX_MAPS = 340, MAP_FILE_MAX = 64 << 10 };

static bool is_ours(int fd) {
        struct stat theirs, ours;

        return fstat(fd, &theirs) == 0 && stat("/proc/self/ns/user", &ours) == 0 && theirs.st_dev == ours.st_dev &&
               theirs.st_ino == ours.st_ino;
}

/* A child that is in there until it is ended: its maps are to be read as we see them. */
static int start_child(int fd, const char *path, pid_t *ret, struct err *err) {
        pid_t parent = getpid();
        int ready[2], failed = 0;
        ssize_t n;

        if (pipe2(ready, O_CLOEXEC) < 0)
                return err_sys(err, errno, "create a pipe");
        *ret = fork();
        if (*ret == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
                if (getppid() != parent)
                        _exit(1);
                failed = setns(fd, CLONE_NEWUSER) < 0 ? errno : 0;
                (void) !write(ready[1], &failed, sizeof(failed));
                for (;;)
                        (void) pause();
        }
        (void) close(ready[1]);
        n = *ret < 0 ? 0 : read(ready[0], &failed, sizeof(failed));
        (void) close(ready[0]);
        if (*ret < 0)
                return err_sys(err, errno, "fork");
        if (n != (ssize_t) sizeof(failed))
                failed = ECHILD;
        return failed ? err_set(err, ERR_INVALID, "linux.namespaces: enter the user namespace %s: %s", path,
                                strerror(failed))
                      : 0;
}

static void end_child(pid_t pid) {
        if (pid <= 0)
                return;
        (void) kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}

/* "inside outside length" */
static bool read_line(const char *line, struct id_map *ret) {
        uint32_t *fields[] = { &ret->inside, &ret->outside, &ret->length };
        char *end;

        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                *fields[i] = (uint32_t) strtoul(line, &end, 10);
                if (end == line)
                        return false;
                line = end;
        }
        return true;
}

size_t user_ids_parse(char *text, struct arena *arena, const struct id_map **ret) {
        struct id_map *maps = arena_array(arena, struct id_map, MAX_MAPS);
        char *rest = text, *line;
        size_t n = 0;

        while (n < MAX_MAPS && (line = strsep(&rest, "\n")))
                n += read_line(line, &maps[n]);
        *ret = maps;
        return n;
}

static int read_map(pid_t pid, const char *file, struct arena *arena, const struct id_map **ret, size_t *ret_n,
                    struct err *err) {
        _cleanup_(freep) char *text = NULL;
        char path[64];
        int r;

        (void) snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, file);
        r = fs_read_file(AT_FDCWD, path, MAP_FILE_MAX, &text, NULL, err);
        if (r < 0)
                return r;
        *ret_n = user_ids_parse(text, arena, ret);
        return 0;
}

static int read_maps(int fd, const char *path, struct arena *arena, struct id_maps *ret, struct err *err) {
        pid_t pid = 0;
        int r = start_child(fd, path, &pid, err);

        if (r == 0)
                r = read_map(pid, "uid_map", arena, &ret->uids, &ret->n_uids, err);
        if (r == 0)
                r = read_map(pid, "gid_map", arena, &ret->gids, &ret->n_gids, err);
        end_child(pid);
        return r;
}

/* Those that say "idmap" and no more have the container's maps. */
static void settle_mounts(struct spec *spec, const struct id_maps *old, const struct id_maps *now,
                          struct arena *arena) {
        struct spec_mount *mounts =
                spec->n_mounts ? arena_memdup(arena, spec->mounts, spec->n_mounts * sizeof(*mounts)) : NULL;

        for (size_t i = 0; i < spec->n_mounts; i++)
                if (mounts[i].owners && id_maps_equal(mounts[i].owners, old))
                        mounts[i].owners = now;
        if (mounts)
                spec->mounts = mounts;
}

int user_ids_settle(struct spec *spec, struct arena *arena, struct err *err) {
        struct spec_namespace *ns = &spec->ns[SPEC_NS_USER];
        struct id_maps *now;
        _cleanup_(fd_closep) int fd = -1;
        int r = 0;

        if (!ns->path)
                return 0;
        fd = open(ns->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return err_set(err, ERR_INVALID, "linux.namespaces: open the user namespace %s: %s", ns->path,
                               strerror(errno));
        now = arena_new_of(arena, struct id_maps);
        if (is_ours(fd))
                *ns = (struct spec_namespace){ 0 };
        else
                r = read_maps(fd, ns->path, arena, now, err);
        if (r < 0)
                return r;
        settle_mounts(spec, &spec->user_ids, now, arena);
        spec->user_ids = *now;
        return 0;
}
