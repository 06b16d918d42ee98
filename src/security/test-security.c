/* SPDX-License-Identifier: Apache-2.0 */
/* test-security - capability sets, filters loaded in children and tried there, profiles that are refused. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "security/apparmor.h"
#include "security/caps.h"
#include "security/paths.h"
#include "security/seccomp.h"
#include "security/selinux.h"

static struct err err;

static void test_caps(void) {
        static const char *const net_admin[] = { "NET_ADMIN", NULL }, *const all[] = { "ALL", NULL },
                                 *const bad[] = { "NO_SUCH", NULL }, *const raw[] = { "cap_net_raw", NULL };
        struct caps_sets s;
        int n;

        assert(caps_number("CAP_SYS_ADMIN", &n) && n == CAP_SYS_ADMIN && caps_number("sys_admin", &n) &&
               !caps_number("X", &n));
        assert(strcmp(caps_name(CAP_BPF), "CAP_BPF") == 0 && !caps_name(63));
        assert(caps_resolve(&(struct caps_request){ 0 }, &s, &err) == 0 &&
               s.bounding == (caps_default() & caps_all()) && s.inheritable == 0);
        assert(caps_resolve(&(struct caps_request){ .drop = all, .add = net_admin }, &s, &err) == 0 &&
               s.effective == 1ull << CAP_NET_ADMIN);
        assert(caps_resolve(&(struct caps_request){ .add = all, .drop = raw }, &s, &err) == 0 &&
               s.bounding == (caps_all() & ~(1ull << CAP_NET_RAW)));
        assert(caps_resolve(&(struct caps_request){ .drop = all }, &s, &err) == 0 && s.bounding == 0);
        assert(caps_resolve(&(struct caps_request){ .ambient = net_admin }, &s, &err) == 0 &&
               s.ambient == 1ull << CAP_NET_ADMIN && s.inheritable == s.ambient && s.permitted >> CAP_NET_ADMIN & 1);
        assert(caps_resolve(&(struct caps_request){ .privileged = true, .drop = all }, &s, &err) == 0 &&
               s.bounding == caps_all());
        assert(caps_resolve(&(struct caps_request){ .add = bad }, &s, &err) == -ERR_INVALID &&
               strstr(err.msg, "NO_SUCH"));
}

/* Runs @probe under the filter; it returns the exit code. */
static int under(const struct seccomp_filter *f, int (*probe)(void)) {
        struct sock_fprog prog = { .len = (unsigned short) f->n,
                                   .filter = (struct sock_filter *) (uintptr_t) f->insns };
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
                    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, f->flags, &prog))
                        _exit(100);
                _exit(probe());
        }
        assert(waitpid(pid, &status, 0) == pid);
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Ordinary work: processes, files, pipes, threads of libc. */
static int probe_busybox(void) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                (void) execl("/bin/busybox", "sh", "-c",
                             "d=$(mktemp -d) && echo ok | cat >$d/x && chmod 600 $d/x && [ $(cat $d/x) = ok ] && rm -r "
                             "$d && "
                             "sleep 0.01 && cat /proc/self/status >/dev/null",
                             NULL);
                _exit(9);
        }
        return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 8;
}

