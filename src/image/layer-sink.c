/* SPDX-License-Identifier: Apache-2.0 */
/* The sink: the caller's thread hashes the blob and decompresses it, a thread of the sink's hashes the tar and unpacks
 * it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "image/hasher.h"
#include "image/inflate.h"
#include "image/layer-feed.h"
#include "image/layer-internal.h"
#include "image/layer-merge.h"
#include "image/ref.h"

enum { DIGEST_SIZE = sizeof("sha256:") + 64 };

struct layer_sink {
        struct layers *layers;
        uint64_t number;
        char name[LAYER_NAME_SIZE]; /* in layers/tmp */
        int root_fd;

        char digest[DIGEST_SIZE], diff_id[DIGEST_SIZE];
        uint64_t size_bytes, max_bytes;

        struct err failed; /* of an earlier call */
        bool ended;        /* all is unpacked and verified */

        /* The caller's part. */
        uint64_t blob_bytes;
        struct hasher *blob_hash;
        struct inflate *inflate;
        struct layer_feed *feed;

        /* The thread's part; the caller's again when the feed has ended. */
        uint64_t tar_bytes;
        struct hasher *tar_hash;
        struct unpack *unpack;

        uint64_t bytes, inodes; /* of the layer, when unpack is gone */
};

static int take_tar(void *userdata, const void *data, size_t len, struct err *err) {
        struct layer_sink *s = userdata;

        hasher_leave(s->tar_hash, data, len); /* whatever comes of it: let_go_of_tar() counts the pieces */
        s->tar_bytes += len;
        if (s->tar_bytes > s->max_bytes)
                return err_set(err, ERR_EXHAUSTED, "layer has more than %llu bytes", (unsigned long long) s->max_bytes);
        return unpack_write(s->unpack, data, len, err);
}

static void let_go_of_tar(void *userdata, size_t held) {
        struct layer_sink *s = userdata;

        hasher_settle(s->tar_hash, held);
}

static int end_tar(void *userdata, struct err *err) {
        struct layer_sink *s = userdata;

        return unpack_end(s->unpack, err);
}

static int take_digest(const char *what, const char *digest, char ret[DIGEST_SIZE], struct err *err) {
        if (!digest_is_valid(digest))
                return err_set(err, ERR_INVALID, "%s \"%.80s\" is no sha256", what, digest ?: "");
        memcpy(ret, digest, DIGEST_SIZE);
        return 0;
}

/* In tmp/, under the next number: empty, or a copy of the layer @from. */
static int make_tree(struct layer_sink *s, const char *from, struct err *err) {
        struct layers *l = s->layers;
        struct tree lower = layer_tree(l, from), tree;
        int r;

        s->number = layers_take_number(l);
        (void) snprintf(s->name, sizeof(s->name), "%llu", (unsigned long long) s->number);
        tree = layer_tmp_tree(l, s->name);
        r = l->how->ops->make(l->how, &tree, from ? &lower : NULL, err);
        return r == 0 ? l->how->ops->open(l->how, &tree, false, &s->root_fd, err) : r;
}

static int make_root(struct layer_sink *s, struct err *err) {
        int r = make_tree(s, NULL, err);

        return r == 0 && fchmod(s->root_fd, 0755) < 0 ? err_sys(err, errno, "set mode of the layer's root") : r;
}

