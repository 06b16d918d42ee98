/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox-lxcri-init - a container's first process; see plan.h for what it is told and what it answers. Static and
 * small; it decides nothing. argv[1]: the descriptor of the socket to the keeper, or "exec": enter.h. Without it, as
 * /sbin/init of a pod's Proxmox container, it is that one's first process: ct.h; or that of a container which was made
 * of an exported template: app.h. */
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "init/app.h"
#include "init/ct.h"
#include "init/enter.h"
#include "init/fail.h"
#include "init/hook.h"
#include "init/path.h"
#include "init/pause.h"
#include "init/process.h"
#include "init/reader.h"
#include "init/setup.h"
#include "init/start.h"
#include "init/supervisor.h"
#include "init/sys.h"
#include "init/terminal.h"

enum {
        EXIT_ABANDONED = 1,
        EXIT_SETUP = 126,
        STATUS_INDEX = 4,
        STDIO_INDEX = 1,
        MAX_FDS = PLAN_FD_FIRST + PLAN_MAX_FDS
};

struct received {
        int fds[MAX_FDS];
        size_t n_fds;
};

/* 0 when a message of @type came, 1 when the keeper is gone. */
static int receive(int sock, uint8_t type, struct received *ret, struct plan_error *e) {
        static union {
                struct cmsghdr align;
                char data[CMSG_SPACE(sizeof(int) * MAX_FDS)];
        } control;
        uint8_t byte = 0;
        struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.data, .msg_controllen = sizeof(control.data)
        };
        ssize_t n;

        ret->n_fds = 0;
        do
                n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n == 0)
                return 1;
        if (n < 0)
                return errno == ECONNRESET ? 1 : fail_set(e, errno, "read from the keeper", NULL);
        if ((msg.msg_flags & MSG_CTRUNC) || byte != type)
                return fail_set(e, EBADMSG, "read from the keeper", NULL);
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
                size_t bytes = c->cmsg_len - CMSG_LEN(0);

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                if (bytes > sizeof(ret->fds))
                        return fail_set(e, EBADMSG, "read from the keeper", NULL);
                memcpy(ret->fds, CMSG_DATA(c), bytes);
                ret->n_fds = bytes / sizeof(int);
        }
        return 0;
}

static int take_stdio(const struct received *r, struct plan_error *e) {
        for (int i = 0; i < 3; i++)
                if (dup2(r->fds[STDIO_INDEX + i], i) < 0)
                        return fail_set(e, errno, "attach the standard streams", NULL);
        return 0;
}

