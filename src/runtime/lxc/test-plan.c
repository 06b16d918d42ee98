/* SPDX-License-Identifier: Apache-2.0 */
/* What the planner writes the reader accepts, and nothing that was cut off or changed makes it read outside. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "init/reader.h"
#include "runtime/lxc/plan.h"

static const char *const args[] = { "/bin/true", "", "a b", NULL };
static const char *const env[] = { "A=1", "B=", "A=2", "=odd", "PATH=/bin", NULL };
static const char *const masked[] = { "/proc/kcore", NULL }, *const readonly[] = { "/proc/sys", NULL };
static const gid_t gids[] = { 7, 8, 9 };
static const struct spec_pair sysctls[] = { { "net.ipv4.ip_forward", "1" } };
static const struct spec_rlimit rlimits[] = { { RLIMIT_NOFILE, 10, RLIM_INFINITY } };
static const struct spec_device devices[] = { { "/dev/null", 'c', 1, 3, 0666, 0, 0 } };
static const struct sock_filter filter[] = { BPF_STMT(BPF_RET | BPF_K, 0x7fff0000) };
static const struct spec_mount mounts[] = {
        { .destination = "/proc", .type = "proc", .flags = MS_NOSUID, .source_fd = -1 },
        { .destination = "/dev", .type = "tmpfs", .data = "mode=755", .flags = MS_NOSUID | MS_RDONLY, .source_fd = -1 },
        { .destination = "/dev/pts", .type = "devpts", .data = "newinstance", .source_fd = -1 },
        { .destination = "/sys/fs/cgroup", .type = "cgroup", .flags = MS_RDONLY, .source_fd = -1 },
        { .destination = "/new", .type = "tmpfs", .propagation = MS_SHARED, .tmpcopyup = true, .source_fd = -1 },
        { .destination = "/new", .flags = MS_REMOUNT, .data = "size=1m", .source_fd = -1 },
};
static const struct plan_host v2 = { .mode = CGROUP_V2 };
static const struct plan_host v1 = {
        .mode = CGROUP_V1,
        .hierarchies = { { "/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct", "cpu,cpuacct" },
                         { "/sys/fs/cgroup/systemd", "systemd", "none,name=systemd" } },
        .n_hierarchies = 2,
};

static const struct spec_scheduler scheduler = { .policy = 3, .nice = 4 };
static const struct spec_memory_policy policy = { .mode = 2, .nodes = "0,64" };
static const int preserved[] = { 0, 1 };

static struct spec rich_spec(void) {
        return (struct spec){
                .id = "x",
                .rootfs_mount_fd = -1,
                .readonly_rootfs = true,
                .rootfs_propagation = MS_SHARED,
                .ns = { [SPEC_NS_CGROUP] = { .create = true }, [SPEC_NS_UTS] = { .create = true } },
                .mounts = mounts,
                .n_mounts = ELEMENTSOF(mounts),
                .devices = devices,
                .n_devices = ELEMENTSOF(devices),
                .masked_paths = masked,
                .readonly_paths = readonly,
                .mount_label = "u:object_r:t:s0:c1,c2",
                .sysctls = sysctls,
                .n_sysctls = 1,
                .process = { .terminal = true,
                             .args = args,
                             .env = env,
                             .cwd = "/work",
                             .user = { .username = "u",
                                       .groupname = "g",
                                       .additional_gids = gids,
                                       .n_additional_gids = 3 },
                             .has_umask = true,
                             .umask = 027,
                             .caps = { 1, 2, 3, 4, 5 },
                             .rlimits = rlimits,
                             .n_rlimits = 1,
                             .no_new_privs = true,
                             .has_oom_score_adj = true,
                             .oom_score_adj = -5,
                             .apparmor_profile = "profile",
                             .selinux_label = "label",
                             .seccomp = filter,
                             .n_seccomp = 1,
                             .seccomp_flags = 2,
                             .seccomp_notify = true,
                             .scheduler = &scheduler,
                             .has_io_priority = true,
                             .io_priority_class = 2,
                             .io_priority = 5,
                             .cpu_affinity_initial = "0",
                             .cpu_affinity_final = "1,8-9",
                             .fds = preserved,
                             .n_fds = 2 },
                .domainname = "domain",
                .has_personality = true,
                .personality = 8,
                .memory_policy = &policy,
                .session_keyring = true,
                .outlives_parent = true,
        };
}

static struct reader build(const struct spec *spec, const struct plan_host *host, struct plan *plan) {
        struct err err = { 0 };
        struct plan_error e;
        struct reader r;

        if (plan_build_init(spec, host, plan, &err) < 0) {
                (void) fprintf(stderr, "%s\n", err.msg);
                abort();
        }
        assert(reader_map(&r, plan->fd, plan->n_fds, &e) == 0);
        return r;
}

static const struct plan_record *one(const struct reader *r, enum plan_op op) {
        const struct plan_record *rec = reader_find(r, NULL, op);

        assert(rec && !reader_find(r, rec, op));
        return rec;
}

static void test_round_trip(void) {
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        struct spec spec = rich_spec();
        struct reader r = build(&spec, &v2, &plan);
        const struct plan_record *rec;
        const char *strings[16];
        uint64_t caps[5];
        gid_t got[3];

        assert(plan.n_fds == 3); /* the start socket, and those preserved */
        rec = one(&r, PLAN_USER);
        assert(rec->flags == (PLAN_USER_BY_NAME | PLAN_USER_GROUP_BY_NAME) && str_eq(reader_string(rec, 0), "u") &&
               str_eq(reader_string(rec, 1), "g"));
        memcpy(got, reader_data(rec), sizeof(got));
        assert(rec->data_len == sizeof(gids) && memcmp(got, gids, sizeof(gids)) == 0);
        memcpy(caps, reader_data(one(&r, PLAN_CAPS)), sizeof(caps));
        assert(caps[0] == 1 && caps[4] == 5);
        assert((int64_t) one(&r, PLAN_OOM_SCORE_ADJ)->a == -5 && one(&r, PLAN_UMASK)->a == 027);
        rec = one(&r, PLAN_ARGS);
        reader_strings(rec, strings);
        assert(rec->n_str == 3 && str_eq(strings[0], args[0]) && !*strings[1] && str_eq(strings[2], "a b") &&
               !strings[3]);
        rec = one(&r, PLAN_ENV);
        reader_strings(rec, strings);
        assert(rec->n_str == 4 && str_eq(strings[0], "TERM=xterm") && str_eq(strings[1], "B=") &&
               str_eq(strings[2], "A=2") && str_eq(strings[3], "PATH=/bin"));
        rec = one(&r, PLAN_RLIMIT);
        assert(rec->a == RLIMIT_NOFILE && rec->b == 10 && rec->c == RLIM_INFINITY);
        assert(memcmp(reader_data(one(&r, PLAN_SECCOMP)), filter, sizeof(filter)) == 0);
        assert(one(&r, PLAN_SECCOMP)->a == 2 && one(&r, PLAN_SECCOMP)->flags == PLAN_SECCOMP_NOTIFY);
        assert(one(&r, PLAN_START_SOCKET)->fd == 0 && one(&r, PLAN_START_SOCKET)->a == geteuid() &&
               one(&r, PLAN_OUTLIVES_PARENT));
        rec = reader_find(&r, NULL, PLAN_PRESERVE);
        assert(rec->fd == 1 && reader_find(&r, rec, PLAN_PRESERVE)->fd == 2);
        assert(one(&r, PLAN_IO_PRIORITY)->a == (2 << 13 | 5) && one(&r, PLAN_PERSONALITY)->a == 8);
        rec = one(&r, PLAN_CPU_AFFINITY);
        assert(rec->data_len == 2 && memcmp(reader_data(rec), "\x02\x03", 2) == 0);
        rec = one(&r, PLAN_MEMORY_POLICY);
        assert(rec->a == 2 && rec->data_len == 16 && memcmp(reader_data(rec), "\1\0\0\0\0\0\0\0\1", 9) == 0);
        assert(str_eq(reader_string(one(&r, PLAN_KEYRING), 0), "_ses.x") && one(&r, PLAN_KEYRING)->a == 0x80000);
        assert(str_eq(reader_string(one(&r, PLAN_UTS), 1), "domain") &&
               str_eq(reader_string(one(&r, PLAN_REMOUNT), 1), "size=1m"));
        /* Before the mounts: the image's users; at the very end the root becomes read-only. */
        assert(one(&r, PLAN_USER) < reader_find(&r, NULL, PLAN_MOUNT));
        assert(reader_next(&r, one(&r, PLAN_ROOT_READONLY))->op == PLAN_RLIMIT);
        assert(one(&r, PLAN_MASK) < one(&r, PLAN_ROOT_READONLY) && one(&r, PLAN_CGROUP_NS) < one(&r, PLAN_USER));
        assert(one(&r, PLAN_SYSCTL) < one(&r, PLAN_READONLY));
        /* /dev: writable while it is being filled. */
        rec = reader_find(&r, NULL, PLAN_MOUNT);
        assert(str_eq(reader_string(rec, 2), "/dev") && !(rec->a & MS_RDONLY));
        assert(one(&r, PLAN_MKNOD) > rec);
        /* Quoted: there are commas in it. */
        assert(str_eq(reader_string(rec, 3), "mode=755,context=\"u:object_r:t:s0:c1,c2\"") &&
               str_eq(reader_string(one(&r, PLAN_MASK), 1), "u:object_r:t:s0:c1,c2"));
}

