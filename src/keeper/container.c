/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/container.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "keeper/attach.h"
#include "keeper/descriptors.h"
#include "keeper/keeper.h"
#include "runtime/lxc/files.h"

struct container *container_new(struct keeper *k, const char *id) {
        struct container *c = xnew(struct container);

        c->keeper = k;
        c->monitor_status = -1;
        (void) snprintf(c->id, sizeof(c->id), "%s", id);
        c->init_source.fd = c->exec_source.fd = c->monitor_source.fd = -1;
        c->out.source.fd = c->err.source.fd = c->out.fd = c->err.fd = -1;
        c->dirfd = c->monitor_fd = c->init_fd = c->init_socket = c->exec_fd = c->stdin_fd = c->log.fd = -1;
        c->out.file = c->err.file = &c->log;
        c->out.name = "stdout";
        c->err.name = "stderr";
        return c;
}

void container_free(struct container *c) {
        struct loop *l = &c->keeper->loop;

        loop_remove(l, &c->init_source);
        loop_remove(l, &c->exec_source);
        loop_remove(l, &c->monitor_source);
        log_stream_close(&c->out, l);
        log_stream_close(&c->err, l);
        (void) fd_close(c->dirfd);
        (void) fd_close(c->monitor_fd);
        (void) fd_close(c->init_fd);
        (void) fd_close(c->init_socket);
        (void) fd_close(c->exec_fd);
        (void) fd_close(c->stdin_fd);
        (void) fd_close(c->log.fd);
        free(c);
}

static void answer(struct container *c, const struct err *err) {
        if (c->waiter)
                server_reply(c->waiter, c->waiter_seq, c->id, err);
        c->waiter = NULL;
}

/* --- the end ---------------------------------------------------------------------------------------------------------
 */

static void maybe_forget(struct container *c) {
        if (!c->ended || c->out.fd >= 0 || c->err.fd >= 0)
                return;
        (void) map_take(c->keeper->containers, c->id);
        container_free(c);
}

static void on_stream_closed(struct log_stream *s) {
        struct container *c = s->name[3] == 'o' ? (struct container *) ((char *) s - offsetof(struct container, out))
                                                : (struct container *) ((char *) s - offsetof(struct container, err));

        log_stream_close(s, &c->keeper->loop);
        maybe_forget(c);
}

int container_open_stream(struct container *c, struct log_stream *s, int fd, bool terminal) {
        s->closed = on_stream_closed;
        return log_stream_open(s, &c->keeper->loop, fd_stays(fd), terminal);
}

/* What liblxc logged about a start that failed: its first line is the cause, the rest how it came to be noticed. */
static void first_log_line(const struct container *c, char *out, size_t size) {
        _cleanup_(freep) char *text = NULL;
        struct err err = { 0 };
        const char *error;

        out[0] = '\0';
        if (fs_read_file(c->dirfd, "lxc.log", 1 << 20, &text, NULL, &err) < 0)
                return;
        log_debug("liblxc's log of a container that failed", "container", c->id, "log", text, NULL);
        error = strstr(text, "ERROR");
        error = error ? error + strlen("ERROR") + strspn(error + strlen("ERROR"), " ") : text;
        (void) snprintf(out, size, "%.*s", (int) strcspn(error, "\n"), error);
}

static void set_up_failed(struct container *c) {
        struct err err = { 0 };
        char line[512];

        if (c->error.type == PLAN_MSG_ERROR) {
                if (c->error.sys_errno)
                        (void) err_sys(&err, c->error.sys_errno, "%s", c->error.text);
                else
                        (void) err_set(&err, ERR_INVALID, "%s", c->error.text);
        } else {
                first_log_line(c, line, sizeof(line));
                (void) err_set(&err, ERR_INTERNAL, "liblxc could not start the container%s%s", line[0] ? ": " : "",
                               line);
        }
        answer(c, &err);
}

