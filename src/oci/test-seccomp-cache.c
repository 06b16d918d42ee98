/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "oci/seccomp-cache.h"
#include "oci/seccomp.h"

static char root[] = "/tmp/test-seccomp-cache.XXXXXX", library[64], folder[96];
static struct arena *arena;
static struct err err;

static const struct sock_filter insns[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_RET | BPF_K, 7) };
static const struct seccomp_cached filter = { .insns = insns, .n = 2, .flags = 5, .notify = true };

static void write_file(const char *path, const char *text) {
        assert(fs_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, &err) == 0);
}

static bool find(const char *text) {
        struct seccomp_cached f;

        if (!seccomp_cache_find(root, text, arena, &f))
                return false;
        assert(f.n == 2 && memcmp(f.insns, insns, sizeof(insns)) == 0 && f.flags == 5 && f.notify);
        return true;
}

/* The first file in the folder; how many there are. */
static size_t list(char *ret, size_t size) {
        DIR *d = opendir(folder);
        struct dirent *e;
        size_t n = 0;

        assert(d);
        while ((e = readdir(d)))
                if (e->d_name[0] != '.' && n++ == 0)
                        (void) snprintf(ret, size, "%.96s/%s", folder, e->d_name);
        (void) closedir(d);
        return n;
}

static void test_find(void) {
        assert(!find("{}"));
        seccomp_cache_put(root, "{}", library, &filter);
        assert(find("{}") && !find("{ }") && !find("{}x"));
        seccomp_cache_put(root, "no such library", "/no/such.so", &filter);
        assert(!find("no such library"));
        seccomp_cache_put("/no/such/root", "{}", library, &filter);
}

/* A file that isn't ours alone, or not whole, is as if it were not there, and is replaced. */
static void test_not_believed(void) {
        char path[400], *data;
        size_t len;

        assert(list(path, sizeof(path)) == 1 && find("{}"));
        assert(chmod(path, 0620) == 0 && !find("{}") && chmod(path, 0602) == 0 && !find("{}"));
        assert(chmod(path, 0600) == 0 && find("{}"));
        assert(chmod(folder, 0770) == 0 && !find("{}") && chmod(folder, 0700) == 0 && find("{}"));
        if (geteuid() == 0)
                assert(chown(path, 1, 1) == 0 && !find("{}") && chown(path, 0, 0) == 0 && find("{}"));
        assert(fs_read_file(AT_FDCWD, path, 1 << 20, &data, &len, &err) == 0);
        for (size_t n = 0; n < len; n++) {
                assert(truncate(path, (off_t) n) == 0 && !find("{}"));
                assert(fs_write_atomic(AT_FDCWD, path, data, len, 0600, false, &err) == 0);
        }
        for (size_t i = 0; i < len; i++) {
                struct seccomp_cached f;
                char keep = data[i];

                data[i] = (char) (keep ^ 0x55);
                assert(fs_write_atomic(AT_FDCWD, path, data, len, 0600, false, &err) == 0);
                if (seccomp_cache_find(root, "{}", arena, &f)) /* changed instructions: root's own work */
                        assert(f.n == 2);
                data[i] = keep;
        }
        assert(unlink(path) == 0 && symlink("/etc/passwd", path) == 0 && !find("{}"));
        seccomp_cache_put(root, "{}", library, &filter);
        assert(find("{}"));
        assert(unlink(path) == 0 && mkfifo(path, 0600) == 0 && !find("{}"));
        seccomp_cache_put(root, "{}", library, &filter);
        assert(find("{}"));
        free(data);
}

/* Another libseccomp compiles anew. */
static void test_other_library(void) {
        write_file(library, "other");
        assert(!find("{}"));
        seccomp_cache_put(root, "{}", library, &filter);
        assert(find("{}") && unlink(library) == 0 && !find("{}"));
        write_file(library, "again");
}

static void test_bounded(void) {
        char text[32], path[400];

        for (int i = 0; i < 2 * SECCOMP_CACHE_MAX_FILES; i++) {
                (void) snprintf(text, sizeof(text), "%d", i);
                seccomp_cache_put(root, text, library, &filter);
                assert(find(text));
        }
        assert(list(path, sizeof(path)) == SECCOMP_CACHE_MAX_FILES);
        assert(!find("0") && !find("{}"));
}

static size_t load(const char *text, const char *listener) {
        struct oci o = { .root = root, .arena = arena };
        struct oci_config config = { .seccomp = text, .spec.seccomp_listener_path = listener };
        struct spec_process p = { 0 };

        if (oci_seccomp_load(&o, &config, &p, &err) < 0)
                return 0;
        assert(!text == !p.seccomp);
        return p.seccomp_notify ? 10000 + p.n_seccomp : p.n_seccomp;
}

/* The second time from the file, the same. */
static void test_load(void) {
        static const char errno_[] = "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mount\"],"
                                     "\"action\":\"SCMP_ACT_ERRNO\"}]}",
                          notify[] = "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mount\"],"
                                     "\"action\":\"SCMP_ACT_NOTIFY\"}]}";
        struct seccomp_cached f;
        size_t n;

        assert(load(NULL, NULL) == 0);
        assert(!seccomp_cache_find(root, errno_, arena, &f));
        n = load(errno_, NULL);
        assert(n > 2 && n < 100);
        assert(seccomp_cache_find(root, errno_, arena, &f) && f.n == n);
        assert(load(errno_, NULL) == n);
        for (int i = 0; i < 2; i++) {
                assert(load(notify, NULL) == 0 && strstr(err.msg, "linux.seccomp.listenerPath"));
                assert(load(notify, "/run/agent") > 10000);
        }
        assert(load("{}", NULL) == 0 && strstr(err.msg, "linux.seccomp"));
}

int main(void) {
        assert(mkdtemp(root));
        (void) snprintf(library, sizeof(library), "%s/library", root);
        (void) snprintf(folder, sizeof(folder), "%s/" SECCOMP_CACHE_FOLDER, root);
        write_file(library, "library");
        arena = arena_new(64 << 20);
        test_find();
        test_not_believed();
        test_other_library();
        test_bounded();
        test_load();
        arena = arena_free(arena);
        assert(fs_remove_tree(AT_FDCWD, root, &err) == 0);
        return 0;
}
