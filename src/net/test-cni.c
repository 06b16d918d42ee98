/* SPDX-License-Identifier: Apache-2.0 */
/* test-cni - configurations, results, and the chain over plug-ins that are shell scripts of this test: their order,
 * what they are given, and what happens when they fail, hang, babble or are missing. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "net/cni-conf.h"
#include "net/cni-result.h"
#include "net/net.h"

static char root[] = "/tmp/test-cni.XXXXXX";
static char conf_dir[64], bin_dir[64];

/* --- no I/O ---------------------------------------------------------------------------------------------------------
 */

static void test_conf(void) {
        static const struct {
                const char *text, *version; /* NULL: refused */
                const char *why;
        } cases[] = {
                { "{\"name\":\"n\",\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"a\"}]}", "1.0.0", NULL },
                { "{\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}", "0.1.0", NULL },
                { "{\"name\":\"n\",\"cniVersion\":\"0.4.0\",\"cniVersions\":[\"0.3.1\",\"1.1.0\",\"9.0.0\"],"
                  "\"plugins\":[]}",
                  "1.1.0", NULL },
                { "{\"name\":\"n\",\"cniVersion\":\"1.0.0\",\"type\":\"a\"}", "1.0.0", NULL },
                { "{\"name\":\"n\",\"cniVersion\":\"2.0.0\",\"plugins\":[{\"type\":\"a\"}]}", NULL, "2.0.0" },
                { "{\"name\":\"../n\",\"plugins\":[{\"type\":\"a\"}]}", NULL, "name" },
                { "{\"plugins\":[{\"type\":\"a\"}]}", NULL, "name" },
                { "{\"name\":\"n\",\"plugins\":[{\"type\":\"../a\"}]}", NULL, "type" },
                { "{\"name\":\"n\",\"plugins\":[{\"type\":\"..\"}]}", NULL, "type" },
                { "{\"name\":\"n\",\"plugins\":[{\"type\":7}]}", NULL, "type" },
                { "{\"name\":\"n\",\"plugins\":[7]}", NULL, "object" },
                { "{\"name\":\"n\",\"plugins\":{}}", NULL, "list" },
                { "{\"name\":\"n\",\"plugins\":[{\"type\":\"a\",\"capabilities\":{\"x\":1}}]}", NULL, "capability" },
                { "{\"name\":\"n\",\"plugins\":[{\"type\":\"a\",\"ipam\":{\"type\":\"/bin/sh\"}}]}", NULL, "ipam" },
                { "{\"name\":\"n\",\"cniVersion\":1,\"plugins\":[]}", NULL, "cniVersion" },
                { "[]", NULL, "object" },
                { "{\"name\":", NULL, "line 1" },
                { "", NULL, "line" },
        };
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(cni_conf_freep) struct cni_conf *c = NULL;
                int r = cni_conf_parse(cases[i].text, strlen(cases[i].text), true, &c, &err);

                if (cases[i].version ? r != 0 || !str_eq(c->version, cases[i].version)
                                     : r == 0 || !strstr(err.msg, cases[i].why)) {
                        fprintf(stderr, "%s: %d %s\n", cases[i].text, r, r ? err.msg : c->version);
                        abort();
                }
        }
}

static void test_input(void) {
        static const char text[] =
                "{\"name\":\"n\",\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"a\",\"x\":{\"y\":[1]},"
                "\"prevResult\":{},"
                "\"cni.dev/z\":1,\"capabilities\":{\"portMappings\":true,\"bandwidth\":false,\"dns\":true}}]}";
        _cleanup_(cni_conf_freep) struct cni_conf *c = NULL;
        _cleanup_(json_unrefp) json_t *caps = NULL, *in = NULL, *want = NULL;
        struct err err;

        assert(cni_conf_parse(text, strlen(text), false, &c, &err) == 0);
        caps = json_loads("{\"portMappings\":[1],\"bandwidth\":{\"ingressRate\":1},\"other\":1}", 0, NULL);
        in = cni_conf_input(c, 0, caps, NULL);
        want = json_loads("{\"type\":\"a\",\"x\":{\"y\":[1]},\"name\":\"n\",\"cniVersion\":\"1.0.0\","
                          "\"runtimeConfig\":{\"portMappings\":[1]}}",
                          0, NULL);
        assert(json_equal(in, want));
}

