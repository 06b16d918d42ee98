/* SPDX-License-Identifier: Apache-2.0 */
/* specgen - from CRI's container configuration and the image's to struct spec: rules as containerd and CRI-O have them.
 * One part a file: process.c, mounts.c, devices.c, resources.c, security.c. All results live in the given arena.
 * Private to pod/. */
#pragma once
#include "image/image.h"
#include "pod/registry.h"
#include "pod/rules.h"
#include "runtime/spec/spec.h"

enum { SPECGEN_NS_FDS = 2 };
/* Namespaces that a spec's paths name; to be closed once the engine has created the container. */
struct specgen_ns_fds {
        int fds[SPECGEN_NS_FDS]; /* -1: none */
};
static inline void specgen_ns_fds_done(struct specgen_ns_fds *n) {
        for (size_t i = 0; i < SPECGEN_NS_FDS; i++)
                n->fds[i] = fd_close(n->fds[i]);
}

/* The whole, under the pod's lock. @rootfs_fd and descriptors inside are the spec's, also on failure: specgen_close()
 * when no engine took them. */
_must_use_ int specgen_container(struct container *c, const struct image *image, int rootfs_fd, struct arena *arena,
                                 struct spec *ret, struct specgen_ns_fds *ret_ns, struct err *err);
void specgen_close(struct spec *spec);
/* A process that joins @c by exec: the container's own settings, @args to run. */
_must_use_ int specgen_exec(struct container *c, char *const *args, size_t n_args, struct arena *arena,
                            struct spec_process *ret, struct err *err);
/* The pod's pause process: an empty root, no rights. */
_must_use_ int specgen_pause(struct sandbox *s, struct arena *arena, struct spec *ret, struct err *err);

/* --- process.c --- */
_must_use_ int process_args(const CRI(ContainerConfig) * config, const struct image *image, struct arena *arena,
                            const char *const **ret, struct err *err);
_must_use_ int process_env(const CRI(ContainerConfig) * config, char *const *image_env, char *const *cdi_env,
                           const char *hostname, struct arena *arena, const char *const **ret, struct err *err);
_must_use_ int process_cwd(const CRI(ContainerConfig) * config, const struct image *image, struct arena *arena,
                           const char **ret, struct err *err);
_must_use_ int process_user(const CRI(LinuxContainerSecurityContext) * sc, const char *image_user, struct arena *arena,
                            struct spec_user *ret, struct err *err);
_must_use_ int process_stop_signal(const CRI(ContainerConfig) * config, const struct image *image, int *ret,
                                   struct err *err);

/* --- mounts.c --- */
struct pod_sources {
        const char *hostname, *hosts, *resolv_conf, *shm; /* files on the host */
        void *container;                                  /* for image_volume_open() */
        const char *label;                                /* of files; NULL: none */
        const struct id_maps *user_ids;                   /* of the pod's own user namespace, or NULL */
        bool map_volumes; /* by these, also those for which the kubelet does not ask: it does not know of them */
        const struct spec_mount *more; /* of CDI devices */
        size_t n_more;
};
_must_use_ int mounts_build(const CRI(ContainerConfig) * config, const struct pod_sources *sources, struct arena *arena,
                            struct spec *spec, struct err *err);

/* --- image-volumes.c --- */
bool mount_is_image(const CRI(Mount) * m);
/* Checks all mounts of images in @config and writes each image's id into its image_ref, in @arena. */
_must_use_ int image_volumes_resolve(struct images *images, const CRI(ContainerConfig) * config, struct arena *arena,
                                     struct err *err);
/* @m, resolved, as a detached mount that @container's snapshot holds. */
_must_use_ int image_volume_open(void *container, const CRI(Mount) * m, int *ret_fd, struct err *err);
/* Does the message begin with kubelet's word for it? Nothing may be put before that then. */
bool image_volumes_failed(const struct err *err);

/* --- propagation.c --- */
enum { PEERS_SHARED = 1, PEERS_SLAVE = 2 };
/* How the mount that @path (symlinks followed) lies on is joined to others: PEERS_* bits. */
_must_use_ int mount_peers(const char *path, unsigned *ret, struct err *err);
_must_use_ int mount_peers_in(const char *mountinfo, uint64_t mount_id, unsigned *ret, struct err *err); /* for tests */

/* --- volumes.c --- */
/* The folders that the image declares as volumes, inside the container's own layer. With a read-only root each gets a
 * mount of its own, so that it stays writable; the spec's rootfs_mount_fd may be replaced. */
_must_use_ int volumes_prepare(const char *const *paths, struct arena *arena, struct spec *spec, struct err *err);

/* --- devices.c --- */
/* @spec's namespaces are known. @host_devices: a privileged container gets all of the host's. */
_must_use_ int devices_build(const CRI(ContainerConfig) * config, bool host_devices, struct arena *arena,
                             struct spec *spec, struct err *err);

/* --- resources.c --- */
_must_use_ int resources_build(const CRI(LinuxContainerResources) * r, struct arena *arena, struct spec_resources *ret,
                               struct err *err);
_must_use_ int resources_oom_score(const CRI(LinuxContainerResources) * r, int *ret, struct err *err);
/* @base with what @change sets (zero and "" leave it), on the heap. */
_must_use_ int resources_merge(const CRI(LinuxContainerResources) * base, const CRI(LinuxContainerResources) * change,
                               CRI(LinuxContainerResources) * *ret, struct err *err);

/* --- security.c --- */
bool container_is_privileged(const CRI(ContainerConfig) * config);
_must_use_ int security_process(struct container *c, struct arena *arena, struct spec_process *ret, struct err *err);
/* No rights at all, and the default seccomp profile. */
_must_use_ int security_pause(struct arena *arena, struct spec_process *ret, struct err *err);
_must_use_ int security_paths(const CRI(ContainerConfig) * config, struct arena *arena, struct spec *spec,
                              struct err *err);
