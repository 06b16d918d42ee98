/* SPDX-License-Identifier: Apache-2.0 */
/* test-netns - namespaces are new, set up and gone again; what is refused leaves nothing. Needs root, else skipped. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "net/addresses.h"
#include "net/net.h"
#include "net/sysctl.h"
#include "net/userns.h"

static char root[] = "/tmp/test-netns.XXXXXX";

static void test_names(void) {
        static const struct {
                const char *name, *path; /* NULL: refused */
                bool net, ipc;
        } cases[] = {
                { "net.ipv4.ip_forward", "net/ipv4/ip_forward", true, false },
                { "net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding", true, false },
                { "net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding", true, false },
                { "kernel.shm_rmid_forced", "kernel/shm_rmid_forced", false, true },
                { "kernel.msgmax", "kernel/msgmax", false, true },
                { "kernel.sem", "kernel/sem", false, true },
                { "fs.mqueue.msg_max", "fs/mqueue/msg_max", false, true },
                { "net.ipv4.ip_forward", NULL, false, true },
                { "kernel.shmmax", NULL, true, false },
                { "kernel.semantics", NULL, true, true },
                { "kernel.hostname", NULL, true, true },
                { "vm.swappiness", NULL, true, true },
                { "net.../../kernel.core_pattern", NULL, true, true },
                { "net/../kernel/core_pattern", NULL, true, true },
                { "net.//.kernel", NULL, true, true },
                { "net/./x", NULL, true, true },
                { "net..x", NULL, true, true },
                { "net.", NULL, true, true },
                { "net", NULL, true, true },
                { "", NULL, true, true },
                { "/net/ipv4", NULL, true, true },
                { "net.ipv4.x y", NULL, true, true },
                { "net.ipv4.x\n", NULL, true, true },
                { "kernel/shm/../core_pattern", NULL, true, true },
                { "kernel/shmx/y", NULL, true, true },
        };
        char path[SYSCTL_PATH_MAX];
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                int r = sysctl_path(cases[i].name, cases[i].net, cases[i].ipc, path, &err);

                if (r != (cases[i].path ? 0 : -ERR_INVALID) || (r == 0 && !str_eq(path, cases[i].path))) {
                        fprintf(stderr, "\"%s\": %d %s\n", cases[i].name, r, r ? err.msg : path);
                        abort();
                }
        }
}

