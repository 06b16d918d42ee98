/* SPDX-License-Identifier: Apache-2.0 */
/* features - see features.h. Source: OCI runtime-spec 1.3, features.md and features-linux.md. */
#include "oci/features.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/attr.h"
#include "base/json.h"
#include <config.h> /* of the build */
#include "oci/config-parts.h"
#include "runtime/spec/mount-options.h"
#include "runtime/hooks/hooks.h"
#include "security/caps.h"
#include "security/seccomp-words.h"

struct word {
        const char *name;
        unsigned value; /* of flags and architectures */
};

#define NAME(name, value) { name, 0 },
static const struct word actions[] = { SECCOMP_ACTIONS(NAME) };
static const struct word operators[] = { SECCOMP_OPERATORS(NAME) };
#undef NAME
#define VALUE(name, value) { name, value },
static const struct word arches[] = { SECCOMP_ARCHES(VALUE) };
static const struct word flags[] = { SECCOMP_FLAGS(VALUE) };
#undef VALUE

static json_t *words(const struct word *list, size_t n) {
        json_t *all = json_array();

        for (size_t i = 0; i < n; i++)
                (void) json_array_append_new(all, json_string(list[i].name));
        return all;
}

static json_t *config_names(const struct spec_name *list, size_t n) {
        json_t *all = json_array();

        for (size_t i = 0; i < n; i++)
                (void) json_array_append_new(all, json_string(list[i].name));
        return all;
}

static json_t *hooks(void) {
        json_t *all = json_array();

        for (int kind = 0; kind < SPEC_HOOK_MAX; kind++)
                (void) json_array_append_new(all, json_string(hook_kind_name((enum spec_hook_kind) kind)));
        return all;
}

static json_t *options(void) {
        json_t *all = json_array();

        for (size_t i = 0; i < n_mount_options; i++)
                (void) json_array_append_new(all, json_string(mount_options[i].name));
        return all;
}

static json_t *namespaces(void) {
        json_t *all = json_array();

        for (int ns = 0; ns < SPEC_NS_MAX; ns++)
                (void) json_array_append_new(all, json_string(spec_namespace_names[ns]));
        return all;
}

static json_t *capabilities(void) {
        json_t *all = json_array();

        for (int cap = 0; caps_name(cap); cap++)
                (void) json_array_append_new(all, json_string(caps_name(cap)));
        return all;
}

/* The kernel looks at the flags before it looks at the program, of which there is none. Some flags go only with a
 * listener, and some only without. */
static bool is_supported(unsigned flag) {
        return (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, NULL) < 0 && errno == EFAULT) ||
               (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag | SECCOMP_FILTER_FLAG_NEW_LISTENER, NULL) < 0 &&
                errno == EFAULT);
}

static json_t *supported_flags(void) {
        json_t *all = json_array();

        for (size_t i = 0; i < ELEMENTSOF(flags); i++)
                if (is_supported(flags[i].value))
                        (void) json_array_append_new(all, json_string(flags[i].name));
        return all;
}

/* Of the ones the specification has, libseccomp knows fewer, and takes only those with our own byte order beside ours.
 */
static json_t *supported_arches(void) {
        json_t *all = json_array();

        for (size_t i = 0; i < ELEMENTSOF(arches); i++) {
                scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
                int r = filter ? seccomp_arch_add(filter, arches[i].value) : -ENOSYS;

                seccomp_release(filter);
                if (r == 0 || r == -EEXIST)
                        (void) json_array_append_new(all, json_string(arches[i].name));
        }
        return all;
}

static json_t *seccomp(void) {
        return json_pack("{s:b, s:o, s:o, s:o, s:o, s:o}", "enabled", seccomp_version() != NULL, "actions",
                         words(actions, ELEMENTSOF(actions)), "operators", words(operators, ELEMENTSOF(operators)),
                         "archs", supported_arches(), "knownFlags", words(flags, ELEMENTSOF(flags)), "supportedFlags",
                         supported_flags());
}

static json_t *cgroup(void) {
        return json_pack("{s:b, s:b, s:b, s:b, s:b}", "v1", 1, "v2", 1, "systemd", 1, "systemdUser", 0, "rdma", 1);
}

static json_t *linux_features(void) {
        json_t *l = json_pack("{s:o, s:o, s:o, s:o}", "namespaces", namespaces(), "capabilities", capabilities(),
                              "cgroup", cgroup(), "seccomp", seccomp());

        (void) json_object_update_new(
                l, json_pack("{s:{s:b}, s:{s:b}, s:{s:b, s:b, s:b}, s:{s:{s:b}}, s:{s:b}, s:{s:o, s:o}}", "apparmor",
                             "enabled", 1, "selinux", "enabled", 1, "intelRdt", "enabled", 1, "schemata", 1,
                             "monitoring", 1, "mountExtensions", "idmap", "enabled", 1, "netDevices", "enabled", 1,
                             "memoryPolicy", "modes", config_names(config_memory_modes, n_config_memory_modes), "flags",
                             config_names(config_memory_flags, n_config_memory_flags)));
        return l;
}

/* Those that change what we do, so that not everybody should be let to set them. */
static json_t *unsafe_annotations(void) {
        return json_pack("[s]", "org.systemd.property.");
}

const char *oci_features(struct arena *arena) {
        json_t *all = json_pack("{s:s, s:s, s:o, s:o, s:o, s:{s:s, s:s, s:s}, s:o}", "ociVersionMin", "1.0.0",
                                "ociVersionMax", OCI_VERSION, "hooks", hooks(), "mountOptions", options(), "linux",
                                linux_features(), "annotations", "proxmox-lxcri.version", PROJECT_VERSION,
                                "proxmox-lxcri.lxc.version", LXC_VERSION, "org.opencontainers.runc.checkpoint.enabled",
                                "true", "potentiallyUnsafeConfigAnnotations", unsafe_annotations());

        return json_to_text(all, arena);
}
