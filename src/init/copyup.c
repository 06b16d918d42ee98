/* SPDX-License-Identifier: Apache-2.0 */
/* copyup - see copyup.h. */
#include "init/copyup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include "init/fail.h"
#include "init/sys.h"

enum { CHUNK = 65536, MAX_XATTR = 65536, MAX_LINK = 4096, MAX_OPTION = 1024 };

static int close_and(int fd, int result) {
        if (fd >= 0)
                (void) close(fd);
        return result;
}

/* --- the file system -----------------------------------------------------------------------------------------------
 */

static uint64_t attributes(unsigned long flags) {
        static const struct {
                unsigned long flag;
                uint64_t attr;
        } map[] = {
                { MS_RDONLY, SYS_ATTR_RDONLY },         { MS_NOSUID, SYS_ATTR_NOSUID },
                { MS_NODEV, SYS_ATTR_NODEV },           { MS_NOEXEC, SYS_ATTR_NOEXEC },
                { MS_NODIRATIME, SYS_ATTR_NODIRATIME }, { MS_NOSYMFOLLOW, SYS_ATTR_NOSYMFOLLOW },
                { MS_NOATIME, SYS_ATTR_NOATIME },       { MS_STRICTATIME, SYS_ATTR_STRICTATIME },
        };
        uint64_t attr = 0;

        for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
                if (flags & map[i].flag)
                        attr |= map[i].attr;
        return attr;
}

/* "mode=700", "context=\"a,b\"", "inode64" */
static int set_option(int fs, const char *text, size_t len) {
        char option[MAX_OPTION], *value;
        size_t n;

        if (len == 0)
                return 0;
        if (len >= sizeof(option))
                return -ENAMETOOLONG;
        memcpy(option, text, len);
        option[len] = '\0';
        value = strchr(option, '=');
        if (!value)
                return sys_fsconfig(fs, SYS_FSCONFIG_SET_FLAG, option, NULL) < 0 ? -errno : 0;
        *value++ = '\0';
        n = strlen(value);
        if (n >= 2 && *value == '"' && value[n - 1] == '"') {
                value[n - 1] = '\0';
                value++;
        }
        return sys_fsconfig(fs, SYS_FSCONFIG_SET_STRING, option, value) < 0 ? -errno : 0;
}

static int set_options(int fs, const char *data) {
        bool quoted = false;
        size_t n = 0;
        int r = 0;

        for (; r == 0; n++) {
                quoted ^= data[n] == '"';
                if (data[n] && (data[n] != ',' || quoted))
                        continue;
                r = set_option(fs, data, n);
                if (!data[n])
                        break;
                data += n + 1;
                n = (size_t) -1;
        }
        return r;
}

