/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lxc/config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "keeper/protocol.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static const char *const clone_names[SPEC_NS_MAX] = { "pid", "net", "ipc", "uts", "mnt", "cgroup", "user", "time" };
static const int clone_flags[SPEC_NS_MAX] = { CLONE_NEWPID, CLONE_NEWNET,    CLONE_NEWIPC,  CLONE_NEWUTS,
                                              CLONE_NEWNS,  CLONE_NEWCGROUP, CLONE_NEWUSER, CLONE_NEWTIME };

void lxc_config_done(struct lxc_config *c) {
        strbuf_done(&c->text);
        for (size_t i = 0; i < c->n_fds; i++)
                (void) fd_close(c->fds[i]);
        c->n_fds = 0;
}

static int add_shared(const struct spec *spec, size_t first_fd, struct lxc_config *c, struct err *err) {
        for (int i = 0; i < SPEC_NS_MAX; i++) {
                const struct spec_namespace *ns = &spec->ns[i];
                int fd;

                /* liblxc joins in a process that shares its memory, which the kernel forbids for that of time: init's.
                 */
                if (ns->create || !ns->path || i == SPEC_NS_TIME)
                        continue;
                fd = open(ns->path, O_RDONLY | O_CLOEXEC);
                if (fd < 0)
                        return err_sys(err, errno, "open the %s namespace %s", clone_names[i], ns->path);
                if (ioctl(fd, NS_GET_NSTYPE) != clone_flags[i]) {
                        (void) fd_close(fd);
                        return err_set(err, ERR_INVALID, "%s is not a namespace of type %s", ns->path, clone_names[i]);
                }
                c->fds[c->n_fds] = fd;
                strbuf_printf(&c->text, "lxc.namespace.share.%s = @%zu@\n", clone_names[i], first_fd + c->n_fds);
                c->n_fds++;
        }
        return 0;
}

/* Init leaves for a cgroup namespace by itself once it is in its cgroup, so that is not liblxc's to clone. Nor is that
 * of time, of whose offsets liblxc 5.0 keeps only the seconds. */
static void add_cloned(const struct spec *spec, struct lxc_config *c) {
        strbuf_puts(&c->text, "lxc.namespace.clone = mnt");
        for (int i = 0; i < SPEC_NS_MAX; i++)
                if (spec->ns[i].create && i != SPEC_NS_MNT && i != SPEC_NS_CGROUP && i != SPEC_NS_TIME)
                        strbuf_printf(&c->text, " %s", clone_names[i]);
        strbuf_putc(&c->text, '\n');
}

/* liblxc must know the ids of a namespace that it joins, too. */
static void add_user(const struct spec *spec, struct lxc_config *c) {
        const struct id_maps *ids = &spec->user_ids;

        for (size_t i = 0; i < ids->n_uids; i++)
                strbuf_printf(&c->text, "lxc.idmap = u %u %u %u\n", ids->uids[i].inside, ids->uids[i].outside,
                              ids->uids[i].length);
        for (size_t i = 0; i < ids->n_gids; i++)
                strbuf_printf(&c->text, "lxc.idmap = g %u %u %u\n", ids->gids[i].inside, ids->gids[i].outside,
                              ids->gids[i].length);
}

/* An init that dies of SIGHUP makes liblxc run it again ("reboot"), unless a post-stop hook fails. It costs a fork at
 * stop, so only where that signal can come from: a PID namespace that is not the container's own, or the right to call
 * reboot(2). */
static bool needs_reboot_guard(const struct spec *spec) {
        return !spec->ns[SPEC_NS_PID].create || spec->process.caps.bounding & 1ull << CAP_SYS_BOOT;
}

/* --- what is mounted before the root is pivoted --------------------------------------------------------------------
 */

bool lxc_mount_is_on(const struct spec_mount *m, const char *path) {
        const char *at = m->destination;
        size_t n = strlen(path) - 1;

        at += strspn(at, "/");
        if (strncmp(at, path + 1, n) != 0)
                return false;
        return at[n + strspn(at + n, "/")] == '\0';
}

/* Is the first mount there a new file system of @type? */
static bool lists(const struct spec *spec, const char *path, const char *type) {
        for (size_t i = 0; i < spec->n_mounts; i++) {
                const struct spec_mount *m = &spec->mounts[i];

                if (lxc_mount_is_on(m, path))
                        return m->source_fd < 0 && !(m->flags & MS_BIND) && str_eq(m->type, type);
        }
        return false;
}

