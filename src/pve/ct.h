/* SPDX-License-Identifier: Apache-2.0 */
/* ct - what can be done with containers of Proxmox VE. Operations are run to their end as operation.h says; their
 * parameters are the API's own, made with params.h. */
#pragma once
#include "pve/pve.h"

struct pve_ct {
        const char *node;
        unsigned vmid;
};

enum { PVE_VMID_MIN = 100, PVE_VMID_MAX = 999999999 };

/* X(action, method, path below /nodes/N/lxc/ID, type of task or NULL, line, what a second one is refused with or NONE)
 * "*" in a path is the item: a snapshot. */
#define PVE_CT_ACTIONS(X)                                                                                              \
        X(START, "POST", "/status/start", "vzstart", SHORT, ALREADY_RUNNING)                                           \
        X(STOP, "POST", "/status/stop", "vzstop", SHORT, NOT_RUNNING)                                                  \
        X(SHUTDOWN, "POST", "/status/shutdown", "vzshutdown", NONE, NOT_RUNNING)                                       \
        X(REBOOT, "POST", "/status/reboot", "vzreboot", NONE, NONE)                                                    \
        X(DELETE, "DELETE", "", "vzdestroy", SHORT, MISSING)                                                           \
        X(SNAPSHOT, "POST", "/snapshot", "vzsnapshot", SHORT, NONE)                                                    \
        X(SNAPSHOT_ROLLBACK, "POST", "/snapshot/*/rollback", "vzrollback", SHORT, NONE)                                \
        X(SNAPSHOT_DELETE, "DELETE", "/snapshot/*", "vzdelsnapshot", SHORT, NO_SNAPSHOT)                               \
        X(CLONE, "POST", "/clone", "vzclone", LONG, NONE)                                                              \
        X(MIGRATE, "POST", "/migrate", "vzmigrate", LONG, NONE)                                                        \
        X(MOVE_VOLUME, "POST", "/move_volume", "move_volume", LONG, NONE)                                              \
        X(RESIZE, "PUT", "/resize", "resize", SHORT, NONE)                                                             \
        X(TEMPLATE, "POST", "/template", NULL, SHORT, NONE)

enum pve_ct_action {
#define PVE_CT_ACTION(action, ...) PVE_CT_##action,
        PVE_CT_ACTIONS(PVE_CT_ACTION)
#undef PVE_CT_ACTION
};

struct pve_ct_args {
        const struct pve_params *params; /* NULL: none */
        const char *item;                /* for paths that have one */
        const char *storage;             /* that it works on; NULL: none in particular */
        const struct pve_until *until;
        const struct pve_progress *progress; /* NULL: nobody asks */
        unsigned lock_wait_ms;               /* as in operation.h */
};

_must_use_ int pve_ct_do(struct pve *p, const struct pve_ct *ct, enum pve_ct_action action,
                         const struct pve_ct_args *args, unsigned *ret_warnings, struct err *err);

/* A new one; @args->params without vmid. Also a restore (restore=1). That the task ended well does not mean that it
 * runs (start=1): look. PVE_EXISTS: the number is taken. */
_must_use_ int pve_ct_create(struct pve *p, const struct pve_ct *ct, const struct pve_ct_args *args,
                             unsigned *ret_warnings, struct err *err);
/* Backs it up, by POST /nodes/N/vzdump; @args->params without vmid. */
_must_use_ int pve_ct_backup(struct pve *p, const struct pve_ct *ct, const struct pve_ct_args *args,
                             unsigned *ret_warnings, struct err *err);

/* @ret: an object of its keys, with "digest"; json_unref() it. PVE_MISSING. */
_must_use_ int pve_ct_config(struct pve *p, const struct pve_ct *ct, const struct pve_until *until, json_t **ret,
                             struct err *err);
/* Sets keys, and deletes those that @params names in "delete". With a "digest" among them it is PVE_MODIFIED when
 * somebody was faster. @repeatable: a second time changes nothing more, as is true of all but new volumes
 * ("mp0=local:1"). */
_must_use_ int pve_ct_set(struct pve *p, const struct pve_ct *ct, const struct pve_ct_args *args, bool repeatable,
                          struct err *err);

/* The same by one request with a moment to be answered: it does not stand in line, and waits for nobody's lock. Asked
 * of one that must still be as @params' "digest" says. PVE_LOST: it may have been done. */
_must_use_ int pve_ct_set_now(struct pve *p, const struct pve_ct *ct, const struct pve_ct_args *args, struct err *err);

struct pve_ct_status {
        bool running, managed_by_ha, template;
        uint64_t pid; /* on the node; 0: none */
        uint64_t uptime_s, mem_bytes, max_mem_bytes;
        const char *name, *tags, *lock; /* never NULL; lock: why operations are refused, or empty */
        json_t *owner;                  /* of the strings */
};
/* @ret: pve_ct_status_done() it. PVE_MISSING: not on that node; one that was migrated is in the list of all. */
_must_use_ int pve_ct_status(struct pve *p, const struct pve_ct *ct, const struct pve_until *until,
                             struct pve_ct_status *ret, struct err *err);
void pve_ct_status_done(struct pve_ct_status *s);

struct pve_ct_list {
        struct pve_ct_entry {
                struct pve_ct ct;
                struct pve_ct_status status; /* without pid; not to be done */
        } * entries;
        size_t n;
        json_t *owner; /* of the strings */
};
/* All CTs of the cluster that we may see. @ret: pve_ct_list_done() it. */
_must_use_ int pve_ct_list(struct pve *p, const struct pve_until *until, struct pve_ct_list *ret, struct err *err);
void pve_ct_list_done(struct pve_ct_list *l);
