/* SPDX-License-Identifier: Apache-2.0 */
/* As test-init.c: mounts, devices and propagation as bundles of the OCI runtime specification have them. Root only. */
#undef NDEBUG
#include <assert.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/str.h"
#include "init/test-fixture.h"

static const struct id_map ids = { 0, MAP_FIRST, MAP_LENGTH };

static struct fixture *bundle_new(const char *script) {
        struct fixture *f = fixture_new(script);

        f->spec.is_bundle = f->spec.default_devices = true;
        f->spec.n_devices = 0;
        return f;
}

/* A tmpfs beside the root, with @options. */
static const char *make_volume(struct fixture *f, const char *name, unsigned long flags) {
        const char *path = box_path(&f->box, name);

        assert(mkdir(path, 0755) == 0 && mount("tmpfs", path, "tmpfs", flags, NULL) == 0);
        return path;
}

static void unmount(const char *path) {
        assert(umount2(path, MNT_DETACH) == 0);
}

/* Of the line of mountinfo for @target: is @text in it, before the separator or after? */
static void expect_mount(const struct fixture *f, const char *target, const char *text, bool wanted) {
        char key[64], line[1024];
        const char *at, *end;

        (void) snprintf(key, sizeof(key), " %s ", target);
        at = strstr(f->box.output, key);
        if (!at) {
                (void) fprintf(stderr, "no mount on %s in:\n%s\n", target, f->box.output);
                abort();
        }
        end = at + strcspn(at, "\n");
        (void) snprintf(line, sizeof(line), "%.*s", (int) (end - at), at);
        if ((strstr(line, text) != NULL) == wanted)
                return;
        (void) fprintf(stderr, "%s \"%s\" in: %s\n", wanted ? "no" : "unexpected", text, line);
        abort();
}

static void test_default_devices(void) {
        static const struct spec_device own[] = { { "/dev/full", 'c', 1, 3, 0600, 7, 8 },
                                                  { "/dev/pipe", 'p', 0, 0, 0640, 7, 8 } };
        for (int userns = 0; userns < 2; userns++) {
                _cleanup_fixture_ struct fixture *f = bundle_new("ls -l /dev /dev/; echo x >/dev/null && head -c 1 "
                                                                 "/dev/zero | wc -c; head -c 4 /dev/urandom | wc -c");

                assert(symlink("busybox", box_path(&f->box, "root/bin/head")) == 0 &&
                       symlink("busybox", box_path(&f->box, "root/bin/wc")) == 0);
                f->spec.devices = own;
                f->spec.n_devices = 2;
                if (userns) {
                        f->spec.devices = own + 1;
                        f->spec.n_devices = 1;
                        f->box.userns = f->spec.ns[SPEC_NS_USER].create = true;
                        f->spec.ns[SPEC_NS_PID].create = f->spec.ns[SPEC_NS_IPC].create = true;
                        f->spec.user_ids = (struct id_maps){ &ids, &ids, 1, 1 };
                        box_chown(&f->box);
                }
                assert(run(f) == 0);
                for (size_t i = 0; i < 5; i++)
                        expect(f, (const char *const[]){ "null\n", "zero\n", "random\n", "urandom\n", "tty\n" }[i]);
                expect(f, " ptmx -> pts/ptmx\n");
                expect(f, " core -> /proc/kcore\n");
                expect(f, " stdin -> /proc/self/fd/0\n");
                expect(f, "prw-r-----    1 7        8 ");
                expect(f, "\n1\n4\n");
                if (!userns)
                        expect(f, "crw-------    1 7        8           1,   3");
        }
}

/* The image's own /dev: its ptmx is not to be used, what is another thing is an error, the same device is fine even
 * where nothing can be written. */
static void test_devices_of_image(void) {
        _cleanup_fixture_ struct fixture *f = bundle_new("ls -l /dev/"), *bad = bundle_new("true");

        f->spec.mounts = f->mounts + 3;
        f->spec.n_mounts = 1;
        assert(mknod(box_path(&f->box, "root/dev/ptmx"), S_IFCHR | 0666, makedev(5, 2)) == 0);
        assert(mknod(box_path(&f->box, "root/dev/null"), S_IFCHR | 0666, makedev(1, 3)) == 0);
        assert(run(f) == 0);
        expect(f, " ptmx -> pts/ptmx\n");
        bad->spec.mounts = bad->mounts + 3;
        bad->spec.n_mounts = 1;
        assert(mknod(box_path(&bad->box, "root/dev/null"), S_IFCHR | 0666, makedev(1, 5)) == 0);
        expect_error(bad, "make device /dev/null: file exists");
}

