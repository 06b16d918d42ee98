/* SPDX-License-Identifier: Apache-2.0 */
/* keyring - see keyring.h. As runc: the user may search it. */
#include "init/keyring.h"

#include <string.h>
#include "init/fail.h"
#include "init/path.h"
#include "init/reader.h"
#include "init/sys.h"

enum { JOIN_SESSION_KEYRING = 1, SETPERM = 5, DESCRIBE = 6, SESSION_KEYRING = -3 };

/* Of the keys that we make from now on; "": the policy's choice again. */
static int set_label(int proc_fd, const char *label, struct plan_error *e) {
        int r = path_write_in_proc(proc_fd, "self/attr/keycreate", label);

        return r < 0 ? fail_set(e, -r, "set the SELinux label of the session keyring to ", label, NULL) : 0;
}

/* Else it has ours, and a policy keeps the container's processes from their own keys. */
static long make(const struct reader *plan, const struct plan_record *rec, int proc_fd, struct plan_error *e) {
        const struct plan_record *selinux = reader_find(plan, NULL, PLAN_SELINUX);
        const char *label = selinux ? reader_string(selinux, 0) : NULL;
        long key;

        if (label && set_label(proc_fd, label, e) < 0)
                return -1;
        key = syscall(SYS_keyctl, JOIN_SESSION_KEYRING, reader_string(rec, 0));
        if (key < 0)
                key = errno == ENOSYS ? 0 : fail_set(e, errno, "make a session keyring", NULL);
        return label && key >= 0 && set_label(proc_fd, "", e) < 0 ? -1 : key;
}

int keyring_join(const struct reader *plan, const struct plan_record *rec, int proc_fd, bool is_new,
                 struct plan_error *e) {
        long key = make(plan, rec, proc_fd, e), n;
        char text[256] = "";
        uint32_t rights = 0;
        const char *at = text;

        if (key <= 0 || !is_new)
                return (int) (key < 0 ? key : 0);
        n = syscall(SYS_keyctl, DESCRIBE, (long) SESSION_KEYRING, text, sizeof(text) - 1);
        if (n < 0)
                return fail_set(e, errno, "look at the session keyring", NULL);
        /* "keyring;uid;gid;rights;name", rights in hexadecimal. */
        for (int i = 0; i < 3 && at; i++)
                at = strchr(at, ';') ? strchr(at, ';') + 1 : NULL;
        for (; at && *at && *at != ';'; at++)
                rights = rights << 4 | (uint32_t) (*at <= '9' ? *at - '0' : (*at | 0x20) - 'a' + 10);
        if (!at || syscall(SYS_keyctl, SETPERM, key, rights | (uint32_t) rec->a) < 0)
                return fail_set(e, at ? errno : EBADMSG, "set the rights of the session keyring", NULL);
        return 0;
}
