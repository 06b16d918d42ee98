/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/credentials.h"
#include "cli/pod-config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "cli/format.h"
#include "pod/route.h"

enum { CPU_PERIOD_US = 100000, NAME_LEN_MAX = 63 };

const struct cli_option pod_run_options[] = {
        { 'd', "detach", NULL, "print the pod's id and leave it running" },
        { 0, "rm", NULL, "remove the pod when its program has ended" },
        { 't', "tty", NULL, "the program gets a terminal" },
        { 'i', "interactive", NULL, "with this command's input" },
        { 0, "name", "NAME", "of pod and container (default: run-, then random digits)" },
        { 'n', "namespace", "NAME", "Kubernetes namespace (default: default)" },
        { 0, "runtime", "HANDLER", "runtime handler (default: the daemon's)" },
        { 0, "host-network", NULL, "the host's network instead of one by CNI" },
        { 'e', "env", "NAME[=VALUE]", "environment; without a value: this command's (repeatable)" },
        { 'v', "volume", "HOST:CONTAINER[:ro]", "bind mount (repeatable)" },
        { 'p', "publish", "[IP:]HOST:CONTAINER[/udp]", "host port, by the network's portmap plug-in (repeatable)" },
        { 'w', "workdir", "PATH", "working directory" },
        { 'u', "user", "UID|NAME", "run as that user" },
        { 0, "entrypoint", "PROGRAM", "instead of the image's" },
        { 'm', "memory", "BYTES", "memory limit, e.g. 64M; swap is not used" },
        { 0, "cpus", "N", "CPU limit, e.g. 0.5" },
        { 'q', "quiet", NULL, "no progress when the image is pulled" },
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

#define new_message(arena, Type, init)                                                                                 \
        ({                                                                                                             \
                Type *_m = arena_new_of(arena, Type);                                                                  \
                init(_m);                                                                                              \
                _m;                                                                                                    \
        })

static char *borrow(const char *s) {
        return (char *) (uintptr_t) s;
}

static bool name_valid(const char *s) {
        size_t len = strlen(s);

        return len > 0 && len <= NAME_LEN_MAX && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == len &&
               s[0] != '-' && s[len - 1] != '-';
}

static int add_mounts(const struct cli_args *args, struct arena *a, Runtime__V1__ContainerConfig *c, struct err *err) {
        const char *v;

        c->mounts = arena_array(a, Runtime__V1__Mount *, args->n_set + 1);
        for (size_t it = 0; (v = args_next(args, "volume", &it));) {
                Runtime__V1__Mount *m = new_message(a, Runtime__V1__Mount, runtime__v1__mount__init);
                const char *target = strchr(v, ':'), *mode = target ? strchr(target + 1, ':') : NULL;

                if (!target || v[0] != '/' || target[1] != '/' ||
                    (mode && !str_eq(mode, ":ro") && !str_eq(mode, ":rw")))
                        return err_set(err, ERR_INVALID, "--volume is /HOST/PATH:/CONTAINER/PATH[:ro], not \"%.128s\"",
                                       v);
                m->host_path = arena_strndup(a, v, (size_t) (target - v));
                m->container_path =
                        mode ? arena_strndup(a, target + 1, (size_t) (mode - target - 1)) : borrow(target + 1);
                m->readonly = mode && str_eq(mode, ":ro");
                c->mounts[c->n_mounts++] = m;
        }
        return 0;
}

static bool port_of(const char *s, size_t len, int32_t *ret) {
        char text[8];
        uint64_t n;

        if (len == 0 || len >= sizeof(text))
                return false;
        memcpy(text, s, len);
        text[len] = '\0';
        if (!str_to_u64(text, &n) || n == 0 || n > 65535)
                return false;
        *ret = (int32_t) n;
        return true;
}

/* From the right: "/udp", the container's port, the host's, and what is left is an address ("[::1]" may hold colons).
 */
static bool parse_port(struct arena *a, const char *s, Runtime__V1__PortMapping *p) {
        const char *slash = strchr(s, '/'), *end = slash ? slash : s + strlen(s), *ctr, *host;

        if (slash && str_eq(slash, "/udp"))
                p->protocol = RUNTIME__V1__PROTOCOL__UDP;
        else if (slash && str_eq(slash, "/sctp"))
                p->protocol = RUNTIME__V1__PROTOCOL__SCTP;
        else if (slash && !str_eq(slash, "/tcp"))
                return false;
        ctr = memrchr(s, ':', (size_t) (end - s));
        if (!ctr || !port_of(ctr + 1, (size_t) (end - ctr - 1), &p->container_port))
                return false;
        host = memrchr(s, ':', (size_t) (ctr - s));
        if (!port_of(host ? host + 1 : s, (size_t) (ctr - (host ? host + 1 : s)), &p->host_port))
                return false;
        if (host && host > s) {
                bool brackets = s[0] == '[' && host[-1] == ']';

                p->host_ip = arena_strndup(a, s + brackets, (size_t) (host - s) - 2 * (size_t) brackets);
        }
        return true;
}

static int add_ports(const struct cli_args *args, struct arena *a, Runtime__V1__PodSandboxConfig *pod,
                     struct err *err) {
        const char *v;

        pod->port_mappings = arena_array(a, Runtime__V1__PortMapping *, args->n_set + 1);
        for (size_t it = 0; (v = args_next(args, "publish", &it));) {
                Runtime__V1__PortMapping *p = new_message(a, Runtime__V1__PortMapping, runtime__v1__port_mapping__init);

                if (!parse_port(a, v, p))
                        return err_set(err, ERR_INVALID, "--publish is [IP:]HOSTPORT:PORT[/udp], not \"%.128s\"", v);
                pod->port_mappings[pod->n_port_mappings++] = p;
        }
        if (pod->n_port_mappings && args_has(args, "host-network"))
                return err_set(err, ERR_INVALID,
                               "--publish has no meaning with --host-network: the ports are the host's already");
        return 0;
}

static int add_env(const struct cli_args *args, struct arena *a, Runtime__V1__ContainerConfig *c, struct err *err) {
        const char *v;

        c->envs = arena_array(a, Runtime__V1__KeyValue *, args->n_set + 1);
        for (size_t it = 0; (v = args_next(args, "env", &it));) {
                Runtime__V1__KeyValue *e = new_message(a, Runtime__V1__KeyValue, runtime__v1__key_value__init);
                const char *equals = strchr(v, '='), *value = equals ? equals + 1 : getenv(v);

                if (!*v || equals == v)
                        return err_set(err, ERR_INVALID, "--env is NAME=VALUE, not \"%.128s\"", v);
                if (!value)
                        continue; /* not set here: not set there */
                e->key = equals ? arena_strndup(a, v, (size_t) (equals - v)) : borrow(v);
                e->value.data = (uint8_t *) arena_strdup(a, value);
                e->value.len = strlen(value);
                c->envs[c->n_envs++] = e;
        }
        return 0;
}

static int add_limits(const struct cli_args *args, struct arena *a, Runtime__V1__LinuxContainerConfig *c,
                      struct err *err) {
        const char *memory = args_value(args, "memory"), *cpus = args_value(args, "cpus");
        Runtime__V1__LinuxContainerResources *r =
                new_message(a, Runtime__V1__LinuxContainerResources, runtime__v1__linux_container_resources__init);
        uint64_t bytes, millis;

        c->resources = r;
        if (memory) {
                if (!str_to_bytes(memory, &bytes) || bytes == 0 || bytes > INT64_MAX)
                        return err_set(err, ERR_INVALID, "--memory is bytes like 64M or 2G, not \"%.32s\"", memory);
                r->memory_limit_in_bytes = r->memory_swap_limit_in_bytes = (int64_t) bytes;
        }
        if (cpus) {
                if (!parse_cpus(cpus, &millis) || millis < 10)
                        return err_set(err, ERR_INVALID,
                                       "--cpus is a number from 0.01 on, like 0.5 or 2, not \"%.32s\"", cpus);
                r->cpu_period = CPU_PERIOD_US;
                r->cpu_quota = (int64_t) millis * CPU_PERIOD_US / 1000;
                r->cpu_shares = (int64_t) MIN_OF(MAX_OF(millis * 1024 / 1000, 2U), 262144U);
        }
        return 0;
}

static Runtime__V1__NamespaceOption *namespaces(const struct cli_args *args, struct arena *a) {
        Runtime__V1__NamespaceOption *n =
                new_message(a, Runtime__V1__NamespaceOption, runtime__v1__namespace_option__init);

        n->network =
                args_has(args, "host-network") ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
        n->pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
        return n;
}

static void set_seccomp(struct arena *a, Runtime__V1__SecurityProfile **ret) {
        *ret = new_message(a, Runtime__V1__SecurityProfile, runtime__v1__security_profile__init);
        (*ret)->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault;
}

static int make_container(const struct cli_args *args, struct arena *a, struct pod_config *p, struct err *err) {
        Runtime__V1__ContainerConfig *c =
                new_message(a, Runtime__V1__ContainerConfig, runtime__v1__container_config__init);
        Runtime__V1__LinuxContainerSecurityContext *sec;
        const char *user = args_value(args, "user"), *program = args_value(args, "entrypoint");
        uint64_t uid;
        int r;

        p->container = c;
        c->metadata = new_message(a, Runtime__V1__ContainerMetadata, runtime__v1__container_metadata__init);
        c->metadata->name = borrow(p->name);
        c->image = new_message(a, Runtime__V1__ImageSpec, runtime__v1__image_spec__init);
        c->image->image = borrow(args->rest[0]);
        c->image->user_specified_image = borrow(args->rest[0]);
        c->args = (char **) (uintptr_t) &args->rest[1];
        c->n_args = args->n_rest - 1;
        if (program) {
                c->command = arena_array(a, char *, 1);
                c->command[c->n_command++] = borrow(program);
        }
        if (args_value(args, "workdir"))
                c->working_dir = borrow(args_value(args, "workdir"));
        c->log_path = arena_printf(a, "%s.log", p->name);
        /* A terminal without somebody at it: input stays open, as "pod attach" may come later. */
        c->tty = args_has(args, "tty");
        c->stdin = c->tty || args_has(args, "interactive");
        c->stdin_once = args_has(args, "interactive") && !args_has(args, "detach");
        c->linux = new_message(a, Runtime__V1__LinuxContainerConfig, runtime__v1__linux_container_config__init);
        sec = new_message(a, Runtime__V1__LinuxContainerSecurityContext,
                          runtime__v1__linux_container_security_context__init);
        c->linux->security_context = sec;
        sec->namespace_options = namespaces(args, a);
        set_seccomp(a, &sec->seccomp);
        if (user && str_to_u64(user, &uid) && uid <= UINT32_MAX - 1) {
                sec->run_as_user = new_message(a, Runtime__V1__Int64Value, runtime__v1__int64_value__init);
                sec->run_as_user->value = (int64_t) uid;
        } else if (user) {
                sec->run_as_username = borrow(user);
        }
        if ((r = add_env(args, a, c, err)) < 0 || (r = add_mounts(args, a, c, err)) < 0)
                return r;
        return add_limits(args, a, c->linux, err);
}

static void annotate(struct arena *a, Runtime__V1__PodSandboxConfig *pod, const char *key, const char *value) {
        Runtime__V1__PodSandboxConfig__AnnotationsEntry *e =
                new_message(a, Runtime__V1__PodSandboxConfig__AnnotationsEntry,
                            runtime__v1__pod_sandbox_config__annotations_entry__init);

        e->key = borrow(key);
        e->value = borrow(value);
        pod->annotations[pod->n_annotations++] = e;
}

int pod_config_from_args(const struct cli_args *args, const char *log_root, struct arena *a, struct pod_config *ret,
                         struct err *err) {
        Runtime__V1__PodSandboxConfig *pod =
                new_message(a, Runtime__V1__PodSandboxConfig, runtime__v1__pod_sandbox_config__init);
        const char *name = args_value(args, "name"), *namespace = args_value(args, "namespace");
        char uid[ID_LEN + 1];
        int r;

        id_new(uid);
        name = name ? name : arena_printf(a, "run-%.8s", uid + 40);
        namespace = namespace ? namespace : "default";
        if (!name_valid(name) || !name_valid(namespace))
                return err_set(err, ERR_INVALID,
                               "--name and --namespace are made of a-z, 0-9 and -, at most %d: not \"%.80s\"",
                               NAME_LEN_MAX, name_valid(name) ? namespace : name);
        ret->pod = pod;
        ret->name = name;
        pod->metadata = new_message(a, Runtime__V1__PodSandboxMetadata, runtime__v1__pod_sandbox_metadata__init);
        pod->metadata->name = borrow(name);
        pod->metadata->namespace_ = borrow(namespace);
        pod->metadata->uid = arena_printf(a, "%.8s-%.4s-4%.3s-a%.3s-%.12s", uid, uid + 8, uid + 12, uid + 15, uid + 18);
        pod->hostname = args_has(args, "host-network") ? borrow("") : borrow(name);
        pod->log_directory = arena_printf(a, "%s/%s_%s_%s", log_root, namespace, name, pod->metadata->uid);
        ret->log_path = arena_printf(a, "%s/%s.log", pod->log_directory, name);
        pod->annotations = arena_array(a, Runtime__V1__PodSandboxConfig__AnnotationsEntry *, 2);
        annotate(a, pod, CRI_LOG_FOLDER_KEY, pod->log_directory);
        annotate(a, pod, ROUTE_IMAGE_ANNOTATION, args->rest[0]);
        pod->linux = new_message(a, Runtime__V1__LinuxPodSandboxConfig, runtime__v1__linux_pod_sandbox_config__init);
        pod->linux->security_context = new_message(a, Runtime__V1__LinuxSandboxSecurityContext,
                                                   runtime__v1__linux_sandbox_security_context__init);
        pod->linux->security_context->namespace_options = namespaces(args, a);
        set_seccomp(a, &pod->linux->security_context->seccomp);
        if ((r = add_ports(args, a, pod, err)) < 0 || (r = make_container(args, a, ret, err)) < 0)
                return r;
        /* The sum over its containers, as the kubelet says it. */
        pod->linux->resources = ret->container->linux->resources;
        return 0;
}
