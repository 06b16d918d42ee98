/* SPDX-License-Identifier: Apache-2.0 */
/* pod-config - the options of "pod run" as CRI messages. Reads no host state but the environment (-e NAME). */
#pragma once
#include "cli/cri.h"

struct pod_config {
        Runtime__V1__PodSandboxConfig *pod;
        Runtime__V1__ContainerConfig *container;
        const char *name, *log_path; /* the container's log, absolute */
};

extern const struct cli_option pod_run_options[];

/* @log_root: where log folders of pods are made. The result lives in @arena. ERR_INVALID names the option. */
_must_use_ int pod_config_from_args(const struct cli_args *args, const char *log_root, struct arena *arena,
                                    struct pod_config *ret, struct err *err);
