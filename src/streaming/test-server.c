/* SPDX-License-Identifier: Apache-2.0 */
/* test-server - the streaming server with a backend of this host's own processes, for clients of other makes
 * (test-streaming.py). Lines on stdin ask for URLs, one line on stdout answers:
 *
 *   exec FLAGS ARG<tab>ARG...      attach FLAGS SHELL-SCRIPT      forward PORT...      fds
 *
 * FLAGS are letters of "tioe" (tty, stdin, stdout, stderr) or "-". A "container" runs SHELL-SCRIPT from the attach on;
 * for "slow" an attach takes half a second.
 */
#undef NDEBUG
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "base/log.h"
#include "base/sock.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "streaming/streaming.h"

extern char **environ;

static int spawn(const char *const *argv, const int fds[3], const char *terminal, pid_t *ret, struct err *err) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t defaults;
        int r;

        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attr);
        sigemptyset(&defaults);
        sigaddset(&defaults, SIGPIPE);
        (void) posix_spawnattr_setsigdefault(&attr, &defaults);
        (void) posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF);
        for (int i = 0; i < 3; i++) {
                if (terminal)
                        (void) posix_spawn_file_actions_addopen(&actions, i, terminal, O_RDWR, 0);
                else if (fds[i] >= 0)
                        (void) posix_spawn_file_actions_adddup2(&actions, fds[i], i);
                else
                        (void) posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
        }
        r = posix_spawnp(ret, argv[0], &actions, &attr, (char *const *) (uintptr_t) argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attr);
        return r ? err_sys(err, r, "start %s", argv[0]) : 0;
}

static int open_master(char *name, size_t size, struct err *err) {
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

        if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 || ptsname_r(master, name, size) != 0) {
                (void) fd_close(master);
                return err_sys(err, errno, "open a terminal");
        }
        return master;
}

/* Wait for the process, or kill it with its session when the client goes. */
static int await(pid_t pid, int cancel_fd) {
        _cleanup_(fd_closep) int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = cancel_fd, .events = POLLIN } };
        int status;

        assert(pidfd >= 0);
        while (poll(p, 2, -1) < 0)
                assert(errno == EINTR);
        if (!p[0].revents)
                (void) kill(-pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0)
                assert(errno == EINTR);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int backend_exec(void *userdata, const struct streaming_exec *req, int stdin_fd, int stdout_fd, int stderr_fd,
                        int terminal_sock, int cancel_fd, int *ret_code, struct err *err) {
        int fds[3] = { stdin_fd, stdout_fd, stderr_fd }, master = -1, r;
        char name[64];
        pid_t pid;

        if (str_eq(req->argv[0], "exit-code")) { /* what no process can end with */
                *ret_code = (int) strtol(req->argv[1], NULL, 10);
                return 0;
        }
        if (req->tty) {
                master = open_master(name, sizeof(name), err);
                if (master < 0)
                        return master;
        }
        r = spawn(req->argv, fds, req->tty ? name : NULL, &pid, err);
        if (r == 0 && req->tty)
                assert(sock_send(terminal_sock, "t", 1, &master, 1) == 0);
        (void) fd_close(master);
        if (r == 0)
                *ret_code = await(pid, cancel_fd);
        return r;
}

static int backend_attach(void *userdata, const struct streaming_attach *req, struct streaming_attached *ret,
                          struct err *err) {
        const char *argv[] = { "sh", "-c", req->container_id, NULL };
        int pipes[3][2], fds[3] = { -1, -1, -1 }, r;
        char name[64];
        pid_t pid;

        if (str_eq(req->container_id, "missing"))
                return err_set(err, ERR_NOT_FOUND, "container \"missing\" not found");
        if (str_eq(req->container_id, "slow")) {
                argv[2] = "echo attached";
                (void) usleep(500000);
        }
        if (req->tty) {
                int master = open_master(name, sizeof(name), err);

                if (master < 0)
                        return master;
                r = spawn(argv, fds, name, &pid, err);
                assert(r == 0);
                ret->stdin_fd = fcntl(master, F_DUPFD_CLOEXEC, 3);
                ret->terminal_fd = fcntl(master, F_DUPFD_CLOEXEC, 3);
                ret->stdout_fd = master;
                return 0;
        }
        for (int i = 0; i < 3; i++) {
                assert(pipe2(pipes[i], O_CLOEXEC) == 0);
                fds[i] = pipes[i][i > 0];
        }
        r = spawn(argv, fds, NULL, &pid, err);
        assert(r == 0);
        for (int i = 0; i < 3; i++)
                (void) close(fds[i]);
        ret->stdin_fd = pipes[0][1];
        ret->stdout_fd = pipes[1][0];
        ret->stderr_fd = pipes[2][0];
        return 0;
}

