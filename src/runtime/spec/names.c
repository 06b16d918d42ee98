/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec/names.h"

#include <sys/resource.h>
#include "base/alloc.h"

const char *const spec_namespace_names[SPEC_NS_MAX] = {
        [SPEC_NS_PID] = "pid",   [SPEC_NS_NET] = "network",   [SPEC_NS_IPC] = "ipc",   [SPEC_NS_UTS] = "uts",
        [SPEC_NS_MNT] = "mount", [SPEC_NS_CGROUP] = "cgroup", [SPEC_NS_USER] = "user", [SPEC_NS_TIME] = "time",
};

const struct spec_name spec_rlimit_names[] = {
        { "RLIMIT_AS", RLIMIT_AS },
        { "RLIMIT_CORE", RLIMIT_CORE },
        { "RLIMIT_CPU", RLIMIT_CPU },
        { "RLIMIT_DATA", RLIMIT_DATA },
        { "RLIMIT_FSIZE", RLIMIT_FSIZE },
        { "RLIMIT_LOCKS", RLIMIT_LOCKS },
        { "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
        { "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
        { "RLIMIT_NICE", RLIMIT_NICE },
        { "RLIMIT_NOFILE", RLIMIT_NOFILE },
        { "RLIMIT_NPROC", RLIMIT_NPROC },
        { "RLIMIT_RSS", RLIMIT_RSS },
        { "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
        { "RLIMIT_RTTIME", RLIMIT_RTTIME },
        { "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
        { "RLIMIT_STACK", RLIMIT_STACK },
};

const size_t n_spec_rlimit_names = ELEMENTSOF(spec_rlimit_names);

const char *spec_rlimit_name(int resource) {
        for (size_t i = 0; i < n_spec_rlimit_names; i++)
                if (spec_rlimit_names[i].value == (uint64_t) resource)
                        return spec_rlimit_names[i].name;
        return NULL;
}
