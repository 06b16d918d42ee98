/* SPDX-License-Identifier: Apache-2.0 */
/* registry - the pull half of the distribution API: manifests and blobs, from the mirrors of a registry and then from
 * itself. Private to image/. struct registries is thread-safe; a source may be used by several threads at once.
 *
 * Plain http is for loopback hosts and hosts so configured; those are asked by https first, and what they speak is
 * remembered. Mirrors get "?ns=HOST" as containerd's do, and never credentials that are not for them by name: the
 * caller's when they say so, else those that the daemon's own file of credentials has for them. */
#pragma once
#include <stdbool.h>
#include "base/strbuf.h"
#include "image/auth.h"
#include "image/image.h"
#include "image/ref.h"

struct registries;
struct source; /* where one pull gets one repository from */

/* @auth_file: see images_args. It is read at each pull that needs it. */
_must_use_ int registries_new(const struct registry_conf *confs, size_t n, const char *auth_file,
                              struct registries **ret, struct err *err);
struct registries *registries_free(struct registries *r);
/* Close idle connections. */
void registries_trim(struct registries *r);

struct source_args {
        const struct ref *ref;           /* host and path count */
        const struct credentials *creds; /* borrowed */
        int cancel_fd;
        uint64_t deadline_ns;
        bool push;              /* tokens are to allow that, too */
        const char *mount_from; /* with @push: a repository there whose blobs are to be had; NULL: none */
        bool no_mirrors;        /* the registry alone */
};
struct source *source_new(struct registries *r, const struct source_args *args);
/* What stops it from now on; borrowed. Nobody asks anything meanwhile. */
void source_set_cancel_fd(struct source *s, int cancel_fd);
struct source *source_free(struct source *s);
DEFINE_CLEANUP(struct source *, source_free)

/* The manifest @reference (tag or digest): @ret_body (caller: strbuf_done) and its Content-Type in @arena. What was
 * asked by digest has it; else it has what the registry says it has: ERR_DATA_LOSS. ERR_NOT_FOUND when the registry
 * knows no such. */
_must_use_ int source_get_manifest(struct source *s, const char *reference, struct arena *arena,
                                   struct strbuf *ret_body, const char **ret_type, struct err *err);

struct blob_sink {
        /* Takes the blob's bytes, each once and in order, however often the connection breaks. */
        int (*write)(const void *data, size_t len, void *userdata, struct err *err);
        void *userdata;
        uint64_t have; /* bytes that it has already: the first ones are not asked for */
};
/* Exactly @size bytes, else ERR_DATA_LOSS; the digest is for the sink to check. @no_mirrors: only from the registry
 * itself. */
_must_use_ int source_get_blob(struct source *s, const char *digest, uint64_t size, const struct blob_sink *sink,
                               bool no_mirrors, struct err *err);
/* A small blob, whole, into @ret (caller: strbuf_done). What is not @digest's is asked for once more, of the registry
 * itself: ERR_DATA_LOSS. ERR_EXHAUSTED past @max bytes. */
_must_use_ int source_get_document(struct source *s, const char *digest, uint64_t size, size_t max, struct strbuf *ret,
                                   struct err *err);
/* Does the registry itself (no mirror) take the credentials? ERR_UNAUTHENTICATED, ERR_DENIED when not. One that asks
 * nobody for any takes all. */
_must_use_ int source_log_in(struct source *s, struct err *err);
/* As images_remote_tags; mirrors are not asked, which may have but some. */
_must_use_ int source_list_tags(struct source *s, struct arena *arena, const char ***ret, struct err *err);
/* Do two hosts, as they stand in references, mean one registry? */
bool registry_is_same(const char *a, const char *b);
bool source_has_mirrors(const struct source *s);
/* From now on each blob comes over one connection. Came a big one over several before? */
bool source_use_one_stream(struct source *s);
