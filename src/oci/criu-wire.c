/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/criu-wire.h"
#include <string.h>

/* Kinds of protobuf fields on the wire. */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

/* Numbers of fields, by message. */
enum { REQ_TYPE = 1, REQ_OPTIONS = 2, REQ_NOTIFY_SUCCESS = 3 };
enum {
        OPT_IMAGES_FD = 1,
        OPT_PID = 2,
        OPT_LEAVE_RUNNING = 3,
        OPT_EXT_UNIX_SK = 4,
        OPT_TCP_ESTABLISHED = 5,
        OPT_SHELL_JOB = 7,
        OPT_FILE_LOCKS = 8,
        OPT_LOG_LEVEL = 9,
        OPT_LOG_FILE = 10,
        OPT_PAGE_SERVER = 11,
        OPT_NOTIFY = 12,
        OPT_ROOT = 13,
        OPT_PARENT = 14,
        OPT_TRACK_MEMORY = 15,
        OPT_AUTO_DEDUP = 16,
        OPT_WORK_FD = 17,
        OPT_MOUNT = 23,
        OPT_MANAGE_CGROUPS = 24,
        OPT_CGROUP_ROOT = 25,
        OPT_SIBLING = 26,
        OPT_INHERIT_FD = 27,
        OPT_CGROUPS_MODE = 34,
        OPT_EXTERNAL = 37,
        OPT_EMPTY_NS = 38,
        OPT_JOIN_NS = 39,
        OPT_FREEZE_CGROUP = 44,
        OPT_LAZY_PAGES = 48,
        OPT_STATUS_FD = 49,
        OPT_ORPHAN_TERMINAL = 50,
        OPT_LSM_PROFILE = 53,
        OPT_LSM_MOUNT_CONTEXT = 63
};
enum { RESP_TYPE = 1, RESP_SUCCESS = 2, RESP_RESTORE = 4, RESP_NOTIFY = 5, RESP_ERRNO = 7, RESP_MESSAGE = 9 };
enum { LOG_LEVEL = 4 };

/* --- writing -------------------------------------------------------------------------------------------------- */

