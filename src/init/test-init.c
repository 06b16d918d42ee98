/* SPDX-License-Identifier: Apache-2.0 */
/* Starts proxmox-lxcri-init with plans of the planner's in namespaces of its own and looks at the result from inside:
 * who and what the process is. Root only. */
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/proc.h"
#include "init/test-fixture.h"

static void test_basic(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("id -u; id -g; pwd; echo $$; echo HOME=$HOME; ls -l /dev; "
                                                          "ls -l /proc/self/fd | grep -c -e '->'; umask; "
                                                          "cat /proc/self/status; echo err >&2; exit 7");

        assert(run(f) == 7 && !f->box.failure.text[0]);
        assert(f->box.ready.uid == 0 && f->box.ready.gid == 0 && f->box.ready.n_groups == 1);
        expect(f, "0\n0\n/\n1\nHOME=/root\n");
        expect(f, "crw-rw-rw-    1 root     root        1,   3");
        expect(f, "crw-r-----    1 12       34          1,   7");
        expect(f, " fd -> /proc/self/fd\n");
        expect(f, " ptmx -> pts/ptmx\n");
        expect(f, " stdout -> /proc/self/fd/1\n");
        expect(f, "\n3\n0022\n"); /* the streams: nothing leaked */
        expect(f, "NoNewPrivs:\t0\nSeccomp:\t0\n");
        expect(f, "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:"
                  "\t00000000a80425fb\n"
                  "CapAmb:\t0000000000000000\n");
        expect(f, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
        expect(f, "Groups:\t0 \n");
        expect(f, "err\n");
}

static void test_user(void) {
        static const gid_t more[] = { 5000, 4000 };
        static const struct {
                struct spec_user user;
                const char *ids, *home;
                size_t n_groups;
                uint32_t groups[6];
        } rows[] = {
                { { .username = "user" }, "1000 1001", "/home/user", 3, { 1001, 3000, 3001 } },
                { { .uid = 1000, .additional_gids = more, .n_additional_gids = 2 },
                  "1000 1001",
                  "/home/user",
                  5,
                  { 1001, 3000, 3001, 4000, 5000 } },
                { { .username = "user", .strict_groups = true, .additional_gids = more, .n_additional_gids = 2 },
                  "1000 1001",
                  "/home/user",
                  3,
                  { 1001, 4000, 5000 } },
                { { .uid = 77, .gid = 88, .has_gid = true }, "77 88", "/", 1, { 88 } },
                { { .username = "1234" }, "1234 0", "/", 1, { 0 } },
                { { .username = "user", .groupname = "many" }, "1000 3001", "/home/user", 2, { 3000, 3001 } },
                { { .username = "user", .groupname = "999", .strict_groups = true },
                  "1000 999",
                  "/home/user",
                  1,
                  { 999 } },
                { { .uid = 5, .gid = 6, .resolved = true, .additional_gids = more, .n_additional_gids = 2 },
                  "5 6",
                  "/",
                  2,
                  { 5000, 4000 } },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_fixture_ struct fixture *f =
                        fixture_new("echo $(id -u) $(id -g); echo HOME=$HOME; cat /proc/self/status; cat /dev/stdin; "
                                    "echo x > /dev/stdout");
                char line[64];

                f->spec.process.user = rows[i].user;
                assert(run(f) == 0);
                (void) snprintf(line, sizeof(line), "%s\nHOME=%s\n", rows[i].ids, rows[i].home);
                expect(f, line);
                expect(f, "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n");
                expect(f, "\nx\n");
                assert(f->box.ready.n_groups == rows[i].n_groups);
                assert(memcmp(f->box.ready.groups, rows[i].groups, rows[i].n_groups * sizeof(uint32_t)) == 0);
        }
}

static void test_user_errors(void) {
        _cleanup_fixture_ struct fixture *a = fixture_new("true"), *b = fixture_new("true"), *c = fixture_new("true"),
                                         *d = fixture_new("true");

        a->spec.process.user.username = "nobody-here";
        expect_error(a, "unable to find user nobody-here: no matching entries in passwd file");
        b->spec.process.user = (struct spec_user){ .username = "user", .groupname = "nogroup" };
        expect_error(b, "unable to find group nogroup: no matching entries in group file");
        /* A fifo must not hang us, nor may procfs be read as a list. */
        assert(unlink(box_path(&c->box, "root/etc/passwd")) == 0 &&
               mkfifo(box_path(&c->box, "root/etc/passwd"), 0644) == 0);
        c->spec.process.user.username = "user";
        expect_error(c, "read /etc/passwd: invalid argument");
        assert(unlink(box_path(&d->box, "root/etc/passwd")) == 0 &&
               symlink("/proc/self/environ", box_path(&d->box, "root/etc/passwd")) == 0);
        expect_error(d, "read /etc/passwd");
}

static void test_caps(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("cat /proc/self/status"),
                                         *none = fixture_new("cat /proc/self/status");

        f->spec.process.user.uid = 1000;
        f->spec.process.caps = (struct spec_caps){ 0x403, 0x400, 0x401, 0x400, 0x400 };
        assert(run(f) == 0);
        expect(f, "CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\nCapBnd:"
                  "\t0000000000000403\nCapAmb:\t0000000000000400\n");
        none->spec.process.caps = (struct spec_caps){ 0 };
        assert(run(none) == 0);
        expect(none, "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n");
}

static void test_seccomp(void) {
        static const struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sethostname, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };

        for (int i = 0; i < 4; i++) {
                _cleanup_fixture_ struct fixture *f = fixture_new("cat /proc/self/status");
                bool nnp = i & 1;

                f->spec.process.user.uid = i & 2 ? 1000 : 0;
                f->spec.process.no_new_privs = nnp;
                f->spec.process.seccomp = filter;
                f->spec.process.n_seccomp = ELEMENTSOF(filter);
                assert(run(f) == 0);
                expect(f, nnp ? "NoNewPrivs:\t1\nSeccomp:\t2\n" : "NoNewPrivs:\t0\nSeccomp:\t2\n");
        }
}

