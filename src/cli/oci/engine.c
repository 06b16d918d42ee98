/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/proc.h"
#include "base/str.h"
#include "base/strbuf.h"

enum { LIST_MAX = 16 << 20, LIST_TIMEOUT_MS = 10000 };

static const char *crun_root(const struct runtime *rt) {
        return arena_printf(rt->arena, "%s.crun", rt->oci.root);
}

static bool has_container(const struct runtime *rt, const char *root, const char *id) {
        return oci_id_is_valid(id) && access(arena_printf(rt->arena, "%s/%s", root, id), F_OK) == 0;
}

const char *const engine_names[] = { [ENGINE_LXC] = "lxc", [ENGINE_CRUN] = "crun", [ENGINE_PROXMOX] = "proxmox" };

int engine_find(const char *name, enum engine *ret, struct err *err) {
        for (size_t i = 0; i < ELEMENTSOF(engine_names); i++)
                if (str_eq(name, engine_names[i])) {
                        *ret = (enum engine) i;
                        return 0;
                }
        return err_set(err, ERR_INVALID, "invalid engine: %.32s: it is lxc, crun or proxmox", name);
}

/* What can't be read is for the verb to complain of; one whose state is damaged is told by its claim. */
static bool is_proxmox(const struct runtime *rt, const char *id) {
        _cleanup_(oci_dir_done) struct oci_dir d = OCI_DIR_EMPTY;
        struct oci_state s = { 0 };
        struct err ignored;

        if (oci_dir_open(rt->oci.root, id, false, &d, &ignored) < 0)
                return false;
        if ((oci_state_read(&d, rt->arena, &s, &ignored) < 0 || str_empty(s.created)) &&
            oci_claim_read(&d, rt->arena, &s, &ignored) < 0)
                return false;
        return str_eq(s.engine, engine_names[ENGINE_PROXMOX]);
}

/* Only these ask Proxmox of a container that is there; --regex may name any. */
static bool needs_proxmox(const struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args) {
        const char **ids = NULL;
        struct err ignored;

        if (verb != &oci_verb_delete && verb != &oci_verb_update)
                return false;
        for (size_t i = 0; i < args->n_rest; i++)
                if (is_proxmox(rt, args->rest[i]))
                        return true;
        if (!args_has(args, "regex") || oci_list(rt->oci.root, rt->arena, &ids, &ignored) < 0)
                return false;
        for (; *ids; ids++)
                if (is_proxmox(rt, *ids))
                        return true;
        return false;
}

static int choose_for_new(const struct runtime *rt, const char *id, enum engine engine, struct err *err) {
        /* What both have of the same name, nobody could tell apart. */
        if (id && has_container(rt, engine == ENGINE_CRUN ? rt->oci.root : crun_root(rt), id))
                return err_set(err, ERR_EXISTS, "container with given ID already exists, of another engine");
        return 0;
}

/* What Proxmox' own tools are for, or what it has not. */
static int check_verb(const struct runtime *rt, const struct cli_verb *verb, const char *id, struct err *err) {
        if ((verb == &oci_verb_checkpoint || verb == &oci_verb_events) && id && is_proxmox(rt, id))
                return err_set(err, ERR_UNIMPLEMENTED, "the engine proxmox has no verb \"%s\": %s", verb->name,
                               verb == &oci_verb_events ? "Proxmox keeps statistics of the container itself"
                                                        : "Proxmox can't checkpoint containers");
        return 0;
}

/* Whose container it is decides: the option is for those of crun alone. */
static enum engine choose_for_old(const struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args,
                                  bool named, enum engine engine) {
        const char *id = args->rest[0];

        if (engine == ENGINE_CRUN)
                return ENGINE_CRUN;
        if (!named && id && !has_container(rt, rt->oci.root, id) && has_container(rt, crun_root(rt), id))
                return ENGINE_CRUN;
        return needs_proxmox(rt, verb, args) ? ENGINE_PROXMOX : ENGINE_LXC;
}

