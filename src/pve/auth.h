/* SPDX-License-Identifier: Apache-2.0 */
/* auth - who we are, for requests: an API token, or a ticket that is asked for with user and password, and again before
 * its two hours are over. Thread-safe. Private to pve/. */
#pragma once
#include <stdbool.h>
#include "pve/secret.h"

struct auth;
struct pve;
struct pve_args;
struct pve_until;

/* The headers of a request. */
struct auth_headers {
        struct secret *authorization; /* the value; NULL with a ticket */
        struct secret *cookie, *csrf; /* whole lines; NULL with a token */
        struct secret *hidden;        /* sent otherwise: the password for a ticket */
};
void auth_headers_done(struct auth_headers *h);
/* Stars over all of them in @text. */
void auth_headers_hide(const struct auth_headers *h, char *text);

_must_use_ int auth_new(const struct pve_args *args, struct auth **ret, struct err *err);
struct auth *auth_free(struct auth *a);

/* @ret: auth_headers_done() it in any case. May ask for a ticket; one thread does, others wait for it. */
_must_use_ int auth_get(struct auth *a, struct pve *p, const struct pve_until *until, struct auth_headers *ret,
                        struct err *err);
/* A server refused @headers. True when asking again makes sense: they were a ticket's, which is given up now, or the
 * file has another token's secret since. */
bool auth_give_up(struct auth *a, const struct auth_headers *headers);
const char *auth_identity(const struct auth *a);
