/* SPDX-License-Identifier: Apache-2.0 */
/* internal - what the files of runtime/cgroup share: the hierarchies found, an open group, a plan of writes.
 * A limit becomes one or more planned writes ("memory.max" = "1048576" in hierarchy 0); v1.c and v2.c only plan,
 * limits.c carries out and puts back. Private to runtime/cgroup and its test. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/spec/spec.h"

enum ctl {
        CTL_CPU,
        CTL_CPUACCT,
        CTL_CPUSET,
        CTL_MEMORY,
        CTL_DEVICES,
        CTL_FREEZER,
        CTL_BLKIO, /* "io" on v2 */
        CTL_PIDS,
        CTL_HUGETLB,
        CTL_RDMA,
        CTL_MISC,
        CTL_NET_CLS, /* v1 only, as net_prio */
        CTL_NET_PRIO,
        CTL_MAX,
};

enum { HIER_MAX = CGROUP_MAX_DOORS, LEVEL_MAX = 32, GROUP_PATH_MAX = 3072, PLAN_MAX = 1024, DEVICE_CACHE_MAX = 4 };

struct hier {
        int fd; /* O_PATH, of the mount */
        char *mount;
        unsigned controllers; /* 1 << enum ctl */
        bool v2;
        bool rare; /* groups are made in it only for a limit of its controllers */
};

struct device_program {
        uint64_t hash; /* of the instructions */
        size_t n_insns;
        void *insns;
        int fd;
};

struct cgroups {
        enum cgroup_mode mode;
        struct hier hiers[HIER_MAX]; /* [0] is the first to be made and the last to be removed: what it lacks exists
                                        nowhere */
        size_t n;
        char *mounts;        /* cgroups_mounts() */
        int8_t of[CTL_MAX];  /* hierarchy of a controller, -1: none */
        int unified;         /* index of the v2 hierarchy, -1: none */
        bool seed_hierarchy; /* v1 kernels before 5.11: memory.use_hierarchy must be set on new groups */
        char page_sizes[CGROUP_HUGETLB_MAX][16]; /* of huge pages, as files of groups name them: "2MB" */
        size_t n_page_sizes;
        pthread_mutex_t lock;
        struct device_program programs[DEVICE_CACHE_MAX];
        size_t next_program;
};

/* One group, its folders opened as they are needed. */
struct group {
        struct cgroups *c;
        const char *path;
        unsigned wanted;      /* 1 << enum ctl: those for which it is made in rare hierarchies, too */
        bool all_controllers; /* v2: to be counted by all of them, as OCI runtimes do it */
        int fds[HIER_MAX];
        bool fresh[HIER_MAX];          /* made by this call: its limits are the kernel's defaults */
        uint8_t first_level[HIER_MAX]; /* first folder of the path that this call made; 0: none */
};

void group_init(struct group *g, struct cgroups *c, const char *path);
void group_done(struct group *g);
/* Folder in hierarchy @h, O_PATH, borrowed; or -errno. */
int group_fd(struct group *g, int h);

enum {
        WRITE_OPTIONAL = 1 /* no such file: fine */,
        WRITE_OR_NEXT = 2 /* no such file: the next entry, else skip that */
};

struct planned_write {
        uint8_t hier, flags;
        const char *field; /* of the specification, below linux.resources */
        char file[64];
        char buf[128];
        const char *value; /* a string of the caller's; NULL: buf */
        char unset[112];   /* of a file with lines by device: what makes this device's line go; "" */
        char *old;         /* what was there, when it may have to be put back */
};

struct plan {
        struct planned_write *writes;
        size_t n, cap;
        bool full;
        int hier; /* of the writes that are added */
};
void writes_done(struct plan *p);

/* Append; @fmt makes the file's name, the caller fills value or buf. Valid until the next one. */
_printf_(4, 5) struct planned_write *writes_add(struct plan *p, unsigned flags, const char *field, const char *fmt,
                                                ...);
void writes_text(struct plan *p, unsigned flags, const char *field, const char *file, const char *value);
void writes_number(struct plan *p, unsigned flags, const char *field, const char *file, int64_t value);
_printf_(2, 3) void writes_value(struct planned_write *w, const char *fmt, ...);
_printf_(2, 3) void writes_unset(struct planned_write *w, const char *fmt, ...);

/* Each plans what @r asks of one controller; @h is its hierarchy. Values of the group that decide the order are read,
 * except from a fresh one. */
_must_use_ int plan_v1(struct group *g, const struct spec_resources *r, struct plan *p, struct err *err);
_must_use_ int plan_v2(struct group *g, const struct spec_resources *r, struct plan *p, struct err *err);
void plan_rdma(const struct spec_resources *r, struct plan *p);
/* 1 << enum ctl of what @r limits. */
unsigned resources_controllers(const struct spec_resources *r);
/* cgroup v1 cpu.shares (2..262144) to v2 cpu.weight (1..10000). */
uint64_t weight_from_shares(uint64_t shares);
/* cgroup v1 blkio.weight (10..1000) to v2 io.weight (1..10000). */
unsigned io_weight(uint64_t blkio_weight);

/* For a group that goes when that fails; for one that was there before, or is used: then what was written is put back
 * on failure. */
enum limits_how { LIMITS_CREATE, LIMITS_UPDATE };
/* Checks @r, plans and writes. */
_must_use_ int limits_apply(struct group *g, const struct spec_resources *r, enum limits_how how, struct err *err);

