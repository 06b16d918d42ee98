/* SPDX-License-Identifier: Apache-2.0 */
/* main - proxmox-lxcri-admin, which people call as proxmox-lxcri: all verbs but the OCI runtime's. Global options, then
 * a verb of one or two words, then its own options. Global options are taken behind the verb as well. */
#include <config.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "cli/verbs.h"

enum { ARENA_MAX = 256 << 20, SECONDS_MAX = 86400 * 365 };

void cli_print_verb_help(const struct cli_verb *verb) {
        verb_print_help(verb, cli_globals(verb));
}

/* Of all verbs those of Proxmox are one line. */
static bool is_listed(const struct cli_verb *verb, const char *group) {
        const char *rest = str_after(verb->name, group ?: CLI_PROXMOX);
        bool below = rest && *rest == ' ';

        return !verb->hidden && (group ? below : !below);
}

static void print_help(const char *group) {
        printf("usage: proxmox-lxcri [OPTIONS] VERB ...\n\nLXC containers as pods, which proxmox-lxcrid serves, and as "
               "an OCI runtime's.\n\nverbs:\n");
        for (size_t i = 0; cli_verbs[i]; i++)
                if (is_listed(cli_verbs[i], group))
                        printf("  %-*s %s\n", group ? 29 : 14, cli_verbs[i]->name, cli_verbs[i]->help);
        if (!group)
                printf("  %-14s %s\n", CLI_PROXMOX " ...", "Snapshots, backups and more of pods' Proxmox containers");
        printf("\noptions:\n");
        verb_print_options(cli_global_options);
        if (!group) {
                printf("\noptions of the OCI runtime, create to features:\n");
                verb_print_options(oci_global_options);
        }
        printf("\n\"proxmox-lxcri VERB --help\" tells more.\n");
}

int cli_usage(const struct cli_verb *verb, const char *fmt, ...) {
        va_list ap;

        fprintf(stderr, "proxmox-lxcri %s: ", verb->name);
        va_start(ap, fmt);
        (void) vfprintf(stderr, fmt, ap);
        va_end(ap);
        fprintf(stderr, "\nusage: proxmox-lxcri %s %s    (--help tells more)\n", verb->name, verb->args);
        return EXIT_USAGE;
}

/* How many of @words are @name's, if they begin with all of it; else 0. */
static size_t words_of(const char *name, const char *const *words, size_t n) {
        for (size_t i = 0; i < n; i++) {
                size_t len = strcspn(name, " ");

                if (strlen(words[i]) != len || strncmp(words[i], name, len) != 0)
                        return 0;
                if (!name[len])
                        return i + 1;
                name += len + 1;
        }
        return 0;
}

/* The verb that @words begin with; @ret_words is how many of them are its name. */
static const struct cli_verb *find_verb(const char *const *words, size_t n, size_t *ret_words) {
        const struct cli_verb *found = NULL;

        for (size_t i = 0; cli_verbs[i]; i++) {
                size_t matched = words_of(cli_verbs[i]->name, words, n);

                if (matched > *ret_words) {
                        *ret_words = matched;
                        found = cli_verbs[i];
                }
        }
        return found;
}

/* Do verbs begin with @prefix and a blank? */
static bool is_group(const char *prefix) {
        for (size_t i = 0; cli_verbs[i]; i++) {
                const char *rest = str_after(cli_verbs[i]->name, prefix);

                if (rest && *rest == ' ')
                        return true;
        }
        return false;
}

/* The longest group that @words begin with, "proxmox snapshot"; NULL: none. @ret_words: how many of them. */
static const char *find_group(struct arena *arena, const char *const *words, size_t n, size_t *ret_words) {
        const char *found = NULL, *prefix = "";

        for (size_t i = 0; i < n; i++) {
                prefix = arena_printf(arena, "%s%s%s", prefix, i > 0 ? " " : "", words[i]);
                if (!is_group(prefix))
                        break;
                found = prefix;
                *ret_words = i + 1;
        }
        return found;
}