static int probe_default(void) {
        if (mount("none", "/nonexistent", "tmpfs", 0, NULL) == 0 || errno != EPERM)
                return 1;
        if (syscall(SYS_keyctl, 0, 0, 0, 0, 0) >= 0 || errno != EPERM)
                return 2;
        if (unshare(CLONE_NEWUSER) == 0 || errno != EPERM)
                return 3;
        if (syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS)
                return 4;
        if (socket(AF_VSOCK, SOCK_STREAM, 0) >= 0 || errno != EPERM)
                return 5;
        /* The kernel looks at 32 bits of the family: high bits must not get around the filter. */
        if (syscall(SYS_socket, 0x100000000ul + AF_VSOCK, SOCK_STREAM, 0) >= 0 || errno != EPERM)
                return 50;
        if (socket(AF_ALG, SOCK_SEQPACKET, 0) >= 0 || errno != EPERM)
                return 51;
        for (const int *f = (const int[]){ AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, -1 }; *f >= 0; f++)
                if (socket(*f, SOCK_DGRAM, 0) < 0 && errno == EPERM && *f != AF_PACKET)
                        return 52;
        if (socket(39, SOCK_DGRAM, 0) >= 0 || errno == EPERM || socket(44, SOCK_DGRAM, 0) >= 0 || errno == EPERM)
                return 53;
        /* Newer than libseccomp: allowed by number, or "no such call", never EPERM. */
        if (syscall(462 /* mseal */, 1, 1, 0) >= 0 || errno == EPERM)
                return 54;
        if (syscall(452 /* fchmodat2 */, -1, "", 0, 0) >= 0 || errno == EPERM)
                return 55;
        if (syscall(690) >= 0 || errno != ENOSYS)
                return 56;
        if (personality(PER_LINUX32 | ADDR_NO_RANDOMIZE) >= 0 || errno != EPERM || personality(0xffffffff) < 0)
                return 57;
        if (syscall(SYS_io_uring_setup, 1, NULL) >= 0 || errno != EPERM)
                return 6;
        if (syscall(SYS_bpf, 0, NULL, 0) >= 0 || errno != EPERM || syscall(SYS_setns, -1, 0) >= 0 || errno != EPERM)
                return 70;
        if (syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, NULL, NULL, NULL, NULL) >= 0 || errno != EPERM)
                return 7;
        return probe_busybox();
}

static int probe_admin(void) {
        return mount("none", "/nonexistent", "tmpfs", 0, NULL) < 0 && errno == ENOENT &&
                               syscall(SYS_clone3, NULL, 0) < 0 && errno == EINVAL
                       ? 0
                       : 1;
}

static void test_default_profile(void) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = NULL, *again = NULL, *admin = NULL;

        assert(seccomp_default(caps_default(), &f, &err) == 0 && f->n > 100);
        assert(seccomp_default(caps_default() | 1ull << CAP_NET_ADMIN, &again, &err) == 0 && again == f);
        assert(under(f, probe_default) == 0);
        assert(seccomp_default(caps_default() | 1ull << CAP_SYS_ADMIN, &admin, &err) == 0 && admin != f);
        assert(under(admin, probe_admin) == 0);
}

static int probe_profile(void) {
        return sethostname("x", 1) < 0 && errno == 38 && getppid() > 0 ? 0 : 1;
}

static int parse(const char *json, const struct seccomp_filter **ret) {
        return seccomp_parse("p.json", json, strlen(json), caps_default(), ret, &err);
}

static void test_profiles(void) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = NULL, *g = NULL, *h = NULL;
        static const char *const broken[] = {
                "",
                "[]",
                "{\"defaultAction\":\"SCMP_ACT_MAYBE\"}",
                "{}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_PDP11\"]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"]}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":7,\"action\":\"SCMP_ACT_ERRNO\"}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
                "ERRNO\",\"args\":[{\"index\":9,\"op\":\"SCMP_CMP_EQ\"}]}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
                "ALLOW\",\"errnoRet\":3}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"NO\"]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":{}}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[7]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[7],\"action\":\"SCMP_ACT_ERRNO\"}]}",
                "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":\"x\"}",
                "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":99999}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
                "ERRNO\",\"includes\":{\"caps\":\"CAP_KILL\"}}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
                "ERRNO\",\"includes\":{\"minKernel\":\"new\"}}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
                "ERRNO\",\"args\":[{\"index\":1,\"value\":-1,\"op\":\"SCMP_CMP_EQ\"}]}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"file_setattr\"],\"action\":\"SCMP_"
                "ACT_"
                "ERRNO\",\"args\":[{\"index\":1,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}]}",
        };

        assert(parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"sethostname\",\"from_the_"
                     "future\"],"
                     "\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38}]}",
                     &f) == 0);
        assert(under(f, probe_profile) == 0);
        assert(parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"name\":\"sethostname\",\"action\":\"SCMP_"
                     "ACT_KILL_PROCESS\","
                     "\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}}]}",
                     &g) == 0);
        assert(under(g, probe_profile) == 128 + 31);
        assert(parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"sethostname\"],\"action\":"
                     "\"SCMP_ACT_KILL_PROCESS\","
                     "\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}}]}",
                     &h) == 0);
        assert(under(h, probe_profile) == 1);
        for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
                const struct seccomp_filter *none = NULL;
                assert(parse(broken[i], &none) == -ERR_INVALID && !none && strstr(err.msg, "p.json"));
        }
        assert(parse("{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", &f) == -ERR_UNIMPLEMENTED);
        const struct seccomp_filter *none = NULL;
        assert(seccomp_read_profile("/no/such.json", 0, &none, &err) == -ERR_INVALID &&
               strstr(err.msg, "/no/such.json"));
        assert(seccomp_read_profile("relative.json", 0, &none, &err) == -ERR_INVALID);
}

