/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/json.h"

#include "base/str.h"

const char *pve_json_str(const json_t *o, const char *key) {
        return json_string_value(json_object_get(o, key));
}

bool pve_json_u64(const json_t *o, const char *key, uint64_t *ret) {
        const json_t *v = json_object_get(o, key);

        if (json_is_string(v))
                return str_to_u64(json_string_value(v), ret);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
                return false;
        *ret = (uint64_t) json_integer_value(v);
        return true;
}

bool pve_json_true(const json_t *o, const char *key) {
        uint64_t v;

        return json_is_true(json_object_get(o, key)) || (pve_json_u64(o, key, &v) && v == 1);
}
