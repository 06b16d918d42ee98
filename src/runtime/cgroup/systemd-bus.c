/* SPDX-License-Identifier: Apache-2.0 */
/* systemd-bus - units of systemd by D-Bus, over its private socket, which needs no D-Bus daemon. libsystemd is loaded
 * here and nowhere else, and only when it is used: the runtime's program would start slower with it. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "runtime/cgroup/systemd.h"

/* --- the library ---------------------------------------------------------------------------------------------------
 */

#define FUNCTIONS(X)                                                                                                   \
        X(sd_bus_new)                                                                                                  \
        X(sd_bus_set_address)                                                                                          \
        X(sd_bus_start)                                                                                                \
        X(sd_bus_open_system)                                                                                          \
        X(sd_bus_flush_close_unref)                                                                                    \
        X(sd_bus_match_signal)                                                                                         \
        X(sd_bus_process)                                                                                              \
        X(sd_bus_wait)                                                                                                 \
        X(sd_bus_call)                                                                                                 \
        X(sd_bus_call_method)                                                                                          \
        X(sd_bus_get_property)                                                                                         \
        X(sd_bus_path_encode)                                                                                          \
        X(sd_bus_error_free)                                                                                           \
        X(sd_bus_message_new_method_call)                                                                              \
        X(sd_bus_message_append_basic)                                                                                 \
        X(sd_bus_message_append_array)                                                                                 \
        X(sd_bus_message_append_strv)                                                                                  \
        X(sd_bus_message_open_container)                                                                               \
        X(sd_bus_message_close_container)                                                                              \
        X(sd_bus_message_copy)                                                                                         \
        X(sd_bus_message_get_signature)                                                                                \
        X(sd_bus_message_read_basic)                                                                                   \
        X(sd_bus_message_unref)

static struct {
#define X(name) typeof(name) *name;
        FUNCTIONS(X)
#undef X
} lib;

