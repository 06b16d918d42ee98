/* SPDX-License-Identifier: Apache-2.0 */
/* test-cli - what of the command line needs no daemon: options, tables, values, JSON, pod run's options, logs,
 * progress. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/logs.h"
#include "cli/options.h"
#include "cli/pod-config.h"
#include "cli/progress.h"
#include "cli/table.h"

static struct arena *arena;
static struct err err;
static struct cli_args args;

static int parse(const struct cli_option *options, bool stop, const char *line) {
        static char copy[4096];
        static char *argv[64];
        char *rest = copy, *word;
        size_t n = 0;

        (void) snprintf(copy, sizeof(copy), "%s", line);
        while ((word = strsep(&rest, " ")))
                if (*word)
                        argv[n++] = word;
        argv[n] = NULL;
        return args_parse(&args, argv, options, NULL, stop, &err);
}

static void test_options(void) {
        static const struct cli_option options[] = {
                { 'f', "follow", NULL, "" }, { 'n', "name", "NAME", "" }, { 0, "rm", NULL, "" }, { 0 }
        };
        const char *v;
        size_t it = 0;

        assert(parse(options, false, "a -f b --name x c") == 0);
        assert(args.n_rest == 3 && str_eq(args.rest[2], "c") && !args.rest[3]);
        assert(args_has(&args, "follow") && !args_has(&args, "rm") && str_eq(args_value(&args, "name"), "x"));
        assert(parse(options, true, "--rm image -f --name x") == 0);
        assert(args.n_rest == 4 && str_eq(args.rest[1], "-f") && args_has(&args, "rm") && !args_has(&args, "follow"));
        assert(parse(options, false, "-fnx -n=y --name=z -- -f") == 0);
        assert(args.n_rest == 1 && str_eq(args.rest[0], "-f") && str_eq(args_value(&args, "name"), "z"));
        assert((v = args_next(&args, "name", &it)) && str_eq(v, "x"));
        assert((v = args_next(&args, "name", &it)) && str_eq(v, "=y"));
        assert((v = args_next(&args, "name", &it)) && str_eq(v, "z") && !args_next(&args, "name", &it));
        assert(parse(options, false, "-") == 0 && args.n_rest == 1);
        assert(parse(options, false, "--nope") == -ERR_INVALID && strstr(err.msg, "--nope"));
        assert(parse(options, false, "-x") == -ERR_INVALID);
        assert(parse(options, false, "--name") == -ERR_INVALID && strstr(err.msg, "NAME"));
        assert(parse(options, false, "-n") == -ERR_INVALID);
        assert(parse(options, false, "--follow=1") == -ERR_INVALID);
        assert(parse(options, false, "--follow=true --rm=false") == 0);
        assert(args_has(&args, "follow") && !args_has(&args, "rm"));
        assert(parse(options, false, "-name x -follow -rm=true -name=y") == 0);
        assert(args_has(&args, "follow") && args_has(&args, "rm") && str_eq(args_value(&args, "name"), "y"));
}

static void test_format(void) {
        static const uint64_t s = 1000000000, now = 1000000000ULL * 1000000000ULL;
        static const struct {
                uint64_t seconds;
                const char *text;
        } ages[] = { { 0, "just now" },
                     { 1, "1 second ago" },
                     { 59, "59 seconds ago" },
                     { 60, "1 minute ago" },
                     { 185, "3 minutes ago" },
                     { 7200, "2 hours ago" },
                     { 86400, "1 day ago" },
                     { 86400 * 15, "2 weeks ago" },
                     { 86400 * 65, "2 months ago" },
                     { 86400 * 800ULL, "2 years ago" } };
        uint64_t millis;

        for (size_t i = 0; i < ELEMENTSOF(ages); i++)
                assert(str_eq(format_age(arena, (int64_t) (now - ages[i].seconds * s), now), ages[i].text));
        assert(str_eq(format_age(arena, 0, now), "") &&
               str_eq(format_age(arena, (int64_t) (now + s), now), "just now"));
        assert(str_eq(format_id(arena, "sha256:0123456789abcdef"), "0123456789ab") &&
               str_eq(format_id(arena, "ab"), "ab"));
        assert(str_eq(format_seconds(arena, 45), "45s") && str_eq(format_seconds(arena, 125), "2m05s") &&
               str_eq(format_seconds(arena, 3 * 3600 + 120), "3h02m"));
        assert(parse_cpus("0.5", &millis) && millis == 500 && parse_cpus("2", &millis) && millis == 2000);
        assert(parse_cpus("1.25", &millis) && millis == 1250 && parse_cpus("0.001", &millis) && millis == 1);
        assert(!parse_cpus("", &millis) && !parse_cpus("0", &millis) && !parse_cpus(".5", &millis) &&
               !parse_cpus("1.", &millis));
        assert(!parse_cpus("1.2345", &millis) && !parse_cpus("-1", &millis) && !parse_cpus("1e3", &millis) &&
               !parse_cpus("99999999", &millis));
}

static void test_table(void) {
        _cleanup_(freep) char *text = NULL;
        struct table t;
        size_t len;
        FILE *f = open_memstream(&text, &len);

        table_init(&t, arena, "NAME", "STATE", NULL);
        table_add(&t, "a", "ready", NULL);
        table_add(&t, "longer-name", "\033[31mred\n", NULL);
        table_add(&t, "h\xc3\xa9", "x", NULL);
        table_print(&t, f);
        table_done(&t);
        (void) fclose(f);
        assert(str_eq(text, "NAME         STATE\n"
                            "a            ready\n"
                            "longer-name  ?[31mred?\n"
                            "h\xc3\xa9           x\n"));
}

static void test_json(void) {
        Runtime__V1__PodSandbox pod = RUNTIME__V1__POD_SANDBOX__INIT;
        Runtime__V1__PodSandbox__LabelsEntry label = RUNTIME__V1__POD_SANDBOX__LABELS_ENTRY__INIT,
                                             *labels[] = { &label };
        Runtime__V1__PodSandboxMetadata meta = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
        Runtime__V1__ExecSyncResponse exec = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;
        char id[] = "abc", key[] = "k", value[] = "v \xff";
        uint8_t bytes[] = { 'a', 0xff, 0 };
        json_t *j;
        char *text;

        pod.id = id;
        pod.metadata = &meta;
        pod.state = RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
        pod.created_at = 1234567890123456789;
        label.key = key;
        label.value = value;
        pod.labels = labels;
        pod.n_labels = 1;
        j = json_of_message(&pod.base);
        text = json_dumps(j, JSON_COMPACT);
        assert(str_eq(
                text,
                "{\"id\":\"abc\",\"metadata\":{\"name\":\"\",\"uid\":\"\",\"namespace\":\"\",\"attempt\":0},"
                "\"state\":\"SANDBOX_NOTREADY\",\"created_at\":1234567890123456789,\"labels\":{\"k\":\"v \xc3\xbf\"},"
                "\"annotations\":{},\"runtime_handler\":\"\"}"));
        free(text);
        json_decref(j);
        exec.stdout.data = bytes;
        exec.stdout.len = 2;
        j = json_of_message(&exec.base);
        assert(str_eq(json_string_value(json_object_get(j, "stdout")), "a\xc3\xbf"));
        json_decref(j);
}

/* Runs with standard output in a file; what came out. */
static const char *captured(int fd, off_t *from) {
        static char text[4096];
        ssize_t n = pread(fd, text, sizeof(text) - 1, *from);

        assert(n >= 0);
        text[n] = '\0';
        *from += n;
        return text;
}

