/* SPDX-License-Identifier: Apache-2.0 */
/* The client against tests/pve-server, which drives this program (tests/pve-server/test_pve.py):
 *
 *     test-pve HOST[,HOST] FINGERPRINT[,FINGERPRINT] token|password NAME FILE < commands
 *
 * A command is a line of JSON with "do", the rest depends on it; so is its answer, with "error", "kind" and "message"
 * when it failed. */
#undef NDEBUG
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/ct.h"
#include "pve/hosts.h"
#include "pve/permissions.h"
#include "pve/vmids.h"

enum { THREADS_MAX = 32 };

struct command {
        struct pve *p;
        const json_t *given;
        struct pve_ct ct;
        struct pve_storage storage;
        struct pve_params params;
        struct pve_ct_args args;
        struct pve_until until;
        json_t *answer; /* an object, when it went well */
        struct err err;
};

static const char *text(const struct command *c, const char *key) {
        return pve_json_str(c->given, key);
}

static uint64_t number(const struct command *c, const char *key, uint64_t otherwise) {
        uint64_t v;

        return pve_json_u64(c->given, key, &v) ? v : otherwise;
}

static void add_params(struct pve_params *p, const json_t *given) {
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) given, key, value) {
                if (json_is_integer(value))
                        pve_param_u64(p, key, (uint64_t) json_integer_value(value));
                else
                        pve_param_bytes(p, key, json_string_value(value), json_string_length(value));
        }
}

static int do_create(struct command *c) {
        return pve_ct_create(c->p, &c->ct, &c->args, NULL, &c->err);
}

static int do_action(struct command *c) {
        static const char *const names[] = {
#define PVE_CT_ACTION(action, ...) [PVE_CT_##action] = #action,
                PVE_CT_ACTIONS(PVE_CT_ACTION)
#undef PVE_CT_ACTION
        };
        enum pve_ct_action action = 0;

        while (!str_eq(names[action], text(c, "action")))
                assert(++action < ELEMENTSOF(names));
        return pve_ct_do(c->p, &c->ct, action, &c->args, NULL, &c->err);
}

static int do_backup(struct command *c) {
        return pve_ct_backup(c->p, &c->ct, &c->args, NULL, &c->err);
}

static int do_set(struct command *c) {
        return pve_ct_set(c->p, &c->ct, &c->args, true, &c->err);
}

static int do_config(struct command *c) {
        json_t *config;
        int r = pve_ct_config(c->p, &c->ct, &c->until, &config, &c->err);

        if (r == 0)
                assert(json_object_set_new(c->answer, "config", config) == 0);
        return r;
}

static json_t *status_json(const struct pve_ct_status *s) {
        return json_pack("{s:b,s:I,s:s,s:s,s:s}", "running", s->running, "pid", (json_int_t) s->pid, "name", s->name,
                         "tags", s->tags, "lock", s->lock);
}

static int do_status(struct command *c) {
        struct pve_ct_status status = { 0 };
        int r = pve_ct_status(c->p, &c->ct, &c->until, &status, &c->err);

        if (r < 0)
                return r;
        assert(json_object_set_new(c->answer, "status", status_json(&status)) == 0);
        pve_ct_status_done(&status);
        return 0;
}

static int do_list(struct command *c) {
        json_t *all = json_object();
        struct pve_ct_list list;
        char id[16];
        int r = pve_ct_list(c->p, &c->until, &list, &c->err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < list.n; i++) {
                (void) snprintf(id, sizeof(id), "%u", list.entries[i].ct.vmid);
                assert(json_object_set_new(all, id, status_json(&list.entries[i].status)) == 0);
        }
        assert(json_object_set_new(c->answer, "cts", all) == 0);
        pve_ct_list_done(&list);
        return 0;
}

static int do_version(struct command *c) {
        struct pve_version v;
        int r = pve_get_version(c->p, &c->until, &v, &c->err);

        if (r == 0)
                assert(json_object_set_new(c->answer, "version", json_sprintf("%u.%u", v.major, v.minor)) == 0);
        return r;
}

