/* SPDX-License-Identifier: Apache-2.0 */
/* CDI specifications: what is found, what it adds, what is refused. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "pod/cdi.h"

static char low[] = "/tmp/test-cdi-XXXXXX", high[] = "/tmp/test-cdi-XXXXXX";
static const char *folders[] = { low, "/no/such/folder", high, NULL };

static void put(const char *folder, const char *name, const char *text) {
        char path[100];
        struct err err;

        (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
        assert(fs_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, &err) == 0);
}

static int resolve(const char *const *names, struct arena *a, struct cdi_edits *ret, struct err *err) {
        CRI(CDIDevice) list[8], *devices[8];
        size_t n = 0;

        for (; names[n]; n++) {
                runtime__v1__cdidevice__init(&list[n]);
                list[n].name = (char *) names[n];
                devices[n] = &list[n];
        }
        return cdi_resolve(folders, devices, n, a, ret, err);
}

static int resolve_one(const char *name, struct arena *a, struct cdi_edits *ret, struct err *err) {
        return resolve((const char *[]){ name, NULL }, a, ret, err);
}

static void test_edits(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(16 << 20);
        static const char *const both[] = { "vendor.com/gpu=0", "vendor.com/gpu=one", NULL };
        static const struct spec_device null = { "/dev/null", 'c', 1, 3, 0666, 0, 0 };
        struct spec spec = { .devices = &null,
                             .n_devices = 1,
                             .process.user = { .uid = 7, .gid = 8, .has_gid = true } };
        struct cdi_edits e;
        struct err err;

        put(low, "gpu.json",
            "{\n\t\"cdiVersion\": \"0.6.0\", \"kind\": \"vendor.com/gpu\",\n\t\"annotations\": {\"a\": \"b\"},\n"
            "\t\"containerEdits\": {\"env\": [\"ALL=1\"], \"mounts\": [{\"hostPath\": \"/usr/lib\", "
            "\"containerPath\": \"/opt//gpu/\", \"options\": [\"ro\", \"nosuid\", \"rbind\"]}]},\n"
            "\t\"devices\": [{\"name\": \"0\", \"containerEdits\": {\"deviceNodes\": [\n"
            "\t\t{\"path\": \"/dev/gpu0\", \"hostPath\": \"/dev/zero\"},\n"
            "\t\t{\"path\": \"/dev/null\", \"type\": \"c\", \"major\": 1, \"minor\": 5, \"fileMode\": 384, \"uid\": 0,"
            " \"gid\": 44, \"permissions\": \"r\"}]}},\n"
            "\t{\"name\": \"one\", \"containerEdits\": {\"env\": [\"ONE=a=b\"], \"additionalGids\": [0, 44], "
            "\"hooks\": []}}]\n}\n");
        assert(resolve(both, a, &e, &err) == 0);
        assert(e.n_env == 2 && str_eq(e.env[0], "ALL=1") && str_eq(e.env[1], "ONE=a=b") && !e.env[2]);
        assert(e.n_mounts == 1 && str_eq(e.mounts[0].destination, "/opt/gpu") && e.mounts[0].recursive &&
               e.mounts[0].flags == (MS_RDONLY | MS_NOSUID) && e.mounts[0].source_fd == -1);
        assert(e.n_nodes == 2 && e.n_gids == 1 && e.gids[0] == 44);
        assert(cdi_apply(&e, a, &spec, &err) == 0);
        assert(spec.n_devices == 2 && spec.resources.n_devices == 2);
        assert(str_eq(spec.devices[0].path, "/dev/null") && spec.devices[0].minor == 5 &&
               spec.devices[0].mode == 0600 && spec.devices[0].uid == 0 && spec.devices[0].gid == 44);
        assert(str_eq(spec.devices[1].path, "/dev/gpu0") && spec.devices[1].type == 'c' && spec.devices[1].minor == 5 &&
               spec.devices[1].uid == 7 && spec.devices[1].gid == 8);
        assert(str_eq(spec.resources.devices[0].access, "rwm") && str_eq(spec.resources.devices[1].access, "r"));
        assert(spec.process.user.n_additional_gids == 1 && spec.process.user.additional_gids[0] == 44);
}

static void test_found(void) {
        static const char *const bad[] = { "",           "x",        "vendor.com/gpu",   "vendor.com/gpu=",
                                           "gpu=0",      "=0",       "vendor.com/gpu=2", "vendor.com/net=0",
                                           "x=vendor/0", "twice/x=0" };
        _cleanup_(arena_freep) struct arena *a = arena_new(16 << 20);
        struct cdi_edits e;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                put(low, "a.yaml", "cdiVersion: 0.5.0\nkind: twice/x\ndevices:\n- name: '0'\n");
                put(low, "b.yaml", "cdiVersion: 0.5.0\nkind: twice/x\ndevices:\n- name: '0'\n");
                put(low, "broken.json", "{\"cdiVersion\": ");
                put(low, "old.yaml", "cdiVersion: 0.1.0\nkind: vendor.com/net\ndevices:\n- name: '0'\n");
                put(low, "net.yaml.bak", "cdiVersion: 0.5.0\nkind: vendor.com/net\ndevices:\n- name: '0'\n");
                assert(resolve_one(bad[i], a, &e, &err) == -ERR_INVALID);
        }
        put(high, "c.yaml",
            "cdiVersion: 0.5.0\nkind: twice/x\ndevices:\n- name: '0'\n  containerEdits:\n    env: [WHO=high]\n");
        assert(resolve_one("twice/x=0", a, &e, &err) == 0 && e.n_env == 1 && str_eq(e.env[0], "WHO=high"));
        assert(resolve((const char *[]){ NULL }, a, &e, &err) == 0 && e.n_env == 0);
}

static void test_hooks(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(16 << 20);
        const struct spec_hook *h;
        struct spec spec = { 0 };
        struct cdi_edits e;
        struct err err;

        put(high, "hooks.yaml",
            "cdiVersion: 0.8.0\nkind: hooks/x\n"
            "containerEdits:\n  hooks:\n  - {hookName: createContainer, path: /first, args: [first, -x, ''], env: "
            "[A=b]}\n"
            "devices:\n- name: a\n  containerEdits:\n    hooks:\n"
            "    - {hookName: createContainer, path: /second, timeout: 5}\n    - {hookName: poststop, path: /third}\n");
        assert(resolve_one("hooks/x=a", a, &e, &err) == 0 && cdi_apply(&e, a, &spec, &err) == 0);
        h = spec.hooks.list[SPEC_HOOK_CREATE_CONTAINER];
        assert(spec.hooks.n[SPEC_HOOK_CREATE_CONTAINER] == 2 && spec.hooks.n[SPEC_HOOK_POSTSTOP] == 1);
        assert(str_eq(h[0].path, "/first") && str_eq(h[0].args[1], "-x") && str_eq(h[0].args[2], "") && !h[0].args[3]);
        assert(str_eq(h[0].env[0], "A=b") && h[0].timeout_ms == CDI_HOOK_TIMEOUT_S * 1000);
        assert(str_eq(h[1].path, "/second") && !h[1].args[0] && h[1].timeout_ms == 5000);
}

static void test_refused(void) {
        static const struct {
                const char *edits;
                int code;
        } cases[] = {
                { "{hooks: [{path: /bin/x}]}", ERR_INVALID },
                { "{hooks: [{hookName: afterwards, path: /bin/x}]}", ERR_INVALID },
                { "{hooks: [{hookName: createContainer, path: bin/x}]}", ERR_INVALID },
                { "{hooks: [{hookName: createContainer}]}", ERR_INVALID },
                { "{hooks: [{hookName: createContainer, path: /bin/x, args: x}]}", ERR_INVALID },
                { "{hooks: [{hookName: createContainer, path: /bin/x, args: [[x]]}]}", ERR_INVALID },
                { "{hooks: [{hookName: createContainer, path: /bin/x, env: [x]}]}", ERR_INVALID },
                { "{hooks: [{hookName: createContainer, path: /bin/x, timeout: 0}]}", ERR_INVALID },
                { "{hooks: [{hookName: createContainer, path: /bin/x, timeout: 100000}]}", ERR_INVALID },
                { "{hooks: [{hookName: createContainer, path: /bin/x, dir: /}]}", ERR_INVALID },
                { "{intelRdt: {closID: x}}", ERR_UNIMPLEMENTED },
                { "{netDevices: [{hostInterfaceName: a, name: b}]}", ERR_UNIMPLEMENTED },
                { "{something: x}", ERR_INVALID },
                { "[x]", ERR_INVALID },
                { "{env: {A: b}}", ERR_INVALID },
                { "{env: [NOVALUE]}", ERR_INVALID },
                { "{env: [=x]}", ERR_INVALID },
                { "{env: [[A=b]]}", ERR_INVALID },
                { "{deviceNodes: [{path: relative}]}", ERR_INVALID },
                { "{deviceNodes: [{path: /}]}", ERR_INVALID },
                { "{deviceNodes: [{path: /dev/none-like-this}]}", ERR_INVALID },
                { "{deviceNodes: [{path: /dev/a, hostPath: /etc}]}", ERR_INVALID },
                { "{deviceNodes: [{path: /dev/a, type: x, major: 1, minor: 1}]}", ERR_INVALID },
                { "{deviceNodes: [{path: /dev/a, type: c, major: -1, minor: 1}]}", ERR_INVALID },
                { "{deviceNodes: [{path: /dev/a, type: c, major: 1, minor: 99999999}]}", ERR_INVALID },
                { "{deviceNodes: [{path: /dev/null, permissions: rwx}]}", ERR_INVALID },
                { "{deviceNodes: [{path: /dev/null, uid: 99999999999}]}", ERR_INVALID },
                { "{mounts: [{hostPath: /etc}]}", ERR_INVALID },
                { "{mounts: [{hostPath: etc, containerPath: /x}]}", ERR_INVALID },
                { "{mounts: [{hostPath: /etc, containerPath: /x, type: tmpfs}]}", ERR_INVALID },
                { "{mounts: [{hostPath: /etc, containerPath: /x, options: [rshared]}]}", ERR_INVALID },
                { "{additionalGids: [x]}", ERR_INVALID },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(16 << 20);
                struct cdi_edits e;
                struct err err;
                char text[300];

                (void) snprintf(text, sizeof(text),
                                "cdiVersion: 0.8.0\nkind: bad/x\ndevices: [{name: a, containerEdits: %s}]\n",
                                cases[i].edits);
                put(high, "bad.yaml", text);
                assert(resolve_one("bad/x=a", a, &e, &err) == -cases[i].code);
                assert(strstr(err.msg, "bad.yaml:3"));
        }
}

int main(void) {
        struct err err;

        assert(mkdtemp(low) && mkdtemp(high));
        test_edits();
        test_found();
        test_hooks();
        test_refused();
        assert(fs_remove_tree(AT_FDCWD, low, &err) == 0 && fs_remove_tree(AT_FDCWD, high, &err) == 0);
        return 0;
}
