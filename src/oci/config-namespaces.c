/* SPDX-License-Identifier: Apache-2.0 */
/* config-namespaces - "linux.namespaces" of config.json, and "linux.sysctl", which depends on them. */
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include "base/str.h"
#include "oci/config-parts.h"

static void read_namespace(const struct config_node *n, struct spec *spec) {
        const char *type = config_string(n, "type"), *path = config_text(n, "path");
        size_t ns = 0;

        config_need(n, "type");
        if (!type)
                return;
        while (ns < SPEC_NS_MAX && !str_eq(spec_namespace_names[ns], type))
                ns++;
        if (ns == SPEC_NS_MAX) {
                config_fail(n, "type", "namespace \"%.64s\" does not exist", type);
                return;
        }
        if (spec->ns[ns].create || spec->ns[ns].path)
                config_fail(n, "type", "malformed spec file: duplicated ns \"%s\"", type);
        if (path && *path != '/')
                config_fail(n, "path", "\"%.64s\" is not absolute", path);
        if (path && strlen(path) >= PATH_MAX)
                config_fail(n, "path", "is too long");
        spec->ns[ns] = (struct spec_namespace){ .create = !path, .path = path };
}

void config_read_namespaces(const struct config_node *lin, struct spec *spec) {
        struct config_node list = config_array(lin, "namespaces", 64);

        for (size_t i = 0; i < config_count(&list); i++) {
                struct config_node n = config_item_object(&list, i);

                read_namespace(&n, spec);
        }
}

/* Of an IPC namespace, as runc lists them. */
static bool is_ipc(const char *name) {
        static const char *const list[] = {
                "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
                "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced",
        };

        for (size_t i = 0; i < ELEMENTSOF(list); i++)
                if (str_eq(list[i], name))
                        return true;
        return str_after(name, "fs/mqueue/") != NULL;
}

/* A path may lead to the one that we are in ourselves. */
static bool has_own(const struct spec *spec, enum spec_ns ns, const char *file) {
        const char *path = spec->ns[ns].path;
        struct stat theirs, ours;
        char own[64];

        if (!path)
                return spec->ns[ns].create;
        (void) snprintf(own, sizeof(own), "/proc/self/ns/%s", file);
        /* Where there is none, joining it is going to fail. */
        return stat(path, &theirs) < 0 || stat(own, &ours) < 0 || theirs.st_dev != ours.st_dev ||
               theirs.st_ino != ours.st_ino;
}

/* As sysctl(8): where the first of '.' and '/' is the separator, the other stands for itself. */
static void with_slashes(char *name) {
        char *first = strpbrk(name, "./");

        if (!first || *first == '/')
                return;
        for (char *s = name; *s; s++)
                *s = *s == '.' ? '/' : *s == '/' ? '.' : *s;
}

static bool path_is_clean(const char *path) {
        for (const char *part = path;; part++) {
                size_t n = strcspn(part, "/");

                if (n == 0 || (n == 1 && *part == '.') || (n == 2 && memcmp(part, "..", 2) == 0))
                        return false;
                part += n;
                if (!*part)
                        return true;
        }
}

/* Only what belongs to a namespace of the container's; the rest would be the host's. NULL: it may be set. */
static const char *why_not(const char *name, const struct spec *spec) {
        if (!path_is_clean(name))
                return "is not the name of a kernel parameter";
        if (str_after(name, "net/"))
                return has_own(spec, SPEC_NS_NET, "net") ? NULL : "is not allowed in the hosts network namespace";
        if (is_ipc(name))
                return has_own(spec, SPEC_NS_IPC, "ipc") ? NULL : "is not allowed in the hosts ipc namespace";
        if (str_eq(name, "kernel/hostname"))
                return "is not allowed as it conflicts with the OCI \"hostname\" field";
        if (str_eq(name, "kernel/domainname") && has_own(spec, SPEC_NS_UTS, "uts"))
                return NULL;
        return "is not in a separate kernel namespace";
}

static void check_sysctl(const struct config_node *n, const struct spec *spec) {
        char name[256];
        const char *why;

        if (strlen(n->key) >= sizeof(name)) {
                config_fail(n, NULL, "is too long a name");
                return;
        }
        memcpy(name, n->key, strlen(n->key) + 1);
        with_slashes(name);
        why = why_not(name, spec);
        if (why)
                config_fail(n, NULL, "sysctl \"%s\" %s", n->key, why);
}

void config_read_sysctls(const struct config_node *lin, struct spec *spec) {
        struct config_node map = config_object(lin, "sysctl");

        spec->sysctls = config_pairs(lin, "sysctl", CONFIG_MAX_PAIRS, &spec->n_sysctls);
        for (struct config_node v = config_first(&map); config_has(&v); v = config_next(&v))
                check_sysctl(&v, spec);
}
