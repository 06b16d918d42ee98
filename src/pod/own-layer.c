/* SPDX-License-Identifier: Apache-2.0 */
/* own-layer - see own-layer.h. */
#include "pod/own-layer.h"

#include <errno.h>
#include <inttypes.h>
#include "base/fs.h"
#include "base/proc.h"
#include "pod/rules.h"
#include "runtime/proxmox/layers.h"

enum { SIZE_MIN_BYTES = 64 << 20 };

int own_layer_size(const struct pods *p, const CRI(PodSandboxConfig) * config, uint64_t *ret, struct err *err) {
        static const char key[] = "proxmox-lxcri.io/ephemeral-storage";
        const char *s = cri_entries_get(config->annotations, config->n_annotations, key);
        uint64_t max = 0;
        int64_t n = 0;

        *ret = 0;
        if (!s)
                return 0;
        if (!cts_have_layers(p->cts, &max))
                return err_set(err, ERR_PRECONDITION,
                               "annotation %s: what containers write is on the node here, where it has no limit "
                               "(proxmox.writable-layers in the configuration)",
                               key);
        if (!quantity_parse(s, &n) || n < SIZE_MIN_BYTES)
                return err_set(err, ERR_INVALID, "annotation %s: \"%.64s\" is no size from 64Mi on, like 10Gi", key, s);
        if ((uint64_t) n > max)
                return err_set(err, ERR_INVALID,
                               "annotation %s: \"%.64s\" is more than the %" PRIu64
                               " MiB that are allowed (proxmox.writable-layers.max-size in the configuration)",
                               key, s, max >> 20);
        *ret = (uint64_t) n;
        return 0;
}

static bool is_in_ct(const struct container *c) {
        return c->sandbox->layers_in_ct;
}

/* It may be looked at meanwhile. */
static struct ct home_of(const struct container *c) {
        struct container_sample *sample = (struct container_sample *) &c->sample;
        struct ct ret;

        pthread_mutex_lock(&sample->lock);
        ret = c->home;
        pthread_mutex_unlock(&sample->lock);
        return ret;
}

static void set_home(struct container *c) {
        pthread_mutex_lock(&c->sample.lock);
        c->home = c->sandbox->ct;
        pthread_mutex_unlock(&c->sample.lock);
}

/* Its folder first: what is left of a failure here goes by own_layer_remove(), as the container has a record. */
int own_layer_create(struct container *c, const char *image_id, struct err *err) {
        struct images *images = c->pods->images;
        const struct id_maps *ids = sandbox_user_ids(c->sandbox);
        _cleanup_(fd_closep) int home = -1;
        int r;

        if (!is_in_ct(c))
                return snapshot_create(images, c->id, image_id, ids, err);
        set_home(c);
        r = ct_layer_create(&c->home, c->id, &home, err);
        return r < 0 ? r : snapshot_create_at(images, c->id, image_id, ids, home, err);
}

int own_layer_mount(struct container *c, int userns_fd, int *ret_fd, struct err *err) {
        struct snapshot_args args = { .userns_fd = userns_fd, .label = c->mount_label };
        _cleanup_(fd_closep) int home = -1;
        int r;

        if (is_in_ct(c)) {
                r = ct_layer_clone(&c->home, c->id, &home, err);
                if (r < 0)
                        return r;
                args.home_mount_fd = home;
        }
        return snapshot_mount(c->pods->images, c->id, &args, ret_fd, err);
}

int own_layer_renew(struct container *c, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r;

        set_home(c);
        r = ct_layer_open(&c->home, c->id, "upper", &fd, err);
        if (r == 0 || err->sys_errno != ENOENT)
                return r;
        r = own_layer_remove(c, err);
        return r < 0 ? r : own_layer_create(c, c->from_image.id, err);
}

int own_layer_sweep(struct sandbox *s, struct arena *arena, struct err *err) {
        size_t n;
        struct container **known = registry_containers(s->pods, s, arena, &n);
        const char **list;
        int r = ct_layer_list(&s->ct, arena, &list, err);

        for (; r == 0 && *list; list++) {
                size_t i = 0;

                while (i < n && !str_eq(known[i]->id, *list))
                        i++;
                if (i == n && id_is_valid(*list))
                        r = ct_layer_remove(&s->ct, *list, err);
        }
        registry_unref_containers(known, n);
        return r;
}

int own_layer_remove(struct container *c, struct err *err) {
        int r = is_in_ct(c) ? ct_layer_remove(&c->home, c->id, err) : 0;

        return r < 0 ? r : snapshot_remove(c->pods->images, c->id, err);
}

int own_layer_measure(struct container *c, uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *err) {
        struct fs_until until = { .stop = &c->pods->stopping };
        const struct ct home = home_of(c);
        _cleanup_(fd_closep) int pidfd = -1, fd = -1;
        int r;

        if (!is_in_ct(c))
                return snapshot_usage(c->pods->images, c->id, &c->pods->stopping, ret_bytes, ret_inodes, err);
        pidfd = proc_open(home.pid, home.start_time);
        if (pidfd < 0)
                return err_set(err, ERR_CANCELLED, "the pod's Proxmox container has ended");
        until.end_fd = pidfd;
        r = ct_layer_open(&home, c->id, "upper", &fd, err);
        return r < 0 ? r : fs_usage(fd, &until, ret_bytes, ret_inodes, err);
}

int own_layer_open_upper(struct container *c, int *ret_fd, struct err *err) {
        const struct ct home = home_of(c);

        *ret_fd = -1;
        return is_in_ct(c) ? ct_layer_open(&home, c->id, "upper", ret_fd, err) : 0;
}

bool own_layer_fs(const struct container *c, struct statvfs *ret) {
        _cleanup_(fd_closep) int fd = -1;
        const struct ct home = home_of(c);
        struct err ignored;

        return is_in_ct(c) && ct_layer_open(&home, c->id, NULL, &fd, &ignored) == 0 && fstatvfs(fd, ret) == 0;
}

const char *own_layer_mountpoint(const struct container *c, struct arena *arena) {
        return is_in_ct(c) ? arena_printf(arena, "/proc/%d/root", (int) home_of(c).pid)
                           : arena_strdup(arena, c->pods->image_mountpoint);
}
