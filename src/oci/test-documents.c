/* SPDX-License-Identifier: Apache-2.0 */
/* test-documents - what we write for others: the bundle to begin with, which we take ourselves, and the features, with
 * all that the specification's schema has, where its table is. */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include "base/attr.h"
#include "base/json.h"
#include "base/str.h"
#include "oci/config.h"
#include "oci/default-bundle.h"
#include "oci/features.h"

static void test_default_bundle(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        const char *text = oci_default_bundle(false, 0, 0, a);
        struct oci_config c;
        struct err err;

        assert(text[strlen(text) - 1] == '\n');
        assert(oci_config_parse(text, strlen(text), "/b", a, &c, &err) == 0 && !*c.warnings);
        assert(str_eq(c.root_path, "/b/rootfs") && c.spec.readonly_rootfs && c.spec.process.terminal);
        assert(str_eq(c.spec.process.args[0], "sh") && c.spec.process.no_new_privs && c.spec.n_mounts == 7);
        assert(c.spec.ns[SPEC_NS_NET].create && !c.spec.ns[SPEC_NS_USER].create && !c.spec.resources.devices[0].allow);
        assert(strstr(c.spec.mounts[2].data, "gid=5") && c.spec.masked_paths[9] && c.spec.readonly_paths[4]);
}

static void test_rootless_bundle(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        const char *text = oci_default_bundle(true, 4000000000, 1001, a);
        struct oci_config c;
        struct err err;

        assert(oci_config_parse(text, strlen(text), "/b", a, &c, &err) == 0 && !*c.warnings);
        assert(!c.spec.ns[SPEC_NS_NET].create && c.spec.ns[SPEC_NS_USER].create && c.spec.n_mounts == 7);
        assert(c.spec.user_ids.uids[0].outside == 4000000000 && c.spec.user_ids.gids[0].outside == 1001);
        assert(c.spec.user_ids.uids[0].length == 1 && !strstr(c.spec.mounts[2].data, "gid="));
        assert(c.spec.mounts[5].recursive && str_eq(c.spec.mounts[5].source, "/sys"));
        assert(c.spec.mounts[5].flags == (MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY));
}

/* What "a.b[]" or "a{x}" names; the first of an array or a map. */
static const json_t *find(const json_t *at, const char *path) {
        while (at && *path) {
                size_t n = strcspn(path, ".[{");
                char key[64];

                assert(n < sizeof(key));
                memcpy(key, path, n);
                key[n] = '\0';
                at = json_object_get(at, key);
                path += n;
                if (*path == '[') {
                        at = json_array_get(at, 0);
                        path += 2;
                } else if (*path == '{') {
                        at = json_object_iter_value(json_object_iter((json_t *) at));
                        path += strlen(path);
                }
                path += *path == '.';
        }
        return at;
}

static bool is_of_type(const json_t *j, const char *type) {
        return str_eq(type, "string")    ? json_is_string(j)
               : str_eq(type, "array")   ? json_is_array(j)
               : str_eq(type, "object")  ? json_is_object(j)
               : str_eq(type, "boolean") ? json_is_boolean(j)
                                         : false;
}

/* All elements of the list are of what the schema allows. */
static void check_enum(const json_t *features, const char *path, const char *constraint) {
        const char *text = str_after(constraint, "enum=");
        _cleanup_(json_unrefp) json_t *allowed = text ? json_loads(text, 0, NULL) : NULL;
        char list[128];
        const json_t *v, *word;
        size_t i, k;

        if (!allowed)
                return;
        (void) snprintf(list, sizeof(list), "%.*s", (int) strcspn(path, "["), path);
        json_array_foreach(find(features, list), i, v) {
                bool found = false;

                json_array_foreach(allowed, k, word) found = found || json_equal(v, word);
                assert(found);
        }
}

static void test_schema(const json_t *features, const char *file) {
        FILE *f = fopen(file, "re");
        char line[4096];
        size_t n = 0;

        if (!f) {
                (void) printf("no %s: the comparison with the specification's schema is skipped\n", file);
                return;
        }
        while (fgets(line, sizeof(line), f)) {
                const char *columns[5];
                char *rest = line;

                line[strcspn(line, "\n")] = '\0';
                for (size_t i = 0; i < ELEMENTSOF(columns); i++)
                        columns[i] = strsep(&rest, "\t") ?: "";
                if (!str_eq(columns[0], "features.json"))
                        continue;
                if (!is_of_type(find(features, columns[1]), columns[2])) {
                        (void) fprintf(stderr, "%s is missing, or not %s\n", columns[1], columns[2]);
                        abort();
                }
                check_enum(features, columns[1], columns[4]);
                n++;
        }
        (void) fclose(f);
        assert(n > 40);
}

static bool has(const json_t *list, const char *word) {
        const json_t *v;
        size_t i;

        json_array_foreach(list, i, v) {
                if (str_eq(json_string_value(v), word))
                        return true;
        }
        return false;
}

static void test_features(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        const char *text = oci_features(a);
        _cleanup_(json_unrefp) json_t *j = NULL;
        const json_t *seccomp;
        struct err err;

        assert(json_load_bounded(text, strlen(text), 10000, "features", &j, &err) == 0);
        assert(str_eq(json_string_value(find(j, "ociVersionMax")), OCI_VERSION));
        assert(json_array_size(find(j, "hooks")) == 6 && json_array_size(find(j, "linux.namespaces")) == 8);
        assert(has(find(j, "mountOptions"), "ridmap") && has(find(j, "linux.capabilities"), "CAP_BPF"));
        seccomp = find(j, "linux.seccomp");
        assert(has(find(seccomp, "actions"), "SCMP_ACT_KILL_PROCESS") && has(find(seccomp, "archs"), "SCMP_ARCH_X32"));
        /* The kernels that we run on have these. */
        assert(has(find(seccomp, "supportedFlags"), "SECCOMP_FILTER_FLAG_LOG"));
        assert(has(find(seccomp, "knownFlags"), "SECCOMP_FILTER_FLAG_SPEC_ALLOW"));
        test_schema(j, "../shared/spec/oci-runtime.tsv");
}

int main(void) {
        test_default_bundle();
        test_rootless_bundle();
        test_features();
        return 0;
}
