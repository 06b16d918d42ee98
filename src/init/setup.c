/* SPDX-License-Identifier: Apache-2.0 */
/* setup - see setup.h. Mount targets are opened first (path.h) and mounted on by descriptor, so that nothing can be put
 * in their place between the look and the mount. */
#include "init/setup.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include "init/copyup.h"
#include "init/fail.h"
#include "init/hook.h"
#include "init/keyring.h"
#include "init/mask.h"
#include "init/path.h"
#include "init/process.h"
#include "init/sys.h"
#include "init/terminal.h"

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

struct setup {
        const struct reader *plan;
        const int *fds;
        int root_fd, sock;
        struct mask mask;
        struct setup_result *result;
};

static int close_and(int fd, int result) {
        if (fd >= 0)
                (void) close(fd);
        return result;
}

static int do_cgroup_join(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return process_join_cgroup(s->fds[rec->fd], rec->flags & PLAN_CGROUP_FOLDER, e);
}

static int do_cgroup_ns(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return unshare(CLONE_NEWCGROUP) < 0 ? fail_set(e, errno, "make a cgroup namespace", NULL) : 0;
}

static int do_time_ns(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return setns(s->fds[rec->fd], CLONE_NEWTIME) < 0 ? fail_set(e, errno, "enter the time namespace", NULL) : 0;
}

static int write_offsets(struct setup *s, const struct plan_record *rec) {
        const char *const pieces[] = { "monotonic ", NULL, " ", NULL, "\nboottime ", NULL, " ", NULL, "\n" };
        const uint64_t numbers[] = { rec->a, rec->b, rec->c, rec->d };
        char text[160] = "", number[24];
        size_t at = 0, n = 0;
        int traced, r;

        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
                const char *piece = pieces[i] ? pieces[i] : text_number(number, (int64_t) numbers[n++]);

                (void) text_join(text + at, sizeof(text) - at, piece, "");
                at += strlen(piece);
        }
        /* Root of a user namespace may write there only as long as it can be traced (fs_sealed_copy()). */
        traced = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
        (void) prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
        r = path_write_in_proc(s->result->proc_fd, "self/timens_offsets", text);
        if (traced == 0)
                (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        return r;
}

/* One that is made is for children; entering it is a second step, open while nobody is in it. */
static int do_time_ns_new(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        int r = unshare(CLONE_NEWTIME) < 0 ? -errno : write_offsets(s, rec), dir, fd = -1;

        if (r < 0)
                return fail_set(e, -r, "make a time namespace", NULL);
        dir = path_open_in_proc(s->result->proc_fd, "self/ns", O_PATH | O_DIRECTORY);
        if (dir >= 0)
                fd = openat(dir, "time_for_children", O_RDONLY | O_CLOEXEC);
        r = dir < 0 ? dir : fd < 0 || setns(fd, CLONE_NEWTIME) < 0 ? -errno : 0;
        (void) close_and(dir, 0);
        return close_and(fd, r < 0 ? fail_set(e, -r, "enter the new time namespace", NULL) : 0);
}

static int do_root_propagation(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        struct sys_mount_attr attr = { .propagation = rec->a & ~(uint64_t) MS_REC };

        if (sys_mount_setattr(s->root_fd, rec->a & MS_REC ? SYS_AT_RECURSIVE : 0, &attr) < 0)
                return fail_set(e, errno, "set the propagation of the root", NULL);
        return 0;
}

/* A volume over a part of procfs would be taken for the kernel's word by whoever reads or writes there
 * (CVE-2019-16884): an image's link must not lead one there. Who asks for a target below /proc by name gets it. */
