/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials in files: what is found for which name, helpers, and what writing leaves as it was. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "image/auth-file.h"

static char folder[] = "/tmp/test-auth-file.XXXXXX";
static struct arena *arena;

static const char *in_folder(const char *name) {
        return arena_printf(arena, "%s/%s", folder, name);
}

static const char *put(const char *name, const char *text, mode_t mode) {
        const char *path = in_folder(name);
        struct err err;

        assert(fs_write_atomic(AT_FDCWD, path, text, strlen(text), mode, false, &err) == 0);
        return path;
}

static const char *text_of(const char *path) {
        struct err err;
        const char *copy;
        char *text;

        assert(fs_read_file(AT_FDCWD, path, AUTH_FILE_MAX, &text, NULL, &err) == 0);
        copy = arena_strdup(arena, text);
        free(text);
        return copy;
}

/* "user:password", "+identity token", "=registry token"; NULL: none; the message when it fails. */
static const char *found(const char *const *files, const char *name) {
        struct image_auth a = { 0 };
        struct err err;
        int r = auth_files_find(files, name, arena, &a, &err);

        if (r < 0)
                return arena_strdup(arena, err.msg);
        if (r == 0)
                return NULL;
        return a.identity_token   ? arena_printf(arena, "+%s", a.identity_token)
               : a.registry_token ? arena_printf(arena, "=%s", a.registry_token)
                                  : arena_printf(arena, "%s:%s", a.username, a.password);
}

#define A(name, plain) "\"" name "\": {\"auth\": \"" plain "\"}"

