/* SPDX-License-Identifier: Apache-2.0 */
/* As test-init.c: what the container sees of files. Root only. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/proc.h"
#include "init/test-fixture.h"

static void test_mounts(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("cat /a/b/file /etc/conf /run/secrets/file /made/sub/file; "
                                                          "touch /ro/x; touch /a/b/y; echo $?; grep ' /a' /proc/mounts;"
                                                          "ls -ld /exact; touch /late/x");

        assert(mkdir(box_path(&f->box, "vol"), 0755) == 0 && mkdir(box_path(&f->box, "root/run"), 0755) == 0);
        assert(mkdir(box_path(&f->box, "root/var"), 0755) == 0 &&
               symlink("/run", box_path(&f->box, "root/var/run")) == 0);
        assert(symlink("deeper/../made", box_path(&f->box, "root/dangling")) == 0 &&
               mkdir(box_path(&f->box, "root/deeper"), 0755) == 0);
        box_write(&f->box, "vol/file", "volume\n");
        (void) add_mount(f, "tmpfs", "tmpfs", "/a");
        (void) add_mount(f, "bind", box_path(&f->box, "vol"), "/a/b");
        (void) add_mount(f, "bind", box_path(&f->box, "vol/file"), "/etc/conf");
        (void) add_mount(f, "bind", box_path(&f->box, "vol"), "/var/run/secrets");
        (void) add_mount(f, "bind", box_path(&f->box, "vol"), "/dangling/sub");
        add_mount(f, "bind", box_path(&f->box, "vol"), "ro")->flags = MS_RDONLY | MS_NODEV;
        add_mount(f, "tmpfs", "tmpfs", "/exact")->data = "mode=1770,uid=7,gid=8";
        add_mount(f, "tmpfs", "tmpfs", "/late")->flags = MS_RDONLY;
        (void) add_mount(f, "bind", box_path(&f->box, "vol"), "/late/in");
        assert(run(f) == 1);
        expect(f, "volume\nvolume\nvolume\nvolume\n");
        expect(f, "touch: /ro/x: Read-only file system\n0\n");
        expect(f, "drwxrwx--T    2 7        8");
        expect(f, "touch: /late/x: Read-only file system\n");
        assert(access(box_path(&f->box, "vol/y"), F_OK) == 0 &&
               access(box_path(&f->box, "root/run/secrets"), F_OK) == 0);
        assert(access(box_path(&f->box, "root/made/sub"), F_OK) == 0);
}

/* procfs' own links are no way out either: with the host's PID namespace /proc/1 is the host's init. */
static void test_magic_link(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("true");

        assert(symlink("/proc/1/root/tmp", box_path(&f->box, "root/magic")) == 0);
        (void) add_mount(f, "tmpfs", "tmpfs", "/magic/x");
        expect_error(f, "mount on /magic/x: ");
        assert(access(box_path(&f->box, "root/tmp/x"), F_OK) < 0);
}

/* A volume must not cover a part of procfs because an image's link says so. */
static void test_link_into_proc(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("true");

        assert(symlink("proc/sys", box_path(&f->box, "root/data")) == 0);
        (void) add_mount(f, "tmpfs", "tmpfs", "/data");
        expect_error(f, "mount on /data: a symlink leads into the proc file system");
}

/* An image's link that leads out of it. */
static void test_evil_link(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("cat /evil/sub/file");
        char link[600], inside[600];

        assert(mkdir(box_path(&f->box, "vol"), 0755) == 0 && mkdir(box_path(&f->box, "outside"), 0755) == 0);
        box_write(&f->box, "vol/file", "volume\n");
        (void) snprintf(link, sizeof(link), "../../../..%s/outside", f->box.dir);
        (void) snprintf(inside, sizeof(inside), "root%s/outside/sub", f->box.dir);
        assert(symlink(link, box_path(&f->box, "root/evil")) == 0);
        (void) add_mount(f, "bind", box_path(&f->box, "vol"), "/evil/sub");
        assert(run(f) == 0);
        expect(f, "volume\n");
        assert(access(box_path(&f->box, "outside/sub"), F_OK) < 0 && access(box_path(&f->box, inside), F_OK) == 0);
}

static void test_missing_source(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("true");

        (void) add_mount(f, "bind", "/no/such/source", "/a");
        expect_error(f, "mount on /a: source /no/such/source: No such file or directory");
}

