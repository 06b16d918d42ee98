/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/sock.h"
#include "runtime/crun/bundle.h"
#include "runtime/hooks/bundle.h"
#include "runtime/lxc/create.h"

enum { CRUN_FDS_FIXED = 3 }; /* KEEPER_SPAWN_CRUN's */

static int spawn_crun(struct engine_lxc *e, const struct spec *spec, const struct crun_bundle *bundle,
                      const struct engine_stdio *io, struct keeper_reply *reply, struct err *err) {
        _cleanup_(fd_closep) int mount_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        _cleanup_(fd_closep) int net_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        int fds[SOCK_MAX_FDS] = { mount_ns, spec->rootfs_mount_fd, net_ns }, r;
        struct keeper_call call = {
                .type = KEEPER_SPAWN,
                .id = spec->id,
                .config = crun_program(),
                .fds = fds,
                .n_fds = CRUN_FDS_FIXED + bundle->n_mounts,
                .cancel_fd = -1,
                /* crun runs them all while it creates. */
                .timeout_ms = hooks_are_empty(&spec->hooks) ? 0 : HOOKS_FOR_EVER_MS,
                .flags = KEEPER_SPAWN_CRUN | (io->open_stdin ? KEEPER_SPAWN_STDIN : 0u) |
                         (io->stdin_once ? KEEPER_SPAWN_STDIN_ONCE : 0u) |
                         (spec->process.terminal ? KEEPER_SPAWN_TERMINAL : 0u),
        };

        if (mount_ns < 0 || net_ns < 0)
                return err_sys(err, errno, "open the host's namespaces");
        if (call.n_fds > SOCK_MAX_FDS)
                return err_set(err, ERR_EXHAUSTED, "the container has more mounts than the %d that are possible",
                               SOCK_MAX_FDS - CRUN_FDS_FIXED);
        r = SPEC_HAS_USER_NS(spec) ? engine_take_root(&spec->user_ids, &call, err) : 0;
        if (r < 0)
                return r;
        memcpy(fds + CRUN_FDS_FIXED, bundle->mounts, bundle->n_mounts * sizeof(int));
        r = keeper_client_call(e->keeper, &call, reply, err);
        if (r < 0)
                crun_explain(&spec->hooks, err);
        return r < 0 ? -(int) err->code : 0;
}

int engine_create_by_crun(struct engine_lxc *e, const struct spec *spec, const struct engine_stdio *io,
                          struct keeper_reply *reply, struct err *err) {
        _cleanup_(crun_bundle_done) struct crun_bundle bundle = CRUN_BUNDLE_EMPTY;
        int r = crun_bundle_write(spec, e->state_dir, e->rootfs_dir, &bundle, err);

        if (r == 0)
                r = crun_check(err);
        if (r == 0 && !hooks_are_empty(&spec->hooks))
                r = bundle_write(e->bundles_dir, spec, e->hooks_root, err);
        if (r == 0)
                r = spawn_crun(e, spec, &bundle, io, reply, err);
        /* crun is shown no more than v1 on a hybrid host. */
        if (r == 0)
                r = cgroup_take(e->cgroups, spec->cgroup_path, reply->pid, err);
        /* On v1 crun lifts a group's limits of memory when it enters it. */
        if (r == 0)
                r = cgroup_update(e->cgroups, spec->cgroup_path, &spec->resources, err);
        if (r == 0)
                reply->ready = bundle.user;
        return r;
}
