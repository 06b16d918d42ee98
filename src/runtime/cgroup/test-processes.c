/* SPDX-License-Identifier: Apache-2.0 */
/* test-processes - places of groups, and what is done to the processes in real ones: listed, frozen, signalled; groups
 * that somebody else made. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/str.h"
#include "runtime/cgroup/oom.h"
#include "runtime/cgroup/test-common.h"

static const char *place(struct cgroups *c, const char *cgroups_path, bool systemd, struct arena *a) {
        struct cgroup_place p;
        int r = cgroup_place_find(c, cgroups_path, "ctr", systemd, a, &p, &err);

        if (r < 0)
                return r == -ERR_INVALID ? "invalid" : err.msg;
        assert(!p.unit == !systemd && !p.slice == !systemd && (!systemd || str_ends_with(p.path, p.unit)));
        return p.path;
}

static void test_place(struct cgroups *c) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        static const char *const bad[] = { "a",
                                           "a:b",
                                           "a.slice:b",
                                           "a.slice:b:c:d",
                                           "a:b:c",
                                           ".slice:b:c",
                                           "a/b.slice:b:c",
                                           "-a.slice:b:c",
                                           "a--b.slice:b:c",
                                           "a-.slice:b:c",
                                           "a.slice:b/c:d",
                                           "a.slice:b:../d",
                                           NULL };
        const char *own;

        assert(str_eq(place(c, "/a/b", false, a), "/a/b"));
        assert(str_eq(place(c, "/a//./b/../../../c/", false, a), "/c"));
        assert(str_eq(place(c, "/..", false, a), "invalid") && str_eq(place(c, "/", false, a), "invalid"));
        assert(str_eq(place(c, "/a\nb", false, a), "invalid"));
        own = place(c, NULL, false, a);
        assert(own[0] == '/' && str_ends_with(own, "/ctr") && str_eq(own, place(c, "", false, a)));
        assert(str_eq(own, place(c, "ctr", false, a)) && str_eq(own, place(c, "../.././x/../ctr", false, a)));

        assert(str_eq(place(c, NULL, true, a), "/system.slice/runc-ctr.scope"));
        assert(str_eq(place(c, "machine.slice:libpod:1", true, a), "/machine.slice/libpod-1.scope"));
        assert(str_eq(place(c, ":p:1", true, a), "/system.slice/p-1.scope"));
        assert(str_eq(place(c, "-.slice:p:1", true, a), "/p-1.scope"));
        assert(str_eq(place(c, "a-b-c.slice:p:1", true, a), "/a.slice/a-b.slice/a-b-c.slice/p-1.scope"));
        assert(str_eq(place(c, "a.slice:p:b.slice", true, a), "/a.slice/b.slice"));
        for (size_t i = 0; bad[i]; i++)
                assert(str_eq(place(c, bad[i], true, a), "invalid"));
}

/* A path that is not absolute starts at the caller's own group. */
static void test_place_own(struct cgroups *c) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        const char *path = path_of("own"), *want;
        struct cgroup_door doors[CGROUP_MAX_DOORS];
        int n, status;
        pid_t pid;

        ok(cgroup_make(c, path, &err));
        ok(n = cgroup_open_doors(c, path, false, doors, &err));
        pid = fork();
        if (pid == 0) {
                for (int i = 0; i < n; i++)
                        assert(write(doors[i].fd, "0", 1) == 1);
                want = c->mode == CGROUP_V2 ? path_of("x/ctr") : path_of("own/x/ctr");
                assert(str_eq(place(c, "x/ctr", false, a), want));
                assert(str_eq(place(c, "/x/ctr", false, a), "/x/ctr"));
                /* It would never thaw itself. */
                assert(cgroup_freeze(c, path, true, 1000, &err) == -ERR_PRECONDITION);
                ok(cgroup_signal_all(c, path, SIGTERM, &err)); /* not to itself */
                _exit(0);
        }
        for (int i = 0; i < n; i++)
                (void) close(doors[i].fd);
        assert(waitpid(pid, &status, 0) == pid && status == 0);
        ok(cgroup_remove(c, path, &err));
}

static size_t count(struct cgroups *c, const char *path) {
        pid_t *pids = NULL;
        size_t n = 0;

        ok(cgroup_processes(c, path, &pids, &n, &err));
        for (size_t i = 1; i < n; i++)
                assert(pids[i - 1] < pids[i]);
        free(pids);
        return n;
}