static void test_result(void) {
        static const struct {
                const char *version, *text, *ips; /* NULL: refused */
        } cases[] = {
                { "0.2.0", "{\"ip4\":{\"ip\":\"10.1.0.2/24\"},\"ip6\":{\"ip\":\"fd00::2/64\"}}", "10.1.0.2 fd00::2 " },
                { "0.1.0", "{\"cniVersion\":\"0.1.0\",\"ip6\":{\"ip\":\"fd00::2/64\"}}", "fd00::2 " },
                { "0.3.1", "{\"cniVersion\":\"0.3.1\",\"ips\":[{\"version\":\"4\",\"address\":\"10.1.0.3/16\"}]}",
                  "10.1.0.3 " },
                { "1.0.0",
                  "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\",\"sandbox\":\"/x\"}],"
                  "\"ips\":[{\"address\":\"fd00::5/64\",\"interface\":1},{\"address\":\"10.9.0.1/24\",\"interface\":0},"
                  "{\"address\":\"10.1.0.4/24\",\"interface\":1}]}",
                  "10.1.0.4 fd00::5 " },
                { "1.0.0",
                  "{\"interfaces\":[{\"name\":\"br\"}],\"ips\":[{\"address\":\"10.9.0.1/24\",\"interface\":0}]}",
                  "10.9.0.1 " },
                { "1.1.0", "{\"cniVersion\":\"0.4.0\",\"ips\":[]}", "" },
                { "1.0.0", "{\"ips\":null,\"interfaces\":null}", "" },
                { "1.0.0", "{\"cniVersion\":\"0.2.0\",\"ip4\":{\"ip\":\"10.1.0.2/24\"}}", NULL },
                { "1.0.0", "{\"cniVersion\":\"7.0.0\"}", NULL },
                { "1.0.0", "{\"ips\":[{\"address\":\"10.9.0.1\"}]}", NULL },
                { "1.0.0", "{\"ips\":[{\"address\":\"10.9.0.1/33\"}]}", NULL },
                { "1.0.0", "{\"ips\":[{\"address\":\"10.9.0.1/24\",\"interface\":0}]}", NULL },
                { "1.0.0", "{\"ips\":[{\"address\":\"::ffff:10.9.0.1.1/24\"}]}", NULL },
                { "1.0.0", "{\"ips\":[7]}", NULL },
                { "1.0.0", "{\"ips\":7}", NULL },
                { "0.2.0", "{\"ip4\":\"10.1.0.2\"}", NULL },
                { "1.0.0", "[]", NULL },
                { "1.0.0", "", NULL },
        };
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(65536);
                _cleanup_strbuf_ struct strbuf b = STRBUF(4096);
                _cleanup_(json_unrefp) json_t *result = NULL;
                const char **ips = NULL;
                int r = cni_result_parse(cases[i].text, strlen(cases[i].text), cases[i].version, &result, &err);

                if (r == 0)
                        r = cni_result_ips(result, "eth0", a, &ips, &err);
                for (; r == 0 && *ips; ips++)
                        strbuf_printf(&b, "%s ", *ips);
                if (cases[i].ips ? r != 0 || !str_eq(strbuf_str(&b), cases[i].ips) : r != -ERR_INTERNAL) {
                        fprintf(stderr, "%s: %d %s\n", cases[i].text, r, r ? err.msg : strbuf_str(&b));
                        abort();
                }
                if (r == 0)
                        assert(str_eq(json_string_value(json_object_get(result, "cniVersion")), cases[i].version));
        }
}

static void test_limits(void) {
        _cleanup_strbuf_ struct strbuf deep = STRBUF(1 << 20), wide = STRBUF(1 << 20);
        _cleanup_(json_unrefp) json_t *o = NULL;
        struct err err;

        strbuf_puts(&deep, "{\"a\":");
        for (int i = 0; i < 1000; i++)
                strbuf_putc(&deep, '[');
        assert(cni_result_parse(deep.data, deep.len, "1.0.0", &o, &err) == -ERR_INTERNAL && strstr(err.msg, "deeper"));
        strbuf_puts(&wide, "{\"a\":[0");
        for (int i = 0; i < 50000; i++)
                strbuf_puts(&wide, ",0");
        strbuf_puts(&wide, "]}");
        assert(cni_result_parse(wide.data, wide.len, "1.0.0", &o, &err) == -ERR_INTERNAL &&
               strstr(err.msg, "more than"));
}

