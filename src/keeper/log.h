/* SPDX-License-Identifier: Apache-2.0 */
/* log - from a container's output to its CRI log file. What is in a pipe is looked at with tee(2), written to the file,
 * and only then taken out of the pipe: the pipe is the buffer, so a keeper that is killed loses nothing (a batch of
 * lines may be written twice). A terminal can't be looked at without reading; there a kill can lose what was just read.
 * Format: "<RFC3339Nano> stdout|stderr F|P <content>\n"; P: the line goes on in the next entry of the stream. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "keeper/loop.h"

enum {
        LOG_CHUNK_MAX = 16384, /* content bytes of one entry, as containerd's default */
        LOG_PARTIAL_MS = 200,  /* an unfinished line is written as P after this long */
};

struct log_file {
        int fd;      /* -1: discard */
        bool known;  /* false: no file was named yet (after a restart of the keeper): leave the output in the pipe */
        bool failed; /* writing failed and was reported */
};

struct log_stream {
        struct source source;            /* first: the loop's callbacks cast it back */
        struct log_stream *next_partial; /* list of streams with an unfinished line */
        struct log_file *file;
        struct loop *loop;
        struct attachment *attached; /* clients that get a copy; see attach.h */
        const char *name;            /* "stdout", "stderr" */
        int fd;                      /* owned; -1: closed */
        bool terminal, partial;
        uint64_t partial_since_ns;
        char *held; /* terminal: an unfinished line; NULL else */
        uint32_t held_len;
        void (*closed)(struct log_stream *s); /* no more writers; called once */
};

/* Start pumping @fd (taken). The file's descriptor may be set later. */
int log_stream_open(struct log_stream *s, struct loop *l, int fd, bool terminal); /* 0 or -errno */
/* Write what is there now; at the end of a container @final also writes an unfinished line. */
void log_stream_pump(struct log_stream *s, bool final);
void log_stream_close(struct log_stream *s, struct loop *l);
/* Give @f its file (taken; -1: discard). A torn last line, left by a keeper killed in the middle of a write, is cut
 * off. */
void log_file_set(struct log_file *f, int fd);
/* Milliseconds until log_flush_partial() has something to do, -1: nothing. */
int log_partial_timeout_ms(void);
void log_flush_partial(void);
