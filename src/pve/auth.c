/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/auth.h"

#include <pthread.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/client.h"

enum { TICKET_S = 90 * 60, WAIT_MS = 20, REFUSED_S = 10 };

struct auth {
        char *identity;
        bool has_token; /* else tickets */
        char *file;     /* with the token's secret; or with the password, which is read for each ticket and not kept */
        pthread_mutex_t lock; /* guards what follows */
        struct secret *token; /* the header's value */
        bool asking;          /* a thread is getting a ticket */
        struct secret *cookie, *csrf;
        uint64_t renew_ns, ticket_s;
        struct err refused; /* why there is none, till then: servers are not to be asked with each request */
        uint64_t refused_until_ns;
};

void auth_headers_done(struct auth_headers *h) {
        h->authorization = secret_unref(h->authorization);
        h->cookie = secret_unref(h->cookie);
        h->csrf = secret_unref(h->csrf);
        h->hidden = secret_unref(h->hidden);
}

void auth_headers_hide(const struct auth_headers *h, char *text) {
        secret_hide(h->authorization, text);
        secret_hide(h->cookie, text);
        secret_hide(h->csrf, text);
        secret_hide(h->hidden, text);
}

struct auth *auth_free(struct auth *a) {
        if (!a)
                return NULL;
        free(a->identity);
        free(a->file);
        (void) secret_unref(a->token);
        (void) secret_unref(a->cookie);
        (void) secret_unref(a->csrf);
        (void) pthread_mutex_destroy(&a->lock);
        free(a);
        return NULL;
}

const char *auth_identity(const struct auth *a) {
        return a->identity;
}

/* "user@realm", or "user@realm!token". */
static bool is_identity(const char *s, bool token) {
        const char *at = strrchr(s, '@'), *name = at ? strchr(at, '!') : NULL;

        for (const char *p = s; *p; p++)
                if (*p <= ' ' || *p == 0x7f || strchr(":/=;,", *p))
                        return false;
        return at && at > s && at[1] && at[1] != '!' && token == !!name && (!name || name[1]);
}

static int read_token(const struct auth *a, struct secret **ret, struct err *err) {
        _cleanup_(secret_unrefp) struct secret *value = NULL;
        _cleanup_(freep) char *prefix = xprintf("PVEAPIToken=%s=", a->identity);
        int r = secret_read(a->file, &value, err);

        if (r == 0)
                r = secret_new(prefix, secret_text(value), ret, err);
        return r < 0 ? err_wrap(err, "secret of token %s", a->identity) : 0;
}

static int check_args(const char *identity, bool token, const char *file, struct err *err) {
        if (!is_identity(identity, token))
                return err_set(err, ERR_INVALID, "\"%.100s\" is not user@realm%s", identity, token ? "!token" : "");
        if (str_empty(file))
                return err_set(err, ERR_INVALID, "no file with the %s of %s is named", token ? "secret" : "password",
                               identity);
        return 0;
}

int auth_new(const struct pve_args *args, struct auth **ret, struct err *err) {
        bool token = !str_empty(args->token_id);
        const char *identity = token ? args->token_id : args->user;
        const char *file = token ? args->token_file : args->password_file;
        struct auth *a;
        int r;

        if (token == !str_empty(args->user))
                return err_set(err, ERR_INVALID, "Proxmox VE needs a token, or a user and a password");
        r = check_args(identity, token, file, err);
        if (r < 0)
                return r;
        a = xnew(struct auth);
        (void) pthread_mutex_init(&a->lock, NULL);
        a->ticket_s = args->ticket_s ?: TICKET_S;
        a->identity = xstrdup(identity);
        a->file = xstrdup(file);
        a->has_token = token;
        r = token ? read_token(a, &a->token, err) : 0;
        if (r < 0) {
                (void) auth_free(a);
                return r;
        }
        *ret = a;
        return 0;
}

/* They become headers. */
static bool is_ticket(const char *s) {
        if (str_empty(s))
                return false;
        for (; *s; s++)
                if (*s <= ' ' || *s >= 0x7f || *s == ';' || *s == ',')
                        return false;
        return true;
}

static int take_ticket(const json_t *data, struct auth_headers *ret, struct err *err) {
        const char *ticket = pve_json_str(data, "ticket"), *csrf = pve_json_str(data, "CSRFPreventionToken");
        int r;

        if (pve_json_true(data, "NeedTFA"))
                return pve_raise(err, PVE_AUTH, "the user needs a second factor: use an API token");
        if (!is_ticket(ticket) || !is_ticket(csrf))
                return pve_raise(err, PVE_FOREIGN, "the answer has no ticket");
        r = secret_new("Cookie: PVEAuthCookie=", ticket, &ret->cookie, err);
        if (r == 0)
                r = secret_new("CSRFPreventionToken: ", csrf, &ret->csrf, err);
        explicit_bzero((char *) ticket, strlen(ticket));
        explicit_bzero((char *) csrf, strlen(csrf));
        return r;
}

