/* SPDX-License-Identifier: Apache-2.0 */
/* users - who the process is: PLAN_USER looked up in the container's /etc/passwd and /etc/group, which are hostile
 * input. The parser takes bytes piece by piece and does no I/O; lines that are too long or not well-formed are skipped,
 * as libc does. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "init/plan.h"

enum { USERS_MAX_NAME = 256, USERS_MAX_HOME = 1024, USERS_MAX_LINE = 65536, USERS_MAX_FILE = 32 << 20 };

struct users_result {
        uint32_t uid, gid;
        size_t n_groups;
        uint32_t groups[PLAN_MAX_GROUPS]; /* sorted, each once, gid among them (of a resolved user: as given) */
        char home[USERS_MAX_HOME];        /* "" when there is no entry */
};

/* Carry out PLAN_USER. */
int users_resolve(int root_fd, const struct plan_record *rec, struct users_result *ret, struct plan_error *e);

struct users_passwd {
        bool found;
        uint32_t uid, gid;
        char name[USERS_MAX_NAME], home[USERS_MAX_HOME];
};

struct users_scan {
        /* Of /etc/passwd: the first entry of this name (NULL: of this uid) goes to @passwd. */
        struct users_passwd *passwd;
        const char *name;
        uint32_t uid;
        /* Of /etc/group: the gid of @group (NULL: none wanted), and all gids that have @member (NULL: none wanted) as
         * member. */
        const char *group, *member;
        bool group_found;
        uint32_t group_gid;
        uint32_t *gids; /* PLAN_MAX_GROUPS of them */
        size_t n_gids;
        bool too_many;
        /* private */
        size_t len;
        bool skip;
        char line[USERS_MAX_LINE];
};

/* Feed the file's bytes, then end it. Set the fields above first; the rest is 0. */
void users_scan_feed(struct users_scan *s, const char *bytes, size_t n);
void users_scan_end(struct users_scan *s);

/* Decimal, whole string, below (uint32_t) -1. */
bool users_number(const char *s, uint32_t *ret);
