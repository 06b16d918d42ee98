/* SPDX-License-Identifier: Apache-2.0 */
/* spdy-client - any bytes as what a server says: only streams that are open are heard of, and each ends once. */
#include <assert.h>
#include <stdint.h>
#include "base/attr.h"
#include "streaming/spdy-client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned ends[SPDY_CLIENT_STREAMS_MAX];

static void opened(void *userdata, uint32_t id) {
        assert(id == 1 || id == 3);
}

static void on_data(void *userdata, uint32_t id, const uint8_t *data, size_t len) {
        assert((id == 1 || id == 3) && len && !ends[id / 2]);
}

static void ended(void *userdata, uint32_t id) {
        assert((id == 1 || id == 3) && ends[id / 2]++ == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const struct spdy_client_handler handler = { opened, on_data, ended };
        static const char *const headers[] = { "streamtype", "stdin", NULL };
        struct queue out = QUEUE(1 << 20);
        size_t step = size ? data[0] % 16 + 1 : 1;
        struct spdy_client c;
        struct err err;

        ends[0] = ends[1] = 0;
        spdy_client_init(&c, &out, &handler, NULL);
        (void) spdy_client_open(&c, headers);
        (void) spdy_client_open(&c, headers);
        for (size_t i = 1; i < size; i += step)
                if (spdy_client_feed(&c, data + i, MIN_OF(step, size - i), &err) < 0)
                        break;
        queue_done(&out);
        return 0;
}
