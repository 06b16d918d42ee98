/* SPDX-License-Identifier: Apache-2.0 */
#include "image/images.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "image/collector.h"
#include "image/copy.h"
#include "image/derive.h"
#include "image/flights.h"
#include "image/import.h"
#include "image/load.h"
#include "image/mountpoint.h"
#include "image/push.h"
#include "image/referrers.h"
#include "image/save.h"
#include "image/snapshot.h"
#include "image/trust.h"
#include "image/verify.h"

struct images {
        struct store *store; /* borrowed */
        char *root;
        int root_fd;
        char *mountpoint; /* of the file system that root lies on */
        struct layers *layers;
        struct content *content;
        struct records *records;
        struct registries *registries;
        struct claims *claims;
        char *signature_policy; /* NULL: none */
        struct pull_env pull_env;
        struct flights *flights;
        unsigned max_parallel; /* layers of one pull or push */
        struct collector *collector;
};

static int open_root(struct images *s, const char *root, struct err *err) {
        int r = fs_mkdir_p(root, 0711, err);

        if (r < 0)
                return r;
        s->root = xstrdup(root);
        s->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->root_fd < 0)
                return err_sys(err, errno, "open %s", root);
        return mountpoint_of(s->root_fd, &s->mountpoint, err);
}

static int open_parts(struct images *s, const struct images_args *args, struct err *err) {
        int r = open_root(s, args->root, err);

        if (r == 0)
                r = content_new(args->root, &s->content, err);
        if (r == 0)
                r = layers_new(args->root, &args->snapshotter, &s->layers, err);
        if (r == 0)
                r = records_new(s->store, s->layers, s->content, &s->records, err);
        return r == 0 ? registries_new(args->registries, args->n_registries, args->auth_file, &s->registries, err) : r;
}

static bool make_room(void *userdata) {
        return collector_make_room(userdata);
}

int images_new(const struct images_args *args, struct images **ret, struct err *err) {
        _cleanup_(images_freep) struct images *s = xnew(struct images);
        struct pull_env *env = &s->pull_env;
        int r;

        *env = (struct pull_env){ .max_layer_bytes = args->max_layer_bytes ?: 64ull << 30,
                                  .max_layer_entries = args->max_layer_entries ?: 10000000,
                                  .max_parallel_layers = args->max_parallel_layers ?: 4,
                                  .keep_blobs = !args->discard_blobs };

        s->store = args->store;
        s->signature_policy = args->signature_policy ? xstrdup(args->signature_policy) : NULL;
        s->root_fd = -1;
        s->claims = claims_new();
        r = open_parts(s, args, err);
        if (r < 0)
                return err_wrap(err, "images");
        s->max_parallel = env->max_parallel_layers;
        env->layers = s->layers;
        env->content = s->content;
        env->records = s->records;
        env->registries = s->registries;
        env->claims = s->claims;
        env->signature_policy = s->signature_policy;
        env->signature_policy_optional = args->signature_policy_optional;
        s->flights = flights_new(env);
        s->collector = env->collector = collector_new(s->records, s->root_fd, &args->gc);
        content_set_room(s->content, make_room, s->collector);
        *ret = TAKE_PTR(s);
        return 0;
}

struct images *images_free(struct images *s) {
        struct err err;

        if (!s)
                return NULL;
        (void) flights_free(s->flights);
        (void) collector_free(s->collector);
        if (s->records && records_write_uses(s->records, &err) < 0)
                log_warn("when images were used is forgotten", "error", err.msg, NULL);
        (void) registries_free(s->registries);
        (void) records_free(s->records);
        (void) layers_free(s->layers);
        (void) content_free(s->content);
        (void) claims_free(s->claims);
        (void) fd_close(s->root_fd);
        free(s->signature_policy);
        free(s->mountpoint);
        free(s->root);
        free(s);
        return NULL;
}

int images_reconcile(struct images *s, struct err *err) {
        int r = snapshots_reconcile(s, err);

        if (r == 0)
                r = images_mounts_reconcile(s, err);
        if (r == 0)
                r = records_reconcile(s->records, err);
        return r < 0 ? err_wrap(err, "tidy up images") : 0;
}

int images_pull(struct images *s, const struct image_pull_args *args, struct arena *arena, const char **ret_id,
                struct err *err) {
        int r = flights_pull(s->flights, args, arena, ret_id, err);

        if (r == -ERR_EXHAUSTED && (err->sys_errno == ENOSPC || err->sys_errno == EDQUOT) &&
            collector_make_room(s->collector))
                r = flights_pull(s->flights, args, arena, ret_id, err);
        return r;
}

/* --- asking a registry ------------------------------------------------------------------------------------------ */