static void test_masks(void) {
        static const char *const masked[] = { "/proc/keys", "/sys/firmware", "/no/such", "/masked.sh",
                                              "/proc/scsi", "/bin",          NULL };
        static const char *const readonly[] = { "/proc/sys", "/etc", "/missing", NULL };
        _cleanup_fixture_ struct fixture *f = fixture_new("/masked.sh; cat /proc/keys; ls /sys/firmware; touch /etc/x "
                                                          "/proc/sys/kernel/x; echo >/proc/sys/kernel/hostname;"
                                                          "touch /bin/x; echo $(ls /bin)");
        _cleanup_fixture_ struct fixture *fake = fixture_new("true");

        box_write(&f->box, "root/masked.sh", "#!/bin/sh\necho ran\n");
        assert(chmod(box_path(&f->box, "root/masked.sh"), 0755) == 0);
        assert(mkdir(box_path(&f->box, "root/tools"), 0755) == 0 &&
               symlink("/bin/busybox", box_path(&f->box, "root/tools/sh")) == 0);
        f->spec.masked_paths = masked;
        f->spec.readonly_paths = readonly;
        /* /bin itself becomes empty: what runs must be elsewhere. */
        assert(rename(box_path(&f->box, "root/bin"), box_path(&f->box, "root/tools/bin")) == 0 &&
               mkdir(box_path(&f->box, "root/bin"), 0755) == 0);
        f->args[0] = "/tools/bin/sh";
        f->spec.process.env = (const char *const[]){ "PATH=/tools/bin", NULL };
        assert(run(f) == 0);
        expect(f, "/masked.sh: Permission denied");
        expect(f, "touch: /etc/x: Read-only file system");
        expect(f, "/proc/sys/kernel/hostname: Read-only file system");
        expect(f, "touch: /bin/x: Read-only file system\n\n");

        /* The image's /dev/null is a link to something to be bound over masked files. */
        assert(symlink("/etc/passwd", box_path(&fake->box, "root/dev/null")) == 0);
        fake->mounts[0] = fake->mounts[3];
        fake->spec.n_mounts = 1;
        fake->spec.n_devices = 0;
        fake->spec.masked_paths = masked;
        expect_error(fake, "mask /proc/keys");
}

static void test_devices_refused(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("true");

        box_write(&f->box, "root/dev/null", "not a device");
        f->spec.n_mounts = 0;
        expect_error(f, "make device /dev/null: file exists");
}

static void test_readonly_root(void) {
        _cleanup_fixture_ struct fixture *f =
                fixture_new("touch /x; touch /tmp/x && echo fine; touch /dev/x; touch /rro/x; touch /rro/sub/x");
        struct spec_mount *m;

        assert(mkdir(box_path(&f->box, "vol"), 0755) == 0 && mkdir(box_path(&f->box, "vol/sub"), 0755) == 0);
        assert(mount("tmpfs", box_path(&f->box, "vol/sub"), "tmpfs", 0, NULL) == 0);
        f->spec.readonly_rootfs = true;
        f->mounts[0].flags |= MS_RDONLY;
        (void) add_mount(f, "tmpfs", "tmpfs", "/tmp");
        m = add_mount(f, "bind", box_path(&f->box, "vol"), "/rro");
        m->flags = MS_RDONLY;
        m->recursive_readonly = true;
        assert(run(f) == 1);
        expect(f, "touch: /x: Read-only file system\nfine\ntouch: /dev/x: Read-only file system\n");
        expect(f, "touch: /rro/x: Read-only file system\ntouch: /rro/sub/x: Read-only file system\n");
        assert(umount(box_path(&f->box, "vol/sub")) == 0);
}

static void test_propagation(void) {
        _cleanup_fixture_ struct fixture *f =
                fixture_new("mount -t tmpfs -o size=1m tmpfs /both/in && touch /both/in/x; read line; ls /host/late; "
                            "mount -t tmpfs tmpfs /none; exit 5");
        _cleanup_fixture_ struct fixture *bad = fixture_new("true");

        assert(mkdir(box_path(&f->box, "vol"), 0755) == 0);
        assert(mount("tmpfs", box_path(&f->box, "vol"), "tmpfs", 0, NULL) == 0);
        assert(mkdir(box_path(&f->box, "vol/in"), 0755) == 0 && mkdir(box_path(&f->box, "vol/late"), 0755) == 0);
        assert(mkdir(box_path(&f->box, "root/none"), 0755) == 0);
        (void) add_mount(bad, "bind", box_path(&f->box, "vol"), "/host");
        bad->mounts[N_BASIC].propagation = MS_SLAVE;
        expect_error(bad, "not shared or slave");
        bad->mounts[N_BASIC].propagation = MS_SHARED;
        expect_error(bad, "not shared");
        assert(mount(NULL, box_path(&f->box, "vol"), NULL, MS_SHARED, NULL) == 0);

        add_mount(f, "bind", box_path(&f->box, "vol"), "/both")->propagation = MS_SHARED;
        add_mount(f, "bind", box_path(&f->box, "vol"), "/host")->propagation = MS_SLAVE;
        f->spec.rootfs_propagation = MS_SHARED;
        f->spec.process.caps = (struct spec_caps){ ALL_CAPS, ALL_CAPS, ALL_CAPS, 0, 0 };
        assert(box_start(&f->box, &f->spec, &host));
        box_send_start(&f->box);
        for (int i = 0; i < 500 && access(box_path(&f->box, "vol/in/x"), F_OK) < 0; i++)
                (void) usleep(10000);
        assert(access(box_path(&f->box, "vol/in/x"), F_OK) == 0); /* the container's mount is the host's too */
        assert(mount("tmpfs", box_path(&f->box, "vol/late"), "tmpfs", 0, NULL) == 0 &&
               mkdir(box_path(&f->box, "vol/late/seen"), 0755) == 0);
        assert(write(f->box.in_fd, "\n", 1) == 1 && box_finish(&f->box) == 5);
        expect(f, "seen\n");
        assert(umount2(box_path(&f->box, "vol"), MNT_DETACH) == 0);
}

