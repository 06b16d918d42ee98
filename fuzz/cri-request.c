/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes -> a CRI request -> every check that its configuration goes through before anything is made. The first byte
 * chooses the request. */
#include <stddef.h>
#include <stdint.h>
#include "pod/rules.h"
#include "pod/specgen.h"

enum { MAX_BYTES = 64 << 20 };

static const char *const none[] = { NULL };
static const char *const words[] = { "/bin/sh", NULL };

static void check_container(const CRI(ContainerConfig) * config, const CRI(PodSandboxConfig) * pod, struct arena *a) {
        const CRI(LinuxContainerConfig) *l = config ? config->linux : NULL;
        struct image image = { .id = "sha256:0",
                               .config = { .entrypoint = (const char **) words,
                                           .cmd = (const char **) none,
                                           .env = (const char **) none,
                                           .volumes = (const char **) none,
                                           .user = "a:b",
                                           .working_dir = "",
                                           .stop_signal = "SIGTERM" } };
        const struct pod_sources sources = { "/a", "/b", "/c", "/d" };
        char *env[] = { NULL };
        const char *const *list;
        const char *cwd;
        struct spec spec = { 0 };
        struct err err;
        int n;

        if (container_rules_check(config, pod, &err) < 0)
                return;
        (void) !process_args(config, &image, a, &list, &err);
        (void) !process_env(config, env, env, "host", a, &list, &err);
        (void) !process_cwd(config, &image, a, &cwd, &err);
        (void) !process_user(l ? l->security_context : NULL, image.config.user, a, &spec.process.user, &err);
        (void) !process_stop_signal(config, &image, &n, &err);
        (void) !mounts_build(config, &sources, a, &spec, &err);
        (void) !devices_build(config, true, a, &spec, &err);
        (void) !resources_build(l ? l->resources : NULL, a, &spec.resources, &err);
        (void) !resources_oom_score(l ? l->resources : NULL, &n, &err);
        (void) !security_paths(config, a, &spec, &err);
}

static void check_update(const CRI(UpdateContainerResourcesRequest) * req, struct arena *a) {
        CRI(LinuxContainerResources) * merged;
        struct spec_resources out;
        struct err err;

        if (!req->linux || resources_merge(req->linux, req->linux, &merged, &err) < 0)
                return;
        (void) !resources_build(merged, a, &out, &err);
        cri_message_free(merged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const ProtobufCMessageDescriptor *const kinds[] = {
                &runtime__v1__run_pod_sandbox_request__descriptor, &runtime__v1__create_container_request__descriptor,
                &runtime__v1__update_container_resources_request__descriptor
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(4ul * MAX_BYTES);
        CRI(PodSandboxConfig) empty = CRI_(POD_SANDBOX_CONFIG__INIT);
        ProtobufCMessage *m;
        struct pod_rules rules;
        struct err err;

        if (size < 1 || size > 1 << 20 ||
            proto_unpack(kinds[data[0] % 3], data + 1, size - 1, a, MAX_BYTES, &m, &err) < 0)
                return 0;
        switch (data[0] % 3) {
        case 0:
                (void) !pod_rules_check(((CRI(RunPodSandboxRequest) *) m)->config, "/fallback", a, &rules, &err);
                break;
        case 1: {
                const CRI(CreateContainerRequest) *req = (const void *) m;
                for (size_t i = 0; req->config && i < req->config->n_mounts; i++)
                        req->config->mounts[i]->image = NULL; /* there is no store with images here */
                check_container(req->config, req->sandbox_config ? req->sandbox_config : &empty, a);
                break;
        }
        default:
                check_update((const void *) m, a);
        }
        return 0;
}
