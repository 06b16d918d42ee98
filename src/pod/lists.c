/* SPDX-License-Identifier: Apache-2.0 */
/* lists - packed list items and the List operations. */
#include "pod/lists.h"

#include "base/alloc.h"

/* A length as protobuf's varint; how many bytes it took. */
static size_t put_varint(uint8_t *out, size_t v) {
        size_t n = 0;

        for (; v >= 0x80; v >>= 7)
                out[n++] = (uint8_t) (v | 0x80);
        out[n++] = (uint8_t) v;
        return n;
}

static struct packed_item *pack_item(const ProtobufCMessage *m) {
        size_t len = protobuf_c_message_get_packed_size(m);
        struct packed_item *item = xcalloc(1, sizeof(*item) + 10 + len);

        item->len = put_varint(item->data, len);
        item->len += protobuf_c_message_pack(m, item->data + item->len);
        return item;
}

static CRI(PodSandboxState) sandbox_state(const struct sandbox *s) {
        return s->phase == SANDBOX_READY ? CRI_(POD_SANDBOX_STATE__SANDBOX_READY)
                                         : CRI_(POD_SANDBOX_STATE__SANDBOX_NOTREADY);
}

struct packed_item *sandbox_pack_item(const struct sandbox *s) {
        CRI(PodSandbox) m = CRI_(POD_SANDBOX__INIT);

        m.id = (char *) s->id;
        m.metadata = s->config->metadata;
        m.state = sandbox_state(s);
        m.created_at = (int64_t) s->created_at_ns;
        m.n_labels = s->config->n_labels;
        m.labels = (CRI(PodSandbox__LabelsEntry) **) s->config->labels;
        m.n_annotations = s->config->n_annotations;
        m.annotations = (CRI(PodSandbox__AnnotationsEntry) **) s->config->annotations;
        m.runtime_handler = s->handler;
        return pack_item(&m.base);
}

static CRI(ContainerState) container_state(const struct container *c) {
        switch (c->phase) {
        case CONTAINER_CREATING:
        case CONTAINER_CREATED:
        case CONTAINER_STARTING:
                return CRI_(CONTAINER_STATE__CONTAINER_CREATED);
        case CONTAINER_RUNNING:
                return CRI_(CONTAINER_STATE__CONTAINER_RUNNING);
        case CONTAINER_EXITED:
                return CRI_(CONTAINER_STATE__CONTAINER_EXITED);
        case CONTAINER_REMOVING:
                /* What is being removed has ended, or never ran. */
                return CRI_(CONTAINER_STATE__CONTAINER_EXITED);
        case CONTAINER_PHASE_MAX:
                break;
        }
        return CRI_(CONTAINER_STATE__CONTAINER_UNKNOWN);
}

struct packed_item *container_pack_item(const struct container *c) {
        CRI(Container) m = CRI_(CONTAINER__INIT);

        m.id = (char *) c->id;
        m.pod_sandbox_id = c->sandbox->id;
        m.metadata = c->config->metadata;
        m.image = c->config->image;
        m.image_ref = c->from_image.id ? c->from_image.id : (char *) "";
        m.image_id = m.image_ref;
        m.state = container_state(c);
        m.created_at = (int64_t) c->created_at_ns;
        m.n_labels = c->config->n_labels;
        m.labels = (CRI(Container__LabelsEntry) **) c->config->labels;
        m.n_annotations = c->config->n_annotations;
        m.annotations = (CRI(Container__AnnotationsEntry) **) c->config->annotations;
        return pack_item(&m.base);
}

/* A filter's id may be a prefix, as those of containerd and CRI-O. */
static bool id_matches(const char *id, const char *wanted) {
        return str_empty(wanted) || str_after(id, wanted);
}

bool sandbox_matches(const struct sandbox *s, const CRI(PodSandboxFilter) * f) {
        return !f ||
               (id_matches(s->id, f->id) && (!f->state || f->state->state == sandbox_state(s)) &&
                cri_entries_match(f->label_selector, f->n_label_selector, s->config->labels, s->config->n_labels));
}

