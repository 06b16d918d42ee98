/* SPDX-License-Identifier: Apache-2.0 */
/* new-file - a file that gets its name when it is complete, so that nothing half is ever seen under it; and output into
 * one, by a path. */
#pragma once
#include <stdbool.h>
#include "base/cleanup.h"
#include "base/err.h"

struct new_file {
        int fd;          /* to be written to */
        int folder;      /* borrowed: where it is made, on the file system where it is to stay */
        char *temporary; /* what it is called there before, if it has a name at all */
        bool has_name;   /* that one */
};

/* An empty file; @name is what it will be called. */
_must_use_ int new_file_open(struct new_file *f, int folder, const char *name, struct err *err);
/* Gives it its @name in @folder. Without @replace something that has it stays: ERR_EXISTS. */
_must_use_ int new_file_keep(struct new_file *f, int folder, const char *name, bool replace, struct err *err);
/* What has not got its name goes. A zeroed one is fine. */
void new_file_done(struct new_file *f);

/* What a path names that somebody gave for output: a new file, which takes the place of one that is there; or what is
 * there and is no file, as a pipe or a device, which stays what it is and is written to. */
struct output {
        int fd; /* to be written to */
        bool is_new;
        struct new_file file;
        int folder;
        char *name;
};
#define OUTPUT_NONE ((struct output){ .fd = -1, .folder = -1 })

/* ERR_PRECONDITION: it is a folder. Links are followed. */
_must_use_ int output_open(struct output *o, const char *path, struct err *err);
_must_use_ int output_keep(struct output *o, struct err *err);
/* What was not kept goes. OUTPUT_NONE is fine. */
void output_done(struct output *o);