static ino_t inode(const char *dir, const char *name) {
        char path[256];
        struct stat st;

        (void) snprintf(path, sizeof(path), "%s/%s", dir, name);
        return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void expect_file(const char *path, const char *want) {
        char buf[64] = "";
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        assert(fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0);
        buf[strcspn(buf, "\n")] = '\0';
        if (!str_eq(buf, want)) {
                fprintf(stderr, "%s is \"%s\", not \"%s\"\n", path, buf, want);
                abort();
        }
        (void) close(fd);
}

/* From inside, in a child. */
static void look_inside(const char *dir) {
        char path[256], host[65];
        int status;
        pid_t pid = fork();

        assert(pid >= 0);
        if (pid == 0) {
                for (const char *const *n = (const char *const[]){ "net", "ipc", "uts", NULL }; *n; n++) {
                        int fd;

                        (void) snprintf(path, sizeof(path), "%s/%s", dir, *n);
                        fd = open(path, O_RDONLY | O_CLOEXEC);
                        assert(fd >= 0 && setns(fd, 0) == 0);
                        (void) close(fd);
                }
                assert(gethostname(host, sizeof(host)) == 0 && str_eq(host, "pod-1"));
                expect_file("/proc/sys/net/ipv4/ip_forward", "1");
                expect_file("/proc/sys/kernel/shm_rmid_forced", "1");
                expect_file("/proc/sys/fs/mqueue/msg_max", "100");
                assert(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
                assert(mount("s", "/sys", "sysfs", 0, NULL) == 0);
                expect_file("/sys/class/net/lo/flags", "0x9"); /* IFF_UP | IFF_LOOPBACK */
                _exit(0);
        }
        assert(waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_whole(void) {
        char dir[128], before[65], after[65];
        const char *const sysctls[] = {
                "net.ipv4.ip_forward", "1", "kernel.shm_rmid_forced", "1", "fs.mqueue.msg_max", "100", NULL
        };
        struct netns_args args = {
                .dir = dir, .net = true, .ipc = true, .uts = true, .hostname = "pod-1", .sysctls = sysctls
        };
        ino_t own = inode("/proc/self/ns", "net");
        struct err err;

        assert(gethostname(before, sizeof(before)) == 0);
        (void) snprintf(dir, sizeof(dir), "%s/pods/a", root);
        if (netns_create(&args, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
        }
        assert(inode(dir, "net") != own && inode("/proc/self/ns", "net") == own);
        look_inside(dir);
        assert(gethostname(after, sizeof(after)) == 0 && str_eq(before, after));
        assert(netns_create(&args, &err) == -ERR_EXISTS);
        look_inside(dir); /* still whole */
        assert(netns_remove(dir, &err) == 0 && access(dir, F_OK) < 0);
        assert(netns_remove(dir, &err) == 0);
}

static const struct id_map a_range = { 0, 100000, 65536 };
static const struct id_maps a_maps = { &a_range, &a_range, 1, 1 };

static int leave_namespaces(void *arg, struct err *err) {
        return unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0 ? err_sys(err, errno, "unshare") : 0;
}

/* As a pod's root does: into the user namespace first. */
static void look_inside_user(const char *dir) {
        char path[256], host[65], map[64] = "";
        int status, fd;
        pid_t pid = fork();

        assert(pid >= 0);
        if (pid == 0) {
                for (const char *const *n = (const char *const[]){ "user", "net", "ipc", "uts", NULL }; *n; n++) {
                        (void) snprintf(path, sizeof(path), "%s/%s", dir, *n);
                        fd = open(path, O_RDONLY | O_CLOEXEC);
                        assert(fd >= 0);
                        /* Opened from outside: the folder is not for the pod's root. */
                        assert(setns(fd, 0) == 0 && close(fd) == 0);
                }
                assert(setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0);
                assert(gethostname(host, sizeof(host)) == 0 && str_eq(host, "pod-1") && sethostname("x", 1) == 0);
                expect_file("/proc/sys/net/ipv4/ping_group_range", "0\t65535");
                expect_file("/proc/sys/kernel/shm_rmid_forced", "1");
                fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
                assert(fd >= 0 && read(fd, map, sizeof(map) - 1) > 0);
                assert(str_eq(map, "         0     100000      65536\n"));
                assert(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1) >= 0);
                _exit(0);
        }
        assert(waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_user(void) {
        static const struct id_map none = { 0, 100000, 0 }, twice[] = { { 0, 100000, 10 }, { 5, 200000, 10 } };
        const struct id_maps bad[] = { { &none, &a_range, 1, 1 }, { &a_range, twice, 1, 2 }, { &a_range, NULL, 1, 0 } };
        const char *const sysctls[] = { "net.ipv4.ping_group_range", "0 65535", "kernel.shm_rmid_forced", "1", NULL };
        const char *const refused[] = { "net.ipv4.ping_group_range", "0 70000", NULL };
        char dir[128];
        struct netns_args args = { .dir = dir,
                                   .net = true,
                                   .ipc = true,
                                   .uts = true,
                                   .user = &a_maps,
                                   .hostname = "pod-1",
                                   .sysctls = sysctls };
        struct err err;

        (void) snprintf(dir, sizeof(dir), "%s/u", root);
        if (netns_create(&args, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
        }
        assert(inode(dir, "user") && inode(dir, "user") != inode("/proc/self/ns", "user"));
        look_inside_user(dir);
        assert(netns_remove(dir, &err) == 0 && access(dir, F_OK) < 0);
        args.sysctls = refused;
        assert(netns_create(&args, &err) == -ERR_INVALID && access(dir, F_OK) < 0);
        args.sysctls = NULL;
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                args.user = &bad[i];
                assert(netns_create(&args, &err) == -ERR_INVALID && access(dir, F_OK) < 0);
        }
}

/* Those of a process that others made. */
static void test_adopt(void) {
        const char *const sysctls[] = { "net.ipv4.ping_group_range", "0 65535", "kernel.shm_rmid_forced", "1", NULL };
        char dir[128];
        struct netns_args args = { .dir = dir,
                                   .net = true,
                                   .ipc = true,
                                   .uts = true,
                                   .user = &a_maps,
                                   .hostname = "pod-1",
                                   .sysctls = sysctls };
        struct userns_child child;
        uint64_t start_time;
        struct err err;

        (void) snprintf(dir, sizeof(dir), "%s/a", root);
        assert(userns_start(&a_maps, leave_namespaces, NULL, &child, &err) == 0);
        start_time = proc_start_time(child.pid);
        assert(netns_adopt(&args, child.pid, start_time + 1, &err) == -ERR_PRECONDITION && access(dir, F_OK) < 0);
        if (netns_adopt(&args, child.pid, start_time, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
        }
        look_inside_user(dir);
        assert(netns_remove(dir, &err) == 0);
        args.hostname = "no spaces";
        assert(netns_adopt(&args, child.pid, start_time, &err) == -ERR_INVALID && access(dir, F_OK) < 0);
        userns_end(&child);
        args.hostname = NULL;
        assert(netns_adopt(&args, child.pid, start_time, &err) == -ERR_PRECONDITION && access(dir, F_OK) < 0);
}

static void test_parts_and_failures(void) {
        char dir[128], path[160];
        struct netns_args args = { .dir = dir, .uts = true };
        static const char *const bad[][3] = {
                { "net.ipv4.no_such_thing", "1", NULL },
                { "net.ipv4.ip_default_ttl", "none", NULL },
                { "kernel.hostname", "x", NULL },
        };
        struct err err;
        int fd;

        (void) snprintf(dir, sizeof(dir), "%s/b", root);
        assert(netns_create(&args, &err) == 0 && inode(dir, "uts") && !inode(dir, "net") && !inode(dir, "ipc"));
        assert(netns_remove(dir, &err) == 0);
        args = (struct netns_args){ .dir = dir, .net = true, .ipc = true, .uts = true };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                args.sysctls = bad[i];
                assert(netns_create(&args, &err) == -ERR_INVALID && access(dir, F_OK) < 0);
        }
        args.sysctls = NULL;
        args.hostname = "no spaces";
        assert(netns_create(&args, &err) == -ERR_INVALID);
        args.hostname = "a23456789012345678901234567890123456789012345678901234567890123456789";
        assert(netns_create(&args, &err) == -ERR_INVALID && access(dir, F_OK) < 0);
        /* A crash left files, one of them mounted twice; something else is in the folder. */
        args.hostname = NULL;
        args.uts = args.ipc = false;
        assert(netns_create(&args, &err) == 0);
        (void) snprintf(path, sizeof(path), "%s/net", dir);
        assert(mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) == 0);
        (void) snprintf(path, sizeof(path), "%s/ipc", dir);
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert(fd >= 0 && close(fd) == 0);
        (void) snprintf(path, sizeof(path), "%s/other", dir);
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert(fd >= 0 && close(fd) == 0);
        assert(netns_remove(dir, &err) == 0 && access(path, F_OK) == 0 && !inode(dir, "net") && !inode(dir, "ipc"));
        assert(unlink(path) == 0 && netns_remove(dir, &err) == 0 && access(dir, F_OK) < 0);
}

static void *churn(void *arg) {
        char dir[128];
        struct netns_args args = { .dir = dir, .net = true, .ipc = true, .uts = true, .hostname = "x" };
        struct err err;

        for (int i = 0; i < 5; i++) {
                args.user = i % 2 ? &a_maps : NULL;
                (void) snprintf(dir, sizeof(dir), "%s/t%d-%d", root, *(int *) arg, i);
                assert(netns_create(&args, &err) == 0 && netns_remove(dir, &err) == 0);
        }
        return NULL;
}

static void test_threads_and_time(void) {
        int numbers[6];
        pthread_t t[6];
        uint64_t t0 = clock_monotonic_ns();
        int zero = 100;

        (void) churn(&zero);
        printf("create and remove: %.2f ms\n", (double) (clock_monotonic_ns() - t0) / 5e6);
        for (int i = 0; i < 6; i++) {
                numbers[i] = i;
                assert(pthread_create(&t[i], NULL, churn, &numbers[i]) == 0);
        }
        for (int i = 0; i < 6; i++)
                assert(pthread_join(t[i], NULL) == 0);
}

static void test_addresses(void) {
        static const char text[] = "fd000099000000000000000000000110 02 40 00 80     eth0\n"
                                   "fd000099000000000000000000000111 02 40 00 c0     eth0\n"
                                   "fe80000000000000be2411fffe6d2647 02 40 20 80     eth0\n"
                                   "fd000099000000000000000000000112 03 40 00 80    eth01\n"
                                   "00000000000000000000000000000001 01 80 10 80       lo\n"
                                   "fd00009900000000000000000000011 02 40 00 80     eth0\n"
                                   "fd000099000000000000000000000113 02 40 00\n"
                                   "x\n\n"
                                   "fd000099000000000000000000000114 02 81 00 80     eth0\n";
        struct net_addresses a = { 0 };
        char word[IP_TEXT_MAX];
        struct err err;

        net_addresses_parse_inet6(text, "eth0", &a);
        assert(a.n == 2 && a.settling && strcmp(ip_write_cidr(&a.list[0], word), "fd00:99::110/64") == 0);
        a = (struct net_addresses){ 0 };
        net_addresses_parse_inet6(text, "eth01", &a);
        assert(a.n == 1 && !a.settling);
        for (size_t i = 0; i < 100; i++)
                net_addresses_parse_inet6(text, "eth0", &a);
        assert(a.n == NET_ADDRESSES_MAX);
        assert(net_addresses_read("/nowhere", "lo", &a, &err) == -ERR_PRECONDITION && strstr(err.msg, "/nowhere"));
        assert(net_addresses_read("/proc/self/ns/net", "no-such-one", &a, &err) == 0 && a.n == 0);
}

int main(void) {
        struct err err;

        test_names();
        if (geteuid() != 0)
                return 77;
        assert(mkdtemp(root));
        test_addresses();
        test_whole();
        test_user();
        test_adopt();
        test_parts_and_failures();
        test_threads_and_time();
        assert(fs_remove_tree(AT_FDCWD, root, &err) == 0);
        return 0;
}
