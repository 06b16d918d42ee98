/* SPDX-License-Identifier: Apache-2.0 */
/* store - see store.h. WAL with synchronous=NORMAL: a commit is one write to the log without fsync, so it survives a
 * killed daemon but maybe not a crash of the machine; a durable commit syncs the log itself. */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "store/schema.h"

enum {
        MAX_KEY = 1024,
        MAX_VALUE = 32 << 20,   /* a CRI message has 16 MiB at most */
        BUSY_TIMEOUT_MS = 5000, /* an administrator's sqlite3 may hold the file for a moment */
};

enum stmt { STMT_PUT, STMT_GET, STMT_DELETE, STMT_EACH, STMT_MAX };

struct store {
        pthread_mutex_t lock; /* recursive: store_begin keeps it, the calls until commit take it again */
        sqlite3 *db;
        sqlite3_stmt *stmts[STORE_TABLE_MAX][STMT_MAX];
        sqlite3_stmt *begin, *commit, *rollback;
        bool in_tx;
        bool tx_failed; /* a call since store_begin failed: all or nothing means that commit must not go on */
        bool walking;
};

static void store_lock(struct store *s) {
        int r = pthread_mutex_lock(&s->lock);
        assert(r == 0);
        (void) r;
}

static void store_unlock(struct store *s) {
        (void) pthread_mutex_unlock(&s->lock);
}

static int prepare(struct store *s, sqlite3_stmt **stmt, const char *sql, struct err *err) {
        int rc;

        if (*stmt)
                return 0;
        rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
        return rc == SQLITE_OK ? 0 : schema_err(s->db, rc, err, "prepare \"%s\"", sql);
}

static int table_stmt(struct store *s, enum store_table t, enum stmt which, sqlite3_stmt **ret, struct err *err) {
        static const char *const sql[STMT_MAX] = {
                [STMT_PUT] = ("INSERT INTO %s (key, value) VALUES (?1, ?2) "
                              "ON CONFLICT (key) DO UPDATE SET value = excluded.value"),
                [STMT_GET] = "SELECT value FROM %s WHERE key = ?1",
                [STMT_DELETE] = "DELETE FROM %s WHERE key = ?1",
                [STMT_EACH] = "SELECT key, value FROM %s ORDER BY key",
        };
        char buf[160];
        int r;

        assert(t < STORE_TABLE_MAX && !s->walking);
        (void) sqlite3_snprintf(sizeof(buf), buf, sql[which], schema_table(t));
        r = prepare(s, &s->stmts[t][which], buf, err);
        *ret = s->stmts[t][which];
        return r;
}

/* Runs a statement that gives no rows, and resets it. */
static int run(struct store *s, sqlite3_stmt *st, struct err *err, const char *what, const char *key) {
        int rc = sqlite3_step(st), r = 0;

        if (rc != SQLITE_DONE) {
                r = schema_err(s->db, rc, err, "store: %s%s%s", what, key ? " " : "", key ?: "");
                s->tx_failed = s->in_tx;
        }
        (void) sqlite3_reset(st);
        (void) sqlite3_clear_bindings(st);
        return r;
}

static int check_key(const char *key, struct err *err) {
        if (!str_empty(key) && strnlen(key, MAX_KEY + 1) <= MAX_KEY)
                return 0;
        return err_set(err, ERR_INVALID, "store: a key is empty or longer than %d bytes", MAX_KEY);
}

int store_put(struct store *s, enum store_table t, const char *key, const void *value, size_t len, struct err *err) {
        sqlite3_stmt *st;
        int r = check_key(key, err);

        if (r < 0)
                return r;
        if (len > MAX_VALUE)
                return err_set(err, ERR_EXHAUSTED, "store: record %s is larger than %d bytes", key, MAX_VALUE);
        store_lock(s);
        r = table_stmt(s, t, STMT_PUT, &st, err);
        if (r == 0) {
                (void) sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
                (void) sqlite3_bind_blob(st, 2, len ? value : "", (int) len, SQLITE_STATIC);
                r = run(s, st, err, "write", key);
        }
        store_unlock(s);
        return r;
}

