/* SPDX-License-Identifier: Apache-2.0 */
/* schema - the tables behind store.h and the steps that bring an older database up to date. Only store.c calls it. */
#pragma once
#include <sqlite3.h>
#include "base/err.h"
#include "store/store.h"

/* The table's name in SQL. */
const char *schema_table(enum store_table t);

/* Brings the database to our version in one transaction. ERR_PRECONDITION when it is newer than we are, or when it is
 * some other program's database. */
_must_use_ int schema_migrate(sqlite3 *db, struct err *err);

/* Raise from SQLite's last error on @db: full disk ERR_EXHAUSTED, damage ERR_DATA_LOSS, locked by others
 * ERR_UNAVAILABLE, read-only ERR_PRECONDITION, the rest ERR_INTERNAL. */
_printf_(4, 5) int schema_err(sqlite3 *db, int rc, struct err *err, const char *fmt, ...);
