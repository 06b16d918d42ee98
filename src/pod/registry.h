/* SPDX-License-Identifier: Apache-2.0 */
/* registry - the sandboxes and containers in memory, and who may touch what. Private to pod/.
 *
 * Locks, to be taken in this order:
 *   sandbox->lock     operations on a pod, one at a time (a mutex, held over everything slow);
 *   container->record a container's record in the store: who changes what it holds writes it before letting go;
 *   pods->lock        the maps and every field marked [L]: written under the write lock, read under the read lock.
 * Never held over anything that can block, so that List and Status never wait behind a slow operation. Fields without a
 * mark do not change once the object is visible. Objects are counted: a pointer taken out of a map under the lock is
 * kept with _ref(). "Invisible" objects are in the maps (they hold their name) but no look-up finds them. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "base/map.h"
#include "base/pool.h"
#include "base/str.h"
#include "pod/pod.h"
#include "runtime/proxmox/ct.h"
#include "security/seccomp.h"

/* The states of a sandbox; the names are what its record says. Transitions: sandbox_set_phase(). */
enum sandbox_phase {
        SANDBOX_CREATING, /* intent: RunPodSandbox is at work, or a crash interrupted it */
        SANDBOX_READY,
        SANDBOX_DEAD, /* not ready, but still holds its address and files: its pause process died, or the host rebooted
                       */
        SANDBOX_STOPPING, /* intent */
        SANDBOX_STOPPED,  /* holds nothing but its record */
        SANDBOX_REMOVING, /* intent */
        SANDBOX_PHASE_MAX,
};

enum container_phase {
        CONTAINER_CREATING, /* intent */
        CONTAINER_CREATED,
        CONTAINER_STARTING, /* intent */
        CONTAINER_RUNNING,
        CONTAINER_EXITED,
        CONTAINER_REMOVING, /* intent */
        CONTAINER_PHASE_MAX,
};

/* Bytes of a packed list item with their length before them, ready to be copied into a response. */
struct packed_item {
        size_t len;
        uint8_t data[];
};

struct container;

struct sandbox {
        atomic_int refs;
        struct pods *pods;
        char id[ID_LEN + 1];
        char *name_key; /* identity: "name_namespace_uid_attempt" */
        CRI(PodSandboxConfig) * config;
        char *handler;             /* as it was asked for; "": none named */
        char *chosen_handler;      /* the one that it got; NULL: made before that was noted */
        char *seccomp_profile;     /* the handler's, see handlers.h; NULL: the built-in one */
        bool without_host_devices; /* the same, of privileged containers */
        uint64_t created_at_ns;
        bool by_crun;             /* its containers are made by crun */
        bool in_ct;               /* its home is a Proxmox container */
        bool layers_in_ct;        /* and its containers' writable layers are on that, see own-layer.h */
        char *cgroup_parent;      /* with in_ct not known before that runs */
        char *selinux_label;      /* of its processes; NULL: none */
        struct id_map user_range; /* of the pod's own user namespace; length 0: it has none */
        struct id_maps user_ids;  /* the same, as others want it; see sandbox_user_ids() */

        pthread_mutex_t lock;

        enum sandbox_phase phase;                            /* [L] */
        bool visible;                                        /* [L] */
        bool stop_told;                                      /* [L] that it is not ready any more was an event */
        char **ips;                                          /* [L] NULL-terminated */
        struct packed_item *item;                            /* [L] */
        CRI(LinuxContainerResources) * overhead, *resources; /* [L] as last updated; NULL: as in ->config */
        struct container **containers;                       /* [L] counted; visible or not */
        size_t n_containers, cap_containers;

        /* Under ->lock. */
        bool removed;
        bool network_held; /* an address may have been given out: CNI DEL is due */
        char *cni_cached;
        uint64_t undo_pause_ms; /* before the next try to take down what did not come up; 0: none yet */
        pid_t pause_pid;        /* 0: none */
        uint64_t pause_start_time;
        struct ct ct;     /* with in_ct: vmid 0: none, or not known */
        bool ct_isolated; /* its namespace may know its addresses (cts_leave_namespace()) */
};

