/* SPDX-License-Identifier: Apache-2.0 */
/* test-config-edit - what changes, and that nothing else does. */
#undef NDEBUG
#include "image/config-edit.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "image/json-splice.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "sha256:3333333333333333333333333333333333333333333333333333333333333333"
#define NOW 1700000000000000005ull
#define WHEN "2023-11-14T22:13:20.000000005Z"
#define ENTRY(more) "{\"created\":\"" WHEN "\",\"created_by\":\"us\"" more "}"
#define EMPTY ENTRY(",\"empty_layer\":true")
#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\"]}"

static struct arena *arena;
static struct err err;

/* --- splices ------------------------------------------------------------------------------------------------------ */

static const char *splice(const char *doc, const char *a, const char *b, const char *value, bool append) {
        const char *path[] = { a, b, NULL };
        struct strbuf s = STRBUF(4096);
        const char *ret;

        strbuf_puts(&s, doc);
        (append ? json_splice_append : json_splice)(&s, path, value);
        assert(!s.overflow);
        ret = arena_strdup(arena, strbuf_str(&s));
        strbuf_done(&s);
        return ret;
}

static void test_splices(void) {
        static const struct {
                const char *doc, *a, *b, *value, *is;
                bool append;
        } rows[] = {
                { "{}", "a", NULL, "1", "{\"a\":1}", false },
                { " { } ", "a", NULL, "1", " { \"a\":1} ", false },
                { "{\"b\":2}", "a", NULL, "1", "{\"b\":2,\"a\":1}", false },
                { "{ \"a\" : [1, {\"a\":\"}\"}] , \"b\":2 }", "a", NULL, "\"x\"", "{ \"a\" : \"x\" , \"b\":2 }",
                  false },
                { "{ \"a\" : 1 , \"b\":2 }", "a", NULL, NULL, "{ \"b\":2 }", false },
                { "{\"a\":1, \"b\" : 1e400 }", "b", NULL, NULL, "{\"a\":1 }", false },
                { "{\"a\":1}", "a", NULL, NULL, "{}", false },
                { "{\"a\":1}", "b", NULL, NULL, "{\"a\":1}", false },
                { "{\"a\":1}", "b", "c", NULL, "{\"a\":1}", false },
                { "{\"a\":1}", "b", "c", "3", "{\"a\":1,\"b\":{\"c\":3}}", false },
                { "{\"a\":null}", "a", "c", "3", "{\"a\":{\"c\":3}}", false },
                { "{\"a\":7}", "a", "c", "3", "{\"a\":7}", false },
                { "{\"x\":{\"a\":0},\"a\":{\"x\":1}}", "a", "x", "2", "{\"x\":{\"a\":0},\"a\":{\"x\":2}}", false },
                { "{\"\\u0061\":1,\"b\\\"\":{\"a\":0}}", "a", NULL, "2", "{\"\\u0061\":2,\"b\\\"\":{\"a\":0}}", false },
                { "{\"a\":[]}", "a", NULL, "1", "{\"a\":[1]}", true },
                { "{\"a\":[ 1 , [2] ]}", "a", NULL, "3", "{\"a\":[ 1 , [2],3 ]}", true },
                { "{\"a\":[\"]\"]}", "a", NULL, "3", "{\"a\":[\"]\",3]}", true },
                { "{\"a\":null}", "a", NULL, "3", "{\"a\":[3]}", true },
                { "{}", "a", "b", "3", "{\"a\":{\"b\":[3]}}", true },
                { "{\"a\":1}", "a", NULL, "3", "{\"a\":1}", true },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const char *is = splice(rows[i].doc, rows[i].a, rows[i].b, rows[i].value, rows[i].append);

                if (!str_eq(is, rows[i].is))
                        (void) fprintf(stderr, "%s: %s, not %s\n", rows[i].doc, is, rows[i].is);
                assert(str_eq(is, rows[i].is));
        }
}

static void test_too_large(void) {
        struct strbuf s = STRBUF(16);

        strbuf_puts(&s, "{\"a\":1}");
        json_splice(&s, (const char *const[]){ "b", "c", NULL }, "\"0123456789\"");
        assert(s.overflow);
        json_splice_append(&s, (const char *const[]){ "b", NULL }, "1");
        strbuf_done(&s);
}

/* --- configs ------------------------------------------------------------------------------------------------------ */

static int edit(const char *doc, const struct image_change *changes, size_t n, const char **ret) {
        struct config_edit e = { .changes = changes, .n_changes = n, .now_ns = NOW, .created_by = "us" };
        size_t len = 0;
        int r = config_edit(doc, strlen(doc), &e, arena, ret, &len, &err);

        if (r == 0)
                *ret = arena_strndup(arena, *ret, len);
        return r;
}

