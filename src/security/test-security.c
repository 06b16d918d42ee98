/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "security/caps.h"
#include "security/paths.h"
#include "security/seccomp.h"

static struct err err;

static void test_caps(void) {
        static const char *const net_admin[] = { "NET_ADMIN", NULL }, *const all[] = { "ALL", NULL }, *const bad[] = { "NO_SUCH", NULL },
                                *const raw[] = { "cap_net_raw", NULL };
        struct caps_sets s;
        int n;

        assert(caps_number("CAP_SYS_ADMIN", &n) && n == CAP_SYS_ADMIN && caps_number("sys_admin", &n) && !caps_number("X", &n));
        assert(strcmp(caps_name(CAP_BPF), "CAP_BPF") == 0 && !caps_name(63));
        assert(caps_resolve(&(struct caps_request){ 0 }, &s, &err) == 0 && s.bounding == (caps_default() & caps_all()) && s.inheritable == 0);
        assert(caps_resolve(&(struct caps_request){ .drop = all, .add = net_admin }, &s, &err) == 0 && s.effective == 1ull << CAP_NET_ADMIN);
        assert(caps_resolve(&(struct caps_request){ .add = all, .drop = raw }, &s, &err) == 0 && s.bounding == (caps_all() & ~(1ull << CAP_NET_RAW)));
        assert(caps_resolve(&(struct caps_request){ .drop = all }, &s, &err) == 0 && s.bounding == 0);
        assert(caps_resolve(&(struct caps_request){ .ambient = net_admin }, &s, &err) == 0 && s.ambient == 1ull << CAP_NET_ADMIN &&
               s.inheritable == s.ambient && s.permitted >> CAP_NET_ADMIN & 1);
        assert(caps_resolve(&(struct caps_request){ .privileged = true, .drop = all }, &s, &err) == 0 && s.bounding == caps_all());
        assert(caps_resolve(&(struct caps_request){ .add = bad }, &s, &err) == -ERR_INVALID && strstr(err.msg, "NO_SUCH"));
}

/* Runs @probe under the filter; it returns the exit code. */
static int under(const struct seccomp_filter *f, int (*probe)(void)) {
        struct sock_fprog prog = { .len = (unsigned short) f->n, .filter = (struct sock_filter *) (uintptr_t) f->insns };
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, f->flags, &prog))
                        _exit(100);
                _exit(probe());
        }
        assert(waitpid(pid, &status, 0) == pid);
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
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
        if (syscall(SYS_io_uring_setup, 1, NULL) >= 0 || errno != EPERM)
                return 6;
        if (syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, NULL, NULL, NULL, NULL) >= 0 || errno != EPERM)
                return 7;
        pid_t pid = fork();
        if (pid == 0) {
                execl("/bin/busybox", "sh", "-c", "echo ok >/dev/null && cat /proc/self/status >/dev/null", NULL);
                _exit(9);
        }
        int status;
        return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 8;
}

static int probe_admin(void) {
        return mount("none", "/nonexistent", "tmpfs", 0, NULL) < 0 && errno == ENOENT && syscall(SYS_clone3, NULL, 0) < 0 && errno == EINVAL ? 0 : 1;
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
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":9,\"op\":\"SCMP_CMP_EQ\"}]}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\"errnoRet\":3}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"NO\"]}",
        };

        assert(parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"sethostname\",\"from_the_future\"],"
                     "\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38}]}", &f) == 0);
        assert(under(f, probe_profile) == 0);
        assert(parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"name\":\"sethostname\",\"action\":\"SCMP_ACT_KILL_PROCESS\","
                     "\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}}]}", &g) == 0);
        assert(under(g, probe_profile) == 128 + 31);
        assert(parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"sethostname\"],\"action\":\"SCMP_ACT_KILL_PROCESS\","
                     "\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}}]}", &h) == 0);
        assert(under(h, probe_profile) == 1);
        for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
                const struct seccomp_filter *none = NULL;
                assert(parse(broken[i], &none) == -ERR_INVALID && !none && strstr(err.msg, "p.json"));
        }
        assert(parse("{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", &f) == -ERR_UNIMPLEMENTED);
        const struct seccomp_filter *none = NULL;
        assert(seccomp_read_profile("/no/such.json", 0, &none, &err) == -ERR_INVALID && strstr(err.msg, "/no/such.json"));
        assert(seccomp_read_profile("relative.json", 0, &none, &err) == -ERR_INVALID);
}

int main(void) {
        test_caps();
        test_default_profile();
        test_profiles();
        assert(paths_masked_default[0] && paths_readonly_default[0]);
        return 0;
}