static void write_lost_exit(struct container *c) {
        struct container_exit x = {
                .code = 137, .signal = SIGKILL, .finished_at_ns = clock_realtime_ns(), .reason = "MonitorLost"
        };
        int status = c->monitor_status;
        char line[512] = "", how[32] = "unknown";
        struct err err = { 0 };

        if (status >= 0 && WIFSIGNALED(status)) {
                (void) snprintf(how, sizeof(how), "signal %d", WTERMSIG(status));
        } else if (status >= 0) {
                (void) snprintf(how, sizeof(how), "exit status %d", WEXITSTATUS(status));
                first_log_line(c, line, sizeof(line));
        }
        log_warn("a container's monitor ended before it saw its container end", "container", c->id, "monitor", how,
                 "liblxc", line, NULL);
        if (container_exit_write(c->dirfd, &x, &err) < 0)
                log_error("cannot write an exit record", "container", c->id, "error", err.msg, NULL);
}

static void on_exec_status(struct source *s, uint32_t events);

/* Its program may have been so short that we hear of its end first. */
static void end_start(struct container *c) {
        struct pollfd p = { .fd = c->exec_fd, .events = POLLIN };
        struct err err = { 0 };

        if (poll(&p, 1, 0) == 1)
                on_exec_status(&c->exec_source, 0);
        (void) err_set(&err, ERR_INTERNAL, "the container ended while it was being started");
        answer(c, &err);
}

/* The monitor is gone: with an exit record it saw init end; without one it was killed or never got that far. */
static void monitor_gone(struct container *c) {
        struct keeper *k = c->keeper;
        struct keeper_reply reply = { .type = KEEPER_EXITED };
        bool answered = !c->ready && c->waiter; /* the answer to its making says all; else that it ended is news */

        if (c->ending)
                return;
        /* Streams that close meanwhile must not take the container with them yet: "ended" comes last. */
        c->ending = true;
        loop_remove(&k->loop, &c->monitor_source);
        loop_remove(&k->loop, &c->init_source);
        /* An init that still waits for START ends on this; one that runs does not notice. */
        c->init_socket = fd_close(c->init_socket);
        if (c->init_fd >= 0) {
                (void) proc_signal(c->init_fd, SIGKILL);
                if (!proc_wait_gone(c->init_fd, 2000))
                        log_warn("a container's init does not end", "container", c->id, NULL);
        }
        if (c->ready && !container_has_exit(c->dirfd))
                write_lost_exit(c);
        /* Nobody will name a log for what never was. */
        if (!c->ready && !c->log.known)
                log_file_set(&c->log, -1);
        log_stream_pump(&c->out, true);
        if (c->err.fd >= 0)
                log_stream_pump(&c->err, true);
        if (!c->ready)
                set_up_failed(c);
        else if (c->starting)
                end_start(c);
        log_debug("container ended", "container", c->id, NULL);
        (void) snprintf(reply.id, sizeof(reply.id), "%s", c->id);
        if (!answered)
                server_broadcast(k, &reply);
        c->ended = true;
        maybe_forget(c);
}

void container_reaped(struct keeper *k, pid_t pid, int status) {
        struct container *c;

        for (size_t it = 0; map_next(k->containers, &it, NULL, (void **) &c);)
                if (c->monitor_pid == pid && !c->ending) {
                        c->monitor_status = status;
                        monitor_gone(c);
                        return;
                }
}

static void on_monitor_gone(struct source *s, uint32_t events) {
        struct container *c = (struct container *) ((char *) s - offsetof(struct container, monitor_source));

        monitor_gone(c);
}

/* --- start -----------------------------------------------------------------------------------------------------------
 */

static void finish_start(struct container *c, const struct exec_status *failure) {
        struct err err = { 0 };

        loop_remove(&c->keeper->loop, &c->exec_source);
        c->exec_fd = fd_close(c->exec_fd);
        c->starting = false;
        c->started = true;
        if (failure) {
                (void) err_set(&err, ERR_INVALID, "%s", failure->text);
                err.sys_errno = failure->sys_errno;
                answer(c, &err);
                return;
        }
        if (container_set_started(c->dirfd, &err) < 0)
                log_error("cannot note that a container was started", "container", c->id, "error", err.msg, NULL);
        answer(c, NULL);
}

