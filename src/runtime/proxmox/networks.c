/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proxmox/networks.h"

#include <pthread.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/cluster.h"
#include "runtime/proxmox/addresses.h"

struct networks {
        struct networks_args args;
        struct addresses *addresses;
        pthread_mutex_t lock;
        bool is_able, is_gathered; /* this Proxmox VE has what it takes; addresses in use are known */
};

struct networks *networks_new(const struct networks_args *args) {
        struct networks *n = xnew(struct networks);

        n->args = *args;
        n->addresses = addresses_new();
        pthread_mutex_init(&n->lock, NULL);
        return n;
}

struct networks *networks_free(struct networks *n) {
        if (!n)
                return NULL;
        (void) addresses_free(n->addresses);
        pthread_mutex_destroy(&n->lock);
        free(n);
        return NULL;
}

bool networks_on(const struct networks *n) {
        return n->args.conf->addressing != CT_ADDRESS_CNI;
}

/* --- before the first one ----------------------------------------------------------------------------------------- */

static int check_version(struct networks *n, const struct pve_until *until, struct err *err) {
        struct pve_version v;
        int r = pve_get_version(n->args.pve, until, &v, err);

        if (r == 0 && !pve_has(&v, PVE_FEATURE_HOST_MANAGED))
                return err_set(err, ERR_UNIMPLEMENTED,
                               "Proxmox VE %u.%u does not set addresses of containers itself, 9.1 and newer do "
                               "(host-managed): upgrade, or leave proxmox.network.address as cni",
                               v.major, v.minor);
        n->is_able = r == 0;
        return r;
}

static void hold(void *to, const char *pod_id, const char *net0) {
        struct networks *n = to;
        struct ip list[CT_FAMILIES];
        size_t count = ct_card_addresses(net0, list);

        /* Two with the same address: somebody has edited one of them. It is taken, whosever it is. */
        for (size_t i = 0; i < count; i++)
                if (!addresses_hold(n->addresses, &list[i], pod_id, NULL))
                        continue;
}

/* Proxmox is asked once, when the first pod comes; what is made later is known here. */
static int get_ready(struct networks *n, const struct pve_until *until, struct err *err) {
        int r = 0;

        pthread_mutex_lock(&n->lock);
        if (!n->is_able)
                r = check_version(n, until, err);
        if (r == 0 && !n->is_gathered) {
                r = n->args.each(n->args.userdata, until, hold, n, err);
                n->is_gathered = r == 0;
                if (r < 0)
                        (void) err_wrap(err, "see which addresses pods have");
        }
        pthread_mutex_unlock(&n->lock);
        return r;
}

void networks_note(struct networks *n, const char *id, const char *address) {
        struct ip a;

        if (ip_parse(address, &a) && !addresses_hold(n->addresses, &a, id, NULL))
                return; /* taken in any case */
}

bool networks_gave(struct networks *n, const char *id, const struct ip *address) {
        return addresses_has(n->addresses, address, id);
}

void networks_forget(struct networks *n, const char *id) {
        addresses_give_back(n->addresses, id);
}

/* --- a card ------------------------------------------------------------------------------------------------------- */

static int hold_asked(struct networks *n, const char *id, const struct ct_card *card, struct err *err) {
        char other[ADDRESSES_ID_MAX], text[IP_TEXT_MAX];

        for (size_t i = 0; i < CT_FAMILIES; i++)
                if (card->addresses[i].family && !addresses_hold(n->addresses, &card->addresses[i], id, other))
                        return err_set(err, ERR_EXISTS, "address %s is that of pod sandbox %s",
                                       ip_write(&card->addresses[i], text), other);
        return 0;
}

static int take_missing(struct networks *n, const char *id, struct ct_card *card, struct err *err) {
        const struct ct_network_conf *conf = n->args.conf;
        char first[IP_TEXT_MAX], last[IP_TEXT_MAX];
        struct ip address;

        for (size_t i = 0; i < CT_FAMILIES; i++) {
                const struct ip_range *range = &conf->ranges[i];

                if (!range->first.family || card->addresses[i].family)
                        continue;
                if (!addresses_take(n->addresses, range, &conf->gateways[i], id, &address))
                        return err_set(err, ERR_EXHAUSTED,
                                       "all addresses from %s to %s are in use: widen proxmox.network.addresses",
                                       ip_write(&range->first, first), ip_write(&range->last, last));
                ct_card_give(card, conf, &address);
        }
        return 0;
}

int networks_plan(struct networks *n, const char *id, const struct ct_network_wish *wish, const struct pve_until *until,
                  struct ct_card *ret, struct err *err) {
        int r = get_ready(n, until, err);

        if (r == 0)
                r = ct_card_plan(n->args.conf, wish, ret, err);
        if (r == 0)
                r = hold_asked(n, id, ret, err);
        if (r == 0 && n->args.conf->addressing == CT_ADDRESS_STATIC)
                r = take_missing(n, id, ret, err);
        if (r < 0)
                networks_forget(n, id);
        return r;
}
