/* SPDX-License-Identifier: Apache-2.0 */
/* plan-newfs - file systems that are made on the host's side: overlay, those of block devices, network ones. mount(2)
 * takes all options as one text, of any length up to a page (fsconfig(2) takes 255 bytes for one), but needs a place:
 * that is in a mount namespace which exists for no longer. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "init/sys.h"
#include "runtime/lxc/plan-writer.h"

/* A folder that every host has and no option names. */
#define PLACE "/proc"

struct newfs {
        const char *type, *source, *data;
        unsigned long flags;
        int fd, sys_errno;
};

/* Private: the clone of a slave's child would be one, too. */
static void *mount_aside(void *arg) {
        struct newfs *n = arg;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount(n->source, PLACE, n->type, n->flags, str_empty(n->data) ? NULL : n->data) < 0)
                n->sys_errno = errno;
        else {
                n->fd = sys_open_tree(AT_FDCWD, PLACE, SYS_OPEN_TREE_CLONE | SYS_OPEN_TREE_CLOEXEC);
                n->sys_errno = n->fd < 0 ? errno : 0;
        }
        return NULL;
}

int plan_mount_on_host(const struct spec_mount *m, const char *source, const char *data, struct err *err) {
        struct newfs n = { .type = m->type,
                           .source = source,
                           .data = data,
                           .flags = m->flags & ~(unsigned long) (MS_REC | MS_BIND),
                           .fd = -1 };
        struct sys_mount_attr tree = { .set = m->recursive_set,
                                       .clear = m->recursive_clear,
                                       .propagation = m->propagation & ~(unsigned long) MS_REC };
        _cleanup_(fd_closep) int fd = -1;
        pthread_t thread;
        int r = pthread_create(&thread, NULL, mount_aside, &n);

        if (r != 0)
                return err_sys(err, r, "start a thread to mount %s for %s", m->type, m->destination);
        (void) pthread_join(thread, NULL);
        fd = n.fd;
        if (fd < 0)
                return err_set(err, ERR_INVALID, "mount %s (%s) on %s: %s", source, m->type, m->destination,
                               strerror(n.sys_errno));
        if ((tree.set || tree.clear || tree.propagation) && sys_mount_setattr(fd, SYS_AT_RECURSIVE, &tree) < 0)
                return err_sys(err, errno, "set attributes of the mount on %s", m->destination);
        return TAKE_FD(fd);
}
