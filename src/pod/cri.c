/* SPDX-License-Identifier: Apache-2.0 */
/* cri - helpers for CRI's generated messages. */
#include "pod/cri.h"

#include <stdlib.h>
#include "base/str.h"

ProtobufCMessage *cri_message_dup(const ProtobufCMessage *m) {
        size_t len = protobuf_c_message_get_packed_size(m);
        uint8_t *buf = malloc(len ? len : 1);
        ProtobufCMessage *copy;

        if (!buf)
                return NULL;
        protobuf_c_message_pack(m, buf);
        copy = protobuf_c_message_unpack(m->descriptor, NULL, len, buf);
        free(buf);
        return copy;
}

void cri_message_free(void *m) {
        if (m)
                protobuf_c_message_free_unpacked(m, NULL);
}

const char *cri_entries_get(const void *entries, size_t n, const char *key) {
        struct cri_entry *const *list = entries;

        /* Of a key given twice the later wins, as in every protobuf map. */
        for (size_t i = n; i > 0; i--)
                if (str_eq(list[i - 1]->key, key))
                        return list[i - 1]->value;
        return NULL;
}

bool cri_entries_match(const void *wanted, size_t n_wanted, const void *have, size_t n_have) {
        struct cri_entry *const *list = wanted;

        for (size_t i = 0; i < n_wanted; i++) {
                const char *value = cri_entries_get(have, n_have, list[i]->key);
                if (!value || !str_eq(value, list[i]->value))
                        return false;
        }
        return true;
}
