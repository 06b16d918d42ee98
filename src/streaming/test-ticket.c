/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets and their rules, statuses, terminal sizes, base64. */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <time.h>
#include "base/json.h"
#include "base/str.h"
#include "base/base64.h"
#include "streaming/resize.h"
#include "streaming/status.h"
#include "streaming/ticket.h"

static const char *const argv[] = { "sh", "-c", "true", NULL };
static const struct streaming_exec good = { .container_id = "c", .argv = argv, .want_stdout = true };

static struct ticket *take(struct tickets *s, const char *kind, const char *token) {
        char path[100];

        (void) snprintf(path, sizeof(path), "/%s/%s", kind, token);
        return tickets_take(s, path);
}

static void test_rules(void) {
        _cleanup_(tickets_freep) struct tickets *s = tickets_new(10, 1000000000);
        struct streaming_exec e = good;
        struct streaming_attach a = { .container_id = "c", .want_stdin = true };
        struct streaming_port_forward f = { .sandbox_id = "s" };
        char token[TICKET_TOKEN_LEN + 1];
        struct err err;

        e.container_id = "";
        assert(tickets_put_exec(s, &e, token, &err) == -ERR_INVALID);
        e = good;
        e.want_stdout = false;
        assert(tickets_put_exec(s, &e, token, &err) == -ERR_INVALID);
        e = good;
        e.tty = e.want_stderr = true;
        assert(tickets_put_exec(s, &e, token, &err) == -ERR_INVALID);
        e = good;
        e.argv = argv + 3;
        assert(tickets_put_exec(s, &e, token, &err) == -ERR_INVALID);
        a.tty = a.want_stderr = true;
        assert(tickets_put_attach(s, &a, token, &err) == -ERR_INVALID);
        f.sandbox_id = "";
        assert(tickets_put_port_forward(s, &f, token, &err) == -ERR_INVALID);
        f = (struct streaming_port_forward){ .sandbox_id = "s", .ports = (int32_t[]){ 80, 65536 }, .n_ports = 2 };
        assert(tickets_put_port_forward(s, &f, token, &err) == -ERR_INVALID);
        f.n_ports = 1;
        assert(tickets_put_port_forward(s, &f, token, &err) == 0);
}

static void test_use(void) {
        _cleanup_(tickets_freep) struct tickets *s = tickets_new(3, UINT64_C(60000000000));
        char tokens[4][TICKET_TOKEN_LEN + 1];
        struct ticket *t;
        struct err err;

        for (int i = 0; i < 3; i++)
                assert(tickets_put_exec(s, &good, tokens[i], &err) == 0);
        assert(tickets_put_exec(s, &good, tokens[3], &err) == -ERR_EXHAUSTED);
        assert(!str_eq(tokens[0], tokens[1]) && strlen(tokens[0]) == TICKET_TOKEN_LEN);
        t = take(s, "exec", tokens[1]);
        assert(t && str_eq(t->exec.container_id, "c") && str_eq(t->exec.argv[2], "true") && !t->exec.argv[3]);
        assert(t->exec.argv != argv);
        (void) ticket_free(t);
        assert(!take(s, "exec", tokens[1]));   /* used */
        assert(!take(s, "attach", tokens[2])); /* not for that, and used up now */
        assert(!take(s, "exec", tokens[2]));
        assert(!take(s, "exec", "") && !take(s, "x", tokens[0]) && !tickets_take(s, "") && !tickets_take(s, "/exec"));
        assert(tickets_put_exec(s, &good, tokens[3], &err) == 0);
        t = take(s, "exec", tokens[3]);
        assert(t);
        (void) ticket_free(t);
}

static void test_expiry(void) {
        _cleanup_(tickets_freep) struct tickets *s = tickets_new(1, 20000000);
        char token[TICKET_TOKEN_LEN + 1];
        struct err err;

        assert(tickets_put_exec(s, &good, token, &err) == 0);
        (void) nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
        assert(!take(s, "exec", token));
        assert(tickets_put_exec(s, &good, token, &err) == 0);
        (void) nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
        assert(tickets_put_exec(s, &good, token, &err) == 0); /* the old one makes room */
}

