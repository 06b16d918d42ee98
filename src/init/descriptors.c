/* SPDX-License-Identifier: Apache-2.0 */
/* descriptors - see descriptors.h. */
#include "init/descriptors.h"

#include "init/fail.h"
#include "init/sys.h"

void descriptors_close_others(int first, int a, int b) {
        const int keep[2] = { a < b ? a : b, a < b ? b : a };

        for (int i = 0; i < 2; i++) {
                if (keep[i] < first)
                        continue;
                if (keep[i] > first)
                        (void) sys_close_range((unsigned) first, (unsigned) keep[i] - 1, 0);
                first = keep[i] + 1;
        }
        (void) sys_close_range((unsigned) first, ~0u, 0);
}

/* Out of the way of the program's. */
static int move_up(int *fd, int first, struct plan_error *e) {
        int moved;

        if (*fd < 0 || *fd >= first)
                return 0;
        moved = fcntl(*fd, F_DUPFD_CLOEXEC, first);
        if (moved < 0)
                return fail_set(e, errno, "move a descriptor", NULL);
        (void) close(*fd);
        *fd = moved;
        return 0;
}

int descriptors_place(const struct reader *plan, const int *fds, int *const own[], size_t n_own, int *ret_n,
                      struct plan_error *e) {
        int moved[PLAN_MAX_FDS], n = 0, first = DESCRIPTORS_FIRST;
        const struct plan_record *rec;

        for (rec = NULL; (rec = reader_find(plan, rec, PLAN_PRESERVE));)
                first++;
        if (first == DESCRIPTORS_FIRST)
                return 0;
        if (first - DESCRIPTORS_FIRST > PLAN_MAX_FDS)
                return fail_set(e, EBADMSG, "too many descriptors to preserve", NULL);
        for (rec = NULL; (rec = reader_find(plan, rec, PLAN_PRESERVE)); n++) {
                moved[n] = fcntl(fds[rec->fd], F_DUPFD_CLOEXEC, first);
                if (moved[n] < 0)
                        return fail_set(e, errno, "move a descriptor", NULL);
        }
        for (size_t i = 0; i < n_own; i++)
                if (move_up(own[i], first, e) < 0)
                        return -1;
        for (int i = 0; i < n; i++)
                if (dup2(moved[i], DESCRIPTORS_FIRST + i) < 0)
                        return fail_set(e, errno, "place a descriptor", NULL);
        *ret_n = n;
        return 0; /* the others, and what was there, are closed later */
}
