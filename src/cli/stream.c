/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "streaming/spdy-client.h"
#include "streaming/tls.h"

enum {
        HIGH = 256 * 1024,    /* waiting in one direction: no more is read */
        OUT_MAX = 512 * 1024, /* past what one round can add */
        SINK_MAX = 512 * 1024,
        HEAD_MAX = 16 * 1024,
        STATUS_MAX = 64 * 1024,
        STATUS_VALUES_MAX = 1000,
        WRITE_MAX = 4096, /* what a pipe that can be written to takes without blocking */
        ANSWER_TIMEOUT_MS = 30000,
};

struct sink {
        int fd;
        bool ended, is_socket; /* ended: by the server */
        struct queue waiting;
};

struct stream {
        const struct stream_args *args;
        int sock, signals;
        struct tls_conn *tls;
        struct queue out;
        struct spdy_client spdy;
        uint32_t in_id, out_id, err_id, status_id, resize_id;
        bool in_ready, in_ended, resize_ready, sock_ended;
        unsigned n_opened;
        bool was_ready;   /* "ready" was called */
        bool was_greeted; /* the terminal's size was told */
        struct sink to_out, to_err;
        struct strbuf status;
        bool status_ended;
};

/* ---- connecting ---- */

static int parse_url(const char *url, bool *ret_tls, char host[64], uint16_t *ret_port, const char **ret_path,
                     struct err *err) {
        const char *rest = str_after(url, "https://"), *slash, *colon;
        char digits[8];
        uint64_t port;

        *ret_tls = rest != NULL;
        if (!rest)
                rest = str_after(url, "http://");
        slash = rest ? strchr(rest, '/') : NULL;
        colon = slash ? memrchr(rest, ':', (size_t) (slash - rest)) : NULL;
        if (!colon || colon - rest > 60 || slash - colon > 6)
                return err_set(err, ERR_INTERNAL, "the daemon gave out the URL %.200s, which is not understood", url);
        (void) snprintf(digits, sizeof(digits), "%.*s", (int) (slash - colon - 1), colon + 1);
        (void) snprintf(host, 64, "%.*s", (int) (colon - rest), rest);
        if (!str_to_u64(digits, &port) || port > UINT16_MAX)
                return err_set(err, ERR_INTERNAL, "the daemon gave out the URL %.200s, which has no port", url);
        *ret_port = (uint16_t) port;
        *ret_path = slash;
        return 0;
}

static int connect_to(const char *host, uint16_t port, int *ret, struct err *err) {
        struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
        char inner[64];
        const struct sockaddr *to = NULL;
        _cleanup_(fd_closep) int fd = -1;

        (void) snprintf(inner, sizeof(inner), "%s", host[0] == '[' ? host + 1 : host);
        inner[strcspn(inner, "]")] = '\0';
        if (inet_pton(AF_INET, inner, &v4.sin_addr) == 1)
                to = (const struct sockaddr *) &v4;
        else if (inet_pton(AF_INET6, inner, &v6.sin6_addr) == 1)
                to = (const struct sockaddr *) &v6;
        else
                return err_set(err, ERR_INTERNAL, "the daemon's streaming address %s is not an IP address", host);
        fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, to, to == (const struct sockaddr *) &v4 ? sizeof(v4) : sizeof(v6)) < 0)
                return err_sys(err, errno, "connect to the daemon's streaming server at %s port %u", host, port);
        *ret = TAKE_FD(fd);
        return 0;
}

static void ask_upgrade(struct stream *s, const char *host, const char *path) {
        strbuf_printf(&s->out.bytes,
                      "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                      "X-Stream-Protocol-Version: %s\r\nContent-Length: 0\r\n\r\n",
                      path, host, s->args->port ? "portforward.k8s.io" : "v4.channel.k8s.io");
}

/* ---- the socket ---- */

static ssize_t receive(struct stream *s, void *buffer, size_t size) {
        ssize_t n = s->tls ? tls_read(s->tls, buffer, size) : recv(s->sock, buffer, size, MSG_DONTWAIT);

        return n < 0 && !s->tls ? -errno : n;
}

