/* SPDX-License-Identifier: Apache-2.0 */
/* upid - the name of a task: UPID:node:pid:pstart:starttime:type:id:user: */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { UPID_MAX = 400 };

struct upid {
        char node[64];
        uint64_t pid, pstart, starttime;   /* starttime: seconds since 1970, by the node's clock */
        char type[64], id[128], user[200]; /* id may be empty; user "root@pam", "cri@pve!token" */
};

/* Strict: what is no UPID, or could not stand in a URL's path, is false. */
bool upid_parse(const char *text, struct upid *ret);
