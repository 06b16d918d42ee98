/* SPDX-License-Identifier: Apache-2.0 */
/* cni - see net.h: the order of things. ADD goes through the chain with each answer handed to the next plug-in and is
 * undone on failure; DEL goes backwards with the final answer. What was added is removed by the configuration it was
 * added with, from the pod's record, whatever the folder says by then. lo is brought up by netns_create(), which saves
 * a plug-in's start. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include "base/alloc.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "net/cni-conf.h"
#include "net/cni-exec.h"
#include "net/cni-generate.h"
#include "net/cni-result.h"
#include "net/net.h"

enum {
        TIMEOUT_MS = 60000,       /* kubelet waits four minutes for RunPodSandbox */
        UNDO_TIMEOUT_MS = 20000,  /* per plug-in, after a failure that may have taken its time already */
        STATUS_TIMEOUT_MS = 5000, /* kubelet polls */
        CACHED_MAX_VALUES = 3 * CNI_CONF_MAX_VALUES,
};

#define IFNAME "eth0"

struct cni {
        char *conf_dir, *bin_dirs, *template;
        uint64_t timeout_ms;
};

/* One attachment in the making or in the undoing. */
struct attachment {
        const struct cni *cni;
        const struct cni_pod *pod;
        struct cni_conf *conf;
        json_t *capabilities;
        json_t *result; /* the last plug-in's answer, NULL before the first */
        const char *netns;
};

static void attachment_done(struct attachment *a) {
        a->conf = cni_conf_free(a->conf);
        json_decref(a->capabilities);
        json_decref(a->result);
}

int cni_new(const char *conf_dir, const char *bin_dirs, struct cni **ret, struct err *err) {
        struct cni *c;

        if (str_empty(conf_dir) || str_empty(bin_dirs) || bin_dirs[0] != '/')
                return err_set(err, ERR_INVALID, "CNI needs a configuration folder and absolute plug-in folders");
        c = xnew(struct cni);
        c->conf_dir = xstrdup(conf_dir);
        c->bin_dirs = xstrdup(bin_dirs);
        c->timeout_ms = TIMEOUT_MS;
        *ret = c;
        return 0;
}

struct cni *cni_free(struct cni *c) {
        if (!c)
                return NULL;
        free(c->conf_dir);
        free(c->bin_dirs);
        free(c->template);
        free(c);
        return NULL;
}

void cni_set_timeout(struct cni *c, uint64_t timeout_ms) {
        assert(timeout_ms > 0);
        c->timeout_ms = timeout_ms;
}

void cni_set_template(struct cni *c, const char *path) {
        free(c->template);
        c->template = path ? xstrdup(path) : NULL;
}

int cni_set_pod_cidr(struct cni *c, const char *pod_cidr, struct err *err) {
        struct cni_ranges ranges;
        int r;

        if (str_empty(pod_cidr))
                return 0;
        r = cni_ranges_parse(pod_cidr, &ranges, err);
        return r < 0 || !c->template ? r : cni_generate(c->conf_dir, c->template, &ranges, err);
}

/* --- capabilities ---------------------------------------------------------------------------------------------------
 */

static json_t *ports_json(const struct cni_pod *pod) {
        json_t *list = json_array();

        for (size_t i = 0; i < pod->n_ports; i++) {
                const struct cni_port *p = &pod->ports[i];
                json_t *o;

                if (p->host_port == 0)
                        continue;
                o = json_pack("{s:i, s:i, s:s}", "hostPort", p->host_port, "containerPort", p->container_port,
                              "protocol", p->protocol);
                if (!str_empty(p->host_ip))
                        (void) json_object_set_new(o, "hostIP", json_string(p->host_ip));
                (void) json_array_append_new(list, o);
        }
        return list;
}

static json_t *bandwidth_json(const struct cni_pod *pod) {
        const json_int_t burst = UINT32_MAX; /* no burst limit, as other runtimes */
        json_t *o = json_object();

        if (pod->ingress_rate > 0) {
                (void) json_object_set_new(o, "ingressRate", json_integer(pod->ingress_rate));
                (void) json_object_set_new(o, "ingressBurst", json_integer(burst));
        }
        if (pod->egress_rate > 0) {
                (void) json_object_set_new(o, "egressRate", json_integer(pod->egress_rate));
                (void) json_object_set_new(o, "egressBurst", json_integer(burst));
        }
        return o;
}

static size_t add_strings(json_t *o, const char *key, const char *const *list) {
        json_t *a = json_array();
        size_t n = 0;

        for (; list && list[n]; n++)
                (void) json_array_append_new(a, json_string(list[n]));
        (void) json_object_set_new(o, key, a);
        return n;
}