/* Is it one that the kernel has stopped for good? */
static uint64_t cpu_used(struct cgroups *c, const char *path) {
        struct cgroup_stats s;

        ok(cgroup_get_stats(c, path, &s, &err));
        return s.cpu_usage_ns;
}

static void spin(void) {
        for (volatile unsigned i = 0;; i++)
                ;
}

static void nap(void) {
        (void) nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
}

static void test_freeze(struct cgroups *c) {
        const char *path = path_of("freeze");
        struct spec_resources none = { 0 };
        uint64_t used;
        bool made;
        pid_t pid;
        int status;

        assert(!cgroup_is_frozen(c, path));
        assert(cgroup_freeze(c, path, true, 1000, &err) == -ERR_NOT_FOUND);
        ok(cgroup_make(c, path, &err));
        pid = spawn_in(c, path, spin);
        ok(cgroup_freeze(c, path, true, 5000, &err));
        assert(cgroup_is_frozen(c, path));
        used = cpu_used(c, path);
        nap();
        assert(cpu_used(c, path) - used < 2000000);
        /* Nothing new enters it. */
        assert(cgroup_create_or_join(c, path, &none, &made, &err) == -ERR_PRECONDITION && strstr(err.msg, "frozen"));
        /* v1: signals wait; v2 lets those that end it through. It stays frozen. */
        ok(cgroup_signal_all(c, path, SIGTERM, &err));
        assert(cgroup_is_frozen(c, path));
        nap();
        assert(c->of[CTL_FREEZER] < 0 || count(c, path) == 1);
        ok(cgroup_freeze(c, path, false, 5000, &err));
        assert(!cgroup_is_frozen(c, path));
        assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);

        pid = spawn_in(c, path, spin);
        ok(cgroup_freeze(c, path, true, 5000, &err));
        ok(cgroup_signal_all(c, path, SIGKILL, &err));
        assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        ok(cgroup_remove(c, path, &err));
}

/* The parent ends, its child does the same: a signal to each process listed always comes too late. */
static void run_away(void) {
        for (;;) {
                if (fork() > 0)
                        _exit(0);
        }
}

static void test_run_away(struct cgroups *c) {
        struct spec_resources r = { .pids_limit = 64 };
        const char *path = path_of("away");
        pid_t pid;

        ok(cgroup_create(c, path, &r, &err));
        pid = spawn_in(c, path, run_away);
        assert(waitpid(pid, NULL, 0) == pid);
        ok(cgroup_signal_all(c, path, SIGUSR1, &err));
        for (int i = 0; i < 1000 && count(c, path) > 0; i++)
                nap();
        assert(count(c, path) == 0);
        ok(cgroup_remove(c, path, &err));
}

static void test_signal(struct cgroups *c) {
        const char *path = path_of("signal"), *inner = path_of("signal/a/b");
        pid_t pid;

        assert(cgroup_signal_all(c, path, SIGTERM, &err) == -ERR_NOT_FOUND);
        ok(cgroup_make(c, inner, &err));
        pid = spawn_in(c, inner, family);
        while (count(c, path) < 11)
                ;
        ok(cgroup_signal_all(c, path, 0, &err));
        assert(count(c, path) == 11 && count(c, inner) == 11);
        ok(cgroup_signal_all(c, path, SIGHUP, &err));
        assert(waitpid(pid, NULL, 0) == pid);
        for (int i = 0; i < 1000 && count(c, path) > 0; i++)
                nap();
        assert(count(c, path) == 0);
        ok(cgroup_remove(c, path, &err));
}