static int flush_out(struct stream *s, struct err *err) {
        while (queue_len(&s->out)) {
                ssize_t n =
                        s->tls ? tls_write(s->tls, queue_front(&s->out), queue_len(&s->out))
                               : send(s->sock, queue_front(&s->out), queue_len(&s->out), MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && !s->tls)
                        n = -errno;
                if (n == -EAGAIN || n == -EINTR)
                        return 0;
                /* What it said before it went is still to be read. */
                if (n == -EPIPE || n == -ECONNRESET) {
                        queue_done(&s->out);
                        return 0;
                }
                if (n < 0)
                        return err_sys(err, (int) -n, "write to the daemon's streaming server");
                queue_consume(&s->out, (size_t) n);
        }
        return 0;
}

/* ---- what the server sends ---- */

static void on_opened(void *userdata, uint32_t id) {
        struct stream *s = userdata;

        s->n_opened++;
        s->in_ready = s->in_ready || id == s->in_id;
        s->resize_ready = s->resize_ready || id == s->resize_id;
}

static void on_data(void *userdata, uint32_t id, const uint8_t *data, size_t len) {
        struct stream *s = userdata;

        if (id == s->out_id && s->to_out.fd >= 0)
                queue_append(&s->to_out.waiting, data, len);
        else if (id == s->err_id && s->to_err.fd >= 0)
                queue_append(&s->to_err.waiting, data, len);
        else if (id == s->status_id)
                strbuf_append(&s->status, data, len);
}

static void on_ended(void *userdata, uint32_t id) {
        struct stream *s = userdata;

        s->to_out.ended = s->to_out.ended || id == s->out_id;
        s->to_err.ended = s->to_err.ended || id == s->err_id;
        s->status_ended = s->status_ended || id == s->status_id;
        /* An exec whose program has closed its input; a connection's way there goes with the way back. */
        s->in_ended = s->in_ended || (id == s->in_id && id != s->out_id);
}

static uint32_t open_stream(struct stream *s, const char *type) {
        char port[8];
        const char *const headers[] = { "streamtype", type, "port", port, "requestid", "0", NULL };
        const char *const plain[] = { "streamtype", type, NULL };

        (void) snprintf(port, sizeof(port), "%u", s->args->port);
        return spdy_client_open(&s->spdy, s->args->port ? headers : plain);
}

static void open_streams(struct stream *s) {
        static const struct spdy_client_handler handler = { on_opened, on_data, on_ended };
        const struct stream_args *a = s->args;

        spdy_client_init(&s->spdy, &s->out, &handler, s);
        s->status_id = open_stream(s, "error");
        if (a->port) {
                s->in_id = s->out_id = open_stream(s, "data");
                spdy_client_fin(&s->spdy, s->status_id);
                return;
        }
        if (a->in_fd >= 0)
                s->in_id = open_stream(s, "stdin");
        if (a->out_fd >= 0)
                s->out_id = open_stream(s, "stdout");
        if (a->err_fd >= 0 && !a->tty)
                s->err_id = open_stream(s, "stderr");
        if (a->tty)
                s->resize_id = open_stream(s, "resize");
}

/* The answer to the upgrade, a byte at a time, so that nothing of SPDY is taken. */
static int read_answer(struct stream *s, struct err *err) {
        _cleanup_strbuf_ struct strbuf head = STRBUF(HEAD_MAX);
        uint64_t give_up_ns = clock_monotonic_ns() + ANSWER_TIMEOUT_MS * UINT64_C(1000000);

        while (head.len < 4 || memcmp(head.data + head.len - 4, "\r\n\r\n", 4) != 0) {
                struct pollfd p = { .fd = s->sock, .events = POLLIN };
                char byte;
                ssize_t n;
                int r = flush_out(s, err);

                if (r < 0)
                        return r;
                n = receive(s, &byte, 1);
                if (n == 1) {
                        strbuf_putc(&head, byte);
                        if (head.overflow)
                                return err_set(err, ERR_INTERNAL, "the daemon's streaming server answers at length");
                        continue;
                }
                if (n != -EAGAIN && n != -EINTR)
                        return err_set(err, ERR_UNAVAILABLE, "the daemon's streaming server closed the connection");
                if (queue_len(&s->out))
                        p.events |= POLLOUT;
                if (clock_monotonic_ns() > give_up_ns)
                        return err_set(err, ERR_DEADLINE, "the daemon's streaming server does not answer");
                (void) poll(&p, 1, 1000);
        }
        if (!str_after(strbuf_str(&head), "HTTP/1.1 101 "))
                return err_set(err, ERR_UNAVAILABLE, "the daemon's streaming server refuses: %.*s",
                               (int) strcspn(head.data, "\r\n"), head.data);
        return 0;
}