static int do_node(struct command *c) {
        char node[PVE_NODE_MAX];
        int r = pve_find_node(c->p, text(c, "host"), &c->until, node, &c->err);

        if (r == 0)
                assert(json_object_set_new(c->answer, "node", json_string(node)) == 0);
        return r;
}

static int do_permissions(struct command *c) {
        const struct pve_places places = {
                .node = c->ct.node, .storage = c->storage.name, .template_storage = c->storage.name, .bridge = "vmbr0"
        };
        struct pve_missing_list missing;
        json_t *all = json_array();
        int r = pve_check_permissions(c->p, &(struct pve_version){ 9, 2 }, &places, &c->until, &missing, &c->err);

        for (size_t i = 0; i < missing.n; i++)
                assert(json_array_append_new(all, json_string(missing.list[i].command)) == 0);
        assert(json_object_set_new(c->answer, "commands", all) == 0);
        pve_missing_done(&missing);
        return r;
}

static int do_upload(struct command *c) {
        return pve_storage_upload(c->p, &c->storage, text(c, "file"), text(c, "filename"), &c->until, &c->err);
}

static int do_volumes(struct command *c) {
        json_t *answer;
        int r = pve_storage_list(c->p, &c->storage, text(c, "content"), &c->until, &answer, &c->err);

        if (r == 0)
                assert(json_object_set_new(c->answer, "volumes", answer) == 0);
        return r;
}

static int do_remove_volume(struct command *c) {
        return pve_storage_delete(c->p, &c->storage, text(c, "volume"), &c->until, &c->err);
}

/* --- many at once --------------------------------------------------------------------------------------------------
 */

struct crowd {
        struct command *command;
        struct vmids *vmids;
        pthread_mutex_t lock;
        size_t left;
        json_t *errors;
};

static int create_one(struct pve *p, unsigned vmid, void *userdata, struct err *err) {
        const struct crowd *crowd = userdata;
        const struct pve_ct ct = { .node = crowd->command->ct.node, .vmid = vmid };

        return pve_ct_create(p, &ct, &crowd->command->args, NULL, err);
}

/* Made, started, seen running, removed. */
static int life(struct crowd *crowd, struct err *err) {
        const struct command *c = crowd->command;
        _cleanup_params_ struct pve_params force = PVE_PARAMS;
        const struct pve_ct_args plain = { .until = &c->until }, forced = { .params = &force, .until = &c->until };
        struct pve_ct_status status = { 0 };
        struct pve_ct ct = { .node = c->ct.node };
        int r = vmids_create(crowd->vmids, c->p, &c->until, create_one, crowd, &ct.vmid, err);

        if (r == 0)
                r = pve_ct_do(c->p, &ct, PVE_CT_START, &plain, NULL, err);
        if (r == 0)
                r = pve_ct_status(c->p, &ct, &c->until, &status, err);
        if (r < 0)
                return r;
        if (!status.running)
                r = err_set(err, ERR_INTERNAL, "%u does not run", ct.vmid);
        pve_ct_status_done(&status);
        pve_param_u64(&force, "force", 1);
        if (r == 0)
                r = pve_ct_do(c->p, &ct, PVE_CT_DELETE, &forced, NULL, err);
        if (r == 0)
                vmids_give_back(crowd->vmids, ct.vmid);
        return r;
}

static void *live(void *arg) {
        struct crowd *crowd = arg;
        struct err err;

        for (;;) {
                bool more;

                (void) pthread_mutex_lock(&crowd->lock);
                more = crowd->left > 0;
                crowd->left -= more;
                (void) pthread_mutex_unlock(&crowd->lock);
                if (!more)
                        return NULL;
                if (life(crowd, &err) == 0)
                        continue;
                (void) pthread_mutex_lock(&crowd->lock);
                assert(json_array_append_new(crowd->errors, json_string(err.msg)) == 0);
                (void) pthread_mutex_unlock(&crowd->lock);
        }
}

