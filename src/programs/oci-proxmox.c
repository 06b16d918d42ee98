/* SPDX-License-Identifier: Apache-2.0 */
/* oci-proxmox - Proxmox as the OCI runtime's engine, by the daemon's configuration. */
#include "cli/oci/engine.h"
#include "daemon/config.h"
#include "oci/proxmox.h"
#include "pve/vmids.h"

enum { TIMEOUT_MS = 600000 }; /* of one operation: templates of images may be large */

static int open_client(const struct config_proxmox *x, struct pve **ret, struct err *err) {
        const struct pve_args args = {
                .hosts = x->hosts,
                .ca_file = x->ca_file,
                .fingerprints = x->fingerprints,
                .token_id = x->token_id,
                .token_file = x->token_id ? x->token_file : NULL,
                .user = x->user,
                .password_file = x->password_file,
        };

        return pve_new(&args, ret, err);
}

/* Until our process ends. */
int engine_open_proxmox(struct runtime *rt, struct err *err) {
        static struct oci_proxmox proxmox;
        const struct config_proxmox *x;
        struct config *config = NULL;
        int r = config_load(NULL, &config, err);

        if (r < 0)
                return err_wrap(err, "engine proxmox");
        x = &config->proxmox;
        if (!x->on)
                return err_set(err, ERR_PRECONDITION, "engine proxmox: %s has no key proxmox: see docs/proxmox.md",
                               config_default_file());
        proxmox = (struct oci_proxmox){ .node = x->node,
                                        .storage = x->storage,
                                        .rootfs_size = x->rootfs_size,
                                        .template_storage = x->template_storage,
                                        .pool = x->pool,
                                        .timeout_ms = TIMEOUT_MS };
        r = open_client(x, &proxmox.pve, err);
        if (r == 0)
                r = vmids_new(x->vmid_first, x->vmid_last, &proxmox.vmids, err);
        if (r < 0)
                return err_wrap(err, "engine proxmox");
        oci_proxmox_init(&proxmox);
        rt->oci.engine = &proxmox.engine;
        return 0;
}
