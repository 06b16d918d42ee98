/* SPDX-License-Identifier: Apache-2.0 */
/* devices - which devices a group may use: v1 by devices.allow and devices.deny, v2 by a BPF program (devices-bpf.c).
 * The rules mean the same on both: they apply in order, so the last that matches decides, for each of read, write and
 * mknod by itself; what no rule names is allowed, as in a new v1 group. Lists begin with "deny all", as a rule.
 * v1 knows all or nothing, and exceptions of it, so there the list is worked out first; what comes out otherwise than
 * it was meant (an exception of an exception) is refused, as by runc. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { LIST_TEXT_MAX = 65536 };

int devices_check(const struct spec_device_rule *rules, size_t n, struct err *err) {
        if (n > DEVICE_RULES_MAX)
                return err_set(err, ERR_INVALID, "devices: more than %d device rules", DEVICE_RULES_MAX);
        for (size_t i = 0; i < n; i++) {
                const struct spec_device_rule *d = &rules[i];

                if (d->type != 'a' && d->type != 'b' && d->type != 'c')
                        return err_set(err, ERR_INVALID, "devices: device rule %zu: the type must be a, b or c", i);
                if (d->major < -1 || d->major > UINT32_MAX || d->minor < -1 || d->minor > UINT32_MAX)
                        return err_set(err, ERR_INVALID, "devices: device rule %zu: major or minor number out of range",
                                       i);
                if (str_empty(d->access) || strlen(d->access) > 3 || strspn(d->access, "rwm") != strlen(d->access))
                        return err_set(err, ERR_INVALID, "devices: device rule %zu: access must be some of \"rwm\"", i);
        }
        return 0;
}

unsigned device_access(const char *access) {
        unsigned bits = 0;

        for (; *access; access++)
                bits |= *access == 'r'   ? DEVICE_READ
                        : *access == 'w' ? DEVICE_WRITE
                        : *access == 'm' ? DEVICE_MKNOD
                                         : 0;
        return bits;
}

bool device_rule_is_all(const struct spec_device_rule *d) {
        return d->type == 'a' && d->major < 0 && d->minor < 0 && device_access(d->access) == DEVICE_ALL;
}

/* What runc lets every container use: making nodes, null, zero, full, random, urandom, tty, ptmx, pts, tun. */
static const struct spec_device_rule defaults[] = {
        { true, 'c', -1, -1, "m" }, { true, 'b', -1, -1, "m" },    { true, 'c', 1, 3, "rwm" },
        { true, 'c', 1, 8, "rwm" }, { true, 'c', 1, 7, "rwm" },    { true, 'c', 5, 0, "rwm" },
        { true, 'c', 1, 5, "rwm" }, { true, 'c', 1, 9, "rwm" },    { true, 'c', 136, -1, "rwm" },
        { true, 'c', 5, 2, "rwm" }, { true, 'c', 10, 200, "rwm" },
};

_Static_assert(CGROUP_DEVICE_RULES_MORE == 1 + ELEMENTSOF(defaults), "one denies all");

void cgroup_device_rules(const struct spec_device_rule *rules, size_t n, struct spec_device_rule *all) {
        all[0] = (struct spec_device_rule){ false, 'a', -1, -1, "rwm" };
        if (n > 0)
                memcpy(all + 1, rules, n * sizeof(*rules));
        memcpy(all + 1 + n, defaults, sizeof(defaults));
}

/* --- what a list comes to ------------------------------------------------------------------------------------------
 */

static void except(struct device_state *s, const struct device_exception *e) {
        for (size_t i = 0; i < s->n; i++) {
                struct device_exception *o = &s->list[i];

                if (o->type == e->type && o->major == e->major && o->minor == e->minor) {
                        o->access |= e->access;
                        return;
                }
        }
        s->list[s->n++] = *e;
}

static bool number_covers(int64_t wide, int64_t narrow) {
        return wide < 0 || wide == narrow;
}

static bool numbers_meet(int64_t a, int64_t b) {
        return a < 0 || b < 0 || a == b;
}

/* Exceptions within @e lose its access; one that reaches beyond it would need a hole. */
static int except_not(struct device_state *s, const struct device_exception *e, struct err *err) {
        size_t n = 0;

        for (size_t i = 0; i < s->n; i++) {
                struct device_exception *o = &s->list[i];

                if (o->type == e->type && number_covers(e->major, o->major) && number_covers(e->minor, o->minor))
                        o->access &= (uint8_t) ~e->access;
                else if (o->type == e->type && numbers_meet(e->major, o->major) && numbers_meet(e->minor, o->minor) &&
                         o->access & e->access)
                        return err_set(err, ERR_PRECONDITION,
                                       "devices: a rule for %c %lld:%lld after one for %c %lld:%lld (-1: any): cgroup "
                                       "v1 cannot punch a hole in an existing wildcard rule",
                                       e->type, (long long) e->major, (long long) e->minor, o->type,
                                       (long long) o->major, (long long) o->minor);
                if (o->access)
                        s->list[n++] = *o;
        }
        s->n = n;
        return 0;
}

static int add_rule(struct device_state *s, const struct spec_device_rule *d, char type, struct err *err) {
        const struct device_exception e = { type, (uint8_t) device_access(d->access), d->major, d->minor };

        if (d->allow == s->allow)
                return except_not(s, &e, err);
        except(s, &e);
        return 0;
}

