/* SPDX-License-Identifier: Apache-2.0 */
/* spec - what a container is to be, in the terms of the OCI runtime specification (config.json), as C structures.
 * Filled by pod/ from CRI and image (and by the OCI command line from config.json), read by engines. Everything lives
 * in one arena of the caller's; strings and lists are borrowed, lists of strings end with NULL and are never NULL
 * unless said. */
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/id-map.h"

enum { SPEC_MAX_GROUPS = 1024 };

/* Of the specification that we speak: configurations, states, what hooks are told. */
#define SPEC_OCI_VERSION "1.3.0"

/* One mount, done by init inside the container's root after pivot_root, in list order. Missing targets are made.
 * Binds: source is a host path, resolved by the engine in the host's mount namespace (symlinks followed). */
struct spec_mount {
        const char *destination;
        const char *type; /* "bind", "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", ... */
        const char *source;
        const char *data;    /* file system options, "" when none */
        unsigned long flags; /* MS_NOSUID | MS_RDONLY ... for new file systems and binds alike */
        bool recursive;      /* rbind */
        bool recursive_readonly;
        unsigned long clear_flags; /* MS_* that options take away ("rw", "dev", "exec", "suid" ...), of binds */
        /* MOUNT_ATTR_* for the whole tree, "rro", "rnosuid" ...; those of atime with MOUNT_ATTR__ATIME in the clear. */
        uint64_t recursive_set, recursive_clear;
        /* MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE for the whole tree; 0: private, of a bundle's binds: the
         * root's */
        unsigned long propagation;
        bool propagation_flat; /* only for the mount itself */
        bool tmpcopyup;        /* a new tmpfs begins with what is below it */
        bool copy_symlink;     /* "copy-symlink" of crun: the source, being a symlink, is made anew in the container */
        int source_fd;         /* >= 0: a detached mount to use instead of @source; taken by the engine */
        /* For a bind: owners of its files are ids inside these maps and become those outside (idmapped mount, for all
         * of its tree when recursive and not owners_flat); NULL: they stay. */
        const struct id_maps *owners;
        bool owners_flat; /* "idmap", not "ridmap" */
};

struct spec_device {
        const char *path;
        char type; /* 'c', 'b', 'p' */
        unsigned major, minor;
        mode_t mode;
        uid_t uid;
        gid_t gid;
};

struct spec_device_rule {
        bool allow;
        char type;            /* 'a', 'b', 'c' */
        int64_t major, minor; /* -1: any */
        const char *access;   /* subset of "rwm" */
};

struct spec_rlimit {
        int resource;        /* RLIMIT_* */
        uint64_t soft, hard; /* RLIM_INFINITY */
};

struct spec_hugepage {
        const char *page_size; /* "2MB" */
        uint64_t limit_bytes;
};
struct spec_pair {
        const char *key, *value;
};

/* A limit of one block device. Of weights: 10..1000. */
struct spec_device_limit {
        int64_t major, minor;
        uint64_t value; /* bytes or operations a second; weight, 0: unset */
        uint16_t leaf_weight;
};
enum spec_throttle {
        SPEC_THROTTLE_READ_BPS,
        SPEC_THROTTLE_WRITE_BPS,
        SPEC_THROTTLE_READ_IOPS,
        SPEC_THROTTLE_WRITE_IOPS,
        SPEC_THROTTLE_MAX
};
struct spec_net_priority {
        const char *interface;
        uint32_t priority;
};
struct spec_rdma {
        const char *device;
        bool has_handles, has_objects;
        uint32_t handles, objects;
};

/* Limits. 0 or "" or an empty list: leave as it is (unset), as in CRI; -1 where allowed: no limit. Where 0 means
 * something there is a has_... beside. */
