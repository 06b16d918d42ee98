/* SPDX-License-Identifier: Apache-2.0 */
/* As test-init.c: how init is started, lives and ends. Root only. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/proc.h"
#include "base/sock.h"
#include "init/test-fixture.h"

static void test_terminal(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new(
                "tty; stty size; echo TERM=$TERM; stat -c %u /dev/pts/0; ls -l /dev/console; echo x >/dev/tty");

        f->spec.process.terminal = true;
        f->spec.process.rows = 30;
        f->spec.process.columns = 90;
        f->spec.process.user.uid = 1000;
        assert(run(f) == 0 && f->box.ready.has_terminal);
        expect(f, "/dev/pts/0\r\n30 90\r\nTERM=xterm\r\n1000\r\n");
        expect(f, "/dev/console\r\nx\r\n");
}

static void test_abandoned(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("echo must not run");

        assert(box_start(&f->box, &f->spec, &host));
        f->box.sock = fd_close(f->box.sock);
        assert(box_finish(&f->box) == 1 && !f->box.output[0]);
}

static int children_of(pid_t pid) {
        char path[64], buf[256] = "";
        int fd, n = 0;

        (void) snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int) pid, (int) pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert(fd >= 0 && read(fd, buf, sizeof(buf) - 1) >= 0);
        (void) close(fd);
        for (char *p = buf; *p; p++)
                n += *p == ' ';
        return n;
}

static void test_pause_and_exec(void) {
        static const char *const orphan[] = { "/bin/sh", "-c", "(sleep 0.2; exit 3) & (sleep 0.1) & exit 4", NULL };
        static const char *const status[] = {
                "sh", "-c", "cat /proc/self/status; id -u; echo $HOME; pwd; ls -l /proc/self/fd | grep -c -e '->'", NULL
        };
        static const char *const missing[] = { "missing", NULL };
        _cleanup_fixture_ struct fixture *f = fixture_new("");
        struct spec_process p;

        f->args[0] = NULL;
        assert(box_start(&f->box, &f->spec, &host));
        box_send_start(&f->box);
        p = f->spec.process;
        p.user = (struct spec_user){ .resolved = true };
        p.args = orphan;
        assert(box_exec(&f->box, &p) == 4);
        for (int i = 0; i < 300 && children_of(f->box.pid) > 0; i++)
                (void) usleep(10000);
        assert(children_of(f->box.pid) == 0); /* reaped */

        p.args = status;
        p.user.uid = 1000;
        p.cwd = "/tmp";
        p.no_new_privs = true;
        assert(box_exec(&f->box, &p) == 0 && !f->box.failure.text[0]);
        expect(f, "CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n");
        expect(f, "NoNewPrivs:\t1\n");
        expect(f, "\n1000\n/home/user\n/tmp\n");
        expect(f, "\n3\n");
        p.args = (const char *const[]){ "sh", "-c",
                                        "tty; stat -c %u /dev/pts/0; echo $TERM; test -e /dev/console || echo none",
                                        NULL };
        p.terminal = true;
        assert(box_exec(&f->box, &p) == 0);
        expect(f, "/dev/pts/0\r\n1000\r\nxterm\r\nnone\r\n");
        p.terminal = false;
        p.args = missing;
        assert(box_exec(&f->box, &p) == 127);
        assert(strcmp(f->box.failure.text, "exec: \"missing\": executable file not found in $PATH") == 0);
        assert(f->box.failure.sys_errno == ENOENT);

        assert(kill(f->box.pid, SIGTERM) == 0 && box_finish(&f->box) == 0);
}

/* The monitor is killed: init's process dies too, though it is no longer root. */
static void test_monitor_killed(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("echo up; sleep 60");
        char buf[8];
        int pidfd;

        f->box.monitored = true;
        f->spec.process.user.uid = 1000;
        assert(box_start(&f->box, &f->spec, &host));
        box_send_start(&f->box);
        assert(read(f->box.out_fd, buf, sizeof(buf)) > 0);
        pidfd = proc_open(f->box.pid, proc_start_time(f->box.pid));
        assert(pidfd >= 0 && kill(f->box.monitor_pid, SIGKILL) == 0 && proc_wait_gone(pidfd, 5000));
        (void) close(pidfd);
        f->box.pid = 0;
}

/* --- containers that outlive who made them ----------------------------------------------------------------------- */

static struct fixture *lasting_fixture(const char *script) {
        struct fixture *f = fixture_new(script);

        f->spec.outlives_parent = true;
        return f;
}

/* Of the links in /proc/PID/fd those that are sockets, and all. */
static void count_fds(pid_t pid, int *ret_sockets, int *ret_all) {
        char path[64], target[256];

        *ret_sockets = *ret_all = 0;
        for (int fd = 0; fd < 256; fd++) {
                ssize_t n;

                (void) snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int) pid, fd);
                n = readlink(path, target, sizeof(target) - 1);
                if (n < 0)
                        continue;
                target[n] = '\0';
                *ret_all += 1;
                *ret_sockets += strncmp(target, "socket:", 7) == 0;
        }
}

