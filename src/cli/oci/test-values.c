/* SPDX-License-Identifier: Apache-2.0 */
/* test-values - signals, times and sizes in arguments; the log's lines. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/oci/log.h"
#include "cli/oci/values.h"

static void test_signals(void) {
        static const struct {
                const char *text;
                int sig;
        } signals[] = { { "TERM", SIGTERM },
                        { "SIGTERM", SIGTERM },
                        { "sigterm", SIGTERM },
                        { "term", SIGTERM },
                        { "9", SIGKILL },
                        { "KILL", SIGKILL },
                        { "1", SIGHUP },
                        { "64", 64 },
                        { "CHLD", SIGCHLD },
                        { "CLD", SIGCHLD },
                        { "IOT", SIGABRT },
                        { "SIGPOLL", SIGIO },
                        { "0", 0 },
                        { "65", 0 },
                        { "-9", 0 },
                        { "", 0 },
                        { "SIG", 0 },
                        { "FOO", 0 },
                        { "TERMX", 0 },
                        { "9x", 0 },
                        { "SIGSIGTERM", 0 },
                        { " TERM", 0 },
                        { "RTMIN+", 0 },
                        { "RTMIN-1", 0 },
                        { "RTMAX+1", 0 },
                        { "RTMIN+99", 0 },
                        { "RTMIN+1x", 0 },
                        { "99999999999999999999", 0 },
                        { "RTMINTERMINTERMINTERMINTERMINTERMIN", 0 } };

        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                assert(signal_parse(signals[i].text) == signals[i].sig);
        assert(signal_parse("RTMIN") == SIGRTMIN && signal_parse("SIGRTMIN+3") == SIGRTMIN + 3);
        assert(signal_parse("rtmax-2") == SIGRTMAX - 2 && signal_parse("SIGRTMAX") == SIGRTMAX);
}

static void test_durations(void) {
        static const struct {
                const char *text;
                int64_t ms; /* -1: none */
        } times[] = { { "5s", 5000 },     { "1m30s", 90000 }, { "1.5s", 1500 },
                      { "500ms", 500 },   { "1h", 3600000 },  { "0s", 0 },
                      { "5", -1 },        { "", -1 },         { "s", -1 },
                      { "-5s", -1 },      { "5 s", -1 },      { "5x", -1 },
                      { "9999999h", -1 }, { "1500us", 1 },    { "99999999999999999999s", -1 } };
        uint64_t ms;

        for (size_t i = 0; i < ELEMENTSOF(times); i++)
                assert(str_to_duration(times[i].text, &ms) ? (int64_t) ms == times[i].ms : times[i].ms == -1);
}

static void test_sizes(void) {
        static const struct {
                const char *text;
                int64_t bytes; /* -2: none */
        } sizes[] = { { "0", 0 },
                      { "512", 512 },
                      { "-1", -1 },
                      { "64k", 65536 },
                      { "10M", 10 << 20 },
                      { "1.5g", 1610612736 },
                      { "2GB", 2147483648 },
                      { "1MiB", 1 << 20 },
                      { "7b", 7 },
                      { "9223372036854775807", INT64_MAX },
                      { "9223372036854775808", -2 },
                      { "", -2 },
                      { "k", -2 },
                      { "1z", -2 },
                      { "-2", -2 },
                      { "1kk", -2 },
                      { "1 k", -2 },
                      { "9999999999999p", -2 } };
        int64_t bytes;

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
                assert(size_parse(sizes[i].text, &bytes) ? bytes == sizes[i].bytes : sizes[i].bytes == -2);
}

static void test_numbers(void) {
        int64_t n;

        assert(number_parse("-1", -1, 5, &n) && n == -1 && number_parse("5", -1, 5, &n) && n == 5);
        assert(!number_parse("6", -1, 5, &n) && !number_parse("", 0, 5, &n) && !number_parse("1k", 0, 5000, &n));
}

/* What a log that @text was written to has. */
static char *logged(const char *path, const char *format, const char *level, const char *text) {
        struct oci_log log;
        struct err err;
        char *all;

        (void) unlink(path);
        assert(oci_log_init(&log, path, format, level, false, &err) == 0);
        oci_log_write(&log, OCI_LOG_ERROR, text);
        oci_log_write(&log, OCI_LOG_DEBUG, "more");
        assert(fs_read_file(AT_FDCWD, path, 1 << 20, &all, NULL, &err) == 0);
        (void) close(log.fd);
        return all;
}

static void test_log(void) {
        char path[] = "/tmp/test-values.XXXXXX";
        int fd = mkstemp(path);
        struct oci_log log;
        struct stat st;
        struct err err;
        char *text;
        json_t *o;

        (void) close(fd);
        text = logged(path, NULL, NULL, "container does not exist");
        assert(str_after(text, "time=\"20") && strstr(text, "Z\" level=error msg=\"container does not exist\"\n"));
        assert(!strstr(text, "more"));
        free(text);
        text = logged(path, "text", "debug", "plain-word");
        assert(strstr(text, " msg=plain-word\n") && strstr(text, "level=debug msg=more\n"));
        free(text);
        text = logged(path, "json", NULL, "a \"b\"\\\n\t\x01 \xc3\xa4 \xff.");
        o = json_loads(text, 0, NULL);
        assert(o && str_eq(json_string_value(json_object_get(o, "msg")), "a \"b\"\\\n\t\x01 \xc3\xa4 \xef\xbf\xbd."));
        assert(str_eq(json_string_value(json_object_get(o, "level")), "error"));
        assert(strlen(json_string_value(json_object_get(o, "time"))) == 20);
        json_decref(o);
        free(text);
        (void) unlink(path);
        assert(oci_log_init(&log, path, NULL, NULL, false, &err) == 0);
        assert(fstat(log.fd, &st) == 0 && (st.st_mode & 0777) == 0644 && (fcntl(log.fd, F_GETFD) & FD_CLOEXEC));
        (void) close(log.fd);
        assert(oci_log_init(&log, NULL, "xml", NULL, false, &err) == -ERR_INVALID && log.fd == -1);
        assert(oci_log_init(&log, "/nonexistent/x", NULL, NULL, false, &err) < 0 && strstr(err.msg, "/nonexistent/x"));
        assert(oci_log_init(&log, NULL, NULL, "loud", false, &err) == -ERR_INVALID);
        (void) unlink(path);
}

int main(void) {
        (void) umask(022);
        test_signals();
        test_durations();
        test_sizes();
        test_numbers();
        test_log();
        return 0;
}
