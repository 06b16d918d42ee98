/* SPDX-License-Identifier: Apache-2.0 */
/* doctor - what this host has and lacks for running pods, and what to do about it. */
#include "cli/doctor.h"

#include <assert.h>
#include <config.h>
#include <stdarg.h>
#include <stdio.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/verbs.h"

void doctor_add(struct doctor *d, enum doctor_level level, const char *name, const char *advice, const char *fmt, ...) {
        struct doctor_finding *f = &d->findings[d->n];
        char text[512];
        va_list ap;

        assert(d->n < DOCTOR_FINDINGS_MAX);
        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        *f = (struct doctor_finding){ level, name, arena_strdup(d->arena, text), level == DOCTOR_OK ? NULL : advice };
        d->n++;
}

static const char *string_of(json_t *config, struct arena *a, const char *key, const char *fallback) {
        const char *s = json_string_value(json_object_get(config, key));

        return s ? arena_strdup(a, s) : fallback;
}

static void take_config(struct doctor *d, const char *text) {
        static const char *const bin_dirs[] = { "/opt/cni/bin", "/usr/lib/cni", NULL };
        json_t *config = text ? json_loads(text, 0, NULL) : NULL, *dirs = json_object_get(config, "cni-bin-dir"), *dir;
        size_t i;

        d->root = string_of(config, d->arena, "root", "/var/lib/proxmox-lxcri");
        d->state = string_of(config, d->arena, "state", "/run/proxmox-lxcri");
        d->cni_conf_dir = string_of(config, d->arena, "cni-conf-dir", "/etc/cni/net.d");
        d->keeper_path = string_of(config, d->arena, "keeper-path", LIBEXECDIR "/proxmox-lxcri-keeper");
        d->init_path = string_of(config, d->arena, "init-path", LIBEXECDIR "/proxmox-lxcri-init");
        d->cni_bin_dirs = bin_dirs;
        if (json_array_size(dirs) > 0) {
                const char **list = arena_array(d->arena, const char *, json_array_size(dirs) + 1);

                json_array_foreach(dirs, i, dir) list[i] =
                        arena_strdup(d->arena, json_string_value(dir) ? json_string_value(dir) : "");
                d->cni_bin_dirs = list;
        }
        json_decref(config);
}

/* Does it answer? */
static bool check_daemon(struct doctor *d, struct cli *cli) {
        Proxmoxlxcri__V1__InfoResponse *info;
        struct err err;

        if (!cli->timeout_ms)
                cli->timeout_ms = 5000;
        if (cri_info(cli, &info, &err) == 0) {
                take_config(d, info->config);
                doctor_add(d, DOCTOR_OK, "daemon", NULL, "%s answers on %s", info->version, cli->socket);
                return true;
        }
        take_config(d, NULL);
        doctor_add(d, DOCTOR_WARN, "daemon",
                   "start it: \"systemctl start proxmox-lxcrid\", or \"proxmox-lxcrid\" by hand; or give --socket",
                   "does not answer on %s", cli->socket);
        return false;
}

static void print_text(const struct doctor *d) {
        static const char *const names[] = { "OK", "WARN", "FAIL" };
        unsigned counts[3] = { 0 };

        for (size_t i = 0; i < d->n; i++) {
                const struct doctor_finding *f = &d->findings[i];

                counts[f->level]++;
                printf("%-4s  %-18s  %s\n", names[f->level], f->name, f->found);
                if (f->advice)
                        printf("%24s  -> %s\n", "", f->advice);
        }
        printf("%u fine, %u to look at, %u that must be mended\n", counts[DOCTOR_OK], counts[DOCTOR_WARN],
               counts[DOCTOR_FAIL]);
}

static void print_json(const struct doctor *d) {
        static const char *const names[] = { "ok", "warn", "fail" };
        json_t *list = json_array();

        for (size_t i = 0; i < d->n; i++)
                (void) json_array_append_new(list, json_pack("{s:s s:s s:s s:s?}", "check", d->findings[i].name,
                                                             "level", names[d->findings[i].level], "found",
                                                             d->findings[i].found, "advice", d->findings[i].advice));
        json_print(list);
}

static int run(struct cli *cli, const struct cli_args *args) {
        static struct doctor d;
        int status = EXIT_FINE;
        bool answers;

        d.arena = cli->arena;
        answers = check_daemon(&d, cli);
        doctor_check_kernel(&d);
        doctor_check_cgroups(&d);
        doctor_check_network(&d);
        doctor_check_host(&d);
        if (answers)
                doctor_check_proxmox(&d, cli);
        if (cli->json)
                print_json(&d);
        else
                print_text(&d);
        for (size_t i = 0; i < d.n; i++)
                if (d.findings[i].level == DOCTOR_FAIL)
                        status = EXIT_FAILED;
        return status;
}

const struct cli_verb verb_doctor = {
        .name = "doctor",
        .args = "",
        .help = "Check what this host has and lacks for running pods, and what to do",
        .description = "Works without the daemon; with it, looks where its configuration says, and asks Proxmox VE "
                       "where that is configured.\n"
                       "Exits with 1 when something must be mended.\n"
                       "With -o json: a list of {check, level: ok|warn|fail, found, advice}.",
        .fn = run,
};
