/* SPDX-License-Identifier: Apache-2.0 */
/* propagation - is the mount that a host path lies on shared with, or slave to, others? */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include "base/fs.h"
#include "pod/specgen.h"

enum { MOUNTINFO_MAX = 64 << 20 };

/* mountinfo's line: "id parent major:minor root target options optional... - type source options" */
int mount_peers_in(const char *mountinfo, uint64_t mount_id, unsigned *ret, struct err *err) {
        char prefix[32];
        size_t n = (size_t) snprintf(prefix, sizeof(prefix), "%llu ", (unsigned long long) mount_id);

        for (const char *line = mountinfo; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                const char *end = line + strcspn(line, "\n"), *at = line;

                if (strncmp(line, prefix, n) != 0)
                        continue;
                *ret = 0;
                for (int field = 0; at < end; field++) {
                        size_t len = strcspn(at, " \n");

                        if (field >= 6 && len == 1 && *at == '-')
                                return 0;
                        if (field >= 6 && str_after(at, "shared:"))
                                *ret |= PEERS_SHARED;
                        if (field >= 6 && str_after(at, "master:"))
                                *ret |= PEERS_SLAVE;
                        at += len + (at + len < end);
                }
                return 0;
        }
        return err_set(err, ERR_INTERNAL, "mount %llu is not in mountinfo", (unsigned long long) mount_id);
}

int mount_peers(const char *path, unsigned *ret, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        struct statx st;
        int r;

        if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) < 0)
                return err_sys(err, errno, "find the mount of %s", path);
        if (!(st.stx_mask & STATX_MNT_ID))
                return err_set(err, ERR_UNIMPLEMENTED, "mount propagation needs Linux 5.8");
        r = fs_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, NULL, err);
        return r < 0 ? r : mount_peers_in(text, st.stx_mnt_id, ret, err);
}
