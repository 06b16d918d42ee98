/* SPDX-License-Identifier: Apache-2.0 */
/* not-yet - verbs that are not there yet: they fail, so that no caller takes this program for a runtime that it can
 * use. */
#include "cli/oci/runtime.h"

#define NOT_YET(word)                                                                                                  \
        int oci_do_##word(struct runtime *rt, const struct cli_args *args, struct err *err) {                          \
                return err_set(err, ERR_UNIMPLEMENTED, #word ": it is not there yet");                                 \
        }
NOT_YET(spec)
NOT_YET(features)
