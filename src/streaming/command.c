/* SPDX-License-Identifier: Apache-2.0 */
/* command - exec and attach: the streams of one command to one client, protocols v1 to v5.
 *
 * The end: the command has ended (or, attached, its streams have) -> what is left of stdout and stderr is sent and they
 * are finished -> the status goes out on the error stream -> the connection closes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/sock.h"
#include "base/str.h"
#include "streaming/pump.h"
#include "streaming/resize.h"
#include "streaming/server.h"
#include "streaming/status.h"

/* In the order of WebSocket's channel numbers. */
enum role { IN, OUT, ERRS, STATUS, RESIZE, N_ROLES };
static const char *const role_names[N_ROLES] = { "stdin", "stdout", "stderr", "error", "resize" };

struct command {
        struct session session;
        bool is_exec, tty;
        unsigned version;       /* of the protocol; 0: WebSocket's without a name */
        bool expected[N_ROLES]; /* streams that have to come before it starts */
        bool present[N_ROLES];
        uint32_t channels[N_ROLES];
        uint32_t held; /* SPDY: the stream that completed an attach, to be accepted once attached; 0: none */

        struct ticket *ticket; /* until the job takes it */
        struct job *job;       /* that runs */
        bool has_started;
        bool is_attached; /* the streams are open: when they end, it has ended */
        bool has_ended;   /* with "code", or "error" when that has a code */
        int code;
        struct err error;

        struct source out[2]; /* OUT - 1, ERRS - 1 */
        struct sink in;
        int terminal_fd; /* for sizes; -1: none, or not yet */
        int terminal_sock;
        sd_event_source *terminal_source;
        struct resize_parser resize;
        struct winsize size; /* the last one that came; ws_row 0: none */
};

/* What the pool needs. The descriptors are the process's ends. */
struct command_job {
        struct job job;
        struct streaming_backend backend;
        struct ticket *ticket;
        int fds[3], terminal_sock;
        int code;
        struct streaming_attached attached;
};

static const struct session_ops command_ops;

static void command_ended(struct command *c, int code, const struct err *error);
static void check_end(struct command *c);

/* ---- the pool's side ---- */

static int run_exec(struct job *job, struct err *err) {
        struct command_job *j = (struct command_job *) job;

        return j->backend.exec(j->backend.userdata, &j->ticket->exec, j->fds[0], j->fds[1], j->fds[2], j->terminal_sock,
                               job->cancel_fd, &j->code, err);
}

static int run_attach(struct job *job, struct err *err) {
        struct command_job *j = (struct command_job *) job;

        return j->backend.attach(j->backend.userdata, &j->ticket->attach, &j->attached, err);
}

static void close_process_ends(struct command_job *j) {
        for (int i = 0; i < 3; i++)
                j->fds[i] = fd_close(j->fds[i]);
        j->terminal_sock = fd_close(j->terminal_sock);
}

static void release_job(struct job *job) {
        struct command_job *j = (struct command_job *) job;

        close_process_ends(j);
        (void) fd_close(j->attached.stdin_fd);
        (void) fd_close(j->attached.stdout_fd);
        (void) fd_close(j->attached.stderr_fd);
        (void) fd_close(j->attached.terminal_fd);
        j->ticket = ticket_free(j->ticket);
        free(j);
}

/* ---- streams ---- */

static void on_out_ended(void *userdata) {
        struct command *c = userdata;

        for (enum role r = OUT; r <= ERRS; r++)
                if (c->present[r] && !source_is_open(&c->out[r - 1]) && c->has_started)
                        wire_fin(&c->session.client->wire, c->channels[r]);
        check_end(c);
}

static void on_in_ended(void *userdata) {
        check_end(userdata);
}

static int open_out(struct command *c, enum role r, int fd, struct err *err) {
        struct source *s = &c->out[r - 1];

        s->ended = on_out_ended;
        s->userdata = c;
        s->is_muted = !c->present[r];
        return source_open(s, c->session.client, fd, c->channels[r], err);
}

/* A descriptor of its own for the other direction: the loop watches each once. */
static int duplicate(int fd, int *ret, struct err *err) {
        *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return *ret < 0 ? err_sys(err, errno, "duplicate a stream") : 0;
}

static void set_size(struct command *c) {
        /* A terminal that refuses has gone; its streams will say so. */
        if (c->terminal_fd >= 0 && c->size.ws_row)
                (void) ioctl(c->terminal_fd, TIOCSWINSZ, &c->size);
}

