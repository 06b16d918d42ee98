/* SPDX-License-Identifier: Apache-2.0 */
/* update - new limits, as options or as JSON; options are made JSON, so that they are checked as config.json's are. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "cli/oci/runtime.h"
#include "cli/oci/values.h"
#include "oci/config.h"
#include "oci/intel-rdt.h"

enum { RESOURCES_MAX = 1 << 20 };

enum kind { SIZE, NUMBER, TEXT };

static const struct resource {
        const char *option, *object, *key;
        enum kind kind;
} resources[] = {
        { "memory", "memory", "limit", SIZE },
        { "memory-reservation", "memory", "reservation", SIZE },
        { "memory-swap", "memory", "swap", SIZE },
        { "kernel-memory", "memory", "kernel", SIZE },
        { "kernel-memory-tcp", "memory", "kernelTCP", SIZE },
        { "cpu-period", "cpu", "period", NUMBER },
        { "cpu-quota", "cpu", "quota", NUMBER },
        { "cpu-burst", "cpu", "burst", NUMBER },
        { "cpu-share", "cpu", "shares", NUMBER },
        { "cpu-rt-period", "cpu", "realtimePeriod", NUMBER },
        { "cpu-rt-runtime", "cpu", "realtimeRuntime", NUMBER },
        { "cpu-idle", "cpu", "idle", NUMBER },
        { "cpuset-cpus", "cpu", "cpus", TEXT },
        { "cpuset-mems", "cpu", "mems", TEXT },
        { "pids-limit", "pids", "limit", NUMBER },
        { "blkio-weight", "blockIO", "weight", NUMBER },
};

static json_t *parse_value(const struct resource *r, const char *value) {
        int64_t n;

        if (r->kind == TEXT)
                return json_string(value);
        if (r->kind == SIZE ? size_parse(value, &n) : number_parse(value, INT64_MIN, INT64_MAX, &n))
                return json_integer(n);
        return NULL;
}

static int add_option(json_t *all, const struct resource *r, const char *value, struct err *err) {
        json_t *object = json_object_get(all, r->object), *v = parse_value(r, value);

        if (!v)
                return err_set(err, ERR_INVALID, "invalid value for %s: \"%.64s\"", r->option, value);
        if (!object) {
                object = json_object();
                (void) json_object_set_new(all, r->object, object);
        }
        (void) json_object_set_new(object, r->key, v);
        return 0;
}

static int from_options(const struct cli_args *args, char **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *all = json_object();
        const char *value;

        for (size_t i = 0; i < ELEMENTSOF(resources); i++)
                if ((value = args_value(args, resources[i].option)) && add_option(all, &resources[i], value, err) < 0)
                        return -(int) err->code;
        *ret = json_dumps(all, 0);
        return *ret ? 0 : err_set(err, ERR_EXHAUSTED, "no memory");
}

static int read_stdin(char **ret, struct err *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(RESOURCES_MAX);
        char part[4096];
        ssize_t n;

        while ((n = read(STDIN_FILENO, part, sizeof(part))) > 0 || (n < 0 && errno == EINTR))
                if (n > 0)
                        strbuf_append(&b, part, (size_t) n);
        if (n < 0)
                return err_sys(err, errno, "read resources from standard input");
        if (b.overflow)
                return err_set(err, ERR_EXHAUSTED, "resources on standard input: more than %d bytes", RESOURCES_MAX);
        *ret = strbuf_take(&b);
        return 0;
}

/* One line each, as of config.json. */
static int read_rdt(const struct cli_args *args, struct oci_intel_rdt *ret, struct err *err) {
        static const char *const none[] = { NULL };

        *ret = (struct oci_intel_rdt){ .l3_cache = args_value(args, "l3-cache-schema"),
                                       .bandwidth = args_value(args, "mem-bw-schema"),
                                       .schemata = none };
        if (ret->l3_cache && strchr(ret->l3_cache, '\n'))
                return err_set(err, ERR_INVALID, "invalid value for l3-cache-schema: it must be one line");
        if (ret->bandwidth && (strchr(ret->bandwidth, '\n') || !str_after(ret->bandwidth, "MB:")))
                return err_set(err, ERR_INVALID,
                               "invalid value for mem-bw-schema: it must be one line that begins with MB:");
        return 0;
}

int oci_do_update(struct runtime *rt, const struct cli_args *args, struct err *err) {
        const char *file = args_value(args, "resources");
        _cleanup_(freep) char *text = NULL;
        struct spec_resources r = { 0 };
        struct oci_intel_rdt rdt;
        int res = read_rdt(args, &rdt, err);

        if (res < 0)
                return res;
        if (!file)
                res = from_options(args, &text, err);
        else if (str_eq(file, "-"))
                res = read_stdin(&text, err);
        else
                res = fs_read_file(AT_FDCWD, file, RESOURCES_MAX, &text, NULL, err);
        if (res == 0 && text)
                res = oci_resources_parse(text, strlen(text), rt->arena, &r, err);
        if (res < 0)
                return res;
        /* No limit of memory with one of both together can't be; as runc. */
        if (r.memory_limit_bytes == -1 && r.memory_swap_limit_bytes == 0)
                r.memory_swap_limit_bytes = -1;
        return oci_update(&rt->oci, args->rest[0], &r, rdt.l3_cache || rdt.bandwidth ? &rdt : NULL, err);
}
