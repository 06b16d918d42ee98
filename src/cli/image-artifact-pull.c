/* SPDX-License-Identifier: Apache-2.0 */
/* image artifact pull - an artifact's files into a folder. The daemon fetches them into files that are opened here and
 * have no name; the names are strangers', and what they may do is decided here, with the rights of who asks. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/json.h"
#include "cli/new-file.h"
#include "cli/pull.h"
#include "cli/verbs.h"
#include "image/artifact-title.h"

enum { FILES_MAX = 500, MANIFEST_VALUES_MAX = 100000 };

static const struct cli_option options[] = {
        { 'o', "output-dir", "DIR", "where to (default: here)" },
        { 'f', "force", NULL, "replace files that are there" },
        { 'q', "quiet", NULL, "no progress, no names" },
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

struct piece {
        const char *title, *digest, *media_type;
        uint64_t size;
        struct new_file file;
};

struct pull {
        const char *reference, *digest;
        int folder;
        bool force;
        struct piece *pieces;
        size_t n;
};

/* Those without a title are called by their digest. */
static const char *title_of(struct cli *cli, const json_t *layer, const char *digest) {
        const char *title = json_string_value(
                json_object_get(json_object_get(layer, "annotations"), "org.opencontainers.image.title"));

        return title ? arena_strdup(cli->arena, title) : arena_printf(cli->arena, "sha256-%s", strchr(digest, ':') + 1);
}

/* The daemon has checked descriptors. */
static int add_piece(struct cli *cli, struct pull *p, const json_t *layer, struct err *err) {
        struct piece *new = &p->pieces[p->n];
        const char *type = json_string_value(json_object_get(layer, "mediaType"));

        if (str_eq(type, "application/vnd.oci.empty.v1+json"))
                return 0;
        new->digest = arena_strdup(cli->arena, json_string_value(json_object_get(layer, "digest")) ?: "");
        new->media_type = arena_strdup(cli->arena, type ?: "");
        if (!strchr(new->digest, ':') || !json_to_u64(json_object_get(layer, "size"), &new->size))
                return err_set(err, ERR_INVALID, "a layer of its manifest is none");
        new->title = title_of(cli, layer, new->digest);
        if (!artifact_title_is_safe(new->title))
                return err_set(err, ERR_INVALID, "it has a file called \"%.200s\", which is no name below a folder",
                               new->title);
        for (size_t i = 0; i < p->n; i++)
                if (str_eq(p->pieces[i].title, new->title))
                        return err_set(err, ERR_INVALID, "it has two files called \"%.200s\"", new->title);
        p->n++;
        return 0;
}

static int read_manifest(struct cli *cli, struct pull *p, const ProtobufCBinaryData *data, struct err *err) {
        _cleanup_(json_unrefp) json_t *doc = NULL;
        const json_t *layers, *layer;
        size_t i;
        int r = json_load_bounded((const char *) data->data, data->len, MANIFEST_VALUES_MAX, "the manifest", &doc, err);

        if (r < 0)
                return r;
        if (json_object_get(doc, "manifests"))
                return err_set(err, ERR_INVALID, "it is an index: name one of its manifests by digest");
        layers = json_object_get(doc, "layers");
        if (json_array_size(layers) > FILES_MAX)
                return err_set(err, ERR_EXHAUSTED, "it has more than %d files", FILES_MAX);
        p->pieces = arena_array(cli->arena, struct piece, json_array_size(layers) + 1);
        json_array_foreach(layers, i, layer) if (r == 0) r = add_piece(cli, p, layer, err);
        return r;
}

static int look_up(struct cli *cli, struct pull *p, Proxmoxlxcri__V1__Credentials *creds, struct err *err) {
        Proxmoxlxcri__V1__InspectRemoteRequest req = PROXMOXLXCRI__V1__INSPECT_REMOTE_REQUEST__INIT;
        Proxmoxlxcri__V1__InspectRemoteResponse *res = NULL;
        int r;

        req.reference = (char *) (uintptr_t) p->reference;
        req.credentials = creds;
        req.trusted = true;
        r = cli_call(cli, "/proxmoxlxcri.v1.Admin/InspectRemote", &req.base,
                     &proxmoxlxcri__v1__inspect_remote_response__descriptor, CLI_TIMEOUT_MS, &res, err);
        if (r == 0)
                r = read_manifest(cli, p, &res->manifest, err);
        if (r == 0)
                p->digest = res->digest;
        return r;
}

static int open_below(int folder, const char *path, uint64_t flags) {
        const struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

        return (int) syscall(SYS_openat2, folder, path, &how, sizeof(how));
}

/* What is there is told before anything is fetched. */
static int open_piece(const struct pull *p, struct piece *piece, struct err *err) {
        const char *slash = strrchr(piece->title, '/');
        _cleanup_(fd_closep) int there = open_below(p->folder, piece->title, O_PATH | O_NOFOLLOW);
        struct stat st = { 0 };

        if (there < 0 && errno != ENOENT)
                return err_sys(err, errno, "look whether %.200s is there", piece->title);
        if (there >= 0 && fstat(there, &st) == 0 && (!p->force || S_ISDIR(st.st_mode)))
                return err_set(err, ERR_EXISTS, "%.200s is there already%s", piece->title,
                               S_ISDIR(st.st_mode) ? ", as a folder" : " (--force replaces it)");
        return new_file_open(&piece->file, p->folder, slash ? slash + 1 : piece->title, err);
}

