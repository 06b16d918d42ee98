/* SPDX-License-Identifier: Apache-2.0 */
/* tls - what servers' certificates are checked by: certificate authorities and the name, or fingerprints of whole
 * certificates (curl's own pins are of keys; Proxmox and its users speak of certificates). Private to http/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

struct handle;
struct http_request;

struct tls_pin {
        unsigned char sha256[32];
};

enum { TLS_PINS_MAX = 64 };

/* Fingerprints in text, NULL-terminated, NULL ok. @ret: caller frees. ERR_INVALID; ERR_UNIMPLEMENTED when this libcurl
 * is not built with OpenSSL. */
_must_use_ int tls_parse_pins(const char *const *texts, struct tls_pin **ret, size_t *ret_n, struct err *err);
/* "AA:BB:...", as Proxmox and openssl x509 -fingerprint show it. */
const char *tls_pin_text(const struct tls_pin *pin, struct arena *arena);

/* For the next exchange of @handle; @with_cert: the server may see the request's own certificate. */
void tls_set(struct handle *handle, const struct http_request *req, bool with_cert);
