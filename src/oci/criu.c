/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/criu.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"

enum { LOG_MAX = 16 << 20, EXIT_MISSING = 127 };

/* --- the child ------------------------------------------------------------------------------------------------ */

static void stay_open(int fd) {
        int flags = fcntl(fd, F_GETFD);

        if (flags >= 0)
                (void) fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
}

static void run_child(const struct criu_call *call, int fd) __attribute__((noreturn));
static void run_child(const struct criu_call *call, int fd) {
        char number[16];
        sigset_t none;

        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        for (const int *keep = call->keep_fds; keep && *keep >= 0; keep++)
                stay_open(*keep);
        stay_open(fd);
        (void) snprintf(number, sizeof(number), "%d", fd);
        (void) execlp("criu", "criu", "swrk", number, (char *) NULL);
        _exit(EXIT_MISSING);
}

/* --- talking -------------------------------------------------------------------------------------------------- */

/* The first line of its log that is an error: the later ones follow from it. */
static const char *first_error(const struct criu_call *call) {
        _cleanup_(freep) char *text = NULL;
        struct err ignored;
        char *line, *end;

        if (fs_read_file(AT_FDCWD, call->log_path, LOG_MAX, &text, NULL, &ignored) < 0)
                return NULL;
        line = strstr(text, "Error (");
        if (!line)
                return NULL;
        end = strchr(line, '\n');
        return arena_strndup(call->arena, line, end ? (size_t) (end - line) : strlen(line));
}

static const char *type_name(enum criu_type type) {
        return type == CRIU_DUMP ? "DUMP" : type == CRIU_RESTORE ? "RESTORE" : "PRE_DUMP";
}

static int raise_failure(const struct criu_call *call, const struct criu_reply *reply, struct err *err) {
        const char *why = first_error(call);

        if (!why)
                why = reply->message;
        return err_set(err, ERR_INTERNAL, "criu failed: type %s errno %d%s%s\nlog file: %s", type_name(call->type),
                       reply->sys_errno, why ? ": " : "", why ?: "", call->log_path);
}

/* It has ended without an answer. */
static int explain_end(const struct criu_call *call, pid_t pid, struct err *err) {
        int status = 0;

        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_MISSING)
                return err_set(err, ERR_PRECONDITION, "criu can't be run: install CRIU, and have it in $PATH");
        return raise_failure(call, &(struct criu_reply){ 0 }, err);
}

static int answer_notification(const struct criu_call *call, int fd, const struct criu_reply *reply,
                               struct sock_msg *msg, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(64);
        int r = 0, sent;

        if (call->notified)
                r = call->notified(reply->script ?: "", reply->pid, msg->n_fds ? msg->fds[0] : -1, call->userdata, err);
        criu_notified_encode(r == 0, &out);
        sent = sock_send(fd, out.data, out.len, NULL, 0);
        return r == 0 && sent < 0 ? err_sys(err, -sent, "answer CRIU") : r;
}

/* @ret_end: that was its last. A refused notification is the error to report, but CRIU is heard out. */
static int take_message(const struct criu_call *call, int fd, char *buffer, bool *ret_end, struct criu_reply *ret,
                        struct err *err) {
        _cleanup_(sock_msg_done) struct sock_msg msg = { 0 };
        int r = sock_recv(fd, buffer, CRIU_MESSAGE_MAX, &msg);

        if (r == -EINTR)
                return 0;
        if (r < 0 || msg.len <= 0) {
                *ret_end = true;
                ret->type = 0;
                return 0;
        }
        r = criu_reply_decode(buffer, (size_t) msg.len, call->arena, ret, err);
        if (r == 0 && ret->type == CRIU_NOTIFY)
                return answer_notification(call, fd, ret, &msg, err);
        *ret_end = true;
        return r;
}

static int talk(const struct criu_call *call, int fd, pid_t pid, int *ret_pid, struct err *err) {
        char *buffer = arena_array(call->arena, char, CRIU_MESSAGE_MAX);
        struct criu_reply reply = { 0 };
        struct err refused = { 0 };
        bool end = false;
        int r = 0;

        while (!end) {
                r = take_message(call, fd, buffer, &end, &reply, err);
                if (r < 0 && !end && !refused.code)
                        refused = *err;
        }
        if (refused.code) {
                *err = refused;
                return -(int) err->code;
        }
        if (r < 0)
                return r;
        if (!reply.type)
                return explain_end(call, pid, err);
        *ret_pid = reply.pid;
        return reply.success ? 0 : raise_failure(call, &reply, err);
}

