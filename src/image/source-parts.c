/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that fetch a piece each into a ring; the caller's passes them on. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "image/source.h"

enum {
        PART_TRIES = 3,
        WINDOW = 2 * PARTS_PER_BLOB, /* pieces */
        CHECK_MS = 2000,             /* is it worth it? */
        STACK_BYTES = 512 * 1024,
};

struct part {
        uint64_t at;
        size_t len, filled;
        uint8_t *data;
};

struct parts {
        const struct parts_args *args;
        struct source source; /* the caller's, but that @stop_fd cancels */
        uint64_t n;           /* pieces in all */
        unsigned window;
        int stop_fd, news_fd;

        pthread_mutex_t lock; /* guards what follows, but for the bytes of pieces */
        pthread_cond_t room;
        uint64_t head, next; /* the piece that is passed on, and the first that nobody has taken up */
        bool stop, failed;
        struct err err; /* why it failed */
        struct part ring[WINDOW];
};

unsigned parts_reserve(struct source *s) {
        atomic_uint *used = &s->registries->n_parts;
        unsigned have = *used, n;

        do
                n = have < PARTS_MAX ? MIN_OF((unsigned) PARTS_MAX - have, (unsigned) PARTS_PER_BLOB) : 0;
        while (n >= 2 && !atomic_compare_exchange_weak(used, &have, have + n));
        return n >= 2 ? n : 0;
}

void parts_give_back(struct source *s, unsigned n) {
        s->registries->n_parts -= n;
}

/* --- a thread --------------------------------------------------------------------------------------------------- */

/* A piece as its thread knows it: once it is full, its place in the ring may be another's at any moment. */
struct piece {
        struct part *part;
        uint64_t at;
        size_t len, filled;
};

struct take {
        struct parts *parts;
        struct piece *piece;
        const struct http_response *resp;
        bool checked;
};

/* Is it a piece of the same thing? That the first byte is the one asked for, the client has seen to. */
static int check_answer(const struct take *t, struct err *err) {
        const struct parts_args *args = t->parts->args;
        const char *range = http_response_header(t->resp, "content-range", NULL), *total;
        const char *etag = http_response_header(t->resp, "etag", NULL);
        uint64_t size;

        total = range ? strchr(range, '/') : NULL;
        if (total && !str_eq(total, "/*") && (!str_to_u64(total + 1, &size) || size != args->size))
                return err_set(err, ERR_DATA_LOSS, "a part is of something with another size (\"%.100s\")", range);
        if (args->etag && !str_eq(etag, args->etag))
                return err_set(err, ERR_DATA_LOSS, "a part is of something else: its ETag is %.100s, not %.100s",
                               etag ?: "none", args->etag);
        return 0;
}

