/* SPDX-License-Identifier: Apache-2.0 */
/* test-config-values - values that are wrong are refused, with their path: a table of ours, and the properties of the
 * specification's schema, where its table is, each with a value of another type. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/attr.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "oci/config.h"

/* Puts @value in the place of what @path names ("a.b[0].c", "a{x}"); NULL takes that away. Missing objects and entries
 * are made. */
static void put(json_t *at, const char *path, json_t *value) {
        char key[128];
        size_t n = *path == '{' ? strcspn(path, "}") : strcspn(path, ".[{");
        const char *rest = path + n + (path[n] == '}');
        json_t *next;

        if (*path == '{') {
                path++;
                n--;
        }
        assert(n < sizeof(key));
        memcpy(key, path, n);
        key[n] = '\0';
        if (!*rest) {
                assert(value ? json_object_set_new(at, key, value) == 0 : json_object_del(at, key) == 0);
                return;
        }
        next = json_object_get(at, key);
        if (*rest == '[') {
                size_t i = (size_t) strtoul(rest + 1, NULL, 10);

                if (!next)
                        assert(json_object_set_new(at, key, next = json_array()) == 0);
                rest = strchr(rest, ']') + 1;
                if (!*rest && value) {
                        assert(i < json_array_size(next) ? json_array_set_new(next, i, value) == 0
                                                         : json_array_append_new(next, value) == 0);
                        return;
                }
                if (i >= json_array_size(next))
                        assert(json_array_append_new(next, json_object()) == 0);
                put(json_array_get(next, i), rest + 1, value);
                return;
        }
        if (!next)
                assert(json_object_set_new(at, key, next = json_object()) == 0);
        put(next, rest + (*rest == '.'), value);
}

static int parse(const json_t *j, struct err *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        _cleanup_(freep) char *text = json_dumps(j, JSON_COMPACT);
        struct oci_config c;

        err->msg[0] = '\0';
        return oci_config_parse(text, strlen(text), "/bundle", a, &c, err);
}

static json_t *from_text(const char *text) {
        _cleanup_(freep) char *copy = strdup(text);
        json_t *j;

        for (char *s = copy; *s; s++)
                *s = *s == '\'' ? '"' : *s;
        j = json_loads(copy, JSON_DECODE_ANY, NULL);
        if (!j)
                (void) fprintf(stderr, "not JSON: %s\n", copy);
        assert(j);
        return j;
}

