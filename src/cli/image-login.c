/* SPDX-License-Identifier: Apache-2.0 */
/* image login, image logout - keep a registry's credentials in a file, and forget them. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "cli/json.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "image/auth-file.h"
#include "proto/admin.pb-c.h"

enum { LINE_MAX_BYTES = 16 * 1024 };

static const struct cli_option login_options[] = {
        { 'u', "username", "NAME", "asked for on the terminal when not given" },
        { 'p', "password", "PASSWORD", "others can see it in the list of processes: better the next" },
        { 0, "password-stdin", NULL, "the first line of standard input is the password" },
        { 0, "authfile", "FILE", "where to keep them (default $REGISTRY_AUTH_FILE, else Podman's auth.json)" },
        { 0, "get-login", NULL, "print the user name that is kept, and do nothing else" },
        { 0 },
};

/* One line without its end; what ends without one counts. */
static int read_line(struct cli *cli, const char **ret, struct err *err) {
        char *line = arena_xalloc(cli->arena, 1, LINE_MAX_BYTES);

        if (!fgets(line, LINE_MAX_BYTES, stdin))
                return err_set(err, ERR_INVALID, "standard input ended before there was an answer");
        if (strlen(line) == LINE_MAX_BYTES - 1)
                return err_set(err, ERR_INVALID, "the line on standard input is too long");
        line[strcspn(line, "\r\n")] = '\0';
        *ret = line;
        return 0;
}

static int ask(struct cli *cli, const char *prompt, bool secret, const char **ret, struct err *err) {
        struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
        sigset_t ending, before;
        int r;

        if (!isatty(STDIN_FILENO))
                return err_set(err, ERR_INVALID, "no terminal to ask on: give --username and --password-stdin");
        if (secret && !terminal_silent()) /* before the prompt: who answers it at once is not shown either */
                return err_sys(err, errno, "switch the terminal's echo off");
        (void) sigemptyset(&ending);
        (void) sigaddset(&ending, SIGINT);
        (void) sigaddset(&ending, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &ending, &before); /* till the wait, which none is to be too early for */
        fprintf(stderr, "%s: ", prompt);
        r = ppoll(&input, 1, NULL, &before) < 0 ? err_set(err, ERR_CANCELLED, "interrupted") : read_line(cli, ret, err);
        (void) sigprocmask(SIG_SETMASK, &before, NULL);
        if (secret) {
                terminal_restore();
                (void) fputc('\n', stderr);
        }
        return r;
}

static int get_credentials(struct cli *cli, const struct cli_args *args, struct image_auth *ret, struct err *err) {
        int r = 0;

        ret->username = args_value(args, "username");
        ret->password = args_value(args, "password");
        if (!ret->username)
                r = ask(cli, "Username", false, &ret->username, err);
        if (r == 0 && args_has(args, "password-stdin"))
                r = read_line(cli, &ret->password, err);
        else if (r == 0 && !ret->password)
                r = ask(cli, "Password", true, &ret->password, err);
        return r;
}

static int check(struct cli *cli, const char *registry, const struct image_auth *auth, struct err *err) {
        Proxmoxlxcri__V1__LogInRequest req = PROXMOXLXCRI__V1__LOG_IN_REQUEST__INIT;
        Proxmoxlxcri__V1__Credentials creds = PROXMOXLXCRI__V1__CREDENTIALS__INIT;
        Proxmoxlxcri__V1__LogInResponse *res;
        int r;

        req.registry = arena_strndup(cli->arena, registry, strcspn(registry, "/"));
        creds.username = (char *) (uintptr_t) auth->username;
        creds.password = (char *) (uintptr_t) auth->password;
        req.credentials = &creds;
        r = cli_call(cli, "/proxmoxlxcri.v1.Admin/LogIn", &req.base, &proxmoxlxcri__v1__log_in_response__descriptor,
                     CLI_TIMEOUT_MS, &res, err);
        if (r == -ERR_UNAUTHENTICATED)
                err->code = ERR_DENIED; /* else it would be said how to give some */
        return r;
}

