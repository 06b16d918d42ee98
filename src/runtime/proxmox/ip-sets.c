/* SPDX-License-Identifier: Apache-2.0 */
/* ip-sets - see ip-sets.h. What Proxmox says of sets and members that are there already or are not is told by other
 * texts from version to version: after a refusal we look what there is. */
#include "runtime/proxmox/ip-sets.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "pve/firewall.h"

enum { TRIES_MAX = 5, DIGEST_CHARS = 40 };

static const struct pve_firewall cluster = { 0 };
static const char set_prefix[] = "lxcri-", digest_prefix[] = "lxcri_";

struct ip_sets {
        struct pve *pve;
        const char *node;
        pthread_mutex_t lock;
        struct map *sets; /* names of those that are there and ours, as far as we know */
};

struct ip_sets *ip_sets_new(struct pve *pve, const char *node) {
        struct ip_sets *i = xnew(struct ip_sets);

        *i = (struct ip_sets){ .pve = pve, .node = node, .sets = map_new() };
        pthread_mutex_init(&i->lock, NULL);
        return i;
}

struct ip_sets *ip_sets_free(struct ip_sets *i) {
        if (!i)
                return NULL;
        map_free(i->sets);
        pthread_mutex_destroy(&i->lock);
        free(i);
        return NULL;
}

/* --- names and comments ------------------------------------------------------------------------------------------- */

/* Kubernetes' own names stand as they are; whatever else a client may send, by its digest. Lower case alone, which
 * Proxmox keeps. */
void ip_sets_name(const char *pod_namespace, char ret[IP_SETS_NAME_MAX]) {
        size_t n = strspn(pod_namespace, "abcdefghijklmnopqrstuvwxyz0123456789-");
        unsigned char digest[EVP_MAX_MD_SIZE];
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        unsigned len = 0;

        if (n > 0 && !pod_namespace[n] && strlen(set_prefix) + n < IP_SETS_NAME_MAX) {
                (void) snprintf(ret, IP_SETS_NAME_MAX, "%s%s", set_prefix, pod_namespace);
                return;
        }
        if (EVP_Digest(pod_namespace, strlen(pod_namespace), digest, &len, EVP_sha256(), NULL) != 1)
                abort(); /* out of memory */
        hex_encode(digest, len, hex);
        (void) snprintf(ret, IP_SETS_NAME_MAX, "%s%.*s", digest_prefix, (int) DIGEST_CHARS, hex);
}

/* "proxmox-lxcri NODE ID". Caller frees. */
static char *comment_of(const struct ip_sets *i, const char *id) {
        return xprintf(IP_SETS_MARK " %s %s", i->node, id);
}

/* The id in a member's comment of this node, or NULL. */
static const char *pod_of(const struct ip_sets *i, const json_t *member) {
        _cleanup_(freep) char *ours = comment_of(i, "");
        const char *id = str_after(pve_json_str(member, "comment") ?: "", ours);

        return id && id_is_valid(id) ? id : NULL;
}

const json_t *ip_sets_find(const json_t *list, const char *key, const char *value) {
        const json_t *o;
        size_t k;

        json_array_foreach(list, k, o) {
                if (str_eq(pve_json_str(o, key), value))
                        return o;
        }
        return NULL;
}

/* Proxmox may write an address otherwise than we. */
static const json_t *find_member(const json_t *members, const struct ip *address) {
        const json_t *o;
        struct ip a;
        size_t k;

        json_array_foreach(members, k, o) {
                const char *cidr = pve_json_str(o, "cidr");

                if (cidr && (ip_parse(cidr, &a) || ip_parse_cidr(cidr, &a)) && ip_equal(&a, address))
                        return o;
        }
        return NULL;
}

static bool is_ours(const json_t *set) {
        return str_after(pve_json_str(set, "comment") ?: "", IP_SETS_MARK) != NULL;
}

/* --- one request -------------------------------------------------------------------------------------------------- */

static int get(struct ip_sets *i, const char *path, const struct pve_until *until, json_t **ret, struct err *err) {
        return pve_firewall_get(i->pve, &cluster, path, until, ret, err);
}

static int change(struct ip_sets *i, const char *method, const char *path, const struct pve_params *params,
                  const struct pve_until *until, struct err *err) {
        const struct pve_firewall_change c = {
                .method = method, .path = path, .params = params, .repeatable = true, .until = until
        };

        return pve_firewall_change(i->pve, &cluster, &c, err);
}

