/* SPDX-License-Identifier: Apache-2.0 */
/* test-config-json - what a spec says is what oci/ reads out of the config.json that is written for crun. */
#undef NDEBUG
#include <assert.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include "base/attr.h"
#include "base/str.h"
#include "oci/config.h"
#include "runtime/crun/config-json.h"
#include "security/caps.h"

enum { ARENA_MAX = 8 << 20 };

static const struct spec_mount mounts[] = {
        { .destination = "/proc", .type = "proc", .source = "proc", .flags = MS_NOSUID | MS_NODEV, .source_fd = -1 },
        { .destination = "/a",
          .type = "bind",
          .source = "/host/a",
          .recursive = true,
          .flags = MS_RDONLY | MS_NOEXEC,
          .recursive_readonly = true,
          .propagation = MS_SLAVE,
          .source_fd = -1 },
        { .destination = "/t", .type = "tmpfs", .data = "size=64k,mode=755", .source_fd = -1 },
        { .destination = "/b", .type = "bind", .source = "/host/b", .propagation = MS_SHARED, .source_fd = -1 },
        { .destination = "/image", .type = "overlay", .source_fd = 7 },
};
static const struct spec_rlimit rlimits[] = { { RLIMIT_NOFILE, 10, 20 } };
static const struct spec_device devices[] = {
        { .path = "/dev/x", .type = 'c', .major = 1, .minor = 3, .mode = 0640, .uid = 4, .gid = 5 }
};
static const struct spec_pair sysctls[] = { { "net.ipv4.ip_forward", "1" } };
static const struct spec_pair annotations[] = { { "a", "b" }, { "run.oci.hooks.stdout", "/etc/passwd" } };
static const struct id_map ids[] = { { 0, 100000, 65536 } };
static const gid_t groups[] = { 6, 8, 9 };
static const struct sock_filter filter[] = { { 0x06, 0, 0, 0x7fff0000 } };

static const char *const masked[] = { "/proc/kcore", NULL };
static const char *const readonly[] = { "/proc/sys", NULL };
static const char *const args[] = { "sh", "-c", "true", NULL };
static const char *const env[] = { "A=1", NULL };

static struct spec example(void) {
        const uint64_t caps = 1ull << CAP_CHOWN | 1ull << CAP_NET_RAW;
        struct spec s = {
                .id = "id",
                .readonly_rootfs = true,
                .cgroup_path = "/pods/id",
                .mounts = mounts,
                .n_mounts = ELEMENTSOF(mounts),
                .devices = devices,
                .n_devices = ELEMENTSOF(devices),
                .masked_paths = masked,
                .readonly_paths = readonly,
                .mount_label = "m:l",
                .sysctls = sysctls,
                .n_sysctls = ELEMENTSOF(sysctls),
                .annotations = annotations,
                .n_annotations = ELEMENTSOF(annotations),
                .hostname = "host",
                .user_ids = { ids, ids, 1, 1 },
        };

        s.ns[SPEC_NS_MNT].create = s.ns[SPEC_NS_PID].create = s.ns[SPEC_NS_CGROUP].create = true;
        s.ns[SPEC_NS_USER].create = s.ns[SPEC_NS_UTS].create = s.ns[SPEC_NS_IPC].create = true;
        s.ns[SPEC_NS_NET].path = "/proc/9/ns/net";
        s.process = (struct spec_process){
                .terminal = true,
                .rows = 24,
                .columns = 80,
                .args = args,
                .env = env,
                .cwd = "/work",
                .user = { .uid = 7, .gid = 8, .resolved = true, .additional_gids = groups, .n_additional_gids = 3 },
                .has_umask = true,
                .umask = 027,
                .caps = { caps, caps, caps, 0, 0 },
                .rlimits = rlimits,
                .n_rlimits = 1,
                .no_new_privs = true,
                .has_oom_score_adj = true,
                .oom_score_adj = -5,
                .apparmor_profile = "profile",
                .selinux_label = "s:l",
                .seccomp = filter,
                .n_seccomp = 1,
        };
        return s;
}

static void check_process(const struct spec_process *p, const struct spec_process *want) {
        assert(p->terminal && p->rows == want->rows && p->columns == want->columns);
        for (size_t i = 0; i < 4; i++)
                assert(str_eq(p->args[i], want->args[i]));
        assert(str_eq(p->env[0], "A=1") && str_eq(p->env[1], "TERM=xterm") && !p->env[2]);
        assert(str_eq(p->cwd, want->cwd) && p->user.uid == 7 && p->user.gid == 8 && p->user.n_additional_gids == 3);
        assert(memcmp(p->user.additional_gids, groups, sizeof(groups)) == 0);
        assert(p->has_umask && p->umask == want->umask && p->no_new_privs);
        assert(memcmp(&p->caps, &want->caps, sizeof(p->caps)) == 0);
        assert(p->n_rlimits == 1 && p->rlimits[0].resource == rlimits[0].resource &&
               p->rlimits[0].soft == rlimits[0].soft && p->rlimits[0].hard == rlimits[0].hard);
        assert(str_eq(p->apparmor_profile, "profile") && str_eq(p->selinux_label, "s:l"));
}