static int open_target(struct setup *s, const char *target, enum path_kind kind, bool *ret_made, struct plan_error *e) {
        int fd = path_ensure(s->root_fd, target, kind, kind == PATH_DIR ? 0755 : 0644, ret_made);
        struct statfs fs;

        if (fd < 0)
                return fail_set(e, -fd, "mount on ", target, NULL);
        if (strncmp(target, "/proc", 5) == 0 && (target[5] == '/' || !target[5]))
                return fd;
        if (fstatfs(fd, &fs) < 0)
                return close_and(fd, fail_set(e, errno, "mount on ", target, NULL));
        if ((long) fs.f_type == SYS_PROC_MAGIC)
                return close_and(
                        fd, fail_set(e, 0, "mount on ", target, ": a symlink leads into the proc file system", NULL));
        return fd;
}

/* By the working folder: mount(2) takes no descriptor, and /proc/self/fd can't be trusted to be one. */
static int mount_on(struct setup *s, int fd, const struct plan_record *rec, const char *data) {
        const char *type = reader_string(rec, 0), *source = reader_string(rec, 1);
        int r = fchdir(fd) < 0 || mount(source, ".", type, (unsigned long) rec->a, *data ? data : NULL) < 0 ? -errno
                                                                                                            : 0;

        if (fchdir(s->root_fd) < 0 && r == 0)
                r = -errno;
        return r;
}

/* The last of the same options counts. */
static bool add_mode(int fd, const char *data, char *out, size_t size) {
        char mode[] = "mode=0000,";
        struct stat st;

        if (fstat(fd, &st) < 0)
                return false;
        for (int i = 0; i < 4; i++)
                mode[5 + i] = (char) ('0' + (st.st_mode >> (9 - 3 * i) & 7));
        if (!*data)
                mode[9] = '\0';
        return text_join(out, size, mode, data);
}

static int mount_copy(int fd, const struct plan_record *rec, struct plan_error *e) {
        int tree = copyup_tmpfs(fd, reader_string(rec, 3), (unsigned long) rec->a, e), r;
        const char *target = reader_string(rec, 2);

        if (tree < 0)
                return -1;
        r = sys_move_mount(tree, fd) < 0 ? fail_set(e, errno, "mount tmpfs on ", target, NULL) : 0;
        return close_and(tree, r);
}

static int do_mount(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        static char with_mode[4096];
        const char *type = reader_string(rec, 0), *target = reader_string(rec, 2), *data = reader_string(rec, 3);
        bool made = false;
        int fd = open_target(s, target, PATH_DIR, &made, e), r;

        if (fd < 0)
                return -1;
        if ((rec->flags & PLAN_MOUNT_COPY_UP) && !made)
                return close_and(fd, mount_copy(fd, rec, e));
        if ((rec->flags & PLAN_MOUNT_KEEP_MODE) && !made && add_mode(fd, data, with_mode, sizeof(with_mode)))
                data = with_mode;
        r = mount_on(s, fd, rec, data);
        return close_and(fd, r < 0 ? fail_set(e, -r, "mount ", type, " on ", target, NULL) : 0);
}

static int set_attributes(int fd, const struct plan_record *rec) {
        struct sys_mount_attr attr = { .set = rec->a, .clear = rec->b };

        if (!rec->a && !rec->b)
                return 0;
        return sys_mount_setattr(fd, rec->flags & PLAN_ATTACH_RECURSIVE_ATTR ? SYS_AT_RECURSIVE : 0, &attr) < 0 ? -errno
                                                                                                                : 0;
}

static int do_attach(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *target = reader_string(rec, 0);
        struct sys_mount_attr propagation = { .propagation = rec->c };
        int tree = s->fds[rec->fd], fd, r;
        struct stat st;

        if (fstat(tree, &st) < 0)
                return fail_set(e, errno, "mount on ", target, NULL);
        fd = open_target(s, target, S_ISDIR(st.st_mode) ? PATH_DIR : PATH_FILE, NULL, e);
        if (fd < 0)
                return -1;
        r = set_attributes(tree, rec);
        if (r == 0 && sys_move_mount(tree, fd) < 0)
                r = -errno;
        if (r == 0 && rec->c && sys_mount_setattr(tree, SYS_AT_RECURSIVE, &propagation) < 0)
                r = -errno;
        return close_and(fd, r < 0 ? fail_set(e, -r, "mount on ", target, NULL) : 0);
}

