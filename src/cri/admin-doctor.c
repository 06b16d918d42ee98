/* SPDX-License-Identifier: Apache-2.0 */
/* admin-doctor - CheckProxmox: what only the daemon can find out, since it has the secrets. */
#include "cri/admin.h"

#include "base/alloc.h"
#include "base/str.h"
#include "proto/admin.pb-c.h"
#include "runtime/proxmox/check.h"

enum { FINDINGS_MAX = 256 };

struct findings {
        struct arena *arena;
        Proxmoxlxcri__V1__CheckProxmoxResponse *res;
};

static void add(enum check_level level, const char *name, const char *text, const char *advice, void *userdata) {
        static const Proxmoxlxcri__V1__FindingLevel levels[] = {
                [CHECK_OK] = PROXMOXLXCRI__V1__FINDING_LEVEL__FINDING_OK,
                [CHECK_WARN] = PROXMOXLXCRI__V1__FINDING_LEVEL__FINDING_WARN,
                [CHECK_FAIL] = PROXMOXLXCRI__V1__FINDING_LEVEL__FINDING_FAIL,
        };
        struct findings *f = userdata;
        Proxmoxlxcri__V1__Finding *m;

        if (f->res->n_findings == FINDINGS_MAX)
                return;
        m = arena_new_of(f->arena, Proxmoxlxcri__V1__Finding);
        proxmoxlxcri__v1__finding__init(m);
        m->level = levels[level];
        m->name = arena_strdup(f->arena, name);
        m->found = arena_strdup(f->arena, text);
        m->advice = arena_strdup(f->arena, advice ?: "");
        f->res->findings[f->res->n_findings++] = m;
}

int admin_check_proxmox(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret, void *userdata,
                        struct err *err) {
        struct arena *arena = grpc_call_arena(call);
        Proxmoxlxcri__V1__CheckProxmoxResponse *res = arena_new_of(arena, Proxmoxlxcri__V1__CheckProxmoxResponse);
        const struct pods_ctx ctx = { grpc_call_cancel_fd(call), grpc_call_deadline_ns(call) };
        const struct admin *a = userdata;
        struct findings f = { arena, res };

        (void) request;
        (void) err;
        proxmoxlxcri__v1__check_proxmox_response__init(res);
        res->findings = arena_array(arena, Proxmoxlxcri__V1__Finding *, FINDINGS_MAX);
        res->configured = pods_check_proxmox(a->pods, &ctx, &(struct check_sink){ add, &f });
        *ret = &res->base;
        return 0;
}