/* --- the chain ------------------------------------------------------------------------------------------------------
 */

static void put(const char *dir, const char *name, const char *text, mode_t mode) {
        char path[256];
        struct err err;

        (void) snprintf(path, sizeof(path), "%s/%s", dir, name);
        assert(fs_write_atomic(AT_FDCWD, path, text, strlen(text), mode, false, &err) == 0);
}

/* Each call is a line in the log; "mode.TYPE.COMMAND" holds shell code to run instead of the default. */
static const char script[] =
        "#!/bin/sh\n"
        "d=${0%/*}; me=${0##*/}; in=$(cat)\n"
        "echo \"$CNI_COMMAND $me $CNI_NETNS $CNI_ARGS $in\" >>$d/log\n"
        "[ -f $d/mode.$me.$CNI_COMMAND ] && . $d/mode.$me.$CNI_COMMAND\n"
        "[ $CNI_COMMAND = ADD ] && echo '{\"ips\":[{\"address\":\"10.3.0.7/24\"}],\"by\":\"'$me'\"}'\n"
        "exit 0\n";

static const char conflist[] =
        "{\"name\":\"n\",\"cniVersion\":\"1.0.0\",\"plugins\":["
        "{\"type\":\"one\",\"capabilities\":{\"portMappings\":true,\"bandwidth\":true,\"dns\":true}},"
        "{\"type\":\"two\"},{\"type\":\"three\"}]}";

static void fresh(void) {
        struct err err;

        assert(fs_remove_tree(AT_FDCWD, conf_dir, &err) == 0 && fs_remove_tree(AT_FDCWD, bin_dir, &err) == 0);
        assert(mkdir(conf_dir, 0700) == 0 && mkdir(bin_dir, 0700) == 0);
        put(bin_dir, "one", script, 0755);
        put(bin_dir, "two", script, 0755);
        put(bin_dir, "three", script, 0755);
        put(conf_dir, "10-n.conflist", conflist, 0600);
}

static char *take_log(void) {
        char path[256], *text = NULL;
        struct err err;

        (void) snprintf(path, sizeof(path), "%s/log", bin_dir);
        if (fs_read_file(AT_FDCWD, path, 1 << 20, &text, NULL, &err) < 0)
                return strdup("");
        (void) unlink(path);
        return text;
}

/* The log's lines begin so, in this order: "ADD one|ADD two|". */
static void expect_calls(const char *want) {
        _cleanup_(freep) char *log = take_log();
        _cleanup_strbuf_ struct strbuf got = STRBUF(4096);

        for (char *l = log; *l;) {
                char *end = strchrnul(l, '\n');
                strbuf_printf(&got, "%.*s|", (int) strcspn(strchr(l, ' ') + 1, " ") + (int) (strchr(l, ' ') + 1 - l),
                              l);
                l = *end ? end + 1 : end;
        }
        if (!str_eq(strbuf_str(&got), want)) {
                fprintf(stderr, "calls: %s\nnot:   %s\n", strbuf_str(&got), want);
                abort();
        }
}

static const struct cni_pod pod = {
        .id = "abc",
        .name = "web",
        .pod_namespace = "shop",
        .uid = "u1",
        .netns_path = "/proc/self/ns/net",
        .ports = (const struct cni_port[]){ { "tcp", 80, 0, NULL }, { "udp", 53, 5353, "127.0.0.1" } },
        .n_ports = 2,
        .ingress_rate = 1000,
        .dns_servers = (const char *const[]){ "10.0.0.10", NULL },
};

static struct cni *cni_ok(void) {
        struct cni *c;
        struct err err;

        assert(cni_new(conf_dir, bin_dir, &c, &err) == 0);
        cni_set_timeout(c, 30000); /* for a machine that is busy */
        return c;
}

