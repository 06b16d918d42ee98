/* SPDX-License-Identifier: Apache-2.0 */
/* process - see process.h. The order matters, and is runc's for the same reasons: labels first (procfs may become
 * unreachable), bounding set and ids while there is CAP_SETPCAP and CAP_SETUID, limits and the seccomp filter while
 * there still is CAP_SYS_RESOURCE and CAP_SYS_ADMIN, the capabilities last. */
#include "init/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "init/descriptors.h"
#include "init/fail.h"
#include "init/keyring.h"
#include "init/listener.h"
#include "init/path.h"
#include "init/sys.h"
#include "init/terminal.h"
#include "init/tuning.h"

#ifndef SYS_seccomp
#error "no seccomp(2) on this architecture"
#endif

enum {
        LAST_CAP = 63,
        CAP_VERSION_3 = 0x20080522,
        SECCOMP_FILTER = 1,
        DEFAULT_UMASK = 022,
        NULL_MAJOR = 1,
        NULL_MINOR = 3
};

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void process_reset(void) {
        struct sigaction sa = { .sa_handler = SIG_DFL };
        sigset_t none;

        (void) sys_close_range(3, ~0u, SYS_CLOSE_RANGE_CLOEXEC);
        for (int sig = 1; sig < NSIG; sig++)
                (void) sigaction(sig, &sa, NULL); /* fails for KILL, STOP and libc's own */
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) umask(0);
}

int process_join_cgroup(int fd, bool folder, struct plan_error *e) {
        int procs = folder ? openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC) : fd;
        int r = procs < 0 || write(procs, "0", 1) != 1 ? errno : 0;

        if (folder && procs >= 0)
                (void) close(procs);
        return r ? fail_set(e, r, "join the cgroup", NULL) : 0;
}

int process_join_cgroups(const struct reader *plan, const int *fds, int *folder, struct plan_error *e) {
        *folder = -1;
        if (tuning_set_affinity(plan, PLAN_CPU_AFFINITY_INITIAL, e) < 0)
                return -1;
        for (const struct plan_record *rec = NULL; (rec = reader_find(plan, rec, PLAN_CGROUP_JOIN));) {
                if (rec->flags & PLAN_CGROUP_FOLDER)
                        *folder = fds[rec->fd];
                else if (process_join_cgroup(fds[rec->fd], false, e) < 0)
                        return -1;
        }
        return 0;
}

int process_set_oom(const struct reader *plan, int proc_fd, struct plan_error *e) {
        const struct plan_record *rec = reader_find(plan, NULL, PLAN_OOM_SCORE_ADJ);
        char buf[24];
        int r;

        if (!rec)
                return 0;
        r = path_write_in_proc(proc_fd, "self/oom_score_adj", text_number(buf, (int64_t) rec->a));
        if (r < 0 && r != -EACCES && r != -EPERM)
                return fail_set(e, -r, "set oom_score_adj to ", text_number(buf, (int64_t) rec->a), NULL);
        return 0;
}

/* @attr: "exec", or "current" for the pause process, which never execs. */
static int set_apparmor(int proc_fd, const char *profile, bool current, struct plan_error *e) {
        char value[512];
        int r;

        if (!text_join(value, sizeof(value), current ? "changeprofile " : "exec ", profile))
                return fail_set(e, 0, "the name of the AppArmor profile is too long", NULL);
        r = path_write_in_proc(proc_fd, current ? "self/attr/apparmor/current" : "self/attr/apparmor/exec", value);
        if (r == -ENOENT)
                r = path_write_in_proc(proc_fd, current ? "self/attr/current" : "self/attr/exec", value);
        return r < 0 ? fail_set(e, -r, "apply the AppArmor profile ", profile, NULL) : 0;
}

