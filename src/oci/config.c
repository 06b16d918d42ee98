/* SPDX-License-Identifier: Apache-2.0 */
/* config - see config.h. Here: the outermost, and what is put together from the parts. */
#include "oci/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/fs.h"
#include "base/str.h"
#include "oci/config-parts.h"

/* Of one file: each costs jansson about a hundred bytes. */
enum { MAX_VALUES = 500000, OUR_MAJOR = 1, OUR_MINOR = 3, MAX_HOSTNAME = 64 };

/* A number without leading zeros, as semver wants it; NULL: none. */
static const char *skip_number(const char *s, uint64_t *ret) {
        char digits[8] = "";
        size_t n = strspn(s, "0123456789");

        if (n == 0 || n >= sizeof(digits) || (n > 1 && *s == '0'))
                return NULL;
        memcpy(digits, s, n);
        return str_to_u64(digits, ret) ? s + n : NULL;
}

bool oci_version_is_known(const char *version) {
        uint64_t major = 0, minor = 0, patch = 0;
        const char *s = skip_number(version, &major);

        s = s && *s == '.' ? skip_number(s + 1, &minor) : NULL;
        s = s && *s == '.' ? skip_number(s + 1, &patch) : NULL;
        if (!s || (*s && *s != '-' && *s != '+'))
                return false;
        return major == OUR_MAJOR && minor <= OUR_MINOR;
}

static void read_version(const struct config_node *root, struct oci_config *c) {
        config_need(root, "ociVersion");
        c->oci_version = config_string(root, "ociVersion");
        if (c->oci_version && !oci_version_is_known(c->oci_version))
                config_fail(root, "ociVersion", "\"%.32s\" is not a version from 1.0.0 to " OCI_VERSION,
                            c->oci_version);
}

static void read_root(const struct config_node *config, struct oci_config *c) {
        struct config_node root = config_object(config, "root");
        const char *path;

        config_need(config, "root");
        config_need(&root, "path");
        path = config_string(&root, "path");
        c->spec.readonly_rootfs = config_bool(&root, "readonly");
        if (!path)
                return;
        if (!*path)
                config_fail(&root, "path", "must not be empty");
        if (strlen(path) >= PATH_MAX)
                config_fail(&root, "path", "is too long");
        else
                c->root_path = *path == '/' ? path : config_printf(config, "%s/%s", config->reader->bundle, path);
}

/* As runc: the host's own name is not for a container to change. */
static const char *read_name(const struct config_node *root, const char *key, const struct spec *spec) {
        const char *name = config_text(root, key);

        if (!name)
                return NULL;
        if (strlen(name) > MAX_HOSTNAME)
                config_fail(root, key, "is longer than %d bytes", MAX_HOSTNAME);
        if (!spec->ns[SPEC_NS_UTS].create && !spec->ns[SPEC_NS_UTS].path)
                config_fail(root, key, "unable to set %s without a private UTS namespace", key);
        return name;
}

static bool is_unmapped(const struct id_map *maps, size_t n, uint32_t id) {
        uint32_t outside;

        return n && !id_map_find(maps, n, id, &outside);
}

/* The kernel would refuse them, but not say which. */
static void check_user(const struct config_node *process, const struct spec *spec) {
        const struct spec_user *u = &spec->process.user;
        const struct id_maps *ids = &spec->user_ids;
        struct config_node user = config_member(process, "user");

        if (is_unmapped(ids->uids, ids->n_uids, u->uid))
                config_fail(&user, "uid", "cannot set uid to unmapped user in user namespace");
        if (is_unmapped(ids->gids, ids->n_gids, u->gid))
                config_fail(&user, "gid", "cannot set gid to unmapped user in user namespace");
        for (size_t i = 0; i < u->n_additional_gids; i++)
                if (is_unmapped(ids->gids, ids->n_gids, u->additional_gids[i]))
                        config_fail(&user, "additionalGids",
                                    "cannot set gid %u, which is unmapped in the user namespace",
                                    u->additional_gids[i]);
}

static void read_process(const struct config_node *root, struct oci_config *c) {
        struct config_node process = config_object(root, "process");

        c->has_process = config_has(&process);
        config_read_process(&process, &c->spec.process);
        c->process_text = config_as_text(root, "process");
        /* A joined namespace's maps are its own, whatever the bundle says. */
        if (c->has_process && c->spec.ns[SPEC_NS_USER].create)
                check_user(&process, &c->spec);
}

static void read_seccomp(const struct config_node *lin, struct oci_config *c) {
        struct config_node seccomp = config_object(lin, "seccomp");
        struct spec *spec = &c->spec;

        c->seccomp = config_as_text(lin, "seccomp");
        spec->seccomp_listener_path = config_text(&seccomp, "listenerPath");
        spec->seccomp_listener_metadata = config_text(&seccomp, "listenerMetadata");
        if (spec->seccomp_listener_metadata && !spec->seccomp_listener_path)
                config_fail(&seccomp, "listenerMetadata", "needs listenerPath");
}

/* The kernel ends a line at the first of these. */
static const char *read_schema(const struct config_node *rdt, const char *key) {
        const char *line = config_text(rdt, key);

        if (line && strchr(line, '\n'))
                config_fail(rdt, key, "must be one line");
        return line;
}

