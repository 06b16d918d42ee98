/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "image/manifest.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "base/strbuf.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define CONFIG "{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" D1 "\",\"size\":10}"
#define LAYER(type, digest, size) "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define IMAGE(layers) "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" layers "]}"
#define ENTRY(digest, os, arch, variant)                                                                               \
        "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"" digest                           \
        "\",\"size\":5,\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\",\"variant\":\"" variant "\"}}"
#define INDEX(entries)                                                                                                 \
        "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[" entries "]}"

static struct err err;

static int parse(struct arena *a, const char *doc, const char *type, struct manifest *ret) {
        return manifest_parse(doc, strlen(doc), type, a, ret, &err);
}

static void test_images(struct arena *a) {
        struct manifest m;

        assert(parse(a, IMAGE(LAYER(GZIP, D2, "7")), "application/vnd.oci.image.manifest.v1+json; charset=utf-8", &m) ==
               0);
        assert(!m.is_index && m.n_layers == 1 && m.layers[0].size == 7 && str_eq(m.layers[0].digest, D2));
        assert(str_eq(m.config.digest, D1) && m.config.size == 10);
        assert(parse(a, IMAGE(""), "", &m) == 0 && m.n_layers == 0);
        assert(parse(a, IMAGE(LAYER(GZIP, "sha256:12", "7")), "", &m) == -ERR_INVALID);
        assert(parse(a, IMAGE(LAYER(GZIP, D2, "-1")), "", &m) == -ERR_INVALID);
        assert(parse(a, IMAGE(LAYER(GZIP, D2, "1.5")), "", &m) == -ERR_INVALID);
        assert(parse(a, IMAGE(LAYER("a/b", D2, "1")), "", &m) == -ERR_UNIMPLEMENTED);
        assert(parse(a, IMAGE(LAYER("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", D2, "1")), "", &m) ==
                       -ERR_UNIMPLEMENTED &&
               strstr(err.msg, "foreign"));
        assert(parse(a, "{\"schemaVersion\":2,\"layers\":[]}", "", &m) == -ERR_INVALID);
        assert(parse(a, "{\"schemaVersion\":1,\"name\":\"x\"}", "", &m) == -ERR_UNIMPLEMENTED &&
               strstr(err.msg, "schema 1"));
        assert(parse(a, "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", "", &m) == -ERR_INVALID);
        assert(parse(a, "{}", "text/html", &m) == -ERR_INVALID);
        assert(parse(a, "<html>", "text/html", &m) == -ERR_INVALID);
        assert(parse(a, "[]", "", &m) == -ERR_INVALID);
        assert(parse(a, "", "", &m) == -ERR_INVALID);
}

