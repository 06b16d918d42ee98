/* SPDX-License-Identifier: Apache-2.0 */
/* oci-proxmox - Proxmox as the OCI runtime's engine, by the daemon's configuration. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/oci/engine.h"
#include "daemon/config.h"
#include "oci/config.h"
#include "oci/proxmox.h"
#include "pod/cri.h"
#include "pve/vmids.h"

enum {
        TIMEOUT_MS = 600000, /* of one operation: templates may be large */
        BUNDLE_VALUES_MAX = 200000,
};

/* --- who makes a container ---------------------------------------------------------------------------------------- */

static const char *either(const char *a, const char *b) {
        return a ? a : b;
}

static int load_bundle(struct runtime *rt, const struct cli_args *args, json_t **ret, struct err *err) {
        const char *bundle = either(args_value(args, "bundle"), "."), *file = args_value(args, "config");
        const char *path =
                file && *file == '/' ? file : arena_printf(rt->arena, "%s/%s", bundle, either(file, "config.json"));
        _cleanup_(freep) char *text = NULL;
        size_t len;
        int r = fs_read_file(AT_FDCWD, path, OCI_CONFIG_MAX_BYTES, &text, &len, err);

        return r < 0 ? r : json_load_bounded(text, len, BUNDLE_VALUES_MAX, path, ret, err);
}

/* What the engines that call us say of images. */
static const char *image_of(json_t *annotations) {
        static const char *const keys[] = { ROUTE_IMAGE_ANNOTATION, "io.kubernetes.cri.image-name",
                                            "io.kubernetes.cri-o.ImageName", "org.opencontainers.image.ref.name" };
        const char *image = NULL;

        for (size_t i = 0; i < ELEMENTSOF(keys) && !image; i++)
                image = json_string_value(json_object_get(annotations, keys[i]));
        return image;
}

static const struct route_rule *find_route(struct runtime *rt, const struct routes *routes, const char *id,
                                           json_t *annotations) {
        size_t n = json_object_size(annotations), i = 0;
        struct cri_entry **entries = arena_array(rt->arena, struct cri_entry *, n + 1);
        const char *key;
        json_t *value;

        json_object_foreach(annotations, key, value) if (json_is_string(value)) {
                entries[i] = arena_array(rt->arena, struct cri_entry, 1);
                entries[i]->key = arena_strdup(rt->arena, key);
                entries[i++]->value = arena_strdup(rt->arena, json_string_value(value));
        }
        return route_find(routes, &(struct route_pod){ .name = id,
                                                       .image = image_of(annotations),
                                                       .annotations = entries,
                                                       .n_annotations = i });
}

static const char *engine_of_handler(const struct config *config, const char *handler) {
        for (size_t i = 0; i < config->runtime_handlers.n; i++)
                if (str_eq(config->runtime_handlers.list[i].name, handler))
                        return config->runtime_handlers.list[i].engine;
        return handler; /* config_load() has looked at it */
}

/* The small program needs less memory, and leaves a process with each container. */
static int become_small(struct runtime *rt, struct err *err) {
        const char **argv;
        size_t n = 0;

        assert(rt->argv[0]); /* main() has looked */
        while (rt->argv[n])
                n++;
        argv = arena_array(rt->arena, const char *, n + 2);
        argv[0] = rt->argv[0];
        argv[1] = "--engine=lxc";
        memcpy(argv + 2, rt->argv + 1, n * sizeof(*argv));
        (void) execv(rt->argv[0], (char *const *) (uintptr_t) argv);
        return err_sys(err, errno, "run %s", rt->argv[0]);
}

int engine_by_config(struct runtime *rt, const struct cli_args *args, enum engine *ret, struct err *err) {
        _cleanup_(config_freep) struct config *config = NULL;
        _cleanup_(json_unrefp) json_t *bundle = NULL;
        const struct route_rule *rule;
        int r = config_load(NULL, &config, err);

        if (r == 0)
                r = load_bundle(rt, args, &bundle, err);
        if (r < 0)
                return err_wrap(err, "choose the engine");
        rule = find_route(rt, &config->routes, args->rest[0], json_object_get(bundle, "annotations"));
        r = engine_find(rule ? engine_of_handler(config, rule->handler) : config->oci_engine, ret, err);
        if (r < 0)
                return err_wrap(err, "%s", rule ? rule->where : "oci-engine");
        return *ret == ENGINE_LXC ? become_small(rt, err) : 0;
}

/* --- Proxmox ------------------------------------------------------------------------------------------------------ */

/* Until our process ends. */
int engine_open_proxmox(struct runtime *rt, struct err *err) {
        static struct oci_proxmox proxmox;
        const struct config_proxmox *x;
        struct config *config = NULL;
        int r = config_load(NULL, &config, err);

        if (r < 0)
                return err_wrap(err, "engine proxmox");
        x = &config->proxmox;
        if (!x->on)
                return err_set(err, ERR_PRECONDITION, "engine proxmox: %s has no key proxmox: see docs/proxmox.md",
                               config_default_file());
        proxmox = (struct oci_proxmox){ .node = x->node,
                                        .storage = x->storage,
                                        .rootfs_size = x->rootfs_size,
                                        .template_storage = x->template_storage,
                                        .pool = x->pool,
                                        .timeout_ms = TIMEOUT_MS };
        r = config_open_proxmox(x, &proxmox.pve, err);
        if (r == 0)
                r = vmids_new(x->vmid_first, x->vmid_last, &proxmox.vmids, err);
        if (r < 0)
                return err_wrap(err, "engine proxmox");
        oci_proxmox_init(&proxmox);
        rt->oci.engine = &proxmox.engine;
        return 0;
}