static void read_intel_rdt(const struct config_node *lin, struct oci_config *c) {
        struct config_node n = config_object(lin, "intelRdt");
        struct oci_intel_rdt *rdt = config_has(&n) ? config_array_of(&n, struct oci_intel_rdt, 1) : NULL;

        if (!rdt)
                return;
        /* A folder's name below /sys/fs/resctrl, or that itself. */
        rdt->clos_id = config_text(&n, "closID");
        if (rdt->clos_id && !str_eq(rdt->clos_id, "/") &&
            (strchr(rdt->clos_id, '/') || str_eq(rdt->clos_id, ".") || str_eq(rdt->clos_id, "..") ||
             strlen(rdt->clos_id) > NAME_MAX))
                config_fail(&n, "closID", "\"%.64s\" is not the name of a folder", rdt->clos_id);
        rdt->l3_cache = read_schema(&n, "l3CacheSchema");
        rdt->bandwidth = read_schema(&n, "memBwSchema");
        if (rdt->bandwidth && !str_after(rdt->bandwidth, "MB:"))
                config_fail(&n, "memBwSchema", "must begin with \"MB:\"");
        rdt->schemata = config_strings(&n, "schemata", CONFIG_MAX_PAIRS);
        rdt->monitoring = config_bool(&n, "enableMonitoring");
        c->intel_rdt = rdt;
}

static void read_linux(const struct config_node *root, struct oci_config *c) {
        struct config_node lin = config_object(root, "linux"), resources = config_object(&lin, "resources");
        struct spec *spec = &c->spec;

        config_read_namespaces(&lin, spec);
        config_read_linux(&lin, spec);
        config_read_sysctls(&lin, spec);
        config_read_devices(&lin, spec);
        config_read_resources(&resources, &spec->resources);
        config_add_default_rules(&resources, &spec->resources);
        read_seccomp(&lin, c);
        read_intel_rdt(&lin, c);
        c->cgroups_path = config_text(&lin, "cgroupsPath");
}

static void keep_warnings(const struct config_node *root, struct oci_config *c) {
        const struct config_reader *reader = root->reader;
        const char **copy = config_array_of(root, const char *, reader->n_warnings + 1);

        if (copy)
                memcpy(copy, reader->warnings, reader->n_warnings * sizeof(*copy));
        c->warnings = copy;
}

static int load_text(const char *text, size_t len, const char *what, json_t **ret, struct err *err) {
        if (len > OCI_CONFIG_MAX_BYTES)
                return err_set(err, ERR_INVALID, "%s has more than %d bytes", what, OCI_CONFIG_MAX_BYTES);
        return json_load_bounded(text, len, MAX_VALUES, what, ret, err);
}

int oci_config_parse(const char *text, size_t len, const char *bundle, struct arena *arena, struct oci_config *ret,
                     struct err *err) {
        struct config_reader reader = { .arena = arena, .err = err, .bundle = bundle };
        struct oci_config c = { 0 };
        _cleanup_(json_unrefp) json_t *j = NULL;
        struct config_node root = { .reader = &reader };
        int r;

        r = load_text(text, len, "config.json", &j, err);
        if (r < 0)
                return r;
        root.json = j;
        reader.raw = (struct config_raw){ text, len };
        c.bundle = config_printf(&root, "%s", bundle);
        c.spec.rootfs_mount_fd = -1;
        c.spec.outlives_parent = c.spec.default_devices = c.spec.is_bundle = true;
        read_version(&root, &c);
        read_root(&root, &c);
        read_linux(&root, &c);
        c.spec.hostname = read_name(&root, "hostname", &c.spec);
        c.spec.domainname = read_name(&root, "domainname", &c.spec);
        read_process(&root, &c);
        config_read_mounts(&root, &c.spec);
        config_read_hooks(&root, &c.spec.hooks);
        c.spec.annotations = config_pairs(&root, "annotations", CONFIG_MAX_PAIRS, &c.spec.n_annotations);
        keep_warnings(&root, &c);
        if (reader.r == 0)
                *ret = c;
        return reader.r;
}

int oci_config_load(const char *bundle, struct arena *arena, struct oci_config *ret, struct err *err) {
        _cleanup_(freep) char *folder = realpath(bundle, NULL), *text = NULL;
        char path[PATH_MAX + 16];
        size_t len;
        int r;

        if (!folder)
                return err_set(err, ERR_INVALID, "bundle %s: %s", bundle, strerror(errno));
        (void) snprintf(path, sizeof(path), "%s/config.json", folder);
        r = fs_read_file(AT_FDCWD, path, OCI_CONFIG_MAX_BYTES, &text, &len, err);
        if (r < 0 && err->sys_errno == ENOENT) /* as runc, by which engines know it */
                return err_set(err, ERR_INVALID, "JSON specification file config.json not found in %s", folder);
        return r < 0 ? r : oci_config_parse(text, len, folder, arena, ret, err);
}

int oci_process_parse(const char *text, size_t len, struct arena *arena, struct spec_process *ret, struct err *err) {
        struct config_reader reader = { .arena = arena, .err = err, .bundle = "" };
        struct config_node root = { .reader = &reader };
        _cleanup_(json_unrefp) json_t *j = NULL;
        struct spec_process process = { 0 };
        int r = load_text(text, len, "process", &j, err);

        if (r < 0)
                return r;
        root.json = j;
        config_read_process(&root, &process);
        if (reader.r == 0)
                *ret = process;
        return reader.r;
}

int oci_resources_parse(const char *text, size_t len, struct arena *arena, struct spec_resources *ret,
                        struct err *err) {
        struct config_reader reader = { .arena = arena, .err = err, .bundle = "" };
        struct config_node root = { .reader = &reader };
        _cleanup_(json_unrefp) json_t *j = NULL;
        struct spec_resources resources = { 0 };
        int r = load_text(text, len, "resources", &j, err);

        if (r < 0)
                return r;
        root.json = j;
        config_read_resources(&root, &resources);
        if (reader.r == 0)
                *ret = resources;
        return reader.r;
}