static void put_varint(struct strbuf *out, uint64_t n) {
        do {
                strbuf_putc(out, (char) ((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
                n >>= 7;
        } while (n);
}

static void put_number(struct strbuf *out, unsigned field, uint64_t n) {
        put_varint(out, field << 3 | VARINT);
        put_varint(out, n);
}

static void put_bytes(struct strbuf *out, unsigned field, const void *data, size_t len) {
        put_varint(out, field << 3 | BYTES);
        put_varint(out, len);
        strbuf_append(out, data, len);
}

static void put_flag(struct strbuf *out, unsigned field, bool on) {
        if (on)
                put_number(out, field, 1);
}

static void put_string(struct strbuf *out, unsigned field, const char *s) {
        if (s)
                put_bytes(out, field, s, strlen(s));
}

/* A message in the message: strings as its fields 1 and 2, or for the second a number. */
static void put_pair(struct strbuf *out, unsigned field, const char *first, const char *second, int number) {
        struct strbuf in = STRBUF(CRIU_MESSAGE_MAX);

        put_string(&in, 1, first);
        if (second)
                put_string(&in, 2, second);
        else
                put_number(&in, 2, (uint64_t) number);
        put_bytes(out, field, strbuf_str(&in), in.len);
        out->overflow |= in.overflow;
        strbuf_done(&in);
}

static void put_flags(const struct criu_options *o, struct strbuf *out) {
        put_flag(out, OPT_LEAVE_RUNNING, o->leave_running);
        put_flag(out, OPT_EXT_UNIX_SK, o->ext_unix_sk);
        put_flag(out, OPT_TCP_ESTABLISHED, o->tcp_established);
        put_flag(out, OPT_SHELL_JOB, o->shell_job);
        put_flag(out, OPT_FILE_LOCKS, o->file_locks);
        put_flag(out, OPT_NOTIFY, o->notify);
        put_flag(out, OPT_TRACK_MEMORY, o->track_memory);
        put_flag(out, OPT_AUTO_DEDUP, o->auto_dedup);
        put_flag(out, OPT_SIBLING, o->restore_sibling);
        put_flag(out, OPT_LAZY_PAGES, o->lazy_pages);
        put_flag(out, OPT_ORPHAN_TERMINAL, o->orphan_terminal);
}

static void put_lists(const struct criu_options *o, struct strbuf *out) {
        for (size_t i = 0; i < o->n_mounts; i++)
                put_pair(out, OPT_MOUNT, o->mounts[i].key, o->mounts[i].value, 0);
        for (size_t i = 0; i < o->n_inherited; i++)
                put_pair(out, OPT_INHERIT_FD, o->inherited[i].key, NULL, o->inherited[i].fd);
        for (size_t i = 0; i < o->n_joined; i++)
                put_pair(out, OPT_JOIN_NS, o->joined[i].key, o->joined[i].value, 0);
        for (size_t i = 0; i < o->n_external; i++)
                put_string(out, OPT_EXTERNAL, o->external[i]);
}

static void put_options(const struct criu_options *o, struct strbuf *out) {
        put_number(out, OPT_IMAGES_FD, (uint64_t) o->images_fd);
        put_number(out, OPT_WORK_FD, (uint64_t) o->work_fd);
        if (o->pid > 0)
                put_number(out, OPT_PID, (uint64_t) o->pid);
        put_number(out, OPT_LOG_LEVEL, LOG_LEVEL);
        put_string(out, OPT_LOG_FILE, o->log_file);
        put_string(out, OPT_ROOT, o->root);
        put_string(out, OPT_PARENT, o->parent_images);
        put_string(out, OPT_FREEZE_CGROUP, o->freeze_cgroup);
        put_string(out, OPT_LSM_PROFILE, o->lsm_profile);
        put_string(out, OPT_LSM_MOUNT_CONTEXT, o->lsm_mount_context);
        put_flags(o, out);
        put_number(out, OPT_MANAGE_CGROUPS, 1);
        if (o->cgroups != CRIU_CGROUPS_UNSET)
                put_number(out, OPT_CGROUPS_MODE, (uint64_t) o->cgroups);
        if (o->cgroup_root) /* its field 1, the controller, left out: all of them */
                put_pair(out, OPT_CGROUP_ROOT, NULL, o->cgroup_root, 0);
        if (o->empty_ns)
                put_number(out, OPT_EMPTY_NS, o->empty_ns);
        if (o->status_fd >= 0)
                put_number(out, OPT_STATUS_FD, (uint64_t) o->status_fd);
        if (o->page_server)
                put_pair(out, OPT_PAGE_SERVER, o->page_server, NULL, o->page_server_port);
        put_lists(o, out);
}

void criu_request_encode(enum criu_type type, const struct criu_options *o, struct strbuf *out) {
        struct strbuf options = STRBUF(CRIU_MESSAGE_MAX);

        put_options(o, &options);
        put_number(out, REQ_TYPE, type);
        put_bytes(out, REQ_OPTIONS, strbuf_str(&options), options.len);
        out->overflow |= options.overflow;
        strbuf_done(&options);
}

void criu_notified_encode(bool success, struct strbuf *out) {
        put_number(out, REQ_TYPE, CRIU_NOTIFY);
        put_number(out, REQ_NOTIFY_SUCCESS, success);
}

/* --- reading -------------------------------------------------------------------------------------------------- */

struct field {
        unsigned number, kind;
        uint64_t value;      /* of a VARINT */
        const uint8_t *data; /* of BYTES */
        size_t len;
};
struct reader {
        const uint8_t *at, *end;
};

static bool read_varint(struct reader *r, uint64_t *ret) {
        *ret = 0;
        for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
                const uint8_t byte = *r->at++;

                *ret |= (uint64_t) (byte & 0x7f) << shift;
                if (!(byte & 0x80))
                        return true;
        }
        return false;
}

static bool skip(struct reader *r, size_t n) {
        if ((size_t) (r->end - r->at) < n)
                return false;
        r->at += n;
        return true;
}

/* False: there is none, or it is malformed (then the reader is not at its end). */
static bool read_field(struct reader *r, struct field *ret) {
        const uint8_t *began = r->at;
        uint64_t tag, len;
        bool ok = r->at < r->end && read_varint(r, &tag) && tag >> 3 <= 0x1fffffff;

        *ret = (struct field){ 0 };
        if (ok) {
                ret->number = (unsigned) (tag >> 3);
                ret->kind = (unsigned) (tag & 7);
        }
        switch (ok ? ret->kind : 7) {
        case VARINT:
                ok = read_varint(r, &ret->value);
                break;
        case FIXED64:
                ok = skip(r, 8);
                break;
        case FIXED32:
                ok = skip(r, 4);
                break;
        case BYTES:
                ok = read_varint(r, &len) && len <= (uint64_t) (r->end - r->at);
                if (ok) {
                        ret->data = r->at;
                        ret->len = (size_t) len;
                        r->at += len;
                }
                break;
        default:
                ok = false;
        }
        if (!ok && r->at != began)
                r->at = began;
        return ok;
}

/* criu_restore_resp { pid = 1 }, criu_notify { script = 1, pid = 2 }. */
static bool read_part(const struct field *part, unsigned pid_field, struct arena *arena, struct criu_reply *ret) {
        struct reader r = { part->data, part->data + part->len };
        struct field f;

        while (read_field(&r, &f)) {
                if (f.number == pid_field && f.kind == VARINT)
                        ret->pid = (int) f.value;
                else if (f.number == 1 && f.kind == BYTES)
                        ret->script = arena_strndup(arena, (const char *) f.data, f.len);
        }
        return r.at == r.end;
}

static bool read_reply_field(const struct field *f, struct arena *arena, struct criu_reply *ret) {
        if (f->kind == VARINT) {
                if (f->number == RESP_TYPE)
                        ret->type = (enum criu_type) f->value;
                else if (f->number == RESP_SUCCESS)
                        ret->success = f->value != 0;
                else if (f->number == RESP_ERRNO)
                        ret->sys_errno = (int) f->value;
                return true;
        }
        if (f->kind == BYTES && f->number == RESP_RESTORE)
                return read_part(f, 1, arena, ret);
        if (f->kind == BYTES && f->number == RESP_NOTIFY)
                return read_part(f, 2, arena, ret);
        if (f->kind == BYTES && f->number == RESP_MESSAGE)
                ret->message = arena_strndup(arena, (const char *) f->data, f->len);
        return true;
}

int criu_reply_decode(const void *data, size_t len, struct arena *arena, struct criu_reply *ret, struct err *err) {
        struct reader r = { data, (const uint8_t *) data + len };
        bool ok = len <= CRIU_MESSAGE_MAX;
        struct field f;

        *ret = (struct criu_reply){ 0 };
        while (ok && read_field(&r, &f))
                ok = read_reply_field(&f, arena, ret);
        if (!ok || r.at != r.end || !ret->type)
                return err_set(err, ERR_INVALID, "CRIU's answer of %zu bytes is malformed", len);
        return 0;
}