static void test_limits(struct arena *a) {
        struct strbuf b = STRBUF(8 << 20);
        struct manifest m;

        for (int i = 0; i < 5000; i++)
                strbuf_putc(&b, '[');
        assert(manifest_parse(b.data, b.len, "", a, &m, &err) == -ERR_EXHAUSTED);
        b.len = 0;
        strbuf_puts(&b, "{\"a\":[");
        for (int i = 0; i < 200000; i++)
                strbuf_puts(&b, "0,");
        strbuf_puts(&b, "0]}");
        assert(manifest_parse(b.data, b.len, "", a, &m, &err) == -ERR_EXHAUSTED);
        b.len = 0;
        strbuf_puts(&b, "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER(GZIP, D1, "1"));
        for (int i = 0; i < LAYERS_MAX; i++)
                strbuf_puts(&b, "," LAYER(GZIP, D1, "1"));
        strbuf_puts(&b, "]}");
        assert(manifest_parse(b.data, b.len, "", a, &m, &err) == -ERR_EXHAUSTED);
        strbuf_done(&b);
}

static const char *choose(struct arena *a, const char *doc, const struct platform *host) {
        const struct descriptor *d;
        struct manifest m;

        assert(parse(a, doc, "", &m) == 0 && m.is_index);
        return manifest_choose(&m, host, &d, &err) == 0 ? d->digest : NULL;
}

static void test_platforms(struct arena *a) {
        static const struct platform amd64 = { "linux", "amd64", "v3" }, arm64 = { "linux", "arm64", "v8" },
                                     armv7 = { "linux", "arm", "v7" };

        assert(str_eq(choose(a, INDEX(ENTRY(D1, "linux", "arm64", "v8") "," ENTRY(D2, "linux", "amd64", "")), &amd64),
                      D2));
        assert(str_eq(choose(a, INDEX(ENTRY(D1, "linux", "amd64", "") "," ENTRY(D2, "linux", "amd64", "")), &amd64),
                      D1));
        assert(str_eq(choose(a, INDEX(ENTRY(D1, "linux", "amd64", "") "," ENTRY(D2, "linux", "amd64", "v3")), &amd64),
                      D2));
        assert(str_eq(choose(a, INDEX(ENTRY(D1, "linux", "amd64", "v4") "," ENTRY(D2, "linux", "amd64", "v2")), &amd64),
                      D2));
        assert(str_eq(choose(a, INDEX(ENTRY(D1, "linux", "arm64", "")), &arm64), D1));
        assert(str_eq(choose(a, INDEX(ENTRY(D1, "linux", "arm", "v6") "," ENTRY(D2, "linux", "arm", "v7")), &armv7),
                      D2));
        assert(!choose(a, INDEX(ENTRY(D1, "unknown", "unknown", "") "," ENTRY(D2, "windows", "amd64", "")), &amd64));
        assert(strstr(err.msg, "windows/amd64") && !strstr(err.msg, "unknown"));
        assert(!choose(a, INDEX(""), &amd64));
        assert(platform_runs(platform_host(), platform_host()));
}

static void test_platform_names(struct arena *a) {
        static const char *const bad[] = {
                "", "linux", "linux/", "/amd64", "linux//v8", "linux/arm/v7/x", "linux/a b"
        };
        struct platform p;

        assert(platform_parse("linux/arm64", a, &p, &err) == 0);
        assert(str_eq(p.os, "linux") && str_eq(p.arch, "arm64") && str_eq(p.variant, ""));
        assert(platform_parse("linux/arm/v7", a, &p, &err) == 0);
        assert(str_eq(p.arch, "arm") && str_eq(p.variant, "v7"));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(platform_parse(bad[i], a, &p, &err) == -ERR_INVALID);
}

static void test_config(struct arena *a) {
        static const char doc[] =
                "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Entrypoint\":[\"/"
                "e\"],\"Cmd\":null,\"Env\":[\"A=1\",\"B=\"],"
                "\"User\":\"1000:1\",\"Volumes\":{\"/v\":{}},\"Labels\":{\"k\":\"v\"},\"StopSignal\":\"SIGINT\"},"
                "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\"]}}";
        struct image_config c;

        assert(config_parse(doc, strlen(doc), a, &c, &err) == 0);
        assert(str_eq(c.entrypoint[0], "/e") && !c.entrypoint[1] && !c.cmd[0] && str_eq(c.env[1], "B="));
        assert(str_eq(c.user, "1000:1") && str_eq(c.volumes[0], "/v") && str_eq(c.labels[0], "k") &&
               str_eq(c.labels[1], "v"));
        assert(str_eq(c.stop_signal, "SIGINT") && str_eq(c.working_dir, "") && c.n_diff_ids == 1);
#define BAD(text) assert(config_parse(text, strlen(text), a, &c, &err) < 0)
        BAD("{}");
        BAD("{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"x\"]}}");
        BAD("{\"rootfs\":{\"type\":\"other\",\"diff_ids\":[]}}");
        BAD("{\"config\":[],\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}");
        BAD("{\"config\":{\"Env\":[1]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}");
        BAD("{\"config\":{\"Env\":[\"a\\u0000b\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}");
        BAD("{\"config\":{\"Labels\":{\"a\":1}},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}");
}

int main(void) {
        struct arena *a = arena_new(32 << 20);

        test_images(a);
        test_limits(a);
        test_platforms(a);
        test_platform_names(a);
        test_config(a);
        arena_free(a);
        return 0;
}
