/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/proxmox-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/str.h"
#include "image/ref.h"
#include "pve/cluster.h"
#include "runtime/lxc/plan.h"

enum { VALUES_MAX = 200000, LAYER_MAX = 16 << 20 };

#define INDEX_TYPE "application/vnd.oci.image.index.v1+json"
#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define CONFIG_TYPE "application/vnd.oci.image.config.v1+json"
#define LAYER_TYPE "application/vnd.oci.image.layer.v1.tar"

void proxmox_image_done(struct proxmox_image *i) {
        free(i->path);
        i->path = NULL;
        i->bundle = json_unref(i->bundle);
}

/* --- the archive -------------------------------------------------------------------------------------------------- */

/* One member's text; NULL: there is none of that name. */
static int read_member(const char *archive, const char *name, struct arena *arena, const char **ret, size_t *ret_len,
                       struct err *err) {
        _cleanup_(freep) char *file = xprintf("--file=%s", archive);
        _cleanup_strbuf_ struct strbuf out = STRBUF(MANIFEST_BYTES_MAX), complaints = STRBUF(PROXMOX_COMPLAINTS_MAX);
        int status, r = proxmox_run_tar((const char *const[]){ "--extract", file, "--to-stdout", "--occurrence=1",
                                                               "--no-wildcards", "--", name, NULL },
                                        &out, &complaints, &status, err);

        *ret = NULL;
        if (r < 0 || status != 0)
                return r;
        if (out.overflow)
                return err_set(err, ERR_EXHAUSTED, "%s: %s has more than %d bytes", archive, name, MANIFEST_BYTES_MAX);
        *ret_len = out.len;
        *ret = arena_memdup(arena, strbuf_str(&out), out.len + 1);
        return 0;
}

static const char *blob_name(const char *digest, struct arena *arena) {
        return arena_printf(arena, "blobs/sha256/%s", digest + strlen("sha256:"));
}

static int read_blob(const char *archive, const char *digest, struct arena *arena, const char **ret, size_t *ret_len,
                     struct err *err) {
        int r = read_member(archive, blob_name(digest, arena), arena, ret, ret_len, err);

        return r == 0 && !*ret ? err_set(err, ERR_INVALID, "%s: it lacks %s", archive, digest) : r;
}

/* The first that an index names is what Proxmox takes, too. */
static int read_image(struct proxmox_image *i, struct arena *arena, struct err *err) {
        const char *text, *type = INDEX_TYPE;
        struct manifest m;
        size_t len;
        int r = read_member(i->path, "index.json", arena, &text, &len, err);

        for (unsigned depth = 0; r == 0 && text; depth++) {
                r = manifest_parse(text, len, type, arena, &m, err);
                if (r < 0 || !m.is_index)
                        break;
                if (m.n_entries == 0 || depth == INDEX_DEPTH_MAX)
                        return err_set(err, ERR_INVALID, "%s: its index leads to no image", i->path);
                type = m.entries[0].media_type;
                r = read_blob(i->path, m.entries[0].digest, arena, &text, &len, err);
        }
        if (r < 0 || !text)
                return r;
        i->manifest = text;
        r = read_blob(i->path, m.config.digest, arena, &i->config_text, &len, err);
        return r < 0 ? r : config_parse(i->config_text, len, arena, &i->config, err);
}

/* As Proxmox decides it. */
static bool may_be_oci(const char *path) {
        size_t len = strlen(path);

        return len > 4 && str_eq(path + len - 4, ".tar");
}

static int look_at(struct proxmox_image *i, struct arena *arena, struct err *err) {
        const char *layout;
        struct stat st;
        size_t len;
        int r;

        if (stat(i->path, &st) < 0)
                return err_sys(err, errno, "find it on this node, as %s", i->path);
        if (!S_ISREG(st.st_mode))
                return err_set(err, ERR_INVALID, "%s is no file", i->path);
        if (!may_be_oci(i->path))
                return 0;
        r = read_member(i->path, "oci-layout", arena, &layout, &len, err);
        return r < 0 || !layout ? r : read_image(i, arena, err);
}

static int locate(const struct oci_proxmox *p, const struct pve_until *until, const char *volume, struct arena *arena,
                  char **ret, struct err *err) {
        const char *colon = strchr(volume, ':');
        struct pve_storage storage = { .node = p->node };

        if (!colon || !str_after(colon, ":vztmpl/") || strchr(colon + strlen(":vztmpl/"), '/'))
                return err_set(err, ERR_INVALID, "\"%.200s\" is not of the form STORAGE:vztmpl/FILE", volume);
        storage.name = arena_strndup(arena, volume, (size_t) (colon - volume));
        return pve_storage_path(p->pve, &storage, volume, until, ret, err);
}