/* What is put into test-config.json, and the error. No value: taken away. No error: it is fine. */
static const struct bad {
        const char *path, *value, *error;
} table[] = {
        { "ociVersion", NULL, "ociVersion: is missing" },
        { "ociVersion", "'2.0.0'", "ociVersion: \"2.0.0\" is not a version from 1.0.0 to 1.3.0" },
        { "root", NULL, "root: is missing" },
        { "root.path", NULL, "root.path: is missing" },
        { "root.path", "''", "root.path: must not be empty" },
        { "hostname", "'0123456789012345678901234567890123456789012345678901234567890123x'",
          "hostname: is longer than 64 bytes" },
        { "linux.namespaces[3]", "{'type':'cgroup'}",
          "linux.namespaces[6].type: malformed spec file: duplicated ns \"cgroup\"" },
        { "annotations{}", "'x'", "annotations: has an empty name" },
        { "annotations{a}", "1", "annotations[\"a\"]: must be a string" },

        { "process.args", "[]", "process.args: must not be empty" },
        { "process.args", NULL, "process.args: must not be empty" },
        { "process.cwd", NULL, "process.cwd: is missing" },
        { "process.cwd", "''", "process.cwd: must be an absolute path" },
        { "process.cwd", "'tmp'", "process.cwd: must be an absolute path" },
        { "process.env[1]", "'FOO'", "process.env[1]: \"FOO\" is not of the form NAME=VALUE" },
        { "process.env[1]", "'=x'", "process.env[1]: \"=x\" is not of the form NAME=VALUE" },
        { "process.env[1]", "null", "process.env[1]: must be a string" },
        { "process.user.uid", "-1", "process.user.uid: must be a whole number that is not negative" },
        { "process.user.uid", "1.5", "process.user.uid: must be a whole number that is not negative" },
        { "process.user.uid", "4294967296", "process.user.uid: is more than 4294967294" },
        { "process.user.uid", "1500", "process.user.uid: cannot set uid to unmapped user in user namespace" },
        { "process.user.uid", "2000", NULL },
        { "process.user.gid", "2000", "process.user.gid: cannot set gid to unmapped user in user namespace" },
        { "process.user.additionalGids[1]", "2000",
          "process.user.additionalGids: cannot set gid 2000, which is unmapped in the user namespace" },
        { "process.user.umask", "4096", "process.user.umask: is more than 4095" },
        { "process.consoleSize.width", "65536", "process.consoleSize.width: is more than 65535" },
        { "process.consoleSize.height", NULL, "process.consoleSize.height: is missing" },
        { "process.rlimits[1].type", "'RLIMIT_NOFILE'", "process.rlimits[1].type: is there twice" },
        { "process.rlimits[1].type", "'RLIMIT_FOO'", "process.rlimits[1].type: unknown value \"RLIMIT_FOO\"" },
        { "process.rlimits[0].soft", NULL, "process.rlimits[0].soft: is missing" },
        { "process.rlimits[1].soft", "'18446744073709551615'", "process.rlimits[1].soft: is more than the hard limit" },
        { "process.rlimits[0].hard", "-1", "process.rlimits[0].hard: must be a whole number that is not negative" },
        { "process.oomScoreAdj", "1001", "process.oomScoreAdj: is not between -1000 and 1000" },
        { "process.capabilities.ambient[0]", "'CAP_NOPE'", NULL },
        { "process.capabilities.ambient[0]", "5", "process.capabilities.ambient[0]: must be a string" },
        { "process.ioPriority.class", NULL, "process.ioPriority.class: is missing" },
        { "process.ioPriority.priority", "8", "process.ioPriority.priority: is not between 0 and 7" },
        { "process.scheduler.policy", NULL, "process.scheduler.policy: is missing" },
        { "process.scheduler.policy", "'SCHED_ISO'", "process.scheduler.policy: no kernel has SCHED_ISO" },
        { "process.scheduler.policy", "'SCHED_OTHER'",
          "process.scheduler: runtime, deadline and period can only be specified for SCHED_DEADLINE" },
        { "process.scheduler", "{'policy':'SCHED_RR'}",
          "process.scheduler.priority: must be from 1 to 99 for SCHED_FIFO and SCHED_RR" },
        { "process.scheduler", "{'policy':'SCHED_RR','priority':99}", NULL },
        { "process.scheduler", "{'policy':'SCHED_BATCH','priority':1}",
          "process.scheduler.priority: can only be specified for SCHED_FIFO and SCHED_RR" },
        { "process.scheduler.nice", "20", "process.scheduler.nice: is not between -20 and 19" },
        { "process.scheduler.runtime", "21", "process.scheduler: SCHED_DEADLINE needs runtime <= deadline <= period" },
        { "process.scheduler.flags[0]", "'X'", "process.scheduler.flags[0]: unknown value \"X\"" },
        { "process.execCPUAffinity.final", "'3-1'",
          "process.execCPUAffinity.final: \"3-1\" is not a list like \"0-3,7\" of numbers up to 8191" },
        { "process.execCPUAffinity.final", "'1,,2'", "process.execCPUAffinity.final: \"1,,2\" is not a list" },
        { "process.execCPUAffinity.final", "' '", NULL },

        { "mounts[3].destination", NULL, "mounts[3].destination: is missing" },
        { "mounts[2].destination", "'/proc/../proc/./sys'", "mounts[2].destination: \"/proc/sys\" cannot be mounted" },
        { "mounts[2].destination", "'/proc'", "mounts[2].destination: only a proc file system" },
        { "mounts[2].destination", "'/proc/uptime'", NULL },
        { "mounts[2].destination", "'/proc/..'", NULL },
        { "mounts[3].type", NULL, "mounts[3].type: is missing" },
        { "mounts[1].source", NULL, "mounts[1].source: a bind needs one" },
        { "mounts[2].options[0]", "'idmap'", "mounts[2]: owners can be mapped only of a bind" },
        { "mounts[2].type", "'ramfs'", "mounts[2].options: only a tmpfs can have tmpcopyup" },
        { "mounts[2].options[0]", "'copy-symlink'", "mounts[2].options: only a bind can have copy-symlink" },
        { "mounts[0].gidMappings", NULL, "mounts[0]: uidMappings and gidMappings go together" },
        { "mounts[0].uidMappings[0].size", "0", "mounts[0].uidMappings[0].size: must be at least 1" },
        { "mounts[0].options[2]", "'idmap=uids=0-1-2'", "mounts[0].options: \"idmap=uids=0-1-2\" is not like" },
        { "mounts[4].options[1]", "'idmap=uids=0-1-2;gids=@0-999-1'", NULL },
        { "mounts[4].options[1]", "'idmap=uids=0-1-2;gids=@0-999-2'", "mounts[4].options: \"idmap=" },
        { "mounts[4].options[1]", "'ridmap=uids=0-1-2#2-5-1;gids=0-9-2#'", "mounts[4].options: \"ridmap=" },
        { "mounts[4].options[1]", "'idmap=uids=0-1-2;gids=0-9-2;x'", "mounts[4].options: \"idmap=" },
        { "mounts[4].options[1]", "'idmap=uids=0-1-2;uids=0-9-2'", "mounts[4].options: \"idmap=" },

        { "hooks.prestart[0].timeout", "0", "hooks.prestart[0].timeout: is not between 1 and 2147483" },
        { "hooks.prestart[0].timeout", "-1", "hooks.prestart[0].timeout: is not between 1 and 2147483" },
        { "hooks.poststop[0].path", "'x'", "hooks.poststop[0].path: \"x\" is not absolute" },
        { "hooks.poststop[0].path", NULL, "hooks.poststop[0].path: is missing" },

        { "linux.namespaces[0].type", "'foo'", "linux.namespaces[0].type: namespace \"foo\" does not exist" },
        { "linux.namespaces[4].path", "'run/ipc'", "linux.namespaces[4].path: \"run/ipc\" is not absolute" },
        { "linux.namespaces[4].type", NULL, "linux.namespaces[4].type: is missing" },
        { "linux.uidMappings", NULL, "linux.uidMappings: a new user namespace needs them" },
        { "linux.uidMappings[1].containerID", "999", "linux.uidMappings[1]: overlaps entry 0" },
        { "linux.uidMappings[1].hostID", "100999", "linux.uidMappings[1]: overlaps entry 0" },
        { "linux.uidMappings[1].size", "4294965296", "linux.uidMappings[1].size: goes past the last id" },
        { "linux.devices[0].type", "'x'", "linux.devices[0].type: \"x\" is none of c, b, u, p" },
        { "linux.devices[0].major", NULL, "linux.devices[0].major: is missing" },
        { "linux.devices[0].path", "'dev/x'", "linux.devices[0].path: \"dev/x\" is not an absolute path" },
        { "linux.devices[0].minor", "1048576", "linux.devices[0].minor: is not between 0 and 1048575" },
        { "linux.devices[0].fileMode", "65536", "linux.devices[0].fileMode: is more than 65535" },
        { "linux.netDevices{eth7}", "{'name':'a/b'}",
          "linux.netDevices[\"eth7\"].name: \"a/b\" is not the name of a network interface" },
        { "linux.netDevices{0123456789abcdef}", "{}", "is not the name of a network interface" },
        { "linux.netDevices{eth9}", "{'name':'eth0'}", "linux.netDevices[\"eth9\"].name: \"eth0\" is there twice" },
        { "linux.netDevices{eth9}", "7", "linux.netDevices[\"eth9\"]: must be an object" },
        { "linux.rootfsPropagation", "'x'", "linux.rootfsPropagation: unknown value \"x\"" },
        { "linux.rootfsPropagation", "'ro'", "linux.rootfsPropagation: unknown value \"ro\"" },
        { "linux.maskedPaths[1]", "'sys'", "linux.maskedPaths[1]: \"sys\" is not absolute" },
        { "linux.sysctl{kernel.hostname}", "'x'",
          "linux.sysctl[\"kernel.hostname\"]: sysctl \"kernel.hostname\" is not allowed as it conflicts with the OCI "
          "\"hostname\" field" },
        { "linux.sysctl{vm.swappiness}", "'1'",
          "linux.sysctl[\"vm.swappiness\"]: sysctl \"vm.swappiness\" is not in a separate kernel namespace" },
        { "linux.sysctl{net/../vm/swappiness}", "'1'", "is not the name of a kernel parameter" },
        { "linux.sysctl{net..x}", "'1'", "is not the name of a kernel parameter" },
        { "linux.sysctl{fs.mqueue.msg_max}", "'1'", NULL },
        { "linux.timeOffsets.boottime.nanosecs", "1000000000",
          "linux.timeOffsets.boottime.nanosecs: is more than 999999999" },
        { "linux.namespaces[7]", "{'type':'time','path':'/run/t'}",
          "linux.timeOffsets: only a new time namespace can have them" },
        { "linux.personality.domain", NULL, "linux.personality.domain: is missing" },
        { "linux.personality.flags[0]", "'X'", "linux.personality.flags[0]: there are no flags of a personality" },
        { "linux.memoryPolicy.mode", NULL, "linux.memoryPolicy.mode: is missing" },
        { "linux.memoryPolicy.nodes", NULL, "linux.memoryPolicy.nodes: is missing" },
        { "linux.memoryPolicy.mode", "'MPOL_LOCAL'", "linux.memoryPolicy.nodes: must be empty for this mode" },
        { "linux.memoryPolicy.flags[1]", "'MPOL_F_RELATIVE_NODES'", "linux.memoryPolicy.flags: MPOL_F_RELATIVE" },
        { "linux.intelRdt.closID", "'../x'", "linux.intelRdt.closID: \"../x\" is not the name of a folder" },
        { "linux.intelRdt.closID", "'/'", NULL },
        { "linux.intelRdt.l3CacheSchema", "'L3:0=f\\nMB:0=1'", "linux.intelRdt.l3CacheSchema: must be one line" },
        { "linux.intelRdt.memBwSchema", "'L3:1'", "linux.intelRdt.memBwSchema: must begin with" },
        { "linux.seccomp.listenerPath", NULL, "linux.seccomp.listenerMetadata: needs listenerPath" },

        { "linux.resources.memory.limit", "-2", "linux.resources.memory.limit: is not between -1 and" },
        { "linux.resources.memory.limit", "'1'", "linux.resources.memory.limit: must be a whole number" },
        { "linux.resources.memory.swap", "5", "linux.resources.memory.swap: is less than the memory's limit" },
        { "linux.resources.memory.swappiness", "101", "linux.resources.memory.swappiness: is more than 100" },
        { "linux.resources.cpu.idle", "2", "linux.resources.cpu.idle: is not between 0 and 1" },
        { "linux.resources.cpu.quota", "-5", NULL },
        { "linux.resources.cpu.burst", "50001", "linux.resources.cpu.burst: is more than the quota" },
        { "linux.resources.cpu.cpus", "'a'", "linux.resources.cpu.cpus: \"a\" is not a list" },
        { "linux.resources.cpu.mems", "'1024'", "linux.resources.cpu.mems: \"1024\" is not a list" },
        { "linux.resources.blockIO.weight", "9", "linux.resources.blockIO.weight: is not between 10 and 1000" },
        { "linux.resources.blockIO.weight", "1001", "linux.resources.blockIO.weight: is more than 1000" },
        { "linux.resources.blockIO.weightDevice[0]", "{'major':1,'minor':2}",
          "linux.resources.blockIO.weightDevice[0].weight: is missing" },
        { "linux.resources.blockIO.throttleReadBpsDevice[0].rate", NULL,
          "linux.resources.blockIO.throttleReadBpsDevice[0].rate: is missing" },
        { "linux.resources.hugepageLimits[0].pageSize", "'2M'",
          "linux.resources.hugepageLimits[0].pageSize: \"2M\" is not a size like \"2MB\"" },
        { "linux.resources.hugepageLimits[0].pageSize", "'02MB'", "linux.resources.hugepageLimits[0].pageSize: " },
        { "linux.resources.devices[1].type", "'p'",
          "linux.resources.devices[1].type: invalid cgroup device type \"p\"" },
        { "linux.resources.devices[1].access", "'x'", "linux.resources.devices[1].access: \"x\" is not of r, w and m" },
        { "linux.resources.devices[1].access", "'rrww'", "linux.resources.devices[1].access: \"rrww\"" },
        { "linux.resources.devices[1].allow", NULL, "linux.resources.devices[1].allow: is missing" },
        { "linux.resources.devices[1].major", "-2", "linux.resources.devices[1].major: is not between -1 and" },
        { "linux.resources.unified{a/b}", "'1'", "unified resource \"a/b\" must be a file name (no slashes)" },
        { "linux.resources.unified{..}", "'1'", "unified resource \"..\" must be a file name (no slashes)" },
        { "linux.resources.network.priorities[0].name", "''",
          "linux.resources.network.priorities[0].name: is not the name of a network interface" },
        { "linux.resources.rdma{a b}", "{}", "linux.resources.rdma[\"a b\"]: is not the name of a device" },
        { "linux.resources.pids.limit", "'max'", "linux.resources.pids.limit: must be a whole number" },
};

