/* SPDX-License-Identifier: Apache-2.0 */
/* image-volumes - mounts of images (CRI's Mount.image): which image, and the mount itself. Their errors begin with the
 * word by which kubelet knows them. */
#include "base/str.h"
#include "pod/specgen.h"
#include "pod/user-ns.h"

#define REASON "ImageVolumeMountFailed: "

bool mount_is_image(const CRI(Mount) * m) {
        return m->image && (!str_empty(m->image->image) || !str_empty(m->image->image_ref));
}

static int check(const CRI(Mount) * m, struct err *err) {
        const char *at = m->container_path;

        if (!m->readonly)
                return err_set(err, ERR_INVALID, REASON "the mount of an image at %.128s must be read-only", at);
        if (!str_empty(m->host_path))
                return err_set(err, ERR_INVALID, REASON "the mount at %.128s has an image and a host_path", at);
        if (m->propagation != CRI_(MOUNT_PROPAGATION__PROPAGATION_PRIVATE))
                return err_set(err, ERR_INVALID, REASON "the mount of an image at %.128s must be private", at);
        return 0;
}

int image_volumes_resolve(struct images *images, const CRI(ContainerConfig) * config, struct arena *arena,
                          struct err *err) {
        for (size_t i = 0; i < config->n_mounts; i++) {
                CRI(ImageSpec) *asked = config->mounts[i]->image;
                struct image *image;
                int r;

                if (!mount_is_image(config->mounts[i]))
                        continue;
                r = check(config->mounts[i], err);
                if (r < 0)
                        return r;
                r = images_get(images, str_empty(asked->image) ? asked->image_ref : asked->image, arena, &image, err);
                if (r == -ERR_NOT_FOUND)
                        return err_set(err, ERR_NOT_FOUND, REASON "image %.512s is not on this node; pull it first",
                                       str_empty(asked->image) ? asked->image_ref : asked->image);
                if (r < 0)
                        return r;
                asked->image_ref = (char *) image->id;
        }
        return 0;
}

int image_volume_open(void *container, const CRI(Mount) * m, int *ret_fd, struct err *err) {
        struct container *c = container;
        _cleanup_(fd_closep) int userns = -1;
        struct snapshot_volume volume = { .image_id = m->image->image_ref,
                                          .sub_path = m->image_sub_path,
                                          .args.label = c->mount_label };
        int r = user_ns_open(c->sandbox, &userns, err);

        if (r == 0) {
                volume.args.userns_fd = userns;
                r = snapshot_mount_volume(c->pods->images, c->id, &volume, ret_fd, err);
        }
        /* Once more: the image may have gone since. */
        return r < 0 ? err_wrap(err, REASON "mount on %.128s", m->container_path) : 0;
}

bool image_volumes_failed(const struct err *err) {
        return str_after(err->msg, REASON) != NULL;
}