static int load(struct err *err) {
        static bool loaded;
        void *handle;

        if (loaded)
                return 0;
        handle = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
        if (!handle)
                return err_set(err, ERR_PRECONDITION,
                               "cgroup driver systemd: libsystemd.so.0 can't be loaded (package libsystemd0): %.300s",
                               dlerror());
#define X(name)                                                                                                        \
        lib.name = (typeof(lib.name)) dlsym(handle, #name);                                                            \
        if (!lib.name)                                                                                                 \
                return err_set(err, ERR_PRECONDITION, "cgroup driver systemd: libsystemd.so.0 has no " #name);
        FUNCTIONS(X)
#undef X
        loaded = true;
        return 0;
}

/* --- the connection ------------------------------------------------------------------------------------------------
 */

static const char service[] = "org.freedesktop.systemd1", manager_path[] = "/org/freedesktop/systemd1",
                  manager[] = "org.freedesktop.systemd1.Manager";

enum { CALL_TIMEOUT_US = UNIT_TIMEOUT_MS * 1000 };

struct unit_bus {
        sd_bus *bus;
        unsigned version;
        /* The job that is waited for, and how it ended. */
        char *job, *result;
};

static int bus_error(struct err *err, int r, const sd_bus_error *e, const char *what, const char *unit) {
        enum err_code code = ERR_INTERNAL;

        if (r == -ETIMEDOUT || (e && e->name && str_ends_with(e->name, ".NoReply")))
                code = ERR_DEADLINE;
        else if (e && e->name && str_ends_with(e->name, ".UnitExists"))
                code = ERR_EXISTS;
        else if (e && e->name && str_ends_with(e->name, ".NoSuchUnit"))
                code = ERR_NOT_FOUND;
        else if (e && e->name &&
                 (str_ends_with(e->name, ".InvalidArgs") || str_ends_with(e->name, ".PropertyReadOnly")))
                code = ERR_INVALID;
        return err_set(err, code, "systemd: %s %s: %s", what, unit, e && e->message ? e->message : strerror(-r));
}

/* "252.39-1~deb12u2", "v245.4" */
static unsigned parse_version(const char *text) {
        return (unsigned) strtoul(text + (*text == 'v'), NULL, 10);
}

static int job_removed(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        struct unit_bus *b = userdata;
        const char *path, *unit, *result;
        uint32_t id;

        if (lib.sd_bus_message_read_basic(m, 'u', &id) < 0 || lib.sd_bus_message_read_basic(m, 'o', &path) < 0 ||
            lib.sd_bus_message_read_basic(m, 's', &unit) < 0 || lib.sd_bus_message_read_basic(m, 's', &result) < 0)
                return 0;
        if (b->job && str_eq(b->job, path) && !b->result)
                b->result = xstrdup(result);
        return 0;
}

static int get_property(struct unit_bus *b, const char *path, const char *interface, const char *name, const char *type,
                        sd_bus_message **ret, struct err *err) {
        sd_bus_error e = SD_BUS_ERROR_NULL;
        int r = lib.sd_bus_get_property(b->bus, service, path, interface, name, &e, ret, type);

        if (r < 0)
                r = bus_error(err, r, &e, "read property", name);
        lib.sd_bus_error_free(&e);
        return r < 0 ? r : 0;
}

static int read_version(struct unit_bus *b, struct err *err) {
        sd_bus_message *reply = NULL;
        const char *text = "";
        int r = get_property(b, manager_path, manager, "Version", "s", &reply, err);

        if (r < 0)
                return r;
        if (lib.sd_bus_message_read_basic(reply, 's', &text) >= 0)
                b->version = parse_version(text);
        lib.sd_bus_message_unref(reply);
        return 0;
}

static int connect_bus(struct unit_bus *b) {
        int r = lib.sd_bus_new(&b->bus);

        if (r >= 0)
                r = lib.sd_bus_set_address(b->bus, "unix:path=/run/systemd/private");
        if (r >= 0)
                r = lib.sd_bus_start(b->bus);
        if (r >= 0)
                return 0;
        b->bus = lib.sd_bus_flush_close_unref(b->bus);
        r = lib.sd_bus_open_system(&b->bus);
        return r < 0 ? r : 0;
}

int unit_bus_open(struct unit_bus **ret, struct err *err) {
        _cleanup_(unit_bus_freep) struct unit_bus *b = NULL;
        int r;

        if (access("/run/systemd/system", F_OK) < 0)
                return err_set(err, ERR_PRECONDITION,
                               "systemd not running on this host, cannot use systemd cgroups manager");
        if (geteuid() != 0)
                return err_set(err, ERR_PRECONDITION,
                               "cgroup driver systemd: a user's own systemd is not supported, run as root or use "
                               "cgroupfs");
        r = load(err);
        if (r < 0)
                return r;
        b = xnew(struct unit_bus);
        r = connect_bus(b);
        if (r < 0)
                return err_sys(err, -r, "connect to systemd");
        r = lib.sd_bus_match_signal(b->bus, NULL, NULL, manager_path, manager, "JobRemoved", job_removed, b);
        if (r >= 0) /* needed on the system's bus; systemd's own socket tells everything anyway */
                r = lib.sd_bus_call_method(b->bus, service, manager_path, manager, "Subscribe", NULL, NULL, NULL);
        if (r < 0)
                return err_sys(err, -r, "subscribe to systemd's signals");
        r = read_version(b, err);
        if (r == 0)
                *ret = TAKE_PTR(b);
        return r;
}

struct unit_bus *unit_bus_free(struct unit_bus *b) {
        if (!b)
                return NULL;
        if (b->bus)
                (void) lib.sd_bus_flush_close_unref(b->bus);
        free(b->job);
        free(b->result);
        free(b);
        return NULL;
}

unsigned unit_bus_version(const struct unit_bus *b) {
        return b->version;
}

/* --- properties ----------------------------------------------------------------------------------------------------
 */

static int append_number(sd_bus_message *m, const struct unit_prop *p) {
        union {
                uint8_t y;
                uint16_t q; /* and n */
                uint32_t u; /* and i */
                uint64_t t; /* and x */
                int b;
        } n = { .t = 0 };

        switch (p->type[0]) {
        case 'b':
                n.b = p->number != 0;
                break;
        case 'y':
                n.y = (uint8_t) p->number;
                break;
        case 'n':
        case 'q':
                n.q = (uint16_t) p->number;
                break;
        case 'i':
        case 'u':
                n.u = (uint32_t) p->number;
                break;
        default:
                n.t = p->number;
        }
        return lib.sd_bus_message_append_basic(m, p->type[0], &n);
}

static int append_devices(sd_bus_message *m, const struct unit_prop *p) {
        int r = lib.sd_bus_message_open_container(m, 'a', "(ss)");

        for (size_t i = 0; i < p->n_devices && r >= 0; i++)
                if ((r = lib.sd_bus_message_open_container(m, 'r', "ss")) >= 0 &&
                    (r = lib.sd_bus_message_append_basic(m, 's', p->devices[i].path)) >= 0 &&
                    (r = lib.sd_bus_message_append_basic(m, 's', p->devices[i].access)) >= 0)
                        r = lib.sd_bus_message_close_container(m);
        return r < 0 ? r : lib.sd_bus_message_close_container(m);
}

static int append_value(sd_bus_message *m, const struct unit_prop *p) {
        if (str_eq(p->type, "a(ss)"))
                return append_devices(m, p);
        if (str_eq(p->type, "as"))
                return lib.sd_bus_message_append_strv(m, (char **) (uintptr_t) p->texts);
        if (p->type[0] == 'a')
                return lib.sd_bus_message_append_array(m, p->type[1], p->bytes, p->n_bytes);
        if (p->type[0] == 's' || p->type[0] == 'o')
                return lib.sd_bus_message_append_basic(m, p->type[0], p->text);
        if (p->type[0] == 'd')
                return lib.sd_bus_message_append_basic(m, 'd', &p->real);
        return append_number(m, p);
}

/* One (sv): the value is @p's, or what @copied reads. */
static int append_prop(sd_bus_message *m, const struct unit_prop *p, sd_bus_message *copied) {
        int r = lib.sd_bus_message_open_container(m, 'r', "sv");

        if (r >= 0)
                r = lib.sd_bus_message_append_basic(m, 's', p->name);
        if (r >= 0)
                r = lib.sd_bus_message_open_container(m, 'v', p->type);
        if (r >= 0)
                r = copied ? lib.sd_bus_message_copy(m, copied, true) : append_value(m, p);
        if (r >= 0)
                r = lib.sd_bus_message_close_container(m);
        return r < 0 ? r : lib.sd_bus_message_close_container(m);
}

static int append_props(sd_bus_message *m, const struct unit_props *p) {
        int r = lib.sd_bus_message_open_container(m, 'a', "(sv)");

        for (size_t i = 0; i < p->n && r >= 0; i++)
                r = append_prop(m, &p->list[i], NULL);
        return r < 0 ? r : lib.sd_bus_message_close_container(m);
}

static int new_call(struct unit_bus *b, const char *method, const char *unit, sd_bus_message **ret) {
        int r = lib.sd_bus_message_new_method_call(b->bus, ret, service, manager_path, manager, method);

        return r < 0 ? r : lib.sd_bus_message_append_basic(*ret, 's', unit);
}

/* --- jobs ----------------------------------------------------------------------------------------------------------
 */

static int wait_job(struct unit_bus *b, const char *what, const char *unit, struct err *err) {
        uint64_t until_ms = clock_monotonic_ns() / 1000000 + UNIT_TIMEOUT_MS;
        int r = 0;

        while (!b->result && r >= 0) {
                uint64_t now = clock_monotonic_ns() / 1000000;

                if (now >= until_ms)
                        return err_set(err, ERR_DEADLINE, "systemd: %s %s: not done after %d s", what, unit,
                                       UNIT_TIMEOUT_MS / 1000);
                r = lib.sd_bus_process(b->bus, NULL);
                if (r == 0)
                        r = lib.sd_bus_wait(b->bus, (until_ms - now) * 1000);
        }
        if (r < 0)
                return err_sys(err, -r, "systemd: wait to %s %s", what, unit);
        if (!str_eq(b->result, "done"))
                return err_set(err, ERR_INTERNAL, "systemd: %s %s: the job ended with \"%s\"", what, unit, b->result);
        return 0;
}

/* Sends the call, whose answer is a job's path, and waits for the job. The signal of its end stays in the connection's
 * queue until then. */
static int run_job(struct unit_bus *b, sd_bus_message *m, const char *what, const char *unit, struct err *err) {
        sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        const char *job;
        int r = lib.sd_bus_call(b->bus, m, CALL_TIMEOUT_US, &e, &reply);

        if (r >= 0)
                r = lib.sd_bus_message_read_basic(reply, 'o', &job);
        if (r < 0) {
                r = bus_error(err, r, &e, what, unit);
        } else {
                free(b->job);
                free(b->result);
                b->job = xstrdup(job);
                b->result = NULL;
                r = wait_job(b, what, unit, err);
        }
        lib.sd_bus_message_unref(reply);
        lib.sd_bus_error_free(&e);
        return r;
}

static void reset_failed(struct unit_bus *b, const char *unit) {
        sd_bus_message *m = NULL;

        if (new_call(b, "ResetFailedUnit", unit, &m) >= 0)
                (void) lib.sd_bus_call(b->bus, m, CALL_TIMEOUT_US, NULL, NULL);
        lib.sd_bus_message_unref(m);
}

static int start_once(struct unit_bus *b, const char *unit, const struct unit_props *p, struct err *err) {
        sd_bus_message *m = NULL;
        int r = new_call(b, "StartTransientUnit", unit, &m);

        if (r >= 0)
                r = lib.sd_bus_message_append_basic(m, 's', "replace");
        if (r >= 0)
                r = append_props(m, p);
        if (r >= 0)
                r = lib.sd_bus_message_open_container(m, 'a', "(sa(sv))");
        if (r >= 0)
                r = lib.sd_bus_message_close_container(m);
        r = r < 0 ? err_sys(err, -r, "systemd: make the call to start %s", unit) : run_job(b, m, "start", unit, err);
        lib.sd_bus_message_unref(m);
        return r;
}

int unit_start(struct unit_bus *b, const char *unit, const struct unit_props *p, struct err *err) {
        int r = start_once(b, unit, p, err);

        /* One that has failed is still known. */
        if (r == -ERR_EXISTS) {
                reset_failed(b, unit);
                r = start_once(b, unit, p, err);
        }
        return r;
}

int unit_stop(struct unit_bus *b, const char *unit, struct err *err) {
        sd_bus_message *m = NULL;
        int r = new_call(b, "StopUnit", unit, &m);

        if (r >= 0)
                r = lib.sd_bus_message_append_basic(m, 's', "replace");
        r = r < 0 ? err_sys(err, -r, "systemd: make the call to stop %s", unit) : run_job(b, m, "stop", unit, err);
        lib.sd_bus_message_unref(m);
        if (r == -ERR_NOT_FOUND)
                return 0;
        reset_failed(b, unit);
        return r;
}

/* --- changes -------------------------------------------------------------------------------------------------------
 */

struct unit_undo {
        sd_bus_message *call;
};

struct unit_undo *unit_undo_free(struct unit_undo *u) {
        if (u)
                lib.sd_bus_message_unref(u->call);
        free(u);
        return NULL;
}

static const char *interface_of(const char *unit) {
        return str_ends_with(unit, ".slice") ? "org.freedesktop.systemd1.Slice" : "org.freedesktop.systemd1.Scope";
}

static int new_set(struct unit_bus *b, const char *unit, sd_bus_message **ret) {
        const int runtime = true;
        int r = new_call(b, "SetUnitProperties", unit, ret);

        return r < 0 ? r : lib.sd_bus_message_append_basic(*ret, 'b', &runtime);
}

static int append_old(struct unit_bus *b, sd_bus_message *m, const char *path, const char *unit,
                      const struct unit_prop *p, struct err *err) {
        sd_bus_message *old = NULL;
        int r;

        /* A list is added to: the empty one in front of it empties it. */
        if (str_eq(p->type, "a(ss)") && p->n_devices == 0) {
                r = append_prop(m, p, NULL);
        } else {
                r = get_property(b, path, interface_of(unit), p->name, p->type, &old, err);
                if (r < 0)
                        return r;
                r = append_prop(m, p, old);
                lib.sd_bus_message_unref(old);
        }
        return r < 0 ? err_sys(err, -r, "systemd: remember %s of %s", p->name, unit) : 0;
}

static int remember(struct unit_bus *b, const char *unit, const struct unit_props *p, struct unit_undo **ret,
                    struct err *err) {
        struct unit_undo *u = xnew(struct unit_undo);
        char *path = NULL;
        int r = new_set(b, unit, &u->call), e = 0;

        if (r >= 0)
                r = lib.sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path);
        if (r >= 0)
                r = lib.sd_bus_message_open_container(u->call, 'a', "(sv)");
        for (size_t i = 0; i < p->n && r >= 0 && e == 0; i++)
                e = append_old(b, u->call, path, unit, &p->list[i], err);
        if (r >= 0 && e == 0)
                r = lib.sd_bus_message_close_container(u->call);
        free(path);
        if (r < 0)
                e = err_sys(err, -r, "systemd: remember what %s had", unit);
        if (e < 0)
                u = unit_undo_free(u);
        *ret = u;
        return e;
}

int unit_set(struct unit_bus *b, const char *unit, const struct unit_props *p, struct unit_undo **ret_undo,
             struct err *err) {
        sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL;
        int r;

        if (ret_undo) {
                *ret_undo = NULL;
                r = remember(b, unit, p, ret_undo, err);
                if (r < 0)
                        return r;
        }
        r = new_set(b, unit, &m);
        if (r >= 0)
                r = append_props(m, p);
        if (r >= 0)
                r = lib.sd_bus_call(b->bus, m, CALL_TIMEOUT_US, &e, NULL);
        if (r < 0) {
                r = bus_error(err, r, &e, "set limits of", unit);
                if (ret_undo)
                        *ret_undo = unit_undo_free(*ret_undo);
        }
        lib.sd_bus_message_unref(m);
        lib.sd_bus_error_free(&e);
        return r < 0 ? r : 0;
}

void unit_undo_apply(struct unit_bus *b, struct unit_undo *u) {
        if (u)
                (void) lib.sd_bus_call(b->bus, u->call, CALL_TIMEOUT_US, NULL, NULL);
}

int unit_group(struct unit_bus *b, const char *unit, struct arena *arena, const char **ret, struct err *err) {
        sd_bus_message *reply = NULL;
        const char *text = "";
        char *path = NULL;
        int r = lib.sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path);

        if (r < 0)
                return err_sys(err, -r, "systemd: name %s", unit);
        r = get_property(b, path, interface_of(unit), "ControlGroup", "s", &reply, err);
        free(path);
        if (r < 0)
                return r;
        (void) lib.sd_bus_message_read_basic(reply, 's', &text);
        *ret = arena_strdup(arena, text);
        lib.sd_bus_message_unref(reply);
        return 0;
}
