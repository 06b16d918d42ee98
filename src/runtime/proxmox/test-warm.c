/* SPDX-License-Identifier: Apache-2.0 */
/* The warm pool fills itself, gives no CT to two, replaces what ends, and stands failures; first processes of CTs are
 * processes of this test. */
#undef NDEBUG
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"
#include "runtime/proxmox/warm.h"

enum { CTS_MAX = 4000, TAKES = 300 };

/* What stands for Proxmox: CTs by number, from 1 on. */
static struct {
        pthread_mutex_t lock;
        pid_t pids[CTS_MAX];
        bool taken[CTS_MAX];
        char dropped_for[CTS_MAX][8];
        _Atomic unsigned n, drops, looks, failing_makes, failing_drops;
        _Atomic bool hang; /* makes hang until they are cancelled */
} world = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct warm_ct new_ct(void) {
        struct warm_ct ct = { .digest = "d" };
        pid_t pid = fork();

        assert(pid >= 0);
        if (pid == 0) {
                (void) pause();
                _exit(0);
        }
        ct.ct.vmid = ++world.n;
        assert(ct.ct.vmid < CTS_MAX);
        ct.ct.pid = world.pids[ct.ct.vmid] = pid;
        ct.ct.start_time = proc_start_time(pid);
        return ct;
}

static void end(uint32_t vmid) {
        pthread_mutex_lock(&world.lock);
        if (world.pids[vmid]) {
                assert(kill(world.pids[vmid], SIGKILL) == 0);
                assert(waitpid(world.pids[vmid], NULL, 0) == world.pids[vmid]);
        }
        world.pids[vmid] = 0;
        pthread_mutex_unlock(&world.lock);
}

static int make(const struct ct_until *until, struct warm_ct *ret, void *userdata, struct err *err) {
        struct pollfd p = { .fd = until->cancel_fd, .events = POLLIN };

        assert(userdata == &world);
        if (world.hang)
                return poll(&p, 1, 20000) == 1 ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
        pthread_mutex_lock(&world.lock);
        *ret = new_ct();
        pthread_mutex_unlock(&world.lock);
        if (world.failing_makes == 0)
                return 0;
        world.failing_makes--;
        end(ret->ct.vmid);
        return err_set(err, ERR_UNAVAILABLE, "for the test's sake");
}

static int look(const struct ct_until *until, void *userdata, struct err *err) {
        world.looks++;
        return 0;
}

static int drop(uint32_t vmid, const char *pod_id, const struct ct_until *until, void *userdata, struct err *err) {
        if (world.failing_drops > 0) {
                world.failing_drops--;
                return err_set(err, ERR_UNAVAILABLE, "for the test's sake");
        }
        (void) snprintf(world.dropped_for[vmid], sizeof(world.dropped_for[vmid]), "%s!", pod_id);
        end(vmid);
        world.drops++;
        return 0;
}

static const struct warm_ops ops = { .make = make, .look = look, .drop = drop };

static struct warm *new_pool(size_t size) {
        struct warm *w;
        struct err err;

        world.n = world.drops = world.looks = 0;
        memset(world.dropped_for, 0, sizeof(world.dropped_for));
        memset(world.taken, 0, sizeof(world.taken));
        assert(warm_new(size, &ops, &world, &w, &err) == 0);
        return w;
}

static void free_pool(struct warm *w) {
        (void) warm_free(w);
        for (uint32_t i = 1; i <= world.n; i++)
                end(i);
}

static void wait_ready(struct warm *w, size_t n) {
        for (int i = 0; i < 2000 && warm_count(w).ready != n; i++)
                (void) usleep(10000);
        assert(warm_count(w).ready == n);
}

static void wait_drops(unsigned n) {
        for (int i = 0; i < 2000 && world.drops != n; i++)
                (void) usleep(10000);
        assert(world.drops == n);
}

