/* SPDX-License-Identifier: Apache-2.0 */
/* creation - a container in the making, in steps of which each leaves what it made in here, so that a failure at any of
 * them takes all of it back. Private to oci/. */
#pragma once
#include "oci/config.h"
#include "oci/oci.h"
#include "runtime/cgroup/driver.h"

struct creation {
        const struct oci *oci;
        const struct oci_create_args *args;
        bool detached; /* nobody stays for the container's terminal */
        struct oci_dir dir;
        struct oci_config config;
        struct oci_state state;
        struct cgroups *cgroups;
        struct cgroup_made cgroup;
        int start_socket; /* init waits on it for "start" */
        int console;      /* connected to --console-socket; -1: none */
        int master;       /* of the container's terminal, when there is no console socket to send it to; -1: none */
        int pidfd;        /* of init */
        int exit_file;    /* of another engine's: where its end is written, see oci_dir_exit_status(); -1: none */
};
#define CREATION_EMPTY                                                                                                 \
        ((struct creation){                                                                                            \
                .dir = OCI_DIR_EMPTY, .start_socket = -1, .console = -1, .master = -1, .pidfd = -1, .exit_file = -1 })

/* config.json, and its copy in the container's folder; what the caller's own process decides: inherited namespaces. */
_must_use_ int creation_read(struct creation *c, struct err *err);
/* Its two halves, for who has something to add: the file's text, and that taken for the container's. */
_must_use_ int creation_read_bundle(struct creation *c, const char **ret_text, size_t *ret_len, struct err *err);
_must_use_ int creation_take_config(struct creation *c, const char *text, size_t len, struct err *err);
/* The group of its own, with limits. */
_must_use_ int creation_make_cgroup(struct creation *c, struct err *err);
/* Its share of the processor's cache and of the memory's bandwidth, where the bundle wants one. */
_must_use_ int creation_make_rdt(struct creation *c, struct err *err);
/* Where it is, for what comes after. */
struct cgroup_place oci_cgroup_place(const struct oci_state *s);
/* Init, up to READY, by @launcher, which has been forked; hooks on the way. */
struct launcher;
_must_use_ int creation_spawn(struct creation *c, struct launcher *launcher, struct err *err);

/* All of it; on failure nothing stays. Release with creation_done(), which does not touch the container. */
_must_use_ int creation_run(struct creation *c, const struct oci *o, const struct oci_create_args *args, bool detached,
                            struct err *err);
/* The same, but another way of making it, once it has a folder: from images. */
struct creation_maker {
        int (*make)(struct creation *c, void *userdata, struct err *err);
        void *userdata;
        bool started; /* it runs at once */
};
_must_use_ int creation_run_by(struct creation *c, const struct oci *o, const struct oci_create_args *args,
                               bool detached, const struct creation_maker *maker, struct err *err);
_must_use_ int oci_run_by(const struct oci *o, const struct oci_run_args *args, const struct creation_maker *maker,
                          int *ret_status, struct err *err);
/* Parts of it. */
_must_use_ int creation_listen_for_start(struct creation *c, struct err *err);
/* A symlink anywhere in the bundle's root.path is refused. @ret: O_PATH. */
_must_use_ int creation_open_rootfs(const struct creation *c, int *ret, struct err *err);
_must_use_ int creation_connect_console(struct creation *c, struct err *err);
/* Hand init the plan over @sock. Its streams are our own, or @null_fd where it has a terminal or we have none. */
struct plan;
_must_use_ int creation_send_plan(const struct creation *c, const struct plan *plan, int null_fd, int sock,
                                  struct err *err);
/* READY has come with @msg: which process is init, and its terminal, which is taken. */
struct plan_ready;
struct sock_msg;
_must_use_ int creation_take_init(struct creation *c, const struct plan_ready *ready, struct sock_msg *msg,
                                  struct err *err);
/* After READY: the terminal to who asked for it, state and pid file. */
_must_use_ int creation_finish(struct creation *c, struct err *err);
_must_use_ int creation_write_result(struct creation *c, struct err *err); /* state and pid file */
void creation_done(struct creation *c);

/* What is left of a container that has ended: its processes, cgroup, folder; poststop hooks are run when it had got so
 * far. Also for one whose creation was killed. */
_must_use_ int oci_destroy(const struct oci *o, struct oci_dir *d, const struct oci_state *s, struct cgroups *cgroups,
                           struct err *err);
/* The stored config.json, parsed. */
_must_use_ int oci_read_stored(const struct oci_dir *d, const struct oci_state *s, struct arena *arena,
                               struct oci_config *ret, struct err *err);
struct hook_state;
struct hook_state oci_hook_state(const struct oci_state *s, const char *status);
/* Let it go, as "start" does: the program runs when this returns 0. */
_must_use_ int oci_start_made(struct creation *c, struct err *err);
