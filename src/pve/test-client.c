/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: how they look, who is asked, what becomes of answers; tickets; tasks. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/str.h"
#include "pve/task.h"
#include "pve/test-kit.h"

/* pve_call without its answer. */
static int call(struct pve *p, const char *method, const char *path, const struct pve_params *params, struct err *err) {
        const struct pve_until until = test_until(20000);
        const struct pve_request req = { .method = method, .path = path, .params = params, .until = &until };
        json_t *answer = NULL;
        int r = pve_call(p, &req, &answer, err);

        assert((r == 0) == !!answer);
        json_decref(answer);
        return r;
}

static void test_requests(void) {
        static const struct test_step script[] = {
                OK("GET " API "/nodes/pve1/lxc/110/config?snapshot=s%201 HTTP/1.1\r\n", "{\"memory\":\"128\"}"),
                OK("POST " API "/nodes/pve1/lxc HTTP/1.1\r\n", "null"),
                OK("PUT " API "/nodes/pve1/lxc/110/config HTTP/1.1\r\n", "null"),
                OK("DELETE " API "/nodes/pve1/lxc/110?purge=1&force=1 HTTP/1.1\r\n", "null"),
                { 0 }
        };
        static const char *const bad[] = { "", "version", "/a//b", "/a/", "/a/../b", "/a/./b", "/" };
        _cleanup_params_ struct pve_params get = PVE_PARAMS, env = PVE_PARAMS, del = PVE_PARAMS, large = PVE_PARAMS;
        struct test_server s = { .script = script };
        struct pve *p;
        struct err err;

        pve_param(&get, "snapshot", "s 1");
        pve_param_bytes(&env, "env", "A=1\0B=2", 7);
        pve_param_u64(&del, "purge", 1);
        pve_param_u64(&del, "force", 1);
        test_server_start(&s);
        p = test_client_of(&s);
        assert(call(p, "GET", "/nodes/pve1/lxc/110/config", &get, &err) == 0);
        assert(call(p, "POST", "/nodes/pve1/lxc", &env, &err) == 0);
        assert(call(p, "PUT", "/nodes/pve1/lxc/110/config", &env, &err) == 0);
        assert(call(p, "DELETE", "/nodes/pve1/lxc/110", &del, &err) == 0);
        for (size_t i = 0; i < s.n_requests; i++) {
                assert(strstr(s.requests[i].text, "\r\nAuthorization: PVEAPIToken=root@pam!k8s=" TEST_TOKEN "\r\n"));
                assert(!strstr(s.requests[i].text, "CSRF") && s.requests[i].connection == 1);
        }
        assert(str_ends_with(s.requests[1].text, "\r\n\r\nenv=A%3D1%00B%3D2"));
        assert(str_ends_with(s.requests[2].text, "\r\n\r\nenv=A%3D1%00B%3D2"));
        assert(str_ends_with(s.requests[3].text, "\r\n\r\n"));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(call(p, "GET", bad[i], NULL, &err) == -ERR_INVALID);
        large.encoded.overflow = true;
        assert(call(p, "POST", "/nodes/pve1/lxc", &large, &err) == -ERR_EXHAUSTED);
        p = pve_free(p);
        test_server_stop(&s);
}

