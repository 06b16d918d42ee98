/* SPDX-License-Identifier: Apache-2.0 */
/* As test-init.c: scheduling, placement, descriptors of the caller's, seccomp filters with an agent. Root only. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/mempolicy.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "init/test-fixture.h"

static void test_scheduling(void) {
        static const struct spec_scheduler batch = { .policy = SCHED_BATCH, .nice = 7 };
        _cleanup_fixture_ struct fixture *f =
                fixture_new("set -- $(cat /proc/self/stat); echo nice ${19} policy ${41}; ionice -p 1; "
                            "grep Cpus_allowed_list /proc/self/status; cat /proc/self/personality");

        assert(symlink("busybox", box_path(&f->box, "root/bin/ionice")) == 0);
        f->spec.process.scheduler = &batch;
        f->spec.process.has_io_priority = true;
        f->spec.process.io_priority_class = 2;
        f->spec.process.io_priority = 6;
        f->spec.process.cpu_affinity_final = "0";
        f->spec.has_personality = true;
        f->spec.personality = ADDR_NO_RANDOMIZE;
        f->spec.process.caps = (struct spec_caps){ ALL_CAPS, ALL_CAPS, ALL_CAPS, 0, 0 };
        assert(run(f) == 0);
        expect(f, "nice 7 policy 3\n");
        expect(f, "best-effort: prio 6\n");
        expect(f, "Cpus_allowed_list:\t0\n");
        expect(f, "00040000\n");
}

static void test_memory_policy(void) {
        static const struct spec_memory_policy bind = { .mode = MPOL_BIND, .flags = MPOL_F_STATIC_NODES, .nodes = "0" };
        _cleanup_fixture_ struct fixture *f = fixture_new("cat /proc/self/numa_maps");

        if (access("/proc/self/numa_maps", F_OK) < 0) {
                (void) fprintf(stderr, "no NUMA in this kernel: not tested\n");
                return;
        }
        f->spec.memory_policy = &bind;
        assert(run(f) == 0);
        expect(f, "bind=static:0");
}

static void test_lists_refused(void) {
        static const char *const lists[] = { "x", "1-", "3-1", "1,,2", "1,", "-1", "0-8192", "1 2" };
        static struct spec_memory_policy policy;

        for (size_t i = 0; i < ELEMENTSOF(lists); i++) {
                _cleanup_fixture_ struct fixture *f = fixture_new("true"), *m = fixture_new("true");

                f->spec.process.cpu_affinity_final = lists[i];
                expect_error(f, "is not a list of processors");
                policy.nodes = lists[i];
                m->spec.memory_policy = &policy;
                expect_error(m, "is not a list of nodes");
        }
}

/* An exec: where it is entered with, then where its program runs. */
static void test_exec_affinity(void) {
        static const char *const args[] = { "grep", "Cpus_allowed_list", "/proc/self/status", NULL };
        _cleanup_fixture_ struct fixture *f = fixture_new("");
        struct spec_process p;
        cpu_set_t cpus;

        f->args[0] = NULL;
        assert(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
        assert(box_start(&f->box, &f->spec, &host));
        box_send_start(&f->box);
        p = f->spec.process;
        p.user = (struct spec_user){ .resolved = true };
        p.args = args;
        p.cpu_affinity_initial = "0";
        assert(box_exec(&f->box, &p) == 0);
        expect(f, "Cpus_allowed_list:\t0\n");
        if (CPU_ISSET(1, &cpus)) {
                p.cpu_affinity_final = "0-1";
                assert(box_exec(&f->box, &p) == 0);
                expect(f, "Cpus_allowed_list:\t0-1\n");
        }
        assert(kill(f->box.pid, SIGTERM) == 0 && box_finish(&f->box) == 0);
}

static void test_preserved(void) {
        static const char script[] = "echo hello >&3; cat <&4; cat <&5; echo $(ls /proc/self/fd)";

        for (int lasting = 0; lasting < 2; lasting++) {
                _cleanup_fixture_ struct fixture *f = fixture_new(script);
                struct spec_process p;
                char buf[16] = "";
                int out[2], in[2], file, fds[3];

                box_write(&f->box, "file", "file\n");
                file = open(box_path(&f->box, "file"), O_RDONLY | O_CLOEXEC);
                assert(pipe2(out, O_CLOEXEC) == 0 && pipe2(in, O_CLOEXEC) == 0 && file >= 0);
                assert(write(in[1], "in\n", 3) == 3);
                (void) close(in[1]);
                memcpy(fds, (const int[]){ out[1], in[0], file }, sizeof(fds));
                f->spec.outlives_parent = lasting;
                f->spec.process.user.uid = 1000;
                f->spec.process.fds = fds;
                f->spec.process.n_fds = 3;
                assert(run(f) == 0);
                expect(f, "in\nfile\n0 1 2 3 4 5 6\n"); /* 6: of ls itself */
                assert(read(out[0], buf, sizeof(buf) - 1) == 6 && str_eq(buf, "hello\n"));

                _cleanup_fixture_ struct fixture *e = fixture_new("");
                e->args[0] = NULL;
                assert(box_start(&e->box, &e->spec, &host));
                box_send_start(&e->box);
                p = e->spec.process;
                p.user = (struct spec_user){ .resolved = true };
                p.args = (const char *const[]){ "sh", "-c", script, NULL };
                assert(lseek(file, 0, SEEK_SET) == 0);
                p.fds = fds;
                p.n_fds = 3;
                assert(box_exec(&e->box, &p) == 0);
                expect(e, "file\n0 1 2 3 4 5 6\n");
                assert(kill(e->box.pid, SIGTERM) == 0 && box_finish(&e->box) == 0);
                (void) close(out[0]);
                (void) close(out[1]);
                (void) close(in[0]);
                (void) close(file);
        }
}

static void test_not_preserved(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("true");
        const int fds[] = { 999 };

        f->spec.process.fds = fds;
        f->spec.process.n_fds = 1;
        expect_error(f, "take descriptor 999 for the container");
}

/* --- seccomp -------------------------------------------------------------------------------------------------------
 */

#define NOTIFY(call)                                                                                                   \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)

/* Also what handing its descriptor out takes. */
static const struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        NOTIFY(SYS_mkdirat),
#ifdef SYS_mkdir
        NOTIFY(SYS_mkdir),
#endif
        NOTIFY(SYS_sendmsg),
        NOTIFY(SYS_recvmsg),
        NOTIFY(SYS_recvfrom),
        NOTIFY(SYS_futex),
        NOTIFY(SYS_close),
        NOTIFY(SYS_capset),
        NOTIFY(SYS_execve),
        NOTIFY(SYS_nanosleep),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static bool is_mkdir(int nr) {
#ifdef SYS_mkdir
        if (nr == SYS_mkdir)
                return true;
#endif
        return nr == SYS_mkdirat;
}

/* The agent: says no to mkdir, in its own words, and yes to all else. Until nobody has the filter any more. */
static int attend(int fd) {
        struct seccomp_notif request;
        struct seccomp_notif_resp answer;
        int n = 0;

        for (;;) {
                memset(&request, 0, sizeof(request));
                if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0) {
                        if (errno == EINTR)
                                continue;
                        return n;
                }
                n++;
                answer = (struct seccomp_notif_resp){ .id = request.id };
                if (is_mkdir(request.data.nr))
                        answer.error = -EXDEV;
                else
                        answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
                (void) ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
        }
}

