/* SPDX-License-Identifier: Apache-2.0 */
/* cri - CRI's messages are the configuration model of pod/; this header gives their generated names a readable form.
 * CRI(Mount) is a type, CRI_(MOUNT__INIT) a constant, CRI_DESC(mount) a descriptor. */
#pragma once
#include "base/arena.h"
#include "proto/cri.h"

#define CRI(name) Runtime__V1__##name
#define CRI_(name) RUNTIME__V1__##name
#define CRI_DESC(name) (&runtime__v1__##name##__descriptor)

/* A fresh message in an arena: cri_make(arena, PodSandboxStatus, pod_sandbox_status). */
#define cri_make(arena, type, desc) ((CRI(type) *) cri_message_new((arena), CRI_DESC(desc)))

static inline ProtobufCMessage *cri_message_new(struct arena *a, const ProtobufCMessageDescriptor *desc) {
        ProtobufCMessage *m = arena_xalloc(a, 1, desc->sizeof_message);
        protobuf_c_message_init(desc, m);
        return m;
}

/* A deep copy on the heap (protobuf_c_message_free_unpacked); NULL when @m cannot be copied. */
ProtobufCMessage *cri_message_dup(const ProtobufCMessage *m);
#define cri_dup(type, m) ((CRI(type) *) cri_message_dup((const ProtobufCMessage *) (m)))
/* Frees a message from the heap; NULL is fine. */
void cri_message_free(void *m);

/* Every map entry of CRI (labels, annotations, sysctls, info) has this shape. */
struct cri_entry {
        ProtobufCMessage base;
        char *key;
        char *value;
};
_Static_assert(sizeof(struct cri_entry) == sizeof(CRI(PodSandboxConfig__LabelsEntry)), "CRI map entries share a shape");

/* @value of @key in a list of map entries, NULL when missing. */
const char *cri_entries_get(const void *entries, size_t n, const char *key);
/* Are all of @wanted in @have? */
bool cri_entries_match(const void *wanted, size_t n_wanted, const void *have, size_t n_have);
