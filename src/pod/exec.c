/* SPDX-License-Identifier: Apache-2.0 */
/* exec - ExecSync: run a command in a container, gather what it says. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/strbuf.h"
#include "pod/specgen.h"

/* The whole answer must fit into a gRPC message of 16 MiB, kubelet's limit: past it there would be no answer at all. */
enum { OUTPUT_MAX = (16 << 20) - 256, WORK_ARENA_MAX = 16 << 20, READ_SIZE = 64 << 10, READS_AT_ONCE = 64 };

/* Its output, read while the engine's exec waits for its end. */
struct capture {
        struct watch watch; /* first: fds are the read ends of stdout and stderr, -1: at their end */
        struct strbuf out[2];
        char *buf; /* READ_SIZE */
};

static void take(struct strbuf *b, const char *data, size_t n) {
        strbuf_append(b, data, MIN_OF(n, b->max - b->len));
}

/* What is there now, but not for ever: the program may write as fast as we read, and its time be over. */
static void drain(struct watch *w, size_t which) {
        struct capture *c = (struct capture *) w;

        for (int i = 0; i < READS_AT_ONCE; i++) {
                ssize_t n = read(w->fds[which], c->buf, READ_SIZE);

                if (n > 0) {
                        take(&c->out[which], c->buf, (size_t) n);
                } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
                        w->fds[which] = fd_close(w->fds[which]);
                        return;
                } else if (errno == EAGAIN) {
                        return;
                }
        }
}

static void capture_done(struct capture *c) {
        (void) fd_close(c->watch.fds[0]);
        (void) fd_close(c->watch.fds[1]);
        strbuf_done(&c->out[0]);
        strbuf_done(&c->out[1]);
        free(c->buf);
}

/* Children that the command left running may hold the pipes open for ever: what is in them when it has ended is all. */
static int run_captured(struct engine *e, struct engine_exec_args *args, struct capture *c, const int write_fds[2],
                        int *ret_code, struct err *err) {
        int r;

        args->stdout_fd = write_fds[0];
        args->stderr_fd = write_fds[1];
        args->watch = &c->watch;
        r = e->ops->exec(e, args, ret_code, err);
        for (size_t i = 0; i < 2; i++)
                if (c->watch.fds[i] >= 0)
                        drain(&c->watch, i);
        return r;
}

static int make_pipes(struct capture *c, int write_fds[2], struct err *err) {
        for (int i = 0; i < 2; i++) {
                int fds[2];

                if (pipe2(fds, O_CLOEXEC) < 0)
                        return err_sys(err, errno, "create a pipe");
                c->watch.fds[i] = fds[0];
                write_fds[i] = fds[1];
                /* Only our end: the program's must block as it expects. */
                if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
                        return err_sys(err, errno, "set up a pipe");
        }
        return 0;
}

/* Both streams are long: each gets half, and what the other one leaves. */
static void share_room(struct capture *c) {
        size_t half = OUTPUT_MAX / 2, out = c->out[0].len, errs = c->out[1].len;

        if (out + errs <= OUTPUT_MAX)
                return;
        c->out[1].len = MIN_OF(errs, MAX_OF(half, OUTPUT_MAX - out));
        c->out[0].len = MIN_OF(out, OUTPUT_MAX - c->out[1].len);
}

static int to_bytes(const struct strbuf *b, struct arena *arena, ProtobufCBinaryData *ret, struct err *err) {
        ret->len = b->len;
        ret->data = arena_alloc(arena, b->len + 1);
        if (!ret->data)
                return err_set(err, ERR_EXHAUSTED, "the command's output is too large to be returned");
        if (b->len > 0)
                memcpy(ret->data, b->data, b->len);
        return 0;
}

static int exec_captured(struct container *c, const struct pods_ctx *ctx, const struct spec_process *process,
                         int64_t timeout_s, struct arena *arena, CRI(ExecSyncResponse) * *ret, struct err *err) {
        _cleanup_(capture_done) struct capture cap = { .watch = { { -1, -1 }, drain },
                                                       .out = { STRBUF(OUTPUT_MAX), STRBUF(OUTPUT_MAX) },
                                                       .buf = xrealloc(NULL, READ_SIZE, 1) };
        struct engine_exec_args args = {
                .id = c->id,
                .process = process,
                .stdin_fd = -1,
                .timeout_ms = timeout_s > 0 ? (uint64_t) MIN_OF(timeout_s, INT64_C(1) << 31) * 1000 : 0,
                .cancel_fd = ctx->cancel_fd,
                .user_ids = sandbox_user_ids(c->sandbox),
        };
        CRI(ExecSyncResponse) *resp = cri_make(arena, ExecSyncResponse, exec_sync_response);
        int write_fds[2] = { -1, -1 }, code = 0, r;

        r = make_pipes(&cap, write_fds, err);
        if (r == 0)
                r = run_captured(c->pods->engine, &args, &cap, write_fds, &code, err);
        (void) fd_close(write_fds[0]);
        (void) fd_close(write_fds[1]);
        share_room(&cap);
        if (r == 0)
                r = to_bytes(&cap.out[0], arena, &resp->stdout, err);
        if (r == 0)
                r = to_bytes(&cap.out[1], arena, &resp->stderr, err);
        if (r < 0)
                return r;
        resp->exit_code = code;
        *ret = resp;
        return 0;
}

int pods_exec_sync(struct pods *p, const struct pods_ctx *ctx, const CRI(ExecSyncRequest) * req, struct arena *arena,
                   CRI(ExecSyncResponse) * *ret, struct err *err) {
        _cleanup_(arena_freep) struct arena *work = NULL;
        _cleanup_(container_unrefp) struct container *c = NULL;
        struct spec_process process;
        int r;

        r = registry_find_container(p, req->container_id, &c, err);
        if (r < 0)
                return r;
        if (req->timeout < 0)
                return err_set(err, ERR_INVALID, "timeout is negative");
        if (container_get_phase(c) != CONTAINER_RUNNING)
                return err_set(err, ERR_PRECONDITION, "container %s does not run", c->id);
        work = arena_new(WORK_ARENA_MAX);
        r = specgen_exec(c, req->cmd, req->n_cmd, work, &process, err);
        if (r == 0)
                r = exec_captured(c, ctx, &process, req->timeout, arena, ret, err);
        /* It was there a moment ago: the engine's NOT_FOUND means that it has ended. */
        if (r == -ERR_NOT_FOUND)
                return err_set(err, ERR_PRECONDITION, "container %s has ended", c->id);
        return r < 0 ? err_wrap(err, "exec in container %s", c->id) : 0;
}
