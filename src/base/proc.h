/* SPDX-License-Identifier: Apache-2.0 */
/* proc - run another program by posix_spawn (never fork: the daemon has threads), and identify processes safely. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"
#include "base/strbuf.h"

struct proc_run_args {
        const char *path;        /* without a slash it is looked for in $PATH; NULL: argv[0] */
        const char *dir;         /* working folder; NULL: ours */
        const char *const *argv; /* NULL-terminated */
        const char *const *envp; /* NULL-terminated; NULL: empty */
        const char *input;       /* standard input's bytes, may be NULL */
        size_t input_len;
        struct strbuf *out;     /* standard output, may be NULL (discarded) */
        int out_fd;             /* standard output goes there instead; 0: not */
        struct strbuf *err_out; /* standard error, may be NULL (discarded) */
        uint64_t timeout_ms;    /* 0: none; past it the program is killed and ERR_DEADLINE raised */
};

/* Run to its end. @ret_status: as waitpid's. Blocks; for worker threads. */
_must_use_ int proc_run(const struct proc_run_args *args, int *ret_status, struct err *err);

/* Start time of @pid in clock ticks (/proc/PID/stat field 22), 0 when it is gone: with the pid it names a process for
 * good. */
uint64_t proc_start_time(pid_t pid);
/* Is it there, and neither dead nor a zombie? One read of /proc. */
bool proc_is_alive(pid_t pid, uint64_t start_time);

/* A number that this process has alone, in this boot and any other; by pidfd. 0: this kernel (before 6.9) gives none.
 */
uint64_t proc_identity(int pidfd);
/* proc_is_alive() at a third of its cost where @identity is not 0. */
bool proc_is_alive_by(pid_t pid, uint64_t start_time, uint64_t identity);

/* pidfd of @pid if its start time still is @start_time; else -1 with errno ESRCH. */
int proc_open(pid_t pid, uint64_t start_time);
/* A signal by pidfd; 0 or -errno. */
int proc_signal(int pidfd, int sig);
/* Wait until the process behind @pidfd has ended; false when @timeout_ms (-1: for ever) passed first. */
bool proc_wait_gone(int pidfd, int timeout_ms);