/* What is deep down is found, too. */
static void test_deep(struct cgroups *c) {
        enum { DEPTH = 200 };
        const char *path = path_of("deep");
        char text[32];
        pid_t *pids;
        size_t n;
        int at, next;
        pid_t pid;

        ok(cgroup_make(c, path, &err));
        pid = spawn_in(c, path, sleep_for_ever);
        at = openat(c->hiers[0].fd, path + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < DEPTH; i++) {
                assert(at >= 0 && mkdirat(at, "a", 0755) == 0 && mkdirat(at, "b", 0755) == 0);
                next = openat(at, i % 2 ? "a" : "b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                (void) close(at);
                at = next;
        }
        (void) snprintf(text, sizeof(text), "%d", (int) pid);
        assert(file_write_at(at, "cgroup.procs", text) == 0);
        (void) close(at);
        ok(cgroup_processes(c, path, &pids, &n, &err));
        assert(n == 1 && pids[0] == pid);
        free(pids);
        ok(cgroup_signal_all(c, path, SIGTERM, &err));
        assert(waitpid(pid, NULL, 0) == pid);
        ok(cgroup_remove(c, path, &err));
}

static void test_join(struct cgroups *c) {
        struct spec_resources r = { .pids_limit = 20 }, bad = { .pids_limit = 30, .cpuset_cpus = "99999" };
        const char *path = path_of("join"), *part = path_of("part");
        char text[64];
        bool made;
        pid_t pid;

        ok(cgroup_create_or_join(c, path, &r, &made, &err));
        assert(made);
        pid = spawn_in(c, path, sleep_for_ever);
        r.pids_limit = 25;
        ok(cgroup_create_or_join(c, path, &r, &made, &err));
        assert(!made);
        assert(cgroup_create_or_join(c, path, &bad, &made, &err) < 0 && exists_anywhere(c, path));
        assert(file_read_at(c->hiers[c->of[CTL_PIDS]].fd, path_of("join/pids.max") + 1, text, sizeof(text)) > 0);
        assert(str_eq(text, "25") && waitpid(pid, NULL, WNOHANG) == 0);
        ok(cgroup_kill(c, path, 5000, &err));
        assert(waitpid(pid, NULL, 0) == pid);
        ok(cgroup_remove(c, path, &err));
        if (c->n < 2)
                return;
        /* One that exists in a single hierarchy is somebody's all the same. */
        assert(mkdirat(c->hiers[1].fd, part + 1, 0755) == 0);
        assert(cgroup_create_or_join(c, part, &bad, &made, &err) < 0);
        assert(faccessat(c->hiers[1].fd, part + 1, F_OK, 0) == 0 && faccessat(c->hiers[0].fd, part + 1, F_OK, 0) < 0);
        ok(cgroup_create_or_join(c, part, &r, &made, &err));
        assert(!made);
        ok(cgroup_remove(c, part, &err));
}

static void eat_memory(void) {
        for (size_t i = 0; i < 64; i++) {
                char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

                assert(p != MAP_FAILED);
                memset(p, 1, 1 << 20);
        }
}

static void test_oom(struct cgroups *c) {
        struct spec_resources r = { .memory_limit_bytes = 16 << 20, .memory_swap_limit_bytes = 16 << 20 };
        const char *path = path_of("oom");
        struct oom_watch w;
        int status, cancel[2], n;
        pid_t pid;

        assert(oom_watch_open(c, path, &w, &err) == -ERR_NOT_FOUND);
        ok(cgroup_create(c, path, &r, &err));
        ok(oom_watch_open(c, path, &w, &err));
        assert(oom_watch_wait(&w, -1, 0, &err) == 0);
        assert(pipe(cancel) == 0 && write(cancel[1], "x", 1) == 1);
        assert(oom_watch_wait(&w, cancel[0], -1, &err) == 0);
        pid = spawn_in(c, path, eat_memory);
        for (n = 0; n == 0;)
                ok(n = oom_watch_wait(&w, -1, 10000, &err));
        assert(n >= 1 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        while ((n = oom_watch_wait(&w, -1, 0, &err)) > 0)
                ;
        ok(n);
        ok(cgroup_remove(c, path, &err));
        if (!w.v2)
                assert(oom_watch_wait(&w, -1, 10000, &err) == -ERR_NOT_FOUND);
        oom_watch_done(&w);
        (void) close(cancel[0]);
        (void) close(cancel[1]);
}

static void test_real(struct cgroups *c) {
        test_place(c);
        test_place_own(c);
        test_freeze(c);
        test_signal(c);
        test_run_away(c);
        test_deep(c);
        test_join(c);
        test_oom(c);
        if (c->mode == CGROUP_HYBRID) { /* without the v2 tree: v1's freezer, signals one by one */
                struct cgroups *v1;

                ok(cgroups_new_v1(&v1, &err));
                test_freeze(v1);
                test_signal(v1);
                test_run_away(v1);
                test_deep(v1);
                ok(cgroup_remove(v1, parent, &err));
                cgroups_free(v1);
        }
}

int main(void) {
        return run_with_groups("test-processes", test_real);
}
