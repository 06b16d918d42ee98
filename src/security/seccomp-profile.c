/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-profile - profiles in the JSON of OCI (config.json's linux.seccomp) and of Docker (archMap, includes,
 * excludes). */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "security/caps.h"
#include "security/seccomp-filter.h"
#include "security/seccomp-words.h"

enum {
        PROFILE_MAX = 1 << 20,
        MAX_VALUES = 50000,
        MAX_RULES = 20000,
        MAX_TESTS = 1024,
        MAX_FURTHER_TESTS = 512,
        MAX_ARGS = 6,
        MAX_CONDITIONS = 64, /* of one rule: alternatives, where there are several of an argument */
        ERRNO_MAX = 4095
};

struct reader {
        const char *name; /* of the profile, for errors */
        bool oci;         /* what Docker's files have more is ignored, and listeners are there */
        bool notify;      /* a rule asks the listener */
        uint64_t caps;
        scmp_filter_ctx ctx;
        uint32_t default_action;
        struct seccomp_newer newer;
        size_t n_rules, n_tests, n_further_tests; /* of arguments: all; those after a rule's first */
        struct err *err;
};

static int bad(struct reader *r, const char *what, const char *value) {
        return err_set(r->err, ERR_INVALID, "%s: %s \"%.100s\"", r->name, what, value);
}

struct name_value {
        const char *name;
        uint32_t value;
};

#define X(name, value) { name, value },
static const struct name_value actions[] = { SECCOMP_ACTIONS(X) };
static const struct name_value operators[] = { SECCOMP_OPERATORS(X) };
static const struct name_value arches[] = { SECCOMP_ARCHES(X) };
static const struct name_value flags[] = { SECCOMP_FLAGS(X) };
#undef X

static bool find(const struct name_value *list, size_t n, const char *name, uint32_t *ret) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(list[i].name, name)) {
                        *ret = list[i].value;
                        return true;
                }
        return false;
}

static int get_action(struct reader *r, const json_t *action, const json_t *errno_ret, int default_errno,
                      uint32_t *ret) {
        const char *name = json_string_value(action);
        json_int_t number = default_errno;

        if (!name)
                return bad(r, "a rule has no", "action");
        if (!find(actions, ELEMENTSOF(actions), name, ret))
                return bad(r, "unknown action", name);
        if (*ret == SCMP_ACT_NOTIFY && !r->oci)
                return err_set(r->err, ERR_UNIMPLEMENTED,
                               "%s: SCMP_ACT_NOTIFY needs a listener, which only bundles (linux.seccomp.listenerPath) "
                               "can name",
                               r->name);
        if (errno_ret && !json_is_null(errno_ret)) {
                const json_int_t max = *ret == SCMP_ACT_TRACE(0) ? UINT16_MAX : ERRNO_MAX;

                if (!json_is_integer(errno_ret) || json_integer_value(errno_ret) < 0 ||
                    json_integer_value(errno_ret) > max)
                        return bad(r, "errnoRet is not a number that fits", name);
                number = json_integer_value(errno_ret);
                if (*ret != SCMP_ACT_ERRNO(0) && *ret != SCMP_ACT_TRACE(0))
                        return bad(r, "errnoRet goes only with SCMP_ACT_ERRNO and SCMP_ACT_TRACE, not with", name);
        }
        if (*ret == SCMP_ACT_ERRNO(0) || *ret == SCMP_ACT_TRACE(0))
                *ret |= (uint32_t) number;
        return 0;
}

/* Does any capability named in @list belong to the container? */
static bool has_cap(const struct reader *r, const json_t *list, bool all) {
        size_t i, n = 0;
        json_t *v;
        int cap;

        json_array_foreach(list, i, v) {
                if (json_is_string(v) && caps_number(json_string_value(v), &cap) && r->caps >> cap & 1)
                        n++;
        }
        return all ? n == json_array_size(list) : n > 0;
}

static bool has_arch(const json_t *list) {
        struct utsname u;
        const char *name;
        size_t i;
        json_t *v;

        (void) uname(&u);
        name = str_eq(u.machine, "x86_64") ? "amd64" : str_eq(u.machine, "aarch64") ? "arm64" : u.machine;
        json_array_foreach(list, i, v) {
                if (str_eq(json_string_value(v), name))
                        return true;
        }
        return false;
}

/* "4.8", "5.10.1-foo": major and minor. */
static bool get_version(const char *text, long *ret_major, long *ret_minor) {
        char *end;

        if (*text < '0' || *text > '9')
                return false;
        *ret_major = strtol(text, &end, 10);
        if (*end != '.' || end[1] < '0' || end[1] > '9')
                return false;
        *ret_minor = strtol(end + 1, &end, 10);
        return true;
}