/* --- its mounts and folders ------------------------------------------------------------------------------------- */

struct place {
        int mounts, folder; /* where we were; -1: we have not left */
        int images, work;
};
#define PLACE_EMPTY ((struct place){ -1, -1, -1, -1 })

static void place_leave(struct place *p) {
        if (p->mounts >= 0 && (setns(p->mounts, CLONE_NEWNS) < 0 || fchdir(p->folder) < 0))
                abort(); /* what comes then would be done in the wrong place */
        p->mounts = fd_close(p->mounts);
        p->folder = fd_close(p->folder);
}

static void place_done(struct place *p) {
        place_leave(p);
        p->images = fd_close(p->images);
        p->work = fd_close(p->work);
}

/* Its mounts are a copy of ours that still gets what is mounted on the host, so that nothing has to be unmounted. */
static int have_root(const struct criu_call *call, struct place *p, struct err *err) {
        int mounts;

        p->folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        if (p->folder < 0 || mounts < 0 || unshare(CLONE_NEWNS) < 0) {
                (void) fd_close(mounts);
                return err_sys(err, errno, "make a mount namespace for CRIU");
        }
        p->mounts = mounts;
        if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
            mount(call->bind_source, call->bind_target, NULL, MS_BIND | MS_REC, NULL) < 0)
                return err_sys(err, errno, "bind %s on %s for CRIU", call->bind_source, call->bind_target);
        return 0;
}

/* The folders are opened there, since CRIU mounts in them. */
static int find_place(const struct criu_call *call, struct place *p, struct err *err) {
        int r = call->bind_source ? have_root(call, p, err) : 0;

        if (r < 0)
                return r;
        p->images = open(call->images_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        p->work = open(call->work_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (p->images < 0 || p->work < 0)
                return err_sys(err, errno, "open %s", p->images < 0 ? call->images_path : call->work_path);
        return 0;
}

static int send_request(const struct criu_call *call, const struct place *p, int fd, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(CRIU_MESSAGE_MAX);
        struct criu_options options = *call->options;
        int r;

        options.images_fd = p->images;
        options.work_fd = p->work;
        criu_request_encode(call->type, &options, &out);
        if (out.overflow)
                return err_set(err, ERR_EXHAUSTED, "the request to CRIU is longer than %d bytes", CRIU_MESSAGE_MAX);
        r = sock_send(fd, out.data, out.len, NULL, 0);
        return r < 0 && r != -EPIPE ? err_sys(err, -r, "ask CRIU") : 0; /* EPIPE: it has ended, talk() finds out why */
}

/* CRIU, where the request's folders are; and the request. */
static int start(const struct criu_call *call, struct place *place, int *ret_fd, pid_t *ret_pid, struct err *err) {
        int pair[2], size = CRIU_MESSAGE_MAX, r = find_place(call, place, err);

        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return err_sys(err, errno, "create a socket to CRIU");
        *ret_fd = pair[0];
        (void) setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
        *ret_pid = fork();
        if (*ret_pid == 0)
                run_child(call, pair[1]);
        (void) close(pair[1]);
        if (*ret_pid < 0)
                return err_sys(err, errno, "fork a process for CRIU");
        place_leave(place);
        return send_request(call, place, pair[0], err);
}

int criu_run(const struct criu_call *call, int *ret_pid, struct err *err) {
        _cleanup_(place_done) struct place place = PLACE_EMPTY;
        _cleanup_(fd_closep) int ours = -1;
        pid_t pid = -1;
        int r;

        *ret_pid = 0;
        r = start(call, &place, &ours, &pid, err);
        if (r < 0 && pid < 0)
                return r;
        if (r == 0)
                r = talk(call, ours, pid, ret_pid, err);
        ours = fd_close(ours); /* it ends when nobody listens */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        return r;
}