/* @args: its creds come from @auth. */
static int open_source(struct images *s, const struct image_auth *auth, struct source_args *args,
                       struct credentials **ret_creds, struct source **ret, struct err *err) {
        int r = credentials_new(auth, ret_creds, err);

        args->creds = *ret_creds;
        if (r == 0)
                *ret = source_new(s->registries, args);
        return r < 0 ? err_wrap(err, "registry %s", args->ref->host) : 0;
}

static int open_remote(struct images *s, const struct image_remote *remote, struct remote *r, struct err *err) {
        struct source_args args = { .ref = &r->ref,
                                    .cancel_fd = remote->cancel_fd,
                                    .deadline_ns = remote->deadline_ns };

        return open_source(s, remote->auth, &args, &r->creds, &r->source, err);
}

int remote_open(struct images *s, const struct image_remote *remote, struct arena *arena, struct remote *ret,
                struct err *err) {
        int r = ref_parse(remote->name, arena, &ret->ref, err);

        return r == 0 ? open_remote(s, remote, ret, err) : r;
}

void remote_done(struct remote *r) {
        (void) source_free(r->source);
        (void) credentials_free(r->creds);
}

int images_log_in(struct images *s, const struct image_remote *remote, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        _cleanup_(remote_done) struct remote at = { 0 };
        int r = ref_parse(arena_printf(arena, "%.300s/x", remote->name), arena, &at.ref, err);

        if (r < 0 || !str_eq(at.ref.path, "x"))
                return err_set(err, ERR_INVALID, "\"%.200s\" is no registry: a host with a dot or a port is wanted",
                               remote->name);
        at.ref.path = ""; /* of no repository */
        r = open_remote(s, remote, &at, err);
        return r == 0 ? source_log_in(at.source, err) : r;
}

int images_remote_tags(struct images *s, const struct image_remote *remote, struct arena *arena, const char ***ret,
                       struct err *err) {
        _cleanup_(remote_done) struct remote at = { 0 };
        int r = remote_open(s, remote, arena, &at, err);

        if (r == 0 && (at.ref.digest || !str_eq(at.ref.tag, "latest") || str_ends_with(remote->name, ":latest")))
                r = err_set(err, ERR_INVALID, "\"%.300s\": a repository is named without tag and digest", remote->name);
        if (r < 0)
                return r;
        r = source_list_tags(at.source, arena, ret, err);
        return r < 0 ? err_wrap(err, "list the tags of %s", ref_name(&at.ref, arena)) : 0;
}

int images_referrers(struct images *s, const struct image_remote *remote, const char *artifact_type,
                     struct arena *arena, struct image_referrer **ret, size_t *ret_n, struct err *err) {
        _cleanup_(remote_done) struct remote at = { 0 };
        _cleanup_strbuf_ struct strbuf body = { 0 };
        char digest[DIGEST_LEN + 1];
        const char *type;
        int r = remote_open(s, remote, arena, &at, err);

        if (r < 0)
                return r;
        r = source_get_manifest(at.source, at.ref.digest ?: at.ref.tag, arena, &body, &type, err);
        if (r == 0) {
                digest_of(strbuf_str(&body), body.len, digest);
                *ret = arena_array(arena, struct image_referrer, REFERRERS_MAX);
                r = referrers_list(at.source, digest, artifact_type, arena, *ret, ret_n, err);
        }
        return r < 0 ? err_wrap(err, "list the referrers of %s", ref_string(&at.ref, arena)) : 0;
}

int images_remote_remove(struct images *s, const struct image_remote *remote, struct arena *arena,
                         const char **ret_digest, struct err *err) {
        _cleanup_(remote_done) struct remote at = { 0 };
        char digest[DIGEST_LEN + 1];
        int r = remote_open(s, remote, arena, &at, err);

        if (r < 0)
                return r;
        r = upload_remove_manifest(at.source, at.ref.digest ?: at.ref.tag, digest, err);
        if (r < 0)
                return err_wrap(err, "remove %s from its registry", ref_string(&at.ref, arena));
        *ret_digest = arena_strdup(arena, digest);
        return 0;
}