static void test_cgroup_v1(void) {
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        struct spec spec = rich_spec();
        struct reader r = build(&spec, &v1, &plan);
        const struct plan_record *rec = NULL;
        int found = 0;

        while ((rec = reader_find(&r, rec, PLAN_MOUNT)))
                if (str_eq(reader_string(rec, 0), "cgroup")) {
                        found++;
                        assert(rec->a & MS_RDONLY);
                        assert(str_eq(reader_string(rec, 3), found == 1 ? "cpu,cpuacct" : "none,name=systemd"));
                }
        assert(found == 2);
        for (found = 0; (rec = reader_find(&r, rec, PLAN_SYMLINK));)
                found += str_eq(reader_string(rec, 0), "cpu,cpuacct");
        assert(found == 2);
}

static void walk(const struct reader *r) {
        size_t sum = 0;

        for (const struct plan_record *rec = NULL; (rec = reader_next(r, rec));) {
                const unsigned char *data = reader_data(rec);

                for (uint32_t i = 0; i < rec->n_str; i++)
                        sum += strlen(reader_string(rec, i));
                for (uint32_t i = 0; i < rec->data_len; i++)
                        sum += data[i];
        }
        assert(sum);
}

/* In a block of its exact size, so that the sanitizers see any step outside. */
static bool accepts(const void *bytes, size_t size) {
        void *copy = malloc(size ? size : 1);
        struct plan_error e;
        struct reader r;
        bool ok;

        memcpy(copy, bytes, size);
        ok = reader_init(&r, copy, size, 8, &e) == 0;
        if (ok)
                walk(&r);
        else
                assert(e.text[0]);
        free(copy);
        return ok;
}

