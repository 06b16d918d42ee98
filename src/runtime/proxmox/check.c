/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proxmox/check.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "pve/firewall.h"
#include "pve/permissions.h"
#include "runtime/proxmox/claim.h"
#include "runtime/proxmox/cts.h"

enum { TEXT_MAX = 2048, SUBIDS_MAX = 1 << 20 };

struct check {
        struct cts *c;
        const struct pve_until *until;
        const struct check_sink *to;
};

_printf_(5, 6) static void tell(const struct check *k, enum check_level level, const char *name, const char *advice,
                                const char *fmt, ...) {
        char text[TEXT_MAX];
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        k->to->found(level, name, text, level == CHECK_OK ? NULL : advice, k->to->userdata);
}

/* --- the cluster ---------------------------------------------------------------------------------------------------
 */

static bool check_version(const struct check *k, struct pve_version *ret) {
        struct err err;

        if (pve_get_version(k->c->args.pve, k->until, ret, &err) < 0) {
                tell(k, CHECK_FAIL, "Proxmox VE",
                     "pods with a handler of the engine proxmox can't run until it answers; see hosts, token-id and "
                     "ca-file of the key proxmox in the configuration",
                     "%s", err.msg);
                return false;
        }
        tell(k, CHECK_OK, "Proxmox VE", NULL, "%u.%u, as %s", ret->major, ret->minor, pve_identity(k->c->args.pve));
        return true;
}

static void check_node(const struct check *k) {
        _cleanup_strbuf_ struct strbuf names = STRBUF(512);
        _cleanup_(json_unrefp) json_t *answer = NULL;
        const char *ours = k->c->args.node;
        const json_t *entry;
        struct err err;
        size_t i;

        if (pve_list_nodes(k->c->args.pve, k->until, &answer, &err) < 0) {
                tell(k, CHECK_FAIL, "node", "see the message", "%s", err.msg);
                return;
        }
        json_array_foreach(json_object_get(answer, "data"), i, entry) {
                const char *name = pve_json_str(entry, "node"), *status = pve_json_str(entry, "status");

                if (str_eq(name, ours) && str_eq(status, "online")) {
                        tell(k, CHECK_OK, "node", NULL, "%s is online", ours);
                        return;
                }
                if (str_eq(name, ours)) {
                        tell(k, CHECK_FAIL, "node", "look at the cluster: pvecm status", "%s is %s", ours,
                             status ?: "in an unknown state");
                        return;
                }
                strbuf_printf(&names, "%s%s", names.len > 0 ? ", " : "", name ?: "?");
        }
        tell(k, CHECK_FAIL, "node", "set proxmox.node to the one of them that this host is",
             "there is no node %s; there are: %s", ours, strbuf_str(&names));
}

/* "images,rootdir" */
static bool has_content(const char *list, const char *kind) {
        size_t n = strlen(kind);

        for (const char *s = list ?: ""; *s; s += strcspn(s, ","), s += strspn(s, ","))
                if (strcspn(s, ",") == n && memcmp(s, kind, n) == 0)
                        return true;
        return false;
}

static void check_storage(const struct check *k, const char *name, const char *storage, const char *kind) {
        _cleanup_(json_unrefp) json_t *answer = NULL;
        const struct pve_storage at = { k->c->args.node, storage };
        _cleanup_(freep) char *advice = NULL;
        char space[32] = "unknown";
        const json_t *status;
        uint64_t avail;
        struct err err;

        if (pve_storage_status(k->c->args.pve, &at, k->until, &answer, &err) < 0) {
                tell(k, CHECK_FAIL, name,
                     "pvesm status lists the storages of a node; proxmox.storage and "
                     "proxmox.template-storage name ours",
                     "%s", err.msg);
                return;
        }
        status = json_object_get(answer, "data");
        if (!pve_json_true(status, "enabled") || !pve_json_true(status, "active")) {
                tell(k, CHECK_FAIL, name, "pvesm status says why", "%s is not active on node %s", storage, at.node);
                return;
        }
        if (!has_content(pve_json_str(status, "content"), kind)) {
                advice = xprintf("pvesm set %s --content %s,%s", storage, pve_json_str(status, "content") ?: "", kind);
                tell(k, CHECK_FAIL, name, advice, "%s does not take %s, only %s", storage, kind,
                     pve_json_str(status, "content") ?: "nothing");
                return;
        }
        if (pve_json_u64(status, "avail", &avail))
                str_from_bytes(avail, space, sizeof(space));
        tell(k, CHECK_OK, name, NULL, "%s (%s), %s free", storage, pve_json_str(status, "type") ?: "?", space);
}

