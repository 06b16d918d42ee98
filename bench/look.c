/* SPDX-License-Identifier: Apache-2.0 */
/* look - the least that a list of our containers can cost: a program that makes, for each, the calls without which its
 * status can't be told, and prints nothing. For bench/oci; src/oci/state.c makes the same.
 *
 * usage: look ROOT GROUPS FILE     ROOT: what --root is; GROUPS/<cgroupPath>/FILE tells whether it is frozen */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int frozen_in, start;

/* What follows @key in a state.json. */
static const char *value(const char *text, const char *key) {
        const char *at = strstr(text, key);

        return at ? at + strlen(key) : "";
}

static int look(const char *root, int root_fd, const char *id, const char *file) {
        struct open_how how = { .flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char path[4096], text[8192], answer[64];
        struct pollfd p = { .events = POLLIN };
        const char *group;
        struct stat st;
        ssize_t n;
        int fd;

        (void) snprintf(path, sizeof(path), "%s/state.json", id);
        fd = (int) syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
        if (fd < 0 || fstat(fd, &st) < 0 || (n = read(fd, text, sizeof(text) - 1)) <= 0)
                return -1;
        (void) close(fd);
        text[n] = '\0';
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s/start.sock", root, id);
        if (connect(start, (const struct sockaddr *) &address, sizeof(address)) < 0 && errno != EPROTOTYPE) {
                p.fd = (int) syscall(SYS_pidfd_open, (pid_t) strtol(value(text, "\"pid\":"), NULL, 10), 0);
                if (p.fd < 0 || fstat(p.fd, &st) < 0 || poll(&p, 1, 0) != 0)
                        return -1;
                (void) close(p.fd);
        }
        group = value(text, "\"cgroupPath\":\"/");
        (void) snprintf(path, sizeof(path), "%.*s/%s", (int) strcspn(group, "\""), group, file);
        fd = openat(frozen_in, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, answer, sizeof(answer)) <= 0)
                return -1;
        return close(fd);
}

int main(int argc, char **argv) {
        int root_fd = argc == 4 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        DIR *dir = root_fd < 0 ? NULL : fdopendir(root_fd);
        struct dirent *e;

        start = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        frozen_in = dir ? open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
        if (start < 0 || frozen_in < 0) {
                fprintf(stderr, "usage: look ROOT GROUPS FILE\n");
                return 2;
        }
        while ((e = readdir(dir)))
                if (e->d_name[0] != '.' && look(argv[1], root_fd, e->d_name, argv[3]) < 0) {
                        perror(e->d_name);
                        return 1;
                }
        return 0;
}
