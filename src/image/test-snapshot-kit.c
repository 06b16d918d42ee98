/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "image/test-snapshot-kit.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"

/* --- struct images ------------------------------------------------------------------------------------------------ */

struct layers *images_layers(struct images *s) {
        return s->image.layers;
}

struct store *images_store(struct images *s) {
        return s->store;
}

const char *images_root(const struct images *s) {
        return s->root;
}

int images_rootfd(const struct images *s) {
        return s->root_fd;
}

int images_hold(struct images *s, const char *image_id, struct arena *arena, const char ***ret, struct err *err) {
        size_t n_layers = s->image.n - str_eq(image_id, "sha256:lower"); /* without the highest layer */

        if (!str_eq(image_id, "sha256:image") && !str_eq(image_id, "sha256:lower"))
                return err_set(err, ERR_NOT_FOUND, "no image");
        *ret = arena_array(arena, const char *, n_layers + 1);
        for (size_t n = 0; n < n_layers; n++)
                (*ret)[n] = s->image.chains[n];
        s->holds++;
        return 0;
}

void images_note_use(struct images *s, const char *image_id) {
        (void) s;
        (void) image_id;
}

int images_release(struct images *s, const char *const *layers, struct err *err) {
        const size_t all = s->image.n;
        size_t n = 0;

        (void) err;
        for (; layers[n]; n++)
                assert(str_eq(layers[n], s->image.chains[n % all]));
        assert(n > 0 && (n % all == 0 || n == all - 1));
        s->holds -= n % all == 0 ? (int) (n / all) : 1;
        return 0;
}

void kit_images_init(struct images *s, void (*more)(struct strbuf *tar)) {
        struct strbuf tar = STRBUF(1 << 20);
        char path[100];
        struct err err;

        kit_image_init(&s->image, s->root);
        KIT_DIR(&tar, .name = ".", .mode = 0751, .uid = 5, .gid = 6, .mtime = 77);
        KIT_FILE(&tar, "file", "lower");
        KIT_DIR(&tar, .name = "dir", .mode = 0755);
        KIT_FILE(&tar, "dir/inside", "deep");
        KIT_ADD(&tar, .type = '2', .name = "to-dir", .link = "/dir");
        KIT_ADD(&tar, .type = '2', .name = "loop", .link = "loop");
        KIT_ADD(&tar, .type = '2', .name = "out", .link = "/../..");
        if (more)
                more(&tar);
        kit_push(&s->image, &tar);
        KIT_FILE(&tar, "other", "lower");
        kit_push(&s->image, &tar);
        strbuf_done(&tar);
        s->root_fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        snprintf(path, sizeof(path), "%s/store.db", s->root);
        assert(s->root_fd >= 0 && store_open(path, &s->store, &err) == 0);
        s->arena = arena_new(1 << 20);
        s->holds = 0;
}

void kit_images_done(struct images *s) {
        fd_close(s->root_fd);
        s->store = store_close(s->store);
        s->arena = arena_free(s->arena);
        kit_image_done(&s->image);
}

/* --- snapshots ---------------------------------------------------------------------------------------------------- */

static int must(int r, int fd, const struct err *err) {
        if (r < 0)
                fprintf(stderr, "%s\n", err->msg);
        assert(r == 0 && fd >= 0);
        return fd;
}

int kit_mount_snapshot(struct images *s, const char *id, int userns) {
        struct err err;
        int fd = -1, r = snapshot_mount(s, id, &(struct snapshot_args){ .userns_fd = userns }, &fd, &err);

        return must(r, fd, &err);
}

int kit_mount_volume(struct images *s, const char *id, const char *sub_path, int userns) {
        const struct snapshot_volume volume = { "sha256:image", sub_path, { .userns_fd = userns } };
        struct err err;
        int fd = -1, r = snapshot_mount_volume(s, id, &volume, &fd, &err);

        return must(r, fd, &err);
}

DIR *kit_open_snapshot(struct images *s, const char *id) {
        char path[100];

        snprintf(path, sizeof(path), "%s/snapshots/%s", s->root, id);
        return opendir(path);
}

void kit_expect_one_tree(struct images *s, const char *id) {
        DIR *d = kit_open_snapshot(s, id);
        size_t n = 0;

        for (const struct dirent *e; d && (e = readdir(d));)
                n += str_after(e->d_name, "upper") != NULL;
        assert(n == 1 && closedir(d) == 0);
}

int kit_write_note(void *userdata, struct err *err) {
        struct images *s = userdata;

        return store_put(s->store, STORE_META, "note", "x", 1, err);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

void kit_write_file(int dirfd, const char *name, size_t size) {
        int fd = openat(dirfd, name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
        _cleanup_(freep) char *data = xcalloc(1, size);

        memset(data, 'x', size);
        assert(fd >= 0 && fs_write_all(fd, data, size) == 0);
        fd_close(fd);
}

void kit_expect_owner(int dirfd, const char *name, uid_t uid, gid_t gid) {
        struct stat st;

        assert(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        if (st.st_uid != uid || st.st_gid != gid)
                fprintf(stderr, "%s: %u:%u\n", name, st.st_uid, st.st_gid);
        assert(st.st_uid == uid && st.st_gid == gid);
}
