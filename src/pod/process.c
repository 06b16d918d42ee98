/* SPDX-License-Identifier: Apache-2.0 */
/* process - what a container runs: arguments, environment, working folder, user. */
#include <signal.h>
#include <string.h>
#include "base/alloc.h"
#include "base/map.h"
#include "pod/signals.h"
#include "pod/specgen.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum { MAX_ARGS = 65536, MAX_ENV = 65536 };
static const uint32_t MAX_ID = UINT32_MAX - 1;

/* --- arguments ---------------------------------------------------------------------------------------------------- */

int process_args(const CRI(ContainerConfig) * config, const struct image *image, struct arena *arena,
                 const char *const **ret, struct err *err) {
        /* CRI's command replaces the entrypoint and drops the image's cmd; args replace cmd. */
        const char *const *head = (const char *const *) config->command, *const *tail =
                                                                                 (const char *const *) config->args;
        size_t n_head = config->n_command, n_tail = config->n_args;
        const char **args;

        if (n_head == 0) {
                head = (const char *const *) image->config.entrypoint;
                n_head = strv_len(head);
                if (n_tail == 0) {
                        tail = (const char *const *) image->config.cmd;
                        n_tail = strv_len(tail);
                }
        }
        if (n_head + n_tail == 0)
                return err_set(err, ERR_INVALID, "neither the container's configuration nor image %s says what to run",
                               image->id);
        if (n_head > MAX_ARGS || n_tail > MAX_ARGS)
                return err_set(err, ERR_INVALID, "more than %d arguments", MAX_ARGS);
        args = arena_array(arena, const char *, n_head + n_tail + 1);
        for (size_t i = 0; i < n_head; i++)
                args[i] = head[i];
        for (size_t i = 0; i < n_tail; i++)
                args[n_head + i] = tail[i];
        *ret = args;
        return 0;
}

/* --- environment -------------------------------------------------------------------------------------------------- */

struct env {
        const char **list;
        size_t n;
        struct map *index; /* name -> position + 1 */
        struct arena *arena;
};

/* Of two settings of one name the later wins, in the place of the first. */
static void env_set(struct env *e, const char *setting) {
        size_t len = strcspn(setting, "=");
        char *name = arena_strndup(e->arena, setting, len);
        size_t at = (size_t) map_get(e->index, name);

        if (at == 0) {
                at = ++e->n;
                (void) map_set(e->index, name, (void *) at);
        }
        e->list[at - 1] = setting;
}

static int env_set_cri(struct env *e, const CRI(KeyValue) * kv, struct err *err) {
        const void *value = kv->value.data ? (const void *) kv->value.data : "";
        size_t key_len = strlen(kv->key);
        char *setting;

        if (key_len == 0 || strchr(kv->key, '='))
                return err_set(err, ERR_INVALID, "\"%.128s\" is no name for an environment variable", kv->key);
        if (memchr(value, '\0', kv->value.len))
                return err_set(err, ERR_INVALID, "environment variable %.128s has a NUL byte in its value", kv->key);
        setting = arena_alloc(e->arena, key_len + kv->value.len + 2);
        if (!setting)
                return err_set(err, ERR_EXHAUSTED, "the environment is too large");
        memcpy(setting, kv->key, key_len);
        setting[key_len] = '=';
        memcpy(setting + key_len + 1, value, kv->value.len);
        env_set(e, setting);
        return 0;
}

