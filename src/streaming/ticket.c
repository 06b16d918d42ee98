/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/ticket.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include "base/alloc.h"
#include "base/str.h"
#include "base/base64.h"

enum {
        /* Of all tickets together: an RPC's argument may be megabytes long, and 1000 of them may wait. */
        TOTAL_BYTES = 16 << 20,
        TICKET_BYTES = 3 << 20, /* more than any argv that the kernel takes */
};

struct tickets {
        pthread_mutex_t lock;
        struct ticket *first, **last; /* by age, so by expiry too */
        size_t n, max, bytes;
        uint64_t ttl_ns;
};

const char *ticket_kind_name(enum ticket_kind kind) {
        static const char *const names[] = { "exec", "attach", "portforward" };
        return names[kind];
}

struct ticket *ticket_free(struct ticket *t) {
        if (!t)
                return NULL;
        t->memory = arena_free(t->memory);
        free(t);
        return NULL;
}

struct tickets *tickets_new(size_t max, uint64_t ttl_ns) {
        struct tickets *s = xnew(struct tickets);

        (void) pthread_mutex_init(&s->lock, NULL);
        s->last = &s->first;
        s->max = max;
        s->ttl_ns = ttl_ns;
        return s;
}

/* With the lock held: take the one that *@at points to out of the list. */
static struct ticket *unlink_locked(struct tickets *s, struct ticket **at) {
        struct ticket *t = *at;

        *at = t->next;
        if (!t->next)
                s->last = at;
        t->next = NULL;
        s->n--;
        s->bytes -= t->bytes;
        return t;
}

static void expire_locked(struct tickets *s, uint64_t now_ns) {
        while (s->first && s->first->expires_ns <= now_ns)
                (void) ticket_free(unlink_locked(s, &s->first));
}

struct tickets *tickets_free(struct tickets *s) {
        if (!s)
                return NULL;
        expire_locked(s, UINT64_MAX);
        (void) pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
}

/* ---- in ---- */

static struct ticket *ticket_new(enum ticket_kind kind) {
        struct ticket *t = xnew(struct ticket);

        t->kind = kind;
        t->memory = arena_new(TICKET_BYTES + (64 << 10));
        return t;
}

static int make_token(char out[TICKET_TOKEN_LEN + 1], struct err *err) {
        uint8_t bytes[TICKET_TOKEN_BYTES];

        if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes))
                return err_sys(err, errno, "get random bytes");
        base64_encode_url(bytes, sizeof(bytes), out);
        out[TICKET_TOKEN_LEN] = '\0';
        return 0;
}

static int put(struct tickets *s, struct ticket **ticket, char ret_token[TICKET_TOKEN_LEN + 1], struct err *err) {
        struct ticket *t = *ticket;
        uint64_t now_ns = clock_monotonic_ns();
        int r = make_token(t->token, err);

        if (r < 0)
                return r;
        t->bytes = arena_used(t->memory) + sizeof(*t);
        t->expires_ns = now_ns + s->ttl_ns;
        memcpy(ret_token, t->token, sizeof(t->token));
        (void) pthread_mutex_lock(&s->lock);
        expire_locked(s, now_ns);
        if (s->n >= s->max || s->bytes + t->bytes > TOTAL_BYTES) {
                r = err_set(err, ERR_EXHAUSTED,
                            "%zu streaming requests wait for their clients; try again in a minute, or connect to those",
                            s->n);
        } else {
                *s->last = t;
                s->last = &t->next;
                s->n++;
                s->bytes += t->bytes;
                *ticket = NULL;
        }
        (void) pthread_mutex_unlock(&s->lock);
        return r;
}

static int check_streams(const char *container_id, bool tty, bool in, bool out, bool errs, struct err *err) {
        if (str_empty(container_id))
                return err_set(err, ERR_INVALID, "missing required container_id");
        if (tty && errs)
                return err_set(err, ERR_INVALID, "tty and stderr cannot both be true");
        if (!in && !out && !errs)
                return err_set(err, ERR_INVALID, "one of stdin, stdout, or stderr must be set");
        return 0;
}

