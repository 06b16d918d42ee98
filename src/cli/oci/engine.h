/* SPDX-License-Identifier: Apache-2.0 */
/* engine - who makes a container: liblxc, or crun, the program, when --engine says so. crun's containers have a folder
 * of states of their own beside ours; later verbs find by it whose one is. */
#pragma once
#include "cli/oci/runtime.h"

/* @args are the verb's, @globals what was before it. *ret_crun: crun is to carry it out. ERR_INVALID: no such engine.
 */
_must_use_ int engine_choose(struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args,
                             const struct cli_args *globals, bool *ret_crun, struct err *err);
/* Becomes crun; returns an error only. */
_must_use_ int engine_run_crun(struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args,
                               const struct cli_args *globals, struct err *err);