static void test_process_settings(void) {
        static const struct spec_rlimit limits[] = { { RLIMIT_NOFILE, 100, 200 }, { RLIMIT_CORE, 0, 0 } };
        static const struct spec_pair sysctls[] = { { "kernel.shm_rmid_forced", "1" }, { "fs/mqueue/msg_max", "100" } };
        static const char *const env[] = { "A=1", "PATH=/nowhere", "B=2", "A=3", "PATH=/bin", "HOME=/h", NULL };
        _cleanup_fixture_ struct fixture *f =
                fixture_new("umask; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; pwd; cat "
                            "/proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max; env; touch /sys/x");

        f->spec.process.has_umask = true;
        f->spec.process.umask = 0077;
        f->spec.process.rlimits = limits;
        f->spec.process.n_rlimits = ELEMENTSOF(limits);
        f->spec.process.has_oom_score_adj = true;
        f->spec.process.oom_score_adj = 567;
        f->spec.process.cwd = "/made/on/the/way";
        f->spec.process.env = env;
        f->spec.sysctls = sysctls;
        f->spec.n_sysctls = ELEMENTSOF(sysctls);
        f->args[0] = "sh"; /* found in PATH */
        assert(run(f) != 0);
        expect(f, "0077\n100\n200\n567\n/made/on/the/way\n1\n100\n");
        expect(f, "A=3\n");
        expect(f, "HOME=/h\n");
        assert(!strstr(f->box.output, "A=1") && !strstr(f->box.output, "nowhere"));
        expect(f, "Read-only file system");
}

static void test_exec_errors(void) {
        static const struct {
                const char *file, *text;
                int code;
        } rows[] = {
                { "no-such", "exec: \"no-such\": executable file not found in $PATH", 127 },
                { "/no/such", "exec: \"/no/such\": no such file or directory", 127 },
                { "/etc/passwd", "exec: \"/etc/passwd\": permission denied", 126 },
                { "/garbage", "exec: \"/garbage\": exec format error", 126 },
                { "/bin", "exec: \"/bin\": permission denied", 126 },
                { "/no-interpreter", "exec: \"/no-interpreter\": no such file or directory", 127 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_fixture_ struct fixture *f = fixture_new("");

                box_write(&f->box, "root/garbage", "nothing that runs");
                box_write(&f->box, "root/no-interpreter", "#!/no/interpreter\n");
                assert(chmod(box_path(&f->box, "root/garbage"), 0755) == 0 &&
                       chmod(box_path(&f->box, "root/no-interpreter"), 0755) == 0);
                f->args[0] = rows[i].file;
                assert(run(f) == rows[i].code);
                if (strcmp(f->box.failure.text, rows[i].text) != 0)
                        (void) fprintf(stderr, "got %s\n", f->box.failure.text);
                assert(strcmp(f->box.failure.text, rows[i].text) == 0);
        }
        _cleanup_fixture_ struct fixture *f = fixture_new("true");
        f->spec.process.cwd = "/etc/passwd";
        assert(run(f) == 126 &&
               strstr(f->box.failure.text, "enter the working directory /etc/passwd: not a directory"));
}

int main(void) {
        int r = test_begin();

        if (r != 0)
                return r;
        RUN(test_basic);
        RUN(test_user);
        RUN(test_user_errors);
        RUN(test_caps);
        RUN(test_seccomp);
        RUN(test_process_settings);
        RUN(test_exec_errors);
        return 0;
}
