/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/test-kit.h"

char test_no_text[] = "";

CRI(PodSandboxConfig) * test_pod_config(struct arena *a) {
        CRI(PodSandboxConfig) *c = cri_make(a, PodSandboxConfig, pod_sandbox_config);

        c->metadata = cri_make(a, PodSandboxMetadata, pod_sandbox_metadata);
        c->metadata->name = arena_strdup(a, "web");
        c->metadata->namespace_ = arena_strdup(a, "default");
        c->metadata->uid = arena_strdup(a, "u1");
        c->linux = cri_make(a, LinuxPodSandboxConfig, linux_pod_sandbox_config);
        c->linux->security_context = cri_make(a, LinuxSandboxSecurityContext, linux_sandbox_security_context);
        c->linux->security_context->namespace_options = cri_make(a, NamespaceOption, namespace_option);
        return c;
}

CRI(ContainerConfig) * test_container_config(struct arena *a) {
        CRI(ContainerConfig) *c = cri_make(a, ContainerConfig, container_config);

        c->metadata = cri_make(a, ContainerMetadata, container_metadata);
        c->metadata->name = arena_strdup(a, "app");
        c->image = cri_make(a, ImageSpec, image_spec);
        c->image->image = arena_strdup(a, "busybox");
        c->linux = cri_make(a, LinuxContainerConfig, linux_container_config);
        c->linux->security_context = cri_make(a, LinuxContainerSecurityContext, linux_container_security_context);
        return c;
}

void *test_entries(struct arena *a, size_t n, const char *const *pairs) {
        CRI(PodSandboxConfig__LabelsEntry) **list = arena_array(a, CRI(PodSandboxConfig__LabelsEntry) *, n);

        for (size_t i = 0; i < n; i++) {
                list[i] = cri_make(a, PodSandboxConfig__LabelsEntry, pod_sandbox_config__labels_entry);
                list[i]->key = arena_strdup(a, pairs[2 * i]);
                list[i]->value = arena_strdup(a, pairs[2 * i + 1]);
        }
        return list;
}

const char *const test_none[] = { NULL };

struct image test_image(void) {
        static const char *entrypoint[] = { "/entry", "-e", NULL }, *cmd[] = { "a", "b", NULL },
                          *env[] = { "PATH=/bin", "X=1", NULL };

        return (struct image){ .id = "sha256:1234",
                               .config = { .entrypoint = entrypoint,
                                           .cmd = cmd,
                                           .env = env,
                                           .volumes = (const char **) test_none,
                                           .user = "",
                                           .working_dir = "",
                                           .stop_signal = "",
                                           .labels = (const char **) test_none } };
}

CRI(Int64Value) * test_int64(struct arena *a, int64_t v) {
        CRI(Int64Value) *m = cri_make(a, Int64Value, int64_value);

        m->value = v;
        return m;
}

CRI(UserNamespace) * test_user_ns(struct arena *a, uint32_t inside, uint32_t outside, uint32_t length) {
        CRI(UserNamespace) *u = cri_make(a, UserNamespace, user_namespace);
        CRI(IDMapping) **list = arena_array(a, CRI(IDMapping) *, 2);

        list[0] = list[1] = cri_make(a, IDMapping, idmapping);
        list[0]->container_id = inside;
        list[0]->host_id = outside;
        list[0]->length = length;
        u->n_uids = u->n_gids = 1;
        u->uids = u->gids = list;
        return u;
}
