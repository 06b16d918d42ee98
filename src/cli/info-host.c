/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/info-host.h"

#include <config.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "cli/oci/programs.h"
#include "oci/config.h"
#include "oci/state.h"
#include "runtime/cgroup/cgroup.h"
#include "security/apparmor.h"
#include "security/selinux.h"

enum { FILE_MAX = 1 << 20, VERSION_TIMEOUT_MS = 5000 };

/* The words of a file; an empty list where there is none. */
static json_t *words_of_file(const char *path, const char *separators) {
        _cleanup_(freep) char *text = NULL;
        json_t *list = json_array();
        char *rest, *word;
        struct err err;

        if (fs_read_file(AT_FDCWD, path, FILE_MAX, &text, NULL, &err) < 0)
                return list;
        for (rest = text; (word = strsep(&rest, separators));)
                if (*word)
                        (void) json_array_append_new(list, json_string(word));
        return list;
}

static bool has_word(const json_t *list, const char *word) {
        for (size_t i = 0; i < json_array_size(list); i++)
                if (str_eq(json_string_value(json_array_get(list, i)), word))
                        return true;
        return false;
}

static json_t *string_or_null(const char *s) {
        return s ? json_string(s) : json_null();
}

/* The first line of "PROGRAM --version". */
static const char *version_of(const char *path, struct arena *arena) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(4096);
        struct err err;
        int status;

        if (proc_run(&(struct proc_run_args){ .path = path,
                                              .argv = (const char *const[]){ path, "--version", NULL },
                                              .out = &out,
                                              .timeout_ms = VERSION_TIMEOUT_MS },
                     &status, &err) < 0 ||
            status != 0)
                return NULL;
        return arena_strndup(arena, strbuf_str(&out), strcspn(strbuf_str(&out), "\n"));
}

/* --- engines --------------------------------------------------------------------------------------------------------
 */

/* liblxc's, as the OCI runtime will load it. */
static json_t *engine_lxc(struct arena *arena) {
        void *handle = dlopen("liblxc.so.1", RTLD_NOW | RTLD_LOCAL);
        const char *(*get_version)(void) = NULL;
        const char *version = NULL;

        if (handle)
                *(void **) &get_version = dlsym(handle, "lxc_get_version");
        if (get_version)
                version = arena_strdup(arena, get_version());
        if (handle)
                (void) dlclose(handle);
        return json_pack("{s:b s:o s:s}", "available", version != NULL, "version", string_or_null(version), "builtWith",
                         LXC_VERSION);
}

static json_t *engine_crun(struct arena *arena) {
        static const char *const places[] = { "/usr/bin/crun", "/usr/sbin/crun", "/usr/local/bin/crun" };

        for (size_t i = 0; i < ELEMENTSOF(places); i++)
                if (access(places[i], X_OK) == 0)
                        return json_pack("{s:b s:s s:o}", "available", true, "path", places[i], "version",
                                         string_or_null(version_of(places[i], arena)));
        return json_pack("{s:b}", "available", false);
}

/* Pods' Proxmox containers are made through the API, maybe another host's: what is known here is whether this is one.
 */
static json_t *engine_proxmox(struct arena *arena) {
        bool here = access("/etc/pve/local", F_OK) == 0;

        return json_pack("{s:b s:b s:o}", "available", here, "node", here, "version",
                         string_or_null(here ? version_of("/usr/bin/pveversion", arena) : NULL));
}

/* --- the host -------------------------------------------------------------------------------------------------------
 */

static json_t *controllers(const struct cgroups *c) {
        static const char *const names[] = { "cpu",  "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio",
                                             "pids", "hugetlb", "rdma",   "misc",   "net_cls", "net_prio" };
        json_t *list = json_array();

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (cgroups_has(c, names[i]))
                        (void) json_array_append_new(list, json_string(names[i]));
        return list;
}

static json_t *cgroup_facts(void) {
        _cleanup_(cgroups_freep) struct cgroups *c = NULL;
        struct err err;

        if (cgroups_new(&c, &err) < 0)
                return json_pack("{s:n s:s}", "mode", "error", err.msg);
        return json_pack("{s:s s:o s:s s:{s:b s:b}}", "mode", cgroup_mode_name(cgroups_mode(c)), "controllers",
                         controllers(c), "defaultDriver", "cgroupfs", "drivers", "cgroupfs", true, "systemd",
                         access("/run/systemd/system", F_OK) == 0);
}

static json_t *namespaces(void) {
        static const char *const names[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };
        json_t *list = json_array();
        char path[64];

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                (void) snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
                if (access(path, F_OK) == 0)
                        (void) json_array_append_new(list, json_string(names[i]));
        }
        return list;
}

static json_t *security(void) {
        json_t *actions = words_of_file("/proc/sys/kernel/seccomp/actions_avail", " \n");

        return json_pack("{s:o s:b s:b s:{s:b s:s s:o}}", "modules", words_of_file("/sys/kernel/security/lsm", ",\n"),
                         "apparmor", apparmor_enabled(), "selinux", selinux_enabled(), "seccomp", "available",
                         json_array_size(actions) > 0, "libseccomp", SECCOMP_VERSION, "actions", actions);
}

static json_t *host(void) {
        struct utsname u;
        json_t *o;

        (void) uname(&u);
        o = json_pack("{s:s s:s s:s s:I s:I}", "hostname", u.nodename, "kernel", u.release, "architecture", u.machine,
                      "cpus", (json_int_t) sysconf(_SC_NPROCESSORS_ONLN), "memoryBytes",
                      (json_int_t) sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
        (void) json_object_set_new(o, "cgroup", cgroup_facts());
        (void) json_object_set_new(o, "security", security());
        (void) json_object_set_new(o, "namespaces", namespaces());
        return o;
}

/* How layers of images can be kept: what the kernel has by now, and whole copies anywhere. */
static json_t *snapshotters(void) {
        static const char *const names[] = { "overlay", "zfs", "btrfs" };
        _cleanup_(json_unrefp) json_t *known = words_of_file("/proc/filesystems", " \t\n");
        json_t *list = json_array();

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (has_word(known, names[i]))
                        (void) json_array_append_new(list, json_string(names[i]));
        (void) json_array_append_new(list, json_string("plain"));
        return list;
}

json_t *info_host(struct arena *arena) {
        json_t *o = json_pack("{s:{s:s s:s s:s s:s s:s}}", "runtime", "name", "proxmox-lxcri", "version",
                              PROJECT_VERSION, "ociVersion", OCI_VERSION, "root", OCI_DEFAULT_ROOT, "init",
                              program_path("proxmox-lxcri-init", arena));

        (void) json_object_set_new(o, "host", host());
        (void) json_object_set_new(o, "engines",
                                   json_pack("{s:o s:o s:o}", "lxc", engine_lxc(arena), "crun", engine_crun(arena),
                                             "proxmox", engine_proxmox(arena)));
        (void) json_object_set_new(o, "snapshotters", snapshotters());
        return o;
}
