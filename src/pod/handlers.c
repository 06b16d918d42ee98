/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/handlers.h"

#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "pod/registry.h"
#include "runtime/crun/bundle.h"
#include "security/caps.h"
#include "security/seccomp.h"

enum { NAME_MAX_LEN = 63, NAMES_MAX = 1024 };

static const char *const engines[] = { HANDLER_ENGINE_LXC, HANDLER_ENGINE_PROXMOX, HANDLER_ENGINE_CRUN };
const char handler_engine_names[] = HANDLER_ENGINE_LXC ", " HANDLER_ENGINE_PROXMOX ", " HANDLER_ENGINE_CRUN;

bool handler_name_valid(const char *name) {
        size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

        return len > 0 && len <= NAME_MAX_LEN && name[len] == '\0' && name[0] != '-' && name[len - 1] != '-';
}

bool handler_engine_known(const char *engine) {
        for (size_t i = 0; i < ELEMENTSOF(engines); i++)
                if (str_eq(engines[i], engine))
                        return true;
        return false;
}

int handlers_check(const struct pods *p, struct err *err) {
        for (size_t i = 0; i < p->n_handlers; i++) {
                const struct pod_handler *h = &p->handlers[i];
                _cleanup_(seccomp_unrefp) const struct seccomp_filter *filter = NULL;

                if (str_eq(h->engine, HANDLER_ENGINE_CRUN) && crun_check(err) < 0)
                        return err_wrap(err, "runtime handler \"%s\"", h->name);
                if (h->seccomp_profile && seccomp_read_profile(h->seccomp_profile, caps_default(), &filter, err) < 0)
                        return err_wrap(err, "runtime handler \"%s\"", h->name);
        }
        return 0;
}

int handlers_find(const struct pods *p, const char *name, const struct pod_handler **ret, struct err *err) {
        _cleanup_strbuf_ struct strbuf names = STRBUF(NAMES_MAX);

        *ret = pods_handler_named(p, name);
        if (*ret)
                return 0;
        for (size_t i = 0; i < p->n_handlers && !names.overflow; i++)
                strbuf_printf(&names, "%s%s", i > 0 ? ", " : "", p->handlers[i].name);
        return err_set(err, ERR_INVALID,
                       "no runtime handler \"%.64s\"; there are: %s%s (runtime-handlers in the configuration)", name,
                       strbuf_str(&names), names.overflow ? " ..." : "");
}

const char *handlers_choose(const struct pods *p, const CRI(PodSandboxConfig) * config) {
        const struct route_pod pod = {
                .pod_namespace = config->metadata->namespace_,
                .name = config->metadata->name,
                .image = cri_entries_get(config->annotations, config->n_annotations, ROUTE_IMAGE_ANNOTATION),
                .labels = config->labels,
                .n_labels = config->n_labels,
                .annotations = config->annotations,
                .n_annotations = config->n_annotations,
        };
        const struct route_rule *rule = route_find(&p->routes, &pod);

        return rule ? rule->handler : p->default_handler;
}

void sandbox_take_handler(struct sandbox *s, const struct pod_handler *h) {
        s->chosen_handler = xstrdup(h->name);
        s->seccomp_profile = h->seccomp_profile ? xstrdup(h->seccomp_profile) : NULL;
        s->without_host_devices = h->privileged_without_host_devices;
        s->by_crun = str_eq(h->engine, HANDLER_ENGINE_CRUN);
        s->in_ct = str_eq(h->engine, HANDLER_ENGINE_PROXMOX);
        if (s->in_ct)
                sandbox_set_user_range(s, ct_id_range);
}