static void test_errors(void) {
        static const struct test_step script[] = {
                STEP("POST", "400 Parameter verification failed.",
                     "{\"message\":\"Parameter verification failed.\\n\",\"data\":null,\"errors\":{\"net0\":\"invalid "
                     "format - format error\\nnet0.name: property is missing and it is not optional\\n\",\"memory\":"
                     "\"value must have a minimum value of 16\"}}"),
                FAIL("GET", "Configuration file 'nodes/pve1/lxc/999.conf' does not exist"),
                /* before 9: the reason alone */
                STEP("GET", "500 CT 110 not running", "{\"data\":null}"),
                STEP("GET", "403 Permission check failed (/, Sys.Modify)",
                     "{\"message\":\"Permission check failed (/, Sys.Modify)\\n\",\"data\":null}"),
                STEP("DELETE", "501 Unexpected content for method 'DELETE'", "Unexpected content for method 'DELETE'"),
                { "GET", "401 No ticket", NULL, "Connection: close" },
                STEP("GET", "401 token " TEST_TOKEN " is no good", NULL),
                { "GET", "302 Found", NULL, "Location: https://127.0.0.1/" },
                STEP("GET", "200 OK", "<html>"),
                STEP("GET", "200 OK", "[]"),
                STEP("GET", "404 ", ""),
                { 0 }
        };
        struct test_server s = { .script = script };
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(call(p, "POST", "/nodes/pve1/lxc", NULL, &err) == -ERR_INVALID && pve_kind(&err) == PVE_BAD_PARAMETER);
        assert(str_after(err.msg, "POST /nodes/pve1/lxc at 127.0.0.1:"));
        assert(strstr(err.msg, ": net0: invalid format - format error;net0.name: property is missing"));
        assert(strstr(err.msg, "; memory: value must have a minimum value of 16"));
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_NOT_FOUND && pve_kind(&err) == PVE_MISSING);
        assert(str_ends_with(err.msg, ": Configuration file 'nodes/pve1/lxc/999.conf' does not exist"));
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_PRECONDITION && pve_kind(&err) == PVE_NOT_RUNNING);
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_DENIED && strstr(err.msg, "(/, Sys.Modify)"));
        assert(strstr(err.msg, "pveum acl modify"));
        assert(call(p, "DELETE", "/x", NULL, &err) == -ERR_UNIMPLEMENTED);
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_UNAUTHENTICATED && strstr(err.msg, "No ticket"));
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_UNAUTHENTICATED && !strstr(err.msg, TEST_TOKEN));
        assert(strstr(err.msg, "token *") && strstr(err.msg, "is no good"));
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_PRECONDITION && pve_kind(&err) == PVE_FOREIGN);
        assert(strstr(err.msg, "Found, HTTP 302"));
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_PRECONDITION && strstr(err.msg, "not valid JSON"));
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_PRECONDITION && strstr(err.msg, "not a JSON object"));
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_PRECONDITION && strstr(err.msg, ": HTTP 404"));
        p = pve_free(p);
        test_server_stop(&s);
}

/* One that is not there, one whose certificate is another's, one that works; then the first is not asked for a while.
 */
static void test_fail_over(void) {
        static const struct test_step script[] = { OK("GET", "1"), OK("POST", "1"), OK("GET", "1"), { 0 } };
        struct test_server s = { .script = script }, gone = { 0 }, other = { 0 };
        struct pve *p;
        uint64_t start;
        struct err err;

        test_server_start(&s);
        test_server_start(&gone);
        test_server_start(&other);
        (void) memcpy(other.fingerprint, s.fingerprint, sizeof(s.fingerprint));
        test_server_stop(&gone);
        p = test_client((const struct test_server *const[]){ &gone, &other, &s, NULL });
        assert(call(p, "GET", "/x", NULL, &err) == 0 && test_server_connections(&other) == 1);
        start = clock_monotonic_ns();
        assert(call(p, "POST", "/x", NULL, &err) == 0);
        assert(call(p, "GET", "/x", NULL, &err) == 0);
        assert(test_server_connections(&other) == 1 || clock_monotonic_ns() - start > 900000000); /* a slow machine */
        p = pve_free(p);
        p = test_client((const struct test_server *const[]){ &other, &gone, NULL });
        assert(call(p, "POST", "/x", NULL, &err) == -ERR_UNAVAILABLE && pve_kind(&err) == PVE_UNTRUSTED);
        assert(str_after(err.msg, "none of 2 hosts did it, such as: POST /x at 127.0.0.1:"));
        p = pve_free(p);
        p = test_client((const struct test_server *const[]){ &gone, &other, NULL });
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_UNAVAILABLE && pve_kind(&err) == PVE_UNTRUSTED);
        assert(strstr(err.msg, "another fingerprint"));
        p = pve_free(p);
        test_server_stop(&other);
        test_server_stop(&s);
}

/* One request to a new client, so that no host is passed over for what it did before. */
static int call_anew(const struct test_server *const *servers, struct pve_request req, unsigned until_ms,
                     struct err *err) {
        const struct pve_until until = test_until(until_ms);
        struct pve *p = test_client(servers);
        json_t *answer = NULL;
        int r;

        req.path = "/x";
        req.until = &until;
        r = pve_call(p, &req, &answer, err);
        json_decref(answer);
        p = pve_free(p);
        return r;
}

