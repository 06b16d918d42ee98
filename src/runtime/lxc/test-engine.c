/* SPDX-License-Identifier: Apache-2.0 */
/* The engine with real containers: keeper, monitors, liblxc, init, on a root file system of busybox. Needs root.
 * argv: keeper, init, busybox. Everything lives in a mount and a PID namespace of its own and in one temporary folder,
 * so that nothing stays of a test that fails or is killed. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "net/net.h"
#include "runtime/engine.h"

static char dir[64], busybox[256], parent[64];
static struct cgroups *cgroups;
static struct engine *engine;
static _Atomic int n_exited;
static struct err err;

#define CHECK(call)                                                                                                    \
        do {                                                                                                           \
                if ((call) < 0) {                                                                                      \
                        (void) fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, err.msg);                 \
                        abort();                                                                                       \
                }                                                                                                      \
        } while (0)

static void on_exited(const char *id, void *userdata) {
        n_exited++;
}

/* A detached tmpfs with busybox in it. */
static int make_rootfs(void) {
        int fs = (int) syscall(SYS_fsopen, "tmpfs", 1), mnt, fd;
        const char *const folders[] = { "bin", "proc", "sys", "dev", "etc", "tmp" };
        char *data;
        size_t len;

        assert(fs >= 0 && syscall(SYS_fsconfig, fs, 6, NULL, NULL, 0) == 0);
        mnt = (int) syscall(SYS_fsmount, fs, 1, 0);
        assert(mnt >= 0);
        (void) close(fs);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                assert(mkdirat(mnt, folders[i], 0755) == 0);
        CHECK(fs_read_file(AT_FDCWD, busybox, 16 << 20, &data, &len, &err));
        fd = openat(mnt, "bin/busybox", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
        assert(fd >= 0 && fs_write_all(fd, data, len) == 0 && close(fd) == 0);
        free(data);
        assert(symlinkat("busybox", mnt, "bin/sh") == 0);
        fd = openat(mnt, "etc/passwd", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert(fd >= 0 && fs_write_all(fd, "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n", 46) == 0 &&
               close(fd) == 0);
        return mnt;
}

static const char *const no_strings[] = { NULL };

static struct spec make_spec(const char *id, const char *const *args, char cgroup[128]) {
        static const char *const env[] = { "PATH=/bin", NULL };
        static const struct spec_mount mounts[] = {
                { .destination = "/proc", .type = "proc", .source = "proc", .source_fd = -1 },
                { .destination = "/dev",
                  .type = "tmpfs",
                  .source = "tmpfs",
                  .data = "mode=755,size=65536k",
                  .flags = MS_NOSUID,
                  .source_fd = -1 },
                { .destination = "/dev/pts",
                  .type = "devpts",
                  .source = "devpts",
                  .data = "newinstance,ptmxmode=0666,mode=0620,gid=5",
                  .flags = MS_NOSUID | MS_NOEXEC,
                  .source_fd = -1 },
        };
        static const struct spec_device devices[] = {
                { "/dev/null", 'c', 1, 3, 0666, 0, 0 },
                { "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
        };
        struct spec s = {
                .id = id,
                .rootfs_mount_fd = make_rootfs(),
                .cgroup_path = cgroup,
                .mounts = mounts,
                .n_mounts = ELEMENTSOF(mounts),
                .devices = devices,
                .n_devices = ELEMENTSOF(devices),
                .masked_paths = no_strings,
                .readonly_paths = no_strings,
                .process = { .args = args,
                             .env = env,
                             .cwd = "/",
                             .caps = { 0xa80425fb, 0xa80425fb, 0xa80425fb, 0, 0 } },
                .resources = { .memory_limit_bytes = 64 << 20,
                               .cpuset_cpus = "",
                               .cpuset_mems = "",
                               .pids_limit = 100 },
        };

        (void) snprintf(cgroup, 128, "%s/%s", parent, id);
        for (int i = 0; i < SPEC_NS_MAX; i++)
                s.ns[i].create = i != SPEC_NS_USER && i != SPEC_NS_TIME;
        return s;
}

static struct engine_exit run(const char *id, const char *script, struct engine_created *created) {
        const char *const args[] = { "/bin/sh", "-c", script, NULL };
        struct engine_created scratch;
        char cgroup[128], log[128];
        struct engine_exit x;
        struct spec s = make_spec(id, args, cgroup);
        struct engine_stdio io = { .log_path = log };

        (void) snprintf(log, sizeof(log), "%s/%s.log", dir, id);
        CHECK(engine->ops->create(engine, &s, &io, created ? created : &scratch, &err));
        assert(engine->ops->get_state(engine, id) == ENGINE_CREATED);
        CHECK(engine->ops->start(engine, id, &err));
        assert(engine->ops->wait(engine, id, 10000, -1));
        CHECK(engine->ops->get_exit(engine, id, &x, &err));
        CHECK(engine->ops->remove(engine, id, &err));
        return x;
}

static char *read_log(const char *id) {
        char path[128], *data;

        (void) snprintf(path, sizeof(path), "%s/%s.log", dir, id);
        CHECK(fs_read_file(AT_FDCWD, path, 1 << 20, &data, NULL, &err));
        return data;
}

static void test_output_and_exit(void) {
        struct engine_exit x = run("out", "echo hello; echo oops >&2; printf partial; exit 7", NULL);
        _cleanup_(freep) char *log = read_log("out");

        assert(x.exit_code == 7 && x.signal == 0 && x.reason[0] == '\0');
        assert(strstr(log, " stdout F hello\n") && strstr(log, " stderr F oops\n") &&
               strstr(log, " stdout P partial\n"));
        x = run("sig", "kill -9 $$", NULL);
        assert(x.exit_code == 0 ||
               x.exit_code == 137); /* a pid namespace's first process is immune to its own SIGKILL */
}

static void test_bad_program(void) {
        const char *const args[] = { "/no/such", NULL };
        char cgroup[128];
        struct engine_created created;
        struct engine_stdio io = { 0 };
        struct spec s = make_spec("bad", args, cgroup);

        CHECK(engine->ops->create(engine, &s, &io, &created, &err));
        assert(engine->ops->start(engine, "bad", &err) < 0 && strstr(err.msg, "no such file"));
        assert(engine->ops->wait(engine, "bad", 10000, -1));
        CHECK(engine->ops->remove(engine, "bad", &err));
}

static void start(const char *id, const char *script, struct engine_created *created) {
        const char *const args[] = { "/bin/sh", "-c", script, NULL };
        char cgroup[128], log[128];
        struct engine_stdio io = { .log_path = log };
        struct spec s = make_spec(id, args, cgroup);

        (void) snprintf(log, sizeof(log), "%s/%s.log", dir, id);
        CHECK(engine->ops->create(engine, &s, &io, created, &err));
        CHECK(engine->ops->start(engine, id, &err));
}

static void test_exec(void) {
        static const char *const args[] = { "/bin/sh", "-c", "echo in $PWD; exit 5", NULL }, *const env[] = {
                "PATH=/bin", NULL
        };
        static const char *const slow[] = { "/bin/sh", "-c", "sleep 100 & sleep 100", NULL };
        struct spec_process p = {
                .args = args, .env = env, .cwd = "/tmp", .user = { .resolved = true, .has_gid = true }
        };
        struct engine_exec_args x = { .id = "exec", .process = &p, .stdin_fd = -1, .stderr_fd = -1, .cancel_fd = -1 };
        struct engine_created created;
        char buf[64] = "";
        int out[2], code;

        start("exec", "while :; do sleep 1; done", &created);
        assert(pipe2(out, O_CLOEXEC) == 0);
        x.stdout_fd = out[1];
        CHECK(engine->ops->exec(engine, &x, &code, &err));
        assert(code == 5 && read(out[0], buf, sizeof(buf) - 1) == 8 && strcmp(buf, "in /tmp\n") == 0);
        p.args = slow;
        x.timeout_ms = 300;
        assert(engine->ops->exec(engine, &x, &code, &err) == -ERR_DEADLINE);
        (void) close(out[0]);
        (void) close(out[1]);
        CHECK(engine->ops->kill(engine, "exec", &err));
        CHECK(engine->ops->remove(engine, "exec", &err));
}

static void read_until(int fd, const char *want) {
        char buf[4096] = "";
        size_t n = 0;
        ssize_t r;

        while (!strstr(buf, want)) {
                r = read(fd, buf + n, sizeof(buf) - 1 - n);
                if (r <= 0)
                        (void) fprintf(stderr, "got only \"%s\"\n", buf);
                assert(r > 0);
                n += (size_t) r;
                buf[n] = '\0';
        }
}

static void start_with(const char *id, const char *script, const struct engine_stdio *io, bool terminal) {
        const char *const args[] = { "/bin/sh", "-c", script, NULL };
        char cgroup[128];
        struct engine_created created;
        struct spec s = make_spec(id, args, cgroup);

        s.process.terminal = terminal;
        CHECK(engine->ops->create(engine, &s, io, &created, &err));
        CHECK(engine->ops->start(engine, id, &err));
}

/* What attach writes goes in, what comes out is seen at once and in the log; the end of a once-input is the program's.
 */
static void test_attach(void) {
        char log[128];
        struct engine_stdio io = { .log_path = log, .open_stdin = true, .stdin_once = true };
        struct engine_attached a;
        struct engine_exit x;
        char byte;

        (void) snprintf(log, sizeof(log), "%s/attach.log", dir);
        start_with("attach", "printf '> '; while read -r line; do echo \"got $line\"; echo e >&2; done; exit 4", &io,
                   false);
        CHECK(engine->ops->attach(engine, "attach", true, true, true, &a, &err));
        assert(write(a.stdin_fd, "one\n", 4) == 4);
        read_until(a.stdout_fd, "got one\n");
        read_until(a.stderr_fd, "e\n");
        (void) close(a.stdin_fd);
        assert(read(a.stdout_fd, &byte, 1) == 0 && read(a.stderr_fd, &byte, 1) == 0);
        (void) close(a.stdout_fd);
        (void) close(a.stderr_fd);
        assert(engine->ops->wait(engine, "attach", 10000, -1));
        CHECK(engine->ops->get_exit(engine, "attach", &x, &err));
        assert(x.exit_code == 4);
        CHECK(engine->ops->remove(engine, "attach", &err));
        _cleanup_(freep) char *text = read_log("attach");
        assert(strstr(text, "stdout F got one\n") || strstr(text, "got one\n"));
}

static void test_terminal(void) {
        char log[128];
        struct engine_stdio io = { .log_path = log, .open_stdin = true };
        static const char *const tty[] = { "/bin/busybox", "tty", NULL }, *const env[] = { "PATH=/bin", NULL };
        struct spec_process p = {
                .args = tty, .env = env, .cwd = "/", .terminal = true, .user = { .resolved = true, .has_gid = true }
        };
        struct engine_exec_args e = {
                .id = "tty", .process = &p, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .cancel_fd = -1
        };
        struct engine_attached a;
        struct sock_msg m;
        int sv[2], code;
        char byte;

        (void) snprintf(log, sizeof(log), "%s/tty.log", dir);
        start_with("tty", "while read -r line; do echo \"seen $line\"; done", &io, true);
        CHECK(engine->ops->attach(engine, "tty", true, true, false, &a, &err));
        assert(write(a.stdin_fd, "x\n", 2) == 2);
        read_until(a.stdout_fd, "seen x\r\n");
        (void) close(a.stdin_fd);
        (void) close(a.stdout_fd);
        assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == 0);
        e.terminal_socket = sv[1];
        CHECK(engine->ops->exec(engine, &e, &code, &err));
        assert(code == 0 && sock_recv(sv[0], &byte, 1, &m) == 0 && m.n_fds == 1);
        read_until(m.fds[0], "/dev/pts/");
        sock_msg_done(&m);
        (void) close(sv[0]);
        (void) close(sv[1]);
        CHECK(engine->ops->kill(engine, "tty", &err));
        CHECK(engine->ops->remove(engine, "tty", &err));
}

static double now_ms(void) {
        return (double) clock_monotonic_ns() / 1e6;
}

static void measure(int n) {
        const char *const args[] = { "/bin/busybox", "true", NULL };
        double create = 0, started = 0, ended = 0, removed = 0, t0, t1, t2, t3, t4;

        for (int i = 0; i < n; i++) {
                struct engine_created created;
                struct engine_stdio io = { 0 };
                char cgroup[128], id[32];
                struct spec s;

                (void) snprintf(id, sizeof(id), "bench%d", i);
                s = make_spec(id, args, cgroup);
                t0 = now_ms();
                CHECK(engine->ops->create(engine, &s, &io, &created, &err));
                t1 = now_ms();
                CHECK(engine->ops->start(engine, id, &err));
                t2 = now_ms();
                assert(engine->ops->wait(engine, id, 10000, -1));
                t3 = now_ms();
                CHECK(engine->ops->remove(engine, id, &err));
                t4 = now_ms();
                create += t1 - t0, started += t2 - t1, ended += t3 - t2, removed += t4 - t3;
        }
        (void) printf("mean of %d, ms: create %.2f start %.2f end %.2f remove %.2f\n", n, create / n, started / n,
                      ended / n, removed / n);
}

static void test_keeper_killed(void) {
        struct engine_created created;
        struct engine_exit x;
        pid_t old = engine_lxc_keeper_pid(engine);

        start("orphan", "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.05; done; exit 9", &created);
        assert(old > 0 && kill(old, SIGKILL) == 0);
        assert(engine->ops->wait(engine, "orphan", 20000, -1));
        assert(engine_lxc_keeper_pid(engine) != old);
        CHECK(engine->ops->get_exit(engine, "orphan", &x, &err));
        assert(x.exit_code == 9);
        _cleanup_(freep) char *log = read_log("orphan");
        for (int i = 0; i < 40; i++) {
                char line[32];
                (void) snprintf(line, sizeof(line), "F line %d\n", i);
                assert(strstr(log, line));
        }
        CHECK(engine->ops->remove(engine, "orphan", &err));
}

static pid_t parent_of(pid_t pid) {
        char path[64], *text, *p;

        (void) snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        CHECK(fs_read_file(AT_FDCWD, path, 4096, &text, NULL, &err));
        p = strrchr(text, ')');
        pid = (pid_t) strtol(p + 4, NULL, 10);
        free(text);
        return pid;
}

static void test_monitor_killed(void) {
        struct engine_created created;
        struct engine_exit x;
        int fd;

        start("lost", "while :; do sleep 1; done", &created);
        fd = proc_open(created.pid, created.start_time);
        assert(fd >= 0 && kill(parent_of(created.pid), SIGKILL) == 0);
        assert(engine->ops->wait(engine, "lost", 10000, -1) && proc_wait_gone(fd, 1000));
        CHECK(engine->ops->get_exit(engine, "lost", &x, &err));
        assert(x.exit_code == 137 && strcmp(x.reason, "MonitorLost") == 0);
        CHECK(engine->ops->remove(engine, "lost", &err));
        (void) close(fd);
}

/* --- in another PID namespace, as in a Proxmox container ---------------------------------------------------------- */

static const struct id_map ct_range = { 0, 100000, 65536 };
static char ct_ns[SPEC_NS_MAX][64];
static int init_fd;

/* All namespaces new, ids mapped, our init program its first process. */
static pid_t start_ct(void) {
        static const struct {
                enum spec_ns kind;
                const char *name;
        } kinds[] = { { SPEC_NS_PID, "pid" },
                      { SPEC_NS_NET, "net" },
                      { SPEC_NS_IPC, "ipc" },
                      { SPEC_NS_UTS, "uts" },
                      { SPEC_NS_USER, "user" } };
        static char name[] = "/sbin/init", *const argv[] = { name, NULL }, *const no_env[] = { NULL };
        struct clone_args args = { .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                                            CLONE_NEWNS,
                                   .exit_signal = SIGCHLD };
        char path[64], byte;
        int go[2];
        pid_t pid;

        assert(pipe2(go, O_CLOEXEC) == 0);
        pid = (pid_t) syscall(SYS_clone3, &args, sizeof(args));
        assert(pid >= 0);
        if (pid == 0) {
                (void) close(go[1]);
                if (read(go[0], &byte, 1) == 1 && setgroups(0, NULL) == 0 && setresgid(0, 0, 0) == 0 &&
                    setresuid(0, 0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
                        (void) fexecve(init_fd, argv, no_env);
                _exit(99);
        }
        for (int i = 0; i < 2; i++) {
                (void) snprintf(path, sizeof(path), "/proc/%d/%s", pid, i ? "gid_map" : "uid_map");
                CHECK(fs_write_existing(AT_FDCWD, path, "0 100000 65536", &err));
        }
        assert(write(go[1], "m", 1) == 1);
        (void) close(go[0]);
        (void) close(go[1]);
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                (void) snprintf(ct_ns[kinds[i].kind], sizeof(ct_ns[0]), "/proc/%d/ns/%s", pid, kinds[i].name);
        return pid;
}

static int end_ct(pid_t pid, int sig) {
        int status;

        assert(kill(pid, sig) == 0 && waitpid(pid, &status, 0) == pid);
        return status;
}

static void start_in_ct(const char *id, const char *script, struct engine_created *created) {
        const char *const args[] = { "/bin/sh", "-c", script, NULL };
        char cgroup[128], log[128];
        struct engine_stdio io = { .log_path = log };
        struct spec s = make_spec(id, args, cgroup);

        (void) snprintf(log, sizeof(log), "%s/%s.log", dir, id);
        for (int i = 0; i < SPEC_NS_MAX; i++)
                if (ct_ns[i][0] && i != SPEC_NS_PID)
                        s.ns[i] = (struct spec_namespace){ .path = ct_ns[i] };
        /* liblxc makes its links there. */
        assert(fchownat(s.rootfs_mount_fd, "dev", ct_range.outside, ct_range.outside, 0) == 0);
        s.outer_pid_ns = ct_ns[SPEC_NS_PID];
        s.user_ids = (struct id_maps){ &ct_range, &ct_range, 1, 1 };
        CHECK(engine->ops->create(engine, &s, &io, created, &err));
        CHECK(engine->ops->start(engine, id, &err));
}

/* In how many PID namespaces it has a number. */
static int depth_of(pid_t pid) {
        char path[64], *text, *line;
        int n = 0;

        (void) snprintf(path, sizeof(path), "/proc/%d/status", pid);
        CHECK(fs_read_file(AT_FDCWD, path, 1 << 16, &text, NULL, &err));
        line = strstr(text, "NSpid:");
        assert(line);
        for (; *line != '\n'; line++)
                n += *line == '\t';
        free(text);
        return n;
}

static const char wait_for_term[] = "trap 'echo ending; exit 7' TERM; echo ready; while :; do sleep 0.05; done";

static void wait_for_log(const char *id, const char *want) {
        for (int i = 0; i < 1000; i++) {
                _cleanup_(freep) char *log = read_log(id);

                if (strstr(log, want))
                        return;
                (void) usleep(10000);
        }
        assert(!"the container said nothing");
}

/* The administrator's way: the halt signal to the CT's first process. Apps end by themselves and their exit codes are
 * kept, also those of a keeper that was not there in the beginning. */
static void test_nested_halt(void) {
        int outer = depth_of(getpid());
        struct engine_created created;
        struct engine_exit x;
        pid_t ct = start_ct(), old = engine_lxc_keeper_pid(engine);

        start_in_ct("app1", wait_for_term, &created);
        start_in_ct("app2", wait_for_term, &created);
        assert(depth_of(created.pid) == outer + 2 && depth_of(parent_of(created.pid)) == outer + 1);
        wait_for_log("app1", "ready");
        wait_for_log("app2", "ready");
        assert(kill(old, SIGKILL) == 0);
        assert(end_ct(ct, SIGPWR) == 0);
        for (int i = 0; i < 2; i++) {
                const char *id = i ? "app2" : "app1";

                assert(engine->ops->wait(engine, id, 10000, -1));
                CHECK(engine->ops->get_exit(engine, id, &x, &err));
                assert(x.exit_code == 7 && x.signal == 0);
                CHECK(engine->ops->remove(engine, id, &err));
                wait_for_log(id, "ending");
        }
        /* The keeper's later children are not born in there. */
        assert(run("outside", "exit 3", &created).exit_code == 3);
}

/* Nothing survives the CT, and it ends although the keeper has its monitors for children. */
static void test_nested_killed(void) {
        struct engine_created created;
        struct engine_exit x;
        pid_t ct = start_ct();
        int fd;

        start_in_ct("app3", "trap '' TERM; while :; do sleep 1; done", &created);
        fd = proc_open(created.pid, created.start_time);
        assert(fd >= 0 && WTERMSIG(end_ct(ct, SIGKILL)) == SIGKILL && proc_wait_gone(fd, 0));
        assert(engine->ops->wait(engine, "app3", 10000, -1));
        CHECK(engine->ops->get_exit(engine, "app3", &x, &err));
        assert(x.exit_code == 137);
        CHECK(engine->ops->remove(engine, "app3", &err));
        (void) close(fd);
}

/* In one that has ended nothing can be made, and that is said. */
static void test_nested_gone(void) {
        const char *const args[] = { "/bin/sh", NULL };
        struct engine_created created;
        struct engine_stdio io = { 0 };
        char cgroup[128], path[64];
        pid_t ct = start_ct();
        int fd = open(ct_ns[SPEC_NS_PID], O_RDONLY | O_CLOEXEC);
        struct spec s = make_spec("late", args, cgroup);

        (void) end_ct(ct, SIGKILL);
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        s.outer_pid_ns = path;
        assert(engine->ops->create(engine, &s, &io, &created, &err) == -ERR_PRECONDITION &&
               strstr(err.msg, "the pod has ended"));
        (void) close(fd);
}

static int run_tests(int argc, char **argv) {
        struct engine_lxc_args args = { .exited = on_exited, .log_level = "info" };
        char state[80], ns[96];

        (void) snprintf(state, sizeof(state), "%s/state", dir);
        assert(mkdir(state, 0711) == 0);
        (void) snprintf(ns, sizeof(ns), "%s/keeper-ns", state);
        (void) snprintf(busybox, sizeof(busybox), "%s", argv[3]);
        CHECK(cgroups_new(&cgroups, &err));
        args.state_dir = state;
        args.keeper_path = argv[1];
        args.init_path = argv[2];
        args.cgroups = cgroups;
        CHECK(engine_lxc_new(&args, &engine, &err));
        test_output_and_exit();
        test_bad_program();
        test_exec();
        test_attach();
        test_terminal();
        test_keeper_killed();
        test_monitor_killed();
        init_fd = open(argv[2], O_RDONLY | O_CLOEXEC);
        test_nested_halt();
        test_nested_killed();
        test_nested_gone();
        (void) close(init_fd);
        if (argc > 4)
                measure((int) strtol(argv[4], NULL, 10));
        engine = engine_free(engine);
        CHECK(cgroup_remove(cgroups, parent, &err));
        cgroups = cgroups_free(cgroups);
        CHECK(netns_remove(ns, &err));
        return 0;
}

/* The first process of the PID namespace, with which all others end: reaps until run_tests() has ended. */
static int first_process(int argc, char **argv) {
        int status;
        pid_t pid, ended;

        assert(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && unshare(CLONE_NEWNS) == 0 &&
               mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("proc", "/proc", "proc", 0, NULL) == 0);
        pid = fork();
        assert(pid >= 0);
        if (pid == 0)
                exit(run_tests(argc, argv));
        do
                ended = waitpid(-1, &status, 0);
        while (ended != pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv) {
        /* Not unshare(): this process stays what it is, so that a sanitizer can look at it at its end. */
        struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
        int status;
        pid_t pid;

        if (argc < 4 || geteuid() != 0)
                return 77;
        (void) signal(SIGPIPE, SIG_IGN);
        (void) snprintf(dir, sizeof(dir), "/tmp/lxe.XXXXXX");
        (void) snprintf(parent, sizeof(parent), "/test-engine-%d", getpid());
        assert(mkdtemp(dir) && chmod(dir, 0711) == 0);
        pid = (pid_t) syscall(SYS_clone3, &args, sizeof(args));
        assert(pid >= 0);
        if (pid == 0)
                _exit(first_process(argc, argv));
        assert(waitpid(pid, &status, 0) == pid);
        CHECK(cgroups_new(&cgroups, &err));
        if (cgroup_remove(cgroups, parent, &err) < 0)
                (void) fprintf(stderr, "%s\n", err.msg);
        cgroups = cgroups_free(cgroups);
        CHECK(fs_remove_tree(AT_FDCWD, dir, &err));
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
