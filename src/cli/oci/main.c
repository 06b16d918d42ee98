/* SPDX-License-Identifier: Apache-2.0 */
/* main - proxmox-lxcri: the OCI runtime. Global options, a verb, its own options; global ones are taken behind the verb
 * as well. All other verbs are proxmox-lxcri-admin's: engines start this program several times for each container, so
 * it loads no library but the C library. */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "cli/oci/engine.h"
#include "cli/oci/programs.h"
#include "cli/oci/runtime.h"
#include "oci/config.h"

enum { ARENA_MAX = 256 << 20, EXIT_EXEC_FAILED = 255 };

typedef int verb_fn(struct runtime *rt, const struct cli_args *args, struct err *err);

static const struct {
        const struct cli_verb *verb;
        verb_fn *fn;
} verbs[] = {
#define X(word) { &oci_verb_##word, oci_do_##word },
        OCI_VERBS(X)
#undef X
};

static verb_fn *find_fn(const char *name, const struct cli_verb **ret_verb) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (str_eq(verbs[i].verb->name, name)) {
                        *ret_verb = verbs[i].verb;
                        return verbs[i].fn;
                }
        return NULL;
}

static int run_admin(char *const *argv, struct arena *arena) {
        const char *path = program_path("proxmox-lxcri-admin", arena);

        (void) execv(path, argv);
        fprintf(stderr, "proxmox-lxcri: %s: %s\n", path, strerror(errno));
        return EXIT_FAILED;
}

static int print_version(void) {
        printf("proxmox-lxcri version %s\nspec: %s\nliblxc: %s\nlibseccomp: %s\n", PROJECT_VERSION, OCI_VERSION,
               LXC_VERSION, SECCOMP_VERSION);
        return EXIT_FINE;
}

static void warn(const char *text, void *userdata) {
        oci_log_write(userdata, OCI_LOG_WARNING, text);
}

/* What the parts below say of their own accord. */
static void log_line(enum log_level level, const char *text, void *userdata) {
        static const enum oci_log_level levels[] = { [LOG_LEVEL_DEBUG] = OCI_LOG_DEBUG,
                                                     [LOG_LEVEL_INFO] = OCI_LOG_INFO,
                                                     [LOG_LEVEL_WARN] = OCI_LOG_WARNING,
                                                     [LOG_LEVEL_ERROR] = OCI_LOG_ERROR };

        oci_log_write(userdata, levels[level], text);
}

static int apply_cgroup_manager(struct runtime *rt, const char *name, struct err *err) {
        if (str_eq(name, "systemd"))
                rt->oci.systemd_cgroup = true;
        else if (str_eq(name, "disabled"))
                rt->oci.no_cgroup = true;
        else if (!str_eq(name, "cgroupfs"))
                return err_set(err, ERR_INVALID, "invalid cgroup-manager: %.64s", name);
        return 0;
}

/* Options are taken from behind the verb first, then from before it. */
static int apply_globals(struct runtime *rt, const struct cli_args *args, struct err *err) {
        const char *value;

        if ((value = args_value(args, "root")))
                rt->oci.root = value;
        if (args_has(args, "systemd-cgroup"))
                rt->oci.systemd_cgroup = true;
        if ((value = args_value(args, "rootless")) && !str_eq(value, "auto") && !str_eq(value, "true") &&
            !str_eq(value, "false"))
                return err_set(err, ERR_INVALID, "invalid rootless: %.64s: it is true, false or auto", value);
        if ((value = args_value(args, "cgroup-manager")))
                return apply_cgroup_manager(rt, value, err);
        return 0;
}

static const char *either(const struct cli_args *args, const struct cli_args *globals, const char *name) {
        const char *value = args_value(args, name);

        return value ? value : args_value(globals, name);
}

static int open_log(struct runtime *rt, const struct cli_args *args, const struct cli_args *globals, struct err *err) {
        return oci_log_init(&rt->log, either(args, globals, "log"), either(args, globals, "log-format"),
                            either(args, globals, "log-level"), args_has(args, "debug") || args_has(globals, "debug"),
                            err);
}

