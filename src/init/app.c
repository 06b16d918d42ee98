/* SPDX-License-Identifier: Apache-2.0 */
/* app - see app.h. */
#include "init/app.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "init/child.h"
#include "init/users.h"

enum { EXIT_SETUP = 125, EXIT_CANNOT = 126, EXIT_MISSING = 127 };

static char file[APP_FILE_MAX + 1];
static char *strings[APP_STRINGS_MAX + 1];

struct app {
        const char *user, *cwd;
        char **args, **env;
        uint32_t stop_signal;
};

static void say(const char *what, const char *why) {
        static const char prefix[] = "proxmox-lxcri app: ";
        const char *const parts[] = { prefix, what, ": ", why, "\n" };

        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
                if (write(2, parts[i], strlen(parts[i])) < 0)
                        return;
}

static __attribute__((noreturn)) void fail(const char *what, const char *why, int status) {
        say(what, why);
        _exit(status);
}

static size_t read_file(int fd) {
        size_t len = 0;

        while (len < APP_FILE_MAX) {
                ssize_t n = read(fd, file + len, APP_FILE_MAX - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                len += (size_t) n;
        }
        return len;
}

/* Which strings are which; the arguments are ended by a NULL that takes no string's place. */
static void parse(struct app *a) {
        static char *args[APP_STRINGS_MAX + 1];
        uint32_t n_args = 0;
        size_t n = 0, len;
        int fd = open("/" APP_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        len = fd < 0 ? 0 : read_file(fd);
        if (len == 0 || len == APP_FILE_MAX || file[len - 1] != '\0')
                fail("/" APP_FILE, "it can't be read", EXIT_SETUP);
        (void) close(fd);
        for (char *s = file; s < file + len && n < APP_STRINGS_MAX; s += strlen(s) + 1)
                strings[n++] = s;
        if (n < 6 || strcmp(strings[0], APP_MARK) != 0 || !users_number(strings[3], &a->stop_signal) ||
            !users_number(strings[4], &n_args) || n_args == 0 || n_args > n - 5)
                fail("/" APP_FILE, "it makes no sense", EXIT_SETUP);
        a->user = strings[1];
        a->cwd = strings[2];
        memcpy(args, strings + 5, n_args * sizeof(args[0]));
        a->args = args;
        a->env = strings + 5 + n_args;
}

/* "name:group", either by number, too. */
static void become(const char *user) {
        static union {
                struct plan_record rec;
                char bytes[sizeof(struct plan_record) + 2 * USERS_MAX_NAME + 2];
        } r;
        static struct users_result result;
        static char name[USERS_MAX_NAME + 1];
        struct plan_error e;
        const char *colon = strchr(user, ':'), *group = colon ? colon + 1 : "";
        size_t len = colon ? (size_t) (colon - user) : strlen(user);
        char *at = r.bytes + sizeof(struct plan_record);
        uint32_t n = 0;
        int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (len > USERS_MAX_NAME || strlen(group) > USERS_MAX_NAME)
                fail(user, "the name is too long", EXIT_SETUP);
        memcpy(name, user, len);
        r.rec = (struct plan_record){ .op = PLAN_USER, .fd = -1, .n_str = 2 };
        if (*name && !users_number(name, &n))
                r.rec.flags |= PLAN_USER_BY_NAME;
        r.rec.a = n;
        n = 0;
        if (*group && !users_number(group, &n))
                r.rec.flags |= PLAN_USER_GROUP_BY_NAME;
        if (*group)
                r.rec.flags |= PLAN_USER_HAS_GID;
        r.rec.b = n;
        memcpy(at, name, strlen(name) + 1);
        at += strlen(name) + 1;
        memcpy(at, group, strlen(group) + 1);
        r.rec.size = (uint32_t) (sizeof(struct plan_record) + strlen(name) + strlen(group) + 2);
        if (users_resolve(root, &r.rec, &result, &e) < 0)
                fail(user, "there is no such user in it", EXIT_SETUP);
        if (setgroups(result.n_groups, result.groups) < 0 || setresgid(result.gid, result.gid, result.gid) < 0 ||
            setresuid(result.uid, result.uid, result.uid) < 0)
                fail(user, strerror(errno), EXIT_SETUP);
        if (*result.home)
                (void) setenv("HOME", result.home, 0);
        (void) close(root);
}

static __attribute__((noreturn)) void start(const struct app *a, const sigset_t *old) {
        static const char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        bool has_path = false;

        (void) clearenv();
        for (char **e = a->env; *e; e++) {
                has_path = has_path || strncmp(*e, "PATH=", 5) == 0;
                (void) putenv(*e);
        }
        if (!has_path)
                (void) putenv((char *) (uintptr_t) path);
        if (*a->cwd && mkdir(a->cwd, 0755) < 0 && errno != EEXIST)
                say(a->cwd, strerror(errno));
        (void) sigprocmask(SIG_SETMASK, old, NULL);
        become(a->user);
        if (chdir(*a->cwd ? a->cwd : "/") < 0)
                fail(a->cwd, strerror(errno), EXIT_CANNOT);
        (void) execvp(a->args[0], a->args);
        fail(a->args[0], strerror(errno), errno == ENOENT ? EXIT_MISSING : EXIT_CANNOT);
}

void app_run(void) {
        struct app a = { 0 };
        sigset_t wanted, old;
        int status = 0;
        pid_t program;

        if (access("/" APP_FILE, F_OK) < 0)
                return;
        parse(&a);
        child_block(&wanted, &old);
        program = fork();
        if (program < 0)
                fail("fork", strerror(errno), EXIT_SETUP);
        if (program == 0)
                start(&a, &old);
        (void) prctl(PR_SET_NAME, "lxcri-app", 0, 0, 0);
        while (!child_reap(program, &status)) {
                int sig = sigwaitinfo(&wanted, NULL);

                if (sig == SIGPWR || sig == SIGTERM || sig == SIGINT)
                        (void) kill(program, (int) a.stop_signal);
        }
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
