/* SPDX-License-Identifier: Apache-2.0 */
/* plan - what proxmox-lxcri-init and the keeper's exec helper have to do, as a flat list of records in a memfd: made by
 * runtime/lxc/plan.c (daemon), carried out by init/setup.c and init/process.c. Plan first, then act: the small
 * privileged program decides nothing. This header is shared between glibc and musl programs: only plain types.
 *
 * The planner is runtime/lxc/plan.c, init/reader.h the only way to look into a plan. An exec's plan has no setup
 * records but PLAN_CGROUP_JOIN, PLAN_USER (resolved), PLAN_TERMINAL, PLAN_CWD and PLAN_OOM_SCORE_ADJ.
 *
 * Life of init: liblxc starts it as "/proc/self/fd/N SOCKET-FD"; on the socket (SOCK_SEQPACKET) it receives one message
 * PLAN_MSG_PLAN with descriptors [0] the plan's memfd, [1] stdin, [2] stdout, [3] stderr (for a terminal: three times
 * the same /dev/null, replaced), [4] the exec status pipe's write end, [5...] the plan's own descriptors, which records
 * name by index from 0. It carries out the setup records in order, answers PLAN_MSG_READY (struct plan_ready; with the
 * terminal's master as descriptor, if any) or PLAN_MSG_ERROR (text), waits for PLAN_MSG_START, carries out the process
 * records, execs. The exec status pipe then closes (success) or carries "i32 errno, text" (failure); init exits 127 or
 * 126 after that. EOF on the socket before START: exit. The whole plan is validated before the first record is acted
 * on.
 *
 * Containers that outlive who made them (OCI runtimes): with PLAN_START_SOCKET init is let go by whoever connects to a
 * listening SOCK_SEQPACKET unix socket, which the maker has bound where only the runtime's user can reach it and passes
 * on as a descriptor of the plan. Once READY is sent init closes the maker's socket and all it got with the plan but
 * that socket, its own stdio and PLAN_PRESERVE's; descriptor [4] of PLAN_MSG_PLAN isn't used (/dev/null will do), and
 * the maker's end no longer matters. Then, again and again: accept a connection; SO_PEERCRED must have the uid of the
 * record, as seen from the container's user namespace; one message PLAN_MSG_START with exactly one descriptor, the
 * write end of an exec status pipe, lets init go, with the meaning of the pipe as above. Anything else, or the end of
 * the connection, only ends the connection. So "start" may die at any time; connecting to an init that is gone is
 * ECONNREFUSED. Until then SIGHUP, SIGINT, SIGQUIT and SIGTERM end init with 128 + signal, even as first process of its
 * PID namespace.
 *
 * With PLAN_SECCOMP_NOTIFY the filter's descriptor goes to whoever sent START, over the same socket (exec: the
 * terminal's): a message PLAN_MSG_SECCOMP of one byte with that descriptor, to be answered with PLAN_MSG_GO once the
 * agent has it. It comes before the exec status pipe closes. */
#pragma once
#include <stdint.h>

#define PLAN_MAGIC 0x316e616c5063786cULL /* "lxcPlan1" */
#define PLAN_MAX_BYTES (8u << 20)

struct plan_header {
        uint64_t magic;
        uint32_t size; /* of the whole plan in bytes */
        uint32_t n_records;
};

/* A record: this, then n_str NUL-terminated strings, then data_len bytes; size covers all, and is a multiple of 8. */
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

/* Paths resolve inside the container's root; missing parents of targets are made. */
enum plan_op {
        /* Setup, in the container's namespaces, root already pivoted. */

