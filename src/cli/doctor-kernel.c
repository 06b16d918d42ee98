/* SPDX-License-Identifier: Apache-2.0 */
/* doctor-kernel - what the kernel has. */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "cli/doctor.h"
#include "runtime/cgroup/cgroup.h"
#include "security/apparmor.h"
#include "security/selinux.h"

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* The first bytes of a small file, without the last newline. */
static bool read_small(const char *path, char *out, size_t size) {
        _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

        if (n < 0)
                return false;
        while (n > 0 && out[n - 1] == '\n')
                n--;
        out[n] = '\0';
        return true;
}

static void check_version(struct doctor *d) {
        struct utsname u;
        unsigned long major, minor = 0;
        char *end;

        if (uname(&u) < 0)
                return;
        major = strtoul(u.release, &end, 10);
        if (*end == '.')
                minor = strtoul(end + 1, NULL, 10);
        if (major < 5 || (major == 5 && minor < 12))
                doctor_add(d, DOCTOR_FAIL, "kernel",
                           "5.12 or later is needed (mount_setattr, idmapped mounts): upgrade the kernel", "%s",
                           u.release);
        else if (major == 5 && minor < 14)
                doctor_add(d, DOCTOR_WARN, "kernel",
                           "5.14 or later kills control groups at once (cgroup.kill); this one is slower", "%s",
                           u.release);
        else
                doctor_add(d, DOCTOR_OK, "kernel", NULL, "%s", u.release);
}

static void check_overlay(struct doctor *d) {
        char text[16384];
        bool has = read_small("/proc/filesystems", text, sizeof(text)) && strstr(text, "\toverlay\n");

        /* It is the file's last line as well, when the module came last. */
        has = has || str_ends_with(text, "\toverlay");
        if (has)
                doctor_add(d, DOCTOR_OK, "overlay", NULL, "available");
        else
                doctor_add(d, DOCTOR_WARN, "overlay",
                           "load it: \"modprobe overlay\", and for the next boot: \"echo overlay > "
                           "/etc/modules-load.d/overlay.conf\"",
                           "not in /proc/filesystems: images that are not there yet will be kept in another way "
                           "(snapshotter in the configuration), which takes longer or more room");
}

/* Calls with arguments that can't do anything: only "no such call" counts. */
static void check_calls(struct doctor *d) {
        long fd = syscall(SYS_pidfd_open, getpid(), 0);
        bool pidfd = fd >= 0 && !(syscall(SYS_pidfd_getfd, -1, 0, 0) < 0 && errno == ENOSYS);
        bool setattr = !(syscall(SYS_mount_setattr, -1, "", 0, NULL, 0) < 0 && errno == ENOSYS);

        if (fd >= 0)
                (void) close((int) fd);
        doctor_add(d, pidfd ? DOCTOR_OK : DOCTOR_FAIL, "pidfd", "a kernel from 5.6 on is needed",
                   pidfd ? "available" : "missing");
        doctor_add(d, setattr ? DOCTOR_OK : DOCTOR_FAIL, "mount_setattr", "a kernel from 5.12 on is needed",
                   setattr ? "available" : "missing");
}

/* Of no account where it is off: few hosts have it. */
static void check_selinux(struct doctor *d) {
        _cleanup_(freep) char *process = NULL, *file = NULL;
        struct err err;

        if (!selinux_enabled())
                return;
        if (selinux_container_labels(&process, &file, &err) == 0)
                doctor_add(d, DOCTOR_OK, "SELinux", NULL, "containers run as %s", process);
        else
                doctor_add(d, DOCTOR_WARN, "SELinux", "containers run without labels of their own until then", "%s",
                           err.msg);
}

static void check_security(struct doctor *d) {
        char text[4096];

        if (read_small("/proc/sys/kernel/seccomp/actions_avail", text, sizeof(text)))
                doctor_add(d, DOCTOR_OK, "seccomp", NULL, "available");
        else
                doctor_add(d, DOCTOR_FAIL, "seccomp", "a kernel with CONFIG_SECCOMP_FILTER is needed", "missing");
        if (apparmor_enabled())
                doctor_add(d, DOCTOR_OK, "AppArmor", NULL, "enabled");
        else
                doctor_add(d, DOCTOR_WARN, "AppArmor",
                           "containers run without it; to have it, boot with \"lsm=...,apparmor\" (\"apparmor=1 "
                           "security=apparmor\")",
                           "not enabled");
        check_selinux(d);
        if (read_small("/proc/sys/user/max_user_namespaces", text, sizeof(text)) && !str_eq(text, "0"))
                doctor_add(d, DOCTOR_OK, "user namespaces", NULL, "%s at most", text);
        else
                doctor_add(d, DOCTOR_WARN, "user namespaces",
                           "pods with hostUsers: false can't run; \"sysctl -w user.max_user_namespaces=65536\"", "off");
}

void doctor_check_kernel(struct doctor *d) {
        if (geteuid() != 0)
                doctor_add(d, DOCTOR_WARN, "user", "some checks see less: run this as root", "not root");
        check_version(d);
        check_overlay(d);
        check_calls(d);
        check_security(d);
}

void doctor_check_cgroups(struct doctor *d) {
        static const struct {
                const char *name;
                enum doctor_level level; /* when it is missing */
                const char *advice;
        } needed[] = {
                { "memory", DOCTOR_FAIL, "boot with \"cgroup_enable=memory\"" },
                { "cpu", DOCTOR_FAIL, "a kernel with CONFIG_CGROUP_SCHED is needed, or its hierarchy mounted" },
                { "pids", DOCTOR_FAIL, "a kernel with CONFIG_CGROUP_PIDS is needed, or its hierarchy mounted" },
                { "devices", DOCTOR_FAIL, "a kernel with CONFIG_CGROUP_DEVICE or CONFIG_CGROUP_BPF is needed" },
                { "cpuset", DOCTOR_WARN, "pods can't be bound to processors" },
                { "io", DOCTOR_WARN, "pods can't be given block I/O weights" },
                { "hugetlb", DOCTOR_WARN, "pods can't be given huge pages" },
        };
        _cleanup_(cgroups_freep) struct cgroups *c = NULL;
        struct err err;

        if (cgroups_new(&c, &err) < 0) {
                doctor_add(d, DOCTOR_FAIL, "cgroups", "mount them: \"mount -t cgroup2 none /sys/fs/cgroup\"", "%s",
                           err.msg);
                return;
        }
        doctor_add(d, DOCTOR_OK, "cgroups", NULL, "%s", cgroup_mode_name(cgroups_mode(c)));
        for (size_t i = 0; i < ELEMENTSOF(needed); i++) {
                bool has = cgroups_has(c, needed[i].name);

                doctor_add(d, has ? DOCTOR_OK : needed[i].level, arena_printf(d->arena, "cgroup %s", needed[i].name),
                           needed[i].advice, has ? "available" : "missing");
        }
}