int proxmox_image_find(const struct oci_proxmox *p, const struct pve_until *until, const char *text, size_t len,
                       struct arena *arena, struct proxmox_image *ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *bundle = NULL;
        const char *volume;
        struct err ignored; /* whoever reads all of it says what is wrong */
        int r;

        if (json_load_bounded(text, len, VALUES_MAX, "config.json", &bundle, &ignored) < 0)
                return 0;
        volume = json_string_value(json_object_get(json_object_get(bundle, "annotations"), PROXMOX_IMAGE_ANNOTATION));
        if (!volume)
                return 0;
        ret->volume = arena_strdup(arena, volume);
        ret->bundle = json_incref(bundle);
        r = locate(p, until, volume, arena, &ret->path, err);
        if (r == 0)
                r = look_at(ret, arena, err);
        return r < 0 ? err_wrap(err, "annotations[%s]", PROXMOX_IMAGE_ANNOTATION) : 0;
}

/* --- what the image says ------------------------------------------------------------------------------------------ */

static void set(json_t *object, const char *key, json_t *value) {
        if (json_object_set_new(object, key, value) < 0)
                abort(); /* of no memory: all strings are UTF-8 */
}

/* NAME of NAME=VALUE is among them. */
static bool has_variable(const json_t *env, const char *variable) {
        size_t name = strcspn(variable, "=") + 1, at;
        const json_t *one;

        json_array_foreach(env, at, one) if (json_is_string(one) &&
                                             strncmp(json_string_value(one), variable, name) == 0) return true;
        return false;
}

static json_t *environment(const struct image_config *c, const json_t *given) {
        json_t *all = json_array();

        for (const char **one = c->env; *one; one++)
                if (!has_variable(given, *one))
                        (void) json_array_append_new(all, json_string(*one));
        if (json_is_array(given))
                (void) json_array_extend(all, (json_t *) (uintptr_t) given);
        return all;
}

static bool is_root(const json_t *user) {
        return json_integer_value(json_object_get(user, "uid")) == 0 &&
               json_integer_value(json_object_get(user, "gid")) == 0;
}

static json_t *member(json_t *object, const char *key) {
        if (!json_is_object(json_object_get(object, key)))
                set(object, key, json_object());
        return json_object_get(object, key);
}

static void fill_process(struct proxmox_image *i, json_t *args) {
        json_t *process = member(i->bundle, "process");
        const char *cwd = json_string_value(json_object_get(process, "cwd"));

        set(process, "args", args);
        set(process, "env", environment(&i->config, json_object_get(process, "env")));
        if (str_empty(cwd) || str_eq(cwd, "/"))
                set(process, "cwd", json_string(str_empty(i->config.working_dir) ? "/" : i->config.working_dir));
        i->is_users = !str_empty(i->config.user) && is_root(member(process, "user"));
}

int proxmox_image_fill(struct proxmox_image *i, struct arena *arena, const char **text, size_t *len, struct err *err) {
        json_t *args = json_object_get(json_object_get(i->bundle, "process"), "args"), *own;

        if (!i->volume || json_array_size(args) > 0)
                return 0;
        if (args && !json_is_array(args))
                return 0; /* wrong, as whoever reads all of it says */
        if (!i->manifest)
                return err_set(err, ERR_INVALID,
                               "process.args: there are none, and a template such as %s doesn't say what is to run",
                               i->volume);
        own = json_from_strings(i->config.entrypoint);
        for (const char **one = i->config.cmd; *one; one++)
                (void) json_array_append_new(own, json_string(*one));
        if (json_array_size(own) == 0) {
                json_decref(own);
                return err_set(err, ERR_INVALID, "process.args: there are none, nor has the image %s any", i->volume);
        }
        fill_process(i, own);
        *text = json_to_text(json_incref(i->bundle), arena);
        *len = strlen(*text);
        return 0;
}

/* "user[:group]", each a name or a number. */
static struct spec_user user_of(const char *text, struct arena *arena) {
        const char *colon = strchr(text, ':'), *group = colon ? colon + 1 : NULL;
        const char *name = colon ? arena_strndup(arena, text, (size_t) (colon - text)) : text;
        struct spec_user u = { .has_gid = !str_empty(group) };
        uint64_t n;