bool container_matches(const struct container *c, const CRI(ContainerFilter) * f) {
        return !f ||
               (id_matches(c->id, f->id) && id_matches(c->sandbox->id, f->pod_sandbox_id) &&
                (!f->state || f->state->state == container_state(c)) &&
                cri_entries_match(f->label_selector, f->n_label_selector, c->config->labels, c->config->n_labels));
}

/* Put copies of @items as field @tag into @message. */
static int add_items(ProtobufCMessage *message, unsigned tag, const struct packed_item *const *items, size_t n,
                     struct arena *arena, struct err *err) {
        size_t bytes = 0;
        uint8_t *copy;

        if (n == 0)
                return 0;
        for (size_t i = 0; i < n; i++)
                bytes += items[i]->len;
        message->unknown_fields = arena_alloc(arena, n * sizeof(*message->unknown_fields));
        copy = arena_alloc(arena, bytes);
        if (!message->unknown_fields || !copy)
                return err_set(err, ERR_EXHAUSTED, "the answer would be too large; use a filter");
        message->n_unknown_fields = (unsigned) n;
        for (size_t i = 0; i < n; i++) {
                message->unknown_fields[i] =
                        (ProtobufCMessageUnknownField){ .tag = tag,
                                                        .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                                        .len = items[i]->len,
                                                        .data = copy };
                memcpy(copy, items[i]->data, items[i]->len);
                copy += items[i]->len;
        }
        return 0;
}

int lists_pack_field(ProtobufCMessageUnknownField *ret, unsigned tag, const ProtobufCMessage *sub, struct arena *arena,
                     struct err *err) {
        size_t len = protobuf_c_message_get_packed_size(sub);
        uint8_t *data = arena_alloc(arena, len + 10);

        if (!data)
                return err_set(err, ERR_EXHAUSTED, "the answer would be too large");
        *ret = (ProtobufCMessageUnknownField){ .tag = tag,
                                               .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                               .data = data };
        ret->len = put_varint(data, len);
        ret->len += protobuf_c_message_pack(sub, data + ret->len);
        return 0;
}

int pods_list_sandboxes(struct pods *p, const CRI(PodSandboxFilter) * filter, struct arena *arena,
                        CRI(ListPodSandboxResponse) * *ret, struct err *err) {
        CRI(ListPodSandboxResponse) *resp = cri_make(arena, ListPodSandboxResponse, list_pod_sandbox_response);
        const struct packed_item **items;
        size_t n = 0;
        void *value;
        int r;

        pthread_rwlock_rdlock(&p->lock);
        items = arena_array(arena, const struct packed_item *, map_size(p->sandboxes) + 1);
        for (size_t it = 0; map_next(p->sandboxes, &it, NULL, &value);) {
                const struct sandbox *s = value;
                if (s->visible && sandbox_matches(s, filter))
                        items[n++] = s->item;
        }
        r = add_items(&resp->base, 1, items, n, arena, err);
        pthread_rwlock_unlock(&p->lock);
        if (r == 0)
                *ret = resp;
        return r;
}

int pods_list_containers(struct pods *p, const CRI(ContainerFilter) * filter, struct arena *arena,
                         CRI(ListContainersResponse) * *ret, struct err *err) {
        CRI(ListContainersResponse) *resp = cri_make(arena, ListContainersResponse, list_containers_response);
        const struct packed_item **items;
        size_t n = 0;
        void *value;
        int r;

        pthread_rwlock_rdlock(&p->lock);
        items = arena_array(arena, const struct packed_item *, map_size(p->containers) + 1);
        for (size_t it = 0; map_next(p->containers, &it, NULL, &value);) {
                const struct container *c = value;
                if (c->visible && container_matches(c, filter))
                        items[n++] = c->item;
        }
        r = add_items(&resp->base, 1, items, n, arena, err);
        pthread_rwlock_unlock(&p->lock);
        if (r == 0)
                *ret = resp;
        return r;
}
