/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox-image - what a Proxmox storage has as a container's root file system, in place of the bundle's folder: a
 * template, or an OCI archive as Proxmox VE takes them from 9.1 on. Our first process has to be in there, so what the
 * container is made of is a copy with one file more: in an OCI archive one layer more. There Proxmox would let the
 * image choose the first process' user, so the copy's configuration says nothing: what it said becomes the bundle's.
 * Private to proxmox*.c. Source: OCI image-spec 1.1; Proxmox VE 9.1's PVE::LXC::Create. */
#pragma once
#include <jansson.h>
#include "image/manifest.h"
#include "oci/proxmox.h"

#define PROXMOX_IMAGE_ANNOTATION "proxmox-lxcri.io/ostemplate"

struct proxmox_image {
        const char *volume;                 /* NULL: none, the bundle's own folder it is */
        char *path;                         /* of its file on this node */
        const char *manifest, *config_text; /* of an OCI archive; NULL: an ordinary template */
        struct image_config config;
        json_t *bundle; /* config.json, once the image has filled it in */
        bool is_users;  /* the process is the image's user, who is still to be looked up */
};
#define PROXMOX_IMAGE_EMPTY ((struct proxmox_image){ 0 })
void proxmox_image_done(struct proxmox_image *i);

/* Is there one named in config.json's @text? Then it is looked at. Strings live in @arena. */
_must_use_ int proxmox_image_find(const struct oci_proxmox *p, const struct pve_until *until, const char *text,
                                  size_t len, struct arena *arena, struct proxmox_image *ret, struct err *err);
/* Where config.json has no process.args: those of the image, with its environment, user and folder. @text is replaced.
 */
_must_use_ int proxmox_image_fill(struct proxmox_image *i, struct arena *arena, const char **text, size_t *len,
                                  struct err *err);
/* The image's user in the files below @root: in @ret, and in config.json, whose text is returned in @text. */
_must_use_ int proxmox_image_look_up_user(struct proxmox_image *i, int root, struct arena *arena, struct spec_user *ret,
                                          const char **text, struct err *err);
/* With the program @init_path in it: @ret is an unlinked file, a plain tar archive. @work: a folder for small files
 * that are gone afterwards, or with it. */
_must_use_ int proxmox_image_write(const struct proxmox_image *i, const char *init_path, int work, struct arena *arena,
                                   int *ret, struct err *err);