        if (str_to_u64(name, &n) && n < UINT32_MAX)
                u.uid = (uid_t) n;
        else
                u.username = name;
        if (u.has_gid && str_to_u64(group, &n) && n < UINT32_MAX)
                u.gid = (gid_t) n;
        else if (u.has_gid)
                u.groupname = group;
        return u;
}

int proxmox_image_look_up_user(struct proxmox_image *i, int root, struct arena *arena, struct spec_user *ret,
                               const char **text, struct err *err) {
        const struct spec_user image_user = user_of(i->config.user, arena);
        struct plan_ready *found = arena_array(arena, struct plan_ready, 1);
        json_t *user = member(member(i->bundle, "process"), "user"), *groups = json_array();
        int r = plan_resolve_user(&image_user, root, found, err);

        if (r == 0) {
                set(user, "uid", json_integer(found->uid));
                set(user, "gid", json_integer(found->gid));
                for (size_t n = 0; n < found->n_groups; n++)
                        (void) json_array_append_new(groups, json_integer(found->groups[n]));
                set(user, "additionalGids", json_incref(groups));
                *ret = (struct spec_user){ .uid = found->uid,
                                           .gid = found->gid,
                                           .has_gid = true,
                                           .resolved = true,
                                           .additional_gids = found->groups,
                                           .n_additional_gids = found->n_groups };
                *text = json_to_text(json_incref(i->bundle), arena);
        }
        json_decref(groups);
        return r < 0 ? err_wrap(err, "the user \"%s\" of the image %s", i->config.user, i->volume) : 0;
}

/* --- the copy ----------------------------------------------------------------------------------------------------- */

/* A small file that becomes a member of the archive. */
struct addition {
        const char *file, *type;
        char digest[DIGEST_LEN + 1];
        size_t len;
};

static json_t *descriptor(const struct addition *a) {
        json_t *j =
                json_pack("{s:s, s:s, s:I}", "mediaType", a->type, "digest", a->digest, "size", (json_int_t) a->len);

        if (!j)
                abort();
        return j;
}

static int write_addition(int work, struct addition *a, const char *text, struct err *err) {
        a->len = strlen(text);
        digest_of(text, a->len, a->digest);
        return fs_write_atomic(work, a->file, text, a->len, 0600, false, err);
}

/* A layer with our program alone, as "tar" makes it. */
static int write_layer(int work, const char *init_path, struct addition *a, struct err *err) {
        _cleanup_(freep) char *out = xprintf("--file=/proc/%d/fd/%d/%s", (int) getpid(), work, a->file), *text = NULL;
        int r = proxmox_tar_init(init_path, "--create", out, err);

        if (r == 0)
                r = fs_read_file(work, a->file, LAYER_MAX, &text, &a->len, err);
        if (r == 0)
                digest_of(text, a->len, a->digest);
        return r;
}

/* The image's, without what is now the bundle's, and with a layer more. */
static int write_config(const struct proxmox_image *i, int work, const struct addition *layer, struct addition *a,
                        struct arena *arena, struct err *err) {
        _cleanup_(json_unrefp) json_t *j = NULL;
        json_t *layers;
        int r = json_load_bounded(i->config_text, strlen(i->config_text), VALUES_MAX, "the image's config", &j, err);

        if (r < 0)
                return r;
        set(j, "config", json_object());
        (void) json_object_del(j, "history");
        layers = json_object_get(json_object_get(j, "rootfs"), "diff_ids");
        if (!layers || json_array_append_new(layers, json_string(layer->digest)) < 0)
                return err_set(err, ERR_INVALID, "the image's config has no rootfs.diff_ids");
        return write_addition(work, a, json_to_text(json_incref(j), arena), err);
}

static int write_manifest(const struct proxmox_image *i, int work, const struct addition *layer,
                          const struct addition *config, struct addition *a, struct arena *arena, struct err *err) {
        _cleanup_(json_unrefp) json_t *j = NULL;
        int r = json_load_bounded(i->manifest, strlen(i->manifest), VALUES_MAX, "the image's manifest", &j, err);

        if (r < 0)
                return r;
        set(j, "mediaType", json_string(MANIFEST_TYPE));
        set(j, "config", descriptor(config));
        if (json_array_append_new(json_object_get(j, "layers"), descriptor(layer)) < 0)
                return err_set(err, ERR_INVALID, "the image's manifest has no layers");
        return write_addition(work, a, json_to_text(json_incref(j), arena), err);
}

