/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/str.h"
#include "base/strbuf.h"
#include "cli/format.h"

enum { SAY_EVERY_S = 5, SPEED_MIN_NS = 200000000, NAME_MIN = 12 };

/* Its size, which may change; false when it is no screen to draw on. */
static bool look_at_screen(struct progress *p) {
        struct winsize size = { 0 };

        if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row <= 4)
                return false;
        p->rows = size.ws_row;
        p->columns = size.ws_col ?: 80;
        return true;
}

void progress_init(struct progress *p, const char *reference) {
        memset(p, 0, sizeof(*p));
        p->reference = reference;
        p->live = isatty(STDERR_FILENO) && !str_eq(getenv("TERM"), "dumb") && look_at_screen(p);
        p->started_ns = clock_monotonic_ns();
        for (size_t i = 0; i < PROGRESS_LAYERS_MAX; i++)
                p->layer[i].state = -1;
}

static const char *state_name(Proxmoxlxcri__V1__LayerState s) {
        switch (s) {
        case PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DOWNLOADING:
                return "downloading";
        case PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DONE:
                return "done";
        case PROXMOXLXCRI__V1__LAYER_STATE__LAYER_EXISTS:
                return "already here";
        case PROXMOXLXCRI__V1__LAYER_STATE__LAYER_MOUNTED:
                return "mounted from another repository";
        case PROXMOXLXCRI__V1__LAYER_STATE__LAYER_UPLOADING:
                return "uploading";
        case PROXMOXLXCRI__V1__LAYER_STATE__LAYER_COPYING:
                return "copying";
        case PROXMOXLXCRI__V1__LAYER_STATE__LAYER_UNPACKING:
                return "unpacking";
        default:
                return "waiting";
        }
}

static bool is_moving(const Proxmoxlxcri__V1__LayerProgress *l) {
        return l->state == PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DOWNLOADING ||
               l->state == PROXMOXLXCRI__V1__LAYER_STATE__LAYER_UPLOADING ||
               l->state == PROXMOXLXCRI__V1__LAYER_STATE__LAYER_COPYING ||
               l->state == PROXMOXLXCRI__V1__LAYER_STATE__LAYER_UNPACKING;
}

/* It costs nothing. */
static bool is_had(const Proxmoxlxcri__V1__LayerProgress *l) {
        return l->state == PROXMOXLXCRI__V1__LAYER_STATE__LAYER_EXISTS ||
               l->state == PROXMOXLXCRI__V1__LAYER_STATE__LAYER_MOUNTED;
}

static bool is_through(const Proxmoxlxcri__V1__LayerProgress *l) {
        return is_had(l) || l->state == PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DONE;
}

static void measure(struct progress *p, const Proxmoxlxcri__V1__PullProgress *m, uint64_t now_ns) {
        for (size_t i = 0; i < MIN_OF(m->n_layers, (size_t) PROGRESS_LAYERS_MAX); i++) {
                uint64_t done = m->layers[i]->done_bytes, old = p->layer[i].done_bytes;
                double speed;

                if (p->layer[i].seen_ns == 0) {
                        p->layer[i].seen_ns = now_ns;
                        p->layer[i].done_bytes = done;
                }
                if (now_ns < p->layer[i].seen_ns + SPEED_MIN_NS || done < old)
                        continue;
                speed = (double) (done - old) * 1e9 / (double) (now_ns - p->layer[i].seen_ns);
                p->layer[i].bytes_per_s =
                        p->layer[i].bytes_per_s > 0 ? 0.7 * p->layer[i].bytes_per_s + 0.3 * speed : speed;
                p->layer[i].done_bytes = done;
                p->layer[i].seen_ns = now_ns;
        }
}

/* "12.3 MiB / 45.6 MiB  27%  5.2 MiB/s  6s left". */
static const char *amounts(struct arena *a, uint64_t done, uint64_t total, double speed) {
        const char *text = arena_printf(a, "%s / %s", format_bytes(a, done), total ? format_bytes(a, total) : "?");

        if (total)
                text = arena_printf(a, "%s  %3u%%", text, (unsigned) (MIN_OF(done, total) * 100 / total));
        if (speed >= 1)
                text = arena_printf(a, "%s  %s/s", text, format_bytes(a, (uint64_t) speed));
        if (speed >= 1 && total > done)
                text = arena_printf(a, "%s  %s left", text,
                                    format_seconds(a, (uint64_t) ((double) (total - done) / speed) + 1));
        return text;
}

