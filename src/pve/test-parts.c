/* SPDX-License-Identifier: Apache-2.0 */
/* What needs no server: encoding, kinds of errors, UPIDs, the order of hosts, secrets, loose types. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/str.h"
#include "pve/error.h"
#include "pve/hosts.h"
#include "pve/json.h"
#include "pve/params.h"
#include "pve/secret.h"
#include "pve/upid.h"

static void test_params(void) {
        _cleanup_params_ struct pve_params p = PVE_PARAMS, more = PVE_PARAMS;
        _cleanup_strbuf_ struct strbuf path = STRBUF(1000);
        char *large = calloc(PVE_PARAMS_MAX, 1);

        pve_params_add(&p, &more);
        pve_param(&p, "entrypoint", "/bin/sh -c 'a;b&c=d+e%' \xc3\xa4\n");
        pve_param(&p, "none", NULL);
        pve_param_bytes(&p, "env", "A=1\0B=x y", 9);
        pve_param_u64(&p, "vmid", 110);
        pve_param_printf(&p, "net0", "name=%s", "eth0");
        pve_param(&p, "description", "");
        assert(str_eq(strbuf_str(&p.encoded),
                      "entrypoint=%2Fbin%2Fsh%20-c%20%27a%3Bb%26c%3Dd%2Be%25%27%20%C3%A4%0A&env=A%3D1%00B%3Dx%20y&"
                      "vmid=110&net0=name%3Deth0&description="));
        pve_param_u64(&more, "a", 1);
        pve_params_add(&more, &p);
        assert(str_after(strbuf_str(&more.encoded), "a=1&entrypoint=") && !more.encoded.overflow);
        pve_param_bytes(&more, "env", large, PVE_PARAMS_MAX);
        assert(more.encoded.overflow);
        pve_encode_path(&path, "/nodes/n/tasks/UPID:n:1:x:root@pam!k8s:/a b?c#d%2f\xff");
        assert(str_eq(strbuf_str(&path), "/nodes/n/tasks/UPID:n:1:x:root@pam!k8s:/a%20b%3Fc%23d%252f%FF"));
        free(large);
}

static void test_kinds(void) {
        static const struct {
                unsigned status;
                const char *text;
                enum pve_kind kind;
        } cases[] = {
                { 500, "CT is locked (disk)\n", PVE_LOCKED },
                { 0, "CT is locked (create)", PVE_LOCKED },
                { 500, "can't lock file '/run/lock/lxc/pve-config-170.lock' - got timeout\n", PVE_LOCK_TIMEOUT },
                { 500, "cfs-lock 'storage-x' error: got lock request timeout", PVE_LOCK_TIMEOUT },
                { 0, "unable to create CT 9 - can't lock file '/run/lock/x' - got timeout", PVE_LOCK_TIMEOUT },
                { 500, "cfs-lock 'file-user_cfg' error: no quorum!", PVE_NO_QUORUM },
                { 500, "unable to open file '/etc/pve/nodes/n/lxc/1.conf.tmp.7' - Permission denied", PVE_NO_QUORUM },
                { 500, "unable to open file '/etc/shadow' - Permission denied", PVE_OTHER },
                { 0, "unable to restore CT 9 - CT 9 already exists on node 'pve1'", PVE_EXISTS },
                { 500, "storage 'ceph' is not available on node 'pve1'", PVE_NO_STORAGE },
                { 500, "storage 'nfs' is not online", PVE_NO_STORAGE },
                { 500, "detected modified configuration - file changed by other user? Try again.\n", PVE_MODIFIED },
                { 500, "cluster not ready - no quorum?", PVE_NO_QUORUM },
                { 500, "Configuration file 'nodes/pve1/lxc/999.conf' does not exist\n", PVE_MISSING },
                { 0, "Configuration file 'nodes/pve1/lxc/131.conf' does not exist", PVE_MISSING },
                { 500, "CT 110 already exists on node 'pve1'\n", PVE_EXISTS },
                { 0, "unable to create CT 112 - CT 112 already exists on node 'pve1'", PVE_EXISTS },
                { 0, "snapshot name 's1' already used", PVE_EXISTS },
                { 0, "snapshot 's1' does not exist", PVE_NO_SNAPSHOT },
                { 500, "CT 110 not running\n", PVE_NOT_RUNNING },
                { 500, "CT 111 already running\n", PVE_ALREADY_RUNNING },
                { 500, "unable to destroy CT 110 - container is running\n", PVE_RUNNING },
                { 500, "can't migrate running container without --online or --restart\n", PVE_RUNNING },
                { 0, "unable to create CT 112 - volume 'local:vztmpl/none.tar' does not exist", PVE_NO_VOLUME },
                { 500, "storage 'nope' does not exist", PVE_NO_STORAGE },
                { 500, "no such cluster node 'pve2'\n", PVE_NO_NODE },
                { 500,
                  "hostname lookup 'pve9' failed - failed to get address info for: pve9: Temporary failure in name "
                  "resolution\n",
                  PVE_NO_NODE },
                { 0, "unexpected status", PVE_TASK_KILLED },
                { 0, "write: No space left on device at x", PVE_NO_SPACE },
                { 501, "Method 'GET /nope' not implemented", PVE_UNSUPPORTED },
                { 403, "Permission check failed (/, Sys.Modify)\n", PVE_PERMISSION },
                { 401, "No ticket", PVE_AUTH },
                { 400, "vmid: invalid format - value does not look like a valid VM ID", PVE_BAD_PARAMETER },
                { 400, "upid: no such task", PVE_NO_TASK },
                { 595, "Connection refused", PVE_NODE_UNREACHABLE },
                { 503, "", PVE_UNREACHABLE },
                { 302, "Found", PVE_FOREIGN },
                { 404, "Not Found", PVE_FOREIGN },
                { 500, "unable to create template, because CT contains snapshots\n", PVE_OTHER },
                { 500, "", PVE_OTHER },
                /* Only the whole message counts: it may quote a name or a program's output. */
                { 0, "clone failed: CT is locked (disk)", PVE_OTHER },
                { 0, "rsync: Configuration file 'nodes/pve1/lxc/131.conf' does not exist", PVE_OTHER },
                { 0, "Configuration file 'nodes/pve1/lxc/131.conf' does not exist anywhere", PVE_OTHER },
                { 0, "Configuration file 'nodes/pve1/lxc/.conf' does not exist", PVE_OTHER },
                { 0, "CT x not running", PVE_OTHER },
                { 0, "CT 1 not runnin", PVE_OTHER },
                { 0, "failed\nCT 110 not running", PVE_OTHER },
                { 0, "CT 110 not running\nwhat follows", PVE_NOT_RUNNING },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                enum pve_kind kind = pve_kind_of(cases[i].status, cases[i].text);

                if (kind != cases[i].kind)
                        (void) fprintf(stderr, "%s: %s\n", cases[i].text, pve_kind_name(kind));
                assert(kind == cases[i].kind);
        }
}

