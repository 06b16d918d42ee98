/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "base/strbuf.h"

static json_t *of_bytes(const ProtobufCBinaryData *b) {
        json_t *text = json_stringn((const char *) b->data, b->len);

        if (!text) {
                _cleanup_strbuf_ struct strbuf s = STRBUF(2 * b->len + 1);

                for (size_t i = 0; i < b->len; i++) {
                        if (b->data[i] < 0x80) {
                                strbuf_putc(&s, (char) b->data[i]);
                        } else {
                                strbuf_putc(&s, (char) (0xc0 | b->data[i] >> 6));
                                strbuf_putc(&s, (char) (0x80 | (b->data[i] & 0x3f)));
                        }
                }
                text = json_stringn(strbuf_str(&s), s.len);
        }
        return text;
}

static json_t *of_string(const char *s) {
        json_t *text;

        s = s ? s : "";
        text = json_string(s);
        return text ? text : of_bytes(&(ProtobufCBinaryData){ strlen(s), (uint8_t *) (uintptr_t) s });
}

static json_t *of_value(const ProtobufCFieldDescriptor *f, const void *v) {
        const ProtobufCEnumValue *name;

        switch (f->type) {
        case PROTOBUF_C_TYPE_INT32:
        case PROTOBUF_C_TYPE_SINT32:
        case PROTOBUF_C_TYPE_SFIXED32:
                return json_integer(*(const int32_t *) v);
        case PROTOBUF_C_TYPE_UINT32:
        case PROTOBUF_C_TYPE_FIXED32:
                return json_integer(*(const uint32_t *) v);
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_SFIXED64:
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_FIXED64:
                return json_integer((json_int_t) * (const int64_t *) v);
        case PROTOBUF_C_TYPE_FLOAT:
                return json_real((double) *(const float *) v);
        case PROTOBUF_C_TYPE_DOUBLE:
                return json_real(*(const double *) v);
        case PROTOBUF_C_TYPE_BOOL:
                return json_boolean(*(const protobuf_c_boolean *) v);
        case PROTOBUF_C_TYPE_ENUM:
                name = protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *) v);
                return name ? json_string(name->name) : json_integer(*(const int *) v);
        case PROTOBUF_C_TYPE_STRING:
                return of_string(*(const char *const *) v);
        case PROTOBUF_C_TYPE_BYTES:
                return of_bytes(v);
        case PROTOBUF_C_TYPE_MESSAGE:
                return *(const ProtobufCMessage *const *) v ? json_of_message(*(const ProtobufCMessage *const *) v)
                                                            : json_null();
        }
        return json_null();
}

static size_t size_of(ProtobufCType type) {
        switch (type) {
        case PROTOBUF_C_TYPE_BOOL:
                return sizeof(protobuf_c_boolean);
        case PROTOBUF_C_TYPE_BYTES:
                return sizeof(ProtobufCBinaryData);
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_MESSAGE:
                return sizeof(void *);
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_SFIXED64:
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_FIXED64:
        case PROTOBUF_C_TYPE_DOUBLE:
                return 8;
        default:
                return 4;
        }
}

/* protoc makes of "map<K, V> x" a repeated message "XEntry { key = 1; value = 2 }". */
static bool is_map(const ProtobufCFieldDescriptor *f) {
        const ProtobufCMessageDescriptor *d = f->descriptor;

        return f->type == PROTOBUF_C_TYPE_MESSAGE && str_ends_with(d->short_name, "Entry") && d->n_fields == 2 &&
               str_eq(d->fields[0].name, "key") && str_eq(d->fields[1].name, "value") &&
               d->fields[0].type == PROTOBUF_C_TYPE_STRING;
}

static json_t *of_repeated(const ProtobufCFieldDescriptor *f, const char *data, size_t n) {
        json_t *out = is_map(f) ? json_object() : json_array();

        for (size_t i = 0; i < n; i++) {
                const char *v = data + i * size_of(f->type);

                if (is_map(f)) {
                        const ProtobufCMessage *entry = *(const ProtobufCMessage *const *) v;
                        const ProtobufCFieldDescriptor *fields = entry->descriptor->fields;
                        const char *key = *(const char *const *) ((const char *) entry + fields[0].offset);

                        (void) json_object_set_new(out, key ? key : "",
                                                   of_value(&fields[1], (const char *) entry + fields[1].offset));
                } else {
                        (void) json_array_append_new(out, of_value(f, v));
                }
        }
        return out;
}

json_t *json_of_message(const ProtobufCMessage *message) {
        json_t *out = json_object();

        for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
                const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
                const char *at = (const char *) message + f->offset;

                if (f->label == PROTOBUF_C_LABEL_REPEATED)
                        (void) json_object_set_new(
                                out, f->name,
                                of_repeated(f, *(const char *const *) at,
                                            *(const size_t *) ((const char *) message + f->quantifier_offset)));
                else if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
                         *(const uint32_t *) ((const char *) message + f->quantifier_offset) != f->id)
                        (void) json_object_set_new(out, f->name, json_null());
                else
                        (void) json_object_set_new(out, f->name, of_value(f, at));
        }
        return out;
}

json_t *json_of_messages(const void *messages, size_t n) {
        const ProtobufCMessage *const *list = messages;
        json_t *out = json_array();

        for (size_t i = 0; i < n; i++)
                (void) json_array_append_new(out, json_of_message(list[i]));
        return out;
}

/* JSON allows U+007F to U+009F as they are, and terminals obey some of them. */
static int put_escaped(const char *data, size_t len, void *userdata) {
        const unsigned char *at = (const unsigned char *) data, *end = at + len;

        for (; at < end; at++)
                if (*at == 0x7f || (*at == 0xc2 && end - at > 1 && at[1] < 0xa0))
                        (void) fprintf(userdata, "\\u%04X", (unsigned) (*at == 0x7f ? *at : *++at));
                else
                        (void) putc_unlocked(*at, (FILE *) userdata);
        return 0;
}

void json_print(json_t *value) {
        (void) json_dump_callback(value, put_escaped, stdout, JSON_INDENT(2));
        (void) fputc('\n', stdout);
        json_decref(value);
}
