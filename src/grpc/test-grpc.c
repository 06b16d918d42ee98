/* SPDX-License-Identifier: Apache-2.0 */
/* Our client against our server, over a socket, with the loop on a thread of its own. */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/sock.h"
#include "base/str.h"
#include "grpc/client.h"
#include "grpc/test-service.h"
#include "proto/cri.h"

#define DESC(m) (&runtime__v1__##m##__descriptor)
#define EXEC_SYNC "/runtime.v1.RuntimeService/ExecSync"
#define STREAM_IMAGES "/runtime.v1.ImageService/StreamImages"

static char folder[64] = "/tmp/test-grpc-XXXXXX", path[96];
static pthread_t loop_thread;
static int stop_fd;
static struct pool *pool;

struct loop {
        sd_event *event;
        struct grpc_server *server;
};

static void on_done(void *userdata) {
        struct loop *l = userdata;
        (void) sd_event_exit(l->event, 0);
}

static int on_stop(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct loop *l = userdata;

        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        grpc_server_shutdown(l->server, 10000, on_done, l);
        return 0;
}

static void *serve(void *arg) {
        struct grpc_server_args args = { .methods = test_service, .n_methods = test_service_len, .pool = pool };
        struct loop l = { 0 };
        struct err err;

        args.listen_fd = *(int *) arg;
        assert(sd_event_new(&l.event) >= 0);
        args.loop = l.event;
        assert(grpc_server_new(&args, &l.server, &err) == 0);
        assert(sd_event_add_io(l.event, NULL, stop_fd, EPOLLIN, on_stop, &l) >= 0);
        assert(sd_event_loop(l.event) >= 0);
        (void) grpc_server_free(l.server);
        (void) sd_event_unref(l.event);
        return NULL;
}

static void start(void) {
        static int listen_fd;
        struct err err;

        stop_fd = eventfd(0, EFD_CLOEXEC);
        pool = pool_new("test", 8, 1000);
        assert(sock_listen_unix(path, SOCK_STREAM | SOCK_NONBLOCK, 0600, &listen_fd, &err) == 0);
        assert(pthread_create(&loop_thread, NULL, serve, &listen_fd) == 0);
}

static void stop(void) {
        uint64_t one = 1;

        assert(write(stop_fd, &one, sizeof(one)) == sizeof(one));
        (void) pthread_join(loop_thread, NULL);
        pool = pool_free(pool);
        stop_fd = fd_close(stop_fd);
}

static int exec_sync(struct grpc_client *c, const char *verb, const char *arg, int64_t number, uint64_t timeout_ms,
                     struct arena *a, Runtime__V1__ExecSyncResponse **ret, struct err *err) {
        Runtime__V1__ExecSyncRequest q = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
        char *cmd[] = { (char *) (uintptr_t) arg };
        ProtobufCMessage *m = NULL;
        int r;

        q.container_id = (char *) (uintptr_t) verb;
        q.timeout = number;
        q.n_cmd = arg ? 1 : 0;
        q.cmd = cmd;
        r = grpc_client_call(c, EXEC_SYNC, &q.base, DESC(exec_sync_response), timeout_ms, a, &m, err);
        *ret = (void *) m;
        return r;
}

static int cancels(struct grpc_client *c) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100000);
        Runtime__V1__ExecSyncResponse *x;
        struct err err;

        assert(exec_sync(c, "cancels", NULL, 0, 0, a, &x, &err) == 0);
        return x->exit_code;
}

/* Until so many calls of "sleep" are at it: however long a busy machine takes for it. */
static void wait_for_sleeping(int n) {
        for (int i = 0; i < 2000 && test_service_sleeping() != n; i++)
                (void) usleep(5000);
        assert(test_service_sleeping() == n);
}

static void wait_for_cancels(struct grpc_client *c, int n) {
        for (int i = 0; i < 500 && cancels(c) < n; i++)
                (void) usleep(10000);
        assert(cancels(c) == n);
}

