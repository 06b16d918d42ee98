/* SPDX-License-Identifier: Apache-2.0 */
/* security - capabilities, seccomp, AppArmor, masked and read-only paths of a container's process. */
#include "base/log.h"
#include "pod/ct.h"
#include "pod/specgen.h"
#include "security/apparmor.h"
#include "security/caps.h"
#include "security/paths.h"
#include "security/seccomp.h"

static const char *const no_strings[] = { NULL };

static const CRI(LinuxContainerSecurityContext) * context_of(const CRI(ContainerConfig) * config) {
        return config->linux ? config->linux->security_context : NULL;
}

/* Two fields that CRI has replaced, and older kubelets may still send. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static const char *old_seccomp(const CRI(LinuxContainerSecurityContext) * sc) {
        return sc ? sc->seccomp_profile_path : NULL;
}

static const char *old_apparmor(const CRI(LinuxContainerSecurityContext) * sc) {
        return sc ? sc->apparmor_profile : NULL;
}
#pragma GCC diagnostic pop

bool container_is_privileged(const CRI(ContainerConfig) * config) {
        const CRI(LinuxContainerSecurityContext) *sc = context_of(config);

        return sc && sc->privileged;
}

static const char *const *terminated(char *const *list, size_t n, struct arena *arena) {
        const char **out = arena_array(arena, const char *, n + 1);

        for (size_t i = 0; i < n; i++)
                out[i] = list[i];
        return out;
}

static int take_caps(const CRI(LinuxContainerSecurityContext) * sc, struct arena *arena, struct spec_caps *ret,
                     struct err *err) {
        struct caps_request req = { .privileged = sc && sc->privileged };
        struct caps_sets sets;
        int r;

        if (sc && sc->capabilities) {
                const CRI(Capability) *c = sc->capabilities;

                req.add = terminated(c->add_capabilities, c->n_add_capabilities, arena);
                req.drop = terminated(c->drop_capabilities, c->n_drop_capabilities, arena);
                req.ambient = terminated(c->add_ambient_capabilities, c->n_add_ambient_capabilities, arena);
        }
        r = caps_resolve(&req, &sets, err);
        if (r == 0)
                *ret = (struct spec_caps){ sets.bounding, sets.effective, sets.permitted, sets.inheritable,
                                           sets.ambient };
        return r;
}

/* --- seccomp ------------------------------------------------------------------------------------------------------ */

/* Which profile: its kind, and the file of a Localhost one. The new field wins over the deprecated string. */
static int choose_seccomp(const CRI(LinuxContainerSecurityContext) * sc, CRI(SecurityProfile__ProfileType) * kind,
                          const char **file, struct err *err) {
        const char *old = old_seccomp(sc);

        *kind = CRI_(SECURITY_PROFILE__PROFILE_TYPE__Unconfined);
        *file = NULL;
        if (sc && sc->seccomp) {
                *kind = sc->seccomp->profile_type;
                *file = sc->seccomp->localhost_ref;
        } else if (str_empty(old) || str_eq(old, "unconfined"))
                return 0;
        else if (str_eq(old, "runtime/default") || str_eq(old, "docker/default"))
                *kind = CRI_(SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault);
        else if (str_after(old, "localhost/")) {
                *kind = CRI_(SECURITY_PROFILE__PROFILE_TYPE__Localhost);
                *file = str_after(old, "localhost/");
        } else
                return err_set(err, ERR_INVALID, "unknown seccomp profile \"%.128s\"", old);
        if (*kind == CRI_(SECURITY_PROFILE__PROFILE_TYPE__Localhost) && (str_empty(*file) || **file != '/'))
                return err_set(err, ERR_INVALID, "seccomp profile \"%.128s\" is not an absolute path",
                               *file ? *file : "");
        return 0;
}

static int use_filter(const struct seccomp_filter *f, struct arena *arena, struct spec_process *p) {
        p->seccomp = arena_memdup(arena, f->insns, f->n * sizeof(*f->insns));
        p->n_seccomp = f->n;
        return 0;
}

/* A filter of a file is kept: an exec must get the one its container got, whatever became of the file. (A daemon that
 * was restarted reads it again.) */
static int take_seccomp(struct container *c, struct arena *arena, struct spec_process *p, struct err *err) {
        const CRI(LinuxContainerSecurityContext) *sc = context_of(c->config);
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *filter = NULL;
        CRI(SecurityProfile__ProfileType) kind;
        const char *file;
        int r;

        if (sc && sc->privileged)
                return 0;
        r = choose_seccomp(sc, &kind, &file, err);
        if (r < 0)
                return r;
        if (kind == CRI_(SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault) && c->sandbox->seccomp_profile) {
                kind = CRI_(SECURITY_PROFILE__PROFILE_TYPE__Localhost);
                file = c->sandbox->seccomp_profile;
        }
        switch (kind) {
        case CRI_(SECURITY_PROFILE__PROFILE_TYPE__Unconfined):
                return 0;
        case CRI_(SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault):
                r = seccomp_default(p->caps.bounding, &filter, err);
                break;
        case CRI_(SECURITY_PROFILE__PROFILE_TYPE__Localhost):
                if (c->seccomp)
                        return use_filter(c->seccomp, arena, p);
                r = seccomp_read_profile(file, p->caps.bounding, &filter, err);
                if (r == 0 && container_get_phase(c) == CONTAINER_CREATING) {
                        c->seccomp = TAKE_PTR(filter);
                        return use_filter(c->seccomp, arena, p);
                }
                break;
        default:
                r = err_set(err, ERR_INVALID, "unknown type of seccomp profile");
        }
        return r < 0 ? r : use_filter(filter, arena, p);
}

