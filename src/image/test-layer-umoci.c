/* SPDX-License-Identifier: Apache-2.0 */
/* Drives layer.h on files. Without arguments it runs test-layer.py, which compares with umoci and drives this program:
 *   test-layer-umoci ROOT MOUNTPOINT|- CHUNK THREADS (BLOB MEDIA-TYPE DIFF-ID)...
 * unpacks the layers (lowest first) as a pull would, THREADS at a time, in writes of CHUNK bytes, and mounts an overlay
 * of them at MOUNTPOINT. Prints milliseconds and CPU time: good for measuring, too. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/layer-copy.h"
#include "image/layer.h"
#include "image/snapshot-mount.h"

struct one {
        const char *blob, *media_type, *diff_id;
        char digest[80], chain[80];
        struct layer_sink *sink;
        struct err err;
        int r;
};

static struct layers *layers;
static struct one *list;
static size_t n_layers, next;
static size_t chunk;

static void digest_of(const char *path, const char *text, char ret[80]) {
        EVP_MD_CTX *c = EVP_MD_CTX_new();
        unsigned char md[32], buf[65536];
        unsigned n;
        ssize_t got;
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

        assert(EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1);
        while (path && (got = read(fd, buf, sizeof(buf))) > 0)
                assert(EVP_DigestUpdate(c, buf, (size_t) got) == 1);
        if (text)
                assert(EVP_DigestUpdate(c, text, strlen(text)) == 1);
        assert(EVP_DigestFinal_ex(c, md, &n) == 1);
        EVP_MD_CTX_free(c);
        fd_close(fd);
        memcpy(ret, "sha256:", 7);
        hex_encode(md, 32, ret + 7);
}

static int ingest(struct one *o) {
        _cleanup_(freep) char *buf = xcalloc(1, chunk);
        _cleanup_(fd_closep) int fd = open(o->blob, O_RDONLY | O_CLOEXEC);
        struct stat st;
        ssize_t n;
        int r;

        assert(fd >= 0 && fstat(fd, &st) == 0);
        const struct layer_sink_args args = { .digest = o->digest,
                                              .size_bytes = (uint64_t) st.st_size,
                                              .media_type = o->media_type,
                                              .diff_id = o->diff_id,
                                              .max_bytes = 64ull << 30,
                                              .max_entries = 10000000 };
        r = layer_sink_new(layers, &args, &o->sink, &o->err);
        while (r == 0 && (n = read(fd, buf, chunk)) > 0)
                r = layer_sink_write(o->sink, buf, (size_t) n, &o->err);
        return r == 0 ? layer_sink_end(o->sink, &o->err) : r;
}

static void *worker(void *arg) {
        size_t i;

        while ((i = __atomic_fetch_add(&next, 1, __ATOMIC_SEQ_CST)) < n_layers)
                list[i].r = ingest(&list[i]);
        return NULL;
}

static int finish(void) {
        const char **lower = xcalloc(n_layers + 1, sizeof(*lower));
        uint64_t bytes, inodes;
        char text[200];
        int r = 0;

        for (size_t i = 0; i < n_layers; i++) {
                struct one *o = &list[i];

                if (o->r < 0) {
                        fprintf(stderr, "%s: %s\n", err_code_name(o->err.code), o->err.msg);
                        return o->r;
                }
                if (i == 0) {
                        memcpy(o->chain, o->diff_id, strlen(o->diff_id) + 1);
                } else {
                        snprintf(text, sizeof(text), "%s %s", list[i - 1].chain, o->diff_id);
                        digest_of(NULL, text, o->chain);
                }
                r = layer_sink_finish(o->sink, o->chain, lower, i, &bytes, &inodes, &o->err);
                o->sink = layer_sink_free(o->sink);
                if (r < 0) {
                        fprintf(stderr, "%s: %s\n", err_code_name(o->err.code), o->err.msg);
                        return r;
                }
                lower[i] = o->chain;
        }
        free(lower);
        return 0;
}

static void mount_at(const char *root, const char *mountpoint) {
        const char **names = xcalloc(n_layers + 1, sizeof(*names));
        char upper[200], work[200], path[400], layers_path[400], store[600][32];
        struct overlay_args args = { .layers_fd = layers_dirfd(layers), .layers = names, .n_layers = n_layers };
        struct err err = { 0 };
        int fd, top;

        for (size_t i = 0; i < n_layers; i++) {
                assert(layer_short_name(layers, list[i].chain, store[i], &err) == 0);
                names[i] = store[i];
        }
        snprintf(layers_path, sizeof(layers_path), "%s/layers", root);
        args.layers_path = layers_path;
        snprintf(upper, sizeof(upper), "../upper");
        snprintf(work, sizeof(work), "../work");
        args.upper = upper;
        args.work = work;
        snprintf(path, sizeof(path), "%s/upper", root);
        assert(mkdir(path, 0755) == 0);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        top = openat(args.layers_fd, store[n_layers - 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(layer_copy_meta(top, fd, &err) == 0); /* as snapshots do */
        fd_close(top);
        fd_close(fd);
        snprintf(path, sizeof(path), "%s/work", root);
        assert(mkdir(path, 0755) == 0);
        if (overlay_mount(&args, &fd, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                exit(1);
        }
        assert(syscall(SYS_move_mount, fd, "", AT_FDCWD, mountpoint, MOVE_MOUNT_F_EMPTY_PATH) == 0);
        free(names);
}

