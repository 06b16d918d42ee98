/* SPDX-License-Identifier: Apache-2.0 */
/* engine - who makes a container: liblxc, crun, the program, or Proxmox. crun's containers have a folder of states of
 * their own beside ours; later verbs find by it whose one is. Proxmox' are beside LXC's, as most verbs do the same with
 * them: what needs Proxmox itself is carried out by another program, proxmox-lxcri-ct, which has this one's verbs and
 * the libraries that speak with Proxmox. */
#pragma once
#include <jansson.h>
#include "cli/oci/runtime.h"

enum engine { ENGINE_LXC, ENGINE_CRUN, ENGINE_PROXMOX };

/* @args are the verb's, @globals what was before it. *ret: who is to carry it out. ERR_INVALID: no such engine. */
_must_use_ int engine_choose(struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args,
                             const struct cli_args *globals, enum engine *ret, struct err *err);
/* Becomes crun; returns an error only. */
_must_use_ int engine_run_crun(struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args,
                               const struct cli_args *globals, struct err *err);
/* crun's containers, as its "list" has them, for our own: @ret, an array, or NULL when there are none. Its failure is a
 * warning. */
void engine_list_crun(struct runtime *rt, json_t **ret);
/* Who makes a container that names no engine, by the configuration: see its key oci-engine. The small program only
 * looks whether it is there, and leaves the rest to the other one, which becomes this again when it is LXC's. */
_must_use_ int engine_by_config(struct runtime *rt, const struct cli_args *args, enum engine *ret, struct err *err);
extern const char *const engine_names[]; /* by enum engine */
_must_use_ int engine_find(const char *name, enum engine *ret, struct err *err);
/* Makes Proxmox @rt's engine; in the small program, which can't (engine-away.c): becomes the other one, or an error. */
_must_use_ int engine_open_proxmox(struct runtime *rt, struct err *err);
