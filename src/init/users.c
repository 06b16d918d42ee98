/* SPDX-License-Identifier: Apache-2.0 */
/* users - see users.h. */
#include "init/users.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "init/fail.h"
#include "init/path.h"
#include "init/reader.h"
#include "init/sys.h"

bool users_number(const char *s, uint32_t *ret) {
        uint64_t n = 0;

        if (!*s)
                return false;
        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return false;
                n = n * 10 + (uint64_t) (*s - '0');
                if (n >= UINT32_MAX)
                        return false;
        }
        *ret = (uint32_t) n;
        return true;
}

/* The next field of a line, NULL past the last. */
static char *next_field(char **rest, char separator) {
        char *field = *rest, *end;

        if (!field)
                return NULL;
        end = strchr(field, separator);
        if (end)
                *end++ = '\0';
        *rest = end;
        return field;
}

static bool copy(char *out, size_t size, const char *s) {
        size_t n = strlen(s);

        if (n >= size)
                return false;
        memcpy(out, s, n + 1);
        return true;
}

/* name:password:uid:gid:gecos:home:shell */
static void scan_passwd(struct users_scan *s, char *line) {
        struct users_passwd *p = s->passwd, found = { .found = true };
        char *field[6];

        for (size_t i = 0; i < 6; i++) {
                field[i] = next_field(&line, ':');
                if (!field[i])
                        return;
        }
        if (p->found || !*field[0] || !users_number(field[2], &found.uid) || !users_number(field[3], &found.gid))
                return;
        if (s->name ? strcmp(s->name, field[0]) != 0 : s->uid != found.uid)
                return;
        if (!copy(found.name, sizeof(found.name), field[0]))
                return;
        if (!copy(found.home, sizeof(found.home), field[5]))
                found.home[0] = '\0';
        *p = found;
}

/* name:password:gid:member,member */
static void scan_group(struct users_scan *s, char *line) {
        char *name = next_field(&line, ':'), *password = next_field(&line, ':'), *number = next_field(&line, ':');
        char *members = next_field(&line, ':'), *member;
        uint32_t gid;

        if (!password || !number || !*name || !users_number(number, &gid))
                return;
        if (s->group && !s->group_found && strcmp(s->group, name) == 0) {
                s->group_found = true;
                s->group_gid = gid;
        }
        while (s->member && (member = next_field(&members, ','))) {
                if (strcmp(member, s->member) != 0)
                        continue;
                if (s->n_gids < PLAN_MAX_GROUPS)
                        s->gids[s->n_gids++] = gid;
                else
                        s->too_many = true;
                return;
        }
}

static void end_line(struct users_scan *s) {
        s->line[s->len] = '\0';
        /* A NUL inside would hide what follows it. */
        if (!s->skip && s->len && strlen(s->line) == s->len && s->line[0] != '#') {
                if (s->passwd)
                        scan_passwd(s, s->line);
                else
                        scan_group(s, s->line);
        }
        s->len = 0;
        s->skip = false;
}

void users_scan_feed(struct users_scan *s, const char *bytes, size_t n) {
        while (n) {
                const char *end = memchr(bytes, '\n', n);
                size_t part = end ? (size_t) (end - bytes) : n;

                if (part >= sizeof(s->line) - s->len)
                        s->skip = true;
                if (!s->skip) {
                        memcpy(s->line + s->len, bytes, part);
                        s->len += part;
                } else
                        s->len = 0;
                if (end) {
                        end_line(s);
                        part++;
                }
                bytes += part;
                n -= part;
        }
}

void users_scan_end(struct users_scan *s) {
        end_line(s);
}

/* A fifo must not hold us up, a terminal must not become ours, and procfs must not be parsed as a list of users. */
static int open_list(int root_fd, const char *path) {
        int fd = path_open(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY), saved;
        struct statfs fs;
        struct stat st;

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) == 0 && fstatfs(fd, &fs) == 0 && S_ISREG(st.st_mode) && (long) fs.f_type != SYS_PROC_MAGIC)
                return fd;
        saved = S_ISREG(st.st_mode) ? EXDEV : EINVAL;
        (void) close(fd);
        return -saved;
}

/* Missing is as good as empty. */
static int scan_file(int root_fd, const char *path, struct users_scan *s, struct plan_error *e) {
        static char buf[8192];
        size_t total = 0;
        ssize_t n;
        int fd = open_list(root_fd, path);

        s->len = 0;
        s->skip = false;
        if (fd == -ENOENT || fd == -ENOTDIR)
                return 0;
        if (fd < 0)
                return fail_set(e, -fd, "read ", path, NULL);
        while ((n = read(fd, buf, sizeof(buf))) > 0) {
                total += (size_t) n;
                if (total > USERS_MAX_FILE) {
                        n = -1;
                        errno = EFBIG;
                        break;
                }
                users_scan_feed(s, buf, (size_t) n);
        }
        if (n < 0)
                (void) fail_set(e, errno, "read ", path, NULL);
        (void) close(fd);
        if (n < 0)
                return -1;
        users_scan_end(s);
        return 0;
}