int store_get(struct store *s, enum store_table t, const char *key, void **ret, size_t *ret_len, struct err *err) {
        sqlite3_stmt *st;
        size_t len;
        char *copy;
        int rc, r = check_key(key, err);

        if (r < 0)
                return r;
        store_lock(s);
        r = table_stmt(s, t, STMT_GET, &st, err);
        if (r == 0) {
                (void) sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
                rc = sqlite3_step(st);
                if (rc == SQLITE_ROW) {
                        const void *blob = sqlite3_column_blob(st, 0);
                        len = (size_t) sqlite3_column_bytes(st, 0);
                        copy = xcalloc(1, len + 1);
                        if (len)
                                memcpy(copy, blob, len);
                        *ret = copy;
                        if (ret_len)
                                *ret_len = len;
                } else if (rc == SQLITE_DONE) {
                        r = err_set(err, ERR_NOT_FOUND, "no %s %s", schema_table(t), key);
                } else {
                        r = schema_err(s->db, rc, err, "store: read %s", key);
                }
                (void) sqlite3_reset(st);
                (void) sqlite3_clear_bindings(st);
        }
        store_unlock(s);
        return r;
}

int store_delete(struct store *s, enum store_table t, const char *key, struct err *err) {
        sqlite3_stmt *st;
        int r = check_key(key, err);

        if (r < 0)
                return r;
        store_lock(s);
        r = table_stmt(s, t, STMT_DELETE, &st, err);
        if (r == 0) {
                (void) sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
                r = run(s, st, err, "delete", key);
        }
        store_unlock(s);
        return r;
}

int store_each(struct store *s, enum store_table t,
               int (*each)(const char *key, const void *value, size_t len, void *userdata), void *userdata,
               struct err *err) {
        sqlite3_stmt *st;
        int rc, r;

        store_lock(s);
        r = table_stmt(s, t, STMT_EACH, &st, err);
        if (r < 0)
                goto out;
        s->walking = true;
        while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
                const char *key = (const char *) sqlite3_column_text(st, 0);
                const void *value = sqlite3_column_blob(st, 1);
                r = each(key ?: "", value ?: "", (size_t) sqlite3_column_bytes(st, 1), userdata);
                if (r != 0)
                        break;
        }
        s->walking = false;
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                r = schema_err(s->db, rc, err, "store: list %s records", schema_table(t));
        (void) sqlite3_reset(st);
out:
        store_unlock(s);
        return r;
}

int store_begin(struct store *s, struct err *err) {
        int r;

        store_lock(s);
        assert(!s->in_tx && !s->walking);
        r = run(s, s->begin, err, "begin a transaction", NULL);
        if (r < 0) {
                store_unlock(s);
                return r;
        }
        s->in_tx = true;
        s->tx_failed = false;
        return 0;
}

/* The log's fsync, as synchronous=FULL would do at the end of a commit. */
static int sync_log(struct store *s, struct err *err) {
        sqlite3_file *log = NULL;
        int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);

        if (rc == SQLITE_OK && log && log->pMethods)
                rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
        return rc == SQLITE_OK ? 0 : err_set(err, ERR_INTERNAL, "store: sync the log to disk: %s", sqlite3_errstr(rc));
}

static void end_tx(struct store *s) {
        struct err ignored;

        if (!sqlite3_get_autocommit(s->db))
                (void) run(s, s->rollback, &ignored, "roll back", NULL);
        s->in_tx = s->tx_failed = false;
        store_unlock(s);
}

int store_commit(struct store *s, bool durable, struct err *err) {
        int r;

        assert(s->in_tx);
        if (s->tx_failed)
                r = err_set(err, ERR_ABORTED, "store: the transaction was rolled back, since a write in it failed");
        else
                r = run(s, s->commit, err, "commit", NULL);
        if (r == 0 && durable)
                r = sync_log(s, err);
        end_tx(s);
        return r;
}

