/* SPDX-License-Identifier: Apache-2.0 */
/* tuning - see tuning.h. */
#include "init/tuning.h"

#include <errno.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "init/fail.h"

enum { IOPRIO_WHO_PROCESS = 1 };

int tuning_set_affinity(const struct reader *plan, enum plan_op op, struct plan_error *e) {
        const struct plan_record *rec = reader_find(plan, NULL, op);
        uint64_t mask[PLAN_MAX_CPU_BYTES / sizeof(uint64_t)] = { 0 };

        if (!rec)
                return 0;
        memcpy(mask, reader_data(rec), rec->data_len);
        if (syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask) < 0)
                return fail_set(e, errno, "set the CPU affinity", NULL);
        return 0;
}

static int set_scheduler(const struct reader *plan, struct plan_error *e) {
        const struct plan_record *rec = reader_find(plan, NULL, PLAN_SCHEDULER);
        uint64_t attr[PLAN_SCHED_ATTR_SIZE / sizeof(uint64_t)];

        if (!rec)
                return 0;
        memcpy(attr, reader_data(rec), sizeof(attr));
        if (syscall(SYS_sched_setattr, 0, attr, 0) < 0)
                return fail_set(e, errno, "set the scheduler", NULL);
        return 0;
}

static int set_io_priority(const struct reader *plan, struct plan_error *e) {
        const struct plan_record *rec = reader_find(plan, NULL, PLAN_IO_PRIORITY);

        if (rec && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, (int) rec->a) < 0)
                return fail_set(e, errno, "set the I/O priority", NULL);
        return 0;
}

static int set_memory_policy(const struct reader *plan, struct plan_error *e) {
        const struct plan_record *rec = reader_find(plan, NULL, PLAN_MEMORY_POLICY);
        uint64_t nodes[PLAN_MAX_NODE_WORDS] = { 0 };

        if (!rec)
                return 0;
        memcpy(nodes, reader_data(rec), rec->data_len);
        /* The kernel takes one bit less than it is told. */
        if (syscall(SYS_set_mempolicy, (int) rec->a, rec->data_len ? nodes : NULL,
                    rec->data_len ? (unsigned long) rec->data_len * 8 + 1 : 0ul) < 0)
                return fail_set(e, errno, "set the memory policy", NULL);
        return 0;
}

int tuning_apply(const struct reader *plan, struct plan_error *e) {
        const struct plan_record *rec = reader_find(plan, NULL, PLAN_PERSONALITY);

        if (tuning_set_affinity(plan, PLAN_CPU_AFFINITY, e) < 0 || set_scheduler(plan, e) < 0 ||
            set_io_priority(plan, e) < 0 || set_memory_policy(plan, e) < 0)
                return -1;
        if (rec && personality((unsigned long) rec->a) < 0)
                return fail_set(e, errno, "set the personality", NULL);
        return 0;
}
