/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "image/test-layer-kit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <openssl/evp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "image/snapshot-mount.h"

void kit_tmpfs(char ret[64], const char *size) {
        char options[64];

        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                fprintf(stderr, "skipped: needs root and a mount namespace\n");
                exit(77);
        }
        snprintf(ret, 64, "/tmp/test-layer.XXXXXX");
        assert(mkdtemp(ret));
        kit_conf = (struct snapshotter_conf){ .name = "overlay" };
        snprintf(options, sizeof(options), "size=%s,mode=0700", size);
        assert(mount("tmpfs", ret, "tmpfs", 0, options) == 0);
}

const char *const kit_snapshotters[] = { "overlay", "plain", "btrfs", "zfs", NULL };
struct snapshotter_conf kit_conf;

static int run(const char *const *argv) {
        _cleanup_strbuf_ struct strbuf said = STRBUF(4096);
        struct err err;
        int status;

        if (proc_run(&(struct proc_run_args){ .argv = argv, .envp = (const char *const *) environ, .err_out = &said },
                     &status, &err) < 0)
                return -1;
        if (status != 0)
                fprintf(stderr, "%s: %s", argv[0], strbuf_str(&said));
        return status;
}

/* In the tmpfs at @place: all goes with it, whatever happens to this program. */
static bool place_btrfs(const char *place) {
        char file[100];
        struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
        _cleanup_(fd_closep) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), loop = -1, fd = -1;
        char device[32];

        snprintf(file, sizeof(file), "%s/disk", place);
        fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert(fd >= 0 && ftruncate(fd, 256 << 20) == 0);
        if (run((const char *const[]){ "mkfs.btrfs", "-q", file, NULL }) != 0 || control < 0)
                return false;
        do { /* others take devices, too */
                snprintf(device, sizeof(device), "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
                fd_close(loop);
                loop = open(device, O_RDWR | O_CLOEXEC);
                if (loop < 0)
                        return false;
                config.fd = (uint32_t) fd;
        } while (ioctl(loop, LOOP_CONFIGURE, &config) < 0 && errno == EBUSY);
        return mount(device, place, "btrfs", 0, "") == 0;
}

static char pool[32], pool_file[64];

/* A pool outlives who made it: this program goes on in a child, and takes the pool away after it. */
static void watch_pool(void) {
        int status = 0;
        pid_t pid = fork();

        assert(pid >= 0);
        if (pid == 0)
                return;
        assert(waitpid(pid, &status, 0) == pid);
        if (run((const char *const[]){ "zpool", "list", pool, NULL }) == 0)
                (void) run((const char *const[]){ "zpool", "destroy", "-f", pool, NULL });
        (void) unlink(pool_file);
        if (WIFSIGNALED(status))
                (void) raise(WTERMSIG(status));
        exit(WEXITSTATUS(status));
}

