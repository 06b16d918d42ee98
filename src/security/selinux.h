/* SPDX-License-Identifier: Apache-2.0 */
/* selinux - is it there, what the host's policy calls a container's processes and files, a pod's own level, and labels
 * of files. Thread-safe. By the rules of containerd, CRI-O and runc (go-selinux), so that container-selinux fits.
 *
 * libselinux is loaded when a host turns out to have SELinux, and not before: most have not, and with what it needs
 * itself it would be a tenth of the daemon's memory. */
#pragma once
#include <stdbool.h>
#include "base/arena.h"
#include "base/err.h"

enum { SELINUX_LABEL_MAX = 255 }; /* what fsconfig(2) takes as a mount's context */

/* CRI's SELinuxOption; NULL or "": as it is. */
struct selinux_options {
        const char *user, *role, *type, *level;
};

bool selinux_enabled(void);

/* The labels of "process" and "file" in the policy's file of containers' contexts, known to the policy. Caller frees.
 * ERR_PRECONDITION when this policy has none. */
_must_use_ int selinux_container_labels(char **ret_process, char **ret_file, struct err *err);
/* The same from that file's text (key = "label"), unchecked; false when one is missing. */
bool selinux_parse_contexts(const char *text, char **ret_process, char **ret_file);

/* ERR_INVALID when the kernel's policy does not know @label. */
_must_use_ int selinux_check(const char *label, struct err *err);

/* --- labels as text --- */

/* @label with @options put over it. ERR_INVALID when @label is none, or an option can't be a part of one. */
_must_use_ int selinux_apply(const char *label, const struct selinux_options *options, struct arena *arena,
                             const char **ret, struct err *err);
/* "s0:c1,c2" of "u:r:t:s0:c1,c2"; "" when it has none. */
const char *selinux_level(const char *label);
/* A level of two categories, of the half million there are, that @taken does not know. */
void selinux_new_level(bool (*taken)(const char *level, void *userdata), void *userdata, char ret[SELINUX_LABEL_MAX]);

/* --- files --- */

/* Label @path, and all below it if it is a folder; symlinks below are not followed. What cannot carry a label is left
 * as it is. ERR_INVALID for the system's own folders. */
_must_use_ int selinux_relabel(const char *path, const char *label, struct err *err);
