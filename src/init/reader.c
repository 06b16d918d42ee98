/* SPDX-License-Identifier: Apache-2.0 */
/* reader - see reader.h. */
#include "init/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "init/fail.h"

enum {
        FD = 1,         /* names a descriptor */
        ONCE = 2,       /* at most one */
        REQUIRED = 4,   /* at least one: without it the process would run with what init has */
        PATH = 8,       /* string 0 is an absolute path */
        PATH_LAST = 16, /* the last string is one */
};

/* What each operation must look like. data: the size of one element, 0: none at all. */
static const struct shape {
        uint8_t rules, flags, n_str_min, data;
        uint32_t n_str_max, n_data_min, n_data_max;
} shapes[PLAN_OP_MAX] = {
        [PLAN_CGROUP_JOIN] = { .rules = FD, .flags = PLAN_CGROUP_FOLDER },
        [PLAN_CGROUP_NS] = { .rules = ONCE },
        [PLAN_ROOT_PROPAGATION] = { 0 },
        [PLAN_MOUNT] = { .flags = PLAN_MOUNT_KEEP_MODE | PLAN_MOUNT_COPY_UP, .n_str_min = 4, .n_str_max = 4 },
        [PLAN_ATTACH] = { .rules = FD | PATH, .flags = PLAN_ATTACH_RECURSIVE_ATTR, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_DIR] = { .rules = PATH, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_SYMLINK] = { .rules = PATH_LAST, .flags = PLAN_SYMLINK_REPLACE, .n_str_min = 2, .n_str_max = 2 },
        [PLAN_MKNOD] = { .rules = PATH, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_MASK] = { .rules = PATH, .n_str_min = 2, .n_str_max = 2 },
        [PLAN_READONLY] = { .rules = PATH, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_SYSCTL] = { .n_str_min = 2, .n_str_max = 2 },
        [PLAN_USER] = { .rules = ONCE | REQUIRED,
                        .flags = PLAN_USER_BY_NAME | PLAN_USER_GROUP_BY_NAME | PLAN_USER_HAS_GID | PLAN_USER_STRICT |
                                 PLAN_USER_RESOLVED,
                        .n_str_min = 2,
                        .n_str_max = 2,
                        .data = sizeof(uint32_t),
                        .n_data_max = PLAN_MAX_GROUPS },
        [PLAN_TERMINAL] = { .rules = ONCE },
        [PLAN_ROOT_READONLY] = { .rules = ONCE },
        [PLAN_CWD] = { .rules = ONCE | REQUIRED | PATH, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_OOM_SCORE_ADJ] = { .rules = ONCE },
        [PLAN_SETATTR] = { .rules = PATH, .flags = PLAN_ATTACH_RECURSIVE_ATTR, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_LABEL] = { .rules = PATH, .n_str_min = 2, .n_str_max = 2 },
        [PLAN_HOOKS] = { .rules = FD | ONCE | PATH, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_HOOK] = { .rules = PATH, .flags = PLAN_HOOK_AT_START, .n_str_min = 3, .n_str_max = PLAN_MAX_STRINGS },
        [PLAN_UMOUNT] = { .rules = PATH, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_UTS] = { .rules = ONCE, .n_str_min = 2, .n_str_max = 2 },
        [PLAN_START_SOCKET] = { .rules = FD | ONCE },
        [PLAN_OUTLIVES_PARENT] = { .rules = ONCE },
        [PLAN_REMOUNT] = { .rules = PATH, .n_str_min = 2, .n_str_max = 2 },
        [PLAN_KEYRING] = { .rules = ONCE, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_TIME_NS] = { .rules = FD | ONCE },
        [PLAN_TIME_NS_NEW] = { .rules = ONCE },
        [PLAN_PRESERVE] = { .rules = FD },
        [PLAN_CPU_AFFINITY_INITIAL] = { .rules = ONCE, .data = 1, .n_data_min = 1, .n_data_max = PLAN_MAX_CPU_BYTES },
        [PLAN_RLIMIT] = { 0 },
        [PLAN_UMASK] = { .rules = ONCE },
        [PLAN_CAPS] = { .rules = ONCE | REQUIRED, .data = sizeof(uint64_t), .n_data_min = 5, .n_data_max = 5 },
        [PLAN_NO_NEW_PRIVS] = { .rules = ONCE },
        [PLAN_APPARMOR] = { .rules = ONCE, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_SELINUX] = { .rules = ONCE, .n_str_min = 1, .n_str_max = 1 },
        [PLAN_SECCOMP] = { .rules = ONCE,
                           .flags = PLAN_SECCOMP_NOTIFY,
                           .data = 8,
                           .n_data_min = 1,
                           .n_data_max = 4096 },
        [PLAN_ENV] = { .rules = ONCE | REQUIRED, .n_str_max = PLAN_MAX_STRINGS },
        [PLAN_ARGS] = { .rules = ONCE | REQUIRED, .n_str_max = PLAN_MAX_STRINGS },
        [PLAN_SCHEDULER] = { .rules = ONCE, .data = PLAN_SCHED_ATTR_SIZE, .n_data_min = 1, .n_data_max = 1 },
        [PLAN_IO_PRIORITY] = { .rules = ONCE },
        [PLAN_CPU_AFFINITY] = { .rules = ONCE, .data = 1, .n_data_min = 1, .n_data_max = PLAN_MAX_CPU_BYTES },
        [PLAN_PERSONALITY] = { .rules = ONCE },
        [PLAN_MEMORY_POLICY] = { .rules = ONCE, .data = sizeof(uint64_t), .n_data_max = PLAN_MAX_NODE_WORDS },
};

