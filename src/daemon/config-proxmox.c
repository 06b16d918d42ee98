/* SPDX-License-Identifier: Apache-2.0 */
/* config-proxmox - the key proxmox. */
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "daemon/config-keys.h"
#include "pve/pve.h"

enum { LIST_MAX = 32, WORD_MAX_LEN = 255, VMID_MIN = 100, VMID_MAX = 999999999, WARM_POOL_MAX = 64 };

enum value { WORD, PATH, LIST };

/* Keys whose values are kept as they stand. */
static const struct {
        const char *key;
        enum value value;
        size_t offset;
} keys[] = {
        { "hosts", LIST, offsetof(struct config_proxmox, hosts) },
        { "node", WORD, offsetof(struct config_proxmox, node) },
        { "ca-file", PATH, offsetof(struct config_proxmox, ca_file) },
        { "fingerprints", LIST, offsetof(struct config_proxmox, fingerprints) },
        { "token-id", WORD, offsetof(struct config_proxmox, token_id) },
        { "token-file", PATH, offsetof(struct config_proxmox, token_file) },
        { "user", WORD, offsetof(struct config_proxmox, user) },
        { "password-file", PATH, offsetof(struct config_proxmox, password_file) },
        { "storage", WORD, offsetof(struct config_proxmox, storage) },
        { "rootfs-size", WORD, offsetof(struct config_proxmox, rootfs_size) },
        { "template-storage", WORD, offsetof(struct config_proxmox, template_storage) },
        { "template-file", PATH, offsetof(struct config_proxmox, template_file) },
        { "pool", WORD, offsetof(struct config_proxmox, pool) },
};

static int check_word(const struct config_place *p, const char *text, struct err *err) {
        for (const char *s = text; *s; s++)
                if ((unsigned char) *s <= ' ')
                        return config_bad(p, err, "the value holds a blank or a control character");
        return str_empty(text) || strlen(text) > WORD_MAX_LEN
                       ? config_bad(p, err, "expected 1 to %d characters", WORD_MAX_LEN)
                       : 0;
}

static int read_list(struct config *c, const struct yaml_node *n, const struct config_place *p, const char *const **ret,
                     struct err *err) {
        const char **list = arena_array(c->arena, const char *, LIST_MAX + 1);
        size_t count = 0;
        int r;

        if (n->kind != YAML_LIST)
                return config_bad(p, err, "expected a list, found %s", yaml_kind_name(n->kind));
        for (const struct yaml_node *m = n->child; m; m = m->next) {
                if (count == LIST_MAX)
                        return config_bad(p, err, "more than %d entries", LIST_MAX);
                r = config_scalar_of(m, p, err);
                if (r == 0)
                        r = check_word(p, m->text, err);
                if (r < 0)
                        return r;
                list[count++] = m->text;
        }
        *ret = list;
        return count ? 0 : config_bad(p, err, "expected at least one entry");
}

/* "50000-59999" */
static int read_range(const struct yaml_node *n, const struct config_place *p, struct config_proxmox *x,
                      struct err *err) {
        const char *dash;
        char first[16];
        uint64_t a, b;
        int r = config_scalar_of(n, p, err);

        if (r < 0)
                return r;
        dash = strchr(n->text, '-');
        (void) snprintf(first, sizeof(first), "%.*s", dash ? (int) MIN_OF(dash - n->text, 15) : 0, n->text);
        if (!dash || !str_to_u64(first, &a) || !str_to_u64(dash + 1, &b) || a < VMID_MIN || b > VMID_MAX || a > b)
                return config_bad(p, err, "expected two numbers between %d and %d, like 50000-59999, found '%.40s'",
                                  VMID_MIN, VMID_MAX, n->text);
        x->vmid_first = (uint32_t) a;
        x->vmid_last = (uint32_t) b;
        return 0;
}

static int read_warm_pool(const struct yaml_node *n, const struct config_place *p, struct config_proxmox *x,
                          struct err *err) {
        uint64_t value;
        int r = config_scalar_of(n, p, err);

        if (r < 0)
                return r;
        if (!str_to_u64(n->text, &value) || value > WARM_POOL_MAX)
                return config_bad(p, err, "expected a number from 0 to %d, found '%.40s'", WARM_POOL_MAX, n->text);
        x->warm_pool = (unsigned) value;
        return 0;
}

