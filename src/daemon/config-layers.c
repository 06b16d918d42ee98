/* SPDX-License-Identifier: Apache-2.0 */
/* config-layers - the key proxmox.writable-layers. */
#include <string.h>
#include "base/str.h"
#include "daemon/config-keys.h"

/* Proxmox makes file systems of any size; smaller ones hold nothing but their own tables. */
enum { DECIMALS_MAX = 3, GIB_MAX = 1 << 20, SIZE_MIN_BYTES = 64 << 20 };
static const uint64_t gib = 1 << 30, default_size = 10, default_max = 100;

/* "10", "0.5": GiB, as Proxmox takes it. */
static bool parse_gib(const char *s, uint64_t *ret_bytes) {
        size_t whole = strspn(s, "0123456789"), decimals = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") : 0;
        uint64_t n, part = 0, scale = 1;
        char text[16];

        if (whole == 0 || whole >= sizeof(text) || decimals > DECIMALS_MAX ||
            s[whole + (decimals ? decimals + 1 : 0)] != '\0')
                return false;
        (void) snprintf(text, sizeof(text), "%.*s", (int) whole, s);
        if (!str_to_u64(text, &n) || n > GIB_MAX)
                return false;
        for (size_t i = 0; i < decimals; i++, scale *= 10)
                part = part * 10 + (uint64_t) (s[whole + 1 + i] - '0');
        *ret_bytes = n * gib + part * gib / scale;
        return true;
}

static int read_size(const struct config_place *p, const char *text, uint64_t *ret, struct err *err) {
        if (!parse_gib(text, ret) || (*ret > 0 && *ret < SIZE_MIN_BYTES))
                return config_bad(p, err, "expected GiB between 0.063 and %d, like 10 or 0.5, or 0, found '%.40s'",
                                  GIB_MAX, text);
        return 0;
}

static int read_key(struct config_layers *l, const struct yaml_node *n, const struct config_place *p, struct err *err) {
        int r = config_scalar_of(n, p, err);

        if (r < 0)
                return r;
        if (str_eq(n->key, "size")) {
                l->size = n->text;
                return read_size(p, n->text, &l->size_bytes, err);
        }
        if (str_eq(n->key, "max-size")) {
                r = read_size(p, n->text, &l->max_bytes, err);
                return r == 0 && l->max_bytes == 0 ? config_bad(p, err, "0 is no largest size") : r;
        }
        if (!str_eq(n->key, "storage"))
                return config_bad(p, err, "unknown key; writable-layers has storage, size and max-size");
        if (str_empty(n->text) || strpbrk(n->text, " \t:,="))
                return config_bad(p, err, "expected the name of a storage, found '%.40s'", n->text);
        l->storage = n->text;
        return 0;
}

int config_read_layers(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err) {
        struct config_layers *l = &c->proxmox.layers;
        struct config_place at = *p;
        int r;

        if (n->kind != YAML_MAP)
                return config_bad(p, err, "expected a mapping with storage, size and max-size, found %s",
                                  yaml_kind_name(n->kind));
        *l = (struct config_layers){ .on = true, .size_bytes = default_size * gib };
        for (const struct yaml_node *m = n->child; m; m = m->next) {
                at.line = m->line;
                (void) snprintf(at.key, sizeof(at.key), "proxmox.writable-layers.%.40s", m->key);
                r = read_key(l, m, &at, err);
                if (r < 0)
                        return r;
        }
        if (l->max_bytes == 0)
                l->max_bytes = MAX_OF(default_max * gib, l->size_bytes);
        if (l->size_bytes > l->max_bytes)
                return config_bad(p, err, "size is more than max-size");
        return 0;
}

/* They are on the containers' root file systems: so that is where these are, and how large. */
int config_settle_layers(struct config *c, struct err *err) {
        struct config_proxmox *x = &c->proxmox;

        if (!x->layers.on)
                return 0;
        if (x->rootfs_size)
                return err_set(err, ERR_INVALID,
                               "proxmox: give either rootfs-size or writable-layers: these are on the containers' root "
                               "file systems, whose size is theirs");
        x->storage = x->layers.storage ?: x->storage;
        x->rootfs_size = x->layers.size ?: "10";
        return 0;
}
