/* SPDX-License-Identifier: Apache-2.0 */
/* call - an operation under way, and what the files with operations share. Private to rest/. */
#pragma once
#include "base/arena.h"
#include "base/json.h"
#include "pve/ct.h"
#include "rest/operations.h"
#include "rest/rest.h"
#include "runtime/proxmox/owned.h"

struct http_call;
struct http_server;

struct rest {
        struct rest_args args;
        int stop_fd; /* eventfd: readable when operations are to end */
        struct http_server *server;
};

struct rest_call {
        const struct rest_args *rest;
        struct pve *pve;
        struct rest_values values;
        struct arena *arena; /* its own */
        struct pve_until until;
        struct pve_progress progress; /* lines go to the client */
        unsigned warnings;            /* of all its tasks */

        /* answer.c's */
        struct http_call *http;
        bool begun;
        uint64_t left_out;
};

/* @ret: what the client gets; NULL: nothing to say. */
typedef int rest_function(struct rest_call *c, json_t **ret, struct err *err);
#define X(id, function, ...) rest_function function;
REST_OPERATIONS(X)
#undef X

/* A line of progress. */
_printf_(2, 3) void rest_tell(struct rest_call *c, const char *fmt, ...);

/* --- find.c: whom it is about --------------------------------------------------------------------------------------
 */

/* The container of the pod that "pod" names: ours, wherever it is. ERR_NOT_FOUND, ERR_INVALID when several match,
 * ERR_PRECONDITION when it has none or it is not ours. */
_must_use_ int rest_target(struct rest_call *c, struct owned *ret, struct err *err);
_must_use_ int rest_find(struct rest_call *c, const char *what, struct owned *ret, struct err *err);
/* "namespace/name" of the pod, or "" for one that is not known here (any more); of the arena. */
const char *rest_pod_name(struct rest_call *c, const char *pod_id);

/* --- call.c: requests to Proxmox -----------------------------------------------------------------------------------
 */

struct rest_do {
        enum pve_ct_action action;
        const struct pve_params *params;
        const char *item, *storage;
};
_must_use_ int rest_ct_do(struct rest_call *c, const struct owned *t, const struct rest_do *what, struct err *err);
/* pause.c: a pod that goes on after its container was stopped, for those whose writable layers are on that. */
bool rest_can_pause(struct rest_call *c, const struct owned *t);
/* @act is to stop it; it is started after. See pod/ct-restart.h. */
_must_use_ int rest_pause(struct rest_call *c, const struct owned *t, int (*act)(void *userdata, struct err *err),
                          void *userdata, struct err *err);
/* What an operation of pve_ct_create() and others is given, with progress and patience of this call. */
struct pve_ct_args rest_ct_args(struct rest_call *c, const struct pve_params *params, const char *storage);
/* GET of a path; @ret: its "data", of type @type; json_unref() it. */
_must_use_ _printf_(5, 6) int rest_read(struct rest_call *c, json_type type, json_t **ret, struct err *err,
                                        const char *path, ...);
/* Changes what makes no task. @repeatable: twice is as once. */
_must_use_ _printf_(6, 7) int rest_change(struct rest_call *c, const char *method, const struct pve_params *params,
                                          bool repeatable, struct err *err, const char *path, ...);
/* Adds the argument @name as @key, if it was said. */
void rest_param(struct rest_call *c, struct pve_params *to, const char *name, const char *key);
/* A member of an object that is being made. */
void rest_put(json_t *o, const char *key, const char *text);
/* @text as JSON, whatever bytes it has. */
json_t *rest_text(const char *text);