static int write_index(int work, const struct addition *manifest, struct addition *a, struct arena *arena,
                       struct err *err) {
        json_t *j = json_pack("{s:i, s:s, s:[o]}", "schemaVersion", 2, "mediaType", INDEX_TYPE, "manifests",
                              descriptor(manifest));

        if (!j)
                abort();
        return write_addition(work, a, json_to_text(j, arena), err);
}

static const char *rename_to_blob(const struct addition *a, struct arena *arena) {
        return arena_printf(arena, "--transform=flags=r;s,^%s$,%s,", a->file, blob_name(a->digest, arena));
}

static int add_to_oci(const struct proxmox_image *i, const char *init_path, int work, const char *file,
                      struct arena *arena, struct err *err) {
        struct addition layer = { .file = "layer", .type = LAYER_TYPE }, config = { "config", CONFIG_TYPE, "", 0 },
                        manifest = { "manifest", MANIFEST_TYPE, "", 0 }, index = { "index.json", INDEX_TYPE, "", 0 };
        const char *folder = arena_printf(arena, "--directory=/proc/%d/fd/%d", (int) getpid(), work);
        int r = write_layer(work, init_path, &layer, err);

        if (r == 0)
                r = write_config(i, work, &layer, &config, arena, err);
        if (r == 0)
                r = write_manifest(i, work, &layer, &config, &manifest, arena, err);
        if (r == 0)
                r = write_index(work, &manifest, &index, arena, err);
        if (r == 0)
                r = proxmox_tar((const char *const[]){ "--delete", file, "index.json", NULL }, err);
        if (r == 0)
                r = proxmox_tar((const char *const[]){ "--append", file, "--numeric-owner",
                                                       rename_to_blob(&layer, arena), rename_to_blob(&config, arena),
                                                       rename_to_blob(&manifest, arena), folder, layer.file,
                                                       config.file, manifest.file, index.file, NULL },
                                err);
        (void) unlinkat(work, layer.file, 0);
        (void) unlinkat(work, config.file, 0);
        (void) unlinkat(work, manifest.file, 0);
        (void) unlinkat(work, index.file, 0);
        return r;
}

/* By its name, as Proxmox does. */
static const char *unpacker(const char *path) {
        static const struct {
                const char *suffix, *program;
        } known[] = { { ".gz", "/usr/bin/gzip" },
                      { ".tgz", "/usr/bin/gzip" },
                      { ".xz", "/usr/bin/xz" },
                      { ".bz2", "/usr/bin/bzip2" },
                      { ".zst", "/usr/bin/zstd" } };
        const char *suffix = strrchr(path, '.');

        for (size_t k = 0; suffix && k < ELEMENTSOF(known); k++)
                if (str_eq(suffix, known[k].suffix))
                        return known[k].program;
        return NULL;
}

static int unpack(const char *path, int fd, struct err *err) {
        _cleanup_strbuf_ struct strbuf complaints = STRBUF(PROXMOX_COMPLAINTS_MAX);
        const char *program = unpacker(path);
        const char *const packed[] = { program, "--decompress", "--stdout", path, NULL };
        const char *const plain[] = { "/bin/cat", path, NULL };
        int status, r = proc_run(&(struct proc_run_args){ .argv = program ? packed : plain,
                                                          .out_fd = fd,
                                                          .err_out = &complaints,
                                                          .timeout_ms = PROXMOX_TAR_TIMEOUT_MS },
                                 &status, err);

        if (r == 0 && status != 0)
                r = err_set(err, ERR_INVALID, "%s: %s ended with status %d: %.1000s", path, program ? program : "cat",
                            status, strbuf_str(&complaints));
        return r;
}

int proxmox_image_write(const struct proxmox_image *i, const char *init_path, int work, struct arena *arena, int *ret,
                        struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        const char *file;
        int r = proxmox_temporary(&fd, err);

        if (r == 0)
                r = unpack(i->path, fd, err);
        if (r < 0)
                return err_wrap(err, "copy %s", i->volume);
        file = arena_printf(arena, "--file=/proc/%d/fd/%d", (int) getpid(), fd);
        r = i->manifest ? add_to_oci(i, init_path, work, file, arena, err)
                        : proxmox_tar_init(init_path, "--append", file, err);
        if (r < 0)
                return err_wrap(err, "add our first process to a copy of %s", i->volume);
        *ret = TAKE_FD(fd);
        return 0;
}
