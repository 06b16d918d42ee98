/* SPDX-License-Identifier: Apache-2.0 */
/* operations - the steps that several operations share: taking a pod down, ending and removing a container. Private to
 * pod/. All are repeatable: what is gone already is fine, so that a half-done one can be done again. */
#pragma once
#include "pod/registry.h"

/* The next six under the pod's lock. */
/* The pod's first process, which holds its shared PID namespace; made when the first container asks for it. */
_must_use_ int pause_ensure(struct sandbox *s, struct err *err);
/* Frees all that the pod holds on the host: its first process, address, namespaces, files. */
_must_use_ int sandbox_take_down(struct sandbox *s, struct err *err);
/* The same for a pod that did not come up, and its record is deleted. */
_must_use_ int sandbox_undo(struct sandbox *s, struct err *err);
/* All but the Proxmox container that it is in, for one that is started anew; and up again in that, which is started. */
_must_use_ int sandbox_leave_ct(struct sandbox *s, struct err *err);
_must_use_ int sandbox_return_to_ct(struct sandbox *s, const struct pods_ctx *ctx, struct err *err);
/* In the background, until it is done. */
void sandbox_undo_soon(struct sandbox *s);
/* The same when it has failed just now. */
void sandbox_undo_later(struct sandbox *s);
/* For what is tried again in the background: waits. False: the daemon ends. Under no lock. */
bool undo_rest(struct pods *p, uint64_t ms);
/* Kills what runs, waits for the end and records it. */
_must_use_ int container_end(struct container *c, struct err *err);
/* In the engine, from what is known of it, once the engine has forgotten it. Not started. */
_must_use_ int container_make_again(struct container *c, struct arena *arena, struct err *err);
/* @asked: how people name it. image_traits_done() it. */
_must_use_ int image_traits_new(const CRI(ContainerConfig) * config, const char *asked, const struct image *image,
                                struct arena *arena, struct image_traits *ret, struct err *err);
/* @t gets the ones that @c had. */
void container_swap_traits(struct container *c, struct image_traits *t);
/* Removes an ended or never started container for good: engine, layer, record, registry. */
_must_use_ int container_remove(struct container *c, struct err *err);

/* container-start.c: CREATED -> RUNNING. */
_must_use_ int container_start(struct container *c, struct err *err);

/* commit.c: at a start: those go on that were frozen for a commit when the daemon was killed. */
void commits_reconcile(struct pods *p);

/* Gives @to to those of its processes that have the oom_score_adj @from; others have chosen their own. */
void container_rescore(struct container *c, int from, int to);

/* READY or DEAD or half stopped -> STOPPED, containers included. Under the pod's lock. */
_must_use_ int sandbox_stop(struct sandbox *s, struct err *err);

/* Record the end of a container that the engine says has ended; done already, or not ended: fine. Any lock or none. */
_must_use_ int exit_record(struct container *c, struct err *err);
/* Record an end that nobody saw. */
_must_use_ int exit_record_unknown(struct container *c, struct err *err);
/* Under the pod's lock: lets the engine forget a container whose end is recorded. */
void exit_release(struct container *c);
