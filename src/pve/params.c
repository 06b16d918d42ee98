/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/params.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include "base/alloc.h"
#include "base/cleanup.h"

static void encode(struct strbuf *to, const void *bytes, size_t len, const char *plain) {
        const unsigned char *p = bytes;

        for (size_t i = 0; i < len; i++) {
                /* memchr: the string's end is no plain byte */
                if (p[i] < 0x80 && (isalnum(p[i]) || memchr(plain, p[i], strlen(plain))))
                        strbuf_putc(to, (char) p[i]);
                else
                        strbuf_printf(to, "%%%02X", p[i]);
        }
}

void pve_encode_path(struct strbuf *to, const char *s) {
        encode(to, s, strlen(s), "-._~/:!@");
}

void pve_param_bytes(struct pve_params *p, const char *name, const void *value, size_t len) {
        if (p->encoded.len > 0)
                strbuf_putc(&p->encoded, '&');
        encode(&p->encoded, name, strlen(name), "-._~");
        strbuf_putc(&p->encoded, '=');
        encode(&p->encoded, value, len, "-._~");
}

void pve_param(struct pve_params *p, const char *name, const char *value) {
        if (value)
                pve_param_bytes(p, name, value, strlen(value));
}

void pve_param_u64(struct pve_params *p, const char *name, uint64_t value) {
        pve_param_printf(p, name, "%" PRIu64, value);
}

void pve_param_printf(struct pve_params *p, const char *name, const char *fmt, ...) {
        _cleanup_(freep) char *value = NULL;
        va_list ap;

        va_start(ap, fmt);
        value = xvprintf(fmt, ap);
        va_end(ap);
        pve_param(p, name, value);
}

void pve_params_add(struct pve_params *p, const struct pve_params *more) {
        if (p->encoded.len > 0 && more->encoded.len > 0)
                strbuf_putc(&p->encoded, '&');
        strbuf_append(&p->encoded, strbuf_str(&more->encoded), more->encoded.len);
        p->encoded.overflow |= more->encoded.overflow;
}

void pve_params_done(struct pve_params *p) {
        if (p->encoded.data)
                explicit_bzero(p->encoded.data, p->encoded.cap);
        strbuf_done(&p->encoded);
}
