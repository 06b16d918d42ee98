/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-cache - see seccomp-cache.h. A file: the header, the instructions, the key, the library's path. */
#include "oci/seccomp-cache.h"

#include <config.h> /* of the build */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/strbuf.h"

enum { FILE_MAX = 4 << 20, NAME_SIZE = 24 };
#define MAGIC 0x31666c4670634373ULL

struct identity { /* of a file */
        uint64_t dev, ino, size, mtime_ns;
};

struct header {
        uint64_t magic;
        struct identity library;
        uint32_t n, flags, notify;
        uint32_t key_len, path_len, reserved;
};

static bool identify(const char *path, struct identity *ret) {
        struct stat st;

        if (stat(path, &st) < 0)
                return false;
        *ret = (struct identity){ (uint64_t) st.st_dev, (uint64_t) st.st_ino, (uint64_t) st.st_size,
                                  (uint64_t) st.st_mtim.tv_sec * 1000000000 + (uint64_t) st.st_mtim.tv_nsec };
        return true;
}

/* The text, and what else the filter depends on. */
static char *make_key(const char *text) {
        struct utsname u;

        (void) uname(&u);
        return xprintf("%s %s %s %s\n%s", PROJECT_VERSION, u.machine, u.release, u.version, text);
}

/* Which of the files it may be; the key in it decides. */
static void make_name(const char *key, char ret[NAME_SIZE]) {
        uint64_t h = 14695981039346656037ull;

        for (const char *p = key; *p; p++)
                h = (h ^ (unsigned char) *p) * 1099511628211ull;
        (void) snprintf(ret, NAME_SIZE, "%016llx.bpf", (unsigned long long) h);
}

static bool is_ours(const struct stat *st) {
        return st->st_uid == geteuid() && !(st->st_mode & 022);
}

/* -1: there is none, or not one to believe. */
static int open_folder(const char *root, bool make) {
        _cleanup_(freep) char *path = xprintf("%s/" SECCOMP_CACHE_FOLDER, root);
        struct stat st;
        int fd;

        if (make)
                (void) mkdir(path, 0700);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && (fstat(fd, &st) < 0 || !is_ours(&st)))
                fd = fd_close(fd);
        return fd;
}

static void *read_file(int folder, const char *name, struct arena *arena, size_t *ret_len) {
        _cleanup_(fd_closep) int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;
        void *data;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !is_ours(&st) || st.st_size > FILE_MAX ||
            st.st_size < (off_t) sizeof(struct header))
                return NULL;
        data = arena_alloc(arena, (size_t) st.st_size);
        if (!data || read(fd, data, (size_t) st.st_size) != st.st_size)
                return NULL;
        *ret_len = (size_t) st.st_size;
        return data;
}

/* Does what is in the file fit the key, and the library that would be used today? */
static bool fits(const struct header *h, size_t len, const char *key) {
        const size_t key_len = strlen(key), insns = h->n * sizeof(struct sock_filter);
        const char *in_file = (const char *) (h + 1) + insns, *path = in_file + h->key_len;
        struct identity library;

        if (h->magic != MAGIC || h->n == 0 || h->n > BPF_MAXINSNS || h->key_len != key_len || h->path_len == 0 ||
            len != sizeof(*h) + insns + h->key_len + h->path_len || memcmp(in_file, key, key_len) != 0 ||
            path[h->path_len - 1] != '\0')
                return false;
        return identify(path, &library) && memcmp(&library, &h->library, sizeof(library)) == 0;
}

bool seccomp_cache_find(const char *root, const char *text, struct arena *arena, struct seccomp_cached *ret) {
        _cleanup_(fd_closep) int folder = open_folder(root, false);
        _cleanup_(freep) char *key = NULL;
        const struct header *h;
        char name[NAME_SIZE];
        size_t len;

        if (folder < 0)
                return false;
        key = make_key(text);
        make_name(key, name);
        h = read_file(folder, name, arena, &len);
        if (!h || !fits(h, len, key))
                return false;
        *ret = (struct seccomp_cached){
                .insns = (const struct sock_filter *) (h + 1), .n = h->n, .flags = h->flags, .notify = h->notify
        };
        return true;
}

/* --- writing -------------------------------------------------------------------------------------------------------
 */

static bool is_older(const struct stat *a, const struct stat *b) {
        return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec < b->st_mtim.tv_sec
                                                      : a->st_mtim.tv_nsec < b->st_mtim.tv_nsec;
}

/* Also what writers left that were killed. */
static bool remove_oldest(int folder) {
        int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
        char oldest[NAME_MAX + 1] = "";
        struct stat st, first = { 0 };
        struct dirent *e;
        size_t n = 0;

        if (!d)
                return fd_close(fd), false;
        while ((e = readdir(d))) {
                if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") ||
                    fstatat(folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                if (n++ == 0 || is_older(&st, &first)) {
                        first = st;
                        (void) snprintf(oldest, sizeof(oldest), "%s", e->d_name);
                }
        }
        return n > SECCOMP_CACHE_MAX_FILES && unlinkat(folder, oldest, 0) == 0;
}

void seccomp_cache_put(const char *root, const char *text, const char *library, const struct seccomp_cached *filter) {
        _cleanup_(fd_closep) int folder = open_folder(root, true);
        struct header h = { .magic = MAGIC, .n = (uint32_t) filter->n, .flags = filter->flags };
        _cleanup_strbuf_ struct strbuf b = STRBUF(FILE_MAX);
        _cleanup_(freep) char *key = NULL;
        char name[NAME_SIZE];
        struct err ignored;

        if (folder < 0 || !identify(library, &h.library))
                return;
        key = make_key(text);
        make_name(key, name);
        h.notify = filter->notify;
        h.key_len = (uint32_t) strlen(key);
        h.path_len = (uint32_t) strlen(library) + 1;
        strbuf_append(&b, &h, sizeof(h));
        strbuf_append(&b, filter->insns, filter->n * sizeof(*filter->insns));
        strbuf_append(&b, key, h.key_len);
        strbuf_append(&b, library, h.path_len);
        if (!b.overflow && fs_write_atomic(folder, name, b.data, b.len, 0600, false, &ignored) == 0)
                while (remove_oldest(folder))
                        ;
}
