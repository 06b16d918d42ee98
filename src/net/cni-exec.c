/* SPDX-License-Identifier: Apache-2.0 */
/* cni-exec - see cni-exec.h. */
#include "net/cni-exec.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/proc.h"
#include "base/str.h"
#include "net/cni-result.h"

enum { ID_MAX = 256, VALUE_MAX = 512, STDERR_MAX = 16 * 1024 };

int cni_find(const char *bin_dirs, const char *type, char ret[PATH_MAX], struct err *err) {
        struct stat st;

        for (const char *p = bin_dirs, *end; *p; p = *end ? end + 1 : end) {
                int n;

                end = strchrnul(p, ':');
                n = snprintf(ret, PATH_MAX, "%.*s/%s", (int) (end - p), p, type);
                /* An absolute path only: an empty entry must not mean the current folder. */
                if (*p == '/' && n > 0 && n < PATH_MAX && stat(ret, &st) == 0 && S_ISREG(st.st_mode) &&
                    access(ret, X_OK) == 0)
                        return 0;
        }
        return err_set(err, ERR_PRECONDITION, "CNI plug-in \"%.100s\" is not in %.300s", type, bin_dirs);
}

static bool arg_is_valid(const char *s) {
        if (!s || strnlen(s, VALUE_MAX + 1) > VALUE_MAX)
                return !s;
        for (; *s; s++)
                if (*s == ';' || *s == '=' || iscntrl((unsigned char) *s))
                        return false;
        return true;
}

static bool id_fits(const char *id) {
        if (str_empty(id) || !isalnum((unsigned char) id[0]) || strnlen(id, ID_MAX + 1) > ID_MAX)
                return false;
        for (; *id; id++)
                if (!isalnum((unsigned char) *id) && !strchr("_.-", *id))
                        return false;
        return true;
}

static int check_port(const struct cni_port *p, struct err *err) {
        struct in6_addr bin;

        if (p->host_port == 0)
                return 0;
        if (p->host_port < 0 || p->host_port > 65535 || p->container_port < 1 || p->container_port > 65535)
                return err_set(err, ERR_INVALID, "port mapping %d to %d: ports are 1 to 65535", p->host_port,
                               p->container_port);
        if (!str_eq(p->protocol, "tcp") && !str_eq(p->protocol, "udp") && !str_eq(p->protocol, "sctp"))
                return err_set(err, ERR_INVALID, "port mapping %d: unknown protocol", p->host_port);
        if (!str_empty(p->host_ip) && inet_pton(AF_INET, p->host_ip, &bin) != 1 &&
            inet_pton(AF_INET6, p->host_ip, &bin) != 1)
                return err_set(err, ERR_INVALID, "port mapping %d: \"%.60s\" is not an address", p->host_port,
                               p->host_ip);
        return 0;
}

