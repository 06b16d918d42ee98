/* SPDX-License-Identifier: Apache-2.0 */
/* driver - groups of OCI containers by cgroupfs or by systemd. With systemd, limits are set twice: as properties, or it
 * would set them back when it looks at the unit again, and by file, as it has no properties for some and rounds others.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/str.h"
#include "runtime/cgroup/driver.h"
#include "runtime/cgroup/systemd.h"

enum { ARENA_MAX = 4 << 20, FREEZE_MS = 2000 };

/* --- a process that does nothing -----------------------------------------------------------------------------------
 */

/* A scope needs a process to be made, and ends when it has none. */
static int holder_start(pid_t *ret, struct err *err) {
        pid_t parent = getpid(), pid = fork();

        if (pid < 0)
                return err_sys(err, errno, "fork");
        if (pid == 0) {
                sigset_t all;

                (void) sigfillset(&all);
                (void) sigprocmask(SIG_SETMASK, &all, NULL);
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (close_range(0, ~0U, 0) < 0 || getppid() != parent)
                        _exit(1);
                for (;;)
                        (void) pause();
        }
        *ret = pid;
        return 0;
}

void cgroup_holder_end(struct cgroup_made *made) {
        if (made->holder <= 0)
                return;
        (void) kill(made->holder, SIGKILL);
        while (waitpid(made->holder, NULL, 0) < 0 && errno == EINTR)
                ;
        made->holder = 0;
}

/* --- systemd -------------------------------------------------------------------------------------------------------
 */

static uint64_t memory_now(struct cgroups *c, const char *path) {
        struct group g;
        uint64_t n = 0;

        if (c->of[CTL_MEMORY] < 0)
                return 0;
        group_init(&g, c, path);
        if (!group_number(&g, c->of[CTL_MEMORY], "memory.max", &n) || n == UINT64_MAX)
                n = 0;
        group_done(&g);
        return n;
}

static struct unit_host host_of(struct cgroups *c, const struct unit_bus *bus, const char *path) {
        return (struct unit_host){ c->mode, unit_bus_version(bus), memory_now(c, path) };
}

static int check_group(struct unit_bus *bus, const struct cgroup_place *place, struct arena *arena, struct err *err) {
        const char *group;
        int r = unit_group(bus, place->unit, arena, &group, err);

        if (r == 0 && !str_eq(group, place->path))
                return err_set(err, ERR_PRECONDITION, "systemd has put %s in the control group %s instead of %s",
                               place->unit, group, place->path);
        return r;
}

static int set_limits(struct cgroups *c, struct unit_bus *bus, const struct cgroup_place *place,
                      const struct spec_resources *r, struct arena *arena, struct unit_undo **ret_undo,
                      struct err *err) {
        struct unit_host host = host_of(c, bus, place->path);
        struct unit_props props = { 0 };
        int res = unit_props_limits(&host, r, arena, &props, err);

        if (ret_undo)
                *ret_undo = NULL;
        return res < 0 || props.n == 0 ? res : unit_set(bus, place->unit, &props, ret_undo, err);
}

static int make_unit(struct cgroups *c, struct unit_bus *bus, const struct cgroup_place *place,
                     const struct cgroup_unit_args *args, pid_t pid, struct arena *arena, struct err *err) {
        struct unit_props props = { 0 };
        int r = unit_props_annotations(args->annotations, args->n_annotations, arena, &props, err);

        if (r == 0)
                r = unit_props_start(place, pid, c->mode, arena, &props, err);
        return r < 0 ? r : unit_start(bus, place->unit, &props, err);
}

static int limit_unit(struct cgroups *c, struct unit_bus *bus, const struct cgroup_place *place,
                      const struct spec_resources *r, struct arena *arena, struct err *err) {
        bool made;
        int res = check_group(bus, place, arena, err);

        if (res == 0)
                res = set_limits(c, bus, place, r, arena, NULL, err);
        /* Also where systemd makes none: v1 hierarchies that it does not use. */
        return res < 0 ? res : cgroup_create_or_join(c, place->path, r, &made, err);
}

static int systemd_create(struct cgroups *c, const struct cgroup_place *place, const struct cgroup_unit_args *args,
                          const struct spec_resources *r, struct cgroup_made *ret, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        _cleanup_(unit_bus_freep) struct unit_bus *bus = NULL;
        bool slice = str_ends_with(place->unit, ".slice");
        struct err ignored;
        int res = unit_bus_open(&bus, err);

        if (res == 0 && !slice && args->pid <= 0)
                res = holder_start(&ret->holder, err);
        if (res == 0)
                res = make_unit(c, bus, place, args, args->pid > 0 ? args->pid : ret->holder, arena, err);
        if (res == 0) {
                ret->made = true;
                res = limit_unit(c, bus, place, r, arena, err);
                if (res < 0) {
                        cgroup_holder_end(ret); /* else stopping waits until it has been killed */
                        if (unit_stop(bus, place->unit, &ignored) < 0 || cgroup_remove(c, place->path, &ignored) < 0)
                                res = err_wrap(err, "(and %s stays, as %s)", place->unit, ignored.msg);
                }
        }
        if (res < 0) {
                cgroup_holder_end(ret);
                ret->made = false;
        }
        return res;
}

