/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/proc.h"
#include "base/sock.h"
#include "init/plan.h"
#include "init/process.h"
#include "oci/creation.h"
#include "oci/notify.h"
#include "oci/seccomp-agent.h"
#include "runtime/hooks/hooks.h"

struct hook_state oci_hook_state(const struct oci_state *s, const char *status) {
        return (struct hook_state){ .id = s->id,
                                    .bundle = s->bundle,
                                    .status = status,
                                    .annotations = s->annotations,
                                    .n_annotations = s->n_annotations };
}

int oci_read_stored(const struct oci_dir *d, const struct oci_state *s, struct arena *arena, struct oci_config *ret,
                    struct err *err) {
        const char *text = NULL;
        size_t len = 0;
        int r = oci_dir_read_config(d, arena, &text, &len, err);

        return r < 0 ? r : oci_config_parse(text, len, s->bundle, arena, ret, err);
}

/* --- letting init go
 * --------------------------------------------------------------------------------------------------- */

static int connect_to_init(const struct oci_dir *d, int *ret, struct err *err) {
        _cleanup_(fd_closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        struct sockaddr_un address;

        (void) oci_start_socket_address(d, &address);
        if (fd < 0)
                return err_sys(err, errno, "create a socket");
        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return err_set(err, ERR_PRECONDITION, "cannot start a container that does not wait for it: %s",
                               strerror(errno));
        *ret = TAKE_FD(fd);
        return 0;
}

/* Everything that init says before it execs: its end of the pipe closes with that. */
static int read_status(int status_r, const char *id, struct err *err) {
        struct exec_status status = { 0 };
        ssize_t n;

        do
                n = read(status_r, &status, sizeof(status) - 1);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return err_sys(err, errno, "hear whether container %s has started", id);
        if (n == 0)
                return 0;
        (void) err_set(err, ERR_INVALID, "%s", status.text);
        err->sys_errno = status.sys_errno;
        return -ERR_INVALID;
}

/* The end of the pipe is also that of a process which was killed before it got so far. */
static int check_it_ran(const struct oci_dir *d, const struct oci_state *s, struct err *err) {
        if (oci_dir_status(d, s, NULL) == OCI_CREATED)
                return err_set(err, ERR_INTERNAL, "container %s has not taken the request to start", s->id);
        return 0;
}

static void end(const struct oci_state *s) {
        _cleanup_(fd_closep) int pidfd = proc_open(s->pid, s->start_time);

        if (pidfd >= 0)
                (void) proc_signal(pidfd, SIGKILL);
}

static int let_go(const struct oci_dir *d, const struct oci_state *s, const struct oci_config *config,
                  struct arena *arena, struct err *err) {
        _cleanup_(fd_closep) int sock = -1, status_r = -1, status_w = -1;
        char type = PLAN_MSG_START;
        int p[2], r = connect_to_init(d, &sock, err);

        if (r < 0)
                return r;
        if (pipe2(p, O_CLOEXEC) < 0)
                return err_sys(err, errno, "create an exec status pipe");
        status_r = p[0];
        status_w = p[1];
        r = sock_send(sock, &type, 1, &status_w, 1);
        status_w = fd_close(status_w);
        if (r < 0)
                return err_sys(err, -r, "let container %s start", s->id);
        if (config->spec.seccomp_listener_path)
                r = seccomp_agent_serve(sock, status_r, config, s, OCI_CREATED, s->pid, arena, err);
        if (r < 0)
                return end(s), r;
        r = read_status(status_r, s->id, err);
        return r < 0 ? r : check_it_ran(d, s, err);
}

/* As runtime-spec 1.3 has it: a container whose poststart hooks fail is stopped. */
static int run_poststart(const struct oci_state *s, const struct oci_config *config, struct err *err) {
        struct hook_state state = oci_hook_state(s, "running");
        int r = hooks_run(&config->spec.hooks, SPEC_HOOK_POSTSTART, &state, s->pid, err);

        if (r < 0)
                end(s);
        return r;
}

int oci_start_made(struct creation *c, struct err *err) {
        int r;

        if (!c->config.has_process)
                return err_set(err, ERR_INVALID, "process: must be set for a container to start");
        r = let_go(&c->dir, &c->state, &c->config, c->oci->arena, err);
        return r < 0 ? r : run_poststart(&c->state, &c->config, err);
}

/* Whoever started us wants to hear when it is ready; meanwhile others may do with it what they like. */
static void see_it_ready(struct oci_dir *d, const struct oci_state *s, struct notify *n) {
        _cleanup_(fd_closep) int pidfd = -1;

        oci_dir_done(d);
        if (n->fd < 0)
                return;
        pidfd = proc_open(s->pid, s->start_time);
        n->main_pid = s->pid;
        n->pidfd = pidfd;
        if (pidfd >= 0)
                notify_relay(n);
}

int oci_start(const struct oci *o, const char *id, struct err *err) {
        _cleanup_(oci_dir_done) struct oci_dir d = OCI_DIR_EMPTY;
        _cleanup_(notify_done) struct notify notify = NOTIFY_EMPTY;
        struct oci_config config;
        enum oci_status status;
        struct oci_state s = { 0 };
        int r = oci_dir_open(o->root, id, true, &d, err);

        if (r == 0)
                r = oci_state_read(&d, o->arena, &s, err);
        if (r < 0)
                return r;
        status = oci_dir_status(&d, &s, NULL);
        if (status != OCI_CREATED)
                return err_set(err, ERR_PRECONDITION, "cannot start a container in the %s state",
                               oci_status_name(status));
        r = oci_read_stored(&d, &s, o->arena, &config, err);
        if (r < 0)
                return r;
        if (!config.has_process)
                return err_set(err, ERR_INVALID, "process: must be set for a container to start");
        r = notify_listen(&d, &notify, err);
        if (r == 0)
                r = let_go(&d, &s, &config, o->arena, err);
        if (r == 0)
                r = run_poststart(&s, &config, err);
        if (r == 0)
                see_it_ready(&d, &s, &notify);
        return r;
}