static void check_mounts(const struct spec *s) {
        assert(s->n_mounts == ELEMENTSOF(mounts));
        for (size_t i = 0; i < s->n_mounts; i++)
                assert(str_eq(s->mounts[i].destination, mounts[i].destination));
        assert(str_eq(s->mounts[0].type, "proc") && s->mounts[0].flags == mounts[0].flags);
        assert(str_eq(s->mounts[1].source, "/dir/m0") && s->mounts[1].recursive);
        assert((s->mounts[1].flags & ~(unsigned long) (MS_BIND | MS_REC)) == mounts[1].flags);
        assert(s->mounts[1].recursive_set == MOUNT_ATTR_RDONLY);
        assert((s->mounts[1].propagation & ~(unsigned long) MS_REC) == MS_SLAVE && !s->mounts[1].propagation_flat);
        assert(str_eq(s->mounts[2].data, "size=64k,mode=755"));
        assert(str_eq(s->mounts[3].source, "/dir/m1") && !s->mounts[3].recursive);
        assert(s->mounts[3].propagation & MS_SHARED);
        assert(str_eq(s->mounts[4].source, "/dir/m2") && str_eq(s->mounts[4].type, "bind"));
}

static void check_linux(const struct spec *s) {
        for (int i = 0; i < SPEC_NS_MAX; i++)
                assert(s->ns[i].create == (i != SPEC_NS_NET && i != SPEC_NS_TIME));
        assert(str_eq(s->ns[SPEC_NS_NET].path, "/proc/9/ns/net"));
        assert(s->user_ids.n_uids == 1 && memcmp(s->user_ids.uids, ids, sizeof(ids)) == 0);
        assert(s->user_ids.n_gids == 1 && memcmp(s->user_ids.gids, ids, sizeof(ids)) == 0);
        assert(s->n_devices == 1 && str_eq(s->devices[0].path, "/dev/x") && s->devices[0].type == 'c');
        assert(s->devices[0].major == 1 && s->devices[0].minor == 3 && s->devices[0].mode == 0640);
        assert(s->devices[0].uid == 4 && s->devices[0].gid == 5);
        assert(s->n_sysctls == 1 && str_eq(s->sysctls[0].key, sysctls[0].key) && str_eq(s->sysctls[0].value, "1"));
        assert(str_eq(s->masked_paths[0], "/proc/kcore") && !s->masked_paths[1]);
        assert(str_eq(s->readonly_paths[0], "/proc/sys") && !s->readonly_paths[1]);
        assert(s->rootfs_propagation & MS_SHARED); /* or what it shares would not get out */
        assert(str_eq(s->mount_label, "m:l"));
}

static void test_read_back(void) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        struct spec s = example();
        struct oci_config c;
        const char *text;
        struct err err;

        assert(crun_config_json(&s, "/dir", arena, &text, &err) == 0);
        if (oci_config_parse(text, strlen(text), "/bundle", arena, &c, &err) < 0) {
                (void) fprintf(stderr, "%s\n%s", err.msg, text);
                assert(false);
        }
        assert(str_eq(c.root_path, "/dir/root") && c.spec.readonly_rootfs && str_eq(c.spec.hostname, "host"));
        assert(str_eq(c.cgroups_path, "/pods/id"));
        check_process(&c.spec.process, &s.process);
        assert(!c.spec.process.has_oom_score_adj); /* set from outside */
        check_mounts(&c.spec);
        check_linux(&c.spec);
        /* What steers crun is ours alone. */
        assert(c.spec.n_annotations == 2 && !strstr(text, "run.oci.hooks"));
        assert(strstr(text, "\"run.oci.seccomp_bpf_data\": \"BgAAAAAA/38=\""));
}

/* Those of creation are crun's, and what they write comes to us; the others are ours. */
static void test_hooks(void) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        static const char *const none[] = { NULL };
        static const struct spec_hook hook = { .path = "/a-hook", .args = none, .env = none };
        struct spec s = example();
        struct oci_config c;
        const char *text;
        struct err err;

        for (int i = 0; i < SPEC_HOOK_MAX; i++) {
                s.hooks.list[i] = &hook;
                s.hooks.n[i] = i != SPEC_HOOK_START_CONTAINER;
        }
        assert(crun_config_json(&s, "/dir", arena, &text, &err) == 0);
        assert(strstr(text, "\"run.oci.hooks.stderr\": \"/dir/hooks\"") && !strstr(text, "/etc/passwd"));
        assert(oci_config_parse(text, strlen(text), "/bundle", arena, &c, &err) == 0);
        for (int i = 0; i < SPEC_HOOK_MAX; i++)
                assert(c.spec.hooks.n[i] ==
                       (i == SPEC_HOOK_PRESTART || i == SPEC_HOOK_CREATE_RUNTIME || i == SPEC_HOOK_CREATE_CONTAINER));
        /* That runs when nobody reads any more. */
        s.hooks.n[SPEC_HOOK_START_CONTAINER] = 1;
        assert(crun_config_json(&s, "/dir", arena, &text, &err) == 0 && !strstr(text, "run.oci.hooks"));
}

static void test_refusals(void) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        struct spec s = example();
        const char *text;
        struct err err;

        s.process.args = (const char *const[]){ "\xff", NULL };
        assert(crun_config_json(&s, "/dir", arena, &text, &err) == -ERR_INVALID && strstr(err.msg, "process.args"));
        s = example();
        s.outer_pid_ns = "/proc/1/ns/pid";
        assert(crun_config_json(&s, "/dir", arena, &text, &err) == -ERR_UNIMPLEMENTED);
        assert(strstr(err.msg, "PID namespace"));
}

int main(void) {
        test_read_back();
        test_hooks();
        test_refusals();
        return 0;
}