static void test_bound_dev(void) {
        _cleanup_fixture_ struct fixture *f = bundle_new("ls /dev; exit 5");
        const char *dev = make_volume(f, "dev", 0);

        f->spec.n_mounts = 0;
        f->mounts[f->spec.n_mounts++] = f->mounts[3];
        (void) add_mount(f, "bind", dev, "/dev");
        assert(run(f) == 5 && !f->box.output[0]);
        unmount(dev);
}

/* Options that take away what the source has, and those for the whole tree. */
static void test_flags(void) {
        _cleanup_fixture_ struct fixture *f =
                bundle_new("cat /proc/self/mountinfo; touch /cleared/x && echo written; touch /tree/sub/x");
        const char *ro = make_volume(f, "ro", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME),
                   *tree = make_volume(f, "tree", 0), *sub = make_volume(f, "tree/sub", MS_NOSUID);
        struct spec_mount *m;

        add_mount(f, "bind", ro, "/cleared")->clear_flags = MS_RDONLY | MS_NOSUID | MS_NOATIME;
        (void) add_mount(f, "bind", ro, "/kept");
        m = add_mount(f, "bind", tree, "/tree");
        m->recursive_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME;
        m->recursive_clear = MOUNT_ATTR__ATIME | MOUNT_ATTR_NOSUID;
        m = add_mount(f, "tmpfs", "tmpfs", "/new");
        m->recursive_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
        add_mount(f, "bind", tree, "/new/in")->recursive = false;
        f->mounts[4].flags = 0; /* /sys gets what is listed, and no more */
        assert(mount(NULL, ro, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME,
                     NULL) == 0 &&
               mount(NULL, ro, NULL, MS_REMOUNT, NULL) == 0 &&
               mount(NULL, ro, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME,
                     NULL) == 0);
        assert(run(f) == 1);
        expect(f, "written\n");
        expect_mount(f, "/cleared", " rw,nodev,noexec,relatime", true);
        expect_mount(f, "/kept", " ro,nosuid,nodev,noexec,noatime", true);
        expect_mount(f, "/tree", " ro,noexec,noatime", true);
        expect_mount(f, "/tree/sub", " ro,noexec,noatime", true);
        expect_mount(f, "/new", " ro,nodev", true);
        expect_mount(f, "/sys", " rw,relatime", true);
        unmount(sub);
        unmount(tree);
        unmount(ro);
}

static void test_bind_propagation(void) {
        static const struct {
                unsigned long own, root;
                bool flat, shared, master, unbindable, below;
        } rows[] = {
                { 0, 0, false, false, true, false, true }, /* runc's default */
                { 0, MS_PRIVATE | MS_REC, false, false, false, false, false },
                { 0, MS_SHARED | MS_REC, false, true, false, false, false },
                { MS_PRIVATE, 0, false, false, false, false, false },
                { MS_PRIVATE, 0, true, false, false, false, true }, /* what is below it: the default */
                { MS_SHARED, MS_PRIVATE, false, true, false, false, false },
                { MS_UNBINDABLE, 0, false, false, false, true, false },
                { MS_SLAVE, MS_PRIVATE, false, false, false, false, false }, /* as runc: private has no master */
                { MS_SLAVE, MS_PRIVATE, true, false, false, false, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_fixture_ struct fixture *f = bundle_new("cat /proc/self/mountinfo");
                const char *vol = make_volume(f, "vol", 0), *sub = NULL;
                struct spec_mount *m;

                assert(mount(NULL, vol, NULL, MS_SHARED, NULL) == 0);
                sub = make_volume(f, "vol/sub", 0);
                f->spec.rootfs_propagation = rows[i].root;
                m = add_mount(f, "bind", vol, "/bound");
                m->propagation = rows[i].own;
                m->propagation_flat = rows[i].flat;
                assert(run(f) == 0);
                expect_mount(f, "/bound", "shared:", rows[i].shared);
                expect_mount(f, "/bound", "master:", rows[i].master);
                expect_mount(f, "/bound", "unbindable", rows[i].unbindable);
                expect_mount(f, "/bound/sub", "master:", rows[i].below);
                unmount(sub);
                unmount(vol);
        }
}

/* What is not shared with the host can still be shared in the container. */
static void test_lenient_propagation(void) {
        _cleanup_fixture_ struct fixture *f = bundle_new("cat /proc/self/mountinfo");
        const char *vol = make_volume(f, "vol", 0);
        struct spec_mount *m;

        add_mount(f, "bind", vol, "/shared")->propagation = MS_SHARED;
        add_mount(f, "bind", vol, "/slave")->propagation = MS_SLAVE;
        m = add_mount(f, "tmpfs", "tmpfs", "/new");
        m->propagation = MS_SHARED;
        assert(run(f) == 0);
        expect_mount(f, "/shared", "shared:", true);
        expect_mount(f, "/slave", "shared:", false);
        expect_mount(f, "/new", "shared:", true);
        unmount(vol);
}

static void test_root_propagation(void) {
        static const struct {
                unsigned long flags;
                const char *text;
        } rows[] = { { MS_SHARED | MS_REC, "shared:" }, { MS_SHARED, "shared:" }, { MS_UNBINDABLE, "unbindable" } };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_fixture_ struct fixture *f = bundle_new("cat /proc/self/mountinfo");

                f->spec.rootfs_propagation = rows[i].flags;
                assert(run(f) == 0);
                expect_mount(f, "/", rows[i].text, true);
                expect_mount(f, "/dev", rows[i].text, rows[i].flags & MS_REC);
        }
}

