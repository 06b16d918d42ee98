/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "base/str.h"

struct secret {
        atomic_uint refs;
        size_t from; /* where the secret begins in @text */
        char text[SECRET_MAX + 1];
};

static struct secret *map_secret(void) {
        struct secret *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (s == MAP_FAILED || madvise(s, sizeof(*s), MADV_DONTDUMP) < 0)
                abort();
        (void) mlock(s, sizeof(*s)); /* limited for some users; core dumps matter more */
        s->refs = 1;
        return s;
}

struct secret *secret_ref(struct secret *s) {
        if (s)
                s->refs++;
        return s;
}

struct secret *secret_unref(struct secret *s) {
        if (s && --s->refs == 0) {
                explicit_bzero(s, sizeof(*s));
                (void) munmap(s, sizeof(*s));
        }
        return NULL;
}

const char *secret_text(const struct secret *s) {
        return s ? s->text : NULL;
}

void secret_hide(const struct secret *s, char *text) {
        const char *hidden = s ? s->text + s->from : "";
        size_t len = strlen(hidden);

        while (len > 0 && (text = strstr(text, hidden))) {
                memset(text, '*', len);
                text += len;
        }
}

/* What is wrong with it, or NULL. */
static const char *complaint(const char *text) {
        if (!*text)
                return "is empty";
        for (; *text; text++)
                if (iscntrl((unsigned char) *text))
                        return "has control bytes in it";
        return NULL;
}

int secret_new(const char *prefix, const char *text, struct secret **ret, struct err *err) {
        _cleanup_(secret_unrefp) struct secret *s = map_secret();
        int n = snprintf(s->text, sizeof(s->text), "%s%s", prefix, text);
        const char *wrong = n < 0 || n > SECRET_MAX ? "is too long" : complaint(text);

        if (wrong)
                return err_set(err, ERR_INVALID, "a secret %s", wrong);
        s->from = strlen(prefix);
        *ret = TAKE_PTR(s);
        return 0;
}

static int check_file(int fd, const char *path, struct err *err) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return err_sys(err, errno, "stat %s", path);
        if (!S_ISREG(st.st_mode))
                return err_set(err, ERR_PRECONDITION, "%s is not a file", path);
        if (st.st_mode & 077)
                return err_set(err, ERR_PRECONDITION, "%s holds a secret that others may read: chmod 600 it", path);
        if (st.st_uid != 0 && st.st_uid != geteuid())
                return err_set(err, ERR_PRECONDITION, "%s holds a secret and belongs to another user: chown it", path);
        return 0;
}

int secret_read(const char *path, struct secret **ret, struct err *err) {
        _cleanup_(secret_unrefp) struct secret *s = map_secret();
        _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        const char *wrong;
        size_t len = 0;
        ssize_t n;
        int r;

        if (fd < 0)
                return err_sys(err, errno, "open %s", path);
        r = check_file(fd, path, err);
        if (r < 0)
                return r;
        /* One byte more than fits, to see that there is more. */
        while (len < sizeof(s->text) && (n = read(fd, s->text + len, sizeof(s->text) - len)) != 0) {
                if (n < 0)
                        return err_sys(err, errno, "read %s", path);
                len += (size_t) n;
        }
        if (len > SECRET_MAX)
                return err_set(err, ERR_INVALID, "%s: the secret is longer than %d bytes", path, SECRET_MAX);
        while (len > 0 && isspace((unsigned char) s->text[len - 1]))
                s->text[--len] = '\0';
        wrong = strlen(s->text) != len ? "has control bytes in it" : complaint(s->text);
        if (wrong)
                return err_set(err, ERR_INVALID, "%s: the secret %s", path, wrong);
        *ret = TAKE_PTR(s);
        return 0;
}
