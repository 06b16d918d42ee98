/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "base/strbuf.h"

static void test_err(void) {
        struct err err = { 0 };

        assert(err_sys(&err, ENOENT, "open %s", "x") == -ERR_INTERNAL && err.sys_errno == ENOENT);
        assert(err_sys(&err, ENOSPC, "write") == -ERR_EXHAUSTED);
        assert(err_wrap(&err, "pull %s", "img") == -ERR_EXHAUSTED);
        assert(strcmp(err.msg, "pull img: write: No space left on device") == 0);
        assert(strcmp(err_code_name(ERR_UNAUTHENTICATED), "UNAUTHENTICATED") == 0);
}

static void test_arena(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100000);
        char *s = arena_printf(a, "%d-%s", 7, "x");

        assert(strcmp(s, "7-x") == 0 && strcmp(arena_strdup(a, s), s) == 0);
        assert(arena_alloc(a, 50000) && arena_alloc(a, 40000) && !arena_alloc(a, 20000));
        for (int i = 0; i < 100; i++)
                assert(((uintptr_t) arena_alloc(a, 3) & 15) == 0);
}

static void test_strbuf(void) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(10);

        strbuf_printf(&b, "%s", "12345");
        strbuf_puts(&b, "67890");
        assert(!b.overflow && b.len == 10);
        strbuf_putc(&b, 'x');
        assert(b.overflow && strcmp(strbuf_str(&b), "1234567890") == 0);
        strbuf_consume(&b, 4);
        assert(strcmp(strbuf_str(&b), "567890") == 0);
}

static void test_printable(void) {
        static const char *const cases[][2] = {
                { "plain, h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xb3", "plain, h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xb3" },
                { "\033[31mred\r\n\x7f", "?[31mred?\n?" },
                { "\xc2\x9b"
                  "31m \xc2\xa0",
                  "?31m \xc2\xa0" }, /* CSI, in one character; a blank that is none to obey */
                { "\x9b"
                  "31m \xff\xc0\x80",
                  "?31m ???" },
                { "cut off \xe2\x82", "cut off ??" },
        };
        char text[64];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                (void) snprintf(text, sizeof(text), "%s", cases[i][0]);
                str_make_printable(text, "\n");
                assert(strcmp(text, cases[i][1]) == 0);
        }
}

static void test_str(void) {
        uint64_t u;
        int64_t i;
        char buf[32], id[ID_LEN + 1];

        assert(str_to_u64("18446744073709551615", &u) && u == UINT64_MAX);
        assert(!str_to_u64("18446744073709551616", &u) && !str_to_u64("-1", &u) && !str_to_u64("1x", &u) &&
               !str_to_u64("", &u));
        assert(str_to_i64("-9223372036854775808", &i) && i == INT64_MIN && !str_to_i64(" 1", &i));
        assert(str_to_bytes("64k", &u) && u == 65536 && str_to_bytes("2GiB", &u) && u == 2ull << 30 &&
               !str_to_bytes("99999999999G", &u));
        str_from_bytes(1536, buf, sizeof(buf));
        assert(strcmp(buf, "1.5 KiB") == 0);
        id_new(id);
        assert(id_is_valid(id) && !id_is_valid("abc"));
}

static void test_map(void) {
        _cleanup_(map_freep) struct map *m = map_new();
        char key[32];
        size_t n = 0;

        for (uintptr_t i = 1; i <= 1000; i++) {
                (void) snprintf(key, sizeof(key), "k%zu", (size_t) i);
                assert(!map_set(m, key, (void *) i));
        }
        for (uintptr_t i = 1; i <= 1000; i += 2) {
                (void) snprintf(key, sizeof(key), "k%zu", (size_t) i);
                assert(map_take(m, key) == (void *) i && !map_take(m, key));
        }
        for (uintptr_t i = 1; i <= 1000; i++) {
                (void) snprintf(key, sizeof(key), "k%zu", (size_t) i);
                assert(map_get(m, key) == (i % 2 ? NULL : (void *) i));
        }
        for (size_t it = 0; map_next(m, &it, NULL, NULL);)
                n++;
        assert(n == 500 && map_size(m) == 500);
}

static _Atomic int ran;
static void job(void *arg) {
        ran += (int) (intptr_t) arg;
}

