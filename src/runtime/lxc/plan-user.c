/* SPDX-License-Identifier: Apache-2.0 */
/* plan-user - who a process is, looked up as init does it, for containers whose init we don't ask. */
#include <pthread.h>
#include <string.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "init/users.h"
#include "runtime/lxc/plan-writer.h"

int plan_resolve_user(const struct spec_user *user, int rootfs_fd, struct plan_ready *ret, struct err *err) {
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the parser's buffers are static */
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        _cleanup_(plan_writer_done) struct plan_writer w = { 0 };
        _cleanup_(freep) struct users_result *found = xnew(struct users_result);
        struct plan_error e = { 0 };
        int r;

        plan_writer_init(&w, &plan);
        r = plan_put_user(&w, user, err);
        if (r < 0)
                return r;
        (void) pthread_mutex_lock(&lock);
        r = users_resolve(rootfs_fd, (const void *) (strbuf_str(&w.out) + sizeof(struct plan_header)), found, &e);
        (void) pthread_mutex_unlock(&lock);
        if (r < 0 && e.sys_errno)
                return err_sys(err, e.sys_errno, "%s", e.text);
        if (r < 0)
                return err_set(err, ERR_INVALID, "%s", e.text);
        ret->uid = found->uid;
        ret->gid = found->gid;
        ret->n_groups = (uint16_t) MIN_OF(found->n_groups, (size_t) PLAN_MAX_GROUPS);
        memcpy(ret->groups, found->groups, ret->n_groups * sizeof(ret->groups[0]));
        return 0;
}
