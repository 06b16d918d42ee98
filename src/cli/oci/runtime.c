/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/runtime.h"

#include <regex.h>
#include <string.h>
#include "base/str.h"

int runtime_format(const struct cli_args *args, bool *ret_json, struct err *err) {
        const char *format = args_value(args, "format");

        *ret_json = str_eq(format, "json");
        if (format && !*ret_json && !str_eq(format, "table"))
                return err_set(err, ERR_INVALID, "invalid format option \"%.32s\": it is table or json", format);
        return 0;
}

int runtime_look(struct runtime *rt, const char *id, struct runtime_container *ret, struct err *err) {
        int r;

        if (ret->dir.root_fd < 0)
                r = oci_dir_open(rt->oci.root, id, false, &ret->dir, err);
        else
                r = oci_dir_next(&ret->dir, id, err);
        if (r == 0)
                r = oci_state_read(&ret->dir, rt->arena, &ret->state, err);
        if (r == 0 && !rt->cgroups)
                r = cgroups_new(&rt->cgroups, err);
        ret->cgroups = rt->cgroups;
        if (r == 0)
                ret->status = oci_dir_status(&ret->dir, &ret->state, ret->cgroups);
        if (r == 0 && *ret->state.engine)
                ret->state.exit_status = oci_dir_exit_status(&ret->dir, &ret->state);
        return r;
}

int runtime_open(struct runtime *rt, const char *id, struct runtime_container *ret, struct err *err) {
        *ret = (struct runtime_container){ .dir = OCI_DIR_EMPTY };
        return runtime_look(rt, id, ret, err);
}

void runtime_container_done(struct runtime_container *c) {
        oci_dir_done(&c->dir);
}

/* Those of @all that match @pattern, to @ids. */
static int match(const char *pattern, const char *const *all, const char **ids, size_t *n, struct err *err) {
        regex_t re;
        char text[128];
        int r = regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB);

        if (r != 0) {
                (void) regerror(r, &re, text, sizeof(text));
                return err_set(err, ERR_INVALID, "regular expression \"%.256s\": %s", pattern, text);
        }
        for (; *all; all++)
                if (regexec(&re, *all, 0, NULL, 0) == 0)
                        ids[(*n)++] = *all;
        regfree(&re);
        return 0;
}

int runtime_ids(const struct runtime *rt, const struct cli_args *args, size_t n, const char *const **ret,
                struct err *err) {
        const char **all = NULL, **ids;
        size_t n_all = 0, n_ids = 0;
        int r;

        if (!args_has(args, "regex")) {
                ids = arena_array(rt->arena, const char *, n + 1);
                for (size_t i = 0; i < n; i++)
                        ids[i] = args->rest[i];
                *ret = ids;
                return 0;
        }
        r = oci_list(rt->oci.root, rt->arena, &all, err);
        if (r < 0)
                return r;
        while (all[n_all])
                n_all++;
        ids = arena_array(rt->arena, const char *, n *n_all + 1);
        for (size_t i = 0; i < n; i++)
                if ((r = match(args->rest[i], all, ids, &n_ids, err)) < 0)
                        return r;
        *ret = ids;
        return 0;
}