static bool kernel_at_least(long want_major, long want_minor) {
        long major = 0, minor = 0;
        struct utsname u;

        (void) uname(&u);
        (void) get_version(u.release, &major, &minor);
        return major > want_major || (major == want_major && minor >= want_minor);
}

static bool is_list_of_strings(const json_t *list) {
        size_t i;
        json_t *v;

        if (!json_is_array(list))
                return false;
        json_array_foreach(list, i, v) {
                if (!json_is_string(v))
                        return false;
        }
        return true;
}

/* "includes" or "excludes" of a rule: @ret_all and @ret_any, over what it names. Nothing named: all true, none any. */
static int check_condition(struct reader *r, const json_t *cond, bool *ret_all, bool *ret_any) {
        const json_t *caps = json_object_get(cond, "caps"), *archs = json_object_get(cond, "arches"),
                     *kernel = json_object_get(cond, "minKernel");
        bool arch, new_enough;
        long major, minor;

        *ret_all = true;
        *ret_any = false;
        if (!cond || json_is_null(cond))
                return 0;
        if (!json_is_object(cond) || (caps && !json_is_null(caps) && !is_list_of_strings(caps)) ||
            (archs && !json_is_null(archs) && !is_list_of_strings(archs)))
                return bad(r, "a rule's condition needs lists of strings:", "caps, arches");
        if (json_array_size(caps) > 0) {
                *ret_all = has_cap(r, caps, true);
                *ret_any = has_cap(r, caps, false);
        }
        if (json_array_size(archs) > 0) {
                arch = has_arch(archs);
                *ret_all = *ret_all && arch;
                *ret_any = *ret_any || arch;
        }
        if (kernel && !json_is_null(kernel) && !(json_is_string(kernel) && json_string_length(kernel) == 0)) {
                if (!json_is_string(kernel) || !get_version(json_string_value(kernel), &major, &minor))
                        return bad(r, "not a kernel version:", json_string_value(kernel) ?: "");
                new_enough = kernel_at_least(major, minor);
                *ret_all = *ret_all && new_enough;
                *ret_any = *ret_any || new_enough;
        }
        return 0;
}

static int condition_holds(struct reader *r, const json_t *rule, bool *ret) {
        bool included, excluded, unused;
        int rc;

        rc = check_condition(r, json_object_get(rule, "includes"), &included, &unused);
        if (rc == 0)
                rc = check_condition(r, json_object_get(rule, "excludes"), &unused, &excluded);
        *ret = rc == 0 && included && !excluded;
        return rc;
}

/* A number of an argument: absent is 0. */
static bool get_value(const json_t *v, scmp_datum_t *ret) {
        *ret = 0;
        return !v || json_is_null(v) || json_to_u64(v, ret);
}

static int get_args(struct reader *r, const json_t *args, struct scmp_arg_cmp out[MAX_CONDITIONS], unsigned *ret_n) {
        const json_t *a;
        uint32_t op;
        size_t i;

        *ret_n = 0;
        if (!args || json_is_null(args))
                return 0;
        if (!json_is_array(args) || json_array_size(args) > MAX_CONDITIONS)
                return bad(r, "bad list", "args");
        json_array_foreach(args, i, a) {
                const json_t *index = json_object_get(a, "index");
                scmp_datum_t value, two;
                const char *name = json_string_value(json_object_get(a, "op"));

                if (!json_is_integer(index) || json_integer_value(index) < 0 || json_integer_value(index) >= MAX_ARGS)
                        return bad(r, "an argument needs an index between 0 and 5:", "index");
                if (!name || !find(operators, ELEMENTSOF(operators), name, &op))
                        return bad(r, "unknown operator", name ? name : "");
                if (!get_value(json_object_get(a, "value"), &value) || !get_value(json_object_get(a, "valueTwo"), &two))
                        return bad(r, "an argument's value is not a number of zero or more:", "value");
                out[i] = (struct scmp_arg_cmp){
                        .arg = (unsigned) json_integer_value(index),
                        .op = (enum scmp_compare) op,
                        .datum_a = value,
                        .datum_b = two,
                };
        }
        *ret_n = (unsigned) json_array_size(args);
        return 0;
}

