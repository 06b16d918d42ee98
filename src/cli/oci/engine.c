/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"

static const char *crun_root(const struct runtime *rt) {
        return arena_printf(rt->arena, "%s.crun", rt->oci.root);
}

static bool has_container(const struct runtime *rt, const char *root, const char *id) {
        return oci_id_is_valid(id) && access(arena_printf(rt->arena, "%s/%s", root, id), F_OK) == 0;
}

int engine_choose(struct runtime *rt, const struct cli_verb *verb, const struct cli_args *args,
                  const struct cli_args *globals, bool *ret_crun, struct err *err) {
        const char *name = args_value(args, "engine"), *id = args->rest[0];
        bool makes = verb == &oci_verb_create || verb == &oci_verb_run || verb == &oci_verb_restore;

        name = name ? name : args_value(globals, "engine");
        *ret_crun = str_eq(name, "crun");
        if (name && !*ret_crun && !str_eq(name, "lxc"))
                return err_set(err, ERR_INVALID, "invalid engine: %.32s: it is lxc or crun", name);
        if (!name && id && !makes && !has_container(rt, rt->oci.root, id))
                *ret_crun = has_container(rt, crun_root(rt), id);
        /* What both have of the same name, nobody could tell apart. */
        if (makes && id && has_container(rt, *ret_crun ? rt->oci.root : crun_root(rt), id))
                return err_set(err, ERR_EXISTS, "container with given ID already exists, of another engine");
        return 0;
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
