/* SPDX-License-Identifier: Apache-2.0 */
/* isolation - see isolation.h. */
#include "runtime/proxmox/isolation.h"

#include <pthread.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/firewall.h"

enum { SOURCE_MAX = 512, FIREWALL_SEEN_S = 60 };

struct isolation {
        struct pve *pve;
        const char *node;
        const struct ct_network_conf *conf;
        pthread_mutex_t lock;
        struct ip_sets *sets;
        uint64_t firewall_seen_ns; /* when the cluster's firewall was last found on; 0: never */
};

struct isolation *isolation_new(struct pve *pve, const char *node, const struct ct_network_conf *conf) {
        struct isolation *i = xnew(struct isolation);

        *i = (struct isolation){ .pve = pve, .node = node, .conf = conf, .sets = ip_sets_new(pve, node) };
        pthread_mutex_init(&i->lock, NULL);
        return i;
}

struct isolation *isolation_free(struct isolation *i) {
        if (!i)
                return NULL;
        (void) ip_sets_free(i->sets);
        pthread_mutex_destroy(&i->lock);
        free(i);
        return NULL;
}

/* --- a pod's firewall --------------------------------------------------------------------------------------------- */

/* Off, it would let everything through, silently. */
static int check_firewall(struct isolation *i, const struct pve_until *until, struct err *err) {
        _cleanup_(json_unrefp) json_t *options = NULL;
        bool fresh;
        int r;

        pthread_mutex_lock(&i->lock);
        fresh = i->firewall_seen_ns && clock_monotonic_ns() - i->firewall_seen_ns < FIREWALL_SEEN_S * 1000000000ull;
        pthread_mutex_unlock(&i->lock);
        if (fresh)
                return 0;
        r = pve_firewall_get(i->pve, &(struct pve_firewall){ 0 }, "options", until, &options, err);
        if (r < 0)
                return err_wrap(err, "see whether the cluster's firewall is on");
        if (!pve_json_true(options, "enable"))
                return err_set(err, ERR_PRECONDITION,
                               "the cluster's firewall is off, so that pods could not be isolated: see that its rules "
                               "let you in, then \"pvesh set /cluster/firewall/options --enable 1\"; or leave "
                               "proxmox.network.isolate-namespaces out");
        pthread_mutex_lock(&i->lock);
        i->firewall_seen_ns = clock_monotonic_ns();
        pthread_mutex_unlock(&i->lock);
        return 0;
}

static int change(struct isolation *i, const struct pve_firewall *of, const char *method, const char *path,
                  const struct pve_params *params, const struct pve_until *until, struct err *err) {
        const struct pve_firewall_change c = {
                .method = method, .path = path, .params = params, .repeatable = true, .until = until
        };

        return pve_firewall_change(i->pve, of, &c, err);
}

static int set_options(struct isolation *i, const struct pve_firewall *of, const struct ct_card *card,
                       const struct pve_until *until, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;

        pve_param(&params, "enable", "1");
        pve_param(&params, "policy_in", "DROP");
        pve_param(&params, "dhcp", card->dhcp ? "1" : "0");
        /* No other source than its own address, or it could pass for a pod of another namespace. What DHCP will give
         * nobody knows yet: isolation_admit(). */
        pve_param(&params, "ipfilter", card->dhcp ? "0" : "1");
        return change(i, of, "PUT", "options", &params, until, err);
}

static int add_rule(struct isolation *i, const struct pve_firewall *of, const char *source,
                    const struct pve_until *until, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;

        pve_param(&params, "type", "in");
        pve_param(&params, "action", "ACCEPT");
        pve_param(&params, "enable", "1");
        pve_param(&params, "source", source);
        pve_param(&params, "comment", IP_SETS_MARK);
        return change(i, of, "POST", "rules", &params, until, err);
}

