/* SPDX-License-Identifier: Apache-2.0 */
/* test-store - records, transactions, threads, a killed writer, full disk, damaged and foreign files. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "store/store.h"

static char dir[] = "/tmp/test-store.XXXXXX";
static char path[128];

static struct store *open_ok(const char *p) {
        struct store *s = NULL;
        struct err err;

        if (store_open(p, &s, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
        }
        return s;
}

static void fresh(const char *name) {
        struct err err;
        char side[160];

        (void) snprintf(path, sizeof(path), "%s/%s", dir, name);
        assert(fs_remove_tree(AT_FDCWD, path, &err) == 0);
        for (const char *const *x = (const char *const[]){ "-wal", "-shm", NULL }; *x; x++) {
                (void) snprintf(side, sizeof(side), "%s%s", path, *x);
                (void) unlink(side);
        }
}

static int collect(const char *key, const void *value, size_t len, void *userdata) {
        struct strbuf *b = userdata;

        strbuf_printf(b, "%s=%.*s;", key, (int) len, (const char *) value);
        return str_eq(key, "stop") ? -77 : 0;
}

static void test_records(void) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(4096);
        _cleanup_(store_closep) struct store *s = NULL;
        _cleanup_(freep) void *v = NULL;
        struct stat st;
        struct err err;
        char *key;
        size_t len = 9;

        fresh("records");
        s = open_ok(path);
        assert(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
        assert(store_get(s, STORE_META, "a", &v, &len, &err) == -ERR_NOT_FOUND);
        assert(store_put(s, STORE_META, "b", "2", 1, &err) == 0 && store_put(s, STORE_META, "a", "1\0x", 3, &err) == 0);
        assert(store_put(s, STORE_META, "a", "1\0y", 3, &err) == 0);
        assert(store_put(s, STORE_META, "empty", NULL, 0, &err) == 0);
        assert(store_get(s, STORE_META, "a", &v, &len, &err) == 0 && len == 3 && memcmp(v, "1\0y", 4) == 0);
        freep(&v);
        assert(store_get(s, STORE_META, "empty", &v, &len, &err) == 0 && len == 0 && *(char *) v == '\0');
        freep(&v);
        assert(store_get(s, STORE_IMAGE, "a", &v, NULL, &err) == -ERR_NOT_FOUND);
        assert(store_delete(s, STORE_META, "a", &err) == 0 && store_delete(s, STORE_META, "a", &err) == 0);
        assert(store_put(s, STORE_META, "stop", "", 0, &err) == 0 && store_put(s, STORE_META, "z", "", 0, &err) == 0);
        assert(store_each(s, STORE_META, collect, &b, &err) == -77);
        assert(str_eq(strbuf_str(&b), "b=2;empty=;stop=;"));
        assert(store_put(s, STORE_META, "", "x", 1, &err) == -ERR_INVALID);
        key = calloc(1, 2000);
        assert(key);
        memset(key, 'k', 1999);
        assert(store_put(s, STORE_META, key, "x", 1, &err) == -ERR_INVALID);
        assert(store_get(s, STORE_META, key, &v, NULL, &err) == -ERR_INVALID);
        free(key);
        assert(store_put(s, STORE_META, "big", "x", (size_t) 1 << 40, &err) == -ERR_EXHAUSTED);
}

static void test_transactions(void) {
        _cleanup_(store_closep) struct store *s = NULL;
        _cleanup_(freep) void *v = NULL;
        struct err err;

        fresh("tx");
        s = open_ok(path);
        assert(store_begin(s, &err) == 0 && store_put(s, STORE_IMAGE, "a", "1", 1, &err) == 0);
        assert(store_get(s, STORE_IMAGE, "a", &v, NULL, &err) == 0);
        freep(&v);
        store_rollback(s);
        assert(store_get(s, STORE_IMAGE, "a", &v, NULL, &err) == -ERR_NOT_FOUND);
        assert(store_begin(s, &err) == 0 && store_put(s, STORE_IMAGE, "a", "1", 1, &err) == 0);
        assert(store_put(s, STORE_LAYER, "l", "2", 1, &err) == 0 && store_commit(s, true, &err) == 0);
        s = store_close(s);
        s = open_ok(path);
        assert(store_get(s, STORE_LAYER, "l", &v, NULL, &err) == 0 && str_eq(v, "2"));
}

/* Threads increment one counter inside transactions, and write records of their own outside. */
struct worker {
        struct store *s;
        int number;
};

