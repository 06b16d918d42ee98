/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "runtime/hooks/bundle.h"
#include "runtime/hooks/hooks.h"

static char dir[] = "/tmp/test-hooks-XXXXXX";

static const struct hook_state state = {
        .id = "some-id",
        .bundle = "/some/bundle",
        .status = "creating",
        .annotations = (const struct spec_pair[]){ { "a/b", "c \"d\"" } },
        .n_annotations = 1,
};

#define SHELL(text, ...)                                                                                               \
        { .path = "/bin/sh", .args = (const char *const[]){ "hook-name", "-c", text, NULL }, __VA_ARGS__ }
#define HOOKS(kind, ...)                                                                                               \
        {                                                                                                              \
                .list[kind] = (const struct spec_hook[]){ __VA_ARGS__ },                                               \
                .n[kind] = sizeof((const struct spec_hook[]){ __VA_ARGS__ }) / sizeof(struct spec_hook)                \
        }

static void read_back(const char *name, char *out, size_t size) {
        _cleanup_(freep) char *text = NULL;
        char path[128];
        struct err err;

        (void) snprintf(path, sizeof(path), "%s/%s", dir, name);
        assert(fs_read_file(AT_FDCWD, path, size - 1, &text, NULL, &err) == 0);
        (void) snprintf(out, size, "%s", text);
}

static void test_run(void) {
        char script[2][256], text[1024], expected[1024];
        struct err err;

        (void) snprintf(script[0], sizeof(script[0]),
                        "cat >%s/state; echo $0 $A >%s/order; env >%s/env; pwd >>%s/order", dir, dir, dir, dir);
        (void) snprintf(script[1], sizeof(script[1]), "echo second >>%s/order; ls /proc/self/fd >%s/fds", dir, dir);
        {
                const char *const env[] = { "A=b", "PATH=/usr/bin:/bin", NULL };
                const struct spec_hooks hooks =
                        HOOKS(SPEC_HOOK_CREATE_RUNTIME, SHELL(script[0], .env = env), SHELL(script[1], .env = env));

                assert(hooks_run(&hooks, SPEC_HOOK_CREATE_RUNTIME, &state, 123, &err) == 0);
                assert(hooks_run(&hooks, SPEC_HOOK_POSTSTOP, &state, 123, &err) == 0);
        }
        read_back("state", text, sizeof(text));
        (void) snprintf(expected, sizeof(expected),
                        "{\"ociVersion\":\"" SPEC_OCI_VERSION
                        "\",\"id\":\"some-id\",\"status\":\"creating\",\"bundle\":\"/some/bundle\","
                        "\"annotations\":{\"a/b\":\"c \\\"d\\\"\"},\"pid\":123}");
        assert(str_eq(text, expected));
        read_back("order", text, sizeof(text));
        assert(str_eq(text, "hook-name b\n/\nsecond\n"));
        /* Ours is not inherited: only what the shell adds by itself. */
        assert(setenv("LEAKED", "yes", 1) == 0);
        read_back("env", text, sizeof(text));
        assert(strstr(text, "A=b\n") && !strstr(text, "HOME=") && !strstr(text, "LEAKED"));
        /* 0 to 2, ls' own, and not the file that is open here. */
        read_back("fds", text, sizeof(text));
        assert(str_eq(text, "0\n1\n2\n3\n"));
}

static void test_failing(void) {
        const struct {
                struct spec_hook hook;
                const char *words;
                enum err_code code;
        } cases[] = {
                { SHELL("echo out; echo bad thing >&2; exit 3"), "exit code 3: bad thing", ERR_INTERNAL },
                { SHELL("echo only out; exit 4"), "exit code 4: only out", ERR_INTERNAL },
                { SHELL("kill -9 $$"), "signal 9", ERR_INTERNAL },
                { SHELL("echo waiting >&2; sleep 60", .timeout_ms = 200), "200 ms and was killed: waiting",
                  ERR_INTERNAL },
                { { .path = "/none/such" }, "/none/such", ERR_INTERNAL },
        };

        char after[64], script[128];

        (void) snprintf(after, sizeof(after), "%s/after", dir);
        (void) snprintf(script, sizeof(script), "echo >%s", after);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const struct spec_hooks hooks = HOOKS(SPEC_HOOK_PRESTART, cases[i].hook, SHELL(script));
                struct err err;

                assert(hooks_run(&hooks, SPEC_HOOK_PRESTART, &state, 1, &err) == -(int) cases[i].code);
                assert(strstr(err.msg, "prestart hook 1") && strstr(err.msg, cases[i].words));
                assert(access(after, F_OK) < 0);
                hooks_run_all(&hooks, SPEC_HOOK_PRESTART, &state, 1);
                assert(unlink(after) == 0);
        }
}

