/* SPDX-License-Identifier: Apache-2.0 */
#include "image/rewrite.h"

#include <ctype.h>
#include <regex.h>
#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "image/ref.h"

enum { GROUPS = 10, TEXT_MAX = 1024 };

struct rewrites {
        struct {
                regex_t re;
                char *to;
        } list[REWRITES_MAX];
        size_t n;
};

struct rewrites *rewrites_free(struct rewrites *r) {
        if (!r)
                return NULL;
        for (size_t i = 0; i < r->n; i++) {
                regfree(&r->list[i].re);
                free(r->list[i].to);
        }
        free(r);
        return NULL;
}

int rewrites_new(const struct registry_rewrite *list, struct rewrites **ret, struct err *err) {
        struct rewrites *r;
        char why[200];
        int e;

        *ret = NULL;
        if (!list || !list->pattern)
                return 0;
        r = xnew(struct rewrites);
        for (; list->pattern; list++) {
                if (r->n == REWRITES_MAX || strlen(list->pattern) > TEXT_MAX || strlen(list->to) > TEXT_MAX) {
                        (void) rewrites_free(r);
                        return err_set(err, ERR_INVALID, "more than %d rewrites, or one longer than %d bytes",
                                       REWRITES_MAX, TEXT_MAX);
                }
                e = regcomp(&r->list[r->n].re, list->pattern, REG_EXTENDED);
                if (e != 0) {
                        (void) regerror(e, &r->list[r->n].re, why, sizeof(why));
                        (void) rewrites_free(r);
                        return err_set(err, ERR_INVALID, "\"%.200s\" is no regular expression: %s", list->pattern, why);
                }
                r->list[r->n++].to = xstrdup(list->to);
        }
        *ret = r;
        return 0;
}

/* "$1" and "${1}" are groups, "$$" is a dollar. */
static void replace(struct strbuf *out, const char *to, const char *path, const regmatch_t *groups) {
        for (; *to; to++) {
                bool braces = to[0] == '$' && to[1] == '{' && isdigit((unsigned char) to[2]) && to[3] == '}';
                char digit = braces ? to[2] : to[1];

                if (*to != '$' || (!braces && !isdigit((unsigned char) digit) && digit != '$')) {
                        strbuf_putc(out, *to);
                        continue;
                }
                if (digit == '$')
                        strbuf_putc(out, '$');
                else if (groups[digit - '0'].rm_so >= 0)
                        strbuf_append(out, path + groups[digit - '0'].rm_so,
                                      (size_t) (groups[digit - '0'].rm_eo - groups[digit - '0'].rm_so));
                to += braces ? 3 : 1;
        }
}

const char *rewrites_apply(const struct rewrites *r, const char *path, struct arena *arena) {
        regmatch_t groups[GROUPS];

        for (size_t i = 0; r && i < r->n; i++) {
                _cleanup_strbuf_ struct strbuf out = STRBUF(REF_NAME_MAX);

                if (regexec(&r->list[i].re, path, GROUPS, groups, 0) != 0)
                        continue;
                strbuf_append(&out, path, (size_t) groups[0].rm_so);
                replace(&out, r->list[i].to, path, groups);
                strbuf_puts(&out, path + groups[0].rm_eo);
                if (!out.overflow && path_is_valid(strbuf_str(&out)))
                        return arena_strdup(arena, strbuf_str(&out));
                log_warn("rewrite gives no repository; left as it is", "repository", path, "rewrite", r->list[i].to,
                         NULL);
                return path;
        }
        return path;
}
