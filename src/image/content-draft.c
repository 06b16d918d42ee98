/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs whose digest is known once they are written. Without a name until then: a crash leaves nothing. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/content.h"
#include "image/ref.h"

struct content_draft {
        struct content *content; /* borrowed, as is dirfd */
        int dirfd, fd;
        char name[40]; /* until it has its own, where the file system has no O_TMPFILE; else "" */
        EVP_MD_CTX *hash;
        uint64_t size;
};

/* A start removes what is left under such a name. */
static void choose_name(struct content_draft *d) {
        static atomic_uint number;

        (void) snprintf(d->name, sizeof(d->name), "draft-%ld-%u", (long) getpid(), atomic_fetch_add(&number, 1));
}

static int open_named(struct content_draft *d) {
        choose_name(d);
        return openat(d->dirfd, d->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int open_file(struct content_draft *d) {
        int fd = openat(d->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        return fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR) ? fd : open_named(d);
}

int content_draft_new(struct content *c, struct content_draft **ret, struct err *err) {
        struct content_draft *d = xnew(struct content_draft);

        d->content = c;
        d->dirfd = content_dirfd(c);
        d->fd = open_file(d);
        if (d->fd < 0 && content_make_room(c, errno))
                d->fd = open_file(d);
        if (d->fd < 0) {
                (void) err_sys(err, errno, "make a file for a blob");
                free(d);
                return -(int) err->code;
        }
        d->hash = EVP_MD_CTX_new();
        if (!d->hash || EVP_DigestInit_ex(d->hash, EVP_sha256(), NULL) != 1)
                abort();
        *ret = d;
        return 0;
}

int content_draft_write(struct content_draft *d, const void *data, size_t len, struct err *err) {
        int r = content_write(d->content, d->fd, data, len);

        if (r < 0)
                return err_sys(err, -r, "write a blob");
        d->size += len;
        if (EVP_DigestUpdate(d->hash, data, len) != 1)
                abort();
        return 0;
}

void content_draft_end(struct content_draft *d, char ret_digest[], uint64_t *ret_size) {
        unsigned char md[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        if (EVP_DigestFinal_ex(d->hash, md, &n) != 1)
                abort();
        memcpy(ret_digest, "sha256:", strlen("sha256:"));
        hex_encode(md, n, ret_digest + strlen("sha256:"));
        *ret_size = d->size;
}

static int link_draft(struct content_draft *d) {
        char path[40];

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", d->fd);
        choose_name(d);
        if (linkat(AT_FDCWD, path, d->dirfd, d->name, AT_SYMLINK_FOLLOW) == 0)
                return 0;
        d->name[0] = '\0';
        return -1;
}

/* In the place of one that is there, too: what a pull has left may be damaged, or not on disk. */
static int give_name(struct content_draft *d, const char *name) {
        if (!d->name[0] && link_draft(d) < 0)
                return -1;
        return renameat(d->dirfd, d->name, d->dirfd, name);
}

int content_draft_commit(struct content_draft *d, const char *digest, struct err *err) {
        const char *name = digest + strlen("sha256:");
        int r = content_sync(d->content, d->fd, digest);

        if (r < 0)
                return err_sys(err, -r, "sync blob %s", digest);
        r = give_name(d, name);
        if (r < 0 && content_make_room(d->content, errno))
                r = give_name(d, name);
        if (r < 0)
                return err_sys(err, errno, "name blob %s", digest);
        d->name[0] = '\0';
        return fsync(d->dirfd) < 0 ? err_sys(err, errno, "sync the folder of blobs") : 0;
}

struct content_draft *content_draft_free(struct content_draft *d) {
        if (!d)
                return NULL;
        if (d->name[0])
                (void) unlinkat(d->dirfd, d->name, 0);
        (void) fd_close(d->fd);
        EVP_MD_CTX_free(d->hash);
        free(d);
        return NULL;
}
