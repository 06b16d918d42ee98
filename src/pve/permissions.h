/* SPDX-License-Identifier: Apache-2.0 */
/* permissions - what we must be allowed to do, compared with what we are, and the commands that make up for it. */
#pragma once
#include "pve/cluster.h"

/* Where containers are made. NULL: not used. */
struct pve_places {
        const char *node;
        const char *pool;             /* containers are put in; privileges on it are enough then */
        const char *storage;          /* for their volumes */
        const char *template_storage; /* for our template */
        const char *backup_storage;
        const char *zone;   /* of @bridge; NULL: a plain bridge of the node's */
        const char *bridge; /* or a vnet */
        bool isolate;       /* IP sets of the cluster are made */
        bool ha;            /* resources and rules of high availability */
};

struct pve_missing {
        char *path;
        const char *privilege, *why; /* "VM.Allocate", "make and remove containers" */
        bool for_operations;         /* only snapshots, backups and the like need it; pods do without */
        char *command; /* a line of shell, for root on a node; those of one path are the same, and grant all of it */
};
struct pve_missing_list {
        struct pve_missing *list;
        size_t n;
};

/* @ret: what is missing; pve_missing_done() it in any case. */
_must_use_ int pve_check_permissions(struct pve *p, const struct pve_version *version, const struct pve_places *places,
                                     const struct pve_until *until, struct pve_missing_list *ret, struct err *err);
void pve_missing_done(struct pve_missing_list *l);