/* Was it said by Proxmox, about what was asked for, so that looking there tells more? */
bool ip_sets_refused(const struct err *err) {
        switch (pve_kind(err)) {
        case PVE_OTHER:
        case PVE_BAD_PARAMETER:
        case PVE_EXISTS:
        case PVE_MISSING:
                return true;
        default:
                return false;
        }
}

/* --- sets --------------------------------------------------------------------------------------------------------- */

static void remember_set(struct ip_sets *i, const char *name, bool is_there) {
        pthread_mutex_lock(&i->lock);
        if (is_there)
                (void) map_set(i->sets, name, i);
        else
                (void) map_take(i->sets, name);
        pthread_mutex_unlock(&i->lock);
}

static bool knows_set(struct ip_sets *i, const char *name) {
        bool known;

        pthread_mutex_lock(&i->lock);
        known = map_get(i->sets, name);
        pthread_mutex_unlock(&i->lock);
        return known;
}

/* @ret: whether it is there; one of somebody else's is an error. */
static int look_for_set(struct ip_sets *i, const char *name, const struct pve_until *until, bool *ret,
                        struct err *err) {
        _cleanup_(json_unrefp) json_t *sets = NULL;
        const json_t *set;
        int r = get(i, "ipset", until, &sets, err);

        if (r < 0)
                return r;
        set = ip_sets_find(sets, "name", name);
        if (set && !is_ours(set))
                return err_set(err, ERR_PRECONDITION,
                               "IP set %s of the cluster is not proxmox-lxcri's, as its comment does not begin with "
                               "that: rename or remove it",
                               name);
        *ret = set != NULL;
        return 0;
}

int ip_sets_ensure(struct ip_sets *i, const char *name, const struct pve_until *until, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        bool is_there = false;
        int r;

        if (knows_set(i, name))
                return 0;
        r = look_for_set(i, name, until, &is_there, err);
        if (r == 0 && !is_there) {
                pve_param(&params, "name", name);
                pve_param_printf(&params, "comment", IP_SETS_MARK ": pods of namespace %s",
                                 str_after(name, set_prefix) ?: "whose name is no name of Kubernetes");
                r = change(i, "POST", "ipset", &params, until, err);
                if (r < 0 && ip_sets_refused(err)) { /* another node was faster? */
                        struct err why = *err;

                        r = look_for_set(i, name, until, &is_there, err);
                        if (r == 0 && !is_there) {
                                *err = why;
                                r = -(int) why.code;
                        }
                }
        }
        if (r == 0)
                remember_set(i, name, true);
        return r;
}

/* --- members ------------------------------------------------------------------------------------------------------ */

static int delete_member(struct ip_sets *i, const char *name, const json_t *member, const struct pve_until *until,
                         struct err *err) {
        _cleanup_(freep) char *set = xprintf("ipset/%s", name), *path = NULL;
        _cleanup_(json_unrefp) json_t *now = NULL;
        const char *cidr = pve_json_str(member, "cidr") ?: "";
        bool is_there = true;
        struct err why;
        int r;

        path = xprintf("%s/%s", set, cidr);
        r = change(i, "DELETE", path, NULL, until, err);
        if (r == 0 || !ip_sets_refused(err))
                return r;
        /* Gone already, with the set perhaps? */
        why = *err;
        r = get(i, set, until, &now, err);
        if (r == 0)
                is_there = ip_sets_find(now, "cidr", cidr);
        else if (ip_sets_refused(err))
                r = look_for_set(i, name, until, &is_there, err);
        if (r == 0 && is_there) {
                *err = why;
                r = -(int) why.code;
        }
        return r;
}

/* After a refused POST of a member. 1: again; 0: it is there; else an error. */
static int look_for_member(struct ip_sets *i, const char *name, const char *comment, const struct ip *address,
                           const struct pve_until *until, struct err *err) {
        _cleanup_(freep) char *path = xprintf("ipset/%s", name);
        _cleanup_(json_unrefp) json_t *members = NULL;
        const struct err why = *err;
        const json_t *member;
        int r = get(i, path, until, &members, err);

        if (r < 0 && ip_sets_refused(err)) { /* somebody has taken the last member out, and the set with it */
                remember_set(i, name, false);
                return 1;
        }
        if (r < 0)
                return r;
        member = find_member(members, address);
        if (!member) {
                *err = why;
                return -(int) why.code;
        }
        if (str_eq(pve_json_str(member, "comment"), comment))
                return 0;
        if (!pod_of(i, member))
                return err_set(err, ERR_PRECONDITION,
                               "IP set %s has that address already, of \"%.80s\": is it used twice?", name,
                               pve_json_str(member, "comment") ?: "");
        /* Of a pod of ours that had the address before, and has not got to taking it out. */
        r = delete_member(i, name, member, until, err);
        return r < 0 ? r : 1;
}

