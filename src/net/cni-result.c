/* SPDX-License-Identifier: Apache-2.0 */
/* cni-result - see cni-result.h. Versions 0.1.0 and 0.2.0 have ip4 and ip6; from 0.3.0 on there is a list. */
#include "net/cni-result.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "base/str.h"
#include "net/cni-conf.h"

static bool has_lists(const char *version) {
        return cni_version_compare(version, "0.3.0") >= 0;
}

/* "10.1.2.3/24" to "10.1.2.3" in @out. @ret_family: AF_INET or AF_INET6. */
static bool split_address(const char *cidr, char out[INET6_ADDRSTRLEN], int *ret_family) {
        const char *slash = cidr ? strchr(cidr, '/') : NULL;
        struct in6_addr bin;
        uint64_t prefix;

        if (!slash || slash - cidr >= INET6_ADDRSTRLEN || !str_to_u64(slash + 1, &prefix))
                return false;
        memcpy(out, cidr, (size_t) (slash - cidr));
        out[slash - cidr] = '\0';
        *ret_family = strchr(out, ':') ? AF_INET6 : AF_INET;
        return prefix <= (*ret_family == AF_INET6 ? 128 : 32) && inet_pton(*ret_family, out, &bin) == 1;
}

static int check_ips(json_t *result, const char *version, struct err *err) {
        const json_t *ips = json_object_get(result, "ips"), *ifs = json_object_get(result, "interfaces"), *index;
        char text[INET6_ADDRSTRLEN];
        int family;
        json_t *ip;
        size_t i;

        if ((ips && !json_is_array(ips) && !json_is_null(ips)) || (ifs && !json_is_array(ifs) && !json_is_null(ifs)))
                return err_set(err, ERR_INTERNAL, "\"ips\" or \"interfaces\" is not a list");
        if (json_array_size(ips) > CNI_IPS_MAX)
                return err_set(err, ERR_INTERNAL, "more than %d addresses", CNI_IPS_MAX);
        json_array_foreach(ips, i, ip) {
                if (!split_address(json_string_value(json_object_get(ip, "address")), text, &family))
                        return err_set(err, ERR_INTERNAL, "address %zu is not of the form 10.0.0.1/24", i + 1);
                index = json_object_get(ip, "interface");
                if (index && !json_is_null(index) &&
                    (!json_is_integer(index) || json_integer_value(index) < 0 ||
                     (size_t) json_integer_value(index) >= json_array_size(ifs)))
                        return err_set(err, ERR_INTERNAL, "address %s is of an interface that is not listed", text);
                /* Versions before 1.0.0 demand it, later ones know it no more. */
                if (cni_version_compare(version, "1.0.0") < 0)
                        (void) json_object_set_new(ip, "version", json_string(family == AF_INET6 ? "6" : "4"));
        }
        return 0;
}

static int check_old(const json_t *result, struct err *err) {
        char text[INET6_ADDRSTRLEN];
        int family;

        for (const char *const *k = (const char *const[]){ "ip4", "ip6", NULL }; *k; k++) {
                const json_t *ip = json_object_get(result, *k);

                if (ip && !json_is_null(ip) &&
                    !split_address(json_string_value(json_object_get(ip, "ip")), text, &family))
                        return err_set(err, ERR_INTERNAL, "%s has no address of the form 10.0.0.1/24", *k);
        }
        return 0;
}

int cni_result_parse(const char *text, size_t len, const char *version, json_t **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        const json_t *v;
        const char *own;
        int r;

        r = json_load_bounded(text, len, CNI_RESULT_MAX_VALUES, "its answer", &o, err);
        if (r < 0) {
                err->code = ERR_INTERNAL;
                return -ERR_INTERNAL;
        }
        v = json_object_get(o, "cniVersion");
        own = v && json_string_length(v) > 0 ? cni_version(json_string_value(v)) : version;
        if (!own || (v && !json_is_string(v)) || has_lists(own) != has_lists(version))
                return err_set(err, ERR_INTERNAL, "its answer is of CNI version %.40s where %s was asked for",
                               json_string_value(v) ?: "?", version);
        r = has_lists(version) ? check_ips(o, version, err) : check_old(o, err);
        if (r < 0)
                return err_wrap(err, "its answer is wrong");
        (void) json_object_set_new(o, "cniVersion", json_string(version));
        *ret = TAKE_PTR(o);
        return 0;
}

