/* SPDX-License-Identifier: Apache-2.0 */
/* hooks - OCI hooks as the runtime-spec has them: names, JSON form, the state they read, and running those of the
 * runtime's own namespaces (prestart, createRuntime, poststart, poststop). Those inside the container are init's
 * (init/hook.h). For any engine; thread-safe. */
#pragma once
#include <sys/types.h>
#include "base/arena.h"
#include "base/json.h"
#include "runtime/spec/spec.h"

enum { HOOKS_MAX = 256, HOOK_STRINGS_MAX = 1024 }; /* of one kind; arguments or variables of one */

const char *hook_kind_name(enum spec_hook_kind kind);
bool hook_kind_find(const char *name, enum spec_hook_kind *ret);
bool hooks_are_empty(const struct spec_hooks *hooks);

/* What a hook reads from its standard input. */
struct hook_state {
        const char *id, *bundle;
        const char *status; /* "creating", "created", "running", "stopped" */
        const struct spec_pair *annotations;
        size_t n_annotations;
};
/* As JSON up to and without the value of "pid", its last member: only inside the container is it known there. */
_must_use_ int hook_state_head(const struct hook_state *state, struct arena *arena, const char **ret, struct err *err);

/* All of @kind in their order, in the caller's namespaces, until one fails: not exit code 0, or too late. @pid: of the
 * container's process, 0: none any more. The error has the end of what the hook wrote. Blocks. */
_must_use_ int hooks_run(const struct spec_hooks *hooks, enum spec_hook_kind kind, const struct hook_state *state,
                         pid_t pid, struct err *err);
/* All of @kind, also after one that failed, which is only logged. */
void hooks_run_all(const struct spec_hooks *hooks, enum spec_hook_kind kind, const struct hook_state *state, pid_t pid);
/* How long all of @kind may take, 0: for ever. */
uint64_t hooks_timeout_ms(const struct spec_hooks *hooks, enum spec_hook_kind kind);

/* "hooks" of a config.json. Strings of @ret are copies in @arena. */
_must_use_ int hooks_from_json(json_t *object, struct arena *arena, struct spec_hooks *ret, struct err *err);
json_t *hooks_to_json(const struct spec_hooks *hooks); /* a new object; NULL: no memory, or not UTF-8 */