/* A rule has addresses of one family only. */
static int accept_from(struct isolation *i, const struct pve_firewall *of, unsigned family,
                       const struct pve_until *until, struct err *err) {
        _cleanup_strbuf_ struct strbuf source = STRBUF(SOURCE_MAX);
        char text[IP_TEXT_MAX];

        for (size_t k = 0; k < i->conf->n_accept_from; k++)
                if (i->conf->accept_from[k].family == family)
                        strbuf_printf(&source, "%s%s", source.len ? "," : "",
                                      ip_write_cidr(&i->conf->accept_from[k], text));
        if (source.overflow)
                return err_set(err, ERR_EXHAUSTED, "proxmox.network.accept-from is too long for a rule of Proxmox");
        return source.len ? add_rule(i, of, strbuf_str(&source), until, err) : 0;
}

int isolation_prepare(struct isolation *i, const struct ip_sets_pod *pod, const struct ct_card *card,
                      const struct pve_until *until, struct err *err) {
        const struct pve_firewall of = { i->node, pod->vmid };
        char name[IP_SETS_NAME_MAX], source[IP_SETS_NAME_MAX + 1];
        int r = check_firewall(i, until, err);

        ip_sets_name(pod->pod_namespace, name);
        (void) snprintf(source, sizeof(source), "+%s", name);
        if (r == 0) /* before a rule names it */
                r = ip_sets_ensure(i->sets, name, until, err);
        if (r == 0)
                r = set_options(i, &of, card, until, err);
        if (r == 0)
                r = add_rule(i, &of, source, until, err);
        if (r == 0)
                r = accept_from(i, &of, 4, until, err);
        if (r == 0)
                r = accept_from(i, &of, 6, until, err);
        for (size_t k = 0; k < CT_FAMILIES && r == 0; k++)
                if (card->addresses[k].family)
                        r = ip_sets_add(i->sets, pod, &card->addresses[k], until, err);
        return r < 0 ? err_wrap(err, "isolate container %u", pod->vmid) : 0;
}

/* The set of a CT with the name of a card is what the card may have as source. */
static int filter_source(struct isolation *i, const struct pve_firewall *of, const struct ip *address,
                         const struct pve_until *until, struct err *err) {
        _cleanup_params_ struct pve_params set = PVE_PARAMS, member = PVE_PARAMS;
        _cleanup_(json_unrefp) json_t *sets = NULL;
        char text[IP_TEXT_MAX];
        int r;

        pve_param(&set, "name", "ipfilter-net0");
        pve_param(&set, "comment", IP_SETS_MARK);
        r = change(i, of, "POST", "ipset", &set, until, err);
        if (r < 0 && ip_sets_refused(err)) { /* with an address before this one */
                const struct err why = *err;

                r = pve_firewall_get(i->pve, of, "ipset", until, &sets, err);
                if (r == 0 && !ip_sets_find(sets, "name", "ipfilter-net0")) {
                        *err = why;
                        r = -(int) why.code;
                }
        }
        pve_param(&member, "cidr", ip_write(address, text));
        pve_param(&member, "comment", IP_SETS_MARK);
        return r < 0 ? r : change(i, of, "POST", "ipset/ipfilter-net0", &member, until, err);
}

int isolation_admit(struct isolation *i, const struct ip_sets_pod *pod, const struct ip *address,
                    const struct pve_until *until, struct err *err) {
        const struct pve_firewall of = { i->node, pod->vmid };
        int r = filter_source(i, &of, address, until, err);

        if (r == 0)
                r = ip_sets_add(i->sets, pod, address, until, err);
        return r < 0 ? err_wrap(err, "isolate container %u", pod->vmid) : 0;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

int isolation_leave(struct isolation *i, const struct ip_sets_pod *pod, const struct pve_until *until,
                    struct err *err) {
        return ip_sets_leave(i->sets, pod, until, err);
}

int isolation_sweep(struct isolation *i, bool (*is_known)(const char *id, void *userdata), void *userdata,
                    const struct pve_until *until, struct err *err) {
        return ip_sets_sweep(i->sets, is_known, userdata, until, err);
}