int images_copy(struct images *s, const struct image_copy_args *args, struct arena *arena, const char **ret_digest,
                struct err *err) {
        _cleanup_(arena_freep) struct arena *policy = arena_new(POLICY_ARENA_MAX);
        _cleanup_(credentials_freep) struct credentials *from_creds = NULL, *to_creds = NULL;
        _cleanup_(source_freep) struct source *from = NULL, *to = NULL;
        struct ref from_ref = { 0 }, to_ref = { 0 };
        struct copy_args copy = { .from_ref = &from_ref,
                                  .to_ref = &to_ref,
                                  .all = args->all,
                                  .max_parallel = s->max_parallel,
                                  .caller = args };
        struct source_args at = { .cancel_fd = args->cancel_fd, .deadline_ns = args->deadline_ns, .ref = &from_ref };
        struct source_args from_at;
        struct trust trust;
        int r = ref_parse(args->from, arena, &from_ref, err);

        if (r == 0)
                r = ref_parse(args->to, arena, &to_ref, err);
        if (r == 0)
                r = open_source(s, args->from_auth, &at, &from_creds, &from, err);
        if (r == 0)
                r = trust_read(s->signature_policy, s->pull_env.signature_policy_optional, &from_ref, policy, &trust,
                               err);
        if (r < 0)
                return r;
        from_at = at;
        copy.trust = &trust;
        copy.registries = s->registries;
        copy.from_source = &from_at;
        copy.mount = registry_is_same(from_ref.host, to_ref.host);
        at.ref = &to_ref;
        at.push = at.no_mirrors = true;
        at.mount_from = copy.mount ? from_ref.path : NULL;
        r = open_source(s, args->to_auth, &at, &to_creds, &to, err);
        copy.from = from;
        copy.to = to;
        if (r == 0)
                r = copy_run(&copy, arena, ret_digest, err);
        return r < 0 ? err_wrap(err, "copy %s to %s", ref_string(&from_ref, arena), ref_string(&to_ref, arena)) : 0;
}

int images_df(struct images *s, struct arena *arena, struct image_df *ret, struct err *err) {
        const char **ids;
        int r = records_df(s->records, arena, ret, err);

        if (r == 0)
                r = snapshot_list(s, arena, &ids, err);
        for (; r == 0 && *ids; ids++) {
                uint64_t bytes, inodes;
                struct err gone;

                if (snapshot_usage(s, *ids, NULL, &bytes, &inodes, &gone) < 0) /* removed meanwhile */
                        continue;
                ret->writable_bytes += bytes;
                ret->n_writable++;
        }
        return r < 0 ? err_wrap(err, "sum up images") : 0;
}

uint64_t image_last_use_s(const struct image *image) {
        return MAX_OF(image->pulled_s, image->used_s);
}

bool image_is_pinned(const struct image *image, const char *const *patterns) {
        for (; patterns && *patterns; patterns++)
                for (const char **tag = image->repo_tags; *tag; tag++)
                        if (fnmatch(*patterns, *tag, 0) == 0)
                                return true;
        return false;
}

int images_prune(struct images *s, const struct image_prune_args *args, struct arena *arena, struct image ***ret,
                 size_t *ret_n, uint64_t *ret_bytes, struct err *err) {
        uint64_t before, after, inodes;
        int r;

        records_usage(s->records, &before, &inodes);
        r = records_prune(s->records, args, arena, ret, ret_n, err);
        records_usage(s->records, &after, &inodes);
        *ret_bytes = before > after ? before - after : 0;
        return r < 0 ? err_wrap(err, "remove unused images") : 0;
}

int images_prune_blobs(struct images *s, bool dry_run, size_t *ret_n, uint64_t *ret_bytes, struct err *err) {
        struct records_dropped dropped;
        int r = records_drop_blobs(s->records, UINT64_MAX, dry_run, &dropped, err);

        *ret_n = dropped.n;
        *ret_bytes = dropped.bytes;
        return r < 0 ? err_wrap(err, "remove layers' blobs") : 0;
}

int images_collect(struct images *s, struct err *err) {
        return collector_run(s->collector, err);
}

struct image_collected images_collected(struct images *s) {
        return collector_total(s->collector);
}

int images_verify(struct images *s, const struct image_verify_args *args, struct err *err) {
        return verify_run(&s->pull_env, args, err);
}

int images_push(struct images *s, const struct image_push_args *args, struct arena *arena, const char **ret_digest,
                struct err *err) {
        const struct push_env env = { .records = s->records,
                                      .content = s->content,
                                      .registries = s->registries,
                                      .max_parallel = s->max_parallel };

        return push_run(&env, args, arena, ret_digest, err);
}

int images_save(struct images *s, const struct image_save_args *args, struct err *err) {
        int r = save_run(&s->pull_env, args, err);

        return r < 0 ? err_wrap(err, "save") : 0;
}

int images_load(struct images *s, const struct image_load_args *args, struct arena *arena, struct image_loaded **ret,
                size_t *ret_n, struct err *err) {
        int r = load_run(&s->pull_env, args, arena, ret, ret_n, err);

        return r < 0 ? err_wrap(err, "load") : 0;
}

/* --- what is here ----------------------------------------------------------------------------------------------- */

