/* SPDX-License-Identifier: Apache-2.0 */
/* cri - the services runtime.v1.RuntimeService and ImageService: each method decodes nothing and decides nothing, it
 * calls pod/ or image/ and hands on what comes back. Methods that are not in the table are UNIMPLEMENTED by the server.
 * Made and freed by the daemon; handlers run on the server's pools, the ones that never wait on the loop thread. */
#pragma once
#include <stddef.h>
#include <sys/types.h>
#include "base/cleanup.h"
#include "base/pool.h"
#include "grpc/server.h"
#include "image/image.h"
#include "net/net.h"
#include "pod/pod.h"
#include "streaming/streaming.h"

struct cri;

struct cri_args {
        struct pods *pods; /* all borrowed; they outlive it */
        struct images *images;
        struct cni *cni;
        struct streaming *streaming;         /* behind Exec, Attach and PortForward */
        struct pool *pull_pool;              /* NULL: the server's */
        const char *version;                 /* ours */
        const char *config_json;             /* Status' verbose "config": has a member stateDir */
        const char *lxc_path;                /* Status' verbose "lxc_path" */
        const char *const *pinned_images;    /* patterns of tags, NULL-terminated; NULL: none */
        pid_t (*keeper_pid)(void *userdata); /* NULL: none */
        void *userdata;
};

/* What the streaming server runs and connects: @pods. */
struct streaming_backend cri_streaming_backend(struct pods *pods);

struct cri *cri_new(const struct cri_args *args);
struct cri *cri_free(struct cri *c);
DEFINE_CLEANUP(struct cri *, cri_free)

/* Fills @out (room for @max) and returns how many methods there are. */
size_t cri_methods(struct cri *c, struct grpc_method *out, size_t max);
