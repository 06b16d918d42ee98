/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/state.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

enum { STATE_MAX = 16 << 20, STATE_VALUES_MAX = 200000, CONFIG_MAX = 8 << 20, ID_MAX = 1024 };

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

static int open_root(const char *root, const char *id, struct oci_dir *d, struct err *err) {
        *d = OCI_DIR_EMPTY;
        if (!oci_id_is_valid(id))
                return err_set(err, ERR_INVALID,
                               "invalid id format: \"%.128s\" (letters, digits and _+-. are allowed, at most %d)",
                               id ? id : "", NAME_MAX);
        d->id = xstrdup(id);
        d->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (d->root_fd < 0)
                return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "container does not exist")
                                       : err_sys(err, errno, "open the folder of containers' states %s", root);
        d->root = realpath(root, NULL);
        return d->root ? 0 : err_sys(err, errno, "find %s", root);
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

static json_t *annotations_json(const struct oci_state *s) {
        json_t *o = json_object();

        for (size_t i = 0; i < s->n_annotations; i++)
                (void) json_object_set_new_nocheck(o, s->annotations[i].key,
                                                   json_string_nocheck(s->annotations[i].value));
        return o;
}

static int write_as(const struct oci_dir *d, const char *file, const struct oci_state *s, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = json_pack(
                "{s:s s:s s:s s:s s:s s:i s:I s:i s:I s:s s:b s:b s:s s:s s:I s:s s:s s:s s:b s:b s:o}", "id", s->id,
                "bundle", s->bundle, "rootfs", s->rootfs, "ociVersion", s->oci_version, "created", s->created, "pid",
                (int) s->pid, "startTime", (json_int_t) s->start_time, "watcherPid", (int) s->watcher_pid,
                "watcherStartTime", (json_int_t) s->watcher_start, "cgroupPath", s->cgroup_path, "cgroupMade",
                s->cgroup_made, "cgroupMaking", s->cgroup_making, "scope", s->scope, "engine", s->engine, "vmid",
                (json_int_t) s->vmid, "volume", s->volume, "rdtMade", s->rdt_made, "rdtTasks", s->rdt_tasks,
                "ownPidNamespace", s->own_pid_ns, "ownKeyring", s->own_keyring, "annotations", annotations_json(s));
        _cleanup_(freep) char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

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

static const char *string_of(json_t *o, const char *key, struct arena *arena) {
        const char *s = json_string_value(json_object_get(o, key));

        return arena_strdup(arena, s ? s : "");
}

static void read_annotations(json_t *o, struct arena *arena, struct oci_state *ret) {
        size_t n = json_object_size(o), i = 0;
        struct spec_pair *pairs = arena_array(arena, struct spec_pair, n + 1);
        const char *key;
        json_t *value;

        json_object_foreach(o, key, value) if (json_is_string(value)) pairs[i++] =
                (struct spec_pair){ .key = arena_strdup(arena, key),
                                    .value = arena_strdup(arena, json_string_value(value)) };
        ret->annotations = pairs;
        ret->n_annotations = i;
}

int oci_state_parse(const char *text, size_t len, const char *id, struct arena *arena, struct oci_state *ret,
                    struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        int r = json_load_bounded(text, len, STATE_VALUES_MAX, "state.json", &o, err);

        if (r < 0)
                return r;
        *ret = (struct oci_state){
                .id = arena_strdup(arena, id),
                .bundle = string_of(o, "bundle", arena),
                .rootfs = string_of(o, "rootfs", arena),
                .oci_version = string_of(o, "ociVersion", arena),
                .created = string_of(o, "created", arena),
                .pid = (pid_t) json_integer_value(json_object_get(o, "pid")),
                .start_time = (uint64_t) json_integer_value(json_object_get(o, "startTime")),
                .watcher_pid = (pid_t) json_integer_value(json_object_get(o, "watcherPid")),
                .watcher_start = (uint64_t) json_integer_value(json_object_get(o, "watcherStartTime")),
                .cgroup_path = string_of(o, "cgroupPath", arena),
                .cgroup_made = json_is_true(json_object_get(o, "cgroupMade")),
                .cgroup_making = json_is_true(json_object_get(o, "cgroupMaking")),
                .scope = string_of(o, "scope", arena),
                .engine = string_of(o, "engine", arena),
                .vmid = (unsigned) json_integer_value(json_object_get(o, "vmid")),
                .volume = string_of(o, "volume", arena),
                .rdt_made = string_of(o, "rdtMade", arena),
                .rdt_tasks = string_of(o, "rdtTasks", arena),
                .own_keyring = json_is_true(json_object_get(o, "ownKeyring")),
                .own_pid_ns = json_is_true(json_object_get(o, "ownPidNamespace")),
        };
        read_annotations(json_object_get(o, "annotations"), arena, ret);
        return 0;
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

/* Until the program runs, init listens for "start"; the socket closes with the exec. So nothing that is written down
 * can be wrong about it. Asked by a socket of another type, which never connects: init is not woken, and one does for
 * every container that is looked at. unix(7): EPROTOTYPE, there is one; ECONNREFUSED, it is closed. */
static bool waits_for_start(const struct oci_dir *d) {
        static int fd = -1;
        struct sockaddr_un address;

        if (fd < 0)
                fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void) oci_start_socket_address(d, &address);
        return fd >= 0 && connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 && errno == EPROTOTYPE;
}

static bool is_being_made(const struct oci_dir *d) {
        _cleanup_(fd_closep) int fd = openat(d->fd, LOCK_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

        return d->lock_fd < 0 && fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

enum oci_status oci_dir_status(const struct oci_dir *d, const struct oci_state *s, struct cgroups *cgroups) {
        if (s->pid <= 0)
                return is_being_made(d) ? OCI_CREATING : OCI_STOPPED;
        if (!proc_is_alive(s->pid, s->start_time))
                return OCI_STOPPED;
        if (cgroups && *s->cgroup_path && cgroup_is_frozen(cgroups, s->cgroup_path))
                return OCI_PAUSED;
        return waits_for_start(d) ? OCI_CREATED : OCI_RUNNING;
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

const char *oci_state_json(const struct oci_state *s, enum oci_status status, bool extra, struct arena *arena) {
        _cleanup_(json_unrefp) json_t *o =
                json_pack("{s:s s:s s:s s:s s:o}", "ociVersion", SPEC_OCI_VERSION, "id", s->id, "status",
                          oci_status_name(status), "bundle", s->bundle, "annotations", annotations_json(s));
        _cleanup_(freep) char *text = NULL;

        /* Hooks of a container that has ended are told no process; runc's "state" says 0. */
        (void) json_object_set_new(o, "pid", json_integer(status == OCI_STOPPED ? 0 : s->pid));
        if (extra) {
                (void) json_object_set_new(o, "rootfs", json_string_nocheck(s->rootfs));
                (void) json_object_set_new(o, "created", json_string_nocheck(s->created));
                (void) json_object_set_new(o, "owner", json_string(""));
                (void) json_object_set_new(o, "engine", json_string(*s->engine ? s->engine : "lxc"));
        }
        if (extra && s->vmid)
                (void) json_object_set_new(o, "vmid", json_integer(s->vmid));
        if (extra && *s->engine && status == OCI_STOPPED && s->exit_status >= 0)
                (void) json_object_set_new(o, "exitStatus", json_integer(s->exit_status));
        text = json_dumps(o, JSON_INDENT(2));
        return arena_strdup(arena, text ? text : "{}");
}
