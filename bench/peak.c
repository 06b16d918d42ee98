/* SPDX-License-Identifier: Apache-2.0 */
/* peak - runs a command and prints the peak memory, in KiB, of it or of any process that it waited for. For bench/oci:
 * a child of Python's begins with Python's own.
 *
 * usage: peak COMMAND [ARG]...        exit status: the command's */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
        struct rusage usage;
        int status;
        pid_t pid = argc < 2 ? -1 : fork();

        if (pid == 0) {
                (void) execvp(argv[1], argv + 1);
                _exit(127);
        }
        if (pid < 0 || wait4(pid, &status, 0, &usage) < 0)
                return 127;
        printf("%ld\n", usage.ru_maxrss);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
