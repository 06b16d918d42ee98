/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/route.h"

#include "base/str.h"
#include "image/ref.h"
#include "pod/cri.h"

enum { ARENA_MAX = 1 << 20 };

/* Goes back to the last star only, so that no pattern costs more than its length times the text's. */
bool route_glob(const char *pattern, const char *text) {
        const char *star = NULL, *from = NULL;

        while (*text) {
                if (*pattern == '*') {
                        star = pattern++;
                        from = text;
                } else if (*pattern == '?' || *pattern == *text) {
                        pattern++;
                        text++;
                } else if (star) {
                        pattern = star + 1;
                        text = ++from;
                } else {
                        return false;
                }
        }
        while (*pattern == '*')
                pattern++;
        return *pattern == '\0';
}

bool route_matches_all(const struct route_rule *rule) {
        return !rule->pod_namespace && !rule->name && !rule->image && rule->n_labels == 0 && rule->n_annotations == 0;
}

static const char *text_mismatch(const char *what, const char *pattern, const char *text, struct arena *arena) {
        if (!pattern || (text && route_glob(pattern, text)))
                return NULL;
        return text ? arena_printf(arena, "%s is \"%.256s\", not %s", what, text, pattern)
                    : arena_printf(arena, "%s is not known", what);
}

static const char *image_mismatch(const char *pattern, const char *image, struct arena *arena) {
        struct ref ref;
        struct err err;

        if (!pattern)
                return NULL;
        if (str_empty(image))
                return "the pod's image is not known (annotation " ROUTE_IMAGE_ANNOTATION ")";
        if (ref_parse(image, arena, &ref, &err) < 0)
                return arena_strdup(arena, err.msg);
        return text_mismatch("image", pattern, ref_string(&ref, arena), arena);
}

static const char *entries_mismatch(const char *what, const struct route_entry *wanted, size_t n_wanted,
                                    const void *have, size_t n_have, struct arena *arena) {
        for (size_t i = 0; i < n_wanted; i++) {
                const char *value = cri_entries_get(have, n_have, wanted[i].key);

                if (!value)
                        return arena_printf(arena, "it has no %s %s", what, wanted[i].key);
                if (!route_glob(wanted[i].pattern, value))
                        return arena_printf(arena, "%s %s is \"%.256s\", not %s", what, wanted[i].key, value,
                                            wanted[i].pattern);
        }
        return NULL;
}

const char *route_mismatch(const struct route_rule *rule, const struct route_pod *pod, struct arena *arena) {
        const char *why = text_mismatch("namespace", rule->pod_namespace, pod->pod_namespace, arena);

        why = why ?: text_mismatch("name", rule->name, pod->name, arena);
        why = why ?: entries_mismatch("label", rule->labels, rule->n_labels, pod->labels, pod->n_labels, arena);
        why = why
                      ?: entries_mismatch("annotation", rule->annotations, rule->n_annotations, pod->annotations,
                                          pod->n_annotations, arena);
        return why ?: image_mismatch(rule->image, pod->image, arena);
}

const struct route_rule *route_find(const struct routes *routes, const struct route_pod *pod) {
        _cleanup_(arena_freep) struct arena *arena = routes->n > 0 ? arena_new(ARENA_MAX) : NULL;

        for (size_t i = 0; i < routes->n; i++)
                if (!route_mismatch(&routes->list[i], pod, arena))
                        return &routes->list[i];
        return NULL;
}
