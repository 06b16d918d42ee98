/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/attr.h"
#include "init/users.h"

static struct users_scan *scan_new(void) {
        return xnew(struct users_scan);
}

/* Pieces of every size must give the same. */
static void feed(struct users_scan *s, const char *text, size_t piece) {
        size_t len = strlen(text);

        for (size_t at = 0; at < len; at += piece)
                users_scan_feed(s, text + at, MIN_OF(piece, len - at));
        users_scan_end(s);
}

static void test_passwd(void) {
        static const char text[] =
                "#user:x:1:1::/:\n\n:x:1000:1::/bad:\nbroken:x:1000\nuser:x:-1:5::/:\nuser:x:4294967295:5::/:\n"
                "user:x:1000:1001:Gecos, with: colon:/home/user\nuser:x:2:2::/second:\nlast:x:1002:7::/last";
        static const struct {
                const char *name;
                uint32_t uid;
                bool found;
                uint32_t want_uid, gid;
                const char *home;
        } rows[] = {
                { "user", 0, true, 1000, 1001, " colon" },
                { NULL, 1000, true, 1000, 1001, " colon" },
                { "last", 0, true, 1002, 7, "/last" },
                { NULL, 1002, true, 1002, 7, "/last" },
                { "broken", 0, false, 0, 0, "" },
                { "#user", 0, false, 0, 0, "" },
                { "", 0, false, 0, 0, "" },
                { NULL, 4294967295u, false, 0, 0, "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                for (size_t piece = 1; piece < sizeof(text) + 1; piece += 3) {
                        struct users_scan *s = scan_new();
                        struct users_passwd p = { 0 };

                        s->passwd = &p;
                        s->name = rows[i].name;
                        s->uid = rows[i].uid;
                        feed(s, text, piece);
                        assert(p.found == rows[i].found && p.uid == rows[i].want_uid && p.gid == rows[i].gid);
                        assert(strcmp(p.home, rows[i].home) == 0);
                        free(s);
                }
}

static void test_long_lines(void) {
        char *text = xcalloc(1, 3 * USERS_MAX_LINE);
        struct users_passwd p = { 0 };
        struct users_scan *s = scan_new();

        memset(text, 'a', 2 * USERS_MAX_LINE);
        (void) memcpy(text, "user:x:1:1:", 11);
        (void) memcpy(text + 2 * USERS_MAX_LINE, ":/home:\nuser:x:5:6::/x:\n", 25);
        s->passwd = &p;
        s->name = "user";
        feed(s, text, 8192);
        assert(p.found && p.uid == 5); /* the endless line is skipped, the one after it isn't */
        free(s);
        free(text);
}

static void test_group(void) {
        static const char text[] = "a:x:10:user\nb:x:11:other,user,user\nc:x:12:users,use\nwanted:x:13:\nwanted:x:14:"
                                   "\nbad:x:x:user\nd:x:15:user";
        uint32_t gids[PLAN_MAX_GROUPS];

        for (size_t piece = 1; piece < sizeof(text) + 1; piece += 5) {
                struct users_scan *s = scan_new();

                s->group = "wanted";
                s->member = "user";
                s->gids = gids;
                feed(s, text, piece);
                assert(s->group_found && s->group_gid == 13 && s->n_gids == 3 && !s->too_many);
                assert(gids[0] == 10 && gids[1] == 11 && gids[2] == 15);
                free(s);
        }
}

static void test_too_many(void) {
        struct users_scan *s = scan_new();
        uint32_t gids[PLAN_MAX_GROUPS];

        s->member = "u";
        s->gids = gids;
        for (int i = 0; i <= PLAN_MAX_GROUPS; i++)
                users_scan_feed(s, "g:x:1:u\n", 8);
        users_scan_end(s);
        assert(s->too_many && s->n_gids == PLAN_MAX_GROUPS);
        free(s);
}

static void test_number(void) {
        uint32_t n;

        assert(users_number("0", &n) && n == 0 && users_number("4294967294", &n) && n == 4294967294u);
        assert(!users_number("4294967295", &n) && !users_number("99999999999999999999999", &n));
        assert(!users_number("", &n) && !users_number("+1", &n) && !users_number("1 ", &n) && !users_number("0x1", &n));
}

int main(void) {
        test_passwd();
        test_long_lines();
        test_group();
        test_too_many();
        test_number();
        return 0;
}
