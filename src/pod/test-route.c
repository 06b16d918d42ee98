/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of routing: patterns as a table, rules against pods, the first match, reasons. */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "base/str.h"
#include "pod/cri.h"
#include "pod/route.h"

static void test_patterns(void) {
        static const struct {
                const char *pattern, *text;
                bool matches;
        } cases[] = {
                { "", "", true },
                { "", "a", false },
                { "*", "", true },
                { "*", "anything", true },
                { "?", "", false },
                { "?", "a", true },
                { "?", "ab", false },
                { "kube-system", "kube-system", true },
                { "kube-system", "kube-systems", false },
                { "kube-*", "kube-system", true },
                { "kube-*", "my-kube-system", false },
                { "*-system", "kube-system", true },
                { "a*b*c", "a1b2b3c", true },
                { "a*b*c", "a1b2b3", false },
                { "***", "x", true },
                { "*a?c*", "xxabcxx", true },
                { "[a]", "a", false }, /* no other signs: a label's value may have brackets */
                { "[a]", "[a]", true },
                { "\\*", "\\any", true },
        };
        char stars[2001], text[20001];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert(route_glob(cases[i].pattern, cases[i].text) == cases[i].matches);
        /* What takes others for ever. */
        for (size_t i = 0; i + 1 < sizeof(stars); i += 2)
                memcpy(stars + i, "*a", 2);
        stars[sizeof(stars) - 1] = '\0';
        memset(text, 'a', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        assert(route_glob(stars, text));
        text[sizeof(text) - 2] = 'b';
        assert(!route_glob(stars, text));
}

static void *entries(struct arena *a, const char *key, const char *value) {
        CRI(PodSandboxConfig__LabelsEntry) **list = arena_array(a, CRI(PodSandboxConfig__LabelsEntry) *, 1);

        list[0] = cri_make(a, PodSandboxConfig__LabelsEntry, pod_sandbox_config__labels_entry);
        list[0]->key = arena_strdup(a, key);
        list[0]->value = arena_strdup(a, value);
        return list;
}

static bool says(const struct route_rule *rule, const struct route_pod *pod, struct arena *a, const char *want) {
        const char *why = route_mismatch(rule, pod, a);

        return want ? why && strstr(why, want) : !why;
}

static void test_reasons(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        const struct route_pod pod = { .pod_namespace = "shop",
                                       .name = "web-1",
                                       .image = "nginx",
                                       .labels = entries(a, "tier", "front"),
                                       .n_labels = 1,
                                       .annotations = entries(a, "x.io/where", "ct"),
                                       .n_annotations = 1 };
        const struct route_pod bare = { .name = "web-1" };
        const struct route_entry front = { "tier", "fr*" }, back = { "tier", "back" }, other = { "team", "*" },
                                 ct = { "x.io/where", "ct" };
        const struct {
                struct route_rule rule;
                const char *why; /* NULL: matches */
        } cases[] = {
                { { 0 }, NULL },
                { { .pod_namespace = "sh*", .name = "web-?" }, NULL },
                { { .pod_namespace = "other" }, "namespace is \"shop\", not other" },
                { { .name = "web" }, "name is \"web-1\", not web" },
                { { .labels = &front, .n_labels = 1, .annotations = &ct, .n_annotations = 1 }, NULL },
                { { .labels = &back, .n_labels = 1 }, "label tier is \"front\", not back" },
                { { .labels = &other, .n_labels = 1 }, "it has no label team" },
                { { .annotations = &front, .n_annotations = 1 }, "it has no annotation tier" },
                { { .image = "docker.io/library/*" }, NULL },
                { { .image = "nginx" }, "image is \"docker.io/library/nginx:latest\", not nginx" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert(says(&cases[i].rule, &pod, a, cases[i].why));
        assert(says(&(struct route_rule){ .image = "*" }, &bare, a, "the pod's image is not known"));
        assert(says(&(struct route_rule){ .pod_namespace = "*" }, &bare, a, "namespace is not known"));
        assert(says(&(struct route_rule){ .image = "*" }, &(struct route_pod){ .image = "UPPER//" }, a, ""));
}

static void test_first_match(void) {
        const struct route_rule rules[] = { { .pod_namespace = "kube-*", .handler = "lxc" },
                                            { .pod_namespace = "kube-system", .handler = "never" },
                                            { .handler = "proxmox" } };
        const struct routes routes = { rules, ELEMENTSOF(rules) }, none = { 0 };

        assert(route_find(&routes, &(struct route_pod){ .pod_namespace = "kube-system" }) == &rules[0]);
        assert(route_find(&routes, &(struct route_pod){ .pod_namespace = "shop" }) == &rules[2]);
        assert(!route_find(&none, &(struct route_pod){ .pod_namespace = "shop" }));
        assert(!route_find(&(struct routes){ rules, 2 }, &(struct route_pod){ .pod_namespace = "shop" }));
        assert(route_matches_all(&rules[2]) && !route_matches_all(&rules[0]));
}

int main(void) {
        test_patterns();
        test_reasons();
        test_first_match();
        return 0;
}