static void test_raise(void) {
        char text[3000], line[] = "a\nb\tc\x7f\x1b \n\n";
        struct err err;

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        assert(pve_raise(&err, PVE_LOCKED, "start: %s", "CT is locked (disk)") == -ERR_ABORTED);
        assert(pve_kind(&err) == PVE_LOCKED && str_after(err.msg, "start: CT is locked (disk) (another operation"));
        assert(err_wrap(&err, "pod") == -ERR_ABORTED && pve_kind(&err) == PVE_LOCKED);
        assert(pve_raise(&err, PVE_NO_SPACE, "%s", text) == -ERR_EXHAUSTED);
        assert(str_ends_with(err.msg, "x (make room on the storage)"));
        assert(err_set(&err, ERR_INTERNAL, "other") < 0 && pve_kind(&err) == PVE_NONE);
        pve_one_line(line, 100);
        assert(str_eq(line, "a;b c  "));
        pve_one_line(line, 3);
        assert(str_eq(line, "a;b"));
        assert(str_eq(pve_kind_name(PVE_LOCKED), "LOCKED"));
}

static void test_upid(void) {
        static const char *const bad[] = {
                "",
                "UPID:",
                "UPID:pve1:000000BF:00028E3C:6B0607E9:vzcreate:110:root@pam!k8s",
                "UPID:pve1:000000BF:00028E3C:6B0607E9:vzcreate:110:root@pam!k8s:x",
                "UPID:pve1:0000BF:00028E3C:6B0607E9:vzcreate:110:root@pam:",
                "UPID:pve1:000000BF:00028E3C:6B0607E9A:vzcreate:110:root@pam:",
                "UPID:pve1:000000BG:00028E3C:6B0607E9:vzcreate:110:root@pam:",
                "UPID:pve1/..:000000BF:00028E3C:6B0607E9:vzcreate:110:root@pam:",
                "UPID:-pve1:000000BF:00028E3C:6B0607E9:vzcreate:110:root@pam:",
                "UPID::000000BF:00028E3C:6B0607E9:vzcreate:110:root@pam:",
                "UPID:pve1:000000BF:00028E3C:6B0607E9::110:root@pam:",
                "UPID:pve1:000000BF:00028E3C:6B0607E9:vzcreate:1/0:root@pam:",
                "UPID:pve1:000000BF:00028E3C:6B0607E9:vzcreate:110:root:",
                "UPID:pve1:000000BF:00028E3C:6B0607E9:vzcreate:110:../@pam:",
                "UPID:pve1:000000BF:00028E3C:6B0607E9:vzcreate:110:ro ot@pam:",
                "UPID:pve1:000000BF:00028E3C:6B0607E9:vzcreate:110:@pam:",
                " UPID:pve1:000000BF:00028E3C:6B0607E9:vzcreate:110:root@pam:",
        };
        struct upid u;

        assert(upid_parse("UPID:pve1:000000BF:00028E3C:6B0607E9:vzcreate:110:root@pam!k8s:", &u));
        assert(str_eq(u.node, "pve1") && u.pid == 0xbf && u.pstart == 0x28e3c && u.starttime == 0x6b0607e9);
        assert(str_eq(u.type, "vzcreate") && str_eq(u.id, "110") && str_eq(u.user, "root@pam!k8s"));
        assert(upid_parse("UPID:pve-1:00000000:100000000:00000000:x::root@pam:", &u) && !*u.id);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(!upid_parse(bad[i], &u));
}

