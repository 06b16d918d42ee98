/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lxc/files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"

enum { FILE_MAX = 1024 };

/* The number behind "key=" at the start of a line. */
static bool find_number(const char *text, const char *key, int64_t *ret) {
        char value[32];
        size_t n;

        for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                const char *v = str_after(line, key);
                if (!v || *v != '=')
                        continue;
                v++;
                n = strcspn(v, "\n");
                if (n >= sizeof(value))
                        return false;
                memcpy(value, v, n);
                value[n] = '\0';
                return str_to_i64(value, ret);
        }
        return false;
}

static int write_text(int dirfd, const char *name, const char *text, int len, struct err *err) {
        return fs_write_atomic(dirfd, name, text, (size_t) len, 0600, false, err);
}

static const char *const fd_names[CONTAINER_FD_MAX] = { "socket", "exec", "stdin", "stdout", "stderr" };

int container_state_write(int dirfd, const struct container_state *s, struct err *err) {
        char text[FILE_MAX];
        int n = snprintf(text, sizeof(text),
                         "monitor=%d\nmonitor_start=%" PRIu64 "\ninit=%d\ninit_start=%" PRIu64 "\nflags=%" PRIu32 "\n",
                         s->monitor_pid, s->monitor_start, s->init_pid, s->init_start, s->flags);

        for (size_t i = 0; i < CONTAINER_FD_MAX; i++)
                n += snprintf(text + n, sizeof(text) - (size_t) n, "%s=%d\n", fd_names[i], s->fds[i]);
        return write_text(dirfd, "state", text, n, err);
}

int container_state_read(int dirfd, struct container_state *ret, struct err *err) {
        int64_t monitor, monitor_start, init, init_start, flags, fd;
        struct container_state s;
        _cleanup_(freep) char *text = NULL;
        int r;

        r = fs_read_file(dirfd, "state", FILE_MAX, &text, NULL, err);
        if (r < 0)
                return r;
        if (!find_number(text, "monitor", &monitor) || !find_number(text, "monitor_start", &monitor_start) ||
            !find_number(text, "init", &init) || !find_number(text, "init_start", &init_start) ||
            !find_number(text, "flags", &flags))
                return err_set(err, ERR_DATA_LOSS, "container state file is damaged");
        for (size_t i = 0; i < CONTAINER_FD_MAX; i++) {
                if (!find_number(text, fd_names[i], &fd))
                        return err_set(err, ERR_DATA_LOSS, "container state file is damaged");
                s.fds[i] = (int) fd;
        }
        *ret = (struct container_state){
                .monitor_pid = (pid_t) monitor,
                .monitor_start = (uint64_t) monitor_start,
                .init_pid = (pid_t) init,
                .init_start = (uint64_t) init_start,
                .flags = (uint32_t) flags,
        };
        memcpy(ret->fds, s.fds, sizeof(ret->fds));
        return 0;
}

int container_exit_write(int dirfd, const struct container_exit *x, struct err *err) {
        char text[FILE_MAX];
        int n = snprintf(text, sizeof(text), "code=%d\nsignal=%d\nfinished_at_ns=%" PRIu64 "\nreason=%s\n", x->code,
                         x->signal, x->finished_at_ns, x->reason);
        return write_text(dirfd, "exit", text, n, err);
}

int container_exit_read(int dirfd, struct container_exit *ret, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        int64_t code, sig, at;
        const char *reason;
        int r;

        r = fs_read_file(dirfd, "exit", FILE_MAX, &text, NULL, err);
        if (r < 0)
                return r;
        if (!find_number(text, "code", &code) || !find_number(text, "signal", &sig) ||
            !find_number(text, "finished_at_ns", &at))
                return err_set(err, ERR_DATA_LOSS, "container exit record is damaged");
        *ret = (struct container_exit){ .code = (int) code, .signal = (int) sig, .finished_at_ns = (uint64_t) at };
        reason = strstr(text, "\nreason=");
        if (reason)
                (void) snprintf(ret->reason, sizeof(ret->reason), "%.*s", (int) strcspn(reason + 8, "\n"), reason + 8);
        return 0;
}

bool container_has_exit(int dirfd) {
        return faccessat(dirfd, "exit", F_OK, 0) == 0;
}

bool container_was_started(int dirfd) {
        return faccessat(dirfd, "started", F_OK, 0) == 0;
}

int container_set_started(int dirfd, struct err *err) {
        return fs_write_atomic(dirfd, "started", "", 0, 0600, false, err);
}
