/* SPDX-License-Identifier: Apache-2.0 */
#include "image/auth-file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/base64.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "image/auth-helper.h"
#include "image/ref.h"

enum { VALUES_MAX = 65536 };

#define DOCKER_HUB "docker.io"
#define DOCKER_HUB_SERVER "https://index.docker.io/v1/" /* what Docker and its helpers call it */

/* --- where ------------------------------------------------------------------------------------------------------ */

const char **auth_files_of_user(const char *file, struct arena *arena) {
        const char **list = arena_array(arena, const char *, 4);
        const char *chosen = file ? file : getenv("REGISTRY_AUTH_FILE"), *run = getenv("XDG_RUNTIME_DIR");
        const char *config = getenv("XDG_CONFIG_HOME"), *docker = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
        size_t n = 0;

        if (!str_empty(chosen)) {
                list[n++] = arena_strdup(arena, chosen);
                return list;
        }
        list[n++] = str_empty(run) ? arena_printf(arena, "/run/containers/%u/auth.json", (unsigned) getuid())
                                   : arena_printf(arena, "%s/containers/auth.json", run);
        if (!str_empty(config))
                list[n++] = arena_printf(arena, "%s/containers/auth.json", config);
        else if (!str_empty(home))
                list[n++] = arena_printf(arena, "%s/.config/containers/auth.json", home);
        if (!str_empty(docker))
                list[n++] = arena_printf(arena, "%s/config.json", docker);
        else if (!str_empty(home))
                list[n++] = arena_printf(arena, "%s/.docker/config.json", home);
        return list;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* A missing or empty file is an empty object. */
static int load(const char *file, json_t **ret, struct err *err) {
        char *text;
        size_t len = 0;
        int r = fs_read_file(AT_FDCWD, file, AUTH_FILE_MAX, &text, &len, err);

        if (r < 0) {
                if (err->sys_errno != ENOENT && err->sys_errno != ENOTDIR)
                        return err_wrap(err, "credentials in %s", file);
                len = 0;
                text = NULL;
        }
        if (len == 0)
                *ret = json_object();
        else
                r = json_load_bounded(text, len, VALUES_MAX, file, ret, err);
        if (text)
                explicit_bzero(text, len);
        free(text);
        return len == 0 ? 0 : r;
}

/* "https://index.docker.io/v1/" and "docker.io" are the same: what a key of a file says of host and path. */
static const char *plain_key(const char *key, size_t *ret_len) {
        static const char *const hub[] = { "index.docker.io", "registry-1.docker.io" };
        const char *rest = str_after(key, "https://") ?: str_after(key, "http://");

        *ret_len = rest ? strcspn(rest, "/") : strlen(key);
        for (size_t i = 0; i < ELEMENTSOF(hub); i++)
                if (*ret_len == strlen(hub[i]) && strncmp(rest ?: key, hub[i], *ret_len) == 0) {
                        *ret_len = strlen(DOCKER_HUB);
                        return DOCKER_HUB;
                }
        return rest ?: key;
}

/* The key of @auths that says @name, as the file spells it; NULL when there is none. */
static const char *find_key(json_t *auths, const char *name) {
        const char *key, *plain;
        json_t *value;
        size_t len;

        json_object_foreach(auths, key, value) {
                plain = plain_key(key, &len);
                if (len == strlen(name) && strncmp(plain, name, len) == 0)
                        return key;
        }
        return NULL;
}

static const char *member(const json_t *entry, const char *key, struct arena *arena) {
        return arena_strdup(arena, json_string_value(json_object_get(entry, key)));
}

/* "auth" is what all write, base64 of "user:password". */
static int split_auth(const char *auth, struct arena *arena, struct image_auth *ret, struct err *err) {
        char *plain = base64_plain(auth);
        const char *colon = plain ? strchr(plain, ':') : NULL;

        if (colon) {
                ret->username = arena_strndup(arena, plain, (size_t) (colon - plain));
                ret->password = arena_strdup(arena, colon + 1);
        }
        if (plain)
                explicit_bzero(plain, strlen(plain));
        free(plain);
        return colon ? 1 : err_set(err, ERR_INVALID, "\"auth\" is not base64 of user:password");
}

/* Returns 1; 0 for an empty one, which says that a helper has it. */
static int take_entry(const json_t *entry, struct arena *arena, struct image_auth *ret, struct err *err) {
        const char *auth = json_string_value(json_object_get(entry, "auth"));

        *ret = (struct image_auth){
                .username = member(entry, "username", arena),
                .password = member(entry, "password", arena),
                .identity_token = member(entry, "identitytoken", arena),
                .registry_token = member(entry, "registrytoken", arena),
        };
        if (str_empty(ret->username) && !str_empty(auth))
                return split_auth(auth, arena, ret, err);
        return !str_empty(ret->username) || !str_empty(ret->identity_token) || !str_empty(ret->registry_token);
}

/* Which helper keeps the credentials of @host; NULL: none, they are in the file. As with Docker, "" is none. */
static const char *helper_of(json_t *file, const char *host) {
        json_t *helpers = json_object_get(file, "credHelpers");
        const char *key = find_key(helpers, host);
        const char *name = json_string_value(key ? json_object_get(helpers, key) : json_object_get(file, "credsStore"));

        return str_empty(name) ? NULL : name;
}

static const char *server_of(const char *host) {
        return str_eq(host, DOCKER_HUB) ? DOCKER_HUB_SERVER : host;
}

static int find_in(json_t *file, const char *name, struct arena *arena, struct image_auth *ret, struct err *err) {
        json_t *auths = json_object_get(file, "auths");
        char *prefix = arena_strdup(arena, name), *slash;
        const char *host = arena_strndup(arena, name, strcspn(name, "/")), *helper, *key;

        helper = helper_of(file, host);
        if (helper) {
                int r = auth_helper_get(helper, server_of(host), arena, ret, err);

                if (r != 0)
                        return r;
        }
        for (;;) {
                int r;

                key = find_key(auths, prefix);
                r = key ? take_entry(json_object_get(auths, key), arena, ret, err) : 0;
                slash = strrchr(prefix, '/');
                if (r != 0 || !slash)
                        return r;
                *slash = '\0';
        }
}

int auth_files_find(const char *const *files, const char *name, struct arena *arena, struct image_auth *ret,
                    struct err *err) {
        for (; *files; files++) {
                _cleanup_(json_unrefp) json_t *file = NULL;
                int r = load(*files, &file, err);

                if (r == 0) {
                        r = find_in(file, name, arena, ret, err);
                        if (r < 0)
                                (void) err_wrap(err, "credentials for %s, by %s", name, *files);
                }
                if (r != 0)
                        return r;
        }
        return 0;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

int auth_key_check(const char *key, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(16 * 1024);
        struct ref ref;
        bool path = strchr(key, '/') != NULL;
        int r;

        if (strstr(key, "://"))
                return err_set(err, ERR_INVALID, "\"%.200s\": a registry is named by its host, without https://", key);
        r = ref_parse(path ? key : arena_printf(arena, "%.300s/x/x", key), arena, &ref, err);
        if (r < 0)
                return err_wrap(err, "registry \"%.200s\"", key);
        if (ref.digest || (path ? !str_eq(ref_name(&ref, arena), key) : !str_eq(ref.host, key)))
                return err_set(err, ERR_INVALID,
                               "\"%.200s\" is no registry: a host, with a port or a dot in it, and maybe a path", key);
        return 0;
}

/* One writer at a time, and nobody reads half of it. */
static int open_folder(const char *file, int *ret_fd, struct err *err) {
        char folder[PATH_MAX];
        int r, fd;

        (void) snprintf(folder, sizeof(folder), "%s", file);
        r = fs_mkdir_p(dirname(folder), 0700, err);
        if (r < 0)
                return r;
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX) < 0) {
                r = err_sys(err, errno, "lock the folder %s", folder);
                if (fd >= 0)
                        (void) close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

/* Locks the folder, for as long as it is open, and reads @file, which becomes where it really is: a symlink stays one.
 */
static int open_to_write(const char **file, char real[PATH_MAX], int *ret_folder_fd, json_t **ret, struct err *err) {
        int r;

        if (realpath(*file, real))
                *file = real;
        r = open_folder(*file, ret_folder_fd, err);
        return r < 0 ? r : load(*file, ret, err);
}

static int save(const char *file, const json_t *content, struct err *err) {
        char *text = json_dumps(content, JSON_INDENT(8));
        int r;

        if (!text)
                return err_set(err, ERR_INTERNAL, "write %s: no memory", file);
        r = fs_write_atomic(AT_FDCWD, file, text, strlen(text), 0600, true, err);
        explicit_bzero(text, strlen(text));
        free(text);
        return r;
}

static char *basic_auth(const char *username, const char *password) {
        char *plain = xprintf("%s:%s", username, password), *out = base64_text(plain, strlen(plain));

        explicit_bzero(plain, strlen(plain));
        free(plain);
        return out;
}

int auth_file_store(const char *file, const char *key, const char *username, const char *password, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(4 << 20);
        _cleanup_(json_unrefp) json_t *content = NULL;
        _cleanup_(fd_closep) int folder_fd = -1;
        char real[PATH_MAX], *auth;
        const char *helper, *spelled;
        json_t *auths;
        int r;

        if (str_empty(username) || strchr(username, ':') || strlen(username) + strlen(password) > 65536)
                return err_set(err, ERR_INVALID, "a user name is not empty and has no colon in it");
        r = auth_key_check(key, err);
        if (r < 0)
                return r;
        r = open_to_write(&file, real, &folder_fd, &content, err);
        if (r < 0)
                return r;
        helper = strchr(key, '/') ? NULL : helper_of(content, key);
        if (helper)
                return auth_helper_store(helper, server_of(key), username, password, err);
        auths = json_object_get(content, "auths");
        if (!json_is_object(auths)) {
                auths = json_object();
                (void) json_object_set_new(content, "auths", auths);
        }
        spelled = find_key(auths, key);
        auth = basic_auth(username, password);
        r = json_object_set_new(auths, spelled ? arena_strdup(arena, spelled) : key, json_pack("{s:s}", "auth", auth));
        explicit_bzero(auth, strlen(auth));
        free(auth);
        if (r < 0)
                return err_set(err, ERR_INVALID, "write %s: the registry's name is not UTF-8", file);
        return save(file, content, err);
}

static int erase_one(json_t *content, const char *key, struct arena *arena, struct err *err) {
        json_t *auths = json_object_get(content, "auths");
        const char *helper = strchr(key, '/') ? NULL : helper_of(content, key), *spelled;
        int any = 0;

        if (helper) {
                any = auth_helper_erase(helper, server_of(key), err);
                if (any < 0)
                        return any;
        }
        while ((spelled = find_key(auths, key))) {
                (void) json_object_del(auths, arena_strdup(arena, spelled));
                any = 1;
        }
        return any;
}

static int erase_all(json_t *content, struct arena *arena, struct err *err) {
        json_t *auths = json_object_get(content, "auths"), *value;
        int r, any = json_object_size(auths) > 0;
        const char *key, *plain;
        size_t len;

        json_object_foreach(json_object_get(content, "credHelpers"), key, value) {
                plain = plain_key(key, &len);
                r = erase_one(content, arena_strndup(arena, plain, len), arena, err);
                if (r < 0)
                        return r;
                any = any || r;
        }
        while ((key = json_object_iter_key(json_object_iter(auths)))) {
                plain = plain_key(key, &len);
                r = erase_one(content, arena_strndup(arena, plain, len), arena, err);
                if (r < 0)
                        return r;
        }
        return any;
}

int auth_file_erase(const char *file, const char *key, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(4 << 20);
        _cleanup_(json_unrefp) json_t *content = NULL;
        _cleanup_(fd_closep) int folder_fd = -1;
        char real[PATH_MAX];
        int r, any;

        if (key) {
                r = auth_key_check(key, err);
                if (r < 0)
                        return r;
        }
        if (access(file, F_OK) < 0 && errno == ENOENT)
                return 0;
        r = open_to_write(&file, real, &folder_fd, &content, err);
        if (r < 0)
                return r;
        any = key ? erase_one(content, key, arena, err) : erase_all(content, arena, err);
        if (any <= 0)
                return any;
        r = save(file, content, err);
        return r < 0 ? r : 1;
}
