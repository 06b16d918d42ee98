/* SPDX-License-Identifier: Apache-2.0 */
/* cni-conf - any bytes as a network configuration: refused or turned into what plug-ins read, and back. */
#include <assert.h>
#include <stdint.h>
#include "base/json.h"
#include "net/cni-conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(cni_conf_freep) struct cni_conf *c = NULL, *again = NULL;
        _cleanup_(json_unrefp) json_t *j = NULL, *caps = NULL;
        struct err err;

        if (cni_conf_parse((const char *) data, size, size % 2, &c, &err) < 0)
                return 0;
        caps = json_pack("{s:i, s:i}", "portMappings", 1, "dns", 2);
        for (size_t i = 0; i < json_array_size(c->plugins); i++) {
                _cleanup_(json_unrefp) json_t *in = cni_conf_input(c, i, caps, NULL);

                assert(json_object_get(in, "type") && cni_conf_type(c, i));
                (void) cni_conf_ipam_type(c, i);
        }
        j = cni_conf_to_json(c);
        assert(j && cni_conf_from_json(j, &again, &err) == 0);
        return 0;
}
