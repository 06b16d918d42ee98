/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as CRIU's own Python module (pycriu, rpc.proto of 3.17) reads and writes them. */
#undef NDEBUG
#include <assert.h>
#include <sched.h>
#include <string.h>
#include "base/str.h"
#include "oci/criu-wire.h"

static void check(const struct strbuf *got, const char *hex) {
        char text[2048];

        assert(!got->overflow && got->len * 2 < sizeof(text));
        hex_encode(got->data, got->len, text);
        if (!str_eq(text, hex))
                (void) fprintf(stderr, "got  %s\nwant %s\n", text, hex);
        assert(str_eq(text, hex));
}

static void test_dump(void) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(CRIU_MESSAGE_MAX);
        const struct criu_pair mounts[] = { { "/etc/hosts", "/etc/hosts" } };
        const char *external[] = { "net[1]:n" };
        struct criu_options o = { .images_fd = 5,
                                  .work_fd = 6,
                                  .pid = 300,
                                  .log_file = "d",
                                  .leave_running = true,
                                  .orphan_terminal = true,
                                  .cgroups = CRIU_CGROUPS_SOFT,
                                  .status_fd = -1,
                                  .mounts = mounts,
                                  .n_mounts = 1,
                                  .external = external,
                                  .n_external = 1 };

        criu_request_encode(CRIU_DUMP, &o, &out);
        check(&out, "0801"         /* type: DUMP */
                    "123e"         /* opts, 62 bytes */
                    "0805880106"   /* images_dir_fd 5, work_dir_fd 6 */
                    "10ac02"       /* pid 300 */
                    "4804520164"   /* log_level 4, log_file "d" */
                    "1801900301"   /* leave_running, orphan_pts_master */
                    "c00101900203" /* manage_cgroups, manage_cgroups_mode SOFT */
                    "ba0118"       /* ext_mnt, 24 bytes */
                    "0a0a2f6574632f686f737473120a2f6574632f686f737473"
                    "aa02086e65745b315d3a6e"); /* external */
}

static void test_restore(void) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(CRIU_MESSAGE_MAX);
        const struct criu_fd inherited[] = { { "pipe:[1]", 1 } };
        const struct criu_pair joined[] = { { "ipc", "/i" } };
        struct criu_options o = { .images_fd = 5,
                                  .work_fd = 5,
                                  .root = "/r",
                                  .restore_sibling = true,
                                  .cgroups = CRIU_CGROUPS_UNSET,
                                  .cgroup_root = "/g",
                                  .empty_ns = CLONE_NEWNET,
                                  .status_fd = 7,
                                  .inherited = inherited,
                                  .n_inherited = 1,
                                  .joined = joined,
                                  .n_joined = 1 };

        criu_request_encode(CRIU_RESTORE, &o, &out);
        check(&out, "0802"                           /* type: RESTORE */
                    "123d"                           /* opts, 61 bytes */
                    "0805880105"                     /* images_dir_fd, work_dir_fd */
                    "4804"                           /* log_level */
                    "6a022f72"                       /* root */
                    "d00101c00101"                   /* rst_sibling, manage_cgroups */
                    "ca010412022f67"                 /* cg_root { path } */
                    "b0028080808004"                 /* empty_ns */
                    "880307"                         /* status_fd */
                    "da010c0a08706970653a5b315d1001" /* inherit_fd */
                    "ba02090a0369706312022f69");     /* join_ns */
}

static void test_notified(void) {
        _cleanup_strbuf_ struct strbuf yes = STRBUF(64), no = STRBUF(64);

        criu_notified_encode(true, &yes);
        check(&yes, "08061801");
        criu_notified_encode(false, &no);
        check(&no, "08061800");
}

static void test_replies(void) {
        static const uint8_t note[] = "\x08\x06\x10\x01\x2a\x11\x0a\x0cpost-restore\x10\xac\x02",
                             restored[] = "\x08\x02\x10\x01\x22\x03\x08\xac\x02",
                             failed[] = "\x08\x01\x10\x00\x38\x0d\x4a\x02no\x5a\x00";
        struct arena *arena = arena_new(1 << 16);
        struct criu_reply reply;
        struct err err;

        assert(criu_reply_decode(note, sizeof(note) - 1, arena, &reply, &err) == 0);
        assert(reply.type == CRIU_NOTIFY && reply.pid == 300 && str_eq(reply.script, "post-restore"));
        assert(criu_reply_decode(restored, sizeof(restored) - 1, arena, &reply, &err) == 0);
        assert(reply.type == CRIU_RESTORE && reply.success && reply.pid == 300);
        assert(criu_reply_decode(failed, sizeof(failed) - 1, arena, &reply, &err) == 0);
        assert(reply.type == CRIU_DUMP && !reply.success && reply.sys_errno == 13 && str_eq(reply.message, "no"));
        /* Cut anywhere it is a shorter message, or none; never more. */
        for (size_t i = 0; i < sizeof(note) - 1; i++)
                assert(criu_reply_decode(note, i, arena, &reply, &err) < 0 || reply.type == CRIU_NOTIFY);
        assert(criu_reply_decode("", 0, arena, &reply, &err) == -ERR_INVALID);
        assert(criu_reply_decode("\x08", 1, arena, &reply, &err) == -ERR_INVALID);
        assert(criu_reply_decode("\x08\x06\x2a\x7f", 4, arena, &reply, &err) == -ERR_INVALID);
        assert(criu_reply_decode("\x08\x06\x0f", 3, arena, &reply, &err) == -ERR_INVALID);
        arena_free(arena);
}

int main(void) {
        test_dump();
        test_restore();
        test_notified();
        test_replies();
        return 0;
}
