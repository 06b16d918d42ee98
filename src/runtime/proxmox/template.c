/* SPDX-License-Identifier: Apache-2.0 */
/* template - see template.h. */
#include "runtime/proxmox/template.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "pve/cluster.h"

enum { FILE_MAX = 16 << 20, DIGEST_CHARS = 12 };

/* As Proxmox names templates, after Debian's architectures. */
#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#else
#define ARCHITECTURE "other"
#endif

static int name_of(const char *file, char **ret, struct err *err) {
        _cleanup_(freep) char *data = NULL;
        unsigned char md[EVP_MAX_MD_SIZE];
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        unsigned n = 0;
        size_t len;
        int r = fs_read_file(AT_FDCWD, file, FILE_MAX, &data, &len, err);

        if (r < 0)
                return err_wrap(err, "read the sandbox template");
        if (EVP_Digest(data, len, md, &n, EVP_sha256(), NULL) != 1)
                return err_set(err, ERR_INTERNAL, "SHA-256 of %s", file);
        for (unsigned i = 0; i < n; i++)
                (void) snprintf(hex + (size_t) 2 * i, 3, "%02x", md[i]);
        *ret = xprintf("proxmox-lxcri-sandbox_%.*s_" ARCHITECTURE ".tar.gz", DIGEST_CHARS, hex);
        return 0;
}

static int is_there(struct pve *p, const struct pve_storage *storage, const char *volume, const struct pve_until *until,
                    bool *ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *answer = NULL;
        json_t *item;
        size_t i;
        int r = pve_storage_list(p, storage, "vztmpl", until, &answer, err);

        *ret = false;
        json_array_foreach(json_object_get(answer, "data"), i, item) {
                if (str_eq(pve_json_str(item, "volid") ?: "", volume))
                        *ret = true;
        }
        return r;
}

int template_ensure(struct pve *p, const struct template_place *place, const struct pve_until *until, char **ret,
                    struct err *err) {
        const struct pve_storage storage = { place->node, place->storage };
        _cleanup_(freep) char *name = NULL, *volume = NULL;
        bool there = false;
        int r = name_of(place->file, &name, err);

        if (r < 0)
                return r;
        volume = xprintf("%s:vztmpl/%s", place->storage, name);
        r = is_there(p, &storage, volume, until, &there, err);
        if (r == 0 && !there) {
                r = pve_storage_upload(p, &storage, place->file, name, until, err);
                if (r == 0)
                        log_info("sandbox template uploaded", "volume", volume, NULL);
        }
        if (r < 0)
                return err_wrap(err, "put the sandbox template on storage %s", place->storage);
        *ret = TAKE_PTR(volume);
        return 0;
}
