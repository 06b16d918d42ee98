/* SPDX-License-Identifier: Apache-2.0 */
/* selinux - see selinux.h. */
#include "security/selinux.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <selinux/selinux.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"

enum { CONTEXTS_MAX = 64 << 10, CATEGORIES = 1024 };

/* container-selinux's, which wins over the one in the policy's folder, as in go-selinux. */
static const char contexts_shared[] = "/usr/share/containers/selinux/contexts";

/* --- the library ------------------------------------------------------------------------------------------------- */

static struct {
        typeof(is_selinux_enabled) *enabled;
        typeof(selinux_lxc_contexts_path) *contexts_path;
        typeof(security_check_context_raw) *check_context;
} library; /* all of it or nothing; written once */

static void *find(void *handle, const char *name) {
        return handle ? dlsym(handle, name) : NULL;
}

static void load(void) {
        void *handle = NULL;

        if (access("/sys/fs/selinux/enforce", F_OK) == 0)
                handle = dlopen("libselinux.so.1", RTLD_NOW | RTLD_LOCAL);
        library.contexts_path = find(handle, "selinux_lxc_contexts_path");
        library.check_context = find(handle, "security_check_context_raw");
        if (library.contexts_path && library.check_context)
                library.enabled = find(handle, "is_selinux_enabled");
}

bool selinux_enabled(void) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void) pthread_once(&once, load);
        return library.enabled && library.enabled() == 1;
}

int selinux_check(const char *label, struct err *err) {
        if (!selinux_enabled())
                return err_set(err, ERR_PRECONDITION, "SELinux is not enabled on this host");
        if (strlen(label) > SELINUX_LABEL_MAX || library.check_context(label) < 0)
                return err_set(err, ERR_INVALID, "this host's SELinux policy does not know the label \"%.255s\"",
                               label);
        return 0;
}

/* --- what the policy calls containers ---------------------------------------------------------------------------- */

/* The label in: process = "system_u:system_r:container_t:s0". */
static char *value_of(const char *line, size_t len, const char *key) {
        const char *end = line + len, *p = line + strspn(line, " \t");
        size_t n = strlen(key);

        if (p + n > end || strncmp(p, key, n) != 0)
                return NULL;
        p += n;
        p += strspn(p, " \t");
        if (p >= end || *p != '=')
                return NULL;
        p++;
        while (p < end && (*p == '"' || isspace((unsigned char) *p)))
                p++;
        n = strcspn(p, "\" \t\r\n");
        return n > 0 && p + n <= end && n <= SELINUX_LABEL_MAX ? xstrndup(p, n) : NULL;
}

bool selinux_parse_contexts(const char *text, char **ret_process, char **ret_file) {
        _cleanup_(freep) char *process = NULL, *file = NULL;

        for (const char *line = text; *line; line += strspn(line, "\n")) {
                size_t len = strcspn(line, "\n");

                if (!process)
                        process = value_of(line, len, "process");
                if (!file)
                        file = value_of(line, len, "file");
                line += len;
        }
        if (!process || !file)
                return false;
        *ret_process = TAKE_PTR(process);
        *ret_file = TAKE_PTR(file);
        return true;
}

int selinux_container_labels(char **ret_process, char **ret_file, struct err *err) {
        _cleanup_(freep) char *text = NULL, *process = NULL, *file = NULL;
        const char *path;
        int r;

        if (!selinux_enabled())
                return err_set(err, ERR_PRECONDITION, "SELinux is not enabled on this host");
        path = access(contexts_shared, F_OK) == 0 ? contexts_shared : library.contexts_path();
        if (!path || fs_read_file(AT_FDCWD, path, CONTEXTS_MAX, &text, NULL, err) < 0 ||
            !selinux_parse_contexts(text, &process, &file))
                return err_set(err, ERR_PRECONDITION,
                               "the SELinux policy names no labels for containers (in %s): install container-selinux",
                               path ? path : contexts_shared);
        r = selinux_check(process, err);
        if (r == 0)
                r = selinux_check(file, err);
        if (r < 0) {
                err->code = ERR_PRECONDITION;
                return err_wrap(err, "%s: install container-selinux, or the policy that it belongs to", path);
        }
        *ret_process = TAKE_PTR(process);
        *ret_file = TAKE_PTR(file);
        return 0;
}

/* --- labels ------------------------------------------------------------------------------------------------------ */

/* What is in it the policy knows best; only what would not stay a part of the label is refused here. */
static bool is_sound(const char *part, const char *more) {
        size_t n = 0;

        for (; part && part[n]; n++)
                if (n == SELINUX_LABEL_MAX || (!isalnum((unsigned char) part[n]) && !strchr(more, part[n])))
                        return false;
        return true;
}

static const char *choose(const char *asked, const char *fallback) {
        return str_empty(asked) ? fallback : asked;
}

const char *selinux_level(const char *label) {
        for (int i = 0; i < 3; i++) {
                label = strchr(label, ':');
                if (!label)
                        return "";
                label++;
        }
        return label;
}

int selinux_apply(const char *label, const struct selinux_options *o, struct arena *arena, const char **ret,
                  struct err *err) {
        char *copy = arena_strdup(arena, label), *user = strsep(&copy, ":"), *role = strsep(&copy, ":");
        const char *type = strsep(&copy, ":"), *level = copy ? copy : "";

        if (!type)
                return err_set(err, ERR_INVALID, "\"%.255s\" is no SELinux label", label);
        if (!is_sound(o->user, "_.-") || !is_sound(o->role, "_.-") || !is_sound(o->type, "_.-") ||
            !is_sound(o->level, "_.-:,"))
                return err_set(err, ERR_INVALID,
                               "SELinux options \"%.64s:%.64s:%.64s:%.128s\" cannot be parts of a label",
                               choose(o->user, ""), choose(o->role, ""), choose(o->type, ""), choose(o->level, ""));
        level = choose(o->level, level);
        *ret = arena_printf(arena, "%s:%s:%s%s%s", choose(o->user, user), choose(o->role, role), choose(o->type, type),
                            *level ? ":" : "", level);
        return 0;
}

void selinux_new_level(bool (*taken)(const char *level, void *userdata), void *userdata, char ret[SELINUX_LABEL_MAX]) {
        /* Pairs are fewer than a node's pods by far; past these tries two pods sharing one is better than none running.
         */
        for (int tries = 0; tries < CATEGORIES; tries++) {
                uint16_t n[2];

                if (getrandom(n, sizeof(n), 0) != sizeof(n))
                        continue;
                n[0] %= CATEGORIES;
                n[1] %= CATEGORIES;
                if (n[0] == n[1])
                        continue;
                (void) snprintf(ret, SELINUX_LABEL_MAX, "s0:c%u,c%u", n[0] < n[1] ? n[0] : n[1],
                                n[0] < n[1] ? n[1] : n[0]);
                if (!taken(ret, userdata))
                        return;
        }
}
