/* SPDX-License-Identifier: Apache-2.0 */
/* signal - ending and stopping containers: kill, stop, delete, pause, resume. */
#include <signal.h>
#include "base/str.h"
#include "cli/oci/runtime.h"
#include "cli/oci/values.h"

enum { STOP_SECONDS = 10, STOP_SECONDS_MAX = 86400 };

static int signal_of(const char *text, int *ret, struct err *err) {
        *ret = signal_parse(text);
        return *ret == 0 ? err_set(err, ERR_INVALID, "unknown signal \"%.64s\"", text) : 0;
}

int oci_do_kill(struct runtime *rt, const struct cli_args *args, struct err *err) {
        const char *const *ids;
        int sig, r = runtime_ids(rt, args, 1, &ids, err);

        if (r == 0)
                r = signal_of(args->n_rest > 1 ? args->rest[1] : "TERM", &sig, err);
        for (; r == 0 && *ids; ids++)
                r = oci_kill(&rt->oci, *ids, sig, args_has(args, "all"), err);
        return r;
}

/* Each of @args is tried; the last failure is what the verb ends with, those before it are logged. */
static int each(struct runtime *rt, const char *const *ids,
                int (*fn)(struct runtime *rt, const char *id, void *userdata, struct err *err), void *userdata,
                struct err *err) {
        int result = 0;

        for (; *ids; ids++) {
                struct err one;

                if (fn(rt, *ids, userdata, &one) == 0)
                        continue;
                if (result < 0)
                        oci_log_fail(&rt->log, err->msg);
                *err = one;
                result = -(int) one.code;
        }
        return result;
}

struct stop {
        int sig;
        unsigned timeout_ms;
};

static int stop_one(struct runtime *rt, const char *id, void *userdata, struct err *err) {
        const struct stop *stop = userdata;

        return oci_stop(&rt->oci, id, stop->sig, stop->timeout_ms, err);
}

int oci_do_stop(struct runtime *rt, const struct cli_args *args, struct err *err) {
        const char *timeout = args_value(args, "timeout"), *sig = args_value(args, "signal");
        int64_t seconds = STOP_SECONDS;
        struct stop stop;
        int r;

        if (timeout && !number_parse(timeout, 0, STOP_SECONDS_MAX, &seconds))
                return err_set(err, ERR_INVALID, "invalid timeout \"%.32s\": it is a number of seconds", timeout);
        r = signal_of(sig ? sig : "TERM", &stop.sig, err);
        if (r < 0)
                return r;
        stop.timeout_ms = (unsigned) seconds * 1000;
        return each(rt, args->rest, stop_one, &stop, err);
}

static int delete_one(struct runtime *rt, const char *id, void *userdata, struct err *err) {
        return oci_delete(&rt->oci, id, *(const bool *) userdata, err);
}

int oci_do_delete(struct runtime *rt, const struct cli_args *args, struct err *err) {
        bool force = args_has(args, "force");
        const char *const *ids;
        int r = runtime_ids(rt, args, args->n_rest, &ids, err);

        return r < 0 ? r : each(rt, ids, delete_one, &force, err);
}

int oci_do_pause(struct runtime *rt, const struct cli_args *args, struct err *err) {
        return oci_pause(&rt->oci, args->rest[0], err);
}

int oci_do_resume(struct runtime *rt, const struct cli_args *args, struct err *err) {
        return oci_resume(&rt->oci, args->rest[0], err);
}