/* What liblxc mounts for itself is taken away again. */
static void test_unlisted(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("ls /proc /sys; echo end; exit 5");

        f->spec.n_mounts = 3;
        f->spec.process.has_oom_score_adj = true;
        f->spec.process.oom_score_adj = 567;
        assert(run(f) == 5);
        expect(f, "/proc:\n\n/sys:\nend\n");
}

static void test_cgroups(void) {
        _cleanup_(cgroups_freep) struct cgroups *cgroups = NULL;
        static struct plan_host with_cgroups;
        struct err err;

        if (cgroups_new(&cgroups, &err) < 0 || cgroup_make(cgroups, "/lxcri-test-init", &err) < 0) {
                (void) fprintf(stderr, "no usable cgroups here (%s): not tested\n", err.msg);
                return;
        }
        plan_host_init(&with_cgroups, cgroups);
        for (int private = 0; private < 2; private ++) {
                _cleanup_fixture_ struct fixture *f =
                        fixture_new("cat /proc/self/cgroup; cat /proc/mounts; find /sys/fs/cgroup -name cgroup.procs "
                                    "-maxdepth 2; mkdir /sys/fs/cgroup/x");

                f->spec.cgroup_path = "/lxcri-test-init";
                f->spec.ns[SPEC_NS_CGROUP].create = private;
                add_mount(f, "cgroup", "cgroup", "/sys/fs/cgroup")->flags =
                        MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
                assert(symlink("busybox", box_path(&f->box, "root/bin/find")) == 0);
                if (!box_start(&f->box, &f->spec, &with_cgroups)) {
                        (void) fprintf(stderr, "%s\n", f->box.error.text);
                        abort();
                }
                assert(box_run(&f->box) != 0);
                if (private)
                        assert(!strstr(f->box.output, "lxcri-test-init"));
                else
                        expect(f, ":/lxcri-test-init\n");
                expect(f, "cgroup.procs\n");
                expect(f, "Read-only file system");
        }
        assert(cgroup_remove(cgroups, "/lxcri-test-init", &err) == 0);
}

static void test_user_namespace(void) {
        static const char *const masked[] = { "/proc/keys", "/proc/scsi", NULL }, *const readonly[] = { "/proc/sys",
                                                                                                        NULL };
        _cleanup_fixture_ struct fixture *f =
                fixture_new("id -u; cat /proc/self/uid_map; echo x > /dev/null && echo wrote; cat /vol/file; touch "
                            "/proc/sys/x; cat /proc/self/status");

        f->box.userns = true;
        box_chown(&f->box);
        assert(mkdir(box_path(&f->box, "vol"), 0755) == 0);
        box_write(&f->box, "vol/file", "volume\n");
        (void) add_mount(f, "bind", box_path(&f->box, "vol"), "/vol");
        /* No net namespace of its own, so no sysfs of its own here. */
        f->mounts[4] = f->mounts[--f->spec.n_mounts];
        f->spec.ns[SPEC_NS_USER].create = true;
        f->spec.masked_paths = masked;
        f->spec.readonly_paths = readonly;
        f->spec.readonly_rootfs = true;
        assert(run(f) == 0);
        expect(f, "0\n         0     100000      65536\nwrote\nvolume\n");
        expect(f, "CapEff:\t00000000a80425fb");
}

int main(void) {
        int r = test_begin();

        if (r != 0)
                return r;
        RUN(test_mounts);
        RUN(test_magic_link);
        RUN(test_link_into_proc);
        RUN(test_evil_link);
        RUN(test_missing_source);
        RUN(test_masks);
        RUN(test_devices_refused);
        RUN(test_readonly_root);
        RUN(test_propagation);
        RUN(test_unlisted);
        RUN(test_cgroups);
        RUN(test_user_namespace);
        return 0;
}