/* A profile as Docker and Podman ship it, where one is installed. */
static void test_shipped_profile(void) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = NULL;
        static const char path[] = "/usr/share/containers/seccomp.json";

        if (access(path, R_OK) < 0)
                return;
        if (seccomp_read_profile(path, caps_default(), &f, &err) < 0) {
                (void) fprintf(stderr, "%s\n", err.msg);
                abort();
        }
        assert(f->n > 100 && f->n < 4096);
        assert(under(f, probe_busybox) == 0);
}

static int probe_newer(void) {
        return syscall(466, 0) < 0 && errno == 7 ? 0 : errno;
}

static int probe_690(void) {
        return syscall(690) < 0 ? errno : 0;
}

static void test_newer_calls(void) {
        const struct seccomp_filter *f = NULL;

        assert(parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"removexattrat\"],"
                     "\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":7}]}",
                     &f) == 0);
        assert(under(f, probe_newer) == 0 && under(f, probe_690) == ENOSYS);
        f = seccomp_unref(f);
        /* An error by default: ENOSYS for what is newer. Any other default: as the profile says. */
        assert(parse("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":5,\"syscalls\":[{\"names\":["
                     "\"exit_group\",\"exit\",\"close\",\"futex\",\"getpid\",\"mmap\",\"munmap\",\"sched_yield\","
                     "\"sigaltstack\",\"write\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
                     &f) == 0);
        assert(under(f, probe_690) == ENOSYS);
        f = seccomp_unref(f);
        assert(parse("{\"defaultAction\":\"SCMP_ACT_KILL_PROCESS\",\"syscalls\":[{\"names\":[\"exit_group\"],"
                     "\"action\":\"SCMP_ACT_ALLOW\"}]}",
                     &f) == 0);
        assert(under(f, probe_690) == 128 + 31);
        f = seccomp_unref(f);
}

/* Is the rule (it refuses sethostname) in force under this condition? */
static bool in_force(const char *condition) {
        const struct seccomp_filter *f = NULL;
        char json[512];
        bool ret;

        (void) snprintf(json, sizeof(json),
                        "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"sethostname\"],\"action\":"
                        "\"SCMP_ACT_ERRNO\",\"errnoRet\":38,%s}]}",
                        condition);
        if (parse(json, &f) < 0) {
                (void) fprintf(stderr, "%s: %s\n", condition, err.msg);
                abort();
        }
        ret = under(f, probe_profile) == 0;
        f = seccomp_unref(f);
        return ret;
}