/* What may have arrived is sent again only where that does no harm. */
static void test_lost_answers(void) {
        static const struct test_step breaks[] = { STEP("GET", TEST_CLOSE, NULL),
                                                   STEP("POST", TEST_CLOSE, NULL),
                                                   STEP("POST", TEST_CLOSE, NULL),
                                                   STEP("POST", TEST_HANG, NULL),
                                                   STEP("POST", TEST_HANG, NULL),
                                                   STEP("POST", "596 Connection timed out", NULL),
                                                   STEP("POST", "595 Connection refused", NULL),
                                                   { 0 } };
        static const struct test_step works[] = { OK("GET", "1"), OK("POST", "1"), OK("POST", "1"), { 0 } };
        struct test_server bad = { .script = breaks }, good = { .script = works };
        const struct test_server *const both[] = { &bad, &good, NULL };
        const struct pve_request get = { 0 }, post = { .method = "POST" },
                                 again = { .method = "POST", .repeatable = true },
                                 soon = { .method = "POST", .timeout_ms = 1000 };
        struct err err;

        test_server_start(&bad);
        test_server_start(&good);
        assert(call_anew(both, get, 20000, &err) == 0);
        assert(call_anew(both, again, 20000, &err) == 0);
        assert(call_anew(both, post, 20000, &err) == -ERR_UNAVAILABLE && pve_kind(&err) == PVE_LOST);
        assert(strstr(err.msg, "whether it was done is unknown"));
        assert(call_anew(both, soon, 20000, &err) == -ERR_UNAVAILABLE && pve_kind(&err) == PVE_LOST);
        assert(strstr(err.msg, "no answer within"));
        assert(call_anew(both, post, 1000, &err) == -ERR_DEADLINE && pve_kind(&err) == PVE_LOST);
        assert(call_anew(both, post, 20000, &err) == -ERR_UNAVAILABLE && pve_kind(&err) == PVE_LOST);
        assert(strstr(err.msg, "Connection timed out"));
        assert(call_anew(both, post, 20000, &err) == 0); /* 595: that host had no way to the node */
        test_server_stop(&bad);
        test_server_stop(&good);
}

#define TICKET(n)                                                                                                      \
        OK("POST " API "/access/ticket HTTP/1.1\r\n",                                                                  \
           "{\"username\":\"root@pam\",\"ticket\":\"PVE:root@pam:0000000" #n "::TICKET+/=\",\"CSRFPreventionToken\":"  \
           "\"6B060B5C:qRYL" #n "\"}")

static void test_tickets(void) {
        static const struct test_step script[] = { TICKET(1),
                                                   OK("GET", "1"),
                                                   OK("PUT", "1"),
                                                   STEP("POST " API "/x", "401 permission denied - invalid ticket",
                                                        NULL),
                                                   TICKET(2),
                                                   OK("POST " API "/x", "1"),
                                                   STEP("GET", "401 No ticket", NULL),
                                                   TICKET(3),
                                                   STEP("GET", "401 No ticket", NULL),
                                                   { 0 } };
        static const struct test_step refused[] = {
                STEP("POST " API "/access/ticket", "401 authentication failure",
                     "{\"data\":null,\"message\":\"authentication failure for pass;w&rd\\n\"}"),
                { 0 }
        };
        struct test_server s = { .script = script }, no = { .script = refused };
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_with_password(&s, 0);
        assert(call(p, "GET", "/x", NULL, &err) == 0 && call(p, "PUT", "/x", NULL, &err) == 0);
        assert(str_ends_with(s.requests[0].text, "\r\n\r\nusername=root%40pam&password=pass%3Bw%26rd"));
        assert(!strstr(s.requests[0].text, "Authorization") && !strstr(s.requests[0].text, "Cookie"));
        assert(strstr(s.requests[1].text, "\r\nCookie: PVEAuthCookie=PVE:root@pam:00000001::TICKET+/=\r\n"));
        assert(!strstr(s.requests[1].text, "CSRF"));
        assert(strstr(s.requests[2].text, "\r\nCSRFPreventionToken: 6B060B5C:qRYL1\r\n"));
        assert(call(p, "POST", "/x", NULL, &err) == 0);
        assert(strstr(s.requests[5].text, "\r\nCSRFPreventionToken: 6B060B5C:qRYL2\r\n"));
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_UNAUTHENTICATED); /* a new one does not help: no more */
        p = pve_free(p);
        test_server_stop(&s);

        test_server_start(&no);
        p = test_client_with_password(&no, 0);
        for (int i = 0; i < 3; i++) /* asked once: each failure costs the server three seconds */
                assert(call(p, "GET", "/x", NULL, &err) == -ERR_UNAUTHENTICATED &&
                       str_after(err.msg, "get a ticket for root@pam: POST /access/ticket at ") &&
                       !strstr(err.msg, "pass;"));
        p = pve_free(p);
        test_server_stop(&no);
}

