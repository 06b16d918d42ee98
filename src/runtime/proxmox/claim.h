/* SPDX-License-Identifier: Apache-2.0 */
/* claim - whose a Proxmox container is: the text of its description, for people who look at it in Proxmox' web page,
 * and for us. Pure. */
#pragma once
#include <stdbool.h>
#include "base/strbuf.h"

#define CLAIM_TAG "proxmox-lxcri" /* every CT of ours has it; whoever has it need not be ours */

enum { CLAIM_ID_LEN = 64, CLAIM_NODE_MAX = 64 };

struct claim {
        char pod_id[CLAIM_ID_LEN + 1];
        char node[CLAIM_NODE_MAX]; /* whose daemon made it */
};

struct ct_pod;
/* At most 4 KiB; Proxmox takes 8. */
void claim_write(const struct ct_pod *pod, const char *node, struct strbuf *to);
/* False: @description, which may be NULL, claims nothing. */
bool claim_read(const char *description, struct claim *ret);
/* Is CLAIM_TAG among the tags that Proxmox gives as "a;b"? */
bool claim_has_tag(const char *tags);
