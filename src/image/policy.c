/* SPDX-License-Identifier: Apache-2.0 */
#include "image/policy.h"

#include <limits.h>
#include <string.h>
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "image/json.h"

static const char *const identity_names[] = {
#define X(type, name) [type] = (name),
        POLICY_IDENTITIES(X)
#undef X
};

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* A field that nobody knows may well be one that forbids something. */
static int check_fields(const json_t *o, const char *what, const char *const *known, struct err *err) {
        const char *key;

        if (!json_is_object(o))
                return err_set(err, ERR_INVALID, "%s is no object", what);
        for (void *it = json_object_iter((json_t *) (uintptr_t) o); it;
             it = json_object_iter_next((json_t *) (uintptr_t) o, it)) {
                size_t i = 0;

                key = json_object_iter_key(it);
                while (known[i] && !str_eq(known[i], key))
                        i++;
                if (!known[i])
                        return err_set(err, ERR_INVALID, "%s has an unknown field \"%.60s\"", what, key);
        }
        return 0;
}

static int get_text(const json_t *o, const char *key, struct arena *arena, const char **ret, struct err *err) {
        int r = json_get_string(o, key, arena, ret, err);

        return r == 0 && str_empty(*ret) ? err_set(err, ERR_INVALID, "\"%s\" is missing or empty", key) : r;
}

/* "host[:port]", or that and a path: what a repository in full may begin with. */
static bool is_prefix(const char *s, struct arena *arena) {
        const char *whole;
        struct ref ref;
        struct err err;

        if (strlen(s) > REF_NAME_MAX || strchr(s, '@'))
                return false;
        whole = arena_printf(arena, "%s/x/x", s);
        return ref_parse(whole, arena, &ref, &err) == 0 && str_eq(ref_name(&ref, arena), whole);
}

/* Neither tag nor digest. */
static bool names_only(const char *s) {
        const char *slash = strrchr(s, '/');

        return !strchr(s, '@') && !strchr(slash ? slash : s, ':');
}

static int check_identity(const struct policy_identity *i, struct arena *arena, struct err *err) {
        struct ref ref;

        switch (i->type) {
        case IDENTITY_EXACT_REFERENCE:
                if (names_only(i->value))
                        return err_set(err, ERR_INVALID, "dockerReference \"%.200s\" has neither tag nor digest",
                                       i->value);
                return ref_parse(i->value, arena, &ref, err);
        case IDENTITY_EXACT_REPOSITORY:
                if (!names_only(i->value))
                        return err_set(err, ERR_INVALID, "dockerRepository \"%.200s\" is more than a repository",
                                       i->value);
                return ref_parse(i->value, arena, &ref, err);
        case IDENTITY_REMAP:
                for (const char *const *p = (const char *const[]){ i->value, i->signed_prefix, NULL }; *p; p++)
                        if (!is_prefix(*p, arena))
                                return err_set(err, ERR_INVALID,
                                               "prefix \"%.200s\" is no host and no repository in full", *p);
                return 0;
        default:
                return 0;
        }
}

static int parse_identity(const json_t *o, struct arena *arena, struct policy_identity *ret, struct err *err) {
        static const char *const fields[][4] = { [IDENTITY_EXACT_REFERENCE] = { "type", "dockerReference" },
                                                 [IDENTITY_EXACT_REPOSITORY] = { "type", "dockerRepository" },
                                                 [IDENTITY_REMAP] = { "type", "prefix", "signedPrefix" } };
        static const char *const none[] = { "type", NULL };
        const char *name, *const *known;
        size_t type = 0;
        int r;

        if (!json_is_object(o))
                return err_set(err, ERR_INVALID, "signedIdentity is no object");
        r = get_text(o, "type", arena, &name, err);
        if (r < 0)
                return r;
        while (type < ELEMENTSOF(identity_names) && !str_eq(identity_names[type], name))
                type++;
        if (type == ELEMENTSOF(identity_names))
                return err_set(err, ERR_INVALID, "signedIdentity has an unknown type \"%.60s\"", name);
        *ret = (struct policy_identity){ .type = (enum policy_identity_type) type };
        known = type < ELEMENTSOF(fields) && fields[type][0] ? fields[type] : none;
        r = check_fields(o, "signedIdentity", known, err);
        if (r == 0 && known[1])
                r = get_text(o, known[1], arena, &ret->value, err);
        if (r == 0 && known[1] && known[2])
                r = get_text(o, known[2], arena, &ret->signed_prefix, err);
        return r < 0 ? r : check_identity(ret, arena, err);
}