static void test_remount(void) {
        _cleanup_fixture_ struct fixture *f =
                bundle_new("cat /proc/self/mountinfo; touch /a/x; ls -d /proc/1; touch /file && echo wrote");
        struct spec_mount *m;

        f->mounts[3].data = "hidepid=2";
        f->spec.process.user.uid = 1000;
        (void) add_mount(f, "tmpfs", "tmpfs", "/a");
        m = add_mount(f, NULL, NULL, "/a");
        m->flags = MS_REMOUNT | MS_RDONLY;
        m->data = "size=64k";
        box_write(&f->box, "file", "x");
        (void) add_mount(f, "bind", box_path(&f->box, "file"), "/file");
        m = add_mount(f, "bind", NULL, "/file"); /* a file, too */
        m->flags = MS_REMOUNT | MS_RDONLY | MS_NOSUID;
        (void) run(f);
        expect_mount(f, "/proc", "hidepid=invisible", true);
        expect_mount(f, "/proc", "nosuid,nodev,noexec", true);
        expect_mount(f, "/a", "size=64k", true);
        expect(f, "touch: /a/x: Read-only file system");
        expect_mount(f, "/file", " ro,nosuid", true);
        expect_not(f, "wrote");
}

static void test_over_root(void) {
        _cleanup_fixture_ struct fixture *f = bundle_new("true");

        (void) add_mount(f, "bind", "/", "/");
        expect_error(f, "nothing can be mounted over the root");
}

static void test_over_proc(void) {
        static const struct {
                const char *type, *source, *target, *text;
        } rows[] = { { "tmpfs", "tmpfs", "/proc", "not of type proc" },
                     { "bind", "/tmp", "/proc/", "not of type proc" },
                     { "tmpfs", "tmpfs", "/proc/self", "inside /proc" },
                     { "bind", "/tmp", "//proc//sys/../self/attr", "inside /proc" },
                     { "bind", "/etc/hostname", "/proc/sys/kernel/hostname", "inside /proc" },
                     { "tmpfs", "tmpfs", "/process", "a symlink leads into the proc file system" },
                     { "bind", "/tmp", "/x/../process", "a symlink leads into the proc file system" } };
        _cleanup_fixture_ struct fixture *f = bundle_new("cat /proc/uptime /procfs; ls -d /proc/self/status");

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_fixture_ struct fixture *bad = bundle_new("true");

                assert(symlink("proc/sys", box_path(&bad->box, "root/process")) == 0 &&
                       mkdir(box_path(&bad->box, "root/x"), 0755) == 0);
                (void) add_mount(bad, rows[i].type, rows[i].source, rows[i].target);
                expect_error(bad, rows[i].text);
        }
        box_write(&f->box, "uptime", "of lxcfs\n");
        (void) add_mount(f, "bind", box_path(&f->box, "uptime"), "/proc/uptime");
        (void) add_mount(f, "bind", box_path(&f->box, "uptime"), "/procfs");
        assert(run(f) == 0);
        expect(f, "of lxcfs\nof lxcfs\n/proc/self/status\n");
}