int ip_sets_add(struct ip_sets *i, const struct ip_sets_pod *pod, const struct ip *address,
                const struct pve_until *until, struct err *err) {
        char name[IP_SETS_NAME_MAX], text[IP_TEXT_MAX];
        _cleanup_(freep) char *path = NULL, *comment = comment_of(i, pod->id);
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        int r = 1;

        ip_sets_name(pod->pod_namespace, name);
        path = xprintf("ipset/%s", name);
        pve_param(&params, "cidr", ip_write(address, text));
        pve_param(&params, "comment", comment);
        for (unsigned n = 0; r > 0 && n < TRIES_MAX; n++) {
                r = ip_sets_ensure(i, name, until, err);
                if (r == 0)
                        r = change(i, "POST", path, &params, until, err);
                if (r < 0 && ip_sets_refused(err))
                        r = look_for_member(i, name, comment, address, until, err);
        }
        if (r > 0)
                r = err_set(err, ERR_ABORTED, "others change the set all the time");
        return r < 0 ? err_wrap(err, "add %s to IP set %s", text, name) : 0;
}

/* Members of this node for which @is_gone says so; of a set that is empty then, the set. It is ours if that is known or
 * it had such members. */
static int clear_set(struct ip_sets *i, const char *name, bool is_ours, bool (*is_gone)(const char *id, void *userdata),
                     void *userdata, const struct pve_until *until, struct err *err) {
        _cleanup_(freep) char *path = xprintf("ipset/%s", name);
        _cleanup_(json_unrefp) json_t *members = NULL;
        const json_t *member;
        bool is_there = false;
        struct err ignored;
        size_t k, left = 0;
        int r = get(i, path, until, &members, err);

        if (r < 0 && ip_sets_refused(err)) {
                struct err why = *err;

                r = look_for_set(i, name, until, &is_there, err);
                if (r == 0 && is_there) {
                        *err = why;
                        r = -(int) why.code;
                }
                return r;
        }
        json_array_foreach(members, k, member) {
                const char *id = pod_of(i, member);

                is_ours = is_ours || id;
                if (id && is_gone(id, userdata))
                        r = delete_member(i, name, member, until, err);
                else
                        left++;
                if (r < 0)
                        break;
        }
        if (r < 0 || left > 0 || !is_ours)
                return r;
        /* Proxmox refuses if somebody has put another one in since. */
        remember_set(i, name, false);
        if (change(i, "DELETE", path, NULL, until, &ignored) < 0)
                log_debug("an IP set stays", "name", name, "error", ignored.msg, NULL);
        return 0;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static bool is_the_pod(const char *id, void *userdata) {
        return str_eq(id, userdata);
}

int ip_sets_leave(struct ip_sets *i, const struct ip_sets_pod *pod, const struct pve_until *until, struct err *err) {
        char name[IP_SETS_NAME_MAX];
        int r;

        ip_sets_name(pod->pod_namespace, name);
        r = clear_set(i, name, knows_set(i, name), is_the_pod, (void *) (uintptr_t) pod->id, until, err);
        return r < 0 ? err_wrap(err, "take pod %s out of IP set %s", pod->id, name) : 0;
}

struct sweeping {
        bool (*is_known)(const char *id, void *userdata);
        void *userdata;
};

static bool is_unknown(const char *id, void *userdata) {
        const struct sweeping *s = userdata;

        return !s->is_known(id, s->userdata);
}

int ip_sets_sweep(struct ip_sets *i, bool (*is_known)(const char *id, void *userdata), void *userdata,
                  const struct pve_until *until, struct err *err) {
        struct sweeping s = { is_known, userdata };
        _cleanup_(json_unrefp) json_t *sets = NULL;
        const json_t *set;
        size_t k;
        int r = get(i, "ipset", until, &sets, err);

        json_array_foreach(sets, k, set) {
                const char *name = pve_json_str(set, "name");

                if (r == 0 && name && is_ours(set))
                        r = clear_set(i, name, true, is_unknown, &s, until, err);
        }
        return r < 0 ? err_wrap(err, "look through the IP sets of namespaces") : 0;
}
