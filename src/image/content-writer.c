/* SPDX-License-Identifier: Apache-2.0 */
/* Big blobs, written as they come: HEX.part, locked by who writes it, then renamed. What a killed daemon or a broken
 * transfer left of one is where the next try goes on. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/content.h"
#include "image/ref.h"

enum {
        PARTS_MAX = 16,             /* left behind at once */
        PART_AGE_MAX_S = 24 * 3600, /* and so long */
        PART_MIN = 1024 * 1024,     /* less is not worth keeping */
};
static const uint64_t parts_bytes_max = 8ull << 30;

/* Held while a part is found and locked, named or removed, so that the file that is locked is the one of that name. */
static pthread_mutex_t parts_lock = PTHREAD_MUTEX_INITIALIZER;

struct content_writer {
        struct content *content; /* borrowed, as is dirfd */
        int dirfd, fd;
        char name[64 + sizeof(".part")];
        const char *digest; /* borrowed */
        uint64_t size, done;
        EVP_MD_CTX *hash; /* NULL: the caller checks */
};

static int open_part(struct content_writer *w, bool resume, struct err *err) {
        struct stat st;
        int fd = openat(w->dirfd, w->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
                return err_sys(err, errno, "make a file for blob %s", w->digest);
        w->fd = fd;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0)
                return err_set(err, ERR_EXISTS, "blob %s is being written by somebody else", w->digest);
        if (resume && st.st_size > 0 && (uint64_t) st.st_size <= w->size) {
                w->done = (uint64_t) st.st_size;
                if (lseek(fd, st.st_size, SEEK_SET) >= 0)
                        return 0;
        }
        w->done = 0;
        /* ext4 takes any truncation to nothing for a sign that the file is to be on disk when it is closed. */
        return st.st_size > 0 && ftruncate(fd, 0) < 0 ? err_sys(err, errno, "empty the file of blob %s", w->digest) : 0;
}

static int find_part(struct content_writer *w, bool resume, struct err *err) {
        int r;

        (void) pthread_mutex_lock(&parts_lock);
        r = open_part(w, resume, err);
        (void) pthread_mutex_unlock(&parts_lock);
        return r;
}

int content_writer_new(struct content *c, const char *digest, uint64_t size, bool resume, struct content_writer **ret,
                       uint64_t *ret_have, struct err *err) {
        struct content_writer *w;
        int r;

        if (!digest_is_valid(digest))
                return err_set(err, ERR_INVALID, "\"%.80s\" is no digest", digest);
        w = xnew(struct content_writer);
        w->content = c;
        w->dirfd = content_dirfd(c);
        w->fd = -1;
        w->digest = digest;
        w->size = size;
        (void) snprintf(w->name, sizeof(w->name), "%s.part", digest + strlen("sha256:"));
        r = find_part(w, resume, err);
        if (r < 0 && w->fd < 0 && !resume && content_make_room(c, err->sys_errno))
                r = find_part(w, resume, err);
        if (r < 0) {
                (void) fd_close(w->fd);
                free(w);
                return r;
        }
        if (!resume) {
                w->hash = EVP_MD_CTX_new();
                if (!w->hash || EVP_DigestInit_ex(w->hash, EVP_sha256(), NULL) != 1)
                        abort();
        }
        *ret_have = w->done;
        *ret = w;
        return 0;
}

int content_writer_fd(const struct content_writer *w) {
        return w->fd;
}

int content_writer_write(struct content_writer *w, const void *data, size_t len, struct err *err) {
        int r;

        if (len > w->size - w->done)
                return err_set(err, ERR_DATA_LOSS, "blob %s has more than the %llu bytes that were promised", w->digest,
                               (unsigned long long) w->size);
        r = content_write(w->hash ? w->content : NULL, w->fd, data, len);
        if (r < 0)
                return err_sys(err, -r, "write blob %s", w->digest);
        w->done += len;
        if (w->hash && EVP_DigestUpdate(w->hash, data, len) != 1)
                abort();
        return 0;
}

static int check(struct content_writer *w, struct err *err) {
        unsigned char md[EVP_MAX_MD_SIZE];
        char have[2 * EVP_MAX_MD_SIZE + 1];
        unsigned n = 0;

        if (w->done != w->size)
                return err_set(err, ERR_DATA_LOSS, "blob %s has %llu bytes, not the %llu that were promised", w->digest,
                               (unsigned long long) w->done, (unsigned long long) w->size);
        if (!w->hash)
                return 0;
        if (EVP_DigestFinal_ex(w->hash, md, &n) != 1)
                abort();
        hex_encode(md, n, have);
        return str_eq(have, w->digest + strlen("sha256:"))
                       ? 0
                       : err_set(err, ERR_DATA_LOSS, "the blob's digest is sha256:%s, not %s", have, w->digest);
}

static int rename_part(struct content_writer *w) {
        int r;

        (void) pthread_mutex_lock(&parts_lock);
        r = renameat(w->dirfd, w->name, w->dirfd, w->digest + strlen("sha256:"));
        (void) pthread_mutex_unlock(&parts_lock);
        return r;
}