static void test_conditions(void) {
        assert(in_force("\"comment\":\"\""));
        assert(in_force("\"includes\":{\"caps\":[\"CAP_CHOWN\",\"CAP_KILL\"]}"));
        assert(!in_force("\"includes\":{\"caps\":[\"CAP_CHOWN\",\"CAP_SYS_ADMIN\"]}"));
        assert(!in_force("\"excludes\":{\"caps\":[\"CAP_CHOWN\",\"CAP_SYS_ADMIN\"]}"));
        assert(in_force("\"includes\":{\"minKernel\":\"4.8\"}") && !in_force("\"includes\":{\"minKernel\":\"99.0\"}"));
        assert(!in_force("\"excludes\":{\"minKernel\":\"4.8\"}") && in_force("\"excludes\":{\"minKernel\":\"99.0\"}"));
        assert(in_force("\"includes\":{},\"excludes\":null"));
        assert(!in_force("\"includes\":{\"arches\":[\"pdp11\"]}") && in_force("\"excludes\":{\"arches\":[\"pdp11\"]}"));
#if defined(__x86_64__)
        assert(in_force("\"includes\":{\"arches\":[\"amd64\",\"x86\"]}") &&
               !in_force("\"excludes\":{\"arches\":[\"amd64\"]}"));
#endif
        assert(in_force("\"args\":[{\"index\":1,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]"));
        assert(!in_force("\"args\":[{\"index\":1,\"value\":2,\"op\":\"SCMP_CMP_EQ\"}]"));
        assert(in_force("\"args\":[{\"index\":1,\"value\":7,\"valueTwo\":1,\"op\":\"SCMP_CMP_MASKED_EQ\"}]"));
        /* All of 64 bits. */
        assert(in_force("\"args\":[{\"index\":1,\"value\":18446744073709551615,\"valueTwo\":1,\"op\":\"SCMP_CMP_MASKED_"
                        "EQ\"}]"));
        assert(!in_force("\"args\":[{\"index\":1,\"value\":18446744073709551615,\"op\":\"SCMP_CMP_EQ\"}]"));
        /* Two tests of one argument are alternatives. */
        assert(in_force("\"args\":[{\"index\":1,\"value\":2,\"op\":\"SCMP_CMP_EQ\"},{\"index\":1,\"value\":1,\"op\":"
                        "\"SCMP_CMP_EQ\"}]"));
}

static void *ask(void *arg) {
        for (uint64_t i = 0; i < 40; i++) {
                const struct seccomp_filter *f = NULL;
                struct err e;

                assert(seccomp_default((i & 31) << CAP_SYS_MODULE, &f, &e) == 0 && f->n > 100);
                f = seccomp_unref(f);
        }
        return NULL;
}

/* More kinds than the cache holds, from several threads at once. */
static void test_cache(void) {
        pthread_t t[4];
        uint64_t t0 = clock_monotonic_ns();

        for (int i = 0; i < 4; i++)
                assert(pthread_create(&t[i], NULL, ask, NULL) == 0);
        for (int i = 0; i < 4; i++)
                assert(pthread_join(t[i], NULL) == 0);
        printf("160 default filters of 32 kinds: %.1f ms\n", (double) (clock_monotonic_ns() - t0) / 1e6);
}

static void *look_for_profiles(void *arg _unused_) {
        struct err e;

        for (int i = 0; i < 200; i++) {
                assert(apparmor_check_loaded(APPARMOR_DEFAULT_PROFILE, &e) == 0);
                assert(apparmor_check_loaded("no-such-profile", &e) == -ERR_INVALID);
                assert(strstr(e.msg, "not loaded"));
        }
        return NULL;
}

/* By several threads at once, as the daemon's are; tests/vm/integration runs this where there is AppArmor. */
static void test_apparmor(void) {
        pthread_t t[4];

        if (!apparmor_enabled()) {
                assert(apparmor_check_loaded(APPARMOR_DEFAULT_PROFILE, &err) == -ERR_INVALID);
                assert(strstr(err.msg, "has no AppArmor"));
                return;
        }
        assert(apparmor_load_default(&err) == 0);
        for (int i = 0; i < 4; i++)
                assert(pthread_create(&t[i], NULL, look_for_profiles, NULL) == 0);
        for (int i = 0; i < 4; i++)
                assert(pthread_join(t[i], NULL) == 0);
}

/* --- SELinux: what is text --------------------------------------------------------------------------------------- */