void store_rollback(struct store *s) {
        assert(s->in_tx);
        end_tx(s);
}

struct store *store_close(struct store *s) {
        if (!s)
                return NULL;
        assert(!s->in_tx);
        for (size_t t = 0; t < STORE_TABLE_MAX; t++)
                for (size_t i = 0; i < STMT_MAX; i++)
                        (void) sqlite3_finalize(s->stmts[t][i]);
        (void) sqlite3_finalize(s->begin);
        (void) sqlite3_finalize(s->commit);
        (void) sqlite3_finalize(s->rollback);
        (void) sqlite3_close(s->db);
        (void) pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
}

/* Reads every page once: a few milliseconds for what a node holds, against surprises in the middle of a pod's start. */
static int check(struct store *s, struct err *err) {
        sqlite3_stmt *st = NULL;
        int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL), r = 0;

        if (rc == SQLITE_OK)
                rc = sqlite3_step(st);
        if (rc != SQLITE_ROW)
                r = schema_err(s->db, rc, err, "check the database");
        else if (!str_eq((const char *) sqlite3_column_text(st, 0), "ok"))
                r = err_set(err, ERR_DATA_LOSS, "it is damaged: %s", (const char *) sqlite3_column_text(st, 0));
        (void) sqlite3_finalize(st);
        return r;
}

static int configure(struct store *s, struct err *err) {
        /* Memory: 64 pages of cache and a small lookaside; the kernel's page cache does the rest. */
        static const char pragmas[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = 64;"
                                      "PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 500;"
                                      "PRAGMA journal_size_limit = 4194304; PRAGMA trusted_schema = OFF;";
        int rc;

        (void) sqlite3_extended_result_codes(s->db, 1);
        (void) sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
        (void) sqlite3_db_config(s->db, SQLITE_DBCONFIG_LOOKASIDE, NULL, 256, 64);
        (void) sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        (void) sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, MAX_VALUE + 65536);
        rc = sqlite3_exec(s->db, pragmas, NULL, NULL, NULL);
        return rc == SQLITE_OK ? 0 : schema_err(s->db, rc, err, "set it up");
}

static int open_db(struct store *s, const char *path, struct err *err) {
        int fd, rc, r;

        /* Made by us for its mode; the log and its index inherit it. */
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
                (void) close(fd);
        else if (errno == EROFS)
                return err_set(err, ERR_PRECONDITION, "the file system is read-only");
        else if (errno != EEXIST)
                return err_sys(err, errno, "create the file");

        rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
        if (rc != SQLITE_OK)
                return schema_err(s->db, rc, err, "open the file");
        if (sqlite3_db_readonly(s->db, "main") == 1)
                return err_set(err, ERR_PRECONDITION, "the file can't be written: read-only file or file system");
        r = configure(s, err);
        if (r == 0)
                r = check(s, err);
        if (r == 0)
                r = schema_migrate(s->db, err);
        if (r == 0)
                r = prepare(s, &s->begin, "BEGIN IMMEDIATE", err);
        if (r == 0)
                r = prepare(s, &s->commit, "COMMIT", err);
        if (r == 0)
                r = prepare(s, &s->rollback, "ROLLBACK", err);
        return r;
}

int store_open(const char *path, struct store **ret, struct err *err) {
        _cleanup_(store_closep) struct store *s = xnew(struct store);
        pthread_mutexattr_t attr;
        int r;

        (void) pthread_mutexattr_init(&attr);
        (void) pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
        (void) pthread_mutex_init(&s->lock, &attr);
        (void) pthread_mutexattr_destroy(&attr);
        r = open_db(s, path, err);
        if (r < 0)
                return err_wrap(err, "store %s", path);
        *ret = TAKE_PTR(s);
        return 0;
}
