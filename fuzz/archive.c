/* SPDX-License-Identifier: Apache-2.0 */
/* archive - any bytes as an archive of images in a file: its files are found and read, by the names that "docker save"
 * and OCI layouts have and by those that the first bytes say, and lie inside it. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "image/archive.h"

enum { SPOOL_MAX = 1 << 20, NAME_MAX_LEN = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const struct archive *a, const char *name) {
        _cleanup_(archive_file_done) struct archive_file f = { .fd = -1 };
        _cleanup_(freep) char *text = NULL;
        enum inflate_kind kind;
        struct err err;
        struct stat st;
        size_t len;
        bool found = archive_find(a, name, &f, &err) == 0;

        assert(found == archive_has(a, name));
        if (!found)
                return;
        assert(fstat(f.fd, &st) == 0 && f.offset <= (uint64_t) st.st_size &&
               f.size <= (uint64_t) st.st_size - f.offset);
        assert(archive_compression(&f, &kind, &err) == 0 || err.code == ERR_UNIMPLEMENTED);
        assert(archive_read(a, name, SPOOL_MAX, &text, &len, &err) == 0 ? len == f.size : err.code == ERR_EXHAUSTED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const names[] = { "index.json", "manifest.json", "oci-layout", "a", "a/b", "" };
        _cleanup_(fd_closep) int fd = memfd_create("archive", MFD_CLOEXEC), tmp = open("/tmp", O_PATH | O_CLOEXEC);
        const struct archive_args args = { .fd = fd, .spool_dirfd = tmp, .max_bytes = SPOOL_MAX, .cancel_fd = -1 };
        _cleanup_(archive_freep) struct archive *a = NULL;
        char name[NAME_MAX_LEN + 1] = { 0 };
        struct err err;

        assert(fd >= 0 && tmp >= 0);
        if (size < NAME_MAX_LEN)
                return 0;
        memcpy(name, data, NAME_MAX_LEN);
        data += NAME_MAX_LEN;
        size -= NAME_MAX_LEN;
        assert(write(fd, data, size) == (ssize_t) size && lseek(fd, 0, SEEK_SET) == 0);
        if (archive_open(&args, &a, &err) < 0)
                return 0;
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                look_up(a, names[i]);
        look_up(a, name);
        return 0;
}
