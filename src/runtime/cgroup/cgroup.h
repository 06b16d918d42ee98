/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup - control groups of containers, on v1, hybrid and v2, by files (driver "cgroupfs"). Thread-safe after
 * cgroups_new(). A path is absolute below the mount of every hierarchy: "/kubepods/burstable/pod1/<id>". We own only
 * the last component, and that only when we made it; limits of parents are never touched, save enabling controllers on
 * v2. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "runtime/spec/spec.h"

enum cgroup_mode { CGROUP_V1, CGROUP_HYBRID, CGROUP_V2 }; /* hybrid: controllers on v1, a v2 tree beside them */

struct cgroups;

_must_use_ int cgroups_new(struct cgroups **ret, struct err *err); /* finds the mounts in /proc/self/mountinfo */
struct cgroups *cgroups_free(struct cgroups *c);
/* The lines of mountinfo in which those mounts were found, and all others of these types; borrowed. */
const char *cgroups_mounts(const struct cgroups *c);
DEFINE_CLEANUP(struct cgroups *, cgroups_free)
enum cgroup_mode cgroups_mode(const struct cgroups *c);
const char *cgroup_mode_name(enum cgroup_mode mode);
/* What a share of CPU time is called here: cgroup v1's shares as they are, or v2's weight. For Proxmox' cpuunits. */
uint64_t cgroups_cpu_units(const struct cgroups *c, uint64_t shares);
bool cgroups_has(const struct cgroups *c, const char *controller); /* "memory", "pids" ... usable */

/* Make it (with parents) and set limits. On failure nothing of ours stays. A limit the host can't do is an error that
 * names it. */
_must_use_ int cgroup_create(struct cgroups *c, const char *path, const struct spec_resources *r, struct err *err);
/* A bundle's device rules as every container gets them, like runc's: nothing but what they say and the default devices
 * (making of nodes, null, zero, full, random, urandom, tty, ptmx, pts, tun). @all has room for so many more than @n. */
enum { CGROUP_DEVICE_RULES_MORE = 12 };
void cgroup_device_rules(const struct spec_device_rule *rules, size_t n, struct spec_device_rule *all);
/* The same for a group that may be there already, in some hierarchy or in all (*ret_made: false): it is joined and gets
 * the limits; what is in it is not ours to kill, nor it to remove. On failure what was there has its old limits. */
_must_use_ int cgroup_create_or_join(struct cgroups *c, const char *path, const struct spec_resources *r,
                                     bool *ret_made, struct err *err);
/* A plain group without limits, e.g. a pod's when the caller named no parent; existing is fine. */
_must_use_ int cgroup_make(struct cgroups *c, const char *path, struct err *err);
/* What a process of one thread needs to join the group, one per hierarchy. v1: its "tasks", to write "0" to, which,
 * unlike cgroup.procs, takes no lock that every fork of the host waits for, and so no RCU grace period (8-15 ms). v2
 * has nothing like it: its folder, O_PATH, to clone a process into, or else cgroup.procs. Opened here, because with
 * nsdelegate the cgroup namespace of who opened it counts. */
struct cgroup_door {
        int fd;
        bool folder;
};
enum { CGROUP_MAX_DOORS = 16 };
/* Returns how many doors there are, or -code. The caller closes them. */
_must_use_ int cgroup_open_doors(struct cgroups *c, const char *path, bool to_clone,
                                 struct cgroup_door doors[CGROUP_MAX_DOORS], struct err *err);
/* The door of @path in the hierarchy of @controller alone ("cpu"), of cgroup v1; ERR_INVALID when it has none
 * there. */
_must_use_ int cgroup_open_door_of(struct cgroups *c, const char *controller, const char *path, struct cgroup_door *ret,
                                   struct err *err);
/* The cgroup.procs of the v2 group that the calling process is in; *ret is -1 where there is no v2. */
_must_use_ int cgroup_open_home(struct cgroups *c, int *ret, struct err *err);
/* Change limits of a live group, those that are set, device rules as a whole; all or nothing (what was changed is put
 * back on failure). */
_must_use_ int cgroup_update(struct cgroups *c, const char *path, const struct spec_resources *r, struct err *err);
/* SIGKILL everything in it and below, until it is empty or @timeout_ms passed (ERR_DEADLINE). Missing is fine. */
_must_use_ int cgroup_kill(struct cgroups *c, const char *path, unsigned timeout_ms, struct err *err);
/* @sig, once, to each process in it and below, other than the caller; frozen meanwhile, so that none forks away, and
 * SIGKILL by cgroup.kill. A group that is frozen stays so, unless it is killed. Returns without waiting for their end.
 * Missing group: ERR_NOT_FOUND. */
_must_use_ int cgroup_signal_all(struct cgroups *c, const char *path, int sig, struct err *err);
/* Stop everything in it and below, or let it go on. Returns when it has stopped; if that takes longer than
 * @timeout_ms, it is let go on: ERR_DEADLINE. Missing group: ERR_NOT_FOUND; no freezer, or the caller is in it:
 * ERR_PRECONDITION. */