static void test_table(const json_t *full) {
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(json_unrefp) json_t *j = json_deep_copy(full);
                int r;

                put(j, table[i].path, table[i].value ? from_text(table[i].value) : NULL);
                r = parse(j, &err);
                if (table[i].error ? r != -ERR_INVALID || !strstr(err.msg, table[i].error) : r < 0) {
                        (void) fprintf(stderr, "%s = %s: %d, %s\n", table[i].path, table[i].value, r, err.msg);
                        abort();
                }
        }
}

/* Namespaces that the container does not have are nobody's to change. */
static void test_without_namespaces(const json_t *full) {
        static const char *const
                namespaces[] = { "[{'type':'mount'},{'type':'user'},{'type':'time'},{'type':'network'},{'type':'ipc'}]",
                                 "[{'type':'mount'},{'type':'user'},{'type':'time'},{'type':'uts'},{'type':'ipc'}]",
                                 "[{'type':'mount'},{'type':'time'},{'type':'uts'},{'type':'ipc'}]",
                                 "[{'type':'mount'},{'type':'user'},{'type':'uts'},{'type':'ipc'},{'type':'network'}]",
                                 ("[{'type':'user'},{'type':'time'},{'type':'uts'},{'type':'network',"
                                  "'path':'/proc/self/ns/net'}]") },
                *const errors[] = { "unable to set hostname without a private UTS namespace",
                                    "unable to move network devices without a private NET namespace",
                                    "User namespace mappings specified, but USER namespace isn't enabled",
                                    "linux.timeOffsets: only a new time namespace can have them",
                                    "is not allowed in the hosts network namespace" };
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(namespaces); i++) {
                _cleanup_(json_unrefp) json_t *j = json_deep_copy(full);

                put(j, "linux.namespaces", from_text(namespaces[i]));
                if (i == 0)
                        put(j, "linux.sysctl{kernel.domainname}", NULL);
                if (i == 4)
                        put(j, "linux.netDevices", NULL);
                if (parse(j, &err) != -ERR_INVALID || !strstr(err.msg, errors[i])) {
                        (void) fprintf(stderr, "%s: %s\n", namespaces[i], err.msg);
                        abort();
                }
        }
}

