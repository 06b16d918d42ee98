/* SPDX-License-Identifier: Apache-2.0 */
/* stream - what the streaming server runs and connects: a command with the client's own streams, a container's standard
 * streams, a port of a pod. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <fcntl.h>
#include <unistd.h>
#include "pod/files.h"
#include "pod/specgen.h"

enum { WORK_ARENA_MAX = 16 << 20, CONNECT_TIMEOUT_MS = 30000 };

static int find_running(struct pods *p, const char *id, struct container **ret, struct err *err) {
        int r = registry_find_container(p, id, ret, err);

        if (r < 0)
                return r;
        if (container_get_phase(*ret) != CONTAINER_RUNNING)
                return err_set(err, ERR_PRECONDITION, "container %s does not run", (*ret)->id);
        return 0;
}

/* Who attaches before the program starts misses nothing of it. */
static int find_attachable(struct pods *p, const char *id, struct container **ret, struct err *err) {
        int r = registry_find_container(p, id, ret, err);
        enum container_phase phase;

        if (r < 0)
                return r;
        phase = container_get_phase(*ret);
        if (phase != CONTAINER_RUNNING && phase != CONTAINER_CREATED && phase != CONTAINER_STARTING)
                return err_set(err, ERR_PRECONDITION, "container %s does not run", (*ret)->id);
        return 0;
}

int pods_check_attachable(struct pods *p, const char *id, struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;

        return find_attachable(p, id, &c, err);
}

int pods_check_running(struct pods *p, const char *id, struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;

        return find_running(p, id, &c, err);
}

int pods_check_ready(struct pods *p, const char *id, struct err *err) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        int r = registry_find_sandbox(p, id, &s, err);

        if (r < 0)
                return r;
        if (sandbox_get_phase(s) != SANDBOX_READY)
                return err_set(err, ERR_PRECONDITION, "pod sandbox %s is not ready", s->id);
        return 0;
}

int pods_exec(struct pods *p, const struct pods_exec_args *args, int *ret_code, struct err *err) {
        _cleanup_(arena_freep) struct arena *work = NULL;
        _cleanup_(container_unrefp) struct container *c = NULL;
        struct spec_process process;
        struct engine_exec_args exec = {
                .process = &process,
                .stdin_fd = args->stdin_fd,
                .stdout_fd = args->stdout_fd,
                .stderr_fd = args->stderr_fd,
                .terminal_socket = args->terminal_socket,
                .cancel_fd = args->cancel_fd,
        };
        size_t n = 0;
        int r;

        r = find_running(p, args->container_id, &c, err);
        if (r < 0)
                return r;
        while (args->argv[n])
                n++;
        work = arena_new(WORK_ARENA_MAX);
        r = specgen_exec(c, (char **) (uintptr_t) args->argv, n, work, &process, err);
        if (r < 0)
                return r;
        process.terminal = args->tty;
        exec.id = c->id;
        exec.user_ids = sandbox_user_ids(c->sandbox);
        r = p->engine->ops->exec(p->engine, &exec, ret_code, err);
        if (r == -ERR_NOT_FOUND)
                return err_set(err, ERR_PRECONDITION, "container %s has ended", c->id);
        return r;
}

int pods_attach(struct pods *p, const struct pods_attach_args *args, struct engine_attached *ret, struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        int r = find_attachable(p, args->container_id, &c, err);

        if (r < 0)
                return r;
        if (args->tty != (bool) c->config->tty)
                return err_set(err, ERR_PRECONDITION, "container %s has %s terminal, the request %s", c->id,
                               c->config->tty ? "a" : "no", args->tty ? "wants one" : "wants none");
        /* A terminal is for its size, too, so its descriptor is of use without input. */
        return p->engine->ops->attach(p->engine, c->id, args->in || args->tty, args->out, args->errs && !args->tty, ret,
                                      err);
}

/* A socket belongs to the network namespace it was made in, and a thread can visit another one. */
struct socket_maker {
        int ns_fd, family, fd;
};

static void *make_socket(void *arg) {
        struct socket_maker *m = arg;

        m->fd = setns(m->ns_fd, CLONE_NEWNET) < 0 ? -1
                                                  : socket(m->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (m->fd < 0)
                m->fd = -errno;
        return NULL;
}

static int socket_in(int ns_fd, int family) {
        struct socket_maker m = { .ns_fd = ns_fd, .family = family };
        pthread_t t;
        int r = pthread_create(&t, NULL, make_socket, &m);

        if (r != 0)
                return -r;
        (void) pthread_join(t, NULL);
        return m.fd;
}

static int wait_connected(int fd, int cancel_fd) {
        struct pollfd p[] = { { .fd = fd, .events = POLLOUT }, { .fd = cancel_fd, .events = POLLIN } };
        socklen_t len = sizeof(int);
        int r, error = 0;

        do
                r = poll(p, 2, CONNECT_TIMEOUT_MS);
        while (r < 0 && errno == EINTR);
        if (r <= 0)
                return r < 0 ? -errno : -ETIMEDOUT;
        if (!p[0].revents)
                return -ECANCELED;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
                return -errno;
        return -error;
}

static int connect_localhost(int ns_fd, int family, uint16_t port, int cancel_fd, int *ret_fd) {
        struct sockaddr_in v4 = { .sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                                   .sin6_port = htons(port),
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        const struct sockaddr *to = family == AF_INET ? (const struct sockaddr *) &v4 : (const struct sockaddr *) &v6;
        _cleanup_(fd_closep) int fd = socket_in(ns_fd, family);
        int r;

        if (fd < 0)
                return fd;
        r = connect(fd, to, family == AF_INET ? sizeof(v4) : sizeof(v6)) < 0 ? -errno : 0;
        if (r == -EINPROGRESS)
                r = wait_connected(fd, cancel_fd);
        if (r == 0)
                *ret_fd = TAKE_FD(fd);
        return r;
}

int pods_port_forward(struct pods *p, const char *id, uint16_t port, int cancel_fd, int *ret_fd, struct err *err) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        _cleanup_(arena_freep) struct arena *work = NULL;
        _cleanup_(fd_closep) int ns = -1;
        const CRI(NamespaceOption) * o;
        const char *path;
        int r, r6;

        r = pods_check_ready(p, id, err);
        if (r == 0)
                r = registry_find_sandbox(p, id, &s, err);
        if (r < 0)
                return r;
        work = arena_new(WORK_ARENA_MAX);
        o = s->config->linux && s->config->linux->security_context
                    ? s->config->linux->security_context->namespace_options
                    : NULL;
        path = pod_ns_file(s, "net", o && o->network == CRI_(NAMESPACE_MODE__NODE), work);
        ns = open(path, O_RDONLY | O_CLOEXEC);
        if (ns < 0)
                return err_sys(err, errno, "open the network namespace of pod sandbox %s", s->id);
        r = connect_localhost(ns, AF_INET, port, cancel_fd, ret_fd);
        if (r == 0)
                return 0;
        r6 = connect_localhost(ns, AF_INET6, port, cancel_fd, ret_fd);
        if (r6 == 0)
                return 0;
        return err_sys(err, -r, "connect to port %u of localhost in pod sandbox %s", port, s->id);
}
