/* SPDX-License-Identifier: Apache-2.0 */
/* relay - a blob of one registry as the reader of an upload to another: a thread downloads into a small ring that the
 * uploader reads from, so that nothing is stored and memory does not depend on sizes. Private to image/; one uploader.
 */
#pragma once
#include "image/upload.h"

struct relay;

/* @source is borrowed. */
struct relay *relay_new(struct source *source, const char *digest, uint64_t size);
struct relay *relay_free(struct relay *r); /* ends the thread; NULL ok */
DEFINE_CLEANUP(struct relay *, relay_free)

/* What struct blob_reader wants; @userdata is the relay. */
_must_use_ int relay_seek(uint64_t offset, void *userdata, struct err *err);
_must_use_ int relay_read(void *data, size_t size, size_t *ret_len, void *userdata, struct err *err);