struct container_sample {
        pthread_mutex_t lock;
        uint64_t cpu_at_ns, cpu_usage_ns, nano_cores; /* of the last two stats calls */
        bool has_nano_cores;
        uint64_t layer_at_ns, layer_bytes, layer_inodes; /* layer_at_ns: realtime, 0: never measured */
        uint64_t layer_next_ns;                          /* monotonic: not measured again before */
        bool layer_measuring;                            /* or queued for it */
};

/* What a container has from its image, where it does not say its own. */
struct image_traits {
        char *id, *name, *digest; /* a name for people; what ContainerStatus calls image_ref */
        char **env;               /* NULL-terminated */
        char *cwd;
        int stop_signal;
};
void image_traits_done(struct image_traits *t);

struct container {
        atomic_int refs;
        struct pods *pods;
        struct sandbox *sandbox; /* counted */
        char id[ID_LEN + 1];
        CRI(ContainerConfig) * config;
        struct image_traits from_image; /* changes while it is ended, under sandbox->lock and ->record: as [L] */
        char **cdi_env;                 /* what CDI devices add; NULL-terminated, or NULL */
        char *log_path;                 /* absolute; "": none */
        char *cgroup_path;
        struct ct home;                    /* with layers_in_ct: where its layer is; under ->sample.lock */
        char *selinux_label, *mount_label; /* of processes and files; NULL: none, the second is not kept */
        uint64_t created_at_ns;
        /* Found out by the engine when it was created. */
        pid_t pid;
        uint64_t start_time;
        uid_t uid;
        gid_t gid;
        gid_t *groups;
        size_t n_groups;
        const struct seccomp_filter
                *seccomp; /* of a Localhost profile, as it was then; NULL: none, or the daemon was restarted */
        struct container_sample sample;

        pthread_mutex_t record;
        bool exit_unsaved; /* under ->record: the store does not know of the end yet */

        enum container_phase phase;             /* [L], changed under ->record */
        bool visible;                           /* [L] */
        struct packed_item *item;               /* [L] */
        CRI(LinuxContainerResources) * limits;  /* [L] as they are now; NULL: none were given */
        uint64_t started_at_ns, finished_at_ns; /* [L] */
        int exit_code;                          /* [L] */
        const char *reason;                     /* [L] static */
        char *message;                          /* [L] */

        /* Under sandbox->lock. */
        bool removed;
        bool engine_holds;      /* the engine knows it: engine remove is due */
        atomic_bool signalled;  /* the stop signal was sent */
        atomic_bool restarting; /* its end is none, see ct-restart.h */
        unsigned n_commits;     /* for which it is frozen */
};

struct pods {
        char *root, *state, *cgroup_parent, *apparmor_profile;
        char *selinux_process, *selinux_file; /* the policy's for containers; NULL: no labels ... */
        char *selinux_missing;                /* ... though SELinux is on, because of this */
        int64_t pids_limit;
        const struct pod_handler *handlers;
        size_t n_handlers;
        const char *default_handler;
        struct routes routes;
        struct store *store;
        struct images *images;
        struct cni *cni;
        struct cgroups *cgroups;
        struct engine *engine;
        struct cts *cts; /* NULL: no handler puts pods into Proxmox containers */
        pthread_mutex_t background_lock;
        struct pool *background; /* exits of containers; NULL once it is stopped */
        struct pool *measuring;  /* layers, one at a time; the same */
        struct pool *undoing;    /* pods that did not come up, the same */
        atomic_bool stopping;    /* measuring is given up */
        char *image_mountpoint;
        bool user_namespaces; /* can pods have their own here? */

        pods_event_fn event;  /* [L] */
        void *event_userdata; /* [L] */
        atomic_bool listened; /* somebody wants events */

        pthread_rwlock_t lock;
        struct map *sandboxes, *containers; /* [L] by id */
        struct map *names;                  /* [L] identity -> sandbox, while its record lives */
};

