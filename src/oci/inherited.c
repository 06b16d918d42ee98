/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "init/plan.h"

enum { FIRST = 3 };

static unsigned number_of(const char *name) {
        const char *text = getenv(name);
        unsigned long n;
        char *end;

        if (!text || *text < '0' || *text > '9')
                return 0;
        errno = 0;
        n = strtoul(text, &end, 10);
        return errno || *end || n > INT32_MAX ? 0 : (unsigned) n;
}

/* Ours are all O_CLOEXEC; what was passed on to us can't be. */
static bool is_inherited(int fd) {
        int flags = fcntl(fd, F_GETFD);

        return flags >= 0 && !(flags & FD_CLOEXEC);
}

static void add_env(struct spec_process *p, unsigned n_listen, struct arena *arena) {
        const char **env;
        size_t n = 0;

        while (p->env && p->env[n])
                n++;
        env = arena_array(arena, const char *, n + 3);
        if (n)
                memcpy(env, p->env, n * sizeof(*env));
        env[n] = arena_printf(arena, "LISTEN_FDS=%u", n_listen);
        env[n + 1] = "LISTEN_PID=1";
        p->env = env;
}

int oci_inherit_fds(unsigned preserve, struct arena *arena, struct spec_process *p, struct err *err) {
        unsigned n_listen = number_of("LISTEN_PID") == (unsigned) getpid() ? number_of("LISTEN_FDS") : 0;
        int *fds;

        if (preserve > PLAN_MAX_FDS || n_listen > PLAN_MAX_FDS)
                return err_set(err, ERR_INVALID, "more than %d descriptors to preserve", PLAN_MAX_FDS);
        if (preserve + n_listen == 0)
                return 0;
        fds = arena_array(arena, int, preserve + n_listen);
        for (unsigned i = 0; i < preserve + n_listen; i++) {
                fds[i] = FIRST + (int) i;
                if (is_inherited(fds[i]))
                        continue;
                if (i < n_listen)
                        return err_set(err, ERR_INVALID, "LISTEN_FDS: descriptor %d is not open", fds[i]);
                return err_set(err, ERR_INVALID, "unable to stat preserved-fd %u (of %u): descriptor %d is not open",
                               i - n_listen + 1, preserve, fds[i]);
        }
        p->fds = fds;
        p->n_fds = preserve + n_listen;
        if (n_listen)
                add_env(p, n_listen, arena);
        return 0;
}
