/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lxc/config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "keeper/protocol.h"

static const char *const clone_names[SPEC_NS_MAX] = { "pid", "net", "ipc", "uts", "mnt", "cgroup", "user", "time" };

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

                if (ns->create || !ns->path)
                        continue;
                fd = open(ns->path, O_RDONLY | O_CLOEXEC);
                if (fd < 0)
                        return err_sys(err, errno, "open the %s namespace %s", clone_names[i], ns->path);
                c->fds[c->n_fds] = fd;
                strbuf_printf(&c->text, "lxc.namespace.share.%s = @%zu@\n", clone_names[i], first_fd + c->n_fds);
                c->n_fds++;
        }
        return 0;
}

/* Init leaves for a cgroup namespace by itself once it is in its cgroup, so that is not liblxc's to clone. */
static void add_cloned(const struct spec *spec, struct lxc_config *c) {
        strbuf_puts(&c->text, "lxc.namespace.clone = mnt");
        for (int i = 0; i < SPEC_NS_MAX; i++)
                if (spec->ns[i].create && i != SPEC_NS_MNT && i != SPEC_NS_CGROUP)
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

int lxc_config_build(const struct spec *spec, size_t first_fd, const char *log_path, const char *rootfs_dir,
                     struct lxc_config *ret, struct err *err) {
        struct lxc_config c = { .text = STRBUF(KEEPER_CONFIG_MAX - 1) };
        int r;

        strbuf_printf(&c.text, "lxc.log.level = ERROR\nlxc.log.file = %s\n", log_path);
        strbuf_printf(&c.text, "lxc.rootfs.path = dir:%s\nlxc.rootfs.managed = 0\n", rootfs_dir);
        /* Always said: without it, and without a shared namespace, liblxc would make one or stay in the monitor's. */
        strbuf_puts(&c.text, "lxc.net.0.type = empty\n");
        r = add_shared(spec, first_fd, &c, err);
        if (r < 0) {
                lxc_config_done(&c);
                return r;
        }
        add_cloned(spec, &c);
        if (SPEC_HAS_USER_NS(spec))
                add_user(spec, &c);
        if (spec->ns[SPEC_NS_UTS].create)
                strbuf_printf(&c.text, "lxc.uts.name = %.63s\n", spec->id);
        strbuf_puts(&c.text, "lxc.mount.entry = proc proc proc nosuid,nodev,noexec 0 0\n"
                             "lxc.mount.entry = sysfs sys sysfs nosuid,nodev,noexec 0 0\n"
                             "lxc.autodev = 0\nlxc.tty.max = 0\nlxc.pty.max = 0\nlxc.console.path = none\n"
                             "lxc.apparmor.profile = unconfined\n"
                             /* 5.0's meaning is the reverse of its manual page's: 1 makes no keyring. */
                             "lxc.keyring.session = 1\n");
        if (needs_reboot_guard(spec))
                strbuf_puts(&c.text, "lxc.hook.post-stop = /bin/false\n");
        if (c.text.overflow) {
                lxc_config_done(&c);
                return err_set(err, ERR_EXHAUSTED, "the container's configuration for liblxc is too long");
        }
        *ret = c;
        return 0;
}
