/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tar-write.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "image/unpack-pax.h"

/* Where fields are in a header (POSIX.1-2001, pax, "ustar interchange format"). */
enum {
        MODE = 100,
        UID = 108,
        GID = 116,
        SIZE = 124,
        MTIME = 136,
        CHECKSUM = 148,
        TYPE = 156,
        LINK = 157,
        MAGIC = 257,
        MAJOR = 329,
        MINOR = 337,
};
enum { NAME_BYTES = 100, OCTAL7_MAX = 07777777 };

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

static void put_checksum(uint8_t *header) {
        unsigned sum = 0;

        memset(header + CHECKSUM, ' ', 8);
        for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
                sum += header[i];
        (void) snprintf((char *) header + CHECKSUM, 8, "%06o", sum);
        header[CHECKSUM + 7] = ' ';
}

static void init_header(uint8_t header[TAR_BLOCK_BYTES], char type, const char *name) {
        memset(header, 0, TAR_BLOCK_BYTES);
        memcpy(header, name, MIN_OF(strlen(name), (size_t) NAME_BYTES));
        memcpy(header + MODE, "0000644", 8);
        memcpy(header + UID, "0000000", 8);
        memcpy(header + GID, "0000000", 8);
        memcpy(header + SIZE, "00000000000", 12);
        memcpy(header + MTIME, "00000000000", 12);
        header[TYPE] = (uint8_t) type;
        memcpy(header + MAGIC, "ustar\00000", 8);
}

void tar_write_header(const char *name, uint64_t size, uint8_t out[TAR_BLOCK_BYTES]) {
        assert(strlen(name) > 0 && strlen(name) <= TAR_WRITE_NAME_MAX);
        init_header(out, '0', name);
        put_size(out + SIZE, size);
        put_checksum(out);
}

/* --- extended headers --------------------------------------------------------------------------------------------- */

/* "LENGTH KEY=VALUE\n", where LENGTH counts its own digits. */
static void put_record(struct strbuf *out, const char *key, const void *value, size_t len) {
        size_t rest = strlen(key) + len + strlen(" =\n"), total = rest, before;
        char digits[24];

        do {
                before = total;
                total = rest + (size_t) snprintf(digits, sizeof(digits), "%zu", before);
        } while (total != before);
        strbuf_printf(out, "%zu %s=", total, key);
        strbuf_append(out, value, len);
        strbuf_putc(out, '\n');
}

static void put_number(struct strbuf *out, const char *key, uint64_t value) {
        char text[24];

        put_record(out, key, text, (size_t) snprintf(text, sizeof(text), "%" PRIu64, value));
}

/* Seconds before 1970 with a fraction: -1.25 is 2 seconds before, and 750 ms on. */
static void put_time(struct strbuf *out, int64_t seconds, uint32_t ns) {
        bool negative = seconds < 0;
        char text[48];

        if (negative && ns) {
                seconds++;
                ns = 1000000000 - ns;
        }
        (void) snprintf(text, sizeof(text), "%s%" PRIu64 ".%09" PRIu32, negative ? "-" : "",
                        negative ? -(uint64_t) seconds : (uint64_t) seconds, ns);
        if (!ns)
                *strchr(text, '.') = '\0';
        put_record(out, "mtime", text, strlen(text));
}

/* "user::rw-,user:7:r--,group::r--,mask::r--,other::---": what star has invented, and GNU tar and bsdtar take, too. */
static void put_acl(struct strbuf *out, const char *key, const struct tar_xattr *acl) {
        static const char *const names[] = { "user", "user", "group", "group", "mask", "other" };
        _cleanup_strbuf_ struct strbuf text = STRBUF(TAR_MAX_PAX);
        struct posix_acl_xattr_entry e;

        for (size_t at = sizeof(struct posix_acl_xattr_header); at + sizeof(e) <= acl->len; at += sizeof(e)) {
                unsigned tag, may;
                int bit;

                memcpy(&e, (const char *) acl->value + at, sizeof(e));
                tag = le16toh(e.e_tag);
                may = le16toh(e.e_perm);
                bit = ffs((int) tag) - 1;
                if (bit < 0 || (size_t) bit >= ELEMENTSOF(names) || tag != 1U << bit)
                        return; /* no word for it: the attribute has it */
                strbuf_printf(&text, "%s%s:", text.len ? "," : "", names[bit]);
                if (tag & (ACL_USER | ACL_GROUP))
                        strbuf_printf(&text, "%" PRIu32, le32toh(e.e_id));
                strbuf_printf(&text, ":%c%c%c", may & ACL_READ ? 'r' : '-', may & ACL_WRITE ? 'w' : '-',
                              may & ACL_EXECUTE ? 'x' : '-');
        }
        put_record(out, key, strbuf_str(&text), text.len);
}