int process_env(const CRI(ContainerConfig) * config, char *const *image_env, char *const *cdi_env, const char *hostname,
                struct arena *arena, const char *const **ret, struct err *err) {
        _cleanup_(map_freep) struct map *index = map_new();
        size_t n_image = strv_len((const char *const *) image_env), n_cdi = strv_len((const char *const *) cdi_env);
        struct env e = { .index = index, .arena = arena };
        int r;

        if (config->n_envs > MAX_ENV || n_image > MAX_ENV)
                return err_set(err, ERR_INVALID, "more than %d environment variables", MAX_ENV);
        e.list = arena_array(arena, const char *, config->n_envs + n_image + n_cdi + 4);
        env_set(&e, DEFAULT_PATH);
        if (config->tty)
                env_set(&e, "TERM=xterm");
        env_set(&e, arena_printf(arena, "HOSTNAME=%s", hostname));
        for (size_t i = 0; i < n_image; i++)
                if (image_env[i][0] != '=' && image_env[i][0] != '\0')
                        env_set(&e,
                                strchr(image_env[i], '=') ? image_env[i] : arena_printf(arena, "%s=", image_env[i]));
        for (size_t i = 0; i < config->n_envs; i++) {
                r = env_set_cri(&e, config->envs[i], err);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < n_cdi; i++)
                env_set(&e, cdi_env[i]);
        *ret = e.list;
        return 0;
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

int process_cwd(const CRI(ContainerConfig) * config, const struct image *image, struct arena *arena, const char **ret,
                struct err *err) {
        if (!str_empty(config->working_dir)) {
                *ret = path_clean(arena, config->working_dir);
                return *ret ? 0
                            : err_set(err, ERR_INVALID, "working_dir \"%.128s\" is not absolute", config->working_dir);
        }
        /* Builders let relative ones pass; they mean the root. */
        *ret = path_clean(arena, arena_printf(arena, "/%s", image->config.working_dir));
        return 0;
}

static bool parse_id(const char *s, uint32_t *ret) {
        uint64_t v;

        if (!str_to_u64(s, &v) || v > MAX_ID)
                return false;
        *ret = (uint32_t) v;
        return true;
}

/* "", "user", "uid", "user:group", "uid:gid" and mixtures. */
static void user_from_image(const char *image_user, struct arena *arena, struct spec_user *ret) {
        const char *colon = strchr(image_user, ':');
        const char *user = colon ? arena_strndup(arena, image_user, (size_t) (colon - image_user)) : image_user;

        if (*user && !parse_id(user, &ret->uid))
                ret->username = user;
        if (!colon || !colon[1])
                return;
        ret->has_gid = parse_id(colon + 1, &ret->gid);
        if (!ret->has_gid)
                ret->groupname = colon + 1;
}

static int take_id(const char *what, int64_t v, uint32_t *ret, struct err *err) {
        if (v < 0 || v > MAX_ID)
                return err_set(err, ERR_INVALID, "%s %lld is out of range", what, (long long) v);
        *ret = (uint32_t) v;
        return 0;
}

static int take_groups(const CRI(LinuxContainerSecurityContext) * sc, struct arena *arena, struct spec_user *ret,
                       struct err *err) {
        gid_t *gids;
        int r;

        if (sc->n_supplemental_groups > SPEC_MAX_GROUPS)
                return err_set(err, ERR_INVALID, "more than %d supplemental groups", SPEC_MAX_GROUPS);
        gids = arena_array(arena, gid_t, sc->n_supplemental_groups + 1);
        for (size_t i = 0; i < sc->n_supplemental_groups; i++) {
                r = take_id("supplemental group", sc->supplemental_groups[i], &gids[i], err);
                if (r < 0)
                        return r;
        }
        ret->additional_gids = gids;
        ret->n_additional_gids = sc->n_supplemental_groups;
        return 0;
}

int process_user(const CRI(LinuxContainerSecurityContext) * sc, const char *image_user, struct arena *arena,
                 struct spec_user *ret, struct err *err) {
        struct spec_user u = { .username = NULL };
        int r = 0;

        if (sc && sc->run_as_user)
                r = take_id("run_as_user", sc->run_as_user->value, &u.uid, err);
        else if (sc && !str_empty(sc->run_as_username))
                u.username = arena_strdup(arena, sc->run_as_username);
        else
                user_from_image(image_user, arena, &u);
        if (r == 0 && sc && sc->run_as_group) {
                r = take_id("run_as_group", sc->run_as_group->value, &u.gid, err);
                u.has_gid = true;
                u.groupname = NULL;
        }
        if (r == 0 && sc) {
                u.strict_groups = sc->supplemental_groups_policy == CRI_(SUPPLEMENTAL_GROUPS_POLICY__Strict);
                r = take_groups(sc, arena, &u, err);
        }
        if (r == 0)
                *ret = u;
        return r;
}

int process_stop_signal(const CRI(ContainerConfig) * config, const struct image *image, int *ret, struct err *err) {
        int sig = signal_from_cri(config->stop_signal);

        if (sig < 0)
                return err_set(err, ERR_INVALID, "unknown stop_signal %d", (int) config->stop_signal);
        if (sig == 0 && !str_empty(image->config.stop_signal)) {
                sig = signal_from_name(image->config.stop_signal);
                if (sig < 0)
                        return err_set(err, ERR_INVALID, "image %s has an unknown stop signal \"%.32s\"", image->id,
                                       image->config.stop_signal);
        }
        *ret = sig > 0 ? sig : SIGTERM;
        return 0;
}