int engine_choose(struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args,
                  const struct cli_args *globals, enum engine *ret, struct err *err) {
        const char *name = args_value(args, "engine");
        int r;

        *ret = ENGINE_LXC;
        name = name ? name : args_value(globals, "engine");
        r = name ? engine_find(name, ret, err) : 0;
        if (r < 0)
                return r;
        if (verb == &oci_verb_restore && *ret == ENGINE_PROXMOX)
                return err_set(err, ERR_UNIMPLEMENTED,
                               "the engine proxmox has no verb \"restore\": Proxmox can't checkpoint containers");
        if (!name && (verb == &oci_verb_create || verb == &oci_verb_run) &&
            (r = engine_by_config(rt, args, ret, err)) < 0)
                return r;
        if (verb == &oci_verb_create || verb == &oci_verb_run || verb == &oci_verb_restore)
                return choose_for_new(rt, args->rest[0], *ret, err);
        *ret = choose_for_old(rt, verb, args, name != NULL, *ret);
        return check_verb(rt, verb, args->rest[0], err);
}

static const struct cli_option *find_option(const struct cli_option *options, const char *name) {
        for (; options && options->name; options++)
                if (str_eq(options->name, name))
                        return options;
        return NULL;
}

struct words {
        struct arena *arena;
        const char **list;
        size_t n;
};

/* Those of @args that are the verb's own, or that are not, but for what we decide. */
static void add_options(struct words *w, const struct cli_args *args, const struct cli_option *own, bool of_verb) {
        for (size_t i = 0; i < args->n_set; i++) {
                const struct cli_option *o = args->set[i].option;

                if (of_verb != (find_option(own, o->name) == o) || str_eq(o->name, "engine") ||
                    str_eq(o->name, "root") || str_eq(o->name, "criu") || str_eq(o->name, "log-level"))
                        continue;
                w->list[w->n++] = o->arg ? arena_printf(w->arena, "--%s=%s", o->name, args->set[i].value)
                                         : arena_printf(w->arena, "--%s", o->name);
        }
}

int engine_run_crun(struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args,
                    const struct cli_args *globals, struct err *err) {
        struct words w = { .arena = rt->arena };

        if (verb == &oci_verb_stop || verb == &oci_verb_mounts || verb == &oci_verb_events ||
            verb == &oci_verb_features)
                return err_set(err, ERR_UNIMPLEMENTED, "the engine crun has no verb \"%s\"", verb->name);
        w.list = arena_array(rt->arena, const char *, globals->n_set + args->n_set + args->n_rest + 4);
        w.list[w.n++] = "crun";
        w.list[w.n++] = arena_printf(rt->arena, "--root=%s", crun_root(rt));
        add_options(&w, globals, NULL, false);
        add_options(&w, args, verb->options, false);
        w.list[w.n++] = verb->name;
        add_options(&w, args, verb->options, true);
        for (size_t i = 0; i < args->n_rest; i++)
                w.list[w.n++] = args->rest[i];
        (void) execvp("crun", (char *const *) (uintptr_t) w.list);
        return err_set(err, ERR_UNAVAILABLE, "engine crun: %s%s", strerror(errno),
                       errno == ENOENT ? "; \"apt install crun\" has it" : "");
}

void engine_list_crun(struct runtime *rt, json_t **ret) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(LIST_MAX), complaints = STRBUF(4096);
        const char *root = crun_root(rt);
        struct err err;
        int status, r;

        *ret = NULL;
        if (access(root, F_OK) < 0)
                return;
        r = proc_run(&(struct proc_run_args){ .path = "/usr/bin/crun",
                                              .argv = (const char *const[]){ "crun", "--root", root, "list", "--format",
                                                                             "json", NULL },
                                              .out = &out,
                                              .err_out = &complaints,
                                              .timeout_ms = LIST_TIMEOUT_MS },
                     &status, &err);
        if (r == 0 && status != 0)
                r = err_set(&err, ERR_INTERNAL, "crun list: status %d: %.512s", status, strbuf_str(&complaints));
        if (r == 0) {
                *ret = json_loadb(out.data, out.len, 0, NULL);
                if (!json_is_array(*ret))
                        r = err_set(&err, ERR_INTERNAL, "crun list: no JSON array");
        }
        if (r < 0)
                rt->oci.warn(err.msg, rt->oci.userdata);
}