static const char *layer_line(struct progress *p, struct arena *a, const Proxmoxlxcri__V1__LayerProgress *l, size_t i) {
        const char *id = format_id(a, l->digest);

        if (is_moving(l))
                return arena_printf(a, "  %-12s  %s", id,
                                    amounts(a, l->done_bytes, l->total_bytes,
                                            i < PROGRESS_LAYERS_MAX ? p->layer[i].bytes_per_s : 0));
        return arena_printf(a, "  %-12s  %s%s%s", id, state_name(l->state), l->total_bytes ? ", " : "",
                            l->total_bytes ? format_bytes(a, l->total_bytes) : "");
}

/* Of a reference that leaves no room for the amounts the end is shown. @columns 0: there is always room. */
static const char *total_line(struct progress *p, struct arena *a, const Proxmoxlxcri__V1__PullProgress *m,
                              size_t columns) {
        const char *text, *reference = p->reference;
        uint64_t done = 0, total = 0;
        size_t len = strlen(reference), room;
        double speed = 0;

        for (size_t i = 0; i < m->n_layers; i++) {
                if (is_had(m->layers[i]))
                        continue;
                total += m->layers[i]->total_bytes;
                done += m->layers[i]->state == PROXMOXLXCRI__V1__LAYER_STATE__LAYER_DONE ? m->layers[i]->total_bytes
                                                                                         : m->layers[i]->done_bytes;
                if (i < PROGRESS_LAYERS_MAX && is_moving(m->layers[i]))
                        speed += p->layer[i].bytes_per_s;
        }
        text = total ? amounts(a, done, total, speed) : p->sends ? "everything is there" : "every layer is here";
        room = columns > strlen(text) + NAME_MIN + 2 ? columns - strlen(text) - 2 : NAME_MIN;
        if (columns && len > room)
                reference = arena_printf(a, "...%s", reference + len - (room - 3));
        return arena_printf(a, "%.200s: %s", reference, text);
}

/* Over what was drawn before. Layers that are through make room first when the screen is short of it. */
static void draw(struct progress *p, struct arena *a, const Proxmoxlxcri__V1__PullProgress *m) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(1 << 20);
        size_t room, hidden, lines = 0;

        (void) look_at_screen(p);
        room = p->rows - 2;
        hidden = m->n_layers > room ? m->n_layers - room : 0;
        if (p->shown)
                strbuf_printf(&out, "\033[%zuA", p->shown);
        for (size_t i = 0; i < m->n_layers && lines < room; i++) {
                if (hidden > 0 && is_through(m->layers[i])) {
                        hidden--;
                        continue;
                }
                strbuf_printf(&out, "\r\033[2K%.*s\n", (int) p->columns - 1, layer_line(p, a, m->layers[i], i));
                lines++;
        }
        strbuf_printf(&out, "\r\033[2K%.*s\n\033[J", (int) p->columns - 1, total_line(p, a, m, p->columns - 1));
        p->shown = lines + 1;
        (void) fwrite(strbuf_str(&out), 1, out.len, stderr);
        (void) fflush(stderr);
}

static void say(struct progress *p, struct arena *a, const Proxmoxlxcri__V1__PullProgress *m, uint64_t now_ns) {
        for (size_t i = 0; i < MIN_OF(m->n_layers, (size_t) PROGRESS_LAYERS_MAX); i++) {
                const Proxmoxlxcri__V1__LayerProgress *l = m->layers[i];

                if (p->layer[i].state == (int) l->state || l->state == PROXMOXLXCRI__V1__LAYER_STATE__LAYER_WAITING)
                        continue;
                p->layer[i].state = (int) l->state;
                fprintf(stderr, "layer %s: %s, %s\n", format_id(a, l->digest), state_name(l->state),
                        format_bytes(a, l->total_bytes));
        }
        if (now_ns - MAX_OF(p->said_ns, p->started_ns) < SAY_EVERY_S * 1000000000ULL || m->n_layers == 0)
                return;
        p->said_ns = now_ns;
        fprintf(stderr, "%s\n", total_line(p, a, m, 0));
}

void progress_show(struct progress *p, const Proxmoxlxcri__V1__PullProgress *m, uint64_t now_ns) {
        _cleanup_(arena_freep) struct arena *a = arena_new(4 << 20);

        if (m->n_layers == 0 || m->n_layers > 4096)
                return;
        measure(p, m, now_ns);
        if (p->live)
                draw(p, a, m);
        else
                say(p, a, m, now_ns);
}
