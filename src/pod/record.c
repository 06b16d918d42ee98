/* SPDX-License-Identifier: Apache-2.0 */
/* record - encode and decode store records: a version byte, then (tag u8, length u32 little endian, value) until the
 * end. */
#include "pod/record.h"

#include <endian.h>
#include "base/alloc.h"
#include "base/strbuf.h"

enum { RECORD_VERSION = 1, RECORD_MAX = 40 << 20 };

/* Numbers are stored: never reuse one. */
enum tag {
        TAG_CONFIG = 1, /* packed PodSandboxConfig or ContainerConfig */
        TAG_PHASE = 2,
        TAG_CREATED_AT = 3,
        TAG_HANDLER = 4,
        TAG_CGROUP_PARENT = 5,
        TAG_IP = 6, /* repeated */
        TAG_NETWORK_HELD = 7,
        TAG_CNI_CACHED = 8,
        TAG_PAUSE_PID = 9,
        TAG_PAUSE_START = 10,
        TAG_OVERHEAD = 11,             /* packed LinuxContainerResources */
        TAG_POD_RESOURCES = 12,        /* the same */
        TAG_SECCOMP_PROFILE = 13,      /* the handler's */
        TAG_WITHOUT_HOST_DEVICES = 14, /* the same */
        TAG_SELINUX_LABEL = 15,        /* of a sandbox and of a container */
        TAG_SANDBOX_ID = 16,
        TAG_IMAGE_ID = 17,
        TAG_IMAGE_NAME = 18,
        TAG_IMAGE_DIGEST = 19,
        TAG_IMAGE_ENV = 20, /* repeated */
        TAG_CWD = 21,
        TAG_STOP_SIGNAL = 22,
        TAG_LOG_PATH = 23,
        TAG_CGROUP_PATH = 24,
        TAG_PID = 25,
        TAG_START_TIME = 26,
        TAG_UID = 27,
        TAG_GID = 28,
        TAG_GROUPS = 29, /* u32 each */
        TAG_LIMITS = 30, /* packed LinuxContainerResources */
        TAG_STARTED_AT = 31,
        TAG_FINISHED_AT = 32,
        TAG_EXIT_CODE = 33,
        TAG_REASON = 34,
        TAG_MESSAGE = 35,
        TAG_CDI_ENV = 36, /* repeated */
        TAG_IN_CT = 37,
        TAG_CT_VMID = 38,
        TAG_CT_PID = 39,
        TAG_CT_START = 40,
        TAG_CHOSEN_HANDLER = 41,
        TAG_CT_ISOLATED = 45,
        TAG_LAYERS_IN_CT = 48,
        TAG_BY_CRUN = 49, /* the handler's */
};

/* Reasons are few and static, so that a status can point to them. */
static const char *const reasons[] = { "",           "Completed",  "Error",
                                       "OOMKilled",  "StartError", "ContainerStatusUnknown",
                                       "MonitorLost" };

