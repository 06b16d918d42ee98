/* SPDX-License-Identifier: Apache-2.0 */
/* config - what liblxc is told about a container: namespaces, /proc and /sys, and to leave all else alone. */
#pragma once
#include <stddef.h>
#include "base/err.h"
#include "base/strbuf.h"
#include "runtime/spec/spec.h"

enum { LXC_CONFIG_MAX_FDS = SPEC_NS_MAX };

struct lxc_config {
        struct strbuf text;          /* "key = value" lines; "@N@" stands for descriptor N of the request */
        int fds[LXC_CONFIG_MAX_FDS]; /* namespaces to join; owned */
        size_t n_fds;
};

/* @first_fd: the number that fds[0] has among the request's descriptors. @log_path: liblxc's own log of this container.
 */
_must_use_ int lxc_config_build(const struct spec *spec, size_t first_fd, const char *log_path, const char *rootfs_dir,
                                struct lxc_config *ret, struct err *err);
void lxc_config_done(struct lxc_config *c);
