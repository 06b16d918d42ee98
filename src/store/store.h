/* SPDX-License-Identifier: Apache-2.0 */
/* store - what must survive a restart: one SQLite database (WAL) of typed records. Thread-safe: one connection behind
 * one lock, every call is one transaction unless between store_begin and store_commit. SQL lives only in store/.
 * Records are opaque bytes to it (their owner encodes them), found by table and key. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"

struct store;

/* Tables: each is (key TEXT PRIMARY KEY, value BLOB), with migrations by PRAGMA user_version. */
enum store_table {
        STORE_SANDBOX,    /* key: sandbox id */
        STORE_CONTAINER,  /* key: container id */
        STORE_IMAGE,      /* key: image id */
        STORE_IMAGE_NAME, /* key: full reference (tag or digest form), value: image id */
        STORE_LAYER,      /* key: chain id */
        STORE_SNAPSHOT,   /* key: snapshot id */
        STORE_META,       /* key: anything small */
        STORE_TABLE_MAX,
};

/* Opens or makes @path and migrates it. A newer schema than ours is ERR_PRECONDITION; a damaged file ERR_DATA_LOSS. */
_must_use_ int store_open(const char *path, struct store **ret, struct err *err);
struct store *store_close(struct store *s);
DEFINE_CLEANUP(struct store *, store_close)

_must_use_ int store_put(struct store *s, enum store_table t, const char *key, const void *value, size_t len,
                         struct err *err);
/* ERR_NOT_FOUND when missing; @ret: caller frees, NUL-terminated. */
_must_use_ int store_get(struct store *s, enum store_table t, const char *key, void **ret, size_t *ret_len,
                         struct err *err);
_must_use_ int store_delete(struct store *s, enum store_table t, const char *key,
                            struct err *err); /* missing is fine */
/* @each for every record in key order; a non-zero return stops the walk and is returned. It must not call the store. */
_must_use_ int store_each(struct store *s, enum store_table t,
                          int (*each)(const char *key, const void *value, size_t len, void *userdata), void *userdata,
                          struct err *err);

/* Several puts and deletes at once, all or nothing. Holds the store's lock until commit or rollback (same thread). */
_must_use_ int store_begin(struct store *s, struct err *err);
/* @durable: on disk when this returns (images); else after a crash of the machine the last ones may be missing. */
_must_use_ int store_commit(struct store *s, bool durable, struct err *err);
void store_rollback(struct store *s);