static int do_setattr(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *path = reader_string(rec, 0);
        struct sys_mount_attr propagation = { .propagation = rec->c };
        int fd = path_open(s->root_fd, path, O_PATH), r = fd < 0 ? fd : set_attributes(fd, rec);

        if (r == 0 && rec->c &&
            sys_mount_setattr(fd, rec->flags & PLAN_ATTACH_RECURSIVE_ATTR ? SYS_AT_RECURSIVE : 0, &propagation) < 0)
                r = -errno;

        return close_and(fd, r < 0 ? fail_set(e, -r, "change the mount on ", path, NULL) : 0);
}

static int do_label(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *path = reader_string(rec, 0), *label = reader_string(rec, 1);
        int fd = path_open(s->root_fd, path, O_RDONLY | O_DIRECTORY), r = fd < 0 ? fd : 0;

        if (r == 0 && fsetxattr(fd, "security.selinux", label, strlen(label) + 1, 0) < 0 && errno != ENOTSUP)
                r = -errno;
        return close_and(fd, r < 0 ? fail_set(e, -r, "set the SELinux label of ", path, NULL) : 0);
}

static int do_dir(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *path = reader_string(rec, 0);
        bool made = false;
        int fd = path_ensure(s->root_fd, path, PATH_DIR, (mode_t) rec->a & 07777, &made), r = fd < 0 ? fd : 0;

        if (made && r == 0 && (rec->b || rec->c) && fchownat(fd, "", (uid_t) rec->b, (gid_t) rec->c, AT_EMPTY_PATH) < 0)
                r = -errno;
        return close_and(fd, r < 0 ? fail_set(e, -r, "make folder ", path, NULL) : 0);
}

static int do_symlink(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *path = reader_string(rec, 1), *name;
        int fd = path_ensure_parent(s->root_fd, path, &name), r = fd < 0 ? fd : 0;

        if (r == 0 && (rec->flags & PLAN_SYMLINK_REPLACE) && unlinkat(fd, name, 0) < 0 && errno == EISDIR)
                (void) unlinkat(fd, name, AT_REMOVEDIR); /* what can't be removed is fine, too */
        if (r == 0 && symlinkat(reader_string(rec, 0), fd, name) < 0 && errno != EEXIST)
                r = -errno;
        return close_and(fd, r < 0 ? fail_set(e, -r, "make symlink ", path, NULL) : 0);
}

/* The mode of what @node, opened with O_PATH, stands for. By its name there is only fchmodat(), which follows what may
 * be a symlink by now. */
static int set_mode(struct setup *s, int node, mode_t mode) {
        char number[24];
        int dir, r;

        if (syscall(SYS_fchmodat2, node, "", mode, AT_EMPTY_PATH) == 0)
                return 0;
        if (errno != ENOSYS && errno != EPERM) /* before Linux 6.6; under an old filter */
                return -errno;
        dir = path_open_in_proc(s->result->proc_fd, "self/fd", O_PATH | O_DIRECTORY);
        if (dir < 0)
                return dir;
        r = fchmodat(dir, text_number(number, node), mode, 0) < 0 ? -errno : 0;
        return close_and(dir, r);
}

/* What is there, made by us or before us, must be the device; whoever can write to the folder may have exchanged it.
 * A root that is read-only would not let us set what is right already. */
static int settle_device(struct setup *s, int dir_fd, const char *name, const struct plan_record *rec) {
        int node = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), r = 0;
        const mode_t mode = (mode_t) rec->a & 07777;
        struct stat st;

        if (node < 0 || fstat(node, &st) < 0)
                return close_and(node, -errno);
        if ((st.st_mode & S_IFMT) != ((mode_t) rec->a & S_IFMT) ||
            (!S_ISFIFO(st.st_mode) && st.st_rdev != (dev_t) rec->b))
                return close_and(node, -EEXIST);
        /* The owner first: it clears set-id bits. */
        if ((st.st_uid != rec->c || st.st_gid != rec->d) &&
            (fchownat(node, "", (uid_t) rec->c, (gid_t) rec->d, AT_EMPTY_PATH) < 0 || fstat(node, &st) < 0))
                r = -errno;
        if (r == 0 && (st.st_mode & 07777) != mode)
                r = set_mode(s, node, mode);
        return close_and(node, r);
}

