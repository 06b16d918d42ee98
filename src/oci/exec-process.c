/* SPDX-License-Identifier: Apache-2.0 */
/* exec-process - what an exec runs, as runc puts it together: what neither the file nor an option says is as with the
 * container's own process. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "oci/exec.h"
#include "oci/terminal-proxy.h"
#include "security/caps.h"

enum { MAX_JSON_VALUES = 500000 };

static size_t count(const char *const *list) {
        size_t n = 0;

        while (list && list[n])
                n++;
        return n;
}

static const char *const *join_lists(struct arena *arena, const char *const *a, const char *const *b) {
        size_t n = count(a), m = count(b);
        const char **list = arena_array(arena, const char *, n + m + 1);

        for (size_t i = 0; i < n; i++)
                list[i] = a[i];
        for (size_t i = 0; i < m; i++)
                list[n + i] = b[i];
        return list;
}

static int parse_id(const char *text, const char *what, uint32_t *ret, struct err *err) {
        uint64_t n;

        if (!str_to_u64(text, &n) || n >= UINT32_MAX)
                return err_set(err, ERR_INVALID, "--%s %.64s: not a number of a user or group", what, text);
        *ret = (uint32_t) n;
        return 0;
}

/* "uid[:gid]". */
static int set_user(struct exec *x, const char *text, struct err *err) {
        struct spec_user *u = &x->process.user;
        const char *colon = strchr(text, ':');
        int r = colon ? parse_id(colon + 1, "user", &u->gid, err) : 0;

        if (r < 0)
                return r;
        return parse_id(arena_strndup(x->oci->arena, text, colon ? (size_t) (colon - text) : strlen(text)), "user",
                        &u->uid, err);
}

static int add_groups(struct exec *x, const char *const *groups, struct err *err) {
        struct spec_user *u = &x->process.user;
        size_t n = count(groups);
        gid_t *all;
        int r = 0;

        if (n == 0)
                return 0;
        if (n + u->n_additional_gids > SPEC_MAX_GROUPS)
                return err_set(err, ERR_EXHAUSTED, "more than %d additional groups", SPEC_MAX_GROUPS);
        all = arena_array(x->oci->arena, gid_t, u->n_additional_gids + n);
        for (size_t i = 0; i < u->n_additional_gids; i++)
                all[i] = u->additional_gids[i];
        for (size_t i = 0; i < n && r == 0; i++)
                r = parse_id(groups[i], "additional-gids", &all[u->n_additional_gids + i], err);
        u->additional_gids = all;
        u->n_additional_gids += n;
        return r;
}

/* Not inheritable, with which they would leak into programs that aren't meant to have them (CVE-2022-29162); so not
 * ambient either, which is the permitted and inheritable ones'. */
static void add_caps(struct exec *x, const char *const *caps) {
        struct spec_caps *c = &x->process.caps;

        for (size_t i = 0; caps && caps[i]; i++) {
                uint64_t bit;
                int number;

                if (!caps_number(caps[i], &number)) {
                        x->oci->warn(arena_printf(x->oci->arena, "ignoring unknown or unavailable capability %.64s",
                                                  caps[i]),
                                     x->oci->userdata);
                        continue;
                }
                bit = 1ull << number;
                c->bounding |= bit;
                c->effective |= bit;
                c->permitted |= bit;
        }
}

static int from_options(struct exec *x, struct err *err) {
        const struct oci_exec_args *args = x->args;
        struct spec_process *p = &x->process;
        int r = 0;

        if (!x->config.has_process)
                return err_set(err, ERR_INVALID, "container %s has no process to take settings from: use --process",
                               args->id);
        if (count(args->argv) == 0)
                return err_set(err, ERR_INVALID, "process args cannot be empty");
        *p = x->config.spec.process;
        p->args = args->argv;
        p->env = join_lists(x->oci->arena, p->env, args->env);
        p->terminal = args->tty;
        p->cwd = args->cwd ? args->cwd : p->cwd;
        p->apparmor_profile = args->apparmor ? args->apparmor : p->apparmor_profile;
        p->selinux_label = args->label ? args->label : p->selinux_label;
        p->no_new_privs = p->no_new_privs || args->no_new_privs;
        if (*p->cwd != '/')
                return err_set(err, ERR_INVALID, "--cwd %.256s: not an absolute path", p->cwd);
        add_caps(x, args->caps);
        if (args->user)
                r = set_user(x, args->user, err);
        return r < 0 ? r : add_groups(x, args->groups, err);
}

static bool has_member(const char *text, size_t len, const char *name) {
        _cleanup_(json_unrefp) json_t *root = NULL;
        struct err ignored;

        return json_load_bounded(text, len, MAX_JSON_VALUES, "process", &root, &ignored) == 0 &&
               json_object_get(root, name);
}

static int from_file(struct exec *x, const char *path, struct err *err) {
        const struct spec_process *own = &x->config.spec.process;
        _cleanup_(freep) char *text = NULL;
        struct spec_process *p = &x->process;
        size_t len;
        int r = fs_read_file(AT_FDCWD, path, OCI_CONFIG_MAX_BYTES, &text, &len, err);

        if (r == 0)
                r = oci_process_parse(text, len, x->oci->arena, p, err);
        if (r < 0)
                return err_wrap(err, "--process %s", path);
        if (!has_member(text, len, "capabilities"))
                p->caps = own->caps;
        if (p->n_rlimits == 0) {
                p->rlimits = own->rlimits;
                p->n_rlimits = own->n_rlimits;
        }
        p->apparmor_profile = p->apparmor_profile ? p->apparmor_profile : own->apparmor_profile;
        p->selinux_label = p->selinux_label ? p->selinux_label : own->selinux_label;
        p->scheduler = p->scheduler ? p->scheduler : own->scheduler;
        if (!p->has_io_priority) {
                p->has_io_priority = own->has_io_priority;
                p->io_priority_class = own->io_priority_class;
                p->io_priority = own->io_priority;
        }
        if (!p->has_oom_score_adj) {
                p->has_oom_score_adj = own->has_oom_score_adj;
                p->oom_score_adj = own->oom_score_adj;
        }
        return 0;
}

int exec_read_process(struct exec *x, struct err *err) {
        int r = x->args->process_path ? from_file(x, x->args->process_path, err) : from_options(x, err);

        if (r == 0 && x->process.terminal && !x->args->detach && !x->args->console_socket)
                terminal_proxy_size(&x->process.rows, &x->process.columns);
        if (x->state.own_keyring)
                x->process.session_keyring = arena_printf(x->oci->arena, "_ses.%.200s", x->state.id);
        return r;
}
