/* SPDX-License-Identifier: Apache-2.0 */
/* The tags of a repository, page by page. Source: distribution-spec 1.1, "Listing tags". */
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "http/url.h"
#include "image/json.h"
#include "image/source.h"

enum { PAGE = 1000, PAGE_BYTES_MAX = 4 << 20, TAGS_MAX = 20000 };

struct tags {
        const char **list;
        size_t n, cap;
};

/* Takes what is a tag. */
static int take_page(const struct http_response *resp, struct arena *arena, struct tags *tags, struct err *err) {
        _cleanup_(json_unrefp) json_t *doc = NULL;
        const json_t *list, *tag;
        size_t i;
        int r = json_parse(strbuf_str(&resp->body), resp->body.len, "the registry's list of tags", &doc, err);

        if (r < 0)
                return r;
        list = json_object_get(doc, "tags");
        if (list && !json_is_array(list) && !json_is_null(list))
                return err_set(err, ERR_DATA_LOSS, "the registry's list of tags is none");
        json_array_foreach(list, i, tag) {
                const char *text = json_string_value(tag);

                if (!text || !tag_is_valid(text))
                        continue;
                if (tags->n == TAGS_MAX)
                        return err_set(err, ERR_EXHAUSTED, "there are more than %d", TAGS_MAX);
                xgrow(tags->list, tags->n, tags->cap);
                tags->list[tags->n++] = arena_strdup(arena, text);
        }
        return 0;
}

/* Where the next page is, as a header Link says; NULL: this was the last. Link's address may have a token of the
 * registry's instead of the last tag. One that a proxy has bent to somewhere else is made anew. */
static char *next_page(const struct http_response *resp, const char *base, const struct tags *tags,
                       struct arena *arena) {
        const char *link = http_response_header(resp, "link", NULL), *url = source_next_page(resp, base, arena);

        if (url)
                return xstrdup(url);
        if (!link || !strcasestr(link, "rel=\"next\""))
                return NULL;
        return xprintf("/tags/list?n=%d&last=%s", PAGE, url_encode(tags->list[tags->n - 1], arena));
}

/* @page: where it is, then where the next one is; NULL: there is none. */
static int list_page(struct source *s, char **page, struct arena *arena, struct tags *tags, struct err *err) {
        const struct endpoint *e = &s->endpoints[s->n_endpoints - 1];
        _cleanup_(arena_freep) struct arena *own = arena_new(512 * 1024);
        _cleanup_(freep) char *at = TAKE_PTR(*page);
        struct http_request req = { .max_body = PAGE_BYTES_MAX };
        struct http_response resp = { 0 };
        size_t before = tags->n;
        int r = source_request(s, e, at, &req, &resp, err);

        if (r == 0 && resp.status != 200)
                r = source_status_error(&resp, own, err);
        if (r == 0)
                r = take_page(&resp, arena, tags, err);
        /* One that brings the same again would go on for ever. */
        if (r == 0 && before && tags->n > before && str_eq(tags->list[tags->n - 1], tags->list[before - 1]))
                tags->n = before;
        if (r == 0 && tags->n > before)
                *page = next_page(&resp, *at == '/' ? source_url(s, e, at, own) : at, tags, own);
        http_response_done(&resp);
        return r;
}

int source_list_tags(struct source *s, struct arena *arena, const char ***ret, struct err *err) {
        struct tags tags = { 0 };
        char *page = xprintf("/tags/list?n=%d", PAGE);
        int r = 0;

        while (r == 0 && page)
                r = list_page(s, &page, arena, &tags, err);
        if (r == 0) {
                *ret = arena_array(arena, const char *, tags.n + 1);
                for (size_t i = 0; i < tags.n; i++)
                        (*ret)[i] = tags.list[i];
        }
        free(tags.list);
        return r;
}
