/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/state.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/str.h"
#include "init/supervisor.h"
#include "runtime/cgroup/cgroup.h"

enum { STATE_MAX = 16 << 20, CONFIG_MAX = 8 << 20, ID_MAX = 1024, GLANCE_MAX = 8192 };

#define STATE_FILE "state.json"
#define CONFIG_FILE "config.json"
#define CLAIM_FILE "claim"
#define LOCK_FILE "lock"

const char *oci_status_name(enum oci_status status) {
        static const char *const names[] = { "creating", "created", "running", "paused", "stopped" };

        return names[status];
}

bool oci_id_is_valid(const char *id) {
        size_t n = id ? strlen(id) : 0;

        if (n == 0 || n > ID_MAX || n > NAME_MAX || str_eq(id, ".") || str_eq(id, ".."))
                return false;
        for (const char *p = id; *p; p++)
                if (!isalnum((unsigned char) *p) && !strchr("_+-.", *p))
                        return false;
        return true;
}

/* --- the folder ------------------------------------------------------------------------------------------------- */

void oci_dir_done(struct oci_dir *d) {
        d->lock_fd = fd_close(d->lock_fd);
        d->fd = fd_close(d->fd);
        d->root_fd = fd_close(d->root_fd);
        free(d->root);
        free(d->id);
        d->root = d->id = NULL;
}

static int take_lock(struct oci_dir *d, int how, struct err *err) {
        struct stat ours, there;

        d->lock_fd = openat(d->fd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (d->lock_fd < 0)
                return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "container does not exist")
                                       : err_sys(err, errno, "open the lock of container %s", d->id);
        while (flock(d->lock_fd, how) < 0)
                if (errno != EINTR)
                        return err_sys(err, errno, "lock container %s", d->id);
        /* Who held it may have removed the container meanwhile, and another may have made one of that name. */
        if (fstat(d->fd, &ours) < 0 || fstatat(d->root_fd, d->id, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
            ours.st_ino != there.st_ino || ours.st_dev != there.st_dev)
                return err_set(err, ERR_NOT_FOUND, "container does not exist");
        return 0;
}

int oci_root_open(const char *root, struct oci_dir *d, struct err *err) {
        *d = OCI_DIR_EMPTY;
        d->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (d->root_fd < 0)
                return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "container does not exist")
                                       : err_sys(err, errno, "open the folder of containers' states %s", root);
        d->root = realpath(root, NULL);
        return d->root ? 0 : err_sys(err, errno, "find %s", root);
}

static int open_root(const char *root, const char *id, struct oci_dir *d, struct err *err) {
        int r;

        *d = OCI_DIR_EMPTY;
        if (!oci_id_is_valid(id))
                return err_set(err, ERR_INVALID,
                               "invalid id format: \"%.128s\" (letters, digits and _+-. are allowed, at most %d)",
                               id ? id : "", NAME_MAX);
        r = oci_root_open(root, d, err);
        d->id = xstrdup(id);
        return r;
}