static void test_pool(void) {
        struct pool *p = pool_new("test", 4, 1000);

        for (int i = 0; i < 500; i++)
                assert(pool_run(p, job, (void *) 2));
        p = pool_free(p);
        assert(ran == 1000);
}

static void test_proc(void) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(1 << 20), err_out = STRBUF(1000);
        const char *const cat[] = { "/bin/sh", "-c", "cat; echo oops >&2; exit 3", NULL };
        const char *const slow[] = { "/bin/sleep", "60", NULL };
        const char *const missing[] = { "/no/such/program", NULL };
        char *big = xcalloc(1, 300001);
        struct err err = { 0 };
        int status;

        memset(big, 'a', 300000);
        struct proc_run_args args = {
                .argv = cat, .input = big, .input_len = 300000, .out = &out, .err_out = &err_out
        };
        assert(proc_run(&args, &status, &err) == 0 && WEXITSTATUS(status) == 3);
        assert(out.len == 300000 && strcmp(err_out.data, "oops\n") == 0);
        free(big);
        args = (struct proc_run_args){ .argv = slow, .timeout_ms = 50 };
        assert(proc_run(&args, &status, &err) == -ERR_DEADLINE);
        args = (struct proc_run_args){ .argv = missing };
        assert(proc_run(&args, &status, &err) == -ERR_INTERNAL && err.sys_errno == ENOENT);
        int fd = proc_open(getpid(), proc_start_time(getpid()));
        assert(fd >= 0 && !proc_wait_gone(fd, 1) && proc_signal(fd, 0) == 0);
        (void) close(fd);
        assert(proc_open(getpid(), 1) < 0 && errno == ESRCH);
}

static void test_sock(void) {
        int sv[2], fds[2];
        struct sock_msg m;
        char buf[8];

        assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == 0);
        fds[0] = sv[0];
        fds[1] = sv[1];
        assert(sock_send(sv[0], "hello", 5, fds, 2) == 0 && sock_recv(sv[1], buf, sizeof(buf), &m) == 0);
        assert(m.len == 5 && m.n_fds == 2 && fcntl(m.fds[0], F_GETFD) == FD_CLOEXEC);
        sock_msg_done(&m);
        assert(sock_send(sv[0], "too long a message", 18, fds, 1) == 0 &&
               sock_recv(sv[1], buf, sizeof(buf), &m) == -EMSGSIZE);
        (void) close(sv[0]);
        assert(sock_recv(sv[1], buf, sizeof(buf), &m) == 0 && m.len == 0);
        (void) close(sv[1]);
}

static void test_fs(void) {
        char dir[] = "/tmp/test-base.XXXXXX", path[128], *data;
        uint64_t bytes, inodes;
        struct err err = { 0 };
        int fd, root;

        assert(mkdtemp(dir));
        (void) snprintf(path, sizeof(path), "%s/a/b/c", dir);
        assert(fs_mkdir_p(path, 0755, &err) == 0 && fs_mkdir_p(path, 0755, &err) == 0);
        (void) snprintf(path, sizeof(path), "%s/a/f", dir);
        assert(fs_write_atomic(AT_FDCWD, path, "data", 4, 0600, true, &err) == 0);
        assert(fs_read_file(AT_FDCWD, path, 100, &data, NULL, &err) == 0 && strcmp(data, "data") == 0);
        free(data);
        assert(fs_read_file(AT_FDCWD, path, 3, &data, NULL, &err) == -ERR_EXHAUSTED);
        root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(symlinkat("/../../etc/passwd", root, "a/evil") == 0);
        assert(fs_open_in_root(root, "a/evil", O_RDONLY, 0) == -ENOENT);
        fd = fs_open_in_root(root, "a/f", O_RDONLY, 0);
        assert(fd >= 0 && close(fd) == 0);
        assert(fs_usage(root, NULL, &bytes, &inodes, &err) == 0 && inodes == 6);
        assert(fs_remove_tree(AT_FDCWD, dir, &err) == 0 && access(dir, F_OK) < 0);
        assert(fs_remove_tree(AT_FDCWD, dir, &err) == 0);
        (void) close(root);
}

