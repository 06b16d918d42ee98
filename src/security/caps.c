/* SPDX-License-Identifier: Apache-2.0 */
/* caps - see caps.h. */
#include "security/caps.h"

#include <linux/capability.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/prctl.h>
#include "base/str.h"

#define BIT(cap) (1ull << (cap))

static const char *const names[] = {
        [CAP_CHOWN] = "CAP_CHOWN",
        [CAP_DAC_OVERRIDE] = "CAP_DAC_OVERRIDE",
        [CAP_DAC_READ_SEARCH] = "CAP_DAC_READ_SEARCH",
        [CAP_FOWNER] = "CAP_FOWNER",
        [CAP_FSETID] = "CAP_FSETID",
        [CAP_KILL] = "CAP_KILL",
        [CAP_SETGID] = "CAP_SETGID",
        [CAP_SETUID] = "CAP_SETUID",
        [CAP_SETPCAP] = "CAP_SETPCAP",
        [CAP_LINUX_IMMUTABLE] = "CAP_LINUX_IMMUTABLE",
        [CAP_NET_BIND_SERVICE] = "CAP_NET_BIND_SERVICE",
        [CAP_NET_BROADCAST] = "CAP_NET_BROADCAST",
        [CAP_NET_ADMIN] = "CAP_NET_ADMIN",
        [CAP_NET_RAW] = "CAP_NET_RAW",
        [CAP_IPC_LOCK] = "CAP_IPC_LOCK",
        [CAP_IPC_OWNER] = "CAP_IPC_OWNER",
        [CAP_SYS_MODULE] = "CAP_SYS_MODULE",
        [CAP_SYS_RAWIO] = "CAP_SYS_RAWIO",
        [CAP_SYS_CHROOT] = "CAP_SYS_CHROOT",
        [CAP_SYS_PTRACE] = "CAP_SYS_PTRACE",
        [CAP_SYS_PACCT] = "CAP_SYS_PACCT",
        [CAP_SYS_ADMIN] = "CAP_SYS_ADMIN",
        [CAP_SYS_BOOT] = "CAP_SYS_BOOT",
        [CAP_SYS_NICE] = "CAP_SYS_NICE",
        [CAP_SYS_RESOURCE] = "CAP_SYS_RESOURCE",
        [CAP_SYS_TIME] = "CAP_SYS_TIME",
        [CAP_SYS_TTY_CONFIG] = "CAP_SYS_TTY_CONFIG",
        [CAP_MKNOD] = "CAP_MKNOD",
        [CAP_LEASE] = "CAP_LEASE",
        [CAP_AUDIT_WRITE] = "CAP_AUDIT_WRITE",
        [CAP_AUDIT_CONTROL] = "CAP_AUDIT_CONTROL",
        [CAP_SETFCAP] = "CAP_SETFCAP",
        [CAP_MAC_OVERRIDE] = "CAP_MAC_OVERRIDE",
        [CAP_MAC_ADMIN] = "CAP_MAC_ADMIN",
        [CAP_SYSLOG] = "CAP_SYSLOG",
        [CAP_WAKE_ALARM] = "CAP_WAKE_ALARM",
        [CAP_BLOCK_SUSPEND] = "CAP_BLOCK_SUSPEND",
        [CAP_AUDIT_READ] = "CAP_AUDIT_READ",
        [CAP_PERFMON] = "CAP_PERFMON",
        [CAP_BPF] = "CAP_BPF",
        [CAP_CHECKPOINT_RESTORE] = "CAP_CHECKPOINT_RESTORE",
};

bool caps_number(const char *name, int *ret) {
        const char *bare = strncasecmp(name, "CAP_", 4) == 0 ? name + 4 : name;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strcasecmp(names[i] + 4, bare) == 0) {
                        *ret = (int) i;
                        return true;
                }
        return false;
}

const char *caps_name(int number) {
        return number >= 0 && (size_t) number < ELEMENTSOF(names) ? names[number] : NULL;
}

static pthread_once_t bounding_once = PTHREAD_ONCE_INIT;
static uint64_t bounding;

static void read_bounding(void) {
        int has = 0;

        for (int cap = 0; cap < 64 && has >= 0; cap++) { /* -1: past the kernel's last */
                has = prctl(PR_CAPBSET_READ, (unsigned long) cap, 0, 0, 0);
                if (has == 1)
                        bounding |= BIT(cap);
        }
}

/* Our own bounding set, which we never change, is the limit: on some hosts root lacks a few, and what we lack we can't
 * give. */
uint64_t caps_all(void) {
        (void) pthread_once(&bounding_once, read_bounding);
        return bounding;
}

uint64_t caps_default(void) {
        return BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FSETID) | BIT(CAP_FOWNER) | BIT(CAP_MKNOD) |
               BIT(CAP_NET_RAW) | BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETFCAP) | BIT(CAP_SETPCAP) |
               BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_CHROOT) | BIT(CAP_KILL) | BIT(CAP_AUDIT_WRITE);
}

static int mask_of(const char *const *list, uint64_t *ret, bool *ret_all, struct err *err) {
        int cap;

        *ret = 0;
        *ret_all = false;
        for (; list && *list; list++) {
                if (strcasecmp(*list, "ALL") == 0)
                        *ret_all = true;
                else if (caps_number(*list, &cap))
                        *ret |= BIT(cap);
                else
                        return err_set(err, ERR_INVALID, "unknown capability \"%s\"", *list);
        }
        return 0;
}

int caps_resolve(const struct caps_request *req, struct caps_sets *ret, struct err *err) {
        uint64_t add = 0, drop = 0, ambient = 0, all = caps_all(), set;
        bool add_all = false, drop_all = false, ambient_all = false;
        int r;

        r = mask_of(req->add, &add, &add_all, err);
        if (r == 0)
                r = mask_of(req->drop, &drop, &drop_all, err);
        if (r == 0)
                r = mask_of(req->ambient, &ambient, &ambient_all, err);
        if (r < 0)
                return r;
        if (req->privileged) {
                set = all;
        } else {
                /* "ALL" first, single names after it: "drop ALL, add NET_ADMIN" leaves NET_ADMIN. */
                set = caps_default();
                if (add_all)
                        set = all;
                if (drop_all)
                        set = 0;
                set = (set | add) & ~drop;
        }
        set &= all;
        ambient = (ambient_all ? set : ambient) & all;
        *ret = (struct caps_sets){
                .bounding = set | ambient,
                .effective = set | ambient,
                .permitted = set | ambient,
                .inheritable = ambient,
                .ambient = ambient,
        };
        return 0;
}