/* Its file is where ZFS itself sees it, not in the mount namespace of this program. */
static bool place_zfs(void) {
        static char dataset[64];
        int fd;

        if (access("/dev/zfs", R_OK) < 0)
                return false;
        snprintf(pool, sizeof(pool), "lxcri-test-%d", (int) getpid());
        snprintf(dataset, sizeof(dataset), "%s/layers", pool);
        snprintf(pool_file, sizeof(pool_file), "/var/tmp/%s", pool);
        fd = open(pool_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert(fd >= 0 && ftruncate(fd, 256 << 20) == 0);
        fd_close(fd);
        watch_pool();
        kit_conf.zfs_dataset = dataset;
        return run((const char *const[]){ "zpool", "create", "-O", "mountpoint=none", "-O", "compression=off", pool,
                                          pool_file, NULL }) == 0;
}

bool kit_place(char ret[64], const char *size, const char *snapshotter) {
        bool btrfs = str_eq(snapshotter, "btrfs"), zfs = str_eq(snapshotter, "zfs");

        kit_tmpfs(ret, btrfs ? "300m" : size);
        kit_conf.name = snapshotter;
        if ((!btrfs && !zfs) || (btrfs && place_btrfs(ret)) || (zfs && place_zfs()))
                return true;
        fprintf(stderr, "skipped: %s can't be had here\n", snapshotter);
        kit_place_done(ret);
        return false;
}

void kit_place_done(const char *place) {
        if (*pool && run((const char *const[]){ "zpool", "destroy", pool, NULL }) == 0)
                pool[0] = '\0';
        while (umount2(place, MNT_DETACH) == 0)
                ;
        assert(rmdir(place) == 0);
}

bool kit_is_whole(const struct kit_image *image) {
        return layers_snapshotter(image->layers)->ops->whole;
}

static void octal(char *field, size_t len, unsigned long long v) {
        for (size_t i = len - 1; i-- > 0; v >>= 3)
                field[i] = (char) ('0' + (v & 7));
}

void kit_checksum(char *h) {
        unsigned sum = 0;

        memset(h + 148, ' ', 8);
        for (size_t i = 0; i < 512; i++)
                sum += (unsigned char) h[i];
        octal(h + 148, 7, sum);
        h[154] = '\0';
}

void kit_add(struct strbuf *tar, const struct kit_entry *e) {
        char h[512] = { 0 };
        size_t len = e->data ? e->len ?: strlen(e->data) : 0;

        assert(strlen(e->name) < 100);
        memcpy(h, e->name, strlen(e->name));
        octal(h + 100, 8, e->mode ?: e->type == '5' ? 0755 : 0644);
        octal(h + 108, 8, e->uid);
        octal(h + 116, 8, e->gid);
        octal(h + 124, 12, len);
        octal(h + 136, 12, (unsigned long long) (e->mtime ?: 1000000000));
        h[156] = e->type;
        if (e->link)
                memcpy(h + 157, e->link, MIN_OF(strlen(e->link), (size_t) 100));
        memcpy(h + 257, "ustar\00000", 8);
        octal(h + 329, 8, e->major);
        octal(h + 337, 8, e->minor);
        kit_checksum(h);
        strbuf_append(tar, h, sizeof(h));
        strbuf_append(tar, e->data, len);
        strbuf_append(tar, (char[512]){ 0 }, -len % 512);
}

void kit_pax(struct strbuf *records, const char *key, const void *value, size_t len) {
        size_t body = strlen(key) + len + 3, total = body + 1;
        char number[24];

        while (body + (size_t) snprintf(number, sizeof(number), "%zu", total) != total)
                total = body + strlen(number);
        strbuf_printf(records, "%zu %s=", total, key);
        strbuf_append(records, value, len);
        strbuf_putc(records, '\n');
}

void kit_pax_end(struct strbuf *tar, struct strbuf *records) {
        KIT_ADD(tar, .type = 'x', .name = "pax", .data = records->data, .len = records->len);
        records->len = 0;
}

void kit_end(struct strbuf *tar) {
        strbuf_append(tar, (char[1024]){ 0 }, 1024);
}

void kit_gzip(struct strbuf *to, const void *data, size_t len) {
        z_stream z = { 0 };
        size_t cap = compressBound(len) + 64;
        char *out = xcalloc(1, cap);

        assert(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
        z.next_in = (Bytef *) (uintptr_t) data;
        z.avail_in = (uInt) len;
        z.next_out = (Bytef *) out;
        z.avail_out = (uInt) cap;
        assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
        strbuf_append(to, out, z.total_out);
        assert(deflateEnd(&z) == Z_OK);
        free(out);
}

void kit_sha256(const void *data, size_t len, char ret[80]) {
        unsigned char md[32];

        assert(EVP_Digest(data, len, md, NULL, EVP_sha256(), NULL) == 1);
        memcpy(ret, "sha256:", 7);
        hex_encode(md, 32, ret + 7);
}

int kit_ingest(struct layers *l, const struct kit_blob *b, struct layer_sink **ret, struct err *err) {
        _cleanup_(layer_sink_freep) struct layer_sink *s = NULL;
        char digest[80];
        int r;

        kit_sha256(b->data, b->len, digest);
        r = layer_sink_new(
                l,
                &(struct layer_sink_args){ .digest = digest,
                                           .size_bytes = b->len,
                                           .media_type = b->media_type ?: "application/vnd.oci.image.layer.v1.tar",
                                           .diff_id = b->diff_id ?: digest,
                                           .max_bytes = b->max_bytes ?: 1ull << 30,
                                           .max_entries = b->max_entries ?: 1000000 },
                &s, err);
        for (size_t at = 0, n; r == 0 && at < b->len; at += n) {
                n = MIN_OF(b->chunk ?: b->len, b->len - at);
                r = layer_sink_write(s, (const char *) b->data + at, n, err);
        }
        if (r == 0)
                r = layer_sink_end(s, err);
        if (r == 0)
                *ret = TAKE_PTR(s);
        return r;
}

int kit_try(struct kit_image *image, struct strbuf *tar, struct err *err) {
        _cleanup_(layer_sink_freep) struct layer_sink *s = NULL;
        uint64_t bytes, inodes;
        char diff[80], text[200];
        int r;

        kit_end(tar);
        assert(!tar->overflow);
        kit_sha256(tar->data, tar->len, diff);
        r = kit_ingest(image->layers, &(struct kit_blob){ .data = tar->data, .len = tar->len }, &s, err);
        tar->len = 0;
        if (r < 0)
                return r;
        if (image->n)
                snprintf(text, sizeof(text), "%s %s", image->chains[image->n - 1], diff);
        if (image->n)
                kit_sha256(text, strlen(text), image->chains[image->n]);
        else
                memcpy(image->chains[0], diff, sizeof(diff));
        r = layer_sink_finish(s, image->chains[image->n], image->list, image->n, &bytes, &inodes, err);
        if (r == 0) {
                image->list[image->n] = image->chains[image->n];
                image->n++;
        }
        return r;
}

void kit_push(struct kit_image *image, struct strbuf *tar) {
        struct err err = { 0 };

        if (kit_try(image, tar, &err) < 0)
                fprintf(stderr, "%s: %s\n", err_code_name(err.code), err.msg);
        assert(err.code == 0);
}

void kit_top(struct kit_image *image, char ret[128]) {
        char name[32];
        struct err err;

        assert(layer_short_name(image->layers, image->chains[image->n - 1], name, &err) == 0);
        if (image->top_fd > 0)
                fd_close(image->top_fd);
        assert(layer_open(image->layers, name, &image->top_fd, &err) == 0);
        snprintf(ret, 128, "/proc/self/fd/%d/.", image->top_fd);
}

static struct tree writable(const struct kit_image *image, const char *name) {
        return (struct tree){ .dirfd = image->root_fd, .name = name, .kind = "snapshot", .id = name };
}

static int mount_whole(struct kit_image *image) {
        struct snapshotter *how = layers_snapshotter(image->layers);
        char *name = image->writables[image->n_writables++], number[32];
        struct err err = { 0 };
        struct tree from, to;
        int fd = -1;

        assert(image->n_writables <= ELEMENTSOF(image->writables));
        snprintf(name, sizeof(image->writables[0]), "writable%zu", image->n_writables);
        assert(layer_short_name(image->layers, image->chains[image->n - 1], number, &err) == 0);
        from = layer_tree(image->layers, number);
        to = writable(image, name);
        if (how->ops->make(how, &to, &from, &err) < 0 || how->ops->mount(how, &to, false, NULL, &fd, &err) < 0)
                fprintf(stderr, "mount: %s\n", err.msg);
        assert(err.code == 0 && fd >= 0);
        return fd;
}

int kit_mount(struct kit_image *image, const char *root, int way) {
        char names[200][32], path[256], upper[64], work[64];
        const char *list[200];
        static unsigned count;
        struct err err = { 0 };
        int fd = -1;

        if (kit_is_whole(image))
                return mount_whole(image);
        for (size_t i = 0; i < image->n; i++) {
                assert(layer_short_name(image->layers, image->chains[i], names[i], &err) == 0);
                list[i] = names[i];
        }
        snprintf(upper, sizeof(upper), "../upper%u", ++count);
        snprintf(work, sizeof(work), "../work%u", count);
        assert(mkdirat(layers_dirfd(image->layers), upper, 0755) == 0);
        assert(mkdirat(layers_dirfd(image->layers), work, 0755) == 0);
        snprintf(path, sizeof(path), "%s/layers", root);
        if (overlay_mount(&(struct overlay_args){ .layers_fd = layers_dirfd(image->layers),
                                                  .layers_path = path,
                                                  .layers = list,
                                                  .n_layers = image->n,
                                                  .upper = upper,
                                                  .work = work,
                                                  .way = (enum overlay_way) way },
                          &fd, &err) < 0)
                fprintf(stderr, "mount: %s\n", err.msg);
        assert(err.code == 0 && fd >= 0);
        return fd;
}

void kit_drop_mounts(struct kit_image *image) {
        struct snapshotter *how = layers_snapshotter(image->layers);
        struct err err = { 0 };

        for (size_t i = 0; i < image->n_writables; i++) {
                struct tree tree = writable(image, image->writables[i]);

                if (how->ops->remove(how, &tree, &err) < 0)
                        fprintf(stderr, "%s\n", err.msg);
                assert(err.code == 0);
        }
        image->n_writables = 0;
}

void kit_image_init(struct kit_image *image, const char *root) {
        struct err err;

        memset(image, 0, sizeof(*image));
        if (layers_new(root, &kit_conf, &image->layers, &err) < 0)
                fprintf(stderr, "%s\n", err.msg);
        assert(image->layers);
        image->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(image->root_fd >= 0);
}

void kit_image_done(struct kit_image *image) {
        struct err err;

        kit_drop_mounts(image);
        if (image->top_fd > 0)
                image->top_fd = fd_close(image->top_fd);
        image->root_fd = fd_close(image->root_fd);
        for (size_t i = image->n; i-- > 0;)
                assert(layer_remove(image->layers, image->chains[i], &err) == 0);
        assert(kit_is_empty(layers_dirfd(image->layers), "tmp"));
        image->layers = layers_free(image->layers);
}

bool kit_is_empty(int dirfd, const char *path) {
        int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fdopendir(fd);
        size_t n = 0;

        assert(d);
        while (readdir(d))
                n++;
        closedir(d);
        return n == 2;
}

struct stat kit_stat(int dirfd, const char *path) {
        struct stat st;

        if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                fprintf(stderr, "%s: %s\n", path, strerror(errno));
                abort();
        }
        return st;
}

void kit_expect_file(int dirfd, const char *path, const char *text) {
        _cleanup_(freep) char *got = NULL;
        struct err err = { 0 };

        if (fs_read_file(dirfd, path, 1 << 20, &got, NULL, &err) < 0 || !str_eq(got, text))
                fprintf(stderr, "%s: expected \"%s\", got \"%s\" %s\n", path, text, got ?: "", err.msg);
        assert(str_eq(got, text));
}

bool kit_missing(int dirfd, const char *path) {
        struct stat st;

        return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}
