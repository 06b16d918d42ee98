/* SPDX-License-Identifier: Apache-2.0 */
/* client - what is behind struct pve. Private to pve/. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "pve/auth.h"
#include "pve/gate.h"
#include "pve/hosts.h"
#include "pve/pve.h"

enum { PVE_BODY_MAX = 16 << 20, PVE_VALUES_MAX = 1 << 19, PVE_TASKS_SEEN = 256 };

struct pve {
        struct hosts *hosts;
        struct http *http;
        struct auth *auth;
        char *ca_file;
        struct gates *nodes, *storages; /* operations under way at each */
        _Atomic int64_t clock_ahead_s;  /* the cluster's clock, compared with ours */
        pthread_mutex_t seen_lock;
        char *seen[PVE_TASKS_SEEN]; /* a ring: UPIDs of the last tasks that were operations' of ours */
        unsigned n_seen;
};

/* One request with @headers, to the first host that answers; @ret is its answer of whatever status, and
 * @ret_host its name. @ret: http_response_done() it in any case. */
_must_use_ int pve_exchange(struct pve *p, const struct pve_request *req, const struct auth_headers *headers,
                            struct http_response *ret, const char **ret_host, struct err *err);
/* Takes an answer apart: @ret for 2xx, else an error. */
_must_use_ int pve_read_answer(const struct pve_request *req, const char *host, const struct http_response *resp,
                               json_t **ret, struct err *err);
/* Seconds since 1970 by the cluster's clock, as far as its last answer told. */
int64_t pve_server_time_s(const struct pve *p);