static int read_key(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err) {
        struct config_proxmox *x = &c->proxmox;
        int r;

        if (str_eq(n->key, "vmid-range"))
                return read_range(n, p, x, err);
        if (str_eq(n->key, "network"))
                return config_read_network(c, n, p, err);
        if (str_eq(n->key, "writable-layers"))
                return config_read_layers(c, n, p, err);
        if (str_eq(n->key, "warm-pool"))
                return read_warm_pool(n, p, x, err);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                void *field = (char *) x + keys[i].offset;

                if (!str_eq(n->key, keys[i].key))
                        continue;
                if (keys[i].value == LIST)
                        return read_list(c, n, p, field, err);
                r = config_scalar_of(n, p, err);
                if (r == 0)
                        r = keys[i].value == PATH ? config_check_path(p, n->text, err) : check_word(p, n->text, err);
                *(const char **) field = n->text;
                return r;
        }
        return config_bad(
                p, err,
                "unknown key; proxmox has hosts, node, ca-file, fingerprints, token-id, token-file, user, "
                "password-file, vmid-range, storage, rootfs-size, writable-layers, template-storage, template-file, "
                "pool, network and warm-pool");
}

int config_read_proxmox(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err) {
        struct config_place at = *p;
        int r;

        if (n->kind != YAML_MAP)
                return config_bad(p, err, "expected a mapping with hosts, token-id and others, found %s",
                                  yaml_kind_name(n->kind));
        for (const struct yaml_node *m = n->child; m; m = m->next) {
                at.line = m->line;
                (void) snprintf(at.key, sizeof(at.key), "proxmox.%.40s", m->key);
                r = read_key(c, m, &at, err);
                if (r < 0)
                        return r;
        }
        c->proxmox.on = n->child != NULL;
        return 0;
}

/* The name that Proxmox gives a node is its host's. */
static const char *host_name(struct config *c) {
        char name[256] = "";

        (void) gethostname(name, sizeof(name) - 1);
        name[strcspn(name, ".")] = '\0';
        return arena_strdup(c->arena, name);
}

int config_settle_proxmox(struct config *c, struct err *err) {
        static const char *const local[] = { "localhost", NULL };
        struct config_proxmox *x = &c->proxmox;
        int r;

        if (!x->on)
                return 0;
        r = config_settle_layers(c, err);
        if (r < 0)
                return r;
        if (!x->token_id == !x->user)
                return err_set(err, ERR_INVALID,
                               "proxmox: give either token-id (with token-file) or user (with "
                               "password-file)");
        if (x->user && !x->password_file)
                return err_set(err, ERR_INVALID, "proxmox: password-file is missing");
        if (x->ca_file && x->fingerprints)
                return err_set(err, ERR_INVALID, "proxmox: give either ca-file or fingerprints");
        if (!x->storage)
                return err_set(err, ERR_INVALID,
                               "proxmox: storage is missing: where the root file systems of pods' containers go "
                               "(pvesm status lists storages; its content must have rootdir)");
        x->hosts = x->hosts ?: local;
        x->node = x->node ?: host_name(c);
        if (!x->ca_file && !x->fingerprints)
                x->ca_file = "/etc/pve/pve-root-ca.pem";
        x->token_file = x->token_file ?: SYSCONFDIR "/proxmox-token";
        x->rootfs_size = x->rootfs_size ?: "0.125";
        x->template_storage = x->template_storage ?: "local";
        x->template_file = x->template_file ?: LIBEXECDIR "/proxmox-lxcri-sandbox.tar.gz";
        if (!x->vmid_first) {
                x->vmid_first = 50000;
                x->vmid_last = 59999;
        }
        if (x->warm_pool > 0 && x->network.addressing != CT_ADDRESS_CNI)
                return err_set(err, ERR_INVALID,
                               "proxmox: warm-pool is of no use with network: a container with a network of Proxmox' "
                               "own is made for its pod, none fits that was made before");
        /* The pods that find nothing prepared for them need numbers, too. */
        if (x->warm_pool > (x->vmid_last - x->vmid_first + 1) / 2)
                return err_set(err, ERR_INVALID,
                               "proxmox: warm-pool takes more than half of the numbers in vmid-range: %u of %u",
                               x->warm_pool, x->vmid_last - x->vmid_first + 1);
        return 0;
}

int config_open_proxmox(const struct config_proxmox *x, struct pve **ret, struct err *err) {
        const struct pve_args args = {
                .hosts = x->hosts,
                .ca_file = x->ca_file,
                .fingerprints = x->fingerprints,
                .token_id = x->token_id,
                .token_file = x->token_id ? x->token_file : NULL,
                .user = x->user,
                .password_file = x->password_file,
        };

        return pve_new(&args, ret, err);
}