static int do_mknod(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *path = reader_string(rec, 0), *name;
        int fd = path_ensure_parent(s->root_fd, path, &name), r = fd < 0 ? fd : 0;

        if (r == 0 && mknodat(fd, name, (mode_t) rec->a, (dev_t) rec->b) < 0 && errno != EEXIST)
                r = -errno;
        if (r == 0)
                r = settle_device(s, fd, name, rec);
        return close_and(fd, r < 0 ? fail_set(e, -r, "make device ", path, NULL) : 0);
}

static int do_mask(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return mask_path(&s->mask, reader_string(rec, 0), reader_string(rec, 1), e);
}

static int do_readonly(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return mask_readonly(&s->mask, reader_string(rec, 0), e);
}

/* As sysctl(8): the first separator decides whether "." or "/" separates, the other one is part of a name ("eth0.1").
 */
static int do_sysctl(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *key = reader_string(rec, 0);
        bool dots = key[strcspn(key, "./")] == '.';
        char path[512];
        int r;

        if (!text_join(path, sizeof(path), "sys/", key))
                return fail_set(e, ENAMETOOLONG, "set sysctl ", key, NULL);
        for (char *p = path + 4; dots && *p; p++)
                *p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
        r = path_write_in_proc(s->result->proc_fd, path, reader_string(rec, 1));
        return r < 0 ? fail_set(e, -r, "set sysctl ", key, NULL) : 0;
}

static int do_user(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return users_resolve(s->root_fd, rec, &s->result->user, e);
}

static int do_terminal(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        s->result->master_fd = terminal_open(s->root_fd, (uint16_t) rec->a, (uint16_t) rec->b, true, e);
        return s->result->master_fd < 0 ? -1 : 0;
}

static int do_root_readonly(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        struct sys_mount_attr attr = { .set = SYS_ATTR_RDONLY };

        return sys_mount_setattr(s->root_fd, 0, &attr) < 0 ? fail_set(e, errno, "make the root read-only", NULL) : 0;
}

static int do_cwd(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *path = reader_string(rec, 0);
        int fd = path_ensure(s->root_fd, path, PATH_DIR, 0755, NULL);

        /* Root may not be let in where the user is: then it is there, and entering it will tell. */
        if (fd < 0 && fd != -EACCES)
                return fail_set(e, -fd, "make the working directory ", path, NULL);
        return close_and(fd, 0);
}

static int do_oom_score_adj(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return process_set_oom(s->plan, s->result->proc_fd, e);
}

static int do_hooks(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return hook_run_before_pivot(s->plan, rec, s->fds[rec->fd], s->root_fd, s->sock, e);
}

/* Detached: a descriptor of it (proc_fd) stays of use. */
static int do_umount(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *path = reader_string(rec, 0);
        int fd = path_open(s->root_fd, path, O_PATH | O_DIRECTORY), r = 0;

        if (fd == -ENOENT)
                return 0;
        if (fd < 0 || fchdir(fd) < 0)
                r = fd < 0 ? -fd : errno;
        else if (umount2(".", MNT_DETACH) < 0 && errno != EINVAL) /* not a mount */
                r = errno;
        if (fchdir(s->root_fd) < 0 && !r)
                r = errno;
        return close_and(fd, r ? fail_set(e, r, "take away the mount on ", path, NULL) : 0);
}

