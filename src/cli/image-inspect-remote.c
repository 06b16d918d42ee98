/* SPDX-License-Identifier: Apache-2.0 */
/* image inspect --remote - what a registry has, in the words of "skopeo inspect". */
#include "cli/image-inspect.h"

#include <stdio.h>
#include "base/json.h"
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/json.h"
#include "image/ref.h"

enum { DOCUMENT_VALUES_MAX = 100000 };

struct remote {
        const char *reference;
        struct ref ref;
        Proxmoxlxcri__V1__Credentials creds;
        Proxmoxlxcri__V1__InspectRemoteResponse *found;
        json_t *manifest, *image, *config; /* as it is served; of this machine's image; NULL: there is none */
};

static int load(const ProtobufCBinaryData *data, const char *what, json_t **ret, struct err *err) {
        return data->len ? json_load_bounded((const char *) data->data, data->len, DOCUMENT_VALUES_MAX, what, ret, err)
                         : 0;
}

static int look_up(struct cli *cli, struct remote *r, bool with_image, struct err *err) {
        Proxmoxlxcri__V1__InspectRemoteRequest req = PROXMOXLXCRI__V1__INSPECT_REMOTE_REQUEST__INIT;
        int ret;

        req.reference = (char *) (uintptr_t) r->reference;
        req.credentials = &r->creds;
        req.image = with_image;
        ret = cli_call(cli, "/proxmoxlxcri.v1.Admin/InspectRemote", &req.base,
                       &proxmoxlxcri__v1__inspect_remote_response__descriptor, CLI_TIMEOUT_MS, &r->found, err);
        if (ret == 0)
                ret = load(&r->found->manifest, "the manifest", &r->manifest, err);
        if (ret == 0 && str_eq(r->found->image_digest, r->found->digest))
                r->image = json_incref(r->manifest);
        else if (ret == 0)
                ret = load(&r->found->image_manifest, "the image's manifest", &r->image, err);
        return ret == 0 ? load(&r->found->config, "the config", &r->config, err) : ret;
}

static json_t *copy_of(json_t *o, const char *key, json_t *otherwise) {
        json_t *value = json_object_get(o, key);

        if (!value)
                return otherwise;
        json_decref(otherwise);
        return json_incref(value);
}

/* Registries may refuse this and let images be pulled. */
static json_t *tags_of(struct cli *cli, struct remote *r) {
        Proxmoxlxcri__V1__ListTagsRequest req = PROXMOXLXCRI__V1__LIST_TAGS_REQUEST__INIT;
        Proxmoxlxcri__V1__ListTagsResponse *res = NULL;
        json_t *list = json_array();
        struct err err;

        req.repository = (char *) (uintptr_t) ref_name(&r->ref, cli->arena);
        req.credentials = &r->creds;
        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/ListTags", &req.base,
                     &proxmoxlxcri__v1__list_tags_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0) {
                (void) cli_fail(&err);
                return list;
        }
        for (size_t i = 0; i < res->n_tags; i++)
                (void) json_array_append_new(list, json_string(res->tags[i]));
        return list;
}

static void add_layers(json_t *to, json_t *image) {
        json_t *digests = json_array(), *data = json_array(), *layer;
        size_t i;

        json_array_foreach(json_object_get(image, "layers"), i, layer) {
                (void) json_array_append_new(digests, copy_of(layer, "digest", json_string("")));
                (void) json_array_append_new(data, json_pack("{s:o, s:o, s:o, s:o}", "MIMEType",
                                                             copy_of(layer, "mediaType", json_string("")), "Digest",
                                                             copy_of(layer, "digest", json_string("")), "Size",
                                                             copy_of(layer, "size", json_integer(0)), "Annotations",
                                                             copy_of(layer, "annotations", json_null())));
        }
        (void) json_object_set_new(to, "Layers", digests);
        (void) json_object_set_new(to, "LayersData", data);
}