#define CONFIG(inner) "{\"config\":{" inner "}," ROOTFS ",\"created\":\"old\",\"history\":[{\"x\":1.50}]}"
#define EDITED(inner)                                                                                                  \
        "{\"config\":{" inner "}," ROOTFS ",\"created\":\"" WHEN "\",\"history\":[{\"x\":1.50}," EMPTY "]}"

static void one(const char *inner, struct image_change change, const char *is) {
        const char *ret;

        assert(edit(arena_printf(arena, CONFIG("%s"), inner), &change, 1, &ret) == 0);
        is = arena_printf(arena, EDITED("%s"), is);
        if (!str_eq(ret, is))
                (void) fprintf(stderr, "%s \"%s\": %s, not %s\n", change.what, change.value, ret, is);
        assert(str_eq(ret, is));
}

#define SET(what, value) ((struct image_change){ what, value, false, NULL })
#define REMOVE(what, value) ((struct image_change){ what, value, true, NULL })
#define WORDS(what, ...) ((struct image_change){ what, "", false, (const char *const[]){ __VA_ARGS__, NULL } })

static void test_members(void) {
        one("\"Odd\": 18446744073709551615 ", SET("user", "1:2"), "\"Odd\": 18446744073709551615 ,\"User\":\"1:2\"");
        one("\"User\":\"a\"", SET("user", ""), "");
        one("\"WorkingDir\":\"/a\"", SET("workingdir", "b"), "\"WorkingDir\":\"/a/b\"");
        one("", SET("workingdir", "b"), "\"WorkingDir\":\"/b\"");
        one("\"WorkingDir\":\"/a\"", SET("workingdir", "/b"), "\"WorkingDir\":\"/b\"");
        one("", SET("stop-signal", "SIGINT"), "\"StopSignal\":\"SIGINT\"");
        one("\"Cmd\":[\"x\"]", WORDS("cmd", "a", "b c"), "\"Cmd\":[\"a\",\"b c\"]");
        one("\"Cmd\":[\"x\"],\"Entrypoint\":null", WORDS("entrypoint", "a"), "\"Cmd\":[\"x\"],\"Entrypoint\":[\"a\"]");
        one("\"Cmd\":[\"x\"]", REMOVE("cmd", ""), "");
        one("", SET("onbuild", "RUN x"), "\"OnBuild\":[\"RUN x\"]");
        one("\"Env\":[\"A=1\",\"AB=2\",\"C=\"]", SET("env", "A=3=4"), "\"Env\":[\"A=3=4\",\"AB=2\",\"C=\"]");
        one("\"Env\":[\"A=1\"]", SET("env", "B="), "\"Env\":[\"A=1\",\"B=\"]");
        one("\"Env\":[\"A=1\",\"AB=2\"]", REMOVE("env", "A"), "\"Env\":[\"AB=2\"]");
        one("\"Env\":[\"A=1\",\"AB=2\"]", REMOVE("env", ""), "");
        one("\"Labels\":{\"b\":\"1\",\"a\":\"2\"}", SET("label", "a=x=y"), "\"Labels\":{\"b\":\"1\",\"a\":\"x=y\"}");
        one("\"Labels\":{\"b\":\"1\",\"a\":\"2\"}", REMOVE("label", "b"), "\"Labels\":{\"a\":\"2\"}");
        one("\"Labels\":null", SET("label", "a=\xc3\xa9"), "\"Labels\":{\"a\":\"\xc3\xa9\"}");
        one("", SET("port", "80"), "\"ExposedPorts\":{\"80/tcp\":{}}");
        one("", SET("port", "80-90/udp"), "\"ExposedPorts\":{\"80-90/udp\":{}}");
        one("\"ExposedPorts\":{\"80\":{},\"80/udp\":{}}", REMOVE("port", "80"), "\"ExposedPorts\":{\"80/udp\":{}}");
        one("", SET("volume", "/a"), "\"Volumes\":{\"/a\":{}}");
        one("\"Volumes\":{\"/a\":{},\"/b\":{}}", REMOVE("volume", ""), "");
        one("", SET("annotation", "a=b"), "");
}

static void test_many(void) {
        const struct image_change changes[] = { SET("author", "A"),  SET("arch", "arm64"), SET("os", "linux"),
                                                SET("env", "A=1"),   SET("env", "B=2"),    SET("env", "A=3"),
                                                SET("label", "a=b"), REMOVE("label", "a") };
        const char *ret;

        assert(edit("{" ROOTFS "}", changes, ELEMENTSOF(changes), &ret) == 0);
        assert(str_eq(ret,
                      "{" ROOTFS ",\"author\":\"A\",\"architecture\":\"arm64\",\"os\":\"linux\",\"config\":{\"Env\":"
                      "[\"A=3\",\"B=2\"]},\"created\":\"" WHEN "\",\"history\":[{}," EMPTY "]}"));
}

