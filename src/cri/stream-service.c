/* SPDX-License-Identifier: Apache-2.0 */
/* Exec, Attach, PortForward: the RPCs check and hand out a URL; the streaming server behind it calls back here. */
#include <fcntl.h>
#include "cri/service.h"

#define STREAMING(userdata) (((struct cri *) (userdata))->args.streaming)
#define PODS(userdata) (((struct cri *) (userdata))->args.pods)

CRI_HANDLER(Exec) {
        const CRI(ExecRequest) *req = (const CRI(ExecRequest) *) request;
        struct arena *a = grpc_call_arena(call);
        CRI(ExecResponse) *resp = cri_make(a, ExecResponse, exec_response);
        const char **argv = arena_array(a, const char *, req->n_cmd + 1), *url = NULL;
        struct streaming_exec exec = {
                .container_id = req->container_id,
                .argv = argv,
                .tty = req->tty,
                .want_stdin = req->stdin,
                .want_stdout = req->stdout,
                .want_stderr = req->stderr,
        };
        int r = pods_check_running(PODS(userdata), req->container_id, err);

        for (size_t i = 0; i < req->n_cmd; i++)
                argv[i] = req->cmd[i];
        if (r == 0)
                r = streaming_exec_url(STREAMING(userdata), &exec, a, &url, err);
        if (r < 0)
                return r;
        resp->url = (char *) url;
        *ret = &resp->base;
        return 0;
}

CRI_HANDLER(Attach) {
        const CRI(AttachRequest) *req = (const CRI(AttachRequest) *) request;
        struct arena *a = grpc_call_arena(call);
        CRI(AttachResponse) *resp = cri_make(a, AttachResponse, attach_response);
        struct streaming_attach attach = {
                .container_id = req->container_id,
                .tty = req->tty,
                .want_stdin = req->stdin,
                .want_stdout = req->stdout,
                .want_stderr = req->stderr,
        };
        const char *url = NULL;
        int r = pods_check_attachable(PODS(userdata), req->container_id, err);

        if (r == 0)
                r = streaming_attach_url(STREAMING(userdata), &attach, a, &url, err);
        if (r < 0)
                return r;
        resp->url = (char *) url;
        *ret = &resp->base;
        return 0;
}

CRI_HANDLER(PortForward) {
        const CRI(PortForwardRequest) *req = (const CRI(PortForwardRequest) *) request;
        struct arena *a = grpc_call_arena(call);
        CRI(PortForwardResponse) *resp = cri_make(a, PortForwardResponse, port_forward_response);
        struct streaming_port_forward forward = { .sandbox_id = req->pod_sandbox_id,
                                                  .ports = req->port,
                                                  .n_ports = req->n_port };
        const char *url = NULL;
        int r = pods_check_ready(PODS(userdata), req->pod_sandbox_id, err);

        if (r == 0)
                r = streaming_port_forward_url(STREAMING(userdata), &forward, a, &url, err);
        if (r < 0)
                return r;
        resp->url = (char *) url;
        *ret = &resp->base;
        return 0;
}

/* --- the other way round
 * ------------------------------------------------------------------------------------------------ */

static int backend_exec(void *userdata, const struct streaming_exec *req, int stdin_fd, int stdout_fd, int stderr_fd,
                        int terminal_sock, int cancel_fd, int *ret_code, struct err *err) {
        struct pods_exec_args args = {
                .container_id = req->container_id,
                .argv = req->argv,
                .tty = req->tty,
                .stdin_fd = stdin_fd,
                .stdout_fd = stdout_fd,
                .stderr_fd = stderr_fd,
                .terminal_socket = terminal_sock,
                .cancel_fd = cancel_fd,
        };

        return pods_exec(userdata, &args, ret_code, err);
}

static int backend_attach(void *userdata, const struct streaming_attach *req, struct streaming_attached *ret,
                          struct err *err) {
        struct pods_attach_args args = {
                .container_id = req->container_id,
                .tty = req->tty,
                .in = req->want_stdin,
                .out = req->want_stdout,
                .errs = req->want_stderr,
        };
        struct engine_attached got;
        int r = pods_attach(userdata, &args, &got, err);

        if (r < 0)
                return r;
        *ret = (struct streaming_attached){
                .stdin_fd = got.stdin_fd, .stdout_fd = got.stdout_fd, .stderr_fd = got.stderr_fd, .terminal_fd = -1
        };
        if (req->tty) {
                ret->terminal_fd = got.stdin_fd;
                ret->stdin_fd = req->want_stdin ? fcntl(got.stdin_fd, F_DUPFD_CLOEXEC, 3) : -1;
        }
        return 0;
}

static int backend_port_forward(void *userdata, const char *sandbox_id, uint16_t port, int cancel_fd, int *ret_fd,
                                struct err *err) {
        return pods_port_forward(userdata, sandbox_id, port, cancel_fd, ret_fd, err);
}

struct streaming_backend cri_streaming_backend(struct pods *pods) {
        return (struct streaming_backend){
                .userdata = pods,
                .exec = backend_exec,
                .attach = backend_attach,
                .port_forward = backend_port_forward,
        };
}