static int read_socket(struct stream *s, struct err *err) {
        uint8_t buffer[SPDY_CLIENT_PIECE_MAX];

        for (;;) {
                ssize_t n;
                int r;

                if (queue_len(&s->to_out.waiting) >= HIGH || queue_len(&s->to_err.waiting) >= HIGH)
                        return 0;
                n = receive(s, buffer, sizeof(buffer));
                if (n == -EAGAIN || n == -EINTR)
                        return 0;
                if (n <= 0) {
                        s->sock_ended = true;
                        return 0;
                }
                r = spdy_client_feed(&s->spdy, buffer, (size_t) n, err);
                if (r < 0)
                        return r;
        }
}

/* ---- our side ---- */

static void read_input(struct stream *s) {
        uint8_t buffer[SPDY_CLIENT_PIECE_MAX];
        ssize_t n = read(s->args->in_fd, buffer, sizeof(buffer));

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n > 0) {
                spdy_client_send(&s->spdy, s->in_id, buffer, (size_t) n);
                return;
        }
        spdy_client_fin(&s->spdy, s->in_id);
        s->in_ended = true;
}

/* Who does not read any more is not written to; the rest goes on. */
static void write_sink(struct sink *k) {
        size_t len = queue_len(&k->waiting);
        ssize_t n = k->is_socket ? send(k->fd, queue_front(&k->waiting), len, MSG_NOSIGNAL | MSG_DONTWAIT)
                                 : write(k->fd, queue_front(&k->waiting), MIN_OF(len, (size_t) WRITE_MAX));

        if (n >= 0) {
                queue_consume(&k->waiting, (size_t) n);
        } else if (errno != EINTR && errno != EAGAIN) {
                queue_done(&k->waiting);
                k->fd = -1;
        }
}

static void send_size(struct stream *s) {
        uint16_t columns, rows;
        char text[64];

        if (!s->resize_ready || !terminal_size(&columns, &rows))
                return;
        (void) snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}\n", columns, rows);
        spdy_client_send(&s->spdy, s->resize_id, text, strlen(text));
}

static int take_signals(struct stream *s, struct err *err) {
        struct signalfd_siginfo info;

        while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
                if (info.ssi_signo == SIGWINCH)
                        send_size(s);
                else
                        return err_set(err, ERR_CANCELLED, "ended by a signal");
        }
        return 0;
}

static bool is_over(const struct stream *s) {
        if (queue_len(&s->to_out.waiting) || queue_len(&s->to_err.waiting))
                return false;
        return s->sock_ended || s->spdy.is_gone ||
               (s->status_ended && (s->to_out.ended || !s->out_id) && (s->to_err.ended || !s->err_id));
}

static void greet(struct stream *s) {
        if (!s->resize_ready || s->was_greeted)
                return;
        s->was_greeted = true;
        send_size(s);
}

static int say_ready(struct stream *s, struct err *err) {
        if (s->was_ready || s->n_opened < (s->spdy.last_id + 1) / 2)
                return 0;
        s->was_ready = true;
        return s->args->ready ? s->args->ready(s->args->userdata, err) : 0;
}

static int turn(struct stream *s, struct err *err) {
        bool room = queue_len(&s->to_out.waiting) < HIGH && queue_len(&s->to_err.waiting) < HIGH;
        bool takes_input = s->in_id && s->in_ready && !s->in_ended && queue_len(&s->out) < HIGH;
        struct pollfd p[] = {
                { .fd = s->sock_ended ? -1 : s->sock,
                  .events = (short) ((room ? POLLIN : 0) | (queue_len(&s->out) ? POLLOUT : 0)) },
                { .fd = takes_input ? s->args->in_fd : -1, .events = POLLIN },
                { .fd = queue_len(&s->to_out.waiting) ? s->to_out.fd : -1, .events = POLLOUT },
                { .fd = queue_len(&s->to_err.waiting) ? s->to_err.fd : -1, .events = POLLOUT },
                { .fd = s->signals, .events = POLLIN },
        };
        int r = 0;

        if (cli_interrupted())
                return err_set(err, ERR_CANCELLED, "interrupted");
        if (poll(p, ELEMENTSOF(p), -1) < 0)
                return errno == EINTR ? 0 : err_sys(err, errno, "wait for the daemon's streaming server");
        if (p[0].revents && room)
                r = read_socket(s, err);
        if (r == 0 && p[4].revents)
                r = take_signals(s, err);
        if (r < 0)
                return r;
        if (p[1].revents)
                read_input(s);
        if (p[2].revents)
                write_sink(&s->to_out);
        if (p[3].revents)
                write_sink(&s->to_err);
        greet(s);
        r = flush_out(s, err);
        return r < 0 ? r : say_ready(s, err);
}

