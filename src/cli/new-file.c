/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/new-file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"

int new_file_open(struct new_file *f, int folder, const char *name, struct err *err) {
        static unsigned n;

        *f = (struct new_file){ .fd = -1, .folder = folder };
        f->temporary = xprintf(".%.200s.%d.%u.part", name, (int) getpid(), n++);
        f->fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
        if (f->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
                f->fd = openat(folder, f->temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
                f->has_name = f->fd >= 0;
        }
        return f->fd < 0 ? err_sys(err, errno, "make a file for %.200s", name) : 0;
}

int new_file_keep(struct new_file *f, int folder, const char *name, bool replace, struct err *err) {
        _cleanup_(freep) char *self = xprintf("/proc/self/fd/%d", f->fd);

        if (fsync(f->fd) < 0)
                return err_sys(err, errno, "write %.200s", name);
        if (!f->has_name && linkat(AT_FDCWD, self, f->folder, f->temporary, AT_SYMLINK_FOLLOW) < 0)
                return err_sys(err, errno, "name %.200s", f->temporary);
        f->has_name = true;
        if (renameat2(f->folder, f->temporary, folder, name, replace ? 0 : RENAME_NOREPLACE) < 0)
                return errno == EEXIST ? err_set(err, ERR_EXISTS, "%.200s is there already", name)
                                       : err_sys(err, errno, "name %.200s", name);
        f->has_name = false;
        return 0;
}

void new_file_done(struct new_file *f) {
        if (!f->temporary)
                return;
        if (f->has_name)
                (void) unlinkat(f->folder, f->temporary, 0);
        (void) fd_close(f->fd);
        free(f->temporary);
        *f = (struct new_file){ 0 };
}

/* --- by a path ---------------------------------------------------------------------------------------------------- */

static int output_open_new(struct output *o, char *path, struct err *err) {
        _cleanup_(freep) char *copy = xstrdup(path);
        const char *folder = dirname(copy);
        int r;

        o->name = xstrdup(basename(path));
        o->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (o->folder < 0)
                return err_sys(err, errno, "open the folder of %.300s", path);
        r = new_file_open(&o->file, o->folder, o->name, err);
        if (r < 0)
                return err_wrap(err, "in %.300s", folder);
        o->fd = o->file.fd;
        o->is_new = true;
        return 0;
}

int output_open(struct output *o, const char *path, struct err *err) {
        _cleanup_(freep) char *real = NULL;
        struct stat st;

        *o = OUTPUT_NONE;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
                return err_set(err, ERR_PRECONDITION, "%.300s is a folder", path);
        if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
                o->fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
                return o->fd < 0 ? err_sys(err, errno, "open %.300s", path) : 0;
        }
        real = realpath(path, NULL) ?: xstrdup(path);
        return output_open_new(o, real, err);
}

int output_keep(struct output *o, struct err *err) {
        return o->is_new ? new_file_keep(&o->file, o->folder, o->name, true, err) : 0;
}

void output_done(struct output *o) {
        if (!o->is_new)
                (void) fd_close(o->fd);
        new_file_done(&o->file);
        (void) fd_close(o->folder);
        free(o->name);
        *o = OUTPUT_NONE;
}