static void write_file(const char *path, const char *content) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t) strlen(content) && close(fd) == 0);
}

/* Its secret has become another one: the file is looked at when the old one is refused, and only then. */
static void test_token_replaced(void) {
        static const struct test_step script[] = { OK("GET", "1"),
                                                   STEP("GET", "401 Authentication failed!", NULL),
                                                   OK("GET", "1"),
                                                   STEP("GET", "401 Authentication failed!", NULL),
                                                   { 0 } };
        char path[] = "/tmp/test-pve.XXXXXX";
        struct test_server s = { .script = script };
        char host[32];
        struct pve *p;
        struct err err;

        test_server_start(&s);
        (void) close(mkostemp(path, O_CLOEXEC));
        write_file(path, "old-secret");
        (void) snprintf(host, sizeof(host), "127.0.0.1:%u", s.port);
        assert(pve_new(&(struct pve_args){ .hosts = (const char *const[]){ host, NULL },
                                           .fingerprints = (const char *const[]){ s.fingerprint, NULL },
                                           .token_id = "root@pam!k8s",
                                           .token_file = path },
                       &p, &err) == 0);
        write_file(path, "new-secret");
        assert(call(p, "GET", "/x", NULL, &err) == 0 && strstr(s.requests[0].text, "!k8s=old-secret\r\n"));
        assert(call(p, "GET", "/x", NULL, &err) == 0 && strstr(s.requests[2].text, "!k8s=new-secret\r\n"));
        assert(call(p, "GET", "/x", NULL, &err) == -ERR_UNAUTHENTICATED);
        (void) unlink(path);
        p = pve_free(p);
        test_server_stop(&s);
}

/* Before it is too old. */
static void test_ticket_renewed(void) {
        static const struct test_step script[] = { TICKET(1), OK("GET", "1"), OK("GET", "1"),
                                                   TICKET(2), OK("GET", "1"), { 0 } };
        struct test_server s = { .script = script };
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_with_password(&s, 2);
        assert(call(p, "GET", "/x", NULL, &err) == 0 && call(p, "GET", "/x", NULL, &err) == 0);
        (void) usleep(2100000);
        assert(call(p, "GET", "/x", NULL, &err) == 0);
        p = pve_free(p);
        test_server_stop(&s);
}

static void answer_slowly(struct test_server *s, const char *request, struct test_step *ret) {
        static const struct test_step ticket = TICKET(1), ok = OK("", "1");

        (void) usleep(100000);
        *ret = str_after(request, "POST") ? ticket : ok;
}

static void *call_in_thread(void *arg) {
        struct err err;

        assert(call(arg, "GET", "/x", NULL, &err) == 0);
        return NULL;
}