static int copy_argv(struct ticket *t, const char *const *argv, struct err *err) {
        size_t n = 0, bytes = 0;
        const char **copy;

        for (; argv && argv[n]; n++)
                bytes += strlen(argv[n]) + 1 + sizeof(*argv) + 16;
        if (n == 0)
                return err_set(err, ERR_INVALID, "missing required cmd");
        if (bytes > TICKET_BYTES)
                return err_set(err, ERR_EXHAUSTED, "a command line of %zu bytes is too long", bytes);
        copy = arena_array(t->memory, const char *, n + 1);
        for (size_t i = 0; i < n; i++)
                copy[i] = arena_strdup(t->memory, argv[i]);
        t->exec.argv = copy;
        return 0;
}

static int copy_id(struct ticket *t, const char *id, const char **ret, struct err *err) {
        if (strlen(id) > 4096)
                return err_set(err, ERR_INVALID, "identifier of %zu bytes", strlen(id));
        *ret = arena_strdup(t->memory, id);
        return 0;
}

int tickets_put_exec(struct tickets *s, const struct streaming_exec *req, char ret_token[TICKET_TOKEN_LEN + 1],
                     struct err *err) {
        _cleanup_(ticket_freep) struct ticket *t = ticket_new(TICKET_EXEC);
        int r = check_streams(req->container_id, req->tty, req->want_stdin, req->want_stdout, req->want_stderr, err);

        if (r < 0)
                return r;
        t->exec = *req;
        r = copy_id(t, req->container_id, &t->exec.container_id, err);
        if (r == 0)
                r = copy_argv(t, req->argv, err);
        return r < 0 ? r : put(s, &t, ret_token, err);
}

int tickets_put_attach(struct tickets *s, const struct streaming_attach *req, char ret_token[TICKET_TOKEN_LEN + 1],
                       struct err *err) {
        _cleanup_(ticket_freep) struct ticket *t = ticket_new(TICKET_ATTACH);
        int r = check_streams(req->container_id, req->tty, req->want_stdin, req->want_stdout, req->want_stderr, err);

        if (r < 0)
                return r;
        t->attach = *req;
        r = copy_id(t, req->container_id, &t->attach.container_id, err);
        return r < 0 ? r : put(s, &t, ret_token, err);
}

int tickets_put_port_forward(struct tickets *s, const struct streaming_port_forward *req,
                             char ret_token[TICKET_TOKEN_LEN + 1], struct err *err) {
        _cleanup_(ticket_freep) struct ticket *t = ticket_new(TICKET_PORT_FORWARD);
        int r;

        if (str_empty(req->sandbox_id))
                return err_set(err, ERR_INVALID, "missing required pod_sandbox_id");
        if (req->n_ports > TICKET_MAX_PORTS)
                return err_set(err, ERR_INVALID, "%zu ports; at most %d at once", req->n_ports, TICKET_MAX_PORTS);
        for (size_t i = 0; i < req->n_ports; i++)
                if (req->ports[i] < 1 || req->ports[i] > UINT16_MAX)
                        return err_set(err, ERR_INVALID, "port %d is not between 1 and 65535", req->ports[i]);
        t->port_forward = *req;
        r = copy_id(t, req->sandbox_id, &t->port_forward.sandbox_id, err);
        if (r < 0)
                return r;
        t->port_forward.ports = arena_memdup(t->memory, req->ports, req->n_ports * sizeof(*req->ports));
        return put(s, &t, ret_token, err);
}

/* ---- out ---- */

/* "/KIND/TOKEN" -> its parts. */
static const char *split_path(const char *path, enum ticket_kind *ret) {
        for (*ret = TICKET_EXEC; *ret <= TICKET_PORT_FORWARD; (*ret)++) {
                const char *rest = *path == '/' ? str_after(path + 1, ticket_kind_name(*ret)) : NULL;

                if (rest && *rest == '/')
                        return rest + 1;
        }
        return NULL;
}

struct ticket *tickets_take(struct tickets *s, const char *path) {
        enum ticket_kind kind;
        const char *token = split_path(path, &kind);
        struct ticket *t = NULL;

        if (!token)
                return NULL;
        (void) pthread_mutex_lock(&s->lock);
        expire_locked(s, clock_monotonic_ns());
        for (struct ticket **at = &s->first; *at; at = &(*at)->next) {
                if (!str_eq((*at)->token, token))
                        continue;
                t = unlink_locked(s, at);
                break;
        }
        (void) pthread_mutex_unlock(&s->lock);
        /* Whoever comes with it on the wrong path has used it up. */
        return t && t->kind != kind ? ticket_free(t) : t;
}
