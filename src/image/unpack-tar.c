/* SPDX-License-Identifier: Apache-2.0 */
/* The reader is a state machine over 512-byte blocks. File data, the bulk, is handed on without being copied. */
#include "image/unpack-tar.h"

#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "image/unpack-pax.h"

enum { BLOCK = 512 };

/* Where the fields of a header are; layouts differ behind "magic". */
#define NAME 0, 100
#define MODE 100, 8
#define UID 108, 8
#define GID 116, 8
#define SIZE 124, 12
#define MTIME 136, 12
#define CHECKSUM 148, 8
#define LINK 157, 100
#define MAJOR 329, 8
#define MINOR 337, 8
enum { AT_TYPE = 156, AT_MAGIC = 257, AT_PREFIX = 345, AT_GNU_SPARSE = 386, AT_GNU_EXTENDED = 482, AT_STAR = 508 };
#define GNU_REALSIZE 483, 12
/* The field of header "b" as two arguments: where, how long. */
#define FIELD(f) FIELD_(f)
#define FIELD_(at, len) b + (at), (len)

struct tar {
        const struct tar_ops *ops;
        void *userdata;
        enum {
                READ_HEADER,
                READ_SPECIAL, /* body of an extended header or of a long name */
                READ_GNU_MAP, /* further blocks of an old GNU sparse map */
                READ_PAX_MAP, /* sparse format 1.0: the map before the data */
                READ_DATA,
                READ_REST, /* behind the end mark: anything */
        } state;
        bool zero_block; /* one seen: the next one ends the archive */

        uint8_t block[BLOCK]; /* one that arrived in pieces */
        size_t block_len;

        char special_type; /* of the header whose body is being read; 0: skip it */
        struct strbuf *special;
        uint64_t left; /* bytes of data, or of the body, still to come */
        unsigned pad;  /* bytes to skip before the next header */

        struct strbuf pax_body, long_name, long_link;
        struct pax pax;

        struct tar_entry e;
        char name[TAR_MAX_NAME + 1], link[TAR_MAX_NAME + 1];
        size_t extent;   /* the one being filled */
        uint64_t offset; /* in the file, of the next byte */

        struct { /* the map of format 1.0, digit by digit */
                uint64_t value, count, first;
                bool digits, has_count, has_first;
        } map;
};

static int malformed(struct err *err, const char *what) {
        return err_set(err, ERR_INVALID, "malformed archive: %s", what);
}

struct tar *tar_new(const struct tar_ops *ops, void *userdata) {
        struct tar *t = xnew(struct tar);

        t->ops = ops;
        t->userdata = userdata;
        t->pax_body = STRBUF(TAR_MAX_PAX + 1);
        t->long_name = STRBUF(TAR_MAX_NAME + 2);
        t->long_link = STRBUF(TAR_MAX_NAME + 2);
        return t;
}

struct tar *tar_free(struct tar *t) {
        if (!t)
                return NULL;
        strbuf_done(&t->pax_body);
        strbuf_done(&t->long_name);
        strbuf_done(&t->long_link);
        free(t->pax.xattrs);
        free(t->pax.sparse.map.extents);
        free(t);
        return NULL;
}

static int end_entry(struct tar *t, struct err *err) {
        int r = t->e.type == TAR_FILE && t->ops->end ? t->ops->end(t->userdata, err) : 0;

        pax_done(&t->pax);
        if (t->pax_body.cap > 65536) {
                strbuf_done(&t->pax_body);
                t->pax_body = STRBUF(TAR_MAX_PAX + 1);
        }
        t->pax_body.len = t->long_name.len = t->long_link.len = 0;
        t->state = READ_HEADER;
        return r;
}