static void test_damaged(void) {
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        struct spec spec = rich_spec();
        struct reader r = build(&spec, &v1, &plan);
        size_t size = r.header->size, accepted = 0;
        unsigned char *copy = xcalloc(1, size);
        struct plan_header *header = (void *) copy;

        memcpy(copy, r.header, size);
        assert(accepts(copy, size));
        for (size_t n = 0; n < size; n++) {
                assert(!accepts(copy, n));
                header->size = (uint32_t) n; /* and with a header that agrees */
                assert(!accepts(copy, n));
                header->size = (uint32_t) size;
        }
        for (size_t i = 0; i < size; i++)
                for (int bit = 0; bit < 8; bit++) {
                        copy[i] ^= (unsigned char) (1 << bit);
                        accepted += accepts(copy, size);
                        copy[i] ^= (unsigned char) (1 << bit);
                }
        assert(accepted > 0 && accepted < size * 8); /* in names and numbers, which are anybody's */
        header->n_records--;
        assert(!accepts(copy, size));
        free(copy);
}

static void test_unsealed(void) {
        int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        struct plan_error e;
        struct reader r;

        assert(fd >= 0 && ftruncate(fd, 4096) == 0);
        assert(reader_map(&r, fd, 0, &e) < 0 && strstr(e.text, "not sealed"));
        (void) close(fd);
}

static void test_refused(void) {
        static const struct spec_rlimit twice[] = { { RLIMIT_NOFILE, 1, 1 }, { RLIMIT_NOFILE, 1, 1 } };
        struct spec_mount taken = { .destination = "/x", .source_fd = -1 };
        struct spec spec = rich_spec();
        struct plan plan = PLAN_EMPTY;
        struct err err = { 0 };

        spec.process.cwd = "relative";
        assert(plan_build_init(&spec, &v2, &plan, &err) == -ERR_INVALID && plan.fd == -1);
        spec = rich_spec();
        spec.process.rlimits = twice;
        spec.process.n_rlimits = 2;
        assert(plan_build_init(&spec, &v2, &plan, &err) == -ERR_INVALID);
        assert(plan_build_exec(&spec.process, NULL, NULL, &plan, &err) == -ERR_INVALID);
        spec = rich_spec();
        spec.process.user.n_additional_gids = SPEC_MAX_GROUPS + 1;
        spec.mounts = &taken;
        spec.n_mounts = 1;
        taken.source_fd = open("/", O_PATH | O_CLOEXEC);
        assert(plan_build_init(&spec, &v2, &plan, &err) == -ERR_INVALID);
        assert(fcntl(taken.source_fd, F_GETFD) < 0); /* taken in any case */
}

static void test_exec(void) {
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        struct spec spec = rich_spec();
        struct plan_error e;
        struct err err = { 0 };
        struct reader r;

        spec.process.user = (struct spec_user){ .uid = 5, .gid = 6, .resolved = true, .username = "ignored" };
        assert(plan_build_exec_in(&spec, &spec.process, &(struct plan_groups){ 0 }, &plan, &err) == 0);
        assert(reader_map(&r, plan.fd, plan.n_fds, &e) == 0);
        assert(one(&r, PLAN_PERSONALITY)->a == 8 && one(&r, PLAN_MEMORY_POLICY) &&
               one(&r, PLAN_CPU_AFFINITY_INITIAL)->data_len == 1);
        assert(one(&r, PLAN_USER)->flags == PLAN_USER_RESOLVED && one(&r, PLAN_TERMINAL) &&
               !reader_find(&r, NULL, PLAN_MOUNT));
}

int main(void) {
        test_round_trip();
        test_cgroup_v1();
        test_damaged();
        test_unsealed();
        test_refused();
        test_exec();
        return 0;
}