static void on_exec_status(struct source *s, uint32_t events) {
        struct container *c = (struct container *) ((char *) s - offsetof(struct container, exec_source));
        struct exec_status e = { 0 };
        ssize_t n = read(c->exec_fd, &e, sizeof(e) - 1);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        /* Before START the pipe can only close because init is gone: its monitor tells. */
        if (!c->starting && n <= 0) {
                loop_remove(&c->keeper->loop, &c->exec_source);
                return;
        }
        finish_start(c, n > 0 ? &e : NULL);
}

int container_start(struct keeper *k, struct connection *from, const struct keeper_request *req, struct err *err) {
        struct container *c = map_get(k->containers, req->id);
        char start = PLAN_MSG_START;
        int r;

        if (!c || c->ending)
                return err_set(err, ERR_PRECONDITION, "container %s has ended", req->id);
        if (c->started || c->starting)
                return err_set(err, ERR_EXISTS, "container %s was started already", req->id);
        if (!c->ready)
                return err_set(err, ERR_PRECONDITION, "container %s is still being created", req->id);
        r = sock_send(c->init_socket, &start, 1, NULL, 0);
        if (r < 0)
                return err_sys(err, -r, "tell init of container %s to start", req->id);
        c->starting = true;
        c->waiter = from;
        c->waiter_seq = req->seq;
        if (c->exec_source.fd < 0 && loop_add(&k->loop, &c->exec_source, c->exec_fd, EPOLLIN, on_exec_status) < 0)
                return err_sys(err, errno, "watch the start of container %s", req->id);
        return 0;
}

/* --- READY
 * ------------------------------------------------------------------------------------------------------------ */

int container_write_state(const struct container *c, struct err *err) {
        const int *fds = c->monitor_fds;
        struct container_state s = {
                .fds = { fds[0], fds[1], fds[2], fds[3], fds[4] },
                .monitor_pid = c->monitor_pid,
                .monitor_start = c->monitor_start,
                .init_pid = c->init_pid,
                .init_start = c->init_start,
                .flags = c->flags,
        };
        return container_state_write(c->dirfd, &s, err);
}

static void open_terminal_log(struct container *c, struct sock_msg *m) {
        if (m->n_fds < 1)
                return;
        (void) container_open_stream(c, &c->out, m->fds[0], true);
        m->fds[0] = -1;
}

/* READY is only looked at and stays queued in the socket, which the monitor holds too: a later keeper finds it, with
 * init's pid and the terminal, as we did. False: nothing there yet. */
static bool read_ready(struct container *c, struct plan_ready *ready) {
        union {
                struct plan_ready ready;
                struct plan_error error;
        } msg;
        struct sock_msg m;
        int r = sock_peek(c->init_socket, &msg, sizeof(msg), &m);

        if (r < 0 || m.len == 0)
                return false;
        if (msg.ready.type == PLAN_MSG_ERROR) {
                c->error = msg.error;
                c->error.text[sizeof(c->error.text) - 1] = '\0';
                sock_msg_done(&m);
                return false;
        }
        if (msg.ready.type != PLAN_MSG_READY || m.pid <= 0 || msg.ready.n_groups > PLAN_MAX_GROUPS) {
                sock_msg_done(&m);
                return false;
        }
        *ready = msg.ready;
        c->init_pid = m.pid;
        c->init_start = proc_start_time(m.pid);
        c->init_fd = fd_close(c->init_fd);
        c->init_fd = fd_stays(proc_open(c->init_pid, c->init_start));
        c->ready = true;
        if (c->flags & KEEPER_SPAWN_TERMINAL)
                open_terminal_log(c, &m);
        sock_msg_done(&m);
        return true;
}