static bool is_of(const json_t *result, const json_t *ip, const char *ifname) {
        const json_t *index = json_object_get(ip, "interface"), *iface;

        if (!json_is_integer(index))
                return true;
        iface = json_array_get(json_object_get(result, "interfaces"), (size_t) json_integer_value(index));
        return str_eq(json_string_value(json_object_get(iface, "name")), ifname);
}

struct ips {
        const char *of[2][CNI_IPS_MAX + 2];
        size_t n[2];
};

static int take(struct ips *ips, const char *cidr, struct arena *arena, struct err *err) {
        char text[INET6_ADDRSTRLEN];
        int family, six;

        if (!split_address(cidr, text, &family))
                return err_set(err, ERR_INTERNAL, "the network's answer holds a wrong address");
        six = family == AF_INET6;
        if (ips->n[six] >= CNI_IPS_MAX)
                return err_set(err, ERR_INTERNAL, "the network's answer has too many addresses");
        ips->of[six][ips->n[six]++] = arena_strdup(arena, text);
        return 0;
}

int cni_result_ips(const json_t *result, const char *ifname, struct arena *arena, const char ***ret, struct err *err) {
        const json_t *list = json_object_get(result, "ips"), *ip;
        struct ips ips = { .n = { 0 } };
        const char **all;
        size_t i;
        int r = 0;

        /* First those of the interface; when there are none, all. */
        for (int pass = 0; pass < 2 && ips.n[0] + ips.n[1] == 0; pass++)
                json_array_foreach(list, i, ip) {
                        if (r == 0 && (pass == 1 || is_of(result, ip, ifname)))
                                r = take(&ips, json_string_value(json_object_get(ip, "address")), arena, err);
                }
        for (const char *const *k = (const char *const[]){ "ip4", "ip6", NULL }; *k && r == 0; k++) {
                ip = json_object_get(result, *k);
                if (json_is_object(ip))
                        r = take(&ips, json_string_value(json_object_get(ip, "ip")), arena, err);
        }
        if (r < 0)
                return r;
        all = arena_array(arena, const char *, ips.n[0] + ips.n[1] + 1);
        memcpy(all, ips.of[0], ips.n[0] * sizeof(*all));
        memcpy(all + ips.n[0], ips.of[1], ips.n[1] * sizeof(*all));
        *ret = all;
        return 0;
}

void cni_printable(const char *text, size_t len, char *ret, size_t size) {
        size_t n = 0;

        for (size_t i = 0; i < len && n + 1 < size; i++) {
                unsigned char c = (unsigned char) text[i];

                if (c == '\n' || c == '\r' || c == '\t')
                        c = ' ';
                if (c == ' ' && (n == 0 || ret[n - 1] == ' '))
                        continue;
                ret[n++] = c < 0x20 || c >= 0x7f ? '?' : (char) c;
        }
        while (n > 0 && ret[n - 1] == ' ')
                n--;
        ret[n] = '\0';
}

bool cni_result_error(const char *text, size_t len, int *ret_code, char *msg, size_t msg_size) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        const json_t *code, *what, *details;
        char raw[900];
        struct err ignored;
        int n;

        if (json_load_bounded(text, len, CNI_RESULT_MAX_VALUES, "error", &o, &ignored) < 0)
                return false;
        code = json_object_get(o, "code");
        what = json_object_get(o, "msg");
        details = json_object_get(o, "details");
        if (!json_is_integer(code) && !json_is_string(what))
                return false;
        *ret_code =
                json_integer_value(code) >= 0 && json_integer_value(code) < 100000 ? (int) json_integer_value(code) : 0;
        n = snprintf(raw, sizeof(raw), "%s%s%s", json_string_value(what) ?: "no message",
                     json_string_length(details) > 0 ? "; " : "", json_string_value(details) ?: "");
        cni_printable(raw, MIN_OF((size_t) n, sizeof(raw) - 1), msg, msg_size);
        return true;
}