static void test_unary(struct grpc_client *c) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100 << 20);
        Runtime__V1__VersionRequest q = RUNTIME__V1__VERSION_REQUEST__INIT;
        Runtime__V1__VersionResponse *v;
        Runtime__V1__ExecSyncResponse *x;
        ProtobufCMessage *m = NULL;
        struct err err = { 0 };
        char *big = xcalloc(1, (16 << 20) + 1);

        q.version = (char *) "v1";
        assert(grpc_client_call(c, "/runtime.v1.RuntimeService/Version", &q.base, DESC(version_response), 1000, a, &m,
                                &err) == 0);
        v = (void *) m;
        assert(str_eq(v->version, "v1") && str_eq(v->runtime_name, "test"));
        assert(exec_sync(c, "echo", "h\xc3\xa9", 0, 1000, a, &x, &err) == 0 && x->stdout.len == 3);
        assert(exec_sync(c, "fail", "100% d\xc3\xa9j\xc3\xa0\n\xe2\x82\xac", ERR_NOT_FOUND, 0, a, &x, &err) ==
               -ERR_NOT_FOUND);
        assert(str_eq(err.msg, "100% d\xc3\xa9j\xc3\xa0\n\xe2\x82\xac"));
        assert(grpc_client_call(c, "/runtime.v1.RuntimeService/Nope", &q.base, DESC(version_response), 0, a, &m,
                                &err) == -ERR_UNIMPLEMENTED);
        assert(str_eq(err.msg, "unknown method Nope for service runtime.v1.RuntimeService"));
        /* Just below 16 MiB both ways, and past it. */
        assert(exec_sync(c, "fill", NULL, (16 << 20) - 8, 0, a, &x, &err) == 0 && x->stdout.len == (16 << 20) - 8);
        assert(exec_sync(c, "fill", NULL, 16 << 20, 0, a, &x, &err) == -ERR_EXHAUSTED);
        assert(strstr(err.msg, "trying to send message larger than max"));
        memset(big, 'x', (16 << 20) - 20);
        assert(exec_sync(c, "count", big, 0, 0, a, &x, &err) == 0 && x->exit_code == (16 << 20) - 20);
        memset(big, 'x', 16 << 20);
        assert(exec_sync(c, "count", big, 0, 0, a, &x, &err) == -ERR_EXHAUSTED);
        free(big);
}

static void test_deadline(struct grpc_client *c) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100000);
        Runtime__V1__ExecSyncResponse *x;
        struct err err = { 0 };
        uint64_t before = clock_monotonic_ns(), took;
        int n = cancels(c);

        assert(exec_sync(c, "sleep", NULL, 60000, 200, a, &x, &err) == -ERR_DEADLINE);
        took = (clock_monotonic_ns() - before) / 1000000;
        assert(took >= 200 && took < 10000);
        /* On a busy machine it may not have begun in that time: then it never does. */
        wait_for_sleeping(0);
        assert(cancels(c) - n <= 1);
        /* A handler that does not look does not keep the caller waiting, nor does its late answer harm. */
        assert(exec_sync(c, "stubborn", NULL, 200, 20, a, &x, &err) == -ERR_DEADLINE);
        assert(exec_sync(c, "echo", "x", 0, 1000, a, &x, &err) == 0);
        (void) usleep(300000);
        assert(exec_sync(c, "echo", "x", 0, 1000, a, &x, &err) == 0);
}

struct seen {
        uint64_t n, stop_at;
};

static int each_image(const ProtobufCMessage *message, void *userdata) {
        const Runtime__V1__StreamImagesResponse *r = (const void *) message;
        struct seen *s = userdata;

        assert(r->n_images == 1 && r->images[0]->size == s->n);
        s->n++;
        return s->n == s->stop_at;
}

static int each_event(const ProtobufCMessage *message, void *userdata) {
        struct seen *s = userdata;
        s->n++;
        return s->n == s->stop_at;
}

