/* SPDX-License-Identifier: Apache-2.0 */
/* An image from blobs that are here: it has its names and stays when the daemon starts anew; one whose parts don't fit
 * leaves nothing. */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/adopt.h"
#include "image/images.h"
#include "image/test-layer-kit.h"

enum { BLOBS_MAX = 8 };

static struct store *store;
static struct images *images;
static char root[64];

static char blobs[BLOBS_MAX][DIGEST_LEN + 1];
static size_t n_blobs;

static void start(void) {
        char path[100];
        struct err err;

        snprintf(path, sizeof(path), "%s/store.db", root);
        assert(store_open(path, &store, &err) == 0);
        assert(images_new(&(struct images_args){ .root = root, .store = store, .discard_blobs = true }, &images,
                          &err) == 0);
        assert(images_reconcile(images, &err) == 0);
}

static void stop(void) {
        images = images_free(images);
        store = store_close(store);
}

/* Into the store, as adopt_args wants it. */
static const char *put(const void *data, size_t len) {
        const struct pull_env *env = images_pull_env(images);
        struct content_writer *w;
        struct err err;
        uint64_t have;
        char *digest = blobs[n_blobs++];

        assert(n_blobs <= BLOBS_MAX);
        digest_of(data, len, digest);
        records_hold_blob(env->records, digest);
        assert(content_writer_new(env->content, digest, len, false, &w, &have, &err) == 0);
        assert(content_writer_write(w, data, len, &err) == 0 && content_writer_commit(w, true, &err) == 0);
        (void) content_writer_free(w, false);
        return digest;
}

static void release(void) {
        while (n_blobs > 0)
                records_release_blob(images_pull_env(images)->records, blobs[--n_blobs]);
}

static const char *put_text(const char *text) {
        return put(text, strlen(text));
}

/* An image of one layer, in which is the file "made". @diff_id NULL: the layer's. */
static const char *put_image(struct arena *arena, const char *arch, const char *diff_id) {
        _cleanup_strbuf_ struct strbuf tar = STRBUF(1 << 20);
        const char *layer, *config, *text;

        KIT_FILE(&tar, "made", "here\n");
        kit_end(&tar);
        layer = put(tar.data, tar.len);
        text = arena_printf(arena,
                            "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"Cmd\":[\"/x\"]},"
                            "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
                            arch, diff_id ?: layer);
        config = put_text(text);
        return put_text(
                arena_printf(arena,
                             "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
                             "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\","
                             "\"size\":%zu},\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\","
                             "\"digest\":\"%s\",\"size\":%zu}]}",
                             config, strlen(text), layer, tar.len));
}

static int adopt(const char *manifest, const char *name, struct arena *arena, const char **ret_id, struct err *err) {
        const char *names[] = { name, NULL };
        _cleanup_(fd_closep) int cancel = eventfd(0, EFD_CLOEXEC);

        return adopt_run(images_pull_env(images),
                         &(struct adopt_args){ .manifest = manifest, .names = names, .cancel_fd = cancel }, arena,
                         ret_id, err);
}

static void expect_empty(const char *what) {
        char path[100];
        const struct dirent *e;
        DIR *d;

        snprintf(path, sizeof(path), "%s/%s", root, what);
        assert((d = opendir(path)));
        while ((e = readdir(d)))
                assert(e->d_name[0] == '.' || str_eq(e->d_name, "by-chain") || str_eq(e->d_name, "tmp") ||
                       str_eq(e->d_name, "unsynced") || str_eq(e->d_name, "snapshotter"));
        (void) closedir(d);
}

static void test_it_stays(struct arena *arena) {
        const char *id, *layer;
        struct image *image;
        struct err err;

        start();
        assert(adopt(put_image(arena, platform_host()->arch, NULL), "localhost/made:1", arena, &id, &err) == 0);
        expect_empty("layers/unsynced"); /* a crash of the machine would cost it */
        layer = arena_strdup(arena, blobs[0]);
        release();
        stop();
        start();
        assert(images_get(images, "localhost/made:1", arena, &image, &err) == 0 && str_eq(image->id, id));
        assert(image->layers[0] && !image->layers[1] && str_eq(image->config.cmd[0], "/x"));
        assert(!image->repo_digests[0]);
        assert(content_is_sound(images_pull_env(images)->content, layer, 2048));
        /* Another takes its name. */
        assert(adopt(put_image(arena, platform_host()->arch, NULL), "localhost/made:2", arena, &id, &err) == 0);
        release();
        assert(images_get(images, "localhost/made:2", arena, &image, &err) == 0 && image->repo_tags[1]);
        assert(images_remove(images, id, &err) == 0);
        expect_empty("blobs/sha256");
        expect_empty("layers/by-chain");
        stop();
}

static void expect_refused(struct arena *arena, const char *manifest, enum err_code code, const char *word) {
        const char *id;
        struct err err;
        int r = adopt(manifest, "localhost/made:1", arena, &id, &err);

        if (r != -(int) code || !strstr(err.msg, word))
                fprintf(stderr, "%d: %s\n", r, r < 0 ? err.msg : "worked");
        assert(r == -(int) code && strstr(err.msg, word));
        release();
        expect_empty("blobs/sha256");
        expect_empty("layers/by-chain");
}

static void test_refusals(struct arena *arena) {
        static const char other[] = "sha256:0123456789012345678901234567890123456789012345678901234567890123";
        const char *manifest;
        struct err err;

        start();
        expect_refused(arena, put_image(arena, platform_host()->arch, other), ERR_DATA_LOSS, "uncompressed layer");
        expect_refused(arena, put_image(arena, "s390x", NULL), ERR_NOT_FOUND, "s390x");
        expect_refused(arena, other, ERR_PRECONDITION, "manifest");
        expect_refused(arena, put_text("{\"schemaVersion\":2,\"manifests\":[]}"), ERR_INVALID, "index");
        manifest = put_image(arena, platform_host()->arch, NULL);
        assert(content_remove(images_pull_env(images)->content, blobs[0], &err) == 0);
        expect_refused(arena, manifest, ERR_PRECONDITION, blobs[0]);
        stop();
}

int main(void) {
        struct arena *arena;

        kit_tmpfs(root, "64m");
        arena = arena_new(PULL_ARENA_MAX);
        test_it_stays(arena);
        test_refusals(arena);
        (void) arena_free(arena);
        kit_place_done(root);
        return 0;
}
