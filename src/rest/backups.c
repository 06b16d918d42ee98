/* SPDX-License-Identifier: Apache-2.0 */
/* backups - by vzdump, of pods' containers; and containers made of them. Backups with a number of the pods' range are
 * ours, nobody else has those numbers. They outlive their pods. */
#include <ctype.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/cluster.h"
#include "rest/call.h"
#include "rest/copies.h"

/* --- which there are ------------------------------------------------------------------------------------------------
 */

static uint64_t number(const json_t *o, const char *key) {
        uint64_t v;

        return pve_json_u64(o, key, &v) ? v : 0;
}

static bool is_ours(const struct rest_call *c, const json_t *o) {
        uint64_t vmid = number(o, "vmid");

        return vmid >= c->rest->vmid_first && vmid <= c->rest->vmid_last && pve_json_str(o, "volid");
}

/* Adds those of @storage to @list. @vmid 0: of all containers of ours. */
static int list_storage(struct rest_call *c, const char *storage, unsigned vmid, json_t *list, struct err *err) {
        const struct pve_storage s = { c->rest->node, storage };
        _cleanup_(json_unrefp) json_t *answer = NULL;
        json_t *o;
        size_t i;
        int r = pve_storage_list(c->pve, &s, "backup", &c->until, &answer, err);

        json_array_foreach(json_object_get(answer, "data"), i,
                           o) if (is_ours(c, o) && (!vmid || number(o, "vmid") == vmid))(void)
                json_array_append(list, o);
        return r;
}

/* Of all storages of this node that have backups. */
static int list_all(struct rest_call *c, unsigned vmid, json_t *list, struct err *err) {
        _cleanup_(json_unrefp) json_t *storages = NULL;
        json_t *o;
        size_t i;
        int r = rest_read(c, JSON_ARRAY, &storages, err, "/nodes/%s/storage", c->rest->node);

        json_array_foreach(storages, i, o) {
                const char *name = pve_json_str(o, "storage");

                if (r == 0 && name && strstr(pve_json_str(o, "content") ?: "", "backup") && pve_json_true(o, "active"))
                        r = list_storage(c, name, vmid, list, err);
        }
        return r;
}

int rest_backup_ls(struct rest_call *c, json_t **ret, struct err *err) {
        const char *storage = rest_get(&c->values, "storage");
        _cleanup_(json_unrefp) json_t *list = json_array();
        struct owned t = { 0 };
        int r = rest_get(&c->values, "pod") ? rest_target(c, &t, err) : 0;

        if (r == 0)
                r = storage ? list_storage(c, storage, t.vmid, list, err) : list_all(c, t.vmid, list, err);
        if (r == 0)
                *ret = TAKE_PTR(list);
        return r;
}

/* @ret_storage: where it is; of the arena. ERR_NOT_FOUND also when it is not ours. */
static int find(struct rest_call *c, const char *volid, const char **ret_storage, struct err *err) {
        const char *colon = strchr(volid, ':');
        _cleanup_(json_unrefp) json_t *list = json_array();
        json_t *o;
        size_t i;
        int r;

        if (!colon || colon == volid || strchr("./", *volid) || memchr(volid, '/', (size_t) (colon - volid)))
                return err_set(err, ERR_INVALID, "\"%.100s\" is not STORAGE:backup/FILE", volid);
        *ret_storage = arena_printf(c->arena, "%.*s", (int) (colon - volid), volid);
        r = list_storage(c, *ret_storage, 0, list, err);
        if (r < 0)
                return r;
        json_array_foreach(list, i, o) if (str_eq(pve_json_str(o, "volid"), volid)) return 0;
        return err_set(err, ERR_NOT_FOUND,
                       "%s is no backup of a pod's container; \"proxmox-lxcri proxmox backup ls\" lists them", volid);
}

/* --- making --------------------------------------------------------------------------------------------------------
 */

/* What people see of it in Proxmox; "{{" is the template's. */
static void put_notes(struct rest_call *c, const struct owned *t, struct pve_params *to) {
        char *pod = arena_strdup(c->arena, rest_pod_name(c, t->claim.pod_id));

        for (char *p = pod; *p; p++)
                if (!isalnum((unsigned char) *p) && !strchr("-._/", *p))
                        *p = '?';
        pve_param_printf(to, "notes-template", "pod %.400s, by proxmox-lxcri", *pod ? pod : t->claim.pod_id);
}

/* The task does not say what it has made: the newest, by the time in the name. */
static int find_newest(struct rest_call *c, const char *storage, unsigned vmid, json_t **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *list = json_array();
        const char *best = "";
        json_t *o;
        size_t i;
        int r = list_storage(c, storage, vmid, list, err);

        if (r < 0)
                return r;
        json_array_foreach(list, i, o) if (strcmp(pve_json_str(o, "volid"), best) > 0) best = pve_json_str(o, "volid");
        if (!*best)
                return err_set(err, ERR_ABORTED, "its task ended well, but storage %s has no backup of it", storage);
        *ret = json_pack("{s:s, s:i}", "volid", best, "vmid", (int) vmid);
        return 0;
}

static int by_name(const void *a, const void *b) {
        return strcmp(pve_json_str(*(json_t *const *) a, "volid"), pve_json_str(*(json_t *const *) b, "volid"));
}

/* All but the newest @keep, and those that are protected. vzdump would do it, too, but only for who may administer the
 * storage (Datastore.Allocate); one's own backups may be removed by who may make them. */
