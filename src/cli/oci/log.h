/* SPDX-License-Identifier: Apache-2.0 */
/* log - where errors and warnings of the OCI runtime go, in the forms that engines read: runc's, so logrus' text
 * (time="..." level=error msg="...") or one JSON object a line. containerd takes the last error of the file, conmon and
 * Podman read "level" and "msg" of its lines. */
#pragma once
#include <stdbool.h>
#include "base/err.h"

enum oci_log_level { OCI_LOG_ERROR, OCI_LOG_WARNING, OCI_LOG_INFO, OCI_LOG_DEBUG };

struct oci_log {
        int fd; /* -1: standard error */
        bool json;
        enum oci_log_level level; /* nothing beyond it is written */
};

/* @path NULL: standard error; else it is made (0644) and appended to. @format, @level: NULL is the default.
 * ERR_INVALID: none that we know. */
_must_use_ int oci_log_init(struct oci_log *log, const char *path, const char *format, const char *level, bool debug,
                            struct err *err);
/* One line, in one write. What is not UTF-8 in @text is replaced. */
void oci_log_write(const struct oci_log *log, enum oci_log_level level, const char *text);
/* The error that a verb ends with: to the log, and as it is to standard error when the log is elsewhere. */
void oci_log_fail(const struct oci_log *log, const char *text);
