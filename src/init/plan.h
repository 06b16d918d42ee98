/* SPDX-License-Identifier: Apache-2.0 */
/* plan - what proxmox-lxcri-init and the keeper's exec helper have to do, as a flat list of records in a memfd: made by
 * runtime/lxc/plan.c (daemon), carried out by init/setup.c and init/process.c. Plan first, then act: the small privileged
 * program decides nothing. This header is shared between glibc and musl programs: only plain types.
 *
 * Life of init: liblxc starts it as "/proc/self/fd/N SOCKET-FD"; on the socket (SOCK_SEQPACKET) it receives one message
 * PLAN_MSG_PLAN with descriptors [0] the plan's memfd, [1] stdin, [2] stdout, [3] stderr (for a terminal: three times the
 * same /dev/null, replaced), [4] the exec status pipe's write end, [5...] the plan's own descriptors, which records name by
 * index from 0. It carries out the setup records in order, answers PLAN_MSG_READY (struct plan_ready; with the terminal's
 * master as descriptor, if any) or PLAN_MSG_ERROR (text), waits for PLAN_MSG_START, carries out the process records, execs.
 * The exec status pipe then closes (success) or carries "i32 errno, text" (failure); init exits 127 or 126 after that.
 * EOF on the socket before START: exit. The whole plan is validated before the first record is acted on. */
#pragma once
#include <stdint.h>

#define PLAN_MAGIC 0x316e616c5063786cULL /* "lxcPlan1" */
#define PLAN_MAX_BYTES (8u << 20)

struct plan_header {
        uint64_t magic;
        uint32_t size;      /* of the whole plan in bytes */
        uint32_t n_records;
};

/* A record: this, then n_str NUL-terminated strings, then data_len bytes; size is a multiple of 8 and covers all of it. */
struct plan_record {
        uint32_t size;
        uint16_t op;
        uint16_t flags;
        uint32_t n_str;
        uint32_t data_len;
        int32_t fd; /* index into the plan's descriptors, -1: none */
        uint32_t reserved;
        uint64_t a, b, c, d;
};

enum plan_op {
        /* --- setup, in the container's namespaces, root already pivoted; paths resolve inside the root ------------- */
        PLAN_CGROUP_JOIN = 1, /* fd: a cgroup.procs file: write "0" */
        PLAN_CGROUP_NS,       /* unshare(CLONE_NEWCGROUP) */
        PLAN_ROOT_PROPAGATION,/* a: MS_PRIVATE | MS_SLAVE | MS_SHARED, recursive, on "/" */
        PLAN_MOUNT,           /* a new file system. a: MS_* flags; str: type, source, target, data. Target made if missing (dir) */
        PLAN_ATTACH,          /* fd: detached mount; str: target; a: MOUNT_ATTR_* to set; b: to clear; c: propagation MS_* (0: private);
                                 flags. The target is made if missing: a folder or an empty file, as the mount's root is */
        PLAN_DIR,             /* mkdir -p. str: path; a: mode; b: uid; c: gid (of the last component when made) */
        PLAN_SYMLINK,         /* str: target, link path; existing is fine */
        PLAN_MKNOD,           /* str: path; a: mode with S_IFCHR/S_IFBLK/S_IFIFO; b: dev_t; c: uid; d: gid. In a user namespace: see PLAN_ATTACH */
        PLAN_MASK,            /* str: path: folder -> empty read-only tmpfs, else /dev/null bound over it; missing is fine */
        PLAN_READONLY,        /* str: path: bound on itself read-only, recursively; missing is fine */
        PLAN_SYSCTL,          /* str: key with dots or slashes, value */
        PLAN_USER,            /* who: flags PLAN_USER_*; a: uid; b: gid; str: user name, group name ("" when not by name); data: gid_t[] additional.
                                 Looks up /etc/passwd and /etc/group (before later mounts); the result is used by the process part */
        PLAN_TERMINAL,        /* a: rows, b: columns: new pty from /dev/pts/ptmx, slave bound on /dev/console, becomes fds 0-2 and ctty */
        PLAN_ROOT_READONLY,   /* remount "/" read-only (not recursive); last of the mounts */
        PLAN_CWD,             /* str: working folder; made if missing at setup; entered after the switch of user */
        PLAN_OOM_SCORE_ADJ,   /* a: (int64_t) value; EACCES/EPERM when lowering without the right is tolerated */

        /* --- process, on START (exec: at once) ---------------------------------------------------------------------- */
        PLAN_RLIMIT = 64,     /* a: RLIMIT_*; b: soft; c: hard */
        PLAN_UMASK,           /* a */
        PLAN_CAPS,            /* data: uint64_t[5]: bounding, effective, permitted, inheritable, ambient */
        PLAN_NO_NEW_PRIVS,
        PLAN_APPARMOR,        /* str: profile for the exec */
        PLAN_SELINUX,         /* str: label for the exec */
        PLAN_SECCOMP,         /* data: struct sock_filter[] */
        PLAN_ENV,             /* str: all of the environment */
        PLAN_ARGS,            /* str: argv; none: pause: stay and reap until SIGTERM */
        PLAN_OP_MAX,
};

enum {
        PLAN_ATTACH_RECURSIVE_ATTR = 1, /* attributes for the whole tree (recursive read-only) */
        PLAN_USER_BY_NAME = 1,          /* user name to be looked up, else uid is it */
        PLAN_USER_GROUP_BY_NAME = 2,
        PLAN_USER_HAS_GID = 4,
        PLAN_USER_STRICT = 8,           /* no memberships from /etc/group */
        PLAN_USER_RESOLVED = 16,        /* no look-up at all */
};

enum plan_msg { PLAN_MSG_PLAN = 'P', PLAN_MSG_READY = 'R', PLAN_MSG_ERROR = 'E', PLAN_MSG_START = 'S' };

enum { PLAN_MAX_GROUPS = 1024, PLAN_ERROR_MAX = 512, PLAN_FD_FIRST = 5 };

struct plan_ready {
        uint8_t type; /* PLAN_MSG_READY */
        uint8_t has_terminal;
        uint16_t n_groups;
        uint32_t uid, gid;
        uint32_t groups[PLAN_MAX_GROUPS]; /* only n_groups of them are sent */
};

struct plan_error {
        uint8_t type; /* PLAN_MSG_ERROR */
        uint8_t pad[3];
        int32_t sys_errno; /* 0: none */
        char text[PLAN_ERROR_MAX];
};
