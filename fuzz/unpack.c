/* SPDX-License-Identifier: Apache-2.0 */
/* unpack - archives of names that step on each other: up to three layers of a few entries whose names, links and types
 * the bytes choose from short lists, unpacked and settled as a pull does. Nothing outside the layers may change, and a
 * layer that is refused leaves nothing behind. Needs root; works in a tmpfs of its own. (tar.c has the bytes of the
 * format.) */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "image/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char root[64], outside[80], secret[100];
static struct stat before[2];
static struct layers *layers;

static void remove_root(void) {
        (void) umount2(root, MNT_DETACH);
        (void) rmdir(root);
}

static bool set_up(void) {
        struct err err;

        if (*root)
                return layers;
        (void) snprintf(root, sizeof(root), "/tmp/fuzz-unpack.XXXXXX");
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !mkdtemp(root))
                return false;
        (void) atexit(remove_root);
        assert(mount("tmpfs", root, "tmpfs", 0, "size=64m") == 0);
        (void) snprintf(outside, sizeof(outside), "%s/outside", root);
        (void) snprintf(secret, sizeof(secret), "%s/secret", outside);
        assert(mkdir(outside, 0755) == 0 && close(open(secret, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) == 0);
        assert(lstat(outside, &before[0]) == 0 && lstat(secret, &before[1]) == 0);
        log_set_level(LOG_LEVEL_ERROR);
        assert(layers_new(root, NULL, &layers, &err) == 0);
        return true;
}

static void check_outside(void) {
        const char *const paths[] = { outside, secret };
        struct stat st;

        for (int i = 0; i < 2; i++) { /* whatever is done to an inode, or made in a folder, changes its ctime */
                assert(lstat(paths[i], &st) == 0 && st.st_ino == before[i].st_ino);
                assert(st.st_ctim.tv_sec == before[i].st_ctim.tv_sec &&
                       st.st_ctim.tv_nsec == before[i].st_ctim.tv_nsec);
        }
}

static uint8_t take(const uint8_t **data, size_t *size) {
        if (*size == 0)
                return 0;
        ++*data;
        --*size;
        return (*data)[-1];
}

static void take_name(const uint8_t **data, size_t *size, char ret[100]) {
        static const char *const parts[] = {
                "a",  "b",     "c",     "d",     "a/b",          "b/c",  "/",       ".",
                "..", ".wh.a", ".wh.b", ".wh.c", ".wh..wh..opq", ".wh.", "a/a/a/a", "../../../../.."
        };
        uint8_t n = take(data, size);

        ret[0] = '\0';
        if (n >= 0xf0) {
                (void) snprintf(ret, 100, "%s", n & 1 ? outside : secret);
                return;
        }
        for (size_t i = 0, count = n % 4 + 1; i < count; i++) {
                size_t len = strlen(ret);
                (void) snprintf(ret + len, 100 - len, "%s%s", i ? "/" : "", parts[take(data, size) % 16]);
        }
}

static void octal(char *field, size_t len, unsigned v) {
        for (size_t i = len - 1; i-- > 0; v >>= 3)
                field[i] = (char) ('0' + (v & 7));
}

static void add_entry(struct strbuf *tar, const uint8_t **data, size_t *size) {
        static const char types[] = "0012235555641222";
        char h[512] = { 0 }, name[100], link[100];
        uint8_t kind = take(data, size);
        unsigned sum = 0;

        take_name(data, size, name);
        h[156] = types[kind % 16];
        memcpy(h, name, strlen(name));
        if (h[156] == '1' || h[156] == '2') {
                take_name(data, size, link);
                memcpy(h + 157, link, strlen(link));
        }
        octal(h + 100, 8, kind & 0x10 ? 06755 : 0755);
        octal(h + 108, 8, kind & 0x20 ? 1000 : 0);
        octal(h + 124, 12, h[156] == '0' && kind & 0x40 ? 3 : 0);
        octal(h + 136, 12, 1000);
        memcpy(h + 257, "ustar\00000", 8);
        memset(h + 148, ' ', 8);
        for (size_t i = 0; i < sizeof(h); i++)
                sum += (unsigned char) h[i];
        octal(h + 148, 7, sum);
        h[154] = '\0';
        strbuf_append(tar, h, sizeof(h));
        if (h[156] == '0' && kind & 0x40)
                strbuf_append(tar, (char[512]){ "abc" }, 512);
}

static void digest_of(const void *data, size_t len, char ret[80]) {
        unsigned char md[32];

        assert(EVP_Digest(data, len, md, NULL, EVP_sha256(), NULL) == 1);
        (void) snprintf(ret, 80, "sha256:");
        hex_encode(md, sizeof(md), ret + 7);
}

static int push(const struct strbuf *tar, char chain[80], const char *const *lower, size_t n) {
        _cleanup_(layer_sink_freep) struct layer_sink *s = NULL;
        char digest[80], text[200];
        uint64_t bytes, inodes;
        struct err err;
        int r;

        digest_of(tar->data, tar->len, digest);
        r = layer_sink_new(layers,
                           &(struct layer_sink_args){ .digest = digest,
                                                      .size_bytes = tar->len,
                                                      .media_type = "application/vnd.oci.image.layer.v1.tar",
                                                      .diff_id = digest,
                                                      .max_bytes = 1 << 20,
                                                      .max_entries = 100 },
                           &s, &err);
        if (r == 0)
                r = layer_sink_write(s, tar->data, tar->len, &err);
        if (r == 0)
                r = layer_sink_end(s, &err);
        if (r < 0 && r != -ERR_INVALID)
                fprintf(stderr, "%s\n", err.msg);
        assert(r == 0 || r == -ERR_INVALID);
        if (r < 0)
                return r;
        (void) snprintf(text, sizeof(text), "%s %s", n ? lower[n - 1] : "", digest);
        digest_of(text, strlen(text), chain);
        r = layer_sink_finish(s, chain, lower, n, &bytes, &inodes, &err);
        if (r < 0 && r != -ERR_INVALID)
                fprintf(stderr, "%s\n", err.msg);
        assert(r == 0 || r == -ERR_INVALID);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char chains[3][80];
        const char *lower[3];
        struct err err;
        size_t n = 0;

        if (!set_up())
                return 0;
        while (size && n < 3) {
                struct strbuf tar = STRBUF(1 << 20);
                int r = 0;

                for (size_t count = take(&data, &size) % 12 + 1; count && size; count--)
                        add_entry(&tar, &data, &size);
                if (tar.len)
                        r = push(&tar, chains[n], lower, n);
                strbuf_done(&tar);
                check_outside();
                if (r < 0 || n == 3)
                        break;
                if (layer_exists(layers, chains[n])) {
                        lower[n] = chains[n];
                        n++;
                } else {
                        break;
                }
        }
        while (n-- > 0)
                assert(layer_remove(layers, chains[n], &err) == 0);
        check_outside();
        return 0;
}