static void test_filled_and_taken(void) {
        struct warm *w = new_pool(3);
        struct warm_ct a, b, c;

        (void) usleep(50000);
        assert(world.n == 0 && !warm_take(w, &a)); /* not before what there was is known */
        warm_begin(w);
        wait_ready(w, 3);
        assert(warm_count(w).size == 3 && world.n == 3 && warm_has_begun(w));
        assert(warm_take(w, &a) && warm_take(w, &b) && a.ct.vmid == 1 && b.ct.vmid == 2);
        assert(warm_knows(w, 1) && str_eq(a.digest, "d"));
        warm_taken(w, a.ct.vmid);
        assert(!warm_knows(w, 1));
        warm_spoilt(w, b.ct.vmid, "pod");
        wait_drops(1);
        assert(str_eq(world.dropped_for[2], "pod!"));
        wait_ready(w, 3);
        assert(warm_take(w, &c) && c.ct.vmid == 3);
        warm_give_back(w, 3);
        assert(warm_count(w).ready == 3 && world.n == 5);
        assert(warm_take(w, &c) && c.ct.vmid != 3); /* it is behind the others now */
        warm_taken(w, c.ct.vmid);
        free_pool(w);
        assert(world.drops == 1); /* what is ready stays */
}

static void test_what_was_there(void) {
        struct warm *w = new_pool(2);
        struct warm_ct cts[3] = { new_ct(), new_ct(), new_ct() }, dead = new_ct();

        end(dead.ct.vmid);
        warm_adopt(w, &dead);
        wait_drops(1);
        for (size_t i = 0; i < 3; i++)
                warm_adopt(w, &cts[i]);
        warm_adopt(w, &cts[0]); /* twice: fine */
        wait_drops(2);
        assert(str_eq(world.dropped_for[3], "!") && !*world.dropped_for[1]);
        warm_begin(w);
        (void) usleep(50000);
        assert(warm_count(w).ready == 2 && world.n == 4);
        free_pool(w);
        w = new_pool(0);
        cts[0] = new_ct();
        warm_adopt(w, &cts[0]);
        warm_begin(w);
        wait_drops(1);
        assert(world.n == 1 && !warm_take(w, &cts[1]));
        free_pool(w);
}

static void test_ends(void) {
        struct warm *w = new_pool(2);
        struct warm_ct a;
        uint64_t before;

        warm_begin(w);
        wait_ready(w, 2);
        before = clock_monotonic_ns();
        end(1);
        wait_drops(1);
        assert(warm_count(w).ready == 1);
        assert(warm_take(w, &a) && a.ct.vmid == 2);
        end(2); /* a taken one's end is its pod's business */
        (void) usleep(100000);
        assert(world.drops == 1 && warm_knows(w, 2));
        warm_spoilt(w, 2, "pod");
        wait_ready(w, 2);
        /* Whoever ends them all does not keep us busy. */
        assert(clock_monotonic_ns() - before > 2500000000ull);
        free_pool(w);
}

static void test_failures(void) {
        struct warm *w;

        world.failing_makes = 2;
        world.failing_drops = 1;
        w = new_pool(1);
        warm_begin(w);
        wait_ready(w, 1);
        wait_drops(2); /* of what failed to be made, one of them at the second attempt */
        assert(world.n == 3 && world.looks == 2 && world.failing_drops == 0);
        free_pool(w);
        world.hang = true;
        w = new_pool(1);
        warm_begin(w);
        (void) usleep(50000);
        free_pool(w); /* does not wait for it */
        world.hang = false;
}

static void *take_some(void *arg) {
        struct warm *w = arg;
        struct warm_ct ct;

        for (unsigned i = 0; i < TAKES; i++) {
                if (!warm_take(w, &ct)) {
                        (void) usleep(1000);
                        continue;
                }
                pthread_mutex_lock(&world.lock);
                assert(!world.taken[ct.ct.vmid]);
                world.taken[ct.ct.vmid] = i % 3 != 0;
                pthread_mutex_unlock(&world.lock);
                if (i % 3 == 0)
                        warm_give_back(w, ct.ct.vmid);
                else if (i % 3 == 1)
                        warm_taken(w, ct.ct.vmid), end(ct.ct.vmid);
                else
                        warm_spoilt(w, ct.ct.vmid, "pod");
        }
        return NULL;
}

static void test_many_at_once(void) {
        struct warm *w = new_pool(8);
        pthread_t threads[8];

        warm_begin(w);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                assert(pthread_create(&threads[i], NULL, take_some, w) == 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                assert(pthread_join(threads[i], NULL) == 0);
        wait_ready(w, 8);
        free_pool(w);
}

int main(void) {
        log_set_level(LOG_LEVEL_ERROR);
        test_filled_and_taken();
        test_what_was_there();
        test_ends();
        test_failures();
        test_many_at_once();
        return 0;
}
