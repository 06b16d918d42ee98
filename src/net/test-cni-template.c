/* SPDX-License-Identifier: Apache-2.0 */
/* test-cni-template - ranges, templates as they are in use for containerd, and what is no template. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "net/cni-generate.h"
#include "net/net.h"

static void test_ranges(void) {
        static const char *const bad[] = {
                "10.1.0.0",
                "10.1.0.0/33",
                "10.1.0/24",
                "fd00::/129",
                " 10.1.0.0/16",
                "10.1.0.0/16,",
                "10.1.0.0/16,x",
                "10.1.0.0/-1",
                "10.1.0.0/",
                "/24",
                "10.1.0.0/16,10.2.0.0/16",
                "1.0.0.0/8,fd00::/64,fd01::/64",
                "10.1.0.0/1 6",
                ",",
                "10.1.0.0/16\n",
                "fd00:1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc/64",
        };
        struct cni_ranges r;
        struct err err;

        assert(cni_ranges_parse("10.1.2.3/20", &r, &err) == 0);
        assert(str_eq(r.cidrs[0], "10.1.0.0/20") && !r.cidrs[1] && str_eq(r.routes[0], "0.0.0.0/0") && !r.routes[1]);
        assert(cni_ranges_parse("FD00:0:0:1::5/64,10.255.255.255/9", &r, &err) == 0);
        assert(str_eq(r.cidrs[0], "fd00:0:0:1::/64") && str_eq(r.cidrs[1], "10.128.0.0/9") && !r.cidrs[2]);
        assert(str_eq(r.routes[0], "::/0") && str_eq(r.routes[1], "0.0.0.0/0"));
        assert(cni_ranges_parse("0.0.0.0/0", &r, &err) == 0 && cni_ranges_parse("1.2.3.4/32", &r, &err) == 0);
        assert(str_eq(r.cidrs[0], "1.2.3.4/32"));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(cni_ranges_parse(bad[i], &r, &err) == -ERR_INVALID && strstr(err.msg, "pod_cidr"));
}

static const struct {
        const char *text, *one, *two; /* for "10.1.2.0/24" and for "10.1.2.0/24,fd00::/64" */
} good[] = {
        { "", "", "" },
        { "a {b} }} c", "a {b} }} c", "a {b} }} c" },
        { "\"{{.PodCIDR}}\"", "\"10.1.2.0/24\"", "\"10.1.2.0/24\"" },
        { "{{ .PodCIDR }}{{$.PodCIDR}}", "10.1.2.0/2410.1.2.0/24", "10.1.2.0/2410.1.2.0/24" },
        /* The forms that containerd's documentation and Kubernetes' scripts have. */
        { "[{{range $i, $range := .PodCIDRRanges}}{{if $i}}, {{end}}[{\"subnet\": \"{{$range}}\"}]{{end}}]",
          "[[{\"subnet\": \"10.1.2.0/24\"}]]", "[[{\"subnet\": \"10.1.2.0/24\"}], [{\"subnet\": \"fd00::/64\"}]]" },
        { "[{{range $i, $route := .Routes}}{{if $i}}, {{end}}{\"dst\": \"{{$route}}\"}{{end}}]",
          "[{\"dst\": \"0.0.0.0/0\"}]", "[{\"dst\": \"0.0.0.0/0\"}, {\"dst\": \"::/0\"}]" },
        { "{{range .Routes}}<{{.}}>{{else}}none{{end}}", "<0.0.0.0/0>", "<0.0.0.0/0><::/0>" },
        { "{{range $x := .Routes}}{{$x}},{{$.PodCIDR}};{{end}}", "0.0.0.0/0,10.1.2.0/24;",
          "0.0.0.0/0,10.1.2.0/24;::/0,10.1.2.0/24;" },
        { "a \n {{- /* what: */ -}} \n b {{- .PodCIDR -}} c", "ab10.1.2.0/24c", "ab10.1.2.0/24c" },
        { "{{range $i, $a := .Routes}}{{range $j, $b := $.Routes}}{{$i}}{{$j}} {{end}}{{end}}", "00 ", "00 01 10 11 " },
        { "{{range $i, $a := .Routes}}{{if $i}}x{{else}}y{{end}}{{end}}", "y", "yx" },
        { "{{range $i, $a := .Routes}}{{if $i}}x{{else if $.Routes}}y{{else}}z{{end}}{{end}}", "y", "yx" },
        { "{{if .Routes}}{{if .PodCIDR}}1{{end}}{{else}}{{range .Routes}}2{{end}}{{end}}", "1", "1" },
};

static void test_good(void) {
        for (size_t i = 0; i < ELEMENTSOF(good) * 2; i++) {
                _cleanup_strbuf_ struct strbuf out = STRBUF(10000);
                const char *text = good[i / 2].text, *wanted = i % 2 ? good[i / 2].two : good[i / 2].one;
                struct cni_ranges r;
                struct err err = { 0 };

                assert(cni_ranges_parse(i % 2 ? "10.1.2.0/24,fd00::/64" : "10.1.2.0/24", &r, &err) == 0);
                if (cni_template_fill(text, strlen(text), &r, &out, &err) < 0 || !str_eq(strbuf_str(&out), wanted)) {
                        fprintf(stderr, "%s\ngives %s %s\nnot   %s\n", text, strbuf_str(&out), err.msg, wanted);
                        abort();
                }
        }
}

