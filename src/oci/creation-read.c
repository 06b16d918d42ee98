/* SPDX-License-Identifier: Apache-2.0 */
/* creation-read - the bundle, and what of the caller's own process goes into the container. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "oci/creation.h"
#include "oci/inherited.h"
#include "oci/notify.h"
#include "oci/seccomp.h"
#include "oci/terminal-proxy.h"
#include "oci/user-ids.h"
#include "security/apparmor.h"
#include "security/selinux.h"

int creation_read_bundle(struct creation *c, const char **ret_text, size_t *ret_len, struct err *err) {
        const char *given = c->args->bundle ?: ".";
        _cleanup_(freep) char *bundle = realpath(given, NULL), *text = NULL;
        const char *path;
        struct stat st;
        int r;

        if (!bundle)
                return err_sys(err, errno, "find the bundle %s", given);
        c->config.bundle = arena_strdup(c->oci->arena, bundle);
        path = c->args->config && *c->args->config == '/'
                       ? c->args->config
                       : arena_printf(c->oci->arena, "%s/%s", bundle, c->args->config ?: "config.json");
        /* To open a pipe would take until somebody writes to it. Who names a file may name one. */
        if (!c->args->config && stat(path, &st) == 0 && !S_ISREG(st.st_mode))
                return err_set(err, ERR_INVALID, "%s is no file", path);
        r = fs_read_file(AT_FDCWD, path, OCI_CONFIG_MAX_BYTES, &text, ret_len, err);
        if (r < 0 && err->sys_errno == ENOENT)
                return err_set(err, ERR_INVALID, "JSON specification file %s not found: no such file or directory",
                               path);
        if (r < 0)
                return r;
        *ret_text = arena_memdup(c->oci->arena, text, *ret_len + 1);
        return 0;
}

/* Namespaces that the bundle does not ask for are the caller's. The launcher leaves the network one of them, so that
 * has to be named. */
static int settle_namespaces(struct spec *spec, struct err *err) {
        struct spec_namespace *net = &spec->ns[SPEC_NS_NET], *mnt = &spec->ns[SPEC_NS_MNT];

        if (!mnt->create)
                return err_set(err, ERR_INVALID,
                               mnt->path ? "linux.namespaces: a mount namespace can't be joined: it is made for "
                                           "each container"
                                         : "linux.namespaces: a mount namespace is needed");
        if (!net->create && !net->path)
                net->path = "/proc/self/ns/net";
        return 0;
}

/* Who asks for what this host has not counts on it: it is never left out. The kernel would say no more than EINVAL. */
static int check_host(const struct creation *c, struct spec *spec, struct err *err) {
        struct spec_process *p = &spec->process;
        const char *root;

        if (p->selinux_label && !selinux_enabled())
                return err_set(err, ERR_INVALID,
                               "process.selinuxLabel: selinux label is specified in config, but selinux is disabled or "
                               "not supported");
        if (spec->mount_label && !selinux_enabled())
                return err_set(err, ERR_INVALID, "linux.mountLabel: selinux is disabled or not supported");
        if (p->apparmor_profile && !apparmor_enabled()) {
                if (!str_eq(p->apparmor_profile, "unconfined"))
                        return err_set(err, ERR_INVALID,
                                       "process.apparmorProfile: apparmor is specified in config, but this host has "
                                       "none");
                p->apparmor_profile = NULL; /* so is everything here */
        }
        return c->config.intel_rdt ? intel_rdt_find(c->oci->arena, &root, err) : 0;
}

static void fill(struct creation *c) {
        struct spec *spec = &c->config.spec;

        spec->id = c->args->id;
        spec->rootfs_mount_fd = -1;
        spec->outlives_parent = true;
        spec->default_devices = true;
        spec->session_keyring = !c->args->no_new_keyring;
        c->state.own_keyring = spec->session_keyring;
        c->state.bundle = c->config.bundle;
        c->state.rootfs = c->config.root_path;
        c->state.oci_version = c->config.oci_version;
        c->state.annotations = spec->annotations;
        c->state.n_annotations = spec->n_annotations;
        c->state.own_pid_ns = spec->ns[SPEC_NS_PID].create;
}

int creation_take_config(struct creation *c, const char *text, size_t len, struct err *err) {
        int r = oci_config_parse(text, len, c->config.bundle, c->oci->arena, &c->config, err);

        if (r < 0)
                return r;
        for (const char *const *w = c->config.warnings; w && *w; w++)
                c->oci->warn(*w, c->oci->userdata);
        r = user_ids_settle(&c->config.spec, c->oci->arena, err);
        if (r == 0)
                r = check_host(c, &c->config.spec, err);
        if (r == 0)
                r = settle_namespaces(&c->config.spec, err);
        if (r == 0)
                r = oci_seccomp_load(c->oci, &c->config, &c->config.spec.process, err);
        if (r == 0)
                r = notify_add(&c->dir, c->oci->arena, &c->config.spec, err);
        if (r == 0)
                r = inherited_add(c->args->preserve_fds, true, c->oci->arena, &c->config.spec.process, err);
        if (r < 0)
                return r;
        if (c->config.spec.process.terminal && !c->detached && !c->args->console_socket)
                terminal_proxy_size(&c->config.spec.process.rows, &c->config.spec.process.columns);
        fill(c);
        return oci_dir_write_config(&c->dir, text, len, err);
}

int creation_read(struct creation *c, struct err *err) {
        const char *text;
        size_t len;
        int r = creation_read_bundle(c, &text, &len, err);

        return r < 0 ? r : creation_take_config(c, text, len, err);
}
