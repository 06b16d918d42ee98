/* SPDX-License-Identifier: Apache-2.0 */
#include "http/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/str.h"

static CURLU *url_cleanup(CURLU *u) {
        curl_url_cleanup(u);
        return NULL;
}
DEFINE_CLEANUP(CURLU *, url_cleanup)

/* curl reports out of memory and bad input alike; both mean that there is no URL. */
static CURLU *parse(const char *url) {
        _cleanup_(url_cleanupp) CURLU *u = NULL;

        if (strlen(url) > URL_MAX)
                return NULL;
        u = curl_url();
        if (!u || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
                return NULL;
        return TAKE_PTR(u);
}

static const char *part(CURLU *u, CURLUPart what, unsigned flags, struct arena *arena) {
        char *value = NULL;
        const char *copy;

        if (curl_url_get(u, what, &value, flags) != CURLUE_OK)
                return NULL;
        copy = arena_strdup(arena, value);
        curl_free(value);
        return copy;
}

static bool scheme_is_http(const char *scheme) {
        return str_eq(scheme, "http") || str_eq(scheme, "https");
}

/* Takes user, password and fragment off; false when what is left is not http(s) to a host. */
static bool strip(CURLU *u, struct arena *arena) {
        const char *host = part(u, CURLUPART_HOST, 0, arena);

        if (!scheme_is_http(part(u, CURLUPART_SCHEME, 0, arena)) || str_empty(host))
                return false;
        return curl_url_set(u, CURLUPART_USER, NULL, 0) == CURLUE_OK &&
               curl_url_set(u, CURLUPART_PASSWORD, NULL, 0) == CURLUE_OK &&
               curl_url_set(u, CURLUPART_OPTIONS, NULL, 0) == CURLUE_OK &&
               curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK;
}

int url_normalize(const char *url, struct arena *arena, const char **ret, struct err *err) {
        _cleanup_(url_cleanupp) CURLU *u = parse(url);
        const char *normal;

        if (!u || !strip(u, arena) || !(normal = part(u, CURLUPART_URL, 0, arena)))
                return err_set(err, ERR_INVALID, "not an http or https URL");
        *ret = normal;
        return 0;
}

int url_redirect(const char *base, const char *location, struct arena *arena, const char **ret, struct err *err) {
        _cleanup_(url_cleanupp) CURLU *u = parse(base);
        const char *target;

        /* Spaces in Location are common and harmless; control bytes are refused by curl. */
        if (!u || strlen(location) > URL_MAX ||
            curl_url_set(u, CURLUPART_URL, location, CURLU_URLENCODE) != CURLUE_OK || !strip(u, arena) ||
            !(target = part(u, CURLUPART_URL, 0, arena)))
                return err_set(err, ERR_INVALID, "redirect from %s to something that is no http or https URL",
                               url_for_people(base, arena));
        if (url_is_https(base) && !url_is_https(target))
                return err_set(err, ERR_PRECONDITION, "refused redirect from https to plain http (%s)",
                               url_for_people(target, arena));
        *ret = target;
        return 0;
}

bool url_is_https(const char *url) {
        return strncasecmp(url, "https://", 8) == 0;
}

/* Compares one part of two URLs, ignoring case: schemes and hosts have none. */
static bool same_part(CURLU *a, CURLU *b, CURLUPart what) {
        char *x = NULL, *y = NULL;
        bool same = curl_url_get(a, what, &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                    curl_url_get(b, what, &y, CURLU_DEFAULT_PORT) == CURLUE_OK && strcasecmp(x, y) == 0;

        curl_free(x);
        curl_free(y);
        return same;
}

bool url_same_origin(const char *a, const char *b) {
        _cleanup_(url_cleanupp) CURLU *x = parse(a), *y = NULL;

        y = parse(b);
        return x && y && same_part(x, y, CURLUPART_SCHEME) && same_part(x, y, CURLUPART_HOST) &&
               same_part(x, y, CURLUPART_PORT);
}

const char *url_host(const char *url, struct arena *arena) {
        _cleanup_(url_cleanupp) CURLU *u = parse(url);
        const char *host, *port;

        if (!u || !(host = part(u, CURLUPART_HOST, 0, arena)))
                return NULL;
        port = part(u, CURLUPART_PORT, 0, arena);
        return port ? arena_printf(arena, "%s:%s", host, port) : host;
}

const char *url_for_people(const char *url, struct arena *arena) {
        _cleanup_(url_cleanupp) CURLU *u = parse(url);
        const char *clean;

        if (!u || !strip(u, arena) || curl_url_set(u, CURLUPART_QUERY, NULL, 0) != CURLUE_OK ||
            !(clean = part(u, CURLUPART_URL, 0, arena)))
                return "(bad URL)";
        if (strlen(clean) > 200)
                return arena_printf(arena, "%.200s...", clean);
        return clean;
}

const char *url_encode(const char *s, struct arena *arena) {
        char *encoded = curl_easy_escape(NULL, s, 0);
        const char *copy;

        if (!encoded)
                abort();
        copy = arena_strdup(arena, encoded);
        curl_free(encoded);
        return copy;
}

bool url_host_is_loopback(const char *host) {
        char name[64];
        const char *end;
        struct in_addr v4;
        struct in6_addr v6;

        if (host[0] == '[') {
                host++;
                end = strchr(host, ']');
        } else {
                end = host + strcspn(host, ":/");
        }
        if (!end || (size_t) (end - host) >= sizeof(name))
                return false;
        memcpy(name, host, (size_t) (end - host));
        name[end - host] = '\0';
        if (strcasecmp(name, "localhost") == 0)
                return true;
        if (inet_pton(AF_INET, name, &v4) == 1)
                return ntohl(v4.s_addr) >> 24 == 127;
        return inet_pton(AF_INET6, name, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