static void test_chain(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        _cleanup_(cni_freep) struct cni *c = cni_ok();
        _cleanup_(freep) char *log = NULL;
        struct cni_pod gone = pod;
        struct cni_result res;
        const char *json;
        struct err err;

        fresh();
        assert(cni_status(c, &err) == 0 && cni_describe(c, a, &json, &err) == 0 && strstr(json, "\"name\":\"n\""));
        assert(cni_add(c, &pod, a, &res, &err) == 0);
        assert(str_eq(res.ips[0], "10.3.0.7") && !res.ips[1]);
        log = take_log();
        assert(strstr(log, "ADD one /proc/self/ns/net IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;"
                           "K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u1 {\"type\":\"one\""));
        assert(strstr(log, "\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":5353,\"containerPort\":53,"
                           "\"protocol\":\"udp\",\"hostIP\":\"127.0.0.1\"}],\"bandwidth\":{\"ingressRate\":1000,"
                           "\"ingressBurst\":4294967295},\"dns\":{\"servers\":[\"10.0.0.10\"]"));
        assert(strstr(strstr(log, "ADD three"), "\"by\":\"two\"") &&
               !strstr(strstr(log, "ADD three"), "runtimeConfig"));
        /* DEL by the record: other pod data, another configuration by now, namespace gone. */
        put(conf_dir, "10-n.conflist", "{\"name\":\"other\",\"plugins\":[{\"type\":\"none\"}]}", 0600);
        gone.netns_path = "/nowhere";
        gone.n_ports = 0;
        assert(cni_del(c, &gone, res.cached, &err) == 0 && cni_del(c, &gone, res.cached, &err) == 0);
        freep(&log);
        log = take_log();
        assert(str_after(log, "DEL three  Ignore") && strstr(log, "\"by\":\"three\"") && strstr(log, "5353"));
        /* Without a record the folder counts; without either there is nothing to do. */
        put(conf_dir, "10-n.conflist", conflist, 0600);
        assert(cni_del(c, &pod, NULL, &err) == 0);
        expect_calls("DEL three|DEL two|DEL one|");
        assert(cni_del(c, &pod, "{damaged", &err) == 0);
        expect_calls("DEL three|DEL two|DEL one|");
        assert(fs_remove_tree(AT_FDCWD, conf_dir, &err) == 0);
        assert(cni_del(c, &pod, NULL, &err) == 0);
        expect_calls("");
        assert(cni_add(c, &pod, a, &res, &err) == -ERR_PRECONDITION);
}

static void test_failures(void) {
        static const struct {
                const char *mode; /* of "two" in ADD */
                enum err_code code;
                const char *msg;
        } cases[] = {
                { "echo '{\"code\":11,\"msg\":\"later\",\"details\":\"soon\"}'; exit 1", ERR_UNAVAILABLE,
                  "later; soon" },
                { "echo '{\"code\":7,\"msg\":\"bad conf\"}'; exit 1", ERR_PRECONDITION,
                  "CNI plug-in two (ADD): bad conf" },
                { "echo '{\"code\":3,\"msg\":\"who?\"}'; exit 1", ERR_INTERNAL, "who?" },
                { "printf %s '{\"code\":100,\"msg\":\"a\\u0007b\\nc\"}'; exit 1", ERR_INTERNAL, "a?b c" },
                { "echo oh no >&2; exit 3", ERR_INTERNAL, "exit code 3: oh no" },
                { "exit 4", ERR_INTERNAL, "exit code 4" },
                { "kill -9 $$", ERR_INTERNAL, "signal 9" },
                { "exit 0", ERR_INTERNAL, "valid JSON" },
                { "echo garbage; exit 0", ERR_INTERNAL, "valid JSON" },
                { "head -c 3000000 /dev/zero; exit 0", ERR_INTERNAL, "more than" },
                { "head -c 3000000 /dev/zero >&2; exit 1", ERR_INTERNAL, "exit code 1" },
                { "echo '{\"cniVersion\":\"0.1.0\"}'; exit 0", ERR_INTERNAL, "0.1.0" },
                { "sleep 600 & sleep 600", ERR_DEADLINE, "2000 ms" },
                { "exec 0<&- 1>&- 2>&-; sleep 600", ERR_DEADLINE, "2000 ms" },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        _cleanup_(cni_freep) struct cni *c = cni_ok();
        struct cni_result res;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                fresh();
                put(bin_dir, "mode.two.ADD", cases[i].mode, 0600);
                cni_set_timeout(c, cases[i].code == ERR_DEADLINE ? 2000 : 30000);
                if (cni_add(c, &pod, a, &res, &err) != -(int) cases[i].code || !strstr(err.msg, cases[i].msg)) {
                        fprintf(stderr, "%s: %s %s\n", cases[i].mode, err_code_name(err.code), err.msg);
                        abort();
                }
                expect_calls("ADD one|ADD two|DEL two|DEL one|");
        }
}