/* @ret: the same in full, NULL-terminated. */
static int full_names(const char *const *names, struct arena *arena, const char ***ret, struct err *err) {
        const char **list = arena_array(arena, const char *, strv_len(names) + 1);

        for (size_t i = 0; names[i]; i++) {
                struct ref ref;
                int r = ref_parse(names[i], arena, &ref, err);

                if (r == 0 && ref.digest)
                        r = err_set(err, ERR_INVALID, "\"%.300s\": a digest is nothing to give or take", names[i]);
                if (r < 0)
                        return r;
                list[i] = ref_string(&ref, arena);
        }
        *ret = list;
        return 0;
}

int images_tag(struct images *s, const char *ref, const char *const *names, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        const char **full;
        int r = full_names(names, arena, &full, err);

        if (r == 0)
                r = records_tag(s->records, ref, full, err);
        return r < 0 ? err_wrap(err, "name image %.200s", ref) : 0;
}

int images_import(struct images *s, const struct image_import_args *args, struct arena *arena, const char **ret_id,
                  struct err *err) {
        _cleanup_(arena_freep) struct arena *own = arena_new(PULL_ARENA_MAX);
        struct image_import_args full = *args;
        const char *id = NULL, **names;
        int r = full_names(args->names, own, &names, err);

        full.names = names;
        if (r == 0)
                r = import_run(&s->pull_env, &full, own, &id, err);
        if (r < 0)
                return err_wrap(err, "make an image of files");
        *ret_id = arena_strdup(arena, id);
        return 0;
}

int images_edit(struct images *s, const struct image_edit_args *args, struct arena *arena, const char **ret_id,
                struct err *err) {
        _cleanup_(arena_freep) struct arena *own = arena_new(PULL_ARENA_MAX);
        struct image_edit_args full = *args;
        const char *id = NULL, **names = NULL;
        int r = args->names ? full_names(args->names, own, &names, err) : 0;

        full.names = names;
        if (r == 0)
                r = edit_run(&s->pull_env, &full, own, &id, err);
        if (r == 0)
                *ret_id = arena_strdup(arena, id);
        return r;
}

int images_commit(struct images *s, const struct image_commit_args *args, struct arena *arena, const char **ret_id,
                  struct err *err) {
        static const char *const none[] = { NULL };
        _cleanup_(arena_freep) struct arena *own = arena_new(PULL_ARENA_MAX);
        const char *id = NULL, **names = NULL;
        int r = full_names(args->names ?: none, own, &names, err);

        if (r == 0)
                r = commit_run(s, args, names, own, &id, err);
        if (r == 0)
                *ret_id = arena_strdup(arena, id);
        return r;
}

int images_untag(struct images *s, const char *const *names, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        const char **full;
        int r = full_names(names, arena, &full, err);

        return r == 0 ? records_untag(s->records, full, err) : r;
}

int images_get(struct images *s, const char *ref, struct arena *arena, struct image **ret, struct err *err) {
        return records_get(s->records, ref, arena, ret, err);
}

int images_list(struct images *s, struct arena *arena, struct image ***ret, size_t *ret_n, struct err *err) {
        int r = records_list(s->records, arena, ret, ret_n, err);

        return r < 0 ? err_wrap(err, "list images") : 0;
}

int images_remove(struct images *s, const char *ref, struct err *err) {
        int r = records_remove(s->records, ref, err);

        return r < 0 ? err_wrap(err, "remove image") : 0;
}

int images_fs_info(struct images *s, struct arena *arena, struct image_fs_info *ret, struct err *err) {
        ret->mountpoint = arena_strdup(arena, s->mountpoint);
        records_usage(s->records, &ret->used_bytes, &ret->inodes_used);
        return 0;
}

const struct pull_env *images_pull_env(const struct images *s) {
        return &s->pull_env;
}

struct layers *images_layers(struct images *s) {
        return s->layers;
}

struct store *images_store(struct images *s) {
        return s->store;
}

const char *images_snapshotter(const struct images *s) {
        return layers_snapshotter(s->layers)->ops->name;
}

const char *images_idmap(const struct images *s) {
        return atomic_load(&layers_snapshotter(s->layers)->shifts) ? "chown" : "mount";
}

const char *images_root(const struct images *s) {
        return s->root;
}

int images_rootfd(const struct images *s) {
        return s->root_fd;
}

int images_hold(struct images *s, const char *image_id, struct arena *arena, const char ***ret, struct err *err) {
        return records_hold_image(s->records, image_id, arena, ret, err);
}

void images_note_use(struct images *s, const char *image_id) {
        records_note_use(s->records, image_id);
}

int images_release(struct images *s, const char *const *layers, struct err *err) {
        size_t n = 0;
        int r = 0;

        while (layers[n])
                n++;
        while (n-- > 0) {
                struct err later;
                int one = records_release_layer(s->records, layers[n], r ? &later : err);
                r = r ?: one;
        }
        return r;
}
