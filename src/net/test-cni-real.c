/* SPDX-License-Identifier: Apache-2.0 */
/* test-cni-real - Debian's plug-ins (bridge, host-local, loopback, portmap) on a namespace of netns_create(), all
 * inside network and mount namespaces of the test's own. Skipped without root, plug-ins or iptables. */
#undef NDEBUG
#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "net/net.h"

#define BIN "/usr/lib/cni"

static char root[] = "/tmp/test-cni-real.XXXXXX";
static char conf_dir[64], leases[96];

static void conf(const char *version) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(4096);
        char path[128];
        struct err err;

        strbuf_printf(
                &b,
                "{\"name\":\"pods\",\"cniVersion\":\"%s\",\"plugins\":[{\"type\":\"loopback\"},{\"type\":\"bridge\","
                "\"bridge\":"
                "\"tcni0\",\"isGateway\":true,\"ipMasq\":true,\"hairpinMode\":true,\"ipam\":{\"type\":\"host-local\","
                "\"dataDir\":\"%s\",\"ranges\":[[{\"subnet\":\"10.77.0.0/24\"}],[{\"subnet\":\"fd77::/64\"}]],"
                "\"routes\":[{\"dst\":\"0.0.0.0/"
                "0\"}]}},{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true}}]}",
                version, leases);
        (void) snprintf(path, sizeof(path), "%s/10-pods.conflist", conf_dir);
        assert(fs_write_atomic(AT_FDCWD, path, b.data, b.len, 0600, false, &err) == 0);
}

static void enter(const char *netns) {
        int fd = open(netns, O_RDONLY | O_CLOEXEC);

        assert(fd >= 0 && setns(fd, CLONE_NEWNET) == 0 && close(fd) == 0);
}

/* In a child inside the pod: eth0 has @ip, lo is up; then serves one connection on port 80. */
static pid_t serve(const char *netns, const char *ip) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(80) };
        int ready[2], s, c, one = 1;
        struct ifaddrs *list;
        bool lo = false, eth0 = false;
        char text[64];
        pid_t pid;

        assert(pipe2(ready, O_CLOEXEC) == 0);
        pid = fork();
        assert(pid >= 0);
        if (pid > 0) {
                (void) close(ready[1]);
                assert(read(ready[0], text, 1) == 1);
                (void) close(ready[0]);
                return pid;
        }
        (void) alarm(20);
        enter(netns);
        assert(getifaddrs(&list) == 0);
        for (struct ifaddrs *i = list; i; i = i->ifa_next) {
                if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
                        continue;
                (void) inet_ntop(AF_INET, &((struct sockaddr_in *) (void *) i->ifa_addr)->sin_addr, text, sizeof(text));
                eth0 = eth0 || (str_eq(i->ifa_name, "eth0") && str_eq(text, ip));
                lo = lo || (str_eq(i->ifa_name, "lo") && str_eq(text, "127.0.0.1") && (i->ifa_flags & IFF_UP));
        }
        assert(lo && eth0);
        s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert(s >= 0 && setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
        assert(bind(s, (struct sockaddr *) &a, sizeof(a)) == 0 && listen(s, 4) == 0 && write(ready[1], "x", 1) == 1);
        for (int i = 0; i < 2; i++) {
                c = accept4(s, NULL, NULL, SOCK_CLOEXEC);
                assert(c >= 0 && write(c, "hello", 5) == 5 && close(c) == 0);
        }
        _exit(0);
}

static void expect_hello(const char *ip, uint16_t port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
        int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct timeval limit = { .tv_sec = 10 };
        char buf[8] = "";

        assert(s >= 0 && inet_pton(AF_INET, ip, &a.sin_addr) == 1);
        assert(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
               setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0);
        if (connect(s, (struct sockaddr *) &a, sizeof(a)) < 0 || read(s, buf, 5) != 5 || !str_eq(buf, "hello")) {
                fprintf(stderr, "%s:%d: %m\n", ip, port);
                abort();
        }
        (void) close(s);
}

