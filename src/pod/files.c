/* SPDX-License-Identifier: Apache-2.0 */
/* files - a pod's files on the host. */
#include "pod/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/strbuf.h"
#include "pod/user-ns.h"

enum { FILE_MAX = 1 << 20, HOST_NAME_SIZE = 256 };

const char *pod_file(const struct sandbox *s, const char *name, struct arena *arena) {
        return arena_printf(arena, "%s/pods/%s/%s", s->pods->state, s->id, name);
}

const char *pod_ns_dir(const struct sandbox *s, struct arena *arena) {
        return arena_printf(arena, "%s/ns/%s", s->pods->state, s->id);
}

const char *pod_ns_file(const struct sandbox *s, const char *name, bool of_host, struct arena *arena) {
        return of_host ? arena_printf(arena, "/proc/1/ns/%s", name)
                       : arena_printf(arena, "%s/ns/%s/%s", s->pods->state, s->id, name);
}

bool pod_ns_is_live(const char *path) {
        struct statfs fs;

        return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

const char *pod_hostname(const CRI(PodSandboxConfig) * config, bool host_network, struct arena *arena) {
        char name[HOST_NAME_SIZE] = "";

        if (!host_network && !str_empty(config->hostname))
                return arena_strdup(arena, config->hostname);
        if (gethostname(name, sizeof(name) - 1) < 0 || !*name)
                return "localhost";
        return arena_strdup(arena, name);
}

static void put_line(struct strbuf *out, const char *key, char *const *words, size_t n) {
        if (n == 0)
                return;
        strbuf_puts(out, key);
        for (size_t i = 0; i < n; i++)
                strbuf_printf(out, " %s", words[i]);
        strbuf_putc(out, '\n');
}

void resolv_conf_write(const CRI(DNSConfig) * dns, struct strbuf *out) {
        put_line(out, "search", dns->searches, dns->n_searches);
        for (size_t i = 0; i < dns->n_servers; i++)
                strbuf_printf(out, "nameserver %s\n", dns->servers[i]);
        put_line(out, "options", dns->options, dns->n_options);
}

void hosts_write(const char *hostname, char *const *ips, struct strbuf *out) {
        strbuf_puts(out, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        for (size_t i = 0; ips && ips[i]; i++)
                strbuf_printf(out, "%s\t%s\n", ips[i], hostname);
}

static int write_file(struct sandbox *s, int dirfd, const char *name, const struct strbuf *content, struct err *err) {
        _cleanup_(fd_closep) int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
        uint32_t uid, gid;
        int r;

        user_ns_root(s, &uid, &gid);
        if (content->overflow)
                return err_set(err, ERR_EXHAUSTED, "the pod's %s would be too large", name);
        if (fd < 0 || (uid && fchown(fd, uid, gid) < 0))
                return err_sys(err, errno, "create the pod's %s", name);
        r = fs_write_all(fd, strbuf_str(content), content->len);
        return r < 0 ? err_sys(err, -r, "write the pod's %s", name) : 0;
}

/* A file of the host's; one that is missing is an empty one. */
static int read_host_file(const char *path, struct strbuf *out, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        size_t len;
        int r = fs_read_file(AT_FDCWD, path, FILE_MAX, &text, &len, err);

        if (r == 0)
                strbuf_append(out, text, len);
        return r < 0 && err->sys_errno == ENOENT ? 0 : r;
}

static int write_hosts(struct sandbox *s, const struct pod_rules *rules, const char *hostname, char *const *ips,
                       int dirfd, struct err *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(FILE_MAX);
        int r;

        if (rules->host_network) {
                r = read_host_file("/etc/hosts", &b, err);
                if (r < 0)
                        return r;
        } else
                hosts_write(hostname, ips, &b);
        return write_file(s, dirfd, "hosts", &b, err);
}

static int write_resolv_conf(struct sandbox *s, int dirfd, struct err *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(FILE_MAX);
        const CRI(DNSConfig) *dns = s->config->dns_config;
        int r;

        if (dns)
                resolv_conf_write(dns, &b);
        if (b.len == 0) {
                r = read_host_file("/etc/resolv.conf", &b, err);
                if (r < 0)
                        return r;
        }
        return write_file(s, dirfd, "resolv.conf", &b, err);
}

static int mount_shm(struct sandbox *s, const char *path, struct err *err) {
        uint32_t uid, gid;
        char options[96];

        user_ns_root(s, &uid, &gid);
        (void) snprintf(options, sizeof(options), "mode=1777,size=67108864,uid=%u,gid=%u", uid, gid);
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return err_sys(err, errno, "create %s", path);
        if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, options) < 0)
                return err_sys(err, errno, "mount the pod's shared memory on %s", path);
        return 0;
}

int pod_files_create(struct sandbox *s, const struct pod_rules *rules, char *const *ips, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 << 10);
        _cleanup_strbuf_ struct strbuf b = STRBUF(HOST_NAME_SIZE + 1);
        const char *hostname = pod_hostname(s->config, rules->host_network, arena), *dir = pod_file(s, "", arena);
        _cleanup_(fd_closep) int dirfd = -1;
        int r = fs_mkdir_p(dir, 0755, err);

        if (r < 0)
                return r;
        dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dirfd < 0)
                return err_sys(err, errno, "open %s", dir);
        strbuf_printf(&b, "%s\n", hostname);
        r = write_file(s, dirfd, "hostname", &b, err);
        if (r == 0)
                r = write_hosts(s, rules, hostname, ips, dirfd, err);
        if (r == 0)
                r = write_resolv_conf(s, dirfd, err);
        if (r == 0 && !rules->host_ipc)
                r = mount_shm(s, pod_file(s, "shm", arena), err);
        return r;
}

int pod_files_remove(struct pods *p, const char *id, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 << 10);
        const char *dir = arena_printf(arena, "%s/pods/%s", p->state, id), *shm = arena_printf(arena, "%s/shm", dir);

        /* Detached: containers that still hold it keep it until they end. Mounted twice only if someone else did. */
        while (umount2(shm, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                ;
        if (errno != EINVAL && errno != ENOENT)
                return err_sys(err, errno, "unmount %s", shm);
        return fs_remove_tree(AT_FDCWD, dir, err);
}