/* While v1's systemd exchanges device rules, all are denied for a moment. */
static bool freeze_for(struct cgroups *c, const struct cgroup_place *place, const struct spec_resources *r) {
        struct err ignored;

        return r->n_devices > 0 && c->mode != CGROUP_V2 && !cgroup_is_frozen(c, place->path) &&
               cgroup_freeze(c, place->path, true, FREEZE_MS, &ignored) == 0;
}

/* systemd sets a limit without asking, and the kernel kills for it. */
static int check_before(struct cgroups *c, const struct cgroup_place *place, const struct spec_resources *r,
                        struct err *err) {
        int h = c->of[CTL_MEMORY], res;
        struct group g;

        if (!r->check_before_update || h < 0 || !c->hiers[h].v2)
                return 0;
        group_init(&g, c, place->path);
        res = v2_check_in_use(&g, h, r->memory_limit_bytes, err);
        group_done(&g);
        return res;
}

/* systemd writes memory.oom.group whenever it sets a limit, by OOMPolicy=, over what the bundle's "unified" said. */

static bool has_oom_group(struct cgroups *c, const struct cgroup_place *place) {
        int h = c->of[CTL_MEMORY];
        char text[16] = "";
        struct group g;

        if (h < 0 || !c->hiers[h].v2)
                return false;
        group_init(&g, c, place->path);
        if (group_fd(&g, h) >= 0)
                (void) file_read_at(group_fd(&g, h), "memory.oom.group", text, sizeof(text));
        group_done(&g);
        return text[0] == '1';
}

static void keep_oom_group(struct cgroups *c, const struct cgroup_place *place) {
        struct group g;

        group_init(&g, c, place->path);
        if (group_fd(&g, c->of[CTL_MEMORY]) >= 0)
                (void) file_write_at(group_fd(&g, c->of[CTL_MEMORY]), "memory.oom.group", "1");
        group_done(&g);
}

static int systemd_update(struct cgroups *c, const struct cgroup_place *place, const struct spec_resources *r,
                          struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        _cleanup_(unit_bus_freep) struct unit_bus *bus = NULL;
        struct unit_undo *undo = NULL;
        struct err ignored;
        bool frozen, oom_group;
        int res = unit_bus_open(&bus, err);

        if (res == 0)
                res = check_before(c, place, r, err);
        if (res < 0)
                return res;
        frozen = freeze_for(c, place, r);
        oom_group = has_oom_group(c, place);
        res = set_limits(c, bus, place, r, arena, &undo, err);
        if (oom_group)
                keep_oom_group(c, place);
        if (res == 0 && (res = cgroup_update(c, place->path, r, err)) < 0)
                unit_undo_apply(bus, undo);
        if (frozen && cgroup_freeze(c, place->path, false, FREEZE_MS, &ignored) < 0 && res == 0)
                res = err_set(err, ERR_INTERNAL, "%s", ignored.msg);
        (void) unit_undo_free(undo);
        return res;
}

static int systemd_remove(struct cgroups *c, const struct cgroup_place *place, struct err *err) {
        _cleanup_(unit_bus_freep) struct unit_bus *bus = NULL;
        int r = unit_bus_open(&bus, err);

        if (r == 0)
                r = unit_stop(bus, place->unit, err);
        return r < 0 ? r : cgroup_remove(c, place->path, err);
}

/* --- both ----------------------------------------------------------------------------------------------------------
 */

int cgroup_place_create(struct cgroups *c, const struct cgroup_place *place, const struct cgroup_unit_args *args,
                        const struct spec_resources *r, struct cgroup_made *ret, struct err *err) {
        static const struct cgroup_unit_args none;

        *ret = (struct cgroup_made){ 0 };
        return place->unit ? systemd_create(c, place, args ? args : &none, r, ret, err)
                           : cgroup_create_or_join(c, place->path, r, &ret->made, err);
}

int cgroup_place_update(struct cgroups *c, const struct cgroup_place *place, const struct spec_resources *r,
                        struct err *err) {
        return place->unit ? systemd_update(c, place, r, err) : cgroup_update(c, place->path, r, err);
}

int cgroup_place_remove(struct cgroups *c, const struct cgroup_place *place, struct err *err) {
        return place->unit ? systemd_remove(c, place, err) : cgroup_remove(c, place->path, err);
}

void cgroup_place_by_path(const char *path, struct arena *arena, struct cgroup_place *ret) {
        _cleanup_(unit_bus_freep) struct unit_bus *bus = NULL;
        const char *name = strrchr(path, '/'), *group;
        struct err ignored;

        *ret = (struct cgroup_place){ .path = arena_strdup(arena, path) };
        if (!name || !str_ends_with(name, ".scope") || unit_bus_open(&bus, &ignored) < 0)
                return;
        /* A systemd in the container has scopes, too, maybe of the names of this host's. */
        if (unit_group(bus, name + 1, arena, &group, &ignored) == 0 && str_eq(group, path))
                ret->unit = arena_strdup(arena, name + 1);
}
