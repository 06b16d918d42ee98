/* SPDX-License-Identifier: Apache-2.0 */
/* default-bundle - see default-bundle.h. */
#include "oci/default-bundle.h"

#include "base/attr.h"
#include "base/json.h"
#include "base/str.h"

enum { MAX_OPTIONS = 8 };

struct mount {
        const char *destination, *type, *source;
        const char *options[MAX_OPTIONS]; /* NULL last */
};

static const struct mount mounts[] = {
        { "/proc", "proc", "proc", { NULL } },
        { "/dev", "tmpfs", "tmpfs", { "nosuid", "strictatime", "mode=755", "size=65536k" } },
        { "/dev/pts",
          "devpts",
          "devpts",
          { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
        { "/dev/shm", "tmpfs", "shm", { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
        { "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
        { "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
        { "/sys/fs/cgroup", "cgroup", "cgroup", { "nosuid", "noexec", "nodev", "relatime", "ro" } },
};
/* The terminals' group is in no map of one user; and sysfs belongs to who has made the network namespace. */
static const struct mount rootless_mounts[] = {
        { "/dev/pts", "devpts", "devpts", { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620" } },
        { "/sys", "none", "/sys", { "rbind", "nosuid", "noexec", "nodev", "ro" } },
};

static const char *const namespaces[] = { "pid", "network", "ipc", "uts", "mount", "cgroup", NULL };
static const char *const rootless_namespaces[] = { "pid", "ipc", "uts", "mount", "cgroup", "user", NULL };
static const char *const caps[] = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", NULL };
static const char *const masked[] = {
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi",
        NULL,
};
static const char *const readonly[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL
};

static json_t *mount_json(const struct mount *m) {
        json_t *j = json_pack("{s:s, s:s, s:s}", "destination", m->destination, "type", m->type, "source", m->source);

        if (m->options[0])
                (void) json_object_set_new(j, "options", json_from_strings(m->options));
        return j;
}

static json_t *mounts_json(bool rootless) {
        json_t *all = json_array();

        for (size_t i = 0; i < ELEMENTSOF(mounts); i++) {
                const struct mount *m = &mounts[i];

                for (size_t k = 0; rootless && k < ELEMENTSOF(rootless_mounts); k++)
                        if (str_eq(rootless_mounts[k].destination, mounts[i].destination))
                                m = &rootless_mounts[k];
                (void) json_array_append_new(all, mount_json(m));
        }
        return all;
}

static json_t *namespaces_json(const char *const *list) {
        json_t *all = json_array();

        for (; *list; list++)
                (void) json_array_append_new(all, json_pack("{s:s}", "type", *list));
        return all;
}

static json_t *process_json(void) {
        return json_pack("{s:b, s:{s:i, s:i}, s:[s], s:[s, s], s:s, s:{s:o, s:o, s:o}, s:[{s:s, s:i, s:i}], s:b}",
                         "terminal", 1, "user", "uid", 0, "gid", 0, "args", "sh", "env",
                         "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "cwd", "/",
                         "capabilities", "bounding", json_from_strings(caps), "effective", json_from_strings(caps),
                         "permitted", json_from_strings(caps), "rlimits", "type", "RLIMIT_NOFILE", "hard", 1024, "soft",
                         1024, "noNewPrivileges", 1);
}

static json_t *id_map_json(unsigned id) {
        return json_pack("[{s:i, s:I, s:i}]", "containerID", 0, "hostID", (json_int_t) id, "size", 1);
}

static json_t *linux_json(bool rootless, uid_t uid, gid_t gid) {
        json_t *l = json_object();

        if (rootless) {
                (void) json_object_set_new(l, "uidMappings", id_map_json(uid));
                (void) json_object_set_new(l, "gidMappings", id_map_json(gid));
        } else {
                (void) json_object_set_new(l, "resources",
                                           json_pack("{s:[{s:b, s:s}]}", "devices", "allow", 0, "access", "rwm"));
        }
        (void) json_object_set_new(l, "namespaces", namespaces_json(rootless ? rootless_namespaces : namespaces));
        (void) json_object_set_new(l, "maskedPaths", json_from_strings(masked));
        (void) json_object_set_new(l, "readonlyPaths", json_from_strings(readonly));
        return l;
}

/* Of the version that has all that is in it: older runtimes take it, too. */
const char *oci_default_bundle(bool rootless, uid_t uid, gid_t gid, struct arena *arena) {
        json_t *all = json_pack("{s:s, s:o, s:{s:s, s:b}, s:s, s:o, s:o}", "ociVersion", "1.0.2", "process",
                                process_json(), "root", "path", "rootfs", "readonly", 1, "hostname", "proxmox-lxcri",
                                "mounts", mounts_json(rootless), "linux", linux_json(rootless, uid, gid));

        return json_to_text(all, arena);
}
