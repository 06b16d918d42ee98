/* SPDX-License-Identifier: Apache-2.0 */
/* hook - see hook.h. Only what an ordinary seccomp profile lets through: hooks of startContainer run under the
 * container's. */
#include "init/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "init/sys.h"

enum { OUTPUT_MAX = 320, EXIT_NO_EXEC = 127, HOOK_UMASK = 022 };

struct hook {
        const struct plan_record *rec;
        pid_t pid;
        int in, out, status;
        const char *input;
        size_t left; /* of the input */
        char output[OUTPUT_MAX];
        size_t n_output;
        bool late;
};

static uint64_t now_ms(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

/* The last of it is kept: that is where programs say what went wrong. False: nothing more for now. */
static bool take_output(struct hook *h) {
        char *to;
        ssize_t n;

        if (h->n_output > OUTPUT_MAX / 2) {
                memmove(h->output, h->output + h->n_output - OUTPUT_MAX / 2, OUTPUT_MAX / 2);
                h->n_output = OUTPUT_MAX / 2;
        }
        to = h->output + h->n_output;
        n = read(h->out, to, OUTPUT_MAX / 2);
        if (n > 0) {
                h->n_output += (size_t) n;
                return true;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                (void) close(h->out);
                h->out = -1;
        }
        return false;
}

static void give_input(struct hook *h) {
        ssize_t n = write(h->in, h->input, h->left);

        if (n > 0) {
                h->input += n;
                h->left -= (size_t) n;
        }
        if (h->left == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
                (void) close(h->in);
                h->in = -1;
        }
}

struct program {
        const char *path, **args, **env;
};

static int read_program(const struct plan_record *rec, struct program *ret) {
        const char **strings = calloc(rec->n_str + 1, sizeof(*strings));
        const char **args = calloc(rec->a + 1, sizeof(*args));

        if (!strings || !args) {
                free(strings);
                free(args);
                return -ENOMEM;
        }
        reader_strings(rec, strings);
        memcpy(args, strings + 2, rec->a * sizeof(*args));
        *ret = (struct program){ .path = strings[0], .args = args, .env = strings + 2 + rec->a };
        return 0;
}

/* In the child. */
static _Noreturn void become(const struct program *p, int in, int out, const sigset_t *mask) {
        const struct sigaction dfl = { .sa_handler = SIG_DFL };
        struct plan_error e;

        (void) sigaction(SIGCHLD, &dfl, NULL);
        (void) sigaction(SIGPIPE, &dfl, NULL);
        (void) sigprocmask(SIG_SETMASK, mask, NULL);
        (void) setsid(); /* can be killed with its children */
        (void) umask(HOOK_UMASK);
        if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
                _exit(EXIT_NO_EXEC);
        (void) sys_close_range(3, ~0u, 0); /* where a filter forbids it: O_CLOEXEC, all of them */
        (void) execve(p->path, (char *const *) p->args, (char *const *) p->env);
        (void) fail_set(&e, errno, "exec", NULL);
        (void) !write(2, e.text, strlen(e.text));
        _exit(EXIT_NO_EXEC);
}

static int spawn(struct hook *h, const sigset_t *mask) {
        struct program program;
        int in[2], out[2], r = read_program(h->rec, &program);

        if (r < 0)
                return r;
        if (pipe2(in, O_CLOEXEC) < 0)
                return -errno;
        if (pipe2(out, O_CLOEXEC) < 0)
                return -errno;
        h->in = in[1];
        h->out = out[0];
        h->pid = fork();
        if (h->pid == 0)
                become(&program, in[0], out[1], mask);
        r = h->pid < 0 ? -errno : 0;
        (void) close(in[0]);
        (void) close(out[1]);
        (void) fcntl(h->in, F_SETFL, O_NONBLOCK);
        (void) fcntl(h->out, F_SETFL, O_NONBLOCK);
        return r; /* little memory, and not for long: this program ends, or becomes another */
}

/* Until its end, whoever still holds its pipes. SIGCHLD is blocked but while we wait. */
static int attend(struct hook *h, const sigset_t *unblocked) {
        uint64_t until = h->rec->b ? now_ms() + h->rec->b : UINT64_MAX, now;
        pid_t r;

        while ((r = waitpid(h->pid, &h->status, WNOHANG)) == 0 || (r < 0 && errno == EINTR)) {
                struct pollfd p[] = { { .fd = h->in, .events = POLLOUT }, { .fd = h->out, .events = POLLIN } };
                struct timespec left = { 0 };

                now = now_ms();
                if (now >= until) {
                        (void) kill(-h->pid, SIGKILL);
                        (void) kill(h->pid, SIGKILL); /* before its setsid */
                        h->late = true;
                        until = UINT64_MAX;
                }
                if (until != UINT64_MAX) {
                        left.tv_sec = (time_t) ((until - now) / 1000);
                        left.tv_nsec = (long) ((until - now) % 1000 * 1000000 + 999999);
                }
                if (ppoll(p, 2, until == UINT64_MAX ? NULL : &left, unblocked) <= 0)
                        continue;
                if (p[0].revents)
                        give_input(h);
                if (p[1].revents)
                        (void) take_output(h);
        }
        if (r < 0)
                return -errno;
        while (h->out >= 0 && take_output(h))
                ;
        return 0;
}

static int fail(struct hook *h, int sys_errno, struct plan_error *e) {
        const char *kind = h->rec->flags & PLAN_HOOK_AT_START ? "startContainer" : "createContainer";
        const char *path = reader_string(h->rec, 0);
        char text[OUTPUT_MAX + 1], number[24];
        size_t n = h->n_output;

        for (size_t i = 0; i < n; i++)
                text[i] = (unsigned char) h->output[i] < ' ' || h->output[i] == 0x7f ? ' ' : h->output[i];
        while (n && text[n - 1] == ' ')
                n--;
        text[n] = '\0';
        if (sys_errno)
                return fail_set(e, sys_errno, kind, " hook ", path, NULL);
        if (h->late)
                return fail_set(e, 0, kind, " hook ", path, " did not end within ",
                                text_number(number, (int64_t) h->rec->b), " ms and was killed", n ? ": " : "", text,
                                NULL);
        if (WIFSIGNALED(h->status))
                return fail_set(e, 0, kind, " hook ", path, " was ended by signal ",
                                text_number(number, WTERMSIG(h->status)), n ? ": " : "", text, NULL);
        return fail_set(e, 0, kind, " hook ", path, " failed with exit code ",
                        text_number(number, WEXITSTATUS(h->status)), n ? ": " : "", text, NULL);
}

static void on_child(int sig) {
        /* Only there to end the wait. */
}

static int run_one(const struct plan_record *rec, const sigset_t *unblocked, struct plan_error *e) {
        static struct hook h;
        const char *head = reader_string(rec, 1);
        char number[24], *state = malloc(strlen(head) + sizeof(number) + 2);
        int r;

        if (!state)
                return fail_set(e, ENOMEM, "run a hook", NULL);
        h = (struct hook){ .rec = rec, .in = -1, .out = -1, .input = state };
        (void) strcpy(state, head);
        (void) strcat(state, text_number(number, getpid()));
        (void) strcat(state, "}");
        h.left = strlen(state);
        r = spawn(&h, unblocked);
        if (r == 0)
                r = attend(&h, unblocked);
        if (h.in >= 0)
                (void) close(h.in);
        if (h.out >= 0)
                (void) close(h.out);
        free(state);
        return r < 0 || h.late || h.status != 0 ? fail(&h, -r, e) : 0;
}

int hook_run(const struct reader *plan, unsigned flags, struct plan_error *e) {
        const struct sigaction child = { .sa_handler = on_child }, ignore = { .sa_handler = SIG_IGN },
                               dfl = { .sa_handler = SIG_DFL };
        sigset_t blocked, before;
        int r = 0;

        if (!reader_find(plan, NULL, PLAN_HOOK))
                return 0;
        (void) sigaction(SIGCHLD, &child, NULL);
        (void) sigaction(SIGPIPE, &ignore, NULL); /* a hook need not read its state */
        (void) sigemptyset(&blocked);
        (void) sigaddset(&blocked, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &blocked, &before);
        for (const struct plan_record *rec = NULL; r == 0 && (rec = reader_find(plan, rec, PLAN_HOOK));)
                if (rec->flags == flags)
                        r = run_one(rec, &before, e);
        (void) sigaction(SIGCHLD, &dfl, NULL);
        (void) sigaction(SIGPIPE, &dfl, NULL);
        (void) sigprocmask(SIG_SETMASK, &before, NULL);
        return r;
}

/* The reverse of what liblxc did: the container's root, with all its mounts, is a folder of the host's again. */
static int leave_root(int host_fd, int root_fd, const char *place, struct plan_error *e) {
        if (sys_move_mount(host_fd, root_fd) < 0)
                return fail_set(e, errno, "attach the host's root for hooks", NULL);
        if (fchdir(host_fd) < 0 || syscall(SYS_pivot_root, ".", place + 1) < 0 || chdir("/") < 0)
                return fail_set(e, errno, "make the host's root the root for hooks, with the container's at ", place,
                                NULL);
        return 0;
}

static int return_to_root(int host_fd, int root_fd, struct plan_error *e) {
        if (fchdir(root_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || fchdir(host_fd) < 0 ||
            umount2(".", MNT_DETACH) < 0 || fchdir(root_fd) < 0 || chdir("/") < 0)
                return fail_set(e, errno, "make the container's root the root again after hooks", NULL);
        return 0;
}

/* Those of the runtime's namespaces run now, by others. */
static int wait_for_go(int sock, struct plan_error *e) {
        char type = PLAN_MSG_HOOKS;
        ssize_t n;

        if (send(sock, &type, 1, MSG_NOSIGNAL) != 1)
                return fail_set(e, errno, "tell the keeper that hooks are due", NULL);
        do
                n = recv(sock, &type, 1, 0);
        while (n < 0 && errno == EINTR);
        if (n != 1 || type != PLAN_MSG_GO)
                return fail_set(e, n < 0 ? errno : ECONNABORTED, "wait for the runtime's hooks", NULL);
        return 0;
}

int hook_run_before_pivot(const struct reader *plan, const struct plan_record *rec, int host_fd, int root_fd, int sock,
                          struct plan_error *e) {
        if (leave_root(host_fd, root_fd, reader_string(rec, 0), e) < 0 || wait_for_go(sock, e) < 0 ||
            hook_run(plan, 0, e) < 0)
                return -1;
        return return_to_root(host_fd, root_fd, e);
}
