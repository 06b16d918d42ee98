/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "oci/inherited.h"

static struct arena *arena;
static struct err err;
static const char *const env[] = { "A=1", NULL };

static int add(unsigned preserve, bool listen, struct spec_process *p) {
        *p = (struct spec_process){ .env = env };
        return inherited_add(preserve, listen, arena, p, &err);
}

/* Descriptors 3 to @to, without close-on-exec as a caller leaves them. */
static void open_up_to(int to) {
        for (int fd = 3; fd <= to; fd++) {
                int null = open("/dev/null", O_RDWR);

                assert(null >= 0 && (null == fd || (dup2(null, fd) == fd && close(null) == 0)));
        }
        (void) close_range((unsigned) to + 1, ~0U, 0);
}

static void listen_for(pid_t pid, const char *n, const char *names) {
        char text[16];

        (void) snprintf(text, sizeof(text), "%d", (int) pid);
        assert(setenv("LISTEN_PID", text, 1) == 0 && setenv("LISTEN_FDS", n, 1) == 0);
        assert(names ? setenv("LISTEN_FDNAMES", names, 1) == 0 : unsetenv("LISTEN_FDNAMES") == 0);
}

static void test_preserve(void) {
        struct spec_process p;

        open_up_to(4);
        assert(add(0, true, &p) == 0 && p.n_fds == 0 && p.env == env);
        assert(add(2, true, &p) == 0 && p.n_fds == 2 && p.fds[0] == 3 && p.fds[1] == 4 && p.env == env);
        assert(add(3, true, &p) == -ERR_INVALID && strstr(err.msg, "preserved-fd 2 (of 3)"));
        /* One of our own, opened where the caller had none. */
        assert(open("/dev/null", O_RDONLY | O_CLOEXEC) == 5);
        assert(add(3, true, &p) == -ERR_INVALID);
        assert(add(100000, true, &p) == -ERR_INVALID);
}

static void test_listen(void) {
        struct spec_process p;

        open_up_to(6);
        listen_for(getpid(), "2", "a:b");
        assert(add(1, true, &p) == 0 && p.n_fds == 3 && p.fds[0] == 3 && p.fds[2] == 5);
        assert(str_eq(p.env[0], "A=1") && str_eq(p.env[1], "LISTEN_FDS=2") && str_eq(p.env[2], "LISTEN_PID=1") &&
               str_eq(p.env[3], "LISTEN_FDNAMES=a:b") && !p.env[4]);
        listen_for(getpid(), "1", NULL);
        assert(add(0, true, &p) == 0 && p.n_fds == 1 && !p.env[3]);
        /* Not by an exec; not for another process; nothing to understand. */
        assert(add(0, false, &p) == 0 && p.n_fds == 0);
        listen_for(getpid() + 1, "1", NULL);
        assert(add(0, true, &p) == 0 && p.n_fds == 0);
        listen_for(getpid(), "x", NULL);
        assert(add(0, true, &p) == 0 && p.n_fds == 0);
        listen_for(getpid(), "5", NULL);
        assert(add(0, true, &p) == -ERR_INVALID && strstr(err.msg, "LISTEN_FDS"));
        listen_for(getpid(), "18446744073709551615", NULL);
        assert(add(0, true, &p) == -ERR_INVALID);
}

int main(void) {
        arena = arena_new(1 << 20);
        test_preserve();
        test_listen();
        arena = arena_free(arena);
        return 0;
}