static int do_crowd(struct command *c) {
        struct crowd crowd = { .command = c, .left = number(c, "n", 1), .errors = json_array() };
        size_t n = number(c, "threads", 1);
        pthread_t threads[THREADS_MAX];
        int r = vmids_new((unsigned) number(c, "first", 0), (unsigned) number(c, "last", 0), &crowd.vmids, &c->err);

        assert(r == 0 && n <= THREADS_MAX && pthread_mutex_init(&crowd.lock, NULL) == 0);
        for (size_t i = 0; i < n; i++)
                assert(pthread_create(&threads[i], NULL, live, &crowd) == 0);
        for (size_t i = 0; i < n; i++)
                assert(pthread_join(threads[i], NULL) == 0);
        assert(json_object_set_new(c->answer, "errors", crowd.errors) == 0);
        crowd.vmids = vmids_free(crowd.vmids);
        return 0;
}

/* -------------------------------------------------------------------------------------------------------------------
 */

static const struct {
        const char *name;
        int (*run)(struct command *c);
} commands[] = {
        { "create", do_create },
        { "action", do_action },
        { "backup", do_backup },
        { "set", do_set },
        { "config", do_config },
        { "status", do_status },
        { "list", do_list },
        { "version", do_version },
        { "node", do_node },
        { "permissions", do_permissions },
        { "upload", do_upload },
        { "volumes", do_volumes },
        { "remove-volume", do_remove_volume },
        { "crowd", do_crowd },
};

static void run(struct pve *p, const json_t *given) {
        struct command c = { .p = p, .given = given, .params = PVE_PARAMS, .answer = json_object() };
        size_t i = 0;
        char *shown;

        c.ct = (struct pve_ct){ .node = text(&c, "node") ?: "pve1", .vmid = (unsigned) number(&c, "vmid", 0) };
        c.storage = (struct pve_storage){ .node = c.ct.node, .name = text(&c, "storage") ?: "local" };
        c.until = (struct pve_until){ .cancel_fd = -1,
                                      .deadline_ns = clock_monotonic_ns() + number(&c, "ms", 30000) * 1000000 };
        add_params(&c.params, json_object_get(given, "params"));
        c.args = (struct pve_ct_args){
                .params = &c.params, .item = text(&c, "item"), .storage = text(&c, "storage"), .until = &c.until
        };
        while (!str_eq(commands[i].name, text(&c, "do")))
                assert(++i < ELEMENTSOF(commands));
        if (commands[i].run(&c) < 0) {
                json_decref(c.answer);
                c.answer = json_pack("{s:s,s:s,s:s}", "error", err_code_name(c.err.code), "kind",
                                     pve_kind_name(pve_kind(&c.err)), "message", c.err.msg);
        }
        shown = json_dumps(c.answer, JSON_COMPACT);
        assert(shown && puts(shown) >= 0 && fflush(stdout) == 0);
        free(shown);
        json_decref(c.answer);
        pve_params_done(&c.params);
}

static void split(char *list, const char **ret) {
        size_t n = 0;

        for (char *s; (s = strsep(&list, ","));) {
                assert(n < HOSTS_MAX);
                ret[n++] = s;
        }
}

int main(int argc, char **argv) {
        const char *hosts[HOSTS_MAX + 1] = { 0 }, *fingerprints[HOSTS_MAX + 1] = { 0 };
        struct pve_args args = { .hosts = hosts, .fingerprints = fingerprints };
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        ssize_t len;
        struct pve *p;
        struct err err;

        assert(argc == 6);
        split(argv[1], hosts);
        split(argv[2], fingerprints);
        if (str_eq(argv[3], "token")) {
                args.token_id = argv[4];
                args.token_file = argv[5];
        } else {
                args.user = argv[4];
                args.password_file = argv[5];
        }
        if (pve_new(&args, &p, &err) < 0) {
                (void) fprintf(stderr, "%s\n", err.msg);
                return 1;
        }
        while ((len = getline(&line, &size, stdin)) > 0) {
                json_t *given;

                assert(json_load_bounded_nul(line, (size_t) len, 1000, "command", &given, &err) == 0);
                run(p, given);
                json_decref(given);
        }
        p = pve_free(p);
        return 0;
}