static pid_t start_stray(const char *id, const char *seconds) {
        char variable[128], path[64], *argv[] = { (char *) "sleep", (char *) (uintptr_t) seconds, NULL },
                                      *env[] = { variable, NULL };
        pid_t pid;

        (void) snprintf(variable, sizeof(variable), "CNI_CONTAINERID=%s", id);
        assert(posix_spawn(&pid, "/bin/sleep", NULL, NULL, argv, env) == 0);
        /* The kernel shows the environment a moment after the exec. */
        (void) snprintf(path, sizeof(path), "/proc/%d/environ", pid);
        for (size_t len = 0; len == 0;) {
                _cleanup_(freep) char *text = NULL;
                struct err err;

                assert(fs_read_file(AT_FDCWD, path, 1 << 20, &text, &len, &err) == 0);
        }
        return pid;
}

/* As long as it takes, or as it is waited for. */
static void test_strays(void) {
        pid_t quick = start_stray("stray", "0.3"), other = start_stray("stray-too", "100"), slow;
        uint64_t before = clock_monotonic_ns();
        int status;

        cni_end_strays("stray", 10000);
        assert(clock_monotonic_ns() - before >= 100000000 && waitpid(quick, &status, 0) == quick && status == 0);
        slow = start_stray("stray", "100");
        cni_end_strays("stray", 100);
        assert(waitpid(slow, &status, 0) == slow && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        cni_end_strays("stray", 0);
        assert(waitpid(other, &status, WNOHANG) == 0 && kill(other, SIGKILL) == 0 && waitpid(other, NULL, 0) == other);
}

static void test_undo_and_del_failures(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        _cleanup_(cni_freep) struct cni *c = cni_ok();
        struct cni_result res;
        struct err err;

        fresh();
        put(bin_dir, "mode.two.ADD", "exit 1", 0600);
        put(bin_dir, "mode.two.DEL", "echo '{\"code\":5,\"msg\":\"stuck\"}'; exit 1", 0600);
        assert(cni_add(c, &pod, a, &res, &err) < 0 &&
               strstr(err.msg, "undoing it failed: CNI plug-in two (DEL): stuck"));
        assert(res.held);
        expect_calls("ADD one|ADD two|DEL two|DEL one|");
        /* DEL: stops there, so that an address is not given back while something still points to it. */
        assert(cni_del(c, &pod, NULL, &err) == -ERR_INTERNAL && strstr(err.msg, "stuck"));
        expect_calls("DEL three|DEL two|");
        put(bin_dir, "mode.two.DEL", "echo '{\"code\":3,\"msg\":\"unknown container\"}'; exit 1", 0600);
        assert(cni_del(c, &pod, NULL, &err) == 0);
        expect_calls("DEL three|DEL two|DEL one|");
        /* No address at all. */
        fresh();
        put(bin_dir, "mode.three.ADD", "echo '{}'; exit 0", 0600);
        assert(cni_add(c, &pod, a, &res, &err) == -ERR_INTERNAL && strstr(err.msg, "no address") && !res.held);
        expect_calls("ADD one|ADD two|ADD three|DEL three|DEL two|DEL one|");
        /* A missing program is noticed before anything runs. */
        fresh();
        put(bin_dir, "two", script, 0644);
        assert(cni_add(c, &pod, a, &res, &err) == -ERR_PRECONDITION && strstr(err.msg, "\"two\""));
        assert(cni_status(c, &err) == -ERR_PRECONDITION && strstr(err.msg, "\"two\""));
        expect_calls("");
}

static void test_status(void) {
        static const char with_status[] =
                "{\"name\":\"s\",\"cniVersions\":[\"1.0.0\",\"1.1.0\"],\"plugins\":[{\"type\":\"one\"}]}";
        _cleanup_(cni_freep) struct cni *c = cni_ok();
        struct err err;

        fresh();
        put(conf_dir, "05-s.conflist", with_status, 0600);
        put(conf_dir, ".01-hidden.conflist", "broken", 0600);
        put(conf_dir, "01-other.yaml", "broken", 0600);
        assert(cni_status(c, &err) == 0);
        expect_calls("STATUS one|");
        put(bin_dir, "mode.one.STATUS", "echo '{\"code\":50,\"msg\":\"no uplink\"}'; exit 1", 0600);
        assert(cni_status(c, &err) == -ERR_PRECONDITION && strstr(err.msg, "no uplink"));
        put(bin_dir, "mode.one.STATUS", "sleep 600", 0600);
        cni_set_timeout(c, 2000);
        assert(cni_status(c, &err) == -ERR_PRECONDITION && strstr(err.msg, "2000 ms"));
        free(take_log());
        /* Read live, and a broken first file is never passed over. */
        put(conf_dir, "01-b.conflist", "{", 0600);
        assert(cni_status(c, &err) == -ERR_PRECONDITION && strstr(err.msg, "01-b.conflist"));
        put(conf_dir, "00-e.conflist", "{\"name\":\"e\",\"plugins\":[]}", 0600);
        assert(cni_status(c, &err) == -ERR_PRECONDITION && strstr(err.msg, "no plug-in"));
        put(conf_dir, "00-e.conflist", "{\"name\":\"e\",\"plugins\":[{\"type\":\"one\",\"ipam\":{\"type\":\"pool\"}}]}",
            0600);
        assert(cni_status(c, &err) == -ERR_PRECONDITION && strstr(err.msg, "\"pool\""));
        /* A single plug-in's file, and plug-ins beside a list. */
        put(conf_dir, "00-a.conf", "{\"name\":\"a\",\"cniVersion\":\"0.3.1\",\"type\":\"two\"}", 0600);
        assert(cni_status(c, &err) == 0);
        put(conf_dir, "00-0.conflist", "{\"name\":\"extra\",\"cniVersion\":\"1.0.0\"}", 0600);
        assert(cni_status(c, &err) == -ERR_PRECONDITION);
        {
                char dir[128];
                (void) snprintf(dir, sizeof(dir), "%s/extra", conf_dir);
                assert(mkdir(dir, 0700) == 0);
                put(dir, "a.conf", "{\"type\":\"one\"}", 0600);
                assert(cni_status(c, &err) == 0 && cni_del(c, &pod, NULL, &err) == 0);
                expect_calls("DEL one|");
                put(dir, "b.conf", "{\"type\":\"/one\"}", 0600);
                assert(cni_status(c, &err) == -ERR_PRECONDITION && strstr(err.msg, "b.conf"));
        }
}

static void test_pod_data(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        _cleanup_(cni_freep) struct cni *c = cni_ok();
        struct cni_result res;
        struct cni_pod p;
        struct err err;

        fresh();
        for (const char *const *id = (const char *const[]){ "", "../x", "-a", "a b", "a;b", NULL }; *id; id++) {
                p = pod;
                p.id = *id;
                assert(cni_add(c, &p, a, &res, &err) == -ERR_INVALID && cni_del(c, &p, NULL, &err) == -ERR_INVALID);
        }
        p = pod;
        p.name = "a;K8S_POD_NAMESPACE=kube-system";
        assert(cni_add(c, &p, a, &res, &err) == -ERR_INVALID);
        p = pod;
        p.netns_path = NULL;
        assert(cni_add(c, &p, a, &res, &err) == -ERR_INVALID);
        p = pod;
        for (const struct cni_port *b = (const struct cni_port[]){ { "tcp", 80, 70000, "" },
                                                                   { "tcp", 0, 80, "" },
                                                                   { "icmp", 1, 1, "" },
                                                                   { "tcp", 1, 1, "x" },
                                                                   { 0 } };
             b->protocol; b++) {
                p.ports = b;
                p.n_ports = 1;
                assert(cni_add(c, &p, a, &res, &err) == -ERR_INVALID);
        }
        expect_calls("");
}

int main(void) {
        struct err err;

        (void) signal(SIGPIPE, SIG_IGN);
        test_conf();
        test_input();
        test_result();
        test_limits();
        assert(mkdtemp(root));
        (void) snprintf(conf_dir, sizeof(conf_dir), "%s/net.d", root);
        (void) snprintf(bin_dir, sizeof(bin_dir), "%s/bin", root);
        test_chain();
        test_failures();
        test_strays();
        test_undo_and_del_failures();
        test_status();
        test_pod_data();
        assert(fs_remove_tree(AT_FDCWD, root, &err) == 0);
        return 0;
}