/* A string, or with @many a list of them that is not empty. */
static int get_keys(const json_t *o, const char *field, bool many, struct arena *arena, const char ***ret,
                    struct err *err) {
        int r;

        if (!many) {
                *ret = arena_array(arena, const char *, 2);
                return get_text(o, field, arena, &(*ret)[0], err);
        }
        r = json_get_strings(o, field, POLICY_LIST_MAX, arena, ret, err);
        if (r == 0 && !(*ret)[0])
                r = err_set(err, ERR_INVALID, "\"%s\" is empty", field);
        return r;
}

static int parse_keys(const json_t *o, struct arena *arena, struct policy_requirement *ret, struct err *err) {
        static const struct {
                const char *field;
                bool many, data;
        } sources[] = { { "keyPath", false, false },
                        { "keyPaths", true, false },
                        { "keyData", false, true },
                        { "keyDatas", true, true } };
        size_t n = 0, from = 0;
        const char **keys = NULL;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(sources); i++) {
                if (!json_object_get(o, sources[i].field))
                        continue;
                from = i;
                n++;
        }
        if (n != 1)
                return err_set(err, ERR_INVALID, "exactly one of keyPath, keyPaths, keyData and keyDatas is wanted");
        r = get_keys(o, sources[from].field, sources[from].many, arena, &keys, err);
        for (const char **k = keys; r == 0 && *k; k++) {
                _cleanup_(freep) char *plain = NULL;

                if (!sources[from].data) {
                        if (**k != '/' || strlen(*k) >= PATH_MAX)
                                r = err_set(err, ERR_INVALID, "%s: \"%.200s\" is no absolute path", sources[from].field,
                                            *k);
                        continue;
                }
                plain = base64_plain(*k);
                if (!plain)
                        r = err_set(err, ERR_INVALID, "%s is not a key in base64", sources[from].field);
                else
                        *k = arena_strdup(arena, plain);
        }
        if (r < 0)
                return r;
        *(sources[from].data ? &ret->key_pems : &ret->key_paths) = keys;
        return 0;
}

static int parse_signed(const json_t *o, struct arena *arena, struct policy_requirement *ret, struct err *err) {
        static const char *const known[] = { "type",     "keyPath",        "keyPaths", "keyData",
                                             "keyDatas", "signedIdentity", NULL };
        static const char *const beyond[] = { "fulcio",
                                              "pki",
                                              "rekorPublicKeyPath",
                                              "rekorPublicKeyPaths",
                                              "rekorPublicKeyData",
                                              "rekorPublicKeyDatas" };
        const json_t *identity = json_object_get(o, "signedIdentity");
        int r;

        for (size_t i = 0; i < ELEMENTSOF(beyond); i++)
                if (json_object_get(o, beyond[i]))
                        return err_set(err, ERR_UNIMPLEMENTED,
                                       "\"%s\" can't be checked here: name public keys instead (keyPath)", beyond[i]);
        ret->type = POLICY_SIGNED;
        ret->identity.type = IDENTITY_MATCH_REPO_DIGEST_OR_EXACT;
        r = check_fields(o, "a requirement", known, err);
        if (r == 0)
                r = parse_keys(o, arena, ret, err);
        return r == 0 && identity ? parse_identity(identity, arena, &ret->identity, err) : r;
}

static int parse_requirement(const json_t *o, struct arena *arena, struct policy_requirement *ret, struct err *err) {
        static const char *const known[] = { "type", NULL };
        const char *type;
        int r;

        if (!json_is_object(o))
                return err_set(err, ERR_INVALID, "a requirement is no object");
        r = get_text(o, "type", arena, &type, err);
        if (r < 0)
                return r;
        if (str_eq(type, "sigstoreSigned"))
                return parse_signed(o, arena, ret, err);
        if (str_eq(type, "signedBy") || str_eq(type, "signedBaseLayer"))
                return err_set(err, ERR_UNIMPLEMENTED,
                               "\"%s\" can't be checked here: only sigstoreSigned, reject and insecureAcceptAnything",
                               type);
        if (!str_eq(type, "insecureAcceptAnything") && !str_eq(type, "reject"))
                return err_set(err, ERR_INVALID, "unknown type of requirement \"%.60s\"", type);
        ret->type = *type == 'r' ? POLICY_REJECT : POLICY_ACCEPT;
        return check_fields(o, "a requirement", known, err);
}

