/* SPDX-License-Identifier: Apache-2.0 */
/* floor - what the kernel alone takes for what a container runtime asks of it, without any runtime: the least that a
 * pod or an exec can cost on this machine, now. For bench/run, which builds it.
 *
 * usage: floor ROOTFS WORKDIR N [NAME]...         (all measurements when none is named)
 *
 * ROOTFS has /bin/true, a static program; WORKDIR is an empty folder, for mounts. Prints one line for each measurement:
 * its name, minimum and median in microseconds, tab between. Wants to be root in a mount namespace of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_RUNS = 10000 };
#define ALL_NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static const char *rootfs;
static char mount_point[1024], overlay_options[4096];
static pid_t target; /* lives in namespaces of its own, to be entered */

static _Noreturn void die(const char *what) {
        fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
        _exit(1);
}

static double now_us(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static pid_t clone_into(unsigned long flags) {
        struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
        long pid = syscall(SYS_clone3, &args, sizeof(args));

        if (pid < 0)
                die("clone3");
        return (pid_t) pid;
}

static void reap(pid_t pid) {
        int status;

        if (waitpid(pid, &status, 0) != pid || status != 0) {
                errno = ECHILD;
                die("a child failed");
        }
}

static _Noreturn void exec_true(void) {
        static char *const argv[] = { (char *) "true", NULL }, *const env[] = { (char *) "PATH=/bin", NULL };

        (void) execve("/bin/true", argv, env);
        die("exec /bin/true");
}

static void mount_or_die(const char *source, const char *target_path, const char *type, unsigned long flags,
                         const char *options) {
        if (mount(source, target_path, type, flags, options) < 0)
                die(target_path);
}

/* What every runtime sets up for a container, in the order of necessity. */
static void enter_container(void) {
        static const struct {
                const char *path;
                unsigned major, minor;
        } devices[] = { { "dev/null", 1, 3 },   { "dev/zero", 1, 5 },    { "dev/full", 1, 7 },
                        { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 } };

        mount_or_die(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
        mount_or_die("overlay", mount_point, "overlay", 0, overlay_options);
        if (chdir(mount_point) < 0)
                die(mount_point);
        mount_or_die("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
        mount_or_die("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=64k");
        if (mkdir("dev/pts", 0755) < 0 || mkdir("dev/shm", 0755) < 0 || mkdir("dev/mqueue", 0755) < 0)
                die("mkdir in /dev");
        mount_or_die("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666");
        mount_or_die("shm", "dev/shm", "tmpfs", MS_NOSUID, "size=64m");
        mount_or_die("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
        for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
                if (mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)) < 0)
                        die(devices[i].path);
        if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                die("pivot_root");
}

static void run_container(unsigned long flags) {
        pid_t pid = clone_into(flags);

        if (pid == 0) {
                enter_container();
                exec_true();
        }
        reap(pid);
}

static void run_host_container(void) {
        run_container(ALL_NAMESPACES);
}

static void run_net_container(void) {
        run_container(ALL_NAMESPACES | CLONE_NEWNET);
}

static void run_fork_exec(void) {
        pid_t pid = vfork();

        if (pid == 0) {
                (void) chroot(rootfs);
                (void) execl("/bin/true", "true", (char *) NULL);
                _exit(1);
        }
        reap(pid);
}

/* A process that enters the namespaces, and there its child with the program: an exec in a container. */
static void run_exec(void) {
        pid_t pid = vfork(), inner;

        if (pid == 0) {
                int fd = (int) syscall(SYS_pidfd_open, target, 0);

                if (fd < 0 || setns(fd, ALL_NAMESPACES) < 0)
                        _exit(1);
                inner = clone_into(0);
                if (inner == 0)
                        exec_true();
                reap(inner);
                _exit(0);
        }
        reap(pid);
}

static void run_netns(void) {
        pid_t pid = clone_into(CLONE_NEWNET);

        if (pid == 0)
                _exit(0);
        reap(pid);
}

static const struct {
        const char *name;
        void (*run)(void);
} measurements[] = {
        { "fork, exec, reap of true", run_fork_exec },
        { "exec of true in namespaces", run_exec },
        { "network namespace, made and left", run_netns },
        { "container of true, host network", run_host_container },
        { "container of true, own network", run_net_container },
};

static int compare(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static void measure(size_t which, int n) {
        static double times[MAX_RUNS];

        for (int i = 0; i < n; i++) {
                double began = now_us();

                measurements[which].run();
                times[i] = now_us() - began;
        }
        qsort(times, (size_t) n, sizeof(times[0]), compare);
        printf("%s\t%.0f\t%.0f\n", measurements[which].name, times[0], times[n / 2]);
        (void) fflush(stdout);
}

static bool wanted(const char *name, char **names) {
        if (!*names)
                return true;
        for (; *names; names++)
                if (strcmp(*names, name) == 0)
                        return true;
        return false;
}

int main(int argc, char **argv) {
        char upper[1024], work[1024];
        int n = argc > 3 ? (int) strtol(argv[3], NULL, 10) : 0;

        if (n < 1 || n > MAX_RUNS) {
                fprintf(stderr, "usage: floor ROOTFS WORKDIR N [NAME]...   (N at most %d)\n", MAX_RUNS);
                return 2;
        }
        rootfs = argv[1];
        (void) snprintf(mount_point, sizeof(mount_point), "%s/mnt", argv[2]);
        (void) snprintf(upper, sizeof(upper), "%s/upper", argv[2]);
        (void) snprintf(work, sizeof(work), "%s/work", argv[2]);
        if (mkdir(mount_point, 0755) < 0 || mkdir(upper, 0755) < 0 || mkdir(work, 0755) < 0)
                die(argv[2]);
        (void) snprintf(overlay_options, sizeof(overlay_options), "lowerdir=%s,upperdir=%s,workdir=%s", rootfs, upper,
                        work);
        target = clone_into(ALL_NAMESPACES);
        if (target == 0) {
                enter_container();
                (void) pause();
                _exit(0);
        }
        (void) usleep(100000);
        for (size_t i = 0; i < sizeof(measurements) / sizeof(measurements[0]); i++)
                if (wanted(measurements[i].name, argv + 4))
                        measure(i, n);
        (void) kill(target, SIGKILL);
        (void) waitpid(target, NULL, 0);
        return 0;
}