/* Taken out of the queue, so that READY is what a later keeper finds there. */
static bool take_hooks_message(struct container *c) {
        struct keeper_reply reply = { .type = KEEPER_REPLY, .hooks_due = 1 };
        uint8_t msg[sizeof(struct plan_ready)];
        struct sock_msg m;

        if (sock_peek(c->init_socket, msg, sizeof(msg), &m) < 0)
                return false;
        sock_msg_done(&m);
        if (m.len != 1 || msg[0] != PLAN_MSG_HOOKS || sock_recv(c->init_socket, msg, sizeof(msg), &m) < 0)
                return false;
        sock_msg_done(&m);
        c->hooks_due = true;
        reply.seq = c->waiter_seq;
        reply.pid = m.pid;
        reply.start_time = proc_start_time(m.pid);
        (void) snprintf(reply.id, sizeof(reply.id), "%s", c->id);
        if (c->waiter)
                server_send(c->waiter, &reply);
        c->waiter = NULL;
        return true;
}

int container_continue(struct keeper *k, struct connection *from, const struct keeper_request *req, struct err *err) {
        struct container *c = map_get(k->containers, req->id);
        char go = PLAN_MSG_GO;
        int r;

        if (!c || c->ending || !c->hooks_due)
                return err_set(err, ERR_PRECONDITION, "container %s does not wait for its hooks", req->id);
        r = sock_send(c->init_socket, &go, 1, NULL, 0);
        if (r < 0)
                return err_sys(err, -r, "tell init of container %s to go on", req->id);
        c->hooks_due = false;
        c->waiter = from;
        c->waiter_seq = req->seq;
        return 0;
}

static void on_init_message(struct source *s, uint32_t events) {
        struct container *c = (struct container *) s;
        struct keeper_reply reply = { .type = KEEPER_REPLY, .has_ready = 1 };
        struct err err = { 0 };

        if (take_hooks_message(c))
                return;
        if (!read_ready(c, &reply.ready)) {
                /* An error or the end of init: the monitor ends too and is waited for. */
                if (c->error.type || events & (EPOLLHUP | EPOLLERR))
                        loop_remove(&c->keeper->loop, &c->init_source);
                return;
        }
        loop_remove(&c->keeper->loop, &c->init_source);
        if (container_write_state(c, &err) < 0)
                log_error("cannot write a container's state file", "container", c->id, "error", err.msg, NULL);
        reply.seq = c->waiter_seq;
        reply.pid = c->init_pid;
        reply.start_time = c->init_start;
        (void) snprintf(reply.id, sizeof(reply.id), "%s", c->id);
        if (c->waiter)
                server_send(c->waiter, &reply);
        c->waiter = NULL;
}

int container_watch_init(struct container *c) {
        return loop_add(&c->keeper->loop, &c->init_source, c->init_socket, EPOLLIN, on_init_message);
}

/* --- the rest
 * ----------------------------------------------------------------------------------------------------------- */

int container_set_log(struct keeper *k, const char *id, int fd, struct err *err) {
        struct container *c = map_get(k->containers, id);

        if (!c) {
                (void) fd_close(fd);
                return err_set(err, ERR_PRECONDITION, "container %s has ended", id);
        }
        log_file_set(&c->log, fd_stays(fd));
        log_stream_pump(&c->out, c->ended);
        /* The last stream of an ended container takes the container with it. */
        c = map_get(k->containers, id);
        if (c && c->err.fd >= 0)
                log_stream_pump(&c->err, c->ended);
        return 0;
}

int container_attach(struct keeper *k, struct connection *from, const struct keeper_request *req, int *fds,
                     size_t n_fds, struct err *err) {
        struct container *c = map_get(k->containers, req->id);
        struct keeper_reply reply = { .type = KEEPER_REPLY, .seq = req->seq };
        bool terminal = c && c->flags & KEEPER_SPAWN_TERMINAL;
        int r = 0, in = -1;

        if (!c || c->ending)
                return err_set(err, ERR_PRECONDITION, "container %s has ended", req->id);
        if (n_fds > 0)
                r = attach_add(&c->out, &k->loop, fd_stays(TAKE_FD(fds[0])));
        if (r == 0 && n_fds > 1 && !terminal)
                r = attach_add(&c->err, &k->loop, fd_stays(TAKE_FD(fds[1])));
        if (r == -EUSERS)
                return err_set(err, ERR_EXHAUSTED, "container %s has %d attached clients already", req->id, ATTACH_MAX);
        if (r < 0 && r != -EPIPE)
                return err_sys(err, -r, "attach to container %s", req->id);
        if (req->flags & KEEPER_ATTACH_STDIN)
                in = terminal ? c->out.fd : c->stdin_fd;
        server_send_fd(from, &reply, in);
        if (in >= 0 && !terminal && c->flags & KEEPER_SPAWN_STDIN_ONCE)
                c->stdin_fd = fd_close(c->stdin_fd);
        /* What was an unfinished line for the log is something to look at now. */
        log_stream_pump(&c->out, false);
        return 0;
}

