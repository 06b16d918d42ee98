/* SPDX-License-Identifier: Apache-2.0 */
/* Operations to their end: lines, locks, answers that were lost; and those of containers. */
#undef NDEBUG
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "base/str.h"
#include "pve/ct.h"
#include "pve/gate.h"
#include "pve/operation.h"
#include "pve/test-kit.h"

static const struct pve_ct ct110 = { .node = "pve1", .vmid = 110 };

/* --- lines ---------------------------------------------------------------------------------------------------------
 */

struct crowd {
        struct gates *gates;
        atomic_int inside, most, gave_up;
        atomic_uint order;
        struct pve_until until;
};

static void *go_in(void *arg) {
        struct crowd *c = arg;
        struct err err;
        int now;

        if (gate_enter(c->gates, "pve1", &c->until, &err) < 0) {
                assert(err.code == ERR_DEADLINE && strstr(err.msg, "at pve1"));
                c->gave_up++;
                return NULL;
        }
        now = ++c->inside;
        for (int most = c->most; now > most && !atomic_compare_exchange_weak(&c->most, &most, now);)
                ;
        (void) usleep(5000);
        c->inside--;
        gate_leave(c->gates, "pve1");
        return NULL;
}

static void run_crowd(struct crowd *c) {
        pthread_t threads[24];

        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                assert(pthread_create(&threads[i], NULL, go_in, c) == 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                (void) pthread_join(threads[i], NULL);
        assert(c->inside == 0);
}

static void test_gates(void) {
        struct crowd c = { .gates = gates_new(3), .until = test_until(20000) };
        struct pve_until until = test_until(20);
        struct err err;

        run_crowd(&c);
        assert(c.most == 3 && c.gave_up == 0);
        c.until = test_until(12);
        run_crowd(&c); /* some go while others give up */
        for (int i = 0; i < 3; i++)
                assert(gate_enter(c.gates, "pve1", &until, &err) == 0);
        assert(gate_enter(c.gates, "pve2", &until, &err) == 0 && gate_enter(c.gates, NULL, &until, &err) == 0);
        assert(gate_enter(c.gates, "pve1", &until, &err) == -ERR_DEADLINE);
        until = test_until(20000);
        until.cancel_fd = eventfd(1, EFD_CLOEXEC);
        assert(gate_enter(c.gates, "pve1", &until, &err) == -ERR_CANCELLED);
        gate_leave(c.gates, "pve1");
        assert(gate_enter(c.gates, "pve1", &until, &err) == 0);
        for (int i = 0; i < 3; i++)
                gate_leave(c.gates, "pve1");
        gate_leave(c.gates, "pve2");
        gate_leave(c.gates, NULL);
        (void) close(until.cancel_fd);
        c.gates = gates_free(c.gates);
}

/* --- operations ----------------------------------------------------------------------------------------------------
 */

static int act(struct pve *p, enum pve_ct_action action, unsigned ms, struct err *err) {
        const struct pve_until until = test_until(ms);
        const struct pve_ct_args args = { .until = &until };

        return pve_ct_do(p, &ct110, action, &args, NULL, err);
}

#define CT "/api2/json/nodes/pve1/lxc/110"

static void test_locks(void) {
        static const struct test_step script[] = {
                FAIL("POST " CT "/status/start ", "CT is locked (disk)"),
                FAIL("POST " CT "/status/start ", "can't lock file '/run/lock/lxc/pve-config-110.lock' - got timeout"),
                START("POST " CT "/status/start ", "vzstart", "110"),
                ENDS("vzstart", "110", "CT is locked (create)"),
                START("POST " CT "/status/start ", "vzstart", "110"),
                ENDS("vzstart", "110", "OK"),
                FAIL("POST " CT "/status/stop ", "CT 110 not running"), /* no lock: no second try */
                { 0 }
        };
        struct test_server s = { .script = script };
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(act(p, PVE_CT_START, 20000, &err) == 0);
        assert(act(p, PVE_CT_STOP, 20000, &err) == -ERR_PRECONDITION && pve_kind(&err) == PVE_NOT_RUNNING);
        p = pve_free(p);
        test_server_stop(&s);
}

/* --- who waits for whom --------------------------------------------------------------------------------------------
 */

struct traffic {
        atomic_int inside, most;
        atomic_bool migrating;
};

/* Migrations go on until told otherwise; all else ends at once. Requests are slow. */
static void answer_traffic(struct test_server *s, const char *request, struct test_step *ret) {
        static const struct test_step start = START("", "vzstart", "110"), stop = START("", "vzshutdown", "110"),
                                      migrate = START("", "vzmigrate", "110"), runs = RUNS("", ""),
                                      ends = ENDS("", "", "OK");
        struct traffic *t = s->userdata;
        bool post = str_after(request, "POST");
        int now;

        if (post) {
                now = ++t->inside;
                for (int most = t->most; now > most && !atomic_compare_exchange_weak(&t->most, &most, now);)
                        ;
                (void) usleep(20000);
                /* On a slow machine they come one by one: each waits for company. */
                for (int i = 0; strstr(request, "/shutdown ") && t->most <= 2 && i < 500; i++)
                        (void) usleep(10000);
                t->inside--;
        }
        if (strstr(request, "vzmigrate"))
                *ret = t->migrating ? runs : ends;
        else if (!post)
                *ret = ends;
        else
                *ret = strstr(request, "/migrate ") ? migrate : strstr(request, "/start ") ? start : stop;
}

struct actor {
        pthread_t thread;
        struct pve *p;
        enum pve_ct_action action;
};

static void *act_in_thread(void *arg) {
        const struct actor *a = arg;
        struct err err;

        assert(act(a->p, a->action, 20000, &err) == 0);
        return NULL;
}

/* With one place in each line: starts one after the other, while a migration goes on and containers shut down. */
static void test_lines(void) {
        struct traffic t = { .migrating = true };
        struct test_server s = { .answer = answer_traffic, .userdata = &t };
        struct actor migration, starts[6], stops[6];
        struct err err;

        test_server_start(&s);
        migration = (struct actor){ .p = test_client_with_lines(&s, 1), .action = PVE_CT_MIGRATE };
        assert(pthread_create(&migration.thread, NULL, act_in_thread, &migration) == 0);
        for (size_t i = 0; i < ELEMENTSOF(starts); i++) {
                starts[i] = (struct actor){ .p = migration.p, .action = PVE_CT_START };
                assert(pthread_create(&starts[i].thread, NULL, act_in_thread, &starts[i]) == 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(starts); i++)
                (void) pthread_join(starts[i].thread, NULL);
        assert(t.most <= 2); /* a start, and the migration's request */
        for (size_t i = 0; i < ELEMENTSOF(stops); i++) {
                stops[i] = (struct actor){ .p = migration.p, .action = PVE_CT_SHUTDOWN };
                assert(pthread_create(&stops[i].thread, NULL, act_in_thread, &stops[i]) == 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(stops); i++)
                (void) pthread_join(stops[i].thread, NULL);
        assert(t.most > 2);
        assert(act(migration.p, PVE_CT_MIGRATE, 200, &err) == -ERR_DEADLINE && strstr(err.msg, "at pve1 (long)"));
        t.migrating = false;
        (void) pthread_join(migration.thread, NULL);
        (void) pve_free(migration.p);
        test_server_stop(&s);
}

static void answer_locked(struct test_server *s, const char *request, struct test_step *ret) {
        static const struct test_step locked = FAIL("", "CT is locked (backup)");

        *ret = locked;
}

/* To the deadline. Returns how often it was tried. */
static size_t tries_while_locked(unsigned ms) {
        struct test_server s = { .answer = answer_locked };
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(act(p, PVE_CT_STOP, ms, &err) == -ERR_DEADLINE && pve_kind(&err) == PVE_LOCKED);
        assert(strstr(err.msg, "CT is locked (backup)") && strstr(err.msg, "pct unlock"));
        p = pve_free(p);
        test_server_stop(&s);
        return s.n_requests;
}

static void test_lock_stays(void) {
        size_t n = tries_while_locked(2500);

        assert(n >= 2 && n < 10); /* not in a tight loop */
        /* Time for another request, but hardly for its answer: that one would leave unknown whether it was done. */
        assert(tries_while_locked(850) == 1);
}

/* A list of tasks: one of another user, one of before, one of another CT, and the one looked for when @found. */
static const char *task_list(bool found, char *out, size_t size) {
        unsigned long now = (unsigned long) time(NULL);

        (void) snprintf(out, size,
                        "{\"data\":[{\"upid\":\"UPID:pve1:00000001:00000001:%08lX:vzstart:110:root@pam:\"},"
                        "{\"upid\":\"UPID:pve1:00000002:00000001:%08lX:vzstart:110:root@pam!k8s:\"},"
                        "{\"upid\":\"UPID:pve1:00000003:00000001:%08lX:vzstart:111:root@pam!k8s:\"},"
                        "{\"upid\":\"UPID:pve1:00000004:00000001:%08lX:vzstop:110:root@pam!k8s:\"},{}%s%08lX%s]}",
                        now, now - 10, now, now, found ? ",{\"upid\":\"UPID:pve1:00000005:00000001:" : ",{\"x\":\"",
                        now, found ? ":vzstart:110:root@pam!k8s:\"}" : "\"}");
        return out;
}

#define TASKS "GET /api2/json/nodes/pve1/tasks?source=all&typefilter=vzstart&since="

/* The answer to a request was lost. Its task is found; or there is none and it is sent again; or it was done. */
static void test_lost(void) {
        static char none[1000], one[1000];
        const struct test_step script[] = { STEP("POST " CT "/status/start ", TEST_CLOSE, NULL),
                                            STEP(TASKS, "200 OK", none),
                                            STEP(TASKS, "200 OK", one),
                                            STEP("GET /api2/json/nodes/pve1/tasks/UPID:pve1:00000005:", "200 OK",
                                                 "{\"data\":{\"status\":\"stopped\",\"exitstatus\":\"OK\"}}"),

                                            /* The first one's task is not this one's. */
                                            STEP("POST " CT "/status/start ", TEST_CLOSE, NULL),
                                            STEP(TASKS, "200 OK", one),
                                            STEP(TASKS, "200 OK", one),
                                            STEP(TASKS, "200 OK", one),
                                            FAIL("POST " CT "/status/start ", "CT 110 already running"),

                                            STEP("POST " CT "/template ", TEST_CLOSE, NULL),
                                            { 0 } };
        struct test_server s = { .script = script };
        struct pve *p;
        struct err err;

        (void) task_list(false, none, sizeof(none));
        (void) task_list(true, one, sizeof(one));
        test_server_start(&s);
        p = test_client_of(&s);
        assert(act(p, PVE_CT_START, 20000, &err) == 0);
        assert(act(p, PVE_CT_START, 20000, &err) == 0);
        assert(act(p, PVE_CT_TEMPLATE, 20000, &err) == -ERR_UNAVAILABLE && pve_kind(&err) == PVE_LOST);
        p = pve_free(p);
        test_server_stop(&s);
}

static void count_line(const char *text, void *userdata) {
        assert(strstr(text, "CT is locked (backup)"));
        ++*(unsigned *) userdata;
}

/* No longer than the caller wants to; whoever follows is told once what it waits for. */
static void test_patience(void) {
        struct test_server s = { .answer = answer_locked };
        const struct pve_until until = test_until(60000);
        unsigned told = 0;
        const struct pve_progress progress = { count_line, &told };
        const struct pve_ct_args args = { .until = &until, .progress = &progress, .lock_wait_ms = 1200 };
        uint64_t began_ns = clock_monotonic_ns();
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(pve_ct_do(p, &ct110, PVE_CT_START, &args, NULL, &err) == -ERR_ABORTED && pve_kind(&err) == PVE_LOCKED);
        assert(clock_monotonic_ns() - began_ns >= UINT64_C(1200000000) && s.n_requests >= 2 && told == 1);
        p = pve_free(p);
        test_server_stop(&s);
}

/* A task that failed for a lock is not taken for that of the next attempt. */
static void test_lost_after_lock(void) {
        static char one[1000], first[200];
        const struct test_step script[] = {
                STEP("POST " CT "/status/start ", "200 OK", first),
                STEP("GET /api2/json/nodes/pve1/tasks/UPID:pve1:00000005:", "200 OK",
                     "{\"data\":{\"status\":\"stopped\",\"exitstatus\":\"CT is locked (disk)\"}}"),
                STEP("POST " CT "/status/start ", TEST_CLOSE, NULL),
                STEP(TASKS, "200 OK", one),
                STEP(TASKS, "200 OK", one),
                STEP(TASKS, "200 OK", one),
                FAIL("POST " CT "/status/start ", "CT 110 already running"),
                { 0 }
        };
        struct test_server s = { .script = script };
        const char *upid = strstr(task_list(true, one, sizeof(one)), "UPID:pve1:00000005");
        struct pve *p;
        struct err err;

        (void) snprintf(first, sizeof(first), "{\"data\":\"%.*s\"}", (int) strcspn(upid, "\""), upid);
        test_server_start(&s);
        p = test_client_of(&s);
        assert(act(p, PVE_CT_START, 20000, &err) == 0);
        p = pve_free(p);
        test_server_stop(&s);
}

/* Tasks are looked for by the servers' clock, which may be far from ours. */
static void test_clock(void) {
        static const struct test_step script[] = { { "POST " CT "/status/start ", "500 x", NULL,
                                                     "Date: Tue, 24 Nov 2026 21:56:15 GMT" },
                                                   STEP("POST " CT "/status/start ", TEST_CLOSE, NULL),
                                                   STEP(TASKS "179555737", "500 CT is locked (x)", NULL),
                                                   { 0 } };
        struct test_server s = { .script = script };
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(act(p, PVE_CT_START, 20000, &err) == -ERR_UNKNOWN);
        assert(act(p, PVE_CT_START, 20000, &err) == -ERR_ABORTED && pve_kind(&err) == PVE_LOST);
        p = pve_free(p);
        test_server_stop(&s);
}

/* --- containers ----------------------------------------------------------------------------------------------------
 */

static void test_create(void) {
        static const struct test_step script[] = {
                START("POST /api2/json/nodes/pve1/lxc ", "vzcreate", "110"),
                ENDS("vzcreate", "110", "OK"),
                FAIL("POST /api2/json/nodes/pve1/lxc ", "CT 110 already exists on node 'pve1'"),
                START("POST /api2/json/nodes/pve1/vzdump ", "vzdump", "110"),
                ENDS("vzdump", "110", "OK"),
                OK("PUT " CT "/config ", "null"),
                STEP("GET " CT "/config ", "200 OK",
                     "{\"data\":{\"env\":\"A=1\\u0000B=2\",\"digest\":\"6f220c06c390c00c48385fae5ff398499afce79c\"}}"),
                OK("GET " CT "/config ", "null"),
                { 0 }
        };
        const struct pve_until until = test_until(20000);
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_ct_args args = { .params = &params, .storage = "local", .until = &until };
        struct test_server s = { .script = script };
        struct pve *p;
        json_t *config;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        pve_param(&params, "ostemplate", "local:vztmpl/pod.tar");
        assert(pve_ct_create(p, &ct110, &args, NULL, &err) == 0);
        assert(str_ends_with(s.requests[0].text, "\r\n\r\nvmid=110&ostemplate=local%3Avztmpl%2Fpod.tar"));
        assert(pve_ct_create(p, &ct110, &args, NULL, &err) == -ERR_EXISTS && pve_kind(&err) == PVE_EXISTS);
        assert(pve_ct_backup(p, &ct110, &args, NULL, &err) == 0);
        assert(pve_ct_set(p, &ct110, &args, true, &err) == 0);
        assert(str_ends_with(s.requests[5].text, "\r\n\r\nostemplate=local%3Avztmpl%2Fpod.tar"));
        assert(pve_ct_config(p, &ct110, &until, &config, &err) == 0);
        assert(json_string_length(json_object_get(config, "env")) == 7);
        json_decref(config);
        assert(pve_ct_config(p, &ct110, &until, &config, &err) == -ERR_PRECONDITION && pve_kind(&err) == PVE_FOREIGN);
        p = pve_free(p);
        test_server_stop(&s);
}

static void test_actions(void) {
        static const struct {
                enum pve_ct_action action;
                const char *item, *request, *type;
        } cases[] = {
                { PVE_CT_SHUTDOWN, NULL, "POST " CT "/status/shutdown ", "vzshutdown" },
                { PVE_CT_DELETE, NULL, "DELETE " CT "?purge=1 ", "vzdestroy" },
                { PVE_CT_SNAPSHOT, NULL, "POST " CT "/snapshot ", "vzsnapshot" },
                { PVE_CT_SNAPSHOT_ROLLBACK, "s1", "POST " CT "/snapshot/s1/rollback ", "vzrollback" },
                { PVE_CT_SNAPSHOT_DELETE, "s1", "DELETE " CT "/snapshot/s1?purge=1 ", "vzdelsnapshot" },
                { PVE_CT_MIGRATE, NULL, "POST " CT "/migrate ", "vzmigrate" },
                { PVE_CT_RESIZE, NULL, "PUT " CT "/resize ", "resize" },
        };
        const struct pve_until until = test_until(20000);
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        struct err err;

        pve_param_u64(&params, "purge", 1);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const struct pve_ct_args args = { .params = &params, .item = cases[i].item, .until = &until };
                char upid[200], want[200];
                const struct test_step script[] = {
                        { cases[i].request, "200 OK", upid, NULL },
                        { want, "200 OK", "{\"data\":{\"status\":\"stopped\",\"exitstatus\":\"WARNINGS: 1\"}}", NULL },
                        { 0 }
                };
                struct test_server s = { .script = script };
                unsigned warnings = 0;
                struct pve *p;

                (void) snprintf(upid, sizeof(upid), "{\"data\":\"UPID:pve1:00000001:00000001:00000001:%s:110:a@b!c:\"}",
                                cases[i].type);
                (void) snprintf(want, sizeof(want),
                                "GET /api2/json/nodes/pve1/tasks/UPID:pve1:00000001:00000001:00000001:%s:110:a@b!c:/"
                                "status ",
                                cases[i].type);
                test_server_start(&s);
                p = test_client_of(&s);
                assert(pve_ct_do(p, &ct110, cases[i].action, &args, &warnings, &err) == 0 && warnings == 1);
                p = pve_free(p);
                test_server_stop(&s);
        }
}

static void test_status(void) {
        static const struct test_step script[] = {
                OK("GET " CT "/status/current ",
                   "{\"status\":\"running\",\"pressurememoryfull\":null,\"uptime\":0,\"cpus\":1,\"mem\":622592,\"pid\":"
                   "172,"
                   "\"vmid\":110,\"maxmem\":134217728,\"ha\":{\"managed\":0},\"name\":\"pod110\",\"type\":\"lxc\"}"),
                FAIL("GET " CT "/status/current ", "Configuration file 'nodes/pve1/lxc/110.conf' does not exist"),
                OK("GET /api2/json/cluster/resources?type=vm ",
                   "[{\"tags\":\"k8s;pod\",\"name\":\"ct100\",\"type\":\"lxc\",\"template\":0,\"status\":\"stopped\","
                   "\"vmid\":100,\"node\":\"pve1\",\"maxmem\":134217728},{\"type\":\"qemu\",\"vmid\":101,\"node\":"
                   "\"pve1\"},"
                   "{\"name\":\"tpl130\",\"hastate\":\"started\",\"node\":\"pve2\",\"vmid\":\"130\",\"template\":1,"
                   "\"status\":\"stopped\",\"type\":\"lxc\",\"lock\":\"backup\"},{\"type\":\"lxc\",\"vmid\":99,"
                   "\"node\":\"x\"},"
                   "{\"type\":\"lxc\",\"vmid\":131},7]"),
                { 0 }
        };
        static const struct pve_ct bad[] = {
                { "pve1", 99 }, { "pve1", 1000000000 }, { "", 100 }, { "a/b", 100 }, { NULL, 100 }
        };
        const struct pve_until until = test_until(20000);
        struct test_server s = { .script = script };
        struct pve_ct_status status;
        struct pve_ct_list list;
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(pve_ct_status(p, &ct110, &until, &status, &err) == 0);
        assert(status.running && status.pid == 172 && status.mem_bytes == 622592 && str_eq(status.name, "pod110"));
        assert(!status.managed_by_ha && !*status.lock && !*status.tags);
        pve_ct_status_done(&status);
        assert(pve_ct_status(p, &ct110, &until, &status, &err) == -ERR_NOT_FOUND && pve_kind(&err) == PVE_MISSING);
        assert(pve_ct_list(p, &until, &list, &err) == 0 && list.n == 2);
        assert(list.entries[0].ct.vmid == 100 && str_eq(list.entries[0].status.tags, "k8s;pod"));
        assert(list.entries[1].ct.vmid == 130 && str_eq(list.entries[1].ct.node, "pve2"));
        assert(list.entries[1].status.template && list.entries[1].status.managed_by_ha);
        assert(str_eq(list.entries[1].status.lock, "backup") && !list.entries[1].status.running);
        pve_ct_list_done(&list);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(pve_ct_status(p, &bad[i], &until, &status, &err) == -ERR_INVALID);
        assert(pve_ct_do(p, &ct110, PVE_CT_SNAPSHOT_DELETE, &(struct pve_ct_args){ .until = &until }, NULL, &err) ==
               -ERR_INVALID);
        assert(pve_ct_do(p, &ct110, PVE_CT_START, &(struct pve_ct_args){ .item = "x", .until = &until }, NULL, &err) ==
               -ERR_INVALID);
        p = pve_free(p);
        test_server_stop(&s);
}

int main(void) {
        test_gates();
        test_locks();
        test_lines();
        test_lock_stays();
        test_patience();
        test_lost();
        test_lost_after_lock();
        test_clock();
        test_create();
        test_actions();
        test_status();
        return 0;
}
