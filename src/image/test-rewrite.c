/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/rewrite.h"

static const struct {
        const char *pattern, *to, *path, *want;
} cases[] = {
        { "^library/(.*)", "proxy/hub/$1", "library/nginx", "proxy/hub/nginx" },
        { "^library/(.*)", "proxy/hub/$1", "team/nginx", "team/nginx" },
        { "(.*)", "mirror/$0", "team/app", "mirror/team/app" },
        { "^([^/]+)/(.+)$", "${2}/${1}x", "a/b/c", "b/c/ax" },
        { "b", "x", "a/b/b", "a/x/b" }, /* the first match alone */
        { "^a", "$$", "a/b", "a/b" },   /* no repository */
        { "^a", "../x", "a/b", "a/b" },
        { "^a", "x y", "a/b", "a/b" },
        { "^a/(z)?", "q/$1", "a/b", "q/b" }, /* a group without a match is empty */
        { "^a", "UPPER", "a/b", "a/b" },
        { "", "x/", "a/b", "x/a/b" },
        { "^a/b$", "c$9", "a/b", "c" },
};

static void test_cases(void) {
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_freep) struct arena *arena = arena_new(4096);
                const struct registry_rewrite list[] = { { cases[i].pattern, cases[i].to }, { NULL, NULL } };
                struct rewrites *r;
                struct err err;

                assert(rewrites_new(list, &r, &err) == 0 && r);
                assert(str_eq(rewrites_apply(r, cases[i].path, arena), cases[i].want));
                r = rewrites_free(r);
        }
}

static void test_order_and_errors(void) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(4096);
        struct registry_rewrite two[] = { { "^a/", "1/" }, { "^a/b", "2/" }, { NULL, NULL } },
                                many[REWRITES_MAX + 2] = { 0 };
        struct rewrites *r;
        struct err err;

        assert(rewrites_new(two, &r, &err) == 0);
        assert(str_eq(rewrites_apply(r, "a/b", arena), "1/b"));
        r = rewrites_free(r);
        two[0].pattern = "(";
        assert(rewrites_new(two, &r, &err) == -ERR_INVALID && strstr(err.msg, "(") && !r);
        assert(rewrites_new(NULL, &r, &err) == 0 && !r);
        assert(str_eq(rewrites_apply(NULL, "a/b", arena), "a/b"));
        for (size_t i = 0; i <= REWRITES_MAX; i++)
                many[i] = (struct registry_rewrite){ "x", "y" };
        assert(rewrites_new(many, &r, &err) == -ERR_INVALID);
}

int main(void) {
        test_cases();
        test_order_and_errors();
        return 0;
}