static int stream_images(struct grpc_client *c, const char *n, const char *bytes, const char *then, struct seen *seen,
                         struct err *err) {
        Runtime__V1__StreamImagesRequest q = RUNTIME__V1__STREAM_IMAGES_REQUEST__INIT;
        Runtime__V1__ImageFilter f = RUNTIME__V1__IMAGE_FILTER__INIT;
        Runtime__V1__ImageSpec i = RUNTIME__V1__IMAGE_SPEC__INIT;

        i.image = (char *) (uintptr_t) n;
        i.runtime_handler = (char *) (uintptr_t) bytes;
        i.image_ref = (char *) (uintptr_t) then;
        f.image = &i;
        q.filter = &f;
        return grpc_client_stream(c, STREAM_IMAGES, &q.base, DESC(stream_images_response), 0, each_image, seen, err);
}

static void test_streams(struct grpc_client *c) {
        Runtime__V1__GetEventsRequest q = RUNTIME__V1__GET_EVENTS_REQUEST__INIT;
        struct seen seen = { 0 };
        struct err err = { 0 };
        int n = cancels(c);

        assert(stream_images(c, "0", "1", "", &seen, &err) == 0 && seen.n == 0);
        assert(stream_images(c, "1000", "10", "", &seen, &err) == 0 && seen.n == 1000);
        seen.n = 0;
        assert(stream_images(c, "200", "100000", "", &seen, &err) == 0 && seen.n == 200);
        seen.n = 0;
        assert(stream_images(c, "3", "1", "fail", &seen, &err) == -ERR_DATA_LOSS && seen.n == 3);
        assert(str_eq(err.msg, "after 3"));
        seen.n = 0;
        assert(stream_images(c, "0", "1", "fail", &seen, &err) == -ERR_DATA_LOSS && seen.n == 0);
        seen = (struct seen){ .stop_at = 5 };
        assert(stream_images(c, "100000", "1000", "", &seen, &err) == 0 && seen.n == 5);
        seen = (struct seen){ .stop_at = 3 };
        assert(grpc_client_stream(c, "/runtime.v1.RuntimeService/GetContainerEvents", &q.base,
                                  DESC(container_event_response), 0, each_event, &seen, &err) == 0);
        wait_for_cancels(c, n + 1);
        seen = (struct seen){ 0 };
        assert(grpc_client_stream(c, "/runtime.v1.RuntimeService/GetContainerEvents", &q.base,
                                  DESC(container_event_response), 60, each_event, &seen, &err) == -ERR_DEADLINE);
        assert(seen.n > 2);
        wait_for_cancels(c, n + 2);
}

static void nothing(int sig) {
}

static void *interrupt(void *arg) {
        wait_for_sleeping(1);
        (void) usleep(20000); /* the caller, from sending to waiting */
        (void) pthread_kill(*(pthread_t *) arg, SIGUSR1);
        return NULL;
}

static void test_interrupt(struct grpc_client *c) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100000);
        struct sigaction sa = { .sa_handler = nothing };
        pthread_t self = pthread_self(), helper;
        Runtime__V1__ExecSyncResponse *x;
        struct err err = { 0 };
        int n = cancels(c);

        assert(sigaction(SIGUSR1, &sa, NULL) == 0);
        assert(pthread_create(&helper, NULL, interrupt, &self) == 0);
        assert(exec_sync(c, "sleep", NULL, 10000, 0, a, &x, &err) == -ERR_CANCELLED);
        (void) pthread_join(helper, NULL);
        wait_for_cancels(c, n + 1);
}

static void *client_thread(void *arg) {
        _cleanup_(grpc_client_freep) struct grpc_client *c = NULL;
        _cleanup_(arena_freep) struct arena *a = arena_new(10 << 20);
        Runtime__V1__ExecSyncResponse *x;
        struct seen seen = { 0 };
        struct err err = { 0 };

        assert(grpc_client_new(path, &c, &err) == 0);
        for (int i = 0; i < 50; i++) {
                assert(exec_sync(c, "echo", "hello", 0, 5000, a, &x, &err) == 0 && x->stdout.len == 5);
                assert(exec_sync(c, "sleep", NULL, i % 3, i % 5 + 1, a, &x, &err) <= 0);
        }
        assert(stream_images(c, "100", "1000", "", &seen, &err) == 0 && seen.n == 100);
        return NULL;
}