/* What the pod asks for, by capability; cni_conf_input() gives each plug-in those that it declares. */
static json_t *capabilities_json(const struct cni_pod *pod) {
        json_t *caps = json_object(), *ports = ports_json(pod), *bandwidth = bandwidth_json(pod), *dns = json_object();
        size_t n;

        if (json_array_size(ports) > 0)
                (void) json_object_set(caps, "portMappings", ports);
        if (json_object_size(bandwidth) > 0)
                (void) json_object_set(caps, "bandwidth", bandwidth);
        n = add_strings(dns, "servers", pod->dns_servers);
        n += add_strings(dns, "searches", pod->dns_searches);
        n += add_strings(dns, "options", pod->dns_options);
        if (n > 0)
                (void) json_object_set(caps, "dns", dns);
        if (!str_empty(pod->cgroup_path))
                (void) json_object_set_new(caps, "cgroupPath", json_string(pod->cgroup_path));
        json_decref(ports);
        json_decref(bandwidth);
        json_decref(dns);
        return caps;
}

/* --- the chain ------------------------------------------------------------------------------------------------------
 */

static int call_plugin(const struct attachment *a, size_t i, const char *command, uint64_t timeout_ms,
                       struct strbuf *out, int *ret_code, struct err *err) {
        _cleanup_(json_unrefp) json_t *input = cni_conf_input(a->conf, i, a->capabilities, a->result);
        const struct cni_call call = {
                .bin_dirs = a->cni->bin_dirs,
                .command = command,
                .type = cni_conf_type(a->conf, i),
                .pod = a->pod,
                .netns = a->netns,
                .ifname = IFNAME,
                .input = input,
                .timeout_ms = timeout_ms,
        };
        return cni_exec(&call, out, ret_code, err);
}

static int add_one(struct attachment *a, size_t i, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(CNI_RESULT_MAX_BYTES);
        json_t *result;
        int r, code;

        r = call_plugin(a, i, "ADD", a->cni->timeout_ms, &out, &code, err);
        if (r < 0)
                return r;
        r = cni_result_parse(strbuf_str(&out), out.len, a->conf->version, &result, err);
        if (r < 0)
                return err_wrap(err, "CNI plug-in %s (ADD)", cni_conf_type(a->conf, i));
        json_decref(a->result);
        a->result = result;
        return 0;
}

/* Plug-ins @n - 1 down to 0. The first error is returned. Unless @go_on it ends the walk: those before may hold what
 * the plug-in still needs, an address above all. */
static int del_chain(const struct attachment *a, size_t n, uint64_t timeout_ms, bool go_on, struct err *err) {
        int first = 0;

        while (n-- > 0 && (first == 0 || go_on)) {
                _cleanup_strbuf_ struct strbuf out = STRBUF(CNI_RESULT_MAX_BYTES);
                struct err e;
                int code, r = call_plugin(a, n, "DEL", timeout_ms, &out, &code, &e);

                if (r < 0 && code != CNI_CODE_UNKNOWN_CONTAINER && first == 0) {
                        first = r;
                        *err = e;
                }
        }
        return first;
}

/* The failed plug-in too: it may have got half way. One that fails to undo does not keep the others from it. False: and
 * something may be left. */
static bool undo_add(const struct attachment *a, size_t n, struct err *err) {
        struct err second;
        size_t len;

        if (del_chain(a, n, MIN_OF(a->cni->timeout_ms, (uint64_t) UNDO_TIMEOUT_MS), true, &second) == 0)
                return true;
        len = strlen(err->msg);
        (void) snprintf(err->msg + len, sizeof(err->msg) - len, "; and undoing it failed: %.300s", second.msg);
        return false;
}

/* Before the first ADD, so that a missing program leaves nothing to undo. */
static int find_programs(const struct cni *c, const struct cni_conf *conf, struct err *err) {
        char path[PATH_MAX];
        int r = 0;

        for (size_t i = 0; r == 0 && i < json_array_size(conf->plugins); i++) {
                const char *ipam = cni_conf_ipam_type(conf, i);

                r = cni_find(c->bin_dirs, cni_conf_type(conf, i), path, err);
                if (r == 0 && ipam)
                        r = cni_find(c->bin_dirs, ipam, path, err);
        }
        return r;
}

static int add_chain(struct attachment *a, struct arena *arena, struct cni_result *ret, struct err *err) {
        size_t i = 0, n = json_array_size(a->conf->plugins);
        int r = 0;

        while (i < n && r == 0)
                r = add_one(a, i++, err);
        if (r == 0)
                r = cni_result_ips(a->result, IFNAME, arena, &ret->ips, err);
        if (r == 0 && !ret->ips[0])
                r = err_set(err, ERR_INTERNAL, "network %s gave the pod no address", a->conf->name);
        if (r < 0)
                ret->held = !undo_add(a, i, err);
        return r;
}

static char *cached_json(const struct attachment *a) {
        json_t *o = json_pack("{s:i, s:o, s:O, s:O}", "version", 1, "config", cni_conf_to_json(a->conf), "capabilities",
                              a->capabilities, "result", a->result);
        char *text = json_dumps(o, JSON_COMPACT);

        json_decref(o);
        if (!text)
                abort();
        return text;
}