/* Texts of strangers that a terminal would obey. */
static void test_json_on_a_terminal(void) {
        char out[] = "/tmp/test-cli-out-XXXXXX";
        int out_fd = mkstemp(out), saved = dup(STDOUT_FILENO);
        const char *text;
        off_t at = 0;

        assert(out_fd >= 0 && fflush(stdout) == 0 && dup2(out_fd, STDOUT_FILENO) >= 0);
        json_print(json_pack("[s]", "\033[1m \xc2\x9b"
                                    "1m \x7f h\xc3\xa9 \xc2\xa0"));
        assert(fflush(stdout) == 0);
        text = captured(out_fd, &at);
        assert(dup2(saved, STDOUT_FILENO) >= 0);
        assert(str_eq(text, "[\n  \"\\u001B[1m \\u009B1m \\u007F h\xc3\xa9 \xc2\xa0\"\n]\n"));
        (void) close(saved);
        (void) close(out_fd);
        (void) unlink(out);
}

static struct pod_config config_of(const char *line) {
        struct pod_config c;

        assert(parse(pod_run_options, true, line) == 0);
        if (pod_config_from_args(&args, "/logs", arena, &c, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
        }
        return c;
}

static void test_pod_config(void) {
        static const char *const bad[] = { "-v x i",
                                           "-v /a i",
                                           "-v /a:b i",
                                           "-v /a:/b:xx i",
                                           "-p 1 i",
                                           "-p a:b i",
                                           "-p 1:70000 i",
                                           "-p 1:2/icmp i",
                                           "-p 0:1 i",
                                           "-e =x i",
                                           "-m none i",
                                           "-m 0 i",
                                           "--cpus x i",
                                           "--cpus 0.001 i",
                                           "--name A i",
                                           "--name a/b i",
                                           "--namespace .. i",
                                           "--name -a i",
                                           "--host-network -p 1:2 i" };
        struct pod_config c = config_of(
                "--name web -n team -e A=b=c -e EMPTY= -v /a:/b:ro -v /c:/d -p 127.0.0.1:8080:80 -p 53:53/udp "
                "-p [::1]:1:2 -m 64M --cpus 0.5 -w /w -u 1000 img sh -c x");

        assert(str_eq(c.pod->metadata->name, "web") && str_eq(c.pod->metadata->namespace_, "team") &&
               str_eq(c.pod->hostname, "web"));
        assert(strlen(c.pod->metadata->uid) == 36 && str_after(c.pod->log_directory, "/logs/team_web_"));
        assert(str_after(c.log_path, c.pod->log_directory) && str_ends_with(c.log_path, "/web.log"));
        assert(c.container->n_args == 3 && str_eq(c.container->args[0], "sh") && c.container->n_command == 0);
        assert(c.container->n_envs == 2 && str_eq(c.container->envs[0]->key, "A") &&
               c.container->envs[0]->value.len == 3 && memcmp(c.container->envs[0]->value.data, "b=c", 3) == 0 &&
               c.container->envs[1]->value.len == 0);
        assert(c.container->n_mounts == 2 && str_eq(c.container->mounts[0]->host_path, "/a") &&
               str_eq(c.container->mounts[0]->container_path, "/b") && c.container->mounts[0]->readonly &&
               str_eq(c.container->mounts[1]->container_path, "/d") && !c.container->mounts[1]->readonly);
        assert(c.pod->n_port_mappings == 3 && str_eq(c.pod->port_mappings[0]->host_ip, "127.0.0.1") &&
               c.pod->port_mappings[0]->host_port == 8080 && c.pod->port_mappings[0]->container_port == 80 &&
               c.pod->port_mappings[1]->protocol == RUNTIME__V1__PROTOCOL__UDP &&
               str_eq(c.pod->port_mappings[1]->host_ip, "") && str_eq(c.pod->port_mappings[2]->host_ip, "::1"));
        assert(c.container->linux->resources->memory_limit_in_bytes == 64 << 20 &&
               c.container->linux->resources->memory_swap_limit_in_bytes == 64 << 20 &&
               c.container->linux->resources->cpu_quota == 50000);
        assert(c.pod->linux->resources->memory_limit_in_bytes == 64 << 20 &&
               c.pod->linux->resources->cpu_quota == 50000);
        assert(c.container->linux->security_context->run_as_user->value == 1000);
        c = config_of("--host-network --entrypoint /bin/x -u web img");
        assert(c.pod->linux->security_context->namespace_options->network == RUNTIME__V1__NAMESPACE_MODE__NODE);
        assert(str_after(c.name, "run-") && str_eq(c.pod->hostname, "") && str_eq(c.container->command[0], "/bin/x") &&
               str_eq(c.container->linux->security_context->run_as_username, "web"));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert(parse(pod_run_options, true, bad[i]) == 0);
                assert(pod_config_from_args(&args, "/logs", arena, &c, &err) == -ERR_INVALID);
        }
}

