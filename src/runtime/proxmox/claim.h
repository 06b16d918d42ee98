/* SPDX-License-Identifier: Apache-2.0 */
/* claim - whose a Proxmox container is: the text of its description, for people who look at it in Proxmox' web page,
 * and for us. Pure. */
#pragma once
#include <stdbool.h>
#include "base/strbuf.h"

#define CLAIM_TAG "proxmox-lxcri" /* every CT of ours has it; whoever has it need not be ours */

enum { CLAIM_ID_LEN = 64, CLAIM_NODE_MAX = 64, CLAIM_RECIPE_MAX = 256 };

struct claim {
        char pod_id[CLAIM_ID_LEN + 1]; /* empty: of no pod yet; it was prepared for one to come */
        char recipe[CLAIM_RECIPE_MAX]; /* of such a one: what it was made of */
        char node[CLAIM_NODE_MAX];     /* whose daemon made it */
};

struct ct_pod;
/* At most 4 KiB; Proxmox takes 8. */
void claim_write(const struct ct_pod *pod, const char *node, struct strbuf *to);
/* For one without a pod. @recipe: one word as claim_word() makes it. */
void claim_write_prepared(const char *recipe, const char *node, struct strbuf *to);
/* @word as it stands in a claim: what could be markup or a line of its own is replaced. */
void claim_word(struct strbuf *to, const char *word);
/* False: @description, which may be NULL, claims nothing. */
bool claim_read(const char *description, struct claim *ret);
/* Is CLAIM_TAG among the tags that Proxmox gives as "a;b"? */
bool claim_has_tag(const char *tags);