static void test_tmpfs_mode(void) {
        _cleanup_fixture_ struct fixture *f = bundle_new("stat -c '%n %a' /kept /said /made");

        assert(mkdir(box_path(&f->box, "root/kept"), 0755) == 0 && mkdir(box_path(&f->box, "root/said"), 0755) == 0);
        assert(chmod(box_path(&f->box, "root/kept"), 01750) == 0);
        add_mount(f, "tmpfs", "tmpfs", "/kept")->data = "size=1m";
        add_mount(f, "tmpfs", "tmpfs", "/said")->data = "mode=711";
        (void) add_mount(f, "tmpfs", "tmpfs", "/made");
        assert(run(f) == 0);
        expect(f, "/kept 1750\n/said 711\n/made 1777\n");
}

static void test_copy_up(void) {
        _cleanup_fixture_ struct fixture *f = bundle_new(
                "cd /data; ls -l; cat file sub/deep/file; readlink link dangling; cat link; stat -c '%a %u %g' . file "
                "sub; touch new && echo new; grep ' /data ' /proc/mounts; getfattr x; test -p fifo && echo fifo");
        char value[16] = "";
        struct spec_mount *m;

        box_write(&f->box, "secret", "of the host\n");
        assert(mkdir(box_path(&f->box, "root/data"), 0750) == 0 &&
               mkdir(box_path(&f->box, "root/data/sub"), 0700) == 0 &&
               mkdir(box_path(&f->box, "root/data/sub/deep"), 0755) == 0);
        box_write(&f->box, "root/data/file", "content\n");
        box_write(&f->box, "root/data/sub/deep/file", "deep\n");
        assert(chmod(box_path(&f->box, "root/data/file"), 04750) == 0);
        assert(chown(box_path(&f->box, "root/data/sub"), 12, 34) == 0 &&
               chown(box_path(&f->box, "root/data"), 56, 78) == 0);
        assert(setxattr(box_path(&f->box, "root/data/file"), "trusted.test", "kept", 4, 0) == 0);
        assert(symlink(box_path(&f->box, "secret"), box_path(&f->box, "root/data/link")) == 0 &&
               symlink("nowhere", box_path(&f->box, "root/data/dangling")) == 0 &&
               mkfifo(box_path(&f->box, "root/data/fifo"), 0600) == 0);
        m = add_mount(f, "tmpfs", "tmpfs", "/data");
        m->data = "size=1m,nr_inodes=100";
        m->flags = MS_NODEV | MS_NOSUID;
        m->tmpcopyup = true;
        /* A folder that isn't there has nothing to copy. */
        add_mount(f, "tmpfs", "tmpfs", "/missing")->tmpcopyup = true;
        (void) run(f);
        expect(f, "content\ndeep\n");
        expect_not(f, "of the host\n");
        expect(f, "nowhere\n");
        expect(f, "750 56 78\n4750 0 0\n700 12 34\nnew\n");
        expect(f, "nosuid,nodev");
        expect(f, "size=1024k,nr_inodes=100");
        expect(f, "fifo\n");
        assert(access(box_path(&f->box, "root/data/new"), F_OK) < 0);
        assert(getxattr(box_path(&f->box, "root/data/file"), "trusted.test", value, sizeof(value)) == 4);
}

static void test_copy_up_refused(void) {
        _cleanup_fixture_ struct fixture *deep = bundle_new("true"), *large = bundle_new("true");
        char path[1200] = "root/data", big[8192];
        size_t len = strlen(path);

        assert(mkdir(box_path(&deep->box, path), 0755) == 0);
        for (int i = 0; i < 140; i++) {
                memcpy(path + len, "/d", sizeof("/d"));
                len += 2;
                assert(mkdir(box_path(&deep->box, path), 0755) == 0);
        }
        add_mount(deep, "tmpfs", "tmpfs", "/data")->tmpcopyup = true;
        expect_error(deep, "into the new tmpfs: filename too long");
        memset(big, 'x', sizeof(big) - 1);
        big[sizeof(big) - 1] = '\0';
        assert(mkdir(box_path(&large->box, "root/data"), 0755) == 0);
        box_write(&large->box, "root/data/big", big);
        add_mount(large, "tmpfs", "tmpfs", "/data")->data = "size=4k";
        large->mounts[N_BASIC].tmpcopyup = true;
        expect_error(large, "copy \"big\" into the new tmpfs: no space left on device");
}