static void append(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text));
        (void) close(fd);
}

static void test_logs(void) {
        char log[] = "/tmp/test-cli-log-XXXXXX", out[] = "/tmp/test-cli-out-XXXXXX", old[64];
        int log_fd = mkstemp(log), out_fd = mkstemp(out), saved;
        struct log_options all = { 0 }, tail = { .has_tail = true, .tail = 2 }, none = { .has_tail = true },
                           times = { .timestamps = true, .has_tail = true, .tail = 1 };
        struct log_reader *r;
        off_t at = 0;

        assert(log_fd >= 0 && out_fd >= 0);
        saved = dup(STDOUT_FILENO);
        assert(dup2(out_fd, STDOUT_FILENO) >= 0);
        append(log, "2026-01-01T00:00:00.1Z stdout F one\n2026-01-01T00:00:00.2Z stdout P tw\n2026-01-01T00:00:00.3Z "
                    "stdout F o\n");
        assert(log_reader_new(log, &all, &r, &err) == 0 && log_reader_pump(r, &err) == 0);
        assert(str_eq(captured(out_fd, &at), "one\ntwo\n"));
        append(log, "2026-01-01T00:00:00.4Z stdout F ha");
        assert(log_reader_pump(r, &err) == 0 && str_eq(captured(out_fd, &at), ""));
        append(log, "lf\n2026-01-01T00:00:00.5Z stdout F \nnot a log line\n");
        assert(log_reader_pump(r, &err) == 0 && str_eq(captured(out_fd, &at), "half\n\nnot a log line\n"));
        /* Rotated: the rest of the old file comes before the new one. */
        (void) snprintf(old, sizeof(old), "%s.old", log);
        assert(rename(log, old) == 0);
        append(old, "2026-01-01T00:00:00.6Z stdout F last\n");
        append(log, "2026-01-01T00:00:00.7Z stdout F first\n2026-01-01T00:00:00.8Z stdout F "
                    "second\n2026-01-01T00:00:00.9Z stdout F third\n");
        assert(log_reader_pump(r, &err) == 0 && str_eq(captured(out_fd, &at), "last\nfirst\nsecond\nthird\n"));
        (void) log_reader_free(r);
        assert(log_reader_new(log, &tail, &r, &err) == 0 && log_reader_pump(r, &err) == 0);
        (void) log_reader_free(r);
        assert(str_eq(captured(out_fd, &at), "second\nthird\n"));
        assert(log_reader_new(log, &times, &r, &err) == 0 && log_reader_pump(r, &err) == 0);
        (void) log_reader_free(r);
        assert(str_eq(captured(out_fd, &at), "2026-01-01T00:00:00.9Z third\n"));
        assert(log_reader_new(log, &none, &r, &err) == 0 && log_reader_pump(r, &err) == 0);
        (void) log_reader_free(r);
        assert(str_eq(captured(out_fd, &at), ""));
        assert(log_reader_new("/does/not/exist", &all, &r, &err) < 0 && log_reader_new("/tmp", &all, &r, &err) < 0);
        assert(dup2(saved, STDOUT_FILENO) >= 0);
        (void) close(saved);
        (void) close(log_fd);
        (void) close(out_fd);
        (void) unlink(log);
        (void) unlink(old);
        (void) unlink(out);
}