/* "{x}" for maps and "[0]" for arrays, as put() wants them. */
static void to_path(const char *column, char *out, size_t size) {
        size_t n = 0;

        for (const char *s = column; *s && n + 4 < size; s++)
                if (*s == '{') {
                        n += (size_t) snprintf(out + n, size - n, "{x}");
                        s += strcspn(s, "}");
                        s += s[1] == '}'; /* a pattern with braces of its own */
                } else if (*s == '[') {
                        n += (size_t) snprintf(out + n, size - n, "[0]");
                        s++;
                } else {
                        out[n++] = *s;
                }
        out[n] = '\0';
}

/* The path as it is in errors. */
static void to_shown(const char *path, char *out, size_t size) {
        size_t n = 0;

        for (const char *s = path; *s && n + 4 < size; s++)
                if (*s == '{')
                        n += (size_t) snprintf(out + n, size - n, "[\"");
                else if (*s == '}')
                        n += (size_t) snprintf(out + n, size - n, "\"]");
                else
                        out[n++] = *s;
        out[n] = '\0';
}

static void check_row(const json_t *full, const char *column, const char *type, const char *constraint) {
        _cleanup_(json_unrefp) json_t *wrong = json_deep_copy(full), *words = NULL;
        const char *list = str_after(constraint, "enum=");
        char path[256], shown[256];
        struct err err;
        json_t *word;
        size_t i;

        to_path(column, path, sizeof(path));
        to_shown(path, shown, sizeof(shown));
        put(wrong, path, str_eq(type, "string") ? json_integer(7) : json_string("x"));
        if (parse(wrong, &err) != -ERR_INVALID || !str_after(err.msg, shown) || err.msg[strlen(shown)] != ':') {
                (void) fprintf(stderr, "%s of another type than %s: %s\n", path, type, err.msg);
                abort();
        }
        words = list ? json_loads(list, 0, NULL) : NULL;
        json_array_foreach(words, i, word) {
                _cleanup_(json_unrefp) json_t *good = json_deep_copy(full);

                put(good, path, json_incref(word));
                /* It may not go with the rest of the file, but it is known. */
                if (parse(good, &err) < 0 && (strstr(err.msg, "unknown value") || strstr(err.msg, "does not exist"))) {
                        (void) fprintf(stderr, "%s: %s\n", path, err.msg);
                        abort();
                }
        }
}

/* linux.seccomp is text here; security/ reads it. */
static bool is_ours(const char *path) {
        return !str_after(path, "linux.seccomp.") || str_after(path, "linux.seccomp.listener");
}

static void test_schema(const json_t *full, const char *file) {
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
                if (!str_eq(columns[0], "config.json") || !is_ours(columns[1]))
                        continue;
                check_row(full, columns[1], columns[2], columns[4]);
                n++;
        }
        (void) fclose(f);
        assert(n > 200);
}

int main(void) {
        _cleanup_(freep) char *text = NULL;
        _cleanup_(json_unrefp) json_t *full = NULL;
        struct err err;
        size_t len;

        assert(fs_read_file(AT_FDCWD, "src/oci/test-config.json", 1 << 20, &text, &len, &err) == 0);
        assert(json_load_bounded(text, len, 100000, "test", &full, &err) == 0 && parse(full, &err) == 0);
        test_table(full);
        test_without_namespaces(full);
        test_schema(full, "../shared/spec/oci-runtime.tsv");
        return 0;
}
