/* SPDX-License-Identifier: Apache-2.0 */
/* path - opening and making paths inside a container's root, and writing to its procfs, when image, volumes and, for
 * exec, the container's own processes are hostile. Symlinks are followed as the container would see them ("/var/run" ->
 * "/run") but never out of @root_fd, and never procfs' magic ones: with the host's PID namespace those lead into the
 * host's root. All return a descriptor (O_CLOEXEC) or 0, else -errno. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/* @flags as openat's, usually O_PATH. */
int path_open(int root_fd, const char *path, int flags);

enum path_kind { PATH_DIR, PATH_FILE };
/* Open (O_PATH), made if missing together with its parents (0755): an empty folder or file with @mode. Dangling
 * symlinks are followed and their target is made. The caller's umask should be 0. @ret_made may be NULL. */
int path_ensure(int root_fd, const char *path, enum path_kind kind, mode_t mode, bool *ret_made);

/* The folder that @path's last component is in, made if missing. @ret_name points into @path; it is never "." or "..".
 */
int path_ensure_parent(int root_fd, const char *path, const char **ret_name);

/* The container's /proc, proven to be the root of a procfs and not reached through a symlink. */
int path_open_proc(int root_fd);
/* A file below it for writing or reading: no mount over it or on the way, no symlink but procfs' own "self". */
int path_open_in_proc(int proc_fd, const char *path, int flags);
/* One write(2). */
int path_write_in_proc(int proc_fd, const char *path, const char *value);