static bool is_null(int fd) {
        struct stat st;

        return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

/* A stream that is the host's /dev/null becomes the container's, where it has one: CRIU can't restore what lies on a
 * mount outside, and no file of the host's own mounts is left open in the container. */
static void reopen_null(void) {
        int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
            node = root < 0 ? -1 : path_open(root, "/dev/null", O_PATH | O_NOFOLLOW), fd = -1;

        /* What an image has there is not to be opened; nor what is there by then. */
        if (node >= 0 && is_null(node))
                fd = path_open(root, "/dev/null", O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        if (node >= 0)
                (void) close(node);
        if (root >= 0)
                (void) close(root);
        for (int i = 0; fd >= 0 && is_null(fd) && i < 3; i++)
                if (is_null(i))
                        (void) dup2(fd, i);
        if (fd >= 0)
                (void) close(fd);
}

static int send_ready(int sock, const struct setup_result *result, struct plan_error *e) {
        static struct plan_ready ready;
        size_t n = result->user.n_groups;
        int r;

        ready.type = PLAN_MSG_READY;
        ready.has_terminal = result->master_fd >= 0;
        ready.uid = result->user.uid;
        ready.gid = result->user.gid;
        ready.n_groups = (uint16_t) n;
        memcpy(ready.groups, result->user.groups, n * sizeof(uint32_t));
        r = terminal_send(sock, &ready, offsetof(struct plan_ready, groups) + n * sizeof(uint32_t), result->master_fd);
        if (result->master_fd >= 0)
                (void) close(result->master_fd);
        return r < 0 ? fail_set(e, -r, "answer the keeper", NULL) : 0;
}

/* While we wait for START, nothing of the host's lies about in a PID namespace that may be shared. */
static void close_rest(const struct received *got, const struct reader *plan) {
        const struct plan_record *start = reader_find(plan, NULL, PLAN_START_SOCKET), *rec = NULL;
        bool keep[MAX_FDS] = { false };

        keep[start ? PLAN_FD_FIRST + (size_t) start->fd : STATUS_INDEX] = true;
        while ((rec = reader_find(plan, rec, PLAN_PRESERVE)))
                keep[PLAN_FD_FIRST + (size_t) rec->fd] = true;
        for (size_t i = 0; i < got->n_fds; i++)
                if (!keep[i])
                        (void) close(got->fds[i]);
}

static int set_up(int sock, struct received *got, struct reader *plan, struct setup_result *result,
                  struct plan_error *e) {
        int r = receive(sock, PLAN_MSG_PLAN, got, e);

        if (r != 0)
                return r;
        if (got->n_fds < PLAN_FD_FIRST)
                return fail_set(e, EBADMSG, "read the plan", NULL);
        if (take_stdio(got, e) < 0 || reader_map(plan, got->fds[0], got->n_fds - PLAN_FD_FIRST, e) < 0 ||
            setup_run(plan, got->fds + PLAN_FD_FIRST, sock, result, e) < 0)
                return -1;
        if (reader_find(plan, NULL, PLAN_START_SOCKET) && process_look_for_program(plan, e) < 0)
                return -1;
        reopen_null();
        close_rest(got, plan);
        if (!reader_find(plan, NULL, PLAN_TERMINAL))
                (void) setsid();
        return send_ready(sock, result, e);
}

/* How we are let go: by the maker, or by whoever connects later. */
static int wait_for_start(int sock, const struct reader *plan, const struct received *got, struct start *ret,
                          struct plan_error *e) {
        static struct received start;
        const struct plan_record *rec = reader_find(plan, NULL, PLAN_START_SOCKET);

        if (rec) {
                (void) close(sock);
                return start_wait(got->fds[PLAN_FD_FIRST + rec->fd], (uint32_t) rec->a, ret, e);
        }
        *ret = (struct start){ .status_fd = got->fds[STATUS_INDEX], .sock = sock };
        return receive(sock, PLAN_MSG_START, &start, e);
}

/* What liblxc and its caller had open and forgot, and the program itself. */
static void close_inherited(unsigned sock) {
        if (sock > 3)
                (void) sys_close_range(3, sock - 1, 0);
        (void) sys_close_range(sock + 1, ~0u, 0);
}

/* Descriptors 0-2 must be taken, so that none that is received becomes one of them. */
static void fill_stdio(int sock) {
        for (int fd = 0; fd < 3; fd++)
                if (fcntl(fd, F_GETFD) < 0)
                        (void) dup2(sock, fd);
}

static int run(const struct reader *plan, const struct setup_result *result, const struct received *got,
               const struct start *start) {
        struct process_args args = {
                .plan = plan,
                .user = &result->user,
                .proc_fd = result->proc_fd,
                .status_fd = start->status_fd,
                .sock = start->sock,
                .dies_with_parent = !reader_find(plan, NULL, PLAN_OUTLIVES_PARENT),
        };
        struct plan_error e;

        if (process_place_fds(&args, got->fds + PLAN_FD_FIRST, &e) < 0 || process_apply(&args, &e) < 0)
                return process_report(args.status_fd, &e);
        if (!reader_find(plan, NULL, PLAN_ARGS)->n_str) {
                (void) close(args.status_fd);
                pause_run();
        }
        if (hook_run(plan, PLAN_HOOK_AT_START, &e) == 0)
                (void) process_exec(&args, &e);
        return process_report(args.status_fd, &e);
}

int main(int argc, char **argv) {
        static struct received got;
        static struct setup_result result;
        struct start start;
        struct plan_error e;
        struct reader plan;
        uint32_t sock;
        int r;

        /* By its name: a container whose program is /proc/self/exe runs us, too. */
        if (argc == 1 && getpid() == 1 && strcmp(argv[0], "/sbin/init") == 0) {
                app_run();
                ct_run();
        }
        if (argc > 1 && strcmp(argv[1], "exec") == 0)
                return enter_main(argc - 2, argv + 2);
        if (argc == 2 && getpid() == 1 && strcmp(argv[1], SUPERVISOR_VERB) == 0) {
                fill_stdio(open("/dev/null", O_RDWR | O_CLOEXEC));
                sock = (uint32_t) supervisor_run();
        } else if (argc != 2 || !users_number(argv[1], &sock) || sock < 3 || sock > 1 << 20) {
                return EXIT_SETUP;
        }
        (void) prctl(PR_SET_NAME, "lxcri-init", 0, 0, 0);
        process_reset();
        close_inherited(sock);
        fill_stdio((int) sock);
        r = set_up((int) sock, &got, &plan, &result, &e);
        if (r < 0) {
                (void) terminal_send((int) sock, &e, offsetof(struct plan_error, text) + strlen(e.text) + 1, -1);
                return EXIT_SETUP;
        }
        if (r == 0)
                r = wait_for_start((int) sock, &plan, &got, &start, &e);
        if (r != 0)
                return EXIT_ABANDONED;
        return run(&plan, &result, &got, &start);
}