static void expect_order(struct hosts *h, uint64_t now_ms, const char *want) {
        size_t order[HOSTS_MAX], n = hosts_order(h, now_ms * 1000000, order);
        char text[HOSTS_MAX + 1] = "";

        for (size_t i = 0; i < n; i++)
                text[i] = (char) ('0' + order[i]);
        if (!str_eq(text, want))
                (void) fprintf(stderr, "at %llu: %s instead of %s\n", (unsigned long long) now_ms, text, want);
        assert(str_eq(text, want));
}

static void test_hosts(void) {
        static const char *const bad[] = { "",       "a/b",   "a:b",    "a:0", "a:65536", "a:",    "https://a",
                                           "[::1",   "[]",    "[::1]x", "u@a", "a b",     ".a",    "-a",
                                           "[::1]:", "a:1:2", "::1",    "a?b", "a#b",     "[g::]", "a%20" };
        struct hosts *h;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(hosts_new((const char *const[]){ bad[i], NULL }, &h, &err) == -ERR_INVALID);
        assert(hosts_new((const char *const[]){ NULL }, &h, &err) == -ERR_INVALID);
        assert(hosts_new((const char *const[]){ "a", "10.0.0.1:443", "[fe80::1]", NULL }, &h, &err) == 0);
        assert(str_eq(hosts_name(h, 0), "a:8006") && str_eq(hosts_name(h, 1), "10.0.0.1:443"));
        assert(str_eq(hosts_name(h, 2), "[fe80::1]:8006"));
        expect_order(h, 1000, "012");
        hosts_failed(h, 0, 1000 * 1000000ull);
        expect_order(h, 1001, "120");
        /* After a second one request tries it; others don't, for as long. */
        expect_order(h, 2000, "012");
        expect_order(h, 2001, "120");
        hosts_failed(h, 0, 2001 * 1000000ull);
        expect_order(h, 3900, "120");
        expect_order(h, 4001, "012");
        hosts_failed(h, 0, 4001 * 1000000ull);
        hosts_failed(h, 1, 4001 * 1000000ull);
        expect_order(h, 4100, "210");
        hosts_failed(h, 2, 4101 * 1000000ull);
        expect_order(h, 4200, "120"); /* none is left out; the one whose time comes first is first */
        hosts_worked(h, 0);
        expect_order(h, 4300, "012");
        for (int i = 0; i < 40; i++)
                hosts_failed(h, 0, 5000 * 1000000ull);
        expect_order(h, 64999, "120"); /* a minute at most; the others' times are over */
        expect_order(h, 65000, "012");
        h = hosts_free(h);
}

