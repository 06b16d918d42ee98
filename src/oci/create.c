/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "oci/console.h"
#include "oci/creation.h"
#include "oci/launcher.h"

void creation_done(struct creation *c) {
        c->start_socket = fd_close(c->start_socket);
        c->console = fd_close(c->console);
        c->master = fd_close(c->master);
        c->pidfd = fd_close(c->pidfd);
        c->exit_file = fd_close(c->exit_file);
        cgroup_holder_end(&c->cgroup);
        c->cgroups = cgroups_free(c->cgroups);
        oci_dir_done(&c->dir);
}

static const char *now_text(struct arena *arena) {
        struct timespec now;
        struct tm tm;
        char text[32];

        (void) clock_gettime(CLOCK_REALTIME, &now);
        (void) gmtime_r(&now.tv_sec, &tm);
        (void) strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        return arena_printf(arena, "%s.%09ldZ", text, now.tv_nsec);
}

/* Below the folder of the container: whoever may look in there may say "start", root alone. */
int creation_listen_for_start(struct creation *c, struct err *err) {
        struct sockaddr_un address;
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        c->start_socket = fd;
        (void) oci_start_socket_address(&c->dir, &address);
        if (fd < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, 8) < 0)
                return err_sys(err, errno, "make the socket on which container %s waits for start", c->args->id);
        return 0;
}

static int write_pid_file(const struct creation *c, struct err *err) {
        char text[16];
        int n = snprintf(text, sizeof(text), "%d", (int) c->state.pid);

        if (!c->args->pid_file)
                return 0;
        return fs_write_atomic(AT_FDCWD, c->args->pid_file, text, (size_t) n, 0644, false, err);
}

int creation_connect_console(struct creation *c, struct err *err) {
        int r = console_check(c->config.spec.process.terminal, c->detached, c->args->console_socket, err);

        return r < 0 || !c->args->console_socket ? r : console_connect(c->args->console_socket, &c->console, err);
}

int creation_write_result(struct creation *c, struct err *err) {
        int r = oci_state_write(&c->dir, &c->state, err);

        return r < 0 ? r : write_pid_file(c, err);
}

int creation_finish(struct creation *c, struct err *err) {
        int r = 0;

        c->start_socket = fd_close(c->start_socket); /* init's alone: it closes when the program runs */
        if (c->console >= 0) {
                r = console_send(c->console, c->master, err);
                c->master = fd_close(c->master);
        }
        return r < 0 ? r : creation_write_result(c, err);
}

static int make(struct creation *c, void *userdata, struct err *err) {
        _cleanup_(launcher_done) struct launcher launcher = LAUNCHER_EMPTY;
        int r = launcher_needs_group(c) ? 0 : launcher_fork(&launcher, c, err);

        if (r == 0)
                r = creation_read(c, err);
        if (r == 0)
                r = creation_connect_console(c, err);
        if (r == 0)
                r = creation_make_cgroup(c, err);
        if (r == 0 && launcher_needs_group(c))
                r = launcher_fork(&launcher, c, err);
        if (r == 0)
                r = creation_make_rdt(c, err);
        if (r == 0)
                r = creation_listen_for_start(c, err);
        if (r == 0)
                r = creation_spawn(c, &launcher, err);
        if (r == 0 && *c->state.rdt_tasks)
                r = intel_rdt_add(c->state.rdt_tasks, c->state.pid, err);
        cgroup_holder_end(&c->cgroup);
        return r < 0 ? r : creation_finish(c, err);
}

static int make_by_engine(struct creation *c, void *userdata, struct err *err) {
        return c->oci->engine->make(c->oci->engine, c, err);
}

int creation_run(struct creation *c, const struct oci *o, const struct oci_create_args *args, bool detached,
                 struct err *err) {
        const struct creation_maker maker = { .make = o->engine ? make_by_engine : make };

        return creation_run_by(c, o, args, detached, &maker, err);
}

int creation_run_by(struct creation *c, const struct oci *o, const struct oci_create_args *args, bool detached,
                    const struct creation_maker *maker, struct err *err) {
        struct err ignored;
        int r;

        *c = CREATION_EMPTY;
        c->oci = o;
        c->args = args;
        c->detached = detached;
        /* Said here, and not by whatever would be refused first. */
        if (geteuid() != 0)
                return err_set(
                        err, ERR_DENIED,
                        "container %s can't be made by user %u: its mounts, devices and control groups take root "
                        "(there is no rootless mode): run the engine as root",
                        args->id, (unsigned) geteuid());
        r = oci_dir_make(o->root, args->id, &c->dir, err);
        if (r < 0)
                return r;
        c->state = OCI_STATE_EMPTY(args->id);
        c->state.created = now_text(o->arena);
        r = cgroups_new(&c->cgroups, err);
        if (r == 0)
                r = maker->make(c, maker->userdata, err);
        if (r < 0 && oci_destroy(o, &c->dir, &c->state, c->cgroups, &ignored) < 0)
                o->warn(arena_printf(o->arena, "what is left of container %s cannot be removed: %s", args->id,
                                     ignored.msg),
                        o->userdata);
        return r;
}

int oci_create(const struct oci *o, const struct oci_create_args *args, struct err *err) {
        struct creation c;
        int r = creation_run(&c, o, args, true, err);

        creation_done(&c);
        return r;
}
