/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "http/challenge.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

static int parse(struct arena *a, const char *value, struct challenges *ret) {
        struct err err;

        *ret = (struct challenges){ 0 };
        return challenge_parse(value, a, ret, &err);
}

static void test_bearer(struct arena *a) {
        struct challenges c;
        const struct challenge *b;

        assert(parse(a,
                     "Bearer realm=\"https://auth.example/token?x=1,2\",service=\"reg "
                     "\\\"q\\\"\",scope=\"repository:a/b:pull,push\"",
                     &c) == 0);
        assert(c.n == 1);
        b = challenge_find(&c, "bearer");
        assert(b && b->n_params == 3);
        assert(str_eq(challenge_param(b, "realm"), "https://auth.example/token?x=1,2"));
        assert(str_eq(challenge_param(b, "service"), "reg \"q\""));
        assert(str_eq(challenge_param(b, "scope"), "repository:a/b:pull,push"));
        assert(!challenge_param(b, "error"));
        assert(!challenge_find(&c, "basic"));
}

static void test_forms(struct arena *a) {
        struct challenges c;

        assert(parse(a, "Basic realm=\"a\", Bearer realm = https://t/x , Service=s", &c) == 0 && c.n == 2);
        assert(str_eq(challenge_param(challenge_find(&c, "bearer"), "realm"), "https://t/x"));
        assert(str_eq(challenge_param(challenge_find(&c, "bearer"), "service"), "s"));
        assert(parse(a, "Negotiate", &c) == 0 && c.n == 1 && c.list[0].n_params == 0);
        assert(parse(a, "Negotiate abc==, Basic realm=\"x\"", &c) == 0 && c.n == 2);
        assert(str_eq(challenge_param(&c.list[1], "realm"), "x"));
        assert(parse(a, "Negotiate,Basic", &c) == 0 && c.n == 2);
        assert(parse(a, ",, BASIC realm=\"\",,", &c) == 0 && c.n == 1 &&
               str_eq(challenge_param(&c.list[0], "realm"), ""));
        assert(parse(a, "", &c) == 0 && c.n == 0);
}

static void test_bad(struct arena *a) {
        static char big[CHALLENGE_BYTES_MAX + 2];
        char many[400] = "x ";
        struct challenges c;

        assert(parse(a, "Bearer realm=\"abc", &c) < 0);
        assert(parse(a, "Bearer realm=\"abc\\", &c) < 0);
        assert(parse(a, "\"Bearer\"", &c) < 0);
        assert(parse(a, "Bearer\x01realm=a", &c) < 0);
        assert(parse(a, "=", &c) < 0);
        memset(big, 'a', sizeof(big) - 1);
        assert(parse(a, big, &c) == -ERR_EXHAUSTED);
        for (int i = 0; i < CHALLENGE_PARAMS_MAX + 1; i++)
                memcpy(many + strlen(many), "p=1,", sizeof("p=1,"));
        assert(parse(a, many, &c) == -ERR_EXHAUSTED);
        assert(parse(a, "a,b,c,d,e,f,g,h", &c) == 0);
        assert(parse(a, "a,b,c,d,e,f,g,h,i", &c) == -ERR_EXHAUSTED && c.n == CHALLENGE_MAX);
}

int main(void) {
        struct arena *a = arena_new(1 << 20);

        test_bearer(a);
        test_forms(a);
        test_bad(a);
        arena_free(a);
        return 0;
}