        /* fd: a cgroup's file to write "0" to; flags PLAN_CGROUP_FOLDER: the folder of a v2 group instead, to write
         * "0" to its cgroup.procs, or to clone into. */
        PLAN_CGROUP_JOIN = 1,
        /* unshare(CLONE_NEWCGROUP). */
        PLAN_CGROUP_NS,
        /* On "/". a: MS_PRIVATE, MS_SLAVE or MS_SHARED; | MS_REC: for the whole tree. */
        PLAN_ROOT_PROPAGATION,
        /* A new file system. str: type, source, target (a folder, made if missing), data; a: MS_* flags; flags
         * PLAN_MOUNT_KEEP_MODE: of a tmpfs, whose mode is, unless data says otherwise, that of the folder below if
         * there was one; PLAN_MOUNT_COPY_UP: of a tmpfs, which begins with a copy of what is below. */
        PLAN_MOUNT,
        /* fd: detached mount; str: target, made if missing: a folder or an empty file, as the mount's root is;
         * a: MOUNT_ATTR_* to set; b: to clear; flags PLAN_ATTACH_RECURSIVE_ATTR; c: propagation MS_* for its whole
         * tree, 0: as it is. */
        PLAN_ATTACH,
        /* mkdir -p. str: path; a: mode, b: uid, c: gid of the last component when it had to be made. */
        PLAN_DIR,
        /* str: target, link path; something existing there is fine, with flags PLAN_SYMLINK_REPLACE: removed, unless
         * it is a folder with something in it. */
        PLAN_SYMLINK,
        /* str: path; a: mode with S_IFCHR, S_IFBLK or S_IFIFO; b: dev_t; c: uid; d: gid. The same device existing is
         * fine. Not in a user namespace, but for fifos: there the planner attaches the host's. */
        PLAN_MKNOD,
        /* str: path: folder -> empty read-only tmpfs, else /dev/null bound over it; missing is fine. Second str: the
         * tmpfs' SELinux context, "": none; that of the first folder counts for all. */
        PLAN_MASK,
        /* str: path: bound on itself read-only, recursively; missing is fine. */
        PLAN_READONLY,
        /* str: key with dots or slashes, value. */
        PLAN_SYSCTL,
        /* Who: flags PLAN_USER_*; a: uid; b: gid; str: user name, group name ("" when not by name); data: gid_t[],
         * additional ones. Looks at /etc/passwd and /etc/group as they are now (before the mounts: the image's); the
         * process part uses the result. */
        PLAN_USER,
        /* a: rows, b: columns, 0: left: a new pty from /dev/pts/ptmx: slave bound on /dev/console (not by exec),
         * descriptors 0-2, controlling terminal. */
        PLAN_TERMINAL,
        /* Not recursive; the last of the mounts. */
        PLAN_ROOT_READONLY,
        /* str: working folder; made if missing (not by exec); entered before the switch of user, or after it when only
         * the user may. */
        PLAN_CWD,
        /* a: (int64_t) value; lowering it without the right is tolerated. */
        PLAN_OOM_SCORE_ADJ,
        /* str: path of a mount; a: MOUNT_ATTR_* to set; b: to clear; flags PLAN_ATTACH_RECURSIVE_ATTR: for the whole
         * tree; c: propagation MS_*, 0: as it is. */
        PLAN_SETATTR,
        /* str: path of a folder, its SELinux label. */
        PLAN_LABEL,
        /* Runs the hooks of PLAN_HOOK without flags where the OCI runtime specification wants them: before pivot_root,
         * as it looks from here. fd: detached clone of the host's root, which becomes the root; str: its folder (no
         * symlinks on the way) where the container's root is meanwhile. Before the first, PLAN_MSG_HOOKS is sent and
         * PLAN_MSG_GO waited for. */
        PLAN_HOOKS,
        /* A hook. str: program, state as JSON up to and without the value of "pid", its last member, then a arguments,
         * the rest: environment; b: timeout in ms, 0: none; flags PLAN_HOOK_AT_START: as the user, before the exec. */
        PLAN_HOOK,
        /* str: path of a mount that liblxc needed and the container must not have: taken away. Fine when none is there.
         */
        PLAN_UMOUNT,
        /* str: host name, NIS domain name of the UTS namespace; "": as it is. */
        PLAN_UTS,
        /* fd: listening socket; a: uid of who may connect. See above. */
        PLAN_START_SOCKET,
        /* Neither init nor the program is killed when its parent ends. */
        PLAN_OUTLIVES_PARENT,
        /* str: path of a mount, data; a: MS_* flags of mount(2) with MS_REMOUNT. */
        PLAN_REMOUNT,
        /* str: name of a new session keyring; a: rights (KEYCTL_SETPERM) it gets besides those it has. Kernels without
         * keyrings are fine. Of an exec: of the one to join. */
        PLAN_KEYRING,
        /* fd: a time namespace to be entered. */
        PLAN_TIME_NS,
        /* A time namespace is made and entered. a, b: seconds and nanoseconds that it adds to the monotonic clock, c,
         * d: to that of the time since boot. */
        PLAN_TIME_NS_NEW,
        /* fd: becomes the next of the descriptors 3, 4 ... of the program, in the order of these records. */
        PLAN_PRESERVE,
        /* data: cpu_set_t's bytes: where a process may run that is to enter the cgroups. Of an exec. */
        PLAN_CPU_AFFINITY_INITIAL,
        PLAN_SETUP_END,