/* liblxc starts init by its /proc/self/fd. A user namespace can't mount the procfs of a PID namespace of the host's. */
enum lxc_mounted lxc_mounted_proc(const struct spec *spec) {
        if (lists(spec, "/proc", "proc"))
                return LXC_MOUNTED_NEW;
        return SPEC_HAS_USER_NS(spec) && !spec->ns[SPEC_NS_PID].create ? LXC_MOUNTED_BOUND : LXC_MOUNTED_ONLY;
}

enum lxc_mounted lxc_mounted_sys(const struct spec *spec) {
        return lists(spec, "/sys", "sysfs") && lxc_may_mount_sys(spec) ? LXC_MOUNTED_NEW : LXC_MOUNTED_NOT;
}

/* Does the user namespace behind one path own the network namespace behind the other? */
static bool owns(const char *user, const char *net) {
        _cleanup_(fd_closep) int fd = open(net, O_RDONLY | O_CLOEXEC), owner = -1;
        struct stat a, b;

        owner = fd < 0 ? -1 : ioctl(fd, NS_GET_USERNS);
        return owner >= 0 && fstat(owner, &a) == 0 && stat(user, &b) == 0 && a.st_dev == b.st_dev &&
               a.st_ino == b.st_ino;
}

bool lxc_may_mount_sys(const struct spec *spec) {
        const struct spec_namespace *user = &spec->ns[SPEC_NS_USER], *net = &spec->ns[SPEC_NS_NET];

        if (!SPEC_HAS_USER_NS(spec) || net->create)
                return true;
        return user->path && net->path && owns(user->path, net->path);
}

static void add_mounts(const struct spec *spec, struct lxc_config *c) {
        static const char proc[] = "lxc.mount.entry = proc proc proc nosuid,nodev,noexec 0 0\n",
                          bound_proc[] = "lxc.mount.entry = /proc proc none rbind 0 0\n",
                          sys[] = "lxc.mount.entry = sysfs sys sysfs nosuid,nodev,noexec 0 0\n";

        strbuf_puts(&c->text, lxc_mounted_proc(spec) == LXC_MOUNTED_BOUND ? bound_proc : proc);
        if (lxc_mounted_sys(spec) == LXC_MOUNTED_NEW)
                strbuf_puts(&c->text, sys);
}

/* --- all of it -----------------------------------------------------------------------------------------------------
 */

int lxc_config_build(const struct spec *spec, size_t first_fd, const char *log_path, const char *rootfs_dir,
                     struct lxc_config *ret, struct err *err) {
        struct lxc_config c = { .text = STRBUF(KEEPER_CONFIG_MAX - 1) };
        int r;

        strbuf_printf(&c.text, "lxc.log.level = ERROR\nlxc.log.file = %s\n", log_path);
        strbuf_printf(&c.text, "lxc.rootfs.path = dir:%s\nlxc.rootfs.managed = 0\n", rootfs_dir);
        /* Always said: without it, and without a shared namespace, liblxc would make one or stay in the monitor's. */
        strbuf_puts(&c.text, "lxc.net.0.type = empty\n");
        if (spec->ns[SPEC_NS_NET].create)
                strbuf_puts(&c.text, "lxc.net.0.flags = up\n"); /* its loopback, as runc does */
        r = add_shared(spec, first_fd, &c, err);
        if (r < 0) {
                lxc_config_done(&c);
                return r;
        }
        add_cloned(spec, &c);
        if (SPEC_HAS_USER_NS(spec))
                add_user(spec, &c);
        if (spec->ns[SPEC_NS_UTS].create && !spec->hostname && !spec->is_bundle) /* else it is init's */
                strbuf_printf(&c.text, "lxc.uts.name = %.63s\n", spec->id);
        add_mounts(spec, &c);
        strbuf_puts(&c.text, "lxc.autodev = 0\nlxc.tty.max = 0\nlxc.pty.max = 0\nlxc.console.path = none\n"
                             "lxc.apparmor.profile = unconfined\n"
                             /* 5.0's meaning is the reverse of its manual page's: 1 makes no keyring. */
                             "lxc.keyring.session = 1\n");
        if (spec->outlives_parent)
                strbuf_puts(&c.text, "lxc.monitor.signal.pdeath = 0\n");
        if (needs_reboot_guard(spec))
                strbuf_puts(&c.text, "lxc.hook.post-stop = /bin/false\n");
        if (c.text.overflow) {
                lxc_config_done(&c);
                return err_set(err, ERR_EXHAUSTED, "the container's configuration for liblxc is too long");
        }
        *ret = c;
        return 0;
}
