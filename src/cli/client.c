/* SPDX-License-Identifier: Apache-2.0 */
/* client - the connection to the daemon, errors with what to do about them, and interruption. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/str.h"
#include "cli/cli.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int sig) {
        if (interrupted)
                _exit(128 + sig);
        interrupted = 1;
}

void cli_catch_signals(void) {
        struct sigaction sa = { .sa_handler = on_signal }; /* no SA_RESTART: blocking calls end */

        (void) sigaction(SIGINT, &sa, NULL);
        (void) sigaction(SIGTERM, &sa, NULL);
}

bool cli_interrupted(void) {
        return interrupted != 0;
}

void cli_forget_interrupt(void) {
        interrupted = 0;
}

int cli_connect(struct cli *cli, struct err *err) {
        struct stat st;
        int r;

        if (cli->client)
                return 0;
        r = grpc_client_new(cli->socket, &cli->client, err);
        if (r == 0)
                return 0;
        if (stat(cli->socket, &st) < 0 && errno == ENOENT)
                return err_set(err, ERR_UNAVAILABLE,
                               "there is no socket %s: is proxmox-lxcrid running? Start it (\"systemctl start "
                               "proxmox-lxcrid\", or "
                               "\"proxmox-lxcrid &\" where there is no systemd), or give --socket",
                               cli->socket);
        if (access(cli->socket, W_OK) < 0 && errno == EACCES)
                return err_set(err, ERR_DENIED, "no permission for %s: run this as root", cli->socket);
        return err_set(err, ERR_UNAVAILABLE,
                       "nobody answers on %s: proxmox-lxcrid has ended or is ending. Start it again, or give --socket; "
                       "its log says "
                       "why (\"journalctl -u proxmox-lxcrid\")",
                       cli->socket);
}

int cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
             const ProtobufCMessageDescriptor *response, uint64_t timeout_ms, void *ret, struct err *err) {
        ProtobufCMessage *message = NULL;
        int r = cli_connect(cli, err);

        if (r < 0)
                return r;
        r = grpc_client_call(cli->client, method, request, response, cli->timeout_ms ? cli->timeout_ms : timeout_ms,
                             cli->arena, &message, err);
        if (r == 0)
                memcpy(ret, &message, sizeof(message)); /* @ret points to a pointer of the message's own type */
        return r;
}

static const char *hint(const struct err *err) {
        switch (err->code) {
        case ERR_DEADLINE:
                return "it took longer than the time limit; --timeout SECONDS gives it more";
        case ERR_UNIMPLEMENTED:
                return "this daemon can't do that; \"proxmox-lxcri version\" shows both versions";
        case ERR_EXHAUSTED:
                return "something is full; \"proxmox-lxcri doctor\" looks for what";
        case ERR_UNAUTHENTICATED:
                return "give --creds USER:PASSWORD, or \"proxmox-lxcri image login\" before";
        case ERR_INTERNAL:
                return err->sys_errno ? NULL /* of a call of our own */
                                      : "the daemon's log tells more (\"journalctl -u proxmox-lxcrid\")";
        default:
                return NULL;
        }
}

int cli_fail(const struct err *err) {
        const char *what = hint(err);
        struct err shown = *err;

        str_make_printable(shown.msg, "\n\t"); /* it may quote images and registries */
        fprintf(stderr, "proxmox-lxcri: %s\n", shown.msg);
        if (what)
                fprintf(stderr, "  (%s)\n", what);
        return EXIT_FAILED;
}