static int do_remount(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *path = reader_string(rec, 0), *data = reader_string(rec, 1);
        int fd = path_open(s->root_fd, path, O_PATH), r = 0;

        if (fd < 0)
                return fail_set(e, -fd, "remount ", path, NULL);
        if (fchdir(fd) < 0 || mount(NULL, ".", NULL, (unsigned long) rec->a | MS_REMOUNT, *data ? data : NULL) < 0)
                r = errno;
        if (fchdir(s->root_fd) < 0 && !r)
                r = errno;
        return close_and(fd, r ? fail_set(e, r, "remount ", path, NULL) : 0);
}

static int do_uts(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        const char *host = reader_string(rec, 0), *domain = reader_string(rec, 1);

        if (*host && sethostname(host, strlen(host)) < 0)
                return fail_set(e, errno, "set the host name ", host, NULL);
        if (*domain && setdomainname(domain, strlen(domain)) < 0)
                return fail_set(e, errno, "set the domain name ", domain, NULL);
        return 0;
}

/* Its turn comes once all is set up. */
static int do_nothing(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return 0;
}

static int do_keyring(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return keyring_join(s->plan, rec, s->result->proc_fd, true, e);
}

/* Whatever liblxc has set before. */
static int do_outlives_parent(struct setup *s, const struct plan_record *rec, struct plan_error *e) {
        return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0 ? fail_set(e, errno, "outlive the parent", NULL) : 0;
}

static int (*const operations[PLAN_SETUP_END])(struct setup *s, const struct plan_record *rec, struct plan_error *e) = {
        [PLAN_CGROUP_JOIN] = do_cgroup_join,
        [PLAN_CGROUP_NS] = do_cgroup_ns,
        [PLAN_ROOT_PROPAGATION] = do_root_propagation,
        [PLAN_MOUNT] = do_mount,
        [PLAN_ATTACH] = do_attach,
        [PLAN_DIR] = do_dir,
        [PLAN_SYMLINK] = do_symlink,
        [PLAN_MKNOD] = do_mknod,
        [PLAN_MASK] = do_mask,
        [PLAN_READONLY] = do_readonly,
        [PLAN_SYSCTL] = do_sysctl,
        [PLAN_USER] = do_user,
        [PLAN_TERMINAL] = do_terminal,
        [PLAN_ROOT_READONLY] = do_root_readonly,
        [PLAN_CWD] = do_cwd,
        [PLAN_OOM_SCORE_ADJ] = do_oom_score_adj,
        [PLAN_SETATTR] = do_setattr,
        [PLAN_LABEL] = do_label,
        [PLAN_HOOKS] = do_hooks,
        [PLAN_HOOK] = do_nothing,
        [PLAN_UMOUNT] = do_umount,
        [PLAN_UTS] = do_uts,
        [PLAN_START_SOCKET] = do_nothing,
        [PLAN_OUTLIVES_PARENT] = do_outlives_parent,
        [PLAN_REMOUNT] = do_remount,
        [PLAN_KEYRING] = do_keyring,
        [PLAN_TIME_NS] = do_time_ns,
        [PLAN_TIME_NS_NEW] = do_time_ns_new,
        [PLAN_PRESERVE] = do_nothing,
        [PLAN_CPU_AFFINITY_INITIAL] = do_nothing,
};

int setup_run(const struct reader *plan, const int *fds, int sock, struct setup_result *ret, struct plan_error *e) {
        struct setup s = { .plan = plan, .fds = fds, .sock = sock, .result = ret };

        ret->master_fd = -1;
        ret->proc_fd = -1;
        s.root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (s.root_fd < 0)
                return fail_set(e, errno, "open the root", NULL);
        ret->proc_fd = path_open_proc(s.root_fd); /* missing or wrong: whoever needs it fails */
        mask_init(&s.mask, s.root_fd);
        for (const struct plan_record *rec = NULL; (rec = reader_next(plan, rec)) && rec->op < PLAN_SETUP_END;)
                if (operations[rec->op](&s, rec, e) < 0)
                        return -1;
        mask_done(&s.mask);
        (void) close(s.root_fd);
        return 0;
}
