/* SPDX-License-Identifier: Apache-2.0 */
/* images - what the parts of image/ share behind struct images. Private to image/; thread-safe as image.h says.
 * Layers live as long as something holds them: an image's record, a pull under way, a snapshot. Holds are counted in
 * memory and counted anew at each start: from the image records, and from the snapshot records, which for that are
 * JSON objects with a member "layers" (array of chain ids, lowest first). */
#pragma once
#include <stddef.h>
#include "image/image.h"
#include "image/layer.h"
#include "image/registry.h"

struct pull_env;

struct image_remote;

const struct pull_env *images_pull_env(const struct images *s);
/* A registry that is asked about one name; the name's parts lie in an arena. */
struct remote {
        struct ref ref;
        struct credentials *creds;
        struct source *source;
};
/* remote_done() in any case. */
_must_use_ int remote_open(struct images *s, const struct image_remote *remote, struct arena *arena, struct remote *ret,
                           struct err *err);
void remote_done(struct remote *r);
struct layers *images_layers(struct images *s);
struct store *images_store(struct images *s);
/* The root folder of the image service ("/var/lib/proxmox-lxcri"): path and descriptor, both borrowed. */
const char *images_root(const struct images *s);
int images_rootfd(const struct images *s);

/* Hold the layers of image @image_id (full id) for a snapshot: they stay on disk when the image is removed. @ret: chain
 * ids, lowest first, NULL-terminated, in @arena. ERR_NOT_FOUND when there is no such image. A snapshot takes one hold
 * when it is made and gives it back when it is removed; at start images_new() takes the holds of the recorded ones. */
_must_use_ int images_hold(struct images *s, const char *image_id, struct arena *arena, const char ***ret,
                           struct err *err);
/* A container or mount of it ends. */
void images_note_use(struct images *s, const char *image_id);
/* image-mount.c: forgets those that are not mounted any more. Before serving. */
_must_use_ int images_mounts_reconcile(struct images *s, struct err *err);
/* Give back one hold; removes layers that nothing holds any more. */
_must_use_ int images_release(struct images *s, const char *const *layers, struct err *err);
