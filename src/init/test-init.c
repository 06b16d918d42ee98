/* SPDX-License-Identifier: Apache-2.0 */
/* Starts proxmox-lxcri-init with plans of the planner's in namespaces of its own and looks at the result from inside.
 * Root only. */
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
#include "init/test-harness.h"

#define ALL_CAPS 0x1ffffffffffULL
#define DEFAULT_CAPS 0xa80425fbULL

static struct plan_host host; /* no cgroups: most tests don't need them */

static const char *const environment[] = { "PATH=/bin", NULL };
static const struct spec_mount basic_mounts[] = {
        { .destination = "/dev",
          .type = "tmpfs",
          .source = "tmpfs",
          .data = "mode=755,size=65536k",
          .flags = MS_NOSUID | MS_STRICTATIME,
          .source_fd = -1 },
        { .destination = "/dev/pts",
          .type = "devpts",
          .source = "devpts",
          .data = "newinstance,ptmxmode=0666,mode=0620,gid=5",
          .flags = MS_NOSUID | MS_NOEXEC,
          .source_fd = -1 },
        { .destination = "/dev/mqueue",
          .type = "mqueue",
          .source = "mqueue",
          .flags = MS_NOSUID | MS_NODEV | MS_NOEXEC,
          .source_fd = -1 },
        { .destination = "/proc",
          .type = "proc",
          .source = "proc",
          .flags = MS_NOSUID | MS_NODEV | MS_NOEXEC,
          .source_fd = -1 },
        { .destination = "/sys",
          .type = "sysfs",
          .source = "sysfs",
          .flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
          .source_fd = -1 },
};
static const struct spec_device devices[] = {
        { "/dev/null", 'c', 1, 3, 0666, 0, 0 },
        { "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
        { "/dev/tty", 'c', 5, 0, 0666, 0, 0 },
        { "/dev/full", 'c', 1, 7, 0640, 12, 34 },
};

enum { N_BASIC = ELEMENTSOF(basic_mounts), MAX_MOUNTS = 16 };

/* A spec with the mounts every pod has, and room for more. */
struct fixture {
        struct box box;
        struct spec spec;
        struct spec_mount mounts[MAX_MOUNTS];
        const char *args[8];
};

static struct fixture *fixture_new(const char *script) {
        struct fixture *f = calloc(1, sizeof(*f));

        assert(f);
        box_init(&f->box);
        memcpy(f->mounts, basic_mounts, sizeof(basic_mounts));
        f->args[0] = "/bin/sh";
        f->args[1] = "-c";
        f->args[2] = script;
        f->spec = (struct spec){
                .id = "test",
                .rootfs_mount_fd = -1,
                .mounts = f->mounts,
                .n_mounts = N_BASIC,
                .devices = devices,
                .n_devices = ELEMENTSOF(devices),
                .process = { .args = f->args,
                             .env = environment,
                             .cwd = "/",
                             .caps = { DEFAULT_CAPS, DEFAULT_CAPS, DEFAULT_CAPS, 0, 0 } },
        };
        return f;
}

static struct spec_mount *add_mount(struct fixture *f, const char *type, const char *source, const char *destination) {
        struct spec_mount *m = &f->mounts[f->spec.n_mounts++];

        assert(f->spec.n_mounts <= MAX_MOUNTS);
        *m = (struct spec_mount){
                .type = type, .source = source, .destination = destination, .recursive = true, .source_fd = -1
        };
        return m;
}

static struct fixture *fixture_free(struct fixture *f) {
        if (f) {
                box_done(&f->box);
                free(f);
        }
        return NULL;
}
DEFINE_CLEANUP(struct fixture *, fixture_free)
#define _cleanup_fixture_ _cleanup_(fixture_freep)

static int run(struct fixture *f) {
        int code;

        if (!box_start(&f->box, &f->spec, &host)) {
                (void) fprintf(stderr, "not ready: %s\n", f->box.error.text);
                abort();
        }
        code = box_run(&f->box);
        if (f->box.failure.text[0])
                (void) fprintf(stderr, "  (exec: %s)\n", f->box.failure.text);
        return code;
}

static void expect(const struct fixture *f, const char *text) {
        if (strstr(f->box.output, text))
                return;
        (void) fprintf(stderr, "no \"%s\" in:\n%s\n", text, f->box.output);
        abort();
}

static void expect_error(struct fixture *f, const char *text) {
        if (!box_start(&f->box, &f->spec, &host) && strstr(f->box.error.text, text))
                return;
        (void) fprintf(stderr, "no \"%s\" in: %s\n", text, f->box.error.text);
        abort();
}

/* --- who and what ------------------------------------------------------------------------------------------------ */

static void test_basic(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("id -u; id -g; pwd; echo $$; echo HOME=$HOME; ls -l /dev; "
                                                          "ls -l /proc/self/fd | grep -c -e '->'; umask; "
                                                          "cat /proc/self/status; echo err >&2; exit 7");

        assert(run(f) == 7 && !f->box.failure.text[0]);
        assert(f->box.ready.uid == 0 && f->box.ready.gid == 0 && f->box.ready.n_groups == 1);
        expect(f, "0\n0\n/\n1\nHOME=/root\n");
        expect(f, "crw-rw-rw-    1 root     root        1,   3");
        expect(f, "crw-r-----    1 12       34          1,   7");
        expect(f, " fd -> /proc/self/fd\n");
        expect(f, " ptmx -> pts/ptmx\n");
        expect(f, " stdout -> /proc/self/fd/1\n");
        expect(f, "\n3\n0022\n"); /* the streams: nothing leaked */
        expect(f, "NoNewPrivs:\t0\nSeccomp:\t0\n");
        expect(f, "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:"
                  "\t00000000a80425fb\n"
                  "CapAmb:\t0000000000000000\n");
        expect(f, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
        expect(f, "Groups:\t0 \n");
        expect(f, "err\n");
}

static void test_user(void) {
        static const gid_t more[] = { 5000, 4000 };
        static const struct {
                struct spec_user user;
                const char *ids, *home;
                size_t n_groups;
                uint32_t groups[6];
        } rows[] = {
                { { .username = "user" }, "1000 1001", "/home/user", 3, { 1001, 3000, 3001 } },
                { { .uid = 1000, .additional_gids = more, .n_additional_gids = 2 },
                  "1000 1001",
                  "/home/user",
                  5,
                  { 1001, 3000, 3001, 4000, 5000 } },
                { { .username = "user", .strict_groups = true, .additional_gids = more, .n_additional_gids = 2 },
                  "1000 1001",
                  "/home/user",
                  3,
                  { 1001, 4000, 5000 } },
                { { .uid = 77, .gid = 88, .has_gid = true }, "77 88", "/", 1, { 88 } },
                { { .username = "1234" }, "1234 0", "/", 1, { 0 } },
                { { .username = "user", .groupname = "many" }, "1000 3001", "/home/user", 2, { 3000, 3001 } },
                { { .username = "user", .groupname = "999", .strict_groups = true },
                  "1000 999",
                  "/home/user",
                  1,
                  { 999 } },
                { { .uid = 5, .gid = 6, .resolved = true, .additional_gids = more, .n_additional_gids = 2 },
                  "5 6",
                  "/",
                  2,
                  { 5000, 4000 } },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_fixture_ struct fixture *f =
                        fixture_new("echo $(id -u) $(id -g); echo HOME=$HOME; cat /proc/self/status; cat /dev/stdin; "
                                    "echo x > /dev/stdout");
                char line[64];

                f->spec.process.user = rows[i].user;
                assert(run(f) == 0);
                (void) snprintf(line, sizeof(line), "%s\nHOME=%s\n", rows[i].ids, rows[i].home);
                expect(f, line);
                expect(f, "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n");
                expect(f, "\nx\n");
                assert(f->box.ready.n_groups == rows[i].n_groups);
                assert(memcmp(f->box.ready.groups, rows[i].groups, rows[i].n_groups * sizeof(uint32_t)) == 0);
        }
}

static void test_user_errors(void) {
        _cleanup_fixture_ struct fixture *a = fixture_new("true"), *b = fixture_new("true"), *c = fixture_new("true"),
                                         *d = fixture_new("true");

        a->spec.process.user.username = "nobody-here";
        expect_error(a, "unable to find user nobody-here: no matching entries in passwd file");
        b->spec.process.user = (struct spec_user){ .username = "user", .groupname = "nogroup" };
        expect_error(b, "unable to find group nogroup: no matching entries in group file");
        /* A fifo must not hang us, nor may procfs be read as a list. */
        assert(unlink(box_path(&c->box, "root/etc/passwd")) == 0 &&
               mkfifo(box_path(&c->box, "root/etc/passwd"), 0644) == 0);
        c->spec.process.user.username = "user";
        expect_error(c, "read /etc/passwd: invalid argument");
        assert(unlink(box_path(&d->box, "root/etc/passwd")) == 0 &&
               symlink("/proc/self/environ", box_path(&d->box, "root/etc/passwd")) == 0);
        expect_error(d, "read /etc/passwd");
}

static void test_caps(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("cat /proc/self/status"),
                                         *none = fixture_new("cat /proc/self/status");

        f->spec.process.user.uid = 1000;
        f->spec.process.caps = (struct spec_caps){ 0x403, 0x400, 0x401, 0x400, 0x400 };
        assert(run(f) == 0);
        expect(f, "CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\nCapBnd:"
                  "\t0000000000000403\nCapAmb:\t0000000000000400\n");
        none->spec.process.caps = (struct spec_caps){ 0 };
        assert(run(none) == 0);
        expect(none, "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n");
}

static void test_seccomp(void) {
        static const struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sethostname, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };

        for (int i = 0; i < 4; i++) {
                _cleanup_fixture_ struct fixture *f = fixture_new("cat /proc/self/status");
                bool nnp = i & 1;

                f->spec.process.user.uid = i & 2 ? 1000 : 0;
                f->spec.process.no_new_privs = nnp;
                f->spec.process.seccomp = filter;
                f->spec.process.n_seccomp = ELEMENTSOF(filter);
                assert(run(f) == 0);
                expect(f, nnp ? "NoNewPrivs:\t1\nSeccomp:\t2\n" : "NoNewPrivs:\t0\nSeccomp:\t2\n");
        }
}

static void test_process_settings(void) {
        static const struct spec_rlimit limits[] = { { RLIMIT_NOFILE, 100, 200 }, { RLIMIT_CORE, 0, 0 } };
        static const struct spec_pair sysctls[] = { { "kernel.shm_rmid_forced", "1" }, { "fs/mqueue/msg_max", "100" } };
        static const char *const env[] = { "A=1", "PATH=/nowhere", "B=2", "A=3", "PATH=/bin", "HOME=/h", NULL };
        _cleanup_fixture_ struct fixture *f =
                fixture_new("umask; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; pwd; cat "
                            "/proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max; env; touch /sys/x");

        f->spec.process.has_umask = true;
        f->spec.process.umask = 0077;
        f->spec.process.rlimits = limits;
        f->spec.process.n_rlimits = ELEMENTSOF(limits);
        f->spec.process.has_oom_score_adj = true;
        f->spec.process.oom_score_adj = 567;
        f->spec.process.cwd = "/made/on/the/way";
        f->spec.process.env = env;
        f->spec.sysctls = sysctls;
        f->spec.n_sysctls = ELEMENTSOF(sysctls);
        f->args[0] = "sh"; /* found in PATH */
        assert(run(f) != 0);
        expect(f, "0077\n100\n200\n567\n/made/on/the/way\n1\n100\n");
        expect(f, "A=3\n");
        expect(f, "HOME=/h\n");
        assert(!strstr(f->box.output, "A=1") && !strstr(f->box.output, "nowhere"));
        expect(f, "Read-only file system");
}

static void test_exec_errors(void) {
        static const struct {
                const char *file, *text;
                int code;
        } rows[] = {
                { "no-such", "exec: \"no-such\": executable file not found in $PATH", 127 },
                { "/no/such", "exec: \"/no/such\": no such file or directory", 127 },
                { "/etc/passwd", "exec: \"/etc/passwd\": permission denied", 126 },
                { "/garbage", "exec: \"/garbage\": exec format error", 126 },
                { "/bin", "exec: \"/bin\": permission denied", 126 },
                { "/no-interpreter", "exec: \"/no-interpreter\": no such file or directory", 127 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_fixture_ struct fixture *f = fixture_new("");

                box_write(&f->box, "root/garbage", "nothing that runs");
                box_write(&f->box, "root/no-interpreter", "#!/no/interpreter\n");
                assert(chmod(box_path(&f->box, "root/garbage"), 0755) == 0 &&
                       chmod(box_path(&f->box, "root/no-interpreter"), 0755) == 0);
                f->args[0] = rows[i].file;
                assert(run(f) == rows[i].code);
                if (strcmp(f->box.failure.text, rows[i].text) != 0)
                        (void) fprintf(stderr, "got %s\n", f->box.failure.text);
                assert(strcmp(f->box.failure.text, rows[i].text) == 0);
        }
        _cleanup_fixture_ struct fixture *f = fixture_new("true");
        f->spec.process.cwd = "/etc/passwd";
        assert(run(f) == 126 &&
               strstr(f->box.failure.text, "enter the working directory /etc/passwd: not a directory"));
}

/* --- mounts ------------------------------------------------------------------------------------------------------ */

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
        memmove(fake->mounts, fake->mounts + 1, 4 * sizeof(fake->mounts[0]));
        fake->spec.n_mounts = 0;
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

static void test_cgroups(void) {
        _cleanup_(cgroups_freep) struct cgroups *cgroups = NULL;
        static struct plan_host with_cgroups;
        struct err err;

        if (cgroups_new(&cgroups, &err) < 0 || cgroup_make(cgroups, "/lxcri-test-init", &err) < 0) {
                (void) fprintf(stderr, "no usable cgroups here (%s): not tested\n", err.msg);
                return;
        }
        assert(plan_host_init(&with_cgroups, cgroups, &err) == 0);
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

static void chown_tree(const struct box *b) {
        char command[200];

        (void) snprintf(command, sizeof(command), "chown -Rh 100000:100000 %s", b->root);
        assert(system(command) == 0); /* NOLINT: a test's own path */
}

static void test_user_namespace(void) {
        static const char *const masked[] = { "/proc/keys", "/proc/scsi", NULL }, *const readonly[] = { "/proc/sys",
                                                                                                        NULL };
        _cleanup_fixture_ struct fixture *f =
                fixture_new("id -u; cat /proc/self/uid_map; echo x > /dev/null && echo wrote; cat /vol/file; touch "
                            "/proc/sys/x; cat /proc/self/status");

        f->box.userns = true;
        chown_tree(&f->box);
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

/* --- life -------------------------------------------------------------------------------------------------------- */

static void test_terminal(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new(
                "tty; stty size; echo TERM=$TERM; stat -c %u /dev/pts/0; ls -l /dev/console; echo x >/dev/tty");

        f->spec.process.terminal = true;
        f->spec.process.rows = 30;
        f->spec.process.columns = 90;
        f->spec.process.user.uid = 1000;
        assert(run(f) == 0 && f->box.ready.has_terminal);
        expect(f, "/dev/pts/0\r\n30 90\r\nTERM=xterm\r\n1000\r\n");
        expect(f, "/dev/console\r\nx\r\n");
}

static void test_abandoned(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("echo must not run");

        assert(box_start(&f->box, &f->spec, &host));
        f->box.sock = fd_close(f->box.sock);
        assert(box_finish(&f->box) == 1 && !f->box.output[0]);
}

static int children_of(pid_t pid) {
        char path[64], buf[256] = "";
        int fd, n = 0;

        (void) snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int) pid, (int) pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert(fd >= 0 && read(fd, buf, sizeof(buf) - 1) >= 0);
        (void) close(fd);
        for (char *p = buf; *p; p++)
                n += *p == ' ';
        return n;
}

static void test_pause_and_exec(void) {
        static const char *const orphan[] = { "/bin/sh", "-c", "(sleep 0.2; exit 3) & (sleep 0.1) & exit 4", NULL };
        static const char *const status[] = {
                "sh", "-c", "cat /proc/self/status; id -u; echo $HOME; pwd; ls -l /proc/self/fd | grep -c -e '->'", NULL
        };
        static const char *const missing[] = { "missing", NULL };
        _cleanup_fixture_ struct fixture *f = fixture_new("");
        struct spec_process p;

        f->args[0] = NULL;
        assert(box_start(&f->box, &f->spec, &host));
        box_send_start(&f->box);
        p = f->spec.process;
        p.user = (struct spec_user){ .resolved = true };
        p.args = orphan;
        assert(box_exec(&f->box, &p) == 4);
        for (int i = 0; i < 300 && children_of(f->box.pid) > 0; i++)
                (void) usleep(10000);
        assert(children_of(f->box.pid) == 0); /* reaped */

        p.args = status;
        p.user.uid = 1000;
        p.cwd = "/tmp";
        p.no_new_privs = true;
        assert(box_exec(&f->box, &p) == 0 && !f->box.failure.text[0]);
        expect(f, "CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n");
        expect(f, "NoNewPrivs:\t1\n");
        expect(f, "\n1000\n/home/user\n/tmp\n");
        expect(f, "\n3\n");
        p.args = (const char *const[]){ "sh", "-c",
                                        "tty; stat -c %u /dev/pts/0; echo $TERM; test -e /dev/console || echo none",
                                        NULL };
        p.terminal = true;
        assert(box_exec(&f->box, &p) == 0);
        expect(f, "/dev/pts/0\r\n1000\r\nxterm\r\nnone\r\n");
        p.terminal = false;
        p.args = missing;
        assert(box_exec(&f->box, &p) == 127);
        assert(strcmp(f->box.failure.text, "exec: \"missing\": executable file not found in $PATH") == 0);
        assert(f->box.failure.sys_errno == ENOENT);

        assert(kill(f->box.pid, SIGTERM) == 0 && box_finish(&f->box) == 0);
}

/* The monitor is killed: init's process dies too, though it is no longer root. */
static void test_monitor_killed(void) {
        _cleanup_fixture_ struct fixture *f = fixture_new("echo up; sleep 60");
        char buf[8];
        int pidfd;

        f->box.monitored = true;
        f->spec.process.user.uid = 1000;
        assert(box_start(&f->box, &f->spec, &host));
        box_send_start(&f->box);
        assert(read(f->box.out_fd, buf, sizeof(buf)) > 0);
        pidfd = proc_open(f->box.pid, proc_start_time(f->box.pid));
        assert(pidfd >= 0 && kill(f->box.monitor_pid, SIGKILL) == 0 && proc_wait_gone(pidfd, 5000));
        (void) close(pidfd);
        f->box.pid = 0;
}

#define RUN(test)                                                                                                      \
        do {                                                                                                           \
                (void) fprintf(stderr, "%s\n", #test);                                                                 \
                test();                                                                                                \
        } while (0)

int main(void) {
        if (geteuid() != 0) {
                (void) fprintf(stderr, "needs root\n");
                return 77;
        }
        /* All of it in a mount namespace of our own. */
        assert(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        (void) signal(SIGPIPE, SIG_IGN);
        RUN(test_basic);
        RUN(test_user);
        RUN(test_user_errors);
        RUN(test_caps);
        RUN(test_seccomp);
        RUN(test_process_settings);
        RUN(test_exec_errors);
        RUN(test_mounts);
        RUN(test_magic_link);
        RUN(test_link_into_proc);
        RUN(test_evil_link);
        RUN(test_missing_source);
        RUN(test_masks);
        RUN(test_devices_refused);
        RUN(test_readonly_root);
        RUN(test_propagation);
        RUN(test_cgroups);
        RUN(test_user_namespace);
        RUN(test_terminal);
        RUN(test_abandoned);
        RUN(test_pause_and_exec);
        RUN(test_monitor_killed);
        return 0;
}