/* --- AppArmor ----------------------------------------------------------------------------------------------------- */

static int use_profile(const char *name, struct arena *arena, struct spec_process *p, struct err *err) {
        int r;

        if (str_after(name, "localhost/"))
                name = str_after(name, "localhost/");
        if (str_empty(name))
                return err_set(err, ERR_INVALID, "the AppArmor profile has no name");
        r = apparmor_check_loaded(name, err);
        if (r == 0)
                p->apparmor_profile = arena_strdup(arena, name);
        return r;
}

/* The runtime's own, where the host has AppArmor and the profile could be loaded. */
static void use_default_profile(const struct pods *pods, struct arena *arena, struct spec_process *p) {
        if (!str_empty(pods->apparmor_profile))
                p->apparmor_profile = arena_strdup(arena, pods->apparmor_profile);
}

static bool asks_for_localhost(const CRI(LinuxContainerSecurityContext) * sc) {
        return sc && sc->apparmor ? sc->apparmor->profile_type == CRI_(SECURITY_PROFILE__PROFILE_TYPE__Localhost)
                                  : !str_empty(old_apparmor(sc)) && str_after(old_apparmor(sc), "localhost/");
}

static int take_apparmor(struct container *c, struct arena *arena, struct spec_process *p, struct err *err) {
        const CRI(LinuxContainerSecurityContext) *sc = context_of(c->config);
        const char *old = old_apparmor(sc);

        /* Nothing in a Proxmox container is confined less than that. */
        if (c->sandbox->in_ct && !asks_for_localhost(sc))
                return ct_apparmor_profile(c->sandbox, arena, &p->apparmor_profile, err);

        if (sc && sc->privileged)
                return 0;
        if (sc && sc->apparmor) {
                switch (sc->apparmor->profile_type) {
                case CRI_(SECURITY_PROFILE__PROFILE_TYPE__Unconfined):
                        return 0;
                case CRI_(SECURITY_PROFILE__PROFILE_TYPE__Localhost):
                        return use_profile(sc->apparmor->localhost_ref, arena, p, err);
                case CRI_(SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault):
                        use_default_profile(c->pods, arena, p);
                        return 0;
                default:
                        return err_set(err, ERR_INVALID, "unknown type of AppArmor profile");
                }
        }
        if (str_empty(old) || str_eq(old, "runtime/default"))
                use_default_profile(c->pods, arena, p);
        else if (str_after(old, "localhost/"))
                return use_profile(old, arena, p, err);
        else if (!str_eq(old, "unconfined"))
                return err_set(err, ERR_INVALID, "unknown AppArmor profile \"%.128s\"", old);
        return 0;
}

/* --- all ---------------------------------------------------------------------------------------------------------- */

int security_process(struct container *c, struct arena *arena, struct spec_process *ret, struct err *err) {
        const CRI(LinuxContainerSecurityContext) *sc = context_of(c->config);
        int r = take_caps(sc, arena, &ret->caps, err);

        if (r == 0)
                r = take_seccomp(c, arena, ret, err);
        ret->no_new_privs = sc && sc->no_new_privs;
        ret->selinux_label = c->selinux_label;
        return r < 0 ? r : take_apparmor(c, arena, ret, err);
}

int security_pause(struct arena *arena, struct spec_process *ret, struct err *err) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *filter = NULL;
        int r = seccomp_default(0, &filter, err);

        return r < 0 ? r : use_filter(filter, arena, ret);
}

/* Proto has no absent lists: an empty one means the default, unless the container unmasks /proc by other means
 * (privileged). kubelet sends procMount Unmasked as an empty list, too; the other runtimes read it the same way. */
static const char *const *paths_or_default(char *const *given, size_t n, const char *const *fallback,
                                           struct arena *arena) {
        return n > 0 ? terminated(given, n, arena) : fallback;
}

int security_paths(const CRI(ContainerConfig) * config, struct arena *arena, struct spec *spec, struct err *err) {
        const CRI(LinuxContainerSecurityContext) *sc = context_of(config);

        if (sc && sc->privileged) {
                spec->masked_paths = spec->readonly_paths = no_strings;
                return 0;
        }
        spec->masked_paths = paths_or_default(sc ? sc->masked_paths : NULL, sc ? sc->n_masked_paths : 0,
                                              paths_masked_default, arena);
        spec->readonly_paths = paths_or_default(sc ? sc->readonly_paths : NULL, sc ? sc->n_readonly_paths : 0,
                                                paths_readonly_default, arena);
        for (const char *const *p = spec->masked_paths; *p; p++)
                if (**p != '/')
                        return err_set(err, ERR_INVALID, "masked path \"%.128s\" is not absolute", *p);
        for (const char *const *p = spec->readonly_paths; *p; p++)
                if (**p != '/')
                        return err_set(err, ERR_INVALID, "readonly path \"%.128s\" is not absolute", *p);
        return 0;
}
