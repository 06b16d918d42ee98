/* SPDX-License-Identifier: Apache-2.0 */
/* verbs - the list of verbs, in the order of the help. X(name of the struct cli_verb). The OCI runtime's follow. */
#pragma once
#include "cli/cli.h"
#include "cli/oci/verbs.h"
#include "rest/operations.h"

#define CLI_VERBS(X)                                                                                                   \
        X(verb_pod_run)                                                                                                \
        X(verb_pod_ls)                                                                                                 \
        X(verb_pod_ps)                                                                                                 \
        X(verb_pod_logs)                                                                                               \
        X(verb_pod_exec)                                                                                               \
        X(verb_pod_attach)                                                                                             \
        X(verb_pod_port_forward)                                                                                       \
        X(verb_pod_stop)                                                                                               \
        X(verb_pod_rm)                                                                                                 \
        X(verb_pod_inspect)                                                                                            \
        X(verb_pod_stats)                                                                                              \
        X(verb_container_start)                                                                                        \
        X(verb_container_stop)                                                                                         \
        X(verb_container_set_image)                                                                                    \
        X(verb_image_login)                                                                                            \
        X(verb_image_logout)                                                                                           \
        X(verb_image_pull)                                                                                             \
        X(verb_image_ls)                                                                                               \
        X(verb_image_rm)                                                                                               \
        X(verb_image_inspect)                                                                                          \
        X(verb_image_df)                                                                                               \
        X(verb_image_prune)                                                                                            \
        X(verb_image_verify)                                                                                           \
        X(verb_image_tag)                                                                                              \
        X(verb_image_untag)                                                                                            \
        X(verb_image_commit)                                                                                           \
        X(verb_image_edit)                                                                                             \
        X(verb_image_trust_show)                                                                                       \
        X(verb_image_trust_test)                                                                                       \
        X(verb_image_tags)                                                                                             \
        X(verb_image_load)                                                                                             \
        X(verb_image_save)                                                                                             \
        X(verb_image_from_rootfs)                                                                                      \
        X(verb_image_export)                                                                                           \
        X(verb_image_mount)                                                                                            \
        X(verb_image_unmount)                                                                                          \
        X(verb_image_push)                                                                                             \
        X(verb_image_copy)                                                                                             \
        X(verb_image_referrers)                                                                                        \
        X(verb_image_artifact_push)                                                                                    \
        X(verb_image_artifact_pull)                                                                                    \
        X(verb_status)                                                                                                 \
        X(verb_info)                                                                                                   \
        X(verb_version)                                                                                                \
        X(verb_doctor)                                                                                                 \
        X(verb_route_explain)                                                                                          \
        X(verb_route_ls)                                                                                               \
        X(verb_log_level)                                                                                              \
        X(verb_lxc)                                                                                                    \
        X(verb_completion)                                                                                             \
        X(verb_man)

#define X(verb) extern const struct cli_verb verb;
CLI_VERBS(X)
#undef X

/* "proxmox ...", of the table of operations. */
#define X(id, ...) extern const struct cli_verb verb_proxmox_##id;
REST_OPERATIONS(X)
#undef X

#define CLI_PROXMOX "proxmox" /* their first word */

/* The global options that @verb takes. */
const struct cli_option *cli_globals(const struct cli_verb *verb);
