/* SPDX-License-Identifier: Apache-2.0 */
/* check - whether the cluster is as pods' CTs need it, and what to do where it is not: for the daemon's start and for
 * "proxmox-lxcri doctor". Only reads. */
#pragma once
#include "runtime/proxmox/ct.h"

enum check_level { CHECK_OK, CHECK_WARN, CHECK_FAIL };

struct check_sink {
        /* @advice: NULL when there is nothing to do. Strings live until it returns. */
        void (*found)(enum check_level level, const char *name, const char *text, const char *advice, void *userdata);
        void *userdata;
};

/* What can't be found out is a finding, too. */
void cts_check(struct cts *c, const struct ct_until *until, const struct check_sink *to);