int cni_add(struct cni *c, const struct cni_pod *pod, struct arena *arena, struct cni_result *ret, struct err *err) {
        _cleanup_(attachment_done) struct attachment a = { .cni = c, .pod = pod, .netns = pod->netns_path };
        _cleanup_(freep) char *cached = NULL;
        bool none;
        int r;

        *ret = (struct cni_result){ 0 };
        r = cni_pod_check(pod, err);
        if (r == 0 && str_empty(pod->netns_path))
                r = err_set(err, ERR_INVALID, "the pod has no network namespace to attach");
        if (r == 0)
                r = cni_conf_load(c->conf_dir, &a.conf, &none, err);
        if (r == 0)
                r = find_programs(c, a.conf, err);
        if (r < 0)
                return r;
        a.capabilities = capabilities_json(pod);
        r = add_chain(&a, arena, ret, err);
        if (r < 0)
                return r;
        cached = cached_json(&a);
        ret->cached = arena_strdup(arena, cached);
        return 0;
}

/* --- removal --------------------------------------------------------------------------------------------------------
 */

/* "" unless @path still is a namespace: plug-ins then only free what they keep elsewhere. */
static const char *netns_or_gone(const char *path) {
        struct statfs st;

        return !str_empty(path) && statfs(path, &st) == 0 && st.f_type == NSFS_MAGIC ? path : "";
}

static int restore(struct attachment *a, const char *cached, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        json_t *caps, *result;
        int r;

        r = json_load_bounded(cached, strlen(cached), CACHED_MAX_VALUES, "the record", &o, err);
        if (r == 0)
                r = cni_conf_from_json(json_object_get(o, "config"), &a->conf, err);
        if (r < 0)
                return r;
        caps = json_object_get(o, "capabilities");
        result = json_object_get(o, "result");
        a->capabilities = json_is_object(caps) ? json_incref(caps) : NULL;
        a->result = json_is_object(result) ? json_incref(result) : NULL;
        return 0;
}

int cni_del(struct cni *c, const struct cni_pod *pod, const char *cached, struct err *err) {
        _cleanup_(attachment_done) struct attachment a = { .cni = c, .pod = pod };
        bool none = false;
        int r;

        r = cni_pod_check(pod, err);
        if (r < 0)
                return r;
        a.netns = netns_or_gone(pod->netns_path);
        if (cached && restore(&a, cached, err) < 0)
                log_warn("the pod's network record is damaged; using the current network configuration", "pod", pod->id,
                         "error", err->msg, NULL);
        if (!a.conf) {
                r = cni_conf_load(c->conf_dir, &a.conf, &none, err);
                /* Never attached, and no network to detach from. */
                if (none)
                        return 0;
                if (r < 0)
                        return r;
        }
        if (!a.capabilities)
                a.capabilities = capabilities_json(pod);
        return del_chain(&a, json_array_size(a.conf->plugins), c->timeout_ms, false, err);
}

/* --- status ---------------------------------------------------------------------------------------------------------
 */

static int plugin_status(const struct cni *c, const struct cni_conf *conf, size_t i, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(CNI_RESULT_MAX_BYTES);
        _cleanup_(json_unrefp) json_t *input = cni_conf_input(conf, i, NULL, NULL);
        const struct cni_call call = {
                .bin_dirs = c->bin_dirs,
                .command = "STATUS",
                .type = cni_conf_type(conf, i),
                .input = input,
                .timeout_ms = MIN_OF(c->timeout_ms, (uint64_t) STATUS_TIMEOUT_MS),
        };
        int code;

        return cni_exec(&call, &out, &code, err);
}

int cni_status(struct cni *c, struct err *err) {
        _cleanup_(cni_conf_freep) struct cni_conf *conf = NULL;
        bool none;
        int r;

        r = cni_conf_load(c->conf_dir, &conf, &none, err);
        if (r < 0)
                return r;
        r = find_programs(c, conf, err);
        for (size_t i = 0; r == 0 && cni_conf_has_status(conf) && i < json_array_size(conf->plugins); i++)
                r = plugin_status(c, conf, i, err);
        if (r == 0)
                return 0;
        (void) err_wrap(err, "network %s", conf->name);
        err->code = ERR_PRECONDITION;
        return -ERR_PRECONDITION;
}

int cni_describe(struct cni *c, struct arena *arena, const char **ret_json, struct err *err) {
        _cleanup_(cni_conf_freep) struct cni_conf *conf = NULL;
        _cleanup_(json_unrefp) json_t *o = NULL, *types = json_array();
        _cleanup_(freep) char *text = NULL;
        bool none;
        int r;

        r = cni_conf_load(c->conf_dir, &conf, &none, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < json_array_size(conf->plugins); i++)
                (void) json_array_append_new(types, json_string(cni_conf_type(conf, i)));
        o = json_pack("{s:s, s:s, s:s, s:O, s:s, s:s}", "name", conf->name, "file", conf->file, "cniVersion",
                      conf->version, "plugins", types, "confDir", c->conf_dir, "binDirs", c->bin_dirs);
        text = o ? json_dumps(o, JSON_COMPACT) : NULL;
        if (!text)
                return err_set(err, ERR_INTERNAL, "the network's folder names are not UTF-8");
        *ret_json = arena_strdup(arena, text);
        return 0;
}