struct spec_resources {
        int64_t memory_limit_bytes;      /* -1: none */
        int64_t memory_swap_limit_bytes; /* memory + swap, -1: none */
        uint64_t cpu_shares;
        int64_t cpu_quota_us; /* -1: none */
        uint64_t cpu_period_us;
        const char *cpuset_cpus, *cpuset_mems; /* "" */
        int64_t pids_limit;                    /* -1: none */
        uint16_t blkio_weight;                 /* 10..1000 */
        /* What only the OCI runtime specification has. */
        int64_t memory_reservation_bytes; /* -1: none */
        bool has_swappiness;
        uint64_t swappiness; /* 0..100 */
        bool oom_kill_disable;
        bool check_before_update; /* a limit below what is used is refused */
        bool has_cpu_burst, has_cpu_idle;
        uint64_t cpu_burst_us;
        int64_t cpu_idle; /* 0, 1 */
        bool has_rt_runtime;
        int64_t rt_runtime_us;
        uint64_t rt_period_us;
        uint16_t blkio_leaf_weight;
        const struct spec_device_limit *blkio_weights; /* by device */
        size_t n_blkio_weights;
        const struct spec_device_limit *throttles[SPEC_THROTTLE_MAX];
        size_t n_throttles[SPEC_THROTTLE_MAX];
        bool has_net_class_id;
        uint32_t net_class_id;
        const struct spec_net_priority *net_priorities;
        size_t n_net_priorities;
        const struct spec_rdma *rdma;
        size_t n_rdma;
        const struct spec_hugepage *hugepages;
        size_t n_hugepages;
        const struct spec_pair *unified; /* cgroup v2 file, value: written verbatim */
        size_t n_unified;
        const struct spec_device_rule *devices;
        size_t n_devices;
};

struct spec_caps {
        uint64_t bounding, effective, permitted, inheritable, ambient;
};

/* Who the process runs as. A name, or an absent gid, is looked up in the image's /etc/passwd and /etc/group by init
 * inside the container; the result comes back in struct engine_created. */
struct spec_user {
        const char *username; /* NULL or "": use uid */
        uid_t uid;
        const char *groupname; /* NULL or "": use gid when has_gid */
        gid_t gid;
        bool has_gid;       /* else: the gid of the passwd entry, else 0 */
        bool strict_groups; /* SupplementalGroupsPolicy Strict: do not add memberships found in /etc/group */
        const gid_t *additional_gids;
        size_t n_additional_gids;
        bool resolved; /* numbers are final (exec): no look-up */
};

/* sched_setattr(2). */
struct spec_scheduler {
        uint32_t policy; /* SCHED_OTHER ... */
        int32_t nice;
        uint32_t priority;
        uint64_t flags; /* SCHED_FLAG_* */
        uint64_t runtime_ns, deadline_ns, period_ns;
};

struct spec_process {
        bool terminal;
        uint16_t rows, columns;  /* 0: leave */
        const char *const *args; /* empty: the pause process of a pod, which reaps */
        const char *const *env;  /* "K=V" */
        const char *cwd;         /* absolute; made if missing */
        struct spec_user user;
        bool has_umask;
        mode_t umask;
        struct spec_caps caps;
        const struct spec_rlimit *rlimits;
        size_t n_rlimits;
        bool no_new_privs;
        bool has_oom_score_adj;
        int oom_score_adj;
        const char *apparmor_profile;      /* NULL: none */
        const char *selinux_label;         /* NULL: none */
        const struct sock_filter *seccomp; /* NULL: none */
        size_t n_seccomp;
        uint32_t seccomp_flags; /* SECCOMP_FILTER_FLAG_* */
        /* The filter has SCMP_ACT_NOTIFY: its descriptor is handed to whoever made the process (with the state for
         * spec's seccomp_listener_path). */
        bool seccomp_notify;
        const struct spec_scheduler *scheduler; /* NULL: as it is */
        bool has_io_priority;
        int io_priority_class, io_priority; /* IOPRIO_CLASS_*, 0..7 */
        /* Lists of processors, "0-3,7": before the cgroup is entered, and for the program; NULL: as it is. Of an exec.
         */
        const char *cpu_affinity_initial, *cpu_affinity_final;
        const char *session_keyring; /* of an exec: the one to join; NULL: the caller's */
        const int *fds;              /* become 3, 4 ... in the program; borrowed */
        size_t n_fds;
};

/* A program that the OCI runtime specification calls a hook; docs/decisions/0012 says which runs where. */
struct spec_hook {
        const char *path;        /* absolute */
        const char *const *args; /* argv; empty: the path alone */
        const char *const *env;  /* all of its environment */
        uint64_t timeout_ms;     /* 0: none */
};