static void wait_for_fds(pid_t pid, int want_all) {
        int sockets = 0, all = 0;

        for (int i = 0; i < 300; i++) {
                count_fds(pid, &sockets, &all);
                if (sockets == 1 && all == want_all)
                        return;
                (void) usleep(10000);
        }
        (void) fprintf(stderr, "%d sockets, %d descriptors\n", sockets, all);
        abort();
}

static void test_start_socket(void) {
        _cleanup_fixture_ struct fixture *f =
                lasting_fixture("echo up; ls -l /proc/self/fd 2>/dev/null | grep -c -e '->'; exit 4");
        int p[2], fds[2], status;

        assert(box_start(&f->box, &f->spec, &host));
        f->box.sock = fd_close(f->box.sock); /* its maker's end does not matter */
        wait_for_fds(f->box.pid, 5);         /* stdio, the socket, its own /proc */
        assert(pipe2(p, O_CLOEXEC) == 0);
        fds[0] = fds[1] = p[1];
        /* Whoever comes and goes, or says what nobody understands. */
        for (int i = 0; i < 6; i++) {
                int sock = box_connect(&f->box);
                char byte;

                assert(sock >= 0);
                if (i == 1)
                        assert(sock_send(sock, "S", 1, NULL, 0) == 0);
                else if (i == 2)
                        assert(sock_send(sock, "S", 1, fds, 2) == 0);
                else if (i == 3)
                        assert(sock_send(sock, "X", 1, fds, 1) == 0);
                else if (i == 4)
                        assert(sock_send(sock, "SS", 2, fds, 1) == 0);
                if (i > 0 && i < 5)
                        assert(read(sock, &byte, 1) == 0); /* it hangs up */
                (void) close(sock);
        }
        wait_for_fds(f->box.pid, 5); /* what came with it is closed */
        assert(waitpid(f->box.pid, &status, WNOHANG) == 0);
        (void) close(p[0]);
        (void) close(p[1]);
        assert(box_run(&f->box) == 4 && !f->box.failure.text[0]);
        expect(f, "up\n3\n");
        assert(box_connect(&f->box) == -ERR_UNAVAILABLE);
}

static void test_start_socket_errors(void) {
        _cleanup_fixture_ struct fixture *f = lasting_fixture(""), *ended = lasting_fixture(""),
                                         *none = lasting_fixture("");

        /* That it isn't there is noticed before READY. */
        none->args[0] = "/no/such";
        expect_error(none, "exec: \"/no/such\": no such file or directory");
        f->args[0] = "/garbage";
        box_write(&f->box, "root/garbage", "nothing that runs");
        assert(chmod(box_path(&f->box, "root/garbage"), 0755) == 0);
        assert(box_start(&f->box, &f->spec, &host) && box_run(&f->box) == 126);
        assert(f->box.failure.sys_errno == ENOEXEC &&
               strcmp(f->box.failure.text, "exec: \"/garbage\": exec format error") == 0);
        /* Nobody lets it go, and it is the first process of its PID namespace. */
        assert(box_start(&ended->box, &ended->spec, &host));
        wait_for_fds(ended->box.pid, 5);
        for (int i = 0;
             i < 300 && kill(ended->box.pid, SIGTERM) == 0 && waitpid(ended->box.pid, &ended->box.status, WNOHANG) == 0;
             i++)
                (void) usleep(10000);
        assert(WIFEXITED(ended->box.status) && WEXITSTATUS(ended->box.status) == 128 + SIGTERM);
        ended->box.pid = 0;
}

/* Only who made it may let it go. */
static void test_start_by_others(void) {
        _cleanup_fixture_ struct fixture *f = lasting_fixture("exit 3");
        int status;
        pid_t pid;

        assert(box_start(&f->box, &f->spec, &host) && chmod(f->box.start_path, 0666) == 0);
        pid = fork();
        if (pid == 0) {
                char byte;
                int sock;

                assert(setresuid(1000, 1000, 1000) == 0);
                sock = box_connect(&f->box);
                assert(sock >= 0);
                (void) !sock_send(sock, "S", 1, (int[]){ 0 }, 1);
                _exit(read(sock, &byte, 1) <= 0 ? 0 : 1);
        }
        assert(waitpid(pid, &status, 0) == pid && status == 0 && waitpid(f->box.pid, &status, WNOHANG) == 0);
        assert(box_run(&f->box) == 3);
}

