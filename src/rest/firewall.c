/* SPDX-License-Identifier: Apache-2.0 */
/* firewall - Proxmox' own, of pods' containers: it filters what goes through their network cards with firewall=1, and
 * only when it is on for the cluster, too. */
#include "pve/firewall.h"

#include <stdarg.h>
#include "base/alloc.h"
#include "base/str.h"
#include "rest/call.h"

enum { PATIENCE_S = 60 };

/* @ret: of type @type; json_unref() it. */
_printf_(6, 7) static int read_part(struct rest_call *c, const struct owned *t, json_type type, json_t **ret,
                                    struct err *err, const char *path, ...) {
        const struct pve_firewall of = { t->node, t->vmid };
        _cleanup_(json_unrefp) json_t *data = NULL;
        _cleanup_(freep) char *below = NULL;
        va_list ap;
        int r;

        va_start(ap, path);
        below = xvprintf(path, ap);
        va_end(ap);
        r = pve_firewall_get(c->pve, &of, below, &c->until, &data, err);
        if (r < 0)
                return r;
        if (json_typeof(data) != type)
                return pve_raise(err, PVE_FOREIGN, "firewall of container %u: %s is not what was expected", t->vmid,
                                 below);
        *ret = TAKE_PTR(data);
        return 0;
}

/* Its lock is somebody else's for moments only. */
_printf_(6, 7) static int change(struct rest_call *c, const struct owned *t, const char *method,
                                 const struct pve_params *params, struct err *err, const char *path, ...) {
        const struct pve_until until = { c->until.cancel_fd, clock_monotonic_ns() + PATIENCE_S * UINT64_C(1000000000) };
        const struct pve_firewall of = { t->node, t->vmid };
        struct pve_firewall_change change = {
                .method = method, .params = params, .repeatable = str_eq(method, "PUT"), .until = &until
        };
        _cleanup_(freep) char *below = NULL;
        va_list ap;

        va_start(ap, path);
        change.path = below = xvprintf(path, ap);
        va_end(ap);
        return pve_firewall_change(c->pve, &of, &change, err);
}

/* --- whether -------------------------------------------------------------------------------------------------------
 */

int rest_firewall_show(struct rest_call *c, json_t **ret, struct err *err) {
        struct owned t;
        int r = rest_target(c, &t, err);

        return r < 0 ? r : read_part(c, &t, JSON_OBJECT, ret, err, "options");
}

int rest_firewall_set(struct rest_call *c, json_t **ret, struct err *err) {
        static const char *const keys[][2] = {
                { "enable", "enable" },         { "policy-in", "policy_in" }, { "policy-out", "policy_out" },
                { "ipfilter", "ipfilter" },     { "macfilter", "macfilter" }, { "log-in", "log_level_in" },
                { "log-out", "log_level_out" },
        };
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                rest_param(c, &params, keys[i][0], keys[i][1]);
        if (params.encoded.len == 0)
                return err_set(err, ERR_INVALID, "nothing is to be changed: give --enable, --policy-in or others");
        r = change(c, &t, "PUT", &params, err, "options");
        return r < 0 ? err_wrap(err, "change the firewall of container %u", t.vmid) : 0;
}

/* --- rules ---------------------------------------------------------------------------------------------------------
 */

int rest_rule_ls(struct rest_call *c, json_t **ret, struct err *err) {
        struct owned t;
        int r = rest_target(c, &t, err);

        return r < 0 ? r : read_part(c, &t, JSON_ARRAY, ret, err, "rules");
}

int rest_rule_add(struct rest_call *c, json_t **ret, struct err *err) {
        static const char *const same[] = { "source", "dest",  "proto", "dport",   "sport",
                                            "macro",  "iface", "log",   "comment", "icmp-type" };
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        rest_param(c, &params, "direction", "type");
        rest_param(c, &params, "action", "action");
        pve_param(&params, "enable", rest_true(&c->values, "disabled") ? "0" : "1");
        rest_param(c, &params, "position", "pos");
        for (size_t i = 0; i < ELEMENTSOF(same); i++)
                rest_param(c, &params, same[i], same[i]);
        r = change(c, &t, "POST", &params, err, "rules");
        return r < 0 ? err_wrap(err, "add a rule to the firewall of container %u", t.vmid) : 0;
}

