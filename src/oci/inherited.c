/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/inherited.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/str.h"
#include "init/plan.h"

enum { FIRST = 3 };

void inherited_add_env(struct arena *arena, struct spec_process *p, const char *entry) {
        const char **list;
        size_t n = 0;

        while (p->env && p->env[n])
                n++;
        list = arena_array(arena, const char *, n + 2);
        for (size_t i = 0; i < n; i++)
                list[i] = p->env[i];
        list[n] = entry;
        p->env = list;
}

/* Left by whoever started us: what we have opened ourselves is closed by an exec. */
static bool is_inherited(int fd) {
        int flags = fcntl(fd, F_GETFD);

        return flags >= 0 && !(flags & FD_CLOEXEC);
}

/* Of sockets that systemd listens on for us, or whoever does as it does. */
static unsigned count_listening(void) {
        const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
        uint64_t for_pid, n;

        if (!pid || !count || !str_to_u64(pid, &for_pid) || for_pid != (uint64_t) getpid() || !str_to_u64(count, &n))
                return 0;
        return n > PLAN_MAX_FDS ? PLAN_MAX_FDS + 1 : (unsigned) n;
}

static int add_all(unsigned n, const char *what, struct arena *arena, struct spec_process *p, struct err *err) {
        int *fds;

        if (n + p->n_fds > PLAN_MAX_FDS)
                return err_set(err, ERR_INVALID, "%s: a container gets at most %d descriptors", what, PLAN_MAX_FDS);
        fds = arena_array(arena, int, p->n_fds + n + 1);
        for (size_t i = 0; i < p->n_fds; i++)
                fds[i] = p->fds[i];
        for (unsigned i = 0; i < n; i++) {
                int fd = FIRST + (int) p->n_fds;

                if (!is_inherited(fd))
                        return err_set(err, ERR_INVALID, "%s: unable to stat preserved-fd %u (of %u): %d is not open",
                                       what, i, n, fd);
                fds[p->n_fds++] = fd;
        }
        p->fds = fds;
        return 0;
}

int inherited_add(unsigned preserve, bool listen, struct arena *arena, struct spec_process *p, struct err *err) {
        const unsigned n = listen ? count_listening() : 0;
        const char *names = getenv("LISTEN_FDNAMES");
        int r = add_all(n, "LISTEN_FDS", arena, p, err);

        if (r == 0 && n > 0) {
                inherited_add_env(arena, p, arena_printf(arena, "LISTEN_FDS=%u", n));
                inherited_add_env(arena, p, "LISTEN_PID=1");
                if (!str_empty(names))
                        inherited_add_env(arena, p, arena_printf(arena, "LISTEN_FDNAMES=%s", names));
        }
        return r < 0 ? r : add_all(preserve, "--preserve-fds", arena, p, err);
}
