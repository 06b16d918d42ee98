/* SPDX-License-Identifier: Apache-2.0 */
#include "image/collector.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"

enum { ARENA_MAX = 64 << 20 };

struct collector {
        struct records *records;
        int root_fd;
        struct image_gc conf;
        pthread_mutex_t lock;
        pthread_mutex_t total_lock;
        struct image_collected total;
};

struct collector *collector_new(struct records *records, int root_fd, const struct image_gc *conf) {
        struct collector *c = xnew(struct collector);

        c->records = records;
        c->root_fd = root_fd;
        c->conf = *conf;
        (void) pthread_mutex_init(&c->lock, NULL);
        (void) pthread_mutex_init(&c->total_lock, NULL);
        return c;
}

struct collector *collector_free(struct collector *c) {
        if (!c)
                return NULL;
        (void) pthread_mutex_destroy(&c->total_lock);
        (void) pthread_mutex_destroy(&c->lock);
        free(c);
        return NULL;
}

struct image_collected collector_total(struct collector *c) {
        struct image_collected ret;

        (void) pthread_mutex_lock(&c->total_lock);
        ret = c->total;
        (void) pthread_mutex_unlock(&c->total_lock);
        return ret;
}

static bool by_room(const struct collector *c) {
        return c->conf.high_percent > 0 && c->conf.high_percent < 100;
}

/* How much is to go, as the kubelet reckons it; 0: nothing. */
static int look_for_room(const struct collector *c, uint64_t *ret, struct err *err) {
        uint64_t all, free_bytes, wanted;
        struct statvfs st;

        *ret = 0;
        if (fstatvfs(c->root_fd, &st) < 0)
                return err_sys(err, errno, "ask for the room on the file system of the images");
        all = (uint64_t) st.f_blocks * st.f_frsize;
        free_bytes = (uint64_t) st.f_bavail * st.f_frsize;
        if (!by_room(c) || all == 0 || 100 - free_bytes * 100 / all < c->conf.high_percent)
                return 0;
        wanted = all / 100 * (100 - c->conf.low_percent);
        *ret = wanted > free_bytes ? wanted - free_bytes : 0;
        return 0;
}

/* --- images ------------------------------------------------------------------------------------------------------- */

struct pick {
        const struct image_gc *conf;
        uint64_t now_s, max_age_s; /* unused for so long */
};

static bool is_to_go(const struct image *image, void *userdata) {
        const struct pick *p = userdata;
        uint64_t age_s = p->now_s > image->pulled_s ? p->now_s - image->pulled_s : 0, last = image_last_use_s(image);

        /* A clock that was set back makes images young: they stay. */
        return age_s >= p->conf->min_age_s && !image_is_pinned(image, p->conf->pinned) &&
               (p->now_s > last ? p->now_s - last : 0) >= p->max_age_s;
}

static int remove_images(struct collector *c, uint64_t max_age_s, uint64_t want_bytes, const char *why,
                         struct image_collected *sum, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        struct pick pick = { &c->conf, clock_realtime_ns() / 1000000000, max_age_s };
        const struct image_prune_args args = {
                .pick = is_to_go, .userdata = &pick, .oldest_first = true, .want_bytes = want_bytes
        };
        struct image **list = NULL;
        uint64_t before, after, inodes;
        size_t n = 0;
        int r;

        records_usage(c->records, &before, &inodes);
        r = records_prune(c->records, &args, arena, &list, &n, err);
        records_usage(c->records, &after, &inodes);
        sum->bytes += before > after ? before - after : 0;
        sum->images += n;
        for (size_t i = 0; i < n; i++)
                log_info("image collected", "image", list[i]->id, "name",
                         list[i]->repo_tags[0] ?: list[i]->repo_digests[0] ?: "", "why", why, NULL);
        return r;
}

static int drop_blobs(struct collector *c, uint64_t want_bytes, struct image_collected *sum, struct err *err) {
        struct records_dropped dropped;
        int r = records_drop_blobs(c->records, want_bytes, false, &dropped, err);

        sum->bytes += dropped.bytes;
        sum->blobs += dropped.n;
        return r;
}

/* Blobs first: what they hold can be had again, and runs meanwhile. No images where nobody knows how much to free. */
static int free_room(struct collector *c, uint64_t want_bytes, struct image_collected *sum, struct err *err) {
        uint64_t had = sum->bytes;
        int r = drop_blobs(c, want_bytes, sum, err);

        if (r == 0 && by_room(c) && want_bytes < UINT64_MAX && sum->bytes - had < want_bytes)
                r = remove_images(c, 0, want_bytes - (sum->bytes - had), "room", sum, err);
        return r;
}

/* --- runs --------------------------------------------------------------------------------------------------------- */

static void note(struct collector *c, const struct image_collected *sum, uint64_t want_bytes) {
        char images[24], blobs[24], bytes[24], wanted[24];

        if (sum->images + sum->blobs == 0)
                return;
        (void) pthread_mutex_lock(&c->total_lock);
        c->total.runs++;
        c->total.images += sum->images;
        c->total.blobs += sum->blobs;
        c->total.bytes += sum->bytes;
        (void) pthread_mutex_unlock(&c->total_lock);
        (void) snprintf(images, sizeof(images), "%" PRIu64, sum->images);
        (void) snprintf(blobs, sizeof(blobs), "%" PRIu64, sum->blobs);
        (void) snprintf(bytes, sizeof(bytes), "%" PRIu64, sum->bytes);
        (void) snprintf(wanted, sizeof(wanted), "%" PRIu64, want_bytes);
        log_info("images' garbage collected", "images", images, "blobs", blobs, "freed_bytes", bytes, "wanted_bytes",
                 wanted, NULL);
}

int collector_run(struct collector *c, struct err *err) {
        struct image_collected sum = { 0 };
        uint64_t want = 0;
        int r;

        (void) pthread_mutex_lock(&c->lock);
        r = records_write_uses(c->records, err);
        if (r == 0 && c->conf.max_age_s)
                r = remove_images(c, c->conf.max_age_s, 0, "age", &sum, err);
        if (r == 0)
                r = look_for_room(c, &want, err);
        if (r == 0 && want > 0)
                r = free_room(c, want, &sum, err);
        if (r == 0 && want > 0 && sum.bytes < want)
                log_warn(
                        "the file system of the images is fuller than image-gc-high-threshold, and nothing more may go",
                        NULL);
        (void) pthread_mutex_unlock(&c->lock);
        note(c, &sum, want);
        return r < 0 ? err_wrap(err, "collect images' garbage") : 0;
}

bool collector_make_room(struct collector *c) {
        struct image_collected sum = { 0 };
        uint64_t want = 0;
        struct err err;

        (void) pthread_mutex_lock(&c->lock);
        if (look_for_room(c, &want, &err) < 0 || want == 0) /* a quota, or no thresholds: all the cache may go */
                want = UINT64_MAX;
        if (free_room(c, want, &sum, &err) < 0)
                log_warn("the disk is full, and making room failed", "error", err.msg, NULL);
        (void) pthread_mutex_unlock(&c->lock);
        note(c, &sum, want);
        return sum.bytes > 0;
}
