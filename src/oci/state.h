/* SPDX-License-Identifier: Apache-2.0 */
/* state - what a runtime's commands know of each other's containers: <root>/<id>/state.json, written atomically, and
 * config.json beside it as it was at create. Commands that change a container hold its lock. The status is found out
 * anew each time, from the processes and the cgroup. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "runtime/spec/spec.h"

#define OCI_DEFAULT_ROOT "/run/proxmox-lxcri/oci"

struct cgroups;

enum oci_status { OCI_CREATING, OCI_CREATED, OCI_RUNNING, OCI_PAUSED, OCI_STOPPED };
const char *oci_status_name(enum oci_status status);

struct oci_state {
        const char *id, *bundle, *rootfs;
        const char *oci_version; /* of the bundle */
        const char *created;     /* RFC 3339, with nanoseconds */
        pid_t pid;               /* of init; 0: not made yet */
        uint64_t start_time;     /* with pid: names the process for good, see proc_open() */
        uint64_t identity;       /* the same, told faster: proc_identity(); 0: the kernel has none */
        pid_t watcher_pid;       /* where liblxc's loop goes on, or Proxmox' first process of it; 0: none */
        uint64_t watcher_start;
        const char *cgroup_path; /* absolute below the mount, "": none of its own */
        bool cgroup_made;        /* by us: else nothing in it is ours to kill */
        bool cgroup_making;      /* it was not there when its making began: without a process it is ours to remove */
        const char *scope;       /* systemd's unit, "": driver cgroupfs */
        const char *engine;      /* who made it: "": LXC; "proxmox" */
        unsigned vmid;           /* Proxmox' number of it; 0: none */
        bool is_lost;            /* not written down: it is the claim's, and its number is to be looked for */
        const char *volume;      /* of Proxmox, that it is made from, and that goes with it; "": none */
        int exit_status;         /* not written down: oci_dir_exit_status() of one that is stopped, for "state" */
        const char *rdt_made;    /* resctrl's folder that goes with it, "": none */
        const char *rdt_tasks;   /* resctrl's folder where its processes are, "": where they were born */
        bool own_keyring;        /* its session keyring, "_ses.<id>" */
        bool own_pid_ns;         /* everything in it ends with init */
        const struct spec_pair *annotations;
        size_t n_annotations;
};

/* Nothing is known of it but @name. */
#define OCI_STATE_EMPTY(name)                                                                                          \
        ((struct oci_state){ .id = (name),                                                                             \
                             .bundle = "",                                                                             \
                             .rootfs = "",                                                                             \
                             .oci_version = "",                                                                        \
                             .created = "",                                                                            \
                             .cgroup_path = "",                                                                        \
                             .scope = "",                                                                              \
                             .engine = "",                                                                             \
                             .volume = "",                                                                             \
                             .rdt_made = "",                                                                           \
                             .rdt_tasks = "" })

/* A container's folder, locked. */
struct oci_dir {
        int root_fd, fd, lock_fd; /* -1: none */
        char *root;               /* the folder of all of them, absolute */
        char *id;
};
#define OCI_DIR_EMPTY ((struct oci_dir){ .root_fd = -1, .fd = -1, .lock_fd = -1 })
void oci_dir_done(struct oci_dir *d); /* gives the lock back */

/* Is it one that runc takes: letters, digits, "_+-.", not "." or ".."? */
bool oci_id_is_valid(const char *id);
/* Makes <root>/<id>, locked. ERR_EXISTS: the id is in use. */
_must_use_ int oci_dir_make(const char *root, const char *id, struct oci_dir *ret, struct err *err);
/* ERR_NOT_FOUND: no such container. @lock: wait for whoever changes it. */
_must_use_ int oci_dir_open(const char *root, const char *id, bool lock, struct oci_dir *ret, struct err *err);
/* The folder of all of them alone, for oci_glance() and oci_dir_next(). ERR_NOT_FOUND: there is none. */
_must_use_ int oci_root_open(const char *root, struct oci_dir *ret, struct err *err);
/* Another one in it or beside it, whose id oci_list() has told; not locked. What @d had of the last is given back, also
 * on failure. ERR_NOT_FOUND: it has been removed meanwhile. */