static void test_one_ticket_for_all(void) {
        struct test_server s = { .answer = answer_slowly };
        pthread_t threads[8];
        size_t tickets = 0;
        struct pve *p;

        test_server_start(&s);
        p = test_client_with_password(&s, 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                assert(pthread_create(&threads[i], NULL, call_in_thread, p) == 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                assert(pthread_join(threads[i], NULL) == 0);
        p = pve_free(p);
        for (size_t i = 0; i < s.n_requests; i++)
                tickets += !!str_after(s.requests[i].text, "POST");
        assert(tickets == 1 && s.n_requests == 1 + ELEMENTSOF(threads));
        test_server_stop(&s);
}

static void test_arguments(void) {
        static const char *const hosts[] = { "127.0.0.1", NULL };
        const struct pve_args bad[] = {
                { .hosts = hosts },
                { .hosts = hosts, .token_id = "root@pam!k8s", .token_file = "/x", .user = "root@pam" },
                { .hosts = hosts, .token_id = "root@pam!k8s" },
                { .hosts = hosts, .token_id = "root@pam", .token_file = "/x" },
                { .hosts = hosts, .token_id = "root!k8s", .token_file = "/x" },
                { .hosts = hosts, .token_id = "root@pam!k8s\r\nX: y", .token_file = "/x" },
                { .hosts = hosts, .user = "root@pam" },
                { .hosts = hosts, .user = "root", .password_file = "/x" },
                { .hosts = (const char *const[]){ NULL }, .user = "root@pam", .password_file = "/x" },
                { .hosts = hosts,
                  .user = "root@pam",
                  .password_file = "/x",
                  .fingerprints = (const char *const[]){ "AA", NULL } },
        };
        struct pve *p;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(pve_new(&bad[i], &p, &err) == -ERR_INVALID);
}

static int wait_for(struct pve *p, const char *upid, unsigned ms, unsigned *warnings, struct err *err) {
        const struct pve_until until = test_until(ms);

        return pve_task_wait(p, upid, &until, NULL, warnings, err);
}

static void test_tasks(void) {
        static const struct test_step script[] = {
                RUNS("vzstart", "110"),
                RUNS("vzstart", "110"),
                ENDS("vzstart", "110", "OK"),
                ENDS("vzstart", "111", "WARNINGS: 3"),
                ENDS("vzstart", "112", "CT is locked (create)"),
                ENDS("vzdump", "110", "job errors"),
                OK("GET " API "/nodes/pve1/tasks/" UPID_OF("vzdump", "110") "/log?start=0&limit=50 ",
                   "[{\"n\":1,\"t\":\"INFO: first\"}],\"total\":53"),
                OK("GET " API "/nodes/pve1/tasks/" UPID_OF("vzdump", "110") "/log?start=3&limit=50 ",
                   "[{\"n\":4,\"t\":\"INFO: early\"},{\"n\":48,\"t\":\"1\"},{\"n\":49,\"t\":\"2\"},{\"n\":50,\"t\":\"3"
                   "\\t3\"},{\"n\":51,\"t\":\"\"},{\"n\":52,\"t\":\"ERROR: Backup of VM 110 failed\"},{\"n\":53,\"t\":"
                   "\"TASK ERROR: job errors\"}],\"total\":53"),
                STEP("GET", "400 Parameter verification failed.",
                     "{\"data\":null,\"message\":\"Parameter verification failed.\\n\",\"errors\":{\"upid\":\"no such "
                     "task\"}}"),
                ENDS("vzstop", "1", "unexpected status"),
                STEP("GET", "500 log is gone", NULL),
                OK("GET", "{\"status\":\"odd\"}"),
                { 0 }
        };
        struct test_server s = { .script = script };
        unsigned warnings = 7;
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(wait_for(p, UPID_OF("vzstart", "110"), 20000, &warnings, &err) == 0 && warnings == 0);
        assert(wait_for(p, UPID_OF("vzstart", "111"), 20000, &warnings, &err) == 0 && warnings == 3);
        assert(wait_for(p, UPID_OF("vzstart", "112"), 20000, NULL, &err) == -ERR_ABORTED);
        assert(pve_kind(&err) == PVE_LOCKED &&
               str_after(err.msg, "vzstart of 112 on node pve1: CT is locked (create)"));
        assert(wait_for(p, UPID_OF("vzdump", "110"), 20000, NULL, &err) == -ERR_UNKNOWN);
        assert(str_eq(err.msg,
                      "vzdump of 110 on node pve1: job errors; log: 1; 2; 3 3; ERROR: Backup of VM 110 failed"));
        assert(wait_for(p, UPID_OF("x", ""), 20000, NULL, &err) == -ERR_NOT_FOUND && pve_kind(&err) == PVE_NO_TASK);
        assert(wait_for(p, UPID_OF("vzstop", "1"), 20000, NULL, &err) == -ERR_ABORTED);
        assert(pve_kind(&err) == PVE_TASK_KILLED);
        assert(wait_for(p, UPID_OF("x", ""), 20000, NULL, &err) == -ERR_PRECONDITION && pve_kind(&err) == PVE_FOREIGN);
        assert(wait_for(p, "UPID:../../x", 20000, NULL, &err) == -ERR_PRECONDITION && pve_kind(&err) == PVE_FOREIGN);
        p = pve_free(p);
        test_server_stop(&s);
}

static void take_line(const char *text, void *userdata) {
        strbuf_printf(userdata, "%s|", text);
}

/* Each line once, in order, while the task runs; what can't be read of its log does not matter. */
static void test_progress(void) {
#define LOG(start) "GET " API "/nodes/pve1/tasks/" UPID_OF("vzdump", "110") "/log?start=" start "&limit=50 "
        static const struct test_step script[] = { RUNS("vzdump", "110"),
                                                   OK(LOG("0"), "[{\"n\":1,\"t\":\"no content\"}]"),
                                                   RUNS("vzdump", "110"),
                                                   OK(LOG("0"),
                                                      "[{\"n\":1,\"t\":\"a\\tb\\u001b[1m\"},{\"n\":2,\"t\":\"two\"}]"),
                                                   RUNS("vzdump", "110"),
                                                   STEP(LOG("2"), "500 log is gone", NULL),
                                                   RUNS("vzdump", "110"),
                                                   OK(LOG("2"), "[]"),
                                                   ENDS("vzdump", "110", "OK"),
                                                   OK(LOG("2"), "[{\"n\":3,\"t\":\"TASK OK\"}]"),
                                                   { 0 } };
        _cleanup_strbuf_ struct strbuf seen = STRBUF(1000);
        const struct pve_progress progress = { take_line, &seen };
        const struct pve_until until = test_until(20000);
        struct test_server s = { .script = script };
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(pve_task_wait(p, UPID_OF("vzdump", "110"), &until, &progress, NULL, &err) == 0);
        assert(str_eq(strbuf_str(&seen), "a b [1m|two|TASK OK|"));
        p = pve_free(p);
        test_server_stop(&s);
}

static void answer_runs(struct test_server *s, const char *request, struct test_step *ret) {
        static const struct test_step runs = RUNS("", "");

        *ret = runs;
}

static void answer_once(struct test_server *s, const char *request, struct test_step *ret) {
        static const struct test_step runs = RUNS("", ""), close = STEP("", TEST_CLOSE, NULL);

        *ret = s->n_requests == 1 ? runs : close;
}

/* The host goes away, another goes on; then nobody reaches the node for a while. */
static void test_task_elsewhere(void) {
        static const struct test_step second[] = { RUNS("vzstart", "110"),
                                                   STEP("GET", "595 Connection refused", NULL),
                                                   STEP("GET", "595 Connection refused", NULL),
                                                   STEP("GET", "595 Connection refused", NULL),
                                                   STEP("GET", "595 Connection refused", NULL),
                                                   ENDS("vzstart", "110", "OK"),
                                                   { 0 } };
        struct test_server a = { .answer = answer_once }, b = { .script = second };
        struct pve *p;
        struct err err;

        test_server_start(&a);
        test_server_start(&b);
        p = test_client((const struct test_server *const[]){ &a, &b, NULL });
        assert(wait_for(p, UPID_OF("vzstart", "110"), 20000, NULL, &err) == 0);
        assert(a.n_requests > 1);
        p = pve_free(p);
        test_server_stop(&a);
        test_server_stop(&b);
}

static void test_task_limits(void) {
        struct test_server s = { .answer = answer_runs };
        struct pve_until until = test_until(300);
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(pve_task_wait(p, UPID_OF("vzstart", "110"), &until, NULL, NULL, &err) == -ERR_DEADLINE);
        assert(str_after(err.msg, "vzstart of 110 on node pve1 has not ended") ||
               str_after(err.msg, "wait for task UPID:"));
        until = test_until(20000);
        until.cancel_fd = eventfd(1, EFD_CLOEXEC);
        assert(pve_task_wait(p, UPID_OF("vzstart", "110"), &until, NULL, NULL, &err) == -ERR_CANCELLED);
        (void) close(until.cancel_fd);
        p = pve_free(p);
        test_server_stop(&s);
}

int main(void) {
        test_arguments();
        test_requests();
        test_errors();
        test_fail_over();
        test_lost_answers();
        test_tickets();
        test_token_replaced();
        test_ticket_renewed();
        test_one_ticket_for_all();
        test_tasks();
        test_progress();
        test_task_elsewhere();
        test_task_limits();
        return 0;
}
