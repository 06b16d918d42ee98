/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/seccomp-agent.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "base/json.h"
#include "base/sock.h"
#include "base/str.h"
#include "init/plan.h"
#include "oci/console.h"

enum { SEND_TIMEOUT_S = 60 };

/* ContainerProcessState. */
static const char *make_message(const struct oci_config *config, const struct oci_state *s, enum oci_status status,
                                pid_t pid, struct arena *arena) {
        const char *metadata = config->spec.seccomp_listener_metadata;
        _cleanup_(json_unrefp) json_t *text = json_string(metadata ? metadata : "");
        _cleanup_(freep) char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;

        return arena_printf(arena,
                            "{\"ociVersion\":\"%s\",\"fds\":[\"seccompFd\"],\"pid\":%d,\"metadata\":%s,\"state\":%s}",
                            OCI_VERSION, (int) pid, quoted ? quoted : "\"\"", oci_state_json(s, status, false, arena));
}

/* In as many pieces as the socket wants; the descriptor goes with the first. */
static int send_all(int agent, const char *text, int notify_fd) {
        const size_t len = strlen(text);
        size_t done = 0;

        while (done < len) {
                union {
                        struct cmsghdr align;
                        char bytes[CMSG_SPACE(sizeof(int))];
                } control = { 0 };
                struct iovec piece = { (char *) (uintptr_t) text + done, len - done };
                struct msghdr msg = { .msg_iov = &piece, .msg_iovlen = 1 };
                ssize_t n;

                if (done == 0) {
                        msg.msg_control = &control;
                        msg.msg_controllen = sizeof(control);
                        *CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
                                                                 .cmsg_level = SOL_SOCKET,
                                                                 .cmsg_type = SCM_RIGHTS };
                        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &notify_fd, sizeof(notify_fd));
                }
                n = sendmsg(agent, &msg, MSG_NOSIGNAL);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                done += (size_t) n;
        }
        return 0;
}

static int hand_over(const char *path, const char *text, int notify_fd, struct err *err) {
        const struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };
        _cleanup_(fd_closep) int agent = -1;
        int r = console_open(path, &agent);

        if (r == 0) {
                (void) setsockopt(agent, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
                r = send_all(agent, text, notify_fd);
        }
        return r < 0 ? err_set(err, ERR_PRECONDITION,
                               "linux.seccomp.listenerPath: failed to connect with seccomp agent %s: %s", path,
                               strerrordesc_np(-r))
                     : 0;
}

int seccomp_agent_serve(int sock, int status_r, const struct oci_config *config, const struct oci_state *s,
                        enum oci_status status, pid_t pid, struct arena *arena, struct err *err) {
        struct pollfd p[2] = { { .fd = sock, .events = POLLIN }, { .fd = status_r, .events = POLLIN } };
        const char *path = config->spec.seccomp_listener_path;
        _cleanup_(sock_msg_done) struct sock_msg msg = { 0 };
        char type = 0, go = PLAN_MSG_GO;
        int r;

        while (!p[0].revents && !p[1].revents)
                if (poll(p, 2, -1) < 0 && errno != EINTR)
                        return err_sys(err, errno, "wait for the seccomp filter's descriptor");
        if (p[1].revents)
                return 0;
        r = sock_recv(sock, &type, 1, &msg);
        if (r == -ECONNRESET || (r == 0 && msg.len == 0))
                return 0;
        if (r < 0)
                return err_sys(err, -r, "get the seccomp filter's descriptor");
        if (type != PLAN_MSG_SECCOMP || msg.n_fds != 1 || !path)
                return err_set(err, ERR_INTERNAL, "a process said '%c' instead of handing over its seccomp filter",
                               type);
        r = hand_over(path, make_message(config, s, status, pid, arena), msg.fds[0], err);
        if (r < 0)
                return r;
        r = sock_send(sock, &go, 1, NULL, 0);
        return r < 0 ? err_sys(err, -r, "let the process go on") : 0;
}