/* The kernel gives ".." up with EAGAIN whenever anything is renamed anywhere meanwhile. */
static void test_open_while_others_rename(void) {
        char dir[] = "/tmp/test-base.XXXXXX";
        struct err err = { 0 };
        int root, fd;
        pid_t pid;

        assert(mkdtemp(dir));
        root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(root >= 0 && mkdirat(root, "a", 0755) == 0 && mkdirat(root, "x", 0755) == 0);
        pid = fork();
        if (pid == 0)
                for ((void) prctl(PR_SET_PDEATHSIG, SIGKILL);;)
                        if (renameat(root, "x", root, "y") < 0 || renameat(root, "y", root, "x") < 0)
                                _exit(1);
        for (int i = 0; i < 20000; i++) {
                fd = fs_open_in_root(root, "a/../a/../../a", O_PATH, 0);
                assert(fd >= 0 && close(fd) == 0);
        }
        assert(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
        assert(fs_remove_tree(AT_FDCWD, dir, &err) == 0);
        (void) close(root);
}

static rlim_t set_descriptors(rlim_t n) {
        struct rlimit l;
        rlim_t before;

        assert(getrlimit(RLIMIT_NOFILE, &l) == 0);
        before = l.rlim_cur;
        l.rlim_cur = n;
        assert(setrlimit(RLIMIT_NOFILE, &l) == 0);
        return before;
}

/* A chain of folders in @top with something beside each, and names that removal would like to use. */
static void make_chain(int top, const char *name, int depth) {
        int at = dup(top);

        for (int i = 0; i < depth; i++) {
                int next;

                assert(mkdirat(at, name, 0700) == 0);
                assert(symlinkat("/tmp", at, "to-elsewhere") == 0 || errno == EEXIST);
                assert(mkdirat(at, ".removed-0", 0700) == 0 || errno == EEXIST);
                assert(symlinkat("/etc", at, ".removed-1") == 0 || errno == EEXIST);
                next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert(next >= 0 && close(at) == 0);
                at = next;
        }
        assert(mknodat(at, "file", S_IFREG | 0600, 0) == 0 && close(at) == 0);
}

/* Deeper than stack, descriptors and paths go. */
static void test_remove_a_deep_tree(void) {
        char dir[] = "/tmp/test-base.XXXXXX", outside[] = "/tmp/test-base-outside.XXXXXX", path[128];
        struct err err = { 0 };
        rlim_t before;
        int top;

        assert(mkdtemp(dir) && mkdtemp(outside));
        top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        make_chain(top, "a", 6000);
        make_chain(top, "b", 100);
        make_chain(top, "c", 31);
        make_chain(top, "d", 32);
        (void) snprintf(path, sizeof(path), "%s/file", outside);
        assert(mknod(path, S_IFREG | 0600, 0) == 0 && symlinkat(outside, top, "outside") == 0);
        before = set_descriptors(60);
        assert(fs_remove_tree(AT_FDCWD, dir, &err) == 0 && access(dir, F_OK) < 0);
        (void) set_descriptors(before);
        assert(access(path, F_OK) == 0 && fs_remove_tree(AT_FDCWD, outside, &err) == 0);
        (void) close(top);
}

/* Of <linux/fs.h>, which can't be included beside <sys/mount.h> everywhere. */
#ifndef FS_IOC_GETFLAGS
#define FS_IOC_GETFLAGS _IOR('f', 1, long)
#define FS_IOC_SETFLAGS _IOW('f', 2, long)
enum { FS_IMMUTABLE_FL = 0x10, FS_APPEND_FL = 0x20 };
#endif

static bool mark(int dir, const char *path, int flag) {
        int fd = openat(dir, path, O_RDONLY | O_CLOEXEC), flags = 0;
        bool done;

        assert(fd >= 0);
        done = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
        flags |= flag;
        done = done && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
        (void) close(fd);
        return done;
}

/* As whoever may do so (chattr(1)) leaves it. */
static void test_remove_what_is_immutable(void) {
        char dir[] = "/tmp/test-base.XXXXXX", deep[400] = "";
        struct err err = { 0 };
        int top;

        assert(mkdtemp(dir));
        top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < 50; i++) {
                (void) snprintf(deep + strlen(deep), sizeof(deep) - strlen(deep), "%sfolder", i ? "/" : "");
                assert(mkdirat(top, deep, 0700) == 0);
        }
        assert(mknodat(top, "file", S_IFREG | 0600, 0) == 0 && mknodat(top, "folder/log", S_IFREG | 0600, 0) == 0);
        if (mark(top, "file", FS_IMMUTABLE_FL)) { /* not everywhere, and not everybody may */
                assert(mark(top, "folder/log", FS_APPEND_FL) && mark(top, "folder", FS_APPEND_FL));
                for (; strrchr(deep, '/'); *strrchr(deep, '/') = '\0')
                        assert(mark(top, deep, FS_IMMUTABLE_FL));
                assert(mark(top, ".", FS_IMMUTABLE_FL));
        } else {
                fprintf(stderr, "skipped: nothing in /tmp can be made immutable\n");
        }
        assert(fs_remove_tree(AT_FDCWD, dir, &err) == 0 && access(dir, F_OK) < 0);
        (void) close(top);
}