        /* The process, on START (exec: at once). */

        /* a: RLIMIT_*; b: soft; c: hard. */
        PLAN_RLIMIT = 64,
        /* a; without it: 022. */
        PLAN_UMASK,
        /* data: uint64_t[5]: bounding, effective, permitted, inheritable, ambient; what can't be granted is left out.
         */
        PLAN_CAPS,
        PLAN_NO_NEW_PRIVS,
        /* str: profile for the exec. */
        PLAN_APPARMOR,
        /* str: label for the exec. */
        PLAN_SELINUX,
        /* data: struct sock_filter[], at most 4096; a: SECCOMP_FILTER_FLAG_*; flags PLAN_SECCOMP_NOTIFY: see above. */
        PLAN_SECCOMP,
        /* str: all of the environment; HOME is added when missing. */
        PLAN_ENV,
        /* str: argv; none: pause: stay and reap until SIGTERM. */
        PLAN_ARGS,
        /* data: one struct sched_attr of 48 bytes. */
        PLAN_SCHEDULER,
        /* a: as ioprio_set(2) takes it. */
        PLAN_IO_PRIORITY,
        /* data: cpu_set_t's bytes. */
        PLAN_CPU_AFFINITY,
        /* a: as personality(2) takes it. */
        PLAN_PERSONALITY,
        /* a: mode with MPOL_F_*; data: uint64_t[], the mask of nodes. */
        PLAN_MEMORY_POLICY,
        PLAN_OP_MAX,
};

enum {
        PLAN_ATTACH_RECURSIVE_ATTR = 1, /* attributes for the whole tree (recursive read-only) */
        PLAN_USER_BY_NAME = 1,          /* user name to be looked up, else uid is it */
        PLAN_USER_GROUP_BY_NAME = 2,
        PLAN_USER_HAS_GID = 4,
        PLAN_USER_STRICT = 8,    /* no memberships from /etc/group */
        PLAN_USER_RESOLVED = 16, /* no look-up, save that of HOME */
        PLAN_CGROUP_FOLDER = 1,
        PLAN_HOOK_AT_START = 1,
        PLAN_MOUNT_KEEP_MODE = 1,
        PLAN_MOUNT_COPY_UP = 2,
        PLAN_SYMLINK_REPLACE = 1,
        PLAN_SECCOMP_NOTIFY = 1,
};

enum plan_msg {
        PLAN_MSG_PLAN = 'P',
        PLAN_MSG_HOOKS = 'H', /* with hooks only: their time has come */
        PLAN_MSG_GO = 'G',    /* the keeper's answer: those outside have run */
        PLAN_MSG_READY = 'R',
        PLAN_MSG_ERROR = 'E',
        PLAN_MSG_START = 'S',
        PLAN_MSG_SECCOMP = 'N',
};

enum {
        PLAN_MAX_GROUPS = 1024,
        PLAN_ERROR_MAX = 512,
        PLAN_FD_FIRST = 5,
        PLAN_MAX_FDS = 240,       /* the plan's own: what one message with descriptors can carry */
        PLAN_MAX_STRINGS = 65536, /* in one record */
        PLAN_SCHED_ATTR_SIZE = 48,
        PLAN_MAX_CPU_BYTES = 1024,
        PLAN_MAX_NODE_WORDS = 16,
};

struct plan_ready {
        uint8_t type; /* PLAN_MSG_READY */
        uint8_t has_terminal;
        uint16_t n_groups;
        uint32_t uid, gid;
        uint32_t groups[PLAN_MAX_GROUPS]; /* only n_groups of them are sent; sorted, each once, gid among them */
};

struct plan_error {
        uint8_t type; /* PLAN_MSG_ERROR */
        uint8_t pad[3];
        int32_t sys_errno; /* 0: none */
        char text[PLAN_ERROR_MAX];
};
