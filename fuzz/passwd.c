/* SPDX-License-Identifier: Apache-2.0 */
/* An image's /etc/passwd and /etc/group. The first byte chooses how, the second how large the pieces are. */
#include <stdlib.h>
#include <string.h>
#include "init/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void feed(struct users_scan *s, const uint8_t *bytes, size_t size, size_t piece) {
        while (size) {
                size_t n = piece < size ? piece : size;

                users_scan_feed(s, (const char *) bytes, n);
                bytes += n;
                size -= n;
        }
        users_scan_end(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        static uint32_t gids[PLAN_MAX_GROUPS];
        static struct users_passwd passwd;
        static struct users_scan s;

        if (size < 2)
                return 0;
        memset(&s, 0, offsetof(struct users_scan, line));
        memset(&passwd, 0, sizeof(passwd));
        if (bytes[0] & 1) {
                s.passwd = &passwd;
                s.name = bytes[0] & 2 ? "user" : NULL;
                s.uid = bytes[0] >> 2;
        } else {
                s.group = bytes[0] & 2 ? "group" : NULL;
                s.member = bytes[0] & 4 ? "user" : NULL;
                s.gids = gids;
        }
        feed(&s, bytes + 2, size - 2, (size_t) bytes[1] * 64 + 1);
        if (s.n_gids > PLAN_MAX_GROUPS || strlen(passwd.name) >= USERS_MAX_NAME ||
            strlen(passwd.home) >= USERS_MAX_HOME)
                abort();
        return 0;
}