void container_forget_waiter(struct keeper *k, const struct connection *conn) {
        struct container *c;

        for (size_t it = 0; map_next(k->containers, &it, NULL, (void **) &c);)
                if (c->waiter == conn)
                        c->waiter = NULL;
}

static int take_fd(int pidfd, int number) {
        long fd = number < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, number, 0);

        return fd < 0 ? -1 : fd_stays((int) fd); /* O_CLOEXEC by definition */
}

/* The monitor's copies of what the last keeper had. */
static void take_over_channels(struct container *c) {
        struct plan_ready ready;
        int out, errs;

        c->init_socket = take_fd(c->monitor_fd, c->monitor_fds[CONTAINER_FD_SOCKET]);
        c->exec_fd = take_fd(c->monitor_fd, c->monitor_fds[CONTAINER_FD_EXEC]);
        c->stdin_fd = take_fd(c->monitor_fd, c->monitor_fds[CONTAINER_FD_STDIN]);
        out = take_fd(c->monitor_fd, c->monitor_fds[CONTAINER_FD_STDOUT]);
        errs = take_fd(c->monitor_fd, c->monitor_fds[CONTAINER_FD_STDERR]);
        if (out >= 0)
                (void) container_open_stream(c, &c->out, out, false);
        if (errs >= 0)
                (void) container_open_stream(c, &c->err, errs, false);
        c->started = container_was_started(c->dirfd);
        if (c->init_socket >= 0 && !read_ready(c, &ready))
                (void) container_watch_init(c);
        if (!c->started && c->exec_fd >= 0) {
                /* START may have been sent: then the pipe says how that went, and nobody waits for it. */
                c->starting = true;
                (void) fcntl(c->exec_fd, F_SETFL, O_NONBLOCK);
                on_exec_status(&c->exec_source, 0);
                if (!c->started)
                        c->starting = false;
        }
}

static void take_over(struct keeper *k, const char *id) {
        struct container *c = container_new(k, id);
        struct container_state s;
        struct err err = { 0 };

        c->dirfd = fd_stays(openat(k->containers_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (c->dirfd < 0 || container_state_read(c->dirfd, &s, &err) < 0) {
                container_free(c);
                return;
        }
        c->flags = s.flags;
        memcpy(c->monitor_fds, s.fds, sizeof(c->monitor_fds));
        c->monitor_pid = s.monitor_pid;
        c->monitor_start = s.monitor_start;
        c->init_pid = s.init_pid;
        c->init_start = s.init_start;
        c->ready = s.init_pid > 0;
        c->init_fd = fd_stays(proc_open(s.init_pid, s.init_start));
        c->monitor_fd = fd_stays(proc_open(s.monitor_pid, s.monitor_start));
        /* With an exit record and a monitor still there, its output waits to be taken out. */
        if (c->monitor_fd < 0 && container_has_exit(c->dirfd)) {
                container_free(c);
                return;
        }
        (void) map_set(k->containers, id, c);
        if (c->monitor_fd < 0) {
                monitor_gone(c);
                return;
        }
        take_over_channels(c);
        if (loop_add(&k->loop, &c->monitor_source, c->monitor_fd, EPOLLIN, on_monitor_gone) < 0)
                log_error("cannot watch a container taken over", "container", id, NULL);
        log_info("container taken over", "container", id, NULL);
}

void container_take_over_all(struct keeper *k) {
        int fd = openat(k->containers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *e;

        while (d && (e = readdir(d)))
                if (e->d_name[0] != '.')
                        take_over(k, e->d_name);
}