static int set_labels(const struct reader *plan, int proc_fd, bool current, struct plan_error *e) {
        const struct plan_record *apparmor = reader_find(plan, NULL, PLAN_APPARMOR);
        const struct plan_record *selinux = reader_find(plan, NULL, PLAN_SELINUX);
        int r;

        if (apparmor && set_apparmor(proc_fd, reader_string(apparmor, 0), current, e) < 0)
                return -1;
        if (!selinux)
                return 0;
        r = path_write_in_proc(proc_fd, current ? "self/attr/current" : "self/attr/exec", reader_string(selinux, 0));
        return r < 0 ? fail_set(e, -r, "apply the SELinux label ", reader_string(selinux, 0), NULL) : 0;
}

int process_place_fds(struct process_args *args, const int *fds, struct plan_error *e) {
        int *const own[] = { &args->status_fd, &args->sock, &args->proc_fd };

        return descriptors_place(args->plan, fds, own, sizeof(own) / sizeof(own[0]), &args->n_kept, e);
}

/* Pipes and terminals were made by root: the user must be able to open /dev/stdout again. */
static void own_stdio(uint32_t uid) {
        struct stat st;

        for (int fd = 0; fd < 3; fd++) {
                if (fstat(fd, &st) < 0 || st.st_uid == uid)
                        continue;
                if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) ||
                    (S_ISCHR(st.st_mode) && isatty(fd) && st.st_rdev != makedev(NULL_MAJOR, NULL_MINOR)))
                        (void) !fchown(fd, uid, (gid_t) -1); /* a user namespace may not have the owner mapped */
        }
}

struct cap_header {
        uint32_t version;
        int32_t pid;
};
struct cap_half {
        uint32_t effective, permitted, inheritable;
};

static int get_permitted(uint64_t *ret) {
        struct cap_header h = { .version = CAP_VERSION_3 };
        struct cap_half half[2];

        if (syscall(SYS_capget, &h, half) < 0)
                return -1;
        *ret = (uint64_t) half[1].permitted << 32 | half[0].permitted;
        return 0;
}

static int set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
        struct cap_header h = { .version = CAP_VERSION_3 };
        struct cap_half half[2] = {
                { (uint32_t) effective, (uint32_t) permitted, (uint32_t) inheritable },
                { (uint32_t) (effective >> 32), (uint32_t) (permitted >> 32), (uint32_t) (inheritable >> 32) },
        };

        return (int) syscall(SYS_capset, &h, half);
}

static int drop_bounding(uint64_t keep, struct plan_error *e) {
        for (int cap = 0; cap <= LAST_CAP; cap++) {
                int have = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

                if (have < 0) /* past the kernel's last */
                        break;
                if (have == 0 || (keep >> cap & 1))
                        continue;
                if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
                        return fail_set(e, errno, "drop from the bounding set of capabilities", NULL);
        }
        return 0;
}

/* With all permitted capabilities effective again afterwards, whoever the user is. */
static int switch_user(const struct users_result *u, struct plan_error *e) {
        uint64_t permitted;

        if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
                return fail_set(e, errno, "keep capabilities", NULL);
        if (setgroups(u->n_groups, u->groups) < 0)
                return fail_set(e, errno, "set additional groups", NULL);
        if (setresgid(u->gid, u->gid, u->gid) < 0) {
                char buf[24];
                return fail_set(e, errno, "become group ", text_number(buf, u->gid), NULL);
        }
        if (setresuid(u->uid, u->uid, u->uid) < 0) {
                char buf[24];
                return fail_set(e, errno, "become user ", text_number(buf, u->uid), NULL);
        }
        if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 || get_permitted(&permitted) < 0 ||
            set_caps(permitted, permitted, 0) < 0)
                return fail_set(e, errno, "keep capabilities", NULL);
        return 0;
}