static void test_many_clients(void) {
        pthread_t t[16];

        for (size_t i = 0; i < ELEMENTSOF(t); i++)
                assert(pthread_create(&t[i], NULL, client_thread, NULL) == 0);
        for (size_t i = 0; i < ELEMENTSOF(t); i++)
                (void) pthread_join(t[i], NULL);
}

/* The client's death cancels what it waited for. */
static void test_lost_client(struct grpc_client *c) {
        int n, fd;
        struct err err = { 0 };
        /* The preface, empty SETTINGS, and a request by literal headers, built by hand. */
        static const char headers[] =
                "\x00\x07:method\x04POST\x00\x07:scheme\x04http\x00\x05:path\x23" EXEC_SYNC "\x00\x0c"
                "content-type\x10"
                "application/grpc";
        uint8_t head[9] = { 0, 0, sizeof(headers) - 1, 1, 4, 0, 0, 0, 1 };
        static const uint8_t body[] = { 0, 0,  15,   0, 1,   0,   0,   0,   1,   0,    0,    0,
                                        0, 10, 0x0a, 5, 's', 'l', 'e', 'e', 'p', 0x18, 0xa0, 0x1f };
        static const uint8_t settings[9] = { 0, 0, 0, 4 };

        static_assert(sizeof(EXEC_SYNC) - 1 == 0x23, "the length in the frame");
        /* What the tests before gave up the server notices in its own time. */
        wait_for_sleeping(0);
        assert(sock_connect_unix(path, SOCK_STREAM, &fd, &err) == 0);
        assert(send(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, 0) == 24);
        assert(send(fd, settings, 9, 0) == 9 && send(fd, head, 9, 0) == 9);
        assert(send(fd, headers, sizeof(headers) - 1, 0) == sizeof(headers) - 1);
        assert(send(fd, body, sizeof(body), 0) == sizeof(body));
        wait_for_sleeping(1);
        n = cancels(c);
        (void) close(fd);
        wait_for_sleeping(0);
        wait_for_cancels(c, n + 1);
}

static void test_restart(struct grpc_client *c) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100000);
        Runtime__V1__ExecSyncResponse *x;
        struct err err = { 0 };

        assert(exec_sync(c, "echo", "x", 0, 0, a, &x, &err) == 0);
        stop();
        assert(exec_sync(c, "echo", "x", 0, 0, a, &x, &err) == -ERR_UNAVAILABLE);
        start();
        assert(exec_sync(c, "echo", "x", 0, 0, a, &x, &err) == 0);
}

static void *late_call(void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100000);
        Runtime__V1__ExecSyncResponse *x;
        struct err err = { 0 };

        assert(exec_sync(arg, "sleep", NULL, 300, 0, a, &x, &err) == 0);
        return NULL;
}

/* Calls in progress are finished before the server is. */
static void test_graceful(struct grpc_client *c) {
        pthread_t t;

        assert(pthread_create(&t, NULL, late_call, c) == 0);
        wait_for_sleeping(1);
        stop();
        (void) pthread_join(t, NULL);
}

static size_t open_files(void) {
        DIR *d = opendir("/proc/self/fd");
        size_t n = 0;

        while (readdir(d))
                n++;
        (void) closedir(d);
        return n;
}

int main(void) {
        struct grpc_client *c = NULL;
        struct err err = { 0 };
        size_t files;

        assert(mkdtemp(folder));
        (void) snprintf(path, sizeof(path), "%s/s", folder);
        files = open_files();
        start();
        assert(grpc_client_new(path, &c, &err) == 0);
        test_unary(c);
        test_deadline(c);
        test_streams(c);
        test_interrupt(c);
        test_many_clients();
        test_lost_client(c);
        test_restart(c);
        test_graceful(c);
        c = grpc_client_free(c);
        assert(open_files() == files);
        (void) unlink(path);
        assert(rmdir(folder) == 0);
        return 0;
}