static void test_start_in_user_namespace(void) {
        static const struct id_map ids = { 0, MAP_FIRST, MAP_LENGTH };
        _cleanup_fixture_ struct fixture *f = lasting_fixture("exit 3");

        f->box.userns = true;
        box_chown(&f->box);
        f->spec.ns[SPEC_NS_USER].create = true;
        f->spec.ns[SPEC_NS_PID].create = true;
        f->spec.user_ids = (struct id_maps){ &ids, &ids, 1, 1 };
        assert(run(f) == 3);
}

/* Its parent, as liblxc's monitor, is killed before and after its start. */
static void test_outlives_parent(void) {
        for (int late = 0; late < 2; late++) {
                _cleanup_fixture_ struct fixture *f = lasting_fixture("echo up; read line; echo $line");
                char buf[8];
                int pidfd;

                f->box.monitored = true;
                f->spec.process.user.uid = 1000;
                assert(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && box_start(&f->box, &f->spec, &host));
                pidfd = proc_open(f->box.pid, proc_start_time(f->box.pid));
                if (late) {
                        box_send_start(&f->box);
                        assert(read(f->box.out_fd, buf, sizeof(buf)) == 3);
                }
                assert(kill(f->box.monitor_pid, SIGKILL) == 0 && waitpid(f->box.monitor_pid, NULL, 0) > 0);
                f->box.monitor_pid = 0;
                assert(pidfd >= 0 && !proc_wait_gone(pidfd, 300));
                (void) close(pidfd);
                if (!late)
                        box_send_start(&f->box);
                assert(write(f->box.in_fd, "fine\n", 5) == 5 && box_finish(&f->box) == 0);
                expect(f, "fine\n");
        }
}

static void test_time_namespaces(void) {
        static const char script[] =
                "cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time";
        char path[64];
        struct stat st;

        if (stat("/proc/self/ns/time", &st) < 0) {
                (void) fprintf(stderr, "no time namespaces in this kernel: not tested\n");
                return;
        }
        for (int userns = 0; userns < 2; userns++) {
                static const struct id_map ids = { 0, MAP_FIRST, MAP_LENGTH };
                _cleanup_fixture_ struct fixture *f = fixture_new(script), *other = fixture_new(script);
                char here[64] = "", line[80];

                assert(symlink("busybox", box_path(&f->box, "root/bin/cut")) == 0 &&
                       symlink("busybox", box_path(&other->box, "root/bin/cut")) == 0);
                if (userns) {
                        f->box.userns = f->spec.ns[SPEC_NS_USER].create = f->spec.ns[SPEC_NS_PID].create = true;
                        f->spec.user_ids = (struct id_maps){ &ids, &ids, 1, 1 };
                        box_chown(&f->box);
                }
                f->spec.ns[SPEC_NS_TIME].create = true;
                f->spec.boottime = (struct spec_time_offset){ true, 1000000, 5 };
                f->spec.monotonic = (struct spec_time_offset){ true, -1, 999999999 };
                assert(box_start(&f->box, &f->spec, &host));
                (void) snprintf(path, sizeof(path), "/proc/%d/ns/time", (int) f->box.pid);
                assert(readlink(path, here, sizeof(here) - 1) > 0);
                other->spec.ns[SPEC_NS_TIME].path = path;
                assert(run(other) == 0 && box_run(&f->box) == 0);
                for (int i = 0; i < 2; i++) {
                        expect(i ? other : f, "monotonic          -1 999999999\nboottime      1000000         5\n");
                        (void) snprintf(line, sizeof(line), "%s\n", here);
                        expect(i ? other : f, line);
                        assert(strtol(strstr((i ? other : f)->box.output, "5\n") + 2, NULL, 10) > 1000000);
                }
        }
        _cleanup_fixture_ struct fixture *bad = fixture_new("true");
        bad->spec.ns[SPEC_NS_TIME].path = "/proc/self/ns/net";
        expect_error(bad, "/proc/self/ns/net is not a namespace of type time");
}

static void test_names(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname");
        _cleanup_fixture_ struct fixture *none = fixture_new("true");

        f->spec.ns[SPEC_NS_UTS].create = true;
        f->spec.hostname = "a-name";
        f->spec.domainname = "a.domain";
        assert(run(f) == 0);
        expect(f, "a-name\na.domain\n");
        none->spec.hostname = "a-name";
        expect_error(none, "unable to set hostname without a private UTS namespace");
}

int main(void) {
        int r = test_begin();

        if (r != 0)
                return r;
        RUN(test_terminal);
        RUN(test_abandoned);
        RUN(test_pause_and_exec);
        RUN(test_monitor_killed);
        RUN(test_start_socket);
        RUN(test_start_socket_errors);
        RUN(test_start_by_others);
        RUN(test_start_in_user_namespace);
        RUN(test_outlives_parent);
        RUN(test_time_namespaces);
        RUN(test_names);
        return 0;
}