static int read_secret(const char *content, size_t len, mode_t mode, struct secret **ret, struct err *err) {
        char path[] = "/tmp/test-pve.XXXXXX";
        int fd = mkostemp(path, O_CLOEXEC), r;

        assert(fd >= 0 && write(fd, content, len) == (ssize_t) len && fchmod(fd, mode) == 0 && close(fd) == 0);
        r = secret_read(path, ret, err);
        (void) unlink(path);
        return r;
}

static bool is_dumped(const void *p) {
        char line[500];
        bool inside = false, dumped = true;
        FILE *f = fopen("/proc/self/smaps", "re");

        assert(f);
        while (fgets(line, sizeof(line), f)) {
                char *rest;
                unsigned long from = strtoul(line, &rest, 16);

                if (*rest == '-')
                        inside = from <= (unsigned long) p && (unsigned long) p < strtoul(rest + 1, NULL, 16);
                else if (inside && str_after(line, "VmFlags:"))
                        dumped = !strstr(line, " dd");
        }
        (void) fclose(f);
        return dumped;
}

static void test_secret(void) {
        static char large[SECRET_MAX + 10];
        char text[] = "got abc-def and abc-def, not abc";
        struct secret *s = NULL, *t;
        struct err err;

        assert(read_secret("abc-def\n\n", 9, 0600, &s, &err) == 0 && str_eq(secret_text(s), "abc-def"));
        assert(!is_dumped(secret_text(s)) && is_dumped(large));
        secret_hide(s, text);
        assert(str_eq(text, "got ******* and *******, not abc"));
        secret_hide(NULL, text);
        t = secret_ref(s);
        s = secret_unref(s);
        assert(str_eq(secret_text(t), "abc-def"));
        t = secret_unref(t);
        assert(read_secret("x", 1, 0640, &s, &err) == -ERR_PRECONDITION && strstr(err.msg, "chmod 600"));
        assert(read_secret("x", 1, 0604, &s, &err) == -ERR_PRECONDITION);
        assert(read_secret("\n", 1, 0600, &s, &err) == -ERR_INVALID);
        assert(read_secret("a\nb", 3, 0600, &s, &err) == -ERR_INVALID);
        assert(read_secret("a\0b", 3, 0600, &s, &err) == -ERR_INVALID);
        assert(read_secret(large, sizeof(large), 0600, &s, &err) == -ERR_INVALID);
        assert(secret_read("/tmp", &s, &err) == -ERR_PRECONDITION);
        assert(secret_read("/tmp/test-pve.missing", &s, &err) == -ERR_INTERNAL);
        assert(secret_new("A: ", "b\r\nc", &s, &err) == -ERR_INVALID &&
               secret_new("A: ", "", &s, &err) == -ERR_INVALID);
        assert(secret_new("A: ", "bcd", &s, &err) == 0 && str_eq(secret_text(s), "A: bcd"));
        (void) strcpy(text, "A: bcd");
        secret_hide(s, text);
        assert(str_eq(text, "A: ***"));
        s = secret_unref(s);
}

static void test_json(void) {
        json_t *o = json_pack("{s:i,s:s,s:b,s:i,s:s,s:f,s:n,s:s}", "one", 1, "text", "12", "yes", 1, "minus", -1,
                              "word", "1x", "real", 1.5, "null", "on", "1");
        uint64_t v;

        assert(o && pve_json_u64(o, "one", &v) && v == 1 && pve_json_u64(o, "text", &v) && v == 12);
        assert(!pve_json_u64(o, "minus", &v) && !pve_json_u64(o, "word", &v) && !pve_json_u64(o, "real", &v));
        assert(!pve_json_u64(o, "null", &v) && !pve_json_u64(o, "none", &v) && !pve_json_u64(NULL, "one", &v));
        assert(pve_json_true(o, "one") && pve_json_true(o, "yes") && pve_json_true(o, "on"));
        assert(!pve_json_true(o, "text") && !pve_json_true(o, "none") && !pve_json_true(o, "null"));
        assert(str_eq(pve_json_str(o, "word"), "1x") && !pve_json_str(o, "one") && !pve_json_str(NULL, "one"));
        json_decref(o);
}

int main(void) {
        test_params();
        test_kinds();
        test_raise();
        test_upid();
        test_hosts();
        test_secret();
        test_json();
        return 0;
}
