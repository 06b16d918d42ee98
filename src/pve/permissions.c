/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/permissions.h"

#include <string.h>
#include "base/alloc.h"
#include "base/str.h"

/* What a privilege is needed on. */
enum place { GUESTS, NODE, STORAGE, TEMPLATES, BACKUPS, NETWORK, PLACES };

/* The role that Proxmox VE brings along and that has the privilege. */
static const struct {
        enum place place;
        const char *privilege, *role, *why;
} needs[] = {
        { GUESTS, "VM.Allocate", "PVEVMAdmin", "make and remove containers" },
        { GUESTS, "VM.Audit", "PVEVMAdmin", "see containers" },
        { GUESTS, "VM.PowerMgmt", "PVEVMAdmin", "start and stop containers" },
        { GUESTS, "VM.Config.Options", "PVEVMAdmin", "set names, tags and descriptions" },
        { GUESTS, "VM.Config.CPU", "PVEVMAdmin", "set limits of the CPU" },
        { GUESTS, "VM.Config.Memory", "PVEVMAdmin", "set limits of memory" },
        { GUESTS, "VM.Config.Network", "PVEVMAdmin", "set networks" },
        { GUESTS, "VM.Config.Disk", "PVEVMAdmin", "make volumes" },
        { GUESTS, "VM.Snapshot", "PVEVMAdmin", "make snapshots and roll back" },
        { GUESTS, "VM.Clone", "PVEVMAdmin", "clone" },
        { GUESTS, "VM.Migrate", "PVEVMAdmin", "migrate" },
        { GUESTS, "VM.Backup", "PVEVMAdmin", "back up and restore" },
        { NODE, "Sys.Audit", "PVEAuditor", "see the node's state, and tasks" },
        { STORAGE, "Datastore.AllocateSpace", "PVEDatastoreUser", "make volumes" },
        { STORAGE, "Datastore.Audit", "PVEDatastoreUser", "see the storage" },
        { TEMPLATES, "Datastore.AllocateTemplate", "PVEDatastoreAdmin", "upload the template" },
        { TEMPLATES, "Datastore.Audit", "PVEDatastoreUser", "see which templates there are" },
        { BACKUPS, "Datastore.AllocateSpace", "PVEDatastoreUser", "write backups" },
        { NETWORK, "SDN.Use", "PVESDNUser", "attach containers to it" },
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
        default:
                return NULL;
        }
}

/* A token has what both it and its user have. */
static char *command_for(const struct pve *p, const char *path, const char *role) {
        const char *who = pve_identity(p), *token = strchr(who, '!');

        if (!token)
                return xprintf("pveum acl modify %s --roles %s --users %s", path, role, who);
        return xprintf("pveum acl modify %s --roles %s --users %.*s --tokens '%s'", path, role, (int) (token - who),
                       who, who);
}

static void add(struct pve_missing_list *l, const struct pve *p, const char *path, size_t need) {
        l->list = xrealloc(l->list, l->n + 1, sizeof(*l->list));
        l->list[l->n++] = (struct pve_missing){ .path = xstrdup(path),
                                                .privilege = needs[need].privilege,
                                                .why = needs[need].why,
                                                .command = command_for(p, path, needs[need].role) };
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