static int prune(struct rest_call *c, const char *storage, unsigned vmid, uint64_t keep, struct err *err) {
        const struct pve_storage s = { c->rest->node, storage };
        _cleanup_(json_unrefp) json_t *list = json_array();
        _cleanup_(freep) json_t **those = NULL;
        size_t n = 0, i;
        json_t *o;
        int r = list_storage(c, storage, vmid, list, err);

        if (r < 0)
                return r;
        those = xcalloc(json_array_size(list) + 1, sizeof(json_t *));
        json_array_foreach(list, i, o) if (!pve_json_true(o, "protected")) those[n++] = o;
        qsort(those, n, sizeof(json_t *), by_name);
        for (i = 0; i + keep < n && r == 0; i++) {
                const char *volid = pve_json_str(those[i], "volid");

                rest_tell(c, "remove backup %s", volid);
                r = pve_storage_delete(c->pve, &s, volid, &c->until, err);
                if (r < 0)
                        return err_wrap(err, "it is backed up; remove older backups: %s", volid);
        }
        return r;
}

int rest_backup_create(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *storage = rest_get(&c->values, "storage"), *keep = rest_get(&c->values, "keep"),
                   *mode = rest_get(&c->values, "mode");
        struct owned t;
        struct pve_ct_args args;
        unsigned warnings = 0;
        uint64_t n_keep = 0;
        int r;

        if (keep && (!str_to_u64(keep, &n_keep) || n_keep == 0))
                return err_set(err, ERR_INVALID, "keep: expected at least 1, which is the new backup");
        r = rest_target(c, &t, err);
        if (r < 0)
                return r;
        pve_param(&params, "storage", storage);
        pve_param(&params, "mode", mode ?: "snapshot");
        pve_param(&params, "compress", rest_get(&c->values, "compress") ?: "zstd");
        pve_param(&params, "remove", "0"); /* whatever is set for the storage */
        if (rest_true(&c->values, "protected"))
                pve_param(&params, "protected", "1");
        put_notes(c, &t, &params);
        if (t.running && str_eq(mode, "stop"))
                rest_tell(c, "container %u is stopped for it: its pod ends", t.vmid);
        args = rest_ct_args(c, &params, storage);
        r = pve_ct_backup(c->pve, &(struct pve_ct){ t.node, t.vmid }, &args, &warnings, err);
        c->warnings += warnings;
        if (r == 0)
                r = find_newest(c, storage, t.vmid, ret, err);
        if (r == 0 && keep)
                r = prune(c, storage, t.vmid, n_keep, err);
        return r < 0 ? err_wrap(err, "back container %u up to storage %s", t.vmid, storage) : 0;
}

int rest_backup_rm(struct rest_call *c, json_t **ret, struct err *err) {
        const char *volid = rest_get(&c->values, "volume"), *storage;
        int r = find(c, volid, &storage, err);

        if (r == 0)
                r = pve_storage_delete(c->pve, &(struct pve_storage){ c->rest->node, storage }, volid, &c->until, err);
        return r < 0 ? err_wrap(err, "remove backup %s", volid) : 0;
}

/* --- containers of them ---------------------------------------------------------------------------------------------
 */

/* A backup has the description of then, our claim; what the request says goes before it. */
static int restore_as(struct rest_call *c, unsigned vmid, void *userdata, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *storage = rest_get(&c->values, "storage") ?: c->rest->storage, *volid = userdata;
        const struct pve_ct_args args = rest_ct_args(c, &params, storage);
        unsigned warnings = 0;
        int r;

        pve_param(&params, "restore", "1");
        pve_param(&params, "unique", "1");
        pve_param(&params, "ostemplate", volid);
        pve_param(&params, "storage", storage);
        pve_param_printf(&params, "description", "Restored from %s by proxmox-lxcri. It is no pod's.\n", volid);
        pve_param(&params, "tags", REST_COPY_TAG);
        pve_param(&params, "pool", c->rest->pool);
        rest_param(c, &params, "hostname", "hostname");
        r = pve_ct_create(c->pve, &(struct pve_ct){ c->rest->node, vmid }, &args, &warnings, err);
        c->warnings += warnings;
        return r;
}

int rest_backup_restore(struct rest_call *c, json_t **ret, struct err *err) {
        const char *volid = rest_get(&c->values, "volume"), *storage;
        struct owned made = { 0 };
        int r = find(c, volid, &storage, err);

        if (r == 0)
                r = rest_with_new_id(c, restore_as, (void *) (uintptr_t) volid, &made.vmid, err);
        if (r < 0)
                return err_wrap(err, "restore %s", volid);
        (void) snprintf(made.node, sizeof(made.node), "%s", c->rest->node);
        r = rest_disown(c, &(struct pve_ct){ made.node, made.vmid }, NULL, true, err);
        if (r < 0)
                return err_wrap(err, "%s is restored as container %u; remove its network card", volid, made.vmid);
        if (rest_true(&c->values, "start"))
                r = rest_ct_do(c, &made, &(struct rest_do){ .action = PVE_CT_START }, err);
        if (r < 0)
                return err_wrap(err, "%s is restored as container %u; start it", volid, made.vmid);
        *ret = json_pack("{s:i, s:s}", "vmid", (int) made.vmid, "node", c->rest->node);
        return 0;
}