static int make_tmpfs(const char *data, unsigned long flags) {
        int fs = sys_fsopen("tmpfs"), fd = -1, r = fs < 0 ? -errno : set_options(fs, data);

        if (r == 0 && sys_fsconfig(fs, SYS_FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
                r = -errno;
        if (r == 0) {
                fd = sys_fsmount(fs, (unsigned) attributes(flags));
                r = fd < 0 ? -errno : 0;
        }
        (void) close_and(fs, 0);
        return r < 0 ? r : fd;
}

/* --- the copy ------------------------------------------------------------------------------------------------------
 */

struct copy {
        char *chunk, *names, *value; /* CHUNK, MAX_XATTR, MAX_XATTR */
        char last[256];
};

/* @from, @to: opened for reading. What tmpfs, or a user namespace, can't have is left out. */
static int copy_xattrs(struct copy *c, int from, int to) {
        ssize_t n = flistxattr(from, c->names, MAX_XATTR), len;

        if (n < 0)
                return errno == ENOTSUP ? 0 : -errno;
        for (const char *name = c->names; name < c->names + n; name += strlen(name) + 1) {
                if (strncmp(name, "trusted.overlay.", 16) == 0 || strncmp(name, "user.overlay.", 13) == 0)
                        continue;
                len = fgetxattr(from, name, c->value, MAX_XATTR);
                if (len < 0 && errno != ENODATA && errno != ENOTSUP)
                        return -errno;
                if (len >= 0 && fsetxattr(to, name, c->value, (size_t) len, 0) < 0 && errno != ENOTSUP &&
                    errno != EPERM)
                        return -errno;
        }
        return 0;
}

static int write_all(int fd, const char *data, size_t n) {
        while (n) {
                ssize_t w = write(fd, data, n);

                if (w < 0 && errno == EINTR)
                        continue;
                if (w < 0)
                        return -errno;
                data += w;
                n -= (size_t) w;
        }
        return 0;
}

static int copy_content(struct copy *c, int from, int to) {
        ssize_t n;
        int r = 0;

        while (r == 0 && (n = read(from, c->chunk, CHUNK)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                r = n < 0 ? -errno : write_all(to, c->chunk, (size_t) n);
        }
        return r;
}

static int set_times(int dir, const char *name, const struct stat *st) {
        const struct timespec times[2] = { st->st_atim, st->st_mtim };

        return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* The owner first: it clears set-id bits. An id that a user namespace has none for stays root's. */
static int set_owner_and_mode(int fd, const struct stat *st) {
        if (fchown(fd, st->st_uid, st->st_gid) < 0 && errno != EINVAL)
                return -errno;
        return fchmod(fd, st->st_mode & 07777) < 0 ? -errno : 0;
}

static int copy_file(struct copy *c, int from_dir, int to_dir, const char *name) {
        int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), to = -1, r = 0;
        struct stat st;

        if (from < 0 || fstat(from, &st) < 0)
                return close_and(from, -errno);
        if (!S_ISREG(st.st_mode)) /* replaced meanwhile */
                return close_and(from, 0);
        to = openat(to_dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (to < 0)
                r = -errno;
        if (r == 0)
                r = copy_content(c, from, to);
        if (r == 0)
                r = set_owner_and_mode(to, &st);
        if (r == 0)
                r = copy_xattrs(c, from, to);
        if (r == 0)
                r = set_times(to_dir, name, &st);
        (void) close_and(to, 0);
        return close_and(from, r);
}

static int copy_link(int from_dir, int to_dir, const char *name, const struct stat *st) {
        char target[MAX_LINK];
        ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);

        if (n < 0)
                return -errno;
        target[n] = '\0';
        if (symlinkat(target, to_dir, name) < 0)
                return -errno;
        if (fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL)
                return -errno;
        return set_times(to_dir, name, st);
}

/* A user namespace makes no devices; who copies its folder there has no use for them. */
static int copy_node(int to_dir, const char *name, const struct stat *st) {
        if (mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0)
                return errno == EPERM ? 0 : -errno;
        if (fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL)
                return -errno;
        return fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0 ? -errno : 0; /* just made by us: no link */
}

static int copy_folder(struct copy *c, int from, int to, int depth);

static int copy_subfolder(struct copy *c, int from_dir, int to_dir, const char *name, int depth) {
        int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), to = -1, r = 0;
        struct stat st;

        if (from < 0 || fstat(from, &st) < 0)
                return close_and(from, -errno);
        if (mkdirat(to_dir, name, 0700) < 0)
                return close_and(from, -errno);
        to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (to < 0)
                r = -errno;
        if (r == 0)
                r = copy_folder(c, from, to, depth + 1);
        if (r == 0)
                r = set_owner_and_mode(to, &st);
        if (r == 0)
                r = copy_xattrs(c, from, to);
        if (r == 0)
                r = set_times(to_dir, name, &st);
        (void) close_and(to, 0);
        return close_and(from, r);
}

static int copy_entry(struct copy *c, int from, int to, const char *name, int depth) {
        struct stat st;

        if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (S_ISDIR(st.st_mode))
                return copy_subfolder(c, from, to, name, depth);
        if (S_ISREG(st.st_mode))
                return copy_file(c, from, to, name);
        if (S_ISLNK(st.st_mode))
                return copy_link(from, to, name, &st);
        return S_ISSOCK(st.st_mode) ? 0 : copy_node(to, name, &st);
}

static int copy_folder(struct copy *c, int from, int to, int depth) {
        int fd = depth > COPYUP_MAX_DEPTH ? -1 : openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        if (!d)
                return close_and(fd, depth > COPYUP_MAX_DEPTH ? -ENAMETOOLONG : -errno);
        for (errno = 0; r == 0 && (entry = readdir(d)); errno = 0) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                r = copy_entry(c, from, to, entry->d_name, depth);
                if (r < 0 && !c->last[0])
                        (void) text_join(c->last, sizeof(c->last), "", entry->d_name);
        }
        if (r == 0 && errno)
                r = -errno;
        (void) closedir(d);
        return r;
}

static bool has_option(const char *data, const char *name) {
        size_t n = strlen(name);

        for (const char *p = data; (p = strstr(p, name)); p += n)
                if ((p == data || p[-1] == ',') && p[n] == '=')
                        return true;
        return false;
}

/* What the options don't say is as below. */
static int copy_root(struct copy *c, int from, int to, const char *data) {
        uid_t uid = (uid_t) -1;
        gid_t gid = (gid_t) -1;
        struct stat st;

        if (fstat(from, &st) < 0)
                return -errno;
        if (!has_option(data, "uid"))
                uid = st.st_uid;
        if (!has_option(data, "gid"))
                gid = st.st_gid;
        if (fchown(to, uid, gid) < 0 && errno != EINVAL)
                return -errno;
        if (!has_option(data, "mode") && fchmod(to, st.st_mode & 07777) < 0)
                return -errno;
        return copy_xattrs(c, from, to);
}

static int copy_all(int folder_fd, int tree, const char *data, struct copy *c) {
        int from = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
            to = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = from < 0 || to < 0 ? -errno : 0;

        c->chunk = malloc(CHUNK + 2 * MAX_XATTR);
        if (r == 0 && !c->chunk)
                r = -ENOMEM;
        if (r == 0) {
                c->names = c->chunk + CHUNK;
                c->value = c->names + MAX_XATTR;
                r = copy_folder(c, from, to, 0);
        }
        if (r == 0)
                r = copy_root(c, from, to, data);
        free(c->chunk);
        (void) close_and(from, 0);
        return close_and(to, r);
}

int copyup_tmpfs(int folder_fd, const char *data, unsigned long flags, struct plan_error *e) {
        int tree = make_tmpfs(data, flags & ~(unsigned long) MS_RDONLY), r;
        struct sys_mount_attr readonly = { .set = SYS_ATTR_RDONLY };
        struct copy c = { 0 };

        if (tree < 0)
                return fail_set(e, -tree, "make a tmpfs", NULL);
        r = copy_all(folder_fd, tree, data, &c);
        if (r == 0 && (flags & MS_RDONLY) && sys_mount_setattr(tree, 0, &readonly) < 0)
                r = -errno;
        if (r == 0)
                return tree;
        return close_and(tree, fail_set(e, -r, "copy \"", c.last, "\" into the new tmpfs", NULL));
}
