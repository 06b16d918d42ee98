/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/seccomp.h"

#include <dlfcn.h>
#include <seccomp.h>
#include <string.h>
#include "base/str.h"
#include "oci/seccomp-cache.h"

static int compile(const struct oci *o, const char *text, struct seccomp_cached *ret, struct err *err) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = NULL;
        const struct scmp_version *version = seccomp_version();
        Dl_info library;
        bool notify;
        int r;

        if (!version)
                return err_set(err, ERR_PRECONDITION,
                               "linux.seccomp: libseccomp.so.2 can't be loaded: install libseccomp2, or leave it out");
        r = seccomp_parse_oci(text, strlen(text), &f, &notify, err);
        if (r < 0)
                return r;
        *ret = (struct seccomp_cached){ .insns = arena_memdup(o->arena, f->insns, f->n * sizeof(*f->insns)),
                                        .n = f->n,
                                        .flags = f->flags,
                                        .notify = notify };
        if (dladdr(version, &library) && library.dli_fname && library.dli_fname[0] == '/')
                seccomp_cache_put(o->root, text, library.dli_fname, ret);
        return 0;
}

int oci_seccomp_load(const struct oci *o, const struct oci_config *config, struct spec_process *p, struct err *err) {
        struct seccomp_cached f;
        int r = 0;

        if (!config->seccomp)
                return 0;
        if (!seccomp_cache_find(o->root, config->seccomp, o->arena, &f))
                r = compile(o, config->seccomp, &f, err);
        if (r < 0)
                return r;
        if (f.notify && !config->spec.seccomp_listener_path)
                return err_set(
                        err, ERR_INVALID,
                        "linux.seccomp.listenerPath: seccomp listenerPath is not set, but needed by SCMP_ACT_NOTIFY");
        p->seccomp = f.insns;
        p->n_seccomp = f.n;
        p->seccomp_flags = f.flags;
        p->seccomp_notify = f.notify;
        return 0;
}