static int take_some(const void *data, size_t len, void *userdata, struct err *err) {
        struct take *t = userdata;
        struct parts *p = t->parts;
        bool stop, is_head;
        int r = t->checked ? 0 : check_answer(t, err);

        t->checked = true;
        if (r < 0)
                return r;
        if (len > t->piece->len - t->piece->filled)
                return err_set(err, ERR_DATA_LOSS, "a part has more bytes than were asked for");
        if (len == 0)
                return 0;
        memcpy(t->piece->part->data + t->piece->filled, data, len);
        t->piece->filled += len;
        (void) pthread_mutex_lock(&p->lock);
        t->piece->part->filled = t->piece->filled;
        stop = p->stop;
        is_head = t->piece->part == &p->ring[p->head % p->window];
        (void) pthread_mutex_unlock(&p->lock);
        if (is_head)
                (void) eventfd_write(p->news_fd, 1);
        return stop ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

/* 0: the piece is complete; 1: what came is good, and there is more to come. */
static int fetch_some(struct parts *p, struct piece *piece, struct arena *arena, struct err *err) {
        struct http_response resp = { 0 };
        struct take take = { .parts = p, .piece = piece, .resp = &resp };
        struct http_request req = { .sink = take_some,
                                    .userdata = &take,
                                    .offset = piece->at + piece->filled,
                                    .length = piece->len - piece->filled,
                                    .attempts = 1 };
        int r = source_request(&p->source, p->args->endpoint, p->args->path, &req, &resp, err);

        if (r == 0 && resp.status != 206) {
                r = source_status_error(&resp, arena, err);
        } else if (r == 0 && piece->filled < piece->len) {
                (void) err_set(err, ERR_UNAVAILABLE, "a part ended too early");
                r = 1;
        } else if (r < 0 && (resp.failure == HTTP_FAILURE_BROKEN || resp.failure == HTTP_FAILURE_CONNECT)) {
                r = piece->filled < piece->len;
        }
        http_response_done(&resp);
        return r;
}

static int fetch(struct parts *p, struct piece *piece, struct err *err) {
        int r = 1;

        for (unsigned n = 0; r > 0 && n < PART_TRIES; n++) {
                _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
                struct err ignored;

                if (n > 0 && http_pause(p->stop_fd, p->source.deadline_ns, http_backoff_ms(n), &ignored) < 0)
                        break;
                r = fetch_some(p, piece, arena, err);
        }
        return r;
}

static void *worker(void *arg) {
        struct parts *p = arg;
        struct err err = { 0 };

        (void) pthread_setname_np(pthread_self(), "part");
        (void) pthread_mutex_lock(&p->lock);
        while (!p->stop && p->next < p->n) {
                struct part *part = &p->ring[p->next % p->window];
                struct piece piece;
                int r;

                if (p->next - p->head >= p->window) {
                        (void) pthread_cond_wait(&p->room, &p->lock);
                        continue;
                }
                part->at = p->args->from + p->next++ * PART_BYTES;
                part->len = (size_t) MIN_OF(p->args->size - part->at, (uint64_t) PART_BYTES);
                part->filled = 0;
                piece = (struct piece){ .part = part, .at = part->at, .len = part->len };
                (void) pthread_mutex_unlock(&p->lock);
                r = fetch(p, &piece, &err);
                (void) pthread_mutex_lock(&p->lock);
                if (r != 0 && !p->stop) {
                        p->stop = p->failed = true;
                        p->err = err;
                        (void) eventfd_write(p->stop_fd, 1);
                        (void) eventfd_write(p->news_fd, 1);
                        (void) pthread_cond_broadcast(&p->room);
                }
        }
        (void) pthread_mutex_unlock(&p->lock);
        return NULL;
}

/* --- the caller -------------------------------------------------------------------------------------------------- */

static int wait_for_news(const struct parts *p, struct err *err) {
        const struct source *s = p->args->source;
        struct pollfd fds[] = { { .fd = p->news_fd, .events = POLLIN }, { .fd = s->cancel_fd, .events = POLLIN } };
        eventfd_t n;

        if (clock_monotonic_ns() >= s->deadline_ns)
                return err_set(err, ERR_DEADLINE, "deadline exceeded");
        if (poll(fds, 2, 1000) < 0 && errno != EINTR)
                return err_sys(err, errno, "poll");
        if (fds[1].revents)
                return err_set(err, ERR_CANCELLED, "cancelled");
        if (fds[0].revents)
                (void) eventfd_read(p->news_fd, &n);
        return 0;
}

/* What came while we waited, now and then compared with what one stream brings. */
struct pace {
        uint64_t bytes, waited_ns;
};

static bool is_worth_it(struct pace *pace, uint64_t bytes_per_s) {
        bool good;

        if (pace->waited_ns < CHECK_MS * 1000000ull)
                return true;
        good = pace->bytes * 1000 / (pace->waited_ns / 1000000) >= bytes_per_s;
        *pace = (struct pace){ 0 };
        return good;
}

/* How much of the first piece is here; the rest of it comes later. */
static size_t first_piece(struct parts *p, struct part **ret, bool *ret_failed) {
        size_t n;

        (void) pthread_mutex_lock(&p->lock);
        *ret = &p->ring[p->head % p->window];
        n = p->next > p->head ? (*ret)->filled : 0;
        *ret_failed = p->failed;
        (void) pthread_mutex_unlock(&p->lock);
        return n;
}

static void drop_first(struct parts *p) {
        (void) pthread_mutex_lock(&p->lock);
        p->head++;
        (void) pthread_cond_broadcast(&p->room);
        (void) pthread_mutex_unlock(&p->lock);
}

static int pass_on(struct parts *p, struct err *err) {
        const struct parts_args *args = p->args;
        struct pace pace = { 0 };
        struct part *part;
        size_t taken = 0;
        bool failed;
        int r = 0;

        while (p->head < p->n) { /* nobody else writes it */
                size_t have = first_piece(p, &part, &failed);
                uint64_t began;

                if (have > taken) {
                        r = args->take(part->data + taken, have - taken, args->userdata, err);
                        if (r < 0)
                                return r;
                        pace.bytes += have - taken;
                        taken = have;
                        if (taken == part->len) {
                                drop_first(p);
                                taken = 0;
                        }
                        continue;
                }
                if (failed) {
                        *err = p->err;
                        return 1;
                }
                began = clock_monotonic_ns();
                r = wait_for_news(p, err);
                if (r < 0)
                        return r;
                pace.waited_ns += clock_monotonic_ns() - began;
                if (!is_worth_it(&pace, args->bytes_per_s)) {
                        (void) err_set(err, ERR_UNAVAILABLE, "parts come no faster");
                        return 1;
                }
        }
        return 0;
}

static void stop(struct parts *p, const pthread_t *threads, unsigned n) {
        (void) pthread_mutex_lock(&p->lock);
        p->stop = true;
        (void) pthread_cond_broadcast(&p->room);
        (void) pthread_mutex_unlock(&p->lock);
        (void) eventfd_write(p->stop_fd, 1);
        for (unsigned i = 0; i < n; i++)
                (void) pthread_join(threads[i], NULL);
}

static int run(struct parts *p, struct err *err) {
        pthread_t threads[PARTS_PER_BLOB];
        unsigned n = 0;
        int r = 1;

        while (n < p->args->connections && thread_start(STACK_BYTES, worker, p, &threads[n]) == 0)
                n++;
        (void) err_set(err, ERR_UNAVAILABLE, "no thread can be started");
        if (n > 0)
                r = pass_on(p, err);
        stop(p, threads, n);
        return r;
}

int parts_get(const struct parts_args *args, struct err *err) {
        struct source *s = args->source;
        _cleanup_(fd_closep) int stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        _cleanup_(fd_closep) int news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct parts p = { .args = args,
                           .source = { .registries = s->registries,
                                       .endpoints = s->endpoints,
                                       .n_endpoints = s->n_endpoints,
                                       .repository = s->repository,
                                       .cancel_fd = stop_fd,
                                       .deadline_ns = s->deadline_ns },
                           .n = (args->size - args->from + PART_BYTES - 1) / PART_BYTES,
                           .window = 2 * args->connections,
                           .stop_fd = stop_fd,
                           .news_fd = news_fd };
        int r;

        if (stop_fd < 0 || news_fd < 0) {
                (void) err_set(err, ERR_UNAVAILABLE, "no more files can be opened");
                return 1;
        }
        memcpy(p.source.scopes, s->scopes, sizeof(p.source.scopes));
        (void) pthread_mutex_init(&p.lock, NULL);
        (void) pthread_cond_init(&p.room, NULL);
        for (unsigned i = 0; i < p.window; i++)
                p.ring[i].data = xrealloc(NULL, PART_BYTES, 1);
        s->used_parts = true;
        r = run(&p, err);
        if (r > 0) {
                /* What the server can't do it can't do for the other blobs either. */
                if (err->code != ERR_UNAVAILABLE)
                        s->one_stream = true;
                log_info("a blob comes over one connection again", "registry", args->endpoint->host, "error", err->msg,
                         NULL);
        }
        for (unsigned i = 0; i < p.window; i++)
                free(p.ring[i].data);
        (void) pthread_cond_destroy(&p.room);
        (void) pthread_mutex_destroy(&p.lock);
        return r;
}
