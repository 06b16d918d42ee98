/* SPDX-License-Identifier: Apache-2.0 */
/* image-changes - what is to change in an image's config: from options, as "buildah config" has them, and from
 * instructions of a Dockerfile, as "podman commit --change" takes them. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "cli/options.h"
#include "proto/admin.pb-c.h"

enum { IMAGE_CHANGES_MAX = 1024 };

struct image_changes {
        struct arena *arena; /* borrowed */
        Proxmoxlxcri__V1__ImageChange *list[IMAGE_CHANGES_MAX];
        size_t n;
};

#define CLI_CHANGE_OPTIONS                                                                                             \
        { 'a', "annotation", "KEY=VALUE", "of the manifest; \"KEY-\" removes it, \"-\" all of them" },                 \
                { 0, "arch", "ARCH", "architecture that it is for" }, { 0, "author", "TEXT", "who has made it" },      \
                { 0, "cmd", "COMMAND", "arguments of the entrypoint, or what runs: words, or a JSON array" },          \
                { 0, "entrypoint", "COMMAND", "what runs: a JSON array, or a line for /bin/sh" },                      \
                { 'e', "env", "KEY=VALUE", "\"KEY-\" removes it, \"-\" all of them" },                                 \
                { 'l', "label", "KEY=VALUE", "the same" },                                                             \
                { 0, "onbuild", "TEXT", "what a Dockerfile that begins with it does first; \"-\" removes all" },       \
                { 0, "os", "OS", "operating system that it is for" },                                                  \
                { 'p', "port", "PORT[/PROTOCOL]", "that it listens on; \"PORT-\" removes it, \"-\" all of them" },     \
                { 0, "expose", "PORT[/PROTOCOL]", "the same" }, { 0, "stop-signal", "SIGNAL", "what asks it to end" }, \
                { 'u', "user", "USER[:GROUP]", "whose it runs as" },                                                   \
                { 0, "variant", "VARIANT", "of the architecture" },                                                    \
                { 'v', "volume", "PATH", "folder for data; \"PATH-\" removes it, \"-\" all of them" },                 \
                { 0, "workingdir", "PATH", "where it starts" }, {                                                      \
                0, "workdir", "PATH", "the same"                                                                       \
        }

/* Those among @args, in their order. */
_must_use_ int changes_of_options(struct image_changes *c, const struct cli_args *args, struct err *err);
/* Does --compression say "zstd", not gzip? ERR_INVALID: neither. */
_must_use_ int changes_zstd(const struct cli_args *args, protobuf_c_boolean *ret, struct err *err);
/* One instruction, "CMD [\"a\"]" or "CMD=a". ERR_INVALID. */
_must_use_ int changes_of_instruction(struct image_changes *c, const char *text, struct err *err);