/* Run @fn in the background; false when that is not possible (any more): the caller keeps @arg. */
bool registry_background(struct pods *p, void (*fn)(void *arg), void *arg);
/* The same, one after the other. */
bool registry_undo(struct pods *p, void (*fn)(void *arg), void *arg);
/* The same for work that takes long: one thread, which nobody waits for. It ends soon once p->stopping. */
bool registry_measure(struct pods *p, void (*fn)(void *arg), void *arg);

/* --- objects --- */
/* Takes @config. */
struct sandbox *sandbox_new(struct pods *p, const char *id, CRI(PodSandboxConfig) * config, const char *handler);
/* Before anybody else knows it: it has a user namespace of its own. */
void sandbox_set_user_range(struct sandbox *s, struct id_map range);
/* Of its own user namespace; NULL when it has the host's. */
static inline const struct id_maps *sandbox_user_ids(const struct sandbox *s) {
        return s->user_range.length ? &s->user_ids : NULL;
}
struct sandbox *sandbox_ref(struct sandbox *s);
struct sandbox *sandbox_unref(struct sandbox *s);
DEFINE_CLEANUP(struct sandbox *, sandbox_unref)
/* Takes @config. */
struct container *container_new(struct sandbox *s, const char *id, CRI(ContainerConfig) * config);
struct container *container_ref(struct container *c);
struct container *container_unref(struct container *c);
DEFINE_CLEANUP(struct container *, container_unref)

/* --- the maps --- */
/* Insert, invisible. ERR_EXISTS when the identity is taken. */
_must_use_ int registry_add_sandbox(struct pods *p, struct sandbox *s, struct err *err);
void registry_drop_sandbox(struct pods *p, struct sandbox *s);
/* The caller holds the sandbox's lock. ERR_EXISTS when the pod has a container of that name and attempt. */
_must_use_ int registry_add_container(struct pods *p, struct container *c, struct err *err);
void registry_drop_container(struct pods *p, struct container *c);

/* By id or a unique prefix of it; a reference, or ERR_NOT_FOUND. */
_must_use_ int registry_find_sandbox(struct pods *p, const char *id, struct sandbox **ret, struct err *err);
_must_use_ int registry_find_container(struct pods *p, const char *id, struct container **ret, struct err *err);
/* The same for a caller that holds pods->lock; borrowed, NULL when missing or ambiguous. */
struct sandbox *registry_get_sandbox(const struct pods *p, const char *id);
struct container *registry_get_container(const struct pods *p, const char *id);
/* References to all containers of @s, newest last, or to all of the registry when @s is NULL. */
struct container **registry_containers(struct pods *p, struct sandbox *s, struct arena *arena, size_t *ret_n);
struct sandbox **registry_sandboxes(struct pods *p, struct arena *arena, size_t *ret_n);
/* References to the visible ones that are ready and match @f (NULL: all). */
struct sandbox **registry_ready_sandboxes(struct pods *p, const CRI(PodSandboxStatsFilter) * f, struct arena *arena,
                                          size_t *ret_n);
void registry_unref_containers(struct container **list, size_t n);

/* --- locking --- */
/* ERR_DEADLINE when the call's time is up first. */
_must_use_ int sandbox_lock(struct sandbox *s, const struct pods_ctx *ctx, struct err *err);
static inline void sandbox_unlockp(struct sandbox **s) {
        if (*s)
                pthread_mutex_unlock(&(*s)->lock);
        *s = NULL;
}
#define _cleanup_sandbox_lock_ _cleanup_(sandbox_unlockp)

/* --- states --- */
/* Move on and rebuild the list item; asserts that the step is in the table. The caller persists. */
void sandbox_set_phase(struct sandbox *s, enum sandbox_phase phase);
void container_set_phase(struct container *c, enum container_phase phase); /* under ->record */
/* Consistent reads of one field. */
enum sandbox_phase sandbox_get_phase(struct sandbox *s);
enum container_phase container_get_phase(struct container *c);
void sandbox_show(struct sandbox *s);     /* becomes visible */
void container_show(struct container *c); /* the same */