static int parse_scope(const json_t *list, const char *name, struct arena *arena, struct policy_scope *ret,
                       struct err *err) {
        int r = 0;

        if (json_array_size(list) == 0)
                return err_set(err, ERR_INVALID, "scope \"%.200s\" is no list of requirements, or an empty one", name);
        if (json_array_size(list) > POLICY_LIST_MAX)
                return err_set(err, ERR_EXHAUSTED, "scope \"%.200s\" has more than %d requirements", name,
                               POLICY_LIST_MAX);
        ret->name = arena_strdup(arena, name);
        ret->n_reqs = json_array_size(list);
        ret->reqs = arena_array(arena, struct policy_requirement, ret->n_reqs);
        for (size_t i = 0; r == 0 && i < ret->n_reqs; i++)
                r = parse_requirement(json_array_get(list, i), arena, &ret->reqs[i], err);
        return r < 0 ? err_wrap(err, "scope \"%.200s\"", name) : 0;
}

/* "*.example.com" */
static bool is_wildcard(const char *s, struct arena *arena) {
        return s[0] == '*' && s[1] == '.' && strlen(s) < REF_NAME_MAX && !strpbrk(s, "/:") &&
               is_prefix(arena_printf(arena, "x%s", s + 1), arena);
}

/* An image in full, with tag or digest. */
static bool is_image(const char *s, struct arena *arena) {
        struct ref ref;
        struct err err;

        return strchr(s, '/') && !names_only(s) && ref_parse(s, arena, &ref, &err) == 0 &&
               str_eq(ref_string(&ref, arena), s);
}

static int check_scope_name(const char *s, struct arena *arena, struct err *err) {
        if (!*s || is_wildcard(s, arena) || is_prefix(s, arena) || is_image(s, arena))
                return 0;
        return err_set(err, ERR_INVALID,
                       "scope \"%.200s\" is no image, repository or host in full: no image would match it", s);
}

static int parse_docker(const json_t *docker, struct arena *arena, struct policy *ret, struct err *err) {
        const char *name;
        json_t *list;
        int r = 0;

        if (!json_is_object(docker))
                return err_set(err, ERR_INVALID, "the transport \"docker\" is no object");
        ret->scopes = arena_array(arena, struct policy_scope, json_object_size(docker) + 1);
        json_object_foreach((json_t *) (uintptr_t) docker, name, list) {
                r = check_scope_name(name, arena, err);
                if (r == 0)
                        r = parse_scope(list, name, arena, &ret->scopes[ret->n_scopes++], err);
                if (r < 0)
                        break;
        }
        return r;
}

static const char *const load_transports[] = { "oci", "oci-archive", "docker-archive", "tarball" };

/* As containers/image has it: paths in full, and none for docker-archive and tarball. */
static int check_load_scope(const char *transport, const char *s, struct err *err) {
        bool is_path = s[0] == '/' && s[1] && !strstr(s, "//") && !strstr(s, "/./") && !strstr(s, "/../") &&
                       !str_ends_with(s, "/") && !str_ends_with(s, "/.") && !str_ends_with(s, "/..");

        bool has_paths = !str_eq(transport, "docker-archive") && !str_eq(transport, "tarball");

        if (!*s || (is_path && has_paths))
                return 0;
        return err_set(err, ERR_INVALID, "scope \"%.200s\" of the transport \"%s\" is no %s: nothing would match it", s,
                       transport, has_paths ? "absolute path" : "empty one");
}

static int parse_loads(const json_t *transports, struct arena *arena, struct policy *ret, struct err *err) {
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(load_transports); i++)
                n += json_object_size(json_object_get(transports, load_transports[i]));
        ret->loads = arena_array(arena, struct policy_scope, n + 1);
        for (size_t i = 0; i < ELEMENTSOF(load_transports); i++) {
                json_t *scopes = json_object_get(transports, load_transports[i]), *list;
                const char *name;

                if (scopes && !json_is_object(scopes))
                        return err_set(err, ERR_INVALID, "the transport \"%s\" is no object", load_transports[i]);
                json_object_foreach(scopes, name, list) {
                        struct policy_scope *scope = &ret->loads[ret->n_loads++];
                        int r = check_load_scope(load_transports[i], name, err);

                        if (r == 0)
                                r = parse_scope(list, name, arena, scope, err);
                        if (r < 0)
                                return r;
                        scope->transport = load_transports[i];
                }
        }
        return 0;
}

