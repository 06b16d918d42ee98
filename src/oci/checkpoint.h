/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint - a container's processes into files and back, by CRIU, as runc does it: what is of the host (binds, the
 * network namespace by path, the terminal's master, pipes of its streams) is left out and comes from the bundle again.
 * A restored container has no watcher, so liblxc's tools don't know it; everything else works on it. Source: runc's
 * man pages runc-checkpoint.8, runc-restore.8. */
#pragma once
#include "oci/criu-wire.h"
#include "oci/oci.h"

struct oci_criu_args {
        const char *image_path;  /* folder of the images; made by checkpoint */
        const char *work_path;   /* folder of logs; NULL: the images' */
        const char *parent_path; /* of an earlier pre_dump, relative to image_path; NULL: none */
        bool leave_running;      /* checkpoint: it goes on */
        bool pre_dump;           /* checkpoint: memory alone, and it goes on */
        bool tcp_established, ext_unix_sk, shell_job, file_locks, auto_dedup, lazy_pages;
        bool empty_net; /* the network namespace is made, but nothing in it */
        enum criu_cgroups cgroups;
        int status_fd;           /* inherited; -1: none */
        const char *page_server; /* address; NULL: none */
        int page_server_port;
        const char *lsm_profile, *lsm_mount_context; /* restore; NULL: as they were */
};
/* What is not left running is deleted. On failure the container goes on as it was. ERR_PRECONDITION: it does not run.
 */
_must_use_ int oci_checkpoint(const struct oci *o, const char *id, const struct oci_criu_args *args, struct err *err);
/* As oci_run(), from images. On failure nothing stays. */
_must_use_ int oci_restore(const struct oci *o, const struct oci_run_args *run, const struct oci_criu_args *args,
                           int *ret_status, struct err *err);

/* What both need of the folders. Private to oci/. */
struct criu_folders {
        int images; /* open; -1: not */
        const char *images_path, *work_path;
};
#define CRIU_FOLDERS_EMPTY ((struct criu_folders){ .images = -1 })
/* @make: the images' folder may be missing. */
_must_use_ int criu_folders_open(const struct oci_criu_args *args, bool make, struct arena *arena,
                                 struct criu_folders *ret, struct err *err);
void criu_folders_done(struct criu_folders *f);
/* What both pass on. */
struct criu_options criu_options_of(const struct oci_criu_args *args);
/* A file in the images' folder: to what 0, 1 and 2 were open, a JSON array of three strings; as runc's. */
#define CRIU_DESCRIPTORS "descriptors.json"
/* What CRIU calls a network namespace that is not the container's own. */
#define CRIU_NETWORK "extRootNetNS"
#define CRIU_PIDS "extRootPidNS"