static void test_timeouts(void) {
        const struct spec_hooks both = HOOKS(SPEC_HOOK_POSTSTOP, SHELL("a", .timeout_ms = 200),
                                             SHELL("b", .timeout_ms = 1)),
                                one = HOOKS(SPEC_HOOK_POSTSTOP, SHELL("a", .timeout_ms = 200), SHELL("b"));

        assert(hooks_timeout_ms(&both, SPEC_HOOK_POSTSTOP) == 201 && hooks_timeout_ms(&both, SPEC_HOOK_PRESTART) == 0);
        assert(hooks_timeout_ms(&one, SPEC_HOOK_POSTSTOP) == 0);
}

static int from_text(const char *text, struct arena *a, struct spec_hooks *ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *j = NULL;

        assert(json_load_bounded(text, strlen(text), 1000, "test", &j, err) == 0);
        return hooks_from_json(json_object_get(j, "hooks"), a, ret, err);
}

static void test_json(void) {
        static const char *const bad[] = {
                "{\"hooks\": []}",
                "{\"hooks\": {\"poststop\": {}}}",
                "{\"hooks\": {\"poststop\": [{}]}}",
                "{\"hooks\": {\"poststop\": [{\"path\": \"relative\"}]}}",
                "{\"hooks\": {\"poststop\": [{\"path\": \"/x\", \"timeout\": 0}]}}",
                "{\"hooks\": {\"poststop\": [{\"path\": \"/x\", \"timeout\": \"1\"}]}}",
                "{\"hooks\": {\"poststop\": [{\"path\": \"/x\", \"args\": \"x\"}]}}",
                "{\"hooks\": {\"poststop\": [{\"path\": \"/x\", \"env\": [1]}]}}",
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        _cleanup_(json_unrefp) json_t *j = NULL;
        struct spec_hooks h, again;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(from_text(bad[i], a, &h, &err) == -ERR_INVALID && strstr(err.msg, "hooks"));
        assert(from_text("{}", a, &h, &err) == 0 && hooks_are_empty(&h));
        assert(from_text(
                       "{\"hooks\": {\"unknown\": 1, \"startContainer\": [{\"path\": \"/x\", \"args\": [\"y\", \"z\"], "
                       "\"env\": [\"A=b\"], \"timeout\": 7}, {\"path\": \"/w\"}]}}",
                       a, &h, &err) == 0);
        j = hooks_to_json(&h);
        assert(j && hooks_from_json(j, a, &again, &err) == 0 && !hooks_are_empty(&again));
        assert(again.n[SPEC_HOOK_START_CONTAINER] == 2 && again.n[SPEC_HOOK_POSTSTOP] == 0);
        assert(str_eq(again.list[SPEC_HOOK_START_CONTAINER][0].args[1], "z"));
        assert(str_eq(again.list[SPEC_HOOK_START_CONTAINER][0].env[0], "A=b"));
        assert(again.list[SPEC_HOOK_START_CONTAINER][0].timeout_ms == 7000);
        assert(str_eq(again.list[SPEC_HOOK_START_CONTAINER][1].path, "/w"));
}

static void test_bundle(void) {
        const char *const args[] = { "sh", NULL }, *const env[] = { "A=b", "BAD=\xff", NULL };
        const struct spec_mount mount = {
                .destination = "/d", .type = "bind", .source = "/s", .data = "", .flags = MS_RDONLY
        };
        struct spec spec = { .id = "id",
                             .process = { .args = args, .env = env, .cwd = "/" },
                             .mounts = &mount,
                             .n_mounts = 1,
                             .hooks = HOOKS(SPEC_HOOK_POSTSTOP, SHELL("x")),
                             .annotations = state.annotations,
                             .n_annotations = 1 },
                    back;
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        const char *const not_text[] = { "\xff", NULL };
        char text[4096];
        struct err err;

        assert(bundle_write(dir, &spec, "/the/root", &err) == 0);
        read_back("id/config.json", text, sizeof(text));
        assert(strstr(text, "\"path\":\"/the/root\"") && strstr(text, "\"A=b\"") &&
               strstr(text, "\"destination\":\"/d\""));
        assert(bundle_read(dir, "id", a, &back, &err) == 0);
        assert(back.hooks.n[SPEC_HOOK_POSTSTOP] == 1 && str_eq(back.hooks.list[SPEC_HOOK_POSTSTOP][0].args[2], "x"));
        assert(back.n_annotations == 1 && str_eq(back.annotations[0].value, "c \"d\""));
        assert(bundle_remove(dir, "id", &err) == 0 && bundle_remove(dir, "id", &err) == 0);
        assert(bundle_read(dir, "id", a, &back, &err) == 0 && hooks_are_empty(&back.hooks));
        spec.process.args = not_text;
        assert(bundle_write(dir, &spec, "/the/root", &err) == -ERR_INVALID);
}

int main(void) {
        struct err err;
        int leaked = open("/dev/null", O_RDONLY | O_CLOEXEC);

        (void) signal(SIGPIPE, SIG_DFL); /* as a command: a hook need not read its state */
        assert(leaked >= 0 && mkdtemp(dir));
        test_run();
        test_failing();
        test_timeouts();
        test_json();
        test_bundle();
        assert(fs_remove_tree(AT_FDCWD, dir, &err) == 0);
        (void) close(leaked);
        return 0;
}
