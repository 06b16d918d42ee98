/* SPDX-License-Identifier: Apache-2.0 */
/* list - looking at containers: list, state. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "cli/oci/engine.h"
#include "cli/oci/runtime.h"
#include "cli/table.h"

enum { PASSWD_MAX = 1 << 20 };

int oci_do_state(struct runtime *rt, const struct cli_args *args, struct err *err) {
        _cleanup_(runtime_container_done) struct runtime_container c;
        int r = runtime_open(rt, args->rest[0], &c, err);

        if (r == 0)
                printf("%s\n", oci_state_json(&c.state, c.status, true, rt->arena));
        return r;
}

/* Name of a user of the host; not by getpwuid(), which loads libraries. */
static const char *user_name(uid_t uid, struct arena *arena) {
        _cleanup_(freep) char *text = NULL;
        const char *number = arena_printf(arena, ":%u:", (unsigned) uid);
        char *rest, *line, *p;
        struct err err;

        if (uid == 0)
                return "root";
        if (fs_read_file(AT_FDCWD, "/etc/passwd", PASSWD_MAX, &text, NULL, &err) == 0)
                for (rest = text; (line = strsep(&rest, "\n"));) {
                        p = strchr(line, ':');
                        p = p ? strchr(p + 1, ':') : NULL;
                        if (p && str_after(p, number))
                                return arena_strndup(arena, line, strcspn(line, ":"));
                }
        return arena_printf(arena, "#%u", (unsigned) uid);
}

static void add_row(struct table *table, const struct oci_glimpse *g, struct arena *arena) {
        const struct oci_state *s = &g->state;
        const char *pid = arena_printf(arena, "%d", g->status == OCI_STOPPED ? 0 : (int) s->pid);

        table_add(table, s->id, pid, oci_status_name(g->status), s->bundle, s->created, user_name(g->owner, arena),
                  str_empty(s->engine) ? "lxc" : s->engine, NULL);
}

static int look(struct runtime *rt, struct runtime_container *c, const char *id, struct oci_glimpse *ret,
                struct err *err) {
        struct stat st;
        int r = runtime_look(rt, id, c, err);

        if (r < 0)
                return r;
        if (fstat(c->dir.fd, &st) < 0)
                return err_sys(err, errno, "look at the state folder %s/%s", c->dir.root, id);
        *ret = (struct oci_glimpse){ .state = c->state, .status = c->status, .owner = st.st_uid };
        return 0;
}

/* To @list, or NULL: to @table. */
static void add(struct runtime *rt, struct runtime_container *c, const char *id, json_t *list, struct table *table) {
        struct oci_glimpse g = { 0 };
        struct err err;
        int r = rt->cgroups ? 0 : cgroups_new(&rt->cgroups, &err);

        if (r == 0 && !oci_glance(&c->dir, id, rt->cgroups, rt->arena, &g))
                r = look(rt, c, id, &g, &err);
        /* Others may remove it meanwhile; what can't be read must not hide the rest. */
        if (r < 0 && r != -ERR_NOT_FOUND)
                rt->oci.warn(err.msg, rt->oci.userdata);
        if (r < 0)
                return;
        if (list)
                (void) json_array_append_new(list, oci_state_object(&g.state, g.status, user_name(g.owner, rt->arena)));
        else
                add_row(table, &g, rt->arena);
}

static const char *text_of(const json_t *o, const char *key, struct arena *arena) {
        const char *text = json_string_value(json_object_get(o, key));

        return arena_strdup(arena, text ? text : "");
}

/* Those of the other program; Proxmox' are among ours. */
static void add_cruns(struct runtime *rt, bool quiet, json_t *list, struct table *table) {
        _cleanup_(json_unrefp) json_t *all = NULL;
        struct arena *a = rt->arena;
        json_t *one;
        size_t i;

        engine_list_crun(rt, &all);
        json_array_foreach(all, i, one) {
                const char *pid = arena_printf(a, "%lld", (long long) json_integer_value(json_object_get(one, "pid")));

                (void) json_object_set_new(one, "engine", json_string("crun"));
                if (quiet)
                        printf("%s\n", text_of(one, "id", a));
                else if (list)
                        (void) json_array_append(list, one);
                else
                        table_add(table, text_of(one, "id", a), pid, text_of(one, "status", a),
                                  text_of(one, "bundle", a), text_of(one, "created", a), text_of(one, "owner", a),
                                  "crun", NULL);
        }
}

int oci_do_list(struct runtime *rt, const struct cli_args *args, struct err *err) {
        _cleanup_(runtime_container_done) struct runtime_container c = { .dir = OCI_DIR_EMPTY };
        _cleanup_(json_unrefp) json_t *list = json_array();
        _cleanup_(table_done) struct table table;
        const char **ids = NULL;
        bool json;
        int r = runtime_format(args, &json, err);

        table_init(&table, rt->arena, "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER", "ENGINE", NULL);
        if (r == 0)
                r = oci_list(rt->oci.root, rt->arena, &ids, err);
        if (r == 0 && ids && *ids)
                r = oci_root_open(rt->oci.root, &c.dir, err);
        if (r < 0)
                return r;
        for (; ids && *ids; ids++)
                if (args_has(args, "quiet"))
                        printf("%s\n", *ids);
                else
                        add(rt, &c, *ids, json ? list : NULL, &table);
        add_cruns(rt, args_has(args, "quiet"), json ? list : NULL, &table);
        if (args_has(args, "quiet"))
                return 0;
        if (json)
                (void) json_dumpf(list, stdout, JSON_COMPACT);
        else
                table_print(&table, stdout);
        if (json)
                (void) putchar('\n');
        return 0;
}