_must_use_ int cgroup_freeze(struct cgroups *c, const char *path, bool on, unsigned timeout_ms, struct err *err);
bool cgroup_is_frozen(struct cgroups *c, const char *path); /* by itself, not by one above; missing: false */
/* Ids, as seen here, of the processes in it and below, sorted; the caller frees. Missing group: ERR_NOT_FOUND. */
_must_use_ int cgroup_processes(struct cgroups *c, const char *path, pid_t **ret, size_t *ret_n, struct err *err);
/* Is there such a group, made by whomever? A group that is being made is there from the first step on. */
bool cgroup_exists(struct cgroups *c, const char *path);
/* rmdir, children included (kills nothing); missing is fine. Retries EBUSY briefly. */
_must_use_ int cgroup_remove(struct cgroups *c, const char *path, struct err *err);
/* Number of processes killed for lack of memory in the group or below; 0 when unknown. */
uint64_t cgroup_oom_kills(struct cgroups *c, const char *path);
/* Names of the direct children of @path, "" separated list via callback; for reconciling. Missing: none. */
_must_use_ int cgroup_each_child(struct cgroups *c, const char *path, int (*each)(const char *name, void *userdata),
                                 void *userdata, struct err *err);

/* Which group a bundle's linux.cgroupsPath (NULL, "": not given) means, as with runc. Strings live in @arena. */
struct cgroup_place {
        const char *path;         /* of the group, as all of the functions here take it */
        const char *slice, *unit; /* driver systemd: "machine.slice", "libpod-<id>.scope"; else NULL */
};
_must_use_ int cgroup_place_find(struct cgroups *c, const char *cgroups_path, const char *id, bool systemd,
                                 struct arena *arena, struct cgroup_place *ret, struct err *err);

/* The folders of a group, one a hierarchy, for programs that want paths; first v2's, where there is one. */
struct cgroup_folder {
        const char *mount; /* of the hierarchy */
        const char *path;
        bool freezer; /* this is where it is frozen */
};
size_t cgroup_list_folders(const struct cgroups *c, const char *path, struct arena *arena,
                           struct cgroup_folder ret[CGROUP_MAX_DOORS]);

/* Pressure (Documentation/accounting/psi.rst): how long some, or all, of the tasks that had work waited for lack of a
 * resource. Averages are percent of the last 10, 60 and 300 seconds. */
struct cgroup_psi {
        struct cgroup_psi_line {
                uint64_t total_ns;
                double avg10, avg60, avg300;
        } some, full;
        bool has; /* false: the kernel has no PSI, or no v2 hierarchy is mounted */
};

struct cgroup_stats {
        uint64_t cpu_usage_ns;
        uint64_t memory_usage_bytes, memory_working_set_bytes, memory_rss_bytes, memory_limit_bytes; /* limit 0: none */
        uint64_t page_faults, major_page_faults;
        uint64_t swap_usage_bytes, swap_limit_bytes; /* limit UINT64_MAX: none */
        bool has_swap;
        struct cgroup_psi cpu_psi, memory_psi, io_psi;
};
/* Missing group: ERR_NOT_FOUND. Every file costs its opening: what few want has a function of its own. */
_must_use_ int cgroup_get_stats(struct cgroups *c, const char *path, struct cgroup_stats *ret, struct err *err);

/* Tasks, so threads count, in the group and below; 0 when unknown. */
uint64_t cgroup_tasks(struct cgroups *c, const char *path);

/* What monitoring wants beyond that. UINT64_MAX: this host does not tell. Limits: 0 is none. */
enum { CGROUP_DEVICES_MAX = 32, CGROUP_HUGETLB_MAX = 8 };
struct cgroup_metrics {
        uint64_t cpu_user_ns, cpu_system_ns, cfs_periods, cfs_throttled_periods, cfs_throttled_ns;
        uint64_t memory_cache, memory_mapped, memory_kernel, memory_max_usage, memory_failcnt, memory_reservation;
        uint64_t own_page_faults, own_major_page_faults; /* without groups below; v2 counts them in */
        uint64_t oom_kills, tasks, pids_max;
        struct cgroup_device_io {
                unsigned major, minor;
                uint64_t read_bytes, write_bytes, reads, writes;
        } devices[CGROUP_DEVICES_MAX];
        size_t n_devices;
        struct cgroup_hugetlb {
                char page_size[16]; /* "2MB" */
                uint64_t usage, max_usage;
        } hugetlb[CGROUP_HUGETLB_MAX];
        size_t n_hugetlb;
};
/* Told of each process in the group, by its id here, not of those of groups below; returns false to stop. */
struct cgroup_each_process {
        bool (*each)(pid_t pid, void *userdata);
        void *userdata;
};
void cgroup_each_process(struct cgroups *c, const char *path,
                         const struct cgroup_each_process *each); /* missing: none */
/* Both at once, but for limits of memory and swap. Missing group: ERR_NOT_FOUND. */
_must_use_ int cgroup_get_metrics(struct cgroups *c, const char *path, const struct cgroup_each_process *each,
                                  struct cgroup_stats *ret, struct cgroup_metrics *ret_metrics, struct err *err);

/* Is @controller ("memory", "blkio", ...) on the v2 hierarchy? One that is none stands for that hierarchy itself. */
bool cgroups_is_v2(const struct cgroups *c, const char *controller);
/* One file of the group in the controller's hierarchy, in one read, NUL-terminated, without its last newline: its
 * length or -errno. */
ssize_t cgroup_read(struct cgroups *c, const char *path, const char *controller, const char *file, char *buf,
                    size_t size);
