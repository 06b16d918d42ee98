/* SPDX-License-Identifier: Apache-2.0 */
/* The scanner of state.json and jansson agree on all that the scanner takes, and what it leaves is jansson's. A process
 * is alive by its identity exactly while it is. */
#undef NDEBUG
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/proc.h"
#include "base/str.h"
#include "oci/state.h"

static struct err err;

static bool scan(struct arena *arena, const char *text, struct oci_state *ret) {
        return oci_state_scan(text, strlen(text), "one", arena, ret);
}

/* By both, and as it is written again. */
static void same(struct arena *arena, const char *text) {
        _cleanup_(freep) char *a = NULL, *b = NULL;
        struct oci_state scanned, loaded;

        assert(scan(arena, text, &scanned));
        assert(oci_state_load(text, strlen(text), "one", arena, &loaded, &err) == 0);
        a = oci_state_text(&scanned);
        b = oci_state_text(&loaded);
        assert(str_eq(a, b));
}

static void test_whole(struct arena *arena) {
        const struct spec_pair pairs[] = { { .key = "a", .value = "{\"b\":\"c\\d\"}\n\t" },
                                           { .key = "", .value = "" } };
        struct oci_state s = OCI_STATE_EMPTY("one"), back;
        _cleanup_(freep) char *text = NULL;

        s.bundle = "/a/\"b\"";
        s.pid = 4711;
        s.start_time = 123456789012345;
        s.identity = 0x7ffffffffffff;
        s.vmid = 999999999;
        s.cgroup_made = s.own_keyring = true;
        s.annotations = pairs;
        s.n_annotations = ELEMENTSOF(pairs);
        text = oci_state_text(&s);
        assert(text && scan(arena, text, &back));
        assert(str_eq(back.bundle, s.bundle) && back.pid == s.pid && back.start_time == s.start_time &&
               back.identity == s.identity && back.vmid == s.vmid && back.cgroup_made && !back.cgroup_making &&
               back.own_keyring && !back.own_pid_ns && back.n_annotations == 2 &&
               str_eq(back.annotations[0].value, pairs[0].value) && *back.annotations[1].key == '\0');
        same(arena, text);
        /* Cut anywhere it is no state. */
        for (size_t n = 0; n < strlen(text); n++)
                assert(!oci_state_scan(text, n, "one", arena, &back) &&
                       oci_state_parse(text, n, "one", arena, &back, &err) < 0);
}

static void test_texts(struct arena *arena) {
        static const char *const scanned[] = {
                "{}",
                "{\"pid\":0}",
                "{\"annotations\":{}}",
                "{\"annotations\":{\"k\":\"v\"},\"pid\":1,\"bundle\":\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"}",
        };
        /* Fine, but for jansson; or nothing that is a state. */
        static const char *const left[] = {
                "{ }",
                "{}\n",
                "{\"pid\":-1}",
                "{\"pid\":01}",
                "{\"pid\":1.5}",
                "{\"pid\":1e3}",
                "{\"pid\":\"1\"}",
                "{\"pid\":}",
                "{\"pid\":1,}",
                "{,\"pid\":1}",
                "{\"pid\":1 }",
                "{\"pid\":1}}",
                "{\"pid\":1,\"pid\":2}",
                "{\"pid\":null}",
                "{\"new\":1}",
                "{\"pi\":1}",
                "{\"pidd\":1}",
                "{\"pid\":9223372036854775807}",
                "{\"cgroupMade\":1}",
                "{\"cgroupMade\":truee}",
                "{\"bundle\":\"\\u0041\"}",
                "{\"bundle\":\"\\x\"}",
                "{\"bundle\":\"\\\"}",
                "{\"bundle\":\"\303\244\"}",
                "{\"bundle\":\"\n\"}",
                "{\"bundle\":\"a",
                "{\"annotations\":{\"a\":\"1\",\"a\":\"2\"}}",
                "{\"annotations\":{\"a\":1}}",
                "{\"annotations\":[]}",
                "{\"annotations\":{\"a\":\"1\",}}",
                "{\"annotations\":{}",
                "[]",
                "",
                "{",
                "{\"",
                "{\"bundle\":\"\\",
        };
        struct oci_state s;

        for (size_t i = 0; i < ELEMENTSOF(scanned); i++)
                same(arena, scanned[i]);
        for (size_t i = 0; i < ELEMENTSOF(left); i++)
                assert(!scan(arena, left[i], &s));
}

/* A state of an older version has fewer fields; one by a newer has more. */
static void test_versions(struct arena *arena) {
        static const char older[] = "{\"id\":\"x\",\"bundle\":\"/b\",\"pid\":7,\"startTime\":9,\"annotations\":{}}",
                          newer[] = "{\"id\":\"x\",\"bundle\":\"/b\",\"pid\":7,\"startTime\":9,\"more\":[1,{\"a\":2}]}";
        struct oci_state s;

        assert(oci_state_parse(older, strlen(older), "one", arena, &s, &err) == 0);
        assert(str_eq(s.id, "one") && s.pid == 7 && s.start_time == 9 && s.identity == 0);
        assert(oci_state_parse(newer, strlen(newer), "one", arena, &s, &err) == 0);
        assert(str_eq(s.id, "one") && s.pid == 7 && s.start_time == 9 && str_eq(s.bundle, "/b") && *s.scope == '\0');
}

static void test_identity(void) {
        pid_t pid = fork();
        uint64_t start, identity;
        siginfo_t info;
        int fd;

        if (pid == 0)
                for (;;)
                        (void) pause();
        start = proc_start_time(pid);
        fd = proc_open(pid, start);
        assert(fd >= 0);
        identity = proc_identity(fd);
        assert(identity == proc_identity(fd));
        assert(proc_is_alive_by(pid, start, identity) && proc_is_alive_by(pid, start, 0));
        if (identity) { /* else the kernel is older than 6.9 */
                assert(!proc_is_alive_by(pid, start, identity + 1));
                assert(!proc_is_alive_by(getpid(), proc_start_time(getpid()), identity));
        }
        assert(!proc_is_alive_by(pid, start + 1, 0) && !proc_is_alive_by(0, start, identity));
        assert(kill(pid, SIGKILL) == 0 && waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT) == 0);
        assert(!proc_is_alive_by(pid, start, identity)); /* a zombie */
        assert(waitpid(pid, NULL, 0) == pid);
        assert(!proc_is_alive_by(pid, start, identity));
        (void) close(fd);
}

int main(void) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 << 20);

        test_whole(arena);
        test_texts(arena);
        test_versions(arena);
        test_identity();
        return 0;
}