static struct users_scan scan; /* 64 KiB: not for the stack */

static int find_passwd(int root_fd, const char *name, uint32_t uid, struct users_passwd *ret, struct plan_error *e) {
        memset(ret, 0, sizeof(*ret));
        memset(&scan, 0, offsetof(struct users_scan, line));
        scan.passwd = ret;
        scan.name = name;
        scan.uid = uid;
        return scan_file(root_fd, "/etc/passwd", &scan, e);
}

static int find_user(int root_fd, const struct plan_record *rec, struct users_passwd *ret, struct plan_error *e) {
        const char *name = reader_string(rec, 0);
        uint32_t uid;

        if (!(rec->flags & PLAN_USER_BY_NAME)) {
                if (find_passwd(root_fd, NULL, (uint32_t) rec->a, ret, e) < 0)
                        return -1;
                ret->uid = (uint32_t) rec->a;
                return 0;
        }
        if (find_passwd(root_fd, name, 0, ret, e) < 0)
                return -1;
        if (ret->found)
                return 0;
        if (!users_number(name, &uid)) /* "1000": a name first, then a number, as Docker takes it */
                return fail_set(e, 0, "unable to find user ", name, ": no matching entries in passwd file", NULL);
        if (find_passwd(root_fd, NULL, uid, ret, e) < 0)
                return -1;
        ret->uid = uid;
        return 0;
}

static int find_groups(int root_fd, const struct plan_record *rec, const struct users_passwd *user,
                       struct users_result *ret, struct plan_error *e) {
        const char *group = rec->flags & PLAN_USER_GROUP_BY_NAME ? reader_string(rec, 1) : NULL;
        const char *member = !(rec->flags & PLAN_USER_STRICT) && user->found ? user->name : NULL;

        ret->gid = rec->flags & PLAN_USER_HAS_GID ? (uint32_t) rec->b : user->found ? user->gid : 0;
        if (!group && !member)
                return 0;
        memset(&scan, 0, offsetof(struct users_scan, line));
        scan.group = group;
        scan.member = member;
        scan.gids = ret->groups;
        scan.n_gids = ret->n_groups;
        if (scan_file(root_fd, "/etc/group", &scan, e) < 0)
                return -1;
        if (scan.too_many)
                return fail_set(e, 0, "user ", user->name, " is in too many groups", NULL);
        ret->n_groups = scan.n_gids;
        if (!group)
                return 0;
        if (scan.group_found)
                ret->gid = scan.group_gid;
        else if (!users_number(group, &ret->gid))
                return fail_set(e, 0, "unable to find group ", group, ": no matching entries in group file", NULL);
        return 0;
}

/* Sorted, each once; few, and mostly sorted already. */
static void sort_groups(struct users_result *u) {
        size_t n = 0;

        for (size_t i = 0; i < u->n_groups; i++) {
                uint32_t gid = u->groups[i];
                size_t at = n;

                while (at && u->groups[at - 1] > gid)
                        at--;
                if (at && u->groups[at - 1] == gid)
                        continue;
                memmove(&u->groups[at + 1], &u->groups[at], (n - at) * sizeof(gid));
                u->groups[at] = gid;
                n++;
        }
        u->n_groups = n;
}

int users_resolve(int root_fd, const struct plan_record *rec, struct users_result *ret, struct plan_error *e) {
        static struct users_passwd user;

        memset(ret, 0, sizeof(*ret));
        ret->n_groups = rec->data_len / sizeof(uint32_t);
        memcpy(ret->groups, reader_data(rec), rec->data_len);
        if (rec->flags & PLAN_USER_RESOLVED) {
                struct plan_error ignored;

                /* The numbers stand; the entry only gives a home, and a container that broke its list of users still
                 * runs. */
                if (find_passwd(root_fd, NULL, (uint32_t) rec->a, &user, &ignored) == 0)
                        (void) copy(ret->home, sizeof(ret->home), user.home);
                ret->uid = (uint32_t) rec->a;
                ret->gid = (uint32_t) rec->b;
                return 0;
        }
        if (find_user(root_fd, rec, &user, e) < 0 || find_groups(root_fd, rec, &user, ret, e) < 0)
                return -1;
        ret->uid = user.uid;
        (void) copy(ret->home, sizeof(ret->home), user.home);
        /* The own group among the additional ones: else a set-gid program could shed it (CVE-2022-2995). */
        sort_groups(ret);
        if (ret->n_groups == PLAN_MAX_GROUPS && !(rec->flags & PLAN_USER_RESOLVED)) {
                for (size_t i = 0; i < ret->n_groups; i++)
                        if (ret->groups[i] == ret->gid)
                                return 0;
                return fail_set(e, 0, "too many groups", NULL);
        }
        ret->groups[ret->n_groups++] = ret->gid;
        sort_groups(ret);
        return 0;
}