_must_use_ int oci_dir_next(struct oci_dir *d, const char *id, struct err *err);
/* Of a container that is gone, or was never made whole. */
_must_use_ int oci_dir_remove(struct oci_dir *d, struct err *err);
/* Folders whose removal was killed half way. */
void oci_dir_sweep(const char *root);
/* Their ids, sorted, NULL-terminated. A missing root has none. */
_must_use_ int oci_list(const char *root, struct arena *arena, const char ***ret, struct err *err);

_must_use_ int oci_state_write(const struct oci_dir *d, const struct oci_state *s, struct err *err);
/* state.json's text. Strings live in @arena; none is NULL. What is missing or of another type is as if not set. */
_must_use_ int oci_state_parse(const char *text, size_t len, const char *id, struct arena *arena, struct oci_state *ret,
                               struct err *err);
/* The two ways to read it. By jansson, whatever it is: */
_must_use_ int oci_state_load(const char *text, size_t len, const char *id, struct arena *arena, struct oci_state *ret,
                              struct err *err);
/* Ten times faster: only what oci_state_text() writes of plain strings. False: it is something else, which may be fine
 * or not; @ret is undefined then. */
_must_use_ bool oci_state_scan(const char *text, size_t len, const char *id, struct arena *arena,
                               struct oci_state *ret);
/* free() it; NULL: a string in it is not UTF-8. */
char *oci_state_text(const struct oci_state *s);
_must_use_ int oci_state_read(const struct oci_dir *d, struct arena *arena, struct oci_state *ret, struct err *err);
/* The state as it was before another engine made anything: by it "delete --force" finds that when state.json is
 * damaged. */
_must_use_ int oci_claim_write(const struct oci_dir *d, const struct oci_state *s, struct err *err);
_must_use_ int oci_claim_read(const struct oci_dir *d, struct arena *arena, struct oci_state *ret, struct err *err);
/* The config.json that it was made from: text. */
_must_use_ int oci_dir_read_config(const struct oci_dir *d, struct arena *arena, const char **ret, size_t *ret_len,
                                   struct err *err);
_must_use_ int oci_dir_write_config(const struct oci_dir *d, const char *text, size_t len, struct err *err);
/* Looks at the process, at whether init still waits for "start" and, for paused, at the cgroup (@cgroups NULL: not). */
enum oci_status oci_dir_status(const struct oci_dir *d, const struct oci_state *s, struct cgroups *cgroups);
/* What "list" wants of each container in @at's root, with as few calls as may be. Of one by LXC that has a process;
 * false: it has to be looked at in full. */
struct oci_glimpse {
        struct oci_state state;
        enum oci_status status;
        uid_t owner; /* who made it */
};
_must_use_ bool oci_glance(const struct oci_dir *at, const char *id, struct cgroups *cgroups, struct arena *arena,
                           struct oci_glimpse *ret);
/* How a container of an engine that isn't LXC has ended, as exit codes are: 128 + signal. What was killed before it
 * could tell, with all of its container, was so by SIGKILL. -1: it has not ended. */
int oci_dir_exit_status(const struct oci_dir *d, const struct oci_state *s);
int oci_exit_status(int exit_file); /* of one that has ended */
#define OCI_EXIT_FILE "exit"        /* init/supervisor.h */
/* Where init waits for "start" (init/plan.h, PLAN_START_SOCKET), by a path that is short enough for any root: valid as
 * long as @d is open. */
#define OCI_START_SOCKET "start.sock"
int oci_start_socket_address(const struct oci_dir *d, struct sockaddr_un *ret);
/* The state of the specification (state.json's schema). @owner not NULL: with what runc adds (rootfs, created, owner),
 * and we: the engine, and of Proxmox' the number and how it ended. json_unref() it. */
json_t *oci_state_object(const struct oci_state *s, enum oci_status status, const char *owner);
/* The same as text, for hooks and "state"; @extra: with an owner, "", as runc has it. */
const char *oci_state_json(const struct oci_state *s, enum oci_status status, bool extra, struct arena *arena);
json_t *oci_annotations_json(const struct oci_state *s);