static void *work(void *arg) {
        struct worker *w = arg;
        struct err err;
        char key[32], text[32];

        for (int i = 0; i < 200; i++) {
                void *v = NULL;
                uint64_t n = 0;
                int r;

                assert(store_begin(w->s, &err) == 0);
                if (store_get(w->s, STORE_META, "counter", &v, NULL, &err) == 0)
                        assert(str_to_u64(v, &n));
                free(v);
                r = snprintf(text, sizeof(text), "%llu", (unsigned long long) n + 1);
                assert(store_put(w->s, STORE_META, "counter", text, (size_t) r, &err) == 0);
                if (i % 10 == 9)
                        store_rollback(w->s);
                else
                        assert(store_commit(w->s, false, &err) == 0);
                (void) snprintf(key, sizeof(key), "%d/%d", w->number, i % 20);
                assert(store_put(w->s, STORE_SANDBOX, key, "x", 1, &err) == 0);
                if (i % 3 == 0)
                        assert(store_delete(w->s, STORE_SANDBOX, key, &err) == 0);
        }
        return NULL;
}

static void test_threads(void) {
        _cleanup_(store_closep) struct store *s = NULL;
        _cleanup_(freep) void *v = NULL;
        struct worker w[8];
        pthread_t t[8];
        struct err err;

        fresh("threads");
        s = open_ok(path);
        for (int i = 0; i < 8; i++) {
                w[i] = (struct worker){ s, i };
                assert(pthread_create(&t[i], NULL, work, &w[i]) == 0);
        }
        for (int i = 0; i < 8; i++)
                assert(pthread_join(t[i], NULL) == 0);
        assert(store_get(s, STORE_META, "counter", &v, NULL, &err) == 0 && str_eq(v, "1440"));
}

/* The child writes pairs and reports each commit; killed at any point, no reported pair may be lost or halved. */
static _noreturn_ void write_pairs(int report) {
        struct store *s = open_ok(path);
        static char value[3000];
        struct err err;
        uint64_t n = 0;
        void *v;

        if (store_get(s, STORE_SANDBOX, "n", &v, NULL, &err) == 0) {
                assert(str_to_u64(v, &n));
                free(v);
        }
        for (;;) {
                n++;
                (void) snprintf(value, sizeof(value), "%llu", (unsigned long long) n);
                if (store_begin(s, &err) < 0 || store_put(s, STORE_SANDBOX, "n", value, strlen(value), &err) < 0 ||
                    store_put(s, STORE_CONTAINER, "n", value, strlen(value), &err) < 0 ||
                    store_put(s, STORE_LAYER, value, value, sizeof(value), &err) < 0 ||
                    store_commit(s, n % 50 == 0, &err) < 0)
                        abort();
                if (write(report, &n, sizeof(n)) != sizeof(n))
                        abort();
        }
}

