/* SPDX-License-Identifier: Apache-2.0 */
/* config-devices - "linux.devices" of config.json. */
#include <limits.h>
#include "base/str.h"
#include "oci/config-parts.h"

/* What fits the kernel's numbers. */
enum { MAX_MAJOR = 4095, MAX_MINOR = 1048575, MODE_DEFAULT = 0666, MODE_MASK = 07777, MODE_MAX = 0177777 };

static char read_type(const struct config_node *n) {
        const char *type = config_string(n, "type");

        config_need(n, "type");
        if (str_eq(type, "u"))
                return 'c'; /* "unbuffered": another word for it */
        if (type && (strlen(type) != 1 || !strchr("cbp", *type)))
                config_fail(n, "type", "\"%.16s\" is none of c, b, u, p", type);
        return type ? *type : '\0';
}

static void read_device(const struct config_node *n, struct spec_device *d) {
        bool has_mode;

        config_need(n, "path");
        d->path = config_string(n, "path");
        if (d->path && (*d->path != '/' || strlen(d->path) >= PATH_MAX))
                config_fail(n, "path", "\"%.64s\" is not an absolute path", d->path);
        d->type = read_type(n);
        if (d->type != 'p') {
                config_need(n, "major");
                config_need(n, "minor");
                d->major = (unsigned) config_i64(n, "major", 0, MAX_MAJOR, NULL);
                d->minor = (unsigned) config_i64(n, "minor", 0, MAX_MINOR, NULL);
        }
        /* Docker leaves the type's bits in there. */
        d->mode = (mode_t) config_u64(n, "fileMode", MODE_MAX, &has_mode) & MODE_MASK;
        if (!has_mode)
                d->mode = MODE_DEFAULT;
        d->uid = (uid_t) config_u64(n, "uid", UINT32_MAX - 1, NULL);
        d->gid = (gid_t) config_u64(n, "gid", UINT32_MAX - 1, NULL);
}

void config_read_devices(const struct config_node *lin, struct spec *spec) {
        struct config_node list = config_array(lin, "devices", CONFIG_MAX_DEVICES);
        size_t n = config_count(&list);
        struct spec_device *devices = config_array_of(&list, struct spec_device, n);

        for (size_t i = 0; devices && i < n; i++) {
                struct config_node device = config_item_object(&list, i);

                read_device(&device, &devices[i]);
        }
        spec->devices = devices;
        spec->n_devices = devices ? n : 0;
}
