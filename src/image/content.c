/* SPDX-License-Identifier: Apache-2.0 */
#include "image/content.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "image/ref.h"

enum { READ_BYTES = 256 * 1024 };

struct content {
        int dirfd;                         /* blobs/sha256 */
        bool (*make_room)(void *userdata); /* NULL: nobody does */
        void *room_userdata;
};

int content_new(const char *root, struct content **ret, struct err *err) {
        char path[4096];
        int fd, r;

        if (snprintf(path, sizeof(path), "%s/blobs/sha256", root) >= (int) sizeof(path))
                return err_set(err, ERR_INVALID, "the root folder's name is too long");
        r = fs_mkdir_p(path, 0700, err);
        if (r < 0)
                return r;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return err_sys(err, errno, "open %s", path);
        *ret = xnew(struct content);
        (*ret)->dirfd = fd;
        return 0;
}

struct content *content_free(struct content *c) {
        if (!c)
                return NULL;
        (void) fd_close(c->dirfd);
        free(c);
        return NULL;
}

/* File name of @digest; NULL for what is no digest, which then leads nowhere. */
static const char *name_of(const char *digest) {
        return digest_is_valid(digest) ? digest + strlen("sha256:") : NULL;
}

int content_dirfd(const struct content *c) {
        return c->dirfd;
}

void content_set_room(struct content *c, bool (*make_room)(void *userdata), void *userdata) {
        c->make_room = make_room;
        c->room_userdata = userdata;
}

bool content_make_room(struct content *c, int error) {
        return c && c->make_room && (error == ENOSPC || error == EDQUOT) && c->make_room(c->room_userdata);
}

int content_write(struct content *c, int fd, const void *data, size_t len) {
        off_t start = lseek(fd, 0, SEEK_CUR), at;
        int r = fs_write_all(fd, data, len);

        if (r == 0 || !content_make_room(c, -r))
                return r;
        at = lseek(fd, 0, SEEK_CUR);
        if (start < 0 || at < start || (size_t) (at - start) > len)
                return r;
        return fs_write_all(fd, (const char *) data + (at - start), len - (size_t) (at - start));
}