static void test_progress(void) {
        Proxmoxlxcri__V1__LayerProgress layer = PROXMOXLXCRI__V1__LAYER_PROGRESS__INIT, *layers[] = { &layer };
        Proxmoxlxcri__V1__PullProgress m = PROXMOXLXCRI__V1__PULL_PROGRESS__INIT;
        char out[] = "/tmp/test-cli-err-XXXXXX", digest[] = "sha256:0123456789abcdef";
        int out_fd = mkstemp(out), saved = dup(STDERR_FILENO);
        struct progress p;
        const char *text;
        uint64_t now;
        off_t at = 0;

        assert(out_fd >= 0 && dup2(out_fd, STDERR_FILENO) >= 0);
        layer.digest = digest;
        layer.total_bytes = 100 << 20;
        m.layers = layers;
        m.n_layers = 1;
        progress_init(&p, "img");
        assert(!p.live);
        now = p.started_ns;
        layer.state = PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DOWNLOADING;
        for (int i = 0; i <= 6; i++, now += 1000000000) {
                layer.done_bytes = (uint64_t) i * 10 << 20;
                progress_show(&p, &m, now);
        }
        layer.state = PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DONE;
        progress_show(&p, &m, now);
        text = captured(out_fd, &at);
        /* The same on a terminal of ten lines, with more layers than it has. */
        p.live = true;
        p.rows = 10;
        m.n_layers = 12;
        m.layers = arena_array(arena, Proxmoxlxcri__V1__LayerProgress *, 12);
        for (size_t i = 0; i < 12; i++)
                m.layers[i] = &layer;
        assert(dup2(saved, STDERR_FILENO) >= 0);
        assert(str_eq(text, "layer 0123456789ab: downloading, 100.0 MiB\n"
                            "img: 50.0 MiB / 100.0 MiB   50%  10.0 MiB/s  6s left\n"
                            "layer 0123456789ab: done, 100.0 MiB\n"));
        assert(dup2(out_fd, STDERR_FILENO) >= 0);
        progress_show(&p, &m, now);
        assert(p.shown <= 9);
        progress_show(&p, &m, now);
        assert(dup2(saved, STDERR_FILENO) >= 0);
        assert(strstr(captured(out_fd, &at), "\033["));
        (void) close(saved);
        (void) close(out_fd);
        (void) unlink(out);
}

