/* SPDX-License-Identifier: Apache-2.0 */
/* doctor-host - programs, folders, space, and what pod networks need. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "cli/doctor.h"
#include "cli/format.h"

static bool in_path(const char *program) {
        const char *path = getenv("PATH");
        char file[4096];

        /* What is in sbin is not in every user's path. */
        for (const char *p = path ? path : ""; *p;) {
                size_t len = strcspn(p, ":");

                (void) snprintf(file, sizeof(file), "%.*s/%s", (int) len, p, program);
                if (access(file, X_OK) == 0)
                        return true;
                p += len + (p[len] == ':');
        }
        (void) snprintf(file, sizeof(file), "/usr/sbin/%s", program);
        return access(file, X_OK) == 0;
}

static void check_program(struct doctor *d, const char *program, enum doctor_level missing, const char *advice) {
        bool has = in_path(program);

        doctor_add(d, has ? DOCTOR_OK : missing, program, advice, has ? "installed" : "not in PATH");
}

static void check_own(struct doctor *d, const char *name, const char *path) {
        if (access(path, X_OK) == 0)
                doctor_add(d, DOCTOR_OK, name, NULL, "%s", path);
        else
                doctor_add(
                        d, DOCTOR_FAIL, name,
                        "install it (\"meson install\"), or tell the daemon where it is (--keeper-path, --init-path)",
                        "%s: %s", path, strerror(errno));
}

/* The folder itself, or the nearest above it that exists. */
static const char *existing(struct arena *a, const char *path) {
        char *copy = arena_strdup(a, path), *slash;

        while (access(copy, F_OK) < 0 && (slash = strrchr(copy, '/')) && slash > copy)
                *slash = '\0';
        return access(copy, F_OK) == 0 ? copy : "/";
}

static void check_space(struct doctor *d) {
        struct statvfs v;
        uint64_t bytes;

        if (statvfs(existing(d->arena, d->root), &v) < 0)
                return;
        bytes = (uint64_t) v.f_bavail * v.f_frsize;
        doctor_add(
                d,
                bytes < 512ULL << 20 ? DOCTOR_FAIL
                : bytes < 2ULL << 30 ? DOCTOR_WARN
                                     : DOCTOR_OK,
                "free space",
                "images are kept there: make room (\"image rm -a\" removes those not in use), or put --root elsewhere",
                "%s in %s", format_bytes(d->arena, bytes), d->root);
        if (v.f_files)
                doctor_add(d,
                           v.f_favail < 20000    ? DOCTOR_FAIL
                           : v.f_favail < 200000 ? DOCTOR_WARN
                                                 : DOCTOR_OK,
                           "free inodes", "images have many small files: use a file system with more inodes for --root",
                           "%llu in %s", (unsigned long long) v.f_favail, d->root);
}

static void check_folders(struct doctor *d) {
        struct statfs s;
        bool tmpfs;

        check_space(d);
        if (statfs(existing(d->arena, d->state), &s) < 0)
                return;
        tmpfs = (unsigned long) s.f_type == TMPFS_MAGIC;
        doctor_add(d, tmpfs ? DOCTOR_OK : DOCTOR_WARN, "state folder",
                   "it should be on a tmpfs, so that a reboot empties it and writes cost nothing", "%s%s", d->state,
                   tmpfs ? "" : " is on a disk");
}

void doctor_check_host(struct doctor *d) {
        check_own(d, "keeper", d->keeper_path);
        check_own(d, "init", d->init_path);
        check_program(d, "lxc-ls", DOCTOR_WARN, "\"proxmox-lxcri lxc ...\" needs it: \"apt install lxc\"");
        check_program(d, "crun", DOCTOR_WARN, "runtime handlers with the engine crun need it: \"apt install crun\"");
        check_folders(d);
}

/* --- network ----------------------------------------------------------------------------------------------------- */

static void check_plugins(struct doctor *d) {
        static const char *const plugins[] = { "loopback", "bridge", "host-local", "portmap" };
        const char *missing = "";

        for (size_t i = 0; i < ELEMENTSOF(plugins); i++) {
                bool has = false;

                for (const char *const *dir = d->cni_bin_dirs; *dir; dir++)
                        has = has || access(arena_printf(d->arena, "%s/%s", *dir, plugins[i]), X_OK) == 0;
                if (!has)
                        missing = arena_printf(d->arena, "%s%s%s", missing, *missing ? ", " : "", plugins[i]);
        }
        if (*missing)
                doctor_add(d, DOCTOR_WARN, "CNI plug-ins",
                           "pods with networks of these types can't run: \"apt install containernetworking-plugins\"",
                           "missing: %s", missing);
        else
                doctor_add(d, DOCTOR_OK, "CNI plug-ins", NULL, "installed");
}

static void check_cni_conf(struct doctor *d) {
        _cleanup_(closedirp) DIR *dir = opendir(d->cni_conf_dir);
        const char *first = NULL;
        struct dirent *e;

        while (dir && (e = readdir(dir)))
                if ((str_ends_with(e->d_name, ".conf") || str_ends_with(e->d_name, ".conflist") ||
                     str_ends_with(e->d_name, ".json")) &&
                    (!first || strcmp(e->d_name, first) < 0))
                        first = arena_strdup(d->arena, e->d_name);
        if (first)
                doctor_add(d, DOCTOR_OK, "CNI configuration", NULL, "%s/%s", d->cni_conf_dir, first);
        else
                doctor_add(d, DOCTOR_WARN, "CNI configuration",
                           "only pods on the host's network can run until there is one; network add-ons of Kubernetes "
                           "put theirs there",
                           "none in %s", d->cni_conf_dir);
}

static void check_switch(struct doctor *d, const char *name, const char *path, const char *off, const char *missing) {
        _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        char value = '0';

        if (fd < 0)
                doctor_add(d, DOCTOR_WARN, name, missing, "missing");
        else if (read(fd, &value, 1) == 1 && value != '0')
                doctor_add(d, DOCTOR_OK, name, NULL, "on");
        else
                doctor_add(d, DOCTOR_WARN, name, off, "off");
}

void doctor_check_network(struct doctor *d) {
        check_program(d, "iptables", DOCTOR_WARN,
                      "the plug-ins for ports and masquerading need it: \"apt install iptables\"");
        check_plugins(d);
        check_cni_conf(d);
        check_switch(d, "IPv4 forwarding", "/proc/sys/net/ipv4/ip_forward",
                     "pods can't reach other hosts: \"sysctl -w net.ipv4.ip_forward=1\" (and a file in /etc/sysctl.d)",
                     "this kernel has no IPv4");
        check_switch(
                d, "bridge filter", "/proc/sys/net/bridge/bridge-nf-call-iptables",
                "Kubernetes services are missed by bridged pods: \"sysctl -w net.bridge.bridge-nf-call-iptables=1\"",
                "Kubernetes services need it: \"modprobe br_netfilter\", then bridge-nf-call-iptables=1");
}