/* --- networks of Proxmox' own ----------------------------------------------------------------------------------- */

/* The entry of list @path whose @key is @value; NULL: there is none. @ret_owner keeps it. */
static const json_t *find_in(const struct check *k, const char *path, const char *key, const char *value,
                             json_t **ret_owner, struct err *err) {
        const struct pve_request req = { .path = path, .until = k->until };
        const json_t *entry;
        size_t i;

        *ret_owner = NULL;
        if (pve_call(k->c->args.pve, &req, ret_owner, err) < 0)
                return NULL;
        json_array_foreach(json_object_get(*ret_owner, "data"), i, entry) {
                if (str_eq(pve_json_str(entry, key), value))
                        return entry;
        }
        return NULL;
}

/* The zone of the vnet that pods are attached to, the caller frees it; NULL: they are on a plain bridge. */
static char *check_network(const struct check *k, const struct pve_version *version) {
        const struct ct_network_conf *conf = cts_network(k->c);
        _cleanup_(freep) char *path = xprintf("/nodes/%s/network", k->c->args.node);
        _cleanup_(json_unrefp) json_t *vnets = NULL, *bridges = NULL;
        const json_t *vnet;
        struct err err;

        if (!pve_has(version, PVE_FEATURE_HOST_MANAGED)) {
                tell(k, CHECK_FAIL, "network", "upgrade it, or leave proxmox.network out: then CNI gives addresses",
                     "Proxmox VE %u.%u can't set addresses of containers itself (host-managed, from 9.1 on)",
                     version->major, version->minor);
                return NULL;
        }
        vnet = find_in(k, "/cluster/sdn/vnets", "vnet", conf->bridge, &vnets, &err);
        if (vnet) {
                const char *zone = pve_json_str(vnet, "zone") ?: "";

                tell(k, CHECK_OK, "network", NULL, "vnet %s of zone %s", conf->bridge, zone);
                return xstrdup(zone);
        }
        if (find_in(k, path, "iface", conf->bridge, &bridges, &err))
                tell(k, CHECK_OK, "network", NULL, "bridge %s", conf->bridge);
        else if (!bridges)
                tell(k, CHECK_FAIL, "network", "see the message", "%s", err.msg);
        else
                tell(k, CHECK_FAIL, "network",
                     "set proxmox.network.bridge to a bridge or vnet of the node's; a vnet is only seen with SDN.Audit",
                     "there is no bridge or vnet %s that we may see", conf->bridge);
        return NULL;
}

static void check_isolation(const struct check *k) {
        _cleanup_(json_unrefp) json_t *options = NULL;
        struct err err;

        if (pve_firewall_get(k->c->args.pve, &(struct pve_firewall){ 0 }, "options", k->until, &options, &err) < 0)
                tell(k, CHECK_FAIL, "firewall", "see the message", "%s", err.msg);
        else if (!pve_json_true(options, "enable"))
                tell(k, CHECK_FAIL, "firewall",
                     "see that its rules let you in, then: pvesh set /cluster/firewall/options --enable 1",
                     "the cluster's is off, so that pods can't be isolated (proxmox.network.isolate-namespaces)");
        else
                tell(k, CHECK_OK, "firewall", NULL, "the cluster's is on");
}

/* --- what we may ----------------------------------------------------------------------------------------------------
 */

static void check_permissions(const struct check *k, const struct pve_version *version, const char *zone) {
        const struct cts_args *args = &k->c->args;
        const struct pve_places places = { .node = args->node,
                                           .pool = args->pool,
                                           .storage = args->storage,
                                           .template_storage = args->template_storage,
                                           .zone = zone,
                                           .bridge = cts_have_networks(k->c) ? cts_network(k->c)->bridge : NULL,
                                           .isolate = cts_have_networks(k->c) && cts_network(k->c)->isolate,
                                           .ha = true };
        struct pve_missing_list missing;
        struct err err;

        if (pve_check_permissions(args->pve, version, &places, k->until, &missing, &err) < 0)
                tell(k, CHECK_FAIL, "permissions", "see the message", "%s", err.msg);
        else if (missing.n == 0)
                tell(k, CHECK_OK, "permissions", NULL, "%s has all that is needed", pve_identity(args->pve));
        for (size_t i = 0; i < missing.n; i++) {
                const struct pve_missing *m = &missing.list[i];

                tell(k, m->for_operations ? CHECK_WARN : CHECK_FAIL, m->privilege, m->command,
                     "%s lacks it on %s, to %s", pve_identity(args->pve), m->path, m->why);
        }
        pve_missing_done(&missing);
}

