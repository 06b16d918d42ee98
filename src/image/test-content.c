/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs that are made here ask for room however the disk says that it is full: no file can be made, or nothing is said
 * until it is synced. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/str.h"
#include "image/content.h"
#include "image/ref.h"
#include "image/test-layer-kit.h"

enum { FILES_MAX = 64 };

static char root[64], digest[DIGEST_LEN + 1];
static const char data[] = "what is written";
static struct content *content;
static unsigned asked;

/* --- a sync that fails, in place of libc's ------------------------------------------------------------------------ */

static int sync_error;
static bool sync_loses;

int fdatasync(int fd) {
        if (sync_error == 0)
                return (int) syscall(SYS_fdatasync, fd);
        if (sync_loses)
                assert(pwrite(fd, "X", 1, 0) == 1);
        errno = sync_error;
        return -1;
}

static bool let_sync(void *userdata) {
        asked++;
        sync_error = 0;
        return true;
}

/* --- all files are taken ------------------------------------------------------------------------------------------ */

static void file_name(char out[100], unsigned n) {
        snprintf(out, 100, "%s/taken-%u", root, n);
}

static void take_all_files(void) {
        char path[100];
        int fd = 0;

        for (unsigned n = 0; fd >= 0; n++) {
                assert(n < FILES_MAX);
                file_name(path, n);
                fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                if (fd >= 0)
                        assert(close(fd) == 0);
        }
        assert(errno == ENOSPC);
}

static bool free_a_file(void *userdata) {
        char path[100];

        file_name(path, asked++);
        return unlink(path) == 0;
}

static bool have_none(void *userdata) {
        asked++;
        return false;
}

/* --- two ways to make a blob -------------------------------------------------------------------------------------- */

static int make_draft(struct err *err) {
        _cleanup_(content_draft_freep) struct content_draft *d = NULL;
        char have[DIGEST_LEN + 1];
        uint64_t size;
        int r = content_draft_new(content, &d, err);

        if (r == 0)
                r = content_draft_write(d, data, strlen(data), err);
        if (r < 0)
                return r;
        content_draft_end(d, have, &size);
        assert(str_eq(have, digest) && size == strlen(data));
        return content_draft_commit(d, have, err);
}

static int make_writer(struct err *err) {
        struct content_writer *w = NULL;
        uint64_t have;
        int r = content_writer_new(content, digest, strlen(data), false, &w, &have, err);

        if (r == 0)
                r = content_writer_write(w, data, strlen(data), err);
        if (r == 0)
                r = content_writer_commit(w, true, err);
        (void) content_writer_free(w, false);
        return r;
}

static void expect(int (*make)(struct err *err), bool (*room)(void *userdata), int error) {
        struct err err = { 0 };
        int r;

        asked = 0;
        content_set_room(content, room, NULL);
        r = make(&err);
        assert(asked == 1 && (r == 0) == (error == 0) && (r == 0 || err.sys_errno == error));
        assert(content_is_sound(content, digest, strlen(data)) == (r == 0));
        assert(content_remove(content, digest, &err) == 0);
}

static void test(int (*make)(struct err *err)) {
        static const int errors[] = { ENOSPC, EDQUOT };

        for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
                sync_error = errors[i];
                expect(make, have_none, errors[i]);
                expect(make, let_sync, 0);
                /* The file is not what was written any more: no second sync makes it so. */
                sync_error = errors[i];
                sync_loses = true;
                expect(make, let_sync, EBADMSG);
                sync_loses = false;
        }
        take_all_files();
        expect(make, have_none, ENOSPC);
        expect(make, free_a_file, 0);
}

int main(void) {
        struct err err;

        kit_tmpfs(root, "1m,nr_inodes=32");
        assert(content_new(root, &content, &err) == 0);
        digest_of(data, strlen(data), digest);
        test(make_draft);
        test(make_writer);
        (void) content_free(content);
        kit_place_done(root);
        return 0;
}
