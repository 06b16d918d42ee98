/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tls.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include "base/alloc.h"
#include "base/str.h"
#include "http/handle.h"

static bool parse_pin(const char *text, struct tls_pin *ret) {
        for (size_t i = 0; i < sizeof(ret->sha256); i++) {
                int byte;

                text += i > 0 && *text == ':';
                byte = hex_decode_byte(text);
                if (byte < 0)
                        return false;
                ret->sha256[i] = (unsigned char) byte;
                text += 2;
        }
        return !*text;
}

int tls_parse_pins(const char *const *texts, struct tls_pin **ret, size_t *ret_n, struct err *err) {
        _cleanup_(freep) struct tls_pin *pins = NULL;
        const char *library = curl_version_info(CURLVERSION_NOW)->ssl_version;
        size_t n = strv_len(texts);

        if (n > TLS_PINS_MAX)
                return err_set(err, ERR_INVALID, "more than %d fingerprints", TLS_PINS_MAX);
        if (n > 0 && !str_after(library ?: "", "OpenSSL"))
                return err_set(err, ERR_UNIMPLEMENTED,
                               "fingerprints need a libcurl built with OpenSSL, this one has %.50s: use a CA file",
                               library ?: "no TLS");
        pins = xcalloc(n + 1, sizeof(*pins));
        for (size_t i = 0; i < n; i++)
                if (!parse_pin(texts[i], &pins[i]))
                        return err_set(err, ERR_INVALID,
                                       "\"%.100s\" is not the SHA-256 fingerprint of a certificate (AA:BB:...)",
                                       texts[i]);
        *ret = TAKE_PTR(pins);
        *ret_n = n;
        return 0;
}

const char *tls_pin_text(const struct tls_pin *pin, struct arena *arena) {
        static const char digits[] = "0123456789ABCDEF";
        char *text = arena_array(arena, char, 3 * sizeof(pin->sha256)), *p = text;

        for (size_t i = 0; i < sizeof(pin->sha256); i++) {
                *p++ = digits[pin->sha256[i] >> 4];
                *p++ = digits[pin->sha256[i] & 15];
                *p++ = ':';
        }
        p[-1] = '\0';
        return text;
}

/* Instead of looking at the chain. Connections belong to their handle, which outlives them. */
static int verify_pinned(X509_STORE_CTX *store, void *userdata) {
        const X509 *certificate = X509_STORE_CTX_get0_cert(store);
        struct handle *handle = userdata;
        const struct http *h = handle->http;
        unsigned len = 0;

        if (!certificate || X509_digest(certificate, EVP_sha256(), handle->met.sha256, &len) != 1 ||
            len != sizeof(handle->met.sha256)) {
                X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
                return 0;
        }
        for (size_t i = 0; i < h->n_pins; i++) {
                if (memcmp(h->pins[i].sha256, handle->met.sha256, len) == 0) {
                        X509_STORE_CTX_set_error(store, X509_V_OK);
                        return 1;
                }
        }
        handle->met_other = true;
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
}

static CURLcode on_ssl_ctx(CURL *c, void *ssl_ctx, void *userdata) {
        SSL_CTX_set_cert_verify_callback(ssl_ctx, verify_pinned, userdata);
        return CURLE_OK;
}

void tls_set(struct handle *handle, const struct http_request *req, bool with_cert) {
        const struct http *h = handle->http;
        CURL *c = handle->easy;

        handle->met_other = false;
        (void) curl_easy_setopt(c, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
        (void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
        if (with_cert && req->cert_file) {
                (void) curl_easy_setopt(c, CURLOPT_SSLCERT, req->cert_file);
                (void) curl_easy_setopt(c, CURLOPT_SSLKEY, req->key_file ?: req->cert_file);
        }
        if (h->n_pins > 0) {
                /* A name says nothing that the whole certificate does not. */
                if (curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx) != CURLE_OK ||
                    curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, handle) != CURLE_OK)
                        abort();
                (void) curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
                (void) curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
                (void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
                return;
        }
        if (req->ca_file)
                (void) curl_easy_setopt(c, CURLOPT_CAINFO, req->ca_file);
        else if (h->use_ca_path)
                (void) curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
        (void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
}