int device_state_add(struct device_state *s, const struct spec_device_rule *rules, size_t n, struct err *err) {
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                const struct spec_device_rule *d = &rules[i];

                if (device_rule_is_all(d)) {
                        s->allow = d->allow;
                        s->n = 0;
                } else if (d->type != 'a') {
                        r = add_rule(s, d, d->type, err);
                } else if ((r = add_rule(s, d, 'c', err)) == 0) {
                        r = add_rule(s, d, 'b', err);
                }
        }
        return r;
}

static bool parse_device_number(const char **at, char end, int64_t *ret) {
        char *stop;

        if (**at == '*') {
                *ret = -1;
                (*at)++;
        } else if (**at >= '0' && **at <= '9') {
                *ret = (int64_t) strtoul(*at, &stop, 10);
                *at = stop;
        } else {
                return false;
        }
        return *(*at)++ == end;
}

/* Lines "c 1:3 rwm". "a *:* rwm" alone: all is allowed; what is excepted then is not told. */
bool device_state_parse(const char *text, struct device_state *ret) {
        *ret = (struct device_state){ 0 };
        while (*text) {
                struct device_exception e = { .type = *text };
                char access[4] = "";
                size_t len;

                if ((e.type != 'a' && e.type != 'b' && e.type != 'c') || text[1] != ' ')
                        return false;
                text += 2;
                if (!parse_device_number(&text, ':', &e.major) || !parse_device_number(&text, ' ', &e.minor))
                        return false;
                len = strspn(text, "rwm");
                if (len == 0 || len > 3 || ret->n == ELEMENTSOF(ret->list))
                        return false;
                memcpy(access, text, len);
                e.access = (uint8_t) device_access(access);
                if (e.type == 'a')
                        ret->allow = true;
                else
                        except(ret, &e);
                text += len;
                text += *text == '\n';
        }
        return true;
}

/* --- v1 ---------------------------------------------------------------------------------------------------------- */

struct files {
        int fds[2]; /* devices.deny, devices.allow */
};

static int write_all_v1(const struct files *f, bool allow, struct err *err) {
        if (write(f->fds[allow], "a", 1) < 0)
                return err_sys(err, errno, "devices: %s all%s", allow ? "allow" : "deny",
                               errno == EPERM ? " (does the parent group allow it?)" : "");
        return 0;
}

static int write_v1(const struct files *f, bool allow, const struct device_exception *e, unsigned access,
                    struct err *err) {
        char major[16] = "*", minor[16] = "*", text[64];

        if (!access)
                return 0;
        if (e->major >= 0)
                (void) snprintf(major, sizeof(major), "%u", (unsigned) e->major);
        if (e->minor >= 0)
                (void) snprintf(minor, sizeof(minor), "%u", (unsigned) e->minor);
        (void) snprintf(text, sizeof(text), "%c %s:%s %s%s%s", e->type, major, minor, access & DEVICE_READ ? "r" : "",
                        access & DEVICE_WRITE ? "w" : "", access & DEVICE_MKNOD ? "m" : "");
        if (write(f->fds[allow], text, strlen(text)) < 0)
                return err_sys(err, errno, "devices: %s device \"%s\"%s", allow ? "allow" : "deny", text,
                               errno == EPERM ? " (does the parent group allow it?)" : "");
        return 0;
}

/* What of @e's access @s has in an exception of the same numbers. */
static unsigned access_in(const struct device_state *s, const struct device_exception *e) {
        for (size_t i = 0; i < s->n; i++)
                if (s->list[i].type == e->type && s->list[i].major == e->major && s->list[i].minor == e->minor)
                        return s->list[i].access & e->access;
        return 0;
}

/* Between two lists of what is allowed: first what is new, then what is no longer, so that what stays always works.
 * Else from scratch. */
static int change(const struct files *f, const struct device_state *from, const struct device_state *to,
                  struct err *err) {
        bool diff = from && !from->allow && !to->allow;
        int r = diff ? 0 : write_all_v1(f, to->allow, err);

        for (size_t i = 0; i < to->n && r == 0; i++)
                r = write_v1(f, !to->allow, &to->list[i],
                             to->list[i].access & ~(diff ? access_in(from, &to->list[i]) : 0U), err);
        for (size_t i = 0; diff && i < from->n && r == 0; i++)
                r = write_v1(f, false, &from->list[i], from->list[i].access & ~access_in(to, &from->list[i]), err);
        return r;
}

static bool read_list(int dirfd, struct device_state *ret) {
        _cleanup_(freep) char *text = malloc(LIST_TEXT_MAX);

        return text && file_read_at(dirfd, "devices.list", text, LIST_TEXT_MAX) >= 0 && device_state_parse(text, ret);
}

int devices_apply_v1(int dirfd, bool fresh, const struct spec_device_rule *rules, size_t n, struct err *err) {
        _cleanup_(fd_closep) int allow = openat(dirfd, "devices.allow", O_WRONLY | O_CLOEXEC);
        _cleanup_(fd_closep) int deny = openat(dirfd, "devices.deny", O_WRONLY | O_CLOEXEC);
        const struct files f = { { deny, allow } };
        _cleanup_(freep) struct device_state *old = xcalloc(3, sizeof(*old));
        struct device_state *to = old + 1, *now = old + 2;
        bool known;
        struct err ignored;
        int r;

        if (allow < 0 || deny < 0)
                return err_sys(err, errno, "devices: open devices.allow and devices.deny");
        to->allow = true;
        r = device_state_add(to, rules, n, err);
        if (r < 0)
                return r;
        known = !fresh && read_list(dirfd, old);
        r = change(&f, known ? old : NULL, to, err);
        if (r < 0 && known && !old->allow && read_list(dirfd, now) && change(&f, now, old, &ignored) < 0)
                return err_wrap(err, "half-way, and putting the old rules back failed");
        return r;
}
