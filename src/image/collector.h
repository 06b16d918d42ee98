/* SPDX-License-Identifier: Apache-2.0 */
/* collector - garbage collection: when images and kept layers' blobs go by themselves. What may go records.h knows.
 * Thread-safe; one collection at a time, others wait. Private to image/. */
#pragma once
#include "image/records.h"

struct collector;

/* @records and @root_fd, which is on the file system that is to have room, are borrowed. */
struct collector *collector_new(struct records *records, int root_fd, const struct image_gc *conf);
struct collector *collector_free(struct collector *c);

/* As images_collect(). */
_must_use_ int collector_run(struct collector *c, struct err *err);
/* The disk is full: true: there is some room now. */
_must_use_ bool collector_make_room(struct collector *c);
struct image_collected collector_total(struct collector *c);
