/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layer-pack.h"

#include <openssl/evp.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/deflate.h"

struct layer_pack {
        struct content_draft *draft;
        struct deflate *deflate;
        EVP_MD_CTX *hash; /* of the archive */
        struct packed_layer known;
};

static int write_blob(const void *data, size_t len, void *userdata, struct err *err) {
        return content_draft_write(userdata, data, len, err);
}

int layer_pack_new(struct content *c, bool zstd, struct layer_pack **ret, struct err *err) {
        struct content_draft *draft;
        struct layer_pack *p;
        int r = content_draft_new(c, &draft, err);

        if (r < 0)
                return r;
        p = xnew(struct layer_pack);
        p->draft = draft;
        p->known.media_type =
                zstd ? "application/vnd.oci.image.layer.v1.tar+zstd" : "application/vnd.oci.image.layer.v1.tar+gzip";
        p->deflate = deflate_new(zstd ? DEFLATE_ZSTD : DEFLATE_GZIP, write_blob, draft);
        p->hash = EVP_MD_CTX_new();
        if (!p->hash || EVP_DigestInit_ex(p->hash, EVP_sha256(), NULL) != 1)
                abort();
        *ret = p;
        return 0;
}

int layer_pack_write(const void *data, size_t len, void *userdata, struct err *err) {
        struct layer_pack *p = userdata;

        if (EVP_DigestUpdate(p->hash, data, len) != 1)
                abort();
        p->known.tar_size += len;
        return deflate_run(p->deflate, data, len, err);
}

int layer_pack_end(struct layer_pack *p, struct packed_layer *ret, struct err *err) {
        unsigned char md[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        int r = deflate_end(p->deflate, err);

        if (r < 0)
                return r;
        if (EVP_DigestFinal_ex(p->hash, md, &n) != 1)
                abort();
        memcpy(p->known.diff_id, "sha256:", strlen("sha256:"));
        hex_encode(md, n, p->known.diff_id + strlen("sha256:"));
        content_draft_end(p->draft, p->known.digest, &p->known.size);
        *ret = p->known;
        return 0;
}

int layer_pack_commit(struct layer_pack *p, struct err *err) {
        return content_draft_commit(p->draft, p->known.digest, err);
}

struct layer_pack *layer_pack_free(struct layer_pack *p) {
        if (!p)
                return NULL;
        (void) deflate_free(p->deflate);
        (void) content_draft_free(p->draft);
        EVP_MD_CTX_free(p->hash);
        free(p);
        return NULL;
}
