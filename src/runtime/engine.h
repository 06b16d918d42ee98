/* SPDX-License-Identifier: Apache-2.0 */
/* engine - the table of operations behind a RuntimeClass handler, and the one the daemon has so far: lxc.
 * Thread-safe: operations may be called from any worker thread; those on one container one at a time (the pod's lock).
 * What an engine can't do it answers with ERR_UNIMPLEMENTED and the reason. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/watch.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/spec/spec.h"

struct engine;

/* What create found out. */
struct engine_created {
        pid_t pid;           /* of init, in the host's PID namespace */
        uint64_t start_time; /* with pid: names the process for good, see proc_open() */
        uid_t uid;
        gid_t gid;
        size_t n_groups;
        gid_t groups[SPEC_MAX_GROUPS]; /* sorted, gid among them */
};

struct engine_stdio {
        const char *log_path; /* CRI log file, made if missing; NULL or "": output is discarded */
        bool open_stdin;      /* a pipe that attach feeds; else /dev/null */
        bool stdin_once;
};

/* How a container ended. */
struct engine_exit {
        int exit_code;           /* 0..255; 128 + signal when a signal ended it */
        int signal;              /* 0: none */
        uint64_t finished_at_ns; /* realtime */
        const char *reason;      /* static: "" for an ordinary end, "MonitorLost" when nobody saw its status ... */
};

struct engine_exec_args {
        const char *id;
        const struct spec_process *process; /* user resolved */
        int stdin_fd, stdout_fd, stderr_fd; /* borrowed; -1: /dev/null */
        /* With process->terminal instead of them: a SOCK_SEQPACKET socket (borrowed) on which one byte comes with the
         * terminal's master (SCM_RIGHTS) as soon as the process is made. */
        int terminal_socket;
        uint64_t timeout_ms;            /* 0: none; past it every process of the exec is killed, ERR_DEADLINE */
        int cancel_fd;                  /* readable: killed, ERR_CANCELLED; -1: none */
        struct watch *watch;            /* looked after meanwhile, as the read ends of its output; NULL: nothing */
        const struct id_maps *user_ids; /* of the container's user namespace; NULL: it has the host's */
};

/* A running container's standard streams; owned by the caller, -1: not there. */
struct engine_attached {
        int stdin_fd; /* to write to: the pipe, or the terminal's master. For stdin_once the only write end */
        int stdout_fd, stderr_fd; /* to read what comes from now on, until EOF; a terminal has only stdout */
};

enum engine_state { ENGINE_CREATED, ENGINE_RUNNING, ENGINE_STOPPED, ENGINE_GONE };

struct engine_ops {
        const char *name;
        /* Everything but the user's process: namespaces, mounts, limits; init waits. On failure nothing stays. The
         * spec's descriptors are taken in any case. */
        int (*create)(struct engine *e, const struct spec *spec, const struct engine_stdio *io,
                      struct engine_created *ret, struct err *err);
        /* Let the user's process run. ERR_INVALID... with the exec error's text when the program can't be run. */
        int (*start)(struct engine *e, const char *id, struct err *err);
        int (*signal)(struct engine *e, const char *id, int sig, struct err *err); /* ended already: fine */
        /* SIGKILL to everything in it; returns when it has ended. */
        int (*kill)(struct engine *e, const char *id, struct err *err);
        /* Wait for its end. False: @timeout_ms passed (-1: for ever) or @cancel_fd became readable. */
        bool (*wait)(struct engine *e, const char *id, int timeout_ms, int cancel_fd);
        /* Valid once it has ended; ERR_PRECONDITION before. */
        int (*get_exit)(struct engine *e, const char *id, struct engine_exit *ret, struct err *err);
        /* Blocks until the exec'd process has ended. @ret_code: exit code or 128 + signal. */
        int (*exec)(struct engine *e, const struct engine_exec_args *args, int *ret_code, struct err *err);
        /* Not wanted streams are left out. */
        int (*attach)(struct engine *e, const char *id, bool in, bool out, bool errs, struct engine_attached *ret,
                      struct err *err);
        int (*reopen_log)(struct engine *e, const char *id, const char *log_path, struct err *err);
        enum engine_state (*get_state)(struct engine *e, const char *id);
        /* Remove what create made (cgroup, state files); kills what runs. Missing is fine. */
        int (*remove)(struct engine *e, const char *id, struct err *err);
        /* Ids of all containers the engine knows of, for reconciling: NULL-terminated. */
        int (*list)(struct engine *e, struct arena *arena, const char ***ret, struct err *err);
        /* Call before serving, per container that should exist: takes it up again after a restart of the daemon. */
        int (*adopt)(struct engine *e, const char *id, const char *cgroup_path, const char *log_path, struct err *err);
        void (*free)(struct engine *e);
};

struct engine {
        const struct engine_ops *ops;
};

struct engine_lxc_args {
        const char *state_dir;               /* /run/proxmox-lxcri */
        const char *keeper_path, *init_path; /* the programs */
        struct cgroups *cgroups;             /* borrowed */
        const char *log_level;               /* for the keeper */
        /* A container has ended (from a thread of the engine's; must not block: hand it to a pool). */
        void (*exited)(const char *id, void *userdata);
        void *userdata;
};

/* Starts the keeper or finds the one that runs; restarts it when it dies. */
_must_use_ int engine_lxc_new(const struct engine_lxc_args *args, struct engine **ret, struct err *err);
struct engine *engine_free(struct engine *e);
DEFINE_CLEANUP(struct engine *, engine_free)
/* The keeper's pid, for nsenter (proxmox-lxcri lxc ...), 0: none. */
pid_t engine_lxc_keeper_pid(struct engine *e);