static void test_killed(void) {
        uint64_t reported, last = 0, n;
        struct err err;
        int p[2], status;
        pid_t pid;

        fresh("killed");
        for (int round = 0; round < 25; round++) {
                struct store *s;
                void *a = NULL, *b = NULL;

                assert(pipe2(p, O_CLOEXEC) == 0);
                pid = fork();
                assert(pid >= 0);
                if (pid == 0) {
                        (void) close(p[0]);
                        write_pairs(p[1]);
                }
                (void) close(p[1]);
                /* Round 0 dies at once, maybe in the middle of making the file. */
                (void) usleep(round * 1700U);
                assert(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
                assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
                while (read(p[0], &reported, sizeof(reported)) == sizeof(reported))
                        last = reported;
                (void) close(p[0]);
                s = open_ok(path);
                if (last > 0) {
                        assert(store_get(s, STORE_SANDBOX, "n", &a, NULL, &err) == 0);
                        assert(store_get(s, STORE_CONTAINER, "n", &b, NULL, &err) == 0);
                        assert(str_eq(a, b) && str_to_u64(a, &n) && n >= last && n <= last + 1);
                        last = n; /* what was not reported any more counts for the next round */
                }
                free(a);
                free(b);
                s = store_close(s);
        }
        assert(last > 100);
}

static void test_full_disk(void) {
        _cleanup_(store_closep) struct store *s = NULL;
        static char value[20000];
        struct err err;
        char mnt[64], key[32];
        void *v = NULL;
        int r = 0, i;

        if (geteuid() != 0)
                return;
        (void) snprintf(mnt, sizeof(mnt), "%s/mnt", dir);
        assert(mkdir(mnt, 0700) == 0 && mount("t", mnt, "tmpfs", 0, "size=1m") == 0);
        (void) snprintf(path, sizeof(path), "%s/db", mnt);
        s = open_ok(path);
        for (i = 0; i < 1000 && r == 0; i++) {
                (void) snprintf(key, sizeof(key), "%d", i);
                r = store_put(s, STORE_IMAGE, key, value, sizeof(value), &err);
        }
        assert(r == -ERR_EXHAUSTED && i > 5);
        /* In a transaction: all or nothing, whatever SQLite did on its own. */
        assert(store_begin(s, &err) == 0);
        r = 0;
        for (int k = 0; k < 100 && r == 0; k++) {
                (void) snprintf(key, sizeof(key), "t%d", k);
                r = store_put(s, STORE_LAYER, key, value, sizeof(value), &err);
        }
        r = store_commit(s, true, &err);
        assert(r == -ERR_ABORTED || r == -ERR_EXHAUSTED);
        assert(store_get(s, STORE_LAYER, "t0", &v, NULL, &err) == -ERR_NOT_FOUND);
        assert(store_get(s, STORE_IMAGE, "0", &v, NULL, &err) == 0);
        free(v);
        /* Space again: it goes on with the same connection. */
        assert(mount("t", mnt, "tmpfs", MS_REMOUNT, "size=8m") == 0);
        assert(store_put(s, STORE_IMAGE, "later", value, sizeof(value), &err) == 0);
        s = store_close(s);
        s = open_ok(path);
        assert(store_get(s, STORE_IMAGE, "later", &v, NULL, &err) == 0);
        free(v);
        s = store_close(s);
        assert(mount("t", mnt, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=8m") == 0);
        assert(store_open(path, &s, &err) == -ERR_PRECONDITION);
        (void) snprintf(path, sizeof(path), "%s/other", mnt);
        assert(store_open(path, &s, &err) < 0 && err.code == ERR_PRECONDITION);
        assert(umount2(mnt, MNT_DETACH) == 0 && rmdir(mnt) == 0);
}

static void sql(const char *text) {
        sqlite3 *db;

        assert(sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
        assert(sqlite3_close(db) == SQLITE_OK);
}

static void test_bad_files(void) {
        struct store *s = NULL;
        static char value[3000];
        struct err err;
        char key[32];
        int fd;

        fresh("newer");
        s = store_close(open_ok(path));
        sql("PRAGMA user_version = 999");
        assert(store_open(path, &s, &err) == -ERR_PRECONDITION && strstr(err.msg, "999"));
        fresh("foreign");
        sql("CREATE TABLE x (y)");
        assert(store_open(path, &s, &err) == -ERR_PRECONDITION);
        fresh("text");
        assert(fs_write_atomic(AT_FDCWD, path,
                               "this is no database, but it is long enough to be read as one, "
                               "with more than a hundred bytes of header, all of them wrong......",
                               125, 0600, false, &err) == 0);
        assert(store_open(path, &s, &err) == -ERR_DATA_LOSS);
        fresh("folder");
        assert(mkdir(path, 0700) == 0 && store_open(path, &s, &err) < 0);
        (void) snprintf(path, sizeof(path), "%s/no/such/folder", dir);
        assert(store_open(path, &s, &err) == -ERR_INTERNAL);

        fresh("damaged");
        s = open_ok(path);
        for (int i = 0; i < 50; i++) {
                (void) snprintf(key, sizeof(key), "%d", i);
                assert(store_put(s, STORE_IMAGE, key, value, sizeof(value), &err) == 0);
        }
        s = store_close(s);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        memset(value, 0xa5, sizeof(value));
        for (int i = 9; i < 40; i++)
                assert(pwrite(fd, value, sizeof(value), i * 4096) == sizeof(value));
        (void) close(fd);
        assert(store_open(path, &s, &err) == -ERR_DATA_LOSS);
        assert(truncate(path, 4096 * 3) == 0 && store_open(path, &s, &err) == -ERR_DATA_LOSS);
        assert(s == NULL);
}

/* An administrator reads while we write, and is told by us only when he holds the lock for too long. */
static void test_admin(void) {
        _cleanup_(store_closep) struct store *s = NULL;
        sqlite3 *admin;
        struct err err;

        fresh("admin");
        s = open_ok(path);
        assert(store_put(s, STORE_META, "a", "1", 1, &err) == 0);
        assert(sqlite3_open(path, &admin) == SQLITE_OK);
        assert(sqlite3_exec(admin, "BEGIN; SELECT * FROM meta", NULL, NULL, NULL) == SQLITE_OK);
        assert(store_put(s, STORE_META, "a", "2", 1, &err) == 0);
        assert(sqlite3_exec(admin, "COMMIT; BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
        assert(store_put(s, STORE_META, "a", "3", 1, &err) == -ERR_UNAVAILABLE);
        assert(sqlite3_exec(admin, "COMMIT", NULL, NULL, NULL) == SQLITE_OK && sqlite3_close(admin) == SQLITE_OK);
        assert(store_put(s, STORE_META, "a", "4", 1, &err) == 0);
}

static void test_speed(void) {
        _cleanup_(store_closep) struct store *s = NULL;
        static char value[2000];
        struct err err;
        uint64_t t0;
        char key[32];

        fresh("speed");
        s = open_ok(path);
        t0 = clock_monotonic_ns();
        for (int i = 0; i < 2000; i++) {
                (void) snprintf(key, sizeof(key), "%d", i % 200);
                assert(store_put(s, STORE_CONTAINER, key, value, sizeof(value), &err) == 0);
        }
        printf("store_put of 2000 bytes: %.1f us\n", (double) (clock_monotonic_ns() - t0) / 2000 / 1000);
        t0 = clock_monotonic_ns();
        for (int i = 0; i < 50; i++) {
                assert(store_begin(s, &err) == 0 && store_put(s, STORE_IMAGE, "x", value, sizeof(value), &err) == 0);
                assert(store_commit(s, true, &err) == 0);
        }
        printf("durable commit: %.1f us\n", (double) (clock_monotonic_ns() - t0) / 50 / 1000);
        printf("memory of SQLite: %lld KiB\n", (long long) sqlite3_memory_used() / 1024);
}

int main(void) {
        struct err err;

        assert(mkdtemp(dir));
        test_records();
        test_transactions();
        test_threads();
        test_killed();
        test_full_disk();
        test_bad_files();
        test_admin();
        test_speed();
        assert(fs_remove_tree(AT_FDCWD, dir, &err) == 0);
        return 0;
}