static void test_listener(void) {
        for (int i = 0; i < 4; i++) {
                _cleanup_fixture_ struct fixture *f =
                        fixture_new("mkdir /tmp/x; grep Seccomp: /proc/self/status; ls -l /proc/self/fd");
                struct sock_msg m;
                char byte;
                pid_t agent;

                f->spec.outlives_parent = i & 1;
                f->spec.process.no_new_privs = i & 2;
                f->spec.process.user.uid = 1000;
                f->spec.process.seccomp = filter;
                f->spec.process.n_seccomp = ELEMENTSOF(filter);
                f->spec.process.seccomp_notify = true;
                f->spec.process.seccomp_flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG;
                assert(box_start(&f->box, &f->spec, &host));
                box_send_start(&f->box);
                assert(sock_recv(f->box.sock, &byte, 1, &m) == 0 && m.len == 1 && byte == PLAN_MSG_SECCOMP &&
                       m.n_fds == 1);
                agent = fork();
                if (agent == 0)
                        _exit(attend(m.fds[0]) > 3 ? 0 : 1);
                assert(agent > 0 && sock_send(f->box.sock, "G", 1, NULL, 0) == 0);
                sock_msg_done(&m);
                (void) box_finish(&f->box);
                expect(f, "mkdir: can't create directory '/tmp/x': Invalid cross-device link");
                expect(f, "Seccomp:\t2\n");
                expect_not(f, "seccomp");
                (void) kill(agent, SIGKILL);
                (void) waitpid(agent, NULL, 0);
        }
}

/* Nobody takes it: the program doesn't run, and nothing hangs. */
static void test_listener_refused(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("true");
        struct sock_msg m;
        char byte;

        f->spec.outlives_parent = true;
        f->spec.process.seccomp = filter;
        f->spec.process.n_seccomp = ELEMENTSOF(filter);
        f->spec.process.seccomp_notify = true;
        assert(box_start(&f->box, &f->spec, &host));
        box_send_start(&f->box);
        assert(sock_recv(f->box.sock, &byte, 1, &m) == 0 && m.n_fds == 1);
        f->box.sock = fd_close(f->box.sock);
        sock_msg_done(&m); /* without an agent the kernel answers ENOSYS */
        assert(box_finish(&f->box) == 126);
        assert(strstr(f->box.failure.text, "hand out the seccomp filter's descriptor"));
}

int main(void) {
        int r = test_begin();

        if (r != 0)
                return r;
        RUN(test_scheduling);
        RUN(test_memory_policy);
        RUN(test_lists_refused);
        RUN(test_exec_affinity);
        RUN(test_preserved);
        RUN(test_not_preserved);
        RUN(test_listener);
        RUN(test_listener_refused);
        return 0;
}