static bool look_at(struct content *c, const char *digest, struct stat *ret) {
        const char *name = name_of(digest);

        return name && fstatat(c->dirfd, name, ret, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(ret->st_mode);
}

bool content_has(struct content *c, const char *digest, uint64_t size) {
        struct stat st;

        return look_at(c, digest, &st) && (uint64_t) st.st_size == size;
}

uint64_t content_size(struct content *c, const char *digest) {
        struct stat st;

        return look_at(c, digest, &st) ? (uint64_t) st.st_size : 0;
}

int content_open(struct content *c, const char *digest, uint64_t size, int *ret_fd, struct err *err) {
        const char *name = name_of(digest);
        int fd = name ? openat(c->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
        struct stat st;

        if (fd >= 0 && fstat(fd, &st) == 0 && (uint64_t) st.st_size == size) {
                *ret_fd = fd;
                return 0;
        }
        (void) fd_close(fd);
        return err_set(err, ERR_NOT_FOUND, "blob %.80s is not kept here", digest);
}

/* Is what the file has @digest's? 0, or -errno: EBADMSG when not. @write_again: and writes it again meanwhile. */
static int read_through(int fd, const char *digest, bool write_again) {
        _cleanup_(freep) uint8_t *buf = xcalloc(1, READ_BYTES);
        EVP_MD_CTX *hash = EVP_MD_CTX_new();
        unsigned char md[EVP_MAX_MD_SIZE];
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        unsigned len = 0;
        ssize_t n;
        int r = 0;

        if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
                abort();
        for (off_t at = 0; r == 0 && (n = pread(fd, buf, READ_BYTES, at)) != 0; at += n) {
                if (n < 0 || (write_again && pwrite(fd, buf, (size_t) n, at) != n))
                        r = -(errno ?: EIO);
                else if (EVP_DigestUpdate(hash, buf, (size_t) n) != 1)
                        abort();
        }
        if (EVP_DigestFinal_ex(hash, md, &len) != 1)
                abort();
        EVP_MD_CTX_free(hash);
        hex_encode(md, len, hex);
        return r == 0 && !str_eq(hex, name_of(digest)) ? -EBADMSG : r;
}

bool content_is_sound(struct content *c, const char *digest, uint64_t size) {
        _cleanup_(fd_closep) int fd = -1;
        struct err err;

        return content_open(c, digest, size, &fd, &err) == 0 && read_through(fd, digest, false) == 0;
}

/* What could not be written by then counts as written: a second try alone would only look like a success. */
int content_sync(struct content *c, int fd, const char *digest) {
        int r = fdatasync(fd) < 0 ? -errno : 0;

        if (r == 0 || !content_make_room(c, -r))
                return r;
        r = read_through(fd, digest, true);
        return r == 0 && fdatasync(fd) < 0 ? -errno : r;
}

int content_put(struct content *c, const char *digest, const void *data, size_t len, struct err *err) {
        char have[DIGEST_LEN + 1];
        const char *name = name_of(digest);

        digest_of(data, len, have);
        if (!name || !str_eq(have, digest))
                return err_set(err, ERR_DATA_LOSS, "the content's digest is %s, not %.80s", have, digest);
        if (faccessat(c->dirfd, name, F_OK, 0) == 0)
                return 0;
        if (fs_write_atomic(c->dirfd, name, data, len, 0600, true, err) == 0)
                return 0;
        return content_make_room(c, err->sys_errno) ? fs_write_atomic(c->dirfd, name, data, len, 0600, true, err)
                                                    : -(int) err->code;
}

bool content_read(struct content *c, const char *digest, size_t max, char **ret, size_t *ret_len) {
        _cleanup_(freep) char *data = NULL;
        char have[DIGEST_LEN + 1];
        const char *name = name_of(digest);
        struct err err;
        size_t len;

        if (!name || fs_read_file(c->dirfd, name, max, &data, &len, &err) < 0)
                return false;
        digest_of(data, len, have);
        if (!str_eq(have, digest)) {
                log_warn("removed a damaged blob", "digest", digest, NULL);
                (void) unlinkat(c->dirfd, name, 0);
                return false;
        }
        *ret = TAKE_PTR(data);
        *ret_len = len;
        return true;
}

int content_remove(struct content *c, const char *digest, struct err *err) {
        const char *name = name_of(digest);

        if (name && unlinkat(c->dirfd, name, 0) < 0 && errno != ENOENT)
                return err_sys(err, errno, "remove blob %s", digest);
        return 0;
}

int content_sweep(struct content *c, bool (*keep)(const char *digest, void *userdata), void *userdata,
                  struct err *err) {
        _cleanup_(closedirp) DIR *d = NULL;
        char digest[DIGEST_LEN + 1];
        const struct dirent *e;
        int fd = openat(c->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return err_sys(err, errno, "open the folder of blobs");
        d = fdopendir(fd);
        if (!d) {
                (void) fd_close(fd);
                return err_sys(err, errno, "read the folder of blobs");
        }
        while ((errno = 0, e = readdir(d))) {
                if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                (void) snprintf(digest, sizeof(digest), "sha256:%.64s", e->d_name);
                if ((strlen(e->d_name) == 64 && keep(digest, userdata)) || str_ends_with(e->d_name, ".part"))
                        continue;
                if (strlen(e->d_name) == 64 && digest_is_valid(digest))
                        content_retire(c, digest);
                else if (unlinkat(c->dirfd, e->d_name, 0) < 0 && errno != ENOENT)
                        return err_sys(err, errno, "remove blob %.64s", e->d_name);
        }
        if (errno)
                return err_sys(err, errno, "read the folder of blobs");
        content_trim_parts(c);
        return 0;
}
