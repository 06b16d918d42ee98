/* SPDX-License-Identifier: Apache-2.0 */
/* pod port-forward - ports of this host's loopback that lead into a pod. Each connection is a process of its own with a
 * connection of its own to the daemon, so that none can hold up another. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/stream.h"
#include "cli/verbs.h"

enum { PORTS_MAX = 64, CONNECTIONS_MAX = 256, FULL_PAUSE_MS = 100, BACKLOG = 128 };

struct forwarding {
        uint16_t remote[PORTS_MAX];
        struct pollfd listeners[PORTS_MAX];
        nfds_t n;
        unsigned n_children;
};

/* "PORT", "LOCAL:PORT", ":PORT" (any free local one). */
static int parse_ports(const char *text, uint16_t *ret_local, uint16_t *ret_remote, struct err *err) {
        const char *colon = strchr(text, ':');
        char digits[8] = "";
        uint64_t local, remote;

        if (colon && colon - text < (ptrdiff_t) sizeof(digits))
                memcpy(digits, text, (size_t) (colon - text));
        if (!str_to_u64(colon ? colon + 1 : text, &remote) || remote < 1 || remote > UINT16_MAX)
                return err_set(err, ERR_INVALID, "\"%.40s\" is not [LOCAL]:PORT or PORT", text);
        local = remote;
        if (colon && colon == text)
                local = 0;
        else if (colon && (!str_to_u64(digits, &local) || local > UINT16_MAX))
                return err_set(err, ERR_INVALID, "\"%.40s\" is not [LOCAL]:PORT or PORT", text);
        *ret_local = (uint16_t) local;
        *ret_remote = (uint16_t) remote;
        return 0;
}

static int listen_on(struct forwarding *f, uint16_t local, uint16_t remote, struct err *err) {
        struct sockaddr_in a = { .sin_family = AF_INET,
                                 .sin_port = htons(local),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(a);
        int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return err_sys(err, errno, "create a socket");
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0 ||
            getsockname(fd, (struct sockaddr *) &a, &len) < 0) {
                int code = errno;

                (void) close(fd);
                return err_sys(err, code, "listen on 127.0.0.1 port %u", local);
        }
        f->remote[f->n] = remote;
        f->listeners[f->n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
        printf("127.0.0.1:%u -> %u\n", ntohs(a.sin_port), remote);
        return 0;
}

/* In a process of its own. */
static int serve(struct cli *cli, const char *pod_id, int fd, uint16_t port, struct err *err) {
        Runtime__V1__PortForwardRequest req = RUNTIME__V1__PORT_FORWARD_REQUEST__INIT;
        Runtime__V1__PortForwardResponse *res;
        struct stream_args stream = { .in_fd = fd, .out_fd = fd, .err_fd = -1, .port = port };
        int32_t ports[] = { port };
        int r, code;

        cli->client = NULL; /* the parent's */
        req.pod_sandbox_id = (char *) (uintptr_t) pod_id;
        req.port = ports;
        req.n_port = 1;
        r = cli_call(cli, "/runtime.v1.RuntimeService/PortForward", &req.base,
                     &runtime__v1__port_forward_response__descriptor, CLI_TIMEOUT_MS, &res, err);
        if (r < 0)
                return r;
        stream.url = res->url;
        return stream_run(&stream, &code, err);
}

static void take_connection(struct cli *cli, struct forwarding *f, const char *pod_id, nfds_t i) {
        int fd = accept4(f->listeners[i].fd, NULL, NULL, SOCK_CLOEXEC);
        pid_t parent = getpid(), pid;
        struct err err;

        if (fd < 0)
                return;
        pid = fork();
        if (pid == 0) {
                (void) signal(SIGINT, SIG_DFL);
                (void) signal(SIGTERM, SIG_DFL);
                (void) prctl(PR_SET_PDEATHSIG, SIGTERM); /* connections end with us */
                if (getppid() != parent)                 /* who has ended before that */
                        _exit(EXIT_FINE);
                for (nfds_t k = 0; k < f->n; k++)
                        (void) close(f->listeners[k].fd);
                if (serve(cli, pod_id, fd, f->remote[i], &err) < 0)
                        (void) cli_fail(&err);
                (void) fflush(stderr);
                _exit(EXIT_FINE);
        }
        if (pid > 0)
                f->n_children++;
        else
                fprintf(stderr, "proxmox-lxcri: a connection is refused: %s\n", strerror(errno));
        (void) close(fd);
}

static void forward(struct cli *cli, struct forwarding *f, const char *pod_id) {
        while (!cli_interrupted()) {
                bool full = f->n_children >= CONNECTIONS_MAX;
                int r = poll(f->listeners, full ? 0 : f->n, full ? FULL_PAUSE_MS : 1000);

                while (f->n_children && waitpid(-1, NULL, WNOHANG) > 0)
                        f->n_children--;
                for (nfds_t i = 0; r > 0 && i < f->n; i++)
                        if (f->listeners[i].revents)
                                take_connection(cli, f, pod_id, i);
        }
}

static int run(struct cli *cli, const struct cli_args *args) {
        struct forwarding f = { 0 };
        cri_pod *pod;
        struct err err;
        int r = cri_find_pod(cli, args->rest[0], &pod, &err);

        for (size_t i = 1; r == 0 && i < args->n_rest; i++) {
                uint16_t local, remote;

                r = parse_ports(args->rest[i], &local, &remote, &err);
                if (r == 0)
                        r = listen_on(&f, local, remote, &err);
        }
        if (r < 0)
                return cli_fail(&err);
        (void) fflush(stdout);
        cli_catch_signals();
        forward(cli, &f, pod->id);
        return EXIT_FINE;
}

const struct cli_verb verb_pod_port_forward = {
        .name = "pod port-forward",
        .args = "POD [LOCAL]:PORT...",
        .help = "Forward local ports into a pod",
        .description =
                "Listens on 127.0.0.1 and connects each connection to the port of the pod's own localhost, until it "
                "is interrupted.\n"
                "\"8080:80\": local port 8080; \"80\": the same on both sides; \":80\": any free one, which is "
                "printed.",
        .options = CLI_NO_OPTIONS,
        .fn = run,
        .min_args = 2,
        .max_args = PORTS_MAX + 1,
};