static void test_which_entry(void) {
        const char *one =
                put("one.json",
                    "{\"auths\": {" A("a.example", "aG9zdDox") ", " A("a.example/team", "dGVhbToy") ", " A(
                            "a.example/team/app",
                            "YXBwOjM6NA==") ", " A("https://index.docker.io/v1/",
                                                   "aHViOjU=") ", "
                                                               "\"b.example\": {\"username\": \"u\", \"password\": "
                                                               "\"p\"}, \"c.example:5000\": {\"identitytoken\": \"i\"},"
                                                               "\"d.example\": {\"registrytoken\": \"r\"}, "
                                                               "\"empty.example\": {}}}",
                    0600);
        const char *two =
                put("two.json", "{\"auths\": {" A("e.example", "ZTo2") ", " A("a.example", "aG9zdDox") "}}", 0600);
        const char *const files[] = { in_folder("none.json"), in_folder("none/none.json"), one, two, NULL };
        static const char *const table[][2] = {
                { "a.example/x", "host:1" },
                { "a.example/team", "team:2" },
                { "a.example/team/x/y", "team:2" },
                { "a.example/team/app", "app:3:4" },
                { "a.example/team/app2", "team:2" },
                { "a.example/teams", "host:1" },
                { "docker.io/library/x", "hub:5" },
                { "b.example/x", "u:p" },
                { "c.example:5000/x", "+i" },
                { "c.example/x", NULL },
                { "d.example/x", "=r" },
                { "e.example/x", "e:6" },
                { "empty.example/x", NULL },
                { "x.a.example/x", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                assert(str_eq(found(files, table[i][0]), table[i][1]));
}

static void test_bad_files(void) {
        static const char *const table[][2] = {
                { "[]", "object" },
                { "{\"auths\"", "bad.json" },
                { "{\"auths\": {" A("a.example", "!!") "}}", "base64" },
                { "{\"auths\": {" A("a.example", "bm9jb2xvbg==") "}}", "base64" },
                { "{\"credHelpers\": {\"a.example\": \"../../bin/sh\"}}", "no name of a credential helper" },
                { "{\"credHelpers\": {\"a.example\": \"absent-here\"}}", "docker-credential-absent-here" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                const char *const files[] = { put("bad.json", table[i][0], 0600), NULL };
                const char *message = found(files, "a.example/x");

                assert(message && strstr(message, table[i][1]));
        }
        /* As people write it to be rid of a helper. */
        assert(str_eq(found((const char *const[]){ put("bad.json",
                                                       "{\"credsStore\": \"\", \"credHelpers\": {\"a.example\": "
                                                       "\"\"}, \"auths\": {" A("a.example", "aG9zdDox") "}}",
                                                       0600),
                                                   NULL },
                            "a.example/x"),
                      "host:1"));
        /* What is no mapping of texts says nothing. */
        assert(!found((const char *const[]){ put("bad.json", "{\"auths\": [1], \"credsStore\": 3}", 0600), NULL },
                      "a.example/x"));
        assert(!found((const char *const[]){ put("bad.json", "{\"auths\": {\"a.example\": 7}}", 0600), NULL },
                      "a.example/x"));
        assert(!found((const char *const[]){ put("bad.json", "", 0600), NULL }, "a.example/x"));
}

static void store(const char *file, const char *key, const char *user, const char *password) {
        struct err err;

        assert(auth_file_store(file, key, user, password, &err) == 0);
}

/* Does the file have some, once and not twice? */
static bool erased_once(const char *file, const char *key) {
        struct err err;
        int first = auth_file_erase(file, key, &err), second = auth_file_erase(file, key, &err);

        return first == 1 && second == 0;
}

static bool says(const char *text, const char *word) {
        return text && strstr(text, word);
}

static void test_writing(void) {
        const char *file = in_folder("new/deep/auth.json");
        const char *const files[] = { file, NULL };
        struct stat st;
        struct err err;

        assert(auth_file_erase(file, "a.example", &err) == 0);
        assert(access(file, F_OK) < 0);
        store(file, "a.example", "me", "se:cret");
        assert(stat(file, &st) == 0 && (st.st_mode & 07777) == 0600);
        store(file, "a.example/team", "team", "");
        store(file, "localhost:5000", "local", "x");
        store(file, "a.example", "me", "other");
        assert(str_eq(found(files, "a.example/x"), "me:other") && str_eq(found(files, "a.example/team/x"), "team:"));
        assert(erased_once(file, "a.example"));
        assert(!found(files, "a.example/x") && str_eq(found(files, "a.example/team/x"), "team:"));
        assert(erased_once(file, NULL));
        assert(!found(files, "localhost:5000/x"));
}

/* What others wrote stays, also how they spelled it; a symlink stays one. */
static void test_writing_into_what_is_there(void) {
        const char *file =
                put("docker.json",
                    "{\"psFormat\": \"x\", \"auths\": {" A("https://index.docker.io/v1/", "aHViOjU=") "}}", 0644);
        const char *link = in_folder("link.json");
        const char *const files[] = { link, NULL };
        struct stat st;

        assert(symlink("docker.json", link) == 0);
        store(link, "docker.io", "me", "new");
        assert(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
        assert(stat(file, &st) == 0 && (st.st_mode & 07777) == 0600);
        assert(str_eq(found(files, "docker.io/library/x"), "me:new"));
        assert(strstr(text_of(file), "psFormat") && strstr(text_of(file), "\"https://index.docker.io/v1/\""));
        assert(!strstr(text_of(file), "\"docker.io\""));
}

static void test_bad_writes(void) {
        static const char *const keys[] = { "https://a.example", "a.example/", "/x",          "",
                                            "a.example/x:1",     "plain",      "a b.example", "A.example/X" };
        const char *file = in_folder("refused.json");
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                assert(auth_file_store(file, keys[i], "u", "p", &err) == -ERR_INVALID);
        assert(auth_file_store(file, "a.example", "", "p", &err) == -ERR_INVALID);
        assert(auth_file_store(file, "a.example", "u:v", "p", &err) == -ERR_INVALID);
        assert(auth_file_store(file, "a.example", "\xff", "p", &err) == 0);
        (void) put("refused.json", "{\"auths\"", 0600);
        assert(auth_file_store(file, "a.example", "u", "p", &err) == -ERR_INVALID);
        assert(str_eq(text_of(file), "{\"auths\"")); /* not thrown away */
        assert(auth_file_erase(file, "a.example", &err) == -ERR_INVALID);
}

/* --- helpers ---------------------------------------------------------------------------------------------------- */

/* It keeps what it is given in a file, and fails as the real ones do. */
static const char helper[] =
        "#!/bin/sh\n"
        "kept=$(dirname \"$0\")/kept\n"
        "case $1 in\n"
        "get) read -r server || true; if [ \"$server\" = token.example ]; then\n"
        "  echo '{\"Username\": \"<token>\", \"Secret\": \"t\"}'\n"
        "elif [ \"$server\" = broken.example ]; then echo 'the keyring is locked'; exit 1\n"
        "elif grep -q \"\\\"$server\\\"\" \"$kept\" 2>/dev/null; then cat \"$kept\"\n"
        "else echo 'credentials not found in native keychain'; exit 1; fi ;;\n"
        "store) cat >\"$kept\" ;;\n"
        "erase) rm \"$kept\" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;\n"
        "esac\n";

static void test_helpers(void) {
        const char *file = put("helped.json",
                               "{\"credsStore\": \"of-the-test\", \"credHelpers\": {\"none.example\": "
                               "\"absent-here\"}, \"auths\": {" A("f.example", "ZTo2") "}}",
                               0600);
        const char *const files[] = { file, NULL };

        (void) put("docker-credential-of-the-test", helper, 0755);
        assert(setenv("PATH", arena_printf(arena, "%s:%s", folder, getenv("PATH")), 1) == 0);
        assert(!found(files, "a.example/x"));
        assert(str_eq(found(files, "f.example/x"), "e:6"));
        assert(str_eq(found(files, "token.example/x"), "+t"));
        assert(says(found(files, "broken.example/x"), "the keyring is locked"));
        assert(says(found(files, "none.example/x"), "docker-credential-absent-here"));
        store(file, "docker.io", "me", "secret");
        assert(!strstr(text_of(file), "docker.io")); /* but in the helper */
        assert(strstr(text_of(in_folder("kept")), "\"https://index.docker.io/v1/\""));
        assert(str_eq(found(files, "docker.io/library/x"), "me:secret"));
        assert(erased_once(file, "docker.io"));
        assert(!found(files, "docker.io/library/x"));
}

static void test_where_files_are(void) {
        const char **list;

        unsetenv("REGISTRY_AUTH_FILE");
        unsetenv("XDG_CONFIG_HOME");
        unsetenv("DOCKER_CONFIG");
        setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
        setenv("HOME", "/home/me", 1);
        list = auth_files_of_user(NULL, arena);
        assert(str_eq(list[0], "/run/user/7/containers/auth.json") &&
               str_eq(list[1], "/home/me/.config/containers/auth.json") &&
               str_eq(list[2], "/home/me/.docker/config.json") && !list[3]);
        setenv("XDG_CONFIG_HOME", "/c", 1);
        setenv("DOCKER_CONFIG", "/d", 1);
        unsetenv("XDG_RUNTIME_DIR");
        list = auth_files_of_user(NULL, arena);
        assert(str_eq(list[0], arena_printf(arena, "/run/containers/%u/auth.json", (unsigned) getuid())) &&
               str_eq(list[1], "/c/containers/auth.json") && str_eq(list[2], "/d/config.json"));
        setenv("REGISTRY_AUTH_FILE", "/r", 1);
        list = auth_files_of_user(NULL, arena);
        assert(str_eq(list[0], "/r") && !list[1]);
        list = auth_files_of_user("/f", arena);
        assert(str_eq(list[0], "/f") && !list[1]);
}

int main(void) {
        struct err err;

        assert(mkdtemp(folder));
        arena = arena_new(8 << 20);
        test_which_entry();
        test_bad_files();
        test_writing();
        test_writing_into_what_is_there();
        test_bad_writes();
        test_helpers();
        test_where_files_are();
        assert(fs_remove_tree(AT_FDCWD, folder, &err) == 0);
        (void) arena_free(arena);
        return 0;
}