/* Takes @master, also on failure. */
static int open_terminal(struct command *c, int master, struct err *err) {
        int in, r = duplicate(master, &c->terminal_fd, err);

        if (r < 0) {
                (void) fd_close(master);
                return r;
        }
        set_size(c);
        r = open_out(c, OUT, master, err);
        if (r == 0 && c->expected[IN]) {
                r = duplicate(c->terminal_fd, &in, err);
                if (r == 0)
                        r = sink_open(&c->in, in, err);
        }
        return r;
}

static void take_terminal(struct command *c) {
        struct sock_msg msg;
        struct err err;
        char byte;
        int r;

        if (c->terminal_sock < 0)
                return;
        msg.n_fds = 0;
        r = sock_recv(c->terminal_sock, &byte, 1, &msg);
        if (r == -EAGAIN)
                return;
        c->terminal_source = sd_event_source_disable_unref(c->terminal_source);
        c->terminal_sock = fd_close(c->terminal_sock);
        if (msg.n_fds > 0 && open_terminal(c, TAKE_FD(msg.fds[0]), &err) < 0)
                command_ended(c, 0, &err);
        sock_msg_done(&msg);
}

static int on_terminal(sd_event_source *io, int fd, uint32_t revents, void *userdata) {
        struct command *c = userdata;
        struct client *client = c->session.client;

        take_terminal(c);
        (void) client_settle(client);
        return 0;
}

/* ---- the end ---- */

static void say_status(struct command *c) {
        _cleanup_strbuf_ struct strbuf text = STRBUF(STATUS_MAX);
        struct wire *w = &c->session.client->wire;
        const struct err *error = c->error.code ? &c->error : NULL;

        if (c->version >= 4)
                status_json(&text, c->code, error);
        else
                status_text(&text, c->code, error);
        if (text.len)
                wire_send(w, c->channels[STATUS], text.data, text.len);
        wire_fin(w, c->channels[STATUS]);
}

static bool streams_are_open(const struct command *c) {
        return source_is_open(&c->out[0]) || source_is_open(&c->out[1]);
}

static void check_end(struct command *c) {
        if (c->session.client->state != CLIENT_OPEN)
                return;
        /* Attached to stdin alone: that is all there is to wait for. */
        if (c->is_attached && !c->has_ended && !streams_are_open(c))
                c->has_ended = c->expected[OUT] || c->expected[ERRS] || c->in.is_closed;
        if (!c->has_ended || streams_are_open(c))
                return;
        for (enum role r = OUT; r <= ERRS; r++)
                if (c->present[r])
                        wire_fin(&c->session.client->wire, c->channels[r]);
        say_status(c);
        client_close(c->session.client);
}

/* No more will be written to stdout and stderr but by what the command left behind, which is not waited for. */
static void command_ended(struct command *c, int code, const struct err *error) {
        if (c->has_ended)
                return;
        c->has_ended = true;
        c->code = code;
        if (error)
                c->error = *error;
        sink_close(&c->in);
        for (int i = 0; i < 2; i++)
                source_drain(&c->out[i]);
        check_end(c);
}

/* ---- the start ---- */

static void on_exec_done(struct job *job, void *owner, int result) {
        struct command_job *j = (struct command_job *) job;
        struct command *c = owner;
        struct client *client = c->session.client;

        c->job = NULL;
        take_terminal(c); /* a short command may have ended before we looked */
        close_process_ends(j);
        if (result < 0)
                (void) err_wrap(&job->err, "error executing command in container");
        command_ended(c, j->code, result < 0 ? &job->err : NULL);
        (void) client_settle(client);
}

static int open_attached(struct command *c, struct streaming_attached *a, struct err *err) {
        int r = 0;

        c->terminal_fd = TAKE_FD(a->terminal_fd);
        set_size(c);
        if (c->expected[IN] && a->stdin_fd >= 0)
                r = sink_open(&c->in, TAKE_FD(a->stdin_fd), err);
        else
                sink_close(&c->in);
        if (r == 0 && a->stdout_fd >= 0 && c->expected[OUT])
                r = open_out(c, OUT, TAKE_FD(a->stdout_fd), err);
        if (r == 0 && a->stderr_fd >= 0 && c->expected[ERRS])
                r = open_out(c, ERRS, TAKE_FD(a->stderr_fd), err);
        return r;
}

