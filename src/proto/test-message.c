/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "base/alloc.h"
#include "proto/cri.h"
#include "proto/wire.h"

#define DESC(m) (&runtime__v1__##m##__descriptor)

static void test_utf8(void) {
        static const struct {
                const char *s;
                bool ok;
        } table[] = {
                { "", true },
                { "plain ascii text", true },
                { "gr\xc3\xbc\xc3\x9f", true },
                { "\xe2\x82\xac \xf0\x9f\x98\x80", true },
                { "\xf4\x8f\xbf\xbf", true },
                { "\xf4\x90\x80\x80", false },
                { "\xc0\x80", false },
                { "\xe0\x80\x80", false },
                { "\xf0\x80\x80\x80", false },
                { "\xed\xa0\x80", false },
                { "12345678\xff", false },
                { "\x80", false },
                { "abc\xe2\x82", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                assert(wire_utf8_is_valid(table[i].s, strlen(table[i].s)) == table[i].ok);
}

/* A request with nested messages, a map, repeated strings and bytes. */
static size_t sample(uint8_t **ret) {
        Runtime__V1__PodSandboxConfig__LabelsEntry label = RUNTIME__V1__POD_SANDBOX_CONFIG__LABELS_ENTRY__INIT;
        Runtime__V1__PodSandboxConfig__LabelsEntry *labels[] = { &label };
        Runtime__V1__PodSandboxMetadata meta = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
        Runtime__V1__DNSConfig dns = RUNTIME__V1__DNSCONFIG__INIT;
        Runtime__V1__PodSandboxConfig config = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
        Runtime__V1__RunPodSandboxRequest q = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
        char *servers[] = { (char *) "10.0.0.1", (char *) "10.0.0.2" };

        label.key = (char *) "app";
        label.value = (char *) "w\xc3\xa9"
                               "b";
        meta.name = (char *) "pod";
        dns.n_servers = 2;
        dns.servers = servers;
        config.metadata = &meta;
        config.dns_config = &dns;
        config.n_labels = 1;
        config.labels = labels;
        q.config = &config;
        q.runtime_handler = (char *) "lxc";
        *ret = xcalloc(1, 1024);
        return protobuf_c_message_pack(&q.base, *ret);
}

static void test_round_trip(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100000), *b = arena_new(100000), *tiny = arena_new(64);
        _cleanup_(freep) uint8_t *wire = NULL;
        size_t n = sample(&wire);
        Runtime__V1__RunPodSandboxRequest *q;
        ProtobufCMessage *m = NULL, *copy = NULL;
        struct err err = { 0 };

        assert(proto_unpack(DESC(run_pod_sandbox_request), wire, n, a, 100000, &m, &err) == 0);
        assert(proto_copy(m, b, &copy, &err) == 0);
        a = arena_free(a);
        q = (void *) copy;
        assert(strcmp(q->config->labels[0]->value, "w\xc3\xa9"
                                                   "b") == 0);
        assert(strcmp(q->config->dns_config->servers[1], "10.0.0.2") == 0 && !q->config->linux);
        assert(proto_copy(copy, tiny, &m, &err) == -ERR_EXHAUSTED);
}

/* Cut anywhere and with any one byte changed, nothing worse than an error happens. */
static void test_damage(void) {
        _cleanup_(freep) uint8_t *wire = NULL;
        size_t n = sample(&wire), good = 0;
        ProtobufCMessage *m;
        struct err err;

        for (size_t cut = 0; cut <= n; cut++) {
                struct arena *a = arena_new(100000);
                uint8_t *exact = xcalloc(1, cut ? cut : 1);
                memcpy(exact, wire, cut);
                good += proto_unpack(DESC(run_pod_sandbox_request), exact, cut, a, 100000, &m, &err) == 0;
                free(exact);
                (void) arena_free(a);
        }
        assert(good >= 2 && good < 6);
        for (size_t at = 0; at < n; at++)
                for (unsigned v = 0; v < 256; v++) {
                        struct arena *a = arena_new(100000);
                        uint8_t old = wire[at];
                        wire[at] = (uint8_t) v;
                        (void) !proto_unpack(DESC(run_pod_sandbox_request), wire, n, a, 100000, &m, &err);
                        wire[at] = old;
                        (void) arena_free(a);
                }
}

static void test_hostile(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 30);
        static const uint8_t nul[] = { 0x0a, 3, 'a', 0, 'b' }, bad[] = { 0x0a, 1, 0xff }, group[] = { 0x0b, 0x0c };
        static const uint8_t zero[] = { 0x02, 0 }, huge[] = { 0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f };
        static const uint8_t unknown[] = { 0xf8, 0x7f, 1 };
        _cleanup_(freep) uint8_t *bomb = xcalloc(1, 2 << 20);
        ProtobufCMessage *m = NULL;
        struct err err = { 0 };

        assert(proto_unpack(DESC(version_request), nul, sizeof(nul), a, 1000, &m, &err) == -ERR_INTERNAL);
        assert(strstr(err.msg, "runtime.v1.VersionRequest.version: string field contains a NUL"));
        assert(proto_unpack(DESC(version_request), bad, sizeof(bad), a, 1000, &m, &err) == -ERR_INTERNAL);
        assert(proto_unpack(DESC(version_request), group, sizeof(group), a, 1000, &m, &err) == -ERR_INTERNAL);
        assert(proto_unpack(DESC(version_request), zero, sizeof(zero), a, 1000, &m, &err) == -ERR_INTERNAL);
        assert(proto_unpack(DESC(version_request), huge, sizeof(huge), a, 1000, &m, &err) == -ERR_INTERNAL);
        assert(proto_unpack(DESC(version_request), unknown, sizeof(unknown), a, 1000, &m, &err) == 0);
        assert(proto_unpack(DESC(version_request), NULL, 0, a, 1000, &m, &err) == 0);
        /* A million empty sub-messages in two megabytes. */
        for (size_t i = 0; i < 1 << 20; i++)
                bomb[2 * i] = 1 << 3 | 2;
        assert(proto_unpack(DESC(list_pod_sandbox_response), bomb, 2 << 20, a, 8 << 20, &m, &err) == -ERR_EXHAUSTED);
        assert(arena_used(a) < 10 << 20);
}

int main(void) {
        test_utf8();
        test_round_trip();
        test_damage();
        test_hostile();
        return 0;
}