/* check.c: is it well-formed? */
_must_use_ int resources_check(const struct spec_resources *r, struct err *err);

/* Device rules: v1 by its files, v2 by a BPF program on the group. @fresh: nothing was set before. On failure the old
 * ones stay. */
_must_use_ int devices_apply_v1(int dirfd, bool fresh, const struct spec_device_rule *rules, size_t n, struct err *err);
_must_use_ int devices_apply_v2(struct cgroups *c, int dirfd, bool fresh, const struct spec_device_rule *rules,
                                size_t n, struct err *err);
_must_use_ int devices_check(const struct spec_device_rule *rules, size_t n, struct err *err);
enum { DEVICE_RULES_MAX = 512 };
enum { DEVICE_READ = 1, DEVICE_WRITE = 2, DEVICE_MKNOD = 4, DEVICE_ALL = 7 };
unsigned device_access(const char *access);
/* Does it name every device? */
bool device_rule_is_all(const struct spec_device_rule *d);

/* What a list of rules comes to, in the terms of v1: all is allowed or none, but for these. */
struct device_exception {
        char type; /* 'b', 'c' */
        uint8_t access;
        int64_t major, minor; /* -1: any */
};
struct device_state {
        bool allow;
        size_t n;
        struct device_exception list[2 * DEVICE_RULES_MAX];
};
/* ERR_INVALID: v1 has no way to say it. Starts from *s. */
_must_use_ int device_state_add(struct device_state *s, const struct spec_device_rule *rules, size_t n,
                                struct err *err);
/* devices.list; false: it is not one. */
bool device_state_parse(const char *text, struct device_state *ret);

/* v2: make the controllers in @need (and, if it can be done, @want) usable in the group, by its parents'
 * subtree_control. */
/* ERR_PRECONDITION when more memory is in use than @limit, and it can't be dropped. */
_must_use_ int v2_check_in_use(struct group *g, int h, int64_t limit, struct err *err);
_must_use_ int v2_enable(struct group *g, unsigned need, unsigned want, struct err *err);
/* v1: cpuset.cpus and mems of the folder that ends at @len in the group's path, and of those above it, from their
 * parents. */
_must_use_ int v1_seed_cpuset(struct group *g, size_t len, struct err *err);

_must_use_ int path_check(const char *path, struct err *err);
const char *ctl_name(enum ctl ctl, bool v2);
int ctl_find(const char *name, size_t len); /* enum ctl or -1 */
/* Finds the hierarchies in @mountinfo (a file of /proc/self/mountinfo's form); the test gives its own. */
_must_use_ int cgroups_new_from(const char *mountinfo, struct cgroups **ret, struct err *err);

/* One read(2) into @buf, NUL-terminated, last newline cut. Length or -errno. */
ssize_t file_read_at(int dirfd, const char *file, char *buf, size_t size);
int file_write_at(int dirfd, const char *file, const char *value); /* 0 or -errno */
/* One number in a file; "max" and v1's "no limit" (2^63 in whole pages) are UINT64_MAX. */
bool number_at(int dirfd, const char *file, uint64_t *ret);
/* The same of a group's only file in a hierarchy that matters: without opening its folder. */
bool group_number(struct group *g, int h, const char *file, uint64_t *ret);
ssize_t group_read(struct group *g, int h, const char *file, char *buf, size_t size);
/* A file of pressure; false when it is not one. Never reads past @text's end. */
bool psi_parse(const char *text, struct cgroup_psi *ret);
/* @more may be NULL; what it finds on its way goes there. */
void stats_of(struct group *g, struct cgroup_stats *ret, struct cgroup_metrics *more);
/* metrics.c: the same and the rest of @more. */
void metrics_of(struct group *g, const struct cgroup_each_process *each, struct cgroup_stats *ret,
                struct cgroup_metrics *more);
uint64_t oom_kills_of(struct group *g);
/* Lines "MAJOR:MINOR ..." of v2's io.stat; of v1's blkio files, which hold either bytes or operations. */
void io_parse_v2(const char *text, struct cgroup_metrics *m);
void io_parse_v1(const char *text, bool bytes, struct cgroup_metrics *m);
/* Processes of one group, false when told to stop. */
bool each_process_in(int dirfd, const struct cgroup_each_process *e);
/* Of it and of all below. 0 or -errno; -ESTALE: a group went while we were in it, so that some were missed: try again.
 */
enum { WALK_TRIES = 8 };
_must_use_ int each_process_below(int dirfd, const struct cgroup_each_process *e);
/* 0 or -errno; -EOPNOTSUPP: no freezer here; -ETIMEDOUT: it goes on running. */
int group_freeze(struct group *g, bool on, unsigned timeout_ms);
bool group_is_frozen(struct group *g);
bool group_has_us(struct group *g, int h); /* the calling process is in it or below */
/* Where the calling process is in @h, by @text of /proc/self/cgroup; NULL: not said. */
const char *own_path_in(const struct hier *h, char *text, size_t *ret_len);
unsigned controllers_in(const char *list, size_t size); /* names with "," or " " between: a mask */
/* The path of a slice of systemd, as runc expands it. */
_must_use_ int slice_expand(const char *slice, char out[GROUP_PATH_MAX + 1], struct err *err);
/* Number of the line "key N" in @text; false when there is none. */
bool keyed_number(const char *text, const char *key, uint64_t *ret);