static int backend_port_forward(void *userdata, const char *sandbox_id, uint16_t port, int cancel_fd, int *ret_fd,
                                struct err *err) {
        struct sockaddr_in a = { .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return err_sys(err, errno, "create socket");
        if (connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0) {
                (void) close(fd);
                return err_set(err, ERR_UNAVAILABLE, "connect to port %u: connection refused", port);
        }
        (void) fcntl(fd, F_SETFL, O_NONBLOCK);
        *ret_fd = fd;
        return 0;
}

/* ---- requests on stdin ---- */

struct control {
        struct streaming *server;
        struct strbuf in;
};

static int make_exec(struct streaming *s, const char *flags, char *rest, struct arena *a, const char **ret,
                     struct err *err) {
        struct streaming_exec q = { .container_id = "c",
                                    .tty = strchr(flags, 't'),
                                    .want_stdin = strchr(flags, 'i'),
                                    .want_stdout = strchr(flags, 'o'),
                                    .want_stderr = strchr(flags, 'e') };
        const char *argv[64] = { NULL };
        size_t n = 0;

        for (char *arg; (arg = strsep(&rest, "\t")) && n < 63;)
                argv[n++] = arg;
        q.argv = argv;
        return streaming_exec_url(s, &q, a, ret, err);
}

static int make_attach(struct streaming *s, const char *flags, const char *script, struct arena *a, const char **ret,
                       struct err *err) {
        struct streaming_attach q = { .container_id = script,
                                      .tty = strchr(flags, 't'),
                                      .want_stdin = strchr(flags, 'i'),
                                      .want_stdout = strchr(flags, 'o'),
                                      .want_stderr = strchr(flags, 'e') };

        return streaming_attach_url(s, &q, a, ret, err);
}

static int make_forward(struct streaming *s, char *rest, struct arena *a, const char **ret, struct err *err) {
        struct streaming_port_forward q = { .sandbox_id = "sandbox" };
        int32_t ports[256];

        for (char *arg; (arg = strsep(&rest, " "));)
                if (*arg)
                        ports[q.n_ports++] = (int32_t) strtol(arg, NULL, 10);
        q.ports = ports;
        return streaming_port_forward_url(s, &q, a, ret, err);
}

static void serve_line(struct control *c, char *line) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        const char *verb = strsep(&line, " "), *url = NULL, *flags;
        struct err err;
        int r = 0;

        if (str_eq(verb, "fds")) {
                unsigned n = 0;

                for (int fd = 0; fd < 1024; fd++)
                        n += fcntl(fd, F_GETFD) >= 0;
                printf("%u\n", n);
                return;
        }
        if (str_eq(verb, "forward")) {
                r = make_forward(c->server, line, a, &url, &err);
        } else {
                flags = strsep(&line, " ");
                r = str_eq(verb, "exec") ? make_exec(c->server, flags, line, a, &url, &err)
                                         : make_attach(c->server, flags, line ? line : "", a, &url, &err);
        }
        if (r < 0)
                printf("error %s %s\n", err_code_name(err.code), err.msg);
        else
                printf("%s\n", url);
}

static int on_stdin(sd_event_source *io, int fd, uint32_t revents, void *userdata) {
        struct control *c = userdata;
        char buffer[4096], *end;
        ssize_t n = read(fd, buffer, sizeof(buffer));

        if (n <= 0)
                return sd_event_exit(sd_event_source_get_event(io), 0);
        strbuf_append(&c->in, buffer, (size_t) n);
        while (c->in.len && (end = memchr(c->in.data, '\n', c->in.len))) {
                *end = '\0';
                serve_line(c, c->in.data);
                (void) fflush(stdout);
                strbuf_consume(&c->in, (size_t) (end - c->in.data) + 1);
        }
        return 0;
}

static uint64_t number(const char *name) {
        const char *value = getenv(name);
        uint64_t n = 0;

        return value && str_to_u64(value, &n) ? n : 0;
}

int main(void) {
        struct pool *pool = pool_new("streaming", 64, 64);
        struct streaming_args args = {
                .pool = pool,
                .backend = { .exec = backend_exec, .attach = backend_attach, .port_forward = backend_port_forward },
                .address = getenv("STREAMING_ADDRESS"),
                .tls_cert = getenv("STREAMING_CERT"),
                .tls_key = getenv("STREAMING_KEY"),
                .max_connections = number("STREAMING_CONNECTIONS"),
                .idle_timeout_ms = number("STREAMING_IDLE_MS"),
                .creation_timeout_ms = number("STREAMING_CREATION_MS"),
                .token_ttl_ms = number("STREAMING_TTL_MS")
        };
        struct control c = { .in = STRBUF(1 << 20) };
        sd_event *loop = NULL;
        struct err err;

        (void) signal(SIGPIPE, SIG_IGN);
        log_set_level(getenv("STREAMING_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
        assert(sd_event_new(&loop) >= 0);
        args.loop = loop;
        if (streaming_new(&args, &c.server, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                return 1;
        }
        assert(sd_event_add_io(loop, NULL, 0, POLLIN, on_stdin, &c) >= 0);
        printf("%s\n", streaming_base_url(c.server));
        (void) fflush(stdout);
        assert(sd_event_loop(loop) >= 0);
        c.server = streaming_free(c.server);
        (void) pool_free(pool);
        (void) sd_event_unref(loop);
        strbuf_done(&c.in);
        return 0;
}