static bool op_is_known(unsigned op) {
        return (op >= PLAN_CGROUP_JOIN && op < PLAN_SETUP_END) || (op >= PLAN_RLIMIT && op < PLAN_OP_MAX);
}

static const char *strings_of(const struct plan_record *rec) {
        return (const char *) (rec + 1);
}

static int bad(struct plan_error *e, const char *what) {
        return fail_set(e, EBADMSG, "plan: ", what, NULL);
}

static bool path_is_sound(const char *s) {
        return s[0] == '/' && strlen(s) < PATH_MAX;
}

/* Are strings and data all inside, and nothing else? */
static int check_layout(const struct plan_record *rec, struct plan_error *e) {
        const char *p = strings_of(rec), *end = (const char *) rec + rec->size;

        if (rec->n_str > PLAN_MAX_STRINGS)
                return bad(e, "too many strings");
        for (uint32_t i = 0; i < rec->n_str; i++) {
                const char *nul = p < end ? memchr(p, '\0', (size_t) (end - p)) : NULL;
                if (!nul)
                        return bad(e, "a string has no end");
                p = nul + 1;
        }
        if (rec->data_len > (size_t) (end - p) || (size_t) (end - p) - rec->data_len >= 8)
                return bad(e, "data of a wrong size");
        return 0;
}

static int check_shape(const struct reader *r, const struct plan_record *rec, struct plan_error *e) {
        const struct shape *s = &shapes[rec->op];
        uint32_t n = s->data ? rec->data_len / s->data : 0;

        if (rec->reserved || (rec->flags & ~(unsigned) s->flags))
                return bad(e, "unknown flags");
        if (rec->n_str < s->n_str_min || rec->n_str > s->n_str_max)
                return bad(e, "wrong number of strings");
        if (n < s->n_data_min || n > s->n_data_max || rec->data_len != n * s->data)
                return bad(e, "wrong amount of data");
        if (s->rules & FD ? rec->fd < 0 || (size_t) rec->fd >= r->n_fds : rec->fd != -1)
                return bad(e, "wrong descriptor");
        if ((s->rules & PATH) && !path_is_sound(reader_string(rec, 0)))
                return bad(e, "a path is not absolute or too long");
        if ((s->rules & PATH_LAST) && !path_is_sound(reader_string(rec, rec->n_str - 1)))
                return bad(e, "a path is not absolute or too long");
        if (rec->op == PLAN_HOOK && (rec->a < 1 || rec->a > rec->n_str - 2))
                return bad(e, "wrong number of arguments");
        if (rec->op == PLAN_MOUNT && !path_is_sound(reader_string(rec, 2)))
                return bad(e, "a mount's target is not absolute or too long");
        return 0;
}