int cni_pod_check(const struct cni_pod *pod, struct err *err) {
        int r;

        if (!id_fits(pod->id))
                return err_set(err, ERR_INVALID, "sandbox id \"%.80s\" is not one that CNI takes", pod->id ?: "");
        if (!arg_is_valid(pod->name) || !arg_is_valid(pod->pod_namespace) || !arg_is_valid(pod->uid))
                return err_set(err, ERR_INVALID,
                               "the pod's name, namespace or uid is too long or holds ';', '=' or "
                               "control characters");
        for (size_t i = 0; i < pod->n_ports; i++) {
                r = check_port(&pod->ports[i], err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- environment ----------------------------------------------------------------------------------------------------
 */

struct env {
        char **vars; /* owned strings, NULL-terminated */
        size_t n, cap;
};

static void env_done(struct env *e) {
        for (size_t i = 0; i < e->n; i++)
                free(e->vars[i]);
        free(e->vars);
}

_printf_(2, 3) static void env_add(struct env *e, const char *fmt, ...) {
        va_list ap;

        xgrow(e->vars, e->n + 1, e->cap);
        va_start(ap, fmt);
        e->vars[e->n++] = xvprintf(fmt, ap);
        va_end(ap);
        e->vars[e->n] = NULL;
}

/* The daemon's own (proxies, PATH for iptables), without what is meant for the daemon alone. */
static void env_inherit(struct env *e) {
        static const char *const not_these[] = { "CNI_", "NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_", "LD_" };
        bool path = false;

        for (char **v = environ; v && *v; v++) {
                bool keep = true;

                for (size_t i = 0; i < ELEMENTSOF(not_these); i++)
                        keep = keep && !str_after(*v, not_these[i]);
                if (keep)
                        env_add(e, "%s", *v);
                path = path || str_after(*v, "PATH=");
        }
        if (!path)
                env_add(e, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

static void env_make(struct env *e, const struct cni_call *c) {
        const struct cni_pod *p = c->pod;

        env_inherit(e);
        env_add(e, "CNI_COMMAND=%s", c->command);
        env_add(e, "CNI_PATH=%s", c->bin_dirs);
        if (!p)
                return;
        env_add(e, "CNI_CONTAINERID=%s", p->id);
        env_add(e, "CNI_NETNS=%s", c->netns);
        env_add(e, "CNI_IFNAME=%s", c->ifname);
        env_add(e,
                "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_INFRA_CONTAINER_ID=%s;"
                "K8S_POD_UID=%s",
                p->pod_namespace ?: "", p->name ?: "", p->id, p->uid ?: "");
}

/* --- running --------------------------------------------------------------------------------------------------------
 */

static enum err_code map_code(int code) {
        switch (code) {
        case CNI_CODE_TRY_LATER:
        case CNI_CODE_NOT_AVAILABLE:
        case CNI_CODE_LIMITED:
                return ERR_UNAVAILABLE;
        case 1: /* versions don't fit */
        case 2: /* unsupported field */
        case 7: /* bad configuration */
                return ERR_PRECONDITION;
        default: /* never NOT_FOUND: kubelet would take the pod for gone */
                return ERR_INTERNAL;
        }
}

static int failure(int status, const struct strbuf *out, const struct strbuf *err_out, int *ret_code, struct err *err) {
        char msg[700];

        if (cni_result_error(strbuf_str(out), out->len, ret_code, msg, sizeof(msg)))
                return err_set(err, map_code(*ret_code), "%s (code %d)", msg, *ret_code);
        cni_printable(strbuf_str(err_out), err_out->len, msg, sizeof(msg));
        if (!*msg)
                cni_printable(strbuf_str(out), out->len, msg, sizeof(msg));
        if (WIFSIGNALED(status))
                return err_set(err, ERR_INTERNAL, "ended by signal %d%s%s", WTERMSIG(status), *msg ? ": " : "", msg);
        return err_set(err, ERR_INTERNAL, "exit code %d%s%s", WEXITSTATUS(status), *msg ? ": " : "", msg);
}

int cni_exec(const struct cni_call *call, struct strbuf *out, int *ret_code, struct err *err) {
        _cleanup_strbuf_ struct strbuf err_out = STRBUF(STDERR_MAX);
        _cleanup_(env_done) struct env env = { 0 };
        _cleanup_(freep) char *input = NULL;
        char path[PATH_MAX];
        struct proc_run_args args;
        int r, status = 0;

        *ret_code = 0;
        r = cni_find(call->bin_dirs, call->type, path, err);
        if (r < 0)
                return r;
        input = json_dumps(call->input, JSON_COMPACT);
        if (!input)
                return err_set(err, ERR_INTERNAL, "CNI plug-in %s: can't write its configuration", call->type);
        env_make(&env, call);
        args = (struct proc_run_args){
                .argv = (const char *const[]){ path, NULL },
                .envp = (const char *const *) env.vars,
                .input = input,
                .input_len = strlen(input),
                .out = out,
                .err_out = &err_out,
                .timeout_ms = call->timeout_ms,
        };
        r = proc_run(&args, &status, err);
        if (r == 0 && status != 0)
                r = failure(status, out, &err_out, ret_code, err);
        else if (r == 0 && out->overflow)
                r = err_set(err, ERR_INTERNAL, "it wrote more than %zu bytes", out->max);
        return r < 0 ? err_wrap(err, "CNI plug-in %s (%s)", call->type, call->command) : 0;
}