/* One test per argument goes in one rule; two tests of one argument can't, and are alternatives (as in runc). */
static int add_rule(struct reader *r, int nr, uint32_t action, const struct scmp_arg_cmp *args, unsigned n) {
        unsigned seen = 0;
        bool twice = false;
        int rc = 0;

        if (++r->n_rules > MAX_RULES)
                return err_set(r->err, ERR_EXHAUSTED, "%s has more than %d rules", r->name, MAX_RULES);
        for (unsigned i = 0; i < n; i++) {
                twice = twice || seen >> args[i].arg & 1;
                seen |= 1u << args[i].arg;
        }
        r->n_tests += twice ? n : n > 0;
        r->n_further_tests += !twice && n > 1 ? n - 1 : 0;
        /* libseccomp takes a second for a hundred rules of six arguments, and minutes for two hundred. */
        if (r->n_tests > MAX_TESTS || r->n_further_tests > MAX_FURTHER_TESTS)
                return err_set(r->err, ERR_EXHAUSTED,
                               "%s has too many rules with arguments: %d, or %d further arguments", r->name, MAX_TESTS,
                               MAX_FURTHER_TESTS);
        if (!twice)
                rc = seccomp_rule_add_array(r->ctx, action, nr, n, args);
        for (unsigned i = 0; twice && rc >= 0 && i < n; i++)
                rc = seccomp_rule_add_array(r->ctx, action, nr, 1, args + i);
        return rc < 0 ? err_set(r->err, ERR_INVALID, "%s: a rule for system call %d does not fit those before it: %s",
                                r->name, nr, strerrordesc_np(-rc) ?: "")
                      : 0;
}

/* A name that libseccomp does not know: of another architecture, or newer than it. A newer one's arguments can't be
 * looked at, so what would be refused by them is refused whole where all else is allowed. */
static int add_unknown(struct reader *r, const char *name, uint32_t action, unsigned n_args) {
        int nr = seccomp_newer_number(name);

        if (nr >= 0 && n_args > 0 && r->default_action == SCMP_ACT_ALLOW)
                return bad(r, "this host's libseccomp is too old to look at arguments of", name);
        if (nr >= 0 && n_args == 0)
                seccomp_newer_add(&r->newer, nr, action);
        return 0;
}

static int add_name(struct reader *r, const json_t *name, uint32_t action, const struct scmp_arg_cmp *args,
                    unsigned n) {
        int nr;

        if (!json_is_string(name))
                return bad(r, "not a list of strings:", "names");
        r->notify = r->notify || action == SCMP_ACT_NOTIFY;
        nr = seccomp_syscall_resolve_name(json_string_value(name));
        return nr == __NR_SCMP_ERROR ? add_unknown(r, json_string_value(name), action, n)
                                     : add_rule(r, nr, action, args, n);
}

static int add_syscalls(struct reader *r, const json_t *rule) {
        const json_t *names = json_object_get(rule, "names"), *one = r->oci ? NULL : json_object_get(rule, "name"), *v;
        struct scmp_arg_cmp args[MAX_CONDITIONS];
        uint32_t action;
        bool holds = r->oci;
        unsigned n = 0;
        size_t i;
        int rc;

        if ((!json_is_array(names) && !json_is_string(one)) || (r->oci && json_array_size(names) == 0))
                return bad(r, "a rule has no", "names");
        rc = get_action(r, json_object_get(rule, "action"), json_object_get(rule, "errnoRet"), EPERM, &action);
        if (rc == 0)
                rc = get_args(r, json_object_get(rule, "args"), args, &n);
        if (rc == 0 && !r->oci)
                rc = condition_holds(r, rule, &holds);
        /* The default action needs no rule, and libseccomp takes none. */
        if (rc < 0 || !holds || action == r->default_action)
                return rc;
        if (json_is_string(one) && json_string_length(one) > 0)
                rc = add_name(r, one, action, args, n);
        json_array_foreach(names, i, v) {
                if (rc == 0)
                        rc = add_name(r, v, action, args, n);
        }
        return rc;
}

static int add_arch(struct reader *r, const json_t *name) {
        uint32_t arch;
        int rc;

        if (!json_is_string(name) || !find(arches, ELEMENTSOF(arches), json_string_value(name), &arch))
                return bad(r, "unknown architecture", json_is_string(name) ? json_string_value(name) : "");
        rc = seccomp_arch_add(r->ctx, arch);
        return rc < 0 && rc != -EEXIST
                       ? bad(r, "this host's libseccomp can't filter architecture", json_string_value(name))
                       : 0;
}

static int add_arches(struct reader *r, const json_t *root) {
        const json_t *v, *sub;
        size_t i, j;
        int rc;

        json_array_foreach(json_object_get(root, "architectures"), i, v) {
                rc = add_arch(r, v);
                if (rc < 0)
                        return rc;
        }
        json_array_foreach(r->oci ? NULL : json_object_get(root, "archMap"), i, v) {
                uint32_t arch;

                if (!find(arches, ELEMENTSOF(arches), json_string_value(json_object_get(v, "architecture")), &arch) ||
                    arch != seccomp_arch_native())
                        continue;
                json_array_foreach(json_object_get(v, "subArchitectures"), j, sub) {
                        rc = add_arch(r, sub);
                        if (rc < 0)
                                return rc;
                }
        }
        return 0;
}