/* The entry is known in full, and so is the map when it is sparse. */
static int begin_entry(struct tar *t, struct err *err) {
        int r;

        if (t->e.sparse) {
                r = tar_map_check(&t->pax.sparse.map, t->e.size, t->left, err);
                if (r < 0)
                        return r;
        }
        t->e.stored_size = t->left;
        t->e.xattrs = t->pax.xattrs;
        t->e.n_xattrs = t->pax.n_xattrs;
        t->extent = 0;
        t->offset = t->e.sparse && t->pax.sparse.map.len ? t->pax.sparse.map.extents[0].offset : 0;
        r = t->ops->entry(t->userdata, &t->e, err);
        if (r != 0)
                return r;
        t->state = READ_DATA;
        return t->left ? 0 : end_entry(t, err);
}

static int hand_on(struct tar *t, const uint8_t *p, size_t n, struct err *err) {
        const struct tar_map *m = &t->pax.sparse.map;

        while (n) {
                size_t len = n;
                int r;

                if (t->e.sparse) { /* tar_map_check() saw that the extents hold just the data */
                        const struct tar_extent *x = &m->extents[t->extent];
                        uint64_t room = x->offset + x->len - t->offset;

                        if (room == 0) {
                                t->offset = m->extents[++t->extent].offset;
                                continue;
                        }
                        len = (size_t) MIN_OF((uint64_t) n, room);
                }
                r = t->ops->data ? t->ops->data(t->userdata, t->offset, p, len, err) : 0;
                if (r != 0)
                        return r;
                t->offset += len;
                p += len;
                n -= len;
        }
        return 0;
}

static int map_number(struct tar *t, uint64_t n, struct err *err) {
        if (!t->map.has_count) {
                if (n > TAR_MAX_EXTENTS)
                        return malformed(err, "sparse file of too many pieces");
                t->map.has_count = true;
                t->map.count = n;
                return 0;
        }
        if (!t->map.has_first) {
                t->map.has_first = true;
                t->map.first = n;
                return 0;
        }
        t->map.has_first = false;
        t->map.count--;
        return tar_map_add(&t->pax.sparse.map, t->map.first, n, err);
}

/* One block of a 1.0 map: decimal numbers, each ended by a newline; NULs behind the last. */
static int take_pax_map(struct tar *t, const uint8_t *b, struct err *err) {
        int r;

        if (t->left < BLOCK)
                return malformed(err, "sparse file without its map");
        t->left -= BLOCK;
        for (size_t i = 0; i < BLOCK && !(t->map.has_count && t->map.count == 0); i++) {
                if (b[i] >= '0' && b[i] <= '9' && t->map.value < UINT64_MAX / 20) {
                        t->map.value = t->map.value * 10 + (uint64_t) (b[i] - '0');
                        t->map.digits = true;
                } else if (b[i] == '\n' && t->map.digits) {
                        r = map_number(t, t->map.value, err);
                        if (r < 0)
                                return r;
                        t->map.value = 0;
                        t->map.digits = false;
                } else {
                        return malformed(err, "sparse file with a bad map");
                }
        }
        return t->map.has_count && t->map.count == 0 ? begin_entry(t, err) : 0;
}