static int apply_globals(struct cli *cli, const struct cli_args *args) {
        const char *value;
        uint64_t seconds;

        if ((value = args_value(args, "socket"))) {
                const char *path = str_after(value, "unix://");

                cli->socket = path ? path : value;
        }
        if ((value = args_value(args, "output"))) {
                cli->json = str_eq(value, "json");
                cli->table = str_eq(value, "table");
                if (!cli->json && !cli->table) {
                        fprintf(stderr, "proxmox-lxcri: --output is table or json, not \"%.64s\"\n", value);
                        return EXIT_USAGE;
                }
        }
        if ((value = args_value(args, "timeout"))) {
                if (!str_to_u64(value, &seconds) || seconds == 0 || seconds > SECONDS_MAX) {
                        fprintf(stderr, "proxmox-lxcri: --timeout is a number of seconds, not \"%.64s\"\n", value);
                        return EXIT_USAGE;
                }
                cli->timeout_ms = seconds * 1000;
        }
        return EXIT_FINE;
}

static int run_verb(struct cli *cli, const struct cli_verb *verb, char *const *argv) {
        static struct cli_args args;
        struct err err;
        int status;

        if (!verb->fn) {
                fprintf(stderr,
                        "proxmox-lxcri: \"%s\" takes none of the options before it; proxmox-lxcri %s --help lists "
                        "its\n",
                        verb->name, verb->name);
                return EXIT_USAGE;
        }
        if (args_parse(&args, argv, verb->options, cli_global_options, verb->stop_at_args, &err) < 0)
                return cli_usage(verb, "%s", err.msg);
        if (args_has(&args, "help")) {
                cli_print_verb_help(verb);
                return EXIT_FINE;
        }
        if ((status = apply_globals(cli, &args)) != EXIT_FINE)
                return status;
        if (args.n_rest < verb->min_args)
                return cli_usage(verb, "an argument is missing");
        if (args.n_rest > verb->max_args)
                return cli_usage(verb, "too many arguments");
        return verb->fn(cli, &args);
}

static int run(struct cli *cli, char *const *argv) {
        static struct cli_args args;
        const struct cli_verb *verb;
        const char *group;
        size_t words = 0;
        struct err err;
        int status;

        if (args_parse(&args, argv, cli_global_options,
                       (const struct cli_option[]){ { 0, "version", NULL, "" }, { 0 } }, true, &err) < 0) {
                fprintf(stderr, "proxmox-lxcri: %s; --help lists them\n", err.msg);
                return EXIT_USAGE;
        }
        if (args_has(&args, "version")) {
                printf("proxmox-lxcri version %s\n", PROJECT_VERSION);
                return EXIT_FINE;
        }
        if (args.n_rest == 0 || args_has(&args, "help") || str_eq(args.rest[0], "help")) {
                print_help(NULL);
                return args.n_rest == 0 && !args_has(&args, "help") ? EXIT_USAGE : EXIT_FINE;
        }
        if ((status = apply_globals(cli, &args)) != EXIT_FINE)
                return status;
        verb = find_verb(args.rest, args.n_rest, &words);
        if (verb) {
                while (*argv != args.rest[words - 1])
                        argv++;
                return run_verb(cli, verb, argv + 1);
        }
        group = find_group(cli->arena, args.rest, args.n_rest, &words);
        if (!group) {
                fprintf(stderr, "proxmox-lxcri: no verb \"%.64s\"; --help lists them\n", args.rest[0]);
                return EXIT_USAGE;
        }
        if (args.n_rest == words || str_eq(args.rest[words], "-h") || str_eq(args.rest[words], "--help")) {
                print_help(group);
                return args.n_rest > words ? EXIT_FINE : EXIT_USAGE;
        }
        fprintf(stderr, "proxmox-lxcri: no verb \"%s %.64s\"; proxmox-lxcri %s --help lists them\n", group,
                args.rest[words], group);
        return EXIT_USAGE;
}

int main(int argc, char **argv) {
        const char *from_env = getenv("PROXMOX_LXCRI_SOCKET");
        struct cli cli = { .socket = str_empty(from_env) ? CLI_DEFAULT_SOCKET : from_env,
                           .arena = arena_new(ARENA_MAX) };
        int status = argc < 1 ? EXIT_USAGE : run(&cli, argv + 1);

        (void) grpc_client_free(cli.client);
        (void) arena_free(cli.arena);
        if (fflush(stdout) != 0) {
                if (errno != EPIPE) /* nobody reads */
                        fprintf(stderr, "proxmox-lxcri: write to standard output: %m\n");
                status = status == EXIT_FINE ? EXIT_FAILED : status;
        }
        return status;
}
