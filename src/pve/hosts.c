/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/hosts.h"

#include <ctype.h>
#include <pthread.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"

enum { PENALTY_MS = 1000, PENALTY_MAX_MS = 60000 };

struct host {
        char *name;
        unsigned failures; /* in a row */
        uint64_t until_ns; /* behind the others till then */
};

struct hosts {
        pthread_mutex_t lock; /* guards failures and until_ns */
        struct host list[HOSTS_MAX];
        size_t n;
};

static bool good_port(const char *s) {
        uint64_t port;

        return str_to_u64(s, &port) && port > 0 && port < 65536;
}

/* @ret: the length of the name, which stands before an optional port. */
static bool split(const char *s, size_t *ret) {
        bool v6 = *s == '[';

        if (v6) {
                *ret = 1 + strspn(s + 1, "0123456789abcdefABCDEF:.");
                if (*ret < 3 || s[*ret] != ']')
                        return false;
                ++*ret;
        } else {
                for (*ret = 0; isalnum((unsigned char) s[*ret]) || (s[*ret] && strchr("-._", s[*ret]));)
                        ++*ret;
                if (*ret == 0 || *ret > 253 || *s == '-' || *s == '.')
                        return false;
        }
        return !s[*ret] || (s[*ret] == ':' && good_port(s + *ret + 1));
}

int hosts_new(const char *const *names, struct hosts **ret, struct err *err) {
        _cleanup_(hosts_freep) struct hosts *h = NULL;
        size_t n = strv_len(names), len;

        if (n == 0)
                return err_set(err, ERR_INVALID, "no Proxmox VE host is named");
        if (n > HOSTS_MAX)
                return err_set(err, ERR_INVALID, "more than %d Proxmox VE hosts", HOSTS_MAX);
        h = xnew(struct hosts);
        (void) pthread_mutex_init(&h->lock, NULL);
        for (size_t i = 0; i < n; i++) {
                if (!split(names[i], &len))
                        return err_set(err, ERR_INVALID, "\"%.200s\" is not host or host:port", names[i]);
                h->list[h->n++].name = names[i][len] ? xstrdup(names[i]) : xprintf("%s:%d", names[i], HOSTS_PORT);
        }
        *ret = TAKE_PTR(h);
        return 0;
}

struct hosts *hosts_free(struct hosts *h) {
        if (!h)
                return NULL;
        for (size_t i = 0; i < h->n; i++)
                free(h->list[i].name);
        (void) pthread_mutex_destroy(&h->lock);
        free(h);
        return NULL;
}

static uint64_t penalty_ns(const struct host *host) {
        uint64_t ms = (uint64_t) PENALTY_MS << MIN_OF(host->failures - 1, 10u);

        return MIN_OF(ms, (uint64_t) PENALTY_MAX_MS) * 1000000;
}

size_t hosts_order(struct hosts *h, uint64_t now_ns, size_t ret[static HOSTS_MAX]) {
        uint64_t until[HOSTS_MAX];
        size_t n = 0;

        (void) pthread_mutex_lock(&h->lock);
        for (size_t i = 0; i < h->n; i++) {
                struct host *host = &h->list[i];
                size_t at;

                until[i] = host->failures > 0 && now_ns < host->until_ns ? host->until_ns : 0;
                /* Whoever asks now tries it; the others don't wait with them. */
                if (host->failures > 0 && until[i] == 0)
                        host->until_ns = now_ns + penalty_ns(host);
                for (at = n++; at > 0 && until[ret[at - 1]] > until[i]; at--)
                        ret[at] = ret[at - 1];
                ret[at] = i;
        }
        (void) pthread_mutex_unlock(&h->lock);
        return n;
}

const char *hosts_name(const struct hosts *h, size_t i) {
        return h->list[i].name;
}

void hosts_worked(struct hosts *h, size_t i) {
        (void) pthread_mutex_lock(&h->lock);
        h->list[i].failures = 0;
        (void) pthread_mutex_unlock(&h->lock);
}

void hosts_failed(struct hosts *h, size_t i, uint64_t now_ns) {
        (void) pthread_mutex_lock(&h->lock);
        h->list[i].failures++;
        h->list[i].until_ns = now_ns + penalty_ns(&h->list[i]);
        (void) pthread_mutex_unlock(&h->lock);
}
