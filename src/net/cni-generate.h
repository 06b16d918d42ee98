/* SPDX-License-Identifier: Apache-2.0 */
/* cni-generate - the network configuration that a node without a network add-on gets: a template of the
 * administrator's, filled with the pod ranges that the kubelet tells. Private to net/. */
#pragma once
#include "base/err.h"
#include "net/cni-template.h"

enum { CNI_TEMPLATE_MAX_BYTES = 256 * 1024 };

#define CNI_GENERATED_FILE "10-proxmox-lxcri.conflist"

/* Fills the file @template and puts the result into @dir, made if missing, as CNI_GENERATED_FILE: at once, or not at
 * all. Nothing is done when the folder has a configuration of somebody else's, or ours is the same already.
 * ERR_PRECONDITION when the template can't be read or what comes out is no network configuration. Repeatable, and safe
 * to be done twice at once. */
_must_use_ int cni_generate(const char *dir, const char *template, const struct cni_ranges *ranges, struct err *err);
