/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox - Proxmox containers (CTs) of this node as the OCI runtime's engine: each bundle is an unprivileged CT, made
 * through the API of a template of its root file system. Its first process is ours (init/supervisor.h), which is handed
 * the plan, the streams and the socket for "start" once Proxmox has started it; from then on the verbs that look at
 * processes and control groups are the same as with LXC. The rest is Proxmox': limits, mounts, names.
 *
 * Whose a CT is: ours have the tag OCI_PROXMOX_TAG and a description that names container, its time and node. That is
 * read before a CT is removed or changed: a number may have become somebody else's. Crashes: the number and the
 * template's name are in state.json before there is anything of that name. */
#pragma once
#include "oci/oci.h"
#include "pve/ct.h"
#include "pve/params.h"

#define OCI_PROXMOX_TAG "proxmox-lxcri-oci"
#define OCI_PROXMOX_ENGINE "proxmox"

struct vmids;
struct strbuf;
struct oci_config;

struct oci_proxmox {
        struct oci_engine engine; /* oci_proxmox_init() fills it in */
        struct pve *pve;          /* borrowed, as all of this */
        const char *node;         /* ours, as the cluster names it */
        const char *storage;      /* of root file systems that name none */
        const char *rootfs_size;  /* of pods'; "0" for folders, which is so for bundles, too */
        const char *template_storage;
        const char *pool; /* NULL: none */
        struct vmids *vmids;
        uint64_t timeout_ms; /* of one operation */
};
void oci_proxmox_init(struct oci_proxmox *p);

/* Private to proxmox*.c. */

/* What of the bundle becomes the CT's configuration. ERR_INVALID names each field that Proxmox can't do. */
_must_use_ int proxmox_put_fields(const struct oci_proxmox *p, const struct oci_config *config, struct pve_params *to,
                                  struct err *err);
/* Limits that change; @all: also those that are unset. */
_must_use_ int proxmox_put_resources(const struct spec_resources *r, bool all, struct pve_params *to, struct err *err);
/* @rootfs, O_PATH, and our init in it, as a template: @ret is an unlinked file. Of images: proxmox-image.h. */
_must_use_ int proxmox_write_template(int rootfs, const char *init_path, int *ret, struct err *err);
/* An unlinked file on a disk. */
_must_use_ int proxmox_temporary(int *ret, struct err *err);
enum { PROXMOX_TAR_TIMEOUT_MS = 30 * 60 * 1000, PROXMOX_COMPLAINTS_MAX = 4096 };
/* "tar @words". @out, @complaints: its streams; NULL: dropped. @ret_status: as waitpid's. */
_must_use_ int proxmox_run_tar(const char *const *words, struct strbuf *out, struct strbuf *complaints, int *ret_status,
                               struct err *err);
/* The same, and an error if it didn't end well. */
_must_use_ int proxmox_tar(const char *const *words, struct err *err);
/* @verb "--append" or "--create": our init into an archive, under the name of init/supervisor.h; @file is "--file=...".
 */
_must_use_ int proxmox_tar_init(const char *init_path, const char *verb, const char *file, struct err *err);
