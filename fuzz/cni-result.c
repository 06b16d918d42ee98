/* SPDX-License-Identifier: Apache-2.0 */
/* cni-result - any bytes as a plug-in's answer: refused, or addresses that are addresses. */
#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "base/json.h"
#include "net/cni-result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(const char *text, size_t size, const char *version) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        _cleanup_(json_unrefp) json_t *result = NULL;
        struct in6_addr bin;
        const char **ips;
        struct err err;

        if (cni_result_parse(text, size, version, &result, &err) < 0)
                return;
        if (cni_result_ips(result, "eth0", arena, &ips, &err) < 0)
                return;
        for (; *ips; ips++)
                assert(inet_pton(strchr(*ips, ':') ? AF_INET6 : AF_INET, *ips, &bin) == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char msg[64];
        int code;

        one((const char *) data, size, "0.2.0");
        one((const char *) data, size, "1.0.0");
        if (cni_result_error((const char *) data, size, &code, msg, sizeof(msg)))
                assert(strlen(msg) < sizeof(msg) && code >= 0);
        return 0;
}