int content_writer_commit(struct content_writer *w, bool durable, struct err *err) {
        int r = check(w, err);

        if (r < 0)
                return r;
        if (durable && (r = content_sync(w->content, w->fd, w->digest)) < 0)
                return err_sys(err, -r, "sync blob %s", w->digest);
        if (rename_part(w) < 0)
                return err_sys(err, errno, "name blob %s", w->digest);
        if (durable && fsync(w->dirfd) < 0)
                return err_sys(err, errno, "sync the folder of blobs");
        w->name[0] = '\0';
        return 0;
}

static bool is_written(int dirfd, const char *name) {
        _cleanup_(fd_closep) int fd = openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

        return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

void content_forget_part(struct content *c, const char *digest) {
        char name[64 + sizeof(".part")];

        if (!digest_is_valid(digest))
                return;
        (void) snprintf(name, sizeof(name), "%s.part", digest + strlen("sha256:"));
        (void) pthread_mutex_lock(&parts_lock);
        if (!is_written(content_dirfd(c), name))
                (void) unlinkat(content_dirfd(c), name, 0);
        (void) pthread_mutex_unlock(&parts_lock);
}

static DIR *open_list(int dirfd) {
        int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);

        if (!d)
                (void) fd_close(fd);
        return d;
}

/* The next of those that nobody writes. */
static const char *next_part(DIR *d, int dirfd, struct stat *ret) {
        const struct dirent *e;

        while (d && (e = readdir(d)))
                if (strlen(e->d_name) < 80 && str_ends_with(e->d_name, ".part") &&
                    fstatat(dirfd, e->d_name, ret, AT_SYMLINK_NOFOLLOW) == 0 && !is_written(dirfd, e->d_name))
                        return e->d_name;
        return NULL;
}

/* Which goes next: one that is too small, or when too many or too much of them is here, the
 * oldest. */
static bool part_to_drop(int dirfd, char ret[80]) {
        _cleanup_(closedirp) DIR *d = open_list(dirfd);
        uint64_t bytes = 0;
        const char *name;
        size_t n = 0;
        struct stat st;
        time_t oldest = 0;

        ret[0] = '\0';
        while ((name = next_part(d, dirfd, &st))) {
                if (st.st_size < PART_MIN) {
                        (void) snprintf(ret, 80, "%.79s", name);
                        return true;
                }
                n++;
                bytes += (uint64_t) st.st_size;
                if (!ret[0] || st.st_mtime < oldest) {
                        (void) snprintf(ret, 80, "%.79s", name);
                        oldest = st.st_mtime;
                }
        }
        return n > PARTS_MAX || bytes > parts_bytes_max || (n > 0 && time(NULL) - oldest > PART_AGE_MAX_S);
}

void content_trim_parts(struct content *c) {
        int dirfd = content_dirfd(c);
        char name[80];

        (void) pthread_mutex_lock(&parts_lock);
        while (part_to_drop(dirfd, name) && unlinkat(dirfd, name, 0) == 0)
                ;
        (void) pthread_mutex_unlock(&parts_lock);
}

uint64_t content_drop_parts(struct content *c, bool dry_run, size_t *ret_n) {
        int dirfd = content_dirfd(c);
        _cleanup_(closedirp) DIR *d = NULL;
        uint64_t bytes = 0;
        const char *name;
        struct stat st;

        *ret_n = 0;
        (void) pthread_mutex_lock(&parts_lock);
        d = open_list(dirfd);
        while ((name = next_part(d, dirfd, &st))) {
                if (!dry_run && unlinkat(dirfd, name, 0) < 0)
                        continue;
                bytes += (uint64_t) st.st_blocks * 512;
                ++*ret_n;
        }
        (void) pthread_mutex_unlock(&parts_lock);
        return bytes;
}

void content_retire(struct content *c, const char *digest) {
        char part[64 + sizeof(".part")];
        int dirfd = content_dirfd(c);
        const char *name;

        if (!digest_is_valid(digest))
                return;
        name = digest + strlen("sha256:");
        (void) snprintf(part, sizeof(part), "%s.part", name);
        (void) pthread_mutex_lock(&parts_lock);
        if (is_written(dirfd, part) || renameat(dirfd, name, dirfd, part) < 0)
                (void) unlinkat(dirfd, name, 0);
        (void) pthread_mutex_unlock(&parts_lock);
        content_trim_parts(c);
}

struct content_writer *content_writer_free(struct content_writer *w, bool keep_part) {
        bool keep;

        if (!w)
                return NULL;
        keep = keep_part && w->done >= PART_MIN && !w->hash;
        (void) pthread_mutex_lock(&parts_lock);
        if (w->name[0] && !keep)
                (void) unlinkat(w->dirfd, w->name, 0);
        (void) fd_close(w->fd);
        (void) pthread_mutex_unlock(&parts_lock);
        if (w->name[0] && keep)
                content_trim_parts(w->content);
        EVP_MD_CTX_free(w->hash);
        free(w);
        return NULL;
}