/* Who has all its streams may count on being attached: it starts the program only then. */
static void accept_held(struct command *c) {
        if (c->held)
                wire_accept(&c->session.client->wire, c->held);
        c->held = 0;
}

static void on_attach_done(struct job *job, void *owner, int result) {
        struct command_job *j = (struct command_job *) job;
        struct command *c = owner;
        struct client *client = c->session.client;

        c->job = NULL;
        accept_held(c);
        if (result == 0)
                result = open_attached(c, &j->attached, &job->err);
        if (result < 0) {
                (void) err_wrap(&job->err, "error attaching to container");
                command_ended(c, 0, &job->err);
        } else {
                c->is_attached = true;
                on_out_ended(c); /* one of them may not exist */
        }
        (void) client_settle(client);
}

/* One end of each for us, one for the process. */
static int make_pipes(struct command *c, struct command_job *j, struct err *err) {
        int fds[2], r = 0;

        for (enum role role = IN; role <= ERRS && r == 0; role++) {
                int ours = role == IN ? 1 : 0;

                if (!c->expected[role])
                        continue;
                if (pipe2(fds, O_CLOEXEC) < 0)
                        return err_sys(err, errno, "create a pipe");
                j->fds[role] = fds[!ours];
                r = role == IN ? sink_open(&c->in, fds[ours], err) : open_out(c, role, fds[ours], err);
        }
        return r;
}

static int make_terminal_socket(struct command *c, struct command_job *j, struct err *err) {
        int fds[2], r;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return err_sys(err, errno, "create a socket");
        c->terminal_sock = fds[0];
        j->terminal_sock = fds[1];
        if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
                return err_sys(err, errno, "set up a socket");
        r = sd_event_add_io(c->session.client->server->loop, &c->terminal_source, fds[0], EPOLLIN, on_terminal, c);
        return r < 0 ? err_sys(err, -r, "watch a socket") : 0;
}

static struct command_job *make_job(struct command *c) {
        struct command_job *j = xnew(struct command_job);

        j->job.run = c->is_exec ? run_exec : run_attach;
        j->job.done = c->is_exec ? on_exec_done : on_attach_done;
        j->job.release = release_job;
        j->job.owner = c;
        j->job.cancel_fd = -1;
        j->backend = c->session.client->server->backend;
        j->ticket = TAKE_PTR(c->ticket);
        j->fds[0] = j->fds[1] = j->fds[2] = j->terminal_sock = -1;
        j->attached = (struct streaming_attached){ -1, -1, -1, -1 };
        return j;
}

static void start(struct command *c) {
        struct wire *w = &c->session.client->wire;
        struct command_job *j = make_job(c);
        struct err err;
        int r = 0;

        c->has_started = true;
        c->session.wake_ns = UINT64_MAX;
        if (c->version == 1 && wire_is_spdy(w)) {
                /* What the first servers of this protocol did, and its clients count on. */
                wire_reset(w, c->channels[STATUS], SPDY_CANCEL);
                if (c->present[IN])
                        wire_fin(w, c->channels[IN]);
        }
        if (c->is_exec)
                r = c->tty ? make_terminal_socket(c, j, &err) : make_pipes(c, j, &err);
        if (r < 0) {
                release_job(&j->job);
        } else {
                c->job = &j->job;
                r = job_start(c->session.client->server->jobs, &j->job, &err);
        }
        if (r < 0) {
                c->job = NULL;
                accept_held(c);
                command_ended(c, 0, &err);
        }
}

static bool is_complete(const struct command *c) {
        for (enum role r = IN; r < N_ROLES; r++)
                if (c->expected[r] && !c->present[r])
                        return false;
        return true;
}

static void start_if_complete(struct command *c) {
        if (is_complete(c) && !c->has_started)
                start(c);
}

static void start_session(struct session *s) {
        struct command *c = (struct command *) s;
        enum role r;

        if (wire_is_spdy(&s->client->wire))
                return; /* the client opens its streams first */
        for (r = IN; r < N_ROLES; r++) {
                c->present[r] = c->expected[r];
                c->channels[r] = r;
        }
        r = c->expected[OUT] ? OUT : c->expected[ERRS] ? ERRS : STATUS;
        wire_send(&s->client->wire, r, NULL, 0);
        start_if_complete(c);
}

/* ---- what the client says ---- */