/* A mount is nobody's to empty, even one of the same file system. */
static void test_remove_spares_mounts(void) {
        char dir[] = "/tmp/test-base.XXXXXX", outside[] = "/tmp/test-base-outside.XXXXXX", path[128], file[128];
        struct err err = { 0 };

        assert(mkdtemp(dir) && mkdtemp(outside));
        (void) snprintf(path, sizeof(path), "%s/mount", dir);
        (void) snprintf(file, sizeof(file), "%s/file", outside);
        assert(mkdir(path, 0700) == 0 && mknod(file, S_IFREG | 0600, 0) == 0);
        if (mount(outside, path, NULL, MS_BIND, NULL) == 0) { /* not everybody may */
                assert(fs_remove_tree(AT_FDCWD, dir, &err) < 0 && err.sys_errno == EBUSY);
                assert(access(file, F_OK) == 0 && umount(path) == 0);
        }
        assert(fs_remove_tree(AT_FDCWD, dir, &err) == 0 && fs_remove_tree(AT_FDCWD, outside, &err) == 0);
}

/* Deeper than there are descriptors, and each level is come back to. */
static void test_usage_of_a_deep_tree(void) {
        char dir[] = "/tmp/test-base.XXXXXX";
        enum { DEPTH = 200 };
        struct rlimit old, few;
        uint64_t bytes, inodes;
        atomic_bool give_up;
        struct err err = { 0 };
        int root, at, ends[2];

        assert(mkdtemp(dir));
        root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        at = dup(root);
        for (int i = 0; i < DEPTH; i++) {
                int next;

                assert(mkdirat(at, "a", 0700) == 0 && mkdirat(at, "m", 0700) == 0 && mkdirat(at, "z", 0700) == 0);
                assert(symlinkat("x", at, "l") == 0 && symlinkat("x", at, "n") == 0);
                next = openat(at, "m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert(next >= 0 && close(at) == 0);
                at = next;
        }
        (void) close(at);
        assert(getrlimit(RLIMIT_NOFILE, &old) == 0);
        few = (struct rlimit){ 60, old.rlim_max };
        assert(setrlimit(RLIMIT_NOFILE, &few) == 0);
        assert(fs_usage(root, NULL, &bytes, &inodes, &err) == 0 && inodes == 1 + DEPTH * 5);
        assert(setrlimit(RLIMIT_NOFILE, &old) == 0);
        atomic_init(&give_up, true);
        assert(fs_usage(root, &(struct fs_until){ .stop = &give_up }, &bytes, &inodes, &err) == -ERR_CANCELLED);
        assert(pipe2(ends, O_CLOEXEC) == 0);
        assert(fs_usage(root, &(struct fs_until){ .end_fd = ends[0] }, &bytes, &inodes, &err) == 0);
        (void) close(ends[1]);
        assert(fs_usage(root, &(struct fs_until){ .end_fd = ends[0] }, &bytes, &inodes, &err) == -ERR_CANCELLED);
        (void) close(ends[0]);
        assert(fs_remove_tree(AT_FDCWD, dir, &err) == 0);
        (void) close(root);
}

int main(void) {
        (void) signal(SIGPIPE, SIG_IGN);
        test_err();
        test_arena();
        test_strbuf();
        test_str();
        test_printable();
        test_map();
        test_pool();
        test_proc();
        test_sock();
        test_fs();
        test_open_while_others_rename();
        test_usage_of_a_deep_tree();
        test_remove_a_deep_tree();
        test_remove_what_is_immutable();
        test_remove_spares_mounts();
        log_set_format(LOG_FORMAT_JSON);
        log_info("done \"all\"", "tests", LOG_U64(9), NULL);
        return 0;
}
