/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "runtime/cgroup/test-common.h"

char parent[64];
struct err err;

const char *path_of(const char *name) {
        static char buf[8][256];
        static unsigned at;
        char *p = buf[at++ % 8];

        (void) snprintf(p, 256, "%s/%s", parent, name);
        return p;
}

bool exists_anywhere(struct cgroups *c, const char *path) {
        for (size_t i = 0; i < c->n; i++)
                if (faccessat(c->hiers[i].fd, path + 1, F_OK, 0) == 0)
                        return true;
        return false;
}

pid_t spawn_in(struct cgroups *c, const char *path, void (*fn)(void)) {
        struct cgroup_door doors[CGROUP_MAX_DOORS];
        int n = cgroup_open_doors(c, path, false, doors, &err), ready[2];
        char byte;
        pid_t pid;

        ok(n);
        assert(pipe(ready) == 0);
        pid = fork();
        if (pid == 0) {
                for (int i = 0; i < n; i++)
                        if (write(doors[i].fd, "0", 1) != 1)
                                _exit(99);
                assert(write(ready[1], "x", 1) == 1);
                (void) close(ready[0]);
                (void) close(ready[1]);
                fn();
                _exit(0);
        }
        (void) close(ready[1]);
        assert(read(ready[0], &byte, 1) == 1);
        (void) close(ready[0]);
        for (int i = 0; i < n; i++)
                (void) close(doors[i].fd);
        return pid;
}

void sleep_for_ever(void) {
        for (;;)
                (void) pause();
}

void family(void) {
        (void) signal(SIGHUP, SIG_DFL); /* who started the tests may ignore it */
        for (int i = 0; i < 10; i++)
                if (fork() == 0)
                        sleep_for_ever();
        sleep_for_ever();
}

int cgroups_new_v1(struct cgroups **ret, struct err *e) {
        char path[] = "/tmp/test-cgroup-XXXXXX", *rest, *line;
        _cleanup_(freep) char *text = NULL;
        FILE *to = fdopen(mkstemp(path), "w");
        int r;

        assert(to && fs_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 24, &text, NULL, e) == 0);
        for (rest = text; (line = strsep(&rest, "\n"));)
                if (*line && !strstr(line, " - cgroup2 "))
                        assert(fprintf(to, "%s\n", line) > 0);
        assert(fclose(to) == 0);
        r = cgroups_new_from(path, ret, e);
        assert(unlink(path) == 0);
        return r;
}

int run_with_groups(const char *name, void (*fn)(struct cgroups *c)) {
        struct cgroups *c = NULL;
        int status;
        pid_t pid;

        (void) snprintf(parent, sizeof(parent), "/%s-%d", name, (int) getpid());
        if (cgroups_new(&c, &err) < 0 || cgroup_make(c, parent, &err) < 0) {
                printf("no real groups here: %s\n", err.msg);
                cgroups_free(c);
                return 77;
        }
        printf("cgroup %s, %zu hierarchies\n", cgroup_mode_name(cgroups_mode(c)), c->n);
        (void) fflush(stdout);
        pid = fork();
        if (pid == 0) {
                fn(c);
                cgroups_free(c);
                exit(0);
        }
        assert(pid > 0 && waitpid(pid, &status, 0) == pid);
        ok(cgroup_kill(c, parent, 5000, &err));
        ok(cgroup_remove(c, parent, &err));
        assert(!exists_anywhere(c, parent));
        cgroups_free(c);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
