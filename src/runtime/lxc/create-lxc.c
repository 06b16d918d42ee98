/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/sock.h"
#include "base/strbuf.h"
#include "runtime/hooks/bundle.h"
#include "runtime/lxc/config.h"
#include "runtime/lxc/create.h"

int engine_take_root(const struct id_maps *ids, struct keeper_call *call, struct err *err) {
        if (!id_maps_root(ids, &call->root_uid, &call->root_gid))
                return err_set(err, ERR_INVALID, "a user namespace without root");
        call->flags |= call->type == KEEPER_EXEC ? KEEPER_EXEC_USER_NS : KEEPER_SPAWN_USER_NS;
        return 0;
}

static int spawn(struct engine_lxc *e, const struct spec *spec, const struct plan *plan,
                 const struct lxc_config *config, const struct engine_stdio *io, struct keeper_reply *reply,
                 struct err *err) {
        _cleanup_(fd_closep) int outer = -1;
        int fds[SOCK_MAX_FDS], r;
        struct keeper_call call = {
                .type = KEEPER_SPAWN,
                .id = spec->id,
                .config = strbuf_str(&config->text),
                .fds = fds,
                .n_fds =
                        2 + plan->n_fds + config->n_fds + (spec->outer_pid_ns ? 1 : 0) + (plan->cgroup_fd >= 0 ? 2 : 0),
                .cancel_fd = -1,
                .flags = (io->open_stdin ? KEEPER_SPAWN_STDIN : 0u) | (io->stdin_once ? KEEPER_SPAWN_STDIN_ONCE : 0u) |
                         (spec->process.terminal ? KEEPER_SPAWN_TERMINAL : 0u) |
                         (spec->outer_pid_ns ? KEEPER_SPAWN_NESTED : 0u) |
                         (plan->cgroup_fd >= 0 ? KEEPER_SPAWN_CGROUP : 0u),
        };

        r = SPEC_HAS_USER_NS(spec) ? engine_take_root(&spec->user_ids, &call, err) : 0;
        if (r < 0)
                return r;
        if (spec->outer_pid_ns && (outer = open(spec->outer_pid_ns, O_RDONLY | O_CLOEXEC)) < 0)
                return err_sys(err, errno, "open the PID namespace %s", spec->outer_pid_ns);
        if (call.n_fds + PLAN_FD_FIRST > SOCK_MAX_FDS)
                return err_set(err, ERR_EXHAUSTED, "the container has more mounts than the %d that are possible",
                               SOCK_MAX_FDS - PLAN_FD_FIRST - 3 - LXC_CONFIG_MAX_FDS);
        fds[0] = plan->fd;
        fds[1] = spec->rootfs_mount_fd;
        memcpy(fds + 2, plan->fds, plan->n_fds * sizeof(int));
        memcpy(fds + 2 + plan->n_fds, config->fds, config->n_fds * sizeof(int));
        if (outer >= 0)
                fds[2 + plan->n_fds + config->n_fds] = outer;
        if (plan->cgroup_fd >= 0) {
                fds[call.n_fds - 2] = plan->cgroup_fd;
                fds[call.n_fds - 1] = e->home_fd;
        }
        return keeper_client_call(e->keeper, &call, reply, err);
}

/* --- hooks of the runtime's namespaces; init runs the others -------------------------------------------------------
 */

uint64_t engine_timeout_with_hooks(const struct spec_hooks *hooks, enum spec_hook_kind kind) {
        return HOOKS_CALL_TIMEOUT_MS + (hooks->n[kind] ? hooks_timeout_ms(hooks, kind) ?: HOOKS_FOR_EVER_MS : 0);
}

struct hook_state engine_hook_state(const struct spec *spec, const char *bundle, const char *status) {
        return (struct hook_state){ .id = spec->id,
                                    .bundle = bundle,
                                    .status = status,
                                    .annotations = spec->annotations,
                                    .n_annotations = spec->n_annotations };
}

/* Init waits, its namespaces and mounts made, for those outside; then it runs its own. */
static int run_create_hooks(struct engine_lxc *e, const struct spec *spec, struct keeper_reply *reply,
                            struct err *err) {
        char bundle[STATE_DIR_MAX + 128] = "";
        struct hook_state state = engine_hook_state(spec, bundle, "creating");
        struct keeper_call call = { .type = KEEPER_CONTINUE,
                                    .id = spec->id,
                                    .cancel_fd = -1,
                                    .timeout_ms = engine_timeout_with_hooks(&spec->hooks, SPEC_HOOK_CREATE_CONTAINER) };
        int r;

        (void) snprintf(bundle, sizeof(bundle), "%s/%s", e->bundles_dir, spec->id);
        r = hooks_run(&spec->hooks, SPEC_HOOK_PRESTART, &state, reply->pid, err);
        if (r == 0)
                r = hooks_run(&spec->hooks, SPEC_HOOK_CREATE_RUNTIME, &state, reply->pid, err);
        if (r == 0)
                r = keeper_client_call(e->keeper, &call, reply, err);
        /* Not what the caller asked for is wrong, but the host's hook. */
        if (r == -ERR_INVALID)
                err->code = ERR_INTERNAL;
        return r < 0 ? -(int) err->code : 0;
}

/* --- all of it -----------------------------------------------------------------------------------------------------
 */

int engine_create_by_lxc(struct engine_lxc *e, const struct spec *spec, const struct engine_stdio *io,
                         struct keeper_reply *reply, struct err *err) {
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        _cleanup_(lxc_config_done) struct lxc_config config = { 0 };
        char log_path[STATE_DIR_MAX + 128];
        int r;

        r = plan_build_init(spec, &e->host, &plan, err);
        if (r < 0)
                return r;
        (void) snprintf(log_path, sizeof(log_path), "%s/containers/%s/lxc.log", e->state_dir, spec->id);
        r = lxc_config_build(spec, plan.n_fds, log_path, e->rootfs_dir, &config, err);
        if (r < 0)
                return r;
        if (!hooks_are_empty(&spec->hooks) && (r = bundle_write(e->bundles_dir, spec, e->hooks_root, err)) < 0)
                return r;
        r = spawn(e, spec, &plan, &config, io, reply, err);
        return r == 0 && reply->hooks_due ? run_create_hooks(e, spec, reply, err) : r;
}