static void test_copy_symlink(void) {
        _cleanup_fixture_ struct fixture *f = bundle_new("readlink /etc/link; cat /etc/plain");
        struct spec_mount *m;

        box_write(&f->box, "plain", "plain\n");
        assert(symlink("/somewhere/else", box_path(&f->box, "link")) == 0);
        m = add_mount(f, "bind", box_path(&f->box, "link"), "/etc/link");
        m->copy_symlink = true;
        m = add_mount(f, "bind", box_path(&f->box, "plain"), "/etc/plain");
        m->copy_symlink = true;
        assert(run(f) == 0);
        expect(f, "/somewhere/else\nplain\n");
}

/* Its options name folders of the host. */
static void test_overlay(void) {
        _cleanup_fixture_ struct fixture *f = bundle_new("cat /merged/file; echo more >/merged/file; touch /merged/x");
        const char *vol = make_volume(f, "vol", 0); /* an overlay's upper folder can't be on an overlay */
        char options[512];
        struct stat st;

        assert(mkdir(box_path(&f->box, "vol/lower"), 0755) == 0 && mkdir(box_path(&f->box, "vol/upper"), 0755) == 0 &&
               mkdir(box_path(&f->box, "vol/work"), 0755) == 0);
        box_write(&f->box, "vol/lower/file", "lower\n");
        (void) snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", vol, vol, vol);
        add_mount(f, "overlay", "overlay", "/merged")->data = options;
        assert(run(f) == 0);
        expect(f, "lower\n");
        assert(stat(box_path(&f->box, "vol/upper/file"), &st) == 0 && st.st_size == 5 &&
               access(box_path(&f->box, "vol/upper/x"), F_OK) == 0);
        unmount(vol);
        _cleanup_fixture_ struct fixture *bad = bundle_new("true");
        add_mount(bad, "overlay", "overlay", "/merged")->data = "lowerdir=/no/such";
        expect_error(bad, "mount overlay (overlay) on /merged: ");
}

/* idmap is for the mount, ridmap for all below it. */
static void test_owners(void) {
        static const struct id_map map = { 0, 5000, 10 };
        static const struct id_maps owners = { &map, &map, 1, 1 };

        for (int flat = 0; flat < 2; flat++) {
                _cleanup_fixture_ struct fixture *f = bundle_new("stat -c '%u %g' /vol /vol/sub");
                const char *vol = make_volume(f, "vol", 0), *sub = make_volume(f, "vol/sub", 0);
                struct spec_mount *m = add_mount(f, "bind", vol, "/vol");

                m->owners = &owners;
                m->owners_flat = flat;
                assert(run(f) == 0);
                expect(f, flat ? "5000 5000\n0 0\n" : "5000 5000\n5000 5000\n");
                unmount(sub);
                unmount(vol);
        }
}

/* A user namespace that doesn't own the network namespace can't mount its sysfs: it gets the host's. */
static void test_host_sys(void) {
        _cleanup_fixture_ struct fixture *f = bundle_new("grep ' /sys ' /proc/mounts; ls /sys/class | grep net");

        f->box.userns = f->spec.ns[SPEC_NS_USER].create = f->spec.ns[SPEC_NS_PID].create = true;
        f->spec.user_ids = (struct id_maps){ &ids, &ids, 1, 1 };
        box_chown(&f->box);
        assert(run(f) == 0);
        expect(f, "sysfs /sys sysfs ro,nosuid,nodev,noexec");
        expect(f, "net\n");
}

int main(void) {
        int r = test_begin();

        if (r != 0)
                return r;
        RUN(test_default_devices);
        RUN(test_devices_of_image);
        RUN(test_bound_dev);
        RUN(test_flags);
        RUN(test_bind_propagation);
        RUN(test_lenient_propagation);
        RUN(test_root_propagation);
        RUN(test_remount);
        RUN(test_over_root);
        RUN(test_over_proc);
        RUN(test_tmpfs_mode);
        RUN(test_copy_up);
        RUN(test_copy_up_refused);
        RUN(test_copy_symlink);
        RUN(test_overlay);
        RUN(test_owners);
        RUN(test_host_sys);
        return 0;
}
