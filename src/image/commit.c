/* SPDX-License-Identifier: Apache-2.0 */
/* A container's changes as a layer on top of its image, and both as an image. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/derive.h"
#include "image/images.h"
#include "image/layer-pack.h"
#include "image/read-progress.h"
#include "image/snapshot.h"
#include "image/tar-tree.h"

struct commit {
        const struct image_commit_args *args;
        struct layer_pack *pack;
        struct read_progress read;
};

static int take_bytes(const void *data, size_t len, void *userdata, struct err *err) {
        struct commit *c = userdata;
        struct pollfd p = { .fd = c->args->cancel_fd, .events = POLLIN };

        if (poll(&p, 1, 0) > 0)
                return err_set(err, ERR_CANCELLED, "cancelled");
        if (clock_monotonic_ns() >= c->args->deadline_ns)
                return err_set(err, ERR_DEADLINE, "it takes too long");
        read_progress_add(&c->read, len);
        return layer_pack_write(data, len, c->pack, err);
}

/* Is @path, or a folder that it is in, among @list, whose paths begin with a slash? @below: not itself. */
static bool is_in(const char *path, const char *const *list, bool below) {
        for (; list && *list; list++) {
                const char *rest = str_after(path, *list + 1);

                if (rest && (*rest == '/' || (!*rest && !below)))
                        return true;
        }
        return false;
}

static bool leave_out(const char *path, void *userdata) {
        const struct commit *c = userdata;

        return is_in(path, c->args->leave_out, false) || is_in(path, c->args->leave_out_below, true);
}

static int read_changes(struct commit *c, int fd, struct packed_layer *ret, struct err *err) {
        const struct tar_tree_args args = { .root_fd = fd,
                                            .kind = TAR_TREE_UPPER,
                                            .write = take_bytes,
                                            .owners = c->args->owners,
                                            .leave_out = leave_out,
                                            .userdata = c };
        int r = tar_tree(&args, err);

        if (r == 0)
                read_progress_tell(&c->read);
        if (r == 0 && c->args->was_read)
                r = c->args->was_read(c->args->read_userdata, err);
        return r == 0 ? layer_pack_end(c->pack, ret, err) : r;
}

/* On disk a whole tree has the image's owners, whoever the container's are, if the snapshot does not say others. */
static int pack_changes(struct images *s, struct commit *c, struct arena *arena, const char **ret_image,
                        struct packed_layer *ret, struct err *err) {
        struct image_commit_args args = *c->args;
        const struct snapshot_changes_args from = { .id = args.snapshot,
                                                    .elsewhere = args.upper_fd >= 0,
                                                    .may_change = args.may_change,
                                                    .cancel_fd = args.cancel_fd };
        struct snapshot_changes changes = { .fd = -1 };
        int r = snapshot_changes(s, &from, arena, &changes, err);

        if (r == 0) {
                *ret_image = changes.image_id;
                if (changes.compared)
                        args.owners = changes.owners;
                c->args = &args;
                r = read_changes(c, args.upper_fd >= 0 ? args.upper_fd : changes.fd, ret, err);
        }
        fd_close(changes.fd);
        if (changes.compared)
                snapshot_changes_done(s, args.snapshot);
        return r;
}

static int make_image(struct images *s, const struct image_commit_args *args, const char *const *names,
                      struct commit *c, const char *image, const struct packed_layer *layer, struct arena *arena,
                      const char **ret_id, struct err *err) {
        const struct descriptor top = { .media_type = layer->media_type, .digest = layer->digest, .size = layer->size };
        const struct derive_args how = { .names = names,
                                         .config = { .changes = args->changes,
                                                     .n_changes = args->n_changes,
                                                     .now_ns = clock_realtime_ns(),
                                                     .created_by = args->created_by,
                                                     .author = args->author,
                                                     .comment = args->message,
                                                     .diff_id = layer->diff_id },
                                         .layer = &top,
                                         .progress = args->progress,
                                         .userdata = args->userdata };
        struct derive d;
        int r = derive_begin(&d, images_pull_env(s), image, arena, err);

        d.cancel_fd = args->cancel_fd;
        d.deadline_ns = args->deadline_ns;
        if (r == -ERR_NOT_FOUND)
                r = err_set(err, ERR_PRECONDITION, "its image %.80s is not here any more: pull it again", image);
        if (r == 0) {
                derive_hold(&d, layer->digest);
                r = layer_pack_commit(c->pack, err);
        }
        if (r == 0)
                r = derive_end(&d, &how, ret_id, err);
        derive_done(&d);
        return r;
}

int commit_run(struct images *s, const struct image_commit_args *args, const char *const *names, struct arena *arena,
               const char **ret_id, struct err *err) {
        struct commit c = { .args = args,
                            .read = { .what = "changes", .progress = args->progress, .userdata = args->userdata } };
        struct packed_layer layer;
        const char *image = NULL;
        int r = layer_pack_new(images_pull_env(s)->content, args->zstd, &c.pack, err);

        if (r == 0)
                r = pack_changes(s, &c, arena, &image, &layer, err);
        if (r == 0)
                r = make_image(s, args, names, &c, image, &layer, arena, ret_id, err);
        (void) layer_pack_free(c.pack);
        return r < 0 ? err_wrap(err, "commit") : 0;
}