int main(int argc, char **argv) {
        pthread_t threads[64];
        struct rusage u;
        struct err err;
        uint64_t t0, t1, t2;
        size_t n;
        char self[4096] = { 0 };
        int r;

        if (argc < 5) {
                if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
                        return 1;
                (void) execl("/usr/bin/python3", "python3", "src/image/test-layer.py", self, (char *) NULL);
                return 77;
        }
        chunk = strtoul(argv[3], NULL, 10);
        n = strtoul(argv[4], NULL, 10);
        n_layers = (size_t) (argc - 5) / 3;
        list = xcalloc(n_layers + 1, sizeof(*list));
        if (layers_new(argv[1], NULL, &layers, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                return 1;
        }
        for (size_t i = 0; i < n_layers; i++) {
                list[i].blob = argv[5 + 3 * i];
                list[i].media_type = argv[6 + 3 * i];
                list[i].diff_id = argv[7 + 3 * i];
                digest_of(list[i].blob, NULL, list[i].digest);
        }
        struct rusage u0;
        getrusage(RUSAGE_SELF, &u0);
        t0 = clock_monotonic_ns();
        for (size_t i = 0; i < n; i++)
                assert(pthread_create(&threads[i], NULL, worker, NULL) == 0);
        for (size_t i = 0; i < n; i++)
                assert(pthread_join(threads[i], NULL) == 0);
        t1 = clock_monotonic_ns();
        r = finish();
        t2 = clock_monotonic_ns();
        getrusage(RUSAGE_SELF, &u);
        printf("unpack %.1f ms, finish %.1f ms, cpu user %.1f ms sys %.1f ms, rss %ld KiB\n", (double) (t1 - t0) / 1e6,
               (double) (t2 - t1) / 1e6,
               (double) (u.ru_utime.tv_sec - u0.ru_utime.tv_sec) * 1e3 +
                       (double) (u.ru_utime.tv_usec - u0.ru_utime.tv_usec) / 1e3,
               (double) (u.ru_stime.tv_sec - u0.ru_stime.tv_sec) * 1e3 +
                       (double) (u.ru_stime.tv_usec - u0.ru_stime.tv_usec) / 1e3,
               u.ru_maxrss);
        if (r == 0 && !str_eq(argv[2], "-"))
                mount_at(argv[1], argv[2]);
        for (size_t i = 0; i < n_layers; i++)
                (void) layer_sink_free(list[i].sink);
        (void) layers_free(layers);
        free(list);
        return r == 0 ? 0 : 2;
}