/* What can't be granted is left out, as the OCI runtime specification asks. */
static int drop_caps(const uint64_t want[5], struct plan_error *e) {
        uint64_t permitted, effective, inheritable, ambient, have;

        if (get_permitted(&have) < 0)
                return fail_set(e, errno, "read capabilities", NULL);
        permitted = want[2] & have;
        effective = want[1] & permitted;
        inheritable = want[3] & have;
        ambient = want[4] & permitted & inheritable;
        if (set_caps(effective, permitted, inheritable) < 0)
                return fail_set(e, errno, "set capabilities", NULL);
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
                return fail_set(e, errno, "clear ambient capabilities", NULL);
        for (int cap = 0; cap <= LAST_CAP; cap++)
                if ((ambient >> cap & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
                        return fail_set(e, errno, "raise ambient capabilities", NULL);
        return 0;
}

static int set_rlimits(const struct reader *plan, struct plan_error *e) {
        char buf[24];

        for (const struct plan_record *rec = NULL; (rec = reader_find(plan, rec, PLAN_RLIMIT));) {
                struct rlimit limit = { .rlim_cur = rec->b, .rlim_max = rec->c };

                if (setrlimit((int) rec->a, &limit) < 0)
                        return fail_set(e, errno, "set rlimit ", text_number(buf, (int64_t) rec->a), NULL);
        }
        return 0;
}

static int load_seccomp(const struct plan_record *rec, int sock, struct plan_error *e) {
        /* struct sock_fprog */
        const struct {
                unsigned short len;
                const void *filter;
        } program = { .len = (unsigned short) (rec->data_len / 8), .filter = reader_data(rec) };

        if (rec->flags & PLAN_SECCOMP_NOTIFY)
                return listener_load(&program, rec->a, sock, e);
        if (syscall(SYS_seccomp, SECCOMP_FILTER, rec->a, &program) != 0)
                return fail_set(e, errno, "load the seccomp filter", NULL);
        return 0;
}

static int enter_cwd(const char *path) {
        int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), fd, r;

        if (root_fd < 0)
                return -errno;
        fd = path_open(root_fd, path, O_PATH | O_DIRECTORY);
        r = fd < 0 ? fd : fchdir(fd) < 0 ? -errno : 0;
        if (fd >= 0)
                (void) close(fd);
        (void) close(root_fd);
        return r;
}

/* Root may be refused where the user isn't (NFS), and the other way round. */
static int become_user(const struct reader *plan, const struct users_result *user, struct plan_error *e) {
        const char *cwd = reader_string(reader_find(plan, NULL, PLAN_CWD), 0);
        int r = enter_cwd(cwd);

        if (r < 0 && r != -EACCES)
                return fail_set(e, -r, "enter the working directory ", cwd, NULL);
        if (switch_user(user, e) < 0)
                return -1;
        if (r < 0)
                r = enter_cwd(cwd);
        return r < 0 ? fail_set(e, -r, "enter the working directory ", cwd, NULL) : 0;
}

int process_apply(const struct process_args *args, struct plan_error *e) {
        const struct reader *plan = args->plan;
        const struct plan_record *mask = reader_find(plan, NULL, PLAN_UMASK),
                                 *seccomp = reader_find(plan, NULL, PLAN_SECCOMP);
        bool notifies = seccomp && (seccomp->flags & PLAN_SECCOMP_NOTIFY);
        bool no_new_privs = reader_find(plan, NULL, PLAN_NO_NEW_PRIVS),
             pause = !reader_find(plan, NULL, PLAN_ARGS)->n_str;
        uint64_t caps[5];

        memcpy(caps, reader_data(reader_find(plan, NULL, PLAN_CAPS)), sizeof(caps));
        if (set_labels(plan, args->proc_fd, pause, e) < 0)
                return -1;
        /* From here on others in the container may be allowed to trace us: nothing of the host's is left to take. */
        descriptors_close_others(DESCRIPTORS_FIRST + args->n_kept, args->status_fd, notifies ? args->sock : -1);
        own_stdio(args->user->uid);
        if (tuning_apply(plan, e) < 0)
                return -1;
        (void) umask(mask ? (mode_t) mask->a & 0777 : DEFAULT_UMASK);
        if (no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return fail_set(e, errno, "set no_new_privs", NULL);
        if (drop_bounding(caps[0], e) < 0 || become_user(plan, args->user, e) < 0 || set_rlimits(plan, e) < 0)
                return -1;
        /* A switch of user clears it. */
        if (args->dies_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
                return fail_set(e, errno, "set the parent death signal", NULL);
        if (seccomp && !no_new_privs && load_seccomp(seccomp, args->sock, e) < 0)
                return -1;
        if (drop_caps(caps, e) < 0)
                return -1;
        return seccomp && no_new_privs ? load_seccomp(seccomp, args->sock, e) : 0;
}

static const char *find_env(const char *const *env, const char *name) {
        size_t n = strlen(name);

        for (; *env; env++)
                if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
                        return *env + n + 1;
        return NULL;
}

static int fail_exec(struct plan_error *e, int sys_errno, const char *file) {
        return fail_set(e, sys_errno, "exec: \"", file, "\"", NULL);
}

static int fail_not_found(struct plan_error *e, const char *file) {
        (void) fail_set(e, 0, "exec: \"", file, "\": executable file not found in $PATH", NULL);
        e->sys_errno = ENOENT;
        return -1;
}

/* False: too long, or an empty element of the path, which would be the working folder: not searched. */
static bool join_path(char out[PATH_MAX], const char *folder, size_t n, const char *file) {
        size_t file_len = strlen(file);

        if (!n || n + file_len + 2 > PATH_MAX)
                return false;
        memcpy(out, folder, n);
        out[n] = '/';
        memcpy(out + n + 1, file, file_len + 1);
        return true;
}

static int search_path(const char *file, char *const *argv, char *const *env, const char *path, struct plan_error *e) {
        char candidate[PATH_MAX];
        bool denied = false;
        int r;

        while (path) {
                const char *end = strchr(path, ':');
                size_t n = end ? (size_t) (end - path) : strlen(path);

                if (join_path(candidate, path, n, file)) {
                        r = execve(candidate, argv, env) < 0 ? errno : 0;
                        if (r == EACCES)
                                denied = true;
                        else if (r != ENOTDIR &&
                                 (r != ENOENT || access(candidate, F_OK) == 0)) /* no interpreter: ENOENT too */
                                return fail_exec(e, r, candidate);
                }
                path = end ? end + 1 : NULL;
        }
        if (denied)
                return fail_exec(e, EACCES, file);
        return fail_not_found(e, file);
}

/* As runc looks for it: a file with any right to execute. */
static int look_at(const char *path) {
        struct stat st;

        if (stat(path, &st) < 0)
                return errno;
        return !S_ISREG(st.st_mode) || !(st.st_mode & 0111) ? EACCES : 0;
}

static int look_in_path(const char *file, const char *path, struct plan_error *e) {
        char candidate[PATH_MAX];
        bool denied = false;
        int r;

        for (const char *end; path; path = end ? end + 1 : NULL) {
                end = strchr(path, ':');
                if (!join_path(candidate, path, end ? (size_t) (end - path) : strlen(path), file))
                        continue;
                r = look_at(candidate);
                if (r == 0)
                        return 0;
                denied = denied || r == EACCES;
        }
        if (denied)
                return fail_exec(e, EACCES, file);
        return fail_not_found(e, file);
}

int process_look_for_program(const struct reader *plan, struct plan_error *e) {
        const struct plan_record *arg_rec = reader_find(plan, NULL, PLAN_ARGS),
                                 *env_rec = reader_find(plan, NULL, PLAN_ENV);
        const char *file = arg_rec->n_str ? reader_string(arg_rec, 0) : NULL, **env, *path;
        int r;

        if (!file)
                return 0;
        if (file[0] == '/')
                return (r = look_at(file)) ? fail_exec(e, r, file) : 0;
        if (strchr(file, '/')) /* from the working folder, which only the user may be let into: the exec will tell */
                return 0;
        env = calloc(env_rec->n_str + 1, sizeof(*env));
        if (!env)
                return fail_set(e, ENOMEM, "exec", NULL);
        reader_strings(env_rec, env);
        path = find_env(env, "PATH");
        r = look_in_path(file, path && *path ? path : default_path, e);
        free(env);
        return r;
}

int process_exec(const struct process_args *args, struct plan_error *e) {
        const struct plan_record *arg_rec = reader_find(args->plan, NULL, PLAN_ARGS);
        const struct plan_record *env_rec = reader_find(args->plan, NULL, PLAN_ENV);
        const char **argv = calloc(arg_rec->n_str + 1, sizeof(*argv)), **env = calloc(env_rec->n_str + 2, sizeof(*env)),
                   *path;
        char home[5 + USERS_MAX_HOME];

        if (!argv || !env || !arg_rec->n_str) {
                free(argv);
                free(env);
                return fail_set(e, arg_rec->n_str ? ENOMEM : EINVAL, "exec", NULL);
        }
        reader_strings(arg_rec, argv);
        reader_strings(env_rec, env);
        if (!find_env(env, "HOME")) {
                (void) text_join(home, sizeof(home), "HOME=", args->user->home[0] ? args->user->home : "/");
                env[env_rec->n_str] = home;
        }
        if (args->status_fd >= 0)
                (void) fcntl(args->status_fd, F_SETFD, FD_CLOEXEC);
        path = find_env(env, "PATH");
        if (strchr(argv[0], '/')) {
                (void) execve(argv[0], (char *const *) argv, (char *const *) env);
                (void) fail_exec(e, errno, argv[0]);
        } else
                (void) search_path(argv[0], (char *const *) argv, (char *const *) env,
                                   path && *path ? path : default_path, e);
        free(argv);
        free(env);
        return -1;
}

int process_report(int status_fd, const struct plan_error *e) {
        char buf[sizeof(int32_t) + PLAN_ERROR_MAX];
        size_t n = strlen(e->text);

        memcpy(buf, &e->sys_errno, sizeof(e->sys_errno));
        memcpy(buf + sizeof(e->sys_errno), e->text, n);
        if (status_fd >= 0)
                (void) !write(status_fd, buf, sizeof(e->sys_errno) + n);
        return e->sys_errno == ENOENT ? 127 : 126;
}

/* The master goes to the keeper before the process part closes everything. */
static int make_terminal(const struct reader *plan, int root_fd, int terminal_fd, struct plan_error *e) {
        const struct plan_record *rec = reader_find(plan, NULL, PLAN_TERMINAL);
        const char ready = PLAN_MSG_READY;
        int master, r;

        if (!rec) {
                (void) setsid();
                return 0;
        }
        master = terminal_open(root_fd, (uint16_t) rec->a, (uint16_t) rec->b, false, e);
        if (master < 0)
                return -1;
        r = terminal_send(terminal_fd, &ready, sizeof(ready), master);
        (void) close(master);
        return r < 0 ? fail_set(e, -r, "hand out the terminal", NULL) : 0;
}

void process_run_exec(const struct reader *plan, const int *fds, int status_fd, int sock) {
        static struct users_result user;
        struct process_args args = { .plan = plan, .user = &user, .proc_fd = -1, .status_fd = status_fd, .sock = sock };
        int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        const struct plan_record *keyring = reader_find(plan, NULL, PLAN_KEYRING);
        struct plan_error e;

        process_reset();
        if (root_fd < 0)
                (void) fail_set(&e, errno, "open the container's root", NULL);
        else {
                args.proc_fd = path_open_proc(root_fd);
                if ((!keyring || keyring_join(plan, keyring, args.proc_fd, false, &e) == 0) &&
                    users_resolve(root_fd, reader_find(plan, NULL, PLAN_USER), &user, &e) == 0 &&
                    process_set_oom(plan, args.proc_fd, &e) == 0 && make_terminal(plan, root_fd, sock, &e) == 0 &&
                    process_place_fds(&args, fds, &e) == 0 && process_apply(&args, &e) == 0)
                        (void) process_exec(&args, &e);
        }
        _exit(process_report(args.status_fd, &e));
}
