/* SPDX-License-Identifier: Apache-2.0 */
/* plan-writer - see plan-writer.h. */
#include "runtime/lxc/plan-writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "init/reader.h"

void plan_writer_init(struct plan_writer *w, struct plan *plan) {
        const struct plan_header header = { .magic = PLAN_MAGIC };

        *w = (struct plan_writer){ .out = STRBUF(PLAN_MAX_BYTES), .plan = plan };
        strbuf_append(&w->out, &header, sizeof(header));
}

void plan_writer_done(struct plan_writer *w) {
        strbuf_done(&w->out);
}

void plan_put(struct plan_writer *w, struct plan_record rec, const char *const *strings, size_t n_strings,
              const void *data, size_t data_len) {
        static const char zeros[8];
        size_t size = sizeof(rec) + data_len;

        for (size_t i = 0; i < n_strings; i++)
                size += strlen(strings[i]) + 1;
        if (n_strings > PLAN_MAX_STRINGS || size > PLAN_MAX_BYTES) {
                w->out.overflow = true;
                return;
        }
        rec.n_str = (uint32_t) n_strings;
        rec.data_len = (uint32_t) data_len;
        rec.size = (uint32_t) ((size + 7) & ~(size_t) 7);
        strbuf_append(&w->out, &rec, sizeof(rec));
        for (size_t i = 0; i < n_strings; i++)
                strbuf_append(&w->out, strings[i], strlen(strings[i]) + 1);
        if (data_len)
                strbuf_append(&w->out, data, data_len);
        strbuf_append(&w->out, zeros, rec.size - size);
        w->n_records++;
}

int plan_put_fd(struct plan_writer *w, int fd, struct err *err) {
        if (w->plan->n_fds == PLAN_MAX_FDS) {
                (void) fd_close(fd);
                return err_set(err, ERR_EXHAUSTED, "more than %d mounts and cgroups", PLAN_MAX_FDS);
        }
        w->plan->fds[w->plan->n_fds] = fd;
        return (int) w->plan->n_fds++;
}

int plan_writer_finish(struct plan_writer *w, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        struct plan_header header = { .magic = PLAN_MAGIC, .size = (uint32_t) w->out.len, .n_records = w->n_records };
        struct plan_error invalid;
        struct reader reader;
        int r;

        if (w->out.overflow)
                return err_set(err, ERR_EXHAUSTED, "arguments, environment and mounts take more than %u MiB",
                               PLAN_MAX_BYTES >> 20);
        memcpy(w->out.data, &header, sizeof(header));
        if (reader_init(&reader, w->out.data, w->out.len, w->plan->n_fds, &invalid) < 0)
                return err_set(err, ERR_INVALID, "%s", invalid.text);
        fd = memfd_create("lxcri-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return err_sys(err, errno, "make a memory file for the plan");
        r = fs_write_all(fd, w->out.data, w->out.len);
        if (r == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                r = -errno;
        if (r < 0)
                return err_sys(err, -r, "write the plan");
        w->plan->fd = TAKE_FD(fd);
        return 0;
}