/* Positions shift: the digest says that the rules still are those that were looked at. */
int rest_rule_rm(struct rest_call *c, json_t **ret, struct err *err) {
        const char *position = rest_get(&c->values, "position"), *digest = rest_get(&c->values, "digest");
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        _cleanup_(json_unrefp) json_t *rule = NULL;
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r == 0)
                r = read_part(c, &t, JSON_OBJECT, &rule, err, "rules/%s", position);
        if (r < 0)
                return err_wrap(err, "remove rule %s", position);
        pve_param(&params, "digest", digest ?: pve_json_str(rule, "digest"));
        r = change(c, &t, "DELETE", &params, err, "rules/%s", position);
        return r < 0 ? err_wrap(err, "remove rule %s of the firewall of container %u", position, t.vmid) : 0;
}

/* --- sets of addresses -----------------------------------------------------------------------------------------------
 */

int rest_ipset_ls(struct rest_call *c, json_t **ret, struct err *err) {
        struct owned t;
        int r = rest_target(c, &t, err);

        return r < 0 ? r : read_part(c, &t, JSON_ARRAY, ret, err, "ipset");
}

int rest_ipset_show(struct rest_call *c, json_t **ret, struct err *err) {
        const char *set = rest_get(&c->values, "set");
        struct owned t;
        int r = rest_target(c, &t, err);

        return r < 0 ? r : read_part(c, &t, JSON_ARRAY, ret, err, "ipset/%s", set);
}

int rest_ipset_create(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *set = rest_get(&c->values, "set");
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        rest_param(c, &params, "set", "name");
        rest_param(c, &params, "comment", "comment");
        r = change(c, &t, "POST", &params, err, "ipset");
        return r < 0 ? err_wrap(err, "make set %s of container %u", set, t.vmid) : 0;
}

int rest_ipset_rm(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *set = rest_get(&c->values, "set");
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        rest_param(c, &params, "force", "force");
        r = change(c, &t, "DELETE", &params, err, "ipset/%s", set);
        return r < 0 ? err_wrap(err, "remove set %s of container %u", set, t.vmid) : 0;
}

/* An address, a network or the name of one: it becomes the end of a path. */
static int check_address(const char *text, struct err *err) {
        size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:");

        if (text[n] == '/' && n > 0)
                n += 1 + strspn(text + n + 1, "0123456789");
        if (*text == '.' || text[n])
                return err_set(err, ERR_INVALID, "\"%.64s\" is no address and no network", text);
        return 0;
}

int rest_ipset_add(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *set = rest_get(&c->values, "set"), *address = rest_get(&c->values, "address");
        struct owned t;
        int r = check_address(address, err);

        if (r == 0)
                r = rest_target(c, &t, err);
        if (r < 0)
                return r;
        rest_param(c, &params, "address", "cidr");
        rest_param(c, &params, "nomatch", "nomatch");
        rest_param(c, &params, "comment", "comment");
        r = change(c, &t, "POST", &params, err, "ipset/%s", set);
        return r < 0 ? err_wrap(err, "add %s to set %s of container %u", address, set, t.vmid) : 0;
}

int rest_ipset_take(struct rest_call *c, json_t **ret, struct err *err) {
        const char *set = rest_get(&c->values, "set"), *address = rest_get(&c->values, "address");
        struct owned t;
        int r = check_address(address, err);

        if (r == 0)
                r = rest_target(c, &t, err);
        if (r < 0)
                return r;
        r = change(c, &t, "DELETE", NULL, err, "ipset/%s/%s", set, address);
        return r < 0 ? err_wrap(err, "take %s out of set %s of container %u", address, set, t.vmid) : 0;
}
