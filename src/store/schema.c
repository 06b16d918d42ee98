/* SPDX-License-Identifier: Apache-2.0 */
/* schema - see schema.h. A step is never edited once released: add one at the end. */
#include "store/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* "plxc", so that file(1) and we tell our databases from others. */
enum { APPLICATION_ID = 0x706c7863 };

static const char *const tables[STORE_TABLE_MAX] = {
        [STORE_SANDBOX] = "sandbox", [STORE_CONTAINER] = "container",
        [STORE_IMAGE] = "image",     [STORE_IMAGE_NAME] = "image_name",
        [STORE_LAYER] = "layer",     [STORE_SNAPSHOT] = "snapshot",
        [STORE_META] = "meta",
};

/* Step i leads from user_version i to i + 1. Rowid tables, since records of several KiB fit the leaves of a
 * WITHOUT ROWID table badly. */
#define TABLE(name) "CREATE TABLE " name " (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT;"
static const char *const steps[] = {
        TABLE("sandbox") TABLE("container") TABLE("image") TABLE("image_name") TABLE("layer") TABLE("snapshot")
                TABLE("meta"),
};

const char *schema_table(enum store_table t) {
        return tables[t];
}

static enum err_code code_of(sqlite3 *db, int rc) {
        int sys = db ? sqlite3_system_errno(db) : 0;

        switch (rc & 0xff) {
        case SQLITE_FULL:
        case SQLITE_NOMEM:
        case SQLITE_TOOBIG:
                return ERR_EXHAUSTED;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return ERR_DATA_LOSS;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return ERR_UNAVAILABLE;
        case SQLITE_READONLY:
                return ERR_PRECONDITION;
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
                if (sys == ENOSPC || sys == EDQUOT || sys == EMFILE || sys == ENFILE)
                        return ERR_EXHAUSTED;
                if (sys == EROFS)
                        return ERR_PRECONDITION;
                /* A header that promises more than the file holds. */
                return rc == SQLITE_IOERR_SHORT_READ ? ERR_DATA_LOSS : ERR_INTERNAL;
        default:
                return ERR_INTERNAL;
        }
}

int schema_err(sqlite3 *db, int rc, struct err *err, const char *fmt, ...) {
        int sys = db && ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN) ? sqlite3_system_errno(db) : 0;
        char what[256];
        va_list ap;

        assert(fmt); /* gcc's UBSan sees a null format here otherwise */
        va_start(ap, fmt);
        (void) vsnprintf(what, sizeof(what), fmt, ap);
        va_end(ap);
        (void) err_set(err, code_of(db, rc), "%s: %s%s%s", what, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc),
                       sys ? ": " : "", sys ? strerrordesc_np(sys) ?: "" : "");
        err->sys_errno = (rc & 0xff) == SQLITE_FULL ? ENOSPC : sys;
        return -(int) err->code;
}

static int pragma_get(sqlite3 *db, const char *sql, int *ret, struct err *err) {
        sqlite3_stmt *st = NULL;
        int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

        *ret = 0;
        if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
                *ret = sqlite3_column_int(st, 0);
                rc = SQLITE_OK;
        }
        if (rc != SQLITE_OK)
                (void) schema_err(db, rc, err, "read the schema version");
        (void) sqlite3_finalize(st);
        return rc == SQLITE_OK ? 0 : -(int) err->code;
}

static int apply(sqlite3 *db, int version, struct err *err) {
        char sql[128];
        int rc = SQLITE_OK;

        for (size_t i = (size_t) version; i < ELEMENTSOF(steps) && rc == SQLITE_OK; i++)
                rc = sqlite3_exec(db, steps[i], NULL, NULL, NULL);
        (void) snprintf(sql, sizeof(sql), "PRAGMA user_version = %zu; PRAGMA application_id = %d; COMMIT",
                        ELEMENTSOF(steps), APPLICATION_ID);
        if (rc == SQLITE_OK)
                rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
        return rc == SQLITE_OK
                       ? 0
                       : schema_err(db, rc, err, "bring the schema from version %d to %zu", version, ELEMENTSOF(steps));
}

int schema_migrate(sqlite3 *db, struct err *err) {
        int rc, r, version, id, objects;

        /* Checked inside the transaction: another process may be migrating too. */
        rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (rc != SQLITE_OK)
                return schema_err(db, rc, err, "lock the database");
        r = pragma_get(db, "PRAGMA user_version", &version, err);
        if (r == 0)
                r = pragma_get(db, "PRAGMA application_id", &id, err);
        if (r == 0)
                r = pragma_get(db, "SELECT count(*) FROM sqlite_schema", &objects, err);
        if (r == 0 && id != APPLICATION_ID && (objects > 0 || version != 0))
                r = err_set(err, ERR_PRECONDITION, "it is a database of another program");
        else if (r == 0 && (version < 0 || version > (int) ELEMENTSOF(steps)))
                r = err_set(err, ERR_PRECONDITION,
                            "its schema has version %d and this program knows versions up to %zu: it was written by a "
                            "newer release; upgrade, or use another root folder",
                            version, ELEMENTSOF(steps));
        else if (r == 0 && version < (int) ELEMENTSOF(steps))
                r = apply(db, version, err);
        if (!sqlite3_get_autocommit(db))
                (void) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return r;
}