static int get_login(struct cli *cli, const char *const *files, const char *registry) {
        struct image_auth auth = { 0 };
        struct err err;
        int r = auth_files_find(files, registry, cli->arena, &auth, &err);

        if (r == 0)
                r = err_set(&err, ERR_NOT_FOUND, "no credentials for %s are kept", registry);
        if (r < 0)
                return cli_fail(&err);
        if (cli->json)
                json_print(json_pack("{s:s s:s?}", "registry", registry, "username", auth.username));
        else
                printf("%s\n", auth.username ?: "<token>");
        return EXIT_FINE;
}

static int login(struct cli *cli, const struct cli_args *args) {
        const char **files = auth_files_of_user(args_value(args, "authfile"), cli->arena), *registry = args->rest[0];
        struct image_auth auth = { 0 };
        struct err err;
        int r;

        if (args_has(args, "get-login"))
                return get_login(cli, files, registry);
        if (args_has(args, "password") && args_has(args, "password-stdin"))
                return cli_usage(&verb_image_login, "--password or --password-stdin, not both");
        cli_catch_signals(); /* else one at the password's prompt would leave the terminal silent */
        r = auth_key_check(registry, &err);
        if (r == 0)
                r = get_credentials(cli, args, &auth, &err);
        if (r == 0)
                r = check(cli, registry, &auth, &err);
        if (r == 0)
                r = auth_file_store(files[0], registry, auth.username, auth.password, &err);
        if (r < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        if (cli->json)
                json_print(json_pack("{s:s s:s}", "registry", registry, "authfile", files[0]));
        else
                printf("logged in to %s, kept in %s\n", registry, files[0]);
        return EXIT_FINE;
}

const struct cli_verb verb_image_login = {
        .name = "image login",
        .args = "REGISTRY[/PATH]",
        .help = "Keep a registry's credentials in a file, after a look whether it takes them",
        .description = "The file is one of Podman's and Skopeo's, mode 0600, which \"image pull\" and \"pod run\" "
                       "read; they read\n"
                       "Docker's config.json, too. Credential helpers (credHelpers, credsStore) that the file names "
                       "are asked.\n"
                       "With a PATH the credentials are for the repositories below it. -o json: {registry, "
                       "authfile}; of --get-login\n"
                       "{registry, username}, null for a token.",
        .options = login_options,
        .fn = login,
        .min_args = 1,
        .max_args = 1,
};

static const struct cli_option logout_options[] = {
        { 'a', "all", NULL, "of all registries" },
        { 0, "authfile", "FILE", "where they are kept, as for \"image login\"" },
        { 0 },
};

static int logout(struct cli *cli, const struct cli_args *args) {
        const char *file = auth_files_of_user(args_value(args, "authfile"), cli->arena)[0];
        const char *registry = args->n_rest > 0 ? args->rest[0] : NULL;
        struct err err;
        int r;

        if (args_has(args, "all") == (registry != NULL))
                return cli_usage(&verb_image_logout, registry ? "-a takes no registry" : "which registry? (or -a)");
        r = auth_file_erase(file, registry, &err);
        if (r == 0)
                r = err_set(&err, ERR_NOT_FOUND, "no credentials%s%s are kept in %s", registry ? " for " : "",
                            registry ?: "", file);
        if (r < 0)
                return cli_fail(&err);
        if (cli->json)
                json_print(json_pack("{s:s? s:s}", "registry", registry, "authfile", file));
        else
                printf("credentials%s%s removed from %s\n", registry ? " for " : "", registry ?: "", file);
        return EXIT_FINE;
}

const struct cli_verb verb_image_logout = {
        .name = "image logout",
        .args = "[REGISTRY[/PATH]]",
        .help = "Forget a registry's credentials",
        .description = "-o json: {registry, authfile}, registry null for all.",
        .options = logout_options,
        .fn = logout,
        .max_args = 1,
};