int reader_init(struct reader *r, const void *bytes, size_t size, size_t n_fds, struct plan_error *e) {
        const struct plan_record *rec;
        uint8_t seen[PLAN_OP_MAX] = { 0 };
        bool process_part = false;
        size_t at = sizeof(struct plan_header);
        uint32_t n = 0;

        *r = (struct reader){ .header = bytes, .n_fds = n_fds };
        if (size < sizeof(struct plan_header) || size > PLAN_MAX_BYTES || r->header->magic != PLAN_MAGIC)
                return bad(e, "not a plan");
        if (r->header->size != size)
                return bad(e, "cut off");
        for (; at < size; at += rec->size, n++) {
                rec = (const void *) ((const char *) bytes + at);
                if (size - at < sizeof(*rec) || rec->size < sizeof(*rec) || rec->size % 8 || rec->size > size - at)
                        return bad(e, "a record of a wrong size");
                if (!op_is_known(rec->op))
                        return bad(e, "an unknown operation");
                if (check_layout(rec, e) < 0 || check_shape(r, rec, e) < 0)
                        return -1;
                if ((shapes[rec->op].rules & ONCE) && seen[rec->op])
                        return bad(e, "an operation that can't be repeated");
                if (process_part && rec->op < PLAN_SETUP_END)
                        return bad(e, "setup after the process part");
                process_part = rec->op >= PLAN_RLIMIT;
                seen[rec->op] = 1;
        }
        if (n != r->header->n_records)
                return bad(e, "wrong number of records");
        for (unsigned op = 0; op < PLAN_OP_MAX; op++)
                if ((shapes[op].rules & REQUIRED) && !seen[op])
                        return bad(e, "incomplete");
        return 0;
}

const struct plan_record *reader_next(const struct reader *r, const struct plan_record *rec) {
        const char *start = (const char *) r->header;
        const char *at = rec ? (const char *) rec + rec->size : start + sizeof(struct plan_header);

        return at < start + r->header->size ? (const void *) at : NULL;
}

const struct plan_record *reader_find(const struct reader *r, const struct plan_record *rec, enum plan_op op) {
        do
                rec = reader_next(r, rec);
        while (rec && rec->op != op);
        return rec;
}

const char *reader_string(const struct plan_record *rec, uint32_t i) {
        const char *p = strings_of(rec);

        while (i--)
                p += strlen(p) + 1;
        return p;
}

const void *reader_data(const struct plan_record *rec) {
        return reader_string(rec, rec->n_str);
}

void reader_strings(const struct plan_record *rec, const char **list) {
        const char *p = strings_of(rec);

        for (uint32_t i = 0; i < rec->n_str; i++, p += strlen(p) + 1)
                list[i] = p;
        list[rec->n_str] = NULL;
}

int reader_map(struct reader *r, int memfd, size_t n_fds, struct plan_error *e) {
        int seals = fcntl(memfd, F_GET_SEALS), want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
        struct stat st;
        void *p;

        if (seals < 0 || (seals & want) != want)
                return bad(e, "not sealed");
        if (fstat(memfd, &st) < 0)
                return fail_set(e, errno, "plan", NULL);
        if (st.st_size <= 0 || st.st_size > (off_t) PLAN_MAX_BYTES)
                return bad(e, "of a wrong size");
        p = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, memfd, 0);
        if (p == MAP_FAILED)
                return fail_set(e, errno, "plan: map", NULL);
        if (reader_init(r, p, (size_t) st.st_size, n_fds, e) < 0) {
                (void) munmap(p, (size_t) st.st_size);
                return -1;
        }
        return 0;
}