static int ask_for_ticket(const struct auth *a, struct pve *p, const struct pve_until *until, struct auth_headers *ret,
                          struct err *err) {
        _cleanup_(auth_headers_done) struct auth_headers with = { 0 };
        _cleanup_(json_unrefp) json_t *answer = NULL;
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_request req = {
                .method = "POST", .path = "/access/ticket", .params = &params, .repeatable = true, .until = until
        };
        struct http_response resp;
        const char *host;
        int r = secret_read(a->file, &with.hidden, err);

        if (r < 0)
                return r;
        (void) strbuf_reserve(&params.encoded, 3 * SECRET_MAX + 1000); /* growing would leave copies behind */
        pve_param(&params, "username", a->identity);
        pve_param(&params, "password", secret_text(with.hidden));
        r = pve_exchange(p, &req, &with, &resp, &host, err);
        if (r == 0)
                r = pve_read_answer(&req, host, &resp, &answer, err);
        if (r == 0)
                r = take_ticket(json_object_get(answer, "data"), ret, err);
        if (r < 0)
                auth_headers_hide(&with, err->msg);
        if (resp.body.data)
                explicit_bzero(resp.body.data, resp.body.cap);
        http_response_done(&resp);
        return r;
}

/* The lock is held. True when @ret, or @err, is the answer; false: there is no ticket yet. */
static bool use(const struct auth *a, struct auth_headers *ret, struct err *err, int *ret_r) {
        uint64_t now = clock_monotonic_ns();

        *ret_r = 0;
        if (a->token) {
                ret->authorization = secret_ref(a->token);
                return true;
        }
        if (a->cookie && now < a->renew_ns) {
                *ret = (struct auth_headers){ .cookie = secret_ref(a->cookie), .csrf = secret_ref(a->csrf) };
                return true;
        }
        if (now < a->refused_until_ns) {
                *err = a->refused;
                *ret_r = -(int) err->code;
                return true;
        }
        return false;
}

static void keep(struct auth *a, int r, const struct auth_headers *h, const struct err *err) {
        uint64_t now = clock_monotonic_ns();

        a->asking = false;
        if (r == 0) {
                (void) secret_unref(a->cookie);
                (void) secret_unref(a->csrf);
                a->cookie = secret_ref(h->cookie);
                a->csrf = secret_ref(h->csrf);
                a->renew_ns = now + a->ticket_s * 1000000000ull;
        } else if (pve_kind(err) == PVE_AUTH) {
                a->refused = *err;
                a->refused_until_ns = now + REFUSED_S * 1000000000ull;
        }
}

int auth_get(struct auth *a, struct pve *p, const struct pve_until *until, struct auth_headers *ret, struct err *err) {
        bool mine = false, done;
        int r;

        *ret = (struct auth_headers){ 0 };
        for (;;) {
                (void) pthread_mutex_lock(&a->lock);
                done = use(a, ret, err, &r);
                mine = !done && !a->asking;
                a->asking |= mine;
                (void) pthread_mutex_unlock(&a->lock);
                if (done)
                        return r;
                if (mine)
                        break;
                r = http_pause(until->cancel_fd, until->deadline_ns, WAIT_MS, err);
                if (r < 0)
                        return r;
        }
        r = ask_for_ticket(a, p, until, ret, err);
        if (r < 0)
                (void) err_wrap(err, "get a ticket for %s", a->identity);
        (void) pthread_mutex_lock(&a->lock);
        keep(a, r, ret, err);
        (void) pthread_mutex_unlock(&a->lock);
        return r;
}

/* Tokens are replaced by new ones while we run. */
static bool reread_token(struct auth *a, const struct secret *refused) {
        struct secret *token = NULL;
        bool other;
        struct err err;

        if (read_token(a, &token, &err) < 0)
                return false;
        other = !str_eq(secret_text(token), secret_text(refused));
        (void) pthread_mutex_lock(&a->lock);
        (void) secret_unref(a->token);
        a->token = token;
        (void) pthread_mutex_unlock(&a->lock);
        return other;
}

bool auth_give_up(struct auth *a, const struct auth_headers *headers) {
        if (a->has_token)
                return reread_token(a, headers->authorization);
        (void) pthread_mutex_lock(&a->lock);
        /* Unless another thread has got a new one meanwhile. */
        if (a->cookie == headers->cookie)
                a->renew_ns = 0;
        (void) pthread_mutex_unlock(&a->lock);
        return true;
}
