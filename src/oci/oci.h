/* SPDX-License-Identifier: Apache-2.0 */
/* oci - the operations of the OCI runtime on LXC containers, as the command line's verbs call them: no daemon, no
 * keeper. Single-threaded programs only; each call is one command's work. Errors: ERR_NOT_FOUND no such container,
 * ERR_EXISTS the id is taken, ERR_PRECONDITION its status does not allow it, ERR_INVALID the bundle or an option is
 * wrong. Source: OCI runtime-spec 1.3, runtime.md; what is not in there is as runc does it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "oci/state.h"

struct oci;
struct creation;
struct oci_intel_rdt;

/* Who makes containers, if not we with LXC. Calls come with the container's lock held. */
struct oci_engine {
        const char *name; /* state.json's engine */
        _must_use_ int (*make)(const struct oci_engine *e, struct creation *c, struct err *err);
        /* All that there is outside of its folder, of whatever state; again and again. */
        _must_use_ int (*remove)(const struct oci_engine *e, const struct oci *o, const struct oci_state *s,
                                 struct err *err);
        _must_use_ int (*update)(const struct oci_engine *e, const struct oci_state *s, const struct spec_resources *r,
                                 struct err *err);
};

/* What all commands share. */
struct oci {
        const char *root; /* --root, OCI_DEFAULT_ROOT */
        bool systemd_cgroup;
        bool no_cgroup;                  /* containers stay in the caller's group */
        const char *init_path;           /* of proxmox-lxcri-init */
        const struct oci_engine *engine; /* NULL: LXC */
        struct arena *arena;
        /* For what is left out but no error; goes to --log. */
        void (*warn)(const char *text, void *userdata);
        void *userdata;
};

struct oci_create_args {
        const char *id, *bundle;    /* bundle: NULL is "." */
        const char *config;         /* instead of config.json, from the bundle on; NULL: that */
        const char *pid_file;       /* NULL: none */
        const char *console_socket; /* NULL: none */
        bool no_pivot;              /* accepted; the root is pivoted all the same when that works */
        bool no_new_keyring;
        unsigned preserve_fds; /* 3 and so many more stay open in the container */
};
_must_use_ int oci_create(const struct oci *o, const struct oci_create_args *args, struct err *err);
_must_use_ int oci_start(const struct oci *o, const char *id, struct err *err);
/* @sig: number. @all: every process in its cgroup. */
_must_use_ int oci_kill(const struct oci *o, const char *id, int sig, bool all, struct err *err);
_must_use_ int oci_delete(const struct oci *o, const char *id, bool force, struct err *err);
/* SIGTERM (or the image's own), then SIGKILL after @timeout_ms. Returns when it has ended. */
_must_use_ int oci_stop(const struct oci *o, const char *id, int sig, unsigned timeout_ms, struct err *err);

struct oci_run_args {
        struct oci_create_args create;
        bool detach;
        bool keep;         /* the container stays, stopped */
        bool no_subreaper; /* what it leaves behind is not ours to wait for */
};
/* create, start and, unless @detach, wait and delete. @ret_status: exit code, 128 + signal. */
_must_use_ int oci_run(const struct oci *o, const struct oci_run_args *args, int *ret_status, struct err *err);

struct oci_exec_args {
        const char *id;
        const char *process_path;     /* a "process" as JSON; NULL: made from the container's and what follows */
        const char *const *argv;      /* NULL with process_path */
        const char *const *env;       /* "K=V", added */
        const char *const *caps;      /* added, "CAP_..." */
        const char *cwd, *user;       /* "uid[:gid]"; NULL: the container's */
        const char *apparmor, *label; /* NULL: the container's */
        const char *const *groups;    /* additional gids, numbers */
        const char *const *cgroups;   /* [CONTROLLER,...:]PATH below the container's; none: that */
        bool tty, detach;
        bool no_new_privs; /* asked for: set */
        bool ignore_paused;
        const char *pid_file, *console_socket;
        unsigned preserve_fds;
};
/* @ret_status: of the process, 128 + signal; 0 when detached. ERR_INVALID with "... no such file or directory" or
 * "permission denied" when it can't be run. */
_must_use_ int oci_exec(const struct oci *o, const struct oci_exec_args *args, int *ret_status, struct err *err);

_must_use_ int oci_pause(const struct oci *o, const char *id, struct err *err);
_must_use_ int oci_resume(const struct oci *o, const char *id, struct err *err);
/* Only what @r sets is changed. @rdt: new schemata, NULL: as they are; ERR_PRECONDITION when the container was made
 * without linux.intelRdt. */
_must_use_ int oci_update(const struct oci *o, const char *id, const struct spec_resources *r,
                          const struct oci_intel_rdt *rdt, struct err *err);
/* Ids of all its processes, in the host's numbers, sorted. */
_must_use_ int oci_ps(const struct oci *o, const char *id, pid_t **ret, size_t *ret_n, struct err *err);