static int make_dir(struct oci_dir *d, struct err *err) {
        if (mkdirat(d->root_fd, d->id, 0711) < 0)
                return errno == EEXIST ? err_set(err, ERR_EXISTS, "container with given ID already exists")
                                       : err_sys(err, errno, "make the state folder %s/%s", d->root, d->id);
        d->fd = openat(d->root_fd, d->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return d->fd < 0 ? err_sys(err, errno, "open the state folder %s/%s", d->root, d->id)
                         : take_lock(d, LOCK_EX, err);
}

int oci_dir_make(const char *root, const char *id, struct oci_dir *ret, struct err *err) {
        int r = oci_id_is_valid(id) ? fs_mkdir_p(root, 0711, err) : 0;

        *ret = OCI_DIR_EMPTY;
        if (r == 0)
                r = open_root(root, id, ret, err);
        if (r == 0)
                r = make_dir(ret, err);
        if (r < 0)
                oci_dir_done(ret);
        return r;
}

static int open_dir(struct oci_dir *d, struct err *err) {
        d->fd = openat(d->root_fd, d->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (d->fd >= 0)
                return 0;
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "container does not exist")
                               : err_sys(err, errno, "open the state folder %s/%s", d->root, d->id);
}

int oci_dir_open(const char *root, const char *id, bool lock, struct oci_dir *ret, struct err *err) {
        int r = open_root(root, id, ret, err);

        if (r == 0)
                r = open_dir(ret, err);
        if (r == 0 && lock)
                r = take_lock(ret, LOCK_EX, err);
        if (r < 0)
                oci_dir_done(ret);
        return r;
}

int oci_dir_next(struct oci_dir *d, const char *id, struct err *err) {
        assert(oci_id_is_valid(id));
        d->lock_fd = fd_close(d->lock_fd);
        d->fd = fd_close(d->fd);
        free(d->id);
        d->id = xstrdup(id);
        return open_dir(d, err);
}

#define GONE_PREFIX ".gone-" /* and the id of the process that removes it */

void oci_dir_sweep(const char *root) {
        _cleanup_(closedirp) DIR *d = opendir(root);
        struct dirent *e;
        struct err err;

        while (d && (e = readdir(d))) {
                const char *number = str_after(e->d_name, GONE_PREFIX);
                long pid = number ? strtol(number, NULL, 10) : 0;

                if (pid > 0 && kill((pid_t) pid, 0) < 0 && errno == ESRCH)
                        (void) !fs_remove_tree(dirfd(d), e->d_name, &err);
        }
}

/* By one rename first, so that nobody finds half of it. */
int oci_dir_remove(struct oci_dir *d, struct err *err) {
        char gone[NAME_MAX + 1];

        if (snprintf(gone, sizeof(gone), GONE_PREFIX "%d", (int) getpid()) < 0 ||
            renameat(d->root_fd, d->id, d->root_fd, gone) < 0)
                return errno == ENOENT ? 0 : err_sys(err, errno, "remove the state folder %s/%s", d->root, d->id);
        return fs_remove_tree(d->root_fd, gone, err);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

int oci_list(const char *root, struct arena *arena, const char ***ret, struct err *err) {
        _cleanup_(closedirp) DIR *d = opendir(root);
        const char **ids = NULL;
        size_t n = 0, cap = 0;
        struct dirent *e;

        if (!d && errno != ENOENT)
                return err_sys(err, errno, "list the containers in %s", root);
        while (d && (e = readdir(d))) {
                if (e->d_name[0] == '.' || !oci_id_is_valid(e->d_name))
                        continue;
                xgrow(ids, n, cap);
                ids[n++] = arena_strdup(arena, e->d_name);
        }
        if (n)
                qsort(ids, n, sizeof(*ids), compare_names);
        *ret = arena_array(arena, const char *, n + 1);
        if (n)
                memcpy(*ret, ids, n * sizeof(*ids));
        free(ids);
        return 0;
}

/* --- state.json --------------------------------------------------------------------------------------------------- */

static int write_as(const struct oci_dir *d, const char *file, const struct oci_state *s, struct err *err) {
        _cleanup_(freep) char *text = oci_state_text(s);

        if (!text)
                return err_set(err, ERR_INVALID, "the state of container %s can't be written as JSON", s->id);
        return fs_write_atomic(d->fd, file, text, strlen(text), 0600, false, err);
}

int oci_state_write(const struct oci_dir *d, const struct oci_state *s, struct err *err) {
        return write_as(d, STATE_FILE, s, err);
}

int oci_claim_write(const struct oci_dir *d, const struct oci_state *s, struct err *err) {
        return write_as(d, CLAIM_FILE, s, err);
}

static int read_as(const struct oci_dir *d, const char *file, struct arena *arena, struct oci_state *ret,
                   struct err *err) {
        _cleanup_(freep) char *text = NULL;
        size_t len;
        int r = fs_read_file(d->fd, file, STATE_MAX, &text, &len, err);

        if (r == 0)
                r = oci_state_parse(text, len, d->id, arena, ret, err);
        return r < 0 ? err_wrap(err, "read the state of container %s", d->id) : 0;
}

/* A container whose create was killed at its very beginning has none: it is being made, by nobody. */
int oci_state_read(const struct oci_dir *d, struct arena *arena, struct oci_state *ret, struct err *err) {
        int r = read_as(d, STATE_FILE, arena, ret, err);

        if (r == 0 || err->sys_errno != ENOENT)
                return r;
        *ret = OCI_STATE_EMPTY(arena_strdup(arena, d->id));
        return 0;
}

int oci_claim_read(const struct oci_dir *d, struct arena *arena, struct oci_state *ret, struct err *err) {
        return read_as(d, CLAIM_FILE, arena, ret, err);
}

int oci_dir_read_config(const struct oci_dir *d, struct arena *arena, const char **ret, size_t *ret_len,
                        struct err *err) {
        _cleanup_(freep) char *text = NULL;
        int r = fs_read_file(d->fd, CONFIG_FILE, CONFIG_MAX, &text, ret_len, err);

        if (r < 0)
                return err_wrap(err, "read the configuration that container %s was made from", d->id);
        *ret = arena_strndup(arena, text, *ret_len);
        return 0;
}

int oci_dir_write_config(const struct oci_dir *d, const char *text, size_t len, struct err *err) {
        return fs_write_atomic(d->fd, CONFIG_FILE, text, len, 0600, false, err);
}

/* --- the status ----------------------------------------------------------------------------------------------------
 */

int oci_start_socket_address(const struct oci_dir *d, struct sockaddr_un *ret) {
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        return snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/" OCI_START_SOCKET, d->fd);
}

/* Shorter and faster to look up than by the descriptor, where it fits. */
static bool start_socket_path(const struct oci_dir *d, const char *id, struct sockaddr_un *ret) {
        int n;

        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s/" OCI_START_SOCKET, d->root, id);
        return n > 0 && (size_t) n < sizeof(ret->sun_path);
}

/* Until the program runs, init listens for "start"; the socket closes with the exec. So nothing that is written down
 * can be wrong about it. Asked by a socket of another type, which never connects: init is not woken, and one does for
 * every container that is looked at. unix(7): EPROTOTYPE, there is one; ECONNREFUSED, it is closed. */
static bool is_listening(const struct sockaddr_un *address) {
        static int fd = -1;

        if (fd < 0)
                fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        return fd >= 0 && connect(fd, (const struct sockaddr *) address, sizeof(*address)) < 0 && errno == EPROTOTYPE;
}

/* Init alone has that socket once its number is written down, so where it listens it lives: nobody else is asked. */
static enum oci_status look_at(const struct oci_state *s, const struct sockaddr_un *start, struct cgroups *cgroups) {
        bool waits = is_listening(start);

        if (!waits && !proc_is_alive_by(s->pid, s->start_time, s->identity))
                return OCI_STOPPED;
        if (cgroups && *s->cgroup_path && cgroup_is_frozen(cgroups, s->cgroup_path))
                return OCI_PAUSED;
        return waits ? OCI_CREATED : OCI_RUNNING;
}

static bool is_being_made(const struct oci_dir *d) {
        _cleanup_(fd_closep) int fd = openat(d->fd, LOCK_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

        return d->lock_fd < 0 && fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

enum oci_status oci_dir_status(const struct oci_dir *d, const struct oci_state *s, struct cgroups *cgroups) {
        struct sockaddr_un address;

        if (s->pid <= 0)
                return is_being_made(d) ? OCI_CREATING : OCI_STOPPED;
        (void) oci_start_socket_address(d, &address);
        return look_at(s, &address, cgroups);
}

/* A state.json that is read at once, whole. */
static bool read_small(const struct oci_dir *at, const char *id, char text[GLANCE_MAX], size_t *ret_len,
                       uid_t *ret_owner) {
        struct open_how how = { .flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
        _cleanup_(fd_closep) int fd = -1;
        char path[NAME_MAX + sizeof("/" STATE_FILE)];
        struct stat st;
        ssize_t n;

        (void) snprintf(path, sizeof(path), "%s/" STATE_FILE, id);
        fd = (int) syscall(SYS_openat2, at->root_fd, path, &how, sizeof(how));
        if (fd < 0 || fstat(fd, &st) < 0 || st.st_size >= GLANCE_MAX)
                return false;
        n = read(fd, text, GLANCE_MAX);
        *ret_len = (size_t) n;
        *ret_owner = st.st_uid;
        return n >= 0 && n == st.st_size;
}

bool oci_glance(const struct oci_dir *at, const char *id, struct cgroups *cgroups, struct arena *arena,
                struct oci_glimpse *ret) {
        char text[GLANCE_MAX];
        struct sockaddr_un address;
        struct oci_state *s = &ret->state;
        size_t len;

        assert(oci_id_is_valid(id));
        if (!read_small(at, id, text, &len, &ret->owner) || !oci_state_scan(text, len, id, arena, s) || s->pid <= 0 ||
            *s->engine || !start_socket_path(at, id, &address))
                return false;
        s->exit_status = -1;
        ret->status = look_at(s, &address, cgroups);
        return true;
}

int oci_dir_exit_status(const struct oci_dir *d, const struct oci_state *s) {
        _cleanup_(fd_closep) int fd = openat(d->fd, OCI_EXIT_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        return s->pid <= 0 || proc_is_alive(s->pid, s->start_time) || fd < 0 ? -1 : oci_exit_status(fd);
}

int oci_exit_status(int exit_file) {
        uint32_t said = 0;
        int status;

        if (pread(exit_file, &said, sizeof(said), 0) != sizeof(said) || !(said & SUPERVISOR_ENDED))
                return 128 + SIGKILL;
        status = (int) (said & (SUPERVISOR_ENDED - 1));
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

json_t *oci_state_object(const struct oci_state *s, enum oci_status status, const char *owner) {
        json_t *o = json_pack("{s:s s:s s:s s:s s:o}", "ociVersion", SPEC_OCI_VERSION, "id", s->id, "status",
                              oci_status_name(status), "bundle", s->bundle, "annotations", oci_annotations_json(s));

        /* Hooks of a container that has ended are told no process; runc's "state" says 0. */
        (void) json_object_set_new(o, "pid", json_integer(status == OCI_STOPPED ? 0 : s->pid));
        if (owner) {
                (void) json_object_set_new(o, "rootfs", json_string_nocheck(s->rootfs));
                (void) json_object_set_new(o, "created", json_string_nocheck(s->created));
                (void) json_object_set_new(o, "owner", json_string(owner));
                (void) json_object_set_new(o, "engine", json_string(*s->engine ? s->engine : "lxc"));
        }
        if (owner && s->vmid)
                (void) json_object_set_new(o, "vmid", json_integer(s->vmid));
        if (owner && *s->engine && status == OCI_STOPPED && s->exit_status >= 0)
                (void) json_object_set_new(o, "exitStatus", json_integer(s->exit_status));
        return o;
}

const char *oci_state_json(const struct oci_state *s, enum oci_status status, bool extra, struct arena *arena) {
        _cleanup_(json_unrefp) json_t *o = oci_state_object(s, status, extra ? "" : NULL);
        _cleanup_(freep) char *text = json_dumps(o, JSON_INDENT(2));

        return arena_strdup(arena, text ? text : "{}");
}
