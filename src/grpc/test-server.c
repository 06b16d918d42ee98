/* SPDX-License-Identifier: Apache-2.0 */
/* test-server - serves test-service on a socket until SIGTERM, then shuts down gracefully. For test-grpcio.py.
 * usage: test-server SOCKET [THREADS [MAX_CONNECTIONS [MAX_STREAMS]]] */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/sock.h"
#include "base/str.h"
#include "grpc/test-service.h"

enum { SHUTDOWN_MS = 5000 };

struct state {
        sd_event *loop;
        struct grpc_server *server;
        bool is_stopping;
};

static void done(void *userdata) {
        struct state *s = userdata;
        (void) sd_event_exit(s->loop, 0);
}

static int on_term(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        struct state *s = userdata;

        if (!s->is_stopping)
                grpc_server_shutdown(s->server, SHUTDOWN_MS, done, s);
        s->is_stopping = true;
        return 0;
}

static uint64_t number(int argc, char **argv, int i, uint64_t otherwise) {
        uint64_t n;
        return i < argc && str_to_u64(argv[i], &n) ? n : otherwise;
}

static int fail(const struct err *err) {
        (void) fprintf(stderr, "test-server: %s\n", err->msg);
        return 1;
}

int main(int argc, char **argv) {
        struct grpc_server_args args = { .methods = test_service, .n_methods = test_service_len };
        struct state s = { 0 };
        struct err err = { 0 };
        sigset_t set;
        int r;

        if (argc < 2)
                return 2;
        /* As the daemon: freed memory goes back to the system. */
        (void) mallopt(M_ARENA_MAX, 2);
        (void) mallopt(M_TRIM_THRESHOLD, 128 * 1024);
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        if (sock_listen_unix(argv[1], SOCK_STREAM | SOCK_NONBLOCK, 0600, &args.listen_fd, &err) < 0)
                return fail(&err);
        if (sd_event_default(&s.loop) < 0 || sd_event_add_signal(s.loop, NULL, SIGTERM, on_term, &s) < 0)
                return 1;
        args.loop = s.loop;
        args.pool = pool_new("test", number(argc, argv, 2, 16), 4096);
        args.max_connections = number(argc, argv, 3, 0);
        args.max_streams = number(argc, argv, 4, 0);
        if (grpc_server_new(&args, &s.server, &err) < 0)
                return fail(&err);
        (void) printf("ready\n");
        (void) fflush(stdout);
        r = sd_event_loop(s.loop);
        s.server = grpc_server_free(s.server);
        args.pool = pool_free(args.pool);
        s.loop = sd_event_unref(s.loop);
        (void) unlink(argv[1]);
        return r < 0;
}