static void test_long_argv(void) {
        _cleanup_(tickets_freep) struct tickets *s = tickets_new(100, UINT64_C(60000000000));
        _cleanup_strbuf_ struct strbuf arg = STRBUF(16 << 20);
        const char *args[] = { NULL, NULL };
        struct streaming_exec e = good;
        char token[TICKET_TOKEN_LEN + 1];
        struct err err;
        unsigned n = 0;

        memset(strbuf_reserve(&arg, 4 << 20), 'x', 4 << 20);
        args[0] = arg.data;
        e.argv = args;
        assert(tickets_put_exec(s, &e, token, &err) == -ERR_EXHAUSTED);
        arg.data[2 << 20] = '\0';
        while (tickets_put_exec(s, &e, token, &err) == 0)
                n++;
        assert(err.code == ERR_EXHAUSTED && n >= 5 && n < 9);
}

static void test_status(void) {
        static const struct {
                int code;
                const char *error, *json, *text;
        } table[] = {
                { 0, NULL, "{\"metadata\":{},\"status\":\"Success\"}", "" },
                { 3, NULL,
                  "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: "
                  "exit "
                  "status 3\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\","
                  "\"message\":\"3\"}]}}",
                  "command terminated with non-zero exit code: exit status 3" },
                { -1, NULL, NULL, "command terminated with non-zero exit code: exit status 255" },
                { 256, NULL, NULL, "command terminated with non-zero exit code: exit status 255" },
                { 0, "no \"x\"\n\x80\xc3\xa9\xed\xa0\x80",
                  "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Internal error occurred: no \\\"x\\\"\\u000a"
                  "\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",\"reason\":\"InternalError\","
                  "\"details\":{\"causes\":[{\"message\":\"no "
                  "\\\"x\\\"\\u000a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd"
                  "\xef\xbf\xbd\"}]},\"code\":500}",
                  NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_strbuf_ struct strbuf json = STRBUF(STATUS_MAX), text = STRBUF(STATUS_MAX);
                _cleanup_(json_unrefp) json_t *parsed = NULL;
                struct err error, err;

                if (table[i].error)
                        (void) err_set(&error, ERR_INTERNAL, "%s", table[i].error);
                status_json(&json, table[i].code, table[i].error ? &error : NULL);
                status_text(&text, table[i].code, table[i].error ? &error : NULL);
                assert(!table[i].json || str_eq(json.data, table[i].json));
                assert(!table[i].text || str_eq(strbuf_str(&text), table[i].text));
                assert(json_load_bounded(json.data, json.len, 100, "status", &parsed, &err) == 0);
        }
}

static void test_resize(void) {
        static const char text[] =
                "{\"Width\":80,\"Height\":24}\n{\"width\":0,\"height\":5} {\"x\":\"}\\\"{\",\"HEIGHT\":40,"
                "\"width\":100}\n";
        static const char *const broken[] = { "[1]", "{\"Width\":70000,\"Height\":1}", "{\"Width\":\"a\"}", "{]}",
                                              "x" };
        uint16_t w = 0, h = 0;

        for (size_t cut = 0; cut < sizeof(text); cut++) {
                struct resize_parser p = { 0 };

                w = h = 0;
                (void) resize_feed(&p, (const uint8_t *) text, cut, &w, &h);
                (void) resize_feed(&p, (const uint8_t *) text + cut, sizeof(text) - 1 - cut, &w, &h);
                assert(w == 100 && h == 40 && !p.is_broken);
        }
        for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
                struct resize_parser p = { 0 };

                assert(!resize_feed(&p, (const uint8_t *) broken[i], strlen(broken[i]), &w, &h) && p.is_broken);
                assert(!resize_feed(&p, (const uint8_t *) text, 24, &w, &h));
        }
        {
                struct resize_parser p = { 0 };

                for (int i = 0; i < 1000; i++)
                        assert(!resize_feed(&p, (const uint8_t *) "{", 1, &w, &h));
                assert(p.is_broken);
        }
}

static void test_base64(void) {
        static const char *const table[][2] = { { "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
                                                { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe\xfd", "//79" } };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct base64_decoder d = { 0 };
                char out[32];
                uint8_t back[32];
                size_t n = base64_encode(table[i][0], strlen(table[i][0]), out), got = 0;

                assert(n == strlen(table[i][1]) && memcmp(out, table[i][1], n) == 0);
                for (size_t k = 0; k < n; k++) {
                        ssize_t r = base64_decode(&d, (const uint8_t *) out + k, 1, back + got);

                        assert(r >= 0);
                        got += (size_t) r;
                }
                assert(base64_complete(&d) && got == strlen(table[i][0]) && memcmp(back, table[i][0], got) == 0);
        }
}

int main(void) {
        test_rules();
        test_use();
        test_expiry();
        test_long_argv();
        test_status();
        test_resize();
        test_base64();
        return 0;
}
