/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/permissions.h"

#include <string.h>
#include "base/alloc.h"
#include "base/str.h"

/* What a privilege is needed on. */
enum place { GUESTS, NODE, STORAGE, TEMPLATES, BACKUPS, NETWORK, CLUSTER, HA, PLACES };

/* Roles of ours: the nearer entry of an access list replaces those from above, so that the one we name has to have all
 * that is needed there. Proxmox VE's own roles have more than that, or less. */
static const char *const roles[PLACES] = {
        [GUESTS] = "LXCRI-Guests",     [NODE] = "LXCRI-Node",       [STORAGE] = "LXCRI-Storage",
        [TEMPLATES] = "LXCRI-Storage", [BACKUPS] = "LXCRI-Storage", [NETWORK] = "LXCRI-Network",
        [CLUSTER] = "LXCRI-Cluster",   [HA] = "LXCRI-HA",
};

static const struct {
        enum place place;
        const char *privilege, *why;
        bool for_operations; /* pods do without */
} needs[] = {
        { GUESTS, "VM.Allocate", "make and remove containers" },
        { GUESTS, "VM.Audit", "see containers" },
        { GUESTS, "VM.PowerMgmt", "start and stop containers" },
        { GUESTS, "VM.Config.Options", "set names, tags and descriptions" },
        { GUESTS, "VM.Config.CPU", "set limits of the CPU" },
        { GUESTS, "VM.Config.Memory", "set limits of memory" },
        { GUESTS, "VM.Config.Network", "set networks" },
        { GUESTS, "VM.Config.Disk", "make volumes" },
        { GUESTS, "VM.Snapshot", "make snapshots and roll back", true },
        { GUESTS, "VM.Clone", "clone", true },
        { GUESTS, "VM.Migrate", "migrate", true },
        { GUESTS, "VM.Backup", "back up and restore", true },
        { NODE, "Sys.Audit", "see the node's state, and tasks" },
        { STORAGE, "Datastore.AllocateSpace", "make volumes" },
        { STORAGE, "Datastore.Audit", "see the storage" },
        { TEMPLATES, "Datastore.AllocateTemplate", "upload the template" },
        { TEMPLATES, "Datastore.Audit", "see which templates there are" },
        { BACKUPS, "Datastore.AllocateSpace", "write backups", true },
        { NETWORK, "SDN.Use", "attach containers to it" },
        { CLUSTER, "Sys.Audit", "see the cluster's firewall and its IP sets" },
        { CLUSTER, "Sys.Modify", "make IP sets of namespaces (isolate-namespaces)" },
        { HA, "Sys.Console", "manage high availability", true },
};

/* The path of @place; NULL when it is not used. Caller frees. */
static char *path_of(const struct pve_places *at, enum place place) {
        switch (place) {
        case GUESTS:
                return at->pool ? xprintf("/pool/%s", at->pool) : xstrdup("/vms");
        case NODE:
                return at->node ? xprintf("/nodes/%s", at->node) : NULL;
        case STORAGE:
                return at->storage ? xprintf("/storage/%s", at->storage) : NULL;
        case TEMPLATES:
                return at->template_storage ? xprintf("/storage/%s", at->template_storage) : NULL;
        case BACKUPS:
                return at->backup_storage ? xprintf("/storage/%s", at->backup_storage) : NULL;
        case NETWORK:
                return at->bridge ? xprintf("/sdn/zones/%s/%s", at->zone ?: "localnetwork", at->bridge) : NULL;
        case CLUSTER:
                return at->isolate ? xstrdup("/") : NULL;
        case HA:
                return at->ha ? xstrdup("/") : NULL;
        default:
                return NULL;
        }
}

/* "A,B,C": all that a role of ours has. */
static void list_privileges(const char *role, struct strbuf *to) {
        for (size_t i = 0; i < ELEMENTSOF(needs); i++) {
                bool twice = false;

                for (size_t k = 0; k < i; k++)
                        twice |= str_eq(roles[needs[k].place], role) && str_eq(needs[k].privilege, needs[i].privilege);
                if (str_eq(roles[needs[i].place], role) && !twice)
                        strbuf_printf(to, "%s%s", to->len > 0 ? "," : "", needs[i].privilege);
        }
}

/* A token has what both it and its user have. */
static char *command_for(const struct pve *p, const char *path, const char *role) {
        const char *who = pve_identity(p), *token = strchr(who, '!');
        _cleanup_strbuf_ struct strbuf privileges = STRBUF(2000), command = STRBUF(8000);

        list_privileges(role, &privileges);
        strbuf_printf(&command,
                      "pveum role add %s --privs %s || pveum role modify %s --privs %s && "
                      "pveum acl modify %s --roles %s --users %.*s",
                      role, privileges.data, role, privileges.data, path, role, (int) strcspn(who, "!"), who);
        if (token)
                strbuf_printf(&command, " --tokens '%s'", who);
        return strbuf_take(&command);
}

static void add(struct pve_missing_list *l, const struct pve *p, const char *path, size_t need) {
        l->list = xrealloc(l->list, l->n + 1, sizeof(*l->list));
        l->list[l->n++] = (struct pve_missing){ .path = xstrdup(path),
                                                .privilege = needs[need].privilege,
                                                .why = needs[need].why,
                                                .for_operations = needs[need].for_operations,
                                                .command = command_for(p, path, roles[needs[need].place]) };
}

/* Those of @place. What is granted without passing on is of no use for the containers below. */
static int check_place(struct pve *p, enum place place, const char *path, const struct pve_until *until,
                       struct pve_missing_list *ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_request req = { .path = "/access/permissions", .params = &params, .until = until };
        _cleanup_(json_unrefp) json_t *answer = NULL;
        const json_t *granted;
        int r;

        pve_param(&params, "path", path);
        r = pve_call(p, &req, &answer, err);
        if (r < 0)
                return err_wrap(err, "see what %s may do on %s", pve_identity(p), path);
        granted = json_object_get(json_object_get(answer, "data"), path);
        for (size_t i = 0; i < ELEMENTSOF(needs); i++) {
                const json_t *g = json_object_get(granted, needs[i].privilege);

                if (needs[i].place == place && (place == GUESTS ? !pve_json_true(granted, needs[i].privilege) : !g))
                        add(ret, p, path, i);
        }
        return 0;
}

int pve_check_permissions(struct pve *p, const struct pve_version *version, const struct pve_places *places,
                          const struct pve_until *until, struct pve_missing_list *ret, struct err *err) {
        int r = 0;

        *ret = (struct pve_missing_list){ 0 };
        for (enum place place = 0; place < PLACES && r == 0; place++) {
                _cleanup_(freep) char *path = path_of(places, place);

                /* Before 8 anybody could use any bridge. */
                if (path && (place != NETWORK || version->major >= 8))
                        r = check_place(p, place, path, until, ret, err);
        }
        return r;
}

void pve_missing_done(struct pve_missing_list *l) {
        for (size_t i = 0; i < l->n; i++) {
                free(l->list[i].path);
                free(l->list[i].command);
        }
        free(l->list);
        *l = (struct pve_missing_list){ 0 };
}
