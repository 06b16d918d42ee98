/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/console.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/sock.h"

/* A socket's address has room for 107 bytes, paths of engines may be longer: by a descriptor of the folder. */
static int address_of(const char *path, int *ret_dir, struct sockaddr_un *ret) {
        const char *slash = strrchr(path, '/');
        char dir[4096];
        int n;

        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        *ret_dir = -1;
        if (strlen(path) < sizeof(ret->sun_path)) {
                memcpy(ret->sun_path, path, strlen(path) + 1);
                return 0;
        }
        if (!slash || (size_t) (slash - path) >= sizeof(dir))
                return -ENAMETOOLONG;
        (void) snprintf(dir, sizeof(dir), "%.*s", (int) (slash - path), path);
        *ret_dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (*ret_dir < 0)
                return -errno;
        n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", *ret_dir, slash + 1);
        return n >= (int) sizeof(ret->sun_path) ? -ENAMETOOLONG : 0;
}

int console_open(const char *path, int *ret) {
        _cleanup_(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), dir = -1;
        struct sockaddr_un address;
        int r = fd < 0 ? -errno : address_of(path, &dir, &address);

        if (r == 0 && connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                r = -errno;
        if (r == 0)
                *ret = TAKE_FD(fd);
        return r;
}

int console_connect(const char *path, int *ret, struct err *err) {
        int r = console_open(path, ret);

        return r < 0 ? err_set(err, ERR_INVALID, "--console-socket %s: connect: %s", path, strerror(-r)) : 0;
}

int console_send(int sock, int master, struct err *err) {
        static const char name[] = "/dev/ptmx"; /* what runc's masters are called, too */
        int r = sock_send(sock, name, sizeof(name) - 1, &master, 1);

        return r < 0 ? err_sys(err, -r, "send the terminal's master to the console socket") : 0;
}

int console_check(bool terminal, bool detached, const char *path, struct err *err) {
        if (terminal && detached && !path)
                return err_set(err, ERR_INVALID,
                               "cannot allocate tty if the runtime will detach without setting console socket");
        if (path && !terminal)
                return err_set(err, ERR_INVALID,
                               "cannot use console socket if the runtime will not detach or allocate tty");
        return 0;
}