static void add_config(json_t *to, json_t *config) {
        json_t *inner = json_object_get(config, "config");

        (void) json_object_set_new(to, "Created", copy_of(config, "created", json_null()));
        (void) json_object_set_new(to, "DockerVersion", copy_of(config, "docker_version", json_string("")));
        (void) json_object_set_new(to, "Labels", copy_of(inner, "Labels", json_null()));
        (void) json_object_set_new(to, "Architecture", copy_of(config, "architecture", json_string("")));
        if (json_object_get(config, "variant"))
                (void) json_object_set(to, "Variant", json_object_get(config, "variant"));
        (void) json_object_set_new(to, "Os", copy_of(config, "os", json_string("")));
        (void) json_object_set_new(to, "Env", copy_of(inner, "Env", json_null()));
}

/* What Skopeo does not tell. */
static void add_more(json_t *to, struct remote *r) {
        json_t *entries = json_object_get(r->manifest, "manifests"), *platforms = json_array(), *entry;
        static const char *const keys[][2] = { { "artifactType", "ArtifactType" },
                                               { "subject", "Subject" },
                                               { "annotations", "Annotations" } };
        size_t i;

        (void) json_object_set_new(to, "MediaType", json_string(r->found->media_type));
        for (i = 0; i < ELEMENTSOF(keys); i++)
                if (json_object_get(r->manifest, keys[i][0]))
                        (void) json_object_set(to, keys[i][1], json_object_get(r->manifest, keys[i][0]));
        json_array_foreach(entries, i, entry)(void) json_array_append_new(
                platforms,
                json_pack("{s:o, s:o, s:o, s:o}", "Digest", copy_of(entry, "digest", json_string("")), "MediaType",
                          copy_of(entry, "mediaType", json_string("")), "Size", copy_of(entry, "size", json_integer(0)),
                          "Platform", copy_of(entry, "platform", json_null())));
        if (entries)
                (void) json_object_set(to, "Manifests", platforms);
        json_decref(platforms);
        if (entries && !str_empty(r->found->image_digest))
                (void) json_object_set_new(to, "ImageDigest", json_string(r->found->image_digest));
}

static void print_facts(struct cli *cli, struct remote *r, bool with_tags) {
        json_t *to = json_pack("{s:s, s:s}", "Name", ref_name(&r->ref, cli->arena), "Digest", r->found->digest);

        if (with_tags)
                (void) json_object_set_new(to, "RepoTags", tags_of(cli, r));
        if (r->config)
                add_config(to, r->config);
        if (r->image)
                add_layers(to, r->image);
        add_more(to, r);
        json_print(to);
}

static int print_bytes(const ProtobufCBinaryData *data) {
        return fwrite(data->data, 1, data->len, stdout) == data->len ? EXIT_FINE : EXIT_FAILED;
}

int image_inspect_remote(struct cli *cli, const struct cli_args *args) {
        struct remote r = { .reference = str_after(args->rest[0], "docker://") ?: args->rest[0] };
        bool raw = args_has(args, "raw"), config = args_has(args, "config");
        int status = EXIT_FINE;
        struct err err;
        int e = ref_parse(r.reference, cli->arena, &r.ref, &err);

        if (e == 0)
                e = cli_credentials(cli, args, r.reference, &r.creds, &err);
        if (e == 0)
                e = look_up(cli, &r, config || !raw, &err);
        if (e == 0 && config && !r.config)
                e = err_set(&err, ERR_NOT_FOUND, "%.300s is no image for this machine: it has no config", r.reference);
        if (e < 0)
                status = cli_fail(&err);
        else if (raw)
                status = print_bytes(config ? &r.found->config : &r.found->manifest);
        else if (config)
                json_print(json_incref(r.config));
        else
                print_facts(cli, &r, !args_has(args, "no-tags"));
        json_decref(r.manifest);
        json_decref(r.image);
        json_decref(r.config);
        return status;
}