static void put_xattrs(struct strbuf *out, const struct tar_entry *e) {
        char key[300];

        for (size_t i = 0; i < e->n_xattrs; i++) {
                const struct tar_xattr *x = &e->xattrs[i];

                if (e->acls_as_text && str_eq(x->name, "system.posix_acl_access"))
                        put_acl(out, "SCHILY.acl.access", x);
                if (e->acls_as_text && str_eq(x->name, "system.posix_acl_default"))
                        put_acl(out, "SCHILY.acl.default", x);
                (void) snprintf(key, sizeof(key), "SCHILY.xattr.%s", x->name); /* name: at most 255 */
                put_record(out, key, x->value, x->len);
        }
}

static void put_pax(struct strbuf *out, const struct tar_entry *e, uint64_t stored) {
        if (e->sparse) {
                put_number(out, "GNU.sparse.major", 1);
                put_number(out, "GNU.sparse.minor", 0);
                put_record(out, "GNU.sparse.name", e->name, strlen(e->name));
                put_number(out, "GNU.sparse.realsize", e->size);
        } else if (strlen(e->name) > NAME_BYTES) {
                put_record(out, "path", e->name, strlen(e->name));
        }
        if (strlen(e->link) > NAME_BYTES)
                put_record(out, "linkpath", e->link, strlen(e->link));
        if (stored > octal_max)
                put_number(out, "size", stored);
        if (e->uid > OCTAL7_MAX)
                put_number(out, "uid", e->uid);
        if (e->gid > OCTAL7_MAX)
                put_number(out, "gid", e->gid);
        if (e->mtime < 0 || (uint64_t) e->mtime > octal_max || e->mtime_ns)
                put_time(out, e->mtime, e->mtime_ns);
        put_xattrs(out, e);
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

static void put_padded(struct strbuf *out, const void *data, size_t len) {
        static const uint8_t zeros[TAR_BLOCK_BYTES];

        strbuf_append(out, data, len);
        strbuf_append(out, zeros, tar_write_padding(len));
}

static void put_header(struct strbuf *out, const struct tar_entry *e, uint64_t stored) {
        static const char types[] = { [TAR_FILE] = '0',  [TAR_LINK] = '1', [TAR_SYMLINK] = '2', [TAR_CHAR] = '3',
                                      [TAR_BLOCK] = '4', [TAR_DIR] = '5',  [TAR_FIFO] = '6' };
        uint8_t h[TAR_BLOCK_BYTES];

        init_header(h, types[e->type], e->name);
        (void) snprintf((char *) h + MODE, 8, "%07o", e->mode & 07777U);
        (void) snprintf((char *) h + UID, 8, "%07o", MIN_OF(e->uid, (uint32_t) OCTAL7_MAX));
        (void) snprintf((char *) h + GID, 8, "%07o", MIN_OF(e->gid, (uint32_t) OCTAL7_MAX));
        put_size(h + SIZE, stored);
        if (e->mtime >= 0)
                (void) snprintf((char *) h + MTIME, 12, "%011" PRIo64, MIN_OF((uint64_t) e->mtime, octal_max));
        memcpy(h + LINK, e->link, MIN_OF(strlen(e->link), (size_t) NAME_BYTES));
        if (e->type == TAR_CHAR || e->type == TAR_BLOCK) {
                (void) snprintf((char *) h + MAJOR, 8, "%07o", e->major & 0xfffU);
                (void) snprintf((char *) h + MINOR, 8, "%07o", e->minor & 0xfffffU);
        }
        put_checksum(h);
        strbuf_append(out, h, sizeof(h));
}

static void map_text(const struct tar_extent *map, size_t n, struct strbuf *ret) {
        strbuf_printf(ret, "%zu\n", n);
        for (size_t i = 0; i < n; i++)
                strbuf_printf(ret, "%" PRIu64 "\n%" PRIu64 "\n", map[i].offset, map[i].len);
}

int tar_write_entry(const struct tar_entry *e, const struct tar_extent *map, size_t n_map, struct strbuf *out,
                    struct err *err) {
        _cleanup_strbuf_ struct strbuf pax = STRBUF(TAR_MAX_PAX), text = STRBUF((size_t) 8 << 20);
        uint64_t stored = e->type == TAR_FILE ? e->stored_size : 0;
        uint8_t h[TAR_BLOCK_BYTES];

        if (strlen(e->name) > TAR_MAX_NAME || strlen(e->link) > TAR_MAX_NAME)
                return err_set(err, ERR_INVALID, "the path has more than %d bytes", TAR_MAX_NAME);
        if (e->sparse) {
                map_text(map, n_map, &text);
                stored += text.len + tar_write_padding(text.len);
        }
        put_pax(&pax, e, stored);
        if (pax.overflow || text.overflow)
                return err_set(err, ERR_INVALID, "its extended attributes have more than %d bytes", TAR_MAX_PAX);
        if (pax.len > 0) {
                init_header(h, 'x', "PaxHeaders/0");
                put_size(h + SIZE, pax.len);
                put_checksum(h);
                strbuf_append(out, h, sizeof(h));
                put_padded(out, pax.data, pax.len);
        }
        put_header(out, e, stored);
        if (text.len > 0)
                put_padded(out, text.data, text.len);
        return out->overflow ? err_set(err, ERR_EXHAUSTED, "its headers are too long") : 0;
}
