/* SPDX-License-Identifier: Apache-2.0 */
/* pve-answer - a status, a reason and any body as the answer of a Proxmox VE host: an object, or an error with a kind
 * and a printable text. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "pve/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const unsigned statuses[] = { 200, 400, 401, 403, 500, 501, 595, 302, 404, 204 };
        const struct pve_request req = { .path = "/nodes/pve1/lxc" };
        struct http_response resp = { .body = STRBUF(PVE_BODY_MAX), .reason = "Parameter verification failed." };
        json_t *answer = NULL;
        struct err err;

        if (size == 0)
                return 0;
        resp.status = statuses[data[0] % ELEMENTSOF(statuses)];
        strbuf_append(&resp.body, data + 1, size - 1);
        if (pve_read_answer(&req, "host:8006", &resp, &answer, &err) == 0) {
                assert(json_is_object(answer));
        } else {
                assert(!answer && pve_kind(&err) != PVE_NONE && err.msg[0]);
                for (const char *p = err.msg; *p; p++)
                        assert((unsigned char) *p >= ' ' && *p != 0x7f);
        }
        json_decref(answer);
        http_response_done(&resp);
        return 0;
}
