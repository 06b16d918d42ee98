/* SPDX-License-Identifier: Apache-2.0 */
/* cli - the command line but for the OCI runtime (oci/): a table of verbs, one file each. Single-threaded; a verb runs
 * and the process ends, so what it takes from the arena is not given back one by one. Exit status: 0 fine, 1 failed, 2
 * wrong usage; "pod run" and "pod exec" pass their program's, and 125 is our own failure. */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "cli/verb.h"
#include "grpc/client.h"

#define CLI_DEFAULT_SOCKET "/run/proxmox-lxcri/proxmox-lxcri.sock"

struct cli {
        const char *socket;
        bool json;
        bool table;                 /* asked for; else both are false */
        uint64_t timeout_ms;        /* of one request; 0: the verb's own */
        struct grpc_client *client; /* connected at the first call */
        struct arena *arena;
};

/* Every verb, NULL last. */
extern const struct cli_verb *const cli_verbs[];
extern const struct cli_option cli_global_options[];

/* One RPC; connects when needed. The time limit is --timeout, else @timeout_ms (0: none). */
enum { CLI_TIMEOUT_MS = 120000 };
_must_use_ int cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *response, uint64_t timeout_ms, void *ret, struct err *err);
_must_use_ int cli_connect(struct cli *cli, struct err *err);

/* Print "proxmox-lxcri: <error>" and what to do; returns EXIT_FAILED. */
int cli_fail(const struct err *err);
/* Print a text and how to use the verb; returns EXIT_USAGE. */
_printf_(2, 3) int cli_usage(const struct cli_verb *verb, const char *fmt, ...);
void cli_print_verb_help(const struct cli_verb *verb);

/* Set by SIGINT and SIGTERM once cli_catch_signals() was called; a second one ends the process at once. */
void cli_catch_signals(void);
bool cli_interrupted(void);
void cli_forget_interrupt(void); /* so that cleaning up can make calls */
