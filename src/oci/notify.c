/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/str.h"
#include "oci/inherited.h"

#define FOLDER "notify"
#define SOCKET_NAME "notify.sock"
#define IN_CONTAINER "/run/notify"

/* More last words than a socket's queue holds are of who floods it from outside the container. */
enum { MESSAGE_MAX = 4096, LAST_WORDS_MAX = 1024, CALLER_TIMEOUT_S = 10 };

int notify_add(const struct oci_dir *d, struct arena *arena, struct spec *spec, struct err *err) {
        struct spec_mount *mounts;

        if (str_empty(getenv("NOTIFY_SOCKET")))
                return 0;
        /* Whoever the program is must reach the socket in there. */
        if (mkdirat(d->fd, FOLDER, 0755) < 0 || fchmodat(d->fd, FOLDER, 0755, 0) < 0)
                return err_sys(err, errno, "make a folder for the container's notify socket");
        mounts = arena_array(arena, struct spec_mount, spec->n_mounts + 1);
        if (spec->n_mounts)
                memcpy(mounts, spec->mounts, spec->n_mounts * sizeof(*mounts));
        mounts[spec->n_mounts++] = (struct spec_mount){ .type = "bind",
                                                        .destination = IN_CONTAINER,
                                                        .source = arena_printf(arena, "%s/%s/" FOLDER, d->root, d->id),
                                                        .data = "",
                                                        .flags = MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV,
                                                        .source_fd = -1 };
        spec->mounts = mounts;
        inherited_add_env(arena, &spec->process, "NOTIFY_SOCKET=" IN_CONTAINER "/" SOCKET_NAME);
        return 0;
}

int notify_listen(const struct oci_dir *d, struct notify *ret, struct err *err) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct stat st;

        *ret = NOTIFY_EMPTY;
        if (str_empty(getenv("NOTIFY_SOCKET")) || fstatat(d->fd, FOLDER, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return 0;
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" FOLDER "/" SOCKET_NAME, d->fd);
        ret->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (ret->fd < 0 || bind(ret->fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ||
            chmod(address.sun_path, 0777) < 0) {
                notify_done(ret);
                return err_sys(err, errno, "make the container's notify socket");
        }
        return 0;
}

void notify_done(struct notify *n) {
        n->fd = fd_close(n->fd);
}

static void tell_caller(const char *line, pid_t main_pid) {
        _cleanup_(fd_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        const char *path = getenv("NOTIFY_SOCKET");
        const struct timeval limit = { .tv_sec = CALLER_TIMEOUT_S };
        char pid[32];
        socklen_t len;

        if (fd < 0 || !path || strlen(path) >= sizeof(address.sun_path))
                return;
        memcpy(address.sun_path, path, strlen(path));
        len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path));
        if (*path == '@')
                address.sun_path[0] = '\0';
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (connect(fd, (const struct sockaddr *) &address, len) < 0)
                return;
        (void) snprintf(pid, sizeof(pid), "MAINPID=%d\n", (int) main_pid);
        (void) send(fd, line, strlen(line), MSG_NOSIGNAL);
        (void) send(fd, pid, strlen(pid), MSG_NOSIGNAL);
}

char *notify_find_ready(char *text) {
        char *save, *line = strtok_r(text, "\n", &save);

        while (line && strncmp(line, "READY=", 6) != 0)
                line = strtok_r(NULL, "\n", &save);
        return line;
}

void notify_relay(const struct notify *n) {
        struct pollfd p[2] = { { .fd = n->fd, .events = POLLIN }, { .fd = n->pidfd, .events = POLLIN } };
        char text[MESSAGE_MAX + 1], line[MESSAGE_MAX + 2], *ready;
        ssize_t len;
        int last = 0;

        while (n->fd >= 0) {
                if (poll(p, 2, -1) < 0 && errno != EINTR)
                        return;
                /* What it has said before it ended counts. */
                if (p[1].revents && (!p[0].revents || last++ == LAST_WORDS_MAX))
                        return;
                if (!p[0].revents)
                        continue;
                len = recv(n->fd, text, MESSAGE_MAX, MSG_DONTWAIT);
                if (len < 0)
                        continue;
                text[len] = '\0';
                ready = notify_find_ready(text);
                if (!ready)
                        continue;
                (void) snprintf(line, sizeof(line), "%s\n", ready);
                tell_caller(line, n->main_pid);
                return;
        }
}

static void *relay(void *arg) {
        notify_relay(arg);
        return NULL;
}

void notify_relay_in_thread(struct notify *n) {
        n->has_thread = n->fd >= 0 && pthread_create(&n->thread, NULL, relay, n) == 0;
}

void notify_wait_for_thread(struct notify *n) {
        if (n->has_thread)
                (void) pthread_join(n->thread, NULL);
        n->has_thread = false;
}
