/* SPDX-License-Identifier: Apache-2.0 */
/* launcher - the process in which liblxc starts init, forked before there is anything to start: while it isolates
 * itself and loads liblxc, its creator reads the bundle and makes what goes into the container. Private to oci/. */
#pragma once
#include "oci/creation.h"
#include "runtime/lxc/config.h"

struct launcher {
        pid_t pid;               /* 0: none */
        int init[2], watcher[2]; /* sockets: ours, the other's, which is closed once there is a launcher */
        int log_fd;              /* what liblxc has to say */
};
#define LAUNCHER_EMPTY ((struct launcher){ .init = { -1, -1 }, .watcher = { -1, -1 }, .log_fd = -1 })

/* Must it be born in the container's group, where init has to be? Then there is a group before there is a launcher. */
bool launcher_needs_group(const struct creation *c);
_must_use_ int launcher_fork(struct launcher *l, struct creation *c, struct err *err);
/* What liblxc is to start. A launcher that has failed has said why on its init[0]: no error here. */
_must_use_ int launcher_order(struct launcher *l, const struct lxc_config *config, int rootfs, int init_fd,
                              struct err *err);
/* The watcher goes on in its place. */
void launcher_wait(struct launcher *l);
/* One that has not let go of init is killed. */
void launcher_done(struct launcher *l);