/* As runc: how it is used goes to standard output, what is wrong to the log. */
static int fail_usage(struct runtime *rt, const struct cli_verb *verb, const char *text) {
        printf("Incorrect Usage: %s\n\n", text);
        verb_print_help(verb, oci_global_options);
        oci_log_fail(&rt->log, text);
        return EXIT_FAILED;
}

static int check_arguments(struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args) {
        bool few = args->n_rest < verb->min_args;
        char text[128];

        if (!few && args->n_rest <= verb->max_args)
                return EXIT_FINE;
        (void) snprintf(text, sizeof(text), "proxmox-lxcri: \"%s\" requires %s %u argument(s)", verb->name,
                        verb->min_args == verb->max_args ? "exactly"
                        : few                            ? "a minimum of"
                                                         : "a maximum of",
                        few ? verb->min_args : verb->max_args);
        return fail_usage(rt, verb, text);
}

static int run_verb(struct runtime *rt, const struct cli_verb *verb, verb_fn *fn, const struct cli_args *globals,
                    char *const *argv) {
        static struct cli_args args;
        struct err err, usage;
        enum engine engine = ENGINE_LXC;
        int r, parsed = args_parse(&args, argv, verb->options, oci_global_options, verb->stop_at_args, &usage);

        if (parsed == 0 && args_has(&args, "help")) {
                verb_print_help(verb, oci_global_options);
                return EXIT_FINE;
        }
        r = open_log(rt, &args, globals, &err);
        if (r == 0 && parsed < 0)
                return fail_usage(rt, verb, usage.msg);
        if (r == 0)
                r = apply_globals(rt, globals, &err);
        if (r == 0)
                r = apply_globals(rt, &args, &err);
        if (r == 0 && (r = check_arguments(rt, verb, &args)) != EXIT_FINE)
                return r;
        if (r == 0)
                r = engine_choose(rt, verb, &args, globals, &engine, &err);
        if (r == 0 && engine == ENGINE_PROXMOX)
                r = engine_open_proxmox(rt, &err);
        if (r == 0) {
                r = engine == ENGINE_CRUN ? engine_run_crun(rt, verb, &args, globals, &err) : fn(rt, &args, &err);
                if (r < 0 && fn == oci_do_exec) {
                        (void) err_wrap(&err, "exec failed");
                        oci_log_fail(&rt->log, err.msg);
                        return EXIT_EXEC_FAILED;
                }
        }
        if (r < 0)
                oci_log_fail(&rt->log, err.msg);
        return r < 0 ? EXIT_FAILED : r;
}

static int run(struct runtime *rt, char **argv) {
        static struct cli_args globals;
        static char help[] = "--help";
        const struct cli_verb *verb;
        struct err err;
        verb_fn *fn;

        if (args_parse(&globals, argv + 1, oci_global_options, NULL, true, &err) < 0)
                return run_admin(argv, rt->arena); /* one of its options, or it says what is wrong */
        if (args_has(&globals, "version"))
                return print_version();
        if (globals.n_rest == 0 || args_has(&globals, "help"))
                return run_admin((char *[]){ argv[0], help, NULL }, rt->arena);
        fn = find_fn(globals.rest[0], &verb);
        if (!fn)
                return run_admin(argv, rt->arena);
        while (*argv != globals.rest[0])
                argv++;
        return run_verb(rt, verb, fn, &globals, argv + 1);
}

int main(int argc, char **argv) {
        struct runtime rt = { .log.fd = -1, .arena = arena_new(ARENA_MAX), .argv = argv };
        int status;

        if (argc < 1)
                return EXIT_USAGE;
        rt.oci = (struct oci){ .root = OCI_DEFAULT_ROOT, .arena = rt.arena, .warn = warn, .userdata = &rt.log };
        rt.oci.init_path = program_path("proxmox-lxcri-init", rt.arena);
        log_set_sink(log_line, &rt.log);
        status = run(&rt, argv);
        if (fflush(stdout) != 0 && status == EXIT_FINE)
                status = EXIT_FAILED; /* the disk is full, or nobody reads */
        return status;
}