int layer_sink_new(struct layers *l, const struct layer_sink_args *args, struct layer_sink **ret, struct err *err) {
        static const struct layer_feed_ops ops = { .take = take_tar, .let_go = let_go_of_tar, .end = end_tar };
        _cleanup_(layer_sink_freep) struct layer_sink *s = xnew(struct layer_sink);
        enum inflate_kind kind;
        int r;

        s->layers = l;
        s->root_fd = -1;
        s->size_bytes = args->size_bytes;
        s->max_bytes = args->max_bytes;
        r = take_digest("digest", args->digest, s->digest, err);
        if (r == 0)
                r = take_digest("diff id", args->diff_id, s->diff_id, err);
        if (r < 0)
                return r;
        if (!inflate_kind_of(args->media_type ?: "", &kind))
                return err_set(err, ERR_INVALID, "layer of unknown media type \"%.100s\"", args->media_type ?: "");
        s->blob_hash = hasher_new();
        s->tar_hash = hasher_new();
        s->inflate = inflate_new(kind);
        r = make_root(s, err);
        if (r == 0)
                r = unpack_new(s->root_fd, args->max_entries, &s->unpack, err);
        if (r == 0)
                r = layer_feed_new(&ops, s, &s->feed, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

struct layer_sink *layer_sink_free(struct layer_sink *s) {
        struct err err;

        if (!s)
                return NULL;
        (void) layer_feed_free(s->feed); /* first: its thread uses the rest */
        (void) unpack_free(s->unpack);
        (void) inflate_free(s->inflate);
        (void) hasher_free(s->blob_hash);
        (void) hasher_free(s->tar_hash);
        fd_close(s->root_fd);
        if (*s->name) /* else it is in place; what can't be removed now is at the next start */
                (void) !layer_drop_tmp(s->layers, s->name, &err);
        free(s);
        return NULL;
}

static int inflate_some(struct layer_sink *s, const void *data, size_t len, struct err *err) {
        struct inflate_in in = { data, len };

        for (;;) {
                struct inflate_out out;
                uint8_t *at;
                int r;

                r = layer_feed_reserve(s->feed, &at, &out.len, err);
                if (r < 0)
                        return r;
                out.data = at;
                r = inflate_run(s->inflate, &in, &out, err);
                if (r < 0)
                        return r;
                layer_feed_commit(s->feed, (size_t) (out.data - at));
                if (in.len == 0 && out.len) /* with the buffer full there may be more to come out */
                        return 0;
        }
}

static int remember(struct layer_sink *s, int r, const struct err *err) {
        if (r < 0)
                s->failed = *err;
        return r;
}

static int failed_before(const struct layer_sink *s, struct err *err) {
        if (s->failed.code)
                *err = s->failed;
        return -(int) s->failed.code;
}

int layer_sink_write(struct layer_sink *s, const void *data, size_t len, struct err *err) {
        if (s->failed.code)
                return failed_before(s, err);
        s->blob_bytes += len;
        if (s->blob_bytes > s->size_bytes)
                return remember(s,
                                err_set(err, ERR_DATA_LOSS, "layer is larger than the %llu bytes of its manifest",
                                        (unsigned long long) s->size_bytes),
                                err);
        hasher_update(s->blob_hash, data, len);
        return remember(s, inflate_some(s, data, len, err), err);
}

static int check_hash(struct hasher *h, const char *expected, const char *what, struct err *err) {
        char hex[65];

        hasher_end(h, hex);
        if (!str_eq(hex, expected + strlen("sha256:")))
                return err_set(err, ERR_DATA_LOSS, "%s is sha256:%s, not %s as it should be", what, hex, expected);
        return 0;
}

static int end(struct layer_sink *s, struct err *err) {
        int r;

        if (s->blob_bytes != s->size_bytes)
                return err_set(err, ERR_DATA_LOSS, "layer has %llu bytes, not %llu as its manifest says",
                               (unsigned long long) s->blob_bytes, (unsigned long long) s->size_bytes);
        r = check_hash(s->blob_hash, s->digest, "layer's digest", err);
        if (r == 0)
                r = inflate_end(s->inflate, err);
        if (r == 0)
                r = layer_feed_end(s->feed, err);
        return r == 0 ? check_hash(s->tar_hash, s->diff_id, "digest of the uncompressed layer", err) : r;
}

int layer_sink_end(struct layer_sink *s, struct err *err) {
        int r;

        if (s->failed.code)
                return failed_before(s, err);
        r = end(s, err);
        s->ended = r == 0;
        /* It may wait long until those below it are complete; so would many small ones above a large one. */
        s->feed = layer_feed_free(s->feed);
        s->inflate = inflate_free(s->inflate);
        return remember(s, r, err);
}

static void end_unpacking(struct layer_sink *s) {
        const struct unpack_rest *rest = unpack_get_rest(s->unpack);

        s->bytes = rest->bytes;
        s->inodes = rest->inodes;
        s->unpack = unpack_free(s->unpack);
}

/* Onto a copy of the layer below, @top (NULL: there is none), which takes the place of what was unpacked. */
static int make_whole(struct layer_sink *s, const char *top, struct err *err) {
        const struct unpack_rest *rest = unpack_get_rest(s->unpack);
        _cleanup_(fd_closep) int from = -1;
        char name[LAYER_NAME_SIZE];
        struct err later;
        int r;

        if (!top && rest->whiteouts.len == 0 && !rest->any_opaque) /* it is whole */
                return 0;
        from = TAKE_FD(s->root_fd);
        end_unpacking(s); /* it has the folder open, too */
        memcpy(name, s->name, sizeof(name));
        r = make_tree(s, top, err);
        if (r == 0)
                r = layer_merge(from, s->root_fd, true, err);
        from = fd_close(from);
        if (layer_drop_tmp(s->layers, name, &later) < 0 && r == 0)
                log_warn("what a layer was made from stays behind until the next start", "layer", s->name, "error",
                         later.msg, NULL);
        return r < 0 ? err_wrap(err, "put the layer onto those below") : 0;
}

static int settle(struct layer_sink *s, const char *const *lower, size_t n, struct err *err) {
        _cleanup_(freep) char *names = xcalloc(n + 1, LAYER_NAME_SIZE);
        _cleanup_(freep) const char **list = xcalloc(n + 1, sizeof(*list));
        bool whole = s->layers->how->ops->whole;
        int r;

        for (size_t i = 0; i < n; i++) {
                char *name = names + i * LAYER_NAME_SIZE;

                r = layer_short_name(s->layers, lower[i], name, err);
                if (r < 0) /* no look-up of the caller's */
                        return err_set(err, ERR_PRECONDITION, "lower layer %.80s is not in place", lower[i]);
                list[i] = name;
        }
        if (!whole)
                return layer_settle(s->layers, s->root_fd, unpack_get_rest(s->unpack), list, n, err);
        /* The one below has in it what is below it. */
        r = layer_settle(s->layers, s->root_fd, unpack_get_rest(s->unpack), n ? list + n - 1 : list, n ? 1 : 0, err);
        return r == 0 ? make_whole(s, n ? list[n - 1] : NULL, err) : r;
}

static int seal(struct layer_sink *s, struct err *err) {
        struct layers *l = s->layers;
        const struct tree tree = layer_tree(l, s->name);

        s->root_fd = fd_close(s->root_fd);
        return l->how->ops->seal ? l->how->ops->seal(l->how, &tree, err) : 0;
}

/* Into layers/, then the name. Another pull may have been faster: then tmp/ is where it stays, to be removed. */
static int put_in_place(struct layer_sink *s, const char *chain_name, struct err *err) {
        struct layers *l = s->layers;
        char target[LAYER_NAME_SIZE + 4];
        int r;

        r = layer_sync_note(l, s->number, err);
        if (r < 0)
                return r;
        if (renameat(l->tmp_fd, s->name, l->dirfd, s->name) < 0)
                return err_sys(err, errno, "put layer in place");
        (void) snprintf(target, sizeof(target), "../%s", s->name);
        r = seal(s, err);
        if (r == 0 && symlinkat(target, l->chain_fd, chain_name) == 0) {
                layer_sync_later(l, s->number);
                s->name[0] = '\0';
                return 0;
        }
        if (r == 0)
                r = errno == EEXIST ? 0 : err_sys(err, errno, "name layer");
        if (renameat(l->dirfd, s->name, l->tmp_fd, s->name) < 0)
                r = r < 0 ? r : err_sys(err, errno, "put aside layer");
        layer_sync_forget(l, s->name);
        return r;
}

int layer_sink_finish(struct layer_sink *s, const char *chain_id, const char *const *lower, size_t n_lower,
                      uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *err) {
        char chain_name[LAYER_CHAIN_NAME_SIZE];
        int r;

        if (s->failed.code)
                return failed_before(s, err);
        if (!s->ended || !*s->name)
                return err_set(err, ERR_PRECONDITION, "layer is not complete");
        r = layer_chain_name(chain_id, chain_name, err);
        if (r == 0 && !layer_exists(s->layers, chain_id)) {
                r = settle(s, lower, n_lower, err);
                if (r == 0)
                        r = put_in_place(s, chain_name, err);
        }
        if (r < 0)
                return remember(s, r, err);
        if (s->unpack)
                end_unpacking(s);
        *ret_bytes = s->bytes;
        *ret_inodes = s->inodes;
        return 0;
}