/* ---- the end ---- */

static int failure(const json_t *status, int *ret_code, struct err *err) {
        const char *reason = json_string_value(json_object_get(status, "reason"));
        const char *message = json_string_value(json_object_get(status, "message"));
        const json_t *causes = json_object_get(json_object_get(status, "details"), "causes"), *cause;
        size_t i;

        json_array_foreach(causes, i, cause) {
                const char *code = json_string_value(json_object_get(cause, "message"));
                uint64_t n;

                if (str_eq(reason, "NonZeroExitCode") && code &&
                    str_eq(json_string_value(json_object_get(cause, "reason")), "ExitCode") && str_to_u64(code, &n) &&
                    n <= 255) {
                        *ret_code = (int) n;
                        return 0;
                }
        }
        return err_set(err, ERR_UNKNOWN, "%.900s", message ? message : "it failed, and the daemon does not say why");
}

static int take_status(const struct stream *s, int *ret_code, struct err *err) {
        _cleanup_(json_unrefp) json_t *status = NULL;

        *ret_code = 0;
        if (s->args->port) /* a plain text, or nothing */
                return s->status.len ? err_set(err, ERR_UNAVAILABLE, "%.900s", strbuf_str(&s->status)) : 0;
        if (!s->status.len)
                return err_set(err, ERR_UNAVAILABLE,
                               "the connection to the daemon was lost; what it ran has been ended, or goes on");
        if (json_load_bounded(s->status.data, s->status.len, STATUS_VALUES_MAX, "the daemon's last word", &status,
                              err) < 0)
                return -(int) err->code;
        if (str_eq(json_string_value(json_object_get(status, "status")), "Success"))
                return 0;
        return failure(status, ret_code, err);
}

static int run(struct stream *s, int *ret_code, struct err *err) {
        char host[64];
        const char *path;
        uint16_t port;
        bool tls;
        int r = parse_url(s->args->url, &tls, host, &port, &path, err);

        if (r == 0)
                r = connect_to(host, port, &s->sock, err);
        if (r == 0 && tls)
                r = fcntl(s->sock, F_SETFL, O_NONBLOCK) < 0 ? err_sys(err, errno, "set up a connection")
                                                            : tls_connect(s->sock, &s->tls, err);
        if (r < 0)
                return r;
        ask_upgrade(s, host, path);
        r = read_answer(s, err);
        if (r < 0)
                return r;
        open_streams(s);
        r = flush_out(s, err);
        if (r == 0)
                r = read_socket(s, err); /* TLS may have more than was asked for */
        if (r == 0) {
                greet(s);
                r = say_ready(s, err);
        }
        while (r == 0 && !is_over(s))
                r = turn(s, err);
        return r < 0 ? r : take_status(s, ret_code, err);
}

/* With a terminal, sizes and what ends us come by descriptor, so that the terminal is put back. */
static int watch_signals(sigset_t *before) {
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGWINCH);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGHUP);
        (void) sigprocmask(SIG_BLOCK, &set, before);
        return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int stream_run(const struct stream_args *args, int *ret_code, struct err *err) {
        struct stream s = { .args = args, .sock = -1, .signals = -1 };
        sigset_t before;
        int r;

        s.out = QUEUE(OUT_MAX);
        s.to_out = (struct sink){ .fd = args->out_fd, .is_socket = args->port, .waiting = QUEUE(SINK_MAX) };
        s.to_err = (struct sink){ .fd = args->err_fd, .waiting = QUEUE(SINK_MAX) };
        s.status = STRBUF(STATUS_MAX);
        if (args->tty)
                s.signals = watch_signals(&before);
        r = run(&s, ret_code, err);
        if (args->tty)
                (void) sigprocmask(SIG_SETMASK, &before, NULL);
        (void) tls_conn_free(s.tls);
        (void) fd_close(s.sock);
        (void) fd_close(s.signals);
        queue_done(&s.out);
        queue_done(&s.to_out.waiting);
        queue_done(&s.to_err.waiting);
        strbuf_done(&s.status);
        return r;
}