static void on_opened(void *userdata, uint32_t channel, const struct spdy_headers *headers) {
        struct command *c = userdata;
        struct wire *w = &c->session.client->wire;
        char type[16];
        enum role r;

        if (!spdy_headers_get(headers, "streamtype", type, sizeof(type)))
                *type = '\0';
        for (r = IN; r < N_ROLES && !str_eq(type, role_names[r]); r++)
                ;
        if (r == N_ROLES || !c->expected[r]) {
                log_debug("streaming: a stream that has no use here", "type", type, NULL);
                wire_accept(w, channel);
        } else if (c->present[r]) {
                wire_reset(w, channel, SPDY_PROTOCOL_ERROR);
        } else {
                c->present[r] = true;
                c->channels[r] = channel;
                /* Version 1 ends streams at its start, which wants them accepted. */
                if (is_complete(c) && !c->has_started && !c->is_exec && c->version > 1)
                        c->held = channel;
                else
                        wire_accept(w, channel);
                start_if_complete(c);
        }
}

static enum role role_of(const struct command *c, uint32_t channel) {
        enum role r = IN;

        while (r < N_ROLES && !(c->present[r] && c->channels[r] == channel))
                r++;
        return r;
}

static void on_data(void *userdata, uint32_t channel, const uint8_t *data, size_t len) {
        struct command *c = userdata;

        switch (role_of(c, channel)) {
        case IN:
                sink_write(&c->in, data, len);
                break;
        case RESIZE:
                if (resize_feed(&c->resize, data, len, &c->size.ws_col, &c->size.ws_row))
                        set_size(c);
                break;
        case OUT:
        case ERRS:
        case STATUS:
        case N_ROLES:
                break;
        }
}

static void on_ended(void *userdata, uint32_t channel, bool reset) {
        struct command *c = userdata;
        enum role r = role_of(c, channel);

        if (r == IN && c->tty && c->is_exec) {
                /* A terminal has no end but the process's; the same goes on being read. */
        } else if (r == IN) {
                sink_end(&c->in);
        } else if ((r == OUT || r == ERRS) && reset) {
                /* Nobody reads it: the process is told so, unless it is a terminal, which must not fill up. */
                if (c->tty)
                        c->out[r - 1].is_muted = true;
                else if (source_is_open(&c->out[r - 1]))
                        source_close(&c->out[r - 1]);
                check_end(c);
        }
}

/* ---- the session ---- */

static void tick(struct session *s, uint64_t now_ns) {
        log_debug("streaming: not all streams came in time", NULL);
        client_close(s->client);
}

static void settle(struct session *s) {
}

static void free_session(struct session *s) {
        struct command *c = (struct command *) s;

        job_abandon(c->job);
        for (int i = 0; i < 2; i++)
                source_close(&c->out[i]);
        sink_close(&c->in);
        c->terminal_source = sd_event_source_disable_unref(c->terminal_source);
        c->terminal_sock = fd_close(c->terminal_sock);
        c->terminal_fd = fd_close(c->terminal_fd);
        c->ticket = ticket_free(c->ticket);
        free(c);
}

static const struct session_ops command_ops = {
        .wire = { .opened = on_opened, .data = on_data, .ended = on_ended },
        .start = start_session,
        .tick = tick,
        .settle = settle,
        .free = free_session,
};

struct session *command_new(struct client *client, struct ticket *t, enum wire_kind kind, unsigned version) {
        struct command *c = xnew(struct command);
        bool is_websocket = kind != WIRE_SPDY;

        c->session.ops = &command_ops;
        c->session.client = client;
        c->session.wake_ns = clock_monotonic_ns() + client->server->creation_ns;
        c->ticket = t;
        c->version = version;
        c->is_exec = t->kind == TICKET_EXEC;
        c->tty = c->is_exec ? t->exec.tty : t->attach.tty;
        c->expected[IN] = c->is_exec ? t->exec.want_stdin : t->attach.want_stdin;
        c->expected[OUT] = c->is_exec ? t->exec.want_stdout : t->attach.want_stdout;
        c->expected[ERRS] = c->is_exec ? t->exec.want_stderr : t->attach.want_stderr;
        c->expected[STATUS] = true;
        c->expected[RESIZE] = c->tty && (version >= 3 || is_websocket);
        c->terminal_fd = c->terminal_sock = -1;
        c->out[0].fd = c->out[1].fd = -1;
        sink_init(&c->in, client, on_in_ended, c);
        return &c->session;
}