static int get_flags(struct reader *r, const json_t *root, uint32_t *ret) {
        const json_t *v;
        uint32_t flag;
        size_t i;

        *ret = 0;
        json_array_foreach(json_object_get(root, "flags"), i, v) {
                if (!json_is_string(v) || !find(flags, ELEMENTSOF(flags), json_string_value(v), &flag))
                        return bad(r, "unknown flag", json_is_string(v) ? json_string_value(v) : "");
                *ret |= flag;
        }
        *ret &= ~SECCOMP_FILTER_FLAG_TSYNC; /* of no use to a process with one thread */
        return 0;
}

static int check_lists(struct reader *r, const json_t *root) {
        static const char *const names[] = { "architectures", "flags", "syscalls" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const json_t *list = json_object_get(root, names[i]);

                if (list && !json_is_null(list) && !json_is_array(list))
                        return bad(r, "not a list:", names[i]);
        }
        return 0;
}

static int build(struct reader *r, const json_t *root, const struct seccomp_filter **ret) {
        const json_t *syscalls = json_object_get(root, "syscalls"), *rule;
        uint32_t filter_flags = 0;
        size_t i;
        int rc;

        rc = get_action(r, json_object_get(root, "defaultAction"), json_object_get(root, "defaultErrnoRet"), EPERM,
                        &r->default_action);
        r->notify = r->default_action == SCMP_ACT_NOTIFY;
        if (rc == 0)
                rc = get_flags(r, root, &filter_flags);
        if (rc < 0)
                return rc;
        rc = check_lists(r, root);
        if (rc < 0)
                return rc;
        r->newer.refuse = (r->default_action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;
        r->ctx = seccomp_init(r->default_action);
        if (!r->ctx)
                return err_set(r->err, ERR_EXHAUSTED, "no memory for a seccomp filter");
        rc = seccomp_filter_optimize(r->ctx);
        if (rc < 0)
                return err_sys(r->err, -rc, "%s", r->name);
        rc = add_arches(r, root);
        if (rc < 0)
                return rc;
        json_array_foreach(syscalls, i, rule) {
                rc = add_syscalls(r, rule);
                if (rc < 0)
                        return rc;
        }
        /* Of the listener: the kernel knows the flag only with one. */
        if (!r->notify)
                filter_flags &= ~(uint32_t) SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        rc = seccomp_filter_export(r->ctx, &r->newer, filter_flags, ret, r->err);
        return rc < 0 ? err_wrap(r->err, "%s", r->name) : 0;
}

static int parse(struct reader *r, const char *json, size_t len, const struct seccomp_filter **ret) {
        _cleanup_(json_unrefp) json_t *root = NULL;
        int rc;

        if (len > PROFILE_MAX)
                return err_set(r->err, ERR_EXHAUSTED, "%s is larger than %d bytes", r->name, PROFILE_MAX);
        rc = json_load_bounded(json, len, MAX_VALUES, r->name, &root, r->err);
        if (rc < 0)
                return rc;
        rc = build(r, root, ret);
        if (r->ctx)
                seccomp_release(r->ctx);
        /* libseccomp leaves hundreds of KiB of free heap behind. */
        (void) malloc_trim(0);
        return rc;
}

int seccomp_parse(const char *name, const char *json, size_t len, uint64_t caps, const struct seccomp_filter **ret,
                  struct err *err) {
        char what[512];
        struct reader r = { .name = what, .caps = caps, .err = err };

        (void) snprintf(what, sizeof(what), "seccomp profile %s", name);
        return parse(&r, json, len, ret);
}

int seccomp_parse_oci(const char *json, size_t len, const struct seccomp_filter **ret, bool *ret_notify,
                      struct err *err) {
        struct reader r = { .name = "linux.seccomp", .oci = true, .err = err };
        int rc = parse(&r, json, len, ret);

        *ret_notify = rc == 0 && r.notify;
        return rc;
}

int seccomp_read_profile(const char *path, uint64_t caps, const struct seccomp_filter **ret, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        size_t len;
        int r;

        if (path[0] != '/')
                return err_set(err, ERR_INVALID, "seccomp profile \"%s\" must be an absolute path", path);
        r = fs_read_file(AT_FDCWD, path, PROFILE_MAX, &text, &len, err);
        if (r < 0) {
                if (err->sys_errno == ENOENT)
                        return err_set(err, ERR_INVALID, "seccomp profile %s does not exist on this node", path);
                return err_wrap(err, "read seccomp profile");
        }
        return seccomp_parse(path, text, len, caps, ret, err);
}
