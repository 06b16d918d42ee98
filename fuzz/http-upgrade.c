/* SPDX-License-Identifier: Apache-2.0 */
/* http-upgrade - the request that a streaming connection begins with. What is taken is within its limits, does not
 * depend on what follows, and nothing is decided before the head has come whole. */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "base/str.h"
#include "streaming/upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_protocols(const struct upgrade_protocols *p) {
        assert(p->n <= UPGRADE_PROTOCOLS_MAX);
        for (size_t i = 0; i < p->n; i++)
                assert(*p->names[i] && strlen(p->names[i]) < UPGRADE_PROTOCOL_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const known[] = { "v4.channel.k8s.io", "channel.k8s.io", NULL };
        _cleanup_strbuf_ struct strbuf out = STRBUF(64 * 1024);
        struct upgrade_request q, again;
        const char *head = (const char *) data;
        ssize_t n = upgrade_parse(head, size, &q);

        if (n == 0)
                assert(size < UPGRADE_HEAD_MAX);
        if (n < 0) {
                upgrade_refuse(&out, (int) -n, known, "no");
                assert(str_after(out.data, "HTTP/1.1 ") && !strstr(out.data, " Error\r\n"));
        }
        if (n <= 0)
                return 0;
        assert((size_t) n <= size && memcmp(head + n - 4, "\r\n\r\n", 4) == 0);
        assert(upgrade_parse(head, (size_t) n, &again) == n && str_eq(q.path, again.path));
        assert(str_eq(q.query, again.query) && str_eq(q.ws_key, again.ws_key));
        assert(upgrade_parse(head, (size_t) n - 1, &again) == 0);
        assert(q.path[0] == '/' && strlen(q.path) < UPGRADE_PATH_MAX && strlen(q.query) < UPGRADE_QUERY_MAX);
        check_protocols(&q.stream_protocols);
        check_protocols(&q.ws_protocols);
        (void) upgrade_choose(&q.stream_protocols, known);
        if (*q.ws_key) {
                assert(strlen(q.ws_key) == UPGRADE_KEY_LEN);
                upgrade_accept_websocket(&out, q.ws_key, NULL);
                assert(str_ends_with(out.data, "=\r\n\r\n"));
        }
        return 0;
}
