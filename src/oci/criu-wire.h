/* SPDX-License-Identifier: Apache-2.0 */
/* criu-wire - CRIU's requests and replies as bytes: protobuf messages of its rpc.proto (criu_req, criu_resp), by hand,
 * since two messages are no reason to load a library. No input or output. Strings are borrowed; those of a reply live
 * in the caller's arena. Source: CRIU 3.17, images/rpc.proto. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/strbuf.h"

enum { CRIU_MESSAGE_MAX = 1 << 20 };

enum criu_type { CRIU_DUMP = 1, CRIU_RESTORE = 2, CRIU_PRE_DUMP = 4, CRIU_NOTIFY = 6 };
/* CRIU_CGROUPS_UNSET: CRIU's own default, which is soft. */
enum criu_cgroups {
        CRIU_CGROUPS_UNSET = -1,
        CRIU_CGROUPS_IGNORE = 0,
        CRIU_CGROUPS_SOFT = 3,
        CRIU_CGROUPS_FULL = 4,
        CRIU_CGROUPS_STRICT = 5
};

struct criu_pair {
        const char *key, *value;
};
struct criu_fd {
        const char *key;
        int fd; /* a number in CRIU's own process */
};

/* What of criu_opts we use; NULL, 0 and false are left out. */
struct criu_options {
        int images_fd, work_fd; /* numbers in our process, from where CRIU opens them */
        int pid;
        const char *root, *log_file, *parent_images, *freeze_cgroup, *cgroup_root, *lsm_profile, *lsm_mount_context;
        bool leave_running, ext_unix_sk, tcp_established, shell_job, file_locks, track_memory, auto_dedup, lazy_pages,
                notify, restore_sibling, orphan_terminal;
        enum criu_cgroups cgroups;
        unsigned empty_ns;       /* CLONE_NEW* */
        int status_fd;           /* in CRIU's process; < 0: none */
        const char *page_server; /* address; NULL: none */
        int page_server_port;
        const struct criu_pair *mounts; /* external mounts */
        size_t n_mounts;
        const struct criu_fd *inherited;
        size_t n_inherited;
        const struct criu_pair *joined; /* namespaces that are there already: "ipc", file */
        size_t n_joined;
        const char *const *external; /* "net[4026531992]:name" */
        size_t n_external;
};
void criu_request_encode(enum criu_type type, const struct criu_options *o, struct strbuf *out);
/* The answer to a notification. */
void criu_notified_encode(bool success, struct strbuf *out);

struct criu_reply {
        enum criu_type type;
        bool success;
        int pid;            /* of the restored root process, or the one that the notification is about; 0: none */
        const char *script; /* of a notification: "post-restore"; else NULL */
        int sys_errno;      /* of a failure */
        const char *message;
};
/* ERR_INVALID: no such message. */
_must_use_ int criu_reply_decode(const void *data, size_t len, struct arena *arena, struct criu_reply *ret,
                                 struct err *err);