enum spec_hook_kind {
        SPEC_HOOK_PRESTART,
        SPEC_HOOK_CREATE_RUNTIME,
        SPEC_HOOK_CREATE_CONTAINER,
        SPEC_HOOK_START_CONTAINER,
        SPEC_HOOK_POSTSTART,
        SPEC_HOOK_POSTSTOP,
        SPEC_HOOK_MAX
};

struct spec_hooks {
        const struct spec_hook *list[SPEC_HOOK_MAX];
        size_t n[SPEC_HOOK_MAX];
};

enum spec_ns {
        SPEC_NS_PID,
        SPEC_NS_NET,
        SPEC_NS_IPC,
        SPEC_NS_UTS,
        SPEC_NS_MNT,
        SPEC_NS_CGROUP,
        SPEC_NS_USER,
        SPEC_NS_TIME,
        SPEC_NS_MAX
};

/* How the container gets each namespace: a new one, or the one behind a path ("/proc/1/ns/net" is the host's). */
struct spec_namespace {
        bool create;
        const char *path; /* when !create; NULL: not unshared at all (stays the monitor's; only for user and time) */
};

/* What its own time namespace adds to a clock. */
struct spec_time_offset {
        bool has;
        int64_t seconds;
        uint32_t nanoseconds;
};

/* set_mempolicy(2). */
struct spec_memory_policy {
        int mode;          /* MPOL_* */
        unsigned flags;    /* MPOL_F_* */
        const char *nodes; /* "0-3,7", "" */
};

/* Is there a user namespace of its own? Its ids are struct spec's user_ids then. */
#define SPEC_HAS_USER_NS(spec) ((spec)->ns[SPEC_NS_USER].create || (spec)->ns[SPEC_NS_USER].path)

struct spec {
        const char *id;
        bool by_crun;        /* crun makes the container, not liblxc */
        int rootfs_mount_fd; /* detached mount of the root file system; taken by the engine */
        bool readonly_rootfs;
        unsigned long rootfs_propagation; /* MS_*, with MS_REC for the tree; 0: private */
        struct spec_namespace ns[SPEC_NS_MAX];
        struct id_maps user_ids;
        /* The PID namespace in which the container's own is made and its monitor lives, so that all of it ends with
         * that; NULL: the host's. */
        const char *outer_pid_ns;
        const char *cgroup_path; /* absolute below the cgroup mount, "/kubepods/.../<id>" */
        const struct spec_mount *mounts;
        size_t n_mounts;
        const struct spec_device *devices;
        size_t n_devices;
        const char *const *masked_paths, *const *readonly_paths;
        const char *mount_label; /* SELinux context of new file systems; NULL: none */
        const struct spec_pair *sysctls;
        size_t n_sysctls;
        struct spec_process process;
        struct spec_resources resources;
        struct spec_hooks hooks;
        const struct spec_pair *annotations; /* for hooks */
        size_t n_annotations;
        /* What only the OCI runtime specification has. */
        /* Of the UTS namespace; NULL: left, but hostname, unless of a bundle, is the id with one made for it. */
        const char *hostname, *domainname;
        struct spec_time_offset monotonic, boottime;
        bool has_personality;
        unsigned long personality;                      /* personality(2): PER_LINUX, PER_LINUX32 */
        const struct spec_memory_policy *memory_policy; /* NULL: as it is */
        const struct spec_pair *net_devices;            /* of the host, to become the container's: name, new name */
        size_t n_net_devices;
        const char *seccomp_listener_path, *seccomp_listener_metadata; /* NULL: none */
        /* It comes from a bundle. Where pods are stricter, or CRI says otherwise, it is carried out as runc does: a
         * bind without propagation has the root's, by default slave, and one that lacks what it asks for gets it all
         * the same; a tmpfs has the mode of the folder below it. */
        bool is_bundle;
        /* Besides @devices those that every container of a bundle has: null, zero, full, random, urandom, tty; and
         * /dev/ptmx is a link in any case. Not if a bind brings a /dev. */
        bool default_devices;
        /* The container outlives who made it: nothing kills it when its parent ends (OCI runtimes). */
        bool outlives_parent;
        bool session_keyring; /* a new one, "_ses.<id>" */
        /* With it: a listening SOCK_SEQPACKET unix socket on which init waits for "start" (init/plan.h). Borrowed. */
        int start_socket;
};