static const char *reason_from(const char *s) {
        for (size_t i = 0; i < ELEMENTSOF(reasons); i++)
                if (str_eq(s, reasons[i]))
                        return reasons[i];
        return "Error";
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void put(struct strbuf *b, enum tag tag, const void *value, size_t len) {
        uint32_t le = htole32((uint32_t) len);

        strbuf_putc(b, (char) tag);
        strbuf_append(b, &le, sizeof(le));
        strbuf_append(b, value, len);
}

static void put_u64(struct strbuf *b, enum tag tag, uint64_t v) {
        uint64_t le = htole64(v);

        if (v != 0)
                put(b, tag, &le, sizeof(le));
}

static void put_str(struct strbuf *b, enum tag tag, const char *s) {
        if (!str_empty(s))
                put(b, tag, s, strlen(s));
}

static void put_strv(struct strbuf *b, enum tag tag, char *const *list) {
        for (size_t i = 0; list && list[i]; i++)
                put(b, tag, list[i], strlen(list[i]));
}

static void put_message(struct strbuf *b, enum tag tag, const void *m) {
        size_t len;
        uint32_t le;
        char *to;

        if (!m)
                return;
        len = protobuf_c_message_get_packed_size(m);
        le = htole32((uint32_t) len);
        strbuf_putc(b, (char) tag);
        strbuf_append(b, &le, sizeof(le));
        to = strbuf_reserve(b, len + 1);
        if (to)
                b->len += protobuf_c_message_pack(m, (uint8_t *) to);
}

static int finish(struct strbuf *b, void **ret, size_t *ret_len, struct err *err) {
        if (b->overflow)
                return err_set(err, ERR_EXHAUSTED, "the configuration is too large");
        *ret_len = b->len;
        *ret = strbuf_take(b);
        return 0;
}

int sandbox_encode(struct sandbox *s, void **ret, size_t *ret_len, struct err *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(RECORD_MAX);

        strbuf_putc(&b, RECORD_VERSION);
        put_message(&b, TAG_CONFIG, s->config);
        put_u64(&b, TAG_PHASE, sandbox_get_phase(s));
        put_u64(&b, TAG_CREATED_AT, s->created_at_ns);
        put_str(&b, TAG_HANDLER, s->handler);
        put_str(&b, TAG_CHOSEN_HANDLER, s->chosen_handler);
        put_str(&b, TAG_SECCOMP_PROFILE, s->seccomp_profile);
        put_u64(&b, TAG_WITHOUT_HOST_DEVICES, s->without_host_devices);
        put_str(&b, TAG_CGROUP_PARENT, s->cgroup_parent);
        put_str(&b, TAG_SELINUX_LABEL, s->selinux_label);
        put_strv(&b, TAG_IP, s->ips);
        put_u64(&b, TAG_NETWORK_HELD, s->network_held);
        put_str(&b, TAG_CNI_CACHED, s->cni_cached);
        put_u64(&b, TAG_PAUSE_PID, (uint64_t) s->pause_pid);
        put_u64(&b, TAG_PAUSE_START, s->pause_start_time);
        put_u64(&b, TAG_IN_CT, s->in_ct);
        put_u64(&b, TAG_LAYERS_IN_CT, s->layers_in_ct);
        put_u64(&b, TAG_BY_CRUN, s->by_crun);
        put_u64(&b, TAG_CT_VMID, s->ct.vmid);
        put_u64(&b, TAG_CT_PID, (uint64_t) s->ct.pid);
        put_u64(&b, TAG_CT_START, s->ct.start_time);
        put_u64(&b, TAG_CT_ISOLATED, s->ct_isolated);
        put_message(&b, TAG_OVERHEAD, s->overhead);
        put_message(&b, TAG_POD_RESOURCES, s->resources);
        return finish(&b, ret, ret_len, err);
}

int container_encode(struct container *c, void **ret, size_t *ret_len, struct err *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(RECORD_MAX);

        strbuf_putc(&b, RECORD_VERSION);
        put_message(&b, TAG_CONFIG, c->config);
        put_u64(&b, TAG_CREATED_AT, c->created_at_ns);
        put_str(&b, TAG_SANDBOX_ID, c->sandbox->id);
        put_str(&b, TAG_IMAGE_ID, c->from_image.id);
        put_str(&b, TAG_IMAGE_NAME, c->from_image.name);
        put_str(&b, TAG_IMAGE_DIGEST, c->from_image.digest);
        put_strv(&b, TAG_IMAGE_ENV, c->from_image.env);
        put_strv(&b, TAG_CDI_ENV, c->cdi_env);
        put_str(&b, TAG_CWD, c->from_image.cwd);
        put_u64(&b, TAG_STOP_SIGNAL, (uint64_t) c->from_image.stop_signal);
        put_str(&b, TAG_LOG_PATH, c->log_path);
        put_str(&b, TAG_CGROUP_PATH, c->cgroup_path);
        put_str(&b, TAG_SELINUX_LABEL, c->selinux_label);
        put_u64(&b, TAG_PID, (uint64_t) c->pid);
        put_u64(&b, TAG_START_TIME, c->start_time);
        put_u64(&b, TAG_UID, c->uid);
        put_u64(&b, TAG_GID, c->gid);
        put(&b, TAG_GROUPS, c->groups, c->n_groups * sizeof(*c->groups));
        pthread_rwlock_rdlock(&c->pods->lock);
        put_u64(&b, TAG_PHASE, c->phase);
        put_message(&b, TAG_LIMITS, c->limits);
        put_u64(&b, TAG_STARTED_AT, c->started_at_ns);
        put_u64(&b, TAG_FINISHED_AT, c->finished_at_ns);
        put_u64(&b, TAG_EXIT_CODE, (uint64_t) c->exit_code);
        put_str(&b, TAG_REASON, c->reason);
        put_str(&b, TAG_MESSAGE, c->message);
        pthread_rwlock_unlock(&c->pods->lock);
        return finish(&b, ret, ret_len, err);
}

int sandbox_save(struct sandbox *s, struct err *err) {
        _cleanup_(freep) void *data = NULL;
        size_t len;
        int r = sandbox_encode(s, &data, &len, err);

        if (r == 0)
                r = store_put(s->pods->store, STORE_SANDBOX, s->id, data, len, err);
        return r < 0 ? err_wrap(err, "save the record of pod sandbox %s", s->id) : 0;
}

int container_save(struct container *c, struct err *err) {
        _cleanup_(freep) void *data = NULL;
        size_t len;
        int r = container_encode(c, &data, &len, err);

        if (r == 0)
                r = store_put(c->pods->store, STORE_CONTAINER, c->id, data, len, err);
        return r < 0 ? err_wrap(err, "save the record of container %s", c->id) : 0;
}

int container_save_phase(struct container *c, enum container_phase phase, struct err *err) {
        int r;

        pthread_mutex_lock(&c->record);
        container_set_phase(c, phase);
        r = container_save(c, err);
        pthread_mutex_unlock(&c->record);
        return r;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

struct reader {
        const uint8_t *at, *end;
        bool bad;
};

struct field {
        enum tag tag;
        const uint8_t *data;
        size_t len;
};

static bool reader_open(struct reader *r, const void *data, size_t len) {
        *r = (struct reader){ .at = data, .end = (const uint8_t *) data + len };
        return len > 0 && *r->at++ == RECORD_VERSION;
}

static bool reader_next(struct reader *r, struct field *f) {
        uint32_t le;

        if (r->at == r->end)
                return false;
        if ((size_t) (r->end - r->at) < 1 + sizeof(le)) {
                r->bad = true;
                return false;
        }
        f->tag = *r->at;
        memcpy(&le, r->at + 1, sizeof(le));
        f->len = le32toh(le);
        r->at += 1 + sizeof(le);
        if (f->len > (size_t) (r->end - r->at)) {
                r->bad = true;
                return false;
        }
        f->data = r->at;
        r->at += f->len;
        return true;
}

static uint64_t get_u64(struct reader *r, const struct field *f) {
        uint64_t le;

        if (f->len != sizeof(le)) {
                r->bad = true;
                return 0;
        }
        memcpy(&le, f->data, sizeof(le));
        return le64toh(le);
}

static void get_str(const struct field *f, char **to) {
        free(*to);
        *to = xstrndup((const char *) f->data, f->len);
}

static void get_strv(const struct field *f, char ***to, size_t *n) {
        *to = xrealloc(*to, *n + 2, sizeof(**to));
        (*to)[(*n)++] = xstrndup((const char *) f->data, f->len);
        (*to)[*n] = NULL;
}

static void *get_message(struct reader *r, const struct field *f, const ProtobufCMessageDescriptor *desc) {
        void *m = protobuf_c_message_unpack(desc, NULL, f->len, f->data);
        if (!m)
                r->bad = true;
        return m;
}

static unsigned get_phase(struct reader *r, const struct field *f, unsigned max) {
        uint64_t v = get_u64(r, f);
        if (v >= max)
                r->bad = true;
        return r->bad ? 0 : (unsigned) v;
}

/* The first field @tag; for what is needed before the object can be made. */
static bool find(const void *data, size_t len, enum tag tag, struct field *f) {
        struct reader r;

        if (!reader_open(&r, data, len))
                return false;
        while (reader_next(&r, f))
                if (f->tag == tag)
                        return true;
        return false;
}

static int damaged(struct err *err, const char *what, const char *id) {
        return err_set(err, ERR_DATA_LOSS, "the record of %s %s is damaged", what, id);
}

static void get_resources(struct reader *r, const struct field *f, CRI(LinuxContainerResources) * *to) {
        cri_message_free(*to);
        *to = get_message(r, f, CRI_DESC(linux_container_resources));
}

static void sandbox_take_field(struct sandbox *s, struct reader *r, const struct field *f, size_t *n_ips) {
        switch (f->tag) {
        case TAG_PHASE:
                s->phase = (enum sandbox_phase) get_phase(r, f, SANDBOX_PHASE_MAX);
                break;
        case TAG_CREATED_AT:
                s->created_at_ns = get_u64(r, f);
                break;
        case TAG_HANDLER:
                get_str(f, &s->handler);
                break;
        case TAG_CHOSEN_HANDLER:
                get_str(f, &s->chosen_handler);
                break;
        case TAG_SECCOMP_PROFILE:
                get_str(f, &s->seccomp_profile);
                break;
        case TAG_WITHOUT_HOST_DEVICES:
                s->without_host_devices = get_u64(r, f) != 0;
                break;
        case TAG_CGROUP_PARENT:
                get_str(f, &s->cgroup_parent);
                break;
        case TAG_SELINUX_LABEL:
                get_str(f, &s->selinux_label);
                break;
        case TAG_IP:
                get_strv(f, &s->ips, n_ips);
                break;
        case TAG_NETWORK_HELD:
                s->network_held = get_u64(r, f) != 0;
                break;
        case TAG_CNI_CACHED:
                get_str(f, &s->cni_cached);
                break;
        case TAG_PAUSE_PID:
                s->pause_pid = (pid_t) get_u64(r, f);
                break;
        case TAG_PAUSE_START:
                s->pause_start_time = get_u64(r, f);
                break;
        case TAG_IN_CT:
                s->in_ct = get_u64(r, f) != 0;
                if (s->in_ct)
                        sandbox_set_user_range(s, ct_id_range);
                break;
        case TAG_BY_CRUN:
                s->by_crun = get_u64(r, f) != 0;
                break;
        case TAG_LAYERS_IN_CT:
                s->layers_in_ct = get_u64(r, f) != 0;
                break;
        case TAG_CT_VMID:
                s->ct.vmid = (uint32_t) get_u64(r, f);
                break;
        case TAG_CT_PID:
                s->ct.pid = (pid_t) get_u64(r, f);
                break;
        case TAG_CT_ISOLATED:
                s->ct_isolated = get_u64(r, f) != 0;
                break;
        case TAG_CT_START:
                s->ct.start_time = get_u64(r, f);
                break;
        case TAG_OVERHEAD:
                get_resources(r, f, &s->overhead);
                break;
        case TAG_POD_RESOURCES:
                get_resources(r, f, &s->resources);
                break;
        default:
                break;
        }
}

int sandbox_decode(struct pods *p, const char *id, const void *data, size_t len, struct sandbox **ret,
                   struct err *err) {
        _cleanup_(sandbox_unrefp) struct sandbox *s = NULL;
        CRI(PodSandboxConfig) * config;
        struct reader r;
        struct field f;
        size_t n_ips = 0;

        if (strlen(id) != ID_LEN || !find(data, len, TAG_CONFIG, &f))
                return damaged(err, "pod sandbox", id);
        config = (void *) protobuf_c_message_unpack(CRI_DESC(pod_sandbox_config), NULL, f.len, f.data);
        if (!config || !config->metadata) {
                cri_message_free(config);
                return damaged(err, "pod sandbox", id);
        }
        s = sandbox_new(p, id, config, "");
        (void) reader_open(&r, data, len);
        while (reader_next(&r, &f))
                sandbox_take_field(s, &r, &f, &n_ips);
        if (r.bad)
                return damaged(err, "pod sandbox", id);
        *ret = TAKE_PTR(s);
        return 0;
}

int container_decode_link(const void *data, size_t len, struct container_link *ret, struct err *err) {
        struct field f;

        if (!find(data, len, TAG_SANDBOX_ID, &f) || f.len != ID_LEN)
                return err_set(err, ERR_DATA_LOSS, "the record names no pod sandbox");
        memcpy(ret->sandbox_id, f.data, ID_LEN);
        ret->sandbox_id[ID_LEN] = '\0';
        return 0;
}

static void container_take_static(struct container *c, struct reader *r, const struct field *f, size_t *n_env) {
        size_t n_cdi_env = 0;

        while (c->cdi_env && c->cdi_env[n_cdi_env])
                n_cdi_env++;
        switch (f->tag) {
        case TAG_IMAGE_ID:
                get_str(f, &c->from_image.id);
                break;
        case TAG_IMAGE_NAME:
                get_str(f, &c->from_image.name);
                break;
        case TAG_IMAGE_DIGEST:
                get_str(f, &c->from_image.digest);
                break;
        case TAG_IMAGE_ENV:
                get_strv(f, &c->from_image.env, n_env);
                break;
        case TAG_CDI_ENV:
                get_strv(f, &c->cdi_env, &n_cdi_env);
                break;
        case TAG_CWD:
                get_str(f, &c->from_image.cwd);
                break;
        case TAG_STOP_SIGNAL:
                c->from_image.stop_signal = (int) get_u64(r, f);
                break;
        case TAG_LOG_PATH:
                get_str(f, &c->log_path);
                break;
        case TAG_CGROUP_PATH:
                get_str(f, &c->cgroup_path);
                break;
        case TAG_SELINUX_LABEL:
                get_str(f, &c->selinux_label);
                break;
        case TAG_PID:
                c->pid = (pid_t) get_u64(r, f);
                break;
        case TAG_START_TIME:
                c->start_time = get_u64(r, f);
                break;
        case TAG_UID:
                c->uid = (uid_t) get_u64(r, f);
                break;
        case TAG_GID:
                c->gid = (gid_t) get_u64(r, f);
                break;
        case TAG_GROUPS:
                c->n_groups = f->len / sizeof(*c->groups);
                free(c->groups);
                c->groups = xcalloc(c->n_groups + 1, sizeof(*c->groups));
                memcpy(c->groups, f->data, c->n_groups * sizeof(*c->groups));
                break;
        default:
                break;
        }
}

static void container_take_state(struct container *c, struct reader *r, const struct field *f) {
        _cleanup_(freep) char *text = NULL;

        switch (f->tag) {
        case TAG_PHASE:
                c->phase = (enum container_phase) get_phase(r, f, CONTAINER_PHASE_MAX);
                break;
        case TAG_CREATED_AT:
                c->created_at_ns = get_u64(r, f);
                break;
        case TAG_LIMITS:
                get_resources(r, f, &c->limits);
                break;
        case TAG_STARTED_AT:
                c->started_at_ns = get_u64(r, f);
                break;
        case TAG_FINISHED_AT:
                c->finished_at_ns = get_u64(r, f);
                break;
        case TAG_EXIT_CODE:
                c->exit_code = (int) get_u64(r, f);
                break;
        case TAG_REASON:
                get_str(f, &text);
                c->reason = reason_from(text);
                break;
        case TAG_MESSAGE:
                get_str(f, &c->message);
                break;
        default:
                break;
        }
}

/* Absent fields were empty ones. */
static void container_fill_absent(struct container *c) {
        char **all[] = { &c->from_image.id,  &c->from_image.name, &c->from_image.digest,
                         &c->from_image.cwd, &c->log_path,        &c->cgroup_path };

        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                if (!*all[i])
                        *all[i] = xstrdup("");
        if (!c->from_image.env)
                c->from_image.env = xcalloc(1, sizeof(*c->from_image.env));
}

int container_decode(struct sandbox *s, const char *id, const void *data, size_t len, struct container **ret,
                     struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        CRI(ContainerConfig) * config;
        struct reader r;
        struct field f;
        size_t n_env = 0;

        if (strlen(id) != ID_LEN || !find(data, len, TAG_CONFIG, &f))
                return damaged(err, "container", id);
        config = (void *) protobuf_c_message_unpack(CRI_DESC(container_config), NULL, f.len, f.data);
        if (!config || !config->metadata) {
                cri_message_free(config);
                return damaged(err, "container", id);
        }
        c = container_new(s, id, config);
        if (s->layers_in_ct)
                c->home = s->ct; /* of all of them, as long as it is there */
        (void) reader_open(&r, data, len);
        while (reader_next(&r, &f)) {
                container_take_static(c, &r, &f, &n_env);
                container_take_state(c, &r, &f);
        }
        if (r.bad)
                return damaged(err, "container", id);
        container_fill_absent(c);
        *ret = TAKE_PTR(c);
        return 0;
}