/* Standard error is a terminal of that size; what a pull of one layer draws there. */
static const char *drawn(unsigned short rows, unsigned short columns, const char *reference, struct progress *p) {
        static char text[4096];
        Proxmoxlxcri__V1__LayerProgress layer = PROXMOXLXCRI__V1__LAYER_PROGRESS__INIT, *layers[] = { &layer };
        Proxmoxlxcri__V1__PullProgress m = PROXMOXLXCRI__V1__PULL_PROGRESS__INIT;
        const struct winsize size = { .ws_row = rows, .ws_col = columns };
        int screen = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), saved = dup(STDERR_FILENO), terminal;
        char digest[] = "sha256:0123456789abcdef";
        size_t len = 0;
        ssize_t n;

        assert(screen >= 0 && grantpt(screen) == 0 && unlockpt(screen) == 0);
        terminal = open(ptsname(screen), O_RDWR | O_NOCTTY | O_CLOEXEC);
        assert(terminal >= 0 && ioctl(terminal, TIOCSWINSZ, &size) == 0 && dup2(terminal, STDERR_FILENO) >= 0);
        layer.digest = digest;
        layer.total_bytes = layer.done_bytes = 100 << 20;
        layer.state = PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DONE;
        m.layers = layers;
        m.n_layers = 1;
        progress_init(p, reference);
        progress_show(p, &m, p->started_ns);
        assert(dup2(saved, STDERR_FILENO) >= 0);
        (void) close(saved);
        (void) close(terminal);
        while ((n = read(screen, text + len, sizeof(text) - 1 - len)) > 0) /* until there is no terminal any more */
                len += (size_t) n;
        text[len] = '\0';
        (void) close(screen);
        return text;
}

/* No line is longer than the terminal is wide: the next drawing would not go over all of it. */
static void test_progress_on_a_narrow_terminal(void) {
        struct progress p;
        const char *text;

        assert(setenv("TERM", "xterm", 1) == 0);
        text = drawn(24, 20, "registry.example/app:1", &p);
        assert(p.live && p.columns == 20);
        assert(str_eq(text, "\r\033[2K  0123456789ab  don\r\n\r\033[2K...ple/app:1: 100.0\r\n\033[J"));
        /* How much it is has room beside any name. */
        text = drawn(24, 60, "registry.example/team/with/a/name/that/goes/on/and/on:1", &p);
        assert(str_eq(text, "\r\033[2K  0123456789ab  done, 100.0 MiB\r\n"
                            "\r\033[2K.../name/that/goes/on/and/on:1: 100.0 MiB / 100.0 MiB  100%\r\n\033[J"));
        text = drawn(24, 80, "app:1", &p);
        assert(strstr(text, "\033[2Kapp:1: 100.0 MiB / 100.0 MiB  100%\r\n"));
        text = drawn(4, 80, "app:1", &p);
        assert(!p.live && str_eq(text, "layer 0123456789ab: done, 100.0 MiB\r\n"));
        assert(setenv("TERM", "dumb", 1) == 0);
        (void) drawn(24, 80, "app:1", &p);
        assert(!p.live);
}

int main(void) {
        arena = arena_new(16 << 20);
        test_options();
        test_format();
        test_table();
        test_json();
        test_json_on_a_terminal();
        test_pod_config();
        test_logs();
        test_progress();
        test_progress_on_a_narrow_terminal();
        (void) arena_free(arena);
        return 0;
}
