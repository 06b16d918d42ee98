/* SPDX-License-Identifier: Apache-2.0 */
/* pve - a client of the Proxmox VE API, versions 7 to 9: for worker threads, calls block. struct pve is thread-safe.
 *
 * Every host of a cluster takes every request: one that does not answer is passed over for the next. A request that
 * changes something is sent again only when the first one can't have arrived, otherwise the error's kind is PVE_LOST
 * and the caller finds out (operation.h does it for what makes tasks). Certificates are always checked. Secrets are in
 * no message, log, process list or core dump. */
#pragma once
#include "http/client.h"
#include "pve/error.h"
#include "pve/json.h"
#include "pve/params.h"

struct pve;

struct pve_args {
        const char *const *hosts;        /* "host", "host:8006"; of one cluster; NULL-terminated */
        const char *ca_file;             /* trusted as well as the system's; NULL: only those */
        const char *const *fingerprints; /* instead: SHA-256 of the hosts' certificates; NULL-terminated, or NULL */
        const char *token_id;            /* "user@realm!name", and the file with its secret; */
        const char *token_file;
        const char *user; /* or "user@realm", and the file with the password */
        const char *password_file;
        unsigned ticket_s; /* how old a ticket gets before it is renewed. 0: 90 minutes, of two hours */
        /* Operations under way in each line of a node, and of a storage, at a time (operation.h). 0: 8 and 4. */
        unsigned node_operations, storage_operations;
};

/* Asks nobody yet. ERR_INVALID, and what secret_read() and http_new() raise. */
_must_use_ int pve_new(const struct pve_args *args, struct pve **ret, struct err *err);
struct pve *pve_free(struct pve *p); /* no call may be under way */
DEFINE_CLEANUP(struct pve *, pve_free)

/* Until when to try. Calls end with ERR_CANCELLED or ERR_DEADLINE then. */
struct pve_until {
        int cancel_fd;        /* readable: stop; -1: none */
        uint64_t deadline_ns; /* CLOCK_MONOTONIC; UINT64_MAX: none */
};

/* Is told the lines of a task's log while the task is waited for: in order, by the thread that waits. Control bytes are
 * blanks, a line is cut at PVE_LINE_MAX bytes, and past PVE_LINES_MAX of a task there are no more. */
enum { PVE_LINE_MAX = 1000, PVE_LINES_MAX = 20000 };
struct pve_progress {
        void (*line)(const char *text, void *userdata);
        void *userdata;
};

struct pve_request {
        const char *method;              /* NULL: GET; POST, PUT, DELETE */
        const char *path;                /* "/nodes/pve1/lxc"; what a URL can't hold is encoded here */
        const struct pve_params *params; /* NULL: none */
        const struct http_part *parts;   /* a file to upload, instead of @params; NULL: none */
        bool repeatable;                 /* GET is; this one may arrive twice, too */
        unsigned timeout_ms; /* what one host gets to answer; 0: 35 s (pveproxy gives up after 30), an upload 1 h */
        const struct pve_until *until;
};

/* One request. @ret: the answer, an object with "data"; json_unref() it. Errors have a kind (error.h) and name request,
 * host, reason and what to do. */
_must_use_ int pve_call(struct pve *p, const struct pve_request *req, json_t **ret, struct err *err);
/* Who we are: "user@realm" or "user@realm!token". */
const char *pve_identity(const struct pve *p);
