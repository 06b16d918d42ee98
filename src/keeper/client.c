/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "net/net.h"

enum {
        CALL_TIMEOUT_MS = 60000,
        CONNECT_TIMEOUT_S = 10,
        SEND_BUFFER = 4 << 20,
        SPAWN_FD_MIN = 20,
        RESPAWN_PAUSE_MS = 200,
        END_TIMEOUT_MS = 10000
};

struct pending {
        struct pending *next;
        uint32_t seq;
        int event_fd;
        int *ret_fd;
        bool answered, finished; /* finished: nothing more will come */
        struct keeper_reply *reply;
};

struct keeper_client {
        struct keeper_client_args args;
        char socket_path[256], ns_dir[256];
        pthread_mutex_t lock;
        pthread_cond_t connected; /* anew */
        pthread_t reader;
        bool stopping;
        int fd; /* -1: no keeper */
        pid_t pid;
        uint32_t seq;
        struct pending *pending;
};

/* --- the keeper process
 * ------------------------------------------------------------------------------------------------ */

/* Not the empty file that was below the mount. */
static bool is_namespace(int fd) {
        struct statfs fs;

        return fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

static int spawn_keeper(struct keeper_client *c, struct err *err) {
        const char *argv[] = { c->args.keeper_path, c->args.state_dir,  c->args.init_path,
                               c->args.log_level,   c->args.log_format, NULL };
        const char *const envp[] = { "PATH=/nonexistent", NULL };
        _cleanup_(fd_closep) int listen_fd = -1, netns = -1, low = -1, program = -1;
        struct netns_args ns = { .dir = c->ns_dir, .net = true };
        posix_spawn_file_actions_t fa;
        posix_spawnattr_t attr;
        char path[300], exe[64];
        sigset_t none, all;
        pid_t pid;
        int r;

        /* Its exec helpers are seen from inside containers for a moment, as /proc/PID/exe (the class of CVE-2019-5736).
         */
        r = fs_sealed_copy(c->args.keeper_path, "proxmox-lxcri-keeper", &program, err);
        if (r < 0)
                return err_wrap(err, "start the keeper");
        (void) snprintf(exe, sizeof(exe), "/proc/self/fd/%d", program);
        (void) snprintf(path, sizeof(path), "%s/net", c->ns_dir);
        /* One network namespace for all keepers of this state folder, so that lxc-ls finds every monitor. */
        netns = open(path, O_RDONLY | O_CLOEXEC);
        if (netns < 0 || !is_namespace(netns)) {
                netns = fd_close(netns);
                r = netns_remove(c->ns_dir, err);
                if (r == 0)
                        r = netns_create(&ns, err);
                if (r < 0)
                        return err_wrap(err, "make the keeper's network namespace");
                netns = open(path, O_RDONLY | O_CLOEXEC);
                if (netns < 0)
                        return err_sys(err, errno, "open %s", path);
        }
        r = sock_listen_unix(c->socket_path, SOCK_SEQPACKET, 0600, &low, err);
        if (r < 0)
                return r;
        listen_fd = fcntl(low, F_DUPFD_CLOEXEC, SPAWN_FD_MIN);
        low = fd_close(low);
        r = fcntl(netns, F_DUPFD_CLOEXEC, SPAWN_FD_MIN);
        (void) fd_close(netns);
        netns = r;
        if (listen_fd < 0 || netns < 0)
                return err_sys(err, errno, "duplicate descriptors for the keeper");

        (void) posix_spawn_file_actions_init(&fa);
        (void) posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
        (void) posix_spawn_file_actions_adddup2(&fa, 0, 1);
        (void) posix_spawn_file_actions_adddup2(&fa, listen_fd, 3);
        (void) posix_spawn_file_actions_adddup2(&fa, netns, 4);
        (void) posix_spawnattr_init(&attr);
        (void) sigemptyset(&none);
        (void) sigfillset(&all);
        (void) posix_spawnattr_setsigmask(&attr, &none);
        (void) posix_spawnattr_setsigdefault(&attr, &all);
        (void) posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
        r = posix_spawn(&pid, exe, &fa, &attr, (char *const *) (uintptr_t) argv, (char *const *) (uintptr_t) envp);
        (void) posix_spawn_file_actions_destroy(&fa);
        (void) posix_spawnattr_destroy(&attr);
        if (r != 0)
                return err_sys(err, r, "start the keeper %s", c->args.keeper_path);
        return 0;
}

static int say_hello(int fd, pid_t *ret_pid, struct err *err) {
        struct keeper_request req = { .type = KEEPER_HELLO, .flags = KEEPER_VERSION };
        struct timeval limit = { .tv_sec = 30 };
        struct keeper_reply reply = { 0 };
        struct sock_msg m = { 0 };
        int r;

        (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        r = sock_send(fd, &req, offsetof(struct keeper_request, config), NULL, 0);
        if (r == 0)
                r = sock_recv(fd, &reply, sizeof(reply), &m);
        if (r < 0)
                return err_sys(err, -r, "greet the keeper");
        if (m.len == 0)
                return err_set(err, ERR_UNAVAILABLE, "the keeper ended at once; its log tells why");
        if (reply.code)
                return err_set(err, (enum err_code) reply.code, "%.*s", (int) sizeof(reply.text), reply.text);
        *ret_pid = reply.pid;
        limit.tv_sec = 0;
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        return 0;
}

static int greet_running(struct keeper_client *c, int *ret_fd, pid_t *ret_pid, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int size = SEND_BUFFER, r;

        r = sock_connect_unix(c->socket_path, SOCK_SEQPACKET, &fd, err);
        if (r < 0)
                return r;
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
        r = say_hello(fd, ret_pid, err);
        if (r == 0)
                *ret_fd = TAKE_FD(fd);
        return r;
}

/* To the keeper that runs, or to a new one. One that is being killed may still take a connection and then drop it. */
static int connect_keeper(struct keeper_client *c, struct err *err) {
        int fd = -1, r;
        pid_t pid = 0;

        r = greet_running(c, &fd, &pid, err);
        if (r < 0 && err->code != ERR_UNIMPLEMENTED) {
                r = spawn_keeper(c, err);
                if (r == 0)
                        r = greet_running(c, &fd, &pid, err);
        }
        if (r < 0)
                return r;
        (void) pthread_mutex_lock(&c->lock);
        c->fd = fd;
        c->pid = pid;
        (void) pthread_cond_broadcast(&c->connected);
        (void) pthread_mutex_unlock(&c->lock);
        log_info("connected to the keeper", "pid", LOG_I64(pid), NULL);
        return 0;
}

/* --- replies
 * ------------------------------------------------------------------------------------------------------------ */

static void wake(struct pending *p) {
        uint64_t one = 1;

        if (write(p->event_fd, &one, sizeof(one)) < 0) {
                /* full: it is awake already */
        }
}

static void deliver(struct keeper_client *c, const struct keeper_reply *reply, struct sock_msg *m) {
        struct pending *p;

        (void) pthread_mutex_lock(&c->lock);
        for (p = c->pending; p && p->seq != reply->seq; p = p->next)
                ;
        if (p) {
                if (reply->type == KEEPER_EXEC_EXITED)
                        p->reply->status = reply->status;
                else
                        memcpy(p->reply, reply, (size_t) m->len);
                if (p->ret_fd && m->n_fds && *p->ret_fd < 0)
                        *p->ret_fd = TAKE_FD(m->fds[0]);
                p->answered = true;
                p->finished = p->finished || reply->type == KEEPER_EXEC_EXITED || reply->code != 0;
                wake(p);
        }
        (void) pthread_mutex_unlock(&c->lock);
}

static void fail_pending(struct keeper_client *c) {
        (void) pthread_mutex_lock(&c->lock);
        c->fd = fd_close(c->fd);
        c->pid = 0;
        for (struct pending *p = c->pending; p; p = p->next) {
                p->reply->code = ERR_UNAVAILABLE;
                (void) snprintf(p->reply->text, sizeof(p->reply->text), "the keeper ended meanwhile; try again");
                p->answered = p->finished = true;
                wake(p);
        }
        (void) pthread_mutex_unlock(&c->lock);
}

/* Its end is reported to us if we started it. Others' children are not touched. */
static void reap_keeper(pid_t pid) {
        if (pid > 0)
                (void) waitpid(pid, NULL, WNOHANG);
}

static bool is_stopping(struct keeper_client *c) {
        bool stopping;

        (void) pthread_mutex_lock(&c->lock);
        stopping = c->stopping;
        (void) pthread_mutex_unlock(&c->lock);
        return stopping;
}

static void *notify_restarted(void *arg) {
        struct keeper_client *c = arg;

        c->args.restarted(c->args.userdata);
        return NULL;
}

/* The callback makes calls, whose replies this thread must go on reading. */
static void announce_restart(struct keeper_client *c) {
        pthread_t t;

        if (pthread_create(&t, NULL, notify_restarted, c) == 0)
                (void) pthread_detach(t);
}

static void *reader(void *arg) {
        struct keeper_client *c = arg;
        struct keeper_reply reply;
        struct err err = { 0 };
        struct sock_msg m;
        pid_t pid;
        int r;

        for (;;) {
                r = sock_recv(c->fd, &reply, sizeof(reply), &m);
                if (r == 0 && m.len > 0) {
                        reply.id[sizeof(reply.id) - 1] = '\0';
                        if (reply.type == KEEPER_EXITED)
                                c->args.exited(reply.id, c->args.userdata);
                        else
                                deliver(c, &reply, &m);
                        sock_msg_done(&m);
                        continue;
                }
                if (is_stopping(c))
                        return NULL;
                log_error("the keeper is gone; starting another, which takes over the running containers", NULL);
                pid = c->pid;
                fail_pending(c);
                reap_keeper(pid);
                while (connect_keeper(c, &err) < 0) {
                        log_error("cannot start a keeper", "error", err.msg, NULL);
                        if (is_stopping(c))
                                return NULL;
                        (void) poll(NULL, 0, RESPAWN_PAUSE_MS);
                }
                if (is_stopping(c)) /* whoever said so has shut the connection before */
                        return NULL;
                announce_restart(c);
        }
}

/* --- calls
 * --------------------------------------------------------------------------------------------------------------- */

static int send_call(struct keeper_client *c, const struct keeper_call *call, uint32_t seq, struct err *err) {
        struct keeper_request req;
        size_t config_len = call->config ? strlen(call->config) : 0;
        int r;

        if (config_len >= sizeof(req.config))
                return err_set(err, ERR_EXHAUSTED, "the container's configuration is longer than %zu bytes",
                               sizeof(req.config));
        memset(&req, 0, offsetof(struct keeper_request, config));
        req.type = call->type;
        req.flags = call->flags;
        req.root_uid = call->root_uid;
        req.root_gid = call->root_gid;
        req.seq = seq;
        req.config_len = (uint32_t) config_len;
        (void) snprintf(req.id, sizeof(req.id), "%s", call->id);
        if (config_len)
                memcpy(req.config, call->config, config_len);
        r = c->fd < 0 ? -ENOTCONN
                      : sock_send(c->fd, &req, offsetof(struct keeper_request, config) + config_len, call->fds,
                                  call->n_fds);
        if (r == 0)
                return 0;
        (void) err_sys(err, -r, "send a request to the keeper");
        err->code = r == -ETOOMANYREFS || r == -EMSGSIZE ? ERR_EXHAUSTED : ERR_UNAVAILABLE;
        return -(int) err->code;
}

/* What could not be sent is sent to the next keeper, which the reader starts. With the lock. */
static int send_patiently(struct keeper_client *c, const struct keeper_call *call, uint32_t seq, struct err *err) {
        struct timespec deadline;
        int r;

        (void) clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += CONNECT_TIMEOUT_S;
        do
                r = send_call(c, call, seq, err);
        while (r < 0 && err->code == ERR_UNAVAILABLE && !c->stopping &&
               pthread_cond_timedwait(&c->connected, &c->lock, &deadline) == 0);
        return r;
}

static void remove_pending(struct keeper_client *c, struct pending *p) {
        struct pending **at;

        (void) pthread_mutex_lock(&c->lock);
        for (at = &c->pending; *at != p; at = &(*at)->next)
                ;
        *at = p->next;
        (void) pthread_mutex_unlock(&c->lock);
        (void) close(p->event_fd);
}

static void kill_exec(struct keeper_client *c, uint32_t seq) {
        struct keeper_call call = { .type = KEEPER_EXEC_KILL, .id = "" };
        struct err ignored;

        (void) pthread_mutex_lock(&c->lock);
        (void) !send_call(c, &call, seq, &ignored);
        (void) pthread_mutex_unlock(&c->lock);
}

/* Wait until all has come. An exec that is too late or not wanted any more is killed, and its end still waited for. */
static int await(struct keeper_client *c, const struct keeper_call *call, struct pending *p, struct err *err) {
        bool is_exec = call->type == KEEPER_EXEC, finished = false;
        uint64_t limit = call->timeout_ms ? call->timeout_ms : is_exec ? 0 : CALL_TIMEOUT_MS;
        uint64_t deadline = limit ? clock_monotonic_ns() + limit * 1000000 : UINT64_MAX, now, count;
        int r = 0;

        while (!finished) {
                struct pollfd fds[] = { { .fd = p->event_fd, .events = POLLIN },
                                        { .fd = call->watch ? call->watch->fds[0] : -1, .events = POLLIN },
                                        { .fd = call->watch ? call->watch->fds[1] : -1, .events = POLLIN },
                                        { .fd = is_exec && r == 0 ? call->cancel_fd : -1, .events = POLLIN } };

                now = clock_monotonic_ns();
                if (r == 0 && now >= deadline) {
                        r = err_set(err, ERR_DEADLINE, "%s within %llu ms",
                                    is_exec ? "the command did not end" : "the keeper did not answer",
                                    (unsigned long long) limit);
                        if (!is_exec)
                                return r;
                        kill_exec(c, p->seq);
                        deadline = now + 10000000000u;
                } else if (now >= deadline) {
                        return r;
                }
                if (poll(fds, ELEMENTSOF(fds),
                         deadline == UINT64_MAX ? -1 : (int) MIN_OF((deadline - now) / 1000000 + 1, 3600000u)) < 0 &&
                    errno != EINTR)
                        return err_sys(err, errno, "wait for the keeper");
                for (size_t i = 0; call->watch && i < 2; i++)
                        if (fds[1 + i].revents)
                                call->watch->ready(call->watch, i);
                if (fds[0].revents && read(p->event_fd, &count, sizeof(count)) < 0)
                        continue;
                if (r == 0 && fds[3].revents) {
                        r = err_set(err, ERR_CANCELLED, "the command was cancelled");
                        kill_exec(c, p->seq);
                        deadline = now + 10000000000u;
                }
                (void) pthread_mutex_lock(&c->lock);
                finished = p->finished || (p->answered && !is_exec);
                (void) pthread_mutex_unlock(&c->lock);
        }
        return r;
}

int keeper_client_call(struct keeper_client *c, const struct keeper_call *call, struct keeper_reply *ret,
                       struct err *err) {
        struct pending p = { .reply = ret, .ret_fd = call->ret_fd };
        int r;

        if (call->ret_fd)
                *call->ret_fd = -1;

        memset(ret, 0, offsetof(struct keeper_reply, ready));
        p.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (p.event_fd < 0)
                return err_sys(err, errno, "create an eventfd");
        (void) pthread_mutex_lock(&c->lock);
        p.seq = ++c->seq;
        r = send_patiently(c, call, p.seq, err);
        if (r == 0) {
                p.next = c->pending;
                c->pending = &p;
        }
        (void) pthread_mutex_unlock(&c->lock);
        if (r < 0) {
                (void) close(p.event_fd);
                return r;
        }
        r = await(c, call, &p, err);
        remove_pending(c, &p);
        if (r == 0 && ret->code) {
                ret->text[sizeof(ret->text) - 1] = '\0';
                r = err_set(err, (enum err_code) ret->code, "%s", ret->text);
                err->sys_errno = ret->sys_errno;
        }
        return r;
}

pid_t keeper_client_pid(struct keeper_client *c) {
        pid_t pid;

        (void) pthread_mutex_lock(&c->lock);
        pid = c->pid;
        (void) pthread_mutex_unlock(&c->lock);
        return pid;
}

int keeper_client_new(const struct keeper_client_args *args, struct keeper_client **ret, struct err *err) {
        struct keeper_client *c = xnew(struct keeper_client);
        int r;

        c->args = *args;
        c->fd = -1;
        (void) pthread_mutex_init(&c->lock, NULL);
        (void) pthread_cond_init(&c->connected, NULL);
        (void) snprintf(c->socket_path, sizeof(c->socket_path), "%s/keeper.sock", args->state_dir);
        (void) snprintf(c->ns_dir, sizeof(c->ns_dir), "%s/keeper-ns", args->state_dir);
        r = connect_keeper(c, err);
        if (r == 0 && (r = pthread_create(&c->reader, NULL, reader, c)) != 0)
                r = err_sys(err, r, "start the keeper's reader thread");
        if (r < 0) {
                (void) fd_close(c->fd);
                (void) pthread_cond_destroy(&c->connected);
                (void) pthread_mutex_destroy(&c->lock);
                free(c);
                return r;
        }
        *ret = c;
        return 0;
}

void keeper_client_end_keeper(struct keeper_client *c) {
        struct keeper_call call = { .type = KEEPER_END, .id = "", .timeout_ms = END_TIMEOUT_MS, .cancel_fd = -1 };
        _cleanup_(fd_closep) int keeper = -1;
        struct keeper_reply reply;
        struct err err = { 0 };
        pid_t pid;

        (void) pthread_mutex_lock(&c->lock);
        c->stopping = true; /* the end of the connection is no reason for another keeper */
        pid = c->pid;
        (void) pthread_mutex_unlock(&c->lock);
        keeper = proc_open(pid, proc_start_time(pid));
        /* One that still has something to do says so, stays, and ends by itself later. */
        if (keeper >= 0 &&
            (keeper_client_call(c, &call, &reply, &err) < 0 || !proc_wait_gone(keeper, END_TIMEOUT_MS))) {
                log_info("the keeper stays", "reason", err.msg, NULL);
                return;
        }
        reap_keeper(pid);
        if (netns_remove(c->ns_dir, &err) < 0)
                log_warn("the keeper's network namespace stays", "error", err.msg, NULL);
        (void) unlink(c->socket_path);
}

struct keeper_client *keeper_client_free(struct keeper_client *c) {
        if (!c)
                return NULL;
        (void) pthread_mutex_lock(&c->lock);
        c->stopping = true;
        (void) shutdown(c->fd, SHUT_RDWR);
        (void) pthread_mutex_unlock(&c->lock);
        (void) pthread_join(c->reader, NULL);
        (void) fd_close(c->fd);
        (void) pthread_cond_destroy(&c->connected);
        (void) pthread_mutex_destroy(&c->lock);
        free(c);
        return NULL;
}
