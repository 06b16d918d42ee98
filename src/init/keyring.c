/* SPDX-License-Identifier: Apache-2.0 */
/* keyring - see keyring.h. As runc: the user may search it. */
#include "init/keyring.h"

#include <string.h>
#include "init/fail.h"
#include "init/reader.h"
#include "init/sys.h"

enum { JOIN_SESSION_KEYRING = 1, SETPERM = 5, DESCRIBE = 6, SESSION_KEYRING = -3 };

int keyring_join(const struct plan_record *rec, bool is_new, struct plan_error *e) {
        long key = syscall(SYS_keyctl, JOIN_SESSION_KEYRING, reader_string(rec, 0)), n;
        char text[256] = "";
        uint32_t rights = 0;
        const char *at = text;

        if (key < 0)
                return errno == ENOSYS ? 0 : fail_set(e, errno, "make a session keyring", NULL);
        if (!is_new)
                return 0;
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
