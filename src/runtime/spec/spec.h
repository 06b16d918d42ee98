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
        unsigned long propagation; /* MS_PRIVATE, MS_SLAVE or MS_SHARED (always recursive); 0: private */
        int source_fd;             /* >= 0: a detached mount to use instead of @source; taken by the engine */
        /* For a bind: owners of its files are ids inside these maps and become those outside (idmapped mount, for all
         * of its tree when recursive); NULL: they stay. */
        const struct id_maps *owners;
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

/* Limits. 0 or "" or an empty list: leave as it is (unset), as in CRI; -1 where allowed: no limit. */
struct spec_resources {
        int64_t memory_limit_bytes;      /* -1: none */
        int64_t memory_swap_limit_bytes; /* memory + swap, -1: none */
        uint64_t cpu_shares;
        int64_t cpu_quota_us; /* -1: none */
        uint64_t cpu_period_us;
        const char *cpuset_cpus, *cpuset_mems; /* "" */
        int64_t pids_limit;                    /* -1: none */
        uint16_t blkio_weight;                 /* 10..1000 */
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

/* Is there a user namespace of its own? Its ids are struct spec's user_ids then. */
#define SPEC_HAS_USER_NS(spec) ((spec)->ns[SPEC_NS_USER].create || (spec)->ns[SPEC_NS_USER].path)

struct spec {
        const char *id;
        int rootfs_mount_fd; /* detached mount of the root file system; taken by the engine */
        bool readonly_rootfs;
        unsigned long rootfs_propagation; /* 0: private */
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
};