static size_t count_leases(void) {
        struct dirent *e;
        char path[128];
        size_t n = 0;
        DIR *d;

        (void) snprintf(path, sizeof(path), "%s/pods", leases);
        d = opendir(path);
        while (d && (e = readdir(d)))
                n += strchr(e->d_name, '.') ? e->d_name[0] != '.' : e->d_name[0] == 'f';
        if (d)
                (void) closedir(d);
        return n;
}

/* host-local keeps fd77::2 and 10.77.0.2 as file names; "last_reserved_ip.0" has a dot as well. */
static size_t leases_held(void) {
        size_t n = count_leases();
        char path[160];

        for (int i = 0; i < 2; i++) {
                (void) snprintf(path, sizeof(path), "%s/pods/last_reserved_ip.%d", leases, i);
                n -= access(path, F_OK) == 0;
        }
        return n;
}

/* @masquerade: those of the bridge plug-in, which it forgets when the namespace is gone before it is asked. */
static bool rules_left(const char *id, bool masquerade) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(1 << 20);
        const char *const argv[] = { "/usr/sbin/iptables-save", NULL };
        struct err err;
        int status;

        assert(proc_run(&(struct proc_run_args){ .argv = argv, .out = &out, .timeout_ms = 20000 }, &status, &err) == 0);
        return strstr(strbuf_str(&out), "CNI-DN-") || (masquerade && strstr(strbuf_str(&out), id));
}

static int veths(void) {
        struct if_nameindex *list = if_nameindex();
        int n = 0;

        for (struct if_nameindex *i = list; i && i->if_name; i++)
                n += str_after(i->if_name, "veth") != NULL;
        if_freenameindex(list);
        return n;
}

static void die(const struct err *err) {
        fprintf(stderr, "%s: %s\n", err_code_name(err->code), err->msg);
        abort();
}

static void test_pod(struct cni *c, const char *id, bool netns_goes_first) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        char dir[96], path[128];
        struct netns_args ns = { .dir = dir, .net = true };
        const struct cni_port ports[] = { { "tcp", 80, 12000, "" }, { "tcp", 81, 0, "" } };
        struct cni_pod pod = { .id = id,
                               .name = "web",
                               .pod_namespace = "shop",
                               .uid = "u",
                               .netns_path = path,
                               .ports = ports,
                               .n_ports = 2 };
        struct cni_result res;
        struct err err;
        int status;
        pid_t pid;
        uint64_t t0;

        (void) snprintf(dir, sizeof(dir), "%s/ns", root);
        (void) snprintf(path, sizeof(path), "%s/net", dir);
        if (netns_create(&ns, &err) < 0)
                die(&err);
        t0 = clock_monotonic_ns();
        if (cni_add(c, &pod, a, &res, &err) < 0)
                die(&err);
        printf("ADD %.1f ms", (double) (clock_monotonic_ns() - t0) / 1e6);
        assert(str_after(res.ips[0], "10.77.0.") && str_after(res.ips[1], "fd77::") && !res.ips[2]);
        assert(leases_held() == 2 && veths() == 1 && rules_left(id, true));
        pid = serve(path, res.ips[0]);
        expect_hello(res.ips[0], 80);
        expect_hello("127.0.0.1", 12000);
        assert(waitpid(pid, &status, 0) == pid && status == 0);
        if (netns_goes_first)
                assert(netns_remove(dir, &err) == 0);
        t0 = clock_monotonic_ns();
        if (cni_del(c, &pod, res.cached, &err) < 0)
                die(&err);
        printf(", DEL %.1f ms\n", (double) (clock_monotonic_ns() - t0) / 1e6);
        if (cni_del(c, &pod, res.cached, &err) < 0)
                die(&err);
        assert(netns_remove(dir, &err) == 0);
        assert(leases_held() == 0 && !rules_left(id, !netns_goes_first));
        /* The kernel takes a namespace, and the peer of its veth, down a little later. */
        for (int i = 0; veths() > 0; i++) {
                assert(i < 1000);
                (void) usleep(10000);
        }
}

struct worker {
        struct cni *c;
        int number;
};

