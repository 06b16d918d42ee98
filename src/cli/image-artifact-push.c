/* SPDX-License-Identifier: Apache-2.0 */
/* image artifact push - files to a registry. They are opened here, by who asks. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/image-digest.h"
#include "cli/pull.h"
#include "cli/verbs.h"
#include "image/artifact-title.h"

enum { FILES_MAX = 500, ANNOTATIONS_MAX = 256 };

static const char default_type[] = "application/octet-stream",
                  unknown_artifact[] = "application/vnd.unknown.artifact.v1";

static const struct cli_option options[] = {
        { 0, "artifact-type", "TYPE", "what it is (default: application/vnd.unknown.artifact.v1)" },
        { 0, "subject", "REF", "what it is about: a reference, or a digest in the same repository" },
        { 'a', "annotation", "KEY=VALUE", "of the artifact; may be repeated" },
        { 'q', "quiet", NULL, "no progress" },
        CLI_DIGESTFILE_OPTION,
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

static bool exists(const char *path) {
        struct stat st;

        return stat(path, &st) == 0;
}

/* "FILE[:TYPE]"; a file whose own name has a colon counts first. */
static const char *split(struct cli *cli, const char *arg, const char **ret_type) {
        const char *colon = strrchr(arg, ':');

        *ret_type = default_type;
        if (!colon || exists(arg))
                return arg;
        *ret_type = colon + 1;
        return arena_strndup(cli->arena, arg, (size_t) (colon - arg));
}

/* As it was named, if that is below the folder we are in; else by its last part. */
static const char *title_of(struct cli *cli, const char *path) {
        char *title = arena_strdup(cli->arena, path), *to = title;

        while (title[0] == '.' && title[1] == '/')
                title += 2 + strspn(title + 2, "/");
        to = title;
        for (const char *p = title; *p; p++)
                if (*p != '/' || p[1] != '/')
                        *to++ = *p;
        *to = '\0';
        if (artifact_title_is_safe(title))
                return title;
        return strrchr(title, '/') ? strrchr(title, '/') + 1 : title;
}

static int add_file(struct cli *cli, const char *arg, Proxmoxlxcri__V1__PushArtifactRequest *req, struct err *err) {
        Proxmoxlxcri__V1__ArtifactFile *f = arena_new_of(cli->arena, Proxmoxlxcri__V1__ArtifactFile);
        const char *type, *path = split(cli, arg, &type);
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat st;

        if (fd < 0)
                return err_sys(err, errno, "open %.300s", path);
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                (void) close(fd);
                return err_set(err, ERR_INVALID, "%.300s is no plain file%s", path,
                               S_ISDIR(st.st_mode) ? ": pack it into an archive before" : "");
        }
        proxmoxlxcri__v1__artifact_file__init(f);
        f->descriptor = fd; /* until we end */
        f->title = (char *) (uintptr_t) title_of(cli, path);
        f->media_type = (char *) (uintptr_t) type;
        req->files[req->n_files++] = f;
        return 0;
}

static int add_annotation(struct cli *cli, const char *arg, Proxmoxlxcri__V1__PushArtifactRequest *req,
                          struct err *err) {
        const char *value = strchr(arg, '=');
        Proxmoxlxcri__V1__PushArtifactRequest__AnnotationsEntry *e =
                arena_new_of(cli->arena, Proxmoxlxcri__V1__PushArtifactRequest__AnnotationsEntry);

        if (!value || value == arg)
                return err_set(err, ERR_INVALID, "--annotation \"%.100s\" is not KEY=VALUE", arg);
        proxmoxlxcri__v1__push_artifact_request__annotations_entry__init(e);
        e->key = arena_strndup(cli->arena, arg, (size_t) (value - arg));
        e->value = (char *) (uintptr_t) (value + 1);
        req->annotations[req->n_annotations++] = e;
        return 0;
}

static int fill(struct cli *cli, const struct cli_args *args, Proxmoxlxcri__V1__PushArtifactRequest *req,
                struct err *err) {
        const char *value;
        int r = 0;

        req->destination = (char *) (uintptr_t) (str_after(args->rest[0], "docker://") ?: args->rest[0]);
        req->artifact_type = (char *) (uintptr_t) (args_value(args, "artifact-type") ?: unknown_artifact);
        req->subject = (char *) (uintptr_t) (args_value(args, "subject") ?: "");
        req->files = arena_array(cli->arena, Proxmoxlxcri__V1__ArtifactFile *, FILES_MAX);
        req->annotations =
                arena_array(cli->arena, Proxmoxlxcri__V1__PushArtifactRequest__AnnotationsEntry *, ANNOTATIONS_MAX);
        for (size_t i = 1; r == 0 && i < args->n_rest; i++)
                r = add_file(cli, args->rest[i], req, err);
        for (size_t it = 0; r == 0 && (value = args_next(args, "annotation", &it));)
                r = req->n_annotations == ANNOTATIONS_MAX
                            ? err_set(err, ERR_INVALID, "there are more than %d annotations", ANNOTATIONS_MAX)
                            : add_annotation(cli, value, req, err);
        return r;
}

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__PushArtifactRequest req = PROXMOXLXCRI__V1__PUSH_ARTIFACT_REQUEST__INIT;
        struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/PushArtifact",
                              .request = &req.base,
                              .quiet = args_has(args, "quiet"),
                              .sends = true };
        Proxmoxlxcri__V1__Credentials creds;
        struct transfer_result result;
        struct err err;

        if (fill(cli, args, &req, &err) < 0)
                return cli_fail(&err);
        req.credentials = &creds;
        t.name = req.destination;
        cli_catch_signals();
        if (cli_credentials(cli, args, req.destination, &creds, &err) < 0 || cli_transfer(cli, &t, &result, &err) < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        return image_digest_tell(cli, args, req.destination, result.digest);
}

const struct cli_verb verb_image_artifact_push = {
        .name = "image artifact push",
        .args = "REFERENCE [FILE[:MEDIATYPE]]...",
        .help = "Put files into a registry as an artifact",
        .description =
                "As ORAS and \"podman artifact\" do: a layer for each file (application/octet-stream without "
                "MEDIATYPE), called as it is named here\n"
                "below this folder, else by its last part. With --subject and without a tag only its digest names it. "
                "Prints the digest. With\n"
                "-o json: {reference, digest}.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = FILES_MAX,
};
