/* SPDX-License-Identifier: Apache-2.0 */
/* sysctl - see sysctl.h. */
#include "net/sysctl.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"

enum { VALUE_MAX = 4096 };

static bool component_is_valid(const char *s, size_t len) {
        return len > 0 && !(len == 1 && s[0] == '.') && !(len == 2 && s[0] == '.' && s[1] == '.');
}

/* The separators become '/', and a '/' between dots '.': eth0/100 is how a dotted interface name is written. */
static bool normalise(const char *name, char ret[SYSCTL_PATH_MAX]) {
        size_t len = strnlen(name, SYSCTL_PATH_MAX), start = 0;
        const char *first = strpbrk(name, "./");
        bool swap = first && *first == '.';

        if (len == 0 || len >= SYSCTL_PATH_MAX)
                return false;
        for (size_t i = 0; i <= len; i++) {
                char c = name[i];

                if (swap && (c == '.' || c == '/'))
                        c = c == '.' ? '/' : '.';
                if (c != '\0' && !isalnum((unsigned char) c) && !strchr("._-/", c))
                        return false;
                ret[i] = c;
                if (c == '/' || c == '\0') {
                        if (!component_is_valid(ret + start, i - start))
                                return false;
                        start = i + 1;
                }
        }
        return true;
}

int sysctl_path(const char *name, bool net, bool ipc, char ret[SYSCTL_PATH_MAX], struct err *err) {
        bool is_net, is_ipc;

        if (!normalise(name, ret))
                return err_set(err, ERR_INVALID, "sysctl \"%.80s\" is not a valid name", name);
        is_net = str_after(ret, "net/") != NULL;
        is_ipc = str_after(ret, "fs/mqueue/") || str_eq(ret, "kernel/sem") ||
                 ((str_after(ret, "kernel/shm") || str_after(ret, "kernel/msg")) && !strchr(ret + 7, '/'));
        if (!is_net && !is_ipc)
                return err_set(err, ERR_INVALID, "sysctl %s is not namespaced: it would change the whole node", name);
        if ((is_net && !net) || (is_ipc && !ipc))
                return err_set(err, ERR_INVALID, "sysctl %s needs a pod with its own %s namespace", name,
                               is_net ? "network" : "IPC");
        return 0;
}

int sysctl_write(const char *path, const char *value, struct err *err) {
        _cleanup_(fd_closep) int root = -1, fd = -1;
        size_t len = strnlen(value, VALUE_MAX + 1);
        ssize_t n;

        if (len > VALUE_MAX)
                return err_set(err, ERR_INVALID, "the value of sysctl %s is longer than %d bytes", path, VALUE_MAX);
        root = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return err_sys(err, errno, "open /proc/sys");
        fd = openat(root, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && (errno == ENOENT || errno == EACCES || errno == EISDIR || errno == ENOTDIR))
                return err_set(err, ERR_INVALID, "sysctl %s does not exist in this pod's namespaces or can't be set",
                               path);
        if (fd < 0)
                return err_sys(err, errno, "open sysctl %s", path);
        n = write(fd, value, len);
        if (n < 0 && (errno == EINVAL || errno == ERANGE || errno == EPERM || errno == EACCES))
                return err_set(err, ERR_INVALID, "the kernel refused \"%.80s\" for sysctl %s: %s", value, path,
                               strerrordesc_np(errno));
        if (n < 0)
                return err_sys(err, errno, "write sysctl %s", path);
        return 0;
}
