/* SPDX-License-Identifier: Apache-2.0 */
/* plan-writer - encodes the records of a plan. Private to plan*.c. */
#pragma once
#include "base/strbuf.h"
#include "runtime/lxc/plan.h"

struct plan_writer {
        struct strbuf out;
        uint32_t n_records;
        struct plan *plan; /* gets the descriptors */
};

void plan_writer_init(struct plan_writer *w, struct plan *plan);
void plan_writer_done(struct plan_writer *w);

/* size and the counts of @rec are filled in. Too large: noticed by plan_writer_finish(). */
void plan_put(struct plan_writer *w, struct plan_record rec, const char *const *strings, size_t n_strings,
              const void *data, size_t data_len);
/* The short form: no data, no descriptor; strings one by one. */
#define PLAN_PUT(w, rec_op, ...) PLAN_PUT_REC((w), ((struct plan_record){ .op = (rec_op), .fd = -1 }), __VA_ARGS__)
#define PLAN_PUT_REC(w, rec, ...)                                                                                      \
        plan_put((w), (rec), (const char *const[]){ __VA_ARGS__ },                                                     \
                 sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), NULL, 0)

/* Takes @fd in any case. Returns its index, or -code when there are too many. */
_must_use_ int plan_put_fd(struct plan_writer *w, int fd, struct err *err);

/* Check the plan as its reader will, and seal it into plan->fd. */
_must_use_ int plan_writer_finish(struct plan_writer *w, struct err *err);

/* plan-mounts.c: mounts, devices and links of /dev, then (plan_put_protection, last) what becomes read-only or hidden.
 */
_must_use_ int plan_put_mounts(struct plan_writer *w, const struct spec *spec, const struct plan_host *host,
                               struct err *err);
_must_use_ int plan_put_devices(struct plan_writer *w, const struct spec *spec, struct err *err);
void plan_put_protection(struct plan_writer *w, const struct spec *spec);
bool plan_is_bind(const struct spec_mount *m);
/* Takes @tree. */
_must_use_ int plan_put_attach(struct plan_writer *w, int tree, const char *target, struct err *err);

/* plan-process.c: in this order; the last of them is of the process part. */
_must_use_ int plan_put_user(struct plan_writer *w, const struct spec_user *u, struct err *err);
_must_use_ int plan_put_early(struct plan_writer *w, const struct spec_process *p, struct err *err);
void plan_put_terminal(struct plan_writer *w, const struct spec_process *p);
_must_use_ int plan_put_process(struct plan_writer *w, const struct spec_process *p, struct err *err);
/* Personality and memory policy; behind it. */
_must_use_ int plan_put_machine(struct plan_writer *w, const struct spec *spec, struct err *err);
size_t plan_count(const char *const *list);

/* plan-newfs.c: a new file system, made in the host's mount namespace, where its source and options mean what the
 * caller meant. A detached mount or -code. */
_must_use_ int plan_mount_on_host(const struct spec_mount *m, const char *source, const char *data, struct err *err);

/* plan-source.c: the sources of binds. @spec decides on propagation where @m doesn't; NULL: private. */
/* A detached clone of what @path names on the host, with the attributes of @m. Returns a descriptor or -code. */
_must_use_ int plan_clone_source(const struct spec *spec, const struct spec_mount *m, const char *path,
                                 struct err *err);
/* The mount that @m binds, detached: its descriptor, which is taken in any case, or a clone of its source; with its
 * attributes, and its owners mapped as it asks by the user namespace of @spec if that has the same ids. Returns a
 * descriptor or -code. */
_must_use_ int plan_take_source(const struct spec *spec, const struct spec_mount *m, struct err *err);
/* MS_*, and those to take away, -> MOUNT_ATTR_*. */
void plan_attributes(unsigned long flags, unsigned long clear_flags, uint64_t *ret_set, uint64_t *ret_clear);