static void test_contexts(void) {
        static const char *const bad[] = { "",
                                           "process = \"a\"",
                                           "file = \"a\"",
                                           "process = \"\"\nfile = \"b\"",
                                           "process\n = \"a\"\nfile = \"b\"",
                                           "process =\n\"a\"\nfile = \"b\"",
                                           "# process = \"a\"\nfile = \"b\"" };
        char *process, *file;

        assert(selinux_parse_contexts("# of Debian\n\nprocess = \"system_u:system_r:container_t:s0\"\n"
                                      "content = \"x\"\r\nfile=system_u:object_r:container_file_t:s0\n"
                                      "ro_file = \"y\"\nsandbox_lxc_process = \"z\"",
                                      &process, &file));
        assert(strcmp(process, "system_u:system_r:container_t:s0") == 0 &&
               strcmp(file, "system_u:object_r:container_file_t:s0") == 0);
        free(process);
        free(file);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(!selinux_parse_contexts(bad[i], &process, &file));
}

static void check_label(const char *label, struct selinux_options o, const char *expected) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 << 10);
        const char *got;

        if (!expected)
                assert(selinux_apply(label, &o, arena, &got, &err) == -ERR_INVALID);
        else
                assert(selinux_apply(label, &o, arena, &got, &err) == 0 && strcmp(got, expected) == 0);
}

static void test_labels(void) {
        static char huge[1 << 20];

        memset(huge, 'a', sizeof(huge) - 1);
        check_label("u:r:t:s0", (struct selinux_options){ 0 }, "u:r:t:s0");
        check_label("u:r:t", (struct selinux_options){ .user = "", .level = "" }, "u:r:t");
        check_label("u:r:t:s0:c1,c2", (struct selinux_options){ .type = "x_t" }, "u:r:x_t:s0:c1,c2");
        check_label("u:r:t:s0:c1,c2", (struct selinux_options){ "a", "b", "c", "s0-s0:c0.c1023" },
                    "a:b:c:s0-s0:c0.c1023");
        check_label("u:r", (struct selinux_options){ 0 }, NULL);
        check_label("u:r:t:s0", (struct selinux_options){ .type = "t:s1" }, NULL);
        check_label("u:r:t:s0", (struct selinux_options){ .role = "r\"" }, NULL);
        check_label("u:r:t:s0", (struct selinux_options){ .level = "s0\\" }, NULL);
        check_label("u:r:t:s0", (struct selinux_options){ .user = huge }, NULL);
        assert(strcmp(selinux_level("u:r:t:s0:c1,c2"), "s0:c1,c2") == 0 && !*selinux_level("u:r:t"));
}

static bool only_even(const char *level, void *userdata) {
        unsigned long a, b;
        char *end;

        assert(strncmp(level, "s0:c", 4) == 0);
        a = strtoul(level + 4, &end, 10);
        assert(strncmp(end, ",c", 2) == 0);
        b = strtoul(end + 2, &end, 10);
        assert(!*end && a < b && b < 1024);
        ++*(int *) userdata;
        return (a + b) % 2;
}

static void test_levels(void) {
        char level[SELINUX_LABEL_MAX];
        int asked = 0;

        for (int i = 0; i < 100; i++)
                selinux_new_level(only_even, &asked, level);
        assert(asked > 100);
}

static void test_no_selinux(void) {
        char *process, *file;

        if (selinux_enabled())
                return;
        assert(selinux_check("u:r:t:s0", &err) == -ERR_PRECONDITION &&
               selinux_container_labels(&process, &file, &err) == -ERR_PRECONDITION);
        assert(selinux_relabel("/etc/", "u:r:t:s0", &err) == -ERR_INVALID && strstr(err.msg, "/etc is not allowed"));
}

int main(void) {
        test_caps();
        test_default_profile();
        test_profiles();
        test_shipped_profile();
        test_newer_calls();
        test_conditions();
        test_cache();
        test_apparmor();
        test_contexts();
        test_labels();
        test_levels();
        test_no_selinux();
        assert(paths_masked_default[0] && paths_readonly_default[0]);
        return 0;
}
