/* SPDX-License-Identifier: Apache-2.0 */
/* find - from what people call a pod to its container. */
#include "base/str.h"
#include "pod/ct-list.h"
#include "pod/pod.h"
#include "rest/call.h"

enum { VMID_DIGITS_MAX = 9 };

static bool is_vmid(const char *what) {
        size_t n = strspn(what, "0123456789");

        return n > 0 && n <= VMID_DIGITS_MAX && !what[n];
}

/* "namespace/name", "name", or how its id begins. */
static bool matches(struct rest_call *c, const struct pod_in_ct *p, const char *what) {
        return str_eq(p->name, what) || str_after(p->id, what) ||
               str_eq(arena_printf(c->arena, "%s/%s", p->pod_namespace, p->name), what);
}

/* Of several the one that is ready: those that ended keep their names until the kubelet removes them. */
static int find_pod(struct rest_call *c, const char *what, const struct pod_in_ct **ret, struct err *err) {
        const struct pod_in_ct *found = NULL;
        unsigned n = 0, n_ready = 0;
        struct pod_in_ct *list;
        size_t n_list;

        pods_list_cts(c->rest->pods, c->arena, &list, &n_list);
        for (size_t i = 0; i < n_list; i++) {
                if (!matches(c, &list[i], what))
                        continue;
                n++;
                n_ready += list[i].ready;
                if (!found || (list[i].ready && !found->ready))
                        found = &list[i];
        }
        if (!found)
                return err_set(
                        err, ERR_NOT_FOUND,
                        "no pod \"%.100s\" is in a Proxmox container of this node; \"proxmox-lxcri proxmox ls\" lists "
                        "them",
                        what);
        if (n > 1 && n_ready != 1)
                return err_set(err, ERR_INVALID, "%u pods are called \"%.100s\": give an id, or namespace/name", n,
                               what);
        *ret = found;
        return 0;
}

int rest_find(struct rest_call *c, const char *what, struct owned *ret, struct err *err) {
        const struct pod_in_ct *pod = NULL;
        uint64_t vmid = 0;
        int r;

        if (!is_vmid(what) || !str_to_u64(what, &vmid)) {
                r = find_pod(c, what, &pod, err);
                if (r < 0)
                        return r;
                vmid = pod->vmid;
        }
        if (pod && vmid == 0)
                return err_set(err, ERR_PRECONDITION,
                               "pod %s/%s has no container, or something is being done to it right now",
                               pod->pod_namespace, pod->name);
        r = owned_find(c->pve, c->rest->node, (unsigned) vmid, &c->until, ret, err);
        if (r == 0 && pod && !str_eq(ret->claim.pod_id, pod->id))
                return err_set(err, ERR_PRECONDITION, "container %u is another pod's now", ret->vmid);
        return r;
}

int rest_target(struct rest_call *c, struct owned *ret, struct err *err) {
        return rest_find(c, rest_get(&c->values, "pod"), ret, err);
}

const char *rest_pod_name(struct rest_call *c, const char *pod_id) {
        struct pod_in_ct *list;
        size_t n;

        pods_list_cts(c->rest->pods, c->arena, &list, &n);
        for (size_t i = 0; i < n; i++)
                if (str_eq(list[i].id, pod_id))
                        return arena_printf(c->arena, "%s/%s", list[i].pod_namespace, list[i].name);
        return "";
}