/* @n pairs of an old GNU map at @b; one that is empty ends it. */
static int take_gnu_pairs(struct tar *t, const uint8_t *b, size_t n, struct err *err) {
        int64_t offset, len;
        int r;

        for (; n; n--, b += 24) {
                if (b[0] == '\0')
                        break;
                if (!tar_number(b, 12, &offset) || !tar_number(b + 12, 12, &len) || offset < 0 || len < 0)
                        return malformed(err, "sparse file with a bad map");
                r = tar_map_add(&t->pax.sparse.map, (uint64_t) offset, (uint64_t) len, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int take_gnu_map(struct tar *t, const uint8_t *b, struct err *err) {
        int r = take_gnu_pairs(t, b, 21, err);

        return r < 0 || b[504] ? r : begin_entry(t, err);
}

/* Start reading the body of an "x", "g", "L" or "K" header. */
static int begin_special(struct tar *t, char type, int64_t size, struct err *err) {
        bool is_pax = type == 'x' || type == 'X';

        if (size < 0 || size > (is_pax || type == 'g' ? TAR_MAX_PAX : TAR_MAX_NAME + 1))
                return malformed(err, is_pax || type == 'g' ? "extended header above 1 MiB" : "name above 4095 bytes");
        t->special_type = type;
        t->special = is_pax ? &t->pax_body : type == 'L' ? &t->long_name : type == 'K' ? &t->long_link : NULL;
        if (t->special)
                t->special->len = 0;
        t->left = (uint64_t) size;
        t->pad = (unsigned) (-(uint64_t) size % BLOCK);
        t->state = READ_SPECIAL;
        return 0;
}

static int end_special(struct tar *t, struct err *err) {
        t->state = READ_HEADER;
        if (t->special != &t->pax_body)
                return 0;
        pax_done(&t->pax);
        return t->pax_body.len ? pax_parse(&t->pax, t->pax_body.data, t->pax_body.len, err) : 0;
}

static bool checksum_fits(const uint8_t *b) {
        uint32_t sum = 0;
        int32_t signed_sum = 0; /* some old writers took bytes as signed */
        int64_t said;

        for (size_t i = 0; i < BLOCK; i++) {
                sum += b[i];
                signed_sum += (int8_t) b[i];
        }
        for (size_t i = 148; i < 156; i++) {
                sum -= b[i];
                signed_sum -= (int8_t) b[i];
        }
        sum += 8 * ' ';
        signed_sum += 8 * ' ';
        return tar_number(FIELD(CHECKSUM), &said) && (said == sum || said == signed_sum);
}

static bool is_zero(const uint8_t *b) {
        return b[0] == 0 && memcmp(b, b + 1, BLOCK - 1) == 0;
}

/* The field as a string behind what @to holds already: of a header's few fields, so that it always fits. */
static void append_field(char *to, const uint8_t *field, size_t len) {
        size_t n = strnlen((const char *) field, len), old = strlen(to);

        memcpy(to + old, field, n);
        to[old + n] = '\0';
}

static int set_name(char *to, const char *name, struct err *err) {
        size_t len = strlen(name);

        if (len > TAR_MAX_NAME)
                return malformed(err, "name above 4095 bytes");
        memcpy(to, name, len + 1);
        return 0;
}

static int take_names(struct tar *t, const uint8_t *b, struct err *err) {
        const struct pax *p = &t->pax;
        const char *name = p->sparse.name ? p->sparse.name : p->path ? p->path : NULL;
        const char *link = p->linkpath;
        int r = 0;

        if (!name && t->long_name.len)
                name = strbuf_str(&t->long_name);
        if (!link && t->long_link.len)
                link = strbuf_str(&t->long_link);
        t->name[0] = t->link[0] = '\0';
        if (name) {
                r = set_name(t->name, name, err);
        } else {
                if (memcmp(b + AT_MAGIC, "ustar\0", 6) == 0 && b[AT_PREFIX]) {
                        append_field(t->name, b + AT_PREFIX, memcmp(b + AT_STAR, "tar\0", 4) == 0 ? 131 : 155);
                        append_field(t->name, (const uint8_t *) "/", 1);
                }
                append_field(t->name, FIELD(NAME));
        }
        if (r < 0)
                return r;
        if (link)
                return set_name(t->link, link, err);
        append_field(t->link, FIELD(LINK));
        return 0;
}

static int take_numbers(struct tar *t, const uint8_t *b, int64_t *ret_size, struct err *err) {
        const struct pax *p = &t->pax;
        int64_t mode, uid, gid, size, mtime, major = 0, minor = 0;
        bool device = t->e.type == TAR_CHAR || t->e.type == TAR_BLOCK;

        if (!tar_number(FIELD(MODE), &mode) || !tar_number(FIELD(UID), &uid) || !tar_number(FIELD(GID), &gid) ||
            !tar_number(FIELD(SIZE), &size) || !tar_number(FIELD(MTIME), &mtime) ||
            (device && (!tar_number(FIELD(MAJOR), &major) || !tar_number(FIELD(MINOR), &minor))))
                return malformed(err, "number that is none");
        uid = p->has_uid ? (int64_t) p->uid : uid;
        gid = p->has_gid ? (int64_t) p->gid : gid;
        size = p->has_size ? (int64_t) p->size : size;
        /* All ones is chown's "leave it"; device numbers have 12 and 20 bits. */
        if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX || size < 0 || major < 0 || minor < 0 ||
            major > 0xfff || minor > 0xfffff)
                return malformed(err, "number out of range");
        t->e.mode = (uint32_t) mode & 07777;
        t->e.uid = (uint32_t) uid;
        t->e.gid = (uint32_t) gid;
        t->e.mtime = p->has_mtime ? p->mtime : mtime;
        t->e.mtime_ns = p->has_mtime ? p->mtime_ns : 0;
        t->e.major = (uint32_t) major;
        t->e.minor = (uint32_t) minor;
        *ret_size = size;
        return 0;
}

static bool take_type(struct tar *t, char c) {
        switch (c) {
        case '\0':
        case '0':
        case '7': /* contiguous */
        case 'S':
                t->e.type = TAR_FILE;
                return true;
        case '1' ... '6': {
                static const enum tar_type types[] = { TAR_LINK, TAR_SYMLINK, TAR_CHAR, TAR_BLOCK, TAR_DIR, TAR_FIFO };

                t->e.type = types[c - '1'];
                return true;
        }
        default:
                return false;
        }
}

/* The sparse forms; @b is the header. Goes on to the map or to the entry. */
static int begin_sparse(struct tar *t, const uint8_t *b, struct err *err) {
        struct pax *p = &t->pax;
        int64_t size;
        int r;

        t->e.sparse = true;
        if (b[AT_TYPE] == 'S') {
                p->sparse.map.len = 0;
                if (!tar_number(FIELD(GNU_REALSIZE), &size) || size < 0)
                        return malformed(err, "sparse file without its size");
                t->e.size = (uint64_t) size;
                r = take_gnu_pairs(t, b + AT_GNU_SPARSE, 4, err);
                if (r == 0 && b[AT_GNU_EXTENDED]) {
                        t->state = READ_GNU_MAP;
                        return 0;
                }
                return r < 0 ? r : begin_entry(t, err);
        }
        if (!p->sparse.has_size)
                return malformed(err, "sparse file without its size");
        t->e.size = p->sparse.size;
        if (!p->sparse.in_data)
                return begin_entry(t, err);
        p->sparse.map.len = 0;
        memset(&t->map, 0, sizeof(t->map));
        t->state = READ_PAX_MAP;
        return 0;
}

static int take_entry(struct tar *t, const uint8_t *b, struct err *err) {
        char c = (char) b[AT_TYPE];
        int64_t size = 0;
        int r;

        t->e = (struct tar_entry){ .name = t->name, .link = t->link };
        if (!take_type(t, c))
                return err_set(err, ERR_INVALID, "archive has an entry of unknown type 0x%02x", (unsigned) (uint8_t) c);
        r = take_names(t, b, err);
        if (r == 0)
                r = take_numbers(t, b, &size, err);
        if (r < 0)
                return r;
        if (c == '\0' && t->name[0] && str_ends_with(t->name, "/")) /* before ustar folders had no type */
                t->e.type = TAR_DIR;
        if (t->e.type != TAR_LINK && t->e.type != TAR_SYMLINK)
                t->link[0] = '\0';
        if (t->e.type != TAR_FILE) /* have no data, whatever the size says (as Go's reader has it) */
                size = 0;
        t->left = (uint64_t) size;
        t->pad = (unsigned) (-(uint64_t) size % BLOCK);
        t->e.size = (uint64_t) size;
        if (c == 'S' || (t->pax.sparse.any && t->e.type == TAR_FILE))
                return begin_sparse(t, b, err);
        return begin_entry(t, err);
}

static int take_header(struct tar *t, const uint8_t *b, struct err *err) {
        int64_t size;
        char c = (char) b[AT_TYPE];

        if (is_zero(b)) {
                if (t->zero_block)
                        t->state = READ_REST;
                t->zero_block = true;
                return 0;
        }
        if (t->zero_block)
                return malformed(err, "something stands behind its end");
        if (!checksum_fits(b))
                return malformed(err, "checksum of a header does not fit");
        switch (c) {
        case 'x':
        case 'X': /* Solaris' name for it */
        case 'g':
        case 'L':
        case 'K':
        case 'V': /* a volume's label */
                if (!tar_number(FIELD(SIZE), &size))
                        return malformed(err, "number that is none");
                return begin_special(t, c == 'V' ? 'g' : c, size, err);
        default:
                return take_entry(t, b, err);
        }
}

static int take_block(struct tar *t, const uint8_t *b, struct err *err) {
        switch (t->state) {
        case READ_GNU_MAP:
                return take_gnu_map(t, b, err);
        case READ_PAX_MAP:
                return take_pax_map(t, b, err);
        default:
                return take_header(t, b, err);
        }
}

/* Takes what it can of READ_DATA and READ_SPECIAL. */
static int take_bytes(struct tar *t, const uint8_t *p, size_t len, struct err *err) {
        int r = 0;

        if (t->state == READ_DATA)
                r = hand_on(t, p, len, err);
        else if (t->special)
                strbuf_append(t->special, p, len);
        t->left -= len;
        if (r != 0 || t->left)
                return r;
        return t->state == READ_DATA ? end_entry(t, err) : end_special(t, err);
}

int tar_write(struct tar *t, const void *data, size_t len, struct err *err) {
        const uint8_t *p = data;
        int r = 0;

        while (len && r == 0 && t->state != READ_REST) {
                size_t n;

                if (t->state == READ_SPECIAL && t->left == 0) {
                        r = end_special(t, err);
                        continue;
                }
                if (t->state == READ_DATA || t->state == READ_SPECIAL) {
                        n = (size_t) MIN_OF((uint64_t) len, t->left);
                        r = take_bytes(t, p, n, err);
                } else if (t->pad && t->state == READ_HEADER) {
                        n = MIN_OF(len, (size_t) t->pad);
                        t->pad -= (unsigned) n;
                } else if (t->block_len == 0 && len >= BLOCK) {
                        n = BLOCK;
                        r = take_block(t, p, err);
                } else {
                        n = MIN_OF(len, BLOCK - t->block_len);
                        memcpy(t->block + t->block_len, p, n);
                        t->block_len += n;
                        if (t->block_len == BLOCK) {
                                t->block_len = 0;
                                r = take_block(t, t->block, err);
                        }
                }
                p += n;
                len -= n;
        }
        return r;
}

int tar_skip(struct tar *t, uint64_t *ret, struct err *err) {
        *ret = 0;
        if (t->state != READ_DATA || t->block_len)
                return 0;
        *ret = t->left + t->pad;
        t->left = t->pad = 0;
        return end_entry(t, err);
}

bool tar_is_over(const struct tar *t) {
        return t->state == READ_REST;
}

int tar_end(struct tar *t, struct err *err) {
        bool pending = t->pax_body.len || t->long_name.len || t->long_link.len;

        if (t->state == READ_REST)
                return 0;
        /* Without the end mark is fine between entries, as others see it. */
        if (t->state != READ_HEADER || t->block_len || t->pad || pending)
                return malformed(err, "it is cut off");
        return 0;
}
