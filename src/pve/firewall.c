/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/firewall.h"

#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/ct.h"
#include "pve/operation.h"

/* Caller frees. */
static int path_of(const struct pve_firewall *of, const char *below, char **ret, struct err *err) {
        if (str_empty(below) || below[0] == '/' || strstr(below, ".."))
                return err_set(err, ERR_INVALID, "\"%.100s\" is no part of a firewall", below ?: "");
        if (of->vmid == 0) {
                *ret = xprintf("/cluster/firewall/%s", below);
                return 0;
        }
        if (of->vmid < PVE_VMID_MIN || of->vmid > PVE_VMID_MAX)
                return err_set(err, ERR_INVALID, "%u is not the number of a container", of->vmid);
        if (str_empty(of->node) || strchr(of->node, '/'))
                return err_set(err, ERR_INVALID, "\"%.100s\" is not the name of a node", of->node ?: "");
        *ret = xprintf("/nodes/%s/lxc/%u/firewall/%s", of->node, of->vmid, below);
        return 0;
}

int pve_firewall_get(struct pve *p, const struct pve_firewall *of, const char *path, const struct pve_until *until,
                     json_t **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *answer = NULL;
        _cleanup_(freep) char *full = NULL;
        struct pve_request req = { .until = until };
        json_t *data;
        int r = path_of(of, path, &full, err);

        if (r < 0)
                return r;
        req.path = full;
        r = pve_call(p, &req, &answer, err);
        if (r < 0)
                return r;
        data = json_object_get(answer, "data");
        if (!json_is_object(data) && !json_is_array(data))
                return pve_raise(err, PVE_FOREIGN, "GET %s: the answer is neither an object nor a list", full);
        *ret = json_incref(data);
        return 0;
}

int pve_firewall_change(struct pve *p, const struct pve_firewall *of, const struct pve_firewall_change *change,
                        struct err *err) {
        _cleanup_(freep) char *full = NULL;
        struct pve_operation op = { .method = change->method,
                                    .params = change->params,
                                    .node = of->vmid ? of->node : NULL,
                                    .repeatable = change->repeatable,
                                    .until = change->until };
        int r = path_of(of, change->path, &full, err);

        if (r < 0)
                return r;
        op.path = full;
        return pve_operate(p, &op, NULL, err);
}