int policy_parse(const char *data, size_t len, struct arena *arena, struct policy *ret, struct err *err) {
        static const char *const known[] = { "default", "transports", NULL };
        _cleanup_(json_unrefp) json_t *doc = NULL;
        struct policy p = { 0 };
        const json_t *transports, *docker;
        int r;

        if (len > POLICY_BYTES_MAX)
                return err_set(err, ERR_EXHAUSTED, "it is larger than %d bytes", POLICY_BYTES_MAX);
        r = json_load_unique(data, len, JSON_VALUES_MAX, "it", &doc, err);
        if (r == 0)
                r = check_fields(doc, "it", known, err);
        if (r == 0)
                r = parse_scope(json_object_get(doc, "default"), "default", arena, &p.fallback, err);
        transports = json_object_get(doc, "transports");
        if (r == 0 && transports && !json_is_object(transports))
                r = err_set(err, ERR_INVALID, "\"transports\" is no object");
        docker = json_object_get(transports, "docker");
        if (r == 0 && docker)
                r = parse_docker(docker, arena, &p, err);
        if (r == 0 && transports)
                r = parse_loads(transports, arena, &p, err);
        if (r == 0)
                *ret = p;
        return r;
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static const struct policy_scope *scope_named(const struct policy *p, const char *name) {
        for (size_t i = 0; i < p->n_scopes; i++)
                if (str_eq(p->scopes[i].name, name))
                        return &p->scopes[i];
        return NULL;
}

const struct policy_scope *policy_find(const struct policy *p, const struct ref *ref, struct arena *arena) {
        const struct policy_scope *found = scope_named(p, ref_string(ref, arena));
        char *name = arena_strdup(arena, ref_name(ref, arena)), *cut;

        while (!found) {
                found = scope_named(p, name);
                cut = strrchr(name, '/');
                if (!cut)
                        break;
                *cut = '\0';
        }
        /* A wildcard has no port. */
        name[strcspn(name, ":")] = '\0';
        for (const char *dot = strchr(name, '.'); !found && dot; dot = strchr(dot + 1, '.'))
                found = scope_named(p, arena_printf(arena, "*%s", dot));
        return found ?: scope_named(p, "") ?: &p->fallback;
}

static const struct policy_scope *load_scope_named(const struct policy *p, const char *transport, const char *name) {
        for (size_t i = 0; i < p->n_loads; i++)
                if (str_eq(p->loads[i].transport, transport) && str_eq(p->loads[i].name, name))
                        return &p->loads[i];
        return NULL;
}

const struct policy_scope *policy_find_load(const struct policy *p, const char *transport, const char *path,
                                            struct arena *arena) {
        char *name = arena_strdup(arena, path ?: "");
        const struct policy_scope *found = NULL;

        while (*name && !found) {
                found = load_scope_named(p, transport, name);
                *strrchr(name, '/') = '\0';
        }
        return found ?: load_scope_named(p, transport, "") ?: &p->fallback;
}

static bool same_repository(const struct ref *a, const struct ref *b) {
        return str_eq(a->host, b->host) && str_eq(a->path, b->path);
}

static bool same(const struct ref *a, const struct ref *b) {
        return same_repository(a, b) && str_eq(a->tag, b->tag) && str_eq(a->digest, b->digest);
}

/* @ref with the prefix replaced, if it has it. */
static int remap(const struct policy_identity *i, const struct ref *ref, struct arena *arena, struct ref *ret) {
        const char *text = ref_string(ref, arena), *name = ref_name(ref, arena), *rest = str_after(name, i->value);
        struct err err;

        *ret = *ref;
        if (!rest || (*rest && *rest != '/'))
                return 0;
        return ref_parse(arena_printf(arena, "%s%s", i->signed_prefix, text + strlen(i->value)), arena, ret, &err);
}

bool policy_identity_matches(const struct policy_identity *identity, const struct ref *ref, const char *claimed,
                             struct arena *arena) {
        struct ref signed_as, wanted = *ref;
        struct err err;

        if (ref_parse(claimed, arena, &signed_as, &err) < 0)
                return false;
        if (identity->type == IDENTITY_MATCH_REPOSITORY)
                return same_repository(&signed_as, &wanted);
        if (identity->type == IDENTITY_EXACT_REFERENCE || identity->type == IDENTITY_EXACT_REPOSITORY) {
                if (ref_parse(identity->value, arena, &wanted, &err) < 0)
                        return false;
                if (identity->type == IDENTITY_EXACT_REPOSITORY)
                        return same_repository(&signed_as, &wanted);
        }
        /* Of a repository alone it says nothing about the tag, least of all "latest". */
        if (names_only(claimed))
                return false;
        if (identity->type == IDENTITY_REMAP && remap(identity, ref, arena, &wanted) < 0)
                return false;
        if ((identity->type == IDENTITY_REMAP || identity->type == IDENTITY_MATCH_REPO_DIGEST_OR_EXACT) &&
            wanted.digest)
                return same_repository(&signed_as, &wanted);
        return same(&signed_as, &wanted);
}

const char *policy_identity_name(const struct policy_identity *i, struct arena *arena) {
        const char *name = identity_names[i->type];

        if (i->signed_prefix)
                return arena_printf(arena, "%s %s %s", name, i->value, i->signed_prefix);
        return i->value ? arena_printf(arena, "%s %s", name, i->value) : name;
}
