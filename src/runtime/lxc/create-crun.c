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

enum { CRUN_FDS_FIXED = 3, CRUN_FDS_CGROUP = 2 }; /* KEEPER_SPAWN_CRUN's, and KEEPER_SPAWN_CGROUP's */

/* The container's v2 group, O_PATH, on a hybrid host, where crun is shown no more than v1: the monitor is born in it,
 * and all that it makes; then it goes home. */
static int open_v2_group(struct engine_lxc *e, const struct spec *spec, int *ret, struct err *err) {
        struct cgroup_door doors[CGROUP_MAX_DOORS];
        int n;

        *ret = -1;
        if (e->host.mode != CGROUP_HYBRID || e->home_fd < 0)
                return 0;
        n = cgroup_open_doors(e->cgroups, spec->cgroup_path, true, doors, err);
        for (int i = 0; i < n; i++)
                if (doors[i].folder)
                        *ret = doors[i].fd;
                else
                        (void) fd_close(doors[i].fd);
        return n < 0 ? n : 0;
}

static int spawn_crun(struct engine_lxc *e, const struct spec *spec, const struct crun_bundle *bundle,
                      const struct engine_stdio *io, struct keeper_reply *reply, struct err *err) {
        _cleanup_(fd_closep) int mount_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        _cleanup_(fd_closep) int net_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        _cleanup_(fd_closep) int group = -1;
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
        if (call.n_fds + CRUN_FDS_CGROUP > SOCK_MAX_FDS)
                return err_set(err, ERR_EXHAUSTED, "the container has more mounts than the %d that are possible",
                               SOCK_MAX_FDS - CRUN_FDS_FIXED - CRUN_FDS_CGROUP);
        r = SPEC_HAS_USER_NS(spec) ? engine_take_root(&spec->user_ids, &call, err) : 0;
        if (r == 0)
                r = open_v2_group(e, spec, &group, err);
        if (r < 0)
                return r;
        memcpy(fds + CRUN_FDS_FIXED, bundle->mounts, bundle->n_mounts * sizeof(int));
        if (group >= 0) {
                fds[call.n_fds++] = group;
                fds[call.n_fds++] = e->home_fd;
                call.flags |= KEEPER_SPAWN_CGROUP;
        }
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
        /* On v1 crun lifts a group's limits of memory when it enters it. */
        if (r == 0)
                r = cgroup_update(e->cgroups, spec->cgroup_path, &spec->resources, err);
        if (r == 0)
                reply->ready = bundle.user;
        return r;
}
