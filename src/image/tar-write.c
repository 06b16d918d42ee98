/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tar-write.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Where fields are in a header (POSIX.1-2001, pax, "ustar interchange format"). */
enum { MODE = 100, UID = 108, GID = 116, SIZE = 124, MTIME = 136, CHECKSUM = 148, TYPE = 156, MAGIC = 257 };

static const uint64_t octal_max = UINT64_C(077777777777);

static void put_size(uint8_t *field, uint64_t size) {
        if (size <= octal_max) {
                (void) snprintf((char *) field, 12, "%011" PRIo64, size);
                return;
        }
        memset(field, 0, 12);
        field[0] = 0x80;
        for (int i = 11; i > 3; i--, size >>= 8)
                field[i] = (uint8_t) size;
}

void tar_write_header(const char *name, uint64_t size, uint8_t out[TAR_BLOCK_BYTES]) {
        size_t len = strlen(name);
        unsigned sum = 0;

        assert(len > 0 && len <= TAR_WRITE_NAME_MAX);
        memset(out, 0, TAR_BLOCK_BYTES);
        memcpy(out, name, len);
        memcpy(out + MODE, "0000644", 8);
        memcpy(out + UID, "0000000", 8);
        memcpy(out + GID, "0000000", 8);
        put_size(out + SIZE, size);
        memcpy(out + MTIME, "00000000000", 12);
        memcpy(out + CHECKSUM, "        ", 8);
        out[TYPE] = '0';
        memcpy(out + MAGIC, "ustar\00000", 8);
        for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
                sum += out[i];
        (void) snprintf((char *) out + CHECKSUM, 8, "%06o", sum);
        out[CHECKSUM + 7] = ' ';
}