/* Folders are made where they are missing; symlinks are not followed. */
static int keep_piece(const struct pull *p, struct piece *piece, struct err *err) {
        _cleanup_(freep) char *path = xstrdup(piece->title);
        _cleanup_(fd_closep) int folder = open_below(p->folder, ".", O_RDONLY | O_DIRECTORY);
        char *name = path, *slash;

        for (; folder >= 0 && (slash = strchr(name, '/')); name = slash + 1) {
                int below;

                *slash = '\0';
                if (mkdirat(folder, name, 0755) < 0 && errno != EEXIST)
                        return err_sys(err, errno, "make folder %.200s", path);
                below = open_below(folder, name, O_RDONLY | O_DIRECTORY);
                if (below < 0)
                        return err_sys(err, errno, "open folder %.200s", path);
                (void) fd_close(folder);
                folder = below;
                *slash = '/';
        }
        if (folder < 0)
                return err_sys(err, errno, "open the folder of %.200s", piece->title);
        return new_file_keep(&piece->file, folder, name, p->force, err);
}

static int fetch(struct cli *cli, const struct pull *p, bool quiet, Proxmoxlxcri__V1__Credentials *creds,
                 struct err *err) {
        Proxmoxlxcri__V1__FetchBlobsRequest req = PROXMOXLXCRI__V1__FETCH_BLOBS_REQUEST__INIT;
        const struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/FetchBlobs",
                                    .request = &req.base,
                                    .name = p->reference,
                                    .quiet = quiet };
        struct transfer_result result;

        if (p->n == 0)
                return 0;
        req.reference = (char *) (uintptr_t) p->reference;
        req.credentials = creds;
        req.blobs = arena_array(cli->arena, Proxmoxlxcri__V1__FetchedBlob *, p->n);
        for (; req.n_blobs < p->n; req.n_blobs++) {
                Proxmoxlxcri__V1__FetchedBlob *b = arena_new_of(cli->arena, Proxmoxlxcri__V1__FetchedBlob);
                const struct piece *piece = &p->pieces[req.n_blobs];

                proxmoxlxcri__v1__fetched_blob__init(b);
                b->digest = (char *) (uintptr_t) piece->digest;
                b->size_bytes = piece->size;
                b->descriptor = piece->file.fd;
                req.blobs[req.n_blobs] = b;
        }
        return cli_transfer(cli, &t, &result, err);
}

static int pull(struct cli *cli, struct pull *p, const struct cli_args *args, struct err *err) {
        Proxmoxlxcri__V1__Credentials creds;
        int r = cli_credentials(cli, args, p->reference, &creds, err);

        if (r == 0)
                r = look_up(cli, p, &creds, err);
        for (size_t i = 0; r == 0 && i < p->n; i++)
                r = open_piece(p, &p->pieces[i], err);
        if (r == 0)
                r = fetch(cli, p, args_has(args, "quiet"), &creds, err);
        for (size_t i = 0; r == 0 && i < p->n; i++)
                r = keep_piece(p, &p->pieces[i], err);
        for (size_t i = 0; i < p->n; i++)
                new_file_done(&p->pieces[i].file);
        return r < 0 ? err_wrap(err, "pull artifact %.300s", p->reference) : 0;
}

static void tell(struct cli *cli, const struct pull *p, bool quiet) {
        json_t *list = json_array();

        for (size_t i = 0; i < p->n; i++) {
                const struct piece *piece = &p->pieces[i];

                if (!cli->json && !quiet)
                        printf("%s\n", piece->title);
                (void) json_array_append_new(list, json_pack("{s:s s:s s:s s:I}", "title", piece->title, "media_type",
                                                             piece->media_type, "digest", piece->digest, "size_bytes",
                                                             (json_int_t) piece->size));
        }
        if (cli->json)
                json_print(json_pack("{s:s s:s s:o}", "reference", p->reference, "digest", p->digest, "files", list));
        else
                json_decref(list);
}

static int run(struct cli *cli, const struct cli_args *args) {
        const char *folder = args_value(args, "output-dir") ?: ".";
        struct pull p = { .reference = str_after(args->rest[0], "docker://") ?: args->rest[0],
                          .folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                          .force = args_has(args, "force") };
        struct err err;
        int r;

        if (p.folder < 0) {
                (void) err_sys(&err, errno, "open folder %.300s", folder);
                return cli_fail(&err);
        }
        cli_catch_signals();
        r = pull(cli, &p, args, &err);
        (void) close(p.folder);
        if (r < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        tell(cli, &p, args_has(args, "quiet"));
        return EXIT_FINE;
}

const struct cli_verb verb_image_artifact_pull = {
        .name = "image artifact pull",
        .args = "REFERENCE",
        .help = "Fetch an artifact's files",
        .description =
                "By their titles, below the folder; those that have none by their digest. None is there before all "
                "are and their digests are\n"
                "checked. What the signature policy does not let in is not fetched. Prints the names. With --output "
                "json: {reference, digest, files}.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 1,
};
