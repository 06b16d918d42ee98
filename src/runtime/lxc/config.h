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

/* What liblxc has to mount before it pivots the root: what user namespaces can't mount later, and procfs for itself. */
enum lxc_mounted {
        LXC_MOUNTED_NOT,
        LXC_MOUNTED_NEW,  /* a new file system, as the spec lists it */
        LXC_MOUNTED_ONLY, /* the same, but not listed by the spec: to be taken away */
        LXC_MOUNTED_BOUND /* the host's, not listed: to be taken away */
};
enum lxc_mounted lxc_mounted_proc(const struct spec *spec);
enum lxc_mounted lxc_mounted_sys(const struct spec *spec);
/* May the container mount a sysfs of its own? That needs a network namespace that its user namespace owns. */
bool lxc_may_mount_sys(const struct spec *spec);
/* Is @m on @path, "/proc"? With or without slashes around it. */
bool lxc_mount_is_on(const struct spec_mount *m, const char *path);

/* @first_fd: the number that fds[0] has among the request's descriptors. @log_path: liblxc's own log of this container.
 */
_must_use_ int lxc_config_build(const struct spec *spec, size_t first_fd, const char *log_path, const char *rootfs_dir,
                                struct lxc_config *ret, struct err *err);
void lxc_config_done(struct lxc_config *c);
