/* SPDX-License-Identifier: Apache-2.0 */
/* config - the configuration file's reader. */
#include <stddef.h>
#include <stdint.h>
#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct config *c = NULL;
        struct err err;

        if (config_load_text("fuzz", (const char *) data, size, NULL, &c, &err) == 0)
                (void) config_free(c);
        return 0;
}
