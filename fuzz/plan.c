/* SPDX-License-Identifier: Apache-2.0 */
/* A plan in any shape: refused, or all of it can be walked. */
#include <stdlib.h>
#include <string.h>
#include "init/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static volatile size_t sink;

static void walk(const struct reader *r) {
        for (const struct plan_record *rec = NULL; (rec = reader_next(r, rec));) {
                const char **list = calloc(rec->n_str + 1, sizeof(*list));
                const uint8_t *data = reader_data(rec);

                if (!list)
                        abort();
                reader_strings(rec, list);
                for (uint32_t i = 0; i < rec->n_str; i++)
                        sink += strlen(list[i]);
                for (uint32_t i = 0; i < rec->data_len; i++)
                        sink += data[i];
                if (rec->fd >= 0 && (size_t) rec->fd >= r->n_fds)
                        abort();
                free(list);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        struct plan_error e;
        struct reader r;
        void *copy = malloc(size ? size : 1); /* of the exact size, so that a step too far is seen */

        if (!copy)
                return 0;
        memcpy(copy, bytes, size);
        if (size >=
            sizeof(struct plan_header)) { /* magic and size right: what lies behind them is the interesting part */
                struct plan_header *h = copy;

                h->magic = PLAN_MAGIC;
                h->size = (uint32_t) size;
        }
        if (reader_init(&r, copy, size, 4, &e) == 0)
                walk(&r);
        else if (!e.text[0])
                abort();
        free(copy);
        return 0;
}