static const struct {
        const char *text, *error;
} bad[] = {
        { "\n\n{{.PodCIDR", "line 3: the action has no }}" },
        { "{{}}", "line 1: expected .Name" },
        { "{{.NoSuch}}", ".NoSuch is unknown; there are" },
        { "{{$x}}", "the variable $x is unknown" },
        { "{{.Routes}}", "a list can't be put" },
        { "{{range .PodCIDR}}{{end}}", "range needs a list" },
        { "{{range .Routes}}", "no {{end}}" },
        { "{{if .Routes}}{{else}}", "no {{end}}" },
        { "{{if .Routes}}{{else}}{{else}}{{end}}", "after {{else}} comes {{end}}" },
        { "{{end}}", "{{end}} without a block" },
        { "{{else}}", "{{else}} without a block" },
        { "{{printf \"%s\" .PodCIDR}}", "expected .Name or $name, found 'printf" },
        { "{{.PodCIDR | js}}", "'| js' is not understood" },
        { "{{with .PodCIDR}}{{end}}", "found 'with" },
        { "{{range .Routes}}{{.PodCIDR}}{{end}}", "inside a range use $.PodCIDR" },
        { "{{range $i, $x := .Routes}}{{end}}{{$x}}", "the variable $x is unknown" },
        { "{{if .PodCIDR}}{{else}}{{$nope}}{{end}}", "the variable $nope is unknown" },
        { "{{$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}", "too long" },
};

static void test_bad(void) {
        struct strbuf deep = STRBUF(100000);
        struct cni_ranges r;
        struct err err;

        assert(cni_ranges_parse("10.1.2.0/24,fd00::/64", &r, &err) == 0);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_strbuf_ struct strbuf out = STRBUF(10000);

                assert(cni_template_fill(bad[i].text, strlen(bad[i].text), &r, &out, &err) == -ERR_INVALID);
                if (!strstr(err.msg, bad[i].error)) {
                        fprintf(stderr, "%s\nsays %s\nnot  %s\n", bad[i].text, err.msg, bad[i].error);
                        abort();
                }
        }
        /* Nested ranges double the work each time: the depth and the work are bounded. */
        for (int n = 1; n <= 40; n++) {
                _cleanup_strbuf_ struct strbuf out = STRBUF(10000);
                int got;

                deep.len = 0;
                for (int i = 0; i < n; i++)
                        strbuf_puts(&deep, "{{range $.Routes}}");
                for (int i = 0; i < n; i++)
                        strbuf_puts(&deep, "{{end}}");
                got = cni_template_fill(deep.data, deep.len, &r, &out, &err);
                assert(n < 10 ? got == 0 : n < 16 || got == -ERR_INVALID);
        }
        strbuf_done(&deep);
}

static void test_generate(void) {
        static const char template[] =
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"ptp\",\"ipam\":"
                "{\"type\":\"host-local\",\"subnet\":\"{{.PodCIDR}}\"}}]}";
        char root[] = "/tmp/test-cni-template-XXXXXX", dir[100], file[200], source[200];
        _cleanup_(freep) char *text = NULL;
        _cleanup_(cni_freep) struct cni *c = NULL;
        struct err err;

        assert(mkdtemp(root));
        (void) snprintf(dir, sizeof(dir), "%s/net.d", root);
        (void) snprintf(source, sizeof(source), "%s/template", root);
        (void) snprintf(file, sizeof(file), "%s/%s", dir, CNI_GENERATED_FILE);
        assert(cni_new(dir, "/nowhere", &c, &err) == 0);
        assert(cni_set_pod_cidr(c, "10.0.0.0/8", &err) == 0); /* no template, nothing to do */
        cni_set_template(c, source);
        assert(cni_set_pod_cidr(c, "", &err) == 0 && cni_set_pod_cidr(c, "10/8", &err) == -ERR_INVALID);
        assert(cni_set_pod_cidr(c, "10.0.0.0/8", &err) == -ERR_PRECONDITION && strstr(err.msg, source));
        assert(fs_write_atomic(AT_FDCWD, source, "{{.PodCIDR}}", 12, 0600, false, &err) == 0);
        assert(cni_set_pod_cidr(c, "10.0.0.0/8", &err) == -ERR_PRECONDITION && strstr(err.msg, "no network conf"));
        assert(access(dir, F_OK) < 0);

        assert(fs_write_atomic(AT_FDCWD, source, template, strlen(template), 0600, false, &err) == 0);
        for (int i = 1; i <= 2; i++) {
                assert(cni_set_pod_cidr(c, i == 1 ? "10.1.0.0/16" : "10.2.0.0/16", &err) == 0);
                text = (free(text), NULL);
                assert(fs_read_file(AT_FDCWD, file, 10000, &text, NULL, &err) == 0);
                assert(strstr(text, i == 1 ? "\"10.1.0.0/16\"" : "\"10.2.0.0/16\""));
        }
        /* An add-on has come: its file counts, and ours is left as it is. */
        (void) snprintf(source, sizeof(source), "%s/20-other.conf", dir);
        assert(fs_write_atomic(AT_FDCWD, source, "x", 1, 0600, false, &err) == 0);
        assert(cni_set_pod_cidr(c, "10.3.0.0/16", &err) == 0);
        text = (free(text), NULL);
        assert(fs_read_file(AT_FDCWD, file, 10000, &text, NULL, &err) == 0 && strstr(text, "10.2.0.0/16"));
        assert(fs_remove_tree(AT_FDCWD, root, &err) == 0);
}

int main(void) {
        test_ranges();
        test_good();
        test_bad();
        test_generate();
        return 0;
}