static void test_layer(void) {
        const struct config_edit e = {
                .now_ns = NOW, .created_by = "us", .author = "A", .comment = "C", .diff_id = D2
        };
        const char doc[] = CONFIG("");
        const char *ret;
        size_t len;

        assert(config_edit(doc, strlen(doc), &e, arena, &ret, &len, &err) == 0);
        assert(str_eq(arena_strndup(arena, ret, len),
                      "{\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\",\"" D2
                      "\"]},\"created\":\"" WHEN "\",\"history\":[{\"x\":1.50}," ENTRY(
                              ",\"author\":\"A\",\"comment\":\"C\"") "],\"author\":\"A\"}"));
}

static void test_refusals(void) {
        static const struct {
                struct image_change change;
                const char *word;
        } rows[] = {
                { { "label", "a", false, NULL }, "KEY=VALUE" },      { { "label", "=a", false, NULL }, "KEY=VALUE" },
                { { "env", "A", false, NULL }, "KEY=VALUE" },        { { "env", "", false, NULL }, "empty" },
                { { "port", "http", false, NULL }, "a port" },       { { "port", "80/icmp", false, NULL }, "a port" },
                { { "port", "123456", false, NULL }, "a port" },     { { "volume", "a", false, NULL }, "absolute" },
                { { "label", "a=\xff", false, NULL }, "UTF-8" },     { { "nothing", "a", false, NULL }, "nothing" },
                { { "annotation", "a", false, NULL }, "KEY=VALUE" },
        };
        const char *ret;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert(edit(CONFIG(""), &rows[i].change, 1, &ret) == -ERR_INVALID && strstr(err.msg, rows[i].word));
        assert(edit("{\"a\":1,\"a\":2," ROOTFS "}", NULL, 0, &ret) == -ERR_INVALID);
}

/* --- manifests ---------------------------------------------------------------------------------------------------- */

#define MANIFEST(type, config, layer, digest, size, more)                                                              \
        "{\"schemaVersion\":2,\"mediaType\":\"" type "\",\"config\":{\"mediaType\":\"" config                          \
        "\",\"digest\":\"" digest "\",\"size\":" size "},\"layers\":[{\"mediaType\":\"" layer "\",\"digest\":\"" D1    \
        "\",\"size\":9}" more "}"
#define DOCKER(digest, size, more)                                                                                     \
        MANIFEST("application/vnd.docker.distribution.manifest.v2+json",                                               \
                 "application/vnd.docker.container.image.v1+json",                                                     \
                 "application/vnd.docker.image.rootfs.diff.tar.gzip", digest, size, more)
#define OCI(digest, size, more)                                                                                        \
        MANIFEST("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json",             \
                 "application/vnd.oci.image.layer.v1.tar+gzip", digest, size, more)
#define TOP(type) ",{\"mediaType\":\"" type "\",\"digest\":\"" D2 "\",\"size\":8}]"

static void test_manifests(void) {
        const struct descriptor top = { .media_type = "application/vnd.oci.image.layer.v1.tar+gzip",
                                        .digest = D2,
                                        .size = 8 };
        const struct image_change change = SET("annotation", "a=b"), other = SET("label", "a=b");
        const struct {
                const char *from, *to;
                const struct image_change *change;
                const struct descriptor *layer;
        } rows[] = {
                { OCI(D2, "7", "],\"x\":1"), OCI(D3, "77", "],\"x\":1"), &other, NULL },
                { DOCKER(D2, "7", "]"), DOCKER(D3, "77", "]"), &other, NULL },
                { DOCKER(D2, "7", "]"), OCI(D3, "77", "],\"annotations\":{\"a\":\"b\"}"), &change, NULL },
                { OCI(D2, "7", "]"), OCI(D3, "77", TOP("application/vnd.oci.image.layer.v1.tar+gzip")), &other, &top },
                { DOCKER(D2, "7", "]"), DOCKER(D3, "77", TOP("application/vnd.docker.image.rootfs.diff.tar.gzip")),
                  &other, &top },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const struct manifest_edit e = { .changes = rows[i].change,
                                                 .n_changes = 1,
                                                 .config_digest = D3,
                                                 .config_size = 77,
                                                 .layer = rows[i].layer };
                const char *ret;
                size_t len;

                assert(manifest_edit(rows[i].from, strlen(rows[i].from), &e, arena, &ret, &len, &err) == 0);
                ret = arena_strndup(arena, ret, len);
                if (!str_eq(ret, rows[i].to))
                        (void) fprintf(stderr, "%s\nnot %s\n", ret, rows[i].to);
                assert(str_eq(ret, rows[i].to));
        }
}

int main(void) {
        arena = arena_new(16 << 20);
        test_splices();
        test_too_large();
        test_members();
        test_many();
        test_layer();
        test_refusals();
        test_manifests();
        (void) arena_free(arena);
        return 0;
}
