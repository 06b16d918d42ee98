/* SPDX-License-Identifier: Apache-2.0 */
/* manifest - image indexes, manifests and configs, OCI and Docker: bytes in, structures out, no I/O. Thread-safe.
 * Everything is checked here, so that what comes after trusts it: digests, sizes, counts, media types. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "image/json.h"

enum {
        MANIFEST_BYTES_MAX = 4 * 1024 * 1024,
        CONFIG_BYTES_MAX = 4 * 1024 * 1024,
        LAYERS_MAX = 500, /* overlay stacks no more */
        INDEX_ENTRIES_MAX = 1000,
        INDEX_DEPTH_MAX = 3,
        CONFIG_STRINGS_MAX = 4096,             /* entries of a list in the config */
        CONFIG_STRINGS_BYTES_MAX = 512 * 1024, /* all that is kept of a config */
};

struct platform {
        const char *os, *arch, *variant; /* "" when absent */
};

struct descriptor {
        const char *media_type, *digest;
        uint64_t size;
        struct platform platform; /* of index entries */
};

struct manifest {
        const char *media_type; /* its own word, else how it was served */
        bool is_index;
        struct descriptor *entries; /* index: the manifests */
        size_t n_entries;
        struct descriptor config;  /* manifest */
        struct descriptor *layers; /* lowest first */
        size_t n_layers;
};

/* The part of an image config that is applied, and how its layers unpack. Strings are never NULL, lists end in NULL. */
struct image_config {
        struct platform platform;
        const char **entrypoint, **cmd, **env, **volumes, **labels;
        const char *user, *working_dir, *stop_signal;
        const char **diff_ids;
        size_t n_diff_ids;
};

/* Value of the Accept header for manifests. */
extern const char manifest_accept[];

/* @media_type: as the registry says (Content-Type), or ""; the manifest's own word counts more.
 * ERR_INVALID malformed, ERR_EXHAUSTED past a limit, ERR_UNIMPLEMENTED schema 1, foreign layers, artifacts. */
_must_use_ int manifest_parse(const char *data, size_t len, const char *media_type, struct arena *arena,
                              struct manifest *ret, struct err *err);
/* As manifest_parse, but of anything that registries hold: artifacts, foreign layers and unknown kinds of them, too.
 * For those who pass it on as it is. */
_must_use_ int manifest_parse_any(const char *data, size_t len, const char *media_type, struct arena *arena,
                                  struct manifest *ret, struct err *err);
/* Is it an image, and no artifact, by the kind of its config? */
bool manifest_is_image(const struct manifest *m);
/* Is a blob of that type one that registries don't hold? */
bool layer_is_foreign(const char *media_type);
/* The best entry of @index for @host; the first of equals. ERR_NOT_FOUND with what there is. */
_must_use_ int manifest_choose(const struct manifest *index, const struct platform *host, const struct descriptor **ret,
                               struct err *err);
_must_use_ int config_parse(const char *data, size_t len, struct arena *arena, struct image_config *ret,
                            struct err *err);
/* How well a build for @p runs on @host: 0 not at all, else more is better. What names no platform may run: 1. */
int platform_score(const struct platform *p, const struct platform *host);
bool platform_runs(const struct platform *p, const struct platform *host);
/* This machine. */
const struct platform *platform_host(void);
/* "OS/ARCH" or "OS/ARCH/VARIANT", in OCI's words. ERR_INVALID: it is none. */
_must_use_ int platform_parse(const char *text, struct arena *arena, struct platform *ret, struct err *err);