static void *many(void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        struct worker *w = arg;
        char dir[96], path[128], id[32];
        struct netns_args ns = { .dir = dir, .net = true };
        struct cni_pod pod = { .id = id, .name = id, .netns_path = path };
        struct cni_result res;
        struct err err;

        (void) snprintf(dir, sizeof(dir), "%s/ns%d", root, w->number);
        (void) snprintf(path, sizeof(path), "%s/net", dir);
        (void) snprintf(id, sizeof(id), "pod-%d", w->number);
        if (netns_create(&ns, &err) < 0 || cni_add(w->c, &pod, a, &res, &err) < 0 ||
            cni_del(w->c, &pod, res.cached, &err) < 0 || netns_remove(dir, &err) < 0)
                die(&err);
        return NULL;
}

/* A failure in the third plug-in gives back what the second took. */
static void test_undo(struct cni *c) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        char dir[96], path[128];
        struct netns_args ns = { .dir = dir, .net = true };
        const struct cni_port bad[] = { { "tcp", 80, 12000, "fd00::1" }, { "tcp", 80, 12000, "fd00::1" } };
        struct cni_pod pod = { .id = "pod-2", .name = "x", .netns_path = path, .ports = bad, .n_ports = 1 };
        char program[64];
        struct cni_result res;
        struct err err;

        (void) snprintf(dir, sizeof(dir), "%s/ns", root);
        (void) snprintf(path, sizeof(path), "%s/net", dir);
        assert(netns_create(&ns, &err) == 0);
        /* portmap can't work without iptables. */
        (void) snprintf(program, sizeof(program), "%s", getenv("PATH"));
        assert(setenv("PATH", "/nowhere", 1) == 0);
        assert(cni_add(c, &pod, a, &res, &err) < 0);
        assert(setenv("PATH", program, 1) == 0);
        assert(leases_held() == 0 && netns_remove(dir, &err) == 0);
}

static int run_all(void) {
        struct worker w[6];
        struct cni *c = NULL;
        pthread_t t[6];
        struct err err;
        int fd;

        assert(unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        assert(mount("t", "/run", "tmpfs", 0, NULL) == 0); /* the lock of iptables */
        assert(setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1) == 0);
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        {
                struct ifreq req = { .ifr_name = "lo" };
                req.ifr_flags = IFF_UP;
                assert(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &req) == 0 && close(fd) == 0);
        }
        assert(cni_new(conf_dir, BIN, &c, &err) == 0);
        for (const char *const *v = (const char *const[]){ "1.0.0", "0.3.1", NULL }; *v; v++) {
                conf(*v);
                assert(cni_status(c, &err) == 0);
                test_pod(c, "first", false);
                test_pod(c, str_eq(*v, "1.0.0") ? "second" : "third", true);
        }
        test_undo(c);
        for (int i = 0; i < 6; i++) {
                w[i] = (struct worker){ c, i };
                assert(pthread_create(&t[i], NULL, many, &w[i]) == 0);
        }
        for (int i = 0; i < 6; i++)
                assert(pthread_join(t[i], NULL) == 0);
        assert(leases_held() == 0);
        c = cni_free(c);
        return 0;
}

int main(void) {
        struct err err;
        int status;
        pid_t pid;

        if (geteuid() != 0 || access(BIN "/bridge", X_OK) < 0 || access(BIN "/portmap", X_OK) < 0 ||
            access("/usr/sbin/iptables-save", X_OK) < 0)
                return 77;
        (void) signal(SIGPIPE, SIG_IGN);
        assert(mkdtemp(root));
        (void) snprintf(conf_dir, sizeof(conf_dir), "%s/net.d", root);
        (void) snprintf(leases, sizeof(leases), "%s/leases", root);
        assert(mkdir(conf_dir, 0700) == 0);
        pid = fork();
        assert(pid >= 0);
        if (pid == 0)
                exit(run_all());
        assert(waitpid(pid, &status, 0) == pid);
        assert(fs_remove_tree(AT_FDCWD, root, &err) == 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
