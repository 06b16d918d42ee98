/* SPDX-License-Identifier: Apache-2.0 */
/* netns - see net.h. unshare(2) in a thread that ends right away, or in a child where a user namespace must come first;
 * a namespace lives on by the bind mount of its /proc file. Where the folder's mount is shared, mounts and unmounts
 * propagate to its peers alike. */
#include "net/net.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "base/thread.h"
#include "net/sysctl.h"
#include "net/userns.h"

enum { STACK_BYTES = 128 * 1024, SYSCTLS_MAX = 256, HOSTNAME_MAX = 64 };

static const struct {
        const char *name;
        int flag;
} kinds[] = { { "net", CLONE_NEWNET }, { "ipc", CLONE_NEWIPC }, { "uts", CLONE_NEWUTS }, { "user", CLONE_NEWUSER } };

struct job {
        const struct netns_args *args;
        int flags;
        int process; /* pidfd of whose they are; -1: new ones */
        int made;    /* flags of the kinds whose file is ours, for the undoing */
        int r;
        struct err *err;
};

static int loopback_up(struct err *err) {
        _cleanup_(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq req = { .ifr_name = "lo" };

        if (fd < 0)
                return err_sys(err, errno, "open a socket in the new network namespace");
        if (ioctl(fd, SIOCGIFFLAGS, &req) < 0)
                return err_sys(err, errno, "look at lo");
        req.ifr_flags |= IFF_UP;
        return ioctl(fd, SIOCSIFFLAGS, &req) < 0 ? err_sys(err, errno, "bring lo up") : 0;
}

static int write_sysctls(const struct netns_args *args, struct err *err) {
        char path[SYSCTL_PATH_MAX];
        int r;

        for (const char *const *s = args->sysctls; s && *s; s += 2) {
                r = sysctl_path(s[0], args->net, args->ipc, path, err);
                if (r == 0)
                        r = sysctl_write(path, s[1], err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int ns_file(const char *dir, const char *name, char ret[PATH_MAX], struct err *err) {
        int n = snprintf(ret, PATH_MAX, "%s/%s", dir, name);
        return n < 0 || n >= PATH_MAX ? err_sys(err, ENAMETOOLONG, "name the namespace file in %s", dir) : 0;
}

/* The namespaces of @task (in /proc) onto fresh files. */
static int bind_all(struct job *j, const char *task, struct err *err) {
        char path[PATH_MAX], source[64];
        int r, fd;

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                if (!(j->flags & kinds[i].flag))
                        continue;
                r = ns_file(j->args->dir, kinds[i].name, path, err);
                if (r < 0)
                        return r;
                fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
                if (fd < 0 && errno == EEXIST)
                        return err_set(err, ERR_EXISTS, "namespace file %s exists", path);
                if (fd < 0)
                        return err_sys(err, errno, "create %s", path);
                (void) close(fd);
                j->made |= kinds[i].flag;
                (void) snprintf(source, sizeof(source), "/proc/%s/ns/%s", task, kinds[i].name);
                if (mount(source, path, NULL, MS_BIND, NULL) < 0)
                        return err_sys(err, errno, "bind %s to %s", source, path);
        }
        return 0;
}

/* Also in the child of a user namespace: async-signal-safe. */
static int make_all(void *arg, struct err *err) {
        struct job *j = arg;
        const struct netns_args *a = j->args;
        int r = 0;

        if (j->process < 0 && unshare(j->flags & ~CLONE_NEWUSER) < 0)
                r = err_sys(err, errno, "make namespaces");
        if (r == 0 && a->uts && a->hostname && sethostname(a->hostname, strlen(a->hostname)) < 0)
                r = err_sys(err, errno, "set the host name \"%s\"", a->hostname);
        if (r == 0 && a->net)
                r = loopback_up(err);
        return r < 0 ? r : write_sysctls(a, err);
}

static void *run(void *arg) {
        struct job *j = arg;

        j->r = make_all(j, j->err);
        if (j->r == 0)
                j->r = bind_all(j, "thread-self", j->err);
        return NULL;
}

static int run_in_child(struct job *j, struct err *err) {
        struct userns_child child;
        char task[16];
        int r = userns_start(j->args->user, make_all, j, &child, err);

        if (r < 0)
                return r;
        (void) snprintf(task, sizeof(task), "%d", (int) child.pid);
        r = bind_all(j, task, err);
        userns_end(&child);
        return r;
}

/* No signal of the process may be handled in the pod's namespaces, so the thread is born with all blocked. */
static int run_in_thread(struct job *j, struct err *err) {
        pthread_t t;
        int r = thread_start(STACK_BYTES, run, j, &t);

        if (r != 0)
                return err_sys(err, r, "start a thread");
        (void) pthread_join(t, NULL);
        return j->r;
}

static int remove_file(const char *dir, const char *name, struct err *err) {
        char path[PATH_MAX];
        int r = ns_file(dir, name, path, err);

        if (r < 0)
                return r;
        /* Possibly stacked; EINVAL: no mount (left). */
        while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                ;
        if (errno != EINVAL && errno != ENOENT && errno != ENOTDIR)
                return err_sys(err, errno, "unmount %s", path);
        if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
                return err_sys(err, errno, "remove %s", path);
        return 0;
}

static void undo(const struct job *j, bool made_dir) {
        struct err ignored;

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if ((j->made & kinds[i].flag) && remove_file(j->args->dir, kinds[i].name, &ignored) < 0)
                        continue;
        if (made_dir)
                (void) rmdir(j->args->dir);
}

static int check_args(const struct netns_args *a, struct err *err) {
        char path[SYSCTL_PATH_MAX];
        size_t n = 0;
        int r;

        if (a->hostname) {
                size_t len = strnlen(a->hostname, HOSTNAME_MAX + 1);

                if (len == 0 || len > HOSTNAME_MAX)
                        return err_set(err, ERR_INVALID, "the host name has 1 to %d bytes", HOSTNAME_MAX);
                for (const char *p = a->hostname; *p; p++)
                        if (!isalnum((unsigned char) *p) && !strchr("-._", *p))
                                return err_set(err, ERR_INVALID, "\"%s\" is not a host name", a->hostname);
        }
        for (const char *const *s = a->sysctls; s && *s; s += 2) {
                if (++n > SYSCTLS_MAX)
                        return err_set(err, ERR_INVALID, "more than %d sysctls", SYSCTLS_MAX);
                assert(s[1]);
                r = sysctl_path(s[0], a->net, a->ipc, path, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Bound after they were set up, and only theirs if the process still lives then. */
static int run_for_process(struct job *j, pid_t pid, struct err *err) {
        char task[16];
        int r = userns_enter(j->process, j->flags, make_all, j, err);

        (void) snprintf(task, sizeof(task), "%d", (int) pid);
        if (r == 0)
                r = bind_all(j, task, err);
        return proc_wait_gone(j->process, 0) ? err_set(err, ERR_PRECONDITION, "process %d has ended", pid) : r;
}

static int make(const struct netns_args *args, pid_t pid, int process, struct err *err) {
        struct job j = { .args = args, .process = process, .err = err };
        bool made_dir;
        int r;

        j.flags = (args->net ? CLONE_NEWNET : 0) | (args->ipc ? CLONE_NEWIPC : 0) | (args->uts ? CLONE_NEWUTS : 0) |
                  (args->user ? CLONE_NEWUSER : 0);
        r = check_args(args, err);
        if (r < 0 || j.flags == 0)
                return r;
        made_dir = access(args->dir, F_OK) < 0;
        r = fs_mkdir_p(args->dir, 0711, err);
        if (r == 0 && process >= 0)
                r = run_for_process(&j, pid, err);
        else if (r == 0)
                r = args->user ? run_in_child(&j, err) : run_in_thread(&j, err);
        if (r < 0)
                undo(&j, made_dir);
        return r;
}

int netns_create(const struct netns_args *args, struct err *err) {
        return make(args, 0, -1, err);
}

int netns_adopt(const struct netns_args *args, pid_t pid, uint64_t start_time, struct err *err) {
        _cleanup_(fd_closep) int process = proc_open(pid, start_time);

        return process < 0 ? err_set(err, ERR_PRECONDITION, "process %d has ended", pid)
                           : make(args, pid, process, err);
}

int netns_remove(const char *dir, struct err *err) {
        int r, first = 0;

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                struct err e;

                r = remove_file(dir, kinds[i].name, &e);
                if (r < 0 && first == 0) {
                        first = r;
                        *err = e;
                }
        }
        if (first < 0)
                return first;
        /* Not empty: others keep files here, the folder is theirs too. */
        if (rmdir(dir) < 0 && errno != ENOENT && errno != ENOTDIR && errno != ENOTEMPTY && errno != EEXIST)
                return err_sys(err, errno, "remove folder %s", dir);
        return 0;
}