/* Others' containers among our numbers do no harm, but whoever makes more of them may be refused. */
static void check_numbers(const struct check *k) {
        const struct cts_args *args = &k->c->args;
        _cleanup_(pve_ct_list_done) struct pve_ct_list cts = { 0 };
        unsigned ours = 0, foreign = 0, a_foreign_one = 0, all = args->vmid_last - args->vmid_first + 1;
        struct err err;

        if (pve_ct_list(args->pve, k->until, &cts, &err) < 0) {
                tell(k, CHECK_FAIL, "numbers", "see the message", "%s", err.msg);
                return;
        }
        for (size_t i = 0; i < cts.n; i++) {
                unsigned vmid = cts.entries[i].ct.vmid;

                if (vmid < args->vmid_first || vmid > args->vmid_last)
                        continue;
                if (claim_has_tag(cts.entries[i].status.tags)) {
                        ours++;
                } else {
                        foreign++;
                        a_foreign_one = vmid;
                }
        }
        if (foreign > 0)
                tell(k, CHECK_WARN, "numbers",
                     "give pods a range that nobody else uses (proxmox.vmid-range), and keep others out of it "
                     "(Datacenter, Options, Next Free VMID Range)",
                     "%u of %u to %u are others', %u among them", foreign, args->vmid_first, args->vmid_last,
                     a_foreign_one);
        else
                tell(k, ours < all ? CHECK_OK : CHECK_FAIL, "numbers", "a larger proxmox.vmid-range",
                     "%u of %u from %u to %u are in use", ours, all, args->vmid_first, args->vmid_last);
}

/* --- this host ------------------------------------------------------------------------------------------------------
 */

static bool grants_range(const char *line) {
        const char *first = str_after(line, "root:"), *count;
        char *end;
        unsigned long from, n;

        if (!first)
                return false;
        from = strtoul(first, &end, 10);
        if (end == first || *end != ':')
                return false;
        count = end + 1;
        n = strtoul(count, &end, 10);
        return end > count && (*end == '\n' || *end == '\0') && from <= ct_id_range.outside &&
               n >= ct_id_range.outside - from + ct_id_range.length;
}

bool ct_ids_granted(const char *subids) {
        for (const char *line = subids; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
                if (grants_range(line))
                        return true;
        return false;
}

static void check_ids(const struct check *k, const char *file) {
        _cleanup_(freep) char *text = NULL;
        struct err err;

        if (fs_read_file(AT_FDCWD, file, SUBIDS_MAX, &text, NULL, &err) < 0) {
                tell(k, CHECK_FAIL, file, "Proxmox ships it with root:100000:65536", "%s", err.msg);
                return;
        }
        if (ct_ids_granted(text)) {
                tell(k, CHECK_OK, file, NULL, "has the ids of unprivileged containers");
                return;
        }
        tell(k, CHECK_FAIL, file, "add the line root:100000:65536, as Proxmox ships it",
             "root may not use ids 100000 to 165535, which Proxmox gives to unprivileged containers");
}

void cts_check(struct cts *c, const struct ct_until *until, const struct check_sink *to) {
        const struct pve_until pve_until = cts_until(c, until);
        const struct check k = { c, &pve_until, to };
        _cleanup_(freep) char *zone = NULL;
        struct pve_version version;

        check_ids(&k, "/etc/subuid");
        check_ids(&k, "/etc/subgid");
        if (!check_version(&k, &version))
                return;
        check_node(&k);
        check_storage(&k, "storage", c->args.storage, "rootdir");
        check_storage(&k, "template storage", c->args.template_storage, "vztmpl");
        if (cts_have_networks(c))
                zone = check_network(&k, &version);
        if (c->args.network.isolate)
                check_isolation(&k);
        check_permissions(&k, &version, zone);
        check_numbers(&k);
}
