/* SPDX-License-Identifier: Apache-2.0 */
/* An image from blobs that are here: it has its names and stays when the daemon starts anew; one whose parts don't fit
 * leaves nothing; who makes one of what is read is told how far it is. */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
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

/* Of each snapshot is only kept what it uses, not all that is read. */
static void test_many_users(void) {
        static const char chain[] = "sha256:0123456789012345678901234567890123456789012345678901234567890123";
        _cleanup_(arena_freep) struct arena *small = arena_new(32 * 1024);
        _cleanup_strbuf_ struct strbuf json = STRBUF(1 << 20);
        struct image_df df;
        struct err err;

        start();
        strbuf_printf(&json, "{\"image\":\"%s\",\"layers\":[\"%s\"", chain, chain);
        for (int i = 1; i < 500; i++)
                strbuf_printf(&json, ",\"%s\"", chain);
        strbuf_printf(&json, "]}");
        assert(store_put(store, STORE_SNAPSHOT, "x", json.data, json.len, &err) == 0);
        assert(images_df(images, small, &df, &err) == 0 && df.n_images == 0);
        assert(store_delete(store, STORE_SNAPSHOT, "x", &err) == 0);
        stop();
}

/* What is made here takes the place of what a pull has left, which may be damaged. */
static void test_draft(void) {
        char digest[DIGEST_LEN + 1];
        struct content_draft *d;
        struct content *content;
        uint64_t size;
        struct err err;

        start();
        content = images_pull_env(images)->content;
        digest_of("right", 5, digest);
        assert(fs_write_atomic(content_dirfd(content), digest + strlen("sha256:"), "wrong", 5, 0600, false, &err) == 0);
        assert(content_draft_new(content, &d, &err) == 0 && content_draft_write(d, "right", 5, &err) == 0);
        content_draft_end(d, digest, &size);
        assert(size == 5 && content_draft_commit(d, digest, &err) == 0);
        d = content_draft_free(d);
        assert(content_is_sound(content, digest, 5));
        assert(content_remove(content, digest, &err) == 0);
        expect_empty("blobs/sha256");
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

/* --- how far it is ------------------------------------------------------------------------------------------------ */

enum { FILE_BYTES = 3 << 20 };

struct seen {
        const char *what; /* what is read of somebody, told before the image's layers */
        size_t n;
        uint64_t bytes;
        bool layers;
};

static void note(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata) {
        struct seen *seen = userdata;

        assert(layer < n_layers);
        if (!str_eq(p->digest, seen->what)) {
                seen->layers = true;
                return;
        }
        assert(!seen->layers && layer == 0 && n_layers == 1 && p->state == LAYER_COPYING);
        assert(p->done_bytes == p->total_bytes && p->done_bytes >= seen->bytes);
        seen->bytes = p->done_bytes;
        seen->n++;
}

static void write_file(int folder) {
        _cleanup_(fd_closep) int fd = openat(folder, "big", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        _cleanup_(freep) char *data = xcalloc(1, FILE_BYTES);

        memset(data, 'x', FILE_BYTES);
        assert(fd >= 0 && write(fd, data, FILE_BYTES) == FILE_BYTES);
}

/* In the end all of it has been told. */
static void expect_all(const struct seen *seen, struct err *err, int r) {
        if (r < 0)
                fprintf(stderr, "%s: %s\n", seen->what, err->msg);
        assert(r == 0 && seen->n >= 2 && seen->bytes > FILE_BYTES && seen->layers);
}

static void test_it_tells_how_far_it_is(struct arena *arena) {
        const char *const *none = (const char *const[]){ NULL };
        _cleanup_(fd_closep) int cancel = eventfd(0, EFD_CLOEXEC), fd = -1, folder = -1;
        struct seen changes = { .what = "changes" }, files = { .what = "rootfs" };
        const struct image_commit_args commit = { .snapshot = "it",
                                                  .upper_fd = -1,
                                                  .names = none,
                                                  .created_by = "test",
                                                  .cancel_fd = cancel,
                                                  .deadline_ns = UINT64_MAX,
                                                  .progress = note,
                                                  .userdata = &changes };
        struct image_import_args import = { .names = none, .cancel_fd = cancel, .progress = note, .userdata = &files };
        const char *id;
        char path[100];
        struct err err;

        start();
        assert(adopt(put_image(arena, platform_host()->arch, NULL), "localhost/made:1", arena, &id, &err) == 0);
        release();
        assert(snapshot_create(images, "it", id, NULL, &err) == 0);
        assert(snapshot_mount(images, "it", &(struct snapshot_args){ .userns_fd = -1 }, &fd, &err) == 0);
        write_file(fd);
        fd = fd_close(fd);
        expect_all(&changes, &err, images_commit(images, &commit, arena, &id, &err));
        assert(snapshot_remove(images, "it", &err) == 0);
        snprintf(path, sizeof(path), "%s/folder", root);
        assert(mkdir(path, 0755) == 0);
        import.fd = folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        write_file(folder);
        expect_all(&files, &err, images_import(images, &import, arena, &id, &err));
        stop();
}

int main(void) {
        struct arena *arena;

        kit_tmpfs(root, "64m");
        arena = arena_new(PULL_ARENA_MAX);
        test_it_stays(arena);
        test_draft();
        test_many_users();
        test_refusals(arena);
        test_it_tells_how_far_it_is(arena);
        (void) arena_free(arena);
        kit_place_done(root);
        return 0;
}
